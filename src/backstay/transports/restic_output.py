"""What restic prints, and what it means for the operator. Pure.

https://restic.readthedocs.io/en/stable/075_scripting.html
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.errors import BackupError


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot: ``size`` is what was read for it and ``added`` what it added, both in bytes."""

    id: str
    tags: frozenset[str]
    host: str
    time: str
    size: int = 0
    added: int = 0


def error(doing: str, repository: str, errors: str) -> BackupError:
    """Return the error for a restic that failed with ``errors``."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    return BackupError(
        f"{doing} the backup repository {_place(repository)}",
        came_back="; ".join(lines[-3:])[:400] or "it printed nothing",
        remedy=_remedy(errors),
    )


def _remedy(errors: str) -> str:
    for sign, remedy in (
        ("wrong password", "the password file is another repository's: find the right one"),
        ("resolving password failed", "check the file: `password_file` under `backup`"),
        ("empty password", "the password file is empty: find the copy of it"),
        (
            "no space left",
            "make space there, then: backstay backup prune, which also takes out "
            "what the failed run has left; older backups are unchanged",
        ),
        ("already locked", "another restic is at work on it: wait for it to end"),
        (
            r"pack id does not|pack \w+ contains|ciphertext|hash (mis|does not)|invalid data|"
            r"damaged",
            "data in the repository are damaged: take a new backup into a new one",
        ),
    ):
        if re.search(sign, errors, re.IGNORECASE):
            return remedy
    return "check that it can be reached and written; existing backups are unchanged"


def _place(repository: str) -> str:
    """Return a location without a password that its URL may hold."""
    head, at, tail = repository.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at and "://" in head else repository


def marks(host: str, tags: Sequence[str]) -> list[str]:
    """Return the arguments that mark a snapshot."""
    return ["--host", host, *(word for tag in tags for word in ("--tag", tag))]


def counts(line: str) -> tuple[Any, ...]:
    """Return what a line of status has counted: it changes for as long as there is progress."""
    message: Mapping[str, Any] = json.loads(line) if line.startswith("{") else {}
    named = ("message_type", "total_files", "total_bytes", "files_done", "bytes_done")
    return tuple(message.get(name) for name in named)


def summary(output: str, host: str, tags: Sequence[str]) -> Snapshot:
    """Return the snapshot that restic reported as stored last. Raises BackupError."""
    for line in reversed(output.splitlines()):
        message: Mapping[str, Any] = json.loads(line) if line.startswith("{") else {}
        if message.get("message_type") == "summary":
            return Snapshot(
                id=message["snapshot_id"][:8],
                tags=frozenset(tags),
                host=host,
                time="",
                size=message["total_bytes_processed"],
                added=message["data_added"],
            )
    raise BackupError(
        "reading restic's summary",
        came_back="there is none in what it printed",
        remedy="is this restic 0.14 or newer? restic version",
    )
