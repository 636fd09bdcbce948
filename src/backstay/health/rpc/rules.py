"""The table of signatures: the rule that finds each, and where it was reported. Pure.

A running process, a fresh heartbeat, an established connection: each has been seen with an agent
that did not process RPC messages. So an agent is attached only where it answered a call, and each
other signature is based on evidence about it. The rules are applied in order; the first that finds
something decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from backstay.commands import command
from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature, lost_queue
from backstay.health.rpc.evidence import REPEATS, AgentSeen, UnitSeen
from backstay.quantities import ago, duration
from backstay.services.broker_way import Link
from backstay.services.messaging import REPLIES, Messaging

STARTING = 60.0
"""Seconds for which an agent counts as starting after its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One agent's evidence; ``reconnect`` is how long agents may take to reconnect, in seconds."""

    seen: AgentSeen
    broker: Messaging
    reconnect: float

    @property
    def unit(self) -> UnitSeen | None:
        """Return its unit, None where its host could not be asked."""
        return self.seen.unit

    @property
    def answered(self) -> bool:
        """Return whether it answered a call."""
        return self.seen.ping is not None and self.seen.ping.answered

    @property
    def unanswered(self) -> bool:
        """Return whether it was called and did not answer."""
        return self.seen.ping is not None and not self.seen.ping.answered

    @property
    def consumes(self) -> list[str] | None:
        """Return the queues that its connections consume from; None where that is unknown.

        Behind a load balancer the broker sees the balancer's address instead of the agent's.
        """
        if self.unit is None:
            return None
        known = [one.local for one in self.unit.sockets if one.local in self.broker.connections]
        if not known:
            return None
        return [queue for peer in known for queue in self.broker.consumed_by.get(peer, ())]

    @property
    def has_reply_queue(self) -> bool | None:
        """Return whether answers to its own calls can reach it, None where that is unknown."""
        queues = self.consumes
        if queues is None:
            return None
        return any(
            queue.startswith(REPLIES) and queue in self.broker.queues_by_name for queue in queues
        )


_Found = tuple[Signature, str] | AgentDiagnosis | None
_Rule = Callable[[Case], _Found]


def _broker_is_silent(case: Case) -> _Found:
    """Find a broker that does not answer: without it nothing is known, and no agent is attached."""
    if case.broker.trouble:
        return Signature.UNKNOWN, f"the broker does not answer: {case.broker.trouble}"
    return None


def _has_no_way(case: Case) -> _Found:
    """Find a host that cannot open a connection to the broker: name, network, TLS or login.

    It was tried there, with the agent's own configuration. Whatever else is odd follows from it:
    an agent may end, hang or hold dead connections for that, and a restart changes nothing. Only
    one that runs, has a connection and answered has a way: without these two the answer is that of
    the process before its restart.
    """
    broken, unit = case.seen.broken, case.unit
    connected = unit is not None and unit.runs and bool(unit.sockets)
    if broken is None or (case.answered and connected):
        return None
    if broken.link in {Link.LOGIN, Link.VHOST} and case.broker.refused:
        return None  # it refuses all
    return AgentDiagnosis(
        seen=case.seen,
        signature=Signature(broken.link.value),
        evidence=broken.text,
        remedy=broken.remedy,
    )


def _does_not_run(case: Case) -> _Found:
    """Find a unit that does not run: nova-compute ends with status 0 where libvirt is silent."""
    unit = case.unit
    if unit is None or unit.runs:
        return None
    if unit.active in {"activating", "deactivating"} and unit.sub != "auto-restart":
        return Signature.SETTLING, "is being started or restarted"
    if unit.load == "masked":
        runtime = ["--runtime"] if unit.boot == "masked-runtime" else []
        name = case.seen.rpc_endpoint.unit
        return AgentDiagnosis(
            seen=case.seen,
            signature=Signature.DOWN,
            evidence=f"{unit.active} and masked, so that it cannot be started",
            remedy=f"{command('systemctl', 'unmask', *runtime, name)} && "
            + command("systemctl", "start", name),
        )
    why = f" ({unit.result})" if unit.result not in {"", "success"} else ""
    return Signature.DOWN, f"its unit is {unit.active}{why}"


def _is_stopped(case: Case) -> _Found:
    """Find a process stopped by SIGSTOP: its unit stays active, its API has it up for a minute."""
    if case.unit is None or case.unit.states[:1] not in {"T", "t"}:
        return None
    return Signature.FROZEN, "its process is stopped by a signal, though its unit is active"


def _is_refused(case: Case) -> _Found:
    """Find a broker that refuses every client, as it forgot its users or has another password."""
    if not case.broker.refused:
        return None
    again = "agents then reconnect by themselves"
    return AgentDiagnosis(
        seen=case.seen,
        signature=Signature.REFUSED,
        evidence=case.broker.refused,
        remedy=f"{case.broker.refused_remedy or 'see rabbitmqctl list_users'}; {again}",
    )


def _answers_but_hears_none(case: Case) -> _Found:
    """Find one that answers calls, while its own time out: its reply queue is gone.

    The queue expires 1800 s after its last use: https://github.com/rackerlabs/genestack/pull/695,
    https://bugs.launchpad.net/oslo.messaging/+bug/1905965
    """
    unit = case.unit
    if not case.seen.rpc_endpoint.calls or unit is None or case.has_reply_queue is not False:
        return None
    if not case.answered:
        return None
    if _is_young(case):
        return Signature.SETTLING, "answers calls; has no reply queue yet"
    return Signature.DEAF, f"answers calls, but has no reply queue{_logged(unit)}"


def _shares_its_queue(case: Case) -> _Found:
    """Find one whose former connection still gets every other message from the broker.

    The broker closes it when it misses its heartbeats: https://www.rabbitmq.com/docs/heartbeats
    """
    unit = case.unit
    if unit is None or not case.consumes:
        return None
    mine = {one.local for one in unit.sockets}
    hosts = {address for address, _ in mine}
    others = [
        peer for peer in case.broker.consumers_of.get(case.seen.queue, ()) if peer not in mine
    ]
    if not any(address in hosts for address, _ in others):
        return None
    return Signature.SETTLING, (
        "the broker still delivers some of its messages to its former connection, until that "
        "misses its heartbeats"
    )


def _is_attached(case: Case) -> _Found:
    if not case.answered or case.seen.ping is None:
        return None
    return Signature.ATTACHED, f"answered a call in {case.seen.ping.seconds:.2f} s"


def _is_settling(case: Case) -> _Found:
    """Reconnecting is normal for a while; restarting all at once only makes it worse.

    https://code.launchpad.net/neutron/+bug/1318721/comments/8 (a client declares what the broker
    still deletes), and reconnect storms:
    https://docs.mirantis.com/mcp/q4-18/mcp-operations-guide/openstack-operations/rabbitmq-ops/randomize-reconnection-intervals.html
    """
    up, unit = case.broker.up, case.unit
    if up is not None and up < case.reconnect:
        return Signature.SETTLING, f"the broker came back {ago(up)}"
    if unit is not None and unit.since is not None and unit.since < STARTING:
        return Signature.SETTLING, f"was started {ago(unit.since)}"
    return None


def _is_unseen(case: Case) -> _Found:
    """Find missing evidence: without its host, or a call, nothing can be concluded."""
    wanted = case.unit is None or (case.seen.ping is None and case.seen.rpc_endpoint.topic)
    return (Signature.UNKNOWN, "; ".join(case.seen.missing)) if wanted else None


def _holds_dead_connections(case: Case) -> _Found:
    """Find connections that its kernel has, and that the broker has not, or never gets data from.

    A controller that was replaced under its address, or a firewall that forgot the connection.
    Clients without heartbeats never notice: https://bugs.launchpad.net/oslo/+bug/856764
    """
    unit = case.unit
    if unit is None or not case.unanswered or not unit.sockets:
        return None
    repeated = [one for one in unit.sockets if one.repeats >= REPEATS]
    if repeated or case.seen.stalled:
        count = len({one.local for one in repeated} | case.seen.stalled)
        of = f"{count} of its {len(unit.sockets)} connections"
        return Signature.HALF_OPEN, f"packets on {of} are retransmitted without success"
    strange = [one for one in unit.sockets if one.local not in case.broker.connections]
    if strange and not case.broker.consumers_of.get(case.seen.queue):
        of = f"{len(strange)} of its {len(unit.sockets)} connections"
        return Signature.HALF_OPEN, f"the broker has none of {of}, and its queue has no consumer"
    return None


def _is_not_connected(case: Case) -> _Found:
    """Find one that gave up: https://github.com/rcbops/rpc-openstack/issues/1482."""
    unit = case.unit
    if unit is None or not case.unanswered or unit.sockets:
        return None
    return Signature.DEAF, f"runs without any connection to the broker{_logged(unit)}"


def _has_lost_its_queue(case: Case) -> _Found:
    """Find a queue whose process is gone: no restart of the client brings it back.

    https://github.com/canonical/hotsos/pull/147 (LP 1943937)
    """
    queue = case.broker.queues_by_name.get(case.seen.queue)
    if queue is None or not queue.lost:
        return None
    return AgentDiagnosis(
        seen=case.seen,
        signature=Signature.DEAF,
        evidence=f"the broker has lost its queue {queue.name}",
        remedy=lost_queue(queue.name),
    )


def _has_no_way_to_its_queue(case: Case) -> _Found:
    """Find one that no message reaches: its queue is missing, without consumer, or not bound.

    https://knowledge.broadcom.com/external/article/396057 (bindings lost while a broker returns)
    """
    queue = case.seen.queue
    if not case.unanswered:
        return None
    if queue not in case.broker.queues_by_name:
        return Signature.DEAF, f"connected, but its queue {queue} does not exist"
    if not case.broker.consumers_of.get(queue):
        return Signature.DEAF, f"connected, but its queue {queue} has no consumer"
    if queue not in case.broker.bound:
        return Signature.DEAF, f"connected, but its queue {queue} is not bound"
    return None


def _takes_and_does_nothing(case: Case) -> _Found:
    """Find one that has all it needs and does not answer: it hangs."""
    if not case.unanswered or case.seen.ping is None:
        return None
    waiting = case.broker.queues_by_name[case.seen.queue].messages
    many = f", {waiting} message{'s' * (waiting != 1)} waiting" if waiting else ""
    return Signature.FROZEN, f"connected and bound, but no answer{many}: it hangs"


def _needs_no_call(case: Case) -> _Found:
    """Judge one that receives no RPC messages by its connections and reply queue alone."""
    unit = case.unit
    if unit is not None and unit.sockets and case.has_reply_queue:
        return Signature.ATTACHED, "connected, with a reply queue; it receives no calls"
    return Signature.UNKNOWN, "it receives no calls, and its reply queue was not found"


RULES: Sequence[_Rule] = (
    _broker_is_silent,
    _has_no_way,
    _does_not_run,
    _is_stopped,
    _is_refused,
    _answers_but_hears_none,
    _shares_its_queue,
    _is_attached,
    _is_settling,
    _is_unseen,
    _holds_dead_connections,
    _is_not_connected,
    _has_lost_its_queue,
    _has_no_way_to_its_queue,
    _takes_and_does_nothing,
    _needs_no_call,
)


def _is_young(case: Case) -> bool:
    """Return whether it may not have made any call yet."""
    since = case.unit.since if case.unit else None
    up = case.broker.up
    return any(age is not None and age < STARTING for age in (since, up))


def _logged(unit: UnitSeen) -> str:
    if not unit.messages:
        return ""
    kind, age = unit.messages[0]
    return f"; its log: {kind}, {duration(age)} ago"
