"""``backstay backup`` of a database against the operations guide's script, on the same data.

The guide's: ``mysqldump --opt --all-databases | gzip`` on the host, the file kept here, and back by
``gunzip | mysql``. Both go over SSH between this machine and the lab's controller, to and from a
MariaDB server beside the cloud's own, with about 1 GB in 8 databases like OpenStack's. Both are run
in one run, in turns: ``python -m bench.backup``.
"""

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import aclosing
from pathlib import Path

from backstay.access.shipping import reading, stream
from backstay.backup.mariadb import onhost_restore
from backstay.inventory.load import load
from backstay.transports.restic import Restic
from backstay.transports.ssh import HostShell
from backstay.transports.targets import SshTarget
from bench.backup_host import DATA, HOME, BenchHost
from bench.onhost_bench import send_database_of

ROUNDS = 3
SILENCE = 300.0
NAME = "database.mbstream"

Seconds = dict[str, float]


class Pieces:
    """Times the pieces of something, one after another."""

    def __init__(self) -> None:
        self.seconds: Seconds = {}
        self._begun = time.perf_counter()

    def done(self, piece: str) -> None:
        """End a piece: the next one begins."""
        now = time.perf_counter()
        self.seconds[piece] = now - self._begun
        self._begun = now


def guide_backup(host: BenchHost, folder: Path) -> Seconds:
    """Back up as the guide does."""
    pieces = Pieces()
    with (folder / "guide.sql.gz").open("wb") as kept:
        host.run("mysqldump --opt --all-databases | gzip", kept=kept)
    pieces.done("all")
    return pieces.seconds


def guide_restore(host: BenchHost, folder: Path) -> Seconds:
    """Restore as the guide does, into the running server."""
    pieces = Pieces()
    with (folder / "guide.sql.gz").open("rb") as kept:
        host.run("gunzip | mysql", given=kept)
    pieces.done("all")
    return pieces.seconds


async def our_backup(host: BenchHost, restic: Restic) -> tuple[Seconds, str]:
    """Back up as ``backup create`` does; return also the snapshot."""
    target = target_of(host)
    script = stream(send_database_of, HOME)
    async with HostShell() as shell:
        pieces = Pieces()
        async with restic.receiving(NAME, host="controller", tags=["bench"]) as (send, found):
            await shell.stream(target, script, send, silence=SILENCE)
        pieces.done("all")
    return pieces.seconds, found[NAME].id


async def our_restore(host: BenchHost, restic: Restic, snapshot: str) -> Seconds:
    """Restore as ``backup restore`` does a verified backup: made on the host, and swapped in."""
    target, folder = target_of(host), host.new_folder()
    pieces = Pieces()
    async with HostShell() as shell:
        script = reading(onhost_restore.fill, folder, "mysql")
        async with aclosing(restic.content(snapshot, f"/{NAME}", silence=SILENCE)) as data:
            await shell.send(target, script, data, silence=SILENCE)
    pieces.done("make")
    host.stop()
    host.run(f"mv {DATA} {HOME}/old; mv {folder} {DATA}")
    host.start()
    pieces.done("swap")
    return pieces.seconds


def target_of(host: BenchHost) -> SshTarget:
    """Return the controller as Backstay reaches it."""
    cloud = load(host.cloud_file)
    return cloud.ssh_target(cloud.hosts["controller"])


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


async def measure(host: BenchHost, folder: Path, rounds: int) -> None:
    """Run both ways in turns, and print their ratios."""
    password = folder / "password"
    password.write_text("bench")
    found: dict[str, list[Seconds]] = defaultdict(list)
    sizes: list[int] = []
    before = host.digest()
    for number in range(rounds):
        found["guide's backup"].append(guide_backup(host, folder))
        repository = folder / "repository"  # a new one each time: a first backup has all to store
        shutil.rmtree(repository, ignore_errors=True)
        restic = Restic(str(repository), password, folder / "cache")
        await restic.open()
        seconds, snapshot = await our_backup(host, restic)
        found["our backup"].append(seconds)
        sizes.append(size_of(repository))
        if number == 0:
            await our_backup(host, restic)
            again = size_of(repository) - sizes[0]
        host.empty()
        found["guide's restore"].append(guide_restore(host, folder))
        if host.digest() != before:
            sys.exit("the guide's restore brought other data")
        host.empty()
        found["our restore"].append(await our_restore(host, restic, snapshot))
        if host.digest() != before:
            sys.exit("our restore brought other data")
        for what, runs in found.items():
            pieces = ", ".join(f"{name} {taken:.1f}" for name, taken in runs[-1].items())
            print(f"  {what}: {sum(runs[-1].values()):.1f} s ({pieces})", flush=True)
    whole = {
        what: statistics.median(sum(one.values()) for one in runs) for what, runs in found.items()
    }
    guide = (folder / "guide.sql.gz").stat().st_size
    ours = statistics.median(sizes)
    for what in ("backup", "restore"):
        theirs, mine = whole[f"guide's {what}"], whole[f"our {what}"]
        faster = f"{theirs / mine:.1f} times faster"
        print(f"{what}: guide's {theirs:.1f} s, ours {mine:.1f} s, {faster}")
    print(f"size: guide's {guide / 1e6:.0f} MB, ours {ours / 1e6:.0f} MB, {ours / guide:.2f} times")
    print(f"a second one adds: guide's {guide / 1e6:.0f} MB, ours {again / 1e6:.0f} MB")


def main() -> None:
    """Make the data, measure, and take everything away again."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--size", type=float, default=1.0, help="1 is about 1 GB")
    options.add_argument("--rounds", type=int, default=ROUNDS)
    options.add_argument("--folder", type=Path, help="where backups are kept meanwhile")
    chosen = options.parse_args()
    host = BenchHost()
    try:
        host.empty()
        host.fill(chosen.size)
        print(f"{host.rows() / 1e6:.1f} million rows", flush=True)
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            asyncio.run(measure(host, Path(folder), chosen.rounds))
    finally:
        host.remove()


if __name__ == "__main__":
    main()
