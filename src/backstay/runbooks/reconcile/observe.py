"""Read records and reality: every host once, all at the same time."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from backstay.access.session import CloudSession
from backstay.access.shipping import source_of
from backstay.answers import BYTES_PER_ITEM, BadAnswer
from backstay.errors import AnswerTooLong, HostError
from backstay.finding import Finding
from backstay.inventory.cloud import Cloud, Host
from backstay.inventory.enums import Role
from backstay.inventory.host_names import HostNames
from backstay.quantities import size
from backstay.runbooks.reconcile import onhost
from backstay.runbooks.reconcile.answers import RECORDS, HostAnswers, TableAnswer
from backstay.runbooks.reconcile.comparison import (
    HostRecords,
    Missing,
    ReconcileObservation,
    guarded,
    in_both,
    judge,
)
from backstay.services.declaration import Service
from backstay.services.reconciliation import Evidence, HostQuestion, Reconciler
from backstay.services.registry import all_reconcilers
from backstay.services.rows import Query, Row
from backstay.transports import limits

RECORDS_BOUND = 30.0
"""Seconds that the databases may take to be read."""
_MOST_INSTANCES = 45_000
"""Of a cloud whose records are read, about: measured with a port and a volume for each."""
AGAIN_AFTER = 1.5
"""Seconds between two comparisons; a mismatch must be in both."""


async def mismatches(site: CloudSession) -> ReconcileObservation:
    """Return where the cloud's records and reality differ, and what could not be read.

    Nothing is changed. What does not answer is in ``missing``; nothing is raised. A mismatch that
    only one of two comparisons has was temporary, and is left out.
    """
    started = time.monotonic()
    observed = await _once(site)
    if observed.mismatches:
        await asyncio.sleep(AGAIN_AFTER)
        again = await _once(site)
        both = in_both(observed.mismatches, again.mismatches)
        observed = replace(again, mismatches=tuple(both))
    return replace(observed, seconds=time.monotonic() - started)


async def reaper_findings(site: CloudSession) -> list[Finding]:
    """Return a finding for each setting that destroys what restored records do not know.

    To be called before agents work for restored records: only ``ok`` is safe. Nothing is raised.
    """
    reconcilers = [replace(one, records={}, questions=()) for one in _of_this_cloud(site)]
    records = await _read_hosts(site, reconcilers)
    return guarded(reconcilers, records, site.cloud)


async def _once(site: CloudSession) -> ReconcileObservation:
    reconcilers = _of_this_cloud(site)
    return judge(reconcilers, await _read_hosts(site, reconcilers), site.cloud)


def _of_this_cloud(site: CloudSession) -> list[Reconciler]:
    names = {service.name for service in site.services}
    return [one for one in all_reconcilers() if one.service in names]


async def _read_hosts(site: CloudSession, reconcilers: Sequence[Reconciler]) -> HostRecords:
    """Ask every host its questions, in one round trip each."""
    database_hosts = _database_hosts(site)
    queries = {name: query for one in reconcilers for name, query in one.records.items()}
    asked = {
        host.name: _questions(site.cloud, host, reconcilers) for host in site.cloud.hosts.values()
    }
    first = database_hosts[:1] if queries else []
    chosen = [name for name in asked if asked[name] or name in first]
    answers = await asyncio.gather(
        *(_ask(site, name, asked[name], queries if name in first else {}) for name in chosen)
    )
    by_host = dict(zip(chosen, answers, strict=True))
    collected = _Answers(site.cloud.host_names())
    for name, answer in by_host.items():
        collected.host(name, asked[name], answer)
    for name in first:
        read = await _read(site, (name, by_host[name]), database_hosts[1:], queries)
        collected.records(*read, queries)
    if queries and not database_hosts:
        collected.note_missing(queries, "", "cloud.yaml has no host with the databases")
    return collected.result(
        guards={one.question.name for each in reconcilers for one in each.guards}
    )


async def _read(
    site: CloudSession,
    read: tuple[str, HostAnswers | HostError],
    others: Iterable[str],
    queries: Mapping[str, Query],
) -> tuple[str, HostAnswers | HostError]:
    """Return the records of the first of ``others`` that answers, where ``read`` is an error."""
    for other in others:
        if not isinstance(read[1], HostError):
            break
        read = other, await _ask(site, other, [], queries)
    return read


def _database_hosts(site: CloudSession) -> list[str]:
    """Return the hosts that have the databases: copies, so that one answer is enough."""
    services = [service.name for service in site.services if service.keeps_databases]
    return [
        host.name
        for host in site.cloud.with_role(Role.CONTROLLER)
        if any(site.cloud.has_service(name, host) for name in services)
    ]


def _questions(cloud: Cloud, host: Host, reconcilers: Iterable[Reconciler]) -> list[HostQuestion]:
    mine = [one for one in reconcilers if cloud.has_service(one.service, host)]
    every = [
        question
        for one in mine
        for question in (*one.questions, *(guard.question for guard in one.guards))
    ]
    return [question for question in every if set(question.roles) & set(host.roles)]


async def _ask(
    site: CloudSession, host: str, questions: Sequence[HostQuestion], queries: Mapping[str, Query]
) -> HostAnswers | HostError:
    shipped = [[one.name, one.bound, _shipped(one), one.ask.__name__] for one in questions]
    bound = max([one.bound for one in questions] + ([RECORDS_BOUND] if queries else []))
    try:
        return await site.ask(
            host,
            onhost.answer,
            shipped,
            _reader(site.services) if queries else [],
            {name: query.text for name, query in queries.items()},
            RECORDS_BOUND,
            returns=HostAnswers,
            bound=bound + 5,
            most=limits.LONG_ANSWER if queries else limits.ANSWER,
        )
    except AnswerTooLong as error:
        return _too_many_records(host) if queries else error
    except HostError as error:
        return error


def _too_many_records(host: str) -> AnswerTooLong:
    return AnswerTooLong(
        f"reading the records of {host}",
        came_back=f"they are too long: at most {size(limits.LONG_ANSWER)} in "
        f"{limits.LONG_ANSWER // BYTES_PER_ITEM} values are read, enough for a cloud of "
        f"{_MOST_INSTANCES} instances",
        remedy=f"see on {host} which table has more rows than the cloud has instances, ports and "
        "volumes. Without the records nothing can be compared",
    )


def _reader(services: Iterable[Service]) -> list[str]:
    """Return source text and name of what answers queries on a host with the databases."""
    read = next(each.database_server.read for each in services if each.database_server)
    return [source_of(read), read.__name__]


@cache
def _shipped(question: HostQuestion) -> str:
    return source_of(question.ask)


class _Answers:
    """Collects hosts' answers, and the questions without one that can be read."""

    def __init__(self, names: HostNames) -> None:
        self._rows: dict[str, Sequence[Row]] = {}
        self._answers: dict[str, dict[str, Any]] = {}
        self._silent: dict[str, set[str]] = {}
        self._names = names
        self._missing: list[Missing] = []

    def host(
        self, name: str, questions: Sequence[HostQuestion], answer: HostAnswers | HostError
    ) -> None:
        """Add the answers of one host."""
        if isinstance(answer, HostError):
            for one in questions:
                self._silent.setdefault(one.name, set()).add(name)
            self.note_missing([one.name for one in questions], name, answer)
            return
        for own in answer.names:
            self._names.claim(name, own)
        for one in questions:
            try:
                value = answer.read(one.name, one.returns)
            except BadAnswer as error:
                self._silent.setdefault(one.name, set()).add(name)
                self.note_missing([one.name], name, str(error))
            else:
                self._answers.setdefault(one.name, {})[name] = value

    def records(
        self, name: str, answer: HostAnswers | HostError, queries: Mapping[str, Query]
    ) -> None:
        """Add the answers of the databases on a host."""
        if isinstance(answer, HostError):
            self.note_missing(["records"], name, answer)
            return
        try:
            tables = answer.read(RECORDS, dict[str, TableAnswer])
        except BadAnswer as error:
            self.note_missing(["records"], name, str(error))
            return
        for query, declared in queries.items():
            try:
                self._rows[query] = tables.get(query, TableAnswer()).read(declared)
            except BadAnswer as error:
                self.note_missing([query], name, str(error))

    def note_missing(self, questions: Iterable[str], host: str, why: str | HostError) -> None:
        """Note questions without an answer, and why."""
        what, remedy = ", ".join(questions), f"backstay check {host}".strip()
        if isinstance(why, HostError):
            remedy, why = why.remedy, f"{why.attempted}: {why.came_back}"
        self._missing.append(Missing(what=what, host=host, why=why, remedy=remedy))

    def result(self, guards: set[str]) -> HostRecords:
        """Return all answers; those to the questions ``guards`` apart from the others."""
        return HostRecords(
            seen=Evidence(
                rows=self._rows,
                answers={name: one for name, one in self._answers.items() if name not in guards},
                silent={name: frozenset(one) for name, one in self._silent.items()},
                names=self._names,
            ),
            missing=tuple(self._missing),
            guards={name: one for name, one in self._answers.items() if name in guards},
        )
