"""What was seen of a host from several places: plain values."""

from dataclasses import dataclass, field
from enum import StrEnum

from backstay.answers import Count, Line, Mac, Seconds

OPERATOR = "this machine"
"""The name of the witness that the operator's machine is."""
_MOST_NAMED = 100
"""So many ports or hardware addresses a witness may name of one host."""


class PortState(StrEnum):
    """What a TCP port did. Only ``ANSWERED`` tells that a process runs behind it."""

    ANSWERED = "answered"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port of the suspect's; ``message`` is what came, or why nothing did."""

    number: int
    state: PortState
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """What one host sees of the suspect; with ``trouble`` it could not be asked.

    ``left_out`` tells that the operator wanted it not to be asked. ``pings`` is None where it may
    not ping. ``macs`` are the hardware addresses that answered by ARP just now, None where it could
    not ask so (``no_arp`` says why). ``neighbour`` is its kernel's own entry. ``has_address`` tells
    that it has the suspect's address itself. ``ports`` are empty where it was not asked for them.
    ``established`` are open connections to the suspect, of which one brought something ``heard``
    seconds before the end of the ``seconds`` it took.
    """

    name: str
    trouble: str = ""
    left_out: bool = False
    pings: bool | None = None
    macs: tuple[str, ...] | None = None
    no_arp: str = ""
    neighbour: str = ""
    has_address: bool = False
    ports: tuple[Port, ...] = ()
    established: int = 0
    heard: float | None = None
    seconds: float = 0.0

    @property
    def spoke(self) -> bool:
        """Whether it was asked and could observe: its silence means something."""
        return not self.trouble and (
            self.pings is not None or self.macs is not None or bool(self.ports)
        )

    @property
    def signs(self) -> tuple[str, ...]:
        """Return the signs of life that it saw, in words; none where it saw none.

        A refused connection is one, as a kernel refuses it. A neighbour entry counts only where
        nothing better could be asked, as it outlives its host by half a minute.
        """
        found = []
        if self.has_address:
            found.append("has its address itself")
        if self.macs:
            found.append(f"ARP: {' and '.join(self.macs)}")
        if self.macs is None and self.neighbour == "REACHABLE":
            found.append("its kernel calls it reachable")
        if self.pings:
            found.append("answers ping")
        for state, words in _IN_WORDS.items():
            numbers = [str(port.number) for port in self.ports if port.state is state]
            if numbers:
                found.append(f"{words} {', '.join(numbers)}")
        if self.heard is not None and self.heard < self.seconds:
            found.append("an open connection brought something just now")
        return tuple(found)

    @property
    def services(self) -> bool | None:
        """Whether any of the ports that it asked answered, None where it asked none."""
        if not self.ports:
            return None
        return any(port.state is PortState.ANSWERED for port in self.ports)


_IN_WORDS = {
    PortState.ANSWERED: "ports that answer:",
    PortState.ACCEPTED: "ports that accept connections and send nothing:",
    PortState.REFUSED: "ports that refuse:",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What its BMC reports: ``on`` is None where that is not known, and ``message`` is why."""

    on: bool | None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """The operator's own SSH: ``boot_id`` where it answered, else ``error``.

    ``there`` tells that something answered, be it with a strange key.
    """

    boot_id: str = ""
    error: str = ""
    there: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEvidence:
    """All that was seen of the suspect.

    ``operator`` is what this machine sees, ``others`` what the other hosts see. ``failed`` is what
    ``check`` finds failed of it, None where that was not asked or not finished.
    """

    suspect: str
    address: str
    operator: Witness
    login: Login = field(default_factory=Login)
    others: tuple[Witness, ...] = ()
    power: Power = field(
        default_factory=lambda: Power(on=None, message="it has no BMC in cloud.yaml")
    )
    failed: tuple[str, ...] | None = None

    @property
    def alive_for_operator(self) -> bool:
        """Whether this machine saw any sign of life."""
        return bool(self.operator.signs) or self.login.there

    @property
    def alive_for(self) -> tuple[Witness, ...]:
        """Return the other witnesses that saw a sign of life."""
        return tuple(witness for witness in self.others if witness.signs)

    @property
    def spoke(self) -> tuple[Witness, ...]:
        """Return the other witnesses that could observe."""
        return tuple(witness for witness in self.others if witness.spoke)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Return the names of the witnesses that were not asked, as the operator wanted."""
        return tuple(witness.name for witness in self.others if witness.left_out)

    @property
    def anybody(self) -> bool:
        """Whether anybody saw any sign of life."""
        return self.alive_for_operator or bool(self.alive_for)


@dataclass(frozen=True, slots=True, kw_only=True)
class WayAnswer:
    """How packets go from a witness to the suspect, of which only this is used."""

    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ArpAnswer:
    """The hardware addresses that answered a witness by ARP, or why it could not ask."""

    asked: bool
    macs: tuple[Mac, ...]
    message: Line = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionsAnswer:
    """A witness's established connections to the suspect."""

    count: Count
    heard: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessAnswer:
    """What ``onhost.witness`` returns, as it arrives."""

    way: WayAnswer
    ports: tuple[tuple[Count, PortState, Line], ...]
    trouble: Line = ""
    pings: bool | None = None
    arp: ArpAnswer | None = None
    neighbour: Line = ""
    seconds: Seconds = 0.0
    connections: ConnectionsAnswer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AliveAnswer:
    """What ``onhost.alive`` returns, as it arrives."""

    boot_id: Line


def read_witness(name: str, answer: WitnessAnswer) -> Witness:
    """Return what a witness saw. Pure.

    One that names more ports or hardware addresses than there can be has not been asked: what it
    says besides is worth nothing, and would fill a page.
    """
    arp = answer.arp or ArpAnswer(asked=False, macs=(), message="no answer in time")
    connections = answer.connections or ConnectionsAnswer(count=0)
    for count, what in ((len(answer.ports), "ports"), (len(arp.macs), "hardware addresses")):
        if count > _MOST_NAMED:
            return Witness(name=name, trouble=f"its answer names {count} {what}")
    return Witness(
        name=name,
        trouble=answer.trouble,
        pings=answer.pings,
        macs=arp.macs if arp.asked else None,
        no_arp=arp.message,
        neighbour=answer.neighbour,
        has_address=answer.way.own,
        ports=tuple(
            Port(number=number, state=state, message=message)
            for number, state, message in sorted(answer.ports)
        ),
        established=connections.count,
        heard=connections.heard,
        seconds=answer.seconds,
    )
