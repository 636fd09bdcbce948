"""A host cut off, and one whose packets get lost.

The machine drops the packets on the bridge, by the names of the host's ports there: that holds
across a reboot of the host, cuts established connections too, and notifies neither end, as a pulled
cable does. All rules of a lab are in one table of its own, rewritten from the recorded faults at
every change, so that a table and its record cannot drift apart.
"""

import socket
from collections.abc import Mapping, Sequence
from typing import ClassVar

from backstay_lab import programs
from backstay_lab.errors import LabError
from backstay_lab.faults import records
from backstay_lab.faults.fault import Fault
from backstay_lab.faults.records import Record
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab, Network

EVERYONE, OPERATOR = "everyone", "operator"

# chain -> netfilter hook of the bridge family: what enters and leaves a port, and of that what
# is for or from the machine itself (nft(8), "Bridge address family")
HOOKS = ("prerouting", "input", "output", "postrouting")
Rule = tuple[str, str]  # hook, statement


def table(lab: Lab) -> str:
    """Return the name of the lab's table of faults, family ``bridge``."""
    return f"{lab.nft_table}_faults"


def cut_rules(lab: Lab, record: Record) -> list[Rule]:
    """Return the rules that drop what a host sends and receives."""
    place = lab.places[record.host]
    management = lab.veth(place, Network.MANAGEMENT)
    if record.options.get("from") == OPERATOR:
        return [
            ("input", f'iifname "{management}" counter drop'),
            ("output", f'oifname "{management}" counter drop'),
        ]
    ports = f'{{ "{management}", "{lab.veth(place, Network.PROVIDER)}" }}'
    return [
        ("prerouting", f"iifname {ports} counter drop"),
        ("postrouting", f"oifname {ports} counter drop"),
    ]


def loss_rules(lab: Lab, record: Record) -> list[Rule]:
    """Return the rules that drop a share of the packets in each direction."""
    place = lab.places[record.host]
    share = f"numgen random mod 100 < {int(record.options['percent'])}"
    ports = ", ".join(f'"{lab.veth(place, network)}"' for network in Network)
    return [
        ("prerouting", f"iifname {{ {ports} }} {share} counter drop"),
        ("postrouting", f"oifname {{ {ports} }} {share} counter drop"),
    ]


def half_open_rules(lab: Lab, record: Record) -> list[Rule]:
    """Return the rules that drop the packets of single TCP connections, in both directions."""
    noted = record.noted
    if not noted.get("ports"):
        return []
    ends = f"ip saddr {noted['address']} ip daddr {noted['peer']}"
    back = f"ip saddr {noted['peer']} ip daddr {noted['address']}"
    ports = f"{{ {noted['ports']} }}"
    return [
        ("prerouting", f"{ends} tcp sport {ports} tcp dport {noted['port']} counter drop"),
        ("prerouting", f"{back} tcp dport {ports} tcp sport {noted['port']} counter drop"),
    ]


def cut_broker_rules(lab: Lab, record: Record) -> list[Rule]:
    """Return the rules that drop what goes to the broker's port, or what comes from it."""
    noted = record.noted
    ends = (noted["address"], noted["peer"])
    if record.options.get("lost") == "there":
        return [
            (
                "prerouting",
                f"ip saddr {ends[0]} ip daddr {ends[1]} tcp dport {noted['port']} counter drop",
            )
        ]
    return [
        (
            "prerouting",
            f"ip saddr {ends[1]} ip daddr {ends[0]} tcp sport {noted['port']} counter drop",
        )
    ]


RULES = {
    "cut-network": cut_rules,
    "loss": loss_rules,
    "wedge-agent": half_open_rules,
    "cut-broker": cut_broker_rules,
}


def comment(record: Record) -> str:
    """Return the comment by which a fault's rules are found again."""
    return f"{record.fault} {record.target}"


def ruleset(lab: Lab, records: Sequence[Record]) -> str:
    """Return the whole table for the recorded faults; without any it is only deleted."""
    name = table(lab)
    lines = [f"table bridge {name}", f"delete table bridge {name}"]
    rules = [
        (hook, f'{statement} comment "{comment(record)}"')
        for record in records
        if record.fault in RULES
        for hook, statement in RULES[record.fault](lab, record)
    ]
    if rules:
        lines.append(f"table bridge {name} {{")
        for hook in HOOKS:
            lines.append(f"  chain {hook} {{ type filter hook {hook} priority -300;")
            lines.extend(f"    {rule}" for where, rule in rules if where == hook)
            lines.append("  }")
        lines.append("}")
    return "\n".join(lines) + "\n"


def write_table(lab: Lab, records: Sequence[Record]) -> None:
    """Put the rules for the recorded faults in force, all at once. Raises LabError."""
    programs.run(
        ["nft", "-f", "-"],
        attempted="changing the lab's rules for broken networks",
        stdin=ruleset(lab, records),
    )


def in_force(lab: Lab, record: Record) -> bool:
    """Return whether the machine has rules for a fault."""
    listed = programs.run(
        ["nft", "list", "table", "bridge", table(lab)],
        attempted="reading the lab's rules for broken networks",
        check=False,
    )
    return f'comment "{comment(record)}"' in listed.stdout


def _answers(address: str) -> bool:
    """Return whether a host's kernel answers at all: a refused connection is an answer too."""
    try:
        socket.create_connection((address, 22), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


class _ByRules(Fault):
    """A fault that is nothing but rules on the machine."""

    effect: ClassVar[str]

    def make(self, host: LabHost, record: Record) -> None:
        """Put the rules in force; the record is among the lab's already."""
        write_table(host.lab, records.read(host.lab))

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return what the rules do."""
        return self.effect if in_force(host.lab, record) else None

    def undo(self, host: LabHost, record: Record) -> str:
        """Put the rules of all other faults in force."""
        write_table(
            host.lab, [other for other in records.read(host.lab) if other.key != record.key]
        )
        return "its packets pass again"


class CutNetwork(_ByRules):
    """A host is cut off from everyone, or from the operator's machine only.

    The machine is also its router: what is cut from the operator does not reach the outside either.
    """

    name = "cut-network"
    effect = "its packets are dropped silently, in both directions"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the host."""
        whom = options.get("from", EVERYONE)
        if whom not in (EVERYONE, OPERATOR):
            raise LabError(
                f"cutting the network of {target} from {whom}",
                came_back="a host can be cut from everyone or from the operator",
                remedy=f"--from {EVERYONE} or --from {OPERATOR}",
            )
        return Record(fault=self.name, host=LabHost(lab, target).name, options={"from": whom})

    def evidence(self, host: LabHost, record: Record) -> str | None:
        """Return that it is cut: the rules are there and no packet of the host comes back."""
        if not in_force(host.lab, record):
            return None
        if _answers(host.address):
            return None
        return f"{self.effect}; it does not answer from here"


class Loss(_ByRules):
    """A share of a host's packets is lost, at random, in each direction."""

    name = "loss"
    effect = "its packets get lost at random"

    def prepare(self, lab: Lab, target: str, options: Mapping[str, str]) -> Record:
        """Find the host and check the share."""
        percent = options.get("percent", "")
        if not percent.isdecimal() or not 1 <= int(percent) <= 100:
            raise LabError(
                f"losing packets of {target}",
                came_back=f"{percent or 'nothing'} is not a whole number from 1 to 100",
                remedy=f"backstay lab break loss {target} 20",
            )
        return Record(fault=self.name, host=LabHost(lab, target).name, options={"percent": percent})
