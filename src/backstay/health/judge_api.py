"""Judge what the APIs answered. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from backstay.errors import ApiNotAsked, ApiRefused, BackstayError
from backstay.finding import Finding, Severity
from backstay.health.read_apis import Answered, ApiObservation
from backstay.health.remedy import on
from backstay.inventory.limits import Limits
from backstay.services.declaration import Service, Unit
from backstay.transports.targets import Endpoint, SshTarget

Served = Mapping[str, SshTarget]


def served_by(
    services: Iterable[Service],
    endpoints: Sequence[Endpoint],
    targets: Iterable[SshTarget],
) -> dict[str, SshTarget]:
    """Return for each service the host whose address its endpoint has.

    Missing are services behind an address of no host (a load balancer's, a virtual one).
    """
    by_address = {target.address: target for target in targets}
    found: dict[str, SshTarget] = {}
    for service in services:
        for endpoint in endpoints:
            target = by_address.get(endpoint.host)
            if endpoint.service_type in service.endpoint_types and target is not None:
                found.setdefault(service.name, target)
    return found


def judge_answers(
    observed: ApiObservation, services: Sequence[Service], served: Served, limits: Limits
) -> list[Finding]:
    """Judge every question that was asked, and name those that were not."""
    by_name = {service.name: service for service in services}
    findings = [
        finding
        for answer in observed.answers
        for finding in _judge(answer, by_name[answer.service], served.get(answer.service), limits)
    ]
    for report in observed.reports:
        if report.error is not None:
            service, target = by_name[report.service], served.get(report.service)
            failed = Answered(
                service=report.service,
                name="agent list",
                error=report.error,
                seconds=report.seconds,
            )
            findings.extend(_judge(failed, service, target, limits))
    if observed.not_asked:
        findings.append(
            Finding(
                host=None,
                service="APIs",
                subject="other questions",
                severity=Severity.UNKNOWN,
                evidence=f"not asked, as there is no token: {', '.join(observed.not_asked)}",
                remedy="first get a token: see above",
            )
        )
    return findings


def _judge(
    answer: Answered, service: Service, target: SshTarget | None, limits: Limits
) -> list[Finding]:
    host = target.name if target else None
    if answer.error is not None:
        return [
            Finding(
                host=host,
                service=answer.service,
                subject=answer.name,
                severity=_severity(answer.error),
                evidence=f"{answer.error.attempted}: {answer.error.came_back}",
                remedy=_remedy(answer.error, service, target),
                seconds=answer.seconds,
            )
        ]
    slow = limits.api_seconds.severity(answer.seconds)
    findings = []
    for verdict in answer.verdicts:
        severity, evidence, remedy = verdict.severity, verdict.evidence, verdict.remedy
        if severity is Severity.OK and slow is not Severity.OK:
            # An answer that came is no failure, however slow.
            severity = Severity.WARNING
            evidence = f"{evidence}; took {answer.seconds:.1f} s"
            remedy = _remedy(None, service, target)
        findings.append(
            Finding(
                host=host,
                service=answer.service,
                subject=verdict.subject,
                severity=severity,
                evidence=evidence,
                remedy=remedy,
                seconds=answer.seconds,
            )
        )
    return findings


def _severity(error: BackstayError) -> Severity:
    """Return how bad an error is. A refusal does not tell whether the service works for others.

    Nor does what stands before it on this machine.
    """
    return Severity.UNKNOWN if isinstance(error, ApiRefused | ApiNotAsked) else Severity.FAILED


def _remedy(error: BackstayError | None, service: Service, target: SshTarget | None) -> str:
    """Return what to check: where the host is known, the log of the API's unit there."""
    if isinstance(error, ApiRefused | ApiNotAsked) or target is None:
        return error.remedy if error else "check the load of the hosts that serve it"
    unit = _api_unit(service)
    if unit is None:
        return error.remedy if error else ""
    return on(target, f"journalctl -u {unit.name} -n 50 --no-pager")


def _api_unit(service: Service) -> Unit | None:
    """Return the unit that serves the API: the first that listens."""
    return next((unit for unit in service.units if unit.ports), None)
