"""Read this machine: packages, programs, rights, room, units. No network; nothing is changed."""

import asyncio
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from backstay.backup.catalogue import Catalogue, folder_of
from backstay.backup.mariadb.needs import OTHER_NAMES, PROGRAMS, RECEIVING, VERSION_OF
from backstay.doctor.facts import Folder, Here
from backstay.doctor.needs import Topic
from backstay.errors import BackupError, own_error
from backstay.inventory.cloud import Cloud
from backstay.inventory.exposure import exposed_secrets
from backstay.inventory.provision import Ansible, Command
from backstay.journal import reach
from backstay.journal.place import folder as state_folder
from backstay.journal.place import journal_url
from backstay.lacking import Lack
from backstay.ownership import NotTrusted, check_own_tree
from backstay.transports import namespaces
from backstay.transports.ping import Pings
from backstay.transports.systemd import BOOTED
from backstay.transports.systemd import FOLDER as UNITS
from backstay.transports.threads import on_thread

BOUND = 25.0
"""Seconds for each part: a disk may hang."""
_VERSION_BOUND = 10.0
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_EXTRA = re.compile(r"extra\s*==\s*[\"']([a-z0-9-]+)[\"']")


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What only the command line knows: the units of each command, and the code they run."""

    units: Mapping[Topic, Sequence[str]] = field(default_factory=dict)
    code: Sequence[Path] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was read, and why a part of it could not be, by its topics."""

    here: Here
    troubles: Mapping[Topic, str] = field(default_factory=dict)


def programs_wanted(wanted: Collection[Topic], cloud: Cloud | None) -> list[str]:
    """Return the programs of this machine that are looked for. Pure."""
    names = ["systemd-run"] if Topic.SYSTEMD in wanted else []
    if Topic.SSH_PROGRAM in wanted:
        names.append("ssh")
    if Topic.RESTIC in wanted:
        names.append("restic")
    if Topic.DATABASE_PROGRAMS in wanted:
        names += [*PROGRAMS, "bash"]
    elif Topic.STREAM_PROGRAMS in wanted:
        names += RECEIVING
    if Topic.PROVISION in wanted and cloud is not None:
        for means in cloud.provision.values():
            if isinstance(means.given, Ansible):
                names.append("ansible-playbook")
            elif isinstance(means.given, Command) and means.given.on == "here":
                names.append(means.given.argv[0])
    return list(dict.fromkeys(names))


async def read_here(cloud: Cloud | None, wanted: Collection[Topic], own: Own) -> Reading:
    """Read all that is ``wanted`` of this machine. Nothing is raised."""
    parts: list[tuple[tuple[Topic, ...], Callable[[], Mapping[str, Any]]]] = [
        ((Topic.PYTHON_PACKAGES, Topic.LAB), _packages),
        (
            (
                Topic.SSH_PROGRAM,
                Topic.RESTIC,
                Topic.DATABASE_PROGRAMS,
                Topic.STREAM_PROGRAMS,
                Topic.PROVISION,
            ),
            lambda: _programs(programs_wanted(wanted, cloud)),
        ),
        ((Topic.PING,), lambda: {"can_ping": _can_ping()}),
        ((Topic.SYSTEMD,), lambda: {"systemd": BOOTED.is_dir()}),
        ((Topic.JOURNAL, Topic.LOCKS), _journal),
        ((Topic.TEMPORARY,), lambda: {"temporary": _folder(Path(tempfile.gettempdir()))}),
        ((Topic.SANDBOX,), _sandbox),
        (tuple(own.units), lambda: {"units": _units(own, wanted)}),
        ((Topic.OWN_CODE,), lambda: {"own_code": _code(own.code)}),
    ]
    if cloud is not None:
        parts += [
            ((Topic.BACKUP_FOLDER,), lambda: _backups(cloud)),
            ((Topic.SECRETS,), lambda: {"exposed": _exposed(cloud)}),
            ((Topic.HOOKS,), lambda: {"hooks": list(_hooks(cloud))}),
        ]
    asked = [(topics, part) for topics, part in parts if set(topics) & set(wanted)]
    answers = await asyncio.gather(*(_bounded(part) for _, part in asked))
    found: dict[str, Any] = {}
    troubles: dict[Topic, str] = {}
    for (topics, _), answer in zip(asked, answers, strict=True):
        if isinstance(answer, str):
            troubles |= dict.fromkeys(topics, answer)
        else:
            found |= answer
    here = Here(user=_user(), is_root=os.geteuid() == 0, **found)
    return Reading(here=here, troubles=troubles)


async def _bounded(part: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any] | str:
    """Return what a part brought, or why it brought nothing."""
    try:
        return await on_thread(part, BOUND)
    except TimeoutError:
        return f"not read within {BOUND:g} s: does a disk hang?"
    except OSError as error:
        return f"{error.filename or 'this machine'}: {error.strerror or error}"
    except RuntimeError as error:  # pathlib's, for a user without a home
        return f"{error} Set HOME"
    except Exception as error:  # whatever it is, the other parts count
        return own_error(error)


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _packages() -> Mapping[str, Any]:
    """Return which packages are missing that Backstay and each of its extras want."""
    try:
        wanted = metadata.requires("backstay") or []
    except metadata.PackageNotFoundError:  # run from a folder that was never installed
        return {}
    missing: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in wanted:
        name, extra = _NAME.match(line), _EXTRA.search(line)
        if name is None:
            continue
        lacking = [] if _is_installed(name[0]) else [name[0]]
        if extra:
            extras.setdefault(extra[1], []).extend(lacking)
        else:
            missing += lacking
    return {"missing_packages": missing, "missing_extras": extras}


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _programs(names: Sequence[str]) -> Mapping[str, Any]:
    places = {name: _place(name) or _place(OTHER_NAMES.get(name, "")) for name in names}
    asked = {"restic": "version", VERSION_OF: "--version"}
    versions = {
        name: _version(place, asked[name])
        for name, place in places.items()
        if place and name in asked
    }
    return {"programs": places, "versions": versions}


def _place(name: str) -> str | None:
    return shutil.which(name, path=namespaces.PATH) if name else None


def _version(path: str, word: str) -> str:
    """Return the first number with a point in it that a program says of itself."""
    try:
        done = subprocess.run(
            [path, word],
            capture_output=True,
            text=True,
            timeout=_VERSION_BOUND,
            check=False,
            stdin=subprocess.DEVNULL,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+\.[\w.+:~-]+", done.stdout[:1000])
    return found[0] if found else ""


def _can_ping() -> bool:
    try:
        Pings().close()
    except OSError:
        return False
    return True


def _journal() -> Mapping[str, Any]:
    file = reach.journal_file(journal_url())
    return {
        "state_folder": _folder(state_folder()),
        "journal_file": file,
        "journal_folder": _folder(file.parent) if file else None,
        "journal_error": reach.file_trouble(file) if file else "",
    }


def _folder(path: Path) -> Folder:
    """Read a folder, or the nearest one above it that is there. Raises OSError."""
    nearest = next(one for one in (path, *path.parents) if one.exists())
    sizes = os.statvfs(nearest)
    return Folder(
        path=path,
        exists=nearest,
        writable=os.access(nearest, os.W_OK | os.X_OK),
        free=sizes.f_bavail * sizes.f_frsize,
        trouble=_others(path) if nearest == path else "",
    )


def _others(folder: Path) -> str:
    """Return why others may change what is in a folder, empty where they may not."""
    found = folder.stat()
    if found.st_uid not in {0, os.geteuid()}:
        return f"it belongs to another user ({found.st_uid})"
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        return f"everybody may write to it (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def _backups(cloud: Cloud) -> Mapping[str, Any]:
    folder = folder_of(cloud)
    found = _folder(folder)
    newest = 0
    if (folder / Catalogue.FOLDER).is_dir():
        try:
            sizes: dict[str, int] = {}
            for backup in Catalogue(folder / Catalogue.FOLDER).backups():
                sizes.setdefault(backup.host, sum(backup.sizes.values()))
            newest = max(sizes.values(), default=0)
        except BackupError as error:
            return {"backup_folder": found, "catalogue_error": error.came_back}
    return {"backup_folder": found, "newest_backup": newest}


def _sandbox() -> Mapping[str, Any]:
    try:
        return {"sandbox": namespaces.form()}
    except BackupError as error:
        lack = Lack(what="sandbox", evidence=error.came_back, remedy=error.remedy)
        return {"sandbox_error": lack}


def _units(own: Own, wanted: Collection[Topic]) -> dict[str, str]:
    """Return the state of each unit, empty where its file is not there."""
    names = [name for topic, units in own.units.items() if topic in wanted for name in units]
    found = dict.fromkeys(names, "")
    for name in names:
        if (UNITS / name).exists():
            found[name] = _state(name)
    return found


def _state(unit: str) -> str:
    try:
        done = subprocess.run(
            ["systemctl", "is-active", "--", unit],
            capture_output=True,
            text=True,
            timeout=_VERSION_BOUND,
            check=False,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def _code(files: Sequence[Path]) -> Lack | None:
    for file in files:
        try:
            check_own_tree(file)
        except NotTrusted as error:
            return Lack(
                what="Backstay's own code",
                evidence=f"units would run {file} as root, and {error}",
                remedy=f"{error.remedy}, or install Backstay where only root may write",
            )
        except OSError:
            continue
    return None


def _exposed(cloud: Cloud) -> list[Lack]:
    return [
        Lack(what=one.subject, evidence=one.evidence, command=one.remedy, optional=True)
        for one in exposed_secrets(cloud)
    ]


def _hooks(cloud: Cloud) -> Iterator[Lack]:
    """Give the hooks whose program is not there."""
    hooks = cloud.maintenance.hooks
    for kind in type(hooks).model_fields:
        for hook in getattr(hooks, kind):
            try:
                words = shlex.split(hook.command or "")
            except ValueError:
                continue  # whatever runs it says so
            # What is no name of a file is perhaps the shell's own word.
            if words and "=" not in words[0] and shutil.which(words[0]) is None:
                yield Lack(
                    what=f"hook {kind}",
                    evidence=f"there is no program {words[0]}",
                    remedy=f"install it, or correct maintenance.hooks.{kind} in {cloud.path}",
                    optional="/" not in words[0],
                )
