"""What every runbook works with: the cloud and the ways to it."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from backstay.errors import BackstayError
from backstay.finding import Finding, Severity
from backstay.health import check
from backstay.health.hostscript import program
from backstay.health.observation import as_json
from backstay.inventory.cloud import Cloud, Host
from backstay.services.declaration import Agent, Api, Service
from backstay.services.registry import all_services
from backstay.transports.ping import answers
from backstay.transports.threads import on_thread

QUESTION_BOUND = 30.0

Name = tuple[str | None, str, str]
"""What a finding is about: host, service, subject."""


@dataclass(kw_only=True)
class Site:
    """A cloud as runbooks see it. ``api`` is its APIs, or why they cannot be asked at all."""

    cloud: Cloud
    shell: check.Shell
    api: Api | BackstayError

    def host(self, name: str) -> Host:
        """Return a host by its name in cloud.yaml."""
        return self.cloud.hosts[name]

    @cached_property
    def services(self) -> Sequence[Service]:
        """Return the services of this cloud."""
        return [s for s in all_services() if self.cloud.has_service(s.name)]

    async def ask(self, host: str, function: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
        """Call a function on a host, as root, and return what it returns. Raises HostError."""
        target = self.cloud.ssh_target(self.host(host))
        answer = await self.shell.answer(
            target, program(function, *arguments), bound=QUESTION_BOUND
        )
        return as_json(answer, host=host)

    async def check(self, hosts: Iterable[str] | None = None) -> list[Finding]:
        """Check the whole cloud, or some hosts and what they serve."""
        return await check.run(self.cloud, hosts=hosts, shell=self.shell, api=self.api)

    async def agents(self) -> list[tuple[Agent, datetime]]:
        """Return every agent that the APIs report, with the time at which it was asked.

        Raises ApiError where an API does not answer.
        """
        if isinstance(self.api, BackstayError):
            raise self.api
        api, bound = self.api, self.cloud.bounds.api_seconds
        asked = [service.agents for service in self.services if service.agents]
        found = await asyncio.gather(
            *(on_thread(lambda ask=ask: ask(api), bound) for ask in asked)  # type: ignore[misc]
        )
        at = datetime.now(UTC)
        return [(agent, at) for agents in found for agent in agents]

    async def ping(self, address: str, bound: float = 1.0) -> bool | None:
        """Return whether an address answers, None where this user may not ping."""

        def ask() -> bool | None:
            try:
                return answers(address, bound)
            except PermissionError:
                return None

        return await on_thread(ask, bound + 5)


def bad(findings: Iterable[Finding]) -> list[Finding]:
    """Return what stands in the way: what failed, and what is not known."""
    return [f for f in findings if f.severity in {Severity.FAILED, Severity.UNKNOWN}]


def name_of(finding: Finding) -> Name:
    """Return what a finding is about, to find it again in a later check."""
    return (finding.host, finding.service, finding.subject)


def told(findings: Sequence[Finding], limit: int = 4) -> str:
    """Return findings in a few words, for an error's text."""
    words = [f"{f.host or 'cloud'}: {f.subject}: {f.evidence}" for f in findings[:limit]]
    more = [f"and {len(findings) - limit} more"] if len(findings) > limit else []
    return "; ".join(words + more)
