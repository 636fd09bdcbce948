"""Alertmanager: incidents as alerts with labels and annotations, and their sender."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from backstay.errors import MessageRefused
from backstay.inventory.watch import Alertmanager
from backstay.transports.webhook import Alert, post_alerts
from backstay.watch.incidents.incident import Cause, Incident
from backstay.watch.notify.routing import BOUND, Batch, in_ascii

REPEAT = 60.0
"""After how many seconds the alerts of what is still open are posted again."""

_LASTS = 4 * REPEAT  # as Prometheus does: an alert that is not posted again expires


def labels(cloud: str, cause: Cause) -> Mapping[str, str]:
    """Return the labels of the alert of a cause. Pure."""
    return {
        "alertname": str(cause.kind),
        "cloud": cloud,
        "host": cause.host,
        "service": cause.service,
        "severity": str(cause.urgency),
        "cause": cause.key,
    }


def alert(incident: Incident, *, at: float) -> Alert:
    """Return an incident's alert ``at`` a Unix time: ended, or valid for a few minutes. Pure."""
    cause = incident.cause
    annotations = {
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
        annotations={name: value for name, value in annotations.items() if value},
        starts=incident.began,
        ends=at + _LASTS if incident.closed is None else incident.closed,
    )


def ended(before: Alert, *, at: float) -> Alert:
    """Return an alert ended, because its cause has other labels now. Pure."""
    return Alert(
        labels=before.labels, annotations=before.annotations, starts=before.starts, ends=at
    )


class AlertmanagerSender:
    """Posts alerts to an Alertmanager, again and again while their incidents are open."""

    grouped = False

    def __init__(self, alertmanager: Alertmanager) -> None:
        self._alertmanager = alertmanager
        self._posted: dict[int, Alert] = {}
        self._lock = asyncio.Lock()

    async def send(self, batch: Batch) -> str:
        """Post the alert of each incident as it is now."""
        async with self._lock:
            await self._post([incident for _, incident in batch])
        return ""

    async def repeat(self, open_ones: Callable[[], Sequence[Incident]]) -> None:
        """Post the alerts of open incidents again: otherwise they would expire."""
        async with self._lock:  # never between the end of an incident and its posting
            incidents = open_ones()
            try:
                await self._post(incidents)
            except MessageRefused:
                await self._post_each(incidents)

    def knows(self, incident: Incident) -> bool:
        """Return whether an alert was posted for an incident that is open."""
        return incident.id in self._posted

    async def test(self, cloud: str) -> str:
        """Post an alert that ends in a minute."""
        at = time.time()
        text = {"summary": f"Test message of the watch of {cloud}"}
        labels = {"alertname": "backstay-test", "cloud": cloud, "severity": "warning"}
        await self._hand_in([Alert(labels=labels, annotations=text, starts=at, ends=at + 60)])
        return "the Alertmanager accepted it; the alert ends in a minute"

    async def _post_each(self, incidents: Sequence[Incident]) -> None:
        """Post each alone, in ASCII where it is refused; raise the last refusal at the end."""
        refusal: MessageRefused | None = None
        for incident in incidents:
            try:
                await self._post([incident])
            except MessageRefused:
                try:
                    await self._post([in_ascii(incident)])
                except MessageRefused as error:
                    refusal = error
        if refusal is not None:
            raise refusal

    async def _post(self, incidents: Sequence[Incident]) -> None:
        if not incidents:
            return
        at = time.time()
        now = {incident.id: alert(incident, at=at) for incident in incidents}
        renamed = [
            ended(before, at=at)
            for number, new in now.items()
            if (before := self._posted.get(number)) and before.labels != new.labels
        ]
        await self._hand_in([*renamed, *now.values()])
        for incident in incidents:
            if incident.closed is None:
                self._posted[incident.id] = now[incident.id]
            else:
                self._posted.pop(incident.id, None)

    async def _hand_in(self, posted: Sequence[Alert]) -> None:
        target = self._alertmanager
        password = "" if target.password is None else target.password.reveal()
        login = (target.username, password) if target.username else None
        await post_alerts(target.url, posted, login=login, ca=target.ca, bound=BOUND)
