"""Judge agents by the age of their last report, never by their process. Pure.

A process can run, be connected to the broker and yet be deaf:
https://github.com/bigstack-oss/cubecos/issues/1301
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from backstay.commands import command
from backstay.finding import Finding, Severity
from backstay.health.read_apis import Reported
from backstay.health.remedy import on
from backstay.inventory.host_names import HostNames
from backstay.inventory.limits import Limits
from backstay.quantities import duration
from backstay.services.declaration import Agent, Unit
from backstay.services.messaging import Messaging, RpcEndpoint
from backstay.transports.targets import SshTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A host that agents run on: ``hostname`` is what it calls itself, empty where unknown."""

    target: SshTarget
    units: tuple[Unit, ...]
    hostname: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcTopology:
    """How agents are reached, and what the broker reports of that: None where it did not.

    A broker that has come back less than ``reconnect`` seconds ago is not held against anybody.
    """

    messaging: Messaging | None = None
    rpc_endpoint: tuple[RpcEndpoint, ...] = ()
    reconnect: float = 0.0

    def of(self, binary: str) -> RpcEndpoint | None:
        """Return how one kind of agent is reached, None where that is not known."""
        return next(
            (rpc_endpoint for rpc_endpoint in self.rpc_endpoint if rpc_endpoint.binary == binary),
            None,
        )

    def trouble(self, agent: Agent) -> str:
        """Return why no message reaches an agent, empty where that is not to be seen.

        What only a call shows is left to ``backstay reattach``.
        """
        broker, rpc_endpoint = self.messaging, self.of(agent.binary)
        if broker is None or rpc_endpoint is None or broker.trouble or broker.refused:
            return ""
        queue = rpc_endpoint.queue(agent.rpc_target)
        if not queue or broker.up is None or broker.up < self.reconnect:
            return ""
        if queue not in broker.queues_by_name:
            return f"its queue {queue} does not exist"
        if not broker.consumers_of.get(queue):
            return f"its queue {queue} has no consumer"
        if queue not in broker.bound:
            return f"its queue {queue} is not bound"
        return ""

    def takes(self, agent: Agent) -> bool:
        """Return whether an agent consumes from its queue.

        Where it does and nothing reaches that, it is not about to start: a queue is bound before
        it is taken from, https://github.com/celery/kombu/blob/main/kombu/entity.py,
        ``Queue.declare``, which https://github.com/openstack/oslo.messaging calls before
        ``consume``.
        """
        rpc_endpoint = self.of(agent.binary)
        if self.messaging is None or rpc_endpoint is None:
            return False
        return bool(self.messaging.consumers_of.get(rpc_endpoint.queue(agent.rpc_target)))


def judge_agents(
    report: Reported,
    members: Sequence[Member],
    rpc_topology: RpcTopology,
    *,
    offset: float,
    limits: Limits,
) -> list[Finding]:
    """Judge every agent that one service's API reports, and miss those that it does not.

    ``offset`` is how far the clock of the host that keeps the reports is ahead of this
    machine's, in seconds: agents' times are read from that clock.
    """
    if report.error is not None:
        return []  # it is a finding of its own
    by_host, names = {each.target.name: each for each in members}, _names(members)
    now = report.at + offset
    findings = []
    seen = set()
    for agent in report.agents:
        member = by_host.get(names.host_of(agent.host) or "")
        if member is not None:
            seen.add((member.target.name, agent.binary))
        finding = _judge(report.service, agent, member, now, limits)
        findings.append(_with_wires(finding, agent, member, rpc_topology))
    return findings + [
        _missing(report.service, unit, member)
        for member in members
        for unit in member.units
        if unit.agent and (member.target.name, unit.agent) not in seen
    ]


def _names(members: Iterable[Member]) -> HostNames:
    """Return the hosts by their names; what one says of itself takes no name from another."""
    names = HostNames()
    for each in members:
        names.add(each.target.name, [each.target.address])
        names.claim(each.target.name, each.hostname)
    return names


def _judge(
    service: str, agent: Agent, member: Member | None, now: float, limits: Limits
) -> Finding:
    age = None if agent.heartbeat is None else now - agent.heartbeat.timestamp()
    severity, evidence = _health(agent, age, limits)
    unit = next((u.name for u in member.units if u.agent == agent.binary), None) if member else None
    subject = f"agent {agent.binary}" if member else f"agent {agent.binary} on {agent.host}"
    return Finding(
        host=member.target.name if member else None,
        service=service,
        subject=subject,
        severity=severity,
        evidence=evidence,
        remedy="" if severity is Severity.OK else _remedy(agent, member, unit),
    )


def _with_wires(
    finding: Finding, agent: Agent, member: Member | None, rpc_topology: RpcTopology
) -> Finding:
    """Add what the broker tells; who is to be restarted is what ``reattach`` finds out."""
    if not agent.enabled:
        return finding
    trouble = rpc_topology.trouble(agent)
    if trouble:
        deaf = f"deaf: {trouble}; {finding.evidence}"
        finding = replace(finding, severity=Severity.FAILED, evidence=deaf)
    elif finding.severity is not Severity.FAILED:
        return finding
    if member is None or rpc_topology.of(agent.binary) is None:
        return finding
    return replace(finding, remedy=f"backstay reattach {member.target.name}")


def _health(agent: Agent, age: float | None, limits: Limits) -> tuple[Severity, str]:
    last = "never reported" if age is None else f"last report {duration(max(0.0, age))} ago"
    expected = f"one is due every {agent.interval:g} s"
    if not agent.up:
        return Severity.FAILED, f"down: {last}, {expected}"
    if age is not None and age > agent.down_after:
        return Severity.FAILED, f"{last}, {expected}; its API still calls it up"
    if not agent.enabled:
        reason = f": {agent.note}" if agent.note else ", without a reason given"
        return Severity.WARNING, f"disabled{reason}; {last}"
    late = limits.heartbeat_intervals.warning * agent.interval
    if age is not None and late < agent.down_after and age > late:
        return Severity.WARNING, f"late: {last}, {expected}"
    return Severity.OK, last


def _remedy(agent: Agent, member: Member | None, unit: str | None) -> str:
    if agent.up and not agent.enabled:
        return "enable it again when the reason is gone"
    if member is None:
        return f"no host {agent.host} in cloud.yaml: add it, or delete the record of the agent"
    if unit is None:
        return on(member.target, command("systemctl", "status", agent.binary, "--no-pager"))
    return on(member.target, f"systemctl restart {unit}")


def _missing(service: str, unit: Unit, member: Member) -> Finding:
    return Finding(
        host=member.target.name,
        service=service,
        subject=f"agent {unit.agent}",
        severity=Severity.FAILED,
        evidence=f"has never reported: {unit.purpose}",
        remedy=on(member.target, f"journalctl -u {unit.name} -n 50 --no-pager"),
    )
