"""APIs and instances are watched from the first step to the last, by the engine's process."""

import asyncio
import contextlib
import http.server
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest

from backstay.answers import convert
from backstay.errors import BackstayError, HostUnreachable
from backstay.inventory.cloud import Cloud
from backstay.journal.action import Action, Refused, Runbook, Running
from backstay.journal.engine import carry_out
from backstay.journal.plan import Plan, Step
from backstay.journal.records import RunState
from backstay.journal.store import Store
from backstay.runbooks.replace.outages import USUAL, OutageRecording
from backstay.runbooks.replace.steps import InventoryUpdated
from backstay.services import libvirt
from backstay.services.registry import all_services
from tests.journal.child import JsonResult

DATA = Path(__file__).parents[1] / "services" / "data"
NOBODY = "192.0.2.11"


class FakeSession:
    """Two computes, one of them silent; instances answer where `up` says so."""

    api = BackstayError("asking", came_back="no answer", remedy="look")
    services = all_services()

    def __init__(self) -> None:
        self.cloud = Cloud.model_validate(
            {
                "name": "lab",
                "credentials": {"openrc": "o"},
                "hosts": {
                    "controller": {"address": NOBODY, "roles": ["controller"]},
                    "c1": {"address": "192.0.2.21", "roles": ["compute"]},
                    "c2": {"address": "192.0.2.22", "roles": ["compute"]},
                },
            }
        )

    def host(self, name: str) -> Any:
        return self.cloud.hosts[name]

    async def ask(
        self, host: str, function: Any, *_arguments: Any, returns: Any, bound: float
    ) -> Any:
        assert function is libvirt.ask_running
        if host == "c2":
            raise HostUnreachable("asking", came_back="no route", remedy="look")
        answer = [["web", ["127.0.0.1"]], ["gone", ["192.0.2.99"]], ["bare", []], ["n", ["name"]]]
        return convert(returns, answer)

    async def ping(self, address: str) -> bool:
        return address.startswith("127.")


class Does(Action[JsonResult]):
    def __init__(self, work: Callable[[], None] = lambda: None) -> None:
        self.work = work

    async def do(self, running: Running) -> JsonResult:
        await asyncio.to_thread(self.work)
        return JsonResult(data={"did": True})


def recorded(
    outages: OutageRecording, build: Callable[[], None] = lambda: None, *, refused: bool = False
) -> Runbook:
    """A replacement with the real recording, and nothing real to do."""

    class Confirms(Does):
        async def do(self, running: Running) -> JsonResult:
            async with outages.started_beside(running) as starting:
                if refused:
                    raise Refused("asking", came_back="it is alive", remedy="backstay check")
                return JsonResult(data={"recording": asdict(await starting)})

    class TakesOver(Does):
        async def do(self, running: Running) -> JsonResult:
            updated = outages.end(InventoryUpdated(written=True))
            return JsonResult(data={"did": True, **updated.to_json()})

    @contextlib.asynccontextmanager
    async def around(running: Running) -> AsyncIterator[None]:
        outages.resume(running)
        yield

    actions = {"confirm": Confirms(), "build": Does(build), "take-over": TakesOver()}
    return Runbook(actions=actions, around=around)


@pytest.fixture
def api() -> Iterator[Callable[[], str]]:
    """An API that answers from when it is called; its URL is known before."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(300)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answers, bind_and_activate=False)
    server.server_bind()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})

    def begin() -> str:
        if not thread.is_alive():
            server.server_activate()
            thread.start()
        return ""

    begin.url = f"http://127.0.0.1:{server.server_port}/"  # type: ignore[attr-defined]
    yield begin
    if thread.is_alive():
        server.shutdown()
    server.server_close()


def plan(runbook: str, *names: str) -> Plan:
    steps = tuple(
        Step(id=f"controller.{name}", action=name, target="controller", does=name, bound=20)
        for name in names
    )
    return Plan(runbook=runbook, cloud="lab", targets=("controller", "spare1"), steps=steps)


def carry(
    folder: Path, store: Store, runbook: Runbook, run: str
) -> tuple[RunState, dict[str, Any]]:
    state = asyncio.run(
        carry_out(
            store,
            store.run(run),
            runbook,
            locks=f"file://{folder}/locks",
            progress=lambda _progress: None,
        )
    )
    return state, {step.id.partition(".")[2]: step.result for step in store.run(run).steps}


def noted(folder: Path, store: Store, url: str) -> None:
    """A reboot that noted where the controller's APIs are."""

    class Notes(Does):
        async def do(self, running: Running) -> JsonResult:
            return JsonResult(data={"apis": {"identity": url}, "instances": {}})

    run = store.create(plan("reboot", "note"))
    carry(folder, store, Runbook(actions={"note": Notes()}), run)


def test_from_the_first_step_to_the_last(tmp_path: Path, api: Any) -> None:
    store, site = Store(f"sqlite:///{tmp_path}/j.db"), cast("Any", FakeSession())
    noted(tmp_path, store, api.url)

    def build() -> None:
        time.sleep(1.2)
        api()
        time.sleep(1.2)

    runbook = recorded(OutageRecording(site, store), build)
    run = store.create(plan("replace", "confirm", "build", "take-over"))
    state, results = carry(tmp_path, store, runbook, run)
    assert state is RunState.DONE
    assert results["confirm"]["recording"] == {
        "apis": {"identity": api.url},
        "apis_by": "reboot-1",
        "instances": {"web": "127.0.0.1"},
        "silent": ["gone"],
        "unasked": ["c2"],
    }
    seen = {one["what"]: one for one in results["take-over"]["recorded"]}
    [outage] = seen["identity"]["outages"]
    assert 1.0 < outage["ends"] - outage["begins"] < 2.4
    assert outage["begins"] == seen["identity"]["since"]
    assert seen["web"]["unanswered"] == 0
    assert seen["web"]["asked"] > 5
    assert results["take-over"]["did"]


def test_another_process_goes_on_with_the_same(tmp_path: Path, api: Any) -> None:
    store, site = Store(f"sqlite:///{tmp_path}/j.db"), cast("Any", FakeSession())
    noted(tmp_path, store, api.url)

    def fail() -> None:
        raise BackstayError("building", came_back="no", remedy="fix")

    run = store.create(plan("replace", "confirm", "build", "take-over"))
    state, _ = carry(tmp_path, store, recorded(OutageRecording(site, store), fail), run)
    assert state is RunState.FAILED
    api()
    again = recorded(OutageRecording(site, store), lambda: time.sleep(0.7))
    _, results = carry(tmp_path, store, again, run)
    seen = {one["what"]: one for one in results["take-over"]["recorded"]}
    assert set(seen) == {"identity", "web"}
    assert seen["identity"]["outages"] == []


def test_what_is_refused_is_not_watched(tmp_path: Path) -> None:
    store, site = Store(f"sqlite:///{tmp_path}/j.db"), cast("Any", FakeSession())

    outages = OutageRecording(site, store)
    run = store.create(plan("replace", "confirm", "take-over"))
    state, _ = carry(tmp_path, store, recorded(outages, refused=True), run)
    assert state is RunState.REFUSED
    assert not outages.recorder.on


def test_without_an_earlier_run_the_usual_ports(tmp_path: Path) -> None:
    store, site = Store(f"sqlite:///{tmp_path}/j.db"), cast("Any", FakeSession())
    apis, by = OutageRecording(site, store)._apis("controller")
    assert by == USUAL
    assert apis["identity"] == f"http://{NOBODY}:5000/"
    assert apis["compute"] == f"http://{NOBODY}:8774/"
    assert set(apis) >= {"image", "network", "placement", "block-storage"}


def test_guests_as_libvirt_keeps_them(tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "instance-00000002.xml").write_text((DATA / "libvirt-running.xml").read_text())
    (folder / "gone.xml").write_text("<domst")
    assert libvirt.ask_running(str(folder)) == [["demo-1", ["10.78.0.68"]]]
