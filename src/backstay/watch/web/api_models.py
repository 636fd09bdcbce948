"""Public shapes of the API under /api/v1; its OpenAPI description is made from them.

Dataclasses of the watch and the journal that are public as they are stand in here as themselves.
Times are Unix seconds; latencies, ages and durations are seconds.
"""

from dataclasses import asdict, dataclass, fields
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.json_schema import SkipJsonSchema

from backstay.finding import Finding
from backstay.journal.records import Event, RunRecord, RunState, StepState
from backstay.maintenance.windows import Opening
from backstay.watch.detect.status import Silence, State, TargetStatus
from backstay.watch.incidents.incident import Cause, Incident, TimelineEntry
from backstay.watch.incidents.notification import Notification
from backstay.watch.incidents.store import Minute
from backstay.watch.web.recovery_status import HostRecoveryStatus, Recovery, RecoveryStatus
from backstay.watch.web.summary import Level

LARGEST = 2**31 - 1


def _whole(given: object) -> object:
    """Return 7 for 7.0, as JSON Schema does."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


Number = Annotated[int, Field(ge=1, le=LARGEST), BeforeValidator(_whole)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
Key = Annotated[str, StringConstraints(pattern=r"^[ -~]{1,300}$")]
Code = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,100}$")]
_Limit = Annotated[int, Field(ge=1, le=200)]
# A parameter that may be left out is not a parameter that may be null.
_OptionalName = Name | SkipJsonSchema[None]
_OptionalNumber = Number | SkipJsonSchema[None]


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class NoQuery(_Query):
    """No parameters."""


class TargetsQuery(_Query):
    """Filter and page of targets."""

    host: _OptionalName = None
    service: _OptionalName = None
    state: State | SkipJsonSchema[None] = None
    offset: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 1000


class IncidentsQuery(_Query):
    """Filter and page of incidents; ``before`` is an incident's number."""

    open: bool = False
    before: _OptionalNumber = None
    limit: _Limit = 50


class RunsQuery(_Query):
    """Page of runs; ``before`` is a run's number."""

    before: _OptionalNumber = None
    limit: _Limit = 20


class HistoryQuery(_Query):
    """A target, by its key, and the number of hours to look back."""

    target: Key
    hours: Annotated[float, Field(gt=0, le=168, allow_inf_nan=False)] = 24.0


class ApprovalRequest(BaseModel):
    """An incident and the code that was sent for it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)

    incident: Number
    code: Code


class ApprovalResult(BaseModel):
    """What happens next."""

    message: str


class CloudStatus(BaseModel):
    """The cloud at a glance."""

    cloud: str
    at: float = Field(description="time of the last round of probes")
    state: State
    level: Level
    summary: str
    since: float | None = Field(description="start of what `summary` describes")
    leading: bool
    leader: str
    incidents: int = Field(description="number of open incidents")
    silences: list[Silence]
    checked_at: float | None = Field(description="time of the last full check")
    problems: list[str] = Field(description="of the watch itself")
    journal_error: str = Field(description="why the journal cannot be read, else empty")


class Target(BaseModel):
    """The status of one target; ``seconds`` is the latency of the last successful probe."""

    key: str
    host: str
    service: str
    name: str
    state: State
    since: float
    evidence: str
    seconds: float | None

    @classmethod
    def of(cls, status: TargetStatus) -> "Target":
        """Return the public shape."""
        subject = status.subject
        return cls(
            key=subject.key,
            host=subject.host,
            service=subject.service,
            name=subject.name,
            state=status.state,
            since=status.since,
            evidence=status.evidence,
            seconds=status.seconds,
        )


class Targets(BaseModel):
    """Targets in the order of their keys; ``total`` counts all that match."""

    total: int
    targets: list[Target]


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentSummary(Cause):
    """An incident. ``began`` is its first symptom, ``opened`` when it was confirmed."""

    id: int
    began: float
    opened: float
    closed: float | None
    run: str
    timeline: tuple[TimelineEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalWaiting:
    """A run that waits for approval, and the time until which it can be approved."""

    run: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentDetail(IncidentSummary):
    """An incident with its notifications, and the run that waits for approval."""

    notifications: list[Notification]
    waiting: ApprovalWaiting | None


def incident_summary(incident: Incident) -> IncidentSummary:
    """Return the public shape of an incident."""
    return IncidentSummary(
        **{field.name: getattr(incident.cause, field.name) for field in fields(Cause)},
        id=incident.id,
        began=incident.began,
        opened=incident.opened,
        closed=incident.closed,
        run=incident.run,
        timeline=incident.timeline,
    )


def incident_detail(
    incident: Incident, notifications: list[Notification], waiting: tuple[str, float] | None
) -> IncidentDetail:
    """Return the public shape of an incident with everything that belongs to it."""
    summary = incident_summary(incident)
    return IncidentDetail(
        **{field.name: getattr(summary, field.name) for field in fields(IncidentSummary)},
        notifications=notifications,
        waiting=ApprovalWaiting(run=waiting[0], until=waiting[1]) if waiting else None,
    )


class Incidents(BaseModel):
    """Incidents, newest first; pass ``before`` to get the next page, None on the last."""

    incidents: list[IncidentSummary]
    before: int | None


class RunStep(BaseModel):
    """A step of a run; ``bound`` is its longest duration."""

    id: str
    does: str
    target: str
    bound: float
    state: StepState
    began: float | None
    ended: float | None
    attempts: int
    error: dict[str, str]


class RunSummary(BaseModel):
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
    steps: list[RunStep]

    @classmethod
    def of(cls, run: RunRecord) -> "RunSummary":
        """Return the public shape."""
        return cls(
            id=run.id,
            runbook=run.plan.runbook,
            targets=list(run.plan.targets),
            state=run.state,
            who=run.who,
            holder=run.holder,
            reason=run.reason,
            ticket=run.ticket,
            made=run.made,
            began=run.began,
            ended=run.ended,
            steps=_steps(run),
        )


def _steps(run: RunRecord) -> list[RunStep]:
    return [
        RunStep(
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


class RunDetail(RunSummary):
    """A run with its events."""

    events: list[Event] = []


class Runs(BaseModel):
    """Runs, newest first; pass ``before`` to get the next page, None on the last."""

    runs: list[RunSummary]
    before: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBackups(HostRecoveryStatus):
    """Backups of a host; ``rpo`` are the seconds of changes that would be lost with it now."""

    age: float | None
    rpo: float | None

    @classmethod
    def at(cls, status: HostRecoveryStatus, now: float) -> "HostBackups":
        """Return the public shape at ``now``."""
        return cls(**asdict(status), age=status.age_at(now), rpo=status.rpo_at(now))


class Backups(BaseModel):
    """Backups, RPO and RTO as measured."""

    hosts: list[HostBackups]
    findings: list[Finding]
    recoveries: list[Recovery]
    error: str = Field(description="why the catalogue cannot be read, else empty")

    @classmethod
    def at(cls, status: RecoveryStatus, now: float) -> "Backups":
        """Return the public shape at ``now``."""
        return cls(
            hosts=[HostBackups.at(host, now) for host in status.hosts],
            findings=list(status.findings),
            recoveries=list(status.recoveries),
            error=status.error,
        )


class WindowOpening(BaseModel):
    """A time at which a maintenance window is open."""

    window: str
    opens: float
    closes: float
    open: bool

    @classmethod
    def at(cls, opening: Opening, now: float) -> "WindowOpening":
        """Return the public shape at ``now``."""
        opens, closes = opening.opens.timestamp(), opening.closes.timestamp()
        return cls(window=opening.window, opens=opens, closes=closes, open=opens <= now < closes)


class Windows(BaseModel):
    """The next openings of all maintenance windows."""

    openings: list[WindowOpening]


class HistoryMinute(BaseModel):
    """Probes of one minute, which starts ``at``: their number, the successful ones, latencies."""

    at: float
    probes: int
    successful: int
    median: float | None
    longest: float | None

    @classmethod
    def of(cls, minute: Minute) -> "HistoryMinute":
        """Return the public shape."""
        return cls(
            at=minute.minute * 60.0,
            probes=minute.asked,
            successful=minute.answered,
            median=minute.median,
            longest=minute.longest,
        )


class History(BaseModel):
    """Probes of a target by minute, oldest first."""

    target: str
    minutes: list[HistoryMinute]
