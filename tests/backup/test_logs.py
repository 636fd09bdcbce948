"""Which files are kept, replayed and removed, and how far behind a stream is."""

import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backstay.backup.catalogue import Backup
from backstay.backup.mariadb.binlog_file import groups, identity_of, reach
from backstay.backup.mariadb.lag import judge, lag_findings
from backstay.backup.mariadb.logs import Incarnation, Logs, OtherLog, not_needed
from backstay.backup.mariadb.source import ServerFile, first_file, next_file
from backstay.backup.mariadb.stream_state import StreamActivity, StreamState, behind, reaches
from backstay.errors import BackupError
from backstay.finding import Severity
from backstay.runbooks.backup.take import position_in

RECORDED = Path(__file__).parent / "data" / "mysql-bin.000002"
"""Of MariaDB 10.11: changes to rows, to users and grants, and of a schema."""
COMMITTED = 1795544956  # of its last changes, in its own time


def test_a_recorded_file_is_walked_change_by_change() -> None:
    assert identity_of(RECORDED) == "7bd7056b0f01000000fc000000"
    found = reach(RECORDED, 0)
    assert (found.position, found.changes, found.torn) == (1998, 8, 0)
    assert found.at == COMMITTED
    with RECORDED.open("rb") as data:
        starts = [(group.start, group.end) for group in groups(data, 0) if group.at]
    # As mariadb-binlog prints them: a row, two rows, four statements on users, a row, a table.
    assert starts == [
        (385, 624),
        (624, 1041),
        (1041, 1185),
        (1185, 1308),
        (1308, 1456),
        (1456, 1617),
        (1617, 1856),
        (1856, 1998),
    ]
    assert reach(RECORDED, 1041).changes == 6


@pytest.mark.parametrize("size", range(1617, 1998, 7))
def test_what_is_torn_at_the_end_is_left_out(tmp_path: Path, size: int) -> None:
    torn = tmp_path / "mysql-bin.000002"
    torn.write_bytes(RECORDED.read_bytes()[:size])
    found = reach(torn, 1041)
    assert found.position == (1856 if size >= 1856 else 1617)
    assert found.torn == size - found.position


def test_it_stops_before_a_time() -> None:
    at = datetime.fromtimestamp(COMMITTED, UTC)
    found = reach(RECORDED, 0, at)
    assert found.stopped
    assert (found.position, found.changes) == (1041, 2), (
        "what was committed in that second is left out"
    )
    assert not reach(RECORDED, 0, datetime.fromtimestamp(COMMITTED + 1, UTC)).stopped


def test_what_is_no_binary_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="reaches 5000"):
        reach(RECORDED, 5000)
    (tmp_path / "mysql-bin.000001").write_text("something else, long enough for a head")
    with pytest.raises(BackupError, match="not a binary log"):
        reach(tmp_path / "mysql-bin.000001", 4)


def log(folder: Path, number: int, size: int = 300, began: int = 1000) -> Path:
    """Write a file whose server began it at ``began``."""
    folder.mkdir(parents=True, exist_ok=True)
    head = b"\xfebin" + struct.pack("<IBII", began + number, 15, 1, 252)
    file = folder / f"mysql-bin.{number:06}"
    file.write_bytes(head.ljust(size, b"x"))
    return file


def of(file: Path) -> str:
    return identity_of(file) or ""


def test_what_is_there_is_never_cut_short(tmp_path: Path) -> None:
    here = Incarnation(tmp_path / "0001")
    kept = log(here.folder, 1, 500)
    again = log(here.arriving, 1, 400)
    here.settle()
    assert here.sizes() == {"mysql-bin.000001": 500}
    assert again.exists(), "it still grows"
    log(here.arriving, 1, 600)
    assert here.pieces() == [again], "a restore takes what has come furthest"
    log(here.arriving, 2, 300)
    here.settle()
    assert here.sizes() == {"mysql-bin.000001": 600, "mysql-bin.000002": 300}
    assert here.pieces()[0] == kept


def test_what_arrives_of_another_server_goes_nowhere(tmp_path: Path) -> None:
    here = Incarnation(tmp_path / "0001")
    kept = log(here.folder, 1, 500)
    before = kept.read_bytes()
    log(here.arriving, 1, 900, began=2000)
    assert here.pieces() == [kept]
    with pytest.raises(OtherLog):
        here.settle()
    here.clear()
    log(here.arriving, 3)
    with pytest.raises(OtherLog):
        here.settle()
    assert kept.read_bytes() == before
    here.clear()
    assert here.sizes() == {"mysql-bin.000001": 500}


def test_the_files_to_replay(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    old = [log(tmp_path / "0001", n) for n in (1, 2, 3)]
    new = [log(tmp_path / "0002", n, began=5000) for n in (1, 2)]
    assert logs.after("mysql-bin.000002", 300, of(old[1])) == old[1:]
    assert logs.after("mysql-bin.000001", 4, of(new[0])) == new
    with pytest.raises(BackupError, match="was not received"):
        logs.after("mysql-bin.000003", 4, of(new[0]))
    with pytest.raises(BackupError, match="received up to 300, the backup is of 301"):
        logs.after("mysql-bin.000002", 301, of(old[1]))


def test_gaps_are_told(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    here = Incarnation(tmp_path / "0001")
    first, _, _ = (log(here.folder, n) for n in (1, 2, 3))
    here.note_closed([("mysql-bin.000001", 300), ("mysql-bin.000002", 310), ("x.000003", 1)])
    with pytest.raises(BackupError, match="000002 is received with 300 of 310 bytes"):
        logs.after("mysql-bin.000001", 4, of(first))
    (here.folder / "mysql-bin.000002").unlink()
    with pytest.raises(BackupError, match="what is between"):
        logs.after("mysql-bin.000001", 4, of(first))


def server(*files: Path, size: int = 300) -> list[ServerFile]:
    return [ServerFile(name=file.name, size=size, identity=of(file)) for file in files]


def test_where_a_stream_goes_on(tmp_path: Path) -> None:
    here = Incarnation(tmp_path / "0001")
    one, two = log(here.folder, 1), log(here.folder, 2)
    three = log(tmp_path / "server", 3)
    assert next_file(here, server(one, two)) == "mysql-bin.000002"
    assert next_file(here, server(one, two, three)) == "mysql-bin.000003", "the second is whole"
    assert next_file(here, server(two, three, size=310)) == "mysql-bin.000002"
    assert next_file(here, server(one, two, size=290)) is None, "the server lost what is here"
    assert next_file(here, server(three)) is None, "the server has removed it"
    assert next_file(here, server(log(tmp_path / "server", 2, began=7000))) is None
    assert next_file(None, server(one)) is None


def backup(name: str, at: float, file: Path | None = None, **facts: Any) -> Backup:
    if file is not None:
        facts |= {"position": [file.name, "4"], "logs": {file.name: of(file)}}
    return Backup(name=name, cloud="lab", host="controller", taken_at=at, seconds=1, facts=facts)


def test_where_a_new_incarnation_begins(tmp_path: Path) -> None:
    one, two, three = (log(tmp_path, n) for n in (1, 2, 3))
    gone = log(tmp_path / "old", 1, began=1)
    backups = [backup("c", 3, three), backup("b", 2, two), backup("a", 1, gone)]
    assert first_file(server(one, two, three), backups) == "mysql-bin.000002"
    assert first_file(server(one, two, three), []) == "mysql-bin.000003"


def test_which_logs_no_backup_needs(tmp_path: Path) -> None:
    old = [log(tmp_path / "0001", n) for n in (1, 2)]
    new = [log(tmp_path / "0002", n, began=5000) for n in (1, 2, 3)]
    here = Logs(tmp_path).incarnations()
    assert not_needed(here, []) == []
    assert not_needed(here, [backup("a", 1)]) == [], "no backup says where it is joined"
    assert not_needed(here, [backup("b", 2, new[2]), backup("a", 1, new[1])]) == [new[0], *old]
    assert not_needed(here, [backup("a", 1, old[1])]) == [old[0]], "the newest one is being written"
    unsaid = backup("a", 1, position=["mysql-bin.000002", "4"])
    assert not_needed(here, [unsaid]) == [new[0], old[0]]


def test_how_far_behind() -> None:
    has = [("b.000001", 100), ("b.000002", 200), ("b.000003", 50)]
    assert behind(has, {}) == 350
    assert behind(has, {"b.000002": 150}) == 100
    assert behind(has, {"b.000002": 200, "b.000003": 60}) == 0, "more has come since it was asked"
    assert behind(has[1:], {"b.000001": 90, "b.000002": 10}) == 240
    assert reaches({"b.000002": 200}, "b.000002", 200)
    assert reaches({"b.000002": 200, "b.000010": 4}, "b.000009", 500)
    assert not reaches({"b.000009": 600}, "b.000010", 4)
    assert not reaches({}, "b.000001", 4)


def state(**more: Any) -> StreamState:
    usual: dict[str, Any] = {
        "host": "controller",
        "doing": StreamActivity.STREAMING,
        "begun_at": 0.0,
        "written_at": 1000.0,
        "asked_at": 1000.0,
        "caught_up_at": 1000.0,
        "behind": 0,
        "file": "b.000001",
        "received": 9,
    }
    return StreamState(**(usual | more))


def test_the_recovery_point_is_what_was_seen() -> None:
    assert state().rpo(1003) == 0
    assert state().rpo(1100) == 100, "nobody has asked since"
    assert state(behind=5, caught_up_at=990.0).rpo(1000) == 10
    assert state(caught_up_at=None, behind=5).rpo(1000) is None
    assert state(caught_up_at=None, behind=5).behind_for(1000) == 1000
    assert StreamState.read(state(error="x").text().encode()) == state(error="x")


@pytest.mark.parametrize(
    ("more", "runs", "evidence", "remedy"),
    [
        ({}, False, "no stream runs here; received only up to 2 min ago", "backup stream install"),
        ({}, True, "has reported nothing for 2 min", "stop that process"),
        (
            {"written_at": 1119.0, "error": "refused", "remedy": "look"},
            True,
            "up to 2 min ago: refused",
            "look",
        ),
        (
            {"written_at": 1119.0, "asked_at": 1119.0, "behind": 2048},
            True,
            "2.0 KiB behind",
            "network",
        ),
        ({"caught_up_at": None, "behind": 1}, True, "never up to date", "stop"),
    ],
)
def test_lag_is_a_warning(more: dict[str, Any], runs: bool, evidence: str, remedy: str) -> None:
    found = judge(state(**more), runs=runs, limit=60, now=1120)
    assert found.severity is Severity.WARNING
    assert evidence in found.evidence
    assert remedy in found.remedy


def test_only_streams_that_were_set_up_are_judged(tmp_path: Path) -> None:
    assert lag_findings(tmp_path, limit=60, now=1000) == []
    logs = Logs(tmp_path / "logs" / "controller")
    logs.write_state(state())
    [found] = lag_findings(tmp_path, limit=60, now=1004)
    assert (found.severity, found.host) == (Severity.OK, "controller")
    assert (logs.folder / "state.json").stat().st_mode & 0o777 == 0o600
    (logs.folder / "state.json").write_text("{")
    [found] = lag_findings(tmp_path, limit=60, now=1004)
    assert found.severity is Severity.UNKNOWN


def test_the_position_is_that_of_the_backup() -> None:
    said = (
        "[00] 2026-11-24 18:29:16 MySQL binlog position: filename 'mysql-bin.000002', position "
        "'1041', GTID of the last change '0-1-8'\n[00] 2026-11-24 18:29:16 completed OK!\n"
    )
    assert position_in(said) == ["mysql-bin.000002", "1041"]
    assert position_in("[00] 2026-11-24 18:29:16 completed OK!\n") == []


def test_nobody_is_warned_of_a_stream_that_is_not_wanted_any_more(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs" / "controller")
    logs.begin()
    logs.write_state(
        StreamState(
            host="controller",
            doing=StreamActivity.FAILED,
            begun_at=1.0,
            written_at=1.0,
            incarnation=1,
        )
    )
    [warning] = lag_findings(tmp_path, limit=60, now=1000.0)
    assert warning.severity is Severity.WARNING
    logs.ended()
    assert lag_findings(tmp_path, limit=60, now=1000.0) == []
    kept = logs.incarnations()[0].state()
    assert kept is not None
    assert kept.doing is StreamActivity.FAILED, "a restore still knows up to when the log is here"
