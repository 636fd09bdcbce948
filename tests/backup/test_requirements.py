"""What backups need on this machine: all that is missing is said at once, before anything."""

import itertools

import pytest

from backstay.backup import requirements
from backstay.backup.mariadb import scratch
from backstay.backup.requirements import PROGRAMS, Task, install, lacking, require
from backstay.errors import BackupError

EVERY = sorted({name for programs in PROGRAMS.values() for one in programs for name in one.names})


def test_all_that_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    here = set(EVERY) - {"restic", "mariadbd", "mbstream", "zstd"}
    found = lacking(Task, find=lambda name: name if name in here else None)
    assert [one.name for one in found] == ["restic", "mariadbd", "mbstream", "zstd"]
    assert install(found) == "apt-get install mariadb-backup mariadb-server restic zstd"
    monkeypatch.setattr(requirements, "lacking", lambda _tasks: found)
    with pytest.raises(BackupError) as refused:
        require(Task, "taking backups")
    assert "no restic, mariadbd, mbstream, zstd" in refused.value.came_back
    assert "nothing has been started" in refused.value.came_back


def test_nothing_is_asked_for_that_the_task_does_not_need() -> None:
    assert lacking([Task.STORE], find=lambda name: name if name == "restic" else None) == ()
    assert lacking([], find=lambda _name: None) == ()
    assert lacking(Task, find=lambda name: name) == ()


def test_a_program_may_be_called_otherwise() -> None:
    names = {"mariabackup": "mariabackup"} | {n: n for n in EVERY if n != "mariadb-backup"}
    assert lacking(Task, find=names.get) == ()


def test_the_data_are_what_the_scratch_server_asks_for() -> None:
    declared = set(itertools.chain(*(one.names for one in PROGRAMS[Task.SERVE])))
    assert {*scratch._PROGRAMS, *scratch._PREPARE} <= declared
