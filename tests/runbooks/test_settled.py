"""What a reboot and a restore wait for at their end: hosts and APIs, not backups or dead BMCs."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from backstay.access.session import CloudSession
from backstay.errors import ApiError, HostUnreachable
from backstay.finding import Finding
from backstay.health import check
from backstay.inventory.cloud import Cloud
from backstay.runbooks.reboot import postflight
from backstay.runbooks.restore import cutover
from backstay.transports.targets import Answer

CLOUD = Cloud.model_validate(
    {
        "credentials": {"environment": True},
        "hosts": {"controller": {"address": "192.0.2.11", "roles": ["controller"]}},
        "fenced": {"old": {"was": "controller", "since": "2026-11-24T22:00:00Z"}},
    }
)


class Shell:
    async def answer(self, *_: Any, **__: Any) -> Answer:
        raise HostUnreachable("asking controller", came_back="refused", remedy="look")


async def _not_asked(_cloud: Cloud, _hosts: Collection[str]) -> list[Finding]:
    raise AssertionError("backups are not what is waited for")


async def _no_second_hosts(*_: Any, **__: Any) -> list[Finding]:
    raise AssertionError("neither BMCs nor ARP are asked in each round")


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> CloudSession:
    monkeypatch.setattr(check, "second_hosts", _no_second_hosts)
    return CloudSession(
        cloud=CLOUD,
        shell=Shell(),  # type: ignore[arg-type]
        api=ApiError("asking", came_back="no token", remedy="look"),
        sources=[_not_asked],
    )


def test_a_reboot_compares_hosts_and_apis_only(session: CloudSession) -> None:
    running: Any = SimpleNamespace(
        host="controller", result=lambda _: SimpleNamespace(known=[(None, "APIs", "credentials")])
    )
    found = asyncio.run(postflight.new_findings(session, running))
    assert {finding.host for finding in found} == {"controller"}


def test_a_restore_waits_for_its_host_and_the_apis_only(
    session: CloudSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited_for: list[Finding] = []

    async def once(_: Any, look: Callable[[], Awaitable[Sequence[Finding]]], **__: Any) -> float:
        waited_for.extend(await look())
        return 1.0

    async def whole(*_: Any) -> list[str]:
        return []

    monkeypatch.setattr(cutover, "until_healthy", once)
    monkeypatch.setattr(cutover.Works, "context", lambda *_: None)
    monkeypatch.setattr(cutover.Works, "_torn", whole)
    works = cutover.Works(site=session, place=None)  # type: ignore[arg-type]
    running: Any = SimpleNamespace(step=SimpleNamespace(target="controller"), resume="resume")
    assert asyncio.run(works.do(running)).summary == ""
    assert {finding.host for finding in waited_for} == {"controller", None}
