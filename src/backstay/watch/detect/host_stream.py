"""Status streams: one SSH channel to each host, on which a line arrives every second."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from backstay.access.session import RemoteShell
from backstay.access.shipping import source_of, stream
from backstay.answers import MOST_BYTES, BadAnswer, clean, part
from backstay.errors import AnswerTooLong, HostError, HostUnreachable, RemoteFailure
from backstay.health.judge_host import required
from backstay.health.read_hosts import unit_names
from backstay.inventory.cloud import Cloud
from backstay.services.declaration import Broker, Service
from backstay.watch.detect.host_answers import (
    HostAnswer,
    HostProbes,
    probe_results,
    read_line,
    unknown_results,
)
from backstay.watch.detect.lines import LINE, LineReader
from backstay.watch.detect.onhost import watch_host
from backstay.watch.detect.probe import ProbeResult
from backstay.watch.detect.topology import watched_hosts

LASTS = 3600.0
"""Seconds after which the program on a host is restarted, so that nothing accumulates."""
SILENCE = 10.0
PAUSE = 1.0
PAUSE_AFTER_NONSENSE = 30.0
"""Seconds until a host is asked again whose lines are none: it may go on like that."""
POLL = "broker"


class LineHandler(Protocol):
    """Handles a line: the host, its probe results, and the broker's answer if it is new.

    That is of the type that its declaration says, None where there is no new one.
    """

    def __call__(self, host: str, found: Sequence[ProbeResult], polled: Any) -> None:  # noqa: ANN401
        """Take them."""


class HostStream:
    """Streams the status of one host. ``heard`` is when its last line arrived (monotonic), or None.

    ``trouble`` is why none comes, empty while they do; ``refused`` tells that the host is there and
    lets nobody in, or cannot run what it was sent; ``nonsense`` that what it sends are no lines.
    """

    def __init__(
        self,
        watched: HostProbes,
        broker: Broker | None,
        cloud: Cloud,
        shell: RemoteShell,
        take: LineHandler,
    ) -> None:
        self.watched = watched
        self.broker = broker
        self.cloud = cloud
        self.shell = shell
        self.take = take
        units = unit_names([unit for _, unit in watched.units])
        questions = [probe.name for _, probe in watched.probes]
        self.reported = HostAnswer(asked=frozenset((*units, *questions, POLL)))
        self.heard: float | None = None
        self.trouble = "not asked yet"
        self.refused = self.nonsense = self.unasked = False
        names = cloud.host_names()
        self._name_of: Callable[[str], str] = lambda address: names.host_of(address) or ""
        self._polled: float | None = None
        # The broker's host tells all queues of the cloud in one line.
        self._longest = LINE if broker is None else MOST_BYTES
        self._lines = LineReader(longest=self._longest, every=cloud.watch.every)

    @property
    def excuse(self) -> str:
        """Return why answers of this host may be late, empty where nothing is known."""
        if self.reported.lag > 0.5:
            return f"the host is overloaded: its status lines are {self.reported.lag:.1f} s late"
        if self.reported.waits is not None and self.reported.waits > 0.5:
            return f"processes waited for its CPUs {self.reported.waits:.0%} of the time"
        return ""

    async def run(self) -> None:
        """Stream forever; reconnect after each failure."""
        host = self.cloud.hosts[self.watched.host]
        target, script = self.cloud.ssh_target(host), self._script()
        while True:
            self._lines.clear()
            self.reported.numbers, pause = {}, PAUSE
            try:
                said = await self.shell.stream(target, script, self._receive, silence=SILENCE)
                self.trouble = clean(said.strip()[-200:])
                self.refused = self.unasked = False
            except _Nonsense as error:
                self.trouble, pause = error.came_back, PAUSE_AFTER_NONSENSE
                self.refused, self.nonsense, self.unasked = True, True, False
                found = unknown_results(self.watched, error.came_back, time.time())
                self.take(self.watched.host, found, None)
            except HostError as error:
                if isinstance(error, AnswerTooLong):
                    pause = PAUSE_AFTER_NONSENSE
                self.trouble = error.came_back
                self.unasked = error.elsewhere
                self.refused = not (error.elsewhere or isinstance(error, HostUnreachable))
            await asyncio.sleep(pause)

    def _script(self) -> str:
        watch = self.cloud.watch
        asked = [
            [one.name, max(one.every, watch.every), one.bound, source_of(one.ask), one.ask.__name__]
            for _, one in self.watched.probes
        ]
        if self.broker is not None:
            poll = self.broker.poll
            asked.append([POLL, watch.agents, 10.0, source_of(poll), poll.__name__])
        spec = {
            "units": unit_names([unit for _, unit in self.watched.units]),
            "probes": asked,
            "every": watch.every,
            "lasts": LASTS,
        }
        return stream(watch_host, spec)

    async def _receive(self, data: bytes) -> None:
        now = time.monotonic()
        try:
            lines = self._lines.feed(data, now=now)
            for line in lines:
                self.reported.take(read_line(line, most=self._longest))
        except BadAnswer as error:
            raise _Nonsense(
                f"reading the status lines of {self.watched.host}",
                came_back=f"what it sends is no status line: {error}",
                remedy=f"backstay check {self.watched.host}",
            ) from error
        if lines:
            self.heard, self.trouble = now, ""
            self.refused = self.nonsense = self.unasked = False
            found = probe_results(self.watched, self.reported, time.time(), self._name_of)
            self.take(self.watched.host, found, self._new_poll())

    def _new_poll(self) -> Any:  # noqa: ANN401 - of the broker's own type
        """Return the broker's answer if there is a new one that can be read; the check tells why.

        It is the largest part of a line, and not kept.
        """
        polled = self.reported.answers.pop(POLL, None)
        if polled is None or self.broker is None or polled.number == self._polled:
            return None
        self._polled = polled.number
        try:
            return part(self.broker.returns, polled.said) if polled.ended == "ok" else None
        except BadAnswer:
            return None


class _Nonsense(RemoteFailure):
    """What a host sends are no status lines."""


def streams(
    cloud: Cloud, services: Sequence[Service], shell: RemoteShell, take: LineHandler
) -> dict[str, HostStream]:
    """Return a stream for each host that runs anything."""
    found = {}
    for host in watched_hosts(cloud):
        mine = [service for service in services if cloud.has_service(service.name, host)]
        watched = HostProbes(
            host=host.name,
            units=required(cloud, host, services),
            probes=tuple(
                (service.name, probe)
                for service in mine
                for probe in service.host_liveness
                if set(probe.roles) & set(host.roles)
            ),
        )
        broker = next((s.broker for s in mine if s.broker and s.broker.role in host.roles), None)
        if watched.units or watched.probes:
            found[host.name] = HostStream(watched, broker, cloud, shell, take)
    return found
