"""The API: its responses, and that they match its description."""

import json
import re
import subprocess
import sys
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
from backstay.watch.web import access
from backstay.watch.web.app import make_app
from tests.watch.web.fake_cloud import ACTOR, MARIADB, FakeCloud, cloud, with_people

ACTS = {"Authorization": f"Bearer {ACTOR}"}


async def _approve(incident: int, code: str, who: str) -> str:
    if code != "right":
        raise BackstayError(
            "approving replace-8", came_back="the code is another", remedy="read the message again"
        )
    return f"replace-8 started by {who}"


@pytest.fixture
def fake(tmp_path: Path) -> FakeCloud:
    made = FakeCloud(tmp_path, with_people())
    made.closed_incident()
    made.store.open(MARIADB, began=time.time() - 8, at=time.time() - 5, channels=["mail"])
    made.keep_history(2)
    name, claim = made.run()
    made.journal.start(claim, "proxy.step0")
    made.journal.progress(claim, "proxy.step0", "half of it")
    assert name == "reboot-1"
    return made


@pytest.fixture
def api(fake: FakeCloud) -> Iterator[TestClient]:
    app = make_app(
        feed=fake.feed,
        store=fake.store,
        journal=fake.journal,
        cloud=fake.cloud,
        approve=_approve,
    )
    with TestClient(app, "http://localhost/api/v1") as client:
        yield client


def test_an_incident_has_timeline_and_notifications(api: TestClient) -> None:
    body = api.get("/incidents/2").json()
    assert body["title"] == MARIADB.title
    assert body["symptoms"] == list(MARIADB.symptoms)
    assert [one["kind"] for one in body["timeline"]] == ["opened"]
    assert [(one["channel"], one["state"]) for one in body["notifications"]] == [
        ("mail", "waiting")
    ]
    assert body["waiting"] is None


def test_incidents_are_paginated(api: TestClient) -> None:
    first = api.get("/incidents", params={"limit": 1}).json()
    assert [one["id"] for one in first["incidents"]] == [2]
    second = api.get("/incidents", params={"limit": 1, "before": first["before"]}).json()
    assert [one["id"] for one in second["incidents"]] == [1]
    last = api.get("/incidents", params={"limit": 1, "before": second["before"]}).json()
    assert last == {"incidents": [], "before": None}
    opened = api.get("/incidents", params={"open": "true"}).json()["incidents"]
    assert [one["id"] for one in opened] == [2]


def test_targets_can_be_filtered(api: TestClient) -> None:
    body = api.get("/targets", params={"host": "proxy", "service": "swift"}).json()
    assert [one["key"] for one in body["targets"]] == [
        "proxy/swift/healthcheck",
        "proxy/swift/object",
    ]
    part = api.get("/targets", params={"limit": 2, "offset": 1}).json()
    assert part["total"] == 30
    assert [one["key"] for one in part["targets"]] == [
        "compute1/agent/nova-compute",
        "compute1/host/reachable",
    ]


def test_a_run_has_its_events(api: TestClient) -> None:
    body = api.get("/runs/reboot-1").json()
    assert body["state"] == "running"
    assert body["steps"][0]["does"] == "ask all gates whether it may be rebooted"
    assert "half of it" in [one["text"] for one in body["events"]]
    assert [one["id"] for one in api.get("/runs").json()["runs"]] == ["reboot-1"]


def test_history_is_by_minute(api: TestClient) -> None:
    body = api.get(
        "/history", params={"target": "controller/keystone/token validation", "hours": 1}
    ).json()
    assert 59 <= len(body["minutes"]) <= 60
    assert body["minutes"][0]["at"] % 60 == 0


def test_an_approval_is_accepted_or_refused(api: TestClient) -> None:
    good = api.post("/approvals", json={"incident": 2, "code": "right"}, headers=ACTS)
    assert good.json() == {"message": "replace-8 started by anna"}
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
        ("/targets?offset=-1", 422),
        ("/targets?limit=1001", 422),
        ("/incidents?limit=1&limit=2", 422),
        ("/history", 422),
        ("/history?target=x&hours=nan", 422),
        ("/incidents/99", 404),
        ("/incidents/99999999999999999999", 404),
        ("/incidents/one", 404),
        ("/runs/nothing-1", 404),
        ("/nowhere", 404),
    ],
)
def test_mistakes_are_problem_documents(api: TestClient, path: str, status: int) -> None:
    answer = api.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


@pytest.mark.parametrize("path", ["/status", "/targets?limit=2", "http://localhost/metrics"])
def test_head_is_get_without_the_body(api: TestClient, path: str) -> None:
    head, get = api.head(path), api.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert api.head("/nowhere").status_code == 404
    assert api.head("/approvals").status_code == 405


JSON_TYPE = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"{", JSON_TYPE),
        (b"[" * 9000, JSON_TYPE),
        (b'{"incident": "2"}', JSON_TYPE),
        (b"incident=2", {"Content-Type": "application/x-www-form-urlencoded"}),
    ],
)
def test_who_asks_is_checked_before_what_is_asked(
    fake: FakeCloud, content: bytes, headers: dict[str, str]
) -> None:
    page = with_people("10.0.0.5:8484") | {"certificate": "page.pem", "key": "page.key"}
    app = make_app(
        feed=fake.feed,
        store=fake.store,
        journal=fake.journal,
        cloud=cloud(Path("/nowhere"), page),
        approve=_approve,
    )
    with TestClient(app, "http://localhost/api/v1") as client:
        assert client.get("/incidents?limit=1&limit=2").status_code == 401
        assert client.head("/status").status_code == 401
        assert client.post("/approvals", content=content, headers=headers).status_code == 401
        wrong = headers | {"Authorization": "Bearer " + "x" * 24}
        answers = [
            client.post("/approvals", content=content, headers=wrong).status_code
            for _ in range(access.ATTEMPTS + 1)
        ]
        assert answers == [401] * access.ATTEMPTS + [429]


def test_the_description_has_all_its_schemas(api: TestClient) -> None:
    body = api.get("/openapi.json").json()
    assert body["openapi"] == "3.1.0"
    used = set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(body)))
    assert used == {f"#/components/schemas/{name}" for name in body["components"]["schemas"]}
    assert len(used) > 20


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("listen", ["127.0.0.1:8484", "10.0.0.5:8484"])
def test_responses_match_the_description(
    fake: FakeCloud, monkeypatch: pytest.MonkeyPatch, listen: str
) -> None:
    """Schemathesis sends everything that the description allows, and more."""
    monkeypatch.setattr(access, "ATTEMPTS", 1_000_000)  # it tries wrong tokens as well
    page = with_people(listen) | {"certificate": "page.pem", "key": "page.key"}
    app = make_app(
        feed=fake.feed,
        store=fake.store,
        journal=fake.journal,
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


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"])
def test_no_page_loads_scripts_from_elsewhere(api: TestClient, path: str) -> None:
    assert api.get(f"http://localhost{path}").status_code == 404


def test_a_body_that_is_not_json_is_a_problem(api: TestClient) -> None:
    json_type = {"Content-Type": "application/json"}
    for body in (b"", b"{", b"\xff", b"[" * 9000, b'{"incident": "2", "code": "right"}'):
        answer = api.post("/approvals", content=body, headers=ACTS | json_type)
        assert answer.status_code in {400, 422}, body
        assert answer.headers["content-type"] == "application/problem+json"
    pieces = (b" " * 5000 for _ in range(10))
    assert api.post("/approvals", content=pieces, headers=ACTS | json_type).status_code == 413


KEYS = {
    "/status": "at checked_at cloud incidents journal_error leader leading level problems silences "
    "since state summary",
    "/targets": "targets total",
    "/incidents": "before incidents",
    "/incidents/2": "began closed evidence host id impact key kind notifications opened remedy run "
    "service symptoms timeline title urgency waiting",
    "/runs": "before runs",
    "/runs/reboot-1": "began ended events holder id made reason runbook state steps targets ticket "
    "who",
    "/backups": "error findings hosts recoveries",
    "/windows": "openings",
    "/history?target=controller/keystone/token validation": "minutes target",
}
FIRST_KEYS = {
    ("/targets", "targets"): "evidence host key name seconds service since state",
    ("/incidents/2", "timeline"): "at kind text",
    ("/incidents/2", "notifications"): "attempts channel error event id incident made next sent "
    "state",
    ("/runs/reboot-1", "steps"): "attempts began bound does ended error id state target",
    ("/runs/reboot-1", "events"): "at kind step text",
    ("/backups", "hosts"): "age backup backups host restore_seconds rpo stream_lag verified_at",
    ("/backups", "findings"): "evidence host remedy seconds service severity subject",
    ("/windows", "openings"): "closes open opens window",
    (
        "/history?target=controller/keystone/token validation",
        "minutes",
    ): "at longest median probes successful",
}


def test_keys_are_stable(api: TestClient) -> None:
    """Programs rely on these names: docs/watch-page.md says when one may change."""
    for path, keys in KEYS.items():
        wait_for(api, path)
        assert " ".join(sorted(api.get(path).json())) == keys, path
    for (path, name), keys in FIRST_KEYS.items():
        assert " ".join(sorted(api.get(path).json()[name][0])) == keys, (path, name)


def wait_for(api: TestClient, path: str) -> None:
    """Wait until backups and windows were read in the background."""
    until = time.monotonic() + 10
    while path in {"/backups", "/windows"} and not any(api.get(path).json().values()):
        assert time.monotonic() < until
        time.sleep(0.02)


CLOUD = """
name: amber
credentials: {environment: true}
ssh: {port: 1}
hosts:
  controller: {address: 127.0.0.1, roles: [controller]}
"""
OPENRC = {
    "OS_AUTH_URL": "http://127.0.0.1:1/v3",
    "OS_USERNAME": "admin",
    "OS_PASSWORD": "secret",
    "OS_PROJECT_NAME": "admin",
    "OS_USER_DOMAIN_NAME": "Default",
    "OS_PROJECT_DOMAIN_NAME": "Default",
}
COMMANDS = {
    "--help": "backstay.cli.main",
    "check": "backstay.health.check",
    "watch --help": "backstay.cli.main",
    "watch incidents": "backstay.watch.incidents.store",
}


@pytest.mark.parametrize(("command", "loads"), COMMANDS.items())
def test_only_serving_the_page_loads_its_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, loads: str
) -> None:
    """FastAPI takes longer to load than the whole of ``--help`` may."""
    (tmp_path / "cloud.yaml").write_text(CLOUD)
    for name, value in OPENRC.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BACKSTAY_CLOUD", str(tmp_path / "cloud.yaml"))
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    main = ["-c", "from backstay.cli.main import main; main()"]
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", *main, *command.split()],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    loaded = set(re.findall(r"^import time:.*\|\s+([\w.]+)$", ran.stderr, re.MULTILINE))
    assert loads in loaded
    assert not loaded & {"fastapi", "starlette", "uvicorn", "jinja2"}
