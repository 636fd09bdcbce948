"""What hosts answer, as recorded of sudo and of Python, and how it is judged."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from backstay.backup.mariadb import onhost_doctor
from backstay.doctor import onhost
from backstay.doctor.judge_hosts import judge_hosts, server_versions
from backstay.doctor.needs import NEEDS, Topic
from backstay.doctor.point import Point, State
from backstay.doctor.read_hosts import Questions, assemble, questions_of, read_hosts
from backstay.errors import HostKeyRefused, HostUnreachable, LoginRefused, NoPython
from backstay.inventory.cloud import Cloud
from backstay.services.registry import all_services
from tests.doctor.hosts import LocalShell, RecordedShell, cloud_in, session_of

ALL = frozenset(topic for topics in NEEDS.values() for topic in topics)


def ok(value: Any) -> dict[str, Any]:
    return {"value": value, "seconds": 0.1}


DATABASE = {
    "version": "10.11.6-MariaDB-0+deb12u1",
    "writes_log": True,
    "copies": True,
    "dumps": True,
}
INSIDE = {
    "is_root": True,
    "answers": {
        "programs": ok([]),
        "files": ok([]),
        "systemd": ok(True),
        "temporary": ok(["/tmp", 1 << 30]),
        "rpc": ok([]),
        "database": ok(DATABASE),
    },
}
HOST: dict[str, Any] = {"python": [3, 11, 2], "user": "root", "is_root": True, "root": INSIDE}


def inside(**answers: Any) -> dict[str, Any]:
    found = {name: ok(value) for name, value in answers.items()}
    return HOST | {"root": INSIDE | {"answers": INSIDE["answers"] | found}}  # type: ignore[operator]


def by_sudo(said: str) -> dict[str, Any]:
    return {"python": [3, 9, 2], "user": "stack", "is_root": False, "refused": said.splitlines()}


def points(
    cloud: Cloud, answers: dict[str, Any], *, ahead: float = 0.0, **broken: Any
) -> list[Point]:
    session = session_of(cloud, RecordedShell(answers, ahead=ahead, **broken))
    questions = {name: Questions(sources={}) for name in [*answers, *broken]}
    return judge_hosts(cloud, asyncio.run(read_hosts(session, questions)), ALL)


def bad(found: list[Point]) -> list[Point]:
    return [point for point in found if point.state is not State.OK]


def one(found: list[Point], topic: Topic) -> Point:
    [point] = [point for point in found if point.topic is topic]
    return point


def test_a_host_with_all_that_is_needed_lacks_nothing(tmp_path: Path) -> None:
    found = points(cloud_in(tmp_path), {"controller": HOST})
    assert bad(found) == []
    assert {Topic.LOGIN, Topic.PYTHON, Topic.ROOT, Topic.DATABASE_LOG, Topic.CLOCK} <= {
        point.topic for point in found
    }


@pytest.mark.parametrize(
    ("said", "what", "in_command"),
    [
        (
            "sudo: a password is required",
            "sudo (NOPASSWD)",
            "stack ALL=(root) NOPASSWD: /usr/bin/python3",
        ),
        (
            "stack is not in the sudoers file.\n"
            "This incident has been reported to the administrator.",
            "sudo (NOPASSWD)",
            "stack ALL=(root) NOPASSWD: /usr/bin/python3",
        ),
        (
            "sudo: sorry, you must have a tty to run sudo",
            "sudo (requiretty)",
            "Defaults:stack !requiretty",
        ),
    ],
)
def test_what_sudo_refuses_is_corrected_by_a_line_on_a_terminal(
    tmp_path: Path, said: str, what: str, in_command: str
) -> None:
    cloud = cloud_in(tmp_path, ssh={"user": "stack", "port": 2222})
    [point] = bad(points(cloud, {"compute1": by_sudo(said)}))
    assert (point.topic, point.state, point.what) == (Topic.ROOT, State.MISSING, what)
    assert said.splitlines()[0].replace("  ", " ") in point.evidence
    assert point.command.startswith("ssh -t -p 2222 stack@10.0.0.21 ")
    assert in_command in point.command


def test_the_line_for_sudo_reaches_the_host_as_one_command(tmp_path: Path) -> None:
    cloud = cloud_in(tmp_path, ssh={"user": "stack"})
    [point] = bad(points(cloud, {"compute1": by_sudo("sudo: a password is required")}))
    (tmp_path / "ssh").write_text(
        f'#!/bin/sh\n[ $1 = -t ] || exit 9\nshift 2\nPATH={tmp_path}:$PATH exec sh -c "$*"\n'
    )
    (tmp_path / "sudo").write_text('#!/bin/sh\nshift 2; cat >"$OUT"; echo "$1" >>"$OUT"\n')
    for name in ("ssh", "sudo"):
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "OUT": str(tmp_path / "out")}
    subprocess.run(["sh", "-c", point.command], check=True, env=environment)
    assert (tmp_path / "out").read_text().splitlines() == [
        "stack ALL=(root) NOPASSWD: /usr/bin/python3",
        "/etc/sudoers.d/backstay",
    ]


def test_a_host_without_sudo_and_one_where_sudo_says_something_else(tmp_path: Path) -> None:
    cloud = cloud_in(tmp_path, ssh={"user": "stack"})
    absent = "not root, and sudo cannot be used: No such file or directory"
    [point] = bad(points(cloud, {"compute1": by_sudo(absent)}))
    assert (point.what, point.state) == ("sudo", State.MISSING)
    assert "apt-get install sudo" in point.remedy
    [point] = bad(points(cloud, {"compute1": by_sudo("sudo: unable to stat /etc/sudoers")}))
    # It has the word, and is about the file: no line would help.
    assert (point.topic, point.state, point.command) == (Topic.ROOT, State.MISSING, "")
    [point] = bad(points(cloud, {"compute1": by_sudo("pam_ldap: timeout")}))
    assert (point.state, point.evidence) == (State.UNKNOWN, "pam_ldap: timeout")


def test_sudo_that_makes_another_user_is_not_root(tmp_path: Path) -> None:
    answer = HOST | {"is_root": False, "user": "stack", "root": INSIDE | {"is_root": False}}
    found = bad(points(cloud_in(tmp_path, ssh={"user": "stack"}), {"compute1": answer}))
    assert [point.topic for point in found] == [Topic.ROOT]


def test_a_python_that_is_too_old_is_named_and_nothing_else_asked(tmp_path: Path) -> None:
    answer = {"python": [3, 5, 3], "user": "root", "is_root": True}
    found = bad(points(cloud_in(tmp_path), {"compute1": answer}))
    assert one(found, Topic.PYTHON).evidence.startswith("it is 3.5.3; 3.6")


def test_where_no_host_answers_a_bastion_is_thought_of(tmp_path: Path) -> None:
    def silent() -> dict[str, Any]:
        names = ("controller", "compute1", "spare1")
        return {name: HostUnreachable("c", came_back="no answer", remedy="power") for name in names}

    found = bad(points(cloud_in(tmp_path), {}, **silent()))
    assert {"`jumps`: docs/ssh.md" in point.remedy for point in found} == {True}
    one_refuses: dict[str, Any] = silent() | {
        "spare1": LoginRefused("l", came_back="the host refuses the user", remedy="add the key")
    }
    for cloud, answers in (
        (cloud_in(tmp_path), one_refuses),
        (cloud_in(tmp_path, ssh={"jumps": "bastion"}), silent()),
    ):
        remedies = [point.remedy for point in bad(points(cloud, {}, **answers))]
        assert not [one for one in remedies if "jumps" in one]


def test_hosts_that_are_not_reached_are_told_apart(tmp_path: Path) -> None:
    broken: dict[str, Any] = {
        "controller": HostUnreachable("c", came_back="no route to host", remedy="power"),
        "compute1": HostKeyRefused("c", came_back="no key of it is known", remedy="ssh-keyscan"),
        "spare1": NoPython("c", came_back="it has no python3", remedy="apt-get install"),
    }
    found = bad(points(cloud_in(tmp_path), {}, **broken))
    assert [(point.host, point.topic, point.state) for point in found] == [
        ("controller", Topic.LOGIN, State.UNKNOWN),
        ("compute1", Topic.LOGIN, State.MISSING),
        ("spare1", Topic.PYTHON, State.MISSING),
    ]
    refused = LoginRefused("l", came_back="the host refuses the user", remedy="add the key")
    [point] = bad(points(cloud_in(tmp_path), {}, compute1=refused))
    assert (point.state, point.remedy) == (State.MISSING, "add the key")


def test_agents_whose_setting_is_off_are_one_line_for_each_file(tmp_path: Path) -> None:
    conf = tmp_path / "nova.conf"
    rpc = [
        ["nova-compute", "", str(conf)],
        ["nova-conductor", "false", str(conf)],
        ["neutron-dhcp-agent", "True", "/etc/neutron/neutron.conf"],
    ]
    [point] = bad(points(cloud_in(tmp_path), {"compute1": inside(rpc=rpc)}))
    assert point.optional
    assert point.evidence.startswith("off for nova-compute, nova-conductor:")
    conf.write_text("[DEFAULT]\nrpc_ping_enabled = false\nx = 1\n[api]\n")
    line = point.command.removeprefix("ssh 10.0.0.21 ")
    assert line != point.command
    for name, text in {"ssh": 'shift\nexec sh -c "$*"', "systemctl": 'echo "$@" >"$OUT"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "OUT": str(tmp_path / "out")}
    subprocess.run(["sh", "-c", point.command], check=True, env=environment)
    assert conf.read_text() == "[DEFAULT]\nrpc_ping_enabled = true\nx = 1\n[api]\n"
    assert (tmp_path / "out").read_text() == "restart nova-compute nova-conductor\n"


def test_a_database_without_a_log_or_without_what_copies_it(tmp_path: Path) -> None:
    answer = inside(database=DATABASE | {"writes_log": False, "copies": False})
    found = bad(points(cloud_in(tmp_path), {"controller": answer}))
    log = one(found, Topic.DATABASE_LOG)
    assert log.command.startswith("ssh 10.0.0.11 ")
    assert "log_bin" in log.command
    copies = one(found, Topic.DATABASE)
    assert copies.packages == ("mariadb-backup",)
    assert copies.command == "ssh 10.0.0.11 apt-get install mariadb-backup"
    assert not copies.optional
    answer = inside(database=DATABASE | {"dumps": False})
    assert one(bad(points(cloud_in(tmp_path), {"controller": answer})), Topic.DATABASE).optional


def test_the_line_for_a_log_writes_the_file(tmp_path: Path) -> None:
    answer = inside(database=DATABASE | {"writes_log": False})
    [point] = bad(points(cloud_in(tmp_path), {"controller": answer}))
    line = point.command.replace("/etc/mysql/mariadb.conf.d", str(tmp_path))
    (tmp_path / "ssh").write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
    (tmp_path / "ssh").chmod(0o755)
    subprocess.run(["sh", "-c", line], check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert (tmp_path / "60-backstay.cnf").read_text() == "[mariadb]\nlog_bin\n"


def test_a_database_that_does_not_answer_is_unknown(tmp_path: Path) -> None:
    answers = INSIDE["answers"] | {"database": {"error": "OSError: Can't connect", "seconds": 1}}  # type: ignore[operator]
    answer = HOST | {"root": INSIDE | {"answers": answers}}
    [point] = bad(points(cloud_in(tmp_path), {"controller": answer}))
    assert (point.state, point.topic) == (State.UNKNOWN, Topic.DATABASE)
    assert "journalctl" in point.remedy


def test_an_answer_of_another_form_is_one_unknown_and_the_others_count(tmp_path: Path) -> None:
    found = bad(points(cloud_in(tmp_path), {"controller": inside(rpc={"a": 1}, systemd="x")}))
    assert {(point.topic, point.state) for point in found} == {
        (Topic.RPC_PING, State.UNKNOWN),
        (Topic.SYSTEMD, State.UNKNOWN),
    }


def test_one_clock_that_is_wrong_is_the_host_s_and_all_are_this_machine_s(tmp_path: Path) -> None:
    cloud = cloud_in(tmp_path)
    [point] = bad(points(cloud, {"compute1": HOST}, ahead=60.0))
    assert (point.host, point.topic) == ("compute1", Topic.CLOCK)
    assert "ahead of this machine's" in point.evidence
    [point] = bad(points(cloud, {"compute1": HOST, "controller": HOST}, ahead=60.0))
    assert point.host is None
    assert "behind all 2 hosts'" in point.evidence
    assert point.command == "timedatectl set-ntp true"
    [point] = bad(points(cloud, {"compute1": HOST}, ahead=1.0))
    assert point.optional


def test_what_builds_hosts_is_looked_for_where_it_runs(tmp_path: Path) -> None:
    manifest = "/etc/puppet/site.pp"
    cloud = cloud_in(tmp_path, provision={"default": {"puppet": {"manifest": manifest}}})
    for host, programs in (("controller", ("puppet",)), ("spare1", ())):
        asked = questions_of(cloud, cloud.hosts[host], all_services(), ALL, onhost.free)
        assert asked.programs == programs
    answer = inside(programs=["puppet"], files=[manifest])
    program, file = bad(points(cloud, {"controller": answer}))
    assert program.command == "ssh 10.0.0.11 apt-get install puppet-agent"
    assert manifest in file.what


def test_only_what_is_wanted_is_asked(tmp_path: Path) -> None:
    cloud = cloud_in(tmp_path)
    wanted = NEEDS["reconcile"]
    asked = questions_of(cloud, cloud.hosts["controller"], all_services(), wanted, onhost.free)
    assert (asked.rpc, asked.sources) == ((), {})
    asked = questions_of(cloud, cloud.hosts["controller"], all_services(), ALL, onhost.free)
    assert ("nova-conductor", "nova", "/etc/nova/nova.conf") in asked.rpc
    assert list(asked.sources) == ["database"]


def test_a_host_runs_what_is_sent_in_one_round_trip(tmp_path: Path) -> None:
    cloud = cloud_in(tmp_path)
    shell = LocalShell()
    asked = questions_of(cloud, cloud.hosts["compute1"], all_services(), ALL, onhost.free)
    found = asyncio.run(read_hosts(session_of(cloud, shell), {"compute1": asked}))
    assert shell.asked == ["compute1"]
    judged = judge_hosts(cloud, found, ALL)
    assert one(judged, Topic.PYTHON).state is State.OK
    assert one(judged, Topic.CLOCK).state is State.OK
    if os.geteuid() == 0:
        assert one(judged, Topic.ROOT).state is State.OK
        assert one(judged, Topic.TEMPORARY).state is State.OK


def test_a_question_that_hangs_or_fails_leaves_the_others(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("what is asked inside is asked as root")
    asked = Questions(sources={"database": (0.2, hangs)})
    session = session_of(cloud_in(tmp_path), LocalShell())
    found = asyncio.run(read_hosts(session, {"controller": asked}))
    judged = judge_hosts(session.cloud, found, ALL)
    point = one(judged, Topic.DATABASE)
    assert (point.state, point.evidence) == (State.UNKNOWN, "no answer within 0.2 s")
    assert one(judged, Topic.SYSTEMD).state in {State.OK, State.MISSING}


def hangs() -> None:
    time.sleep(60)


def test_the_script_is_read_by_an_old_python_up_to_its_inner_part() -> None:
    outer = assemble(Questions(sources={}), 10.0)
    assert "f'" not in outer.replace(repr_of_inner(outer), "")
    assert 'f"' not in outer.replace(repr_of_inner(outer), "")


def repr_of_inner(outer: str) -> str:
    return outer[outer.rindex("outside(") :]


def test_sudo_is_called_without_a_question_and_its_words_are_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sudo").write_text('#!/bin/sh\nprintf "%s\\n" "$*" >&2\ncat >/dev/null\nexit 1\n')
    (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert onhost.as_root("x", 5.0) == {"refused": ["-n python3 -I -"]}
    (tmp_path / "sudo").write_text("#!/bin/sh\nsleep 60\n")
    assert onhost.as_root("x", 0.2) == {"refused": ["no answer within 0.2 s"]}
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert onhost.as_root("x", 5.0) == {
        "refused": ["not root, and sudo cannot be used: No such file or directory"]
    }


def test_versions_of_servers_are_texts(tmp_path: Path) -> None:
    cloud = cloud_in(tmp_path)
    session = session_of(cloud, RecordedShell({"controller": HOST}))
    found = asyncio.run(read_hosts(session, {"controller": Questions(sources={})}))
    assert server_versions(found) == {"controller": "10.11.6-MariaDB-0+deb12u1"}


def test_what_is_sent_is_python() -> None:
    for text in (assemble(Questions(sources={}), 10.0),):
        compile(text, "sent", "exec")
        assert json.dumps(text)
    assert sys.version_info >= onhost.OLDEST


def test_a_server_is_asked_on_its_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("what is asked inside is asked as root")
    client = tmp_path / "mariadb"
    client.write_text("#!/bin/sh\ncat >/dev/null\nprintf '10.11.6-MariaDB\\t0\\t1\\n'\n")
    client.chmod(0o755)
    (tmp_path / "mariadb-backup").symlink_to("mariadb")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    cloud = cloud_in(tmp_path)
    wanted = {Topic.DATABASE, Topic.DATABASE_LOG}
    asked = questions_of(
        cloud, cloud.hosts["controller"], all_services(), wanted, onhost_doctor.readiness
    )
    found = asyncio.run(read_hosts(session_of(cloud, LocalShell()), {"controller": asked}))
    judged = judge_hosts(cloud, found, wanted)
    assert server_versions(found) == {"controller": "10.11.6-MariaDB"}
    assert one(judged, Topic.DATABASE_LOG).state is State.MISSING
