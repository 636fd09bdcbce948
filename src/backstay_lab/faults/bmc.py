"""A host whose board controller does not behave."""

from collections.abc import Mapping

from backstay_lab.bmc.busy import BUSY_FOR
from backstay_lab.faults.fault import Fault
from backstay_lab.faults.records import Record
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab


class BusyBmc(Fault):
    """After an order its board controller answers 503 for some seconds, whatever it is asked."""

    name = "busy-bmc"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the host."""
        return Record(fault=self.name, host=LabHost(lab, target).name)

    def make(self, host: LabHost, record: Record) -> None:
        """Let its board controller find that."""
        host.busy_bmc.touch()

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return what it will do."""
        if not host.busy_bmc.exists():
            return None
        return f"its board controller answers 503 for {BUSY_FOR:g} s after each order"

    def undo(self, host: LabHost, record: Record) -> str:
        """Let it answer again."""
        host.busy_bmc.unlink(missing_ok=True)
        return "its board controller answers as it should"
