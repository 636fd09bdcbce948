"""The JSON API under /api/v1, and /metrics: the same as the pages show, for programs."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from backstay.errors import BackstayError
from backstay.inventory.watch import Right
from backstay.journal.records import NoSuchRun
from backstay.monitor import metrics
from backstay.monitor.page import glance, models
from backstay.monitor.page.access import Limited, WrongToken
from backstay.monitor.page.desk import Desk, NotThere, not_answered, not_there
from backstay.monitor.page.openapi import Operation, description
from backstay.monitor.page.people import Visitor
from backstay.monitor.page.problem import problem

PREFIX = "/api/v1"
_JSON = "application/json"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question to the API: its parameters (query, path, body) as the models have them."""

    desk: Desk
    visitor: Visitor
    query: Any
    path: Any
    body: Any


async def status(asked: Asked) -> BaseModel:
    """Tell how the cloud is in one look."""
    desk = asked.desk
    bulletin, records = desk.board.bulletin, desk.reading.wanted()
    over_at = max((one.closed for one in records.over if one.closed), default=None)
    told = glance.headline(bulletin, records.open, now=time.time(), over_at=over_at)
    return models.StatusAnswer(
        cloud=bulletin.cloud, at=bulletin.at, state=bulletin.worst, mood=told.mood,
        sentence=told.text, since=told.since, leading=bulletin.leading, leader=bulletin.leader,
        incidents=len(records.open), checked_at=bulletin.checked_at,
        silences=[models.SilenceAnswer.model_validate(one) for one in bulletin.silences],
        troubles=list(bulletin.troubles), journal=records.trouble,
    )  # fmt: skip


async def standings(asked: Asked) -> BaseModel:
    """Tell how each subject stands."""
    query: models.StandingsQuestion = asked.query
    found = [
        one
        for _, one in sorted(asked.desk.board.bulletin.standings.items())
        if query.host in {None, one.subject.host or "cloud"}
        and query.service in {None, one.subject.service}
        and query.state in {None, one.state}
    ]
    part = found[query.offset : query.offset + query.limit]
    return models.StandingsAnswer(
        total=len(found), standings=[models.StandingAnswer.of(one) for one in part]
    )


async def incidents(asked: Asked) -> BaseModel:
    """List incidents, the newest first."""
    query: models.IncidentsQuestion = asked.query
    reading = asked.desk.reading
    found = await reading.ask(
        lambda: reading.store.incidents(
            only_open=query.open, limit=query.limit, before=query.before
        )
    )
    return models.IncidentsAnswer(
        incidents=[models.IncidentAnswer.of(one) for one in found],
        before=found[-1].id if len(found) == query.limit else None,
    )


async def incident(asked: Asked) -> BaseModel:
    """Tell all of one incident."""
    number, reading = asked.path.id, asked.desk.reading
    found = await reading.ask(lambda: reading.store.incident(number))
    if found is None:
        raise not_there(f"incident {number}", f"GET {PREFIX}/incidents")
    tellings = await reading.ask(lambda: reading.store.tellings(incident=number))
    waiting = (await reading.ask(lambda: reading.store.waiting(now=time.time()))).get(number)
    return models.OneIncidentAnswer(
        **models.IncidentAnswer.of(found).model_dump(),
        tellings=[models.TellingAnswer.of(one) for one in tellings],
        waiting=models.WaitingAnswer(run=waiting[0], until=waiting[1]) if waiting else None,
    )


async def runs(asked: Asked) -> BaseModel:
    """List runs of runbooks, the newest first."""
    query: models.RunsQuestion = asked.query
    reading, cloud = asked.desk.reading, asked.desk.cloud.name
    found = await reading.ask(
        lambda: reading.journal.runs(cloud=cloud, limit=query.limit, before=query.before)
    )
    last = found[-1].id.rpartition("-")[2] if len(found) == query.limit else None
    return models.RunsAnswer(
        runs=[models.RunAnswer.of(one) for one in found], before=int(last) if last else None
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
    return models.OneRunAnswer.told(found, events)


async def backups(asked: Asked) -> BaseModel:
    """Tell the age of backups, RPO and RTO as measured."""
    kept, now = asked.desk.reading.wanted().kept, time.time()
    return models.BackupsAnswer(
        hosts=[
            models.HostKeptAnswer(
                host=one.host, backup=one.backup, backups=one.all, verified_at=one.verified_at,
                age=None if one.verified_at is None else max(0.0, now - one.verified_at),
                stream_lag=one.stream, rpo=one.rpo(now), restored_in=one.proved_in,
            )
            for one in kept.hosts
        ],
        findings=[models.FindingAnswer.model_validate(one) for one in kept.findings],
        measured=[models.MeasuredAnswer.model_validate(one) for one in kept.measured],
        trouble=kept.trouble,
    )  # fmt: skip


async def windows(asked: Asked) -> BaseModel:
    """List the next openings of maintenance windows."""
    now = time.time()
    return models.WindowsAnswer(
        openings=[
            models.OpeningAnswer(
                window=one.window, opens=one.opens.timestamp(), closes=one.closes.timestamp(),
                open=one.opens.timestamp() <= now < one.closes.timestamp(),
            )
            for one in asked.desk.reading.wanted().kept.openings
        ]
    )  # fmt: skip


async def history(asked: Asked) -> BaseModel:
    """Tell how a subject answered, by minute."""
    query: models.HistoryQuestion = asked.query
    found = await asked.desk.history(query.subject, query.hours * 3600)
    return models.HistoryAnswer(
        subject=query.subject,
        minutes=[
            models.MinuteAnswer(
                at=one.minute * 60.0, asked=one.asked, answered=one.answered, median=one.median,
                longest=one.longest,
            )
            for one in found
        ],
    )  # fmt: skip


async def approve(asked: Asked) -> BaseModel:
    """Approve what waits for an incident, by the code that was sent. It can be used once."""
    body: models.Approval = asked.body
    if asked.desk.approve is None:
        raise not_there("something to approve", "see `policy` under `watch` in cloud.yaml")
    try:
        told = await asked.desk.approve(body.incident, body.code, asked.visitor.name)
    except BackstayError as error:
        raise Refused(error) from error
    except TimeoutError:
        raise not_answered(body.incident) from None
    return models.ApprovedAnswer(told=told)


class Refused(Exception):
    """What was to be approved is not."""

    def __init__(self, error: BackstayError) -> None:
        super().__init__(str(error))
        self.error = error


Answer = Callable[[Asked], Awaitable[BaseModel]]

OPERATIONS: tuple[tuple[Operation, Answer], ...] = (
    (Operation(path="/status", answer=models.StatusAnswer), status),
    (
        Operation(
            path="/standings", query=models.StandingsQuestion, answer=models.StandingsAnswer
        ),
        standings,
    ),
    (
        Operation(
            path="/incidents", query=models.IncidentsQuestion, answer=models.IncidentsAnswer,
            reads=True,
        ),
        incidents,
    ),
    (
        Operation(
            path="/incidents/{id}", inside=models.IncidentPath, answer=models.OneIncidentAnswer,
            reads=True,
        ),
        incident,
    ),
    (
        Operation(path="/runs", query=models.RunsQuestion, answer=models.RunsAnswer, reads=True),
        runs,
    ),
    (
        Operation(
            path="/runs/{id}", inside=models.RunPath, answer=models.OneRunAnswer, reads=True
        ),
        run,
    ),
    (Operation(path="/backups", answer=models.BackupsAnswer), backups),
    (Operation(path="/windows", answer=models.WindowsAnswer), windows),
    (
        Operation(
            path="/history", query=models.HistoryQuestion, answer=models.HistoryAnswer, reads=True
        ),
        history,
    ),
    (
        Operation(
            path="/approvals", method="POST", body=models.Approval, answer=models.ApprovedAnswer,
            right=Right.ACT,
        ),
        approve,
    ),
)  # fmt: skip


def routes(desk: Desk) -> list[BaseRoute]:
    """Return the API's routes, its description and the metrics."""
    operations = [operation for operation, _ in OPERATIONS]
    told = description(
        PREFIX,
        operations,
        [answer.__doc__ or "" for _, answer in OPERATIONS],
        on_loopback=desk.cloud.watch.page.on_loopback,
    )

    async def describe(request: Request) -> Response:
        _visitor(desk, request, Right.READ)
        return JSONResponse(told)

    async def measure(request: Request) -> Response:
        _visitor(desk, request, Right.READ)
        text = metrics.exposition(desk.board.bulletin, desk.reading.records, time.time())
        return Response(text, media_type=metrics.MEDIA_TYPE)

    return [
        Route("/metrics", measure, methods=["GET"]),
        Route(f"{PREFIX}/openapi.json", describe, methods=["GET"]),
        *(
            Route(PREFIX + operation.path, _handler(desk, operation, answer),
                  methods=[operation.method])
            for operation, answer in OPERATIONS
        ),
    ]  # fmt: skip


def _handler(
    desk: Desk, operation: Operation, answer: Answer
) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        visitor = _visitor(desk, request, operation.right)
        body: BaseModel = models.Nothing()
        try:
            path = operation.inside.model_validate(request.path_params)
        except ValidationError:
            raise not_there(f"{request.url.path}", f"GET {PREFIX}/openapi.json") from None
        query = operation.query.model_validate(_once(request))
        if operation.body is not None:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != _JSON:
                raise HTTPException(415, f"the body has to be {_JSON}")
            body = operation.body.model_validate_json(await request.body(), strict=True)
        asked = Asked(desk=desk, visitor=visitor, query=query, path=path, body=body)
        told = await answer(asked)
        return Response(told.model_dump_json(), media_type=_JSON)

    async def handled(request: Request) -> Response:
        try:
            return await handle(request)
        except (ValidationError, Refused) as error:
            return failed(error)

    return handled


def _once(request: Request) -> dict[str, str]:
    """Return the query's parameters. Raises HTTPException where one is there twice."""
    pairs = request.query_params.multi_items()
    if len(dict(pairs)) != len(pairs):
        raise HTTPException(422, "a parameter is there twice")
    return dict(pairs)


def _visitor(desk: Desk, request: Request, right: Right) -> Visitor:
    """Return who asks, where that is allowed: to act only by a token. Raises HTTPException."""
    challenge = {"WWW-Authenticate": "Bearer"}
    try:
        if right is Right.ACT:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            visitor = desk.access.bearer(request, token) if scheme.lower() == "bearer" else None
        else:
            visitor = desk.access.visitor(request)
    except WrongToken:
        raise HTTPException(401, "nobody has this token", headers=challenge) from None
    except Limited as limited:
        wait = {"Retry-After": f"{limited.seconds:.0f}"}
        raise HTTPException(429, str(limited), headers=wait) from None
    if visitor is None:
        raise HTTPException(401, "a token is needed", headers=challenge)
    if right is Right.ACT and not visitor.may_act:
        raise HTTPException(403, f"{visitor.name} may read, not act")
    return visitor


def failed(error: Exception) -> Response:
    """Return an error as a problem document."""
    match error:
        case ValidationError():
            told = [
                f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}"
                for one in error.errors(include_url=False, include_input=False)
            ]
            return problem(422, "Unprocessable Content", "see `errors`", errors=told[:20])
        case Refused(error=refused):
            return problem(409, "Conflict", str(refused), remedy=refused.remedy)
        case HTTPException():
            title = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}.get(
                error.status_code, "Error"
            )
            return problem(error.status_code, title, error.detail, headers=error.headers)
        case NotThere():
            return problem(404, "Not Found", str(error), remedy=error.remedy)
        case BackstayError():
            return problem(503, "Service Unavailable", str(error), remedy=error.remedy)
        case _:
            _log.error("answering failed", exc_info=error)
            return problem(500, "Internal Server Error", remedy="see the watch's log")
