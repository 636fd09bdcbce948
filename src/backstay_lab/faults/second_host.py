"""A second host that answers for an address: what a replaced host does that is switched on again.

It is a network namespace of the machine with a port on the bridge: it answers ARP and ping for the
address, by a hardware address of its own, and refuses every connection.
"""

from collections.abc import Mapping
from pathlib import Path

from backstay_lab import programs
from backstay_lab.faults.fault import Fault
from backstay_lab.faults.records import Record
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab, Network

_NAMESPACES = Path("/run/netns")


def namespace(lab: Lab, host: str) -> str:
    """Return the name of the namespace that answers for a host."""
    return f"{_prefix(lab)}{lab.places[host].number}"


def _prefix(lab: Lab) -> str:
    return f"bs{lab.slot}-second-"


def remove_all(lab: Lab) -> None:
    """Remove the second hosts of a lab, with their ports."""
    if _NAMESPACES.is_dir():
        for found in _NAMESPACES.glob(f"{_prefix(lab)}*"):
            programs.run(["ip", "netns", "delete", found.name], attempted="removing", check=False)


class DuplicateAddress(Fault):
    """A second host answers for the host's management address."""

    name = "duplicate-address"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the host."""
        return Record(fault=self.name, host=LabHost(lab, target).name)

    def make(self, host: LabHost, record: Record) -> None:
        """Make the namespace, its port on the bridge, and give it the address."""
        self._remove(host)
        lab, name = host.lab, namespace(host.lab, host.name)
        port = f"{lab.veth(lab.places[host.name], Network.MANAGEMENT)}t"
        attempted = f"making a second host with the address of {host.name}"
        there = ["ip", "-n", name]
        for command in (
            ["ip", "netns", "add", name],
            ["ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name],
            ["ip", "link", "set", port, "master", lab.bridge(Network.MANAGEMENT), "up"],
            [*there, "link", "set", "lo", "up"],
            [*there, "address", "add", f"{host.address}/24", "dev", "eth0"],
            [*there, "link", "set", "eth0", "up"],
        ):
            programs.run(command, attempted=attempted)

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return that it is there, and its hardware address."""
        name = namespace(host.lab, host.name)
        shown = programs.run(
            ["ip", "-n", name, "-o", "link", "show", "eth0"],
            attempted=f"reading the second host of {host.name}",
            check=False,
        )
        words = shown.stdout.split()
        if "link/ether" not in words:
            return None
        mac = words[words.index("link/ether") + 1]
        return f"a second host answers for {host.address}, by {mac}"

    def undo(self, host: LabHost, record: Record) -> str:
        """Remove it."""
        self._remove(host)
        return "the second host is gone"

    def _remove(self, host: LabHost) -> None:
        name = namespace(host.lab, host.name)
        if (_NAMESPACES / name).exists():
            programs.run(
                ["ip", "netns", "delete", name],
                attempted=f"removing the second host of {host.name}",
            )
