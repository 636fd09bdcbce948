"""Hosts over SSH: one script sent, its output back, host keys always checked.

This module imports asyncssh, which takes its time: import it where connections are made.
"""

import asyncio
import contextlib
import shlex
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncssh

from backstay.errors import HostError, LoginRefused
from backstay.transports import ssh_errors
from backstay.transports.known_hosts import KnownHosts, refused
from backstay.transports.sent import log_script
from backstay.transports.targets import Answer, SshTarget

CONNECT_BOUND = 8.0
STREAM_CHUNK = 1 << 18
KEEPALIVE = 15
"""Seconds between questions whether the host is still there; the fourth unanswered is the last."""
# Hosts that are being connected to at one moment: key exchanges are this machine's CPU time, and
# with a thousand at once the first would reach their bound before their turn comes.
CONNECTING_AT_ONCE = 64


class _Witness(asyncssh.SSHClient):
    """Remembers how far a connection came, and the host key that was refused."""

    def __init__(self) -> None:
        self.presented: asyncssh.SSHKey | None = None
        self.connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Keep the connection: the TCP handshake is done."""
        self.connection = conn

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Keep the key and say no: asyncssh asks only about keys that are not known."""
        self.presented = key
        return False

    @property
    def banner_seen(self) -> bool:
        """Return whether the server has sent its version."""
        return bool(self.connection and self.connection.get_extra_info("server_version"))


class HostShell:
    """SSH connections to hosts, kept open for further questions: ``async with HostShell()``.

    ``connect_bound`` is how long connecting and logging in may take, in seconds.
    """

    def __init__(self, *, connect_bound: float = CONNECT_BOUND) -> None:
        self.connect_bound = connect_bound
        self._known = KnownHosts()
        self._keys: dict[Path, asyncssh.SSHKey] = {}
        self._open: dict[SshTarget, asyncssh.SSHClientConnection] = {}
        self._opening: dict[SshTarget, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._connecting = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def __aenter__(self) -> Self:
        """Give itself; connections are opened when first asked for."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections."""
        self.close()

    def close(self) -> None:
        """Close all connections without waiting for hosts that may be gone."""
        for target in list(self._open):
            self._drop(target)

    async def ask(self, target: SshTarget, script: str, *, bound: float) -> str:
        """Return what ``script`` prints, run by the host's ``python3``. Raises as ``answer``."""
        return (await self.answer(target, script, bound=bound)).stdout

    async def answer(self, target: SshTarget, script: str, *, bound: float) -> Answer:
        """Run ``script`` with the host's ``python3 -I`` and return its output with the times.

        ``bound`` is in seconds, connecting not included. Raises HostUnreachable, HostKeyRefused,
        LoginRefused, or RemoteFailure with the last line of the script's errors. The script must
        only read: it runs a second time where a connection kept open turns out to be closed.
        """
        reused = target in self._open
        try:
            return await self._run(target, script, bound)
        except (asyncssh.DisconnectError, asyncssh.ChannelOpenError, OSError) as error:
            self._drop(target)
            if not reused:
                raise ssh_errors.lost(target, error) from error
        try:
            return await self._run(target, script, bound)
        except (asyncssh.DisconnectError, asyncssh.ChannelOpenError, OSError) as error:
            self._drop(target)
            raise ssh_errors.lost(target, error) from error

    async def stream(
        self,
        target: SshTarget,
        script: str,
        receive: Callable[[bytes], Awaitable[None]],
        *,
        silence: float,
    ) -> str:
        """Run ``script`` with the host's ``python3 -I``, handing on its output as bytes.

        ``silence`` is for how many seconds nothing may come, connecting not included. Returns what
        the script wrote to its standard error, as text. Raises as ``answer``; and what ``receive``
        raises, ending the script.
        """
        log_script(target.name, target.address, script)
        connection, _ = await self._connection(target)
        try:
            async with asyncio.timeout(silence):
                process = await connection.create_process("python3 -I -", encoding=None)
            errors_read = asyncio.ensure_future(process.stderr.read())
            try:
                process.stdin.write(script.encode())
                process.stdin.write_eof()
                while True:
                    async with asyncio.timeout(silence):
                        data = await process.stdout.read(STREAM_CHUNK)
                    if not data:
                        break
                    await receive(data)
                async with asyncio.timeout(silence):
                    done = await process.wait()
                    errors = str((await errors_read).decode(errors="replace"))
            finally:
                process.close()  # sshd then hangs up on a script that still runs
                errors_read.cancel()  # else its error is never retrieved
        except TimeoutError:
            self._drop(target)
            raise ssh_errors.no_answer(target, silence) from None
        except (asyncssh.DisconnectError, asyncssh.ChannelOpenError, ConnectionError) as error:
            self._drop(target)
            raise ssh_errors.lost(target, error) from error
        if done.exit_status != 0:
            raise ssh_errors.failed(target, done.exit_status, done.exit_signal, errors)
        return errors

    async def send(
        self,
        target: SshTarget,
        script: str,
        data: AsyncIterator[bytes],
        *,
        silence: float,
    ) -> None:
        """Run ``script`` with the host's ``python3 -I -c``, giving it ``data`` as standard input.

        ``script`` stands in the host's process list: no secrets in it. ``silence`` is for how many
        seconds nothing may be taken, and how long it may work on when it has all. Raises as
        ``answer``; and what ``data`` raises, ending the script.
        """
        log_script(target.name, target.address, script)
        connection, _ = await self._connection(target)
        try:
            command = f"python3 -I -c {shlex.quote(script)}"
            async with asyncio.timeout(silence):
                process = await connection.create_process(command, encoding=None)
            errors_read = asyncio.ensure_future(process.stderr.read())
            try:
                with contextlib.suppress(BrokenPipeError):  # it has ended; its status says why
                    async for piece in data:
                        async with asyncio.timeout(silence):
                            process.stdin.write(piece)
                            await process.stdin.drain()
                    process.stdin.write_eof()
                async with asyncio.timeout(silence):
                    done = await process.wait()
                    errors = str((await errors_read).decode(errors="replace"))
            finally:
                process.close()
                errors_read.cancel()
        except TimeoutError:
            self._drop(target)
            raise ssh_errors.no_answer(target, silence) from None
        except (asyncssh.DisconnectError, asyncssh.ChannelOpenError, ConnectionError) as error:
            self._drop(target)
            raise ssh_errors.lost(target, error) from error
        if done.exit_status is None and done.exit_signal is None:
            self._drop(target)
            raise ssh_errors.lost(
                target, asyncssh.ConnectionLost("it ended before it was complete")
            )
        if done.exit_status != 0:
            raise ssh_errors.failed(target, done.exit_status, done.exit_signal, errors)

    @contextlib.asynccontextmanager
    async def forward(self, target: SshTarget, socket: str, here: Path) -> AsyncIterator[Path]:
        """Give a socket of this machine's, at ``here``, that leads to a unix socket of the host's.

        Whoever connects to it is to the host's program the user that Backstay logs in as: ``here``
        must be in a folder that is closed to others, and be removed with it. Raises as ``answer``;
        a ``socket`` that is not there shows only in what is connected being closed at once.
        """
        if target in self._open and self._open[target].is_closed():
            self._drop(target)
        connection, _ = await self._connection(target)
        try:
            listener = await connection.forward_local_path(str(here), socket)
        except (asyncssh.Error, OSError) as error:
            self._drop(target)
            raise ssh_errors.lost(target, error) from error
        try:
            yield here
        finally:
            listener.close()

    def drop(self, target: SshTarget) -> None:
        """Close the connection to a host that does not answer, without waiting for it."""
        self._drop(target)

    async def _run(self, target: SshTarget, script: str, bound: float) -> Answer:
        log_script(target.name, target.address, script)
        connection, connecting = await self._connection(target)
        sent_at = time.time()
        try:
            async with asyncio.timeout(bound):
                process = await connection.create_process("python3 -I -", errors="replace")
                with contextlib.suppress(BrokenPipeError):  # it has ended; its status says why
                    process.stdin.write(script)
                    process.stdin.write_eof()
                done = await process.wait()
        except TimeoutError:
            self._drop(target)  # sshd then hangs up on the script
            raise ssh_errors.no_answer(target, bound) from None
        received_at = time.time()
        if done.exit_status is None and done.exit_signal is None:
            raise asyncssh.ConnectionLost("it ended before the answer was complete")
        if done.exit_status != 0:
            raise ssh_errors.failed(target, done.exit_status, done.exit_signal, str(done.stderr))
        return Answer(
            stdout=str(done.stdout),
            sent_at=sent_at,
            received_at=received_at,
            connecting=connecting,
        )

    async def _connection(self, target: SshTarget) -> tuple[asyncssh.SSHClientConnection, float]:
        """Return the connection and the seconds that it took to make it, waiting excluded."""
        seconds = 0.0
        async with self._opening[target]:
            if target not in self._open:
                async with self._connecting:
                    started = time.monotonic()
                    self._open[target] = await self._connect(target)
                    seconds = time.monotonic() - started
            return self._open[target], seconds

    async def _connect(self, target: SshTarget) -> asyncssh.SSHClientConnection:
        witness = _Witness()
        options = self._options(target)
        try:
            async with asyncio.timeout(self.connect_bound):
                return await asyncssh.connect(
                    target.address,
                    client_factory=lambda: witness,
                    login_timeout=0,
                    keepalive_interval=KEEPALIVE,
                    **options,
                )
        except TimeoutError:
            raise ssh_errors.silent(
                target,
                self.connect_bound,
                port_open=witness.connection is not None,
                banner_seen=witness.banner_seen,
            ) from None
        except asyncssh.HostKeyNotVerifiable as error:
            raise self._key_refused(target, witness) from error
        except asyncssh.KeyExchangeFailed as error:
            # The host has none of the kinds of key that are known for it.
            if "host key" in error.reason.lower():
                raise self._key_refused(target, witness) from error
            raise ssh_errors.no_common_algorithm(target, error.reason) from error
        except asyncssh.PermissionDenied as error:
            raise ssh_errors.login_refused(target, error.reason) from error
        except (asyncssh.Error, OSError, ValueError) as error:
            raise ssh_errors.no_connection(target, error) from error

    def _key_refused(self, target: SshTarget, witness: _Witness) -> HostError:
        expected, file = self._known.expected(target), self._known.file_of(target)
        return refused(target, witness.presented, expected, file)

    def _options(self, target: SshTarget) -> dict[str, Any]:
        """Return what asyncssh is to take from cloud.yaml instead of from ~/.ssh/config."""
        # Half the CPU time of asyncssh's first choice, where much is sent; what hosts lack of it
        # they do not agree to.
        options: dict[str, Any] = {"encryption_algs": "^aes128-gcm@openssh.com"}
        known = self._known.given(target)
        if known is not None:
            options["known_hosts"] = known
        if target.port is not None:
            options["port"] = target.port
        if target.user is not None:
            options["username"] = target.user
        if target.key is not None:
            key = self._key(target, target.key)
            options |= {"config": None, "agent_path": None, "client_keys": [key]}
        return options

    def _key(self, target: SshTarget, path: Path) -> asyncssh.SSHKey:
        if path not in self._keys:
            try:
                self._keys[path] = asyncssh.read_private_key(path)
            except OSError as error:
                raise _key_unusable(
                    target,
                    path,
                    error.strerror or str(error),
                    "correct `key` under `ssh` in cloud.yaml, or run as a user that may read it",
                ) from error
            except asyncssh.KeyImportError as error:
                raise _key_unusable(
                    target,
                    path,
                    str(error),
                    f"a key with a passphrase is used through the agent: ssh-add {path}, and "
                    "leave `key` out of cloud.yaml",
                ) from error
        return self._keys[path]

    def _drop(self, target: SshTarget) -> None:
        connection = self._open.pop(target, None)
        if connection is not None:
            connection.abort()


def _key_unusable(target: SshTarget, path: Path, came_back: str, remedy: str) -> LoginRefused:
    attempted = f"reading the SSH key {path} for {target.name}"
    return LoginRefused(attempted, came_back=came_back, remedy=remedy)
