"""A host that was taken over, as a real SSH server with a known host key, in one way each.

``with hostile_host(tmp_path, endless_stdout) as host:`` runs it on a thread of its own, so that a
program in another process can be tried against it too. ``host.target`` is how it is reached.
"""

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import Boolean, String, UInt32

from backstay.transports.targets import SshTarget

HOST_KEY = asyncssh.generate_private_key("ssh-ed25519")
USER_KEY = asyncssh.generate_private_key("ssh-ed25519")

Process = asyncssh.SSHServerProcess[bytes]
Behaviour = Callable[[Process], Coroutine[Any, Any, None]]
PIECE = 1 << 16


@dataclass
class HostileHost:
    """``target`` leads to it. The rest is what it saw.

    Attributes:
        commands: The commands that it was to run, in order.
        agent_offered: Sessions for which the operator's agent was offered.
        agent_reached: Whether it could open a channel to an agent, by being offered it or not.
        connections: Connections that were made to it, in all.
        sent: Bytes that it could write to its output; what it still holds back is not counted.
        dropped: Set when a connection has been closed.

    """

    target: SshTarget
    commands: list[str] = field(default_factory=list)
    agent_offered: int = 0
    agent_reached: bool = False
    connections: int = 0
    sent: int = 0
    dropped: threading.Event = field(default_factory=threading.Event)

    @property
    def hosts_entry(self) -> str:
        """The lines of cloud.yaml, below ``hosts``, that lead to it."""
        there = self.target
        return (
            f"  {there.name}:\n    roles: [compute]\n    address: {there.address}\n"
            f"    ssh: {{port: {there.port}, user: root, key: {there.key}, "
            f"known_hosts: {there.known_hosts}}}\n"
        )


@contextmanager
def hostile_host(
    folder: Path, behaviour: Behaviour, *, name: str = "compute1"
) -> Iterator[HostileHost]:
    """Run a host; every command and shell that is started there behaves so."""

    async def serve(host: HostileHost) -> int:
        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                host.connections += 1

            def connection_lost(self, exc: Exception | None) -> None:
                host.dropped.set()

            def begin_auth(self, username: str) -> bool:
                return True

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                return key == USER_KEY.convert_to_public()

        async def handle(process: Process) -> None:
            host.commands.append(process.command or "")
            connection = process.get_extra_info("connection")
            host.agent_offered += bool(connection.get_agent_path())
            connection.set_extra_info(hostile=host)
            with contextlib.suppress(asyncssh.Error, OSError):
                await behaviour(process)

        server = await asyncssh.create_server(
            Server,
            "127.0.0.1",
            0,
            server_host_keys=[HOST_KEY],
            process_factory=handle,
            encoding=None,
        )
        return server.get_port()

    with _running(folder, serve, name) as host:
        yield host


@contextmanager
def raw_host(
    folder: Path,
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    name: str = "compute1",
) -> Iterator[HostileHost]:
    """Run a host that does not come as far as an SSH session: what it sends, ``handle`` writes."""

    async def serve(host: HostileHost) -> int:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            host.connections += 1
            try:
                with contextlib.suppress(OSError):
                    await handle(reader, writer)
            finally:
                host.dropped.set()
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    with _running(folder, serve, name) as host:
        yield host


@contextmanager
def _running(
    folder: Path, serve: Callable[[HostileHost], Coroutine[Any, Any, int]], name: str
) -> Iterator[HostileHost]:
    folder.mkdir(parents=True, exist_ok=True)
    host = HostileHost(SshTarget(name=name, address="127.0.0.1"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        port = asyncio.run_coroutine_threadsafe(serve(host), loop).result(20)
        host.target = _target(folder, port, name)
        yield host
    finally:
        asyncio.run_coroutine_threadsafe(_end_all(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


async def _end_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=5) if tasks else None


def _target(folder: Path, port: int, name: str) -> SshTarget:
    key, known = folder / "id", folder / "known_hosts"
    USER_KEY.write_private_key(key)
    key.chmod(0o600)
    known.write_text(f"[127.0.0.1]:{port} {HOST_KEY.export_public_key().decode()}")
    return SshTarget(
        name=name, address="127.0.0.1", port=port, user="root", key=key, known_hosts=known
    )


# Behaviours: what the host does with a command that it is sent.


def says(text: bytes, *, errors: bytes = b"", status: int = 0) -> Behaviour:
    """Print just that, whatever the script is, and end with that status."""

    async def behave(process: Process) -> None:
        await _script(process)
        process.stdout.write(text)
        process.stderr.write(errors)
        process.exit(status)

    return behave


async def runs_python(process: Process) -> None:
    """Be a healthy host: run the command with this python."""
    script = await _script(process)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate(script)
    process.stdout.write(out)
    process.stderr.write(err)
    process.exit(child.returncode or 0)


async def endless_stdout(process: Process) -> None:
    """Write lines forever."""
    await _endless(process, process.stdout, b'{"an": "answer"}\n' * (PIECE // 17))


async def endless_line(process: Process) -> None:
    """Write one line without end."""
    await _endless(process, process.stdout, b"x" * PIECE)


async def endless_string(process: Process) -> None:
    """Begin an answer, and write a string in it without end."""
    process.stdout.write(b'{"units": "')
    await _endless(process, process.stdout, b"x" * PIECE)


async def endless_stderr(process: Process) -> None:
    """Write errors forever and nothing else."""
    await _endless(process, process.stderr, b"an error\n" * (PIECE // 9))


async def good_answer_and_endless_stderr(process: Process) -> None:
    """Answer well, and write errors forever."""
    process.stdout.write(b"{}\n")
    await _endless(process, process.stderr, b"an error\n" * (PIECE // 9))


async def garbage(process: Process) -> None:
    """Write random bytes and end well."""
    await _script(process)
    process.stdout.write(os.urandom(PIECE))
    process.exit(0)


async def deep_json(process: Process) -> None:
    """Write JSON that is nested a hundred thousand times."""
    await _script(process)
    process.stdout.write(b"[" * 100_000 + b"]" * 100_000)
    process.exit(0)


async def slow_drip(process: Process) -> None:
    """Write a byte every 50 ms forever."""
    while True:
        process.stdout.write(b" ")
        await process.stdout.drain()
        await asyncio.sleep(0.05)


async def closes_in_the_middle(process: Process) -> None:
    """Cut the connection within an answer."""
    process.stdout.write(b'{"units": [{"name": "ssh.serv')
    await process.stdout.drain()
    await asyncio.sleep(0.05)
    process.get_extra_info("connection").abort()


async def closes_the_channel(process: Process) -> None:
    """End within an answer without any exit status."""
    process.stdout.write(b'{"units": [{"name": "ssh.serv')
    process.close()


async def ignored_without_end(process: Process) -> None:
    """Send what SSH has to be ignored, as fast as possible."""
    await _messages(process, lambda connection, _: connection.send_packet(2, String(b"")))


async def requests_without_end(process: Process) -> None:
    """Ask what must be answered, as fast as possible, and never read the answers."""
    process.get_extra_info("connection")._transport.pause_reading()
    await _messages(
        process, lambda connection, _: connection.send_packet(80, String(b"x"), Boolean(True))
    )


async def single_bytes(process: Process) -> None:
    """Write lines, each byte in a message of its own."""

    def say(connection: Any, channel: int) -> None:
        connection.send_packet(94, UInt32(channel), String(b"\n"))

    await _messages(process, say)


async def _messages(process: Process, say: Callable[[Any, int], None]) -> None:
    """Let messages go by the ten thousand: to make them takes longer than to read them."""
    connection: Any = process.get_extra_info("connection")
    channel: Any = process.channel
    transport = connection._transport
    while True:
        made: list[bytes] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transport, "write", made.append, raising=False)
            for _ in range(10_000):
                say(connection, channel._send_chan)
        transport.write(b"".join(made))
        await asyncio.sleep(0)


async def hangs(process: Process) -> None:
    """Let one log in and never answer."""
    await asyncio.Event().wait()


async def asks_for_the_agent(process: Process) -> None:
    """Open a channel to the operator's agent, offered or not, and ask for its keys; answer well."""
    host: HostileHost = process.get_extra_info("hostile")
    connection = process.get_extra_info("connection")
    try:
        reader, writer = await connection.open_agent_connection()
        writer.write(b"\0\0\0\1\x0b")  # SSH_AGENTC_REQUEST_IDENTITIES
        host.agent_reached = bool(await asyncio.wait_for(reader.read(4), 5))
    except (asyncssh.Error, OSError, TimeoutError):
        pass
    await runs_python(process)


async def fails_with_a_good_answer(process: Process) -> None:
    """Print an answer and say that it failed."""
    await _script(process)
    process.stdout.write(b"{}\n")
    process.exit(3)


async def succeeds_with_errors(process: Process) -> None:
    """Print nothing but a traceback and say that all is well."""
    await _script(process)
    process.stderr.write(b"Traceback (most recent call last):\nMemoryError\n")
    process.exit(0)


async def odd_status(process: Process) -> None:
    """End with a status that no process can have."""
    await _script(process)
    process.stdout.write(b"{}\n")
    process.exit(0xFFFFFFFF)


async def is_killed(process: Process) -> None:
    """End by a signal whose name and message hold what a terminal obeys."""
    process.stdout.write(b"{}")
    process.exit_with_signal("\x1b]52;c;AAAA\x07KILL", False, "\x1b[2J killed\r\n" * 1000)


async def fills_the_window(process: Process) -> None:
    """Write as much as is taken at once, and never read what it is sent."""
    process.channel.pause_reading()
    await _endless(process, process.stdout, b"\0" * PIECE)


async def never_reads(process: Process) -> None:
    """Never read what it is sent, and say nothing."""
    process.channel.pause_reading()
    await asyncio.Event().wait()


async def opens_channels(process: Process) -> None:
    """Ask this machine for connections, forwarded ports and X11 without end; then answer."""
    connection = process.get_extra_info("connection")
    for _ in range(200):
        for open_one in (
            lambda: connection.open_connection("127.0.0.1", 22),
            lambda: connection.open_unix_connection("/run/dbus/system_bus_socket"),
            connection.open_agent_connection,
        ):
            with contextlib.suppress(asyncssh.Error, OSError, ValueError):
                await open_one()
    await runs_python(process)


BEHAVIOURS: tuple[Behaviour, ...] = (
    endless_stdout,
    endless_line,
    endless_string,
    endless_stderr,
    good_answer_and_endless_stderr,
    garbage,
    deep_json,
    slow_drip,
    closes_in_the_middle,
    closes_the_channel,
    hangs,
    fails_with_a_good_answer,
    succeeds_with_errors,
    odd_status,
    is_killed,
    fills_the_window,
    never_reads,
)
"""All that bring no usable answer to ``HostShell.ask`` where JSON is expected."""


# Hosts that do not come as far as a session.


async def says_no_banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept the connection and say nothing."""
    await reader.read()


async def huge_banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send lines before the version forever, as a server may."""
    while True:
        writer.write(b"welcome to this server\r\n" * 1000)
        await writer.drain()


async def endless_version(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a version without end."""
    writer.write(b"SSH-2.0-")
    while True:
        writer.write(b"x" * PIECE)
        await writer.drain()


async def huge_packet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Announce a packet of 4 GB in the key exchange, and send it."""
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n" + b"\xff\xff\xff\xff")
    while True:
        writer.write(b"\0" * PIECE)
        await writer.drain()


async def speaks_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be another service."""
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


RAW = (says_no_banner, huge_banner, endless_version, huge_packet, speaks_http)


async def _script(process: Process) -> bytes:
    """Read what was sent on standard input."""
    return await process.stdin.read()


async def _endless(process: Process, stream: "asyncssh.SSHWriter[bytes]", piece: bytes) -> None:
    host: HostileHost = process.get_extra_info("hostile")
    while True:
        stream.write(piece)
        await stream.drain()
        host.sent += len(piece)


# An agent of the operator's, for hosts that ask for it.


@contextmanager
def agent(folder: Path) -> Iterator[Path]:
    """Run an agent with one key; give its socket, for ``SSH_AUTH_SOCK``."""
    path = folder / "agent"
    key = USER_KEY.convert_to_public().public_data
    answer = b"\x0c" + (1).to_bytes(4, "big")
    answer += b"".join(len(part).to_bytes(4, "big") + part for part in (key, b"a key"))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=converse, args=(connection,), daemon=True).start()

    def converse(connection: socket.socket) -> None:
        with connection:
            while head := connection.recv(4):
                request = connection.recv(int.from_bytes(head, "big"))
                reply = answer if request[:1] == b"\x0b" else _signature(request)
                connection.sendall(len(reply).to_bytes(4, "big") + reply)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield path
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _signature(request: bytes) -> bytes:
    """Return the answer to SSH_AGENTC_SIGN_REQUEST: key, data and flags."""
    data = request[1:]
    parts = []
    for _ in range(2):
        size = int.from_bytes(data[:4], "big")
        parts.append(data[4 : 4 + size])
        data = data[4 + size :]
    signature = USER_KEY.sign(parts[1], b"ssh-ed25519")
    return b"\x0e" + len(signature).to_bytes(4, "big") + signature
