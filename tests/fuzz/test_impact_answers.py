"""Mutated answers of hosts and of the compute API about what a host's loss costs."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from backstay.access.session import CloudSession
from backstay.errors import ApiFailed
from backstay.health.impact import observe
from backstay.health.impact.judge import Effect, Kind, judge
from backstay.health.impact.onhost import connections
from backstay.services.declaration import Service
from backstay.services.registry import named
from backstay.transports.targets import Endpoint
from tests.answering import as_asked
from tests.fuzz.mutate import Mutator
from tests.health.rpc.recorded import CLOUD

SS = (Path(__file__).parents[1] / "health" / "data" / "ss-compute1.txt").read_text()
ABOUT = {"connections": [list(one) for one in connections(SS)], "resumes": True}
SERVERS = {
    "servers": [
        {
            "id": "ec2dfbd0-e5ee-41fa-bdc2-86c3a60a1575",
            "name": "web1",
            "status": "ACTIVE",
            "OS-EXT-SRV-ATTR:host": "compute1",
            "addresses": {"net": [{"addr": "10.0.0.5", "version": 4}]},
        }
    ]
}
URL = "http://10.77.0.11:8774/v2.1"


class Api:
    def __init__(self, servers: Any, url: str = URL) -> None:
        self.servers, self.url = servers, url

    def get(self, _type: str, path: str, _headers: Any = None) -> Any:
        if path.startswith("/servers"):
            return self.servers if "marker" not in path else {"servers": []}
        return {"services": []}

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint(service_type="compute", url=self.url)]


class Lost(CloudSession):
    """A cloud whose hosts answer as ``about`` has it, by name."""

    def __init__(self, about: dict[str, Any], api: Any) -> None:
        super().__init__(cloud=CLOUD, shell=None, api=api)  # type: ignore[arg-type]
        self.about = about

    @property
    def services(self) -> Sequence[Service]:
        return [named("nova")]

    async def ask(  # type: ignore[override]
        self, host: str, _function: Any, *_: Any, **options: Any
    ) -> Any:
        await asyncio.sleep(0)
        return as_asked(self.about.get(host, ABOUT), options["returns"], host)


@pytest.fixture(autouse=True)
def checked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check_hosts(*_: Any, **__: Any) -> list[Any]:
        return []

    monkeypatch.setattr(observe, "check_hosts", check_hosts)


def effects(about: dict[str, Any], api: Any) -> list[Effect]:
    found = judge(asyncio.run(observe.observe_impact(Lost(about, api), "controller")))
    assert all(f"{one.what}{one.why}".isprintable() for one in found)
    return found


def unknown(found: list[Effect]) -> str:
    return " | ".join(f"{one.what}: {one.why}" for one in found if one.kind is Kind.UNKNOWN)


def test_what_a_host_answers_is_unknown_of_that_host_where_it_cannot_be_read() -> None:
    mutator, unread = Mutator(10), 0
    for _ in range(150):
        found = effects({"compute1": mutator.answer(ABOUT)}, Api(SERVERS))
        text = unknown(found)
        assert "compute2" not in text
        unread += "where the disks of compute1 come from: reading the answers of compute1" in text
    assert unread > 50


def test_servers_that_cannot_be_read_are_not_taken_for_none() -> None:
    mutator, unread = Mutator(11), 0
    for _ in range(150):
        text = unknown(effects({}, Api(mutator.value(SERVERS))))
        if text:
            unread += 1
            assert "which instances run where: GET /servers/detail of compute: could not" in text
    assert unread > 50


def test_a_catalogue_that_cannot_be_had_or_read_hides_no_api() -> None:
    class Refusing(Api):
        def endpoints(self) -> list[Endpoint]:
            raise ApiFailed("asking for a token", came_back="500", remedy="look", status=500)

    assert "which APIs are this host's alone: asking for a token" in unknown(
        effects({}, Refusing(SERVERS))
    )
    for url in ("http://[::1", "http://10.77.0.11:x/", "\x1b", "//"):
        effects({}, Api(SERVERS, url))
