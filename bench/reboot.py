"""A controller's reboot by Backstay against a bare ``systemctl reboot``, on the lab.

Both are watched in the same way: a client asks every API of the controller every 200 ms, a ping
goes to every instance as often. What is compared is for how long an API was out, the mean of all
APIs. In turns, in one run: ``python -m bench.reboot``.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from backstay.runbooks.common.outage_recorder import API, OutageRecorder
from bench.lab import lab_status
from bench.startup import BACKSTAY

ROUNDS = 3
HOST = "controller"
QUIET = 10.0  # seconds between a green check and the next reboot
BOUND = 900.0


def run(*arguments: str, ok: tuple[int, ...] = (0,)) -> str:
    """Run backstay and return what it printed; stop where it failed."""
    done = subprocess.run(
        [BACKSTAY, *arguments], capture_output=True, text=True, check=False, timeout=BOUND
    )
    if done.returncode not in ok:
        sys.exit(f"{arguments} failed with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def wait_green() -> None:
    """Wait until the whole cloud is well, then a little longer."""
    end = time.monotonic() + BOUND
    while subprocess.run([BACKSTAY, "check", "-q"], capture_output=True, check=False).returncode:
        if time.monotonic() > end:
            sys.exit("the lab is not green: backstay check")
        time.sleep(5)
    time.sleep(QUIET)


def watched_by_us() -> tuple[dict[str, str], dict[str, str]]:
    """Return what a reboot by Backstay watches: taken from its own last run."""
    newest = json.loads(run("runs", "list", "-o", "json"))[0]
    noted = next(step for step in newest["steps"] if step["id"] == f"{HOST}.note")["result"]
    return noted["apis"], noted["instances"]


def bare(apis: dict[str, str], instances: dict[str, str]) -> dict[str, float]:
    """Reboot the host with systemctl alone, and return for how long each API was out."""
    recorder = OutageRecorder()
    recorder.start(apis, instances)
    time.sleep(1)
    run("lab", "shell", HOST, "systemctl", "reboot")
    wait_green()
    seen = recorder.stop()
    return {one.what: one.down for one in seen if one.kind == API}


def ours() -> dict[str, float]:
    """Reboot the host with Backstay, and return for how long each API was out."""
    run("reboot", HOST, "--now", "--yes", "--reason", "bench")
    newest = json.loads(run("runs", "list", "-o", "json"))[0]
    report = next(step for step in newest["steps"] if step["id"] == f"{HOST}.report")
    return {one["what"]: one["down"] for one in report["result"]["recorded"] if one["kind"] == API}


def main() -> None:
    """Print both means and their ratio."""
    lab_status()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BACKSTAY_JOURNAL"] = f"sqlite:///{folder}/journal.db"
        found: dict[str, list[float]] = {"bare": [], "ours": []}
        for _ in range(ROUNDS):
            wait_green()
            outs = ours()
            found["ours"].append(statistics.mean(outs.values()))
            wait_green()
            apis, instances = watched_by_us()
            found["bare"].append(statistics.mean(bare(apis, instances).values()))
            print(f"  ours {found['ours'][-1]:.1f} s, bare {found['bare'][-1]:.1f} s", flush=True)
    bare_mean, our_mean = statistics.mean(found["bare"]), statistics.mean(found["ours"])
    print(f"APIs out, bare systemctl reboot: {bare_mean:.1f} s")
    print(f"APIs out, backstay reboot:       {our_mean:.1f} s")
    print(f"ratio: {our_mean / bare_mean:.2f}")


if __name__ == "__main__":
    main()
