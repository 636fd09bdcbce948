"""Two hosts in one place: a replaced host that is switched on again, an address with two MACs.

The watch opens an incident within ten seconds, no runbook starts, and by policy its power is cut.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import cloud_with, reboot
from tests.acceptance.replacements import as_built, board, host_of, replace
from tests.acceptance.test_backup import create
from tests.acceptance.watches import Watch, own_journal, watching

pytestmark = pytest.mark.lab

HOST, OLD, SPARE = "controller", "controller-old", "spare1"
IN_TIME = 10.0
SECONDS_OF_PEACE = 20.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    own_journal(monkeypatch, tmp_path, tmp_path)
    return tmp_path


@pytest.fixture
def fenced(lab: Lab) -> Iterator[None]:
    """The spare is a host that was fenced: off, known by its board, and in nobody's way.

    It keeps its own address, so that its power is all there is to see of it.
    """
    original = lab.cloud_file.read_text()
    yaml = YAML(typ="safe")
    described = yaml.load(original)
    bmc = described["hosts"].pop(SPARE)["bmc"]
    described["fenced"] = {OLD: {"was": HOST, "since": "2026-11-29T22:00:00Z", "bmc": bmc}}
    off(lab)
    yaml.dump(described, lab.cloud_file)
    try:
        yield
    finally:
        lab.cloud_file.write_text(original)
        lab.backstay("lab", "heal", ok=False)
        board(lab, SPARE, "cycle")
        lab.wait_green()


def off(lab: Lab) -> None:
    board(lab, SPARE, "off")


@contextmanager
def no_run_starts(lab: Lab, watched: Watch, why: str) -> Iterator[None]:
    """The reboot of another host is refused by the gate, and so is what has no gates of its own."""
    refused = reboot(lab, "proxy", cloud=watched.cloud, ok=False)
    print(refused.stdout, refused.stderr)
    assert refused.returncode == 4
    assert "healthy" in refused.stdout + refused.stderr
    assert why in refused.stdout + refused.stderr
    yield


def incident_within(watched: Watch, since: float, title: str) -> dict[str, Any]:
    """The cause with a title, whose incident was opened and notified in time."""

    def found() -> list[dict[str, Any]]:
        opened = [one for one in watched.incidents() if not one["closed"]]
        causes: list[dict[str, Any]] = [one["cause"] for one in opened]
        return [cause for cause in causes if title in cause["title"]]

    watched.until(found, f"an incident: {title}", 60.0)
    [cause] = found()
    posts = [at for at, post in watched.told.of("opened", since) if title in str(post)]
    watched.until(lambda: watched.told.of("opened", since), "it is notified", 60.0)
    opened = min(posts or [time.time()]) - since
    print(f"{title}: notified after {opened:.1f} s")
    assert opened < IN_TIME
    assert cause["urgency"] == "critical"
    assert cause["impact"]
    assert cause["remedy"]
    return cause


def test_a_fenced_host_that_is_switched_on_is_an_incident_and_closes_every_gate(
    lab: Lab, fenced: None, folder: Path
) -> None:
    title = f"Fenced host {OLD} is powered on: it may answer as {HOST}"
    with watching(lab, folder) as watched:
        since = time.time()
        board(lab, OLD, "cycle")
        incident_within(watched, since, title)
        with no_run_starts(lab, watched, f"{OLD}: fenced host (its power is on"):
            checked = lab.check("--cloud", str(watched.cloud))
            assert checked.about(OLD, "fenced host")["severity"] == "failed"
        time.sleep(SECONDS_OF_PEACE)
        assert watched.runs() == [], "the policy is to notify"
        board(lab, OLD, "off")
        watched.until_over()


def test_by_policy_its_power_is_cut_again(lab: Lab, fenced: None, folder: Path) -> None:
    with watching(lab, folder, "{fenced-host-on: power-off}") as watched:
        since = time.time()
        board(lab, OLD, "cycle")
        incident_within(watched, since, f"Fenced host {OLD} is powered on")
        watched.until(lambda: host_of(lab, SPARE).power_state() == "off", "its power is cut", 60)
        print(f"its power was cut {time.time() - since:.1f} s after it was switched on")
        watched.until_over()
        [run] = watched.runs()
        assert (run["plan"]["runbook"], run["state"]) == ("power-off", "done")


def test_where_its_board_lies_two_macs_are_the_incident_and_nothing_is_claimed(
    lab: Lab, fenced: None, folder: Path
) -> None:
    """Its BMC reports off; what answers for the controller's address has a MAC of its own."""
    title = f"Two hosts answer for {lab.hosts[HOST]['address']} (MAC "
    with watching(lab, folder, "{fenced-host-on: power-off}") as watched:
        assert board(lab, OLD, "state") is False
        since = time.time()
        lab.backstay("lab", "break", "duplicate-address", HOST)
        incident = incident_within(watched, since, title)
        assert f"{OLD} was replaced by it, and its BMC may not tell the truth" in incident["remedy"]
        with no_run_starts(lab, watched, "two hosts answer for"):
            checked = lab.check("--cloud", str(watched.cloud))
            assert checked.about(HOST, "address")["severity"] == "failed"
        time.sleep(SECONDS_OF_PEACE)
        assert watched.runs() == [], "no power is cut that may not be the right one's"
        lab.backstay("lab", "heal", "duplicate-address", HOST)
        watched.until_over()


@pytest.mark.slow
def test_a_replaced_controller_that_is_switched_on_again(lab: Lab, folder: Path) -> None:
    """As it was seen: two hosts answered for one address, and agents worked for the dead cloud."""
    with cloud_with(lab, f"backup: {{folder: {folder}/backups}}\n") as cloud:
        create(lab, cloud, HOST, "--verify")
        lab.backstay("lab", "break", "power-off", HOST)
        replace(lab, cloud, HOST)
        replaced = cloud.read_text()
    original = lab.cloud_file.read_text()
    lab.cloud_file.write_text(replaced)
    try:
        for policy in ("notify", "power-off"):
            with watching(lab, folder, f"{{fenced-host-on: {policy}}}") as watched:
                since = time.time()
                board(lab, OLD, "cycle")
                title = f"Fenced host {OLD} is powered on: it may answer as {HOST}"
                incident_within(watched, since, title)
                if policy == "notify":
                    with no_run_starts(lab, watched, f"{OLD}: fenced host (its power is on"):
                        board(lab, OLD, "off")
                watched.until(
                    lambda: host_of(lab, HOST).power_state() == "off", "its power is cut", 60
                )
                print(f"{policy}: off {time.time() - since:.1f} s after it was switched on")
                watched.until_over()
                assert len(watched.runs()) == (policy == "power-off")
    finally:
        lab.cloud_file.write_text(original)
        as_built(lab)
