"""Signatures of agents, the diagnosis of one agent, and what follows from it. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from backstay.commands import command
from backstay.health.rpc.evidence import AgentSeen
from backstay.services.broker_way import Link


class Signature(StrEnum):
    """The state of an agent, by the evidence about it; ``rules.py`` says what each rests on."""

    ATTACHED = "attached"
    SETTLING = "settling"
    DEAF = "deaf"
    HALF_OPEN = "half-open"
    FROZEN = "frozen"
    DOWN = "down"
    REFUSED = "refused"
    NAME = "name"
    NETWORK = "network"
    PORT = "port"
    TLS = "tls"
    LOGIN = "login"
    VHOST = "vhost"
    UNKNOWN = "unknown"


NO_WAY = frozenset(Signature(link.value) for link in Link)
"""Those of an agent whose host cannot open a connection to the broker: no restart changes that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDiagnosis:
    """What is wrong with one agent, if anything, and on what evidence."""

    seen: AgentSeen
    signature: Signature
    evidence: str
    restart: bool = False
    """Whether restarting the agent's unit fixes it."""
    remedy: str = ""
    """What to do where a restart does not; empty for an agent that is settling."""

    @property
    def name(self) -> str:
        """Return the agent's name, such as ``nova-compute on compute1``."""
        return f"{self.seen.agent.binary} on {self.seen.host or self.seen.agent.host}"


def faulty(diagnoses: Iterable[AgentDiagnosis], *, force: bool = False) -> list[AgentDiagnosis]:
    """Return the agents to restart; never one that is settling, or taken out of service.

    With ``force`` also those in unknown state, where cloud.yaml has their host.
    """
    return [
        one
        for one in diagnoses
        if one.seen.host is not None
        and one.seen.agent.in_service
        and (one.restart or (force and one.signature is Signature.UNKNOWN))
    ]


def not_attached(
    diagnoses: Iterable[AgentDiagnosis], chosen: Callable[[AgentDiagnosis], bool]
) -> list[AgentDiagnosis]:
    """Return those of the chosen agents that are not attached."""
    return [one for one in diagnoses if chosen(one) and one.signature is not Signature.ATTACHED]


def after_restart(diagnosis: AgentDiagnosis) -> str:
    """Return the remedy for an agent that was restarted and is still not attached."""
    seen = diagnosis.seen
    unit, queue = seen.rpc_endpoint.unit, seen.queue
    if diagnosis.signature in NO_WAY and diagnosis.remedy:
        return diagnosis.remedy
    if diagnosis.signature is Signature.DEAF and queue:
        return f"its queue or its binding is broken in the broker: {lost_queue(queue)}"
    if diagnosis.signature is Signature.DOWN:
        log = command("journalctl", "-u", unit)
        return f"find out why it does not start: log of {unit} ({log})"
    if diagnosis.signature is Signature.HALF_OPEN:
        return "find what drops packets between its host and the broker: firewall, conntrack"
    return f"read {seen.rpc_endpoint.log}; backstay check {seen.host or ''}".rstrip()


def lost_queue(queue: str) -> str:
    """Return the documented remedy for a queue that no restart of its client brings back."""
    delete = command("rabbitmqctl", "delete_queue", queue)
    return (
        f"{delete}; then restart the agent; where many are lost, stop all "
        "services that use the broker, then start all (LP 1943937)"
    )


def name_agents(diagnoses: Sequence[AgentDiagnosis], limit: int = 4) -> str:
    """Return agents with their signatures, for a line of progress or an error."""
    names = [f"{one.name} ({one.signature.value})" for one in diagnoses[:limit]]
    more = [f"{len(diagnoses) - limit} more"] if len(diagnoses) > limit else []
    return ", ".join(names + more)
