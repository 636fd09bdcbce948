"""Every error about something that is missing ends with the way to find all that is missing."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backstay import lacking
from backstay.backup import requirements
from backstay.backup.requirements import Task
from backstay.cli import lab as cli_lab
from backstay.commands import quoted
from backstay.doctor.needs import Topic
from backstay.doctor.point import refused
from backstay.errors import BackstayError
from backstay.inventory.load import NoCloudFile, find
from backstay.journal import reach
from backstay.journal.locks import keeper
from backstay.journal.store import Store
from backstay.lacking import ALSO, PACKAGES, install
from backstay.transports import ipmi, namespaces, programs, ssh_errors
from backstay.transports.restic import Restic
from backstay.transports.sandbox import Sandbox
from backstay.transports.targets import BmcTarget, SshTarget

HOST = SshTarget(name="host", address="192.0.2.1")


async def _locks() -> None:
    async with keeper("etcd3+http://127.0.0.1:1"):
        pass


def no_python() -> None:
    raise ssh_errors.failed(HOST, 127, None, "bash: python3: command not found")


def no_namespaces() -> None:
    namespaces.require.__wrapped__()


def no_backups() -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(requirements, "lacking", lambda _: requirements.PROGRAMS[Task.STORE])
        requirements.require([Task.STORE], "backing up")


CALLS: dict[str, Callable[[], object]] = {
    "a program": lambda: asyncio.run(programs.run("nosuchprogram", doing="x", bound=1)),
    "a program in a sandbox": lambda: Sandbox(user=1).command("nosuchprogram"),
    "what makes sandboxes": no_namespaces,
    "what backups need": no_backups,
    "restic": lambda: asyncio.run(Restic("/r", Path("/p"), Path("/c")).snapshots()),
    "a driver of the journal": lambda: Store("postgresql+psycopg://ann:secret@db/x"),
    "a driver of the locks": lambda: asyncio.run(_locks()),
    "the doctor's own look at a driver": lambda: reach.ask_journal("mysql+pymysql://db/x"),
    "pyghmi": lambda: asyncio.run(
        ipmi.Ipmi(
            BmcTarget(name="host", url="ipmi://127.0.0.1", username="a", password="b")
        ).state()
    ),
    "python3 on a host": no_python,
    "the lab": lambda: cli_lab._missing.callback and cli_lab._missing.callback(),
    "cloud.yaml": lambda: find(None, lambda: None),
}


@pytest.mark.parametrize("what", CALLS)
def test_an_error_about_what_is_missing_ends_with_the_doctor(
    what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("backstay.inventory.load.PLACES", (Path("cloud.yaml"),))
    monkeypatch.delenv("BACKSTAY_CLOUD", raising=False)
    monkeypatch.setattr(namespaces, "PATH", str(tmp_path))
    for name in ("psycopg", "pymysql", "etcd3gw"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in [one for one in sys.modules if one.startswith("tooz.drivers.")]:
        monkeypatch.delitem(sys.modules, name)
    if what == "pyghmi":
        (tmp_path / "pyghmi.py").write_text("raise ImportError")
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    elif what == "restic":
        monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackstayError) as raised:
        CALLS[what]()
    assert raised.value.remedy.endswith("backstay doctor")
    assert "secret" not in raised.value.remedy


def test_the_doctor_does_not_name_itself() -> None:
    error = NoCloudFile("looking", came_back="none", remedy=lacking.remedy("describe it"))
    assert refused(Topic.CLOUD_FILE, "cloud.yaml", error).remedy == "describe it"
    assert ALSO.endswith("backstay doctor")


def test_packages_are_installed_by_one_line() -> None:
    assert install(["zstd", "restic", "zstd"]) == "apt-get install restic zstd"
    assert all(PACKAGES.values())


@pytest.mark.parametrize(("mine", "before"), [(True, ""), (False, "sudo ")])
def test_an_environment_of_another_user_is_changed_by_sudo(
    monkeypatch: pytest.MonkeyPatch, mine: bool, before: str
) -> None:
    monkeypatch.setattr("backstay.lacking.os.access", lambda *_: mine)
    line = f"{before}{quoted(sys.executable)} -m pip install 'backstay[etcd]'"
    assert lacking.install_extra("etcd") == line
