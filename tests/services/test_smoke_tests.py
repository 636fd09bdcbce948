"""Deep checks leave nothing: not when all goes well, not when it fails, not when interrupted."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backstay.answers import convert
from backstay.finding import Severity
from backstay.health.smoke_tests import run_smoke_tests as run
from backstay.services import resource_name
from backstay.services.cinder import smoke_test as volume
from backstay.services.glance import smoke_test as image
from backstay.services.nova import smoke_test as instance
from backstay.services.smoke_test import NothingToTest, carry_out
from tests.fuzz.mutate import Mutator
from tests.services.memory_api import MemoryApi, failed

ALL = {"glance", "nova", "cinder", "swift"}
ANSWERS = {
    ("compute", "/flavors/detail"): {"flavors": [{"id": "f", "ram": 1, "vcpus": 1, "disk": 1}]},
    ("network", "/v2.0/networks"): {"networks": [{"id": "n", "shared": True}]},
    ("network", "/v2.0/subnets"): {"subnets": [{"network_id": "n", "enable_dhcp": True}]},
}
BOOTS = {"id": "i", "name": "tiny", "container_format": "bare", "disk_format": "raw"}
NOW = datetime.now(UTC)


class DeepApi(MemoryApi):
    """With one public image that boots, beside those that the check makes."""

    def get(self, service_type: str, path: str, headers: Any = None) -> Any:
        if service_type == "image" and "visibility=public" in path:
            return {"images": [BOOTS]}
        return super().get(service_type, path)


@pytest.fixture
def api():
    return DeepApi(ANSWERS)


def left(api: MemoryApi) -> list[str]:
    return [name for things in api.things.values() for name in things.values()] + list(api.objects)


def test_every_kind_is_made_and_nothing_stays(api):
    findings = asyncio.run(run(api, ALL))
    kinds = ("image", "instance", "volume", "object")
    assert [f.subject for f in findings] == [f"deep {kind}" for kind in kinds]
    assert [(f.severity, f.remedy) for f in findings] == [(Severity.OK, "")] * 4
    assert all(f.seconds for f in findings)
    uploads = {key for key in api.objects if key.startswith("image/")}
    assert [name for name in left(api) if name not in uploads] == []


@pytest.mark.parametrize(
    ("trial", "change", "said"),
    [
        (volume.SMOKE_TEST, {"volume_status": "error"}, "ended in status error"),
        (instance.SMOKE_TEST, {"server_status": "ERROR"}, "No valid host"),
    ],
)
def test_what_fails_is_deleted_and_said(api, trial, change, said):
    vars(api).update(change)
    finding = asyncio.run(carry_out(trial, api))
    assert finding.severity is Severity.FAILED
    assert said in finding.evidence
    assert finding.remedy
    assert left(api) == []


def test_interrupted_while_the_request_is_under_way_nothing_stays(api):
    async def interrupted() -> None:
        api.volume_status = "creating"
        running = asyncio.create_task(carry_out(volume.SMOKE_TEST, api))
        await asyncio.to_thread(api.made.wait, 10)
        api.volume_status = "available"
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(interrupted())
    assert left(api) == []


def test_what_a_dead_process_left_is_removed_by_the_next_run(api):
    program = "from backstay.services import resource_name; print(resource_name.new())"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    dead = done.stdout.strip()
    api.things["block-storage"] = {"old": dead, "users": "backstay-deep-but-a-user's", "x": "data"}
    finding = asyncio.run(carry_out(volume.SMOKE_TEST, api))
    assert "1 left over" in finding.evidence
    assert api.things["block-storage"] == {"users": "backstay-deep-but-a-user's", "x": "data"}


def test_what_a_living_process_is_at_work_on_is_left_alone():
    mine, now = resource_name.new(), datetime.now(UTC)
    assert not resource_name.is_left_over(mine, now=now)
    assert resource_name.is_left_over(mine, now=now + timedelta(hours=1))
    elsewhere = mine.replace(mine.split("-")[3], "00000000")
    assert not resource_name.is_left_over(elsewhere, now=now)
    assert not resource_name.is_left_over("shop-database", now=now + timedelta(days=9))


def test_an_error_of_the_api_is_a_finding(api):
    def refuse(_type):
        raise failed(503)

    api.before_post = refuse
    finding = asyncio.run(carry_out(image.SMOKE_TEST, api))
    assert (finding.severity, finding.remedy) == (Severity.FAILED, "look")
    assert "503" in finding.evidence


def test_choosing_what_boots():
    boots = convert(instance.Image, BOOTS)
    kernel = replace(boots, id="k", container_format="aki", disk_format="aki")
    assert instance.choose_image([kernel, boots]) is boots
    with pytest.raises(NothingToTest):
        instance.choose_image([kernel])
    small = instance.Flavour(id="s", ram=128, vcpus=1, disk=1)
    big = instance.Flavour(id="b", ram=128, vcpus=2, disk=0)
    assert instance.choose_flavour([big, small]) is small
    assert instance.choose_network([instance.Network(id="a")], []) is None


class LyingApi(DeepApi):
    """Every answer is a mutation of the right one."""

    def __init__(self, seed: int) -> None:
        super().__init__(ANSWERS)
        self.mutator = Mutator(seed)

    def get(self, service_type: str, path: str, headers: Any = None) -> Any:
        answer = super().get(service_type, path)
        return self.mutator.value(answer) if self.mutator.random.random() < 0.5 else answer

    def post(self, service_type, path, body):
        answer = super().post(service_type, path, body)
        return self.mutator.value(answer) if self.mutator.random.random() < 0.5 else answer

    def read(self, service_type, path):
        return self.mutator.raw(super().read(service_type, path))


@pytest.fixture
def impatient(monkeypatch):
    for test in (volume, instance):
        monkeypatch.setattr(test, "BOUND", 0.0)
    monkeypatch.setattr("backstay.services.smoke_test.SWEEP_BOUND", 0.5)


@pytest.mark.usefixtures("impatient")
def test_whatever_the_apis_answer_there_is_a_finding_for_each():
    for seed in range(25):
        findings = asyncio.run(run(LyingApi(seed), ALL))
        assert len(findings) == 4
        assert all(f"{one.evidence}{one.remedy}".isprintable() for one in findings)


def test_an_identity_that_is_a_path_is_never_deleted(api):
    """What an API lists stands in the path of a deletion."""
    name = resource_name.new()
    api.things["block-storage"] = {"../../v3/users/x": name}
    finding = asyncio.run(carry_out(volume.SMOKE_TEST, api))
    assert finding.severity is Severity.FAILED
    assert "is no name for a path" in finding.evidence
    assert "../../v3/users/x" in api.things["block-storage"]
