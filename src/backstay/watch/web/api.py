"""The JSON API under /api/v1, and /metrics: the same as the pages show, for programs."""

import time
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backstay.errors import BackstayError
from backstay.inventory.watch import Right
from backstay.journal.records import NoSuchRun
from backstay.transports.threads import on_thread
from backstay.watch.web import api_models as models
from backstay.watch.web import metrics, summary
from backstay.watch.web.access import TooManyAttempts, Visitor, WrongToken
from backstay.watch.web.context import PageContext, approval_unknown, not_there
from backstay.watch.web.problem import ApprovalRefused, Problem, documented

PREFIX = "/api/v1"
_THREAD_SECONDS = 20.0

_token = HTTPBearer(scheme_name="token", auto_error=False)


async def _context(request: Request) -> PageContext:
    context: PageContext = request.app.state.context
    return context


Context = Annotated[PageContext, Depends(_context)]


async def _single_parameters(request: Request) -> None:
    """Raise HTTPException if a query parameter is given twice."""
    pairs = request.query_params.multi_items()
    if len(dict(pairs)) != len(pairs):
        raise HTTPException(422, "a parameter is given twice")


def _json_body(request: Request) -> None:
    """Raise HTTPException if the body is not declared as JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "the body has to be application/json")


async def _reader(request: Request, context: Context) -> Visitor:
    """Return who reads. Raises HTTPException."""
    try:
        return _known(context.access.visitor(request))
    except (WrongToken, TooManyAttempts) as error:
        raise _unauthorized(error) from None


def _authenticated_actor(request: Request) -> Visitor:
    """Return who acts: by a token, never by a login. Raises HTTPException."""
    context: PageContext = request.app.state.context
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        visitor = context.access.bearer(request, token) if scheme.lower() == "bearer" else None
    except (WrongToken, TooManyAttempts) as error:
        raise _unauthorized(error) from None
    if _known(visitor).may is not Right.ACT:
        raise HTTPException(403, f"{_known(visitor).name} may read, not act")
    return _known(visitor)


class _ActionRoute(APIRoute):
    """A route that reads the body of a request only when a person who may act has sent it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler: FastAPI's own parses the body before it asks any dependency."""
        handle = super().get_route_handler()

        async def authenticated(request: Request) -> Response:
            request.state.visitor = _authenticated_actor(request)
            _json_body(request)
            return await handle(request)

        return authenticated


async def _actor(request: Request) -> Visitor:
    """Return who acts, as the route has authenticated them."""
    visitor: Visitor = request.state.visitor
    return visitor


_CHALLENGE = {"WWW-Authenticate": "Bearer"}


def _known(visitor: Visitor | None) -> Visitor:
    if visitor is None:
        raise HTTPException(401, "a token is required", headers=_CHALLENGE)
    return visitor


def _unauthorized(error: WrongToken | TooManyAttempts) -> HTTPException:
    if isinstance(error, WrongToken):
        return HTTPException(401, "unknown token", headers=_CHALLENGE)
    return HTTPException(429, str(error), headers={"Retry-After": f"{error.seconds:.0f}"})


router = APIRouter(
    prefix=PREFIX,
    # In this order: a request without a token learns nothing else.
    dependencies=[Security(_token), Security(_reader), Depends(_single_parameters)],
    responses=documented(401, 422, 429),
)
actions = APIRouter(
    prefix=PREFIX,
    route_class=_ActionRoute,
    dependencies=[Security(_token)],
    responses=documented(400, 401, 403, 404, 409, 415, 422, 429),
)
unlisted = APIRouter(include_in_schema=False, dependencies=[Security(_reader)])

NoQuery = Annotated[models.NoQuery, Query()]


class HeadRequests:
    """Answers HEAD like GET, without the body: FastAPI's routes know GET alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; those for pages are left to Starlette's routes."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or not is_api(scope["path"]):
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, without_body)


def is_api(path: str) -> bool:
    """Return whether a path is one for programs."""
    return path.startswith("/api/") or path == "/metrics"


@router.get("/status")
async def status(context: Context, _query: NoQuery) -> models.CloudStatus:
    """Return the status of the cloud at a glance."""
    snapshot, records = context.feed.snapshot, context.reader.wanted()
    headline = summary.headline(
        snapshot, records.open, now=time.time(), resolved_at=records.resolved_at
    )
    return models.CloudStatus(
        cloud=snapshot.cloud,
        at=snapshot.at,
        state=snapshot.worst,
        level=headline.level,
        summary=headline.text,
        since=headline.since,
        leading=snapshot.leading,
        leader=snapshot.leader,
        incidents=len(records.open),
        silences=list(snapshot.silences),
        checked_at=snapshot.checked_at,
        problems=list(snapshot.problems),
        journal_error=records.error,
    )


@router.get("/targets")
async def targets(
    context: Context, query: Annotated[models.TargetsQuery, Query()]
) -> models.Targets:
    """List the status of targets, in the order of their keys."""
    found = [
        status
        for _, status in sorted(context.feed.snapshot.targets.items())
        if query.host in {None, status.subject.host or "cloud"}
        and query.service in {None, status.subject.service}
        and query.state in {None, status.state}
    ]
    page = found[query.offset : query.offset + query.limit]
    return models.Targets(total=len(found), targets=[models.Target.of(status) for status in page])


@router.get("/incidents", responses=documented(503))
async def incidents(
    context: Context, query: Annotated[models.IncidentsQuery, Query()]
) -> models.Incidents:
    """List incidents, newest first."""
    found = await context.reader.ask(
        lambda: context.reader.store.incidents(
            only_open=query.open, limit=query.limit, before=query.before
        )
    )
    return models.Incidents(
        incidents=[models.incident_summary(incident) for incident in found],
        before=found[-1].id if len(found) == query.limit else None,
    )


@router.get("/incidents/{id}", responses=documented(404, 503))
async def incident(
    context: Context, number: Annotated[models.Number, Path(alias="id")], _query: NoQuery
) -> models.IncidentDetail:
    """Return an incident with its notifications."""
    reader = context.reader
    found = await reader.ask(lambda: reader.store.incident(number))
    if found is None:
        raise not_there(f"incident {number}", f"GET {PREFIX}/incidents")
    notifications = await context.notifications(number)
    waiting = await reader.ask(lambda: reader.store.waiting(now=time.time()))
    return models.incident_detail(found, notifications, waiting.get(number))


@router.get("/runs", responses=documented(503))
async def runs(context: Context, query: Annotated[models.RunsQuery, Query()]) -> models.Runs:
    """List runs of runbooks, newest first."""
    reader, cloud = context.reader, context.cloud.name
    found, damaged = await reader.ask(
        lambda: reader.journal.readable_runs(cloud=cloud, limit=query.limit, before=query.before)
    )
    read = len(found) + len(damaged)
    last = found[-1].id.rpartition("-")[2] if found and read == query.limit else None
    return models.Runs(
        runs=[models.RunSummary.of(run) for run in found], before=int(last) if last else None
    )


@router.get("/runs/{id}", responses=documented(404, 503))
async def run(
    context: Context, name: Annotated[models.Name, Path(alias="id")], _query: NoQuery
) -> models.RunDetail:
    """Return a run with its events."""
    reader = context.reader
    try:
        found = await reader.ask(lambda: reader.journal.run(name))
    except NoSuchRun:
        raise not_there(f"run {name}", f"GET {PREFIX}/runs") from None
    if found.plan.cloud != context.cloud.name:
        raise not_there(f"run {name}", f"GET {PREFIX}/runs")
    events = await reader.ask(lambda: reader.journal.events(found.id))
    return models.RunDetail(**models.RunSummary.of(found).model_dump(), events=events)


@router.get("/backups")
async def backups(context: Context, _query: NoQuery) -> models.Backups:
    """Return the age of backups, RPO and RTO as measured."""
    return models.Backups.at(context.reader.wanted().recovery, time.time())


@router.get("/windows")
async def windows(context: Context, _query: NoQuery) -> models.Windows:
    """List the next openings of maintenance windows."""
    openings, now = context.reader.wanted().recovery.openings, time.time()
    return models.Windows(openings=[models.WindowOpening.at(opening, now) for opening in openings])


@router.get("/history", responses=documented(503))
async def history(
    context: Context, query: Annotated[models.HistoryQuery, Query()]
) -> models.History:
    """Return the probes of a target, by minute."""
    found = await context.history(query.target, query.hours * 3600)
    return models.History(
        target=query.target, minutes=[models.HistoryMinute.of(minute) for minute in found]
    )


@actions.post("/approvals", responses=documented(503))
async def approve(
    context: Context,
    visitor: Annotated[Visitor, Security(_actor)],
    approval: models.ApprovalRequest,
) -> models.ApprovalResult:
    """Approve the run that waits for an incident, by the code that was sent. A code works once."""
    if context.approve is None:
        raise not_there("something to approve", "see `policy` under `watch` in cloud.yaml")
    try:
        message = await context.approve(approval.incident, approval.code, visitor.name)
    except BackstayError as error:
        raise ApprovalRefused(error) from error
    except TimeoutError:
        raise approval_unknown(approval.incident) from None
    return models.ApprovalResult(message=message)


@unlisted.get("/metrics")
async def exposition(context: Context) -> Response:
    """Return the metrics in Prometheus' text format."""
    snapshot, records, now = context.feed.snapshot, context.reader.records, time.time()
    # Takes a while for a thousand hosts: on a thread, so that probes are not delayed.
    text = await context.shared.get(
        "metrics",
        context.state,
        lambda: on_thread(lambda: metrics.exposition(snapshot, records, now), _THREAD_SECONDS),
    )
    return Response(text, media_type=metrics.MEDIA_TYPE)


@unlisted.get(f"{PREFIX}/openapi.json")
async def openapi(request: Request, context: Context) -> dict[str, Any]:
    """Return the description of the API: what FastAPI derives, and what it cannot know."""
    # Takes 100 ms the first time: on a thread, so that probes are not delayed.
    description: dict[str, Any] = await on_thread(request.app.openapi, _THREAD_SECONDS)
    schemas = description["components"]["schemas"]
    schemas[Problem.__name__] = Problem.model_json_schema(mode="serialization")
    if context.cloud.watch.page.on_loopback:
        for path in description["paths"].values():
            if "get" in path:
                path["get"]["security"] = [{}, {_token.scheme_name: []}]
    return description
