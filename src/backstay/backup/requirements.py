"""Which programs of this machine backups need, as data, and which of them are missing.

All that is missing is said at once, before anything is started: who installs one after the other
meets the next only at the end of the next long run.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from backstay.backup.mariadb import PACKAGES
from backstay.errors import BackupError
from backstay.lacking import ALSO
from backstay.transports.programs import found


class Task(StrEnum):
    """What is done with backups on this machine."""

    STORE = "store"
    """Puts what hosts give into the repository, and reads it again."""
    SERVE = "serve"
    """Restores databases into a server of its own here, to verify or to restore them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program that must be here: any of ``names``. ``package`` is Debian's that brings it."""

    names: tuple[str, ...]
    package: str

    @property
    def name(self) -> str:
        """Return what it is called."""
        return self.names[0]


def _by_package(packages: Mapping[str, tuple[str, ...]]) -> tuple[Program, ...]:
    """Return programs by their packages; names that may stand for each other have a ``|``."""
    return tuple(
        Program(names=tuple(names.split("|")), package=package)
        for package, programs in packages.items()
        for names in programs
    )


_SANDBOX = {"util-linux": ("unshare", "pivot_root", "prlimit", "setpriv"), "mount": ("mount",)}
PROGRAMS: Mapping[Task, tuple[Program, ...]] = {
    Task.STORE: _by_package({"restic": ("restic",)}),
    Task.SERVE: _by_package({**PACKAGES, "zstd": ("zstd",), **_SANDBOX}),
}
"""What each task needs here. What it needs on hosts is asked there."""


def lacking(
    tasks: Iterable[Task], find: Callable[[str], str | None] = found
) -> tuple[Program, ...]:
    """Return every program that this machine lacks for the tasks, each once."""
    wanted = dict.fromkeys(program for task in tasks for program in PROGRAMS[task])
    return tuple(one for one in wanted if not any(map(find, one.names)))


def install(programs: Iterable[Program]) -> str:
    """Return the command that installs programs on Debian and Ubuntu. Pure."""
    return " ".join(["apt-get install", *sorted({one.package for one in programs})])


def require(tasks: Iterable[Task], attempted: str) -> None:
    """Raise BackupError with all that this machine lacks for the tasks, where it lacks any."""
    missing = lacking(tasks)
    if missing:
        raise BackupError(
            attempted,
            came_back=f"this machine has no {', '.join(one.name for one in missing)}; nothing has "
            "been started",
            remedy=f"{install(missing)}, on the machine that keeps the backups{ALSO}",
        )
