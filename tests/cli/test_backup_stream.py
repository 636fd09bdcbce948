"""The command line of the stream, without a cloud: what it tells, and what is removed."""

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backstay.backup.catalogue import Backup, Catalogue
from backstay.backup.mariadb.logs import Logs
from backstay.backup.mariadb.stream import held
from backstay.backup.mariadb.stream_state import StreamActivity, StreamState
from backstay.backup.place import Place
from backstay.cli.exit_status import ExitStatus
from backstay.cli.main import backstay
from backstay.inventory.load import load
from backstay.journal import locks
from backstay.journal.store import Store
from backstay.services.registry import all_services
from tests.backup.test_logs import log, of

CLOUD = """
name: lab
credentials: {openrc: openrc}
hosts:
  controller: {address: 192.0.2.11, roles: [controller]}
  proxy: {address: 192.0.2.12, roles: [storage-proxy]}
backup: {folder: backups, stream_lag: 30s}
"""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    file = tmp_path / "cloud.yaml"
    file.write_text(CLOUD)
    monkeypatch.setenv("BACKSTAY_CLOUD", str(file))
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(backstay, ["backup", *arguments])

    return run


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path / "backups" / "logs" / "controller")


def tell(logs: Logs, *, ago: float, behind: int = 0, error: str = "") -> None:
    at = time.time() - ago
    doing = StreamActivity.FAILED if error else StreamActivity.STREAMING
    state = StreamState(
        host="controller",
        doing=doing,
        begun_at=at,
        written_at=time.time(),
        behind=behind,
        caught_up_at=at,
        asked_at=at,
        file="mysql-bin.000007",
        received=1234,
        error=error,
    )
    logs.write_state(state)


def test_status_says_how_much_would_be_lost(call: Any, logs: Logs) -> None:
    assert call("stream", "status").exit_code == 2, "nothing is set up"
    with held(logs.folder):
        assert call("stream", "status").exit_code == 1, "it has told nothing yet"
    tell(logs, ago=1)
    with held(logs.folder):
        shown = call("stream", "status")
        assert shown.exit_code == 0
        assert shown.stdout.splitlines()[1].split() == [
            "controller",
            "streaming",
            "mysql-bin.000007",
            "up",
            "to",
            "1234",
            "0",
            "B",
            "0",
            "s",
            "-",
        ]
        tell(logs, ago=90, behind=2048, error="asking: no answer")
        shown = call("stream", "status", "controller")
        assert shown.exit_code == 1
        assert "lagging" in shown.stdout
        assert "90 s  -      asking: no answer" in shown.stdout
    done = call("stream", "status", "-o", "json")
    assert done.exit_code == 2, "it runs no more"
    [told] = json.loads(done.stdout)
    assert (told["running"], told["lagging"], round(told["rpo"])) == (False, True, 90)


def test_a_host_without_mariadb_has_no_stream(call: Any) -> None:
    refused = call("stream", "run", "proxy")
    assert refused.exit_code == ExitStatus.REFUSED
    assert "proxy keeps no databases" in refused.output


@pytest.mark.skipif(shutil.which("restic") is None, reason="needs restic")
def test_prune_removes_the_logs_that_no_backup_needs(call: Any, logs: Logs, tmp_path: Path) -> None:
    first, second = (log(logs.folder / "0001", n) for n in (1, 2))
    facts = {"position": [second.name, "4"], "logs": {second.name: of(second)}}
    backup = Backup(
        name="b", cloud="lab", host="controller", taken_at=time.time(), seconds=1, facts=facts
    )
    place = Place(load(tmp_path / "cloud.yaml", services=[s.name for s in all_services()]))
    asyncio.run(place.restic().open())
    Catalogue(tmp_path / "backups" / "catalogue").write(backup)
    assert f"would remove {first}" in call("prune", "--dry-run").stdout
    assert first.exists()
    assert call("prune").exit_code == ExitStatus.USAGE, "without a terminal it needs --yes"
    assert first.exists()
    done = call("prune", "--yes", "--reason", "the disk is filling")
    assert done.exit_code == ExitStatus.OK, done.output
    assert not first.exists()
    assert second.exists()
    [run] = Store(f"sqlite:///{tmp_path}/journal.db").runs()
    assert run.reason == "the disk is filling"
    assert run.steps[0].result["logs"] == [str(first)]
    assert call("prune", "--yes").stdout == "nothing to remove\n"


def test_prune_is_refused_while_another_run_has_the_lock(
    call: Any, logs: Logs, tmp_path: Path
) -> None:
    first, second = (log(logs.folder / "0001", n) for n in (1, 2))
    facts = {"position": [second.name, "4"], "logs": {second.name: of(second)}}
    backup = Backup(
        name="b", cloud="lab", host="controller", taken_at=time.time(), seconds=1, facts=facts
    )
    Catalogue(tmp_path / "backups" / "catalogue").write(backup)

    async def pruned_meanwhile() -> Result:
        async with locks.held(f"file://{tmp_path}/locks", ["lab"], lambda _: "somebody"):
            return await asyncio.to_thread(call, "prune", "--yes")

    refused = asyncio.run(pruned_meanwhile())
    assert refused.exit_code == ExitStatus.REFUSED, refused.output
    assert "refused, nothing has been changed" in refused.output
    assert first.exists()
