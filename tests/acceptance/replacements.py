"""What the stories of `backstay replace` share: commands, the lab as built, who answers."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backstay.access.shipping import source_of
from backstay.inventory.load import load
from backstay.journal.store import Store
from backstay.runbooks.replace.onhost import others_at
from backstay.transports.bmc import power_of
from backstay_lab.hosts import LabHost
from backstay_lab.layout import MANAGEMENT_INTERFACE
from backstay_lab.state import opened
from tests.acceptance.background_load import again_and_again
from tests.acceptance.conftest import Lab

COMPUTE = "compute1"
FENCED = "fenced host"


def as_built(lab: Lab) -> None:
    """Give the spare a bare disk, and then the lost hosts their own place again."""
    lab.backstay("lab", "heal", ok=False)
    lab.backstay("lab", "break", "dead-board", "spare1")
    lab.backstay("lab", "new-board", "spare1", bound=600)
    shown = json.loads(lab.backstay("lab", "status", "-o", "json").stdout)
    for host in [one["name"] for one in shown["hosts"] if one["power"] == "off"]:
        lab.backstay("lab", "break", "dead-board", host)
        lab.backstay("lab", "new-board", host, bound=600)
    lab.wait_green()


def board(lab: Lab, host: str, what: str) -> Any:
    """Ask a host's board, as its button would."""
    described = load(lab.cloud_file)
    found = described.hosts.get(host) or described.fenced[host]
    assert found.bmc is not None
    return asyncio.run(getattr(power_of(found.bmc.target(host)), what)())


def command(cloud: Path, host: str) -> list[str]:
    return ["replace", host, "--with", "spare1", "--yes", "--cloud", str(cloud)]


def replace(lab: Lab, cloud: Path, host: str, *more: str, ok: bool = True) -> Any:
    return lab.backstay(*command(cloud, host), *more, bound=1500, ok=ok)


def resuming(lab: Lab, cloud: Path) -> list[str]:
    return ["runs", "resume", newest(lab)["id"], "--cloud", str(cloud)]


def resume(lab: Lab, cloud: Path) -> Any:
    return lab.backstay(*resuming(lab, cloud), bound=1500, ok=False)


def newest(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.backstay("runs", "list", "-o", "json").stdout)[0]
    return found


def is_green(lab: Lab, cloud: Path, *beside: str) -> None:
    """All is well by the cloud.yaml of now, but for the fenced host and what is told ``beside``."""
    end, wanted = time.monotonic() + 120, {FENCED, *beside}
    bad = lab.check("--cloud", str(cloud)).bad()
    while {finding["subject"] for finding in bad} != wanted:
        assert time.monotonic() < end, bad
        time.sleep(2)
        bad = lab.check("--cloud", str(cloud)).bad()


def is_taken_over(cloud: Path, host: str) -> None:
    """cloud.yaml says that the spare is the host, and that the lost one is only fenced."""
    described = load(cloud)
    assert "spare1" not in described.hosts
    bmc = described.hosts[host].bmc
    assert bmc is not None
    old = described.fenced[f"{host}-old"].bmc
    assert old is not None
    assert old.url != bmc.url


def host_of(lab: Lab, name: str) -> LabHost:
    """A host by its console, which needs no network and no power of its own."""
    return LabHost(opened(lab.cloud_file.parent.name).lab, name)


@dataclass
class Answers:
    """The hardware addresses that answered each question by ARP for an address, by who asked."""

    seen: dict[str, list[list[str]]]

    def two_at_once(self) -> dict[str, list[list[str]]]:
        """Who had two answers to one question, and which."""
        found = {name: [macs for macs in seen if len(macs) > 1] for name, seen in self.seen.items()}
        return {name: macs for name, macs in found.items() if macs}


@contextmanager
def asked_who_has(lab: Lab, host: str) -> Iterator[Answers]:
    """Ask by ARP all the while who has a host's address, here and on a compute host."""
    address, compute = lab.hosts[host]["address"], host_of(lab, COMPUTE)
    route = subprocess.run(
        ["ip", "-j", "route", "get", address], capture_output=True, text=True, check=True
    )
    device = json.loads(route.stdout)[0]["dev"]
    there = f"{source_of(others_at)}\nprint(*others_at({MANAGEMENT_INTERFACE!r}, {address!r}))"
    answers = Answers({"operator": [], COMPUTE: []})

    def ask_here() -> None:
        answers.seen["operator"].append(others_at(device, address))

    def ask_there() -> None:
        asked = compute.run(["python3", "-I", "-"], stdin=there)
        answers.seen[COMPUTE].append(asked.stdout.split())

    with again_and_again(ask_here), again_and_again(ask_there):
        yield answers


@contextmanager
def as_each_step_begins(happens: Callable[[str], None]) -> Iterator[None]:
    """While a replacement goes on something happens beside it, as each of its steps begins.

    A step that is started again, as the run is resumed, counts once.
    """
    store, told = Store(os.environ["BACKSTAY_JOURNAL"]), set[str]()

    def started() -> Iterator[str]:
        for run in store.runs(limit=1):
            if run.plan.runbook == "replace":
                yield from (e.step for e in store.events(run.id) if e.kind == "started")

    def look() -> None:
        for step in started():
            if step not in told:
                told.add(step)
                happens(step)

    with again_and_again(look, 0.1):
        yield
    look()  # something may take longer than a step


@contextmanager
def standing_still(lab: Lab, step: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A command that stands still as a step of its run begins, until it gets SIGCONT."""
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.stopped_run", step, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def stopped() -> bool:
        assert running.poll() is None, running.communicate()[0]
        state = Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T"

    try:
        lab.wait_until(stopped, what=f"{step} begins", bound=120, pause=0.1)
        yield running
    finally:
        running.kill()
        running.wait(timeout=10)
