"""Whether one host answers for an address: asked from here, or by two hosts of the cloud."""

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from backstay.access.session import CloudSession
from backstay.errors import HostUnreachable
from backstay.finding import Finding, Severity
from backstay.health import addresses, check, fenced
from backstay.inventory.cloud import Cloud
from backstay.transports.arp import own_macs
from tests.answering import as_asked

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
CLOUD = Cloud.model_validate(
    {
        "credentials": {"environment": True},
        "hosts": {
            "controller": {"address": "192.0.2.11", "roles": ["controller"]},
            "spare1": {"address": "192.0.2.31", "roles": ["spare"]},
            "compute1": {"address": "192.0.2.21", "roles": ["compute"]},
            "compute2": {"address": "192.0.2.22", "roles": ["compute"]},
        },
        "fenced": {"controller-old": {"was": "controller", "since": "2026-11-24T22:00:00Z"}},
    }
)


class Session:
    """A cloud whose hosts see what is in ``seen``, by who asks; ``own`` are the hosts' own MACs."""

    cloud: Cloud = CLOUD

    def __init__(self, seen: Mapping[str, Mapping[str, Sequence[str]]], **own: list[str]) -> None:
        self.seen = dict(seen)
        self.own = own
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    async def ask(
        self, host: str, function: Any, *arguments: Any, bound: float, returns: Any = None
    ) -> Any:
        return as_asked(self.printed(host, function, *arguments, bound=bound), returns, host)

    def printed(self, host: str, function: Any, *arguments: Any, bound: float) -> Any:
        assert 0 < bound <= addresses.BOUND + len(self.cloud.hosts) / 50
        if function is own_macs:
            if host not in self.own:
                raise HostUnreachable("asking", came_back="refused", remedy="look")
            return self.own[host]
        return self._answers(host, arguments[0])

    async def here(self, given: Sequence[str], _bound: float) -> Mapping[str, Sequence[str]]:
        return self._answers("here", given)

    def _answers(self, who: str, given: Sequence[str]) -> Mapping[str, Sequence[str]]:
        self.asked.append((who, tuple(given)))
        seen = self.seen.get(who)
        if seen is None:
            raise HostUnreachable("asking", came_back="silent", remedy="look")
        return {address: macs for address, macs in seen.items() if address in given}


def reading(session: Session, *hosts: str) -> addresses.AddressReading:
    return asyncio.run(
        addresses.read_addresses(session, hosts or CLOUD.hosts, here=session.here)  # type: ignore[arg-type]
    )


def read(session: Session) -> list[addresses.SharedAddress]:
    return list(reading(session).shared)


def alone(**more: list[str]) -> dict[str, list[str]]:
    return {host.address: [f"52:54:00:00:01:{host.address[-2:]}"] for host in CLOUD.hosts.values()}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "_AGAIN", 0.0)


def test_one_host_answers_for_each_and_nobody_else_is_asked() -> None:
    session = Session({"here": alone()})
    assert read(session) == []
    assert [who for who, _ in session.asked] == ["here"]


def test_two_that_answer_are_a_failed_finding_with_both() -> None:
    session = Session({"here": alone() | {"192.0.2.11": [B, A]}}, controller=[A])
    [shared] = read(session)
    assert shared == addresses.SharedAddress(host="controller", address="192.0.2.11", macs=(A, B))
    assert session.asked == [("here", tuple(alone()))] * 2, "it is asked about once more"
    finding = addresses.judge(CLOUD, shared)
    assert (finding.host, finding.severity) == ("controller", Severity.FAILED)
    assert finding.evidence == f"two hosts answer for 192.0.2.11 (MAC {A}, MAC {B})"
    assert "controller-old was replaced by it, and its BMC may not tell the truth" in finding.remedy
    assert finding.remedy.endswith("then: backstay check"), "that of one host does not ask by ARP"
    assert addresses.is_second_host(finding, CLOUD.fenced)


def test_two_cards_of_one_host_are_no_second_host() -> None:
    session = Session({"here": alone() | {"192.0.2.11": [A, B]}}, controller=[A, B])
    assert read(session) == []


def test_a_host_that_cannot_be_asked_for_its_cards_is_no_excuse() -> None:
    [shared] = read(Session({"here": alone() | {"192.0.2.11": [A, B]}}))
    assert shared.evidence == (
        f"two hosts answer for 192.0.2.11 (MAC {A}, MAC {B}), unless both are its own: "
        "controller could not be asked which are"
    )


def test_where_this_machine_is_elsewhere_two_hosts_ask_of_each_other_too() -> None:
    theirs = alone() | {"192.0.2.11": [A, B], "192.0.2.21": [A]}
    session = Session({"here": {}, "controller": {"192.0.2.21": [A, B]}, "compute1": theirs})
    assert {one.host for one in read(session)} == {"controller", "compute1"}
    assert {who for who, _ in session.asked} == {"here", "controller", "compute1"}, "no spare"


def test_what_cannot_be_asked_is_not_known_and_nothing_is_raised() -> None:
    assert read(Session({"here": {}})) == []


def test_a_router_that_answers_for_all_is_no_second_host() -> None:
    router = "52:54:00:00:00:0c"
    seen = {address: [*macs, router] for address, macs in alone().items()}
    session = Session({"here": seen})
    assert reading(session) == addresses.AddressReading(alone=frozenset(CLOUD.hosts))
    assert len(session.asked) == 1, "and asks for no second round"
    assert reading(session, "controller").shared == (), "also where one host is asked about"
    twice = Session({"here": seen | {"192.0.2.11": [A, B, router]}}, controller=[A])
    assert [shared.macs for shared in read(twice)] == [(A, B)]


def test_a_host_with_two_of_the_addresses_is_no_router() -> None:
    """As the spare has both in the middle of a replacement."""
    spare = "52:54:00:00:00:0c"
    seen = alone() | {"192.0.2.11": [A, spare], "192.0.2.31": [spare]}
    assert [shared.host for shared in read(Session({"here": seen}, controller=[spare]))] == [
        "controller"
    ]


def test_an_address_that_moves_is_no_second_host() -> None:
    """Of keepalived: the old and the new owner are both heard in one round, not in two."""

    class Moves(Session):
        async def here(self, given: Sequence[str], bound: float) -> Mapping[str, Sequence[str]]:
            found = await super().here(given, bound)
            self.seen["here"] = alone() | {"192.0.2.11": [B]}
            return found

    session = Moves({"here": alone() | {"192.0.2.11": [A, B]}})
    assert reading(session) == addresses.AddressReading(alone=frozenset(CLOUD.hosts))
    assert len(session.asked) == 2


def test_only_what_one_host_answers_for_is_known_to_be_good() -> None:
    seen = alone() | {"192.0.2.22": []}
    assert reading(Session({"here": seen})).alone == {"controller", "spare1", "compute1"}
    assert reading(Session({"here": {}})).alone == frozenset()
    by_one = Session({"here": {}, "controller": {"192.0.2.21": [A]}})
    assert reading(by_one) == addresses.AddressReading(alone=frozenset({"compute1"}), by_hosts=True)


def findings(session: Session, **more: Any) -> list[Finding]:
    return asyncio.run(addresses.findings(session, here=session.here, **more))  # type: ignore[arg-type]


def test_where_nobody_can_ask_that_is_unknown() -> None:
    [finding] = findings(Session({"here": {}}))
    assert (finding.host, finding.severity) == (None, Severity.UNKNOWN)
    assert "who answers for 4 addresses could not be asked: asking: silent" in finding.evidence
    assert not addresses.is_second_host(finding, CLOUD.fenced)
    assert findings(Session({"here": {}, "compute1": {}})) == [], "one of them could"


def test_who_may_be_dead_is_not_asked() -> None:
    session = Session({"here": {}, "compute1": {}, "compute2": {}})
    findings(session, but_not=["controller"])
    assert {who for who, _ in session.asked} == {"here", "compute1", "compute2"}


def test_a_host_that_lies_is_left_out_and_the_finding_says_how() -> None:
    honest = alone() | {"192.0.2.21": [A]}
    lies = honest | {"192.0.2.11": [A, B]}
    session = Session(
        {"here": {}, "controller": honest, "compute1": lies, "compute2": honest}, controller=[A]
    )
    [finding] = findings(session)
    line = "backstay check --without-witness "
    assert "a host that says so (controller, compute1) is proved to be wrong" in finding.remedy
    assert line in finding.remedy
    assert findings(session, but_not=["compute1"]) == []
    here = Session({"here": lies}, controller=[A])
    assert line not in findings(here)[0].remedy, "this machine itself says so"


@pytest.mark.parametrize(("count", "seconds"), [(50, 9.0), (500, 18.0), (2000, 25.0)])
def test_many_hosts_have_the_time_that_they_need_and_no_more_than_is_given(
    count: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = {
        f"c{n}": {"address": f"10.1.{n // 250}.{n % 250}", "roles": ["compute"]}
        for n in range(count)
    }
    session = Session({"here": {}, "c0": {}, "c1": {}})
    session.cloud = Cloud.model_validate({"credentials": {"environment": True}, "hosts": hosts})
    bounds, now = [], [0.0]

    async def late(_: Sequence[str], bound: float) -> Mapping[str, Sequence[str]]:
        bounds.append(bound)
        now[0] += bound
        return {}

    monkeypatch.setattr(addresses, "time", SimpleNamespace(monotonic=lambda: now[0]))
    [finding] = asyncio.run(addresses.findings(session, here=late))  # type: ignore[arg-type]
    assert bounds == [pytest.approx(seconds)]
    assert session.asked == [], "hosts are not waited for as well"
    assert finding.severity is Severity.UNKNOWN


def test_the_whole_check_has_it_and_the_power_of_fenced_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def ask_here(given: Sequence[str], _bound: float) -> Mapping[str, Sequence[str]]:
        return {address: [A, B] if address == given[0] else [] for address in given}

    async def on(*_: Any, **__: Any) -> tuple[bool | None, str]:
        return True, ""

    async def hosts(*_: Any, **__: Any) -> list[Any]:
        return []

    async def backups(cloud: Cloud, only: Any) -> list[Any]:
        assert cloud is CLOUD
        return [addresses.judge(CLOUD, shared)] if only else []

    monkeypatch.setattr(addresses.findings, "__kwdefaults__", {"here": ask_here})
    monkeypatch.setattr(fenced, "read_power", on)
    monkeypatch.setattr(check, "check_hosts", hosts)
    shared = addresses.SharedAddress(host="x", address="192.0.2.1", macs=(A, B))
    session = CloudSession(
        cloud=CLOUD,
        shell=None,  # type: ignore[arg-type]
        api=None,  # type: ignore[arg-type]
        sources=[backups],
    )
    monkeypatch.setattr(CloudSession, "ask", Session({}).ask)
    found = asyncio.run(check.check(session))
    assert [(one.host, one.subject) for one in found] == [
        ("controller-old", fenced.SUBJECT),
        ("controller", addresses.SUBJECT),
    ]
    assert all(addresses.is_second_host(one, CLOUD.fenced) for one in found)
    only = asyncio.run(check.check(session, ["compute1"]))
    assert [one.host for one in only] == ["x"], "of some hosts only what is theirs, and the sources"


@pytest.mark.parametrize("wrong", [["$(reboot)"], [7], "52:54:00:00:00:0a", None, [[]], ["\ud800"]])
def test_a_host_whose_answer_cannot_be_read_could_not_be_asked(wrong: Any) -> None:
    lies = {"192.0.2.21": wrong}
    told = Session({"here": {}, "controller": lies, "compute1": alone()})
    assert read(told) == []
    assert reading(told).not_asked == ()
    nobody = Session({"here": {}, "controller": lies, "compute1": lies})
    assert len(reading(nobody).not_asked) == len(CLOUD.hosts)
    both = alone() | {"192.0.2.11": [A, B]}
    [shared] = read(Session({"here": both}, controller=wrong))
    assert not shared.own_known
