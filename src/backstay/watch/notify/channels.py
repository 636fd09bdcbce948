"""The four ways to tell people, each sending what a batch of tellings says."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from backstay.errors import BackstayError, ChannelFailed, InventoryError
from backstay.inventory.cloud import Cloud
from backstay.inventory.secret import Secret
from backstay.inventory.watch import Alertmanager, Apprise, Channel, Email, Webhook
from backstay.transports.apprise_channel import load_apprise, send_apprise
from backstay.transports.smtp import Letter, MailServer, send_mail
from backstay.transports.webhook import Alert, post_alerts, post_json
from backstay.watch.incidents.incident import Incident
from backstay.watch.incidents.notification import Notification
from backstay.watch.notify import alertmanager as alerts
from backstay.watch.notify.message import message
from backstay.watch.notify.routing import sections
from backstay.watch.notify.webhook import SCHEMA, document

BOUND = 10.0
"""Seconds for one attempt."""

Batch = Sequence[tuple[Notification, Incident]]
Approval = Callable[[Incident], str]

T = TypeVar("T")


class Sender(Protocol):
    """A way to tell people. ``grouped``: what is due within a moment makes one message."""

    grouped: bool

    async def send(self, batch: Batch) -> str:
        """Send; return what is wrong although it was taken. Raises BackstayError."""

    async def test(self, cloud: str) -> str:
        """Send a message that says it is a test; return where it went. Raises BackstayError."""


def sender_for(channel: Channel, approval: Approval) -> Sender:
    """Return the way that a channel in cloud.yaml names."""
    if channel.email is not None:
        return EmailSender(channel.email, approval)
    if channel.webhook is not None:
        return WebhookSender(channel.webhook, approval)
    if channel.alertmanager is not None:
        return AlertmanagerSender(channel.alertmanager)
    assert channel.apprise is not None  # noqa: S101 - the model holds exactly one
    return AppriseSender(channel.apprise, approval)


async def send_test(cloud: Cloud, channel: str) -> str:
    """Send a test message by a channel; return where it went. Raises BackstayError."""
    known = cloud.watch.channels
    if channel not in known:
        raise InventoryError(
            f"sending a test message by {channel}",
            came_back="`watch` in cloud.yaml has no such channel",
            remedy=f"it has: {', '.join(known) or 'none'}",
        )
    began = time.monotonic()
    where = await bounded(sender_for(known[channel], lambda _: "").test(cloud.name))
    return f"{where}, {time.monotonic() - began:.1f} s"


async def bounded(sending: Awaitable[T]) -> T:
    """Return what sending something returns. Raises nothing but BackstayError.

    Whatever a library raises, one channel's trouble is no other's.
    """
    try:
        async with asyncio.timeout(BOUND + 1):
            return await sending
    except BackstayError:
        raise
    except Exception as error:
        late = isinstance(error, TimeoutError)
        raise ChannelFailed(
            "sending a message",
            came_back=f"no answer within {BOUND:g} s" if late else type(error).__name__,
            remedy="see that the service is there",
        ) from error


class EmailSender:
    """Mail. A repeated one has the Message-ID of the first; those on an incident are a thread."""

    grouped = True

    def __init__(self, email: Email, approval: Approval) -> None:
        self._email, self._approval = email, approval

    async def send(self, batch: Batch) -> str:
        """Send one mail on all of it; return which recipients were refused."""
        told = message(batch, sections(batch), approval=self._approval)
        return await self._hand_in(
            subject=told.subject,
            text=told.text,
            id=told.id,
            follows=told.follows,
            at=batch[0][0].made,
        )

    async def test(self, cloud: str) -> str:
        """Send a test mail."""
        at = time.time()
        trouble = await self._hand_in(
            subject=f"[{cloud}] Test message of the watch",
            text=_test_text(cloud),
            follows="",
            id=f"test.{at * 1000:.0f}@backstay",
            at=at,
        )
        return trouble or f"{self._email.server}:{self._email.port} took it"

    async def _hand_in(self, *, subject: str, text: str, id: str, follows: str, at: float) -> str:  # noqa: A002 - a Message-ID
        email = self._email
        server = MailServer(
            host=email.server,
            port=email.port,
            tls=email.tls,
            ca=email.ca,
            username=email.username,
            password=_revealed(email.password),
        )
        letter = Letter(
            sender=email.sender,
            to=email.to,
            subject=subject,
            text=text,
            id=id,
            at=at,
            follows=follows,
        )
        refused = await send_mail(server, letter, bound=BOUND)
        return "; ".join(f"mail to {to} was refused: {why}" for to, why in refused.items())


class WebhookSender:
    """JSON by POST, one document for each telling; a repeated one has the same Idempotency-Key."""

    grouped = False

    def __init__(self, webhook: Webhook, approval: Approval) -> None:
        self._webhook, self._approval = webhook, approval

    async def send(self, batch: Batch) -> str:
        """Post each telling."""
        for notification, incident in batch:
            await self._post(document(notification, incident, approval=self._approval))
        return ""

    async def test(self, cloud: str) -> str:
        """Post a document whose word is ``test``, without an incident."""
        at = datetime.now(UTC)
        await self._post(
            {
                "schema": SCHEMA,
                "id": f"test.{at.timestamp() * 1000:.0f}@backstay",
                "cloud": cloud,
                "event": "test",
                "notified_at": at.isoformat(timespec="milliseconds"),
                "subject": f"[{cloud}] Test message of the watch",
                "message": _test_text(cloud),
            }
        )
        return "the webhook took it"

    async def _post(self, told: dict[str, object]) -> None:
        headers = {"Idempotency-Key": str(told["id"])}
        if self._webhook.token is not None:
            headers["Authorization"] = f"Bearer {self._webhook.token.reveal()}"
        await post_json(self._webhook.url, told, headers=headers, ca=self._webhook.ca, bound=BOUND)


class AlertmanagerSender:
    """Alerts for an Alertmanager, posted again and again while their incidents are open."""

    grouped = False

    def __init__(self, alertmanager: Alertmanager) -> None:
        self._alertmanager = alertmanager
        self._posted: dict[int, Alert] = {}
        self._one_at_a_time = asyncio.Lock()

    async def send(self, batch: Batch) -> str:
        """Post the alert of each incident as it is now."""
        async with self._one_at_a_time:
            await self._post([incident for _, incident in batch])
        return ""

    async def repeat(self, open_ones: Callable[[], Sequence[Incident]]) -> None:
        """Post the alerts of what is open anew: without that they would be over."""
        async with self._one_at_a_time:  # never between an end and its posting
            if incidents := open_ones():
                await self._post(incidents)

    def knows(self, incident: Incident) -> bool:
        """Say whether an alert was posted for an incident that is open."""
        return incident.id in self._posted

    async def test(self, cloud: str) -> str:
        """Post an alert that is over at once."""
        at = time.time()
        text = {"summary": f"Test message of the watch of {cloud}"}
        labels = {"alertname": "backstay-test", "cloud": cloud, "severity": "warning"}
        await self._hand_in([Alert(labels=labels, annotations=text, starts=at, ends=at + 60)])
        return "the Alertmanager took it; the alert is over in a minute"

    async def _post(self, incidents: Sequence[Incident]) -> None:
        at = time.time()
        now = {incident.id: alerts.alert(incident, at=at) for incident in incidents}
        renamed = [
            alerts.over(before, at=at)
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
        one = self._alertmanager
        login = (one.username, _revealed(one.password) or "") if one.username else None
        await post_alerts(one.url, posted, login=login, ca=one.ca, bound=BOUND)


class AppriseSender:
    """Chats, pagers, SMS: whatever apprise knows. A few lines, as most of them have little room."""

    grouped = True

    def __init__(self, apprise: Apprise, approval: Approval) -> None:
        self._apprise, self._approval = apprise, approval

    async def send(self, batch: Batch) -> str:
        """Send one message on all of it."""
        told = message(batch, sections(batch), approval=self._approval)
        await self._hand_in(told.subject, told.short)
        return ""

    async def test(self, cloud: str) -> str:
        """Send a test message."""
        await self._hand_in(f"[{cloud}] Test message of the watch", _test_text(cloud))
        return "the service took it"

    async def prepare(self) -> None:
        """Read apprise's code, before there is something to tell."""
        with contextlib.suppress(TimeoutError):
            await load_apprise()

    async def _hand_in(self, title: str, text: str) -> None:
        await send_apprise(self._apprise.url.reveal(), title=title, text=text, bound=BOUND)


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def _test_text(cloud: str) -> str:
    return (
        f"This is a test. Nothing is the matter: who reads this is told of incidents in {cloud} "
        "by this channel.\n"
    )
