"""The lab as the stories use it: the real command line against a real cloud on this machine.

In CI the lab is required; elsewhere a machine that cannot host it skips the stories and says why.
A lab that is up already is used and left up; one that the tests brought up is taken down.
"""

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BACKSTAY = Path(sys.executable).with_name("backstay")
SETTLE_BOUND = (
    300.0  # seconds that the cloud may take to be all green again after a fault is healed
)


@dataclass(frozen=True)
class Checked:
    """What one ``backstay check`` said."""

    exit_status: int
    status: str
    findings: list[dict[str, Any]]

    def about(self, host: str | None, subject: str) -> dict[str, Any]:
        """The finding on that host whose subject is the given one; the test fails without it."""
        for finding in self.findings:
            if finding["host"] == host and finding["subject"] == subject:
                return finding
        seen = sorted(f"{f['host']}: {f['subject']}" for f in self.findings)
        raise AssertionError(f"no finding on {host}: {subject}; there are {seen}")

    def bad(self) -> list[dict[str, Any]]:
        """The findings that are not ok."""
        return [finding for finding in self.findings if finding["severity"] != "ok"]


class Lab:
    """The lab by its command line."""

    def __init__(self) -> None:
        status = json.loads(self.backstay("lab", "status", "-o", "json").stdout)
        self.cloud_file = Path(status["cloud_file"])
        self.openrc = Path(status["openrc"])
        self.hosts: dict[str, dict[str, Any]] = {host["name"]: host for host in status["hosts"]}
        self.seed = json.loads((self.cloud_file.parent / "seed.json").read_text())

    @staticmethod
    def backstay(
        *arguments: str, bound: float = 300.0, ok: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line; with ``ok`` its exit status must be 0."""
        done = subprocess.run(
            [BACKSTAY, *arguments],
            capture_output=True,
            text=True,
            timeout=bound,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if ok:
            assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done

    def shell(self, host: str, command: str, bound: float = 120.0) -> str:
        """Run a command line inside a host and return what it printed."""
        return self.backstay("lab", "shell", host, command, bound=bound).stdout

    def check(self, *arguments: str, bound: float = 120.0) -> Checked:
        """Run ``backstay check -o json``."""
        done = self.backstay("check", "-o", "json", *arguments, bound=bound, ok=False)
        answer = json.loads(done.stdout)
        return Checked(done.returncode, answer["status"], answer["findings"])

    def wait_until(
        self,
        holds: Callable[[], bool],
        *,
        what: str,
        bound: float = SETTLE_BOUND,
        pause: float = 1.0,
    ) -> None:
        """Ask again until the condition holds; fail with its name at the bound (seconds)."""
        end = time.monotonic() + bound
        while not holds():
            assert time.monotonic() < end, f"not within {bound:.0f} s: {what}"
            time.sleep(pause)

    def wait_green(self, bound: float = SETTLE_BOUND) -> None:
        """Wait until ``check`` is all green; fail with what is left at the bound."""
        end = time.monotonic() + bound
        while True:
            checked = self.check()
            if checked.status == "ok":
                return
            assert time.monotonic() < end, f"not green within {bound:.0f} s: {checked.bad()}"
            time.sleep(2)


@pytest.fixture(scope="session")
def running_lab() -> Iterator[Lab]:
    """The lab, brought up where it is not up yet."""
    missing = subprocess.run(
        [BACKSTAY, "lab", "requirements"], capture_output=True, text=True, check=False
    )
    if missing.returncode != 0:
        reason = "the lab cannot run here: " + " ".join((missing.stdout + missing.stderr).split())
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    was_up = _is_up()
    _bring_up()
    try:
        yield Lab()
    finally:
        if not was_up:
            subprocess.run([BACKSTAY, "lab", "down"], check=True, timeout=300)


def _bring_up() -> None:
    """Bring the lab up, or end the whole run with what ``lab up`` said: no story can run.

    Done again once, as its own errors advise: a mirror may drop a connection.
    """
    for last in (False, True):
        done = subprocess.run(
            [BACKSTAY, "lab", "up"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2400,
            check=False,
        )
        if done.returncode == 0:
            return
        reason = "lab up failed:\n" + "\n".join(done.stdout.splitlines()[-40:])
        if last:
            pytest.exit(reason, returncode=1)
        warnings.warn(reason, stacklevel=1)


def _is_up() -> bool:
    status = subprocess.run(
        [BACKSTAY, "lab", "status", "-o", "json"], capture_output=True, text=True, check=False
    )
    if status.returncode != 0:
        return False
    hosts = json.loads(status.stdout)["hosts"]
    return bool(hosts) and any(host["power"] == "on" for host in hosts)


@pytest.fixture
def lab(running_lab: Lab) -> Iterator[Lab]:
    """A green lab, healed again after the story."""
    running_lab.backstay("lab", "heal")
    running_lab.wait_green()
    yield running_lab
    running_lab.backstay("lab", "heal")
