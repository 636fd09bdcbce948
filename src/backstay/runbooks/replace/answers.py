"""What a spare answers: can it take the place, has it the address, whose identity has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from backstay.answers import Count, Line, Seconds
from backstay.backup.manifest import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class SpareAnswer:
    """What decides whether a spare can become another host, as ``onhost.look`` makes it.

    Attributes:
        clock: the spare's, in Unix seconds.
        free: device and free bytes by folder, the databases' folder last.
        addresses: the interface and the address with its network's length of each.
        active: those of the lost host's units that run.
        databases: those of the lost host's databases that are there.
        packages: name and version of each, with a space between.
        apt: whether it can install packages.
        prepared: what ``keep_note`` has written down, empty where it is not prepared.

    """

    machine: Machine
    boot_id: Line
    clock: Seconds
    free: Mapping[Line, tuple[int, Count]]
    addresses: tuple[tuple[Line, ...], ...]
    active: tuple[Line, ...]
    databases: tuple[Line, ...]
    packages: tuple[Line, ...]
    apt: bool
    prepared: str

    @property
    def versions(self) -> dict[str, str]:
        """Return the version of each package by its name."""
        return dict(line.split(" ", 1) for line in self.packages if " " in line)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitsEnabled:
    """The units that start at boots from now on and did not before."""

    enabled: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressHeld:
    """Whether a host has the lost host's address, and its hardware address."""

    has: bool
    mac: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class BootIdAnswer:
    """The boot id of a host, and the ``mark`` of the run by which it has become another."""

    boot_id: Line
    mark: Line = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptAnswer:
    """What has become of the spare, as ``IdentityAdopted`` has it.

    ``others`` are hardware addresses that answer for the address: then nothing was changed.
    """

    others: tuple[Line, ...] = ()
    boot_id: Line = ""
    device: Line = ""
    configured: tuple[Line, ...] = ()
    kept: Line = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PackagesNoted:
    missing: tuple[Line, ...] = ()
    differ: tuple[tuple[Line, Line, Line], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedNote:
    """For which host a spare is prepared, from which backup, and when (``at``, Unix seconds).

    ``packages`` are those that could not be installed; ``files`` is how many large ones are there.
    """

    host: Annotated[Line, Field(alias="for")]
    backup: Line
    at: Seconds
    packages: _PackagesNoted
    files: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """The answer of a function that only does something."""
