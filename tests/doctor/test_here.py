"""This machine: what is read of it, and how that is judged."""

import asyncio
import os
import pwd
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from backstay.backup.mariadb.needs import PROGRAMS
from backstay.doctor import read_here as reader
from backstay.doctor.facts import Folder, Here
from backstay.doctor.judge_here import judge_here, judge_units
from backstay.doctor.needs import NEEDS, Topic
from backstay.doctor.point import Point, State
from backstay.doctor.read_here import Own, Reading, programs_wanted, read_here
from backstay.inventory.cloud import Cloud
from backstay.lacking import Lack
from tests.doctor.hosts import cloud_in

ROOMY = 1 << 40


def folder(path: str = "/var/lib/backstay", **more: Any) -> Folder:
    given: dict[str, Any] = {
        "path": Path(path),
        "exists": Path(path),
        "writable": True,
        "free": ROOMY,
    }
    return Folder(**given | more)


def judged(topic: Topic, cloud: Cloud | None = None, **here: Any) -> list[Point]:
    given: dict[str, Any] = {"user": "ann", "is_root": False} | here
    return judge_here(Reading(here=Here(**given)), cloud, {topic})


def lack_of(topic: Topic, cloud: Cloud | None = None, **here: Any) -> Point:
    [point] = [one for one in judged(topic, cloud, **here) if one.state is not State.OK]
    return point


def test_all_programs_that_are_missing_come_at_once() -> None:
    found = judged(Topic.DATABASE_PROGRAMS, programs={"mariadb": "/usr/bin/mariadb"})
    assert {one.what for one in found} == {*PROGRAMS, "bash"} - {"mariadb"}
    commands = {one.what: one.command for one in found}
    assert commands["mbstream"] == "sudo apt-get install mariadb-backup"
    assert lack_of(Topic.RESTIC, is_root=True).command == "apt-get install restic"
    found = judged(
        Topic.RESTIC, programs={"restic": "/usr/bin/restic"}, versions={"restic": "0.14"}
    )
    assert [(one.state, one.evidence) for one in found] == [(State.OK, "restic 0.14")]
    old: dict[str, Any] = {
        "programs": {"restic": "/usr/bin/restic"},
        "versions": {"restic": "0.9.6"},
    }
    assert lack_of(Topic.RESTIC, **old).optional


def test_the_ssh_program_is_asked_for_and_can_be_done_without() -> None:
    point = lack_of(Topic.SSH_PROGRAM)
    assert (point.optional, point.command) == (True, "sudo apt-get install openssh-client")
    assert judged(Topic.SSH_PROGRAM, programs={"ssh": "/usr/bin/ssh"})[0].state is State.OK
    assert programs_wanted(NEEDS["check"], None) == ["systemd-run", "ssh"]


def test_a_program_of_the_site_has_no_package(tmp_path: Path) -> None:
    means = {
        "default": {"command": {"argv": ["/opt/build"], "on": "here"}},
        "compute": {"ansible": {"playbook": "site.yml"}},
    }
    cloud = cloud_in(tmp_path, provision=means)
    assert programs_wanted({Topic.PROVISION}, cloud) == ["/opt/build", "ansible-playbook"]
    own, ansible = judged(Topic.PROVISION, cloud)
    assert ansible.command == "sudo apt-get install ansible"
    assert (own.command, own.remedy) == ("", "install /opt/build, or correct `provision`")
    assert "provision" in lack_of(Topic.PROVISION, cloud_in(tmp_path)).remedy


def test_python_packages_and_extras() -> None:
    point = lack_of(Topic.PYTHON_PACKAGES, missing_packages=["tooz"])
    assert "tooz" in point.evidence
    assert point.command.endswith("-m pip install backstay")
    assert "make develop" in lack_of(Topic.LAB, missing_extras={"lab": ["backstay-lab"]}).remedy
    assert judged(Topic.LAB, missing_extras={"lab": []})[0].state is State.OK


def test_what_backstay_wants_is_read_from_its_own_data(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["click>=8.1", "no-such-thing>=1", "psycopg[binary]>=3.2; extra == 'postgresql'"]
    monkeypatch.setattr(metadata, "requires", lambda _name: [*wanted, "nor-this; extra == 'lab'"])
    found = reader._packages()
    assert found["missing_packages"] == ["no-such-thing"]
    assert found["missing_extras"]["lab"] == ["nor-this"]
    assert set(found["missing_extras"]) == {"lab", "postgresql"}


@pytest.mark.parametrize(
    ("more", "evidence", "command"),
    [
        (
            {"trouble": "it belongs to another user (33)"},
            "33",
            "sudo chown -R ann /var/lib/backstay",
        ),
        ({"trouble": "everybody may write to it"}, "every", "sudo chmod o-w /var/lib/backstay"),
        (
            {"writable": False},
            "may not write",
            "sudo install -d -m 0700 -o ann /var/lib/backstay",
        ),
        ({"free": 1000}, "are free", "du -xh /var/lib/backstay | sort -h | tail -n 20"),
    ],
)
def test_a_folder_that_cannot_be_used(more: Any, evidence: str, command: str) -> None:
    point = lack_of(Topic.JOURNAL, state_folder=folder(**more))
    assert evidence in point.evidence
    assert point.command == command


def test_room_for_backups_is_twice_the_newest() -> None:
    room: dict[str, Any] = {"backup_folder": folder(free=10 << 30)}
    assert judged(Topic.BACKUP_FOLDER, **room)[0].state is State.OK
    assert "needs" in lack_of(Topic.BACKUP_FOLDER, newest_backup=6 << 30, **room).evidence


def test_a_folder_is_read_without_making_it(tmp_path: Path) -> None:
    found = reader._folder(tmp_path / "a" / "b")
    assert (found.exists, found.writable) == (tmp_path, True)
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o777)
    assert reader._folder(tmp_path).trouble.startswith("everybody may write")
    if os.geteuid() == 0:
        os.chown(tmp_path, 4711, 4711)
        assert "another user (4711)" in reader._folder(tmp_path).trouble


def test_units_that_are_not_installed_are_optional_and_those_that_failed_are_not() -> None:
    units = {Topic.WATCH_UNIT: ["w.service"], Topic.STREAM_UNITS: ["s.service", "t.service"]}
    states = {"s.service": "failed", "t.service": "active"}
    here = Here(user="root", is_root=True, units=states)
    found = list(judge_units(here, Path("/c.yaml"), units, set(units)))
    watch, failed, active = found
    assert (watch.optional, watch.command) == (True, "backstay watch install --cloud /c.yaml")
    assert (failed.optional, failed.command) == (False, "systemctl restart s.service")
    assert active.state is State.OK
    assert list(judge_units(here, Path("/c.yaml"), units, set())) == []
    ann = Here(user="ann", is_root=False, units=here.units)
    line = "sudo backstay watch install --cloud /etc/backstay/c.yaml"
    for place, words in ((Path("/home/ann/c.yaml"), True), (Path("/etc/backstay/c.yaml"), False)):
        watch = next(iter(judge_units(ann, place, units, set(units))))
        assert (watch.command, "folder of root's" in watch.remedy) == (line, words)


def test_the_rest_of_this_machine() -> None:
    assert (
        "sysctl -w 'net.ipv4.ping_group_range=0 2147483647'"
        in lack_of(Topic.PING, can_ping=False).command
    )
    assert lack_of(Topic.SYSTEMD, systemd=False).optional
    assert lack_of(Topic.SYSTEMD).what == "root on this machine"
    lack = Lack(what="sandbox", evidence="refused", remedy="sysctl")
    assert lack_of(Topic.SANDBOX, sandbox_error=lack).remedy == "sysctl"
    assert lack_of(Topic.OWN_CODE, is_root=True, own_code=lack).evidence == "refused"
    assert judged(Topic.OWN_CODE, own_code=lack) == []
    assert lack_of(Topic.SECRETS, exposed=[lack]).what == "sandbox"
    error: dict[str, Any] = {
        "journal_file": Path("/j.db"),
        "journal_error": "it is not a database of SQLite",
    }
    assert "not a database" in lack_of(Topic.JOURNAL, **error).evidence


def test_what_could_not_be_read_is_unknown() -> None:
    here = Here(user="root", is_root=True)
    reading = Reading(here=here, troubles={Topic.RESTIC: "not read within 25 s"})
    [point] = judge_here(reading, None, {Topic.RESTIC})
    assert (point.state, point.evidence) == (State.UNKNOWN, "not read within 25 s")


def test_reading_changes_nothing_and_one_part_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/deep/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    monkeypatch.setattr(reader, "_can_ping", lambda: 1 / 0)
    cloud = cloud_in(tmp_path)
    wanted = {topic for topics in NEEDS.values() for topic in topics} - {Topic.SANDBOX}
    reading = asyncio.run(read_here(cloud, wanted, Own(code=[Path(__file__)])))
    assert list(tmp_path.iterdir()) == []
    assert list(reading.troubles) == [Topic.PING]
    assert "ZeroDivisionError" in reading.troubles[Topic.PING]
    assert reading.here.backup_folder is not None
    assert reading.here.journal_file == tmp_path / "deep" / "journal.db"


def test_a_user_without_a_name_and_without_a_home_is_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nobody(*_: object) -> Any:
        raise KeyError("uid not found")

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr(reader, "state_folder", homeless)
    reading = asyncio.run(read_here(None, {Topic.JOURNAL}, Own()))
    assert reading.here.user == str(os.geteuid())
    [point] = judge_here(reading, None, {Topic.JOURNAL})
    assert point.state is State.UNKNOWN
    assert point.evidence == "Could not determine home directory. Set HOME"


def test_hooks_whose_program_is_not_there(tmp_path: Path) -> None:
    hooks = {"before": ["/opt/site/ticket --ask", "true", "X=1 true"], "after": ["nosuchword now"]}
    cloud = cloud_in(tmp_path, maintenance={"hooks": hooks})
    found = list(reader._hooks(cloud))
    assert [(one.what, one.optional) for one in found] == [
        ("hook before", False),
        ("hook after", True),
    ]
    assert "/opt/site/ticket" in found[0].evidence


def test_versions_are_what_programs_say(tmp_path: Path) -> None:
    program = tmp_path / "restic"
    program.write_text("#!/bin/sh\necho 'restic 0.16.4 compiled with go1.21'\n")
    program.chmod(0o755)
    assert reader._version(str(program), "version") == "0.16.4"
    said = "echo 'mariadbd  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu'"
    program.write_text(f"#!/bin/sh\n{said}\n")
    assert reader._version(str(program), "--version") == "10.11.6-MariaDB-0+deb12u1"
    assert reader._version(str(tmp_path / "none"), "version") == ""


def test_the_commands_for_folders_work_when_pasted(tmp_path: Path) -> None:
    path = tmp_path / "state of ann" / "backstay"
    (tmp_path / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    found = folder(str(path), exists=tmp_path, writable=False)
    line = lack_of(Topic.JOURNAL, user=str(os.geteuid()), state_folder=found).command
    subprocess.run(["sh", "-c", line], check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert path.stat().st_mode & 0o777 == 0o700
