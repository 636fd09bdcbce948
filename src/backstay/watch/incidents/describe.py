"""The texts of causes: title, evidence, impact, remedy. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from backstay.health import addresses, fenced
from backstay.health.remedy import on
from backstay.inventory.bmc import Fenced
from backstay.inventory.cloud import Cloud
from backstay.inventory.enums import Role
from backstay.quantities import duration
from backstay.watch.detect.corroboration import Corroboration
from backstay.watch.detect.probe import Outcome
from backstay.watch.detect.state_machine import TargetState
from backstay.watch.detect.topology import HOST, Topology, host_subject
from backstay.watch.incidents.incident import Cause, Kind, Urgency

FEW = 6
NOTICED = {Role.CONTROLLER, Role.STORAGE_PROXY, Role.COMPUTE, Role.NETWORK}
"""Roles whose services' users notice at once what is missing."""


def host_cause(
    top: Topology,
    target: TargetState,
    corroboration: Corroboration | None,
    symptoms: Sequence[TargetState],
) -> Cause:
    """Return the cause that a host is which is not there."""
    name = target.subject.host
    kind = (corroboration.kind if corroboration else None) or Kind.HOST_UNREACHABLE
    host = top.host(name)
    noticed = bool(set(host.roles) & NOTICED) or any(t.subject.host != name for t in symptoms)
    spare = next((h.name for h in top.cloud.hosts.values() if name in h.spare_for), "")
    return Cause(
        key=f"host:{name}",
        kind=kind,
        urgency=Urgency.CRITICAL if noticed else Urgency.WARNING,
        host=name,
        service=HOST,
        title=f"{name} {_HOST_TITLES[kind]}",
        evidence=_evidence([target], corroboration),
        impact=_host_impact(top, name),
        remedy=_host_remedy(kind, name, spare),
        symptoms=_keys(symptoms),
    )


_HOST_TITLES = {
    Kind.HOST_OFF: "has no power",
    Kind.HOST_DEAD: "is dead: no witness observes any sign of it",
    Kind.HOST_UNREACHABLE: "does not respond as it should",
}


def _host_remedy(kind: Kind, name: str, spare: str) -> str:
    outcome = f"backstay check {name}"
    if kind is Kind.HOST_UNREACHABLE:
        return f"{outcome}; then its console or its BMC"
    if spare:
        return f"power it on by its BMC; where it is gone: backstay replace {name} --with {spare}"
    return f"power it on by its BMC; then {outcome}"


def _host_impact(top: Topology, name: str) -> str:
    """Return what users lose without a host: by what its units are for."""
    host = top.host(name)
    if Role.COMPUTE in host.roles:
        return f"the instances on {name} are down or cannot be managed"
    units = top.units_of(name)
    if top.runs(name, top.identity):
        return (
            "nobody can log in and no API works: nothing can be created, changed or deleted; "
            "running instances continue"
        )
    return _purposes(unit.purpose for unit in units)


def isolated_cause(
    hosts: Sequence[str],
    corroborations: Mapping[str, Corroboration],
    symptoms: Sequence[TargetState],
    *,
    everything: bool,
) -> Cause:
    """Return the cause for hosts that only this machine cannot reach."""
    what = "every host" if everything else ", ".join(sorted(hosts)[:FEW])
    reached = max((it.reached_by for it in corroborations.values()), default=0)
    others = f", reachable from {reached} other{'s' * (reached > 1)}" if reached else ""
    evidence = [
        f"{host}: {corroboration.reason}" for host, corroboration in sorted(corroborations.items())
    ][:FEW]
    for corroboration in list(corroborations.values())[:1]:
        evidence += corroboration.statements
    return Cause(
        key=str(Kind.MONITORING_HOST_ISOLATED),
        kind=Kind.MONITORING_HOST_ISOLATED,
        urgency=Urgency.WARNING,
        host="" if len(hosts) > 1 else hosts[0],
        service=HOST,
        title=f"Monitoring host isolated: {what} is unreachable from here{others}",
        evidence=tuple(evidence),
        impact="no known user impact, but the cloud is not monitored meanwhile",
        remedy="repair the network of the monitoring host: ip route get ADDRESS; do not restart "
        "or rebuild any host",
        symptoms=(*(host_subject(host).key for host in sorted(hosts)), *_keys(symptoms)),
    )


def fenced_host_cause(target: TargetState, old: Fenced, symptoms: Sequence[TargetState]) -> Cause:
    """Return the cause that a fenced host is which is on: it may answer as the one in its place."""
    name = target.subject.host
    return Cause(
        key=f"fenced-host:{name}",
        kind=Kind.FENCED_HOST_ON,
        urgency=Urgency.CRITICAL,
        host=name,
        service=target.subject.service,
        title=f"Fenced host {name} is powered on: it may answer as {old.was}",
        evidence=_evidence([target, *symptoms], None),
        impact=_two_in_one_place(old.was),
        remedy=fenced.remedy(name, old, on=True),
        symptoms=_keys(symptoms),
    )


def shared_address_cause(top: Topology, target: TargetState) -> Cause:
    """Return the cause that an address is which two hosts answer for."""
    name = target.subject.host
    evidence = _evidence([target], None)
    title = next(iter(evidence), f"two hosts answer for the address of {name}")
    return Cause(
        key=f"address:{name}",
        kind=Kind.DUPLICATE_ADDRESS,
        urgency=Urgency.CRITICAL,
        host=name,
        service=target.subject.service,
        title=title[:1].upper() + title[1:],
        evidence=evidence,
        impact=_two_in_one_place(name),
        remedy=addresses.remedy(top.cloud, name),
    )


def _two_in_one_place(name: str) -> str:
    return (
        f"what is sent to {name} may reach another host: requests fail or change data that is "
        "not the cloud's, and agents may work for the wrong controller"
    )


def service_cause(
    top: Topology,
    host: str,
    service: str,
    mine: Sequence[TargetState],
    symptoms: Sequence[TargetState],
) -> Cause:
    """Return the cause that a service on a host is."""
    declared = top.services[service]
    kind = _service_kind(top, mine)
    down = [top.units[t.subject.key] for t in mine if t.subject.key in top.units]
    listening = [unit for unit in top.units_of(host, service) if unit.ports][:1] if host else []
    units = down or listening
    api = any(t.subject.key not in top.units for t in (*mine, *symptoms))
    noticed = api or (bool(host) and bool(set(top.host(host).roles) & NOTICED))
    verb = "hangs" if kind is Kind.SERVICE_HUNG else "has failed"
    names = ", ".join(unit.name for unit in down)
    where = f" on {host}" if host else ""
    return Cause(
        key=f"service:{host or 'cloud'}/{service}",
        kind=kind,
        urgency=Urgency.CRITICAL if noticed else Urgency.WARNING,
        host=host,
        service=service,
        title=f"{declared.title}{where} {verb}" + (f": {names}" if names else ""),
        evidence=_evidence(mine, None),
        impact=_purposes(unit.purpose for unit in units),
        remedy=_restart(top, host, [unit.name for unit in units]),
        symptoms=_keys(symptoms),
    )


def _service_kind(top: Topology, mine: Sequence[TargetState]) -> Kind:
    """Tell a service that ended, or answers with errors, from one that does not answer."""
    units = [target for target in mine if target.subject.key in top.units] or list(mine)
    late = {Outcome.LATE, Outcome.SILENT}
    return Kind.SERVICE_HUNG if all(t.outcome in late for t in units) else Kind.SERVICE_FAILED


def _restart(top: Topology, host: str, units: Sequence[str]) -> str:
    if not host:
        return "backstay check"
    if not units:
        return f"backstay check {host}"
    target = top.cloud.ssh_target(top.host(host))
    names = " ".join(units)
    first = units[0]
    return f"{on(target, f'systemctl restart {names}')}; why: journalctl -u {first} -n 50 there"


def agents_cause(host: str, targets: Sequence[TargetState]) -> Cause:
    """Return the cause for agents that do not process messages, of one host or (no name) many."""
    if cut := [target for target in targets if target.outcome is Outcome.NO_WAY]:
        return _no_way_cause(host, cut, targets)
    deaf = any(target.outcome is not Outcome.FAILED for target in targets)
    names = sorted({target.subject.name for target in targets})
    hosts = sorted({target.subject.host for target in targets})
    if host:
        title = f"{', '.join(names)} on {host} {_agents_verb(len(names), deaf=deaf)}"
    else:
        title = f"{len(targets)} agents on {len(hosts)} hosts {_agents_verb(2, deaf=deaf)}"
    return Cause(
        key=f"agents:{host or 'cloud'}",
        kind=Kind.AGENT_NOT_PROCESSING if deaf else Kind.AGENT_DOWN,
        urgency=Urgency.CRITICAL,
        host=host,
        service="agent",
        title=title,
        evidence=_evidence(targets, None),
        impact=_no_requests(host),
        remedy=f"backstay reattach {host}".rstrip(),
    )


def _no_way_cause(host: str, cut: Sequence[TargetState], targets: Sequence[TargetState]) -> Cause:
    """Return the cause for hosts whose agents cannot open a connection to the broker."""
    hosts = sorted({target.subject.host for target in cut})
    # Of those who were asked, the one that says most: a login is tried only in a call.
    said = [target.trouble or target.evidence for target in cut]
    title = said[0].partition(": ")[0]
    if len(hosts) > 1:
        title = f"{len(hosts)} hosts cannot reach the message broker: {title}"
    return Cause(
        key=f"agents:{host or 'cloud'}",
        kind=Kind.BROKER_UNREACHABLE,
        urgency=Urgency.CRITICAL,
        host=host,
        service="agent",
        title=title[:1].upper() + title[1:],
        evidence=_evidence([*cut, *(one for one in targets if one not in cut)], None),
        impact=_no_requests(host),
        remedy=f"backstay reattach --dry-run {host}".rstrip() + " has the remedy; restart nothing",
        symptoms=_keys(targets),
    )


def _no_requests(host: str) -> str:
    return (
        f"requests to {host or 'these hosts'} are not processed: new instances, volumes and "
        "networks fail there; running instances continue"
    )


def _agents_verb(count: int, *, deaf: bool) -> str:
    if deaf:
        return "does not process RPC messages" if count == 1 else "do not process RPC messages"
    return "is down" if count == 1 else "are down"


def findings_cause(host: str, failed: Sequence[str]) -> Cause:
    """Return the cause that the check's findings on a host are."""
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return Cause(
        key=f"finding:{host or 'cloud'}",
        kind=Kind.FINDING,
        urgency=Urgency.WARNING,
        host=host,
        service="check",
        title=f"check failed on {host or 'the cloud'}: {failed[0].partition(':')[0]}{more}",
        evidence=tuple(failed[: 2 * FEW]),
        impact="no known user impact",
        remedy=f"backstay check {host}".rstrip(),
    )


def gone_by(lasted: float) -> str:
    """Return the sentence with which an incident ends."""
    return f"resolved after {duration(lasted)}"


def _purposes(purposes: Iterable[str]) -> str:
    found = list(dict.fromkeys(purposes))
    more = f"; and {len(found) - FEW} more" if len(found) > FEW else ""
    return "; ".join(found[:FEW]) + more


def _evidence(
    targets: Sequence[TargetState], corroboration: Corroboration | None
) -> tuple[str, ...]:
    lines = [target.trouble or target.evidence for target in targets][: 2 * FEW]
    if corroboration is not None:
        lines = [corroboration.reason, *corroboration.statements]
    return tuple(dict.fromkeys(line for line in lines if line))


def _keys(targets: Sequence[TargetState]) -> tuple[str, ...]:
    return tuple(sorted(target.subject.key for target in targets))


def channel_key(channel: str) -> str:
    """Return the key of the cause."""
    return f"{Kind.CHANNEL_FAILED}:{channel}"


def channel_cause(
    cloud: Cloud, channel: str, came_back: str, remedy: str, *, failing: Collection[str]
) -> Cause:
    """Return the cause; ``failing`` are all channels that fail now.

    It is as urgent as what the channel is for, so that the channel hears of it when it works again.
    """
    others = [name for name in cloud.watch.channels if name not in failing]
    least = cloud.watch.channels[channel].least
    return Cause(
        key=channel_key(channel),
        kind=Kind.CHANNEL_FAILED,
        urgency=Urgency.CRITICAL if least == "critical" else Urgency.WARNING,
        host="",
        service="watch",
        title=f"channel {channel} does not accept messages",
        evidence=(came_back,),
        impact=(
            f"notifications are sent by {', '.join(others)} only"
            if others
            else "no notifications are sent"
        ),
        remedy=f"{remedy}; then: backstay watch test {channel}",
    )
