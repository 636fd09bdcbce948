"""A spare that becomes the lost host: how steps reach it, and whether it can take the place."""

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from backstay.answers import BadAnswer, convert
from backstay.backup.catalogue import Backup
from backstay.backup.manifest import MANIFEST, Machine, of_backup
from backstay.backup.place import Place
from backstay.errors import BackstayError, BackupError, HostError
from backstay.inventory.backup import Engine
from backstay.inventory.limits import Limit
from backstay.journal.action import R, Refused, Running
from backstay.journal.place import folder
from backstay.jsondata import Json
from backstay.provision import onhost as provision_onhost
from backstay.provision import packages
from backstay.provision.following import Ask, LongCommand, ask_here
from backstay.quantities import size
from backstay.runbooks.replace import onhost
from backstay.runbooks.replace.answers import SpareAnswer
from backstay.runbooks.replace.steps import ADOPT, SparePrepared
from backstay.runbooks.restore.context import SILENCE, RestoreAction, RestoreContext
from backstay.runbooks.restore.plan import services_of, units_of

T = TypeVar("T")

_MANIFESTS: dict[str, Mapping[str, Any]] = {}
"""By snapshot, which never changes: several steps of a run want it, and reading takes a second."""


async def manifest_of(place: Place, backup: Backup) -> Mapping[str, Any]:
    """Return the list of a backup's files, packages and units. Raises BackupError."""
    snapshot = backup.snapshot("files")
    if snapshot not in _MANIFESTS:
        text = bytearray()

        async def receive(data: bytes) -> None:
            text.extend(data)

        await place.restic().dump(snapshot, f"/{MANIFEST}", receive, silence=SILENCE)
        _MANIFESTS[snapshot] = of_backup(bytes(text), backup=backup.name).document()
    return _MANIFESTS[snapshot]


@dataclass(frozen=True)
class SpareAction(RestoreAction[R]):
    """A step on the spare. Its plan has the settings of a restore, and ``spare`` and ``mark``.

    ``mark`` (a time, unique) names the places that the run makes here and on the spare, as
    ``RestoreContext`` has it. The lost host is ``settings["for"]``, else the plan's first target.
    """

    def host(self, running: Running) -> str:
        """Return the name of the host that is replaced."""
        return str(running.plan.settings.get("for") or running.plan.targets[0])

    def spare(self, running: Running) -> str:
        """Return the name of the spare."""
        return str(running.plan.settings["spare"])

    def backup(self, running: Running) -> Backup:
        """Return the backup that is restored. Raises BackupError where it is gone."""
        return self.place.catalogue.named(running.plan.settings["backup"])

    def way(self, running: Running) -> str:
        """Return the name by which the spare is reached now: its own, or once adopted the host's.

        With the host's SSH keys it is a stranger under its own name.
        """
        adopted = ADOPT.id(self.host(running)) in running.results
        return self.host(running) if adopted else self.spare(running)

    def units(self, running: Running) -> list[str]:
        """Return the units of the host's services, as systemd calls them."""
        host, cloud = self.host(running), self.site.cloud
        return units_of(cloud, host, services_of(cloud, host, self.site.services, ""))

    async def manifest(self, backup: Backup) -> Mapping[str, Any]:
        """Return the list of the backup's files, packages and units. Raises BackupError."""
        return await manifest_of(self.place, backup)

    def ask_by(self, name: str) -> Ask:
        """Return what asks the spare, by one of its names."""

        async def ask(
            function: Callable[..., Any], *arguments: Json, returns: type[T], bound: float
        ) -> T:
            return await self.site.ask(name, function, *arguments, returns=returns, bound=bound)

        return ask

    def command(self, running: Running, unit: str, *, here: bool = False) -> LongCommand:
        """Return the long command of this unit, on the spare or on this machine."""
        name, mine = self.way(running), folder() / "runs"
        return LongCommand(
            unit,
            ask_here if here else self.ask_by(name),
            host="this machine" if here else name,
            folder=str(mine / "units") if here else provision_onhost.FOLDER,
            log=mine / running.run / f"{unit}.log",
        )


def files_here(context: RestoreContext) -> Path:
    """Return the folder into which the backup's files were brought. Raises BackstayError."""
    if not (context.files / MANIFEST).is_file():
        raise BackstayError(
            f"looking for the files of {context.backup.name} on this machine",
            came_back=f"{context.files} has no {MANIFEST}",
            remedy="the plan must fetch them first: start the runbook again",
        )
    return context.files


_LESS = 0.5
"""With less than this part of the lost host's memory its services would not run."""
_PER_PACKAGE = 3 * 1024**2
"""What a package takes on average, and its file: measured on a controller, 2.1 MiB and 0.4."""
_GROWS = 1.2
_LOADED = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SpareRequirements:
    """What is wanted of the spare. ``packages`` are names; addresses are IP addresses or names."""

    backup: Backup
    packages: Sequence[str]
    versions: Mapping[str, str]
    old_address: str
    own_address: str
    clock: Limit


def blockers(wanted: SpareRequirements, answer: SpareAnswer, *, offset: float) -> list[str]:
    """Return every reason why the spare cannot take the host's place.

    ``answer`` is its answer (``onhost.look``); ``offset`` is how far its clock is off.
    """
    found = [
        *_release(wanted, answer),
        *_room(wanted, answer),
        *_address(wanted, answer),
    ]
    if answer.active:
        found.append(f"{', '.join(answer.active)} run on it: it is not a spare")
    if answer.databases:
        found.append(f"it has databases of its own: {', '.join(answer.databases)}")
    if abs(offset) >= wanted.clock.failed:
        found.append(
            f"its clock is {abs(offset):.1f} s {'ahead' if offset > 0 else 'behind'}: "
            "tokens and leases would be refused; set it first"
        )
    if not answer.apt:
        found.append("it has no apt-get, by which its packages could be installed")
    return found


def warnings(wanted: SpareRequirements, answer: SpareAnswer, *, offset: float) -> list[str]:
    """Return what does not block it and should be known."""
    mine, theirs = answer.machine, _machine_of(wanted.backup)
    found = []
    if theirs is not None and theirs.memory and mine.memory < theirs.memory:
        found.append(f"less memory: {size(mine.memory)}, was {size(theirs.memory)}")
    if wanted.clock.warning <= abs(offset) < wanted.clock.failed:
        found.append(f"its clock is {abs(offset):.1f} s off")
    if theirs is None:
        found.append("the backup does not record the host's release: judged by its packages")
    return found


def _release(wanted: SpareRequirements, answer: SpareAnswer) -> list[str]:
    mine, theirs = answer.machine, _machine_of(wanted.backup)
    if theirs is None:
        return _by_packages(wanted, answer)
    found = []
    was = _name(theirs)
    if was != _name(mine):
        found.append(f"it runs {_name(mine)}, the host ran {was}")
    if mine.architecture != theirs.architecture:
        found.append(f"it is {mine.architecture}, the host was {theirs.architecture}")
    if mine.memory < _LESS * theirs.memory:
        found.append(f"it has {size(mine.memory)} of memory, the host had {size(theirs.memory)}")
    return found


def _machine_of(backup: Backup) -> Machine | None:
    """Return what a backup records of its host, None for an older one."""
    try:
        return convert(Machine, backup.machine) if backup.machine else None
    except BadAnswer as error:
        raise BackupError(
            f"reading what {backup.name} records of its host",
            came_back=str(error),
            remedy="choose another backup: backstay backup list",
        ) from error


def _name(machine: Machine) -> str:
    return f"{machine.id} {machine.codename or machine.release}"


def _by_packages(wanted: SpareRequirements, answer: SpareAnswer) -> list[str]:
    """Judge by the release that the basic package's version names, for older backups."""
    was = wanted.versions.get("base-files", "")
    now = answer.versions.get("base-files", "")
    if was and now and was.partition(".")[0] != now.partition(".")[0]:
        return [f"it is of another release: base-files {now}, the host had {was}"]
    return []


def _room(wanted: SpareRequirements, answer: SpareAnswer) -> list[str]:
    """Compare the room on each of its file systems with what will be written there."""
    backup = wanted.backup
    missing = sum(name not in answer.versions for name in wanted.packages)
    growth = _GROWS * (_LOADED if backup.engine is Engine.DUMP else 1)
    places = list(answer.free)
    needs = [
        ("/usr", missing * _PER_PACKAGE),
        ("/var/lib", int(backup.sizes.get("files", 0) * _GROWS)),
        (places[-1] if places else "/", int(backup.sizes.get("database", 0) * growth)),
    ]
    unknown = sorted({place for place, _ in needs if place not in answer.free})
    if unknown:
        return [f"it does not say how much room there is in {', '.join(unknown)}"]
    by_device: dict[int, int] = {}
    for place, need in needs:
        device = answer.free[place][0]
        by_device[device] = by_device.get(device, 0) + need
    found = []
    for device, need in by_device.items():
        place, free = next((p, f) for p, (d, f) in answer.free.items() if d == device)
        if free < need:
            found.append(f"{place} has only {size(free)} free, about {size(need)} are needed")
    return found


def _address(wanted: SpareRequirements, answer: SpareAnswer) -> list[str]:
    """Return why the old address cannot be reached on the spare's network."""
    networks = [one for words in answer.addresses for one in _network(words[1:])]
    own = [one for one in networks if str(one.ip) == wanted.own_address]
    try:
        old = ipaddress.ip_address(wanted.old_address)
    except ValueError:
        return [f"the address {wanted.old_address} of the host is not known as a number"]
    if own and not any(old in one.network for one in own):
        return [f"it is on {own[0].network}, the host's address {old} is not of that network"]
    return []


def _network(
    words: Sequence[str],
) -> Iterator[ipaddress.IPv4Interface | ipaddress.IPv6Interface]:
    """Yield the address with its network that the first of the words is, if it is one."""
    with contextlib.suppress(ValueError):
        yield from (ipaddress.ip_interface(word) for word in words[:1] if "/" in word)


class Prepare(SpareAction[SparePrepared]):
    """Asks the spare whether it can take the host's place; nothing is changed."""

    async def do(self, running: Running) -> SparePrepared:
        """Ask it in one round trip. Raises Refused with every reason at once."""
        host, spare, backup = self.host(running), self.spare(running), self.backup(running)
        units = self.units(running)
        databases = [name for one in self.site.services for name in one.databases]
        started = time.time()
        try:
            answer, manifest = await asyncio.gather(
                self.site.ask(spare, onhost.look, units, databases, returns=SpareAnswer),
                self.manifest(backup),
            )
        except (BackupError, HostError) as error:
            raise Refused(
                error.attempted, came_back=error.came_back, remedy=error.remedy
            ) from error
        offset = off_by(answer.clock, started, time.time())
        wish = packages.wanted(manifest)
        wanted = SpareRequirements(
            backup=backup,
            packages=[name for name, _ in wish.wanted],
            versions=dict(wish.wanted),
            old_address=await number_of(self.site.host(host).address),
            own_address=await number_of(self.site.host(spare).address),
            clock=self.site.cloud.limits.clock_offset_seconds,
        )
        reasons = blockers(wanted, answer, offset=offset)
        if reasons:
            raise Refused(
                f"making {spare} into {host}",
                came_back="; ".join(reasons),
                remedy="fix that, or choose another spare; nothing has been changed",
            )
        there = _there(answer, wish)
        words = [f"{there} of {len(wish.wanted)} packages are there"]
        return SparePrepared(
            boot_id=answer.boot_id,
            addresses=(wanted.old_address, wanted.own_address),
            packages=there,
            prepared=answer.prepared,
            uuid=answer.machine.uuid,
            serial=answer.machine.serial,
            summary="; ".join([*words, *warnings(wanted, answer, offset=offset)]),
        )


def _there(answer: SpareAnswer, wish: packages.Packages) -> int:
    return sum(answer.versions.get(name) == version for name, version in wish.wanted)


def off_by(clock: float, before: float, after: float) -> float:
    """Return how far a clock that was read between two times is off at least. Pure."""
    if clock > after:
        return clock - after
    return min(clock - before, 0.0)


async def number_of(address: str) -> str:
    """Return an address as a number, itself where this machine's resolver does not know it."""
    try:
        found = await asyncio.to_thread(socket.getaddrinfo, address, None)
    except OSError:
        return address
    return str(found[0][4][0])
