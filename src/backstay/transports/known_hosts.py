"""Files of known host keys, looked up as ``ssh`` does. See sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".

A line that cannot be read is passed over. Names may be hashed, each with a salt of its own: to look
for one takes some microseconds a line, so lines are looked for by the key that a host presents, and
all of them only where that is not known.
"""

import base64
import binascii
import hmac
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from backstay.ownership import open_own

_MOST_BYTES = 64 << 20
_HASHED = b"|1|"
_MARKERS = {b"@cert-authority": "ca", b"@revoked": "revoked"}


class Verdict(Enum):
    """What the files say of a key that a host presented."""

    KNOWN = "known"
    NEW = "new"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line: ``marker`` is ``ca``, ``revoked`` or empty, ``key`` as it is sent."""

    file: Path
    number: int
    marker: str
    names: bytes
    key: bytes
    hashed: tuple[bytes, bytes] | None = None
    """The salt, and the hash of the name with it."""

    @property
    def place(self) -> str:
        """Return where it is."""
        return f"{self.file}, line {self.number}"

    @property
    def is_one_name(self) -> bool:
        """Return whether ``ssh-keygen -R`` finds it by the name: it is no pattern."""
        return not re.search(rb"[*?!]", self.names)

    def matches(self, name: bytes) -> bool:
        """Return whether the line is for a host of this name, which is in lower case."""
        if self.hashed is not None:
            salt, right = self.hashed
            return hmac.digest(salt, name, "sha1") == right
        found = False
        for pattern in self.names.lower().split(b","):
            if _regex(pattern.removeprefix(b"!")).fullmatch(name):
                if pattern.startswith(b"!"):
                    return False
                found = True
        return found


@dataclass
class KnownKeys:
    """The lines of one file, found by name and by key."""

    by_name: dict[bytes, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    by_key: dict[bytes, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    patterns: list[Entry] = field(default_factory=list)
    hashed: list[Entry] = field(default_factory=list)
    marked_hashed: list[Entry] = field(default_factory=list)

    @classmethod
    def of(cls, file: Path, content: bytes) -> "KnownKeys":
        """Read a file's content."""
        found = cls()
        for number, line in enumerate(content.split(b"\n"), 1):
            entry = _read(file, number, line)
            if entry is not None:
                found._add(entry)
        return found

    def of_host(self, name: bytes) -> Iterable[Entry]:
        """Return the lines for a host, hashed ones left out."""
        return [*self.by_name.get(name, ()), *(one for one in self.patterns if one.matches(name))]

    def hashed_of_host(self, name: bytes) -> Iterable[Entry]:
        """Return the hashed lines for a host."""
        return [one for one in self.hashed if one.matches(name)]

    def marked_of_host(self, name: bytes) -> Iterable[Entry]:
        """Return the lines of authorities and of revoked keys for a host."""
        return [
            *(one for one in self.of_host(name) if one.marker),
            *(one for one in self.marked_hashed if one.matches(name)),
        ]

    def of_key(self, name: bytes, key: bytes) -> Iterable[Entry]:
        """Return the lines for a host with that key."""
        return [one for one in self.by_key.get(key, ()) if one.matches(name)]

    def _add(self, entry: Entry) -> None:
        self.by_key[entry.key].append(entry)
        if entry.hashed is not None:
            self.hashed.append(entry)
            if entry.marker:
                self.marked_hashed.append(entry)
        elif re.search(rb"[*?!]", entry.names):
            self.patterns.append(entry)
        else:
            for name in set(entry.names.lower().split(b",")):
                self.by_name[name].append(entry)


class Files:
    """Files of known keys, each read once as long as it does not change."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[tuple[int, ...], KnownKeys]] = {}

    def keys(self, file: Path) -> KnownKeys:
        """Return the keys in a file. Raises NotTrusted where others may change it, or OSError."""
        found = os.stat(file)  # noqa: PTH116 - pathlib has other errors for odd names
        state = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev)
        kept = self._read.get(file)
        if kept is None or kept[0] != state:
            with open_own(file).file as content:
                kept = (state, KnownKeys.of(file, content.read(_MOST_BYTES)))
            self._read[file] = kept
        return kept[1]


@dataclass(frozen=True)
class Lookup:
    """A host in some files: ``names`` are what it is called there, the first one counts most.

    The others are looked for only where the first one is not there, and only for a right key, as
    ``ssh`` does with the name without the port.
    """

    files: Sequence[KnownKeys]
    names: Sequence[bytes]

    def judge(self, key: bytes) -> tuple[Verdict, Sequence[Entry]]:
        """Return what the files say of a key that is no certificate, and the lines that say so."""
        first, *others = self.names
        verdict, lines = self._judge(first, key)
        if verdict is Verdict.NEW:
            for name in others:
                other, found = self._judge(name, key)
                if other is Verdict.KNOWN:
                    return other, found
        return verdict, lines

    def _judge(self, name: bytes, key: bytes) -> tuple[Verdict, Sequence[Entry]]:
        same = [entry for file in self.files for entry in file.of_key(name, key)]
        revoked = [entry for entry in same if entry.marker == "revoked"]
        if revoked:
            return Verdict.REVOKED, revoked
        known = [entry for entry in same if not entry.marker]
        if known:
            return Verdict.KNOWN, known
        others = self.keys(name)
        return (Verdict.CHANGED, others) if others else (Verdict.NEW, [])

    def keys(self, name: bytes, *, hashed: bool = True) -> Sequence[Entry]:
        """Return all lines with keys of a host of that name, without those of authorities."""
        return [
            entry
            for file in self.files
            for entry in (*file.of_host(name), *(file.hashed_of_host(name) if hashed else ()))
            if not entry.marker
        ]

    def marked(self, marker: str) -> Sequence[Entry]:
        """Return the lines with this marker for the host."""
        return [
            entry
            for name in self.names
            for file in self.files
            for entry in file.marked_of_host(name)
            if entry.marker == marker
        ]

    @property
    def has_hashed(self) -> bool:
        """Return whether any name is hashed."""
        return any(file.hashed for file in self.files)


def called(host: str, port: int) -> bytes:
    """Return what a host is called in the files."""
    return (host if port == 22 else f"[{host}]:{port}").lower().encode(errors="surrogateescape")


def kind(key: bytes) -> str:
    """Return the kind of a key, such as ``ssh-ed25519``."""
    size = int.from_bytes(key[:4], "big")
    return key[4 : 4 + size].decode(errors="replace")


def written(key: bytes) -> bytes:
    """Return a key as files have it: its kind, and base64."""
    return b"%s %s" % (kind(key).encode(errors="replace"), base64.b64encode(key))


def _read(file: Path, number: int, line: bytes) -> Entry | None:
    """Return a line, None where it is none, or not of the form."""
    words, marker = line.split(), ""
    if words and words[0].startswith(b"@"):
        if words[0] not in _MARKERS:
            return None
        marker = _MARKERS[words.pop(0)]
    if len(words) < 3 or words[0].startswith(b"#"):
        return None
    hashed = None
    try:
        key = base64.b64decode(words[2], validate=True)
        if words[0].startswith(_HASHED):
            salt, _, right = words[0].removeprefix(_HASHED).partition(b"|")
            hashed = base64.b64decode(salt), base64.b64decode(right)
    except (binascii.Error, ValueError):
        return None
    if len(key) < 8 or kind(key) != words[1].decode(errors="replace"):
        return None
    return Entry(file=file, number=number, marker=marker, names=words[0], key=key, hashed=hashed)


_REGEXES: dict[bytes, re.Pattern[bytes]] = {}


def _regex(pattern: bytes) -> re.Pattern[bytes]:
    if pattern not in _REGEXES:
        parts = (
            b".*" if one == b"*" else b"." if one == b"?" else re.escape(one)
            for one in (pattern[at : at + 1] for at in range(len(pattern)))
        )
        if len(_REGEXES) > 10_000:
            _REGEXES.clear()
        _REGEXES[pattern] = re.compile(b"".join(parts))
    return _REGEXES[pattern]
