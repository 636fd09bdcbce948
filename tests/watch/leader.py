"""A watch that only leads, reports one incident and keeps notifying: for test_leading."""

import asyncio
import sys
import time
from dataclasses import replace

from backstay.watch.election import lead
from backstay.watch.incidents.log import IncidentLog, NotLeading
from backstay.watch.incidents.store import WatchStore
from tests.watch.causes import CAUSE


async def main(locks: str, journal: str) -> None:
    async def waits(why: str) -> None:
        print(f"waits {why}", flush=True)

    async with lead(locks, "watch/lab", waits=waits) as mine:
        incident_log = IncidentLog(
            WatchStore(journal, "lab", busy=1), channels=lambda _: ["mail"], keep=1e9
        )
        await incident_log.start()
        print("leads", flush=True)
        work = asyncio.ensure_future(incident_log.run())
        for number in range(1_000_000):
            await mine.check()
            await incident_log.open(
                replace(CAUSE, key=str(number)), began=time.time(), at=time.time()
            )
            await incident_log.open(
                replace(CAUSE, key="the same"), began=time.time(), at=time.time()
            )
            for notification, incident in await incident_log.due(time.time()):
                try:
                    await incident_log.sending(notification.id)
                except NotLeading:
                    print("fenced", flush=True)
                    work.cancel()
                    return
                print(f"tells {incident.cause.key}", flush=True)
                await incident_log.sent(notification.id, at=time.time())
            if mine.doubt:
                print(f"doubts {mine.doubt}", flush=True)
            print("pauses", flush=True)
            await asyncio.sleep(0.3)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
