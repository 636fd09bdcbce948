"""A replacement's plan, and what is refused before it is made."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from backstay.backup import requirements
from backstay.backup.catalogue import Backup, Catalogue, State
from backstay.backup.mariadb import release
from backstay.backup.requirements import PROGRAMS, Program, Task
from backstay.backup.restore_point import RestorePoint
from backstay.cli import options
from backstay.cli.exit_status import ExitStatus
from backstay.cli.main import backstay
from backstay.inventory.backup import Engine
from backstay.inventory.cloud import Cloud
from backstay.journal.plan import Plan
from backstay.runbooks.replace.plan import ReplaceRequest, plan
from backstay.runbooks.restore.plan import RestoreOptions, tasks_of
from backstay.runbooks.restore.plan import plan as restoring
from backstay.services.registry import all_services

Call = Callable[..., Result]
WITHOUT = ["controller", "--with", "spare1", "--without-witness"]

HOSTS = {
    "controller": {"address": "192.0.2.11", "roles": ["controller"]},
    "proxy": {"address": "192.0.2.12", "roles": ["storage-proxy"]},
    "spare1": {"address": "192.0.2.31", "roles": ["spare"]},
    "spare2": {"address": "192.0.2.32", "roles": ["spare"], "spare_for": ["proxy"]},
}
CLOUD = Cloud.model_validate({"credentials": {"openrc": "openrc"}, "hosts": HOSTS})
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BACKUP = Backup(
    name="controller-1",
    cloud="cloud",
    host="controller",
    taken_at=NOW.timestamp() - 3600,
    seconds=60,
    state=State.VERIFIED,
    snapshots={"files": "a", "database": "b"},
    facts={"version": "10.11.6-MariaDB", "rows_before": {"nova.instances": 1}},
)


def made(
    backup: Backup = BACKUP,
    *,
    confirmed_fenced: bool = False,
    without_witnesses: tuple[str, ...] = (),
) -> Plan:
    wish = ReplaceRequest(
        spare="spare1",
        chosen=RestoreOptions(backup=backup, to=RestorePoint()),
        confirmed_fenced=confirmed_fenced,
        without_witnesses=without_witnesses,
    )
    return plan(CLOUD, wish, all_services(), now=NOW)


def test_nothing_is_changed_before_the_fence_and_no_address_taken_before_it() -> None:
    ids = [step.id for step in made().steps]
    assert ids[:3] == ["controller.confirm", "controller.prepare", "controller.fence"]
    assert ids.index("controller.packages") > ids.index("controller.rebuild"), "at the same time"
    assert ids.index("controller.swap") < ids.index("controller.begin-build")
    held, let = ids.index("controller.begin-build"), ids.index("controller.let-build")
    assert held < ids.index("controller.start-mariadb-rabbitmq") < let
    assert let < ids.index("controller.start-keystone"), "nothing is changed by two at a time"
    assert ids.index("controller.start-cinder") < ids.index("controller.build"), "at the same time"
    assert ids.index("controller.works") < ids.index("controller.agents")
    assert ids[-2:] == ["controller.verify", "controller.take-over"]


def test_both_hosts_are_locked_and_a_refusal_after_the_fence_is_told_as_a_failure() -> None:
    it = made(confirmed_fenced=True)
    assert it.targets == ("controller", "spare1")
    assert it.settings["confirmed_fenced"]
    assert {step.target for step in it.steps[:3]} == {""}
    assert {step.target for step in it.steps[3:]} == {"controller"}


def test_the_plan_names_the_witnesses_that_are_left_out() -> None:
    it = made(without_witnesses=("proxy",))
    assert it.settings["without_witnesses"] == ["proxy"]
    confirm, _, fence = it.steps[:3]
    assert confirm.does.endswith("; left out as witnesses: proxy")
    assert fence.does.endswith("; left out as witnesses: proxy")


def test_a_proxy_has_no_databases_and_no_agents() -> None:
    proxy = replace(BACKUP, host="proxy", facts={}, snapshots={"files": "a"})
    actions = {step.action for step in made(proxy).steps}
    assert not actions & {"rebuild", "agents", "reconcile"}


def test_databases_are_made_here_only_where_they_must_be() -> None:
    def tasks(backup: Backup, to: RestorePoint) -> tuple[list[Task], list[Task]]:
        chosen = RestoreOptions(backup=backup, to=to)
        restored = restoring(CLOUD, chosen, all_services())
        return tasks_of(restored, chosen), tasks_of(made(backup), chosen)

    both = [Task.STORE, Task.SERVE]
    physical = replace(BACKUP, engine=Engine.PHYSICAL)
    restored, replaced = tasks(physical, RestorePoint())
    assert restored == [Task.STORE], "straight to the host"
    assert replaced == both, "the spare cannot be inspected before the databases are made"
    assert tasks(physical, RestorePoint(latest=True)) == (both, both)
    proxy = replace(BACKUP, host="proxy", facts={}, snapshots={"files": "a"})
    assert tasks(proxy, RestorePoint()) == ([Task.STORE], [Task.STORE])


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    file = tmp_path / "cloud.yaml"
    file.write_text(
        "credentials: {environment: true}\n"
        f"backup: {{folder: {tmp_path}/backups}}\n"
        "hosts:\n"
        "  controller: {address: 192.0.2.11, roles: [controller]}\n"
        "  proxy: {address: 192.0.2.12, roles: [storage-proxy]}\n"
        "  compute1: {address: 192.0.2.21, roles: [compute]}\n"
        "  spare1: {address: 192.0.2.31, roles: [spare]}\n"
        "  spare2: {address: 192.0.2.32, roles: [spare], spare_for: [proxy]}\n"
    )
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    Catalogue(tmp_path / "backups" / "catalogue").write(BACKUP)

    def called(*arguments: str) -> Result:
        return CliRunner().invoke(backstay, [*arguments, "--cloud", str(file)])

    return called


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compute1", "--with", "spare1"], "neither a controller nor a storage proxy"),
        (["controller", "--with", "compute1"], "is not a spare; spares of"),
        (["controller", "--with", "spare2"], "is meant for proxy"),
        (["controller", "--with", "spare1", "--confirm-fenced", "proxy"], "that is not controller"),
        (["controller", "--with", "spare1", "--to", "noon"], "neither `latest`, `backup`"),
        (["controller", "--with", "spare1"], "without a terminal this needs --yes"),
        ([*WITHOUT, "spare1"], "spare1 is no witness about controller: proxy, compute1 are"),
        ([*WITHOUT, "controller"], "controller is no witness about controller"),
        ([*WITHOUT, "nobody"], "has no host nobody"),
        (
            [*WITHOUT, "proxy", "--without-witness", "compute1"],
            "that leaves 0 of 2 witnesses about controller, and at least 1 must be asked",
        ),
    ],
)
def test_what_was_called_wrongly_is_told(call: Call, arguments: list[str], said: str) -> None:
    done = call("replace", *arguments)
    assert done.exit_code != 0
    assert said in " ".join(done.output.split())


def with_all_programs(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Let this machine have all programs, and a database server of that version."""

    async def server_version() -> str:
        return version

    monkeypatch.setattr(requirements, "lacking", lambda _tasks: ())
    monkeypatch.setattr(release, "server_version", server_version)


REQUESTS = [
    ["replace", "controller", "--with", "spare1", "--yes"],
    ["plan", "replace", "controller", "--with", "spare1"],
]
"""A plan that this machine cannot carry out is shown, and refused as the replacement would be."""


@pytest.mark.parametrize("words", REQUESTS)
def test_a_machine_without_the_programs_is_refused_before_anything(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    asked: list[list[Task]] = []

    def nothing_is_here(tasks: Iterable[Task]) -> tuple[Program, ...]:
        asked.append(list(tasks))
        return PROGRAMS[Task.STORE]

    monkeypatch.setattr(requirements, "lacking", nothing_is_here)
    done = call(*words)
    assert done.exit_code == ExitStatus.UNKNOWN
    assert "power controller off" in done.output, "the plan is shown"
    said = " ".join(done.output.split())
    assert "replacing controller: this machine has no restic; nothing has been started" in said
    assert "apt-get install restic" in said
    assert Task.STORE in asked[0]
    assert not (tmp_path / "journal.db").exists(), "no run was written"


@pytest.mark.parametrize("words", REQUESTS)
def test_a_machine_with_another_release_is_refused_before_anything(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    with_all_programs(monkeypatch, "11.8.2-MariaDB-0+deb13u1")
    done = call(*words)
    assert done.exit_code == ExitStatus.UNKNOWN
    assert "power controller off" in done.output, "the plan is shown"
    said = " ".join(done.output.split())
    assert "replacing controller: the backup is of MariaDB 10.11, this machine has 11.8" in said
    assert "install MariaDB 10.11 here" in said
    assert not (tmp_path / "journal.db").exists(), "no run was written"


def test_the_plan_tells_what_is_lost(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    with_all_programs(monkeypatch, "10.11.6-MariaDB-0+deb12u1")
    done = call("plan", "replace", "controller", "--with", "spare1")
    assert done.exit_code == 0, done.output
    assert "what was written to the databases after" in done.output
    assert "power controller off" in done.output
    assert "nothing that runs is touched before `fence`" in done.output


def test_who_leaves_a_witness_out_types_its_name(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "_has_terminal", lambda: True)
    asked: list[str] = []

    def prompt(text: str, **_: object) -> str:
        asked.append(text)
        return "controller"

    monkeypatch.setattr(click, "prompt", prompt)
    done = call("replace", *WITHOUT, "proxy")
    assert done.exit_code == ExitStatus.REFUSED
    assert "that is not proxy" in done.output
    [question] = asked
    assert question.startswith("proxy will not be asked whether controller is dead")
    assert question.endswith("Type its name to confirm")
    assert "left out as witnesses: proxy" in " ".join(done.output.split())
