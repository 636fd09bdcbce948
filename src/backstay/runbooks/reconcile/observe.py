"""Read records and reality: every host once, all at the same time."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from backstay.access.session import CloudSession
from backstay.access.shipping import source_of
from backstay.errors import HostError
from backstay.finding import Finding
from backstay.inventory.cloud import Cloud, Host
from backstay.inventory.enums import Role
from backstay.inventory.host_names import HostNames
from backstay.runbooks.reconcile import onhost
from backstay.runbooks.reconcile.comparison import (
    HostRecords,
    Missing,
    ReconcileObservation,
    guarded,
    in_both,
    judge,
)
from backstay.services.declaration import Service
from backstay.services.reconciliation import Evidence, HostQuestion, Reconciler, Row
from backstay.services.registry import all_reconcilers

RECORDS_BOUND = 30.0
"""Seconds that the databases may take to be read."""
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
    queries = {name: text for one in reconcilers for name, text in one.records.items()}
    asked = {
        host.name: _questions(site.cloud, host, reconcilers) for host in site.cloud.hosts.values()
    }
    first = database_hosts[:1] if queries else []
    chosen = [name for name in asked if asked[name] or name in first]
    answers = await asyncio.gather(
        *(_ask(site, name, asked[name], queries if name in first else {}) for name in chosen)
    )
    by_host = dict(zip(chosen, answers, strict=True))
    collected = _Answers()
    for name, answer in by_host.items():
        collected.host(name, site.cloud.hosts[name].address, asked[name], answer)
    for name in asked.keys() - by_host.keys():
        collected.names(name, [site.cloud.hosts[name].address])
    for name in first:
        collected.records(*await _read(site, (name, by_host[name]), database_hosts[1:], queries))
    if queries and not database_hosts:
        collected.note_missing(queries, "", "cloud.yaml has no host with the databases")
    return collected.result(
        guards={one.question.name for each in reconcilers for one in each.guards}
    )


async def _read(
    site: CloudSession,
    read: tuple[str, Mapping[str, Any] | HostError],
    others: Iterable[str],
    queries: Mapping[str, str],
) -> tuple[str, Mapping[str, Any] | HostError]:
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
    site: CloudSession, host: str, questions: Sequence[HostQuestion], queries: Mapping[str, str]
) -> Mapping[str, Any] | HostError:
    shipped = [[one.name, one.bound, _shipped(one), one.ask.__name__] for one in questions]
    bound = max([one.bound for one in questions] + ([RECORDS_BOUND] if queries else []))
    try:
        answer: Mapping[str, Any] = await site.ask(
            host,
            onhost.answer,
            shipped,
            _reader(site.services) if queries else [],
            dict(queries),
            RECORDS_BOUND,
            bound=bound + 5,
        )
    except HostError as error:
        return error
    return answer


def _reader(services: Iterable[Service]) -> list[str]:
    """Return source text and name of what answers queries on a host with the databases."""
    read = next(each.database_server.read for each in services if each.database_server)
    return [source_of(read), read.__name__]


@cache
def _shipped(question: HostQuestion) -> str:
    return source_of(question.ask)


class _Answers:
    """Collects hosts' answers, and the questions without one."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {}
        self._answers: dict[str, dict[str, Any]] = {}
        self._silent: dict[str, set[str]] = {}
        self._names = HostNames()
        self._missing: list[Missing] = []

    def host(
        self,
        name: str,
        address: str,
        questions: Sequence[HostQuestion],
        answer: Mapping[str, Any] | HostError,
    ) -> None:
        """Add the answers of one host."""
        self.names(name, [address])
        if isinstance(answer, HostError):
            for one in questions:
                self._silent.setdefault(one.name, set()).add(name)
            self.note_missing([one.name for one in questions], name, answer)
            return
        self.names(name, answer["names"])
        for one in questions:
            given = answer["answers"][one.name]
            if "value" in given:
                self._answers.setdefault(one.name, {})[name] = given["value"]
                continue
            self._silent.setdefault(one.name, set()).add(name)
            self.note_missing([one.name], name, _why(given))

    def records(self, name: str, answer: Mapping[str, Any] | HostError) -> None:
        """Add the answers of the databases on a host."""
        if isinstance(answer, HostError):
            self.note_missing(["records"], name, answer)
            return
        given = answer["answers"]["records"]
        if "value" not in given:
            self.note_missing(["records"], name, _why(given))
            return
        for query, answered in given["value"].items():
            if "value" not in answered:
                self.note_missing([query], name, answered["error"])
                continue
            columns, rows = answered["value"]["columns"], answered["value"]["rows"]
            if any(len(row) != len(columns) for row in rows):
                self.note_missing([query], name, "a row whose fields do not match the columns")
                continue
            self._rows[query] = [dict(zip(columns, row, strict=True)) for row in rows]

    def names(self, host: str, others: Iterable[str]) -> None:
        """Add names that a host goes by."""
        self._names.add(host, others)

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


def _why(given: Mapping[str, Any]) -> str:
    if "late" in given:
        return f"no answer within {given['late']:g} s"
    return str(given["error"])
