"""A socket of this machine's that leads to one of a host's, no faster than either side reads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh

from backstay.transports.ssh_session import PIECE, WINDOW, Conversation, TooMuch


@contextlib.asynccontextmanager
async def forwarded(
    connection: asyncssh.SSHClientConnection, command: str, here: Path
) -> AsyncIterator[None]:
    """Listen at ``here``; whoever connects is led to a ``command`` of the host that passes it on.

    Raises OSError where it cannot listen. What the host refuses shows in being hung up on.
    """
    served: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is one
        served.add(task)
        try:
            await _lead(connection, command, reader, writer)
        except (asyncssh.Error, OSError, TooMuch):
            pass  # either side is gone; the other is hung up on
        finally:
            served.discard(task)
            writer.close()

    server = await asyncio.start_unix_server(serve, path=here)
    try:
        yield
    finally:
        server.close()
        for task in list(served):
            task.cancel()


async def _lead(
    connection: asyncssh.SSHClientConnection,
    command: str,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Pass on what both sides send until the host has closed its side."""
    talk = Conversation(connection, None)
    await connection.create_session(lambda: talk, command, encoding=None, window=WINDOW)

    async def upstream() -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE):
                talk.send(data)
                await talk.taken()
            talk.end_input()

    sending = asyncio.ensure_future(upstream())
    try:
        while data := await talk.read():
            writer.write(data)
            await writer.drain()
    finally:
        sending.cancel()
        talk.close()
