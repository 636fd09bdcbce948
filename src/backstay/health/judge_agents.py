"""Judge agents by their API and the age of their last report, never by their process. Pure.

A process can run, be connected to the broker and yet be deaf:
https://github.com/bigstack-oss/cubecos/issues/1301. How old a report may be is the cloud's own
setting, by which its API judges: no agent is judged more strictly than by that.
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
from backstay.services.reporting import ReportTimes
from backstay.transports.targets import SshTarget

NO_SETTING = 3600.0
"""Seconds without a report that no cloud lets pass, whatever it has set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A host that agents run on.

    ``hostname`` is what it calls itself, empty where it could not be asked; ``times`` is what the
    configuration of the agents' service says there, None unknown. ``one_of`` are the units of which
    it must have one of each kind, whether it has them or not. ``serves_api`` tells that its API may
    run there, by whose settings agents count as down.
    """

    target: SshTarget
    units: tuple[Unit, ...]
    hostname: str = ""
    times: ReportTimes | None = None
    one_of: tuple[Unit, ...] = ()
    serves_api: bool = False

    @property
    def names_known(self) -> bool:
        """Return whether all names are known under which its agents may report."""
        return bool(self.hostname) and self.times is not None and self.times.complete


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
    seen: set[tuple[str, str]] = set()
    strangers: list[Agent] = []
    for found in report.agents:
        agent, member = found, by_host.get(names.host_of(found.host) or "")
        if member is not None:
            agent = _timed(found, member, members)
            seen.add((member.target.name, agent.binary))
        elif claimants := names.claimants(agent.host):
            # Controllers may share one name on purpose: https://docs.openstack.org/cinder/latest/
            seen |= {(host, agent.binary) for host in claimants}
        else:
            strangers.append(agent)
        finding = _judge(report.service, agent, member, now, limits)
        findings.append(_with_wires(finding, agent, member, rpc_topology))
    findings += [
        _missing(report.service, unit, member, strangers)
        for member in members
        for unit in member.units
        if unit.agent and (member.target.name, unit.agent) not in seen
    ]
    return findings + [
        _none_of(report.service, kind, units, member)
        for member in members
        for kind, units in _kinds(member.one_of).items()
        if _lacks(member, units, report.agents, seen)
    ]


def _kinds(units: Iterable[Unit]) -> dict[str, list[Unit]]:
    found: dict[str, list[Unit]] = {}
    for unit in units:
        found.setdefault(unit.one_of, []).append(unit)
    return found


def _lacks(
    member: Member, units: Sequence[Unit], agents: Sequence[Agent], seen: set[tuple[str, str]]
) -> bool:
    """Return whether a host has none of the units of a kind, and others have.

    A cloud in which no agent of that kind reports does the same in a way of its own.
    """
    binaries = {unit.agent for unit in units}
    return (
        member.names_known
        and not any(unit in member.units for unit in units)
        and not any((member.target.name, binary) in seen for binary in binaries)
        and any(agent.binary in binaries for agent in agents)
    )


def _none_of(service: str, kind: str, units: Sequence[Unit], member: Member) -> Finding:
    names = ", ".join(dict.fromkeys(unit.name for unit in units))
    listed = on(member.target, "systemctl list-units --type=service --all --no-pager")
    return Finding(
        host=member.target.name,
        service=service,
        subject=f"agent for {kind}",
        severity=Severity.WARNING,
        evidence=f"no agent of this host is known to its API, and none of its units is there "
        f"({names}), while other hosts have them: {units[0].purpose}",
        remedy=f"see what does it there: {listed}",
    )


def _names(members: Iterable[Member]) -> HostNames:
    """Return the hosts by their names; what one says of itself takes no name from another."""
    names = HostNames()
    for each in members:
        names.add(each.target.name, [each.target.address])
        for own in (each.hostname, *(each.times.names if each.times else ())):
            names.claim(each.target.name, own)
    return names


def _timed(agent: Agent, member: Member, members: Sequence[Member]) -> Agent:
    """Return an agent with the cloud's own settings: the interval of its host, the API's bound.

    Where several hosts have the API, the longest bound counts: any of them may have answered.
    """
    read = [each.times for each in members if each.times and each.serves_api]
    bounds = [each.down_after for each in read if each.down_after is not None]
    interval = member.times.intervals.get(agent.binary) if member.times else None
    if interval is None or not bounds:
        return agent
    return replace(agent, interval=interval, down_after=max(bounds), times_read=True)


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
    if not agent.in_service:
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
    last = _last(agent, age)
    if not agent.in_service:
        return Severity.WARNING, f"{_out_of_service(agent)}; {last}"
    expected = f", one is due every {agent.interval:g} s" if agent.times_read else ""
    if not agent.up:
        return Severity.FAILED, f"down: {last}{expected}"
    if age is None or not agent.reports:
        return Severity.OK, last
    # Without the cloud's own settings only what no setting makes right is worth a word.
    if age > (agent.down_after if agent.times_read else NO_SETTING):
        return Severity.WARNING, f"{last}{expected}; its API still calls it up"
    late = limits.heartbeat_intervals.warning * agent.interval
    if agent.times_read and late < agent.down_after and age > late:
        return Severity.WARNING, f"late: {last}{expected}"
    return Severity.OK, last


def _last(agent: Agent, age: float | None) -> str:
    if not agent.reports:
        return "its API calls it up" if agent.up else "its API calls it down"
    return "never reported" if age is None else f"last report {duration(max(0.0, age))} ago"


def _out_of_service(agent: Agent) -> str:
    """Return who has taken it out of service, and why."""
    how = ["forced down"] if agent.forced_down else []
    how += [] if agent.enabled else ["disabled"]
    return " and ".join(how) + (f": {agent.note}" if agent.note else ", without a reason given")


def _remedy(agent: Agent, member: Member | None, unit: str | None) -> str:
    if not agent.in_service:
        back = f": {agent.activate}" if agent.activate else ""
        return f"put it back into service when the reason is gone{back}"
    if member is None:
        return (
            f"no host in cloud.yaml is known by the name {agent.host}: add it, or give its host "
            "there the name that it reports under; if it is gone for good, delete its record"
        )
    look = on(member.target, command("systemctl", "status", unit or agent.binary, "--no-pager"))
    if agent.up:
        return f"{look}; compare the clocks and the settings of its API's host: date -u"
    return look if unit is None else on(member.target, f"systemctl restart {unit}")


def _missing(service: str, unit: Unit, member: Member, strangers: Sequence[Agent]) -> Finding:
    """Judge an agent of which the API has no record by any name that is known of its host."""
    others = [one.host for one in strangers if one.binary == unit.agent]
    known = member.names_known or (bool(member.hostname) and not others)
    log = on(member.target, f"journalctl -u {unit.name} -n 50 --no-pager")
    if known:
        severity, evidence, remedy = Severity.FAILED, f"has never reported: {unit.purpose}", log
    else:
        severity = Severity.UNKNOWN
        evidence = f"no report under the name {member.target.name}"
        why = "its configuration could not be read" if member.hostname else "it was not asked"
        evidence += f"; which name its host reports under is not known, as {why}"
        remedy = f"backstay check {member.target.name}"
        if others:
            evidence += f"; {_some(others)} may be it"
            remedy = "give the host in cloud.yaml the name that it reports under"
    return Finding(
        host=member.target.name,
        service=service,
        subject=f"agent {unit.agent}",
        severity=severity,
        evidence=evidence,
        remedy=remedy,
    )


def _some(names: Sequence[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{', '.join(names[:limit])}{more}"
