"""What every fault of the lab can do."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from backstay_lab import cgroups
from backstay_lab.errors import LabError
from backstay_lab.faults.records import Record
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab


class NoUndo(LabError):
    """The fault cannot be undone; the remedy is what can be done instead."""


class Fault(ABC):
    """One kind of fault. ``name`` is what is typed; the methods are called in this order.

    All of them may be called again after an interruption: making a fault that is there, or undoing
    one that is gone, changes nothing.
    """

    name: ClassVar[str]

    @abstractmethod
    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find what is meant and read what undoing will need; change nothing.

        Raises LabError where the target is unknown or the fault cannot be made there.
        """

    @abstractmethod
    def make(self, host: LabHost, record: Record) -> None:
        """Break it. The record has been written down before."""

    @abstractmethod
    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return the evidence of the fault, as a phrase; None where it is not there."""

    @abstractmethod
    def undo(self, host: LabHost, record: Record) -> str:
        """Undo it and return what was done, as a phrase. Raises NoUndo where nothing can be."""


def refuse_unless_on(host: LabHost, attempted: str) -> None:
    """Raise LabError where the host is powered off or frozen, so that nothing in it answers."""
    if host.power_state() == "off":
        raise LabError(
            attempted,
            came_back=f"{host.name} is powered off",
            remedy=f"power it on first: backstay lab heal power-off {host.name}, or by its BMC",
        )
    if cgroups.is_frozen(host.cgroup):
        raise LabError(
            attempted,
            came_back=f"{host.name} is frozen",
            remedy=f"thaw it first: backstay lab heal freeze {host.name}",
        )
