"""Lists of APIs: all of a list is read, or it is said that it could not be."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backstay.access.session import CloudSession
from backstay.answers import BadAnswer
from backstay.errors import ApiFailed, BackstayError
from backstay.services import cinder, glance, neutron, nova
from backstay.services.declaration import Service
from backstay.services.nova import read_unfinished, read_workloads
from backstay.services.records import Listing, all_records, as_time, judge_list, read_services
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


def test_a_server_that_gives_fewer_than_it_is_asked_for() -> None:
    """As nova with max_limit 50 asked for 100, with and without links."""
    pages = [page(*range(at, at + 50)) for at in (0, 50)] + [page(*range(100, 120)), page()]
    assert len(everything(*pages, limit=100)) == 120
    linked = [{"rel": "next", "href": "http://other/things?limit=50&marker=opaque"}]
    api = Api(lambda _path, call: [page(1, things_links=linked), page(2), page()][call - 1])
    assert len(all_records(cast("Any", api), LIST)) == 2
    assert [path.partition("marker=")[2] for path in api.asked] == ["", "opaque", "2"]


def test_an_api_without_pages_gives_all_at_once_or_links_what_follows() -> None:
    listing = replace(LIST, limit=0)
    api = Api(lambda _path, call: page(1, 2, 3))
    assert len(all_records(cast("Any", api), listing)) == 3
    assert api.asked == ["/things"]
    linked = page(1, 2, things_links=[{"rel": "next", "href": "/things?marker=2"}])
    api = Api(lambda _path, call: [linked, page(3)][call - 1])
    assert len(all_records(cast("Any", api), listing)) == 3
    assert api.asked[1] == "/things?marker=2"


def test_a_record_that_goes_between_two_pages() -> None:
    """nova answers 400 where the marker is no server any more: once more from the beginning."""
    gone = ApiFailed("asking", came_back="400: marker [2] not found", remedy="", status=400)
    pages: list[Any] = [page(1, 2), gone, page(1, 3), page()]

    def answer(_path: str, call: int) -> Any:
        if pages[call - 1] is gone:
            raise gone
        return pages[call - 1]

    api = Api(answer)
    assert len(all_records(cast("Any", api), replace(LIST, limit=2))) == 2
    pages[3] = gone
    with pytest.raises(ApiFailed, match="marker"):
        all_records(cast("Any", Api(answer)), replace(LIST, limit=2))


def test_services_that_are_a_part_are_not_all() -> None:
    answer = {"services": [], "services_links": [{"rel": "next", "href": "?marker=1"}]}
    with pytest.raises(BadAnswer, match="could not see all"):
        read_services(answer, interval=1, down_after=1, activate=lambda _record: "")
    with pytest.raises(BadAnswer, match="could not see all"):
        read_unfinished([{"id": "a", "status": "ACTIVE"}, {"id": "b", "status": "UNKNOWN"}])
    with pytest.raises(BadAnswer, match="could not see all"):
        read_workloads([{"id": "a", "status": "UNKNOWN"}])
    (verdict,) = judge_list({"things": [{"id": "1"}], "truncated": True}, LIST)
    assert verdict.evidence == "1 or more thing"


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
        ([page(1, 2), page(3, 4), page(1, 2)], "brings no other things"),
        (
            [
                page(number, things_links=[{"rel": "next", "href": "?marker=1"}])
                for number in range(9)
            ],
            "in a circle",
        ),
        ([page(1, truncated=True)], "could not see all things: the service leaves out the rest"),
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
