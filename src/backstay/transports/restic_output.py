"""What restic prints, and what it means for the operator. Pure.

https://restic.readthedocs.io/en/stable/075_scripting.html
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import Field

from backstay.answers import BadAnswer, Count, Line, read
from backstay.errors import BackupError, DamagedBackup
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
    said = _nameless(repository, errors)
    told = [line for line in lines if not _RETRYING.search(line)] or lines
    return (DamagedBackup if _DAMAGED.search(said) else BackupError)(
        f"{doing} the backup repository {place_of(repository)}",
        came_back=_without(repository, "; ".join(told[-3:]))[:400] or "it printed nothing",
        remedy=_remedy(said),
    )


_RETRYING = re.compile(r"returned error, retrying after|^\[\d+:\d+\]")
_DAMAGED = re.compile(
    r"pack id does not|pack \w+ contains|ciphertext|hash (mis|does not)|invalid data|damaged"
    r"|(pack|index|tree|blob|data)/? ?[0-9a-f]*:? (does not exist|not found)|unexpected EOF"
    r"|data/[0-9a-f]{2}/[0-9a-f]{8,}: no such file|unexpected pack size|no matching ID"
    r"|not found in (repository|index)",
    re.IGNORECASE,
)
"""What restic says of data that are not those that were stored, or are gone.

It says some of it, too, where a disk or a network went away meanwhile: what is decided by it asks
afterwards whether the repository can be read still.
"""
_NONE_THERE = re.compile(
    r"no such file or directory|does(n't| not) exist|not[ _]?found|\b404\b|NoSuch(Key|Bucket)",
    re.IGNORECASE,
)
_NO_CONFIG = re.compile("unable to open config file|Is there a repository", re.IGNORECASE)
_CANNOT_LOCK = re.compile("unable to create lock", re.IGNORECASE)
_LOCKED = re.compile("already locked", re.IGNORECASE)


def _nameless(repository: str, errors: str) -> str:
    """Return what restic said without where: words in a path say nothing of what happened."""
    path = local_path(repository)
    names = {repository, str(path)} if path else {repository}
    for name in sorted(names - {"", "."}, key=len, reverse=True):
        errors = errors.replace(name, "…")
    return errors


def has_none(repository: str, errors: str) -> bool:
    """Return whether there is no repository, by what restic said when it was to read its config.

    One that refuses, or does not answer, is none of which that is known.
    """
    said = _nameless(repository, errors)
    return bool(_NO_CONFIG.search(said) and _NONE_THERE.search(said)) and not any(
        re.search(sign, said, re.IGNORECASE) for sign, _ in _NO_ANSWER
    )


def cannot_lock(errors: str) -> bool:
    """Return whether a lock could not be written, and not because another restic has one.

    A repository on a disk that is full, or to be read only, can be read without.
    """
    return bool(_CANNOT_LOCK.search(errors)) and not _LOCKED.search(errors)


def repository_id(output: str) -> str:
    """Return the id in a repository's config. Raises BackupError."""
    try:
        return read(_Config, output).id
    except BadAnswer as bad:
        raise BackupError(
            "reading the config of the backup repository",
            came_back=f"it is not of the form that is known: {bad}",
            remedy="is this restic 0.14 or newer? restic version",
        ) from bad


def local_path(repository: str) -> Path | None:
    """Return the folder of a repository on this machine's disks, None for one elsewhere. Pure."""
    if repository.startswith("local:"):
        return Path(repository.removeprefix("local:"))
    here = repository.startswith(("/", ".")) or ":" not in repository
    return Path(repository) if here else None


_NO_ANSWER = (
    (
        r"\b401\b|\b403\b|access ?denied|InvalidAccessKeyId|SignatureDoesNotMatch|forbidden"
        r"|unauthorized|authorization|expired ?token|no credentials|invalid credentials",
        "its storage refuses the credentials: check those in the environment and in the URL, and "
        "their rights on that bucket and path; no backup was changed",
    ),
    (
        r"permission denied|operation not permitted",
        "this user may not read it: do it as the user who takes the backups; no backup was changed",
    ),
    (
        r"dial tcp|i/o timeout|timed? ?out|connection (refused|reset|closed)|no route to host"
        r"|no such host|network is unreachable|temporary failure|\b50[0234]\b|deadline exceeded"
        r"|unable to start the sftp|subprocess ssh|certificate|x509|TLS|did not end within"
        r"|could not resolve|broken pipe|server misbehaving",
        "its storage cannot be reached now: check network, address and certificate, then try "
        "again; no backup was changed",
    ),
    (
        r"read-only file system|write ?protected",
        "it can be read and not written: mount it for writing, or use credentials that may write; "
        "no backup was changed",
    ),
    (
        r"input/output error|transport endpoint is not connected|stale (NFS )?file handle"
        r"|no such device|host is down",
        "its disk fails or went away: see `dmesg` and whether it is mounted; no backup was changed",
    ),
)
"""Signs that it cannot be read or written now, which says nothing of what is in it."""


def _remedy(errors: str) -> str:
    for sign, remedy in (
        (
            "wrong password",
            "the password file is another repository's, or another repository is mounted there: "
            "find the right one",
        ),
        ("resolving password failed", "check the file: `password_file` under `backup`"),
        ("empty password", "the password file is empty: find the copy of it"),
        (
            "no space left",
            "make space there, then: backstay backup prune, which also takes out "
            "what the failed run has left; older backups are unchanged",
        ),
        ("already locked", "another restic is at work on it: wait for it to end"),
        (
            "no matching ID",
            "that snapshot is not in this repository: is it the right one, at the right path? "
            "Else choose another backup: backstay backup list",
        ),
        *_NO_ANSWER,
        (_DAMAGED.pattern, "data in the repository are damaged: take a new backup into a new one"),
        (
            _NO_CONFIG.pattern,
            "there is no repository: is its disk mounted? Are its path, bucket and credentials "
            "right? No backup was changed",
        ),
    ):
        if re.search(sign, errors, re.IGNORECASE):
            return remedy
    return "check that it can be reached and written; existing backups are unchanged"


def place_of(repository: str) -> str:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Config:
    """A repository's config."""

    id: Annotated[str, Field(pattern="^[0-9a-f]{16,128}$")]


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
