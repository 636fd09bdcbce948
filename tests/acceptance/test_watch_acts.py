"""The watch acts by the policy in cloud.yaml, and by nothing else."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import Lab
from tests.acceptance.replacements import as_built, is_taken_over
from tests.acceptance.test_backup import create
from tests.acceptance.test_replace import is_green
from tests.acceptance.watch_process import Watch, all_up, watches

pytestmark = pytest.mark.lab

REPLACED = 900.0


@pytest.fixture
def watch(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    with watches(lab, tmp_path, monkeypatch) as begin:
        yield begin


def test_a_service_that_has_ended_is_restarted(lab: Lab, watch: Watch) -> None:
    with watch("{service-failed: restart}") as watched:
        all_up(watched)
        lab.backstay("lab", "break", "stop-service", "proxy/swift-proxy")
        watched.until(lambda: watched.told.first("closed"), "it is told to be over")
        watched.until(lambda: watched.told.first("acted"), "the run's end is told")
        [run] = watched.runs()
        assert (run["plan"]["runbook"], run["state"]) == ("restart", "done")
        [incident] = watched.incidents()
        assert incident["run"] == run["id"]
        assert watched.told.words()[0] == "opened"
        lab.wait_green()


def test_a_deaf_agent_is_reattached(lab: Lab, watch: Watch) -> None:
    with watch("{agent-deaf: reattach}") as watched:
        all_up(watched)
        lab.backstay("lab", "break", "wedge-agent", "compute1")
        watched.until(lambda: watched.told.first("closed"), "it is told to be over", 300)
        watched.until(lambda: watched.told.first("acted"), "the run's end is told", 300)
        [run] = watched.runs()
        assert (run["plan"]["runbook"], run["state"]) == ("reattach", "done")
        lab.wait_green()


def test_nothing_is_done_where_the_policy_says_tell(lab: Lab, watch: Watch) -> None:
    with watch("{}") as watched:
        all_up(watched)
        lab.backstay("lab", "break", "stop-service", "proxy/swift-proxy")
        watched.until(lambda: watched.told.first("opened"), "it is told")
        lab.backstay("lab", "heal")
        watched.until(lambda: watched.told.first("closed"), "it is told to be over")
        assert watched.runs() == []


def test_who_is_cut_off_replaces_nothing(lab: Lab, watch: Watch) -> None:
    with watch("{controller-dead: replace}") as watched:
        create(lab, watched.cloud, "proxy", "--verify")
        all_up(watched)
        lab.backstay("lab", "break", "cut-network", "proxy", "--from", "operator")
        held = "replace: not now: in doubt: only this machine is cut off"
        watched.until(lambda: held in watched.log, "it is said why nothing is done")
        time.sleep(20)  # as long as it would take to begin
        assert watched.runs() == []
        assert watched.told.first("acted") is None
        lab.backstay("lab", "heal")
        watched.until(lambda: watched.told.first("closed"), "it is told to be over")


def test_a_replacement_that_is_approved(lab: Lab, watch: Watch) -> None:
    with watch("{controller-dead: ask}") as watched:
        create(lab, watched.cloud, "proxy", "--verify")
        all_up(watched)
        try:
            lab.backstay("lab", "break", "dead-board", "proxy")
            watched.until(lambda: watched.told.first("asked"), "an approval is asked for")
            asked = watched.told.first("asked")
            assert asked is not None
            command = asked["approval"].split()
            assert command[:3] == ["backstay", "watch", "approve"]
            assert command[-1] not in watched.log
            assert [run["state"] for run in watched.runs()] == ["planned"]
            approve = ["watch", "approve", "--cloud", str(watched.cloud), command[-1]]
            lab.backstay(*approve)
            again = lab.backstay(*approve, ok=False)
            assert again.returncode == 3
            assert "used already" in again.stderr
            # The run goes on whatever becomes of the watch.
            watched.process.kill()
            watched.process.wait()
            watched.begin()
            watched.until(lambda: watched.runs()[0]["state"] == "done", "it is done", REPLACED)
            is_taken_over(watched.cloud, "proxy")
            is_green(lab, watched.cloud)
            watched.until(lambda: watched.told.first("closed"), "it is told to be over")
            assert len(watched.runs()) == 1
        finally:
            watched.end()
            as_built(lab)


@pytest.mark.slow
def test_no_hand_is_touched_until_green(lab: Lab, watch: Watch) -> None:
    with watch("{controller-dead: replace}") as watched:
        create(lab, watched.cloud, "controller", "--verify")
        all_up(watched)
        try:
            begun = time.monotonic()
            lab.backstay("lab", "break", "dead-board", "controller")
            watched.until(lambda: watched.told.first("closed"), "it is told to be over", REPLACED)
            print(f"from the loss to the end of the incident: {time.monotonic() - begun:.0f} s")
            # What users need is back; a new backup, its proof and cloud.yaml come after that.
            watched.until(
                lambda: watched.runs()[0]["state"] != "running", "the run has ended", REPLACED
            )
            [run] = watched.runs()
            assert run["state"] == "done", run
            is_taken_over(watched.cloud, "controller")
            is_green(lab, watched.cloud)
            print(f"from the loss to all green: {time.monotonic() - begun:.0f} s")
            hosts = [one["cause"]["host"] for one in watched.incidents()]
            assert hosts.count("controller") == 1
        finally:
            watched.end()
            as_built(lab)
