"""Webhooks: the JSON document of a notification (``docs/watch.schema.json``), and its sender."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from backstay.inventory.watch import Webhook
from backstay.transports.webhook import post_json
from backstay.watch.incidents.incident import Incident
from backstay.watch.incidents.notification import Notification
from backstay.watch.notify.message import headline, known_as, test_text, text
from backstay.watch.notify.routing import BOUND, ApprovalCommand, Batch

SCHEMA = 2
"""Raised when a key changes its meaning or goes."""


def document(
    notification: Notification,
    incident: Incident,
    *,
    approval: Callable[[Incident], str] = lambda _: "",
) -> dict[str, Any]:
    """Return a notification as JSON: values for programs, and the text that people get. Pure."""
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


class WebhookSender:
    """Posts one JSON document for each notification; a retry has the same Idempotency-Key."""

    grouped = False

    def __init__(self, webhook: Webhook, approval: ApprovalCommand) -> None:
        self._webhook, self._approval = webhook, approval

    async def send(self, batch: Batch) -> str:
        """Post each notification."""
        for notification, incident in batch:
            await self._post(document(notification, incident, approval=self._approval))
        return ""

    async def test(self, cloud: str) -> str:
        """Post a document with the event ``test``, without an incident."""
        at = datetime.now(UTC)
        await self._post(
            {
                "schema": SCHEMA,
                "id": f"test.{at.timestamp() * 1000:.0f}@backstay",
                "cloud": cloud,
                "event": "test",
                "notified_at": at.isoformat(timespec="milliseconds"),
                "subject": f"[{cloud}] Test message of the watch",
                "message": test_text(cloud),
            }
        )
        return "the webhook accepted it"

    async def _post(self, content: dict[str, object]) -> None:
        headers = {"Idempotency-Key": str(content["id"])}
        if self._webhook.token is not None:
            headers["Authorization"] = f"Bearer {self._webhook.token.reveal()}"
        await post_json(
            self._webhook.url, content, headers=headers, ca=self._webhook.ca, bound=BOUND
        )


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
