"""The API: what it answers, and that it is as it is described."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from schemathesis.core.result import Ok
from starlette.testclient import TestClient

from backstay.errors import BackstayError
from backstay.watch.web import attempts
from backstay.watch.web.app import make_app
from tests.watch.web.fake_cloud import ACTOR, MARIADB, Invented, cloud, with_people

ACTS = {"Authorization": f"Bearer {ACTOR}"}


async def _approve(incident: int, code: str, who: str) -> str:
    if code != "right":
        raise BackstayError(
            "approving replace-8", came_back="the code is another", remedy="read the message again"
        )
    return f"replace-8 is begun by {who}"


@pytest.fixture
def invented(tmp_path: Path) -> Invented:
    made = Invented(tmp_path, with_people())
    made.closed_incident()
    made.store.open(MARIADB, began=time.time() - 8, at=time.time() - 5, channels=["mail"])
    made.keep_history(2)
    name, claim = made.run()
    made.journal.begin(claim, "proxy.step0")
    made.journal.say(claim, "proxy.step0", "half of it")
    assert name == "reboot-1"
    return made


@pytest.fixture
def api(invented: Invented) -> Iterator[TestClient]:
    app = make_app(
        board=invented.board,
        store=invented.store,
        journal=invented.journal,
        cloud=invented.cloud,
        approve=_approve,
    )
    with TestClient(app, "http://localhost/api/v1") as client:
        yield client


def test_incidents_are_told_with_their_timeline(api: TestClient) -> None:
    told = api.get("/incidents/2").json()
    assert told["title"] == MARIADB.title
    assert told["symptoms"] == list(MARIADB.symptoms)
    assert [one["kind"] for one in told["timeline"]] == ["opened"]
    assert [(one["channel"], one["state"]) for one in told["notifications"]] == [
        ("mail", "waiting")
    ]
    assert told["waiting"] is None


def test_incidents_come_page_by_page(api: TestClient) -> None:
    first = api.get("/incidents", params={"limit": 1}).json()
    assert [one["id"] for one in first["incidents"]] == [2]
    second = api.get("/incidents", params={"limit": 1, "before": first["before"]}).json()
    assert [one["id"] for one in second["incidents"]] == [1]
    last = api.get("/incidents", params={"limit": 1, "before": second["before"]}).json()
    assert last == {"incidents": [], "before": None}
    opened = api.get("/incidents", params={"open": "true"}).json()["incidents"]
    assert [one["id"] for one in opened] == [2]


def test_standings_can_be_chosen(api: TestClient) -> None:
    told = api.get("/standings", params={"host": "proxy", "service": "swift"}).json()
    assert [one["key"] for one in told["standings"]] == [
        "proxy/swift/healthcheck",
        "proxy/swift/object",
    ]
    part = api.get("/standings", params={"limit": 2, "offset": 1}).json()
    assert part["total"] == 30
    assert [one["key"] for one in part["standings"]] == [
        "compute1/agent/nova-compute",
        "compute1/host/reachable",
    ]


def test_a_run_is_told_with_what_it_said(api: TestClient) -> None:
    told = api.get("/runs/reboot-1").json()
    assert told["state"] == "running"
    assert told["steps"][0]["does"] == "nobody else acts on it"
    assert "half of it" in [one["text"] for one in told["events"]]
    assert [one["id"] for one in api.get("/runs").json()["runs"]] == ["reboot-1"]


def test_history_is_told_by_minute(api: TestClient) -> None:
    told = api.get(
        "/history", params={"subject": "controller/keystone/token validation", "hours": 1}
    ).json()
    assert 59 <= len(told["minutes"]) <= 60
    assert told["minutes"][0]["at"] % 60 == 0


def test_an_approval_is_told_or_why_not(api: TestClient) -> None:
    good = api.post("/approvals", json={"incident": 2, "code": "right"}, headers=ACTS)
    assert good.json() == {"told": "replace-8 is begun by anna"}
    bad = api.post("/approvals", json={"incident": 2, "code": "wrong"}, headers=ACTS)
    assert (bad.status_code, bad.json()["remedy"]) == (409, "read the message again")
    form = api.post("/approvals", data={"incident": 2, "code": "right"}, headers=ACTS)
    assert form.status_code == 415


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/incidents?limit=0", 422),
        ("/incidents?limit=201", 422),
        ("/incidents?before=99999999999999999999", 422),
        ("/incidents?unknown=1", 422),
        ("/standings?offset=-1", 422),
        ("/standings?limit=1001", 422),
        ("/incidents?limit=1&limit=2", 422),
        ("/history", 422),
        ("/history?subject=x&hours=nan", 422),
        ("/incidents/99", 404),
        ("/incidents/99999999999999999999", 404),
        ("/incidents/one", 404),
        ("/runs/nothing-1", 404),
        ("/nowhere", 404),
    ],
)
def test_mistakes_are_told_as_problems(api: TestClient, path: str, status: int) -> None:
    answer = api.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_the_description_refers_to_nothing_that_is_not_there(api: TestClient) -> None:
    told = api.get("/openapi.json").json()
    assert told["openapi"] == "3.1.0"
    text = json.dumps(told)
    for name in told["components"]["schemas"]:
        text = text.replace(f"#/components/schemas/{name}", "")
    assert "$ref" not in text.replace('"$ref": ""', "")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("listen", ["127.0.0.1:8484", "10.0.0.5:8484"])
def test_what_the_description_allows_is_answered_as_it_says(
    invented: Invented, monkeypatch: pytest.MonkeyPatch, listen: str
) -> None:
    """Schemathesis asks everything; every answer must be one that the description has."""
    monkeypatch.setattr(attempts, "TRIES", 1_000_000)  # it tries wrong tokens as well
    page = with_people(listen) | {"certificate": "page.pem", "key": "page.key"}
    app = make_app(
        board=invented.board,
        store=invented.store,
        journal=invented.journal,
        cloud=cloud(Path("/nowhere"), page),
        approve=_approve,
    )
    schema = schemathesis.openapi.from_asgi(
        "/api/v1/openapi.json", app, headers=ACTS | {"Host": "localhost"}
    )
    asked: set[str] = set()
    for operation in schema.get_all_operations():
        assert isinstance(operation, Ok)
        _ask(operation.ok().as_strategy(), asked)
    assert len(asked) == 10


def _ask(strategy: SearchStrategy[schemathesis.Case[Any]], asked: set[str]) -> None:
    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def ask(case: schemathesis.Case[Any]) -> None:
        asked.add(case.operation.label)
        case.call_and_validate(headers=ACTS | {"Host": "localhost"})

    ask()
