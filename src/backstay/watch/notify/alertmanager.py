"""Incidents as Alertmanager has them. Pure."""

from collections.abc import Mapping

from backstay.transports.webhook import Alert
from backstay.watch.incidents.incident import Cause, Incident

REPEAT = 60.0
"""After how many seconds the alerts of what is still open are posted again."""

_LASTS = 4 * REPEAT  # as Prometheus has it: an alert that nobody posts any more is over


def labels(cloud: str, cause: Cause) -> Mapping[str, str]:
    """Return what the alert of a cause is known by."""
    return {
        "alertname": str(cause.kind),
        "cloud": cloud,
        "host": cause.host,
        "service": cause.service,
        "severity": str(cause.urgency),
        "cause": cause.key,
    }


def alert(incident: Incident, *, at: float) -> Alert:
    """Return an incident's alert as it is ``at`` a Unix time: over, or for some minutes to come."""
    cause = incident.cause
    told = {
        "summary": cause.title,
        "impact": cause.impact,
        "remedy": cause.remedy,
        "evidence": "\n".join(cause.evidence),
        "symptoms": ", ".join(cause.symptoms),
        "incident": incident.name,
        "run": incident.run,
    }
    return Alert(
        labels={name: value for name, value in labels(incident.cloud, cause).items() if value},
        annotations={name: value for name, value in told.items() if value},
        starts=incident.began,
        ends=at + _LASTS if incident.closed is None else incident.closed,
    )


def over(before: Alert, *, at: float) -> Alert:
    """Return an alert that is over, because its cause is known better and has another now."""
    return Alert(
        labels=before.labels, annotations=before.annotations, starts=before.starts, ends=at
    )
