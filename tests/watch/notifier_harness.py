"""A notifier at work with a journal of its own, for tests and for one that is killed."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from backstay.watch.incidents.incident import Cause, Incident
from backstay.watch.incidents.log import IncidentLog
from backstay.watch.incidents.store import WatchStore
from backstay.watch.notify.notifier import Notifier
from backstay.watch.notify.routing import channels_for
from tests.watch.causes import MARIADB, cloud_with


def cause(name: str, of: Cause = MARIADB) -> Cause:
    return replace(of, key=f"{of.kind}:{name}", title=f"{name} does not answer")


async def opened(incident_log: IncidentLog, *causes: Cause) -> list[Incident]:
    now = time.time()
    return [await incident_log.open(one, began=now - 1, at=now) for one in causes]


@asynccontextmanager
async def courier_of(
    journal: Path, channels: dict[str, Any]
) -> AsyncIterator[tuple[IncidentLog, Notifier]]:
    """Run a notifier until the end of the block, as the watch does."""
    cloud = cloud_with(channels)
    store = WatchStore(f"sqlite:///{journal}", "lab", busy=1.0)
    incident_log = IncidentLog(store, channels=partial(channels_for, cloud.watch), keep=1e6)
    await incident_log.start()
    notifier = Notifier(cloud, incident_log)
    running = asyncio.create_task(notifier.run())
    try:
        yield incident_log, notifier
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        store.close_database()


async def until(condition: Callable[[], object], bound: float = 15.0) -> None:
    """Wait for something to become so."""
    async with asyncio.timeout(bound):
        while not condition():  # noqa: ASYNC110 - of receivers on threads, and of the journal
            await asyncio.sleep(0.02)


def unsent(journal: Path) -> list[str]:
    """Return the ids of what is still to be told, as the journal has it."""
    store = WatchStore(f"sqlite:///{journal}", "lab")
    try:
        return [one.id for one in store.notifications(unsent=True)]
    finally:
        store.close_database()


async def _forever(journal: Path, channels: dict[str, Any], names: list[str]) -> None:
    async with courier_of(journal, channels) as (incident_log, _):
        await opened(incident_log, *(cause(name) for name in names))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_forever(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]))
