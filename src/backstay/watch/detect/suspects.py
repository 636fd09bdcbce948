"""Suspect hosts: confirmed by witnesses before any of them counts as down."""

import time
from collections.abc import Awaitable, Callable

from backstay.watch.detect.corroboration import Corroboration, Corroborator
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


class SuspectHosts:
    """Confirms suspects; ``corroborations`` has what was found of those that are not up."""

    def __init__(self, tracker: StateTracker, corroborator: Corroborator, aside: Aside) -> None:
        self.tracker = tracker
        self.corroborator = corroborator
        self.corroborations: dict[str, Corroboration] = {}
        self._aside = aside
        self._looked: dict[str, float] = {}
        self._said: dict[str, tuple[Kind | None, int]] = {}

    def confirm_suspects(self) -> None:
        """Begin to look at hosts that are suspect, and again at those that are down."""
        for target in list(self.tracker.targets.values()):
            host = target.subject.host
            if target.subject.service != HOST:
                continue
            if target.state is State.UP:
                self.corroborations.pop(host, None)
                self._said.pop(host, None)
            soon = target.state is State.SUSPECT and target.outcome is not Outcome.LATE
            pause = SOON if soon else AGAIN if target.state in WATCHED else None
            if pause is not None and time.monotonic() - self._looked.get(host, 0.0) >= pause:
                self._aside(f"looking at {host}", lambda host=host: self._confirm(host))  # type: ignore[misc]

    async def _confirm(self, host: str) -> None:
        """Look at one host from everywhere, and take what is found as a sign."""
        key = host_subject(host).key
        if self.tracker.targets[key].outcome is Outcome.LATE:
            corroboration = await self.corroborator.whole(host)
        else:
            corroboration = await self.corroborator.quick(host, self._unreached() - {host})
        self._looked[host] = time.monotonic()
        target = self.tracker.targets[key]
        if corroboration.kind is None or target.state not in WATCHED:
            return
        if not self._believed(host, corroboration):
            return
        self.corroborations[host] = corroboration
        sure = ProbeResult(
            subject=target.subject,
            outcome=target.outcome,
            evidence=corroboration.reason,
            at=time.time(),
            sure=True,
        )
        self.tracker.take(sure)
        self.tracker.changed.set()

    def _believed(self, host: str, corroboration: Corroboration) -> bool:
        """Return whether a corroboration counts: a worse one at once, a better one when repeated.

        A host that comes back is seen by some while its BMC still calls it off.
        """
        old = self.corroborations.get(host)
        if (
            old is None
            or corroboration.kind is old.kind
            or _rank(corroboration.kind) > _rank(old.kind)
        ):
            self._said.pop(host, None)
            return True
        kind, times = self._said.get(host, (corroboration.kind, 0))
        self._said[host] = (corroboration.kind, times + 1 if kind is corroboration.kind else 1)
        return self._said[host][1] >= SAID

    def _unreached(self) -> set[str]:
        return {
            target.subject.host
            for target in self.tracker.targets.values()
            if target.subject.service == HOST and target.outcome is Outcome.SILENT and target.bad
        }


def _rank(kind: Kind | None) -> int:
    """Return how sure a kind is that the host is gone."""
    return _WORSE.index(kind) if kind in _WORSE else -1
