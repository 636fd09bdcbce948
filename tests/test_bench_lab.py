"""Benchmarks that measure on the lab say so where there is none, and start nothing."""

from pathlib import Path
from types import ModuleType

import pytest
from bench import backup, check, lab, reboot, replace, watch_soak

MODULES = [backup, check, reboot, replace, watch_soak]


def answering(folder: Path, text: str) -> Path:
    """A program in the place of backstay that prints this, and notes with what it was called."""
    program = folder / "backstay"
    program.write_text(f"#!/bin/sh\necho \"$*\" >>{folder}/called\ncat <<'END'\n{text}\nEND\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("module", MODULES)
def test_without_a_lab_a_benchmark_says_how_to_get_one(
    module: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        lab, "BACKSTAY", answering(tmp_path, '{"phase": "down", "cloud_file": null}')
    )
    monkeypatch.setattr("sys.argv", ["bench"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 3
    assert capsys.readouterr().err == "the lab is not up: backstay lab up\n"
    assert (tmp_path / "called").read_text() == "lab status -o json\n"


def test_a_lab_that_cannot_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab, "BACKSTAY", answering(tmp_path, "No such lab."))
    with pytest.raises(SystemExit) as ended:
        lab.lab_status()
    assert ended.value.code == 3
    assert "cannot be asked" in capsys.readouterr().err


def test_the_cloud_file_of_a_lab_that_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "BACKSTAY", answering(tmp_path, '{"cloud_file": "/lab/cloud.yaml"}'))
    assert lab.lab_cloud_file() == Path("/lab/cloud.yaml")
