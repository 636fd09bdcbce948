"""What ``ssh`` says of hosts is asked as seldom as can be, and never taken for another host's."""

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.errors import HostKeyRefused, HostUnreachable, LoginRefused, NotAsked
from backstay.finding import Severity
from backstay.health.judge_host import unreachable
from backstay.transports import ssh_command, ssh_errors
from backstay.transports.ssh_config import SshConfig, Way
from backstay.transports.ssh_connections import Connections
from backstay.transports.ssh_logins import Login
from backstay.transports.ssh_proxy import Proxy
from backstay.transports.targets import JumpOf, SshTarget

pytestmark = pytest.mark.skipif(shutil.which("ssh") is None, reason="needs openssh-client")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".ssh").mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ``ssh`` that notes each call in a file."""
    folder, log = tmp_path / "bin", tmp_path / "asked"
    folder.mkdir()
    program = folder / "ssh"
    program.write_text(f'#!/bin/sh\necho x >> {log}\nexec {shutil.which("ssh")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    log.touch()
    return log


def ways(*addresses: str, user: str | None = None) -> list[Way]:
    async def read() -> list[Way]:
        config = SshConfig()
        targets = [SshTarget(name=one, address=one, user=user) for one in addresses]
        return await asyncio.gather(*map(config.way, targets))

    return asyncio.run(read())


@pytest.mark.parametrize("line", ["Include ~\0other", "Port 22\0", "Include \0", "User op\0s"])
def test_a_line_ends_at_a_null_byte_as_it_does_for_ssh(home, line):
    (home / ".ssh/config").write_bytes(f"Host a\n  {line}\nHost *\n  User ops\n".encode())
    said = subprocess.run(
        ["ssh", "-G", "-F", home / ".ssh/config", "a"], capture_output=True, text=True, check=False
    )
    if said.returncode:
        with pytest.raises(NotAsked, match="config"):
            ways("a")
        return
    [way] = ways("a")
    assert f"user {way.user}\n" in said.stdout
    assert way.port == 22


def test_a_thousand_hosts_that_no_line_tells_apart_are_one_question(home, asked):
    (home / ".ssh/config").write_text(
        "Host 10.1.*\n  ProxyJump bastion\n  ProxyCommand nc %h %p\nHost *\n  User ops\n"
    )
    addresses = [f"10.{number % 2}.{number // 250}.{number % 250}" for number in range(1000)]
    found = ways(*addresses)
    assert asked.read_text().count("x") < 10, "two, and two more each few seconds"
    for address, way in zip(addresses, found, strict=True):
        assert (way.host, way.original, way.user) == (address, address, "ops")
        assert bool(way.jumps) is address.startswith("10.1.")


def test_a_thousand_hosts_with_a_line_each_for_where_they_are_are_one_question(home, asked):
    blocks = [f"Host c{n}\n  HostName 10.0.{n // 250}.{n % 250}\n" for n in range(1000)]
    (home / ".ssh/config").write_text("".join([*blocks, "Host *\n  User ops\n"]))
    began = time.process_time()
    found = ways(*(f"c{number}" for number in range(1000)))
    assert time.process_time() - began < 3
    assert asked.read_text().count("x") < 5, "one, and another each few seconds"
    assert [way.host for way in found] == [f"10.0.{n // 250}.{n % 250}" for n in range(1000)]
    assert {way.user for way in found} == {"ops"}


CONFIGS = {
    "includes alike": "Host a\n  Include empty\nHost b\n  Include empty\n  User root\n",
    "includes in a row": "Host a b\n  Include empty more last\n  User ops\nUser root\n",
    "the same lines": "Host a\n  HostName x\n  User ops\nHost b\n  HostName y\n  User ops\n",
    "two names": "Host a\n  HostName x\nHost a b\n  HostName y\n",
    "a name that includes": "Host a\n  Include named\nHost *\n  HostName all\n",
    "names": "Host a b\n  HostName a\nHost *\n  Port 2222\n",
    "a name before all": "HostName elsewhere\nHost a\n  Port 2222\n",
    "tokens": "Host *\n  HostName %h.example\n",
    "known hosts by host": "Host *\n  UserKnownHostsFile ~/%h\n",
    "an agent by host": "Host *\n  IdentityAgent ~/agent-%h\n",
    "negated": "Host * !b\n  User ops\nHost b c\n  User root\n",
    "one letter": "Host ?\n  User ops\nHost a? B\n  Port 23\n",
    "match": "Match host a\n  User ops\n",
    "quoted": 'Host "a" b\n  User ops\n',
    "equals": "Host=a\nUser=ops\n",
    "included": "Host a\n  Include more\n  User ops\nHost *\n  Port 2222\n",
    "included name": "Include more\nHost a\n  User ops\n",
    "a comment": "Host a # b\n  User ops\n",
    "proxies": "Host a\n  ProxyCommand nc %h %p\nHost *\n  ProxyCommand nc -x %h %n %p %r\n",
}


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_read_for_many_is_what_is_read_for_each(home, name):
    (home / ".ssh/config").write_text(CONFIGS[name])
    (home / ".ssh/more").write_text("Host b\n  HostName b.example\nHost c\n  User root\n")
    (home / ".ssh/empty").write_text("# nothing\n")
    (home / ".ssh/last").write_text("Host b\n  Port 23\n")
    (home / ".ssh/named").write_text("HostName named\nHost b\n  HostName never\n")
    addresses = ["a", "b", "c", "A", "ab", "10.0.0.1", "fd00::1"]
    together = ways(*addresses)
    apart = [ways(address)[0] for address in addresses]
    for one, other in zip(together, apart, strict=True):
        assert (one.host, one.port, one.user) == (other.host, other.port, other.user)
        assert one.jumps == other.jumps
        assert one.proxy_command == other.proxy_command
        assert one.user_known_hosts() == other.user_known_hosts()
        assert one.option("identityagent") == other.option("identityagent")


def test_a_file_that_changes_is_read_again(home, monkeypatch):
    monkeypatch.setattr("backstay.transports.ssh_config._FRESH", -1.0)

    async def story() -> list[str]:
        config, target = SshConfig(), SshTarget(name="a", address="a")
        users = []
        for user in ("ops", "root"):
            (home / ".ssh/config").write_text(f"User {user}\n")
            users.append((await config.way(target)).user)
        return users

    assert asyncio.run(story()) == ["ops", "root"]


def test_without_the_program_its_defaults_hold_and_a_file_is_not_passed_over(home, monkeypatch):
    monkeypatch.setenv("PATH", str(home))
    (way,) = ways("compute1", user="root")
    assert (way.host, way.port, way.user) == ("compute1", 22, "root")
    assert way.user_known_hosts()[0] == home / ".ssh/known_hosts"
    (home / ".ssh/config").write_text("Host *\n  ProxyJump bastion\n")
    with pytest.raises(NotAsked, match="no program `ssh`") as caught:
        ways("compute1")
    assert "openssh-client" in caught.value.remedy


@pytest.mark.parametrize(
    ("jumps", "expected"),
    [("ops@bastion:2222", [("ops", "bastion", 2222)]), ("none", []), (None, [])],
)
def test_without_the_program_the_jump_hosts_of_cloud_yaml_hold(home, monkeypatch, jumps, expected):
    monkeypatch.setenv("PATH", str(home))
    target = SshTarget(name="compute1", address="compute1", jumps=jumps)
    way = asyncio.run(SshConfig().way(target))
    assert [(one.user, one.host, one.port) for one in way.jumps] == expected


def test_a_program_of_the_config_that_does_not_end_is_ended(home, monkeypatch):
    monkeypatch.setattr("backstay.transports.ssh_config._BOUND", 0.5)
    (home / ".ssh/config").write_text('Match exec "sleep 600"\n  User ops\n')
    with pytest.raises(NotAsked, match="did not end within"):
        ways("compute1")


def test_the_fault_of_this_machine_is_not_a_dead_host(home):
    (home / ".ssh/config").write_text("Host *\n  IdentityFiel ~/.ssh/id\n")
    target = SshTarget(name="compute1", address="10.0.0.1")
    with pytest.raises(NotAsked, match=f"{home}/.ssh/config: line 2: Bad configuration") as caught:
        ways("10.0.0.1")
    finding = unreachable(caught.value, target, [], bmc_url="https://bmc")
    assert finding.severity is Severity.UNKNOWN
    assert "BMC" not in finding.remedy


def test_a_jump_host_that_is_dead_says_nothing_of_the_host():
    dead = HostUnreachable("connecting to bastion", came_back="no answer", remedy="look")
    target = SshTarget(name="compute1", address="10.0.0.1")
    error = ssh_errors.at_jump_host(target, "bastion", dead)
    assert isinstance(error, NotAsked)
    assert error.came_back == "its jump host bastion: no answer"
    refused = HostKeyRefused("checking", came_back="its host key has changed", remedy="look")
    error = ssh_errors.at_jump_host(target, "bastion", refused)
    assert isinstance(error, HostKeyRefused)
    assert error.elsewhere


@pytest.mark.parametrize(
    ("jump_of", "place"),
    [
        (None, "`user` and `key` under `ssh` in cloud.yaml"),
        (JumpOf.CLOUD_FILE, "`jumps` under `ssh` in cloud.yaml (USER@gate:"),
        (JumpOf.SSH_CONFIG, "User and IdentityFile of gate in ~/.ssh/config"),
    ],
)
def test_a_refused_login_names_the_setting_that_holds_there(home, jump_of, place):
    target = SshTarget(name="gate", address="gate", jump_of=jump_of)
    (way,) = ways("gate")
    error = ssh_errors.login_refused(target, way, Login(), "Permission denied")
    assert place in error.remedy


@pytest.mark.parametrize(
    ("jump_of", "place"),
    [
        (None, "`address` in cloud.yaml"),
        (JumpOf.CLOUD_FILE, "`jumps` under `ssh` in cloud.yaml"),
        (JumpOf.SSH_CONFIG, "ProxyJump in ~/.ssh/config"),
    ],
)
def test_a_name_that_is_not_known_is_corrected_where_it_stands(home, jump_of, place):
    target = SshTarget(name="gate", address="gate", jump_of=jump_of)
    (way,) = ways("gate")
    error = ssh_errors.no_connection(target, way, socket.gaierror(-2, "not known"))
    assert error.remedy.startswith(f"correct {place}, or the name service")


@pytest.mark.parametrize("jumps", [None, "bastion.invalid"])
def test_a_jump_host_knows_where_it_is_named(home, jumps):
    if jumps is None:
        (home / ".ssh/config").write_text("Host compute1\n  ProxyJump bastion.invalid\n")
    target = SshTarget(name="compute1", address="compute1", jumps=jumps)
    with pytest.raises(NotAsked, match=r"its jump host bastion\.invalid: ") as caught:
        asyncio.run(Connections(5).to(target))
    place = "ProxyJump in ~/.ssh/config" if jumps is None else "`jumps` under `ssh`"
    assert f"correct {place}" in caught.value.remedy


def test_a_key_that_is_not_there_is_named_behind_a_jump_host_too(home):
    key = home / "nonesuch"
    target = SshTarget(name="compute1", address="compute1", key=key, jumps="127.0.0.1")
    with pytest.raises(LoginRefused, match=f"its jump host 127.0.0.1: {key}: No such file"):
        asyncio.run(Connections(5).to(target))


def test_what_asyncio_says_of_a_proxy_that_ended_is_not_printed(caplog: pytest.LogCaptureFixture):
    with Proxy("false"):
        logging.getLogger("asyncio").warning("Unknown child process pid %d, will report 255", 7)
        logging.getLogger("asyncio").warning("something else")
    assert caplog.messages == ["something else"]


def test_the_command_to_paste_has_all_that_cloud_yaml_says(tmp_path):
    target = SshTarget(
        name="compute1",
        address="compute1.example",
        port=2222,
        user="ops",
        key=tmp_path / "id",
        known_hosts=tmp_path / "my keys",
    )
    assert ssh_command.line(target, "true") == (
        f"ssh -i {tmp_path}/id -o 'UserKnownHostsFile={tmp_path}/my keys' -p 2222 "
        "ops@compute1.example true"
    )
    bare = replace(target, key=None, known_hosts=None, jumps="a,b")
    assert ssh_command.line(bare, "true") == "ssh -p 2222 -J a,b ops@compute1.example true"
