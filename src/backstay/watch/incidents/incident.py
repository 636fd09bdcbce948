"""An incident: one cause, however many symptoms, from its beginning to its end."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is the matter, as the policy in cloud.yaml and alert rules name it."""

    SERVICE_FAILED = "service-failed"
    SERVICE_HUNG = "service-hung"
    AGENT_NOT_PROCESSING = "agent-not-processing"
    AGENT_DOWN = "agent-down"
    HOST_UNREACHABLE = "host-unreachable"
    HOST_OFF = "host-off"
    HOST_DEAD = "host-dead"
    FENCED_HOST_ON = "fenced-host-on"
    DUPLICATE_ADDRESS = "duplicate-address"
    MONITORING_HOST_ISOLATED = "monitoring-host-isolated"
    FINDING = "finding"
    CHANNEL_FAILED = "channel-failed"


class Urgency(StrEnum):
    """``CRITICAL``: users notice it, or will at once. ``WARNING``: it can wait for the morning."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What an incident is about, as it is decided from standings. Pure data.

    ``key`` is the same as long as the cause is the same (``service:controller/mariadb``), be its
    kind another by now: two open incidents never have one key. ``title`` is a sentence without a
    time ("MariaDB on controller does not answer"), ``impact`` what users lose, ``remedy`` the
    command to run. ``symptoms`` are what else is down because of it, as subjects' keys.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One line of an incident's timeline; ``kind`` is ``opened``, ``changed``, ``closed``."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """An incident as the journal keeps it. Times are Unix seconds; ``closed`` is None while open.

    ``began`` is when the first sign of it was seen, ``opened`` when it was sure. ``run`` is the
    runbook's run that was begun for it, empty where none was.
    """

    id: int
    cloud: str
    cause: Cause
    began: float
    opened: float
    closed: float | None = None
    run: str = ""
    timeline: tuple[TimelineEntry, ...] = ()

    @property
    def name(self) -> str:
        """Return how it is called: ``incident-12``."""
        return f"incident-{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A plan that waits: ``run`` is its name in the journal. Times are Unix seconds.

    ``used`` is when it was approved, None while it was not, ``by`` who did. ``refused`` means that
    it is not to be begun any more.
    """

    incident: int
    run: str
    made: float
    until: float
    used: float | None
    by: str
    refused: bool

    def waits(self, now: float) -> bool:
        """Say whether it can still be approved."""
        return self.used is None and not self.refused and now < self.until
