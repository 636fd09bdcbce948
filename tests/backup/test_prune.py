"""Pruning with a real restic: what failed is done by the next one, and no journal is needed."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backstay.backup.catalogue import Backup
from backstay.backup.place import Place
from backstay.backup.prune import prune, removal
from backstay.cli.exit_status import ExitStatus
from backstay.cli.main import backstay
from backstay.errors import BackupError
from backstay.inventory.load import load
from backstay.journal.locks import held
from backstay.transports.restic import Restic

pytestmark = pytest.mark.skipif(
    shutil.which("restic") is None, reason="restic is not installed: apt-get install restic"
)
CLOUD = """
name: lab
credentials: {openrc: openrc}
hosts:
  controller: {address: 192.0.2.11, roles: [controller]}
backup: {folder: backups, keep: {last: 1, daily: 0, weekly: 0, monthly: 0}}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    (tmp_path / "cloud.yaml").write_text(CLOUD)
    return tmp_path / "cloud.yaml"


@pytest.fixture
def place(file: Path, tmp_path: Path) -> Place:
    """Two backups, of which one is kept, and what another run, which may be resumed, has stored."""
    made = Place(load(file, services=[]))
    content = tmp_path / "content"
    content.mkdir()
    (content / "nova.conf").write_text("[DEFAULT]")

    async def stored(name: str) -> str:
        tags = ["backstay", name]
        return (await made.restic().backup(content, host="controller", tags=tags, bound=60)).id

    async def fill() -> None:
        await made.restic().open()
        for at, name in ((1.0, "controller-old"), (2.0, "controller-new")):
            snapshots = {"files": await stored(name)}
            backup = Backup(
                name=name, cloud="lab", host="controller", taken_at=at, seconds=1.0,
                snapshots=snapshots,
            )  # fmt: skip
            made.catalogue.write(backup)
        await stored("controller-resumable")
        made.begin("controller-resumable")

    asyncio.run(fill())
    return made


def listed(place: Place) -> list[str]:
    return [backup.name for backup in place.catalogue.backups()]


def stored(place: Place) -> set[str]:
    there = asyncio.run(place.restic().snapshots())
    return {tag for snapshot in there for tag in snapshot.tags} - {"backstay"}


def call(file: Path, *words: str) -> Result:
    return CliRunner().invoke(backstay, ["backup", "prune", "--cloud", str(file), *words])


LEFT = {"controller-new", "controller-resumable"}


def test_what_could_not_be_forgotten_is_forgotten_when_the_run_is_resumed(
    file: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise BackupError("pruning", came_back="no space left on device", remedy="make space")

    with monkeypatch.context() as patched:
        patched.setattr(Restic, "forget", full)
        failed = call(file, "--yes")
    assert failed.exit_code == ExitStatus.FAILED
    assert listed(place) == ["controller-new", "controller-old"], "it is whole: it is listed again"
    assert stored(place) == LEFT | {"controller-old"}
    assert place.unfinished() == {"controller-resumable"}
    assert "would remove controller-old (taken)" in call(file, "--dry-run").output
    resumed = CliRunner().invoke(backstay, ["runs", "resume", "--cloud", str(file)])
    assert resumed.exit_code == ExitStatus.OK, resumed.output
    assert "1 backup and 0 binary logs removed" in resumed.output
    assert stored(place) == LEFT
    assert place.unfinished() == {"controller-resumable"}
    assert not removal(place, load(file, services=[]).backup.keep)


def test_a_prune_of_all_removes_what_another_has_left(file: Path, place: Place) -> None:
    place.begin_removal("controller-old")
    place.catalogue.remove(["controller-old"])
    gone = asyncio.run(prune(place, load(file, services=[]).backup.keep, {}))
    assert gone.names() == ("controller-old",)
    assert stored(place) == LEFT


def test_it_works_where_the_journal_cannot_be_written(
    file: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", "sqlite:////proc/full/journal.db")
    done = call(file, "--yes")
    assert done.exit_code == ExitStatus.OK, done.output
    assert "removing without a record in the journal: " in done.stderr
    assert "removed: controller-old" in done.stdout
    assert (listed(place), stored(place)) == (["controller-new"], LEFT)


def test_without_the_journal_it_is_json_and_takes_the_locks(
    file: Path, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", "sqlite:////proc/full/journal.db")

    async def while_held(name: str) -> Result:
        async with held(f"file://{tmp_path}/locks", [name], lambda _: ""):
            return await asyncio.to_thread(call, file, "--yes")

    for name in ("lab", "lab/controller"):
        refused = asyncio.run(while_held(name))
        assert refused.exit_code == ExitStatus.REFUSED, refused.output
    assert listed(place) == ["controller-new", "controller-old"]
    done = call(file, "--yes", "-o", "json")
    assert json.loads(done.stdout) == {
        "recorded": False,
        "backups": ["controller-old"],
        "logs": [],
    }
