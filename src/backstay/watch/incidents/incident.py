"""Incidents: one cause each, whatever its symptoms, with its timeline and its approvals."""

from dataclasses import dataclass
from enum import StrEnum

from backstay.answers import Seconds, clean


class Kind(StrEnum):
    """The kind of a cause, as in the policy of cloud.yaml and in alert rules."""

    SERVICE_FAILED = "service-failed"
    SERVICE_HUNG = "service-hung"
    AGENT_NOT_PROCESSING = "agent-not-processing"
    AGENT_DOWN = "agent-down"
    BROKER_UNREACHABLE = "broker-unreachable"
    HOST_UNREACHABLE = "host-unreachable"
    HOST_OFF = "host-off"
    HOST_DEAD = "host-dead"
    FENCED_HOST_ON = "fenced-host-on"
    DUPLICATE_ADDRESS = "duplicate-address"
    MONITORING_HOST_ISOLATED = "monitoring-host-isolated"
    FINDING = "finding"
    CHANNEL_FAILED = "channel-failed"


class Urgency(StrEnum):
    """``CRITICAL``: users notice it, or soon will. ``WARNING``: it can wait until the morning."""

    CRITICAL = "critical"
    WARNING = "warning"


def _set(frozen: object, name: str, value: object) -> None:
    object.__setattr__(frozen, name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What an incident is about.

    Attributes:
        key: identifies the cause (``service:controller/mariadb``), also when its kind changes; no
            two open incidents have the same.
        kind: the kind of the cause.
        urgency: how urgent it is.
        host: the host in cloud.yaml, empty for the cloud as a whole.
        service: the service, ``host`` for the host itself.
        title: a sentence without a time ("MariaDB on controller does not answer").
        evidence: what was observed, and by whom.
        impact: what users lose.
        remedy: the command to run.
        symptoms: keys of what else is down because of it.

    """

    key: str
    kind: Kind
    urgency: Urgency
    host: str
    service: str
    title: str
    evidence: tuple[str, ...]
    impact: str
    remedy: str
    symptoms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Clean the texts: they may be of a host, or of a journal that an older version wrote."""
        for name in ("key", "host", "service", "title", "impact", "remedy"):
            _set(self, name, clean(getattr(self, name)))
        for name in ("evidence", "symptoms"):
            _set(self, name, tuple(map(clean, getattr(self, name))))


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """A line of an incident's timeline; ``kind`` is an event, ``approved``, ``blocked`` ..."""

    at: Seconds
    kind: str
    text: str

    def __post_init__(self) -> None:
        """Clean the text, as those of a cause."""
        _set(self, "text", clean(self.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """An incident. Times are Unix seconds.

    Attributes:
        id: its number.
        cloud: the cloud's name.
        cause: what it is about.
        began: when the first failure was observed.
        opened: when it was confirmed.
        closed: when it was resolved, None while it is open.
        run: the run that was started for it, empty if there is none.
        timeline: what happened, oldest first.

    """

    id: int
    cloud: str
    cause: Cause
    began: Seconds
    opened: Seconds
    closed: Seconds | None = None
    run: str = ""
    timeline: tuple[TimelineEntry, ...] = ()

    @property
    def name(self) -> str:
        """Return its name: ``incident-12``."""
        return f"incident-{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A plan that waits: ``run`` is its name in the journal. Times are Unix seconds.

    ``used`` is when it was approved, None while it was not, ``by`` who did. ``refused`` means that
    it may not be started any more.
    """

    incident: int
    run: str
    made: Seconds
    until: Seconds
    used: Seconds | None
    by: str
    refused: bool

    def waits(self, now: float) -> bool:
        """Return whether it can still be approved."""
        return self.used is None and not self.refused and now < self.until
