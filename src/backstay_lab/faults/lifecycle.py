"""The life of a fault: recorded, made, verified; healed, verified, removed from the record."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from backstay_lab import programs
from backstay_lab.errors import LabError
from backstay_lab.faults import records
from backstay_lab.faults.agent import WedgeAgent
from backstay_lab.faults.bmc import BusyBmc
from backstay_lab.faults.broker import RabbitAmnesia
from backstay_lab.faults.broker_way import CutBroker, WrongBroker
from backstay_lab.faults.disks import FillDisk, ReadOnlyDisk
from backstay_lab.faults.fault import Fault, NoUndo
from backstay_lab.faults.network import CutNetwork, Loss, table
from backstay_lab.faults.old_client import OldClient
from backstay_lab.faults.power import DeadBoard, Freeze, PowerOff
from backstay_lab.faults.records import Record
from backstay_lab.faults.second_host import DuplicateAddress, remove_all
from backstay_lab.faults.service import HangService, KillService, StopService
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        KillService(),
        StopService(),
        HangService(),
        PowerOff(),
        DeadBoard(),
        Freeze(),
        CutNetwork(),
        Loss(),
        DuplicateAddress(),
        FillDisk(),
        ReadOnlyDisk(),
        BusyBmc(),
        WedgeAgent(),
        OldClient(),
        RabbitAmnesia(),
        CutBroker(),
        WrongBroker(),
    )
}
# faults that are made on the machine's side of the host and do not depend on it
ON_MACHINE = ("cut-network", "loss", "duplicate-address", "busy-bmc", "cut-broker")


@dataclass(frozen=True, slots=True)
class Healed:
    """What became of one fault: ``done`` is a phrase, ``error`` is why it is still there."""

    record: Record
    done: str = ""
    error: LabError | None = None


def active_faults(lab: Lab) -> list[Record]:
    """Return the faults that were made and not healed, oldest first."""
    return records.read(lab)


def break_(lab: Lab, fault: str, target: str, options: Mapping[str, str]) -> tuple[Record, str]:
    """Make a fault; return its record and the evidence of it.

    Raises LabError where the target is unknown, or the fault was made without evidence of it: it is
    recorded then, so that ``heal`` undoes it.
    """
    kind = FAULTS[fault]
    record = kind.prepare(lab, target, options)
    host = LabHost(lab, record.host)
    records.add(lab, record)
    kind.make(host, record)
    evidence = kind.evidence(host, record)
    if evidence is None:
        raise LabError(
            f"breaking {record.target} by {fault}",
            came_back="it was done, but there is no evidence of the fault",
            remedy=f"backstay lab heal {fault} {record.target}, then try again",
        )
    return record, evidence


def heal(lab: Lab, fault: str | None = None, target: str | None = None) -> Iterator[Healed]:
    """Undo faults, the newest first; all of them, or those of one kind or one target.

    ``target`` is a host, a unit or ``HOST/UNIT``. One that cannot be undone does not stop the
    others.
    """
    for record in chosen(records.read(lab), fault, target):
        try:
            yield Healed(record, done=_undo(lab, record))
        except LabError as error:
            yield Healed(record, error=error)


def chosen(records: list[Record], fault: str | None, target: str | None) -> list[Record]:
    """Return the records that are meant, newest first."""
    return [
        record
        for record in reversed(records)
        if fault in (None, record.fault) and (target is None or _means(target, record))
    ]


def _means(target: str, record: Record) -> bool:
    return target.removesuffix(".service") in (
        record.host,
        record.target,
        record.unit.removesuffix(".service"),
    )


def _undo(lab: Lab, record: Record) -> str:
    kind, host = FAULTS[record.fault], LabHost(lab, record.host)
    if host.dead_board.exists() and record.fault not in (*ON_MACHINE, "dead-board"):
        records.remove(lab, record)
        return f"it went with {host.name}'s board and disk, which are dead"
    done = kind.undo(host, record)
    # A host without power shows power-off only; every other fault is gone or waits on its disk.
    evidence = kind.evidence(host, record) if _can_verify(record, host) else None
    if evidence is not None:
        raise LabError(
            f"healing {record.fault} of {record.target}",
            came_back=f"{done}, but still: {evidence}",
            remedy=f"backstay lab heal {record.fault} {record.target}",
        )
    records.remove(lab, record)
    return done


def _can_verify(record: Record, host: LabHost) -> bool:
    return record.fault in ("power-off", *ON_MACHINE) or host.power_state() == "on"


def release(lab: Lab) -> None:
    """Forget all faults and remove what they left on the machine; for ``lab down``.

    Hosts are not touched: what was broken in them goes with their disks.
    """
    programs.run(
        ["nft", "delete", "table", "bridge", table(lab)],
        attempted="removing the lab's rules for broken networks",
        check=False,
    )
    remove_all(lab)
    records.forget(lab)


__all__ = ["FAULTS", "Healed", "NoUndo", "active_faults", "break_", "chosen", "heal", "release"]
