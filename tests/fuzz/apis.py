"""What APIs, keystone, BMCs and web servers answer, from the bytes of their bodies on."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import requests
from keystoneauth1.access import AccessInfoV3
from requests.adapters import BaseAdapter

from backstay.access.session import CloudSession
from backstay.answers import clean, convert, read
from backstay.errors import HostUnreachable, PowerError
from backstay.health.check import check_hosts
from backstay.inventory.cloud import Cloud
from backstay.services.cinder import records as cinder
from backstay.services.cinder import smoke_test as cinder_test
from backstay.services.glance import smoke_test as glance_test
from backstay.services.neutron import reconcile as neutron
from backstay.services.nova import reconcile as nova
from backstay.services.nova import smoke_test as nova_test
from backstay.services.records import ask_api
from backstay.services.smoke_test import Named
from backstay.services.swift import smoke_test as swift_test
from backstay.transports import api_errors, discovery, exchange, ipmi, redfish_system
from backstay.transports.hardware import Hardware, hardware_of
from backstay.transports.redfish import Redfish
from backstay.transports.targets import BmcTarget, Reply
from backstay.transports.token import check_token
from tests.fuzz.hosts import show
from tests.fuzz.reader import RECORDED, Reader, expect_clean
from tests.health.test_check import HEALTHY
from tests.services.memory_api import MemoryApi
from tests.transports.redfish_board import ROOT, SYSTEM, SYSTEMS, RedfishBoard

URL = "http://192.0.2.11:8774/v2.1"
UUID = "ec2dfbd0-e5ee-41fa-bdc2-86c3a60a1575"
SERVER = {
    "id": UUID,
    "name": "web1",
    "status": "ACTIVE",
    "host": "compute1",
    "OS-EXT-SRV-ATTR:host": "compute1",
    "OS-EXT-STS:vm_state": "active",
    "OS-EXT-STS:task_state": None,
    "addresses": {"net": [{"addr": "10.0.0.5", "version": 4}]},
}
LINKS = [{"rel": "self", "href": "http://controller:8774/v2.1/"}]
LISTS: dict[tuple[str, str], Any] = {
    ("image", "/v2/images"): {"images": [{"id": UUID, "status": "active", "size": 1}]},
    ("placement", "/resource_providers"): None,
    ("compute", "/servers/detail"): {"servers": [SERVER]},
    ("compute", "/os-services"): None,
    ("network", "/v2.0/networks"): {"networks": [{"id": UUID, "status": "ACTIVE"}]},
    ("network", "/v2.0/agents"): None,
    ("block-storage", "/volumes/detail"): {"volumes": [{"id": UUID, "status": "available"}]},
    ("block-storage", "/os-services"): None,
    ("identity", "/v3/projects"): {"projects": [{"id": "p"}]},
}
"""Answers by type and path; what is None is recorded."""
FILES = {
    "/resource_providers": "placement-resource-providers.json",
    "compute /os-services": "nova-os-services.json",
    "/v2.0/agents": "neutron-agents.json",
    "block-storage /os-services": "cinder-os-services.json",
}
ONE: tuple[tuple[Any, Any], ...] = (
    (cinder.VolumeAnswer, {"volume": {"status": "available"}}),
    (nova.ServerAnswer, {"server": SERVER}),
    (neutron.HoldersAnswer, {"agents": [{"host": "controller"}]}),
    (
        nova_test.FlavoursAnswer,
        {"flavors": [{"id": "1", "ram": 64, "vcpus": 1, "disk": 1}]},
    ),
    (nova_test.ImagesAnswer, {"images": [{"id": UUID, "name": "x", "disk_format": "raw"}]}),
    (nova_test.NetworksAnswer, {"networks": [{"id": UUID, "name": "n", "shared": True}]}),
    (nova_test.SubnetsAnswer, {"subnets": [{"network_id": UUID, "enable_dhcp": True}]}),
    (nova_test.ServerAnswer, {"server": SERVER | {"fault": {"message": "No valid host"}}}),
    (cinder_test.VolumeMade, {"volume": {"id": UUID}}),
    (glance_test.ImageStatus, {"status": "active"}),
    (Named, {"id": UUID, "name": "x"}),
)
TOKEN = {
    "token": {
        "expires_at": "2099-01-01T00:00:00.000000Z",
        "user": {"id": "u", "name": "admin"},
        "project": {"id": "p", "name": "admin"},
        "roles": [{"id": "r", "name": "admin"}],
        "catalog": [
            {
                "type": "compute",
                "id": "c",
                "name": "nova",
                "endpoints": [
                    {"id": "e", "url": URL, "interface": "public", "region": "RegionOne"}
                ],
            }
        ],
    }
}


def readers() -> Iterator[Reader]:
    """Give a reader for each answer of an API, of keystone and of a BMC."""
    for (kind, path), known in LISTS.items():
        file = FILES.get(path) or FILES.get(f"{kind} {path}")
        answer = known
        if file:
            text = (RECORDED / "services" / "data" / file).read_text(encoding="utf-8")
            answer = json.loads(text)
        yield Reader(
            name=f"GET {path} of {kind}", recorded=answer, digest=_check(kind, path), share=6
        )
        if kind in {"image", "compute", "block-storage"}:
            yield Reader(
                name=f"work of users by {path} of {kind}",
                recorded=answer,
                digest=partial(_find_work, kind, path),
            )
    versions = {"versions": [{"id": "v2.1", "status": "CURRENT", "links": LINKS}]}
    yield Reader(name="versions of a service", recorded=versions, digest=find_version)
    headers: Any = HEALTHY["object-store", ""]
    yield Reader(name="headers of an account", recorded=headers, digest=check_account, share=6)
    for kind, recorded in ONE:
        name = f"{kind.__module__}.{kind.__name__}"
        yield Reader(name=f"answer {name}", recorded=recorded, digest=partial(_one, kind))
    containers = [{"name": "backstay-smoke-test-1", "count": 1}]
    yield Reader(name="containers", recorded=containers, digest=find_containers)
    yield Reader(name="token", recorded=TOKEN, digest=take_token, share=20)
    fault = {"error": {"message": "The request you have made requires authentication."}}
    yield Reader(name="body of an error", recorded=fault, digest=take_error, share=20)
    page = b"<html><title>502 Bad Gateway</title><h1>Bad Gateway</h1></html>"
    yield Reader(name="page of a proxy", recorded=page, digest=take_error, share=20)
    board = RedfishBoard(uuid=UUID, serial="S1")
    for path in (ROOT, SYSTEMS, SYSTEM):
        yield Reader(
            name=f"Redfish {path}", recorded=board.get(path), digest=_ask_board(path), share=6
        )
    came = {"on": True, "missed": ["boot override: refused"], "guid": "00" * 16, "error": ""}
    yield Reader(name="IPMI", recorded=came, digest=take_ipmi, share=10)
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
    yield Reader(name="an HTTP answer", recorded=http, digest=take_http, share=20)


CLOUD = Cloud.model_validate(
    {
        "credentials": {"environment": True},
        "hosts": {
            "controller": {"address": "192.0.2.11", "roles": ["controller"]},
            "compute1": {"address": "192.0.2.21", "roles": ["compute"]},
        },
    }
)


def find_version(data: bytes) -> None:
    """Find the address of a service's newest version: it stays on the server that was asked."""
    found = discovery.newest("http://192.0.2.11:8774", read(Any, data))
    assert found is None or found.startswith("http://192.0.2.11:8774")


class _Silent:
    """Hosts that do not answer: only the APIs do."""

    async def answer(self, *_: Any, **__: Any) -> Any:
        raise HostUnreachable("connecting", came_back="silence", remedy="look")


class _Lying(MemoryApi):
    """APIs of which one gives this body, or these headers."""

    def __init__(self, kind: str, path: str, body: bytes) -> None:
        super().__init__(HEALTHY)
        self.lie = (kind, path)
        self.body = body

    def get(self, service_type: str, path: str, headers: Any = None) -> Any:
        if (service_type, path.partition("?")[0]) != self.lie:
            return super().get(service_type, path)
        if "marker" in path:  # a page after the last
            return {path.partition("?")[0].removesuffix("/detail").rpartition("/")[2]: []}
        reply = Reply(status=200, headers={}, body=self.body)
        try:
            return reply.json()
        except ValueError as error:  # as transports.openstack has it
            raise api_errors.not_json(f"GET {path}", URL, 200, self.body) from error

    def head(self, service_type: str, path: str) -> Mapping[str, str]:
        if (service_type, path) != self.lie:
            return super().head(service_type, path)
        given = read(Any, self.body)
        return {str(key): str(one) for key, one in given.items()} if isinstance(given, dict) else {}


def _check(kind: str, path: str) -> Callable[[bytes], None]:
    def digest(data: bytes) -> None:
        shell: Any = _Silent()
        session = CloudSession(cloud=CLOUD, shell=shell, api=_Lying(kind, path, data))
        show(asyncio.run(check_hosts(session)))

    return digest


def _find_work(kind: str, path: str, data: bytes) -> None:
    """Find what runs, and what is being made: it may keep a host from being taken away."""
    api = _Lying(kind, path, data)
    shell: Any = _Silent()
    session = CloudSession(cloud=CLOUD, shell=shell, api=api)
    for name, found in asyncio.run(_work(session)):
        expect_clean([name, str(found)], longest=10**6)


async def _work(session: CloudSession) -> list[tuple[str, Any]]:
    workloads, agents = await session.workloads(), await session.agents()
    tasks = await session.in_flight()
    return [(type(one).__name__, one) for one in (*workloads, *agents, *tasks)]


check_account = _check("object-store", "")


def _one(kind: Any, data: bytes) -> None:
    ask_api(_Lying("compute", "/x", data), "compute", "/x", partial(convert, kind))


class _Listing(MemoryApi):
    def __init__(self, body: bytes) -> None:
        super().__init__({})
        self.body = body

    def read(self, _service_type: str, _path: str) -> bytes:
        return self.body


def find_containers(data: bytes) -> None:
    """Find what an interrupted smoke test has left."""
    for name, key in asyncio.run(swift_test.find(_Listing(data))):
        expect_clean([name])
        assert "/" not in key


def take_token(data: bytes) -> None:
    """Take what keystone sends with a token, as keystoneauth1 decodes it."""
    try:
        body = json.loads(data)
        access = AccessInfoV3(body, auth_token="t")
    except Exception:
        return  # transports.openstack calls all of these an odd answer
    check_token(access)
    for name in (access.username, access.project_name):
        # A finding makes one line of them.
        assert name is None or clean(name, longest=len(name), lines=True) == name
    assert access.expires is not None
    for service in access.service_catalog.catalog:
        service.get("endpoints", [])


def take_error(data: bytes) -> None:
    """Make an error for the operator of an answer that is none."""
    for code in (401, 403, 404, 409, 500, 503):
        error = api_errors.status("GET /x", URL, code, data)
        expect_clean([error.attempted, error.came_back, error.remedy], longest=2000)
    error = api_errors.not_json("GET /x", URL, 200, data)
    expect_clean([error.attempted, error.came_back, error.remedy], longest=2000)


class _Board(BaseAdapter):
    """A Redfish service of which one resource is ``body``."""

    def __init__(self, path: str, body: bytes) -> None:
        super().__init__()
        self.path, self.body = path, body
        self.board = RedfishBoard(uuid=UUID, serial="S1")

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        path = (request.path_url or "").partition("?")[0]
        known = self.board.get(path)
        response = requests.Response()
        response.status_code = 404 if known is None else 200
        response.request, response.url = request, request.url or ""
        response.headers["Content-Type"] = "application/json"
        mine = path.rstrip("/") == self.path.rstrip("/")
        response._content = self.body if mine else json.dumps(known).encode()
        return response

    def close(self) -> None:
        """Nothing is open."""


def _ask_board(path: str) -> Callable[[bytes], None]:
    def digest(data: bytes) -> None:
        def bound(session: requests.Session, *, origin: str = "", **_: str) -> requests.Session:
            assert origin
            session.mount("https://", _Board(path, data))
            return session

        def public(*, origin: str) -> requests.Session:
            return bound(requests.Session(), origin=origin)

        target = BmcTarget(name="h", url="https://192.0.2.111", username="a", password="s3cret")
        with (
            patch.object(redfish_system, "bound_session", bound),
            patch.object(redfish_system, "session", public),
        ):
            asyncio.run(_ask_power(Redfish(target)))

    return digest


async def _ask_power(power: Redfish) -> None:
    missed = await power.keep_off()
    assert "s3cret" not in str(missed)
    try:
        hardware = await power.hardware()
        assert isinstance(hardware, Hardware)
        assert await power.state() in {True, False, None}
    except PowerError as error:
        assert "s3cret" not in f"{error}{error.remedy}"  # noqa: PT017 - it is raised again
        expect_clean([error.came_back])
        raise


def take_ipmi(data: bytes) -> None:
    """Take what an exchange with a BMC brought."""
    came = read(ipmi._Came, data)
    hardware_of(came.guid)
    expect_clean([ipmi.Ipmi(_BMC)._error("asking", came.error).came_back])


_BMC = BmcTarget(name="h", url="ipmi://192.0.2.111", username="a", password="s3cret", ca=Path("/x"))


def take_http(data: bytes) -> None:
    """Take the answer of a web server that is only asked whether it is there."""

    async def ask() -> exchange.HttpExchange:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()

        class Writer:
            transport = type("Transport", (), {"abort": staticmethod(lambda: None)})

            def write(self, _data: bytes) -> None:
                """Nobody listens."""

            async def drain(self) -> None:
                await asyncio.sleep(0)

        async def connected(*_: Any, **__: Any) -> Any:
            await asyncio.sleep(0)
            return reader, Writer()

        with patch.object(asyncio, "open_connection", connected):
            return await exchange.exchange(URL, method="GET", bound=5.0)

    came = asyncio.run(ask())
    expect_clean([came.message], longest=500)
