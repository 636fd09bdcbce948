"""The probes of the APIs: one cheap authenticated call to each, as a user would make it."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from backstay.answers import clean
from backstay.errors import ApiError, BackstayError
from backstay.health.judge_api import served_by
from backstay.inventory.cloud import Cloud
from backstay.services.declaration import ApiLivenessProbe, Service
from backstay.transports.exchange import HttpExchange, HttpOutcome, exchange
from backstay.transports.targets import Endpoint, SshTarget, joined, url_parts
from backstay.transports.threads import on_thread
from backstay.transports.tls import Trust
from backstay.watch.detect.probe import Outcome, ProbeResult, Subject

TOKEN_BOUND = 10.0
TOKEN_PAUSE = 3.0
TOKEN_EVERY = 30.0
PATIENCE = 10.0
"""Seconds after which an API hangs, however busy its host is."""
SUBJECT_TOKEN = "X-Subject-Token"  # noqa: S105 - a header's name
TOKEN = "X-Auth-Token"  # noqa: S105 - a header's name


@runtime_checkable
class TokenSource(Protocol):
    """What gives addresses and tokens (``transports.openstack``). Its calls block."""

    @property
    def auth_url(self) -> str:
        """Return the address at which tokens are asked for, with its version (``/v3``)."""

    @property
    def trust(self) -> Trust:
        """Return what servers' certificates are checked against."""

    def proxy_for(self, url: str) -> str | None:
        """Return the proxy that a request to a URL goes through, None where it goes directly."""

    def pass_for(
        self, service_type: str, path: str, *, refused: str = ""
    ) -> tuple[str, Mapping[str, str]]:
        """Return the address of a path and the headers to ask with. Raises ApiError."""

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the catalogue's endpoints. Raises ApiError."""

    def authenticate(self) -> Mapping[str, Any]:
        """Ask for a fresh token. Raises ApiError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiProbe:
    """A liveness probe with its subject, address and headers; the headers are in no ``repr``."""

    subject: Subject
    probe: ApiLivenessProbe
    url: str


class ApiProbes:
    """Probes all APIs. ``trouble`` is why they cannot be asked, empty where they can.

    Before the first token only keystone's address is known; after it the catalogue is kept, so that
    a dead keystone hides no other service.
    """

    def __init__(
        self,
        cloud: Cloud,
        services: Sequence[Service],
        api: TokenSource | BackstayError,
        take: Callable[[ProbeResult], None],
    ) -> None:
        self.cloud = cloud
        self.services = services
        self.api = api
        self.take = take
        self.trouble = ""
        self.questions: tuple[ApiProbe, ...] = ()
        self._alone: tuple[ApiProbe, ...] = ()
        self._headers: Mapping[str, str] = {}
        self._refused = ""
        self._wake = asyncio.Event()
        self._under_way: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def keep_token(self) -> None:
        """Keep a token and the catalogue, forever."""
        while True:
            if isinstance(self.api, BackstayError):
                self.trouble = f"{self.api.attempted}: {self.api.came_back}"
                await asyncio.sleep(60.0)
                continue
            try:
                if self.trouble:
                    # One that was not available before is remembered as such: ask for a new one.
                    await on_thread(self.api.authenticate, TOKEN_BOUND)
                await self._renew(self.api)
                self.trouble = ""
            except TimeoutError:
                self.trouble = f"no token within {TOKEN_BOUND:g} s"
            except ApiError as error:
                self.trouble = f"{error.attempted}: {error.came_back}"
            except Exception as error:  # whatever a catalogue does to what reads it
                self.trouble = clean(f"the catalogue cannot be read: {error!r}", longest=300)
            if not self.questions:
                self.questions = self._alone = self._without_catalogue(self.api)
            await asyncio.sleep(TOKEN_PAUSE)
            if not self.trouble:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TOKEN_EVERY):
                        await self._wake.wait()

    def _without_catalogue(self, api: TokenSource) -> tuple[ApiProbe, ...]:
        """Return what validates a token, at the address from which tokens come.

        Without one its answer is 401, which tells nothing; that it hangs or fails tells enough.
        """
        served = self._served([Endpoint(service_type="identity", url=api.auth_url)])
        return tuple(
            ApiProbe(
                subject=_subject(service, probe, served),
                probe=probe,
                url=joined(api.auth_url, probe.path),
            )
            for service in self.services
            for probe in service.api_liveness
            if probe.own_token
        )

    def _served(self, endpoints: Sequence[Endpoint]) -> Mapping[str, SshTarget]:
        hosts = [self.cloud.ssh_target(host) for host in self.cloud.hosts.values()]
        return served_by(self.services, endpoints, hosts)

    async def _renew(self, api: TokenSource) -> None:
        refused = self._refused
        self._wake.clear()
        endpoints = await on_thread(api.endpoints, TOKEN_BOUND)
        probes = [(s, probe) for s in self.services for probe in s.api_liveness]
        served = self._served(endpoints)
        questions = []
        for service, probe in probes:
            try:
                url, self._headers = await on_thread(
                    lambda probe=probe: api.pass_for(  # type: ignore[misc]
                        probe.service_type, "" if probe.at_root else probe.path, refused=refused
                    ),
                    TOKEN_BOUND,
                )
            except ApiError:
                continue  # no such endpoint: the check reports it
            if probe.at_root and (parts := url_parts(url)) is not None:
                url = f"{parts.scheme}://{parts.netloc}{probe.path}"
            subject = _subject(service, probe, served)
            questions.append(ApiProbe(subject=subject, probe=probe, url=url))
        known = {one.subject.key for one in questions}
        # Where the catalogue has another address, what was said of the first must be cleared there.
        beside = [one for one in self._alone if one.subject.key not in known]
        self.questions, self._refused = (*questions, *beside), ""

    def ask_all(self, bound: float, slow: Callable[[str], bool]) -> None:
        """Ask every question now, without waiting for it; at most three of one are under way.

        Of what ``slow`` says that it may only be slow (by the subject's key) it is asked once more,
        with patience: an answer in ten seconds is no failure.
        """
        for question in self.questions:
            key = question.subject.key
            self._begin(question, key, bound, at_once=3)
            if slow(key):
                self._begin(question, f"{key} patiently", PATIENCE, at_once=1)

    def _begin(self, question: ApiProbe, name: str, bound: float, *, at_once: int) -> None:
        if self._under_way[name] < at_once:
            self._under_way[name] += 1
            task = asyncio.ensure_future(self._ask(question, name, bound))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, question: ApiProbe, name: str, bound: float) -> None:
        probe, token = question.probe, self._headers.get(TOKEN, "")
        headers = {} if probe.at_root else dict(self._headers)
        if probe.own_token:
            headers[SUBJECT_TOKEN] = token
        trust, proxy = Trust(), None
        try:
            if not isinstance(self.api, BackstayError):
                trust, proxy = self.api.trust, self.api.proxy_for(question.url)
            came = await exchange(
                question.url,
                method=probe.method,
                headers=headers,
                bound=bound,
                trust=trust,
                proxy=proxy,
            )
        except Exception as error:  # an address that is none, or an answer that is none
            self.take(_not_asked(question, error, time.time()))
            return
        finally:
            self._under_way[name] -= 1
        if came.status == 401:
            self._refused = token
            self._wake.set()
        self.take(probe_result_of(question, came, time.time()))


def _not_asked(question: ApiProbe, error: Exception, at: float) -> ProbeResult:
    evidence = clean(f"{question.probe.name} at {question.url}: cannot be asked: {error}")
    return ProbeResult(
        subject=question.subject, outcome=Outcome.UNKNOWN, evidence=evidence[:300], at=at
    )


def _subject(service: Service, probe: ApiLivenessProbe, served: Mapping[str, SshTarget]) -> Subject:
    host = served[service.name].name if service.name in served else ""
    return Subject(host=host, service=service.name, name=probe.name)


_LOOKS = {
    HttpOutcome.LATE: Outcome.LATE,
    HttpOutcome.BROKEN: Outcome.FAILED,
    HttpOutcome.REFUSED: Outcome.REFUSED,
    HttpOutcome.SILENT: Outcome.SILENT,
    HttpOutcome.UNASKED: Outcome.UNKNOWN,
}


def probe_result_of(question: ApiProbe, came: HttpExchange, at: float) -> ProbeResult:
    """Return the probe result of an answer. Pure.

    A refused token says nothing about the service.
    """
    outcome, evidence = _LOOKS.get(came.outcome, Outcome.OK), clean(came.message, longest=300)
    if came.outcome is HttpOutcome.ANSWERED:
        evidence = f"{question.probe.name}: answers {came.status} in {came.seconds * 1000:.0f} ms"
        if came.status == 401:
            outcome, evidence = Outcome.UNKNOWN, f"{question.probe.name}: refuses the token"
        elif came.status >= 500:
            outcome, evidence = Outcome.FAILED, f"{question.probe.name}: answers {came.status}"
    elif outcome is not Outcome.OK:
        evidence = f"{question.probe.name}: {evidence}"
    return ProbeResult(
        subject=question.subject,
        outcome=outcome,
        evidence=evidence,
        at=at,
        seconds=came.seconds if outcome is Outcome.OK else None,
        sure=outcome is Outcome.REFUSED,  # an error may come of a time-out somewhere behind it
    )
