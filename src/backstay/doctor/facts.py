"""What was read, as typed values: of this machine, and of a host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backstay.answers import Count, Line, Number, Seconds
from backstay.lacking import Lack


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder that is written to, or will be made.

    ``exists`` is the nearest one above it that is there; ``trouble`` is why it cannot be used.
    """

    path: Path
    exists: Path
    writable: bool
    free: int
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What was read of this machine without a network.

    Attributes:
        missing_packages: Backstay's own Python packages that are not installed.
        missing_extras: by the name of an extra, those of its packages.
        programs: where each program is; None where it is nowhere.
        versions: what programs say of their versions, by program.
        can_ping: whether this user may ask an address by ICMP.
        systemd: whether it is this machine's init.
        sandbox: in which way programs are confined; empty where they cannot be.
        sandbox_error: why not, with a remedy.
        units: by the name of a unit of systemd, its state; empty where it is not installed.
        newest_backup: bytes of the largest of the hosts' newest backups.
        exposed: files with secrets that others may read, each with its remedy.
        own_code: why others could change what a unit runs as root; empty where they cannot.

    """

    user: str
    is_root: bool
    missing_packages: Sequence[str] = ()
    missing_extras: Mapping[str, Sequence[str]] = field(default_factory=dict)
    programs: Mapping[str, str | None] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    can_ping: bool = True
    systemd: bool = True
    sandbox: str = ""
    sandbox_error: Lack | None = None
    state_folder: Folder | None = None
    journal_folder: Folder | None = None
    backup_folder: Folder | None = None
    newest_backup: int = 0
    catalogue_error: str = ""
    temporary: Folder | None = None
    journal_file: Path | None = None
    journal_error: str = ""
    units: Mapping[str, str] = field(default_factory=dict)
    exposed: Sequence[Lack] = ()
    own_code: Lack | None = None
    hooks: Sequence[Lack] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One question's answer on a host: a value, or why there is none."""

    value: Any = None
    error: Line = ""
    late: Number | None = None
    seconds: Seconds = 0.0

    @property
    def trouble(self) -> str:
        """Return why there is no value, empty where there is one."""
        return f"no answer within {self.late:g} s" if self.late is not None else self.error


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What a host answered as root."""

    is_root: bool
    answers: Mapping[Line, Answered]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What a host answered: the login's own, and ``root``'s, or why there is none."""

    python: tuple[Count, Count, Count]
    user: Line
    is_root: bool
    started: Seconds
    finished: Seconds
    root: Inside | None = None
    refused: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host answered, and how far its clock is ahead of this one's, give or take, in s."""

    outside: Outside
    offset: float
    uncertainty: float
