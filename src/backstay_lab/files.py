"""The lab's own files: written whole or not at all."""

import json
import os
from pathlib import Path


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, at no instant otherwise, atomically."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(text)
    part.rename(file)


def write_json(file: Path, document: object) -> None:
    """Write JSON data, atomically and on disk before this returns; its folder must be there."""
    part = file.with_suffix(".part")
    with part.open("w") as out:
        json.dump(document, out, indent=1)
        out.flush()
        os.fsync(out.fileno())
    part.rename(file)
