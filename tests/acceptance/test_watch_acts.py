"""The watch acts by the policy in cloud.yaml, and by nothing else."""

import time
from pathlib import Path

import pytest

from tests.acceptance.conftest import Lab
from tests.acceptance.network_partition import cut_from_each_other
from tests.acceptance.replacements import as_built, is_green, is_taken_over
from tests.acceptance.test_backup import create
from tests.acceptance.watches import Watch, own_journal, watching

pytestmark = pytest.mark.lab

REPLACED = 900.0


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    own_journal(monkeypatch, tmp_path, tmp_path)
    return tmp_path


def test_a_service_that_has_ended_is_restarted(lab: Lab, folder: Path) -> None:
    with watching(lab, folder, "{service-failed: restart}") as watched:
        lab.backstay("lab", "break", "stop-service", "proxy/swift-proxy")
        watched.until(lambda: watched.told.first("resolved"), "it is told to be over")
        watched.until(lambda: watched.told.first("action_taken"), "the run's end is told")
        [run] = watched.runs()
        assert (run["plan"]["runbook"], run["state"]) == ("restart", "done")
        [incident] = watched.incidents()
        assert incident["run"] == run["id"]
        lab.wait_green()


@pytest.mark.slow
def test_a_deaf_agent_is_reattached(lab: Lab, folder: Path) -> None:
    with watching(lab, folder, "{agent-not-processing: reattach}") as watched:
        lab.backstay("lab", "break", "wedge-agent", "compute1")
        watched.until(lambda: watched.told.first("resolved"), "it is told to be over", 300)
        watched.until(lambda: watched.told.first("action_taken"), "the run's end is told", 300)
        [run] = watched.runs()
        assert (run["plan"]["runbook"], run["state"]) == ("reattach", "done")
        lab.wait_green()


@pytest.mark.slow
def test_nothing_is_done_where_the_policy_says_tell(lab: Lab, folder: Path) -> None:
    with watching(lab, folder, "{}") as watched:
        lab.backstay("lab", "break", "stop-service", "proxy/swift-proxy")
        watched.until(lambda: watched.told.first("opened"), "it is told")
        lab.backstay("lab", "heal")
        watched.until(lambda: watched.told.first("resolved"), "it is told to be over")
        assert watched.runs() == []


def nothing_is_begun(watched: Watch, why: str) -> None:
    """The watch says why it replaces nothing, and holds to it."""
    watched.until(
        lambda: f"replace: not now: {why}" in watched.log, "it is said why nothing is done"
    )
    time.sleep(20)  # as long as it would take to begin
    assert watched.runs() == []
    assert watched.told.first("action_taken") is None


@pytest.mark.slow
def test_who_is_cut_off_replaces_nothing(lab: Lab, folder: Path) -> None:
    with watching(lab, folder, "{controller-dead: replace}") as watched:
        create(lab, watched.cloud, "proxy", "--verify")
        watched.until_all_up()
        lab.backstay("lab", "break", "cut-network", "proxy", "--from", "operator")
        nothing_is_begun(watched, "in doubt: this monitoring host is isolated")
        lab.backstay("lab", "heal")
        watched.until(lambda: watched.told.first("resolved"), "it is told to be over")


@pytest.mark.slow
def test_witnesses_that_disagree_replace_nothing(lab: Lab, folder: Path) -> None:
    blind = ("compute1", "compute2", "proxy")  # storage1 alone reaches it still
    pairs = [(lab.hosts[host]["address"], lab.hosts["controller"]["address"]) for host in blind]
    with watching(lab, folder, "{controller-dead: replace}") as watched:
        create(lab, watched.cloud, "controller", "--verify")
        watched.until_all_up()
        with cut_from_each_other(*pairs):
            lab.backstay("lab", "break", "cut-network", "controller", "--from", "operator")
            nothing_is_begun(watched, "controller is not known to be dead: ")
            assert "the witnesses disagree: storage1 sees it" in watched.log
            lab.backstay("lab", "heal")
        watched.until(lambda: watched.told.first("resolved"), "it is told to be over")


@pytest.mark.slow
def test_a_replacement_that_is_approved(lab: Lab, folder: Path) -> None:
    with watching(lab, folder, "{controller-dead: ask}") as watched:
        create(lab, watched.cloud, "proxy", "--verify")
        watched.until_all_up()
        try:
            lab.backstay("lab", "break", "dead-board", "proxy")
            watched.until(
                lambda: watched.told.first("approval_requested"), "an approval is asked for"
            )
            asked = watched.told.first("approval_requested")
            assert asked is not None
            command = asked["approval"].split()
            assert command[:3] == ["backstay", "watch", "approve"]
            assert command[-1] not in watched.log
            assert [run["state"] for run in watched.runs()] == ["planned"]
            approve = ["watch", "approve", "--cloud", str(watched.cloud), command[-1]]
            lab.backstay(*approve)
            again = lab.backstay(*approve, ok=False)
            assert again.returncode == 4
            assert "used already" in again.stderr
            # The run goes on whatever becomes of the watch.
            watched.kill()
            watched.start()
            watched.until(lambda: watched.runs()[0]["state"] == "done", "it is done", REPLACED)
            is_taken_over(watched.cloud, "proxy")
            is_green(lab, watched.cloud)
            watched.until(lambda: watched.told.first("resolved"), "it is told to be over")
            assert len(watched.runs()) == 1
        finally:
            watched.stop()
            as_built(lab)


@pytest.mark.slow
def test_no_hand_is_touched_until_green(lab: Lab, folder: Path) -> None:
    with watching(lab, folder, "{controller-dead: replace}") as watched:
        create(lab, watched.cloud, "controller", "--verify")
        watched.until_all_up()
        try:
            started = time.monotonic()
            lab.backstay("lab", "break", "dead-board", "controller")
            watched.until(lambda: watched.told.first("resolved"), "it is told to be over", REPLACED)
            print(f"from the loss to the end of the incident: {time.monotonic() - started:.0f} s")
            # What users need is back; a new backup, its proof and cloud.yaml come after that.
            watched.until(
                lambda: watched.runs()[0]["state"] != "running", "the run has ended", REPLACED
            )
            [run] = watched.runs()
            assert run["state"] == "done", run
            is_taken_over(watched.cloud, "controller")
            is_green(lab, watched.cloud)
            print(f"from the loss to all green: {time.monotonic() - started:.0f} s")
            hosts = [one["cause"]["host"] for one in watched.incidents()]
            assert hosts.count("controller") == 1
        finally:
            watched.stop()
            as_built(lab)
