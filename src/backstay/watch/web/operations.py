"""What the API does: each operation by what it is asked and what it answers."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from backstay.errors import BackstayError
from backstay.inventory.watch import Right
from backstay.journal.records import NoSuchRun
from backstay.watch.web import answers, questions, summary
from backstay.watch.web.context import PageContext, not_answered, not_there
from backstay.watch.web.openapi import Operation
from backstay.watch.web.people import Visitor

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question to the API: its parameters (query, path, body) as the models have them."""

    desk: PageContext
    visitor: Visitor
    query: Any
    path: Any
    body: Any


async def status(asked: Asked) -> BaseModel:
    """Tell how the cloud is in one look."""
    desk = asked.desk
    snapshot, records = desk.board.snapshot, desk.reading.wanted()
    over_at = max((one.closed for one in records.over if one.closed), default=None)
    told = summary.headline(snapshot, records.open, now=time.time(), over_at=over_at)
    return answers.StatusAnswer(
        cloud=snapshot.cloud,
        at=snapshot.at,
        state=snapshot.worst,
        mood=told.mood,
        sentence=told.text,
        since=told.since,
        leading=snapshot.leading,
        leader=snapshot.leader,
        incidents=len(records.open),
        checked_at=snapshot.checked_at,
        silences=[answers.SilenceAnswer.model_validate(one) for one in snapshot.silences],
        troubles=list(snapshot.troubles),
        journal=records.trouble,
    )


async def standings(asked: Asked) -> BaseModel:
    """Tell how each subject stands."""
    query: questions.StandingsQuestion = asked.query
    found = [
        one
        for _, one in sorted(asked.desk.board.snapshot.standings.items())
        if query.host in {None, one.subject.host or "cloud"}
        and query.service in {None, one.subject.service}
        and query.state in {None, one.state}
    ]
    part = found[query.offset : query.offset + query.limit]
    return answers.StandingsAnswer(
        total=len(found), standings=[answers.StandingAnswer.of(one) for one in part]
    )


async def incidents(asked: Asked) -> BaseModel:
    """List incidents, the newest first."""
    query: questions.IncidentsQuestion = asked.query
    reading = asked.desk.reading
    found = await reading.ask(
        lambda: reading.store.incidents(
            only_open=query.open, limit=query.limit, before=query.before
        )
    )
    return answers.IncidentsAnswer(
        incidents=[answers.IncidentAnswer.of(one) for one in found],
        before=found[-1].id if len(found) == query.limit else None,
    )


async def incident(asked: Asked) -> BaseModel:
    """Tell all of one incident."""
    number, reading = asked.path.id, asked.desk.reading
    found = await reading.ask(lambda: reading.store.incident(number))
    if found is None:
        raise not_there(f"incident {number}", f"GET {PREFIX}/incidents")
    notifications = await reading.ask(lambda: reading.store.notifications(incident=number))
    waiting = (await reading.ask(lambda: reading.store.waiting(now=time.time()))).get(number)
    return answers.OneIncidentAnswer(
        **answers.IncidentAnswer.of(found).model_dump(),
        notifications=[answers.TellingAnswer.of(one) for one in notifications],
        waiting=answers.WaitingAnswer(run=waiting[0], until=waiting[1]) if waiting else None,
    )


async def runs(asked: Asked) -> BaseModel:
    """List runs of runbooks, the newest first."""
    query: questions.RunsQuestion = asked.query
    reading, cloud = asked.desk.reading, asked.desk.cloud.name
    found = await reading.ask(
        lambda: reading.journal.runs(cloud=cloud, limit=query.limit, before=query.before)
    )
    last = found[-1].id.rpartition("-")[2] if len(found) == query.limit else None
    return answers.RunsAnswer(
        runs=[answers.RunAnswer.of(one) for one in found], before=int(last) if last else None
    )


async def run(asked: Asked) -> BaseModel:
    """Tell all of one run."""
    name, reading = asked.path.id, asked.desk.reading
    try:
        found = await reading.ask(lambda: reading.journal.run(name))
    except NoSuchRun:
        raise not_there(f"the run {name}", f"GET {PREFIX}/runs") from None
    if found.plan.cloud != asked.desk.cloud.name:
        raise not_there(f"the run {name}", f"GET {PREFIX}/runs")
    events = await reading.ask(lambda: reading.journal.events(found.id))
    return answers.OneRunAnswer.told(found, events)


async def backups(asked: Asked) -> BaseModel:
    """Tell the age of backups, RPO and RTO as measured."""
    kept, now = asked.desk.reading.wanted().kept, time.time()
    return answers.BackupsAnswer(
        hosts=[
            answers.HostKeptAnswer(
                host=one.host,
                backup=one.backup,
                backups=one.all,
                verified_at=one.verified_at,
                age=None if one.verified_at is None else max(0.0, now - one.verified_at),
                stream_lag=one.stream,
                rpo=one.rpo(now),
                restored_in=one.proved_in,
            )
            for one in kept.hosts
        ],
        findings=[answers.FindingAnswer.model_validate(one) for one in kept.findings],
        measured=[answers.MeasuredAnswer.model_validate(one) for one in kept.measured],
        trouble=kept.trouble,
    )


async def windows(asked: Asked) -> BaseModel:
    """List the next openings of maintenance windows."""
    now = time.time()
    return answers.WindowsAnswer(
        openings=[
            answers.OpeningAnswer(
                window=one.window,
                opens=one.opens.timestamp(),
                closes=one.closes.timestamp(),
                open=one.opens.timestamp() <= now < one.closes.timestamp(),
            )
            for one in asked.desk.reading.wanted().kept.openings
        ]
    )


async def history(asked: Asked) -> BaseModel:
    """Tell how a subject answered, by minute."""
    query: questions.HistoryQuestion = asked.query
    found = await asked.desk.history(query.subject, query.hours * 3600)
    return answers.HistoryAnswer(
        subject=query.subject,
        minutes=[
            answers.MinuteAnswer(
                at=one.minute * 60.0,
                asked=one.asked,
                answered=one.answered,
                median=one.median,
                longest=one.longest,
            )
            for one in found
        ],
    )


async def approve(asked: Asked) -> BaseModel:
    """Approve what waits for an incident, by the code that was sent. It can be used once."""
    body: questions.Approval = asked.body
    if asked.desk.approve is None:
        raise not_there("something to approve", "see `policy` under `watch` in cloud.yaml")
    try:
        told = await asked.desk.approve(body.incident, body.code, asked.visitor.name)
    except BackstayError as error:
        raise Refused(error) from error
    except TimeoutError:
        raise not_answered(body.incident) from None
    return answers.ApprovedAnswer(told=told)


class Refused(Exception):
    """What was to be approved is not."""

    def __init__(self, error: BackstayError) -> None:
        super().__init__(str(error))
        self.error = error


Answer = Callable[[Asked], Awaitable[BaseModel]]

OPERATIONS: tuple[tuple[Operation, Answer], ...] = (
    (Operation(path="/status", answer=answers.StatusAnswer), status),
    (
        Operation(
            path="/standings", query=questions.StandingsQuestion, answer=answers.StandingsAnswer
        ),
        standings,
    ),
    (
        Operation(
            path="/incidents",
            query=questions.IncidentsQuestion,
            answer=answers.IncidentsAnswer,
            reads=True,
        ),
        incidents,
    ),
    (
        Operation(
            path="/incidents/{id}",
            inside=questions.IncidentPath,
            answer=answers.OneIncidentAnswer,
            reads=True,
        ),
        incident,
    ),
    (
        Operation(
            path="/runs", query=questions.RunsQuestion, answer=answers.RunsAnswer, reads=True
        ),
        runs,
    ),
    (
        Operation(
            path="/runs/{id}", inside=questions.RunPath, answer=answers.OneRunAnswer, reads=True
        ),
        run,
    ),
    (Operation(path="/backups", answer=answers.BackupsAnswer), backups),
    (Operation(path="/windows", answer=answers.WindowsAnswer), windows),
    (
        Operation(
            path="/history",
            query=questions.HistoryQuestion,
            answer=answers.HistoryAnswer,
            reads=True,
        ),
        history,
    ),
    (
        Operation(
            path="/approvals",
            method="POST",
            body=questions.Approval,
            answer=answers.ApprovedAnswer,
            right=Right.ACT,
        ),
        approve,
    ),
)
