"""The command line of reboots and runs: what is refused before anything is touched."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from backstay.cli import execution
from backstay.cli.exit_status import ExitStatus
from backstay.cli.main import backstay
from backstay.inventory.load import load
from backstay.journal.records import RunState
from backstay.journal.store import Store
from tests.runbooks.recorded import recorded

CLOUD = """
name: lab
credentials: {openrc: openrc}
hosts:
  controller: {address: 192.0.2.11, roles: [controller]}
  proxy: {address: 192.0.2.12, roles: [storage-proxy]}
windows:
  short: {start: '03:00', duration: 5m}
  long: {start: '00:00', duration: 24h}
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    file = tmp_path / "cloud.yaml"
    file.write_text(CLOUD)
    monkeypatch.setenv("BACKSTAY_CLOUD", str(file))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(backstay, arguments)

    return run


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["controler", "--now"], "did you mean controller?"),
        (["controller", "controller", "--now"], "named twice"),
        (["controller"], "exactly one of --now, --at HH:MM and --window NAME"),
        (["controller", "--now", "--at", "02:00"], "exactly one of"),
        (["controller", "--at", "2 a.m."], "not a time such as 02:00"),
        (["controller", "--window", "nightly"], "it has short, long"),
        (["controller", "--now", "--emergency"], "--emergency requires a --reason"),
        (["controller", "--now", "--skip-gate", "runs"], "`runs` is none of healthy"),
        (["controller", "--now", "--wait-for-idle", "soon"], "not a duration such as"),
    ],
)
def test_called_wrongly(call: Any, arguments: list[str], told: str) -> None:
    done = call("reboot", *arguments, "--yes")
    assert done.exit_code == ExitStatus.USAGE
    assert told in done.output
    assert json.loads(call("runs", "list", "-o", "json").output) == []


def test_no_terminal_and_no_yes(call: Any) -> None:
    done = call("reboot", "controller", "--window", "long")
    assert done.exit_code == ExitStatus.USAGE
    assert "needs --yes" in done.output


def test_a_window_that_is_too_short(call: Any) -> None:
    done = call("reboot", "controller", "--window", "short", "--yes")
    assert done.exit_code == ExitStatus.REFUSED
    assert "never open for more than 5 min" in done.output
    assert "15 min (a guess" in done.output


def test_the_plan_is_shown_and_nothing_is_written(call: Any) -> None:
    shown = call("plan", "reboot", "proxy", "controller", "--window", "long")
    assert shown.exit_code == 0
    assert shown.output.index("reboot proxy") < shown.output.index("reboot controller")
    assert "window long closes" in shown.output
    read = json.loads(call("plan", "reboot", "proxy", "--window", "long", "-o", "json").output)
    assert [step["id"] for step in read["plan"]["steps"]][:3] == [
        "proxy.gates",
        "proxy.note",
        "proxy.ask",
    ]
    assert all(step["bound"] > 0 for step in read["plan"]["steps"])
    assert json.loads(call("runs", "list", "-o", "json").output) == []


def test_a_plan_needs_no_time_where_it_is_clear(call: Any, tmp_path: Path) -> None:
    several = call("plan", "reboot", "proxy")
    assert several.exit_code == ExitStatus.USAGE
    assert "exactly one of --now" in several.output
    file = tmp_path / "cloud.yaml"
    file.write_text(CLOUD.replace("  short: {start: '03:00', duration: 5m}\n", ""))
    assert "window long closes" in call("plan", "reboot", "proxy").output
    file.write_text(CLOUD[: CLOUD.index("windows:")])
    for words in (["plan", "reboot", "proxy"], ["reboot", "proxy", "--dry-run"]):
        shown = call(*words)
        assert (shown.exit_code, "reboot proxy" in shown.output) == (0, True), shown.output
    assert call("reboot", "proxy", "--yes").exit_code == ExitStatus.USAGE


def test_a_replacement_without_a_spare_says_what_lists_them(call: Any) -> None:
    for command in (["plan", "replace", "controller"], ["replace", "controller", "--yes"]):
        done = call(*command)
        assert done.exit_code == ExitStatus.USAGE
        assert "'--with' SPARE; what spares there are: backstay spare status" in done.output


def test_runs_that_are_over_or_unknown_are_not_resumed(call: Any, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/journal.db")
    name = store.create(recorded("reboot-controller")[0].plan)
    assert "started steps: " not in call("runs", "list").output
    assert call("runs", "abandon", name).exit_code == ExitStatus.USAGE
    assert call("runs", "abandon", name, "--yes", "--reason", "gone").exit_code == 0
    assert store.run(name).state is RunState.ABANDONED
    again = call("runs", "resume", name)
    assert again.exit_code == ExitStatus.REFUSED
    assert "nothing to resume" in again.output
    assert "no run of that name" in call("runs", "show", "reboot-77").output


def test_a_run_of_another_cloud_is_not_resumed(call: Any, tmp_path: Path) -> None:
    name = Store(f"sqlite:///{tmp_path}/journal.db").create(recorded("reboot-controller")[0].plan)
    (tmp_path / "cloud.yaml").write_text(CLOUD.replace("name: lab", "name: other"))
    done = call("runs", "resume", name)
    assert done.exit_code == ExitStatus.REFUSED
    assert "is of the cloud lab" in done.output


def test_a_run_is_resumed_with_the_cloud_yaml_that_it_was_made_with(
    call: Any, tmp_path: Path
) -> None:
    own = tmp_path / "elsewhere.yaml"
    own.write_text(CLOUD)
    plan = replace(recorded("reboot-controller")[0].plan, cloud_file=str(own))
    name = Store(f"sqlite:///{tmp_path}/journal.db").create(plan)
    (tmp_path / "cloud.yaml").write_text(CLOUD.replace("name: lab", "name: other"))
    found = call("runs", "resume", name, "--dry-run")
    assert found.exit_code == ExitStatus.OK, found.output
    named = call("runs", "resume", name, "--dry-run", "--cloud", str(tmp_path / "cloud.yaml"))
    assert "describes other" in named.output
    own.unlink()  # another machine's, where the journal is shared
    assert "describes other" in call("runs", "resume", name, "--dry-run").output


def test_what_is_started_names_its_cloud_yaml(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "carry_out", lambda *_, **__: ExitStatus.OK)
    with click.Context(backstay):
        plan = recorded("reboot-controller")[0].plan
        execution.start(load(tmp_path / "cloud.yaml"), plan, reason="kernel")
    [run] = Store(f"sqlite:///{tmp_path}/journal.db").runs()
    assert run.plan.cloud_file == str(tmp_path / "cloud.yaml")


def test_no_run_is_abandoned_that_nobody_has_named(call: Any, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/journal.db")
    name = store.create(recorded("reboot-controller")[0].plan)
    store.take(name, ["lab"])  # it may be carried out at this moment
    refused = call("runs", "abandon", "--yes")
    assert refused.exit_code == ExitStatus.USAGE
    assert "name the RUN" in refused.stderr
    assert store.run(name).state is RunState.RUNNING


def test_without_run_the_newest_that_was_started_is_taken(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backstay.cli.options._has_terminal", lambda: True)
    monkeypatch.setattr("click.confirm", lambda *_, **__: True)
    assert call("runs", "show").exit_code == ExitStatus.UNKNOWN, "there is none at all"
    store, plan = Store(f"sqlite:///{tmp_path}/journal.db"), recorded("reboot-controller")[0].plan
    first, second, waiting = (store.create(plan) for _ in range(3))
    for name in (first, second):
        store.take(name, ["lab"])
    shown = call("runs", "show")
    assert f"taking {second}, the newest unfinished" in shown.stderr
    assert shown.stdout.startswith(f"RUNNING: reboot of controller ({second})")
    assert call("runs", "abandon").exit_code == ExitStatus.OK
    assert store.run(second).state is RunState.ABANDONED
    assert f"{first}: 0 of " in call("runs", "resume", "--dry-run").stdout
    assert call("runs", "abandon").exit_code == ExitStatus.OK
    # What waits, for an approval say, is never started or given up by accident.
    assert call("runs", "resume").exit_code == ExitStatus.REFUSED
    assert store.run(waiting).state is RunState.PLANNED
    assert f"taking {waiting}, the newest" in call("runs", "show").stderr
