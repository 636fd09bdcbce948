"""The page in a process of its own, as the watch serves it, beside a loop that must keep its time.

Run as a module: FOLDER PORT FILES. It prints a line of JSON with what it measured for each line
that it reads, and ends at the end of its input.
"""

import asyncio
import json
import os
import resource
import sys
import time
from pathlib import Path

from backstay.watch.web.app import make_app
from backstay.watch.web.server import serve
from tests.watch.web.fake_cloud import FakeCloud, with_people

EVERY = 0.02


class Rhythm:
    """How late a task is that wants to run every 20 ms: what the watch's probes would notice."""

    def __init__(self) -> None:
        self.late: list[float] = []

    async def run(self) -> None:
        while True:
            due = time.monotonic() + EVERY
            await asyncio.sleep(EVERY)
            self.late.append(time.monotonic() - due)

    def take(self) -> dict[str, float]:
        late, self.late = sorted(self.late), []
        if not late:
            return {"most": 0.0, "usual": 0.0}
        return {"most": late[-1], "usual": late[len(late) * 99 // 100]}


def peak_mib() -> float:
    """Return the most memory that this program has taken. ru_maxrss has that of its parent too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


async def main(folder: Path, port: int, files: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    given = with_people(f"127.0.0.1:{port}")
    given |= {"certificate": str(folder / "page.pem"), "key": str(folder / "page.key")}
    fake = FakeCloud(folder, given)
    app = make_app(feed=fake.feed, store=fake.store, journal=fake.journal, cloud=fake.cloud)
    rhythm = Rhythm()
    work = [asyncio.create_task(serve(app, fake.cloud.watch.page))]
    work.append(asyncio.create_task(rhythm.run()))
    loop = asyncio.get_running_loop()
    asked = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    while await asked.readline():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        said = {
            "late": rhythm.take(),
            "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - it is no disk
            "mib": peak_mib(),
            "cpu": usage.ru_utime + usage.ru_stime,
        }
        print(json.dumps(said), flush=True)
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
