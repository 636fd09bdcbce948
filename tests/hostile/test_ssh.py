"""A host that was taken over gets nothing of the operator's, and cannot fill this machine."""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from backstay.access.onhost_relay import relay
from backstay.access.shipping import source_of
from backstay.errors import HostError, HostKeyRefused, HostUnreachable, RemoteFailure
from backstay.transports.ssh import HostShell
from backstay.transports.targets import SshTarget
from tests.hostile import memory, ssh
from tests.hostile.ssh import HostileHost, agent, hostile_host, raw_host

OTHER_KEY = asyncssh.generate_private_key("ssh-ed25519")


def asked(target: SshTarget, *, bound: float = 10.0, connect_bound: float = 10.0) -> str:
    async def story() -> str:
        async with HostShell(connect_bound=connect_bound) as shell:
            return await shell.ask(target, "print('{}')", bound=bound)

    return asyncio.run(story())


def refusal(target: SshTarget, of: type[HostError] = HostError, **bounds: float) -> HostError:
    with pytest.raises(of) as caught:
        asked(target, **bounds)
    assert caught.value.remedy
    return caught.value


# What has no end is dropped, and takes no memory.

_ASK = """
import asyncio, sys
from pathlib import Path
from backstay.errors import HostError
from backstay.transports.ssh import HostShell
from backstay.transports.targets import SshTarget
folder = Path(sys.argv[1])
target = SshTarget(name="compute1", address="127.0.0.1", port=int(sys.argv[2]), user="root",
                   key=folder / "id", known_hosts=folder / "known_hosts")
async def receive(data): await asyncio.sleep(0.02)
async def nothing():
    while True: yield bytes(1 << 16)
async def main():
    async with HostShell() as shell:
        measured()
        try:
            if sys.argv[3] == "ask": await shell.ask(target, "print(1)", bound=60)
            elif sys.argv[3] == "hear": await shell.stream(target, "1", receive, silence=60)
            elif sys.argv[3] == "send": await shell.send(target, "1", nothing(), silence=3)
            else: await asyncio.wait_for(shell.stream(target, "1", receive, silence=3), 6)
        except (HostError, TimeoutError) as error:
            print(type(error).__name__, error)
asyncio.run(main())
"""


def measured(host: HostileHost, folder: Path, how: str) -> memory.Ran:
    return memory.run(_ASK, str(folder), str(host.target.port), how)


@pytest.mark.parametrize(
    ("behaviour", "came_back"),
    [
        (ssh.endless_stdout, "its answer is longer than 16.0 MiB"),
        (ssh.endless_line, "its answer is longer than 16.0 MiB"),
        (ssh.endless_string, "its answer is longer than 16.0 MiB"),
        (ssh.fills_the_window, "its answer is longer than 16.0 MiB"),
        (ssh.endless_stderr, "its standard error is longer than 64.0 KiB"),
        (ssh.good_answer_and_endless_stderr, "its standard error is longer than 64.0 KiB"),
    ],
)
@pytest.mark.parametrize("how", ["ask", "send"])
def test_an_endless_host_is_dropped_at_the_bound(tmp_path, behaviour, came_back, how):
    with hostile_host(tmp_path, behaviour) as host:
        ran = measured(host, tmp_path, how)
        assert f"AnswerTooLong asking compute1 (127.0.0.1) by SSH: {came_back}" in ran.output
        assert ran.grew < 100
        assert host.dropped.wait(10), "the connection was closed"


@pytest.mark.parametrize(
    "behaviour", [ssh.ignored_without_end, ssh.requests_without_end, ssh.single_bytes]
)
@pytest.mark.parametrize("how", ["ask", "hear"])
def test_messages_that_carry_no_data_have_an_end_too(tmp_path, behaviour, how):
    """Each takes the time of a large one: all other hosts would be heard late."""
    with hostile_host(tmp_path, behaviour) as host:
        ran = measured(host, tmp_path, how)
        assert "what it sends beside what was asked is longer than 1.0 MiB" in ran.output
        assert ran.grew < 60
        assert host.dropped.wait(10)


def test_a_stream_goes_no_faster_than_it_is_received(tmp_path):
    with hostile_host(tmp_path, ssh.endless_stdout) as host:
        ran = measured(host, tmp_path, "stream")
        assert ran.grew < 60
        assert host.dropped.wait(10)
        assert host.sent < 300 << 20, "what was not received was not taken either"


def test_the_errors_of_a_stream_have_an_end_too(tmp_path):
    with hostile_host(tmp_path, ssh.endless_stderr) as host:
        ran = measured(host, tmp_path, "stream")
        assert "its standard error is longer than 64.0 KiB" in ran.output
        assert ran.grew < 60


def test_the_reason_why_a_stream_was_left_is_what_its_receiver_raised(tmp_path):
    async def receive(data: bytes) -> None:
        raise ZeroDivisionError

    async def story(target: SshTarget) -> None:
        async with HostShell() as shell:
            await shell.stream(target, "1", receive, silence=5)

    with hostile_host(tmp_path, ssh.endless_stdout) as host, pytest.raises(ZeroDivisionError):
        asyncio.run(story(host.target))


def test_an_answer_just_below_the_bound_is_taken_whole(tmp_path):
    text = b"x" * (16 << 20)
    with hostile_host(tmp_path, ssh.says(text)) as host:
        assert asked(host.target, bound=60) == text.decode()
    with hostile_host(tmp_path / "2", ssh.says(text + b"x")) as host:
        assert "longer than" in str(refusal(host.target, RemoteFailure, bound=60))
    with hostile_host(tmp_path / "3", ssh.says(b"1", errors=b"x" * (64 << 10))) as host:
        assert asked(host.target, bound=60) == "1"


@pytest.mark.parametrize(
    "behaviour", [one for one in ssh.BEHAVIOURS if one not in (ssh.garbage, ssh.deep_json)]
)
def test_whatever_a_host_does_it_is_that_host_s_error(tmp_path, behaviour, caplog):
    with hostile_host(tmp_path, behaviour) as host:
        if behaviour is ssh.succeeds_with_errors:
            assert asked(host.target) == ""
            return
        error = refusal(host.target, bound=1.5)
        assert "compute1" in error.attempted
        assert error.came_back.isprintable()
        assert len(error.came_back) < 600
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_host_that_reads_nothing_does_not_hold_up_what_is_sent(tmp_path):
    async def data() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1 << 18)

    async def story(target: SshTarget) -> None:
        async with HostShell() as shell:
            await shell.send(target, "1", data(), silence=1)

    with hostile_host(tmp_path, ssh.never_reads) as host:
        with pytest.raises(HostUnreachable, match="no answer came within 1 s"):
            asyncio.run(story(host.target))
        assert host.dropped.wait(10)


@pytest.mark.parametrize("behaviour", ssh.RAW)
def test_a_host_that_does_not_come_to_a_session_is_left(tmp_path, behaviour):
    with raw_host(tmp_path, behaviour) as host:
        ran = measured(host, tmp_path, "ask")
        assert "HostUnreachable connecting to compute1" in ran.output
        assert ran.grew < 60
        assert host.dropped.wait(10)


def test_a_compressed_answer_is_not_agreed_to(tmp_path):
    """A packet of 32 kB may be 32 MB unpacked."""

    async def story() -> str:
        server = await asyncssh.create_server(
            asyncssh.SSHServer,
            "127.0.0.1",
            0,
            server_host_keys=[ssh.HOST_KEY],
            compression_algs=["zlib@openssh.com", "zlib"],
        )
        target = ssh._target(tmp_path, server.get_port(), "compute1")
        async with HostShell() as shell:
            with pytest.raises(HostUnreachable) as caught:
                await shell.ask(target, "print(1)", bound=5)
        server.close()
        return str(caught.value)

    assert "compression" in asyncio.run(story()).lower()


# With ~/.ssh/config, which has more for hosts than they need.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


def configured(home: Path, host: HostileHost, *lines: str, name: str = "compute1") -> SshTarget:
    """Write ~/.ssh/config for a host; return the target as a cloud.yaml without `ssh` has it."""
    there = host.target
    text = [f"Host {name}", f"  Hostname {there.address}", f"  Port {there.port}", "  User root"]
    text += [f"  IdentityFile {there.key}", *(f"  {line}" for line in lines)]
    with (home / ".ssh/config").open("a") as config:
        config.write("\n".join([*text, ""]))
    return SshTarget(name=name, address=name)


def known(host: HostileHost) -> str:
    return f"UserKnownHostsFile {host.target.known_hosts}"


def test_the_agent_is_never_forwarded(tmp_path, home, monkeypatch):
    with agent(tmp_path) as path, hostile_host(tmp_path / "h", ssh.asks_for_the_agent) as host:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        target = configured(home, host, known(host), "ForwardAgent yes", "ForwardX11Trusted yes")
        assert asked(target) == "{}\n"
        assert (host.agent_offered, host.agent_reached) == (0, False)
        (home / ".ssh/config").unlink()
        target = configured(home, host, known(host), f"ForwardAgent {path}")
        assert asked(target) == "{}\n"
        assert (host.agent_offered, host.agent_reached) == (0, False)


def test_nothing_else_of_the_file_reaches_the_host(tmp_path, home, monkeypatch):
    """Variables, a terminal, a command of its own, ports: a check needs none of them."""
    seen: dict[str, object] = {}

    async def notes(process: ssh.Process) -> None:
        seen.update(env=dict(process.env), term=process.term_type)
        await ssh.opens_channels(process)

    monkeypatch.setenv("OS_PASSWORD", "s3cret")
    with hostile_host(tmp_path, notes) as host:
        target = configured(
            home,
            host,
            known(host),
            "SendEnv OS_PASSWORD",
            "SetEnv TOKEN=s3cret",
            "RequestTTY force",
            "RemoteCommand tmux attach",
            "LocalForward 127.0.0.1:1 127.0.0.1:1",
            "RemoteForward 127.0.0.1:1 127.0.0.1:1",
            "DynamicForward 1",
            "Compression yes",
            "GSSAPIDelegateCredentials yes",
        )
        assert asked(target) == "{}\n"
        assert host.commands == ["python3 -I -"]
    assert seen == {"env": {}, "term": None}


@pytest.mark.parametrize(
    "lines",
    [
        ["UserKnownHostsFile none"],
        ["UserKnownHostsFile /dev/null"],
        ["UserKnownHostsFile=none"],
        ['UserKnownHostsFile "none"'],
        ["UserKnownHostsFile None"],
        ["UserKnownHostsFile none", "GlobalKnownHostsFile /dev/null"],
        ["UserKnownHostsFile none", "GlobalKnownHostsFile none"],
        ["StrictHostKeyChecking no", "UserKnownHostsFile /dev/null"],
    ],
)
def test_host_keys_cannot_be_switched_off(tmp_path, home, lines):
    with hostile_host(tmp_path, ssh.runs_python) as host:
        target = configured(home, host, *lines)
        error = refusal(target, HostKeyRefused)
        named = next(line for line in lines if "UserKnown" in line)
        number = 6 + lines.index(named)
        assert f"{home}/.ssh/config, line {number}: {named}" in error.came_back
        assert host.commands == []


def test_the_line_is_found_in_an_included_file(tmp_path, home):
    with hostile_host(tmp_path, ssh.runs_python) as host:
        (home / ".ssh/more").mkdir()
        (home / ".ssh/more/all").write_text("Host *\nUserKnownHostsFile none\n")
        (home / ".ssh/config").write_text("Include more/*\n")
        error = refusal(configured(home, host), HostKeyRefused)
        assert f"{home}/.ssh/more/all, line 2: UserKnownHostsFile none" in error.came_back


def test_keys_come_from_all_the_files_that_are_there(tmp_path, home):
    with hostile_host(tmp_path, ssh.runs_python) as host:
        keys = tmp_path / "known_hosts"
        for lines in (
            [f"UserKnownHostsFile {tmp_path}/none-there {keys}"],
            ["UserKnownHostsFile none", f"GlobalKnownHostsFile {keys}"],
            [f"UserKnownHostsFile /dev/null {keys}"],
            ["UserKnownHostsFile ~/.ssh/of-the-cloud"],
            ["UserKnownHostsFile %d/.ssh/of-the-cloud"],
            ["HostKeyAlias cloud-hosts", "UserKnownHostsFile ~/.ssh/by-alias"],
        ):
            (home / ".ssh/config").unlink(missing_ok=True)
            text = keys.read_text()
            (home / ".ssh/of-the-cloud").write_text(text)
            entry = f"cloud-hosts {text.split(' ', 1)[1]}"
            (home / ".ssh/by-alias").write_text(entry)
            assert asked(configured(home, host, *lines)) == "{}\n", lines


def test_without_any_file_no_key_is_known(tmp_path, home):
    with hostile_host(tmp_path, ssh.runs_python) as host:
        for lines in ([], ["UserKnownHostsFile ~/not-there"], ["UserKnownHostsFile /dev/zero"]):
            (home / ".ssh/config").unlink(missing_ok=True)
            error = refusal(configured(home, host, *lines), HostKeyRefused)
            assert "no key of it is known in" in error.came_back
            assert ssh.HOST_KEY.get_fingerprint() in error.came_back
        assert host.commands == []


def test_a_file_that_cannot_be_read_as_such_is_that_host_s_error(home):
    (home / ".ssh/config").write_text("Host *\n  Port many\n")
    error = refusal(SshTarget(name="compute1", address="127.0.0.1"), HostUnreachable)
    assert "~/.ssh/config cannot be used" in error.came_back
    assert "line 2" in error.came_back


# Jump hosts.


def test_a_jump_host_is_checked_and_used(tmp_path, home):
    async def passes_on(folder: Path) -> None:
        class Bastion(asyncssh.SSHServer):
            def begin_auth(self, username: str) -> bool:
                return False

            def connection_requested(self, *_: object) -> bool:
                requested.append(1)
                return True

            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                made.append(1)

        server = await asyncssh.create_server(Bastion, "127.0.0.1", 0, server_host_keys=[OTHER_KEY])
        port = server.get_port()
        (home / ".ssh/config").write_text(
            f"Host bastion\n  Hostname 127.0.0.1\n  Port {port}\n  ForwardAgent yes\n"
            f"  UserKnownHostsFile {home}/bastion\n"
        )
        targets = [
            configured(home, host, known(host), "ProxyJump ops@bastion", name=name)
            for name in ("compute1", "compute2")
        ]
        async with HostShell() as shell:
            with pytest.raises(HostKeyRefused, match="its jump host bastion: no key"):
                await shell.ask(targets[0], "print(1)", bound=10)
        entry = f"[127.0.0.1]:{port} {OTHER_KEY.export_public_key().decode()}"
        (home / "bastion").write_text(entry)
        made.clear()
        async with HostShell() as shell:
            answers = [shell.ask(target, "print(1)", bound=20) for target in targets]
            assert await asyncio.gather(*answers) == ["1\n", "1\n"]
        assert (len(requested), len(made)) == (2, 1), "one connection to it serves both"
        with (home / ".ssh/config").open("a") as config:
            config.write("Host straight\n  ProxyJump none\n")
        async with HostShell() as shell:
            target = configured(home, host, known(host), name="straight")
            assert await shell.ask(target, "print(2)", bound=20) == "2\n"
        server.close()

    requested: list[int] = []
    made: list[int] = []
    with hostile_host(tmp_path / "h", ssh.runs_python) as host:
        asyncio.run(passes_on(tmp_path))


def test_host_keys_of_a_jump_host_cannot_be_switched_off(tmp_path, home):
    with (
        hostile_host(tmp_path / "h", ssh.runs_python) as host,
        hostile_host(tmp_path / "b", ssh.runs_python) as bastion,
    ):
        configured(home, bastion, "UserKnownHostsFile none", name="bastion")
        target = configured(home, host, known(host), "ProxyJump bastion")
        error = refusal(target, HostKeyRefused)
        assert error.came_back.startswith("its jump host bastion: ")
        assert "line 6: UserKnownHostsFile none" in error.came_back
        assert bastion.connections == 0


def test_jump_hosts_in_a_circle_are_an_error(tmp_path, home):
    with hostile_host(tmp_path, ssh.runs_python) as host:
        target = configured(home, host, known(host))
        with (home / ".ssh/config").open("a") as config:
            config.write("Host *\n  ProxyJump bastion\n")
        error = refusal(target, HostUnreachable)
        assert "leads in a circle, by bastion" in error.came_back


def test_a_proxy_command_is_used(tmp_path, home):
    with hostile_host(tmp_path, ssh.runs_python) as host:
        code = """import os, socket, threading
there = socket.create_connection(("127.0.0.1", PORT))
def upstream():
    while data := os.read(0, 65536):
        there.sendall(data)
threading.Thread(target=upstream, daemon=True).start()
while data := there.recv(65536):
    os.write(1, data)
"""
        program = tmp_path / "proxy.py"
        program.write_text(code.replace("PORT", str(host.target.port)))
        keys = tmp_path / "keys"
        key = ssh.HOST_KEY.export_public_key().decode()
        keys.write_text(f"[127.0.0.1]:{host.target.port} {key}")
        target = configured(
            home, host, f"UserKnownHostsFile {keys}", f"ProxyCommand {sys.executable} {program}"
        )
        assert asked(target) == "{}\n"
        target = configured(home, host, known(host), "ProxyCommand none", name="straight")
        assert asked(target) == "{}\n"


# A socket of the host's, led to here.


class LetsAnybodyIn(asyncssh.SSHServer):
    """Lets anybody in."""

    def begin_auth(self, username: str) -> bool:
        return False


async def runs_it(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run the command that came, its input and output led to the client."""
    child = await asyncio.create_subprocess_shell(
        process.command or "", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    await process.redirect(stdin=child.stdin, stdout=child.stdout)
    process.exit(await child.wait())


@asynccontextmanager
async def sockets(folder: Path) -> AsyncIterator[int]:
    """A host with two sockets: ``echo`` gives back what is sent to it, ``endless`` sends forever.

    Gives the port of its SSH server.
    """

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()

    listening = [
        await asyncio.start_unix_server(serve, path=folder / name)
        for name, serve in (("echo", echo), ("endless", endless))
    ]
    server = await asyncssh.create_server(
        LetsAnybodyIn,
        "127.0.0.1",
        0,
        server_host_keys=[ssh.HOST_KEY],
        process_factory=runs_it,
        encoding=None,
    )
    try:
        yield server.get_port()
    finally:
        server.close()
        for one in listening:
            one.close()


def relaying(path: Path) -> str:
    """The script that is sent to a host for one of its sockets, but for becoming root."""
    return f"{source_of(relay)}\nrelay({str(path)!r})\n"


def test_a_socket_of_the_host_is_led_to_here(tmp_path):
    async def story() -> None:
        async with sockets(tmp_path) as port, HostShell() as shell:
            target = ssh._target(tmp_path, port, "controller")
            async with shell.forward(target, relaying(tmp_path / "echo"), tmp_path / "s") as here:
                reader, writer = await asyncio.open_unix_connection(here)
                sent = bytes(range(256)) * 20_000
                writer.write(sent)
                writer.write_eof()
                assert await asyncio.wait_for(reader.read(), 30) == sent
                writer.close()
            nowhere = relaying(tmp_path / "not-there")
            async with shell.forward(target, nowhere, tmp_path / "n") as here:
                reader, writer = await asyncio.open_unix_connection(here)
                assert await asyncio.wait_for(reader.read(), 30) == b""
                writer.close()

    asyncio.run(story())


_SLOW_READER = """
import asyncio, sys
from pathlib import Path
from backstay.transports.ssh import HostShell
from tests.hostile import ssh
from tests.hostile.test_ssh import relaying
async def main():
    folder = Path(sys.argv[1])
    target = ssh.SshTarget(name="c", address="127.0.0.1", port=int(sys.argv[2]), user="root",
                           key=folder / "id", known_hosts=folder / "known_hosts")
    script = relaying(folder / "endless")
    async with HostShell() as shell, shell.forward(target, script, folder / "s") as here:
        reader, writer = await asyncio.open_unix_connection(here)
        measured()
        for _ in range(100):
            await reader.read(1 << 15)
            await asyncio.sleep(0.03)
        writer.close()
asyncio.run(main())
"""


def test_a_socket_of_the_host_brings_no_more_than_is_read(tmp_path):
    async def story() -> memory.Ran:
        async with sockets(tmp_path) as port:
            ssh._target(tmp_path, port, "controller")
            return await asyncio.to_thread(memory.run, _SLOW_READER, str(tmp_path), str(port))

    assert asyncio.run(story()).grew < 30


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["config", "its folder", "an included file"])
def test_a_config_of_another_user_runs_nothing(tmp_path, home, what):
    """With sudo ``~`` may be that of whoever called it."""
    ran, config = tmp_path / "ran", home / ".ssh/config"
    line = f'Match exec "touch {ran}"\nProxyCommand touch {ran}\n'
    with hostile_host(tmp_path / "h", ssh.says(b"{}\n")) as host:
        target = configured(home, host, known(host))
        if what == "an included file":
            (home / ".ssh/more").write_text(line)
            config.write_text(f"Include more\n{config.read_text()}")
        else:
            config.write_text(f"{config.read_text()}{line}")
        given = {"config": config, "its folder": home / ".ssh"}.get(what, home / ".ssh/more")
        os.chown(given, 65534, 65534)
        with pytest.raises(HostUnreachable, match="is not used") as caught:
            asked(target)
    assert "sudo -H" in caught.value.remedy
    assert not ran.exists()


def test_known_keys_that_others_may_change_are_not_used(tmp_path, home):
    with hostile_host(tmp_path / "h", ssh.says(b"{}\n")) as host:
        target = configured(home, host, known(host))
        assert host.target.known_hosts is not None
        host.target.known_hosts.chmod(0o666)
        for one in (target, host.target):
            with pytest.raises(HostKeyRefused, match="everybody may write to"):
                asked(one)
