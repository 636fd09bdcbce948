"""Gates: each refuses for its own reason, and lets pass what is no reason."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import ApiUnreachable
from backstay.finding import Finding, Severity
from backstay.inventory.backup import Backups
from backstay.inventory.cloud import Cloud
from backstay.journal.plan import Plan, Step
from backstay.journal.records import RunRecord, RunState
from backstay.maintenance import gates_onhost
from backstay.maintenance.gates import GATES, BootObstacles, GateInput, ask_all
from backstay.maintenance.refusal import GatesRefused
from backstay.services import cinder, glance, nova
from backstay.services.declaration import InFlightTask

WELL = BootObstacles(packaging="", half_done="", kernel=())
NOW = 1_800_000_000.0


def cloud(controllers: int = 1, **maintenance: Any) -> Cloud:
    hosts: dict[str, Any] = {
        f"controller{n}": {"address": f"192.0.2.{n}", "roles": ["controller"]}
        for n in range(1, controllers + 1)
    }
    hosts |= {
        "compute1": {"address": "192.0.2.21", "roles": ["compute"]},
        "proxy": {"address": "192.0.2.22", "roles": ["storage-proxy"]},
    }
    return Cloud.model_validate(
        {"credentials": {"openrc": "openrc"}, "hosts": hosts, "maintenance": maintenance}
    )


def finding(host: str | None, subject: str = "unit x", severity: str = "failed") -> Finding:
    return Finding(
        host=host,
        service="x",
        subject=subject,
        severity=Severity(severity),
        evidence="not running",
        remedy="start it",
    )


def run(
    runbook: str, state: RunState, *, ended: float | None = None, name: str = "r-1"
) -> RunRecord:
    step = Step(id="a", action="a", target="controller1", does="a", bound=1)
    plan = Plan(runbook=runbook, cloud="cloud", targets=("controller1",), steps=(step,))
    return RunRecord(
        id="r-1",
        state=state,
        plan=plan,
        who="ann",
        holder="ann@ops, process 7",
        reason="",
        ticket="",
        made=0,
        began=0,
        ended=ended,
        steps=(),
    )


def refusals(
    skip_gates: Sequence[str] = (), work: Sequence[InFlightTask] = (), **other: Any
) -> list[str]:
    async def in_flight() -> Sequence[InFlightTask]:
        return work

    values: dict[str, Any] = {
        "cloud": cloud(),
        "host": "controller1",
        "run": "reboot-9",
        "now": NOW,
        "findings": (),
        "known": None,
        "on_host": WELL,
        "in_flight": in_flight,
        "idle": 0.0,
        "runs": (),
        "progress": lambda text: None,
    }
    found = asyncio.run(ask_all(GateInput(**(values | other)), skip_gates))
    assert all(refusal.remedy for refusal in found)
    return [f"{refusal.gate}: {refusal.reason}" for refusal in found]


def test_nothing_against_it() -> None:
    assert refusals() == []


def test_all_reasons_at_once() -> None:
    found = refusals(
        work=[InFlightTask(what="server web1", doing="building")],
        findings=[finding("controller1", "disk /")],
        on_host=replace(WELL, half_done="nova-api"),
        runs=[run("reboot", RunState.RUNNING)],
    )
    assert [one.partition(":")[0] for one in found] == [
        "runs",
        "healthy",
        "in-flight",
        "host",
        "host",
    ]
    told = str(GatesRefused("rebooting controller1", []))
    assert "rebooting controller1" in told


@pytest.mark.parametrize(
    ("host", "counts"),
    [("controller1", True), (None, True), ("compute1", False)],
)
def test_only_what_is_near_must_be_healthy(host: str | None, counts: bool) -> None:
    assert bool(refusals(findings=[finding(host)])) is counts
    assert refusals(findings=[finding(host)], skip_gates=["healthy"]) == []
    assert refusals(findings=[finding(host, severity="warning")]) == []
    assert bool(refusals(findings=[finding(host, severity="unknown")])) is counts


def test_before_the_next_host_only_what_is_new_counts_wherever_it_is() -> None:
    known = frozenset({("compute1", "x", "unit x")})
    assert refusals(findings=[finding("compute1")], known=known, host="proxy") == []
    assert refusals(findings=[finding("compute1", "unit y")], known=known, host="proxy")


def test_a_second_host_in_the_place_of_any_counts_always() -> None:
    fenced = {"old": {"was": "controller1", "since": "2026-11-24T22:00:00Z"}}
    described = cloud().model_validate(cloud().model_dump(by_alias=True) | {"fenced": fenced})
    found = [finding("old", "fenced host"), finding("compute1", "address")]
    known = frozenset({("old", "x", "fenced host"), ("compute1", "x", "address")})
    for before in (None, known):
        told = refusals(cloud=described, findings=found, known=before, host="proxy")
        assert told == [
            "healthy: old: fenced host (not running)",
            "healthy: compute1: address (not running)",
        ]
    off = [finding("old", "fenced host", severity="warning")]
    assert refusals(cloud=described, findings=off, host="proxy") == []


def test_work_under_way_matters_to_controllers_and_compute_hosts() -> None:
    work = [InFlightTask(what=f"server web{n}", doing="building") for n in range(10)]
    [told] = refusals(work=work)
    assert told.startswith("in-flight: tasks are under way: server web0 is building")
    assert "and 2 more" in told
    assert refusals(work=work, host="compute1")
    assert refusals(work=work, host="proxy") == []


def test_it_waits_until_idle() -> None:
    answers = [[InFlightTask(what="server web1", doing="building")], []]
    said: list[str] = []

    async def in_flight() -> Sequence[InFlightTask]:
        return answers.pop(0)

    assert refusals(in_flight=in_flight, idle=60.0, progress=said.append) == []
    assert said == ["waiting until idle: server web1 is building"]


def test_what_cannot_be_told_is_no_yes() -> None:
    async def in_flight() -> Sequence[InFlightTask]:
        raise ApiUnreachable("asking nova", came_back="no answer", remedy="look")

    [told] = refusals(in_flight=in_flight)
    assert "is not known: asking nova: no answer" in told
    [told] = refusals(on_host=None)
    assert "could not be asked" in told


def test_a_verified_backup_of_the_wanted_age() -> None:
    wants = cloud().model_copy(update={"backup": Backups.model_validate({"max_age": "1h"})})
    assert "there is no verified backup of controller1" in refusals(cloud=wants)[0]
    assert "backup is 2 h old" in refusals(cloud=wants, backed_up=NOW - 7200)[0]
    assert refusals(cloud=wants, backed_up=NOW - 60) == []
    hooked = cloud(hooks={"backup": ["take-one"]}).model_copy(update={"backup": wants.backup})
    assert refusals(cloud=hooked) == []
    itself = cloud(backup=True).model_copy(update={"backup": wants.backup})
    assert refusals(cloud=itself) == []


def test_the_majority_that_is_left() -> None:
    three = cloud(3)
    assert refusals(cloud=three) == []
    assert refusals(cloud=three, findings=[finding("controller1")], skip_gates=["healthy"]) == []
    [told] = refusals(cloud=three, findings=[finding("controller2")], skip_gates=["healthy"])
    assert "only 1 of 3 controllers would be healthy" in told
    assert refusals(cloud=cloud(2)), "one of two is no majority"


def test_the_window_is_about_to_close() -> None:
    assert refusals(closes=NOW + 600, expected=300.0) == []
    [told] = refusals(closes=NOW + 200, expected=300.0)
    assert "closes in 3 min" in told
    assert "expected to take 5 min" in told
    assert "closed 10 min ago" in refusals(closes=NOW - 600)[0]


def test_every_gate_is_named_as_the_option_names_it() -> None:
    assert list(GATES) == ["runs", "window", "healthy", "in-flight", "host", "backup", "quorum"]


def test_half_done_work_as_the_apis_tell_it() -> None:
    servers: list[dict[str, Any]] = [
        {"id": "1", "name": "a", "status": "BUILD", "OS-EXT-STS:task_state": "spawning"},
        {"id": "2", "name": "b", "status": "ACTIVE", "OS-EXT-STS:task_state": None},
        {"id": "3", "name": "c", "status": "VERIFY_RESIZE", "OS-EXT-STS:task_state": None},
        {"id": "4", "name": "d", "status": "ACTIVE", "OS-EXT-STS:task_state": "image_uploading"},
        {"id": "5", "name": "e", "status": "MIGRATING"},
    ]
    assert [(one.what, one.doing) for one in nova.read_unfinished(servers)] == [
        ("server a", "spawning"),
        ("server d", "image uploading"),
        ("server e", "migrating"),
    ]
    volumes: list[dict[str, Any]] = [
        {"id": "1", "name": "", "status": "creating"},
        {"id": "2", "name": "v", "status": "in-use", "migration_status": "migrating"},
        {"id": "3", "name": "w", "status": "in-use", "migration_status": None},
    ]
    found = cinder.read_unfinished(volumes)
    assert [one.what for one in found] == ["volume 1", "volume v"]
    images = [{"id": "1", "name": "i", "status": "saving"}, {"id": "2", "status": "queued"}]
    assert [one.what for one in glance.read_unfinished(images)] == ["image i"]


GRUB = """
set default="0"
menuentry 'Debian GNU/Linux' --class debian {
        search --no-floppy --fs-uuid --set=root 1
        linux   %s root=UUID=1 ro quiet
        initrd  %s
}
menuentry 'old' {
        linux /boot/vmlinuz-old
}
"""


def test_the_kernel_of_the_first_entry(tmp_path: Path) -> None:
    kernel, image = tmp_path / "vmlinuz", tmp_path / "initrd"
    kernel.write_text("kernel")
    config = tmp_path / "grub.cfg"
    config.write_text(GRUB % (kernel, image))
    assert gates_onhost.missing_boot_files(config) == [str(image)]
    image.write_text("")  # a full /boot leaves an empty one
    assert gates_onhost.missing_boot_files(config) == [str(image)]
    image.write_text("image")
    assert gates_onhost.missing_boot_files(config) == []
    config.write_text("set default=0\n")
    assert gates_onhost.missing_boot_files(config)
