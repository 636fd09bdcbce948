"""A restore's plan, what stands against it, what it loses, and that it is asked for by name."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from backstay.access.session import CloudSession
from backstay.answers import convert
from backstay.backup.catalogue import Backup, Catalogue, State
from backstay.backup.mariadb.answers import ServerHost
from backstay.backup.mariadb.stream_state import StreamActivity, StreamState
from backstay.backup.place import Place
from backstay.backup.restore_point import RestorePoint, losses
from backstay.cli.main import backstay
from backstay.errors import BackupError, HostUnreachable
from backstay.inventory.backup import Engine
from backstay.inventory.cloud import Cloud
from backstay.journal.action import Running
from backstay.journal.plan import Plan, Step
from backstay.runbooks.restore.context import RestoreContext
from backstay.runbooks.restore.plan import RestoreOptions, plan
from backstay.runbooks.restore.rebuild_local import Fetch
from backstay.runbooks.restore.upload import blockers
from backstay.services.registry import all_services, named

HOSTS = {
    "controller": {"address": "192.0.2.11", "roles": ["controller"]},
    "proxy": {"address": "192.0.2.12", "roles": ["storage-proxy"]},
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
    sizes={"files": 1000, "database": 10_000},
    snapshots={"files": "a", "database": "b"},
    facts={"version": "10.11.6-MariaDB", "rows_before": {"nova.instances": 1, "glance.images": 1}},
)


def actions(chosen: RestoreOptions) -> list[str]:
    return [step.action for step in plan(CLOUD, chosen, all_services()).steps]


def test_nothing_that_runs_is_touched_before_all_is_there() -> None:
    made = plan(CLOUD, RestoreOptions(backup=BACKUP, to=RestorePoint(latest=True)), all_services())
    found = [step.action for step in made.steps]
    assert found[:6] == ["look", "fetch", "rebuild", "send", "stop", "swap"]
    assert found[-3:] == ["works", "agents", "tidy"]
    started = [step.arguments["services"][0] for step in made.steps if step.action == "start"]
    assert started[:4] == ["mariadb", "rabbitmq", "memcached", "keystone"]
    assert started.index("keystone") < started.index("nova") < started.index("cinder")
    assert "replay the log to its end" in made.steps[2].does
    assert made.settings == {"backup": "controller-1", "to": "latest", "service": ""}


def test_one_service_starts_alone_and_one_without_databases_needs_no_server() -> None:
    one = RestoreOptions(backup=BACKUP, to=RestorePoint(), service="nova")
    assert actions(one).count("start") == 1
    assert "rebuild" in actions(one)
    assert "rebuild" not in actions(replace(one, service="memcached"))
    proxy = replace(BACKUP, host="proxy", facts={}, snapshots={"files": "a"})
    assert "rebuild" not in actions(RestoreOptions(backup=proxy, to=RestorePoint()))


def test_only_what_was_proved_is_made_on_the_host_itself() -> None:
    for chosen, there in (
        (RestoreOptions(backup=BACKUP, to=RestorePoint()), True),
        (RestoreOptions(backup=replace(BACKUP, state=State.TAKEN), to=RestorePoint()), False),
        (RestoreOptions(backup=replace(BACKUP, engine=Engine.DUMP), to=RestorePoint()), False),
        (RestoreOptions(backup=BACKUP, to=RestorePoint(latest=True)), False),
        (RestoreOptions(backup=BACKUP, to=RestorePoint(), service="nova"), False),
    ):
        step = plan(CLOUD, chosen, all_services()).steps[2]
        assert ("on the host, beside" in step.does) is there
        assert ("in a scratch server here" in step.does) is not there
    room = replace(about(), proved=True, fills=True)
    assert blockers(room, server_host(), ours=OURS, free_here=1200) == []
    assert blockers(replace(room, fills=False), server_host(), ours=OURS, free_here=1200) != []
    newer = "11.8.2-MariaDB"  # makes no databases for the host here, or does
    assert blockers(room, server_host(), ours=newer, free_here=1 << 30) == []
    assert blockers(replace(room, fills=False), server_host(), ours=newer, free_here=1 << 30) == [
        "the backup is of MariaDB 10.11, this machine has 11.8"
    ]


def about(backup: Backup = BACKUP, service: str = "") -> RestoreContext:
    services = [named(service)] if service else all_services()
    return RestoreContext(
        mark="m",
        backup=backup,
        to=RestorePoint(),
        service=service,
        services=services,
        work=Path("/work"),
    )


def server_host(**more: Any) -> ServerHost:
    given = {
        "owner": "mysql",
        "has": {"tar": True, "systemctl": True},
        "zstd": True,
        "server": "mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu",
        "data": "/var/lib/mysql",
        "free_data": 1 << 30,
    }
    return convert(ServerHost, given | more)


OURS = "10.11.3-MariaDB"


def test_every_reason_is_told_at_once() -> None:
    assert blockers(about(), server_host(), ours=OURS, free_here=1 << 30) == []
    bad = server_host(has={"tar": False, "systemctl": True}, free_data=5000, server="")
    found = blockers(about(), bad, ours="11.8.2-MariaDB", free_here=100)
    assert len(found) == 5
    assert found[0] == "the host has no tar"
    assert "this machine has only 100 B free" in found[1]
    assert "the backup is of MariaDB 10.11, the host has none" in found
    assert "the backup is of MariaDB 10.11, this machine has 11.8" in found
    assert "/var/lib/mysql on the host has only 4.9 KiB free" in found[-1]


def test_a_dump_needs_more_room_than_it_has_bytes_and_files_need_no_server() -> None:
    dumped = replace(BACKUP, engine=Engine.DUMP)
    assert blockers(about(), server_host(free_data=13_000), ours=OURS, free_here=1 << 30) == []
    assert (
        blockers(about(dumped), server_host(free_data=13_000), ours=OURS, free_here=1 << 30) != []
    )
    assert (
        blockers(about(service="memcached"), server_host(server=""), ours="", free_here=1 << 30)
        == []
    )


def stream(**more: Any) -> StreamState:
    now = NOW.timestamp()
    given: dict[str, Any] = {
        "host": "controller",
        "doing": StreamActivity.STREAMING,
        "begun_at": now - 9,
        "behind": 0,
        "written_at": now,
        "caught_up_at": now - 1,
        "asked_at": now - 1,
    }
    return StreamState(**(given | more))


@pytest.mark.parametrize(
    ("to", "state", "said"),
    [
        (RestorePoint(), None, "lost: what was written to the databases after"),
        (RestorePoint(), stream(), "--to latest replays the log"),
        (RestorePoint(at=NOW), stream(), "lost: what was written to the databases after"),
        (RestorePoint(latest=True), stream(), "lost: nothing"),
        (
            RestorePoint(latest=True),
            stream(doing=StreamActivity.FAILED, error="cut", asked_at=0),
            "may be lost",
        ),
        (RestorePoint(latest=True), stream(behind=77), "77 bytes were missing"),
        (RestorePoint(latest=True), stream(caught_up_at=None), "was received is not known"),
        (RestorePoint(latest=True), None, "was received is not known"),
    ],
)
def test_what_is_lost_is_never_silent(
    to: RestorePoint, state: StreamState | None, said: str
) -> None:
    [sentence] = losses(BACKUP, to, state, now=NOW)
    assert said in sentence


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    file = tmp_path / "cloud.yaml"
    file.write_text(
        f"credentials: {{openrc: openrc}}\nbackup: {{folder: {tmp_path}/b}}\nhosts:\n"
        "  controller: {address: 192.0.2.11, roles: [controller]}\n"
    )
    monkeypatch.setenv("BACKSTAY_CLOUD", str(file))
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    Catalogue(tmp_path / "b" / "catalogue").write(BACKUP)

    def run(*arguments: str, typed: str = "") -> Any:
        return CliRunner().invoke(backstay, ["backup", "restore", *arguments], input=typed)

    return run


def test_a_restore_is_asked_for_by_the_host_s_name(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = call("controller")
    assert shown.exit_code != 0
    assert "without a terminal this needs --yes" in shown.stderr
    assert "controller-1: VERIFIED" in shown.stdout
    monkeypatch.setattr("backstay.cli.options._has_terminal", lambda: True)
    shown = call("controller", typed="contrller\n")
    assert shown.exit_code == 4
    assert "nothing has been changed" in shown.stderr
    assert not (tmp_path / "journal.db").exists()


def test_what_cannot_be_restored_is_said(call: Any) -> None:
    assert "is neither `latest`, `backup`, nor a time" in call("controller", "--to", "soon").stderr
    assert "restore the whole host" in call("controller", "--service", "mariadb").stderr
    assert "controller has " in call("controller", "--service", "swift").stderr
    error = call("nobody")
    assert "none of that name" in error.stderr


def test_a_host_that_cannot_be_reached_is_a_refusal_and_nothing_is_left_half_way(
    call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(*_: Any, **__: Any) -> Any:
        raise HostUnreachable("asking controller", came_back="no route", remedy="look at it")

    monkeypatch.setattr("backstay.transports.ssh.HostShell.answer", unreachable)
    shown = call("controller", "--yes")
    assert shown.exit_code == 4
    assert "no route" in shown.stdout
    listed = CliRunner().invoke(backstay, ["runs", "list"])
    assert "refused" in listed.stdout


def test_databases_made_here_before_the_host_was_asked_are_sent(tmp_path: Path) -> None:
    """A replacement makes them while the host's packages are still being installed."""
    cloud = Cloud.model_validate(
        {"credentials": {"openrc": "o"}, "hosts": HOSTS, "backup": {"folder": str(tmp_path)}}
    )
    place = Place(cloud)
    place.catalogue.write(BACKUP)
    step = Step(id="controller.send", action="send", target="controller", does="", bound=1)
    settings = {"backup": BACKUP.name, "to": "", "service": "", "mark": "m"}
    made = Plan(
        runbook="replace", cloud="cloud", targets=("controller",), steps=(step,), settings=settings
    )
    site = CloudSession(cloud=cloud, shell=None, api=BackupError("x", came_back="x", remedy="x"))  # type: ignore[arg-type]

    def about(results: dict[str, Any]) -> RestoreContext:
        running = Running(
            run="replace-1", plan=made, step=step, results=results, started=0, report=lambda _: None
        )
        return Fetch(site, place).context(running)

    assert about({}).mark == "m"
    looked = {"controller.look": {"mark": "m", "fills": True}}
    assert about(looked).straight
    assert about({**looked, "controller.rebuild": {"there": True}}).straight
    assert not about({**looked, "controller.rebuild": {"remarks": []}}).straight
