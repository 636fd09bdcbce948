"""A cloud opened: its inventory, its hosts over SSH and its APIs, in one value."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar, overload

from backstay.access.lease import carried, document_of, held_elsewhere
from backstay.access.shipping import as_answer, as_json, program, reading, stream
from backstay.answers import MOST_BYTES, BadAnswer
from backstay.errors import ApiError, ApiFailed, ApiUnreachable, BackstayError
from backstay.finding import Finding
from backstay.inventory.cloud import Cloud, Host
from backstay.jsondata import Json
from backstay.services.declaration import Agent, Api, InFlightTask, Service, Workload
from backstay.services.registry import all_services
from backstay.transports import limits
from backstay.transports.ping import answers
from backstay.transports.targets import Answer, Endpoint, SshTarget
from backstay.transports.threads import on_thread

T = TypeVar("T")

QUESTION_BOUND = 30.0

Name = tuple[str | None, str, str]
"""What a finding is about: host, service, subject."""


FindingSource = Callable[[Cloud, Collection[str]], Awaitable[list[Finding]]]
"""Adds findings to the whole check: of a cloud, or of some of its hosts where any are named."""


class RemoteShell(Protocol):
    """Runs scripts on hosts (``transports.ssh.HostShell``)."""

    async def answer(
        self, target: SshTarget, script: str, *, bound: float, most: int = limits.ANSWER
    ) -> Answer:
        """Run ``script`` by the host's python3 and return what it prints. Raises HostError."""

    async def stream(
        self,
        target: SshTarget,
        script: str,
        receive: Callable[[bytes], Awaitable[None]],
        *,
        silence: float,
    ) -> str:
        """Run ``script``, pass on its output, return its standard error. Raises HostError."""

    def drop(self, target: SshTarget) -> None:
        """Close the connection to a host: the next question opens a new one."""

    async def send(
        self, target: SshTarget, script: str, data: AsyncIterator[bytes], *, silence: float
    ) -> None:
        """Run ``script`` and give it ``data`` to read. Raises HostError."""


@dataclass(kw_only=True)
class CloudSession:
    """A cloud opened: its inventory, its hosts over SSH, its APIs.

    ``api`` is the APIs, or why they cannot be asked at all. ``sources`` add to the whole check what
    rooms above ``health`` know, as of backups. ``probe_api`` is the APIs by another account, of few
    rights, for cheap questions; None where there is no such account.
    """

    cloud: Cloud
    shell: RemoteShell
    api: Api | BackstayError
    sources: Sequence[FindingSource] = ()
    probe_api: Api | BackstayError | None = None

    def host(self, name: str) -> Host:
        """Return a host by its name in cloud.yaml."""
        return self.cloud.hosts[name]

    @cached_property
    def services(self) -> Sequence[Service]:
        """Return the services of this cloud."""
        return [s for s in all_services() if self.cloud.has_service(s.name)]

    @overload
    async def ask(
        self,
        host: str,
        function: Callable[..., Any],
        *arguments: Json,
        returns: type[T],
        bound: float = QUESTION_BOUND,
        most: int = MOST_BYTES,
    ) -> T: ...

    @overload
    async def ask(
        self,
        host: str,
        function: Callable[..., Any],
        *arguments: Json,
        bound: float = QUESTION_BOUND,
    ) -> Json: ...

    async def ask(
        self,
        host: str,
        function: Callable[..., Any],
        *arguments: Json,
        returns: type[T] | None = None,
        bound: float = QUESTION_BOUND,
        most: int = MOST_BYTES,
    ) -> T | Json:
        """Call a function on a host, as root, and return what it returns.

        It is read as ``returns``, which ``answers.read`` knows; without, as JSON of any form, with
        the same bounds. ``bound`` is in seconds, ``most`` in bytes. Raises HostError: RemoteFailure
        where the answer is of another form, AnswerTooLong where it is longer; HostHeld where a run
        asks and another one has the host.
        """
        target = self.cloud.ssh_target(self.host(host))
        lease = carried(host, function)
        script = program(function, *arguments, lease=document_of(lease))
        with held_elsewhere(lease, host):
            answer = await self.shell.answer(target, script, bound=bound, most=most)
        if returns is None:
            return as_json(answer, host=host)
        return as_answer(returns, answer, host=host, most=most)

    async def stream(
        self,
        host: str,
        function: Callable[..., Any],
        *arguments: Json,
        receive: Callable[[bytes], Awaitable[None]],
        silence: float,
    ) -> str:
        """Call a function on a host, as root, and pass on the bytes that it writes.

        ``silence`` is for how many seconds nothing may come. Returns what it wrote to its standard
        error. Raises HostError, and HostHeld as ``ask``.
        """
        target = self.cloud.ssh_target(self.host(host))
        lease = carried(host, function)
        script = stream(function, *arguments, lease=document_of(lease))
        with held_elsewhere(lease, host):
            return await self.shell.stream(target, script, receive, silence=silence)

    async def send(
        self,
        host: str,
        function: Callable[..., Any],
        *arguments: Json,
        data: AsyncIterator[bytes],
        silence: float,
    ) -> None:
        """Call a function on a host, as root, that reads ``data`` from its standard input.

        ``silence`` is for how many seconds it may take nothing. Raises HostError, and HostHeld as
        ``ask``.
        """
        target = self.cloud.ssh_target(self.host(host))
        lease = carried(host, function)
        script = reading(function, *arguments, lease=document_of(lease))
        with held_elsewhere(lease, host):
            await self.shell.send(target, script, data, silence=silence)

    async def endpoints(self) -> Sequence[Endpoint]:
        """Return the catalogue's endpoints, none where there is no token."""
        try:
            return await self.catalogue()
        except ApiError:
            return ()

    async def catalogue(self) -> Sequence[Endpoint]:
        """Return the catalogue's endpoints. Raises ApiError where there is no token."""
        found: Sequence[Endpoint] = (await self._ask_apis([lambda api: api.endpoints()]))[0]
        return found

    async def agents(self) -> list[Agent]:
        """Return every agent that the APIs report. Raises ApiError where one does not answer."""
        asked = [service.agents for service in self.services if service.agents]
        return [agent for agents in await self._ask_apis(asked) for agent in agents]

    async def in_flight(self) -> list[InFlightTask]:
        """Return the work that is under way. Raises as ``agents``."""
        asked = [service.in_flight for service in self.services if service.in_flight]
        return [item for found in await self._ask_apis(asked) for item in found]

    async def workloads(self) -> list[Workload]:
        """Return what runs of the users' own. Raises as ``agents``."""
        asked = [service.workloads for service in self.services if service.workloads]
        return [item for found in await self._ask_apis(asked) for item in found]

    async def _ask_apis(self, questions: Sequence[Callable[[Api], T]]) -> list[T]:
        """Ask all questions at once. Raises ApiError, also where the APIs cannot be asked."""
        if isinstance(self.api, BackstayError):
            error = self.api
            raise ApiUnreachable(error.attempted, came_back=error.came_back, remedy=error.remedy)
        api, bound = self.api, self.cloud.bounds.api_seconds

        async def ask(question: Callable[[Api], T]) -> T:
            try:
                return await on_thread(lambda: question(api), bound)
            except BadAnswer as error:
                raise ApiFailed(
                    "reading the answers of the APIs",
                    came_back=f"could not read: {error}",
                    remedy="backstay check",
                    status=None,
                ) from error
            except TimeoutError:
                raise ApiUnreachable(
                    "asking the APIs",
                    came_back=f"no answer within {bound:g} s",
                    remedy="backstay check",
                ) from None

        return await asyncio.gather(*(ask(question) for question in questions))

    async def ping(self, address: str, bound: float = 1.0) -> bool | None:
        """Return whether an address answers, None where this user may not ping."""

        def ask() -> bool | None:
            try:
                return answers(address, bound)
            except PermissionError:
                return None

        return await on_thread(ask, bound + 5)


def name_of(finding: Finding) -> Name:
    """Return what a finding is about, to find it again in a later check."""
    return (finding.host, finding.service, finding.subject)


def describe_findings(findings: Sequence[Finding], limit: int = 4) -> str:
    """Return findings in a few words, for an error's text."""
    words = [f"{f.host or 'cloud'}: {f.subject}: {f.evidence}" for f in findings[:limit]]
    more = [f"and {len(findings) - limit} more"] if len(findings) > limit else []
    return "; ".join(words + more)


def name_findings(findings: Sequence[Finding], limit: int = 4) -> str:
    """Return what findings are about, without evidence, for a line of progress."""
    words = [f"{f.subject} on {f.host}" if f.host else f.subject for f in findings[:limit]]
    more = [f"{len(findings) - limit} more"] if len(findings) > limit else []
    return ", ".join(words + more)
