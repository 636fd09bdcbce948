"""The form in which a service declares what it has records of, what is real, and how they differ.

Records are read from the databases, and only read: an API answers about one record at a time, hides
what is deleted, and may not answer at all while a cloud is being restored. Hosts are asked what is
real. Comparing is pure.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from backstay.inventory.enums import Role
from backstay.inventory.host_names import HostNames
from backstay.services.declaration import Api, Verdict
from backstay.services.rows import Query, Row

Words = tuple[str, str, str]
"""A mismatch's evidence, its proposal, and its command."""


class MismatchKind(StrEnum):
    """How records and reality differ, in a word or two for the table's column and for programs."""

    UNKNOWN_TO_RECORDS = "no record"
    """It exists, and no record has it."""
    GONE = "gone"
    """A record has it, and it does not exist."""
    ELSEWHERE = "elsewhere"
    """It exists, and not where the record has it."""
    TWICE = "twice"
    """It exists more than once."""
    STATE = "state"
    """It is in another state than the record says."""
    STUCK = "stuck"
    """The record says that work is under way, and nothing does it."""
    STALE = "stale"
    """A record of something that belongs to what does not exist any more."""
    LACKING = "lacking"
    """Something that belongs to it has no record."""
    DANGER = "danger"
    """Left alone, it destroys data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """A safe change to make."""

    name: str
    """A key of ``Reconciler.repairs``."""
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Where records and reality differ."""

    service: str
    subject: str
    """What it is about: ``instance web1 3862789d-…``."""
    kind: MismatchKind
    host: str
    """The host of cloud.yaml that it was seen on, empty where it is on none."""
    evidence: str
    """What each side says."""
    proposal: str
    """What to do, in words."""
    command: str
    """What to type, made by ``backstay.commands``: no word of it may be of a host's own making
    without being quoted. ``{controller}`` stands for the command that reaches a controller,
    ``{ssh}`` for the one that reaches ``host``."""
    repair: Repair | None = None
    """Set where the proposal is safe: it cannot lose anything."""

    @property
    def safe(self) -> bool:
        """Whether ``--apply`` carries the proposal out: it cannot lose anything."""
        return self.repair is not None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return what identifies it in another observation."""
        return (self.service, self.subject, self.kind.value, self.host)


def mismatch(
    service: str,
    subject: str,
    kind: MismatchKind,
    words: Words,
    *,
    host: str = "",
    repair: Repair | None = None,
) -> Mismatch:
    """Return a mismatch of a service's; ``words`` are its evidence, proposal and command. Pure."""
    evidence, proposal, command = words
    return Mismatch(
        service=service,
        subject=subject.replace("  ", " "),  # of a nameless object
        kind=kind,
        host=host,
        evidence=evidence,
        proposal=proposal,
        command=command,
        repair=repair,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostQuestion:
    """What hosts with one of ``roles`` are asked."""

    name: str
    roles: tuple[Role, ...]
    ask: Callable[[], Any]
    """Runs on the host, shipped as a HostProbe's ``ask``."""
    returns: type[Any]
    """What its answer is read as, as ``answers.read`` knows it."""
    bound: float = 12.0
    """Seconds after which an answer is not waited for any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreGuard:
    """A setting that must be so before a service's agents work for restored records again."""

    question: HostQuestion
    judge: Callable[[Any], Verdict]
    """Turns a host's answer into a verdict. Pure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that was read, before it is judged."""

    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    """Records by the name of their query. A query that could not be answered, or one record of
    which cannot be read, is not in it, and nothing may then be concluded from its absence."""
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Hosts' answers by question, then by host, each as its question ``returns`` it."""
    silent: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The hosts that did not answer, or whose answer cannot be read, by question."""
    names: HostNames = field(default_factory=HostNames)
    """The hosts of cloud.yaml by every name that they have."""

    def has(self, *queries: str) -> bool:
        """Return whether all these queries were answered."""
        return all(query in self.rows for query in queries)

    def whole(self, question: str) -> bool:
        """Return whether every host that was asked a question answered, and at least one was."""
        return bool(self.answers.get(question)) and not self.silent.get(question)

    def host_of(self, recorded: str) -> str | None:
        """Return the host of cloud.yaml that a record has by some name, None for no such host."""
        return self.names.host_of(recorded)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairCommand:
    """How a safe change is made, by the API or by a program on a controller."""

    does: str
    """What it does, in the operator's words."""
    safe: str
    """Why nothing can be lost."""
    api: Callable[[Api, Mapping[str, str]], str] | None = None
    """Looks again, makes the change with the repair's arguments, and returns what it did; empty
    where nothing had to be done any more. Raises as ``Api``."""
    program: Callable[[Mapping[str, str]], Sequence[str]] | None = None
    """Returns the command, made of the repair's arguments."""
    succeeded: frozenset[int] = frozenset((0,))
    """The program's exit statuses that are no failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """What a service has records of, what is real, and how they are compared."""

    service: str
    records: Mapping[str, Query] = field(default_factory=dict)
    """Queries by name."""
    questions: tuple[HostQuestion, ...] = ()
    """What the hosts that have the service are asked."""
    compare: Callable[[Evidence], Iterator[Mismatch]] = lambda _seen: iter(())
    """Yields the mismatches, and nothing where one side of a comparison is not known. Pure."""
    notes: Callable[[Evidence], Sequence[str]] = lambda _seen: ()
    """Returns what cannot be compared in this cloud, whoever answers. Pure."""
    guards: tuple[RestoreGuard, ...] = ()
    """What has to be so before records and reality meet."""
    repairs: Mapping[str, RepairCommand] = field(default_factory=dict)
    """The safe changes by name; names are unique among all services."""
    order: int = 100
    """Where its mismatches stand among the others': lowest first, what runs before what is kept."""
