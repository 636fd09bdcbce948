"""Hosts that do not answer: looked at from everywhere before any of them is called down."""

import time
from collections.abc import Awaitable, Callable

from backstay.watch.detect.corroborate import Corroborator
from backstay.watch.detect.corroboration import Corroboration
from backstay.watch.detect.probe import Outcome, ProbeResult
from backstay.watch.detect.status import State
from backstay.watch.detect.topology import HOST, host_subject
from backstay.watch.detect.tracker import StateTracker
from backstay.watch.incidents.incident import Kind

SOON = 0.5
AGAIN = 10.0
"""Seconds between two looks at a host: a silent one, and one that hangs or is down already.

What was dead may prove to be off; and a look at a host that hangs costs it something.
"""
SAID = 6
"""So many looks in a row must say that a host is better than it was called."""
WATCHED = {State.SUSPECT, State.DOWN}

_WORSE = (Kind.HOST_UNREACHABLE, Kind.MONITORING_HOST_ISOLATED, Kind.HOST_DEAD, Kind.HOST_OFF)

Aside = Callable[[str, Callable[[], Awaitable[None]]], None]


class Suspects:
    """Looks at suspects. ``words`` are what was found of those that are not up, by host."""

    def __init__(self, tracking: StateTracker, confirming: Corroborator, aside: Aside) -> None:
        self.tracking = tracking
        self.confirming = confirming
        self.words: dict[str, Corroboration] = {}
        self._aside = aside
        self._looked: dict[str, float] = {}
        self._said: dict[str, tuple[Kind | None, int]] = {}

    def look(self) -> None:
        """Begin to look at hosts that are suspect, and again at those that are down."""
        for track in list(self.tracking.tracks.values()):
            host = track.subject.host
            if track.subject.service != HOST:
                continue
            if track.state is State.UP:
                self.words.pop(host, None)
                self._said.pop(host, None)
            soon = track.state is State.SUSPECT and track.look is not Outcome.LATE
            pause = SOON if soon else AGAIN if track.state in WATCHED else None
            if pause is not None and time.monotonic() - self._looked.get(host, 0.0) >= pause:
                self._aside(f"looking at {host}", lambda host=host: self._confirm(host))  # type: ignore[misc]

    async def _confirm(self, host: str) -> None:
        """Look at one host from everywhere, and take what is found as a sign."""
        key = host_subject(host).key
        if self.tracking.tracks[key].look is Outcome.LATE:
            word = await self.confirming.whole(host)
        else:
            word = await self.confirming.quick(host, self._unreached() - {host})
        self._looked[host] = time.monotonic()
        track = self.tracking.tracks[key]
        if word.kind is None or track.state not in WATCHED:
            return
        if not self._believed(host, word):
            return
        self.words[host] = word
        sure = ProbeResult(
            subject=track.subject, look=track.look, evidence=word.reason, at=time.time(), sure=True
        )
        self.tracking.take(sure)
        self.tracking.changed.set()

    def _believed(self, host: str, word: Corroboration) -> bool:
        """Say whether a word counts: a worse one at once, another when it has been said for long.

        A host that comes back is seen by some while its BMC still calls it off.
        """
        old = self.words.get(host)
        if old is None or word.kind is old.kind or _rank(word.kind) > _rank(old.kind):
            self._said.pop(host, None)
            return True
        kind, times = self._said.get(host, (word.kind, 0))
        self._said[host] = (word.kind, times + 1 if kind is word.kind else 1)
        return self._said[host][1] >= SAID

    def _unreached(self) -> set[str]:
        return {
            track.subject.host
            for track in self.tracking.tracks.values()
            if track.subject.service == HOST and track.look is Outcome.SILENT and track.bad
        }


def _rank(kind: Kind | None) -> int:
    """Return how sure a kind is that the host is gone."""
    return _WORSE.index(kind) if kind in _WORSE else -1
