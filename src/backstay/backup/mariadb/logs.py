"""The binary logs that are kept of a host: what is here, what a restore replays, what may go.

Every incarnation of the server has a folder of its own, as a server that was built anew begins its
files at number 1 again. Within it files arrive in ``arriving`` and are moved beside the others as
soon as they are no shorter than what is there under their names: nothing here is ever cut short.
"""

import contextlib
import itertools
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from backstay.answers import BadAnswer, Count, read
from backstay.backup.catalogue import Backup
from backstay.backup.mariadb.binlog_file import identity_of, number
from backstay.backup.mariadb.sql import is_log_name
from backstay.backup.mariadb.stream_state import StreamState
from backstay.beneath import Folder
from backstay.errors import BackupError

ARRIVING = "arriving"
_NUMBER = re.compile("[0-9]{1,9}")
_CLOSED = "closed.json"
_STATE = "state.json"
_GOES_ON = "backstay backup stream status says what is received now"


class OtherLog(BackupError):
    """What arrives is not of the server whose log is kept here."""


class Incarnation:
    """The files of one incarnation of a server, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.arriving = folder / ARRIVING

    @property
    def number(self) -> int:
        """Return which one of its host it is: 1 is the first."""
        return int(self.folder.name)

    def pieces(self) -> list[Path]:
        """Return the files in order, of each name the longest that is here."""
        found = {file.name: file for file in _files(self.folder)}
        for file in _files(self.arriving):
            kept = found.setdefault(file.name, file)
            if _size(file) > _size(kept) and identity_of(file) == identity_of(kept):
                found[file.name] = file
        return sorted(found.values(), key=lambda file: number(file.name))

    def sizes(self) -> dict[str, int]:
        """Return how many bytes of each file are here, in order."""
        return {file.name: _size(file) for file in self.pieces()}

    def progress(self) -> tuple[int, int]:
        """Return two numbers that change whenever anything comes."""
        newest = self.pieces()[-1:]
        return sum(map(_size, newest)), sum(map(_size, _files(self.arriving)))

    def settle(self) -> None:
        """Move beside the others what has arrived and is no shorter. Raises OtherLog."""
        for file in _files(self.arriving):
            kept = self.folder / file.name
            came = identity_of(file)
            if came is None:
                continue  # only its first bytes are here
            if kept.exists():
                if identity_of(kept) != came:
                    raise _other(self.folder, file.name)
                if _size(file) < _size(kept):
                    continue
            else:
                last = [other for other in _files(self.folder) if other.name != file.name]
                if last and number(last[-1].name) + 1 != number(file.name):
                    raise _other(self.folder, file.name)
                for other in last[-1:]:
                    _on_disk(other)  # it is complete, and will not be fetched again
            file.replace(kept)

    def clear(self) -> None:
        """Settle what an earlier stream has received, and remove what is left of it."""
        with contextlib.suppress(OtherLog):  # that is received from its beginning
            self.settle()
        # Whoever wrote there may have left other things than files.
        with Folder.open(self.arriving, make=True) as folder:
            for name in folder.names():
                folder.remove(name)

    def state(self) -> StreamState | None:
        """Return the last state of the stream of this incarnation, None where there is none."""
        with contextlib.suppress(OSError, BadAnswer):
            return StreamState.read((self.folder / _STATE).read_bytes())
        return None

    def closed(self) -> dict[str, int]:
        """Return the files that the server writes to no more, with their whole sizes.

        Raises BackupError where the note of them is damaged: a file that was cut short would count
        as whole.
        """
        try:
            return dict(read(dict[str, Count], (self.folder / _CLOSED).read_bytes()))
        except FileNotFoundError:
            return {}
        except (OSError, BadAnswer) as error:
            raise BackupError(
                f"reading {self.folder / _CLOSED}",
                came_back=f"it is not the list of whole sizes: {error}",
                remedy="remove it; a running stream writes it again for the files that the server "
                "still has",
            ) from error

    def note_closed(self, server: Sequence[tuple[str, int]]) -> None:
        """Note the whole sizes of files that are here and that the server writes to no more."""
        known: dict[str, int] = {}
        with contextlib.suppress(BackupError):  # damaged: it is written anew
            known = self.closed()
        here = self.sizes()
        new = {name: size for name, size in server[:-1] if name in here and name not in known}
        if new:
            write(self.folder / _CLOSED, json.dumps(known | new))


class Logs:
    """The binary logs of one host, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def state(self) -> StreamState | None:
        """Return the last state of the stream, None where there never was one."""
        try:
            return StreamState.read((self.folder / _STATE).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, BadAnswer) as error:
            raise BackupError(
                f"reading {self.folder / _STATE}",
                came_back=f"it is not the state file of a stream: {error}",
                remedy="remove it; a running stream writes it again within seconds",
            ) from error

    def write_state(self, state: StreamState) -> None:
        """Write the stream's state, in one piece, and beside the log that it is of."""
        write(self.folder / _STATE, state.text())
        for incarnation in self.incarnations()[:1]:
            if incarnation.number == state.incarnation:
                write(incarnation.folder / _STATE, state.text())

    def ended(self) -> None:
        """Record that no stream is wanted any more: that none runs is no warning then."""
        (self.folder / _STATE).unlink(missing_ok=True)

    def incarnations(self) -> list[Incarnation]:
        """Return what is kept of each incarnation, the newest first."""
        folders = [one for one in self.folder.glob("[0-9]*") if _NUMBER.fullmatch(one.name)]
        folders = [one for one in folders if one.is_dir()]
        return [Incarnation(one) for one in sorted(folders, key=_by_number, reverse=True)]

    def begin(self) -> Incarnation:
        """Return a new, empty incarnation, the newest from now on."""
        newest = next((one.number for one in self.incarnations()), 0)
        made = Incarnation(self.folder / f"{newest + 1:04}")
        made.folder.mkdir(parents=True, mode=0o700)
        made.arriving.mkdir(mode=0o700)
        return made

    def after(self, file: str, position: int, identity: str) -> list[Path]:
        """Return the files to replay in order, the first from ``position``.

        ``identity`` distinguishes the server's ``file`` from others of its name (``binlog_file``).
        Raises BackupError where they are not all here.
        """
        incarnation = self.of(file, identity)
        if incarnation is None:
            raise _missing(
                f"{file} of the server of this backup was not received",
                "restore the backup without --to, or a backup whose log was received; " + _GOES_ON,
            )
        pieces = [p for p in incarnation.pieces() if number(p.name) >= number(file)]
        _refuse_gaps(pieces, incarnation.closed(), position)
        return pieces

    def of(self, file: str, identity: str) -> Incarnation | None:
        """Return the incarnation of which that file is, None where it is not here."""
        for incarnation in self.incarnations():
            found = [piece for piece in incarnation.pieces() if piece.name == file]
            if found and identity_of(found[0]) == identity:
                return incarnation
        return None


def write(file: Path, text: str) -> None:
    """Write a file for its owner alone, in one piece. Raises BackupError."""
    part = file.with_suffix(".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.touch(mode=0o600)
        part.write_text(text)
        part.replace(file)
    except OSError as error:
        raise BackupError(
            f"writing {file}",
            came_back=error.strerror or str(error),
            remedy="free space there, or let this user write there",
        ) from error


def joined(backup: Backup) -> tuple[str, int, str]:
    """Return where the log goes on from a backup: file, position, and the file's identity.

    Raises BackupError where the backup has no position.
    """
    position = backup.facts.get("position")
    if not position:
        raise _missing(
            f"{backup.name} was taken without a binary log position",
            "restore it without --to",
        )
    file, offset = position
    return str(file), int(offset), str(backup.facts.get("logs", {}).get(file, ""))


def needed_from(pieces: Sequence[Path], backups: Sequence[Backup]) -> Path | None:
    """Return the first file of an incarnation that the oldest of the backups is joined by.

    None where no backup is of this incarnation. A backup that notes no identities, as older ones
    do not, is taken to be of every incarnation that has a file of its name.
    """
    for piece in pieces:
        for backup in backups:
            file = next(iter(backup.facts.get("position") or ()), None)
            noted = backup.facts.get("logs", {}).get(file)
            if file == piece.name and noted in {None, identity_of(piece)}:
                return piece
    return None


def not_needed(incarnations: Sequence[Incarnation], backups: Sequence[Backup]) -> list[Path]:
    """Return the files that no backup of the host needs, incarnations being the newest first.

    Of the newest incarnation, which is being written, only what is before the oldest backup's file;
    of an older one all where no backup is of it. Where no backup has a position: none at all.
    """
    if not any(backup.facts.get("position") for backup in backups):
        return []
    going: list[Path] = []
    for incarnation in incarnations:
        pieces = incarnation.pieces()
        first = needed_from(pieces, backups)
        if first is not None:
            going += pieces[: pieces.index(first)]
        elif incarnation is not incarnations[0]:
            going += pieces
    return going


def _refuse_gaps(pieces: Sequence[Path], closed: Mapping[str, int], position: int) -> None:
    if _size(pieces[0]) < position:
        raise _missing(
            f"{pieces[0].name} is received up to {_size(pieces[0])}, the backup is of {position}",
            "restore the backup without --to; " + _GOES_ON,
        )
    for piece, following in itertools.pairwise(pieces):
        if number(following.name) != number(piece.name) + 1:
            gap = f"what is between {piece.name} and {following.name} is missing"
            raise _missing(gap, "restore a newer backup, or this one without --to")
        whole = closed.get(piece.name, 0)
        if _size(piece) < whole:
            gap = f"{piece.name} is received with {_size(piece)} of {whole} bytes"
            raise _missing(gap, "restore a newer backup, or this one without --to")


def _missing(came_back: str, remedy: str) -> BackupError:
    return BackupError("looking for the binary log to replay", came_back=came_back, remedy=remedy)


def _other(folder: Path, name: str) -> OtherLog:
    return OtherLog(
        f"receiving the binary log into {folder}",
        came_back=f"{name} belongs to another log than the one received",
        remedy="nothing: it is received into another folder",
    )


def _files(folder: Path) -> list[Path]:
    """Return the log files in a folder: no link is one, nor anything of another kind of name."""
    found = [file for file in folder.glob("*.[0-9]*") if is_log_name(file.name) and _is_file(file)]
    return sorted(found, key=lambda file: number(file.name))


def _is_file(file: Path) -> bool:
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except FileNotFoundError:  # it has just been moved
        return False


def _by_number(folder: Path) -> int:
    return int(folder.name)


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except FileNotFoundError:  # it has just been moved
        return 0


def _on_disk(file: Path) -> None:
    opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
