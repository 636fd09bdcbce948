"""Lists of APIs: all of a list is read, or it is said that it could not be."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backstay.access.session import CloudSession
from backstay.errors import ApiFailed, BackstayError
from backstay.services import cinder, glance, neutron, nova
from backstay.services.declaration import Service
from backstay.services.records import Listing, all_records, as_time, judge_list
from tests.fuzz.mutate import Mutator
from tests.health.rpc.recorded import CLOUD

LIST = Listing(service_type="compute", path="/things", key="things", noun="thing", nouns="things")
SERVER = {
    "id": "ec2dfbd0-e5ee-41fa-bdc2-86c3a60a1575",
    "name": "web1",
    "status": "ACTIVE",
    "OS-EXT-SRV-ATTR:host": "compute1",
    "OS-EXT-STS:task_state": None,
    "addresses": {"net": [{"addr": "10.0.0.5", "version": 4}]},
}
VOLUME = {"id": "1b234dd3-8d3a-424a-93b2-0565666e5e43", "name": "", "status": "creating"}
IMAGE = {"id": "2ef896a7-87dd-4c4a-9e61-68f1843696a7", "name": None, "status": "saving"}
SERVICES = {
    "services": [
        {
            "binary": "nova-compute",
            "host": "compute1",
            "state": "up",
            "status": "enabled",
            "updated_at": "2026-11-24T18:24:56.000000",
            "disabled_reason": None,
        }
    ]
}
AGENTS = {
    "agents": [
        {
            "binary": "neutron-dhcp-agent",
            "host": "compute1",
            "alive": True,
            "admin_state_up": True,
            "heartbeat_timestamp": "2026-11-24 18:24:56",
            "description": None,
        }
    ]
}


class Api:
    """Answers each path without its query by what ``answer`` returns for the number of the call."""

    def __init__(self, answer: Callable[[str, int], Any]) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def get(self, _type: str, path: str, _headers: Any = None) -> Any:
        self.asked.append(path)
        return self.answer(path, len(self.asked))


def page(*numbers: int, **more: Any) -> dict[str, Any]:
    return {"things": [{"id": f"{number}"} for number in numbers]} | more


def everything(*pages: Any, limit: int = 2, bound: int = 10) -> list[str]:
    listing = Listing(**{name: getattr(LIST, name) for name in LIST.__slots__} | {"limit": limit})
    api = Api(lambda _path, call: pages[min(call, len(pages)) - 1])
    return [str(one["id"]) for one in all_records(cast("Any", api), listing, bound)]


def test_all_pages_are_read() -> None:
    assert everything(page(1, 2), page(3, 4), page()) == ["1", "2", "3", "4"]
    assert everything(page(1, 2), page(3)) == ["1", "2", "3"]
    link = [{"rel": "next", "href": "http://api/things?marker=1"}]
    shorter = page(1, things_links=link)
    assert everything(shorter, page(2)) == ["1", "2"], "the API gives fewer than it is asked for"
    assert everything(page(1, next="/v2/things?marker=1"), page(2)) == ["1", "2"]


def test_a_marker_is_quoted() -> None:
    pages = [{"things": [{"id": "a&limit=0"}, {"id": "b&x=#"}]}, page()]
    api = Api(lambda _path, call: pages[call - 1])
    listing = Listing(**{name: getattr(LIST, name) for name in LIST.__slots__} | {"limit": 2})
    all_records(cast("Any", api), listing)
    assert api.asked[1].endswith("&marker=b%26x%3D%23")


@pytest.mark.parametrize(
    ("pages", "why"),
    [
        ([None], "could not read the answer"),
        ([[]], "could not read the answer"),
        ([{"other": []}], "could not read the answer"),
        ([{"things": {}}], "could not read the answer"),
        ([{"things": ["a"]}], "could not read the answer: 0: "),
        ([{"things": [{"name": "a"}]}], "a thing without an id"),
        ([{"things": [{"id": 7}]}], "a thing without an id"),
        ([page(1, 2)], "the page after 2 brings no other things"),
        ([page(at, at + 1) for at in range(0, 40, 2)], "more than 10 pages of things"),
    ],
)
def test_a_list_that_is_not_read_whole_is_an_error(pages: list[Any], why: str) -> None:
    with pytest.raises(ApiFailed) as caught:
        everything(*pages)
    assert why in caught.value.came_back


READERS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "nova agents": (nova.read_agents, SERVICES),
    "cinder agents": (cinder.read_agents, SERVICES),
    "neutron agents": (neutron.read_agents, AGENTS),
    "servers in flight": (nova.in_flight, {"servers": [SERVER]}),
    "workloads": (nova.workloads, {"servers": [SERVER]}),
    "volumes in flight": (cinder.in_flight, {"volumes": [VOLUME]}),
    "images in flight": (glance.in_flight, {"images": [IMAGE]}),
}


def session(service: Service, api: Any) -> CloudSession:
    found = CloudSession(cloud=CLOUD, shell=cast("Any", None), api=api)
    found.__dict__["services"] = [service]
    return found


@pytest.mark.parametrize("name", READERS)
def test_a_record_that_is_wrong_is_a_statement_about_that_api(name: str) -> None:
    """Asked by the session: each mutation is read, or an ApiError that says where it is wrong."""
    reader, recorded = READERS[name]
    kind = "agents" if name.endswith("agents") else name.rpartition(" ")[2]
    what = {"flight": "in_flight"}.get(kind, kind)
    service: Any = SimpleNamespace(agents=None, in_flight=None, workloads=None)
    setattr(service, what, (lambda api: _asked(api, name)) if what == "agents" else reader)
    mutator, failed = Mutator(9), list[str]()
    for _ in range(300):
        answer = mutator.value(recorded)

        def once(_path: str, call: int, answer: Any = answer) -> Any:
            return answer if call == 1 else {"servers": [], "volumes": [], "images": []}

        try:
            found = asyncio.run(getattr(session(service, Api(once)), what)())
        except BackstayError as error:
            failed.append(error.came_back)
        else:
            assert all(f"{one}".isprintable() for one in found)
    assert len(failed) > 50
    assert {one.partition(":")[0] for one in failed} == {"could not read the answer"}


def _asked(api: Any, name: str) -> Any:
    return {"nova": nova, "cinder": cinder, "neutron": neutron}[name.split(maxsplit=1)[0]].agents(
        api
    )


def test_times_that_no_calendar_has_are_not_known() -> None:
    assert as_time("0001-01-01T00:00:00+23:59") is None
    assert as_time("99999-01-01") is None


def test_what_is_no_uuid_is_in_no_command() -> None:
    answer = {"things": [{"id": "--help; $(id)", "odd": True}]}
    [_, odd] = judge_list(answer, LIST, lambda record: ["is odd"] if "odd" in record else [])
    assert odd.remedy.endswith("openstack thing list")
    answer = {"things": [{"id": SERVER["id"], "odd": True}]}
    [_, odd] = judge_list(answer, LIST, lambda record: ["is odd"] if "odd" in record else [])
    assert odd.remedy.endswith(f"openstack thing show {SERVER['id']}")
