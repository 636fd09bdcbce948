"""Hosts that do not answer: looked at from everywhere before any of them is called down."""

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from backstay.monitor.confirming import Confirming
from backstay.monitor.sign import Look, Sign
from backstay.monitor.standing import State
from backstay.monitor.topology import HOST, host_subject
from backstay.monitor.tracking import Tracking

if TYPE_CHECKING:
    from backstay.monitor.confirmed import HostWord

SOON = 0.5
AGAIN = 10.0
"""Seconds between two looks at a host: a silent one, and one that hangs or is down already.

What was dead may prove to be off; and a look at a host that hangs costs it something.
"""
WATCHED = {State.SUSPECT, State.DOWN}

Aside = Callable[[str, Callable[[], Awaitable[None]]], None]


class Suspects:
    """Looks at suspects. ``words`` are what was found of those that are not up, by host."""

    def __init__(self, tracking: Tracking, confirming: Confirming, aside: Aside) -> None:
        self.tracking = tracking
        self.confirming = confirming
        self.words: dict[str, HostWord] = {}
        self._aside = aside
        self._looked: dict[str, float] = {}

    def look(self) -> None:
        """Begin to look at hosts that are suspect, and again at those that are down."""
        for track in list(self.tracking.tracks.values()):
            host = track.subject.host
            if track.subject.service != HOST:
                continue
            if track.state is State.UP:
                self.words.pop(host, None)
            soon = track.state is State.SUSPECT and track.look is not Look.LATE
            pause = SOON if soon else AGAIN if track.state in WATCHED else None
            if pause is not None and time.monotonic() - self._looked.get(host, 0.0) >= pause:
                self._aside(f"looking at {host}", lambda host=host: self._confirm(host))  # type: ignore[misc]

    async def _confirm(self, host: str) -> None:
        """Look at one host from everywhere, and take what is found as a sign."""
        key = host_subject(host).key
        if self.tracking.tracks[key].look is Look.LATE:
            word = await self.confirming.whole(host)
        else:
            word = await self.confirming.quick(host, self._unreached() - {host})
        self._looked[host] = time.monotonic()
        track = self.tracking.tracks[key]
        if word.kind is None or track.state not in WATCHED:
            return
        self.words[host] = word
        sure = Sign(
            subject=track.subject, look=track.look, evidence=word.reason, at=time.time(), sure=True
        )
        self.tracking.take(sure)
        self.tracking.changed.set()

    def _unreached(self) -> set[str]:
        return {
            track.subject.host
            for track in self.tracking.tracks.values()
            if track.subject.service == HOST and track.look is Look.SILENT and track.bad
        }
