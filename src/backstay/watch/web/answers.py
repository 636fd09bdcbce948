"""What the API answers: its OpenAPI description is made from these.

Times are Unix seconds, latencies and durations seconds.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from backstay.finding import Severity
from backstay.journal.records import Event, RunRecord, RunState, StepState
from backstay.watch.detect.status import State, TargetStatus
from backstay.watch.incidents.incident import Incident, Kind, Urgency
from backstay.watch.incidents.notification import Delivery, Notification, NotificationEvent
from backstay.watch.web.summary import Level


class _Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class SilenceAnswer(_Answer):
    """A host about which nobody is told: why, and since when."""

    host: str
    why: str
    since: float


class StatusAnswer(_Answer):
    """The cloud in one look."""

    cloud: str
    at: float = Field(description="when the watch looked last")
    state: State
    mood: Level
    sentence: str
    since: float | None = Field(description="what the sentence ends with")
    leading: bool
    leader: str
    incidents: int
    silences: list[SilenceAnswer]
    checked_at: float | None
    troubles: list[str] = Field(description="the watch's own")
    journal: str = Field(description="why the journal cannot be read, empty where it can")


class StandingAnswer(_Answer):
    """How one subject stands."""

    key: str
    host: str
    service: str
    name: str
    state: State
    since: float
    evidence: str
    seconds: float | None

    @classmethod
    def of(cls, one: TargetStatus) -> "StandingAnswer":
        """Return it of the board's."""
        return cls(
            key=one.subject.key,
            host=one.subject.host,
            service=one.subject.service,
            name=one.subject.name,
            state=one.state,
            since=one.since,
            evidence=one.evidence,
            seconds=one.seconds,
        )


class StandingsAnswer(_Answer):
    """Subjects, in order of their keys; ``total`` counts all that were asked for."""

    total: int
    standings: list[StandingAnswer]


class HappenedAnswer(_Answer):
    """One line of an incident's timeline."""

    at: float
    kind: str
    text: str


class IncidentAnswer(_Answer):
    """An incident."""

    id: int
    key: str
    kind: Kind
    urgency: Urgency
    host: str
    service: str
    title: str
    evidence: list[str]
    impact: str
    remedy: str
    symptoms: list[str]
    began: float
    opened: float
    closed: float | None
    run: str
    timeline: list[HappenedAnswer]

    @classmethod
    def of(cls, one: Incident) -> "IncidentAnswer":
        """Return it of the journal's."""
        cause = one.cause
        return cls(
            id=one.id,
            key=cause.key,
            kind=cause.kind,
            urgency=cause.urgency,
            host=cause.host,
            service=cause.service,
            title=cause.title,
            evidence=list(cause.evidence),
            impact=cause.impact,
            remedy=cause.remedy,
            symptoms=list(cause.symptoms),
            began=one.began,
            opened=one.opened,
            closed=one.closed,
            run=one.run,
            timeline=[HappenedAnswer.model_validate(line) for line in one.timeline],
        )


class IncidentsAnswer(_Answer):
    """Incidents; ``before`` asks for those that follow, None where these are the last."""

    incidents: list[IncidentAnswer]
    before: int | None


class TellingAnswer(_Answer):
    """A message to a channel, and how far it is."""

    id: str
    channel: str
    event: NotificationEvent
    state: Delivery
    attempts: int
    made: float
    next: float
    sent: float | None
    error: str

    @classmethod
    def of(cls, one: Notification) -> "TellingAnswer":
        """Return it of the journal's."""
        return cls.model_validate(one)


class WaitingAnswer(_Answer):
    """A run that waits for an approval, until when."""

    run: str
    until: float


class OneIncidentAnswer(IncidentAnswer):
    """An incident with what was told of it, and what waits to be approved."""

    notifications: list[TellingAnswer] = []
    waiting: WaitingAnswer | None = None


class StepAnswer(_Answer):
    """A step of a run."""

    id: str
    does: str
    target: str
    bound: float
    state: StepState
    began: float | None
    ended: float | None
    attempts: int
    error: dict[str, str]


class RunAnswer(_Answer):
    """A run of a runbook."""

    id: str
    runbook: str
    targets: list[str]
    state: RunState
    who: str
    holder: str
    reason: str
    ticket: str
    made: float
    began: float | None
    ended: float | None
    steps: list[StepAnswer]

    @classmethod
    def of(cls, run: RunRecord) -> "RunAnswer":
        """Return it of the journal's."""
        return cls(**_run(run))


class EventAnswer(_Answer):
    """Something that happened in a run."""

    at: float
    step: str
    kind: str
    text: str


class OneRunAnswer(RunAnswer):
    """A run with everything that was said."""

    events: list[EventAnswer] = []

    @classmethod
    def told(cls, run: RunRecord, events: list[Event]) -> "OneRunAnswer":
        """Return it of the journal's."""
        return cls(**_run(run), events=[EventAnswer.model_validate(one) for one in events])


def _run(run: RunRecord) -> dict[str, Any]:
    steps = [
        StepAnswer(
            id=record.id,
            does=step.does,
            target=step.target,
            bound=step.bound,
            state=record.state,
            began=record.began,
            ended=record.ended,
            attempts=record.attempts,
            error=dict(record.error),
        )
        for step, record in zip(run.plan.steps, run.steps, strict=True)
    ]
    return {
        "id": run.id,
        "runbook": run.plan.runbook,
        "targets": list(run.plan.targets),
        "state": run.state,
        "who": run.who,
        "holder": run.holder,
        "reason": run.reason,
        "ticket": run.ticket,
        "made": run.made,
        "began": run.began,
        "ended": run.ended,
        "steps": steps,
    }


class RunsAnswer(_Answer):
    """Runs; ``before`` asks for those that follow, None where these are the last."""

    runs: list[RunAnswer]
    before: int | None


class HostKeptAnswer(_Answer):
    """What is kept of a host; ``rpo`` is what would be lost with it now."""

    host: str
    backup: str
    backups: int
    verified_at: float | None
    age: float | None
    stream_lag: float | None
    rpo: float | None
    restored_in: float | None = Field(description="for its proof")


class FindingAnswer(_Answer):
    """A judgement, as ``backstay check`` has it."""

    host: str | None
    service: str
    subject: str
    severity: Severity
    evidence: str
    remedy: str


class MeasuredAnswer(_Answer):
    """How long something took, the last time."""

    what: str
    seconds: float
    run: str
    at: float


class BackupsAnswer(_Answer):
    """Backups, RPO and RTO as measured."""

    hosts: list[HostKeptAnswer]
    findings: list[FindingAnswer]
    measured: list[MeasuredAnswer]
    trouble: str


class OpeningAnswer(_Answer):
    """A time that a maintenance window is open."""

    window: str
    opens: float
    closes: float
    open: bool


class WindowsAnswer(_Answer):
    """The next openings of all windows."""

    openings: list[OpeningAnswer]


class MinuteAnswer(_Answer):
    """How a subject answered in one minute, which began ``at``."""

    at: float
    asked: int
    answered: int
    median: float | None
    longest: float | None


class HistoryAnswer(_Answer):
    """How a subject answered, by minute, the oldest first."""

    subject: str
    minutes: list[MinuteAnswer]


class ApprovedAnswer(_Answer):
    """What is done now."""

    told: str
