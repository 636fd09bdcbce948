"""The pages: each gives its parts, which the live stream sends again when they change."""

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
from backstay.watch.web.context import PageContext, Shown, draw, not_there
from backstay.watch.web.people import Visitor
from backstay.watch.web.reading import Records

SPANS = {"hour": 3600.0, "day": 86400.0, "week": 7 * 86400.0}
_LONGEST_STEPS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request for a page: who asks, and what a form of theirs carries.

    ``told`` is what came of the last thing that they did.
    """

    request: Request
    visitor: Visitor
    form_token: str
    told: str = ""


View = Callable[[PageContext, Asked], Awaitable[Shown]]


async def home(desk: PageContext, asked: Asked) -> Shown:
    """Show the cloud at a glance."""
    snapshot, records, now = desk.board.snapshot, desk.reading.wanted(), time.time()
    over_at = max((one.closed for one in records.over if one.closed), default=None)
    headline = summary.headline(snapshot, records.open, now=now, over_at=over_at)
    findings = sorted(
        (one for one in snapshot.findings if one.severity is not Severity.OK),
        key=lambda one: rank(one.severity),
    )
    title = {"well": "well", "doubt": "in doubt", "bad": "incident"}[headline.mood]
    return Shown(
        title=f"{title} - {desk.cloud.name}",
        parts={
            "headline": draw("headline", headline=headline, snapshot=snapshot, now=now),
            "troubles": draw("troubles", snapshot=snapshot, records=records),
            "incidents-open": draw("incidents_open", records=records, now=now, link=True),
            "runs": draw("runs", runs=[_progress(run, records, now) for run in records.runs]),
            "hosts": draw(
                "hosts",
                hosts=summary.hosts(snapshot, desk.cloud),
                sparkline=charts.sparkline,
                many=len(desk.cloud.hosts) > 12,
                alone=False,
            ),
            "findings": draw("findings", findings=findings, snapshot=snapshot),
            "kept": draw("kept", kept=records.kept, now=now),
            "windows": draw("windows", openings=records.kept.openings, now=now),
        },
    )


async def host(desk: PageContext, asked: Asked) -> Shown:
    """Show one host with all that is watched of it."""
    name = asked.request.path_params["name"]
    wanted = "" if name == "cloud" else name
    views = [v for v in summary.hosts(desk.board.snapshot, desk.cloud) if v.name == wanted]
    if not views:
        raise not_there(f"the host {name}", "see the hosts on the first page")
    return Shown(
        title=f"{name} - {desk.cloud.name}",
        parts={
            "hosts": draw("hosts", hosts=views, sparkline=charts.sparkline, many=False, alone=True),
        },
    )


async def incidents(desk: PageContext, asked: Asked) -> Shown:
    """Show the open incidents, and those that are over, page by page."""
    records, now = desk.reading.wanted(), time.time()
    before = _number(asked.request.query_params.get("before"))
    over = list(records.over)
    if before is not None:
        found = await desk.reading.ask(
            lambda: desk.reading.store.incidents(limit=30, before=before)
        )
        over = [one for one in found if one.closed is not None]
    return Shown(
        title=f"incidents - {desk.cloud.name}",
        parts={
            "troubles": draw("troubles", snapshot=desk.board.snapshot, records=records),
            "incidents-open": draw("incidents_open", records=records, now=now, link=False),
            "incidents-over": draw("incidents_over", incidents=over, before=before),
        },
    )


async def incident(desk: PageContext, asked: Asked) -> Shown:
    """Show one incident: what it is, what to do, what happened, who was told."""
    number = _number(asked.request.path_params["number"])
    found = await desk.incident(number) if number is not None else None
    if found is None:
        raise not_there(f"incident {asked.request.path_params['number']}")
    return await incident_shown(desk, asked, found)


async def incident_shown(
    desk: PageContext, asked: Asked, found: Incident, *, error: str = ""
) -> Shown:
    """Show an incident; ``error`` is why what was just approved is not."""
    now, records = time.time(), desk.reading.records
    until = found.closed or now
    notifications, unread = [], ""
    try:
        notifications = await desk.reading.ask(
            lambda: desk.reading.store.notifications(incident=found.id)
        )
    except BackstayError as failed:
        unread = f"{failed}; {failed.remedy}"
    course = charts.course(
        found.timeline, began=found.began, until=until, closed=found.closed is not None
    )
    return Shown(
        title=f"{found.name} - {desk.cloud.name}",
        parts={
            "incident": draw("incident", incident=found, now=now),
            "answer": draw("answer", error=error, told=asked.told),
            "approve": draw(
                "approve",
                incident=found,
                waiting=records.waiting.get(found.id),
                visitor=asked.visitor,
                form_token=asked.form_token,
                possible=desk.approve is not None,
                now=now,
            ),
            "course": draw("course", incident=found, course=course),
            "notifications": draw("notifications", notifications=notifications, unread=unread),
        },
        still=frozenset({"answer"}),
    )


async def run(desk: PageContext, asked: Asked) -> Shown:
    """Show a run: its steps on a line of time, and what each said."""
    name = asked.request.path_params["name"]
    journal = desk.reading.journal
    desk.reading.wanted()
    try:
        found = await desk.reading.ask(lambda: journal.run(name))
    except NoSuchRun:
        raise not_there(f"the run {name}", "backstay runs list") from None
    if found.plan.cloud != desk.cloud.name:
        raise not_there(f"the run {name}", "backstay runs list")
    events = await desk.reading.ask(lambda: journal.events(found.id))
    now = time.time()
    said = {step.id: [e for e in events if e.step == step.id and e.text] for step in found.steps}
    return Shown(
        title=f"{found.id} - {desk.cloud.name}",
        parts={
            "run": draw("run", run=found, progress=_progress(found, None, now), now=now),
            "run-drawing": f'<div class="scroll">{_run_drawing(found, now)}</div>',
            "run-steps": draw(
                "run_steps",
                said=said,
                now=now,
                steps=list(zip(found.plan.steps, found.steps, strict=True)),
            ),
        },
    )


async def subject(desk: PageContext, asked: Asked) -> Shown:
    """Show one subject: how it stands, and how it answered in an hour, a day, a week."""
    key = asked.request.path_params["key"]
    span = asked.request.query_params.get("span", "hour")
    seconds = SPANS.get(span, SPANS["hour"])
    standing = desk.board.snapshot.standings.get(key)
    chart, unread, minutes = "", "", []
    try:
        minutes = await desk.history(key, seconds)
        now = time.time()
        chart = charts.history(minutes, since=now - seconds, until=now)
    except BackstayError as failed:
        unread = f"{failed}; {failed.remedy}"
    if standing is None and not minutes and not unread:
        raise not_there(f"{key}", "see what is watched on the first page")
    return Shown(
        title=f"{key} - {desk.cloud.name}",
        parts={
            "subject": draw("subject", key=key, standing=standing, sparkline=charts.sparkline),
            "history": draw(
                "history", key=key, chart=chart, unread=unread, spans=list(SPANS), span=span
            ),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is: ``done`` of ``all`` steps; ``does`` is under way for ``seconds``."""

    run: RunRecord
    done: int
    all: int
    does: str
    seconds: float | None
    bound: float | None
    says: str


def _progress(run: RunRecord, records: Records | None, now: float) -> Progress:
    done = sum(one.state is StepState.DONE for one in run.steps)
    doing = next((i for i, one in enumerate(run.steps) if one.state is StepState.RUNNING), None)
    began = run.steps[doing].began if doing is not None else None
    return Progress(
        run=run,
        done=done,
        all=len(run.steps),
        does=run.plan.steps[doing].does if doing is not None else "",
        seconds=now - began if began is not None else None,
        bound=run.plan.steps[doing].bound if doing is not None else None,
        says=records.says.get(run.id, "") if records is not None else "",
    )


def _run_drawing(run: RunRecord, now: float) -> str:
    begun = [one for one in run.steps if one.began is not None]
    return timeline_svg(
        [
            Phase(
                name=one.id.rpartition(".")[2],
                begins=one.began or 0.0,
                ends=one.ended or (now if one.state is StepState.RUNNING else one.began or 0.0),
                state=one.state,
            )
            for one in begun[-_LONGEST_STEPS:]
        ],
        (),
    )


def _number(given: str | None) -> int | None:
    """Return a number that the journal can have given to something, else None."""
    return int(given) if given and given.isascii() and given.isdigit() and len(given) < 10 else None


PAGES: dict[str, View] = {
    "/": home,
    "/hosts/{name}": host,
    "/incidents": incidents,
    "/incidents/{number}": incident,
    "/runs/{name}": run,
    "/subjects/{key:path}": subject,
}
