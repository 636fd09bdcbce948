"""A host that hangs is power-cycled by its BMC only while that is its own."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backstay.errors import BackstayError
from backstay.inventory.cloud import Cloud
from backstay.inventory.load import load
from backstay.journal.action import Running
from backstay.journal.plan import Plan, Step
from backstay.runbooks.common import which_machine
from backstay.runbooks.reboot.power_cycle import power_cycle
from backstay.runbooks.reboot.steps import NOTE, HostNoted
from tests.transports.redfish_board import RedfishBoard, served

HOST, OTHER = "4c4c4544-0038-3110-8052-b4c04f4e3432", "4c4c4544-0038-3110-8052-b4c04f4e3433"


class _Session:
    """Of a session, the inventory."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def host(self, name: str) -> Any:
        return self.cloud.hosts[name]


def cloud_at(folder: Path, url: str, other: str = "http://192.0.2.9") -> Cloud:
    def host(name: str, address: str, bmc: str) -> dict[str, Any]:
        login = {"url": bmc, "username": "admin", "password": "s3cret"}
        return {"address": address, "roles": [name], "bmc": login}

    hosts = {
        "controller": host("controller", "192.0.2.1", url),
        "compute1": {**host("compute", "192.0.2.2", other)},
    }
    document = {"name": "lab", "credentials": {"environment": True}, "hosts": hosts}
    file = folder / "cloud.yaml"
    file.write_text(json.dumps(document | {"backup": {"repository": str(folder / "backups")}}))
    file.chmod(0o600)
    return load(file)


def cycled(cloud: Cloud, noted: str = "") -> list[str]:
    """Power-cycle the controller; return what was reported."""
    reported: list[str] = []
    note = HostNoted(
        boot_id="b", hostname="controller", kernel="6", apis={}, instances={}, agents=(), uuid=noted
    )
    step = Step(id="controller.down", action="down", target="controller", does="", bound=9)
    running = Running(
        run="reboot-1",
        plan=Plan(runbook="reboot", cloud="lab", targets=("controller",), steps=(step,)),
        step=step,
        results={NOTE.id("controller"): note.to_json()},
        started=0.0,
        report=reported.append,
    )
    asyncio.run(power_cycle(cast("Any", _Session(cloud)), running, "it hung"))
    return reported


def test_its_own_machine_is_cycled(tmp_path: Path) -> None:
    board = RedfishBoard(uuid=HOST)
    with served(board) as url:
        reported = cycled(cloud_at(tmp_path, url), HOST)
    assert board.resets == ["ForceRestart"]
    assert reported[-1] == "its BMC is that of this machine"


def test_another_machine_is_left_alone(tmp_path: Path) -> None:
    board = RedfishBoard(uuid=OTHER)
    with served(board) as url, pytest.raises(BackstayError) as caught:
        cycled(cloud_at(tmp_path, url), HOST)
    assert board.resets == []
    assert f"the machine behind its BMC has the UUID {OTHER}" in caught.value.came_back
    assert "correct `bmc` of controller" in caught.value.remedy
    assert "power-cycle controller by hand" in caught.value.remedy


def test_the_ids_of_the_newest_backup_count_where_the_run_has_noted_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is in a run that an earlier version has started."""

    class Newest:
        machine = {"uuid": HOST}  # noqa: RUF012 - as a backup has it

    class Catalogue:
        def readable(self, *, host: str) -> Any:
            assert host == "controller"
            return [Newest()], []

    place = SimpleNamespace(catalogue=Catalogue())
    monkeypatch.setattr(which_machine, "Place", lambda _cloud: place)
    board = RedfishBoard(uuid=OTHER)
    with served(board) as url, pytest.raises(BackstayError, match="the machine behind its BMC"):
        cycled(cloud_at(tmp_path, url))
    assert board.resets == []


def test_a_bmc_that_two_hosts_have_by_two_names_is_nobodys(tmp_path: Path) -> None:
    board = RedfishBoard(uuid=HOST)
    with served(board) as url, pytest.raises(BackstayError, match="compute1 has the same BMC"):
        cycled(cloud_at(tmp_path, url, url.replace("127.0.0.1", "localhost")), HOST)
    assert board.resets == []


def test_what_cannot_be_compared_is_cycled_and_said(tmp_path: Path) -> None:
    board = RedfishBoard()
    with served(board) as url:
        reported = cycled(cloud_at(tmp_path, url), HOST)
    assert board.resets == ["ForceRestart"]
    assert "not compared" in reported[-1]
