"""What a program prints, read with bounds: it may print without end."""

import asyncio

from backstay.transports import limits

_PIECE = 1 << 16


class OutputTooLong(Exception):
    """A program printed more than is taken."""


async def tail(stream: asyncio.StreamReader, most: int = limits.ERRORS) -> bytes:
    """Read to the end; return the last ``most`` bytes."""
    kept = bytearray()
    while data := await stream.read(_PIECE):
        kept += data
        del kept[:-most]
    return bytes(kept)


async def whole(stream: asyncio.StreamReader, most: int = limits.OUTPUT) -> bytes:
    """Read to the end; return all of it. Raises OutputTooLong above ``most`` bytes."""
    kept = bytearray()
    while data := await stream.read(_PIECE):
        kept += data
        if len(kept) > most:
            raise OutputTooLong
    return bytes(kept)
