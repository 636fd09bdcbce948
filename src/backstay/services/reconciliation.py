"""The form in which a service says what it has records of, what is real, and where they differ.

Records are read from the databases, and only read: an API answers of one record at a time, hides
what is deleted, and may not answer at all while a cloud is being put back. What is real is asked of
the hosts. Comparing is pure.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from backstay.inventory.enums import Role
from backstay.inventory.host_names import HostNames
from backstay.services.declaration import Api, Verdict

Row = Mapping[str, str]
"""A record: text by the name of its column."""
Words = tuple[str, str, str]
"""A mismatch's evidence, its proposal, and its command."""


class Kind(StrEnum):
    """What is the matter, in one word or two, for the table's column and for programs."""

    UNKNOWN_TO_RECORDS = "no record"
    GONE = "gone"
    ELSEWHERE = "elsewhere"
    TWICE = "twice"
    STATE = "state"
    STUCK = "stuck"
    STALE = "stale"
    LACKING = "lacking"
    DANGER = "danger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """A safe change: ``name`` is a key of ``Reconciler.repairs``; ``arguments`` are JSON data."""

    name: str
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """Where records and reality differ.

    ``subject`` is what it is about (``instance web1 3862789d-…``), ``host`` the host of cloud.yaml
    that it is seen on, empty where it is on none. ``evidence`` is what each side says,
    ``proposal`` what to do in words and ``command`` what to type; ``{controller}`` in it stands for
    the command that reaches a controller, ``{ssh}`` for the one that reaches ``host``. ``repair``
    is set where the proposal is safe.
    """

    service: str
    subject: str
    kind: Kind
    host: str
    evidence: str
    proposal: str
    command: str
    repair: Repair | None = None

    @property
    def safe(self) -> bool:
        """Whether ``--apply`` carries the proposal out: it cannot lose anything."""
        return self.repair is not None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return what it is known by in another look."""
        return (self.service, self.subject, self.kind.value, self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What hosts with one of ``roles`` are asked, shipped as a HostProbe's ``ask`` is.

    ``bound`` is after how many seconds it is given up.
    """

    name: str
    roles: tuple[Role, ...]
    ask: Callable[[], Any]
    bound: float = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A setting that must be so before a service's agents work for restored records again.

    ``judge`` turns a host's answer into a verdict. Pure.
    """

    question: Question
    judge: Callable[[Any], Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that was read, before anybody judges it.

    ``rows`` are records by the name of their query; a query that could not be answered is not there
    at all, and nothing may then be concluded from its silence. ``answers`` are hosts' answers by
    question and host. ``silent`` are the hosts that were asked a question in vain, by question.
    ``names`` are the hosts of cloud.yaml by every name that they go by.
    """

    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    answers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    silent: Mapping[str, frozenset[str]] = field(default_factory=dict)
    names: HostNames = field(default_factory=HostNames)

    def has(self, *queries: str) -> bool:
        """Say whether all these queries were answered."""
        return all(query in self.rows for query in queries)

    def whole(self, question: str) -> bool:
        """Say whether every host that was to answer a question has answered, and one at least."""
        return bool(self.answers.get(question)) and not self.silent.get(question)

    def host_of(self, recorded: str) -> str | None:
        """Return the host of cloud.yaml that a record calls by some name, None for no such host."""
        return self.names.host_of(recorded)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairCommand:
    """How a safe change is made, and why it is safe.

    Either by the API: ``api`` returns what it did in a few words, empty where nothing was to be
    done any more; it looks first, and raises as ``Api``. Or by a ``program`` on a controller, made
    of the arguments; its exit statuses in ``well`` are good. ``does`` says it in the operator's
    words, ``safe`` why nothing can be lost.
    """

    does: str
    safe: str
    api: Callable[[Api, Mapping[str, str]], str] | None = None
    program: Callable[[Mapping[str, str]], Sequence[str]] | None = None
    well: frozenset[int] = frozenset((0,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """What a service has records of.

    ``records`` are queries by name: each one SELECT on one line, whose columns have plain names.
    ``compare`` gives the mismatches, and nothing where a side of the comparison is not known;
    ``notes`` says what cannot be compared in this cloud at all, whoever answers;
    ``guards`` are what has to be so before records and reality meet.
    """

    service: str
    records: Mapping[str, str] = field(default_factory=dict)
    questions: tuple[Question, ...] = ()
    compare: Callable[[Evidence], Iterator[Mismatch]] = lambda _seen: iter(())
    notes: Callable[[Evidence], Sequence[str]] = lambda _seen: ()
    guards: tuple[Guard, ...] = ()
    repairs: Mapping[str, RepairCommand] = field(default_factory=dict)
    order: int = 100
    """Where its mismatches stand among the others': lowest first, what runs before what is kept."""
