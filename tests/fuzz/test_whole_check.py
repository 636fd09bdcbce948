"""Mutated answers of one host, and of the APIs, in the whole check: no other finding changes."""

import asyncio
import copy
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from backstay.access.session import CloudSession
from backstay.cli.output.findings import Report, findings_document, findings_table, plugin_line
from backstay.finding import Finding, Severity
from backstay.health import check as check_module
from backstay.health.check import check_hosts
from backstay.transports import limits
from backstay.transports.targets import Answer, Endpoint, SshTarget
from tests.fuzz.mutate import Mutator
from tests.health.test_check import CLOUD, HEALTHY, RecordedShell
from tests.services.memory_api import MemoryApi

TIMES = 40
ODD_URLS = (
    "",
    "http://[",
    "https://[::1",
    "https://127.0.0.1:99999/v2",
    "https://127.0.0.1:x/",
    "https://:443/",
    f"https://{'x' * 300}/",
    "https://127.0.0.1:1/\ud800",
    "https://a..b/",
)


class OneLies(RecordedShell):
    """Recorded hosts, of which one gives a mutation of its answer."""

    def __init__(self, liar: str, mutator: Mutator) -> None:
        super().__init__()
        self.liar, self.mutator = liar, mutator

    async def answer(
        self, target: SshTarget, script: str, *, bound: float, most: int = limits.ANSWER
    ) -> Answer:
        answer = await super().answer(target, script, bound=bound, most=most)
        if target.name != self.liar:
            return answer
        printed = self.mutator.answer(json.loads(answer.stdout)).decode(errors="replace")
        return Answer(stdout=printed, sent_at=answer.sent_at, received_at=answer.received_at)


class LyingApi(MemoryApi):
    """APIs whose decoded answers are mutations; ``lies`` are the ones that are."""

    def __init__(self, mutator: Mutator, lies: str) -> None:
        super().__init__(HEALTHY)
        self.mutator, self.lies = mutator, lies

    def get(self, service_type: str, path: str, headers: Any = None) -> Any:
        answer = super().get(service_type, path)
        if service_type != self.lies:
            return answer
        return self.mutator.value(copy.deepcopy(answer))

    def head(self, service_type: str, path: str) -> Mapping[str, str]:
        headers = super().head(service_type, path)
        if service_type != self.lies:
            return headers
        changed = self.mutator.value(dict(headers))
        return {str(k): str(v) for k, v in changed.items()} if isinstance(changed, dict) else {}

    def authenticate(self) -> Mapping[str, Any]:
        token = super().authenticate()
        changed = self.mutator.value(dict(token)) if self.lies == "identity" else token
        return changed if isinstance(changed, dict) else {}


class OddCatalogue(MemoryApi):
    """APIs whose catalogue has addresses that are none, beside those that are."""

    def endpoints(self) -> list[Endpoint]:
        odd = [Endpoint(service_type="image", url=url) for url in ODD_URLS]
        return [*odd, *super().endpoints(), *odd]


def checked(shell: Any, api: MemoryApi) -> list[Finding]:
    session = CloudSession(cloud=CLOUD, shell=shell, api=api)
    findings = asyncio.run(check_hosts(session))
    report = Report(cloud="c", at=datetime.now(UTC), seconds=1.0, findings=findings)
    for text in (findings_document(report), plugin_line(report), findings_table(report)):
        text.encode()
    json.loads(findings_document(report))
    return findings


def named(findings: list[Finding], *, without: str) -> list[tuple[str | None, str, str]]:
    return [(f.host, f.subject, f.severity.value) for f in findings if f.host != without]


def test_an_answer_of_one_host_changes_no_finding_of_another():
    mutator = Mutator(2)
    healthy = checked(RecordedShell(), MemoryApi(HEALTHY))
    for number in range(TIMES):
        liar = ("storage1", "proxy")[number % 2]
        found = checked(OneLies(liar, mutator), MemoryApi(HEALTHY))
        assert named(found, without=liar) == named(healthy, without=liar)
        assert any(finding.host == liar for finding in found)


def test_an_answer_of_one_api_changes_no_finding_of_another():
    mutator = Mutator(3)
    healthy = checked(RecordedShell(), MemoryApi(HEALTHY))
    kinds = ("image", "compute", "network", "block-storage", "placement", "object-store")
    services = dict(
        zip(kinds, ("glance", "nova", "neutron", "cinder", "placement", "swift"), strict=True)
    )
    for number in range(TIMES * 3):
        lies = kinds[number % len(kinds)]
        found = checked(RecordedShell(), LyingApi(mutator, lies))
        others = [[f for f in one if f.service != services[lies]] for one in (found, healthy)]
        assert named(others[0], without="") == named(others[1], without="")


def test_an_answer_of_keystone_is_its_own_finding():
    mutator = Mutator(4)
    for _ in range(TIMES):
        found = checked(RecordedShell(), LyingApi(mutator, "identity"))
        assert any(finding.service == "keystone" for finding in found)


def test_a_catalogue_with_addresses_that_are_none_is_read():
    healthy = checked(RecordedShell(), MemoryApi(HEALTHY))
    found = checked(RecordedShell(), OddCatalogue(HEALTHY))
    others = [finding for finding in found if finding.service != "TLS"]
    assert named(others, without="") == named(healthy, without="")
    tls = [finding for finding in found if finding.service == "TLS"]
    assert tls
    # What is no URL is wrong in the catalogue; of the others it is not known who would answer.
    odd = {f.severity for f in tls if f.subject.startswith("endpoint ")}
    assert odd == {Severity.FAILED}
    assert {f.severity for f in tls if not f.subject.startswith("endpoint ")} == {Severity.UNKNOWN}


def test_a_mistake_in_one_part_of_the_check_takes_no_other_along(monkeypatch):
    async def broken(*_: object) -> list[Finding]:
        raise RecursionError("too deep")

    session = CloudSession(
        cloud=CLOUD,
        shell=RecordedShell(),  # type: ignore[arg-type]
        api=MemoryApi(HEALTHY),
        sources=[broken],
    )
    monkeypatch.setattr(check_module, "second_hosts", lambda _session, **_: nothing())
    found = asyncio.run(check_module.check(session))
    (error,) = [finding for finding in found if finding.service == "backstay"]
    assert error.severity is Severity.UNKNOWN
    assert "RecursionError: too deep" in error.evidence
    assert len(found) > 50


async def nothing() -> list[Finding]:
    return []
