"""Dumps and hot backups: how they are taken on a host, and what they tell of themselves."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backstay.access.shipping import stream
from backstay.backup.catalogue import Backup, Catalogue
from backstay.backup.mariadb import onhost_database
from backstay.backup.mariadb.binlog_file import position_of
from backstay.errors import RemoteFailure
from backstay.inventory.backup import Backups, Engine
from backstay.journal.action import Running
from backstay.journal.plan import Plan, Step
from backstay.runbooks.backup.take import Database, length_in
from backstay.transports.restic_output import Snapshot

DATA = Path(__file__).parent / "data"
WHOLE = "printf 'INSERT 1;\\n-- Dump completed on 2026-11-24\\n'"


def test_the_position_of_a_dump_is_in_its_head() -> None:
    head = (DATA / "dump-head.sql").read_bytes()
    assert position_of(head) == ["mysql-bin.000001", "41705810"]
    assert position_of(b"-- MariaDB dump 10.19\n") == []
    assert position_of(b"INSERT '-- CHANGE MASTER TO MASTER_LOG_FILE='a', MASTER_LOG_POS=1;'") == []


def run_on_host(tmp_path: Path, function: Callable[[], None], **programs: str) -> Any:
    """Run what is shipped to a host, with stand-ins for the host's programs."""
    for name, script in programs.items():
        file = tmp_path / name.replace("_", "-")
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
    # As root it would not ask sudo; here the function itself is what counts.
    text = stream(function).replace("os.geteuid() != 0", "False")
    return subprocess.run(
        [sys.executable, "-I", "-"],
        input=text.encode(),
        capture_output=True,
        env=os.environ | {"PATH": f"{tmp_path}:/usr/bin:/bin"},
        timeout=60,
        check=False,
    )


def test_a_dump_is_of_all_databases_and_of_the_users(tmp_path: Path) -> None:
    done = run_on_host(
        tmp_path,
        onhost_database.send_dump,
        mariadb="grep -q log_bin && echo 1 || printf 'mysql\\nnova\\nsys\\nkeystone\\n'",
        mariadb_dump=f'echo "$@" >> {tmp_path}/called; {WHOLE}',
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"-- Dump completed") == 2
    databases, users = (tmp_path / "called").read_text().splitlines()
    assert databases.endswith("--databases -- nova keystone")
    assert "--single-transaction" in databases
    assert "--master-data=2" in databases
    assert users == "--user=root --system=users --insert-ignore"


def test_without_a_binary_log_no_position_is_asked_for(tmp_path: Path) -> None:
    done = run_on_host(
        tmp_path,
        onhost_database.send_dump,
        mariadb="grep -q log_bin && echo 0 || echo nova",
        mariadb_dump=f'echo "$@" >> {tmp_path}/called; {WHOLE}',
    )
    assert done.returncode == 0
    assert "--master-data" not in (tmp_path / "called").read_text()


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("printf 'INSERT 1;'", b"last line is missing"),
        ("printf 'INSERT 1;'; echo 'Error 1412: changed' >&2; exit 3", b"Error 1412: changed"),
        (f"{WHOLE}; echo 'lost connection' >&2; exit 2", b"lost connection"),
    ],
)
def test_a_torn_dump_is_told_by_its_exit_status(tmp_path: Path, script: str, said: bytes) -> None:
    done = run_on_host(tmp_path, onhost_database.send_dump, mariadb="echo 1", mariadb_dump=script)
    assert done.returncode == 1
    assert said in done.stderr


CHUNKS = [
    b"XBSTCK01" + bytes([number]) * size for number, size in enumerate((10, 3_000_000, 20, 1 << 20))
]


def test_a_hot_backup_is_compressed_chunk_by_chunk(tmp_path: Path) -> None:
    (tmp_path / "stream").write_bytes(b"".join(CHUNKS))
    script = f"cat {tmp_path}/stream; echo '[00] completed OK!' >&2"
    done = run_on_host(tmp_path, onhost_database.send_database, mariadb_backup=script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b"\x28\xb5\x2f\xfd") == len(CHUNKS), "each is a frame of its own"
    plain = subprocess.run(["zstd", "-dc"], input=done.stdout, capture_output=True, check=True)
    assert plain.stdout == b"".join(CHUNKS)
    assert length_in(done.stderr.decode()) == len(plain.stdout)


@pytest.mark.parametrize("end", ["exit 1", "exit 0"])
def test_a_hot_backup_that_did_not_end_well_is_told(tmp_path: Path, end: str) -> None:
    script = f"printf x; echo '[00] 2026-11-24 18:00:00 Error: no space' >&2; {end}"
    done = run_on_host(tmp_path, onhost_database.send_database, mariadb_backup=script)
    assert done.returncode == 1
    assert b"no space" in done.stderr


def test_what_is_not_compressed_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_name: str) -> None:
        raise OSError("no such library")

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert onhost_database.squeezer()(b"abc") == b"abc"


class Stand:
    """Stands for a site and its repository: a dump that fails as often as it is told to."""

    def __init__(self, *failures: str) -> None:
        self.cloud = SimpleNamespace(backup=Backups(engine=Engine.DUMP))
        self.failures = list(failures)
        self.stored: list[bytes] = []
        self.said: list[str] = []

    async def stream(
        self, host: str, function: Any, receive: Callable[[bytes], Awaitable[None]], silence: float
    ) -> str:
        await receive((DATA / "dump-head.sql").read_bytes())
        if self.failures:
            raise RemoteFailure("asking", came_back=self.failures.pop(0), remedy="")
        return ""

    @asynccontextmanager
    async def receiving(self, name: str, **marks: Any) -> AsyncIterator[Any]:
        got, found = bytearray(), dict[str, Snapshot]()

        async def send(data: bytes) -> None:
            got.extend(data)

        yield send, found
        self.stored.append(bytes(got))
        found[name] = Snapshot(id="1234", tags=frozenset(), host="h", time="", size=len(got))

    def restic(self) -> "Stand":
        return self

    def dump(self) -> tuple[Snapshot, list[str]]:
        step = Step(
            id="controller.database", action="database", target="controller", does="", bound=9
        )
        running = Running(
            run="backup-1",
            plan=Plan(runbook="backup", cloud="lab", targets=("controller",), steps=(step,)),
            step=step,
            results={"controller.repository": {"began": 1.0, "backup": "controller-1"}},
            started=1.0,
            report=self.said.append,
        )
        return asyncio.run(Database(self, self)._dump(running))  # type: ignore[arg-type]


def test_a_dump_is_taken_again_where_a_table_was_altered() -> None:
    stand = Stand("Error 1412: Table definition has changed", "Error 1412: again")
    _, position = stand.dump()
    assert position == ["mysql-bin.000001", "41705810"]
    assert len(stand.stored) == 1, "the torn ones are not kept"
    assert len(stand.said) == 2


def test_a_dump_is_not_taken_again_for_ever_or_for_other_errors() -> None:
    always = Stand(*["Error 1412: Table definition has changed"] * 9)
    with pytest.raises(RemoteFailure, match="1412"):
        always.dump()
    assert len(always.failures) == 6
    other = Stand("Got error: 2013: Lost connection", "x")
    with pytest.raises(RemoteFailure, match="Lost connection"):
        other.dump()
    assert other.failures == ["x"]
    assert other.stored == []


def test_backups_from_before_there_were_dumps_are_physical(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path)
    catalogue.write(
        Backup(name="a", cloud="lab", host="h", taken_at=1.0, seconds=1.0, engine=Engine.DUMP)
    )
    assert catalogue.named("a").engine is Engine.DUMP
    file = tmp_path / "a.json"
    file.write_text(file.read_text().replace(' "engine": "dump",\n', ""))
    assert "engine" not in json.loads(file.read_text())
    assert catalogue.named("a").engine is Engine.PHYSICAL
