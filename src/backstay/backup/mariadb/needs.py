"""What backups of MariaDB need, here and on its host, and what of it is missing. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backstay.answers import Line
from backstay.backup.mariadb import HOT_BACKUP, PACKAGES, SERVER
from backstay.commands import command, on_host
from backstay.inventory.backup import Engine
from backstay.lacking import Lack, install

PROGRAMS: Mapping[str, str] = {
    names.partition("|")[0]: package
    for package, programs in {**PACKAGES, "zstd": ("zstd",)}.items()
    for names in programs
}
"""The programs of this machine by which a backup is verified, and Debian's packages of them."""
OTHER_NAMES: Mapping[str, str] = {
    first: other
    for programs in PACKAGES.values()
    for first, mark, other in (names.partition("|") for names in programs)
    if mark
}
"""By the name of a program another one that it may have."""
RECEIVING = ("mariadb", "mariadb-binlog")
"""Those of them by which a server's log is received."""
VERSION_OF = "mariadbd"
"""The program whose version must not be older than the servers'."""
_LOG_FILE = "/etc/mysql/mariadb.conf.d/60-backstay.cnf"
_VERSION = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What ``onhost_doctor.readiness`` returns."""

    version: Line
    writes_log: bool
    copies: bool
    dumps: bool


def no_answer(trouble: str) -> Lack:
    """Return what is to be done where a server did not answer."""
    log = on_host("journalctl", "-u", "mariadb", "-n", "50")
    return Lack(what=SERVER, evidence=trouble, remedy="its log says more", command=log)


def missing_on_host(found: Readiness, engine: Engine) -> list[Lack]:
    """Return what a server's host lacks for a backup of it."""
    lacks = []
    for there, name, program, package in (
        (found.copies, Engine.PHYSICAL, HOT_BACKUP, "mariadb-backup"),
        (found.dumps, Engine.DUMP, "mariadb-dump", "mariadb-client"),
    ):
        if not there:
            lacks.append(
                Lack(
                    what=program,
                    evidence="the host of the databases has no such program",
                    command=on_host(*install([package]).split()),
                    packages=(package,),
                    optional=engine is not name,
                )
            )
    return lacks


def missing_log(found: Readiness) -> Lack | None:
    """Return what is to be done where a server writes no binary log, None where it does."""
    if found.writes_log:
        return None
    text = command("printf", r"[mariadb]\nlog_bin\n")
    return Lack(
        what="binary log",
        evidence=f"{SERVER} writes none: there is nothing to receive, and a restore ends with the "
        "backup",
        remedy=f"restart {SERVER} afterwards, in a maintenance window",
        command=on_host("sh", "-c", f"{text} >{_LOG_FILE}"),
    )


def older_here(here: str, servers: Mapping[str, str]) -> Lack | None:
    """Return what is to be done where this machine's version is another than the servers'.

    ``servers`` are versions by host. Files that a newer server has written are not read by an
    older one; with a newer one here they are brought up to its form, in the scratch folder alone.
    https://mariadb.com/kb/en/mariadb-backup-overview/#compatibility
    """
    mine = _parsed(here)
    differing = {host: version for host, version in servers.items() if _parsed(version) != mine}
    if mine is None or not differing:
        return None
    newest = max(differing.values(), key=lambda version: _parsed(version) or (0, 0))
    older = (_parsed(newest) or (0, 0)) > mine
    names = ", ".join(f"{host} has {version}" for host, version in differing.items())
    return Lack(
        what=f"version of {SERVER}'s programs",
        evidence=f"this machine has {here}, {names}",
        remedy=f"install {SERVER} {'.'.join(map(str, _parsed(newest) or ()))} here, from where "
        "the hosts have it: "
        + (
            "what is newer cannot be read"
            if older
            else "backups can be verified with what is here, but a replacement, and a restore with "
            "the log, make databases for the host here; or do these on a machine of its release"
        ),
        optional=not older,
    )


def _parsed(version: str) -> tuple[int, int] | None:
    found = _VERSION.search(version)
    return (int(found[1]), int(found[2])) if found else None


def programs_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return Debian's packages of these programs, each once."""
    return tuple(sorted({PROGRAMS[name] for name in names}))
