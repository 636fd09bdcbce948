"""Hosts that misbehave in one way each, as real SSH servers in this process."""

import asyncio
import gc
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from backstay.errors import (
    HostError,
    HostKeyRefused,
    HostUnreachable,
    LoginRefused,
    RemoteFailure,
)
from backstay.transports.ssh import HostShell
from backstay.transports.targets import SshTarget

HOST_KEY = asyncssh.generate_private_key("ssh-ed25519")
OTHER_KEY = asyncssh.generate_private_key("ssh-ed25519")
RSA_KEY = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
USER_KEY = asyncssh.generate_private_key("ssh-ed25519")
STRANGER_KEY = asyncssh.generate_private_key("ssh-ed25519")

Process = asyncssh.SSHServerProcess[str]
Behaviour = Callable[[Process], Coroutine[Any, Any, None]]


class Host(asyncssh.SSHServer):
    """A host that lets USER_KEY in, and counts its connections."""

    connections: list[asyncssh.SSHServerConnection]

    def connection_made(self, conn):
        self.connections.append(conn)

    def begin_auth(self, username):
        return True

    def public_key_auth_supported(self):
        return True

    def validate_public_key(self, username, key):
        return username == "root" and key == USER_KEY.convert_to_public()


async def runs_python(process: Process) -> None:
    """What a healthy host does: run the script that comes on standard input."""
    assert process.command == "python3 -I -"
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate((await process.stdin.read()).encode())
    process.stdout.write(out.decode())
    process.stderr.write(err.decode())
    process.exit(child.returncode or 0)


async def has_no_python(process: Process) -> None:
    process.stderr.write("bash: line 1: python3: command not found\n")
    process.exit(127)


async def never_answers(process: Process) -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def host(
    folder: Path,
    behaviour: Behaviour = runs_python,
    *,
    key: asyncssh.SSHKey = HOST_KEY,
    known: asyncssh.SSHKey | None = HOST_KEY,
    user_key: asyncssh.SSHKey = USER_KEY,
) -> AsyncIterator[tuple[SshTarget, list[asyncssh.SSHServerConnection]]]:
    """A host on loopback and the target that reaches it."""
    connections: list[asyncssh.SSHServerConnection] = []

    class Counted(Host):
        pass

    Counted.connections = connections
    server = await asyncssh.create_server(
        Counted, "127.0.0.1", 0, server_host_keys=[key], process_factory=behaviour
    )
    port = server.get_port()
    try:
        yield target(folder, port, known=known, user_key=user_key), connections
    finally:
        server.close()
        for connection in connections:
            connection.abort()


def target(
    folder: Path,
    port: int,
    *,
    known: asyncssh.SSHKey | None = HOST_KEY,
    user_key: asyncssh.SSHKey = USER_KEY,
) -> SshTarget:
    user_key.write_private_key(folder / "id")
    (folder / "id").chmod(0o600)
    line = f"[127.0.0.1]:{port} {known.export_public_key().decode()}" if known else ""
    (folder / "known_hosts").write_text(line)
    return SshTarget(
        name="controller",
        address="127.0.0.1",
        port=port,
        user="root",
        key=folder / "id",
        known_hosts=folder / "known_hosts",
    )


def refusal(
    of: type[HostError], there: SshTarget, *, connect_bound: float = 5, bound: float = 5
) -> Coroutine[Any, Any, HostError]:
    async def asked() -> HostError:
        async with HostShell(connect_bound=connect_bound) as shell:
            with pytest.raises(of) as caught:
                await shell.ask(there, "print(1)", bound=bound)
        assert caught.value.remedy
        return caught.value

    return asked()


def test_one_script_goes_there_and_its_output_comes_back_with_the_times(tmp_path):
    async def story() -> None:
        async with host(tmp_path) as (there, connections), HostShell() as shell:
            before = time.time()
            script = "import time, json; print(json.dumps({'clock': time.time(), 'text': 'é'}))"
            answer = await shell.answer(there, script, bound=20)
            said = json.loads(answer.stdout)
            assert said["text"] == "é"
            assert before <= answer.sent_at <= said["clock"] <= answer.received_at <= time.time()
            assert len(connections) == 1

    asyncio.run(story())


def test_a_connection_is_used_again_and_made_only_once_for_two_at_a_time(tmp_path):
    async def story() -> None:
        async with host(tmp_path) as (there, connections), HostShell() as shell:
            both = [shell.ask(there, f"print({number})", bound=20) for number in (1, 2)]
            assert await asyncio.gather(*both) == ["1\n", "2\n"]
            assert await shell.ask(there, "print(3)", bound=20) == "3\n"
            assert len(connections) == 1

    asyncio.run(story())


def test_after_a_reboot_the_dead_connection_is_replaced(tmp_path):
    async def story() -> None:
        async with host(tmp_path) as (there, connections), HostShell() as shell:
            await shell.ask(there, "print(1)", bound=20)
            connections[0].abort()
            assert await shell.ask(there, "print(2)", bound=20) == "2\n"
            assert len(connections) == 2

    asyncio.run(story())


def test_another_host_key_than_the_known_one_is_refused_with_both_fingerprints(tmp_path):
    async def story() -> None:
        async with host(tmp_path, key=OTHER_KEY) as (there, _):
            error = await refusal(HostKeyRefused, there)
            assert HOST_KEY.get_fingerprint() in error.came_back
            assert OTHER_KEY.get_fingerprint() in error.came_back
            assert "ssh-keygen -lf" in error.remedy
            assert "this may be an attack" in error.came_back
            assert f"-p {there.port} root@127.0.0.1 true" in error.remedy
            assert f"-R '[127.0.0.1]:{there.port}'" in error.remedy

    asyncio.run(story())


def test_a_known_key_of_another_kind_is_refused_too(tmp_path):
    async def story() -> None:
        async with host(tmp_path, key=HOST_KEY, known=RSA_KEY) as (there, _):
            error = await refusal(HostKeyRefused, there)
            assert RSA_KEY.get_fingerprint() in error.came_back

    asyncio.run(story())


def test_a_host_that_is_not_known_is_refused(tmp_path):
    async def story() -> None:
        async with host(tmp_path, known=None) as (there, _):
            error = await refusal(HostKeyRefused, there)
            assert "no key of it is known" in error.came_back
            assert HOST_KEY.get_fingerprint() in error.came_back
            assert not error.elsewhere
            (tmp_path / "known_hosts").unlink()
            error = await refusal(HostKeyRefused, there)
            assert "No such file" in error.came_back
            assert error.elsewhere

    asyncio.run(story())


def test_a_refused_login_names_user_and_key(tmp_path):
    async def story() -> None:
        async with host(tmp_path, user_key=STRANGER_KEY) as (there, _):
            error = await refusal(LoginRefused, there)
            assert "root" in error.came_back
            assert str(tmp_path / "id") in error.came_back

    asyncio.run(story())


def test_a_key_that_cannot_be_used_is_said_so(tmp_path):
    async def story() -> None:
        async with host(tmp_path) as (there, _):
            USER_KEY.write_private_key(tmp_path / "id", passphrase="secret")
            (tmp_path / "id").chmod(0o600)
            error = await refusal(LoginRefused, there)
            assert "ssh-add" in error.remedy
            assert not error.elsewhere
            (tmp_path / "id").unlink()
            error = await refusal(LoginRefused, there)
            assert "No such file" in error.came_back
            assert error.elsewhere

    asyncio.run(story())


def test_nothing_listens(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        there = target(tmp_path, unused.getsockname()[1])
        error = asyncio.run(refusal(HostUnreachable, there))
    assert "refuses connections" in error.came_back
    assert "reached" in error.came_back


def test_a_frozen_host_takes_the_connection_and_sends_no_banner(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        there = target(tmp_path, frozen.getsockname()[1])
        started = time.monotonic()
        error = asyncio.run(refusal(HostUnreachable, there, connect_bound=0.3))
        assert time.monotonic() - started < 10
    assert "no SSH banner was received within 0.3 s" in error.came_back


def test_a_full_backlog_is_a_host_that_does_not_answer(tmp_path):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        clogs = [socket.socket() for _ in range(4)]
        for clog in clogs:
            clog.setblocking(False)
            clog.connect_ex(address)
        there = target(tmp_path, address[1])
        error = asyncio.run(refusal(HostUnreachable, there, connect_bound=0.3))
        for clog in clogs:
            clog.close()
    assert "did not answer within 0.3 s" in error.came_back


def test_a_name_that_is_not_known(tmp_path):
    there = SshTarget(
        name="c", address="no-such-host.invalid", known_hosts=target(tmp_path, 1).known_hosts
    )
    error = asyncio.run(refusal(HostUnreachable, there))
    assert "no-such-host.invalid" in error.came_back


def test_something_else_than_ssh_answers(tmp_path):
    async def story() -> None:
        async def web(reader, writer):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
            writer.close()

        server = await asyncio.start_server(web, "127.0.0.1", 0)
        async with server:
            await refusal(HostUnreachable, target(tmp_path, server.sockets[0].getsockname()[1]))

    asyncio.run(story())


def test_a_host_without_python(tmp_path):
    async def story() -> None:
        async with host(tmp_path, has_no_python) as (there, _):
            error = await refusal(RemoteFailure, there)
            assert "python3" in error.came_back

    asyncio.run(story())


def test_a_script_that_fails_gives_its_last_line(tmp_path):
    async def story() -> None:
        async with host(tmp_path) as (there, _), HostShell() as shell:
            with pytest.raises(RemoteFailure, match="ZeroDivisionError") as caught:
                await shell.ask(there, "1 / 0", bound=20)
            assert "exit status 1" in caught.value.came_back
            assert "Traceback" not in str(caught.value)

    asyncio.run(story())


def test_a_host_that_hangs_after_the_login_and_then_answers_again(tmp_path):
    async def story() -> None:
        hang = True

        async def hangs_once(process):
            nonlocal hang
            if hang:
                hang = False
                await never_answers(process)
            await runs_python(process)

        async with host(tmp_path, hangs_once) as (there, connections), HostShell() as shell:
            with pytest.raises(HostUnreachable, match=r"no answer came within 0\.3 s"):
                await shell.ask(there, "print(1)", bound=0.3)
            assert await shell.ask(there, "print(2)", bound=20) == "2\n"
            assert len(connections) == 2

    asyncio.run(story())


def test_a_connection_that_breaks_while_asking(tmp_path):
    async def story() -> None:
        async def dies(process):
            process.get_extra_info("connection").abort()

        async with host(tmp_path, dies) as (there, _):
            error = await refusal(HostUnreachable, there)
            assert "was lost" in error.came_back

    asyncio.run(story())


def test_a_stream_that_breaks_off_at_once(tmp_path):
    async def dies(process):
        process.get_extra_info("connection").abort()

    async def receive(_):
        """Take it."""

    async def story() -> None:
        async with host(tmp_path, dies) as (there, _), HostShell() as shell:
            with pytest.raises(HostUnreachable, match="was lost"):
                await shell.stream(there, "print(1)", receive, silence=5)

    asyncio.run(story())


def test_a_stream_that_was_given_up_before_its_connection_broke_says_nothing(tmp_path):
    async def story() -> list[object]:
        beside: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, about: beside.append(about))
        started = asyncio.Event()

        async def says_half(process):
            process.stdout.write("half")
            await never_answers(process)

        async def receive(_):
            started.set()

        async with host(tmp_path, says_half) as (there, connections), HostShell() as shell:
            streaming = asyncio.ensure_future(shell.stream(there, "print(1)", receive, silence=5))
            await started.wait()
            streaming.cancel()
            with pytest.raises(asyncio.CancelledError):
                await streaming
            connections[0].abort()
            with pytest.raises(HostUnreachable):
                await shell.ask(there, "print(1)", bound=0.3)
        del streaming
        gc.collect()  # a task whose error nobody asked for says so as it goes
        return beside

    assert asyncio.run(story()) == []
