"""Own files of backups and logs with mutations: what is wrong is an error that names the file."""

import json
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from backstay.backup.catalogue import Backup, Catalogue, State
from backstay.backup.mariadb.binlog_file import position_of, reach
from backstay.backup.mariadb.lag import lag_findings
from backstay.backup.mariadb.logs import Incarnation
from backstay.backup.mariadb.stream_state import StreamActivity, StreamState
from backstay.cli.exit_status import ExitStatus
from backstay.cli.main import backstay
from backstay.errors import BackupError
from backstay.finding import Severity
from backstay.transports import restic_output

RECORDED = Path(__file__).parents[1] / "backup" / "data" / "mysql-bin.000002"
BACKUP = Backup(
    name="controller-1",
    cloud="cloud",
    host="controller",
    taken_at=1.7e9,
    seconds=60.0,
    state=State.VERIFIED,
    snapshots={"files": "aa", "database": "bb"},
    sizes={"files": 10, "database": 20},
    added={"files": 1, "database": 2},
    files=3,
    packages=4,
    contents={"nova": {"files": 1, "bytes": 2, "databases": {"nova": 3}}},
    facts={
        "version": "10.11.6-MariaDB",
        "position": ["mysql-bin.000002", "1041"],
        "logs": {"mysql-bin.000002": "7bd7"},
        "rows_before": {"nova.instances": 3},
        "rows_after": {"nova.instances": 3},
        "touched": [],
        "grants": ["a"],
        "databases": ["nova"],
        "schemas": {"nova": ["x"]},
        "release": {"heads": {"nova": ["x"]}, "unknown": {"cinder": "no package"}},
    },
    proof={"at": 1.7e9, "problems": [], "restore_seconds": 9.0},
)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "another"},
        {"state": "asleep"},
        {"taken_at": "then"},
        {"taken_at": 1e300},
        {"facts": {"version": 3}},
        {"facts": BACKUP.facts | {"position": ["x"]}},  # type: ignore[operator]
        {"facts": BACKUP.facts | {"position": ["x", "y"]}},  # type: ignore[operator]
        {"proof": {"problems": "none"}},
        {"contents": {"nova": {}}},
        {"sizes": {"files": "many"}},
    ],
)
def test_the_other_backups_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    monkeypatch.setenv("BACKSTAY_CLOUD", str(tmp_path / "cloud.yaml"))
    (tmp_path / "cloud.yaml").write_text(
        f"name: cloud\nbackup: {{folder: {tmp_path}}}\ncredentials: {{openrc: openrc}}\n"
        "hosts:\n  controller: {address: 192.0.2.11, roles: [controller]}\n"
    )
    catalogue = Catalogue(tmp_path / "catalogue")
    catalogue.write(BACKUP)
    bad = json.loads((tmp_path / "catalogue" / "controller-1.json").read_text())
    (tmp_path / "catalogue" / "controller-2.json").write_text(
        json.dumps(bad | {"name": "controller-2"} | change)
    )
    for form in ("table", "json"):
        done = CliRunner().invoke(backstay, ["backup", "list", "-o", form])
        assert done.exit_code == ExitStatus.WARNING
        assert "controller-1" in done.stdout
        assert "controller-2.json" in done.stderr
    with pytest.raises(BackupError):
        catalogue.backups()
    shown = CliRunner().invoke(backstay, ["backup", "show", "controller-2"])
    assert shown.exit_code == ExitStatus.UNKNOWN
    assert "controller-2.json" in shown.stderr


STREAM = StreamState(
    host="controller",
    doing=StreamActivity.STREAMING,
    begun_at=1.7e9,
    written_at=1.7e9,
    incarnation=1,
    file="mysql-bin.000002",
    received=1998,
    behind=0,
    caught_up_at=1.7e9,
    asked_at=1.7e9,
)


def test_a_list_of_whole_sizes_that_is_damaged_hides_no_gap(tmp_path: Path) -> None:
    (tmp_path / "0001").mkdir()
    (tmp_path / "0001" / "closed.json").write_text('{"mysql-bin.000002": "many"}')
    with pytest.raises(BackupError, match=r"closed\.json"):
        Incarnation(tmp_path / "0001").closed()


def test_a_damaged_state_of_a_stream_is_a_finding(tmp_path: Path) -> None:
    for name in ("logs", "followed"):
        (tmp_path / name / "controller").mkdir(parents=True)
    (tmp_path / "logs" / "controller" / "state.json").write_text(STREAM.text())
    (tmp_path / "followed" / "controller" / "state.json").write_text('{"whole_at": "soon"}')
    [finding] = lag_findings(tmp_path, limit=60, now=time.time())
    assert finding.severity is Severity.UNKNOWN
    assert "followed/controller/state.json" in finding.evidence


def damaged_at(position: int, length: int) -> bytes:
    data = bytearray(RECORDED.read_bytes())
    data[position + 9 : position + 13] = struct.pack("<I", length)
    return bytes(data)


@pytest.mark.parametrize("length", [0, 18, 0xFFFFFFFF, 1 << 30, 5000, 20])
def test_a_length_is_not_believed(tmp_path: Path, length: int) -> None:
    """What follows a wrong length is not left out as if its server had died there."""
    file = tmp_path / "mysql-bin.000002"
    file.write_bytes(damaged_at(1041, length))
    with pytest.raises(BackupError, match="damaged"):
        reach(file, 0)
    file.write_bytes(RECORDED.read_bytes() + bytes(4096))
    assert reach(file, 0).torn == 4096, "room that was taken and never written"


LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from backstay.backup.mariadb.binlog_file import reach
from backstay.errors import BackupError
resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))
try:
    print(reach(Path(sys.argv[1]), 0))
except BackupError as error:
    print(error)
"""


def test_an_event_takes_no_memory_of_its_length(tmp_path: Path) -> None:
    """A file with an event of 2 GB, sparse on its disk, and one that only claims to have it."""
    file = tmp_path / "mysql-bin.000002"
    head, size = RECORDED.read_bytes()[:385], 2 << 30
    event = struct.pack("<IBIIIH", 1, 2, 1, size, 385 + size, 0)
    for there in (True, False):
        with file.open("wb") as out:
            out.write(head + event)
            if there:
                out.truncate(385 + size)
        program = [sys.executable, "-c", LITTLE_MEMORY, str(file)]
        done = subprocess.run(program, check=True, capture_output=True, text=True)
        assert "Reach(" in done.stdout, done.stdout


def test_a_position_with_an_odd_name_is_none() -> None:
    for name in (b"../x", b"a b", b"\xff"):
        line = b"-- CHANGE MASTER TO MASTER_LOG_FILE='" + name + b"', MASTER_LOG_POS=4;\n"
        assert position_of(line) == []


RESTIC: dict[str, Any] = {
    "message_type": "summary",
    "snapshot_id": "0123456789abcdef",
    "total_bytes_processed": 10,
    "data_added": 2,
}
SNAPSHOTS: list[dict[str, Any]] = [
    {"short_id": "01234567", "tags": ["a"], "hostname": "controller", "time": "2026-11-30"},
    {"short_id": "01234568", "tags": None, "hostname": "controller", "time": "2026-11-30"},
]


def test_what_restic_prints() -> None:
    good = restic_output.summary(json.dumps(RESTIC), "h", ["t"])
    assert (good.id, good.size, good.added) == ("01234567", 10, 2)
    assert [one.tags for one in restic_output.snapshots(json.dumps(SNAPSHOTS))] == [
        frozenset({"a"}),
        frozenset(),
    ]


def test_an_option_is_no_snapshot() -> None:
    for name in ("--password-command=x", "../..", "", "latest"):
        with pytest.raises(BackupError):
            restic_output.snapshots(json.dumps([SNAPSHOTS[0] | {"short_id": name}]))
        with pytest.raises(BackupError):
            restic_output.summary(json.dumps(RESTIC | {"snapshot_id": name}), "h", [])
