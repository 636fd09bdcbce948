"""The step that writes cloud.yaml: whole or not at all, and never a reason to fail."""

import asyncio
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backstay.inventory.load import load
from backstay.journal.action import Running
from backstay.journal.plan import Plan, Step
from backstay.runbooks.replace.inventory_update import TakeOver

LAB = (Path(__file__).parents[1] / "inventory" / "data" / "lab-cloud.yaml").read_text()
FENCED_AT = 1795558814.7


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cloud.yaml"
    path.write_text(LAB)
    path.chmod(0o640)
    return path


def running(host: str = "controller", spare: str = "spare1", mark: str = "m") -> Running:
    step = Step(id=f"{host}.take-over", action="take-over", target=host, does="", bound=9)
    plan = Plan(
        runbook="replace",
        cloud="lab",
        targets=(host, spare),
        steps=(step,),
        settings={"spare": spare, "mark": mark},
    )
    return Running(
        run="replace-1",
        plan=plan,
        step=step,
        started=1.0,
        report=print,
        results={f"{host}.fence": {"how": "power", "fenced_at": FENCED_AT}},
    )


def take_over(path: Path) -> TakeOver:
    return TakeOver(cast("Any", SimpleNamespace(cloud=SimpleNamespace(path=path))))


def test_it_is_written_and_what_was_there_is_kept(file: Path) -> None:
    action = take_over(file)
    assert asyncio.run(action.probe(running())) is None
    result = asyncio.run(action.do(running()))
    cloud = load(file)
    assert "spare1" not in cloud.hosts
    assert cloud.fenced["controller-old"].was == "controller"
    assert result.written
    kept = Path(result.kept)
    assert kept == file.with_name("cloud.yaml.before-m")
    assert kept.read_text() == LAB
    for one in (file, kept):
        assert stat.S_IMODE(one.stat().st_mode) == 0o640
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name, kept.name]
    secrets = [line.partition("password: ")[2].partition(",")[0] for line in LAB.splitlines()]
    assert not any(secret in str(result) for secret in secrets if secret)


def test_written_already_when_the_process_died(file: Path) -> None:
    action = take_over(file)
    first = asyncio.run(action.do(running()))
    found = asyncio.run(action.probe(running()))
    assert found is not None
    assert (found.fenced, found.diff) == ("controller-old", first.diff)
    # Of an earlier replacement of the same host nothing is concluded.
    assert asyncio.run(action.probe(running(spare="compute2"))) is None


def test_a_link_stays_one(file: Path) -> None:
    real = file.rename(file.with_name("real.yaml"))
    file.symlink_to(real)
    assert asyncio.run(take_over(file).do(running())).written
    assert file.is_symlink()
    assert "controller-old" in real.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_it_stays_its_owner_s(file: Path) -> None:
    os.chown(file, 12345, 12346)
    result = asyncio.run(take_over(file).do(running()))
    for one in (file, Path(result.kept)):
        assert (one.stat().st_uid, one.stat().st_gid) == (12345, 12346)


def test_read_only_is_told_with_what_to_change(file: Path) -> None:
    file.chmod(0o440)
    result = asyncio.run(take_over(file).do(running()))
    assert file.read_text() == LAB
    assert not result.written
    assert "read-only" in result.by_hand
    assert "+  controller-old:" in result.diff
    assert "make these changes there" in result.summary
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_folder_that_takes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: Any, **_more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    result = asyncio.run(take_over(file).do(running()))
    assert "No space left" in result.by_hand
    assert file.read_text() == LAB
    monkeypatch.undo()
    assert [path.name for path in file.parent.glob(".cloud.yaml.*")] == []


def test_a_file_that_was_changed_meanwhile(file: Path) -> None:
    file.write_text(LAB.replace("  spare1:", "  spare7:"))
    result = asyncio.run(take_over(file).do(running()))
    assert not result.written
    assert "no host spare1" in result.by_hand
    assert "give controller the `bmc` of spare1" in result.summary
