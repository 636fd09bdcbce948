"""The lab is a distribution of its own: Backstay alone has no lab, and prints how to get it."""

import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from backstay import lacking
from backstay.cli import lab as cli_lab
from backstay.cli import main

TOP = Path(__file__).parents[2]


def test_a_lab_that_is_not_installed_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setattr(cli_lab, "entry_points", lambda **_group: ())
    with pytest.raises(cli_lab.NotInstalled, match="the lab is not installed") as refused:
        cli_lab._installed().main(["break", "--help", "power-off"], standalone_mode=False)
    assert refused.value.remedy == lacking.remedy(lacking.LAB)
    assert cli_lab.current_cloud_file() is None


@pytest.mark.parametrize("where", ["no_such_package.cli:lab", "backstay.cli.lab:no_such_command"])
def test_a_lab_that_is_installed_in_part_is_named(monkeypatch, where: str) -> None:
    points = [EntryPoint("lab", where, "any")]
    monkeypatch.setattr(cli_lab, "entry_points", lambda **_group: points)
    for load in (cli_lab._installed, cli_lab.current_cloud_file):
        with pytest.raises(cli_lab.NotInstalled, match=r"installed in part: .*no"):
            load()


def test_the_help_names_the_extra_of_the_lab():
    listed = CliRunner().invoke(main.backstay, ["--help"]).output
    assert re.search(r"^  lab +.*extra: backstay\[lab\]", listed, re.MULTILINE)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> tuple[Path, Path]:
    """Return the wheels of Backstay and of the lab, built from a copy of this checkout."""
    checkout = tmp_path_factory.mktemp("checkout")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for name in ("src", "packaging"):
        shutil.copytree(TOP / name, checkout / name, ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TOP / name, checkout)
    made = checkout / "wheels"
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", made]
    _pip(*build, checkout, checkout / "packaging" / "backstay-lab")
    product, lab = (next(made.glob(f"{name}-*.whl")) for name in ("backstay", "backstay_lab"))
    return product, lab


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env={}
    )  # no PYTHONPATH: what it names would count as installed
    assert done.returncode == 0, done.stderr


def test_the_wheel_of_backstay_holds_nothing_of_the_lab(wheels):
    product, lab = (zipfile.ZipFile(wheel).namelist() for wheel in wheels)
    assert not [name for name in product if "backstay_lab" in name]
    assert not [name for name in lab if name.startswith("backstay/")]
    assert "backstay_lab/data/puppet/hiera.yaml" in lab


def test_backstay_alone_prints_how_to_get_the_lab_and_with_the_lab_runs_it(wheels, tmp_path):
    venv.create(tmp_path, with_pip=False)
    (packages,) = tmp_path.glob("lib/python*/site-packages")
    shutil.copytree(Path(click.__file__).parent, packages / "click")
    install = ["--python", tmp_path / "bin" / "python", "install", "--quiet", "--no-deps"]

    def lab(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [tmp_path / "bin" / "backstay", "lab", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env={}
        )

    _pip(*install, wheels[0])
    alone = lab("break", "power-off", "controller")
    assert alone.returncode == 3
    assert alone.stderr == (
        "backstay: calling a command of the lab: the lab is not installed\n"
        "  what to do: call `make develop` in a checkout of Backstay; all that is missing: "
        "backstay doctor\n"
    )
    _pip(*install, wheels[1])
    complete = lab("--help")
    assert complete.returncode == 0, complete.stderr
    assert "new-board" in complete.stdout
