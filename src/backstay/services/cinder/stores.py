"""The data of volumes: what the stores of the back ends hold."""

import configparser
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backstay.answers import Line, is_uuid
from backstay.commands import command
from backstay.services.cinder import BUSY
from backstay.services.cinder.records import Volume
from backstay.services.instances import Guest, guests
from backstay.services.oslo import age_of
from backstay.services.reconciliation import Evidence, Mismatch, MismatchKind, mismatch

STORES = "volumes' data"
_MADE_LATER = frozenset(("error", "error_deleting", "error_managing"))
"""Volumes that need not have data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the stores of back ends of one name hold, and whether that is all of it."""

    names: frozenset[str]
    whole: bool

    def has(self, volume: Volume) -> bool | None:
        """Return whether they hold a volume's data, None where that is not known."""
        if f"volume-{volume.stored}" in self.names:
            return True
        return False if self.whole else None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAnswer:
    """A back end as its host describes it; ``names`` is None where its driver is not listed."""

    driver: Line
    names: tuple[Line, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoresAnswer:
    """What ``ask_stores`` answers; ``worker_age`` is in seconds, None where none runs."""

    stores: Mapping[Line, StoreAnswer]
    worker_age: float | None


def answers(seen: Evidence) -> Mapping[str, StoresAnswer]:
    """Return the hosts' answers. Pure."""
    return seen.answers.get(STORES, {})


def stored(seen: Evidence, backend: str) -> Stored:
    """Return what the stores of a back end hold. Pure.

    Controllers may have back ends of one name over different stores: what none of them has is gone
    only where every one of them answered.
    """
    listed = [
        answer.stores[backend].names
        for answer in answers(seen).values()
        if backend in answer.stores
    ]
    return Stored(
        names=frozenset(name for names in listed for name in names or ()),
        whole=bool(listed) and None not in listed and seen.whole(STORES),
    )


def data(seen: Evidence, volumes: Mapping[str, Volume]) -> Iterator[Mismatch]:
    """Compare volumes with what their stores hold."""
    backends = {volume.backend for volume in volumes.values()}
    stores = {backend: stored(seen, backend) for backend in backends}
    for volume in volumes.values():
        settled = volume.status not in _MADE_LATER | BUSY
        if settled and stores[volume.backend].has(volume) is False:
            yield mismatch(
                "cinder",
                volume.subject,
                MismatchKind.GONE,
                (
                    f"cinder says {volume.status}, and its store has no volume-{volume.stored}",
                    "look in the store's trash and in its backups; keep users off it until then",
                    command("openstack", "volume", "set", "--state", "error", volume.id),
                ),
            )
    named = {volume.stored for volume in volumes.values()} | set(volumes)
    used = {one: guest for guest in guests(seen) for one in guest.volumes}
    for host, answer in answers(seen).items():
        for backend, store in answer.stores.items():
            for name in store.names or ():
                identity = name.removeprefix("volume-")
                if identity != name and is_uuid(identity) and identity not in named:
                    yield _stray(identity, used.get(identity), f"{host}@{backend}", host)


def _stray(identity: str, guest: Guest | None, service: str, host: str) -> Mismatch:
    use = f"; guest {guest.name} on {guest.host} uses it" if guest else ""
    return Mismatch(
        service="cinder",
        subject=f"data volume-{identity}",
        kind=MismatchKind.UNKNOWN_TO_RECORDS,
        host=host,
        evidence=f"the store of {service} holds it, and cinder has no record of it{use}",
        proposal="take its record back from a newer backup or the stream; managing it would rename "
        "it under the guest that uses it"
        if guest
        else "do not delete it: take its record back from a newer backup or the stream, or let "
        "cinder manage it under a new identity",
        command="backstay backup list" if guest else _manage(identity, service),
    )


def _manage(identity: str, service: str) -> str:
    name = ("--id-type", "source-name", "--name", identity)
    return command("cinder", "manage", *name, f"{service}#POOL", f"volume-{identity}")


def notes(seen: Evidence) -> list[str]:
    """Return the back ends whose stores are not listed. Pure."""
    drivers = {
        (name, store.driver)
        for answer in answers(seen).values()
        for name, store in answer.stores.items()
        if store.names is None
    }
    return [
        f"volumes of back end {name} are not compared with its store: {driver} is not listed"
        for name, driver in sorted(drivers)
    ]


def ask_stores() -> dict[str, Any]:
    """Return what the stores of this host's back ends hold, and how long cinder-volume runs.

    Runs on the host. Ceph's RBD is listed by its own program; of another driver the names are None.
    """
    parser = configparser.RawConfigParser(strict=False)
    with open("/etc/cinder/cinder.conf", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        parser.read_string(file.read())
    enabled = parser.get("DEFAULT", "enabled_backends", fallback="")
    stores = {}
    for name in [one.strip() for one in enabled.split(",") if one.strip()]:
        options = dict(parser.items(name)) if parser.has_section(name) else {}
        driver = options.get("volume_driver", "")
        names = rbd_images(options) if driver.endswith("RBDDriver") else None
        stores[name] = {"driver": driver.rpartition(".")[2], "names": names}
    return {"stores": stores, "worker_age": age_of("cinder-volume")}


def rbd_images(options: dict[str, str]) -> list[str]:
    """Return the names of the images of a back end's pool. Raises OSError."""
    command = ["rbd", "--id", options.get("rbd_user", "cinder")]
    command += ["--conf", options.get("rbd_ceph_conf") or "/etc/ceph/ceph.conf"]
    command += ["ls", "--pool", options.get("rbd_pool", "rbd")]
    done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=10,
        check=False,
    )
    if done.returncode != 0:
        raise OSError("rbd ls: " + done.stderr.decode(errors="replace").strip()[-200:])
    return done.stdout.decode(errors="replace").split()
