"""The courier: delivers what is to be told, again until it is taken, by others where it must.

A telling is noted as being sent before it is, and as sent afterwards. After a crash in between
nobody knows whether it was taken: it is sent once more, with the same id, by which mail servers and
webhooks know it again. Each channel has one message under way, so its order is kept.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.watch.incidents.describe import channel_cause, channel_key
from backstay.watch.incidents.incident import Incident, Kind
from backstay.watch.incidents.log import IncidentLog, NotLeading
from backstay.watch.incidents.notification import Notification, NotificationEvent
from backstay.watch.notify.alertmanager import REPEAT
from backstay.watch.notify.channels import (
    AlertmanagerSender,
    AppriseSender,
    Approval,
    Batch,
    Sender,
    bounded,
    send_test,
    sender_for,
)
from backstay.watch.notify.routing import channels_for, instead_of, next_batch

GATHER = 0.4
"""For how many seconds a message waits for others that it could tell as well."""
TRIES = 3
"""How often a channel is tried before others are told instead."""
PATIENCE = 8.0
"""After how many seconds they are in any case: a server that hangs takes long to fail once."""
LONGEST = 300.0
"""Seconds between two attempts on a channel that has failed for long."""

_TICK = 1.0  # seconds until what is due is looked at, if nobody says that there is something
_LAST = 3.0  # seconds for what is under way when the watch is to end
_REMEMBERED = 2000  # tellings


@dataclass(slots=True, kw_only=True)
class ChannelState:
    """A channel and how it does.

    It has failed ``failures`` times in a row, ``since`` a Unix time and as of the last attempt for
    ``lasted`` seconds; it is tried ``again`` at another. ``complaint`` is what is wrong although
    messages are taken.
    """

    name: str
    way: Sender
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    failures: int = 0
    since: float = 0.0
    lasted: float = 0.0
    again: float = 0.0
    error: str = ""
    complaint: str = ""

    @property
    def failing(self) -> bool:
        """Return whether the channel has failed often or long enough to be reported."""
        return self.failures >= TRIES or self.lasted >= PATIENCE


class Notifier:
    """Delivers tellings by the channels in cloud.yaml.

    ``approval`` gives the command by which what an incident asks for is approved, with its code.
    """

    def __init__(
        self,
        cloud: Cloud,
        incident_log: IncidentLog,
        *,
        clock: Callable[[], float] = time.time,
        approval: Approval = lambda _: "",
    ) -> None:
        self._cloud, self._watch, self._incident_log, self._clock = (
            cloud,
            cloud.watch,
            incident_log,
            clock,
        )
        self._lines = {
            name: ChannelState(name=name, way=sender_for(channel, approval))
            for name, channel in cloud.watch.channels.items()
        }
        # What was sent, for the case that the journal could not be told.
        self._ids: deque[str] = deque(maxlen=_REMEMBERED)
        self._describe: deque[tuple[int, NotificationEvent, str]] = deque(maxlen=_REMEMBERED)

    @property
    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with the channels, in words."""
        lines = self._lines.values()
        said = [(one.name, one.error) for one in lines if one.failing]
        said += [(one.name, one.complaint) for one in lines if one.complaint and not one.failing]
        return tuple(f"channel {name}: {trouble}" for name, trouble in said)

    async def run(self) -> None:
        """Deliver for ever; to be cancelled. What is under way then may still come to its end."""
        await self._remember_failures()
        async with asyncio.TaskGroup() as tasks:
            for line in self._lines.values():
                tasks.create_task(self._serve(line))
                if isinstance(line.way, AlertmanagerSender):
                    tasks.create_task(self._keep_up(line, line.way))
                if isinstance(line.way, AppriseSender):
                    tasks.create_task(line.way.prepare())
            await self._look()

    async def test(self, channel: str) -> str:
        """Send a test message by a channel; return where it went. Raises BackstayError."""
        return await send_test(self._cloud, channel)

    async def _look(self) -> None:
        while True:
            for notification, incident in await self._incident_log.due(self._clock()):
                if notification.channel in self._lines:
                    self._lines[notification.channel].woken.set()
                else:
                    await self._readdress(notification, incident)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._incident_log.changed.wait()
            self._incident_log.changed.clear()

    async def _serve(self, line: ChannelState) -> None:
        while True:
            await line.woken.wait()
            line.woken.clear()
            while due := await self._due(line):
                if line.failures and self._clock() < line.again:
                    # Others are told at once: nobody waits for this one to be tried again.
                    await self._put_off(line, due)
                    break
                batch = next_batch(due, grouped=line.way.grouped)
                if line.way.grouped and not any(notification.attempts for notification, _ in batch):
                    await asyncio.sleep(GATHER)
                    batch = next_batch(await self._due(line), grouped=True)
                if batch:
                    await self._deliver(line, batch)

    async def _due(self, line: ChannelState) -> list[tuple[Notification, Incident]]:
        """Return what is due, without what this process has sent already."""
        fresh = []
        for notification, incident in await self._incident_log.due(self._clock()):
            if notification.channel != line.name:
                continue
            once = notification.event in {NotificationEvent.OPENED, NotificationEvent.RESOLVED}
            known = (incident.id, notification.event, line.name) in self._describe
            if notification.id in self._ids or (once and known):
                await self._incident_log.sent(notification.id, at=self._clock())
            else:
                fresh.append((notification, incident))
        return fresh

    async def _deliver(self, line: ChannelState, batch: Batch) -> None:
        for notification, _ in batch:
            try:
                await self._incident_log.sending(notification.id)
            except NotLeading:  # another process leads now, and tells all of this
                return
        began = self._clock()
        attempt = asyncio.ensure_future(self._attempt(line, batch))
        try:
            await asyncio.shield(attempt)
        except asyncio.CancelledError:
            await self._let_end(attempt, batch)
            raise
        except BackstayError as error:
            await self._failed(line, batch, error, began)
        else:
            await self._works(line)

    async def _let_end(self, attempt: "asyncio.Future[None]", batch: Batch) -> None:
        """Give what is under way a moment: what is taken and noted need not be sent again."""
        try:
            async with asyncio.timeout(_LAST):
                await attempt
        except (BackstayError, TimeoutError):
            for notification, _ in batch:
                await self._incident_log.postpone(
                    notification.id, until=self._clock(), error="the watch ended meanwhile"
                )

    async def _attempt(self, line: ChannelState, batch: Batch) -> None:
        line.complaint = await bounded(line.way.send(batch))
        # The first, whose id the message has, is noted last: see grouping.next_batch.
        for notification, incident in reversed(batch):
            self._ids.append(notification.id)
            self._describe.append((incident.id, notification.event, line.name))
            await self._incident_log.sent(notification.id, at=self._clock())

    async def _failed(
        self, line: ChannelState, batch: Batch, error: BackstayError, began: float
    ) -> None:
        now = self._clock()
        line.since = line.since if line.failures else began
        line.lasted = now - line.since
        line.failures += 1
        line.error = str(error)
        line.again = now + min(LONGEST, 2.0 ** min(line.failures - 1, 16))
        await self._put_off(line, batch)
        if line.failing:
            cause = channel_cause(
                self._cloud, line.name, str(error), error.remedy, failing=self._failing
            )
            await self._incident_log.open(cause, began=line.since, at=now)

    async def _works(self, line: ChannelState) -> None:
        line.failures, line.lasted, line.error = 0, 0.0, ""
        for incident in self._incident_log.open_incidents():
            if incident.cause.key == channel_key(line.name):
                text = f"channel {line.name} takes messages again"
                await self._incident_log.close(incident, at=self._clock(), text=text)

    async def _put_off(self, line: ChannelState, batch: Batch) -> None:
        """Have others tell it, where the channel is failing; else, or if nobody can, wait.

        A channel's own failure waits in any case: others are told of it anyway, and its arrival is
        what shows that the channel works again.
        """
        for notification, incident in batch:
            others = None
            if line.failing and incident.cause.key != channel_key(line.name):
                others = self._instead(notification, incident)
            if others is None:
                await self._incident_log.postpone(
                    notification.id, until=line.again, error=line.error
                )
            else:
                await self._incident_log.give_up(notification.id, error=line.error, instead=others)
                for name in others:
                    self._lines[name].woken.set()

    async def _readdress(self, notification: Notification, incident: Incident) -> None:
        """Have others tell what a channel was to that is no longer in cloud.yaml."""
        error = "the channel is no longer in cloud.yaml"
        others = self._instead(notification, incident)
        if others is None and self._lines:
            until = self._clock() + TRIES
            await self._incident_log.postpone(notification.id, until=until, error=error)
        else:
            await self._incident_log.give_up(notification.id, error=error, instead=others or ())

    def _instead(self, notification: Notification, incident: Incident) -> tuple[str, ...] | None:
        told = (incident.id, notification.event)
        return instead_of(
            self._watch,
            notification.channel,
            incident.cause.urgency,
            failing=self._failing,
            have={name for name in self._lines if (*told, name) in self._describe},
        )

    @property
    def _failing(self) -> set[str]:
        return {one.name for one in self._lines.values() if one.failing}

    async def _keep_up(self, line: ChannelState, way: AlertmanagerSender) -> None:
        def lasting() -> list[Incident]:
            return [
                one
                for one in self._incident_log.open_incidents()
                if way.knows(one) or line.name in channels_for(self._watch, one.cause.urgency)
            ]

        while True:
            try:
                await bounded(way.repeat(lasting))
            except BackstayError as error:
                line.complaint = f"what is open cannot be repeated, and looks over there: {error}"
            else:
                line.complaint = ""
            await asyncio.sleep(REPEAT)

    async def _remember_failures(self) -> None:
        """Take up the channels that had failed when the watch ended; try each at once."""
        for incident in self._incident_log.open_incidents():
            if incident.cause.kind is not Kind.CHANNEL_FAILED:
                continue
            line = self._lines.get(incident.cause.key.partition(":")[2])
            if line is None:
                text = "the channel is no longer in cloud.yaml"
                await self._incident_log.close(incident, at=self._clock(), text=text)
            else:
                line.failures, line.since = TRIES, incident.began
                line.error = incident.cause.evidence[0] if incident.cause.evidence else ""
