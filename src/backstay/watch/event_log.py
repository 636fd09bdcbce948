"""What the watch writes into its log: a line for each change, as the operator would say it."""

import asyncio
from collections.abc import Callable

from backstay.watch.detect.status import SnapshotFeed
from backstay.watch.incidents.log import IncidentLog

PAUSE = 0.5


class EventLog:
    """Follows a ledger and a board, and says what is new in them."""

    def __init__(
        self, incident_log: IncidentLog, feed: SnapshotFeed, say: Callable[[str], None]
    ) -> None:
        self._ledger = incident_log
        self._feed = feed
        self._say = say
        self._known = {it.id: it for it in incident_log.open_incidents()}
        self._problems: tuple[str, ...] = ()

    async def run(self) -> None:
        """Follow for ever."""
        for one in self._known.values():
            self._say(f"{one.name} is open: {one.cause.title}")
        while True:
            self._look()
            await asyncio.sleep(PAUSE)

    def _look(self) -> None:
        now = {it.id: it for it in self._ledger.open_incidents()}
        for number, one in now.items():
            known = len(self._known[number].timeline) if number in self._known else 0
            for line in one.timeline[known:]:
                self._say(f"{one.name} {line.kind}: {line.text}")
        for number, one in self._known.items():
            if number not in now:
                self._say(f"{one.name} is over: {one.cause.title}")
        problems = self._feed.snapshot.problems
        for trouble in problems:
            if trouble not in self._problems:
                self._say(f"trouble: {trouble}")
        self._known, self._problems = now, problems
