"""The files that ``ssh`` reads of its user: where they are, and what includes what.

``ssh`` takes the home that the passwd file has for its user. Where ``HOME`` is a folder of the same
user's that is elsewhere, Backstay takes that: ``ssh`` is then given copies of the files in which
each ``~`` and each included file is written out.
"""

import os
import pwd
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from backstay.ownership import check_own

SYSTEM = Path("/etc/ssh/ssh_config")
_INCLUDES = 16
"""How deep files may include others, as ssh has it."""
_LINE = re.compile(r"\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+)(.*?)\s*")
_HOME = re.compile(r"(^|[\s=\"'])(?:~|%d)(?=/)")
_LONGEST_LINE = 4096
_MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file: its option in lower case, and the words after it as they stand."""

    file: Path
    number: int
    option: str
    words: str
    text: str
    level: int = 0
    """How many files include this one, each in the one before."""

    def __str__(self) -> str:
        """Return where it is and what it says."""
        return f"{self.file}, line {self.number}: {self.text.strip()[:200]}"


def home() -> Path:
    """Return this user's home: ``HOME`` where it is this user's own, else as the passwd file has.

    With sudo, ``HOME`` may still be that of whoever called it. ``/`` where there is none at all.
    """
    given = os.environ.get("HOME", "")
    try:
        if given.startswith("/") and Path(given).stat().st_uid == os.geteuid():
            return Path(given)
    except OSError:
        pass
    return _passwd_home() or Path(given if given.startswith("/") else "/")


def is_elsewhere() -> bool:
    """Return whether the home is another than the one that ``ssh`` takes."""
    return home() != _passwd_home()


def config() -> Path:
    """Return the user's own file of settings, which need not exist."""
    return home() / ".ssh" / "config"


def from_home(text: str) -> Path:
    """Return a path, ``~`` as a home. It stays where there is no such user: that is no file."""
    if text == "~" or text.startswith("~/"):
        return home() / text[2:]
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises RuntimeError


def lines(*files: Path) -> Iterator[Line]:
    """Yield the lines of files and of those that they include; of ours and the system's unnamed."""
    for file in files or (config(), SYSTEM):
        yield from _lines(file, file, _INCLUDES)


def check_user_files() -> None:
    """Raise NotTrusted where others may change the user's file: it can name programs to run."""
    for file in dict.fromkeys([config(), *(line.file for line in lines(config()))]):
        try:
            check_own(file)
        except OSError:
            continue  # whatever reads it says so


def copied(folder: Path) -> tuple[Path, Mapping[str, str]]:
    """Write copies for ``ssh -F`` into a folder, with the home that is taken here.

    Returns the first one, and the files by the names of their copies.
    """
    copies: dict[str, str] = {}
    ours = _copy(config(), folder, copies, _INCLUDES)
    known = " ".join(f'"{home()}/.ssh/{name}"' for name in ("known_hosts", "known_hosts2"))
    first = folder / "config"
    # The first value of an option counts: the last line is only for what no other has named.
    first.write_text(
        f"Include {ours}\nHost *\nInclude {SYSTEM}\nHost *\nUserKnownHostsFile {known}\n"
    )
    return first, copies


def _copy(file: Path, folder: Path, copies: dict[str, str], depth: int) -> Path:
    copy = folder / f"config-{len(copies)}"
    copies[str(copy)] = str(file)
    written = []
    for text in _texts(file):
        line = _read(file, 0, text)
        if line.option == "include" and depth and line.words.strip():
            included = [
                str(_copy(one, folder, copies, depth - 1)) for one in _included(file, line.words)
            ]
            written.append(f"Include {' '.join(included) or folder / 'none'}")
        elif line.option in {"match", "proxycommand", "localcommand", "remotecommand"}:
            written.append(text)  # for a shell, which has HOME
        else:
            written.append(_HOME.sub(rf"\g<1>{home()}", text))
    # As bytes that are no text came, they go.
    copy.write_bytes("\n".join([*written, ""]).encode(errors="surrogateescape"))
    return copy


def _lines(file: Path, top: Path, depth: int) -> Iterator[Line]:
    for number, text in enumerate(_texts(file), 1):
        line = _read(file, number, text, _INCLUDES - depth)
        yield line
        if line.option == "include" and depth:
            for included in _included(top, line.words):
                yield from _lines(included, top, depth - 1)


def _texts(file: Path) -> list[str]:
    try:
        if not file.is_file():
            return []
        with file.open("rb") as content:
            data = content.read(_MOST_BYTES)
    except (OSError, ValueError):
        return []
    # For ssh a line ends at a NUL: it is C's end of a text.
    return [line.partition("\0")[0] for line in data.decode(errors="surrogateescape").split("\n")]


def _read(file: Path, number: int, text: str, level: int = 0) -> Line:
    found = _LINE.fullmatch(text[:_LONGEST_LINE])
    option, words = (found[1].lower(), found[2]) if found else ("", "")
    return Line(file=file, number=number, option=option, words=words, text=text, level=level)


def _included(file: Path, words: str) -> Iterator[Path]:
    folder = SYSTEM.parent if file == SYSTEM else home() / ".ssh"
    for pattern in split(words):
        at = from_home(pattern)
        start = Path(at.anchor) if at.is_absolute() else folder
        try:
            found = sorted(start.glob(str(at.relative_to(at.anchor) if at.is_absolute() else at)))
        except (ValueError, OSError, NotImplementedError):  # no pattern of files
            continue
        yield from found


def split(words: str) -> list[str]:
    """Return the words of a line, quotes taken away; none where they are not closed."""
    try:
        return shlex.split(words, comments=True)
    except ValueError:
        return []


def _passwd_home() -> Path | None:
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return None
