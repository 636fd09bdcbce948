"""A host that makes its databases of a backup: what comes is unpacked, or is told to be torn."""

import io
import random

import pytest

from backstay.backup.mariadb import onhost_restore
from backstay.backup.mariadb.onhost_database import squeezer

PLAIN = random.Random(4).randbytes(1 << 19) + bytes(5 << 20) + b"the end"


def frames(*pieces: bytes) -> bytes:
    squeeze = squeezer()
    return b"".join(bytes(squeeze(piece)) for piece in pieces)


def unpacked(given: bytes) -> bytes:
    target = io.BytesIO()
    onhost_restore.unpacked(io.BytesIO(given), target)
    return target.getvalue()


def test_frames_of_any_length_are_joined() -> None:
    some = [PLAIN[at : at + 99_999] for at in range(0, len(PLAIN), 99_999)]
    assert unpacked(frames(*some)) == PLAIN
    assert unpacked(frames(PLAIN, b"a")) == PLAIN + b"a"


def test_a_stream_that_is_not_compressed_is_handed_on() -> None:
    plain = b"XBSTCK01" + PLAIN
    assert unpacked(plain) == plain
    assert unpacked(b"") == b""


@pytest.mark.parametrize("cut", [1, 40_000])
def test_a_torn_frame_is_no_end(cut: int) -> None:
    with pytest.raises(OSError, match="incomplete"):
        unpacked(frames(PLAIN)[:-cut])


def test_what_is_no_frame_in_the_middle_is_told() -> None:
    with pytest.raises(OSError, match="incomplete"):
        unpacked(frames(PLAIN) + b"XBSTCK01")
