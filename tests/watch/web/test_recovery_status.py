"""Backups, RPO and RTO from the files and the journal of this machine."""

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from backstay.backup.mariadb.stream_state import StreamActivity, StreamState
from backstay.finding import Severity
from backstay.journal.plan import Plan, Step
from backstay.journal.records import RunRecord, RunState, StepRecord, StepState
from backstay.watch.web.recovery_status import read_recovery_status, recoveries
from tests.watch.web.fake_cloud import cloud

NOW = 1_800_000_000.0


def write_backup(folder: Path, *, name: str, taken_at: float, state: str = "verified") -> None:
    catalogue = folder / "backups" / "catalogue"
    catalogue.mkdir(parents=True, exist_ok=True)
    (catalogue / f"{name}.json").write_text(
        json.dumps(
            {
                "name": name,
                "cloud": "amber",
                "host": "controller",
                "taken_at": taken_at,
                "seconds": 8.3,
                "state": state,
                "engine": "physical",
                "proof": {"at": taken_at, "problems": [], "restore_seconds": 2.2},
            }
        )
    )


def test_the_newest_verified_backup_counts(tmp_path: Path) -> None:
    write_backup(tmp_path, name="a", taken_at=NOW - 7200)
    write_backup(tmp_path, name="b", taken_at=NOW - 3600, state="failed")
    controller, proxy = read_recovery_status(cloud(tmp_path), (), NOW).hosts
    assert (controller.backup, controller.backups) == ("a", 2)
    assert controller.rpo_at(NOW + 5) == 7205
    assert controller.restore_seconds == 2.2
    assert (proxy.host, proxy.rpo_at(NOW)) == ("proxy", None)


def test_a_stream_leaves_less_to_lose(tmp_path: Path) -> None:
    write_backup(tmp_path, name="a", taken_at=NOW - 7200)
    state = StreamState(
        host="controller",
        doing=StreamActivity.STREAMING,
        begun_at=NOW - 7000,
        written_at=NOW,
        incarnation=1,
        behind=0,
        caught_up_at=NOW - 1,
        asked_at=NOW - 1,
    )
    for folder in (tmp_path / "backups/logs/controller", tmp_path / "backups/logs/controller/1"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "state.json").write_text(state.text())
    controller = read_recovery_status(cloud(tmp_path), (), NOW).hosts[0]
    assert controller.stream_lag == 0
    assert controller.rpo_at(NOW) == 0


def test_findings_are_those_of_the_check(tmp_path: Path) -> None:
    found = read_recovery_status(cloud(tmp_path), (), NOW).findings
    assert {(one.host, one.severity) for one in found if one.subject != "sandbox"} == {
        ("controller", Severity.WARNING),
        ("proxy", Severity.WARNING),
    }


def test_an_unreadable_catalogue_is_reported(tmp_path: Path) -> None:
    write_backup(tmp_path, name="a", taken_at=NOW)
    (tmp_path / "backups/catalogue/a.json").write_text("no")
    status = read_recovery_status(cloud(tmp_path), (), NOW)
    assert "a.json" in status.error
    assert [one.verified_at for one in status.hosts] == [None, None]


def test_windows_come_in_order(tmp_path: Path) -> None:
    opens = [
        one.opens.timestamp() for one in read_recovery_status(cloud(tmp_path), (), NOW).openings
    ]
    assert opens == sorted(opens)
    assert len(opens) == 3
    assert opens[1] - opens[0] == 86400


def restored(number: int, *, seconds: float, state: RunState = RunState.DONE) -> RunRecord:
    step = Step(id="controller.swap", action="swap", target="controller", does="swap", bound=1.0)
    record = StepRecord(
        id=step.id,
        state=StepState.DONE,
        began=NOW,
        ended=NOW,
        attempts=1,
        result=MappingProxyType({}),
        error=MappingProxyType({}),
    )
    return RunRecord(
        id=f"restore-{number}",
        state=state,
        plan=Plan(runbook="restore", cloud="amber", targets=("controller",), steps=(step,)),
        who="root",
        holder="",
        reason="",
        ticket="",
        made=NOW,
        began=NOW,
        ended=NOW + seconds,
        steps=(record,),
    )


@pytest.mark.parametrize(
    ("runs", "took"),
    [
        ([restored(9, seconds=41), restored(8, seconds=99)], [("restore-9", 41.0)]),
        (
            [restored(9, seconds=1, state=RunState.FAILED), restored(8, seconds=99)],
            [("restore-8", 99.0)],
        ),
        ([], []),
    ],
)
def test_the_newest_completed_run_counts(runs: list[Any], took: list[Any]) -> None:
    assert [(one.run, one.seconds) for one in recoveries(runs)] == took
