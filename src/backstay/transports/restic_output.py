"""What restic prints, and what it means for the operator. Pure.

https://restic.readthedocs.io/en/stable/075_scripting.html
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import Field

from backstay.answers import BadAnswer, Count, Line, read
from backstay.errors import BackupError
from backstay.transports.urls import redacted, secrets_of, without_secrets


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
        came_back=_without(repository, "; ".join(lines[-3:]))[:400] or "it printed nothing",
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
    """Return a location without what its URL may hold: ``rest:https://host/path``."""
    kind, found, url = repository.partition(":")
    if "://" in url:
        return f"{kind}:{without_secrets(url, path=True)}"
    return redacted(repository) if found else repository


def _without(repository: str, text: str) -> str:
    """Return what restic said without the secrets of the repository's URL, however it put them."""
    url = repository.partition(":")[2] if "://" in repository.partition(":")[2] else repository
    for secret in secrets_of(url):
        for form in {secret, unquote(secret)}:
            text = text.replace(form, "…")
    return redacted(text)


def marks(host: str, tags: Sequence[str]) -> list[str]:
    """Return the arguments that mark a snapshot."""
    return ["--host", host, *(word for tag in tags for word in ("--tag", tag))]


def counts(line: str) -> tuple[int, ...]:
    """Return what a line of status has counted: it changes for as long as there is progress.

    Nothing of a line that is no status: what has no form is no progress.
    """
    try:
        status = read(_Status, line)
    except BadAnswer:
        return ()
    return (status.total_files, status.total_bytes, status.files_done, status.bytes_done)


def summary(output: str, host: str, tags: Sequence[str]) -> Snapshot:
    """Return the snapshot that restic reported as stored last. Raises BackupError."""
    found: _Summary | None = None
    for line in reversed(output.splitlines()):
        with contextlib.suppress(BadAnswer):
            found = read(_Summary, line)
            break
    if found is None:
        raise BackupError(
            "reading restic's summary",
            came_back="there is none in what it printed",
            remedy="is this restic 0.14 or newer? restic version",
        )
    return Snapshot(
        id=found.snapshot_id[:8],
        tags=frozenset(tags),
        host=host,
        time="",
        size=found.total_bytes_processed,
        added=found.data_added,
    )


def snapshots(output: str) -> list[Snapshot]:
    """Return the snapshots that restic has listed. Raises BackupError."""
    try:
        listed = read(tuple[_Listed, ...] | None, output, most=_LONGEST_LIST)  # type: ignore[arg-type]
    except BadAnswer as bad:
        raise BackupError(
            "reading restic's list of snapshots",
            came_back=f"it is not of the form that is known: {bad}",
            remedy="is this restic 0.14 or newer? restic version",
        ) from bad
    return [
        Snapshot(id=one.short_id, tags=frozenset(one.tags or ()), host=one.hostname, time=one.time)
        for one in listed or ()
    ]


_LONGEST_LIST = 64 << 20
_SnapshotId = Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Status:
    """A line of status; restic leaves out what is 0."""

    message_type: Literal["status"]
    total_files: Count = 0
    total_bytes: Count = 0
    files_done: Count = 0
    bytes_done: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Summary:
    """The last line of a backup."""

    message_type: Literal["summary"]
    snapshot_id: _SnapshotId
    total_bytes_processed: Count
    data_added: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """A snapshot in a list."""

    short_id: _SnapshotId
    hostname: Line
    time: Line
    tags: tuple[Line, ...] | None = None
