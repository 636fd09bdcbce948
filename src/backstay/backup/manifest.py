"""The list of a host's files: as the host answers it and as it lies in a backup, read in one place.

Contents are stored and put back by the names that stand here, so they are read strictly: absolute,
normalised, below what was asked for, each once, none beneath something that is not a folder.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

from pydantic import Field

from backstay.access.session import QUESTION_BOUND, CloudSession
from backstay.answers import (
    BYTES_PER_ITEM,
    BadAnswer,
    Count,
    Line,
    Seconds,
    TooLarge,
    convert,
    read,
)
from backstay.backup import onhost
from backstay.beneath import Folder, NotAFile, UnsafeName, inside, shown
from backstay.errors import AnswerTooLong, BackupError, DamagedBackup, RemoteFailure
from backstay.jsondata import Json
from backstay.quantities import size
from backstay.transports import limits

MANIFEST = "manifest.json"
MOST_BYTES = limits.LONG_ANSWER
"""Of one list. An entry has a hundred to two hundred bytes."""
MOST_ENTRIES = MOST_BYTES // BYTES_PER_ITEM // 9
"""So many there may be, as each is nine items of those that ``answers.read`` counts."""
MOST_SIZE = 1 << 60
"""Bytes of one file: more than a file system of the day holds."""

_Id = Annotated[int, Field(ge=0, lt=2**32)]
_Wire = tuple[
    str,
    Literal["f", "d", "l"],
    Annotated[int, Field(ge=0, le=0o7777)],
    _Id,
    _Id,
    Annotated[int, Field(ge=0, le=MOST_SIZE)],
    Annotated[int, Field(ge=-(2**62), le=2**62)],
    str,
]


class Entry(NamedTuple):
    """One file, folder or link of a host.

    Attributes:
        path: absolute and normalised; bytes that are not UTF-8 as ``os.fsdecode`` has them.
        kind: ``f``, ``d`` or ``l``.
        mode: permission bits.
        user: the owner's number.
        group: the group's number.
        size: bytes.
        when: the time of the last change, in ns since 1970.
        target: what a link leads to, empty for others.

    """

    path: str
    kind: str
    mode: int
    user: int
    group: int
    size: int
    when: int
    target: str

    @property
    def inside(self) -> str:
        """Return the name of its content beneath a folder. Raises UnsafeName for ``/``."""
        return inside(self.path)


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files and folders by path, with the names of their owners where they are known.

    ``users`` and ``groups`` are names by number, as the host had them that the entries are of.
    """

    entries: Sequence[Entry] = ()
    users: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)

    def owner(self, entry: Entry) -> tuple[str, str]:
        """Return user and group of an entry, by name or else by number."""
        user, group = str(entry.user), str(entry.group)
        return self.users.get(user, user), self.groups.get(group, group)

    def owners(self) -> tuple[set[str], set[str]]:
        """Return the names of all users and groups that own something, numbers left out."""
        pairs = {(entry.user, entry.group): entry for entry in self.entries}.values()
        found = [self.owner(entry) for entry in pairs]
        users, groups = {user for user, _ in found}, {group for _, group in found}
        return {u for u in users if not u.isdigit()}, {g for g in groups if not g.isdigit()}

    def regular(self) -> list[Entry]:
        """Return the entries that have content."""
        return [entry for entry in self.entries if entry.kind == "f"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What another host must have alike to replace this one; ``memory`` is in bytes.

    ``uuid`` and ``serial`` are what no other machine has, as its firmware gives them.
    """

    id: Line = ""
    release: Line = ""
    codename: Line = ""
    architecture: Line = ""
    memory: Count = 0
    uuid: Line = ""
    serial: Line = ""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """So many files (``count``) that the host could not or would not list, some by name."""

    count: Count = 0
    some: Sequence[Line] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest(Files):
    """The files of a host, and what it is: packages, units that start at boot, release.

    ``manual`` are the packages that were asked for by name; ``clock`` is the host's, in seconds
    since 1970.
    """

    packages: Sequence[str] = ()
    manual: Sequence[str] = ()
    enabled: Sequence[str] = ()
    machine: Machine = Machine()
    left_out: LeftOut = LeftOut()
    clock: float = 0.0

    def document(self) -> dict[str, Any]:
        """Return it as JSON data; ``of_backup`` reads them."""
        names = {"users": dict(self.users), "groups": dict(self.groups)}
        lists = {name: list(getattr(self, name)) for name in ("packages", "manual", "enabled")}
        return {
            "quoted": True,
            "entries": [
                (quoted(entry.path), *entry[1:7], quoted(entry.target)) for entry in self.entries
            ],
            **names,
            **lists,
            "machine": asdict(self.machine),
            "clock": self.clock,
        }


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """A manifest as it comes. ``quoted``: names are as ``onhost.quoted`` writes them."""

    entries: list[_Wire]
    users: Mapping[str, Line] = field(default_factory=dict)
    groups: Mapping[str, Line] = field(default_factory=dict)
    packages: Sequence[Line] = ()
    manual: Sequence[Line] = ()
    enabled: Sequence[Line] = ()
    machine: Machine = Machine()
    left_out: LeftOut = LeftOut()
    clock: Seconds = 0.0
    quoted: bool = False


@dataclass(frozen=True, kw_only=True)
class _Line:
    """A listing as it comes in a stream: without entries nothing has changed since the last."""

    clock: Seconds
    entries: list[_Wire] | None = None
    users: Mapping[str, Line] = field(default_factory=dict)
    groups: Mapping[str, Line] = field(default_factory=dict)
    left_out: LeftOut = LeftOut()
    quoted: bool = False


async def ask_manifest(
    session: CloudSession,
    host: str,
    paths: Sequence[str],
    leave_out: Sequence[str],
    *,
    bound: float = QUESTION_BOUND,
) -> Manifest:
    """Ask a host for its files below ``paths``, and what it is, within ``bound`` seconds.

    Raises HostError, also for an answer that cannot be used, or is of too many files.
    """
    return await _asked(onhost.manifest, session, host, paths, leave_out, bound)


async def ask_listing(
    session: CloudSession,
    host: str,
    paths: Sequence[str],
    leave_out: Sequence[str],
    *,
    bound: float = QUESTION_BOUND,
) -> Manifest:
    """Ask as ``ask_manifest``, for the files alone."""
    return await _asked(onhost.listing, session, host, paths, leave_out, bound)


async def _asked(  # noqa: PLR0917 - one call for both
    function: Callable[[Json, Json], Json],
    session: CloudSession,
    host: str,
    paths: Sequence[str],
    leave_out: Sequence[str],
    bound: float,
) -> Manifest:
    try:
        answer = await session.ask(
            host,
            function,
            list(paths),
            list(leave_out),
            returns=_Answer,
            bound=bound,
            most=MOST_BYTES,
        )
        return checked(answer, paths)
    except AnswerTooLong as error:
        raise _too_many(host) from error
    except BadAnswer as error:
        raise _bad(host, error) from error


def from_document(document: Json, below: Sequence[str] | None = None) -> Manifest:
    """Return the manifest that JSON data hold. Raises BadAnswer. Pure."""
    return checked(convert(_Answer, document), below)


def of_line(line: bytes, *, host: str, below: Sequence[str]) -> Manifest | float:
    """Return the manifest in a line of ``onhost.watch``, or only the host's clock.

    Raises RemoteFailure.
    """
    try:
        came = read(_Line, line, most=MOST_BYTES)
        if came.entries is None:
            return came.clock
        answer = _Answer(
            entries=came.entries,
            users=came.users,
            groups=came.groups,
            left_out=came.left_out,
            clock=came.clock,
            quoted=came.quoted,
        )
        return checked(answer, below)
    except TooLarge as error:
        raise _too_many(host) from error
    except BadAnswer as error:
        raise _bad(host, error) from error


def of_backup(text: bytes, *, backup: str) -> Manifest:
    """Return the manifest that lies in a backup, or in a mirror. Raises BackupError."""
    try:
        answer = read(_Answer, text, most=MOST_BYTES)
        if not answer.quoted and (b"\\" in text or not text.isascii()):
            # An earlier version wrote names as they were: cleaned they would be other names.
            answer = convert(_Answer, _with_quoted_names(json.loads(text)))
        return checked(answer, None)
    except (ValueError, UnicodeError) as error:
        raise DamagedBackup(
            f"reading the list of files of {backup}",
            came_back=str(error),
            remedy="choose another backup: backstay backup list",
        ) from error


def in_folder(folder: Path, *, backup: str) -> Manifest:
    """Return the manifest of the files that were restored into a folder. Raises BackupError."""
    try:
        with Folder.open(folder) as opened:
            text = opened.content(MANIFEST, most=MOST_BYTES)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError | NotAFile)
        raise (DamagedBackup if missing else BackupError)(
            f"reading the list of files of {backup}",
            came_back=f"{folder / MANIFEST}: {error.strerror or error}",
            remedy="choose another backup: backstay backup list",
        ) from error
    return of_backup(text, backup=backup)


def checked(answer: _Answer, below: Sequence[str] | None) -> Manifest:
    """Return a manifest that names only what lies ``below`` these paths, if any are given. Pure.

    Raises BadAnswer, which names the first entry that is not as it must be.
    """
    plain = plain_name if answer.quoted else str
    entries = []
    roots = None if below is None else (set(below), tuple(f"{p.rstrip('/')}/" for p in below))
    for place, (path, kind, mode, user, group, length, when, target) in enumerate(answer.entries):
        entry = Entry(plain(path), kind, mode, user, group, length, when, plain(target))
        reason = _mistake(entry, roots)
        if reason:
            raise BadAnswer(reason, place=f"entries.{place}")
        entries.append(entry)
    entries.sort()
    _refuse_conflicts(entries)
    return Manifest(
        entries=entries,
        users=answer.users,
        groups=answer.groups,
        packages=answer.packages,
        manual=answer.manual,
        enabled=answer.enabled,
        machine=answer.machine,
        left_out=answer.left_out,
        clock=answer.clock,
    )


def _mistake(entry: Entry, roots: tuple[set[str], tuple[str, ...]] | None) -> str:
    """Return why an entry cannot be used, an empty text where it can."""
    if entry.path != "/" or entry.kind != "d":
        try:
            inside(entry.path)
        except UnsafeName as error:
            return str(error)
    if roots and entry.path not in roots[0] and not entry.path.startswith(roots[1]):
        return f"{shown(entry.path)} was not asked for"
    if (entry.kind == "l") != bool(entry.target) or "\0" in entry.target:
        return f"{shown(entry.path)} has no possible target of a link"
    return ""


def _refuse_conflicts(entries: Sequence[Entry]) -> None:
    """Raise BadAnswer where a path is there twice, or beneath something that is not a folder."""
    others = set[str]()
    before = ""
    for entry in entries:
        if entry.path == before:
            raise BadAnswer(f"{shown(entry.path)} is there twice")
        before = entry.path
        if entry.kind != "d":
            others.add(entry.path)
    found = beneath_any(entries, others)
    if found:
        raise BadAnswer(f"{shown(found[0].path)} lies beneath something that is not a folder")


def beneath_any(entries: Iterable[Entry], others: set[str]) -> list[Entry]:
    """Return the entries that lie beneath one of these paths. Pure."""
    seen: dict[str, bool] = {"": False}

    def covered(path: str) -> bool:
        if path not in seen:
            seen[path] = path in others or covered(path.rpartition("/")[0])
        return seen[path]

    return [entry for entry in entries if covered(entry.path.rpartition("/")[0])]


def merged(old: Iterable[Entry], new: Sequence[Entry]) -> list[Entry]:
    """Return the entries of both, sorted. Pure.

    Of one path, and where one lies beneath another that is not a folder, the new one counts.
    """
    taken = {entry.path for entry in new}
    above = set[str]()
    for path in taken:
        while (path := path.rpartition("/")[0]) and path not in above:
            above.add(path)
    rest = [one for one in old if one.path not in taken]
    covered = set(beneath_any(rest, {entry.path for entry in new if entry.kind != "d"}))
    covered |= {one for one in rest if one.kind != "d" and one.path in above}
    return sorted([*(one for one in rest if one not in covered), *new])


def plain_name(text: str) -> str:
    """Return a name that was quoted by ``onhost.quoted``, with its bytes as ``os.fsdecode`` does.

    Pure.
    """
    if "%" not in text and text.isascii():
        return text
    return unquote_to_bytes(text).decode(errors="surrogateescape")


def quoted(name: str) -> str:
    """Return a name as ``plain_name`` reads it: in printable characters of ASCII. Pure."""
    return quote_from_bytes(name.encode(errors="surrogateescape"), safe=onhost.PLAIN)


def _with_quoted_names(document: Any) -> Json:  # noqa: ANN401 - it was read before
    entries = [(quoted(one[0]), *one[1:7], quoted(one[7])) for one in document["entries"]]
    return {**document, "quoted": True, "entries": entries}


def _too_many(host: str) -> AnswerTooLong:
    return AnswerTooLong(
        f"listing the files of {host}",
        came_back=f"the list is too long: at most {MOST_ENTRIES} files and folders, and "
        f"{size(MOST_BYTES)}, are read",
        remedy=f"see where so many are, on {host}: du --inodes -x /etc /var/lib | sort -n | tail. "
        "Remove what nobody needs, or take its folder out of `backup.paths` in cloud.yaml; "
        "existing backups are unchanged",
    )


def _bad(host: str, error: BadAnswer) -> RemoteFailure:
    return RemoteFailure(
        f"reading the list of files of {host}",
        came_back=f"not of the expected form: {error}",
        remedy=f"nothing of it was used. See whether {host} is what it was: its python3, and what "
        "answers at its address",
    )
