"""``backstay watch``: what its command line says."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backstay.cli.exit_status import ExitStatus
from backstay.cli.main import backstay
from backstay.journal.plan import Plan, Step
from backstay.journal.records import RunState
from backstay.journal.store import Store
from backstay.transports import systemd
from backstay.watch.act.approvals import digest_of, new_code
from backstay.watch.incidents.incident import Urgency
from backstay.watch.incidents.record import noted, resolved
from backstay.watch.incidents.store import WatchStore
from tests.watch.altered import altered
from tests.watch.causes import CAUSE

CLOUD = """\
name: lab
credentials: {openrc: openrc}
hosts:
  controller: {address: 10.0.0.1, roles: [controller]}
"""


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    openrc = "export OS_AUTH_URL=http://127.0.0.1:1 OS_PASSWORD=x\n"
    (tmp_path / "openrc").write_text(openrc)
    file = tmp_path / "cloud.yaml"
    file.write_text(CLOUD)
    return file


def watch(cloud: Path, *words: str) -> Result:
    return CliRunner().invoke(backstay, ["watch", *words, "--cloud", str(cloud)])


def store_of(cloud: Path) -> WatchStore:
    return WatchStore(f"sqlite:///{cloud.parent}/journal.db", "lab")


def test_nobody_watches(cloud: Path) -> None:
    told = watch(cloud, "status")
    assert told.exit_code == 3
    assert "backstay watch install" in told.output


def test_what_is_the_matter_and_what_was(cloud: Path) -> None:
    store = store_of(cloud)
    first = store.open(CAUSE, began=1.0, at=2.0, channels=[])
    held = "restart: not now: in doubt"
    altered(store, first.id, lambda it: noted(it, "blocked", held, at=3.0))
    altered(store, first.id, lambda it: resolved(it, at=62.0, text="over", channels=[]))
    warning = replace(CAUSE, key="x", urgency=Urgency.WARNING, title="a disk is filling")
    store.open(warning, began=time.time(), at=time.time(), channels=[])
    told = watch(cloud, "status")
    assert "a disk is filling" in told.output
    assert CAUSE.title not in told.output
    listed = watch(cloud, "incidents")
    assert "61 s (resolved)" in listed.output
    [newest, oldest] = json.loads(watch(cloud, "incidents", "-o", "json").output)
    assert (newest["cause"]["key"], oldest["closed"]) == ("x", 62.0)
    shown = watch(cloud, "incidents", "incident-1")
    assert "blocked" in shown.output
    assert CAUSE.remedy in shown.output
    assert watch(cloud, "incidents", "9").exit_code == ExitStatus.USAGE


def test_a_code_begins_a_run_once(cloud: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backstay.cli.watch._STARTS", 0.0)
    store, journal = store_of(cloud), Store(f"sqlite:///{cloud.parent}/journal.db")
    step = Step(id="x", action="x", target="controller", does="x", bound=1.0)
    plan = Plan(runbook="replace", cloud="lab", targets=("controller",), steps=(step,))
    run, code = journal.create(plan), new_code()
    incident = store.open(CAUSE, began=1.0, at=2.0, channels=[])
    store.ask(digest_of(code), incident.id, run, made=1.0, until=time.time() + 60)
    refused = watch(cloud, "approve", new_code())
    assert refused.exit_code == ExitStatus.REFUSED
    assert "no plan waits for this code" in refused.output
    assert f"would approve {run}" in watch(cloud, "approve", code, "--dry-run").output
    nobody = watch(cloud, "approve", code)
    assert nobody.exit_code == 2
    assert f"backstay runs resume {run}" in nobody.output
    assert "used already" in watch(cloud, "approve", code).output
    assert journal.run(run).state is RunState.PLANNED


def test_channels_are_tried(cloud: Path) -> None:
    assert "has no notification channel" in watch(cloud, "test").output
    cloud.write_text(
        CLOUD + "watch: {channels: {hook: {webhook: {url: 'http://127.0.0.1:1/x'}}}}\n"
    )
    assert "it has hook" in watch(cloud, "test", "mail").output
    failed = watch(cloud, "test")
    assert failed.exit_code == 2
    assert "hook: " in failed.output
    assert "what to do: " in failed.output


def test_installing_warns_where_the_policy_acts_alone(
    cloud: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "the policy acts" not in watch(cloud, "install", "--dry-run").output
    cloud.write_text(CLOUD + "watch: {policy: {controller-dead: replace}}\n")
    warned = watch(cloud, "install", "--dry-run").output
    assert "the policy acts (controller-dead: replace)" in warned
    assert "BACKSTAY_JOURNAL and BACKSTAY_LOCKS" in warned
    monkeypatch.setenv("BACKSTAY_LOCKS", "etcd3+http://192.0.2.9:2379")
    assert "the policy acts" not in watch(cloud, "install", "--dry-run").output


def test_it_is_installed_so_that_what_it_has_begun_goes_on(
    cloud: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: dict[str, Any] = {}
    monkeypatch.setattr(
        systemd, "install", lambda unit, files, **_: installed.update({unit: files[unit]})
    )
    told = watch(cloud, "install")
    assert told.exit_code == 0, told.output
    unit = installed["backstay-watch-lab.service"]
    assert "KillMode=process" in unit
    assert "Type=notify" in unit
    assert f'"watch" "run" "--cloud" "{cloud}"' in unit
    assert f"BACKSTAY_JOURNAL=sqlite:///{cloud.parent}/journal.db" in unit
