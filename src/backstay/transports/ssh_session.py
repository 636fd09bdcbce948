"""One channel to a host: what comes is counted, and is taken no faster than it is read.

asyncssh's own streams grant the host a whole window again with the first piece that is taken of
what waits, so that the rest piles up without end where the reader is slower than the host. Here all
that waits is taken before the host may send more, and nothing until that has been read.
"""

import asyncio
from typing import Any

import asyncssh

from backstay.transports import limits
from backstay.transports.ssh_meter import BESIDE, meter_of, unsent

WINDOW = 2 << 20
"""Bytes that a host may send before it must wait."""
HELD = 2 << 20
"""Bytes that are held for a slow reader before the host must wait."""
PIECE = 1 << 18
_UNSENT = 4 << 20
"""Bytes that may wait for a host that lets itself be sent much and takes nothing."""
_PAUSE = 0.02


class TooMuch(Exception):
    """More came than is taken: ``what`` it was, and how many bytes of it are taken."""

    def __init__(self, what: str, most: int) -> None:
        super().__init__(f"{what} is longer than {most} bytes")
        self.what, self.most = what, most


class Conversation(asyncssh.SSHClientSession[bytes]):
    """What is said on one channel. It is for one task at a time.

    With ``most`` it is kept until its end, and no more than that many bytes; without, it is read
    by pieces. ``status`` and ``signal`` are None where the host did not say how it ended.
    """

    def __init__(self, connection: asyncssh.SSHClientConnection, most: int | None) -> None:
        self._connection, self._most = connection, most
        self._meter = meter_of(connection)
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._output, self._errors = bytearray(), bytearray()
        self._changed = asyncio.Event()
        self._at_end = self._closed = self._paused = self._full = False
        self._problem: Exception | None = None
        self.status: int | None = None
        self.signal: tuple[Any, ...] | None = None

    # What asyncssh calls.

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Keep the channel."""
        self._channel = chan
        if self._meter is not None:
            # What waits for a slow reader in asyncssh is not seen here yet.
            self._meter.begin(self, self._end_flood, WINDOW if self._most is None else 0)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the channel is closed, and why."""
        if self._meter is not None:
            self._meter.over(self)
        self._closed = True
        self._problem = self._problem or exc
        self._changed.set()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Keep what came, up to the bound."""
        if self._meter is not None:
            self._meter.data(len(data))
        if self._problem is not None:
            return
        if datatype is not None:
            self._errors += data
            if len(self._errors) > limits.ERRORS:
                self._end(TooMuch("its standard error", limits.ERRORS))
            return
        self._output += data
        if self._most is not None and len(self._output) > self._most:
            self._end(TooMuch("its answer", self._most))
        elif self._most is None and len(self._output) >= HELD and not self._paused:
            self._paused = True
            # Not at once: all that waits already is to be taken first.
            asyncio.get_running_loop().call_soon(self._pause)
        self._changed.set()

    def eof_received(self) -> bool:
        """Note that no more comes; what is sent may go on."""
        self._at_end = True
        self._changed.set()
        return True

    def exit_status_received(self, status: int) -> None:
        """Note with which status the command ended."""
        self.status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Note by which signal the command ended."""
        self.signal = (signal, core_dumped, msg, lang)

    def pause_writing(self) -> None:
        """Note that the host takes no more for now."""
        self._full = True

    def resume_writing(self) -> None:
        """Note that it takes more."""
        self._full = False
        self._changed.set()

    # What its task calls.

    @property
    def user(self) -> str:
        """Return who is logged in."""
        return str(self._connection.get_extra_info("username") or "")

    @property
    def errors(self) -> str:
        """Return what came on standard error."""
        return self._errors.decode(errors="replace")

    def send(self, data: bytes, *, last: bool = False) -> None:
        """Send without waiting. Raises BrokenPipeError where the host takes nothing any more."""
        channel = self._open_channel()
        if self._meter is not None:
            self._meter.sent(len(data))
        channel.write(data)
        if last:
            channel.write_eof()

    def end_input(self) -> None:
        """Say that no more is sent."""
        self._open_channel().write_eof()

    async def taken(self) -> None:
        """Wait until the host has taken most of what was sent, or is gone."""
        while self._full and not self._is_over():
            await self._change()
        # A host may open a window of gigabytes, and not read from its connection.
        while not self._is_over() and unsent(self._connection) > _UNSENT:  # noqa: ASYNC110
            await asyncio.sleep(_PAUSE)

    async def read(self) -> bytes:
        """Return the next piece, empty at the end. Raises TooMuch, or why the connection ended."""
        while not self._output and not self._at_end and not self._is_over():
            await self._change()
        if isinstance(self._problem, TooMuch) or (self._problem and not self._output):
            raise self._problem
        piece = bytes(self._output[:PIECE])
        del self._output[:PIECE]
        if self._paused and not self._output:
            self._paused = False
            if self._channel is not None:
                self._channel.resume_reading()
        return piece

    async def finished(self) -> bytes:
        """Wait until the channel is closed; return what came. Raises as ``read``."""
        while not self._is_over():
            await self._change()
        if self._problem is not None:
            raise self._problem
        return bytes(self._output)

    def close(self) -> None:
        """Close the channel: sshd then hangs up on a command that still runs."""
        if self._meter is not None:
            self._meter.over(self)
        if self._channel is not None:
            self._channel.close()

    def _open_channel(self) -> asyncssh.SSHClientChannel[bytes]:
        if self._channel is None or self._is_over():
            raise BrokenPipeError
        return self._channel

    def _pause(self) -> None:
        if self._paused and self._channel is not None:
            self._channel.pause_reading()

    def _end(self, problem: Exception) -> None:
        self._problem = problem
        self._changed.set()
        self.close()

    def _end_flood(self) -> None:
        self._end(TooMuch("what it sends beside what was asked", BESIDE))

    def _is_over(self) -> bool:
        return self._closed or self._problem is not None

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
