"""All of it together: what is found by command, what is to be done, printed and as JSON."""

import asyncio
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from backstay.cli import doctor as cli_doctor
from backstay.cli.main import backstay
from backstay.cli.output.doctor import doctor_document, doctor_text
from backstay.doctor import examination
from backstay.doctor.examination import Report, examine, example, needs_of, severity_of
from backstay.doctor.facts import Here
from backstay.doctor.needs import COMMANDS, NEEDS, Level, Topic
from backstay.doctor.point import Point, State
from backstay.doctor.read_here import Own, Reading
from backstay.doctor.todo import todos
from backstay.errors import HostUnreachable
from backstay.finding import Severity
from backstay.inventory.load import load
from backstay.transports import namespaces
from backstay.transports.exchange import HttpExchange, HttpOutcome
from tests.doctor.hosts import RecordedShell, cloud_in, session_of
from tests.doctor.test_hosts import HOST, inside
from tests.services.memory_api import MemoryApi

DOCS = Path(__file__).parents[2] / "docs"


def point(topic: Topic, state: State = State.MISSING, **more: Any) -> Point:
    given = {"what": topic.value, "evidence": f"about {topic.value}"}
    return Point(topic=topic, state=state, **(given | more))


def report(folder: Path, *points: Point, commands: tuple[str, ...] = COMMANDS) -> Report:
    cloud = cloud_in(folder, ssh={"user": "ann"})
    needs = needs_of(commands, cloud)
    return Report(cloud=cloud, needs=needs, points=points, hosts=list(cloud.hosts))


def test_every_need_is_read_and_judged_somewhere() -> None:
    assert {topic for topics in NEEDS.values() for topic in topics} == set(Topic)
    assert list(cli_doctor._NAMES) == list(NEEDS)


def test_how_bad_it_is_depends_on_the_command(tmp_path: Path) -> None:
    missing, unknown = point(Topic.BMC, host="compute1"), point(Topic.BMC, State.UNKNOWN)
    assert severity_of(missing, Level.NEEDED) is Severity.FAILED
    assert severity_of(unknown, Level.NEEDED) is Severity.UNKNOWN
    assert severity_of(missing, Level.OPTIONAL) is Severity.WARNING
    assert severity_of(point(Topic.BMC, optional=True), Level.NEEDED) is Severity.WARNING
    assert severity_of(point(Topic.BMC, State.OK), Level.NEEDED) is Severity.OK
    assert report(tmp_path, missing, commands=("reboot",)).status is Severity.WARNING
    assert report(tmp_path, missing, commands=("replace",)).status is Severity.FAILED


def test_a_spare_that_is_off_is_missed_by_a_replacement_alone(tmp_path: Path) -> None:
    off = point(Topic.LOGIN, State.UNKNOWN, host="spare1")
    assert report(tmp_path, off, commands=("check",)).status is Severity.WARNING
    assert report(tmp_path, off, commands=("replace",)).status is Severity.UNKNOWN


def test_a_reboot_that_takes_a_backup_before_needs_what_that_needs(tmp_path: Path) -> None:
    cloud = cloud_in(tmp_path, maintenance={"backup": True})
    assert needs_of(["reboot"], cloud)["reboot"][Topic.RESTIC] is Level.NEEDED
    assert needs_of(["reboot"], cloud)["reboot"][Topic.SYSTEMD] is Level.NEEDED
    assert Topic.RESTIC not in needs_of(["reboot"], cloud_in(tmp_path))["reboot"]


def test_packages_of_one_place_are_installed_by_one_line(tmp_path: Path) -> None:
    no_such: dict[str, Any] = {"evidence": "this machine has no such program"}
    restic = point(
        Topic.RESTIC, packages=("restic",), command="sudo apt-get install restic", **no_such
    )
    tools = point(
        Topic.DATABASE_PROGRAMS,
        what="mbstream",
        packages=("zstd", "a"),
        command="sudo apt-get install zstd a",
        **no_such,
    )
    there = point(Topic.DATABASE, host="controller", packages=("b",), command="x")
    also = point(Topic.PROVISION, host="controller", packages=("c",), command="y")
    here, host = todos(report(tmp_path, restic, tools, there, also))
    assert here.lines == ("sudo apt-get install a restic zstd",)
    assert here.seen == (("restic, mbstream", "this machine has no such program"),)
    assert host.lines == ("ssh ann@10.0.0.11 sudo apt-get install b c",)


def test_what_is_alike_on_several_hosts_is_one_entry(tmp_path: Path) -> None:
    points = [
        point(Topic.ROOT, host=name, command=f"ssh {name}") for name in ("controller", "compute1")
    ]
    [one] = todos(report(tmp_path, *points))
    assert one.hosts == ("controller", "compute1")
    assert one.lines == ("ssh controller", "ssh compute1")
    here = point(Topic.ROOT, command="x")
    assert len(todos(report(tmp_path, here, *points))) == 2


def test_the_worst_comes_first(tmp_path: Path) -> None:
    found = todos(
        report(tmp_path, point(Topic.PING), point(Topic.RESTIC), point(Topic.API, State.UNKNOWN))
    )
    severities = [one.severity for one in found]
    assert severities == [Severity.FAILED, Severity.UNKNOWN, Severity.WARNING]


MANY = [
    point(Topic.RESTIC, packages=("restic",), command="apt-get install restic"),
    point(Topic.LOGIN, State.UNKNOWN, host="controller", remedy="is it powered on?"),
    point(Topic.ROOT, host="compute1", command="ssh -t ann@10.0.0.21 " + "x" * 150),
    point(Topic.PING, evidence="long " * 60),
    point(Topic.CLOUD_FILE, evidence="2 mistakes\n  c.yaml:3: hosts\n  c.yaml:4: roles"),
    point(Topic.JOURNAL, State.OK),
]


@pytest.mark.parametrize("width", [80, 120])
def test_only_what_is_pasted_is_longer_than_the_terminal(tmp_path: Path, width: int) -> None:
    text = doctor_text(report(tmp_path, *MANY), seconds=1, width=width, verbose=True)
    for line in click.unstyle(text).splitlines():
        assert len(line) <= width or line.lstrip().startswith(("$ ", "-> "))
    assert "\x1b" not in click.unstyle(text)
    assert "c.yaml:4: roles" in text


def test_the_table_says_it_by_command(tmp_path: Path) -> None:
    text = click.unstyle(doctor_text(report(tmp_path, *MANY), seconds=1, width=80, verbose=False))
    rows = {line.split()[0]: line for line in text.split("What to do")[0].splitlines()[2:] if line}
    assert re.search(r"^backup +2 missing +1 missing, 1 unknown$", rows["backup"])
    assert re.search(r"^reconcile +1 missing +1 missing, 1 unknown$", rows["reconcile"])
    assert text.startswith(
        "MISSING: 3 missing, 1 unknown, 1 optional and missing (example, 3 hosts"
    )


def test_the_document_is_as_the_schema_says(tmp_path: Path) -> None:
    schema = json.loads((DOCS / "doctor.schema.json").read_text())
    found = doctor_document(report(tmp_path, *MANY), seconds=1.0)
    assert list(found) == schema["required"] == list(schema["properties"])
    one = schema["properties"]["points"]["items"]
    for given in found["points"]:
        assert list(given) == one["required"] == list(one["properties"])
        assert given["state"] in one["properties"]["state"]["enum"]
        assert given["topic"] in one["properties"]["topic"]["enum"]
    assert one["properties"]["topic"]["enum"] == [topic.value for topic in Topic]
    cell = schema["properties"]["commands"]["additionalProperties"]["properties"]
    words = cell["here"]["enum"]
    assert found["status"] in schema["properties"]["status"]["enum"] == words
    assert {row[where] for row in found["commands"].values() for where in row} <= set(words)
    json.dumps(found)


def test_everything_is_read_at_the_same_time_and_one_host_s_fault_leaves_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/j/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    monkeypatch.setattr(namespaces, "form", lambda: "confined")
    unreachable = HostUnreachable("c", came_back="no route to host", remedy="is it on?")
    shell = RecordedShell({"controller": HOST, "compute1": inside()}, spare1=unreachable)
    session = session_of(cloud_in(tmp_path), shell, MemoryApi())
    monkeypatch.setattr("backstay.doctor.read_afar.exchange", nothing)
    found = asyncio.run(examine(session, COMMANDS, list(session.cloud.hosts), Own()))
    assert sorted(shell.asked) == ["compute1", "controller", "spare1"]
    hosts = {one.host for one in found.points}
    assert hosts == {None, "controller", "compute1", "spare1"}
    topics = {one.topic for one in found.points}
    assert {Topic.API, Topic.RESTIC, Topic.DATABASE_LOG, Topic.SANDBOX, Topic.BMC} <= topics
    assert sorted(one.name for one in tmp_path.iterdir()) == []


async def nothing(_url: str, **_: Any) -> Any:
    return HttpExchange(outcome=HttpOutcome.SILENT, seconds=0.0)


def test_programs_older_than_a_server_are_needed_and_newer_ones_for_a_replacement() -> None:
    here = Here(user="root", is_root=True, versions={"mariadbd": "10.11.6-MariaDB"})
    [older] = examination._versions(Reading(here=here), {"controller": "11.8.2-MariaDB"})
    assert (older.optional, older.topic) == (False, Topic.DATABASE_PROGRAMS)
    assert "11.8" in older.remedy
    [newer] = examination._versions(Reading(here=here), {"controller": "10.5.1-MariaDB"})
    assert (newer.optional, newer.topic) == (False, Topic.DATABASE_RELEASE)
    assert Topic.DATABASE_RELEASE not in NEEDS["backup"]
    assert NEEDS["restore"][Topic.DATABASE_RELEASE] is Level.OPTIONAL
    assert NEEDS["replace"][Topic.DATABASE_RELEASE] is Level.NEEDED
    assert examination._versions(Reading(here=here), {"controller": "10.11.2-MariaDB"}) == []


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    monkeypatch.delenv("BACKSTAY_CLOUD", raising=False)
    monkeypatch.setattr("backstay.inventory.load.PLACES", (Path("cloud.yaml"),))
    monkeypatch.setattr("backstay.cli.lab.entry_points", lambda **_: ())
    return lambda *words: CliRunner().invoke(backstay, ["doctor", *words])


def test_without_a_cloud_it_says_how_to_get_one(call: Any, tmp_path: Path) -> None:
    done: Result = call("check")
    assert done.exit_code == 2
    assert "no --cloud" in done.output
    assert example(Path("cloud.yaml")) in done.output
    assert "this machine alone" in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_cloud_file_that_is_named_and_absent_can_be_made(call: Any, tmp_path: Path) -> None:
    done: Result = call("check", "--cloud", "my cloud.yaml", "-o", "json")
    [absent] = [one for one in json.loads(done.stdout)["points"] if one["topic"] == "cloud-file"]
    assert absent["command"] == example(Path("my cloud.yaml"))
    subprocess.run(["sh", "-c", absent["command"]], check=True, cwd=tmp_path)
    assert list(load(tmp_path / "my cloud.yaml").hosts) == ["controller", "compute1"]


def test_a_mistake_in_cloud_yaml_is_named_with_its_line(call: Any, tmp_path: Path) -> None:
    (tmp_path / "cloud.yaml").write_text("hosts: {a: {address: 1.2.3, roles: [cook]}}\n")
    done: Result = call("check", "-o", "json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["cloud"]) == (2, None)
    [wrong] = [one for one in found["points"] if one["topic"] == "cloud-file"]
    assert "cloud.yaml:1" in wrong["evidence"]
    assert "cook" in wrong["evidence"]


def test_hosts_that_cannot_be_reached_take_no_longer_than_their_bound(
    call: Any, tmp_path: Path
) -> None:
    (tmp_path / "openrc").write_text(
        "export OS_AUTH_URL=http://127.0.0.1:1/v3 OS_USERNAME=a OS_PASSWORD=b OS_PROJECT_NAME=c "
        "OS_IDENTITY_API_VERSION=3\n"
    )
    hosts = ", ".join(
        f"h{n}: {{address: 127.0.0.{n}, roles: [compute], ssh: {{port: 1}}}}" for n in range(2, 12)
    )
    (tmp_path / "cloud.yaml").write_text(f"credentials: {{openrc: openrc}}\nhosts: {{{hosts}}}\n")
    for name in ("openrc", "cloud.yaml"):
        (tmp_path / name).chmod(0o600)
    started = time.monotonic()
    done: Result = call("check", "--host", "h2", "--host", "h3", "-o", "json")
    assert time.monotonic() - started < 60
    found = json.loads(done.stdout)
    assert found["hosts"] == ["h2", "h3"]
    logins = [one for one in found["points"] if one["topic"] == "login"]
    assert [(one["host"], one["state"]) for one in logins] == [("h2", "unknown"), ("h3", "unknown")]
    assert done.exit_code == 3
    assert call("--host", "h99").exit_code == 64


def test_an_unknown_command_is_called_wrongly_and_the_lab_is_looked_at_on_request(
    call: Any,
) -> None:
    assert call("repair").exit_code == 64
    done: Result = call("lab", "-o", "json")
    assert list(json.loads(done.stdout)["commands"]) == ["lab"]


def test_commands_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {
        "_BACKSTAY_COMPLETE": "bash_complete",
        "COMP_WORDS": "backstay doctor re",
        "COMP_CWORD": "2",
    }
    done = CliRunner().invoke(backstay, env=words, prog_name="backstay")
    for name in ("reboot", "restore", "replace", "reconcile", "reattach"):
        assert name in done.output
    assert os.environ.get("_BACKSTAY_COMPLETE") is None
    assert monkeypatch is not None
