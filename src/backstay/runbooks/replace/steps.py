"""The kinds of step of a replacement, each with its name and the type of its result. Pure.

Those in between are a restore's (``runbooks.restore.steps``), the last ones a backup's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from backstay.clock import Moment
from backstay.journal.action import StepKind
from backstay.journal.result import StepResult
from backstay.maintenance.outages import OutageSeries

BY_POWER, BY_PERSON = "power", "person"
"""How a host was fenced: its power was read back as off, or a person confirmed that it is off."""
WITHOUT_WITNESSES = "without_witnesses"
"""The setting of a plan that has the names of the witnesses that the operator leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTargets:
    """What outages are recorded of.

    Attributes:
        apis: URLs by name.
        apis_by: where the URLs are from: a run that noted them, or the usual ports.
        instances: addresses by name.
        silent: instances that answered no ping when the recording started, so that their silence
            would mean nothing.
        unasked: hosts that could not be asked which instances run on them.

    """

    apis: Mapping[str, str] = field(default_factory=dict)
    apis_by: str = ""
    instances: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ConfirmedDead(StepResult):
    """The verdict on the host, and the evidence.

    Attributes:
        verdict: as ``health.witness.judge.Verdict`` has it.
        reason: the verdict's reason.
        witnesses: names of witnesses, each with its evidence.
        power: the evidence of the host's BMC.
        spoke: the witnesses that could be asked.
        left_out: the witnesses that were not asked, as the operator wanted.
        asked_at: when they were asked, Unix seconds.
        asked_boot: the boot of this machine in which that was, empty where it is not known.
        asked_up: how many seconds after that boot.
        recording: what outages are recorded of from here on, None where they are not.

    """

    OLD_KEYS: ClassVar[Mapping[str, str]] = {"watching": "recording"}

    verdict: str = ""
    reason: str = ""
    witnesses: tuple[tuple[str, str], ...] = ()
    power: str = ""
    spoke: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    asked_at: float = 0.0
    asked_boot: str = ""
    asked_up: float = 0.0
    recording: RecordedTargets | None = None

    @property
    def age(self) -> float:
        """Return how many seconds ago they were asked; infinite where that is in the future."""
        return Moment(at=self.asked_at, boot=self.asked_boot, up=self.asked_up).age()


@dataclass(frozen=True, kw_only=True)
class SparePrepared(StepResult):
    """The spare can take the host's place.

    Attributes:
        boot_id: the spare's.
        addresses: the host's and the spare's own IP address.
        packages: how many of the host's packages are installed on it already.
        prepared: its note on what it is prepared for, as JSON text; empty if it is not.
        uuid: that of the machine, empty where it gives none.
        serial: its serial number, as ``uuid``.

    """

    boot_id: str = ""
    addresses: tuple[str, ...] = ()
    packages: int = 0
    prepared: str = ""
    uuid: str = ""
    serial: str = ""


@dataclass(frozen=True, kw_only=True)
class Fenced(StepResult):
    """The host is off.

    Attributes:
        how: ``BY_POWER`` or ``BY_PERSON``.
        bmc: the URL of the BMC that powered it off, empty if it has none.
        not_set: what its BMC could not be set to.
        silent_for: the witnesses for which its address is silent.
        fenced_at: Unix seconds.
        uuid: that of the machine behind the BMC, empty where the BMC does not give it.
        serial: its serial number, as ``uuid``.

    """

    how: str = ""
    bmc: str = ""
    not_set: tuple[str, ...] = ()
    silent_for: tuple[str, ...] = ()
    fenced_at: float | None = None
    uuid: str = ""
    serial: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the result that ``to_json`` gave; older versions called a person's word so."""
        how = BY_PERSON if data.get("how") == "word" else data.get("how", "")
        return super().from_json({**data, "how": how})


@dataclass(frozen=True, kw_only=True)
class CommandStarted(StepResult):
    """A long command was started, or will be, as the systemd unit ``unit``; empty for none."""

    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class PackagesInstalled(StepResult):
    """Packages that are ``missing``; those that ``differ``: name, version wanted, version there."""

    missing: tuple[str, ...] = ()
    differ: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class IdentityAdopted(StepResult):
    """The spare answers as the host.

    Attributes:
        boot_id: the spare's.
        device: the interface that has the address.
        configured: the files that give it the address at boots.
        kept: the folder on the spare with what was replaced, empty if nothing was.

    """

    boot_id: str = ""
    device: str = ""
    configured: tuple[str, ...] = ()
    kept: str = ""


@dataclass(frozen=True, kw_only=True)
class HostBuilt(StepResult):
    """The configuration management is through; units ``enabled`` start at boots again."""

    enabled: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RecordsCompared(StepResult):
    """What reconcile found.

    Attributes:
        mismatches: each a ``Mismatch`` as JSON data, or a sentence; None where it was not asked.
        missing: what could not be asked, each a ``Missing`` as JSON data, or a sentence.

    """

    mismatches: tuple[Mapping[str, Any] | str, ...] | None = None
    missing: tuple[Mapping[str, Any] | str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class InventoryUpdated(StepResult):
    """cloud.yaml says what is true now, or what is to be changed there by hand.

    Attributes:
        written: it was written.
        fenced: the old host's name now.
        diff: the change, without passwords.
        still: where the spare is named yet.
        kept: the copy of the file that was there.
        by_hand: why it could not be written, empty if it was.
        recorded: the answers of what outages were recorded of.
        recorded_since: when their recording started, Unix seconds; None where it was not recorded.

    """

    OLD_KEYS: ClassVar[Mapping[str, str]] = {
        "watched": "recorded",
        "watched_since": "recorded_since",
    }

    written: bool = False
    fenced: str = ""
    diff: str = ""
    still: tuple[str, ...] = ()
    kept: str = ""
    by_hand: str = ""
    recorded: tuple[OutageSeries, ...] = ()
    recorded_since: float | None = None


PACKAGES_PHASE, BUILD_PHASE = "packages", "build"
CONFIRM = StepKind("confirm", ConfirmedDead, "confirm")
PREPARE = StepKind("prepare", SparePrepared, "confirm")
FENCE = StepKind("fence", Fenced, "fence")
BEGIN_PACKAGES = StepKind("begin-packages", CommandStarted, PACKAGES_PHASE)
PACKAGES = StepKind("packages", PackagesInstalled, PACKAGES_PHASE)
ADOPT = StepKind("adopt", IdentityAdopted, "identity")
BEGIN_BUILD = StepKind("begin-build", CommandStarted, BUILD_PHASE)
LET_BUILD = StepKind("let-build", StepResult, BUILD_PHASE)
BUILD = StepKind("build", HostBuilt, BUILD_PHASE)
RECONCILE = StepKind("reconcile", RecordsCompared, "reconcile")
TAKE_OVER = StepKind("take-over", InventoryUpdated, "cloud.yaml")
KINDS = (
    CONFIRM,
    PREPARE,
    FENCE,
    BEGIN_PACKAGES,
    PACKAGES,
    ADOPT,
    BEGIN_BUILD,
    LET_BUILD,
    BUILD,
    RECONCILE,
    TAKE_OVER,
)
