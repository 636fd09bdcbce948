"""Who may do what, by the page and by the API."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from backstay.errors import InventoryError
from backstay.inventory.watch import Right
from backstay.watch.incidents.record import noted
from backstay.watch.web.access import (
    ANYWHERE,
    ATTEMPTS,
    SESSION_SECONDS,
    WITHIN,
    FailedAttempts,
    People,
    Sessions,
    Visitor,
)
from backstay.watch.web.app import make_app
from tests.watch.altered import altered
from tests.watch.web.fake_cloud import ACTOR, READER, FakeCloud, cloud, with_people

ELSEWHERE = {
    "listen": "10.0.0.5:8484",
    "certificate": "page.pem",
    "key": "page.key",
    "people": with_people()["people"],
}
LOCAL_ALONE = {"listen": "127.0.0.1:8484"}
LOCAL_PEOPLE = with_people()


async def _approve(incident: int, code: str, who: str) -> str:
    return f"{incident} {code} {who}"


def client(tmp_path: Path, page: dict[str, Any]) -> TestClient:
    fake = FakeCloud(tmp_path, page)
    app = make_app(
        feed=fake.feed,
        store=fake.store,
        journal=fake.journal,
        cloud=fake.cloud,
        approve=_approve,
    )
    fake.closed_incident()
    base = "https://ops.example:8484" if page is ELSEWHERE else "http://localhost:8484"
    return TestClient(app, base_url=base, follow_redirects=False)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def form_token(text: str) -> str:
    return text.partition('name="form_token" value="')[2].partition('"')[0]


def log_in(client: TestClient, name: str, token: str, **extra: str) -> int:
    form = form_token(client.get("/login").text)
    given = {"name": name, "token": token, "next": "/", "form_token": form} | extra
    return int(client.post("/login", data=given).status_code)


READING = ["/api/v1/status", "/api/v1/incidents/1", "/api/v1/openapi.json", "/metrics"]
PAGES = [
    "/",
    "/incidents",
    "/incidents/1",
    "/hosts/controller",
    "/targets/controller/nova/servers",
]


@pytest.mark.parametrize(
    ("page", "headers", "status"),
    [
        (ELSEWHERE, {}, 401),
        (ELSEWHERE, bearer("nobody-has-this-token"), 401),
        (ELSEWHERE, bearer(READER), 200),
        (ELSEWHERE, bearer(ACTOR), 200),
        (LOCAL_ALONE, {}, 200),
        (LOCAL_PEOPLE, {}, 200),
        (LOCAL_PEOPLE, bearer("nobody-has-this-token"), 401),
    ],
)
def test_reading_requires_a_token_except_on_this_machine(
    tmp_path: Path, page: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    asked = client(tmp_path, page)
    for path in READING[:4]:
        assert asked.get(path, headers=headers).status_code == status, path
    if status == 200:
        for path in PAGES:
            assert asked.get(path, headers=headers).status_code == 200, path


@pytest.mark.parametrize("path", [*PAGES, "/live/"])
def test_pages_elsewhere_lead_to_the_login(tmp_path: Path, path: str) -> None:
    answer = client(tmp_path, ELSEWHERE).get(path)
    if path.startswith("/live"):
        assert answer.status_code == 401
    else:
        assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next={path}")
    assert "MariaDB" not in answer.text


@pytest.mark.parametrize(
    ("page", "headers", "status"),
    [
        (ELSEWHERE, {}, 401),
        (ELSEWHERE, bearer(READER), 403),
        (ELSEWHERE, bearer(ACTOR), 200),
        (LOCAL_ALONE, {}, 401),
        (LOCAL_PEOPLE, {}, 401),
        (LOCAL_PEOPLE, bearer(READER), 403),
        (LOCAL_PEOPLE, bearer(ACTOR), 200),
    ],
)
def test_acting_requires_a_token_with_that_right(
    tmp_path: Path, page: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    asked = client(tmp_path, page)
    answer = asked.post("/api/v1/approvals", json={"incident": 1, "code": "c"}, headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == {"message": "1 c anna"}


def test_a_session_does_not_act_by_the_api(tmp_path: Path) -> None:
    asked = client(tmp_path, LOCAL_PEOPLE)
    assert log_in(asked, "anna", ACTOR) == 303
    assert asked.post("/api/v1/approvals", json={"incident": 1, "code": "c"}).status_code == 401


def approve(client: TestClient, **headers: str):
    page = client.get("/incidents/1")
    given = {"code": "abc", "form_token": form_token(page.text)}
    return client.post("/incidents/1/approve", data=given, headers=headers)


def test_a_form_approves_for_whoever_is_logged_in_and_may(tmp_path: Path) -> None:
    asked = client(tmp_path, LOCAL_PEOPLE)
    assert approve(asked).headers["location"].startswith("/login")
    assert log_in(asked, "wall", READER) == 303
    assert approve(asked).status_code == 403
    assert log_in(asked, "anna", ACTOR) == 303
    assert approve(asked).headers["location"] == "/incidents/1"
    assert "1 abc anna" in asked.get("/incidents/1").text
    assert "1 abc anna" not in asked.get("/incidents/1").text


def test_a_form_of_another_site_does_nothing(tmp_path: Path) -> None:
    asked = client(tmp_path, LOCAL_PEOPLE)
    log_in(asked, "anna", ACTOR)
    assert approve(asked, Origin="https://evil.example").status_code == 403
    assert approve(asked, Origin="null").status_code == 403
    assert approve(asked, Referer="https://evil.example/x").status_code == 403
    assert approve(asked, Origin="http://localhost:8484").status_code == 303
    for token in ("", "0" * 64):
        given = {"code": "abc", "form_token": token}
        assert asked.post("/incidents/1/approve", data=given).status_code == 403
        assert asked.post("/logout", data=given).status_code == 403
    assert "anna" in asked.get("/").text


def test_a_login_makes_a_new_session_and_logging_out_ends_it(tmp_path: Path) -> None:
    asked = client(tmp_path, ELSEWHERE)
    first = asked.get("/login")
    assert first.headers["set-cookie"].startswith("__Host-backstay=")
    given = {
        "name": "anna",
        "token": ACTOR,
        "next": "/incidents",
        "form_token": form_token(first.text),
    }
    answer = asked.post("/login", data=given)
    assert answer.headers["location"] == "/incidents"
    cookie = answer.headers["set-cookie"]
    assert cookie.partition(";")[0] != first.headers["set-cookie"].partition(";")[0]
    for word in ("HttpOnly", "SameSite=Strict", "Secure", "Path=/"):
        assert word in cookie
    page = asked.get("/")
    assert page.status_code == 200
    kept = dict(asked.cookies)
    assert asked.post("/logout", data={"form_token": form_token(page.text)}).status_code == 303
    asked.cookies.update(kept)  # a copy of the cookie is of no use either
    assert asked.get("/").status_code == 303


@pytest.mark.parametrize(
    ("to", "goes"),
    [
        ("/incidents/1", "/incidents/1"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/x\r\nSet-Cookie: a=b", "/"),
    ],
)
def test_the_login_leads_to_this_site_only(tmp_path: Path, to: str, goes: str) -> None:
    asked = client(tmp_path, LOCAL_PEOPLE)
    given = {
        "name": "anna",
        "token": ACTOR,
        "next": to,
        "form_token": form_token(asked.get("/login").text),
    }
    assert asked.post("/login", data=given).headers["location"] == goes


@pytest.mark.parametrize(
    ("name", "token"), [("anna", READER), ("wall", ACTOR), ("", ACTOR), ("x", "")]
)
def test_name_and_token_belong_together(tmp_path: Path, name: str, token: str) -> None:
    asked = client(tmp_path, LOCAL_PEOPLE)
    assert log_in(asked, name, token) == 403
    assert asked.cookies
    assert "Log out" not in asked.get("/").text


WRONG = [f"{letter * 8}-a-wrong-token" for letter in "abcdefghijklmnopqrstuvwxyz"]


def test_wrong_tokens_are_tried_a_few_times_only(tmp_path: Path) -> None:
    asked = client(tmp_path, LOCAL_PEOPLE)
    for wrong in WRONG[:ATTEMPTS]:
        assert log_in(asked, "anna", wrong) == 403
    form = form_token(asked.get("/login").text)
    given = {"name": "anna", "token": WRONG[ATTEMPTS], "next": "/", "form_token": form}
    answer = asked.post("/login", data=given)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= WITHIN
    limited = asked.get("/api/v1/status", headers=bearer(WRONG[0]))
    assert (limited.status_code, limited.json()["status"]) == (429, 429)
    assert asked.get("/").status_code == 200


def test_a_right_token_is_let_in_whatever_wrong_ones_came_from_there(tmp_path: Path) -> None:
    asked = client(tmp_path, LOCAL_PEOPLE)
    for wrong in WRONG:
        asked.get("/api/v1/status", headers=bearer(wrong))
        log_in(asked, "anna", wrong)
    assert asked.get("/api/v1/status", headers=bearer(WRONG[0])).status_code == 429
    assert asked.get("/api/v1/status", headers=bearer(READER)).status_code == 200
    assert asked.get("/metrics", headers=bearer(READER)).status_code == 200
    body = {"incident": 1, "code": "abc"}
    assert asked.post("/api/v1/approvals", json=body, headers=bearer(ACTOR)).status_code == 200
    assert log_in(asked, "anna", ACTOR) == 303


def test_a_right_token_forgives_no_guesses(tmp_path: Path) -> None:
    asked = client(tmp_path, LOCAL_PEOPLE)
    statuses = []
    for wrong in WRONG:
        statuses.append(asked.get("/api/v1/status", headers=bearer(wrong)).status_code)
        assert asked.get("/api/v1/status", headers=bearer(READER)).status_code == 200
    assert statuses.count(401) == ATTEMPTS
    assert statuses[ATTEMPTS:] == [429] * (len(WRONG) - ATTEMPTS)


def test_whoever_mistyped_a_token_is_forgiven_with_the_right_one(tmp_path: Path) -> None:
    asked = client(tmp_path, LOCAL_PEOPLE)
    for _ in range(3):
        for _ in range(ATTEMPTS - 1):
            assert log_in(asked, "anna", f"{ACTOR[:-1]}x") == 403
        assert log_in(asked, "anna", ACTOR) == 303


def test_an_old_token_that_is_sent_forever_leaves_attempts_to_others(tmp_path: Path) -> None:
    asked = client(tmp_path, LOCAL_PEOPLE)
    for _ in range(50):
        asked.get("/metrics", headers=bearer(WRONG[0]))
    assert asked.get("/metrics", headers=bearer(WRONG[0])).status_code == 429
    assert log_in(asked, "anna", f"{ACTOR[:-1]}x") == 403


def test_one_token_is_not_tried_from_many_addresses() -> None:
    attempts, allowed = FailedAttempts(), 0
    for number in range(100):
        address = f"10.0.{number}.1"
        if attempts.wait(address, "the-token-0123", 1.0) == 0:
            allowed += 1
            attempts.add(address, "the-token-0123", 1.0)
    assert allowed == ANYWHERE * ATTEMPTS


def test_attempts_are_forgotten_after_a_while_and_are_bounded() -> None:
    attempts = FailedAttempts()
    for second in range(ATTEMPTS):
        assert attempts.wait("2001:db8::1", "x", float(second)) == 0
        attempts.add("2001:db8::1", WRONG[second], float(second))
    assert attempts.wait("2001:db8::ffff", "x", 5.0) == WITHIN - 5
    assert attempts.wait("2001:db8:0:1::1", "x", 5.0) == 0
    assert attempts.wait("2001:db8::1", "x", WITHIN + 0.1) == 0
    for number in range(10_000):
        address = f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"
        attempts.add(address, f"{number:08}-wrong", 10.0)
        attempts.add("10.0.0.1", f"{number:08}-wrong", 10.0)
    for recent in (attempts._by_address, attempts._by_prefix):
        assert len(recent._failed) < 5000
        assert max(map(len, recent._failed.values())) <= ANYWHERE * ATTEMPTS


def test_logins_are_bounded_for_each_person() -> None:
    sessions = Sessions()
    wall = sessions.start(Visitor(name="wall", may=Right.READ), now=100.0)
    mine = [sessions.start(Visitor(name="anna", may=Right.ACT), now=100.0) for _ in range(2000)]
    assert sessions.find(wall, 101.0) is not None
    assert sum(sessions.find(name, 101.0) is not None for name in mine) == 50
    assert sessions.find(mine[-1], 101.0) is not None


def test_a_session_ends_by_itself() -> None:
    sessions = Sessions()
    name = sessions.start(Visitor(name="anna", may=Right.ACT), now=100.0)
    assert sessions.find(name, 100.0 + SESSION_SECONDS - 1) is not None
    assert sessions.find(name, 100.0 + SESSION_SECONDS) is None
    assert sessions.find(name, 101.0) is None


@pytest.mark.parametrize(
    "people",
    [
        {"anna": {"token": "short"}},
        {"anna": {"token": READER}, "wall": {"token": READER}},
        {"anna": {"token": {"file": "/nowhere/token"}}},
    ],
)
def test_unusable_tokens_are_reported(tmp_path: Path, people: dict[str, Any]) -> None:
    with pytest.raises(InventoryError) as raised:
        People(cloud(tmp_path, {"people": people}).watch.page)
    assert READER not in str(raised.value)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[TestClient]:
    with client(tmp_path, LOCAL_ALONE) as asked:
        yield asked


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8484", "127.0.0.1.evil.example", ""]
)
def test_other_host_names_are_refused(alone: TestClient, host: str) -> None:
    for path in ("/", "/api/v1/status", "/metrics", "/live.js"):
        assert alone.get(path, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8484", "[::1]:8484", "LOCALHOST:1"])
def test_names_of_this_machine_are_accepted(alone: TestClient, host: str) -> None:
    assert alone.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/nowhere", "/api/v1/status", "/api/v1/x", "/login"])
def test_every_response_has_the_security_headers(alone: TestClient, path: str) -> None:
    headers = alone.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in headers


def test_internal_errors_have_the_security_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = client(tmp_path, ELSEWHERE)
    monkeypatch.setattr("backstay.watch.web.views.summary.headline", lambda *_, **__: 1 / 0)
    for path in ("/", "/api/v1/status"):
        with TestClient(asked.app, "https://x", raise_server_exceptions=False) as quiet:
            answer = quiet.get(path, headers=bearer(READER))
        assert answer.status_code == 500
        assert "Traceback" not in answer.text
        assert "ZeroDivision" not in answer.text
        assert answer.headers["strict-transport-security"]
        assert answer.headers["x-frame-options"] == "DENY"


def test_long_bodies_are_not_read(alone: TestClient) -> None:
    assert alone.post("/login", content=b"x" * 20_000).status_code == 413
    pieces = (b"token=" + b"x" * 5000 for _ in range(10))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert alone.post("/login", content=pieces, headers=form).status_code == 413


def test_text_from_hosts_is_escaped(tmp_path: Path) -> None:
    asked = client(tmp_path, LOCAL_ALONE)
    fake = FakeCloud(tmp_path)
    evil = "<script>alert(1)</script>"
    altered(fake.store, 1, lambda it: noted(it, "updated", evil, at=time.time()))
    with asked:
        text = asked.get("/incidents/1").text
    assert evil not in text
    assert "&lt;script&gt;" in text
