"""The notifier: delivers notifications, retries them, and falls back to other channels.

A notification is recorded as being sent before it is sent, and as sent afterwards. After a crash in
between it is not known whether it was accepted: it is sent once more, with the same id, by which
mail servers and webhooks recognise it. Each channel sends one message at a time, in order.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from backstay.errors import BackstayError, MessageRefused
from backstay.inventory.cloud import Cloud
from backstay.watch.incidents.describe import channel_cause, channel_key
from backstay.watch.incidents.incident import Incident, Kind
from backstay.watch.incidents.log import IncidentLog, NotLeading
from backstay.watch.incidents.notification import Notification, NotificationEvent
from backstay.watch.notify.alertmanager import REPEAT, AlertmanagerSender
from backstay.watch.notify.channels import (
    AppriseSender,
    Sender,
    bounded,
    send_test,
    sender_for,
)
from backstay.watch.notify.routing import (
    ApprovalCommand,
    Batch,
    channels_for,
    in_ascii,
    instead_of,
    next_batch,
)

GATHER = 0.4
"""Seconds that a message waits for other notifications to be sent with it."""
TRIES = 3
"""Attempts on a channel before other channels are used instead."""
PATIENCE = 8.0
"""Seconds after which they are used in any case: a server that hangs takes long to fail once."""
LONGEST = 300.0
"""Seconds between two attempts on a channel that has failed for long."""

_TICK = 1.0  # seconds between two searches for due notifications
_LAST = 3.0  # seconds for the message that is being sent when the watch stops
_REMEMBERED = 2000  # notifications


@dataclass(slots=True, kw_only=True)
class ChannelState:
    """A channel and its failures.

    Attributes:
        failures: failed attempts in a row.
        since: when the first of them began, Unix time.
        lasted: seconds from then to the last one.
        again: when it is tried again, Unix time.
        error: why the last attempt failed.
        refused: incidents whose messages were refused for what is in them, since another was sent.
        complaint: a problem although messages are accepted.

    """

    name: str
    sender: Sender
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    failures: int = 0
    since: float = 0.0
    lasted: float = 0.0
    again: float = 0.0
    error: str = ""
    complaint: str = ""
    refused: set[int] = field(default_factory=set)

    @property
    def failing(self) -> bool:
        """Return whether the channel has failed often or long enough to be reported."""
        return self.failures >= TRIES or self.lasted >= PATIENCE


class Notifier:
    """Delivers notifications by the channels in cloud.yaml.

    ``approval`` returns the command, with its code, that approves the plan of an incident.
    """

    def __init__(
        self,
        cloud: Cloud,
        incident_log: IncidentLog,
        *,
        clock: Callable[[], float] = time.time,
        approval: ApprovalCommand = lambda _: "",
    ) -> None:
        self._cloud, self._watch, self._incident_log, self._clock = (
            cloud,
            cloud.watch,
            incident_log,
            clock,
        )
        self._channels = {
            name: ChannelState(name=name, sender=sender_for(channel, approval))
            for name, channel in cloud.watch.channels.items()
        }
        # What was sent, in case that the journal could not be written.
        self._sent_ids: deque[str] = deque(maxlen=_REMEMBERED)
        self._sent_events: deque[tuple[int, NotificationEvent, str]] = deque(maxlen=_REMEMBERED)

    @property
    def problems(self) -> tuple[str, ...]:
        """Return the problems of channels, one sentence each."""
        states = self._channels.values()
        found = [(one.name, one.error) for one in states if one.failing]
        found += [(one.name, one.complaint) for one in states if one.complaint and not one.failing]
        return tuple(f"channel {name}: {problem}" for name, problem in found)

    async def run(self) -> None:
        """Deliver until cancelled. A message that is being sent then may still finish."""
        await self._remember_failures()
        async with asyncio.TaskGroup() as tasks:
            for state in self._channels.values():
                tasks.create_task(self._serve(state))
                if isinstance(state.sender, AlertmanagerSender):
                    tasks.create_task(self._keep_up(state, state.sender))
                if isinstance(state.sender, AppriseSender):
                    tasks.create_task(state.sender.prepare())
            await self._dispatch()

    async def test(self, channel: str) -> str:
        """Send a test message by a channel; return where it was accepted. Raises BackstayError."""
        return await send_test(self._cloud, channel)

    async def _dispatch(self) -> None:
        while True:
            for notification, incident in await self._incident_log.due(self._clock()):
                if notification.channel in self._channels:
                    self._channels[notification.channel].woken.set()
                else:
                    await self._readdress(notification, incident)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._incident_log.changed.wait()
            self._incident_log.changed.clear()

    async def _serve(self, state: ChannelState) -> None:
        while True:
            await state.woken.wait()
            state.woken.clear()
            while due := await self._due(state):
                if state.failures and self._clock() < state.again:
                    # Others are used at once, without waiting for the next attempt on this one.
                    await self._put_off(state, due)
                    break
                batch = next_batch(due, grouped=state.sender.grouped)
                if state.sender.grouped and not any(it.attempts for it, _ in batch):
                    await asyncio.sleep(GATHER)
                    batch = next_batch(await self._due(state), grouped=True)
                if batch:
                    await self._deliver(state, batch)

    async def _due(self, state: ChannelState) -> list[tuple[Notification, Incident]]:
        """Return the due notifications, without those that this process has already sent."""
        fresh = []
        for notification, incident in await self._incident_log.due(self._clock()):
            if notification.channel != state.name:
                continue
            once = notification.event in {NotificationEvent.OPENED, NotificationEvent.RESOLVED}
            known = (incident.id, notification.event, state.name) in self._sent_events
            if notification.id in self._sent_ids or (once and known):
                await self._incident_log.sent(notification.id, at=self._clock())
            else:
                fresh.append((notification, incident))
        return fresh

    async def _deliver(self, state: ChannelState, batch: Batch) -> None:
        for notification, _ in batch:
            try:
                await self._incident_log.sending(notification.id)
            except NotLeading:  # another process leads now, and sends all of this
                return
        began = self._clock()
        attempt = asyncio.ensure_future(self._attempt(state, batch))
        try:
            sent = await asyncio.shield(attempt)
        except asyncio.CancelledError:
            await self._let_end(attempt, batch)
            raise
        except BackstayError as error:
            await self._failed(state, batch, error, began)
        else:
            if sent:
                await self._works(state)

    async def _let_end(self, attempt: "asyncio.Future[bool]", batch: Batch) -> None:
        """Wait a moment for the message: what is accepted and recorded is not sent again."""
        try:
            async with asyncio.timeout(_LAST):
                await attempt
        except (BackstayError, TimeoutError):
            for notification, _ in batch:
                await self._incident_log.postpone(
                    notification.id, until=self._clock(), error="the watch ended meanwhile"
                )

    async def _attempt(self, state: ChannelState, batch: Batch) -> bool:
        """Send a batch; return whether any of it was sent.

        What is refused for its content holds up nothing else.
        """
        try:
            await self._send(state, batch)
        except MessageRefused as error:
            left = await self._send_each(state, batch)
            state.refused |= {incident.id for _, incident in left}
            if len(left) == len(batch) and len(state.refused) > 1:
                raise  # it takes none of several: that is the channel's fault
            for one, incident in left:
                await self._set_aside(state, one, incident, str(error))
            return len(left) < len(batch)
        return True

    async def _send_each(self, state: ChannelState, batch: Batch) -> Batch:
        """Send each alone, in ASCII where it is refused again; return those that are not sent."""
        left = []
        for one, incident in batch:
            for form in (incident, in_ascii(incident)):
                try:
                    await self._send(state, [(one, form)])
                except MessageRefused:
                    continue
                break
            else:
                left.append((one, incident))
        return left

    async def _set_aside(
        self, state: ChannelState, notification: Notification, incident: Incident, error: str
    ) -> None:
        """Hand a notification that one channel refuses to others; without any, try it later."""
        state.complaint = f"{incident.name} cannot be sent: {error}"
        others = self._instead(notification, incident)
        if others is None:
            until = self._clock() + LONGEST
            await self._incident_log.postpone(notification.id, until=until, error=error)
        else:
            await self._incident_log.give_up(notification.id, error=error, instead=others)
            for name in others:
                self._channels[name].woken.set()

    async def _send(self, state: ChannelState, batch: Batch) -> None:
        state.complaint = await bounded(state.sender.send(batch))
        state.refused.clear()
        # The first, whose id the message has, is recorded last: see routing.next_batch.
        for notification, incident in reversed(batch):
            self._sent_ids.append(notification.id)
            self._sent_events.append((incident.id, notification.event, state.name))
            await self._incident_log.sent(notification.id, at=self._clock())

    async def _failed(
        self, state: ChannelState, batch: Batch, error: BackstayError, began: float
    ) -> None:
        now = self._clock()
        state.since = state.since if state.failures else began
        state.lasted = now - state.since
        state.failures += 1
        state.error = str(error)
        state.again = now + min(LONGEST, 2.0 ** min(state.failures - 1, 16))
        await self._put_off(state, batch)
        if state.failing:
            cause = channel_cause(
                self._cloud, state.name, str(error), error.remedy, failing=self._failing
            )
            await self._incident_log.open(cause, began=state.since, at=now)

    async def _works(self, state: ChannelState) -> None:
        state.failures, state.lasted, state.error = 0, 0.0, ""
        for incident in self._incident_log.open_incidents():
            if incident.cause.key == channel_key(state.name):
                text = f"channel {state.name} accepts messages again"
                await self._incident_log.close(incident, at=self._clock(), text=text)

    async def _put_off(self, state: ChannelState, batch: Batch) -> None:
        """Hand a batch to other channels if this one is failing; otherwise postpone it.

        A channel's own failure is always postponed: others are notified of it anyway, and its
        delivery shows that the channel works again.
        """
        for notification, incident in batch:
            others = None
            if state.failing and incident.cause.key != channel_key(state.name):
                others = self._instead(notification, incident)
            if others is None:
                await self._incident_log.postpone(
                    notification.id, until=state.again, error=state.error
                )
            else:
                await self._incident_log.give_up(notification.id, error=state.error, instead=others)
                for name in others:
                    self._channels[name].woken.set()

    async def _readdress(self, notification: Notification, incident: Incident) -> None:
        """Hand the notifications of a channel that left cloud.yaml to others."""
        error = "the channel is no longer in cloud.yaml"
        others = self._instead(notification, incident)
        if others is None and self._channels:
            until = self._clock() + TRIES
            await self._incident_log.postpone(notification.id, until=until, error=error)
        else:
            await self._incident_log.give_up(notification.id, error=error, instead=others or ())

    def _instead(self, notification: Notification, incident: Incident) -> tuple[str, ...] | None:
        event = (incident.id, notification.event)
        return instead_of(
            self._watch,
            notification.channel,
            incident.cause.urgency,
            failing=self._failing,
            have={name for name in self._channels if (*event, name) in self._sent_events},
        )

    @property
    def _failing(self) -> set[str]:
        return {one.name for one in self._channels.values() if one.failing}

    async def _keep_up(self, state: ChannelState, sender: AlertmanagerSender) -> None:
        def lasting() -> list[Incident]:
            return [
                one
                for one in self._incident_log.open_incidents()
                if sender.knows(one) or state.name in channels_for(self._watch, one.cause.urgency)
            ]

        while True:
            try:
                await bounded(sender.repeat(lasting))
            except BackstayError as error:
                state.complaint = f"open alerts cannot be refreshed and will expire there: {error}"
            else:
                state.complaint = ""
            await asyncio.sleep(REPEAT)

    async def _remember_failures(self) -> None:
        """Restore the channels that were failing when the watch stopped; try each at once."""
        for incident in self._incident_log.open_incidents():
            if incident.cause.kind is not Kind.CHANNEL_FAILED:
                continue
            state = self._channels.get(incident.cause.key.partition(":")[2])
            if state is None:
                text = "the channel is no longer in cloud.yaml"
                await self._incident_log.close(incident, at=self._clock(), text=text)
            else:
                state.failures, state.since = TRIES, incident.began
                state.error = incident.cause.evidence[0] if incident.cause.evidence else ""
