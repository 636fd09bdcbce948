"""Hosts over SSH: one script sent, its output back, host keys always checked.

What a host sends is bounded (``transports.limits``): one that passes a bound is dropped. This
module imports asyncssh, which takes its time: import it where connections are made.
"""

import asyncio
import contextlib
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncssh

from backstay.transports import limits, ssh_errors
from backstay.transports.sent import log_script
from backstay.transports.ssh_connections import Connections
from backstay.transports.ssh_forward import forwarded
from backstay.transports.ssh_session import WINDOW, Conversation, TooMuch
from backstay.transports.targets import Answer, SshTarget

CONNECT_BOUND = 8.0
ON_INPUT = "python3 -I -"
"""Runs the script that comes on standard input."""
_LOST = (asyncssh.DisconnectError, asyncssh.ChannelOpenError, OSError)


class HostShell:
    """SSH connections to hosts, kept open for further questions: ``async with HostShell()``.

    ``connect_bound`` is how long connecting and logging in may take, in seconds.
    """

    def __init__(self, *, connect_bound: float = CONNECT_BOUND) -> None:
        self._connections = Connections(connect_bound)

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
        await self._connections.ended()

    def close(self) -> None:
        """Close all connections without waiting for hosts that may be gone."""
        self._connections.close()

    async def ask(self, target: SshTarget, script: str, *, bound: float) -> str:
        """Return what ``script`` prints, run by the host's ``python3``. Raises as ``answer``."""
        return (await self.answer(target, script, bound=bound)).stdout

    async def answer(
        self, target: SshTarget, script: str, *, bound: float, most: int = limits.ANSWER
    ) -> Answer:
        """Run ``script`` with the host's ``python3 -I`` and return its output with the times.

        ``bound`` is in seconds, connecting not included. Raises HostUnreachable, HostKeyRefused,
        LoginRefused, RemoteFailure with the last line of the script's errors, or AnswerTooLong
        where it prints more than ``most`` bytes. The script must only read: it runs a second time
        where a connection kept open turns out to be closed.
        """
        reused = target in self._connections
        try:
            return await self._run(target, script, bound, most)
        except _LOST as error:
            self.drop(target)
            if not reused:
                raise ssh_errors.lost(target, error) from error
        try:
            return await self._run(target, script, bound, most)
        except _LOST as error:
            self.drop(target)
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

        ``silence`` is for how many seconds nothing may come, connecting not included. While
        ``receive`` is at work the host can send a few MB and no more. Returns what the script
        wrote to its standard error, as text. Raises as ``answer``; and what ``receive`` raises,
        ending the script.
        """
        log_script(target.name, target.address, script)
        async with self._conversation(target, ON_INPUT, silence) as talk:
            with contextlib.suppress(BrokenPipeError):  # it has ended; its status says why
                talk.send(script.encode(), last=True)
            while True:
                async with asyncio.timeout(silence):
                    data = await talk.read()
                if not data:
                    break
                await receive(data)
            async with asyncio.timeout(silence):
                await talk.finished()
        _judge(target, talk)
        return talk.errors

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
        async with self._conversation(
            target, _reading(script), silence, most=limits.ANSWER
        ) as talk:
            with contextlib.suppress(BrokenPipeError):  # it has ended; its status says why
                async for piece in data:
                    async with asyncio.timeout(silence):
                        talk.send(piece)
                        await talk.taken()
                talk.end_input()
            async with asyncio.timeout(silence):
                await talk.finished()
        _judge(target, talk)

    @contextlib.asynccontextmanager
    async def forward(self, target: SshTarget, script: str, here: Path) -> AsyncIterator[Path]:
        """Give a socket of this machine's, at ``here``, that leads to ``script`` on the host.

        ``script`` is run as ``send`` runs one, once for each that connects, and passes on what it
        reads. It may do so as root: ``here`` must be in a folder that is closed to others, and be
        removed with it. Raises as ``answer``; what ``script`` cannot do shows only in what is
        connected being closed at once.
        """
        log_script(target.name, target.address, script)
        self._connections.drop_closed(target)
        connection, _ = await self._connections.to(target)
        try:
            async with forwarded(connection, _reading(script), here):
                yield here
        except _LOST as error:
            self.drop(target)
            raise ssh_errors.lost(target, error) from error

    def drop(self, target: SshTarget) -> None:
        """Close the connection to a host that does not answer, without waiting for it."""
        self._connections.drop(target)

    async def _run(self, target: SshTarget, script: str, bound: float, most: int) -> Answer:
        """Do what ``answer`` says, once. Raises asyncssh's errors for a connection that is lost."""
        log_script(target.name, target.address, script)
        connection, connecting = await self._connections.to(target)
        sent_at = time.time()
        talk = Conversation(connection, most)
        try:
            async with asyncio.timeout(bound):
                await connection.create_session(lambda: talk, ON_INPUT, encoding=None)
                with contextlib.suppress(BrokenPipeError):  # it has ended; its status says why
                    talk.send(script.encode(), last=True)
                stdout = await talk.finished()
        except TimeoutError:
            self.drop(target)  # sshd then hangs up on the script
            raise ssh_errors.no_answer(target, bound) from None
        except TooMuch as error:
            self.drop(target)
            raise ssh_errors.too_much(target, error.what, error.most) from None
        finally:
            talk.close()
        received_at = time.time()
        if talk.status is None and talk.signal is None:
            raise asyncssh.ConnectionLost("it ended before the answer was complete")
        printed = stdout.decode(errors="replace")
        _judge(target, talk, printed)
        return Answer(
            stdout=printed,
            sent_at=sent_at,
            received_at=received_at,
            connecting=connecting,
        )

    @contextlib.asynccontextmanager
    async def _conversation(
        self, target: SshTarget, command: str, silence: float, *, most: int | None = None
    ) -> AsyncIterator[Conversation]:
        """Start a command; what ends it otherwise than by itself is an error for the operator."""
        connection, _ = await self._connections.to(target)
        talk = Conversation(connection, most)
        try:
            async with asyncio.timeout(silence):
                await connection.create_session(lambda: talk, command, encoding=None, window=WINDOW)
            yield talk
            if talk.status is None and talk.signal is None:
                raise asyncssh.ConnectionLost("it ended before it was complete")
        except TimeoutError:
            self.drop(target)
            raise ssh_errors.no_answer(target, silence) from None
        except TooMuch as error:
            self.drop(target)
            raise ssh_errors.too_much(target, error.what, error.most) from None
        except (asyncssh.DisconnectError, asyncssh.ChannelOpenError, ConnectionError) as error:
            self.drop(target)
            raise ssh_errors.lost(target, error) from error
        finally:
            talk.close()


def _reading(script: str) -> str:
    """Return the command that runs a script and leaves standard input to it."""
    return f"python3 -I -c {shlex.quote(script)}"


def _judge(target: SshTarget, talk: Conversation, printed: str = "") -> None:
    """Raise RemoteFailure where a script ended with another status than 0."""
    if talk.status != 0:
        raise ssh_errors.failed(
            target, talk.status, talk.signal, talk.errors, printed, user=talk.user
        )
