"""The channels of cloud.yaml: what sends by each, bounded; mail and apprise are here."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from backstay.errors import BackstayError, ChannelFailed, InventoryError, MessageRefused
from backstay.inventory.cloud import Cloud
from backstay.inventory.watch import Apprise, Channel, Email
from backstay.transports.apprise_channel import load_apprise, send_apprise
from backstay.transports.smtp import Letter, MailServer, send_mail
from backstay.watch.notify.alertmanager import AlertmanagerSender
from backstay.watch.notify.message import message, test_text
from backstay.watch.notify.routing import BOUND, ApprovalCommand, Batch, sections
from backstay.watch.notify.webhook import WebhookSender

T = TypeVar("T")


class Sender(Protocol):
    """Sends notifications by one channel.

    ``grouped``: notifications that are due at the same moment are sent as one message.
    """

    grouped: bool

    async def send(self, batch: Batch) -> str:
        """Send a batch; return a problem with what was accepted, or "". Raises BackstayError."""

    async def test(self, cloud: str) -> str:
        """Send a test message; return where it was accepted. Raises BackstayError."""


def sender_for(channel: Channel, approval: ApprovalCommand) -> Sender:
    """Return the sender of a channel of cloud.yaml."""
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

    Whatever a library raises, one channel's trouble is no other's. What is not of the connection is
    MessageRefused: others may well be sent.
    """
    try:
        async with asyncio.timeout(BOUND + 1):
            return await sending
    except BackstayError:
        raise
    except OSError as error:
        late = isinstance(error, TimeoutError)
        raise ChannelFailed(
            "sending a message",
            came_back=f"no answer within {BOUND:g} s" if late else type(error).__name__,
            remedy="check that the service is running",
        ) from error
    except Exception as error:
        raise MessageRefused(
            "writing a message",
            came_back=f"{type(error).__name__}: {error}",
            remedy="report this: one notification could not be written",
        ) from error


class EmailSender:
    """Mail. A repeated one has the Message-ID of the first; those on an incident are a thread."""

    grouped = True

    def __init__(self, email: Email, approval: ApprovalCommand) -> None:
        self._email, self._approval = email, approval

    async def send(self, batch: Batch) -> str:
        """Send one mail on all of it; return which recipients were refused."""
        outgoing = message(batch, sections(batch), approval=self._approval)
        return await self._hand_in(
            subject=outgoing.subject,
            text=outgoing.text,
            id=outgoing.id,
            follows=outgoing.follows,
            at=batch[0][0].made,
        )

    async def test(self, cloud: str) -> str:
        """Send a test mail."""
        at = time.time()
        trouble = await self._hand_in(
            subject=f"[{cloud}] Test message of the watch",
            text=test_text(cloud),
            follows="",
            id=f"test.{at * 1000:.0f}@backstay",
            at=at,
        )
        return trouble or f"{self._email.server}:{self._email.port} accepted it"

    async def _hand_in(self, *, subject: str, text: str, id: str, follows: str, at: float) -> str:  # noqa: A002 - a Message-ID
        email = self._email
        server = MailServer(
            host=email.server,
            port=email.port,
            tls=email.tls,
            ca=email.ca,
            username=email.username,
            password=None if email.password is None else email.password.reveal(),
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


class AppriseSender:
    """Chats, pagers, SMS: whatever apprise knows. A few lines, as most of them have little room."""

    grouped = True

    def __init__(self, apprise: Apprise, approval: ApprovalCommand) -> None:
        self._apprise, self._approval = apprise, approval

    async def send(self, batch: Batch) -> str:
        """Send one message on all of it."""
        outgoing = message(batch, sections(batch), approval=self._approval)
        await self._hand_in(outgoing.subject, outgoing.short)
        return ""

    async def test(self, cloud: str) -> str:
        """Send a test message."""
        await self._hand_in(f"[{cloud}] Test message of the watch", test_text(cloud))
        return "the service accepted it"

    async def prepare(self) -> None:
        """Import apprise before there is something to send."""
        with contextlib.suppress(TimeoutError):
            await load_apprise()

    async def _hand_in(self, title: str, text: str) -> None:
        await send_apprise(self._apprise.url.reveal(), title=title, text=text, bound=BOUND)
