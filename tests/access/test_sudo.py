"""Another user than root logs in, through a bastion, and everything is done as root by sudo."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.access.onhost_relay import relay
from backstay.access.shipping import program, reading, stream
from backstay.errors import HostUnreachable, RemoteFailure, SudoRefused
from backstay.transports.ssh import HostShell
from backstay.transports.sudo_errors import refusal
from tests.access.onhost_questions import (
    keep,
    length_of,
    send_bytes,
    surroundings,
    wait_until_unheard,
    who_connects,
)
from tests.access.sudo_host import NEEDED, USER, SudoHost, sudo_host

ALLOWED = f"{USER} ALL=(root) NOPASSWD: /usr/bin/python3\n"
CARELESS = (
    "Defaults !env_reset, !secure_path, !always_set_home, !set_home, umask=0077\n"
    f'Defaults env_keep += "HOME PATH LOGNAME USER"\n{ALLOWED}'
)
"""What leaves the user's own home, search path and umask to what is done as root."""
MANY = 200
BOUND = 120.0


async def asked(shell: HostShell, host: SudoHost, function: Any, *arguments: Any) -> Any:
    answer = await shell.ask(host.target, program(function, *arguments), bound=BOUND)
    return json.loads(answer)


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(MANY):
        yield bytes(range(256)) * 256


@NEEDED
def test_everything_is_done_as_root_through_the_bastion(tmp_path: Path) -> None:
    """A question, bytes both ways, and a socket whose program asks who connects."""

    async def story(host: SudoHost) -> None:
        got = bytearray()

        async def receive(data: bytes) -> None:
            got.extend(data)

        async with HostShell(connect_bound=60) as shell:
            found = await asked(shell, host, surroundings)
            assert found["user"] == 0
            assert (found["home"], found["name"], found["folder"]) == ("/root", "root", "/")
            assert {"/usr/sbin", "/sbin", "/usr/local/sbin"} <= set(found["path"])
            assert (found["of_sudo"], found["messages"], found["mask"]) == ([], "C", 0o022)

            script = stream(send_bytes, MANY)
            said = await shell.stream(host.target, script, receive, silence=BOUND)
            assert bytes(got) == bytes(range(256)) * 256 * MANY
            assert said.endswith("written\n")

            kept = str(tmp_path / "kept")
            await shell.send(host.target, reading(keep, kept), pieces(), silence=BOUND)
            assert await asked(shell, host, length_of, kept) == {
                "owner": 0,
                "mode": 0o644,
                "right": True,
                "size": 65536 * MANY,
            }

            path = str(tmp_path / "server")
            got.clear()
            listening = asyncio.ensure_future(
                shell.stream(host.target, stream(who_connects, path), receive, silence=BOUND)
            )
            while not got:
                assert not listening.done(), listening.result()
                await asyncio.sleep(0.05)
            way = shell.forward(host.target, reading(relay, path), tmp_path / "here")
            async with way as here:
                reader, writer = await asyncio.open_unix_connection(here)
                assert await asyncio.wait_for(reader.read(), BOUND) == b"0"
                writer.close()
            await listening

            # What works for nobody any more sees that: sudo itself goes on waiting for it.
            got.clear()
            left = tmp_path / "left"
            working = asyncio.ensure_future(
                shell.stream(
                    host.target, stream(wait_until_unheard, str(left)), receive, silence=BOUND
                )
            )
            while not got:
                assert not working.done(), working.result()
                await asyncio.sleep(0.05)
            assert not left.exists()
            shell.drop(host.target)
            async with asyncio.timeout(BOUND):
                while not left.exists():  # noqa: ASYNC110 - another process writes it
                    await asyncio.sleep(0.05)
            with pytest.raises(HostUnreachable):
                await working

    with sudo_host(tmp_path, CARELESS, bastion=True) as host:
        asyncio.run(story(host))


@NEEDED
@pytest.mark.parametrize(
    ("sudoers", "came_back", "adds"),
    [
        (ALLOWED.replace("NOPASSWD:", ""), f"sudo asks {USER} for a password", ALLOWED.strip()),
        (
            f"Defaults requiretty\n{ALLOWED}",
            "sudo wants a terminal",
            f"Defaults:{USER} !requiretty",
        ),
    ],
)
def test_what_sudo_refuses_is_named_with_the_line_to_add(
    tmp_path: Path, sudoers: str, came_back: str, adds: str
) -> None:
    async def story(host: SudoHost) -> None:
        async with HostShell(connect_bound=60) as shell:
            for attempt in (
                shell.ask(host.target, program(surroundings), bound=BOUND),
                shell.send(host.target, reading(keep, "/nowhere"), pieces(), silence=BOUND),
            ):
                with pytest.raises(SudoRefused) as caught:
                    await attempt
                assert caught.value.came_back.startswith(came_back)
                assert f"echo '{adds}' >> /etc/sudoers.d/backstay" in caught.value.remedy

    with sudo_host(tmp_path, sudoers) as host:
        asyncio.run(story(host))


PYTHON = "/usr/bin/python3 -I -"
OTHERS: dict[str, tuple[str, str]] = {
    "sudo: a password is required": ("asks ops for a password", "NOPASSWD: /usr/bin/python3"),
    "sudo: sorry, a password is required to run sudo": ("asks ops", "NOPASSWD"),
    "sudo: no tty present and no askpass program specified": ("asks ops", "NOPASSWD"),
    "sudo: interactive authentication is required": ("asks ops", "NOPASSWD"),
    "sudo-rs: interactive authentication is required": ("asks ops", "NOPASSWD"),
    "sudo: a terminal is required to read the password; either use the -S option to read from "
    "standard input or configure an askpass helper": ("asks ops", "NOPASSWD"),
    "sudo: no password was provided": ("asks ops", "NOPASSWD"),
    "sudo: you must have a tty to run sudo": ("wants a terminal", "!requiretty"),
    "sudo: sorry, you must have a tty to run sudo": ("wants a terminal", "!requiretty"),
    "sudo: unable to allocate pty: No such device": ("use_pty", "devpts"),
    "ops is not in the sudoers file.\nThis incident has been reported to the administrator.": (
        "does not let ops run python3",
        "ops ALL=(root) NOPASSWD",
    ),
    f"Sorry, user ops is not allowed to execute '{PYTHON}' as root on c1.": (
        "does not let ops run python3",
        "ops ALL=(root) NOPASSWD",
    ),
    "ops is not allowed to run sudo on c1.": ("does not let ops", "NOPASSWD"),
    "sudo: I'm sorry ops. I'm afraid I can't do that": ("does not let ops", "ops ALL=(root)"),
    "/etc/sudoers.d/ops:1:27: syntax error\nops ALL=(root\n  ^\nsudo: a password is required": (
        "cannot read its settings",
        "visudo -c",
    ),
    "sudo: no valid sudoers sources found, quitting": ("cannot read its settings", "visudo -c"),
    "sudo: parse error in /etc/sudoers near line 27": ("cannot read its settings", "visudo -c"),
    "sudo: /etc/sudoers is owned by uid 1000, should be 0": ("cannot read its settings", "visudo"),
    "sudo: /etc/sudoers.d/a is world writable": ("cannot read its settings", "visudo -c"),
    "sudo: python3: command not found": ("finds no python3", "secure_path"),
    "sudo: effective uid is not 0, is /usr/bin/sudo on a file system with the 'nosuid' option set "
    "or an NFS file system without root privileges?": ("makes nobody root", "4755"),
    'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.': (
        "makes nobody root",
        "",
    ),
    "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set": (
        "nobody root",
        "4755",
    ),
    "sudo does not make this user root": ("makes nobody root", "runas_default"),
    "not root, and sudo cannot be used: [Errno 2] No such file or directory: 'sudo'": (
        "ops is not root there, and sudo cannot be used: [Errno 2] No such file",
        "apt-get install sudo",
    ),
    "bash: line 1: sudo: command not found": ("sudo cannot be used: command", "log in as root"),
    "sudo: account validation failure, is your account locked?": ("refuses the account", "chage"),
    "sudo: Account or password is expired, reset your password and try again": (
        "refuses the account",
        "chage",
    ),
    "sudo: PAM account management error: Permission denied": ("refuses the account", "chage"),
    "sudo: PAM authentication error: Module is unknown": ("refuses the account", "chage"),
}


@pytest.mark.parametrize("text", OTHERS)
def test_sudo_s_words_are_understood(text: str) -> None:
    warned = f"sudo: unable to resolve host c1: Name or service not known\n{text}\n"
    found = refusal(warned, "ops")
    assert found is not None
    assert OTHERS[text][0] in found.came_back
    assert OTHERS[text][1] in found.remedy


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sudo: unable to resolve host c1: Temporary failure in name resolution",
        "OSError: systemctl: Failed to start a.service",
        "sh: 1: python3: not found",
        "OSError: /etc/sudoers.d/x: No such file or directory",
        "mariadb: Access denied for user 'sudo'@'localhost'",
    ],
)
def test_other_errors_are_not_taken_for_sudo_s(text: str) -> None:
    assert refusal(text, "ops") is None


def test_a_user_of_a_directory_is_written_as_sudoers_has_it() -> None:
    """https://www.sudo.ws/docs/man/sudoers.man/#Other_special_characters_and_reserved_words"""
    found = refusal("sudo: a password is required", r"EXAMPLE\op er")
    assert found is not None
    line = re.search(r"echo '(.*)' >>", found.remedy)
    assert line is not None
    assert line[1].startswith(r"EXAMPLE\\op\ er ALL=(root)")


@NEEDED
def test_a_bastion_that_may_not_go_there_is_named(tmp_path: Path) -> None:
    async def story(host: SudoHost) -> None:
        elsewhere = replace(host.target, port=1)
        async with HostShell(connect_bound=60) as shell:
            with pytest.raises(HostUnreachable) as caught:
                await shell.ask(elsewhere, "print(1)", bound=BOUND)
            assert "does not pass on connections" in caught.value.came_back
            assert "AllowTcpForwarding" in caught.value.remedy
            with pytest.raises(RemoteFailure):
                await shell.ask(host.target, "raise SystemExit(3)", bound=BOUND)

    with sudo_host(tmp_path, bastion=True) as host:
        asyncio.run(story(host))
