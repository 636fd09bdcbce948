"""The kinds of step of a reboot, and what each results in. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from backstay.clock import Moment
from backstay.journal.action import StepKind
from backstay.journal.result import StepResult
from backstay.maintenance.outages import OutageSeries


@dataclass(frozen=True, kw_only=True)
class GatesPassed(StepResult):
    """All gates agreed.

    Attributes:
        known: host, service and subject of each check that was failing already: ignored afterwards.
        asked_at: when the gates were asked, in Unix seconds.
        asked_boot: the boot of this machine in which that was, empty where it is not known.
        asked_up: how many seconds after that boot.

    """

    known: tuple[tuple[str | None, str, str], ...]
    asked_at: float
    asked_boot: str = ""
    asked_up: float = 0.0

    @property
    def age(self) -> float:
        """Return how many seconds ago they were asked; infinite where that is in the future."""
        return Moment(at=self.asked_at, boot=self.asked_boot, up=self.asked_up).age()


@dataclass(frozen=True, kw_only=True)
class HooksCalled(StepResult):
    """The last output of each hook that was called, in order."""

    OLD_KEYS: ClassVar[Mapping[str, str]] = {"said": "outputs"}

    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostNoted(StepResult):
    """The host as it was before the reboot, and the targets whose outages are recorded.

    Attributes:
        running: its services that ran, as systemd calls them.
        failed: its services that had failed.
        apis: URL by the type of service of each API that it serves.
        instances: address by name of each instance that answered ping.
        agents: host and binary of each agent of the cloud that was up and enabled.
        uuid: the id that its firmware gives, empty where it gives none.
        serial: its serial number, in the same way.

    """

    boot_id: str
    hostname: str
    kernel: str
    running: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    apis: Mapping[str, str]
    instances: Mapping[str, str]
    agents: tuple[tuple[str, str], ...]
    uuid: str = ""
    serial: str = ""


@dataclass(frozen=True, kw_only=True)
class RebootRequested(StepResult):
    """Whether systemd was asked for a reboot now; if not, ``why`` that was not necessary."""

    asked: bool
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class WentDown(StepResult):
    """After how many seconds it was gone (None unknown), and whether it was power-cycled."""

    gone_after: float | None
    cycled: bool


@dataclass(frozen=True, kw_only=True)
class CameBack(StepResult):
    """The boot that followed.

    Attributes:
        boot_id: its id, which differs from the one that was noted.
        booted_at: when it started by the host's own clock, in Unix seconds.
        cycled: whether the host was power-cycled while it was waited for.
        seconds: how long it was waited for, None unknown.

    """

    boot_id: str
    booted_at: float
    cycled: bool
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Waited(StepResult):
    """How long it took until all was as required, in seconds."""

    seconds: float


@dataclass(frozen=True, kw_only=True)
class AgentsAttached(StepResult):
    """Every agent that was up before answered a call.

    Attributes:
        seconds: how long that took.
        proved: how many answered, None in a journal from before agents were called.
        restarted: names of those that had to be restarted.
        since_broker: the broker's uptime in seconds when the last was attached, None where it was
            not the broker that was rebooted.

    """

    seconds: float
    proved: int | None = None
    restarted: tuple[str, ...] = ()
    since_broker: float | None = None


@dataclass(frozen=True, kw_only=True)
class OutagesRecorded(StepResult):
    """The outages of each API and instance, none where the recording was not running any more."""

    OLD_KEYS: ClassVar[Mapping[str, str]] = {"watched": "recorded"}

    recorded: tuple[OutageSeries, ...]


GATES = StepKind("gates", GatesPassed, "gates")
BEFORE = StepKind("before", HooksCalled, "hooks")
BACKUP_HOOKS = StepKind("backup", HooksCalled, "backup")
NOTE = StepKind("note", HostNoted)
DRAIN = StepKind("drain", HooksCalled, "drain")
ASK = StepKind("ask", RebootRequested, "going down")
DOWN = StepKind("down", WentDown, "going down")
UP = StepKind("up", CameBack, "coming back")
UNITS = StepKind("units", Waited, "units")
FUNCTIONS = StepKind("functions", Waited, "functions")
AGENTS = StepKind("agents", AgentsAttached, "agents")
SETTLE = StepKind("settle", Waited, "settling")
UNDRAIN = StepKind("undrain", HooksCalled, "drain ended")
REPORT = StepKind("report", OutagesRecorded)
AFTER = StepKind("after", HooksCalled, "hooks after")

KINDS = (
    *(GATES, BEFORE, BACKUP_HOOKS, NOTE, DRAIN, ASK, DOWN, UP),
    *(UNITS, FUNCTIONS, AGENTS, SETTLE, UNDRAIN, REPORT, AFTER),
)
"""All kinds, in the order of a plan; those of the backup are the backup's own."""
