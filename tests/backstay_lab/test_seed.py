"""Seeding: what can be judged without a cloud."""

from typing import Any

import pytest

from backstay.transports import ping
from backstay_lab import seed, seed_storage
from backstay_lab.cloud_api import CloudApi, await_answer
from backstay_lab.errors import LabError

INSTANCES = [
    {"id": "1", "name": "demo-1", "address": "10.80.0.52"},
    {"id": "2", "name": "shop-1", "address": "10.80.0.97"},
]


class Recorded:
    """An API that gives recorded answers by path."""

    def __init__(self, answers: dict[tuple[str, str], Any]) -> None:
        self.answers = answers

    def get(self, service_type: str, path: str, headers: Any = None) -> Any:
        return self.answers[service_type, path]


def answers(**changes: Any) -> dict[tuple[str, str], Any]:
    up = {"binary": "nova-compute", "host": "compute1", "state": "up"}
    return {
        ("compute", "/os-services"): {"services": [up | changes.get("service", {})]},
        ("volumev3", "/os-services"): {"services": []},
        ("network", "/v2.0/agents"): {
            "agents": [
                {"binary": "neutron-dhcp-agent", "host": "compute2", "alive": True}
                | changes.get("agent", {})
            ]
        },
        ("image", "/v2/images?limit=1"): {"images": []},
        ("compute", "/servers/detail?all_tenants=1"): {
            "servers": [
                {"id": "1", "name": "demo-1", "status": changes.get("status", "ACTIVE")},
                {"id": "9", "name": "a user's own", "status": "SHUTOFF"},
            ]
        },
    }


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({}, []),
        ({"service": {"state": "down"}}, ["nova-compute on compute1 is down"]),
        ({"agent": {"alive": False}}, ["neutron-dhcp-agent on compute2 is down"]),
        ({"status": "SHUTOFF"}, ["instance demo-1 is SHUTOFF"]),
    ],
)
def test_what_is_missing_is_named(monkeypatch, changes, missing):
    monkeypatch.setattr(ping, "answers", lambda _address: True)
    assert seed.missing(Recorded(answers(**changes)), {"instances": INSTANCES}) == missing


def test_silent_instances_are_named_with_their_address(monkeypatch):
    monkeypatch.setattr(ping, "answers", lambda address: address.endswith(".97"))
    assert seed.silent(INSTANCES) == ["instance demo-1 (10.80.0.52) does not answer ping"]


def test_a_wait_ends_at_its_bound_and_names_the_last_error():
    def refused():
        raise LabError("asking", came_back="status 503", remedy="")

    with pytest.raises(LabError) as raised:
        await_answer(refused, attempted="waiting", bound=0.02, pause=0.01)
    assert "status 503" in raised.value.came_back


def test_objects_differ_by_project_and_are_the_same_every_time():
    demo, shop = dict(seed_storage.objects_of("demo")), dict(seed_storage.objects_of("shop"))
    assert [len(data) for data in demo.values()] == list(seed_storage.CONTAINERS["demo"][1])
    assert demo == dict(seed_storage.objects_of("demo"))
    assert not set(demo) & set(shop)


def test_a_password_is_not_shown():
    api = CloudApi(auth_url="http://[::1]", user="u", project="p", password="geheim", region="r")
    assert "geheim" not in repr(api)
