"""The APIs' quick questions: what an answer means, and how many are under way."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import ApiFailed
from backstay.services.declaration import ApiLivenessProbe
from backstay.transports.exchange import HttpExchange, HttpOutcome
from backstay.transports.targets import Endpoint
from backstay.transports.tls import Trust
from backstay.watch.detect import apis as module
from backstay.watch.detect.apis import PATIENCE, ApiProbe, ApiProbes, probe_result_of
from backstay.watch.detect.probe import Outcome, ProbeResult, Subject
from tests.watch.correlation_inputs import small, until

SUBJECT = Subject(host="controller", service="keystone", name="token validation")
QUESTION = ApiProbe(
    subject=SUBJECT,
    url="http://x/",
    probe=ApiLivenessProbe(name="token validation", service_type="identity", path="/"),
)


@pytest.mark.parametrize(
    ("came", "status", "outcome", "sure"),
    [
        (HttpOutcome.ANSWERED, 200, Outcome.OK, False),
        (HttpOutcome.ANSWERED, 404, Outcome.OK, False),
        (HttpOutcome.ANSWERED, 401, Outcome.UNKNOWN, False),
        (HttpOutcome.ANSWERED, 500, Outcome.FAILED, False),
        (HttpOutcome.LATE, 0, Outcome.LATE, False),
        (HttpOutcome.SILENT, 0, Outcome.SILENT, False),
        (HttpOutcome.BROKEN, 0, Outcome.FAILED, False),
        (HttpOutcome.REFUSED, 0, Outcome.REFUSED, True),
        (HttpOutcome.UNASKED, 0, Outcome.UNKNOWN, False),
    ],
)
def test_what_an_answer_means(
    came: HttpOutcome, status: int, outcome: Outcome, *, sure: bool
) -> None:
    result = probe_result_of(
        QUESTION, HttpExchange(outcome=came, seconds=0.2, status=status, message="so"), 5.0
    )
    assert (result.outcome, result.sure) == (outcome, sure)
    assert (result.seconds is not None) == (outcome is Outcome.OK)


class Api:
    """Gives tokens, one after the other."""

    trust = Trust()

    def __init__(self) -> None:
        self.auth_url = "http://10.0.0.11:5000/v3"
        self.tokens = 1
        self.refused: list[str] = []
        self.dead = False

    def authenticate(self) -> Mapping[str, Any]:
        if self.dead:
            raise ApiFailed("asking", came_back="no token", remedy="", status=500)
        return {}

    def endpoints(self) -> list[Endpoint]:
        if self.dead:
            raise ApiFailed("asking", came_back="no token", remedy="", status=500)
        return [
            Endpoint(service_type="identity", url="http://10.0.0.11:5000/v3"),
            Endpoint(service_type="object-store", url="http://10.0.0.12:8080/v1/AUTH_1"),
        ]

    def proxy_for(self, url: str) -> str | None:
        return "http://10.0.0.9:3128" if url.startswith("http://10.0.0.12") else None

    def pass_for(
        self, service_type: str, path: str, *, refused: str = ""
    ) -> tuple[str, Mapping[str, str]]:
        known = {one.service_type: one.url for one in self.endpoints()}
        if service_type not in known:
            raise ApiFailed("asking", came_back="no such endpoint", remedy="", status=None)
        if refused == f"token{self.tokens}":
            self.refused.append(refused)
            self.tokens += 1
        return known[service_type] + path, {"X-Auth-Token": f"token{self.tokens}"}


class Setup:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        top = small(folder)
        self.results: list[ProbeResult] = []
        self.api = Api()
        self.asked: list[tuple[str, float, Mapping[str, str]]] = []
        self.through: dict[str, str | None] = {}
        self.answer = asyncio.Event()
        self.status = 200
        self.questions = ApiProbes(
            top.cloud, list(top.services.values()), self.api, self.results.append
        )
        monkeypatch.setattr(module, "exchange", self.exchange)
        monkeypatch.setattr(module, "TOKEN_PAUSE", 0.01)

    async def exchange(self, url: str, **options: Any) -> HttpExchange:
        self.asked.append((url, options["bound"], options["headers"]))
        self.through[url] = options["proxy"]
        await self.answer.wait()
        return HttpExchange(outcome=HttpOutcome.ANSWERED, seconds=0.1, status=self.status)

    async def known(self) -> asyncio.Task[None]:
        """Wait until the addresses are known."""
        keeping = asyncio.ensure_future(self.questions.keep_token())
        await until(lambda: bool(self.questions.questions))
        return keeping


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    return Setup(tmp_path, monkeypatch)


def test_each_service_is_asked_where_the_catalogue_has_it(setup: Setup) -> None:
    async def story() -> None:
        keeping = await setup.known()
        setup.answer.set()
        setup.questions.ask_all(1.5, lambda _: False)
        await asyncio.sleep(0.05)
        keeping.cancel()

    asyncio.run(story())
    asked = {url: headers for url, _, headers in setup.asked}
    assert asked == {
        "http://10.0.0.11:5000/v3/v3/auth/tokens": {
            "X-Auth-Token": "token1",
            "X-Subject-Token": "token1",
        },
        "http://10.0.0.12:8080/healthcheck": {},
        "http://10.0.0.12:8080/v1/AUTH_1/backstay-watch/probe": {"X-Auth-Token": "token1"},
    }
    assert {one.subject.key for one in setup.results} == {
        "controller/keystone/token validation",
        "proxy/swift/healthcheck",
        "proxy/swift/object",
    }
    assert "token1" not in repr(setup.questions.questions)
    # Each the way that the check goes.
    assert {url: way for url, way in setup.through.items() if way} == {
        url: "http://10.0.0.9:3128" for url in asked if "10.0.0.12" in url
    }


def test_no_more_than_three_of_one_are_under_way_and_one_with_patience(
    setup: Setup,
) -> None:
    async def story() -> None:
        keeping = await setup.known()
        for _ in range(5):
            setup.questions.ask_all(1.5, lambda key: key == SUBJECT.key)
            await asyncio.sleep(0)
        keeping.cancel()

    asyncio.run(story())
    tokens = [bound for url, bound, _ in setup.asked if url.endswith("/tokens")]
    assert sorted(tokens) == [1.5, 1.5, 1.5, PATIENCE]
    others = [bound for url, bound, _ in setup.asked if url.endswith("/healthcheck")]
    assert others == [1.5, 1.5, 1.5]


def test_a_token_that_is_refused_is_renewed_and_nothing_held_against_the_service(
    setup: Setup,
) -> None:
    async def story() -> None:
        keeping = await setup.known()
        setup.answer.set()
        setup.status = 401
        setup.questions.ask_all(1.5, lambda _: False)
        await until(lambda: bool(setup.api.refused))
        keeping.cancel()

    asyncio.run(story())
    assert setup.api.refused == ["token1"]
    assert {one.outcome for one in setup.results} == {Outcome.UNKNOWN}


@pytest.mark.parametrize(
    ("address", "asked_then"),
    [("10.0.0.11", 3), ("keystone.example.org", 4)],
    ids=["the-catalogue-s", "another"],
)
def test_a_keystone_that_gave_no_token_from_the_first_is_asked_all_the_same(
    setup: Setup, address: str, asked_then: int
) -> None:
    setup.api.auth_url = f"http://{address}:5000/v3"

    async def story() -> None:
        setup.api.dead = True
        keeping = await setup.known()
        assert setup.questions.trouble == "asking: no token"
        setup.answer.set()
        setup.questions.ask_all(1.5, lambda _: False)
        await until(lambda: bool(setup.results))
        first = {one.subject.key for one in setup.results}
        assert [url for url, _, _ in setup.asked] == [f"http://{address}:5000/v3/auth/tokens"]
        setup.api.dead = False
        await until(lambda: len(setup.questions.questions) == asked_then)
        assert setup.questions.trouble == ""
        assert first <= {one.subject.key for one in setup.questions.questions}
        keeping.cancel()

    asyncio.run(story())
