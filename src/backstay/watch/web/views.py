"""The pages: each returns its parts, which the live stream sends again when they change."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request

from backstay.errors import BackstayError
from backstay.finding import Severity, rank
from backstay.journal.records import NoSuchRun, RunRecord, StepState
from backstay.reports.svg import timeline_svg
from backstay.reports.timeline import Phase
from backstay.watch.incidents.incident import Incident
from backstay.watch.web import charts, summary
from backstay.watch.web.access import Visitor
from backstay.watch.web.context import PageContext, not_there
from backstay.watch.web.records import Records
from backstay.watch.web.rendering import RenderedPage, render
from backstay.watch.web.summary import Level

SPANS = {"hour": 3600.0, "day": 86400.0, "week": 7 * 86400.0}
_LONGEST_STEPS = 30
_TITLES = {Level.OK: "ok", Level.WARNING: "warning", Level.CRITICAL: "incident"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """A request for a page: who it is from, and what their forms carry.

    ``message`` is the result of what the visitor did last.
    """

    http: Request
    visitor: Visitor
    form_token: str
    message: str = ""


View = Callable[[PageContext, PageRequest], Awaitable[RenderedPage]]


async def home(context: PageContext, request: PageRequest) -> RenderedPage:
    """Show the cloud at a glance."""
    snapshot, records, now = context.feed.snapshot, context.reader.wanted(), time.time()
    headline = summary.headline(snapshot, records.open, now=now, resolved_at=records.resolved_at)
    findings = sorted(
        (finding for finding in snapshot.findings if finding.severity is not Severity.OK),
        key=lambda finding: rank(finding.severity),
    )
    return RenderedPage(
        title=f"{_TITLES[headline.level]} - {context.cloud.name}",
        parts={
            "headline": render("headline", headline=headline, snapshot=snapshot, now=now),
            "problems": render("problems", snapshot=snapshot, records=records),
            "incidents-open": render("incidents_open", records=records, now=now, alone=False),
            "runs": render("runs", runs=[_progress(run, records, now) for run in records.runs]),
            "hosts": render(
                "hosts",
                hosts=summary.hosts(snapshot, context.cloud),
                sparkline=charts.sparkline,
                many=len(context.cloud.hosts) > 12,
                alone=False,
            ),
            "findings": render("findings", findings=findings, snapshot=snapshot),
            "recovery-status": render("recovery_status", recovery=records.recovery, now=now),
            "windows": render("windows", openings=records.recovery.openings, now=now),
        },
    )


async def host(context: PageContext, request: PageRequest) -> RenderedPage:
    """Show one host with all its targets."""
    name = request.http.path_params["name"]
    wanted = "" if name == "cloud" else name
    views = [v for v in summary.hosts(context.feed.snapshot, context.cloud) if v.name == wanted]
    if not views:
        raise not_there(f"the host {name}", "choose a host from the overview")
    hosts = render("hosts", hosts=views, sparkline=charts.sparkline, many=False, alone=True)
    return RenderedPage(title=f"{name} - {context.cloud.name}", parts={"hosts": hosts})


async def incidents(context: PageContext, request: PageRequest) -> RenderedPage:
    """Show the open incidents, and the resolved ones page by page."""
    records, now = context.reader.wanted(), time.time()
    before = _number(request.http.query_params.get("before"))
    resolved = list(records.resolved)
    if before is not None:
        found = await context.reader.ask(
            lambda: context.reader.store.incidents(limit=30, before=before)
        )
        resolved = [incident for incident in found if incident.closed is not None]
    return RenderedPage(
        title=f"incidents - {context.cloud.name}",
        parts={
            "problems": render("problems", snapshot=context.feed.snapshot, records=records),
            "incidents-open": render("incidents_open", records=records, now=now, alone=True),
            "incidents-resolved": render("incidents_resolved", incidents=resolved, before=before),
        },
    )


async def incident(context: PageContext, request: PageRequest) -> RenderedPage:
    """Show one incident: cause, impact, remedy, timeline, notifications."""
    number = _number(request.http.path_params["number"])
    found = await context.incident(number) if number is not None else None
    if found is None:
        raise not_there(f"incident {request.http.path_params['number']}")
    return await incident_page(context, request, found)


async def incident_page(
    context: PageContext, request: PageRequest, found: Incident, *, error: str = ""
) -> RenderedPage:
    """Show an incident; ``error`` is why an approval was refused just now."""
    now, records = time.time(), context.reader.records
    unreadable = ""
    try:
        notifications = await context.notifications(found.id)
    except BackstayError as failure:
        notifications, unreadable = [], f"{failure}; {failure.remedy}"
    return RenderedPage(
        title=f"{found.name} - {context.cloud.name}",
        parts={
            "incident": render("incident", incident=found, now=now),
            "message": render("message", error=error, message=request.message),
            "approval": render(
                "approval",
                incident=found,
                waiting=records.waiting.get(found.id) if context.approve is not None else None,
                visitor=request.visitor,
                form_token=request.form_token,
            ),
            "timeline": render("timeline", incident=found, chart=charts.timeline(found, now)),
            "notifications": render(
                "notifications", notifications=notifications, unreadable=unreadable
            ),
        },
        fixed=frozenset({"message"}),
    )


async def run(context: PageContext, request: PageRequest) -> RenderedPage:
    """Show a run: its steps on a time line, and their messages."""
    name = request.http.path_params["name"]
    reader = context.reader
    reader.wanted()
    try:
        found = await reader.ask(lambda: reader.journal.run(name))
    except NoSuchRun:
        raise not_there(f"run {name}", "backstay runs list") from None
    if found.plan.cloud != context.cloud.name:
        raise not_there(f"run {name}", "backstay runs list")
    events = await reader.ask(lambda: reader.journal.events(found.id))
    now = time.time()
    return RenderedPage(
        title=f"{found.id} - {context.cloud.name}",
        parts={
            "run": render("run", run=found, progress=_progress(found, None, now), now=now),
            "run-chart": f'<div class="scroll">{_run_chart(found, now)}</div>',
            "run-steps": render(
                "run_steps",
                messages={
                    step.id: [e for e in events if e.step == step.id and e.text]
                    for step in found.steps
                },
                now=now,
                steps=list(zip(found.plan.steps, found.steps, strict=True)),
            ),
        },
    )


async def target(context: PageContext, request: PageRequest) -> RenderedPage:
    """Show one target: its state, and its probes of an hour, a day or a week."""
    key = request.http.path_params["key"]
    span = request.http.query_params.get("span", "hour")
    seconds = SPANS.get(span, SPANS["hour"])
    status = context.feed.snapshot.targets.get(key)
    chart, unreadable, minutes = "", "", []
    try:
        minutes = await context.history(key, seconds)
        now = time.time()
        chart = charts.history(minutes, since=now - seconds, until=now)
    except BackstayError as failure:
        unreadable = f"{failure}; {failure.remedy}"
    if status is None and not minutes and not unreadable:
        raise not_there(f"the target {key}", "choose a target from the overview")
    return RenderedPage(
        title=f"{key} - {context.cloud.name}",
        parts={
            "target": render("target", key=key, status=status, sparkline=charts.sparkline),
            "history": render(
                "history", key=key, chart=chart, unreadable=unreadable, spans=list(SPANS), span=span
            ),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """Progress of a run: ``done`` of ``total`` steps.

    ``step`` describes the one that is running, for ``seconds`` of at most ``bound``; ``message`` is
    the newest of the run.
    """

    run: RunRecord
    done: int
    total: int
    step: str
    seconds: float | None
    bound: float | None
    message: str


def _progress(run: RunRecord, records: Records | None, now: float) -> RunProgress:
    done = sum(step.state is StepState.DONE for step in run.steps)
    running = next((i for i, step in enumerate(run.steps) if step.state is StepState.RUNNING), None)
    began = run.steps[running].began if running is not None else None
    return RunProgress(
        run=run,
        done=done,
        total=len(run.steps),
        step=run.plan.steps[running].does if running is not None else "",
        seconds=now - began if began is not None else None,
        bound=run.plan.steps[running].bound if running is not None else None,
        message=records.messages.get(run.id, "") if records is not None else "",
    )


def _run_chart(run: RunRecord, now: float) -> str:
    started = [step for step in run.steps if step.began is not None]
    return timeline_svg(
        [
            Phase(
                name=step.id.rpartition(".")[2],
                begins=step.began or 0.0,
                ends=step.ended or (now if step.state is StepState.RUNNING else step.began or 0.0),
                state=step.state,
            )
            for step in started[-_LONGEST_STEPS:]
        ],
        (),
    )


def _number(given: str | None) -> int | None:
    """Return a number that the journal can have assigned, else None."""
    return int(given) if given and given.isascii() and given.isdigit() and len(given) < 10 else None


def _shared(view: View) -> View:
    """Return a view that is made once for all who ask for the same at the same moment.

    Only for those that are the same for everybody.
    """

    async def shared(context: PageContext, request: PageRequest) -> RenderedPage:
        context.reader.wanted()
        query = [request.http.query_params.get(name, "") for name in ("before", "span")]
        key = (view, *request.http.path_params.values(), *query)
        return await context.shared.get(key, context.state, lambda: view(context, request))

    return shared


PAGES: dict[str, View] = {
    "/": _shared(home),
    "/hosts/{name}": _shared(host),
    "/incidents": _shared(incidents),
    "/incidents/{number}": incident,
    "/runs/{name}": _shared(run),
    "/targets/{key:path}": _shared(target),
}
