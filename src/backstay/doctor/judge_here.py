"""Judge what was read of this machine. Pure."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from backstay.backup.mariadb.needs import PROGRAMS, RECEIVING
from backstay.commands import command, quoted
from backstay.doctor.facts import Folder, Here
from backstay.doctor.needs import Topic
from backstay.doctor.point import Point, State, lacking, there, unknown
from backstay.doctor.read_here import Reading
from backstay.inventory.cloud import Cloud
from backstay.inventory.provision import Ansible, Command
from backstay.lacking import LAB, PACKAGES, Lack, install, pip_install
from backstay.quantities import size

JOURNAL_ROOM = 64 << 20
TEMPORARY_ROOM = 64 << 20
"""Bytes: for the files of a few programs, which are small."""
LEAST_BACKUP_ROOM = 1 << 30
OLDEST_RESTIC = (0, 14)
PING_RANGE = "net.ipv4.ping_group_range"

_Judge: TypeAlias = Callable[[Here, Cloud | None], Iterator[Point]]


def judge_here(reading: Reading, cloud: Cloud | None, wanted: Collection[Topic]) -> list[Point]:
    """Return what is there, missing and unknown of this machine."""
    found: list[Point] = []
    for topic, judge in _JUDGES.items():
        if topic not in wanted:
            continue
        if topic in reading.troubles:
            found.append(unknown(topic, topic.replace("-", " "), reading.troubles[topic]))
        else:
            found += judge(reading.here, cloud)
    return found


def _packages(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    topic = Topic.PYTHON_PACKAGES
    if here.missing_packages:
        yield lacking(
            topic,
            Lack(
                what="Python packages",
                evidence=f"not installed: {', '.join(here.missing_packages)}",
                command=pip_install("backstay"),
            ),
        )
    else:
        yield there(topic, "Python packages", "all that Backstay imports are installed")
    for extra, packages in here.missing_extras.items():
        if not packages and extra != "dev":
            yield there(topic, f"extra {extra}", "installed")


def _lab(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    if here.missing_extras.get("lab"):
        lack = Lack(what="the lab", evidence="not installed", remedy=LAB)
        yield lacking(Topic.LAB, lack)
    else:
        yield there(Topic.LAB, "the lab", "installed")


def programs(topic: Topic, names: Sequence[str], here: Here) -> Iterator[Point]:
    """Give each program that is missing, with what installs it; or one point for all."""
    missing = [name for name in names if not here.programs.get(name)]
    for name in missing:
        package = PROGRAMS.get(name) or PACKAGES.get(name, "")
        yield lacking(
            topic,
            Lack(
                what=name,
                evidence="this machine has no such program",
                remedy="" if package else f"install {quoted(name)}, or correct `provision`",
                command=f"{sudo(here)}{install([package])}" if package else "",
                packages=(package,) if package else (),
            ),
        )
    if not missing:
        found = [f"{name} {here.versions.get(name, '')}".rstrip() for name in names]
        yield there(topic, "programs", ", ".join(found))


def _ssh_program(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    for point in programs(Topic.SSH_PROGRAM, ["ssh"], here):
        if point.state is State.OK:
            yield point
            continue
        evidence = (
            "this machine has no such program: an SSH configuration is not read, and the lines to "
            "paste need it"
        )
        yield replace(point, evidence=evidence, optional=True)


def _restic(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    yield from programs(Topic.RESTIC, ["restic"], here)
    version = here.versions.get("restic", "")
    numbers = re.match(r"(\d{1,9})\.(\d{1,9})", version)
    if numbers and (int(numbers[1]), int(numbers[2])) < OLDEST_RESTIC:
        oldest = ".".join(map(str, OLDEST_RESTIC))
        evidence = f"it is {version}; Backstay was tried with {oldest} and newer ones"
        remedy = "install a newer one: https://restic.net"
        lack = Lack(what="version of restic", evidence=evidence, remedy=remedy, optional=True)
        yield lacking(Topic.RESTIC, lack)


def _database_programs(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    yield from programs(Topic.DATABASE_PROGRAMS, [*PROGRAMS, "bash"], here)


def _stream_programs(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    yield from programs(Topic.STREAM_PROGRAMS, RECEIVING, here)


def _provision(here: Here, cloud: Cloud | None) -> Iterator[Point]:
    topic = Topic.PROVISION
    if cloud is None:
        return
    if not cloud.provision:
        yield lacking(
            topic,
            Lack(
                what="provision",
                evidence=f"{cloud.path} does not say how a host is built",
                remedy="name Puppet, Ansible or a command under `provision`: docs/replace.md",
            ),
        )
        return
    names = []
    for means in cloud.provision.values():
        if isinstance(means.given, Ansible):
            names.append("ansible-playbook")
        elif isinstance(means.given, Command) and means.given.on == "here":
            names.append(means.given.argv[0])
    if names:
        yield from programs(topic, list(dict.fromkeys(names)), here)


def _ping(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    if here.can_ping:
        yield there(Topic.PING, "ping", "this user may ask addresses by ICMP")
        return
    yield lacking(
        Topic.PING,
        Lack(
            what="ping",
            evidence=f"the user {here.user} may not ask an address by ICMP: silence of a host is "
            "then not proved",
            command=f"{sudo(here)}sysctl -w {quoted(f'{PING_RANGE}=0 2147483647')}",
        ),
    )


def sudo(here: Here) -> str:
    """Return what a command for root begins with on this machine. Pure."""
    return "" if here.is_root else "sudo "


def _systemd(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    topic = Topic.SYSTEMD
    if not here.systemd:
        evidence = "systemd is not this machine's init: no units can be installed"
        remedy = "let another supervisor run `backstay watch run` and cron `backstay backup create`"
        lack = Lack(what="systemd", evidence=evidence, remedy=remedy, optional=True)
        yield lacking(topic, lack)
        return
    yield there(topic, "systemd", "it is this machine's init")
    if not here.is_root:
        evidence = f"the user {here.user} may not install units: only root may"
        remedy = "call `... install` commands as root; all others need no root here"
        lack = Lack(what="root on this machine", evidence=evidence, remedy=remedy, optional=True)
        yield lacking(topic, lack)


def folder_point(topic: Topic, what: str, folder: Folder, room: int, here: Here) -> Point:
    """Judge a folder that is written to."""
    path, user = str(folder.path), here.user
    made = command("install", "-d", "-m", "0700", "-o", user, path)
    if folder.trouble:
        fix = f"{sudo(here)}{command('chown', '-R', user, path)}"
        if folder.trouble.startswith("everybody"):
            fix = f"{sudo(here)}{command('chmod', 'o-w', path)}"
        return lacking(topic, Lack(what=what, evidence=f"{path}: {folder.trouble}", command=fix))
    if not folder.writable:
        where = "it" if folder.exists == folder.path else str(folder.exists)
        evidence = f"{path}: the user {user} may not write to {where}, or its disk is read-only"
        # Root may write everywhere but on a disk that is read-only.
        fix = command("findmnt", "-T", path) if here.is_root else f"sudo {made}"
        words = "see why its file system is read-only" if here.is_root else ""
        return lacking(topic, Lack(what=what, evidence=evidence, remedy=words, command=fix))
    if folder.free < room:
        return lacking(
            topic,
            Lack(
                what=what,
                evidence=f"{path}: {size(folder.free)} are free, it needs {size(room)}",
                remedy="free space there, or name another folder",
                command=f"du -xh {quoted(str(folder.exists))} | sort -h | tail -n 20",
            ),
        )
    made_later = "" if folder.exists == folder.path else "; it will be made"
    return there(topic, what, f"{path}: {size(folder.free)} free{made_later}")


def _journal(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    topic = Topic.JOURNAL
    if here.state_folder is not None:
        folder = here.state_folder
        yield folder_point(topic, "folder of Backstay's state", folder, JOURNAL_ROOM, here)
    if here.journal_file is None:
        return
    if here.journal_error:
        evidence = f"{here.journal_file}: {here.journal_error}"
        remedy = "restore it from a copy, or name another journal in BACKSTAY_JOURNAL"
        yield lacking(topic, Lack(what="journal", evidence=evidence, remedy=remedy))
    elif here.journal_folder and here.journal_folder != here.state_folder:
        yield folder_point(topic, "journal", here.journal_folder, JOURNAL_ROOM, here)
    else:
        yield there(topic, "journal", f"{here.journal_file} (SQLite)")


def _temporary(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    if here.temporary is not None:
        what = "folder for temporary files"
        # It is everybody's, with the sticky bit.
        yield folder_point(Topic.TEMPORARY, what, here.temporary, TEMPORARY_ROOM, here)


def _backup_folder(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    if here.backup_folder is None:
        return
    topic, room = Topic.BACKUP_FOLDER, max(LEAST_BACKUP_ROOM, 2 * here.newest_backup)
    yield folder_point(topic, "folder of the backups", here.backup_folder, room, here)
    if here.catalogue_error:
        remedy = "backstay backup list"
        yield lacking(topic, Lack(what="catalogue", evidence=here.catalogue_error, command=remedy))


def _sandbox(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    if here.sandbox_error is not None:
        yield lacking(Topic.SANDBOX, here.sandbox_error)
    else:
        yield there(Topic.SANDBOX, "sandbox", here.sandbox)


_INSTALLED_BY = {
    Topic.WATCH_UNIT: "watch install",
    Topic.STREAM_UNITS: "backup stream install",
}


def judge_units(
    here: Here, cloud: Path, units: Mapping[Topic, Sequence[str]], wanted: Collection[Topic]
) -> Iterator[Point]:
    """Give what is known of units: not installed, or not running."""
    remedy = ""
    if not here.is_root and not cloud.is_relative_to("/etc"):
        cloud = Path("/etc/backstay") / cloud.name
        remedy = "units run as root: first copy cloud.yaml and what it names to a folder of root's"
    for topic, names in units.items():
        if topic not in wanted:
            continue
        absent = [name for name in names if not here.units.get(name)]
        if absent:
            words = ["backstay", *_INSTALLED_BY[topic].split(), "--cloud", str(cloud)]
            yield lacking(
                topic,
                Lack(
                    what="units of systemd",
                    evidence=f"not installed here: {', '.join(absent)}",
                    remedy=remedy,
                    command=f"{sudo(here)}{command(*words)}",
                    optional=True,
                ),
            )
        for name in names:
            state = here.units.get(name, "")
            if state in {"active", "activating", "reloading"}:
                yield there(topic, name, state)
            elif state == "unknown":
                yield unknown(topic, name, "systemd did not say whether it runs")
            elif state:
                yield lacking(
                    topic,
                    Lack(
                        what=name,
                        evidence=f"installed, and {state}",
                        remedy=f"its log says why: {command('journalctl', '-u', name, '-n', '50')}",
                        command=f"{sudo(here)}{command('systemctl', 'restart', name)}",
                    ),
                )


def _own_code(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    if not here.is_root:
        return
    if here.own_code is not None:
        yield lacking(Topic.OWN_CODE, here.own_code)
    else:
        yield there(Topic.OWN_CODE, "Backstay's own code", "only root may change it")


def _secrets(here: Here, _cloud: Cloud | None) -> Iterator[Point]:
    for lack in here.exposed:
        yield lacking(Topic.SECRETS, lack)
    if not here.exposed:
        yield there(Topic.SECRETS, "files with secrets", "no other user may read them")


def _hooks(here: Here, cloud: Cloud | None) -> Iterator[Point]:
    for lack in here.hooks:
        yield lacking(Topic.HOOKS, lack)
    if not here.hooks and cloud is not None:
        yield there(Topic.HOOKS, "hooks", "the programs that they call are there")


_JUDGES: Mapping[Topic, _Judge] = {
    Topic.PYTHON_PACKAGES: _packages,
    Topic.LAB: _lab,
    Topic.SECRETS: _secrets,
    Topic.JOURNAL: _journal,
    Topic.PING: _ping,
    Topic.TEMPORARY: _temporary,
    Topic.SYSTEMD: _systemd,
    Topic.OWN_CODE: _own_code,
    Topic.SSH_PROGRAM: _ssh_program,
    Topic.RESTIC: _restic,
    Topic.BACKUP_FOLDER: _backup_folder,
    Topic.DATABASE_PROGRAMS: _database_programs,
    Topic.STREAM_PROGRAMS: _stream_programs,
    Topic.SANDBOX: _sandbox,
    Topic.PROVISION: _provision,
    Topic.HOOKS: _hooks,
}
