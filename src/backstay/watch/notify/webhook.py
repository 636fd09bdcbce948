"""What a webhook is given of an incident: ``docs/watch.schema.json``. Pure."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from backstay.watch.incidents.incident import Incident
from backstay.watch.incidents.notification import Notification
from backstay.watch.notify.message import headline, known_as, text

SCHEMA = 2
"""Raised when a key changes its meaning or goes."""


def document(
    notification: Notification,
    incident: Incident,
    *,
    approval: Callable[[Incident], str] = lambda _: "",
) -> dict[str, Any]:
    """Return one telling as JSON has it: values for programs, and the text that people get."""
    cause = incident.cause
    return {
        "schema": SCHEMA,
        "id": known_as(notification, incident.cloud),
        "cloud": incident.cloud,
        "event": str(notification.event),
        "notified_at": _written(notification.made),
        "subject": f"[{incident.cloud}] {headline(incident, notification.event)}",
        "message": text(incident, notification.event, approval),
        "approval": approval(incident) if notification.event == "approval_requested" else "",
        "incident": {
            "id": incident.id,
            "name": incident.name,
            "key": cause.key,
            "kind": str(cause.kind),
            "urgency": str(cause.urgency),
            "host": cause.host or None,
            "service": cause.service,
            "title": cause.title,
            "impact": cause.impact,
            "remedy": cause.remedy,
            "evidence": list(cause.evidence),
            "symptoms": list(cause.symptoms),
            "began": _written(incident.began),
            "opened": _written(incident.opened),
            "closed": None if incident.closed is None else _written(incident.closed),
            "seconds": (
                None if incident.closed is None else round(incident.closed - incident.began, 3)
            ),
            "run": incident.run or None,
            "timeline": [
                {"at": _written(one.at), "kind": one.kind, "text": one.text}
                for one in incident.timeline
            ],
        },
    }


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
