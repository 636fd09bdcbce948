"""``backstay watch`` over time: its memory, its processor time, and how quick its page is.

On the lab: ``python -m bench.watch_soak [SECONDS]``, an hour if not said. The page is asked once a
second as a browser would, and the metrics every 15 seconds as Prometheus would. Memory is the
median of the second tenth of the time beside that of the last.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml import YAML

from bench.lab import lab_cloud_file
from bench.startup import BACKSTAY

HOUR = 3600
PORT = 8492
PAGE = f"http://127.0.0.1:{PORT}/"
READY_BOUND = 60.0


@contextmanager
def cloud_file() -> Iterator[Path]:
    """Give the lab's cloud.yaml with a page on a port of the benchmark's own."""
    lab = lab_cloud_file()
    yaml = YAML(typ="safe")
    described = yaml.load(lab)
    described["watch"] = {"page": {"listen": f"127.0.0.1:{PORT}"}}
    file = lab.with_name("bench-watch.yaml")
    yaml.dump(described, file)
    try:
        yield file
    finally:
        file.unlink()


@contextmanager
def watch(cloud: Path, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a watch with a journal of its own."""
    own = {
        "BACKSTAY_JOURNAL": f"sqlite:///{folder}/journal.db",
        "BACKSTAY_LOCKS": f"file://{folder}/locks",
    }
    process = subprocess.Popen(
        [BACKSTAY, "watch", "run", "--cloud", cloud],
        stdout=subprocess.DEVNULL,
        env=os.environ | own,
        stdin=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=20)


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB: proc_pid_status(5)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    sys.exit("the watch has ended")


def used(pid: int) -> float:
    """Return the processor time of a process in seconds: proc_pid_stat(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def asked(url: str) -> float:
    """Ask for a page and return how long it took, in milliseconds."""
    started = time.monotonic()
    with urllib.request.urlopen(url, timeout=10) as answer:
        answer.read()
    return (time.monotonic() - started) * 1000


def wait_ready(process: "subprocess.Popen[bytes]") -> None:
    """Wait until its page answers."""
    end = time.monotonic() + READY_BOUND
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            asked(PAGE)
            return
        time.sleep(0.2)
    sys.exit(f"the watch's page does not answer within {READY_BOUND:g} s")


def soak(process: "subprocess.Popen[bytes]", seconds: float) -> float:
    """Look at it for some time, print what was seen, return how many times its memory it has."""
    memory, pages = [], []
    started, before = time.monotonic(), used(process.pid)
    for second in range(int(seconds)):
        pages.append(asked(PAGE))
        if second % 15 == 0:
            asked(f"{PAGE}metrics")
        memory.append(resident(process.pid))
        time.sleep(max(0.0, started + second + 1 - time.monotonic()))
    share = (used(process.pid) - before) / (time.monotonic() - started)
    tenth = max(1, len(memory) // 10)
    first, last = statistics.median(memory[tenth : 2 * tenth]), statistics.median(memory[-tenth:])
    pages.sort()
    print(
        f"watch over {seconds / 60:.0f} min: memory {first:.0f} MiB, at the end {last:.0f} MiB "
        f"({last / first:.3f} times); {100 * share:.0f} % of one core; page: median "
        f"{statistics.median(pages):.0f} ms, 95 of 100 within {pages[len(pages) * 95 // 100]:.0f} "
        f"ms, longest {pages[-1]:.0f} ms",
        flush=True,
    )
    return last / first


def main(arguments: Sequence[str] | None = None) -> None:
    """Soak."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("seconds", nargs="?", type=float, default=HOUR)
    chosen = options.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory() as folder,
        cloud_file() as cloud,
        watch(cloud, Path(folder)) as process,
    ):
        wait_ready(process)
        soak(process, chosen.seconds)


if __name__ == "__main__":
    main()
