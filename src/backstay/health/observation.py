"""What was read from a host, as plain typed values.

Each value is read for itself: what is not of the expected form becomes a trouble, with the reason,
and all the others still count.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from backstay.access.shipping import as_answer, not_answers
from backstay.answers import (
    LONGEST_LINE,
    BadAnswer,
    Count,
    Line,
    Seconds,
    clean,
    part,
    whole,
)
from backstay.jsondata import Json
from backstay.services.declaration import HostProbe
from backstay.transports.targets import Answer

T = TypeVar("T")

MOST_DISKS = 200
"""File systems that are judged of one host: each is a finding, and some hosts mount thousands."""
_SHOWN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    """The answer to one question on a host: ``value``, or ``trouble`` where there is none.

    ``late`` tells that nothing came within the bound, ``odd`` that something came which is not of
    the declared form. ``seconds`` is how long it took.
    """

    value: Any = None
    trouble: str = ""
    late: bool = False
    odd: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitState:
    """A systemd unit as ``systemctl show`` gives it, ``""`` and 0 where it gives nothing.

    ``since`` is for how many seconds it has been in its state, None where systemd has not noted
    it. ``processes`` has a state letter (as in ``ps``) for the main process, then for each of its
    descendants; empty where there is no main process or it is gone. ``trouble`` is what of the
    answer on it cannot be read: then nothing else of it counts.
    """

    name: str
    load: str = ""
    active: str = ""
    sub: str = ""
    boot: str = ""
    result: str = ""
    restarts: int = 0
    main_pid: int = 0
    exit_status: int = 0
    since: float | None = None
    processes: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """Sizes in bytes; ``inodes`` is 0 where the file system has no fixed number of them."""

    mount: str
    size: int
    used: int
    available: int
    inodes: int
    inodes_free: int


class MountTrouble(StrEnum):
    """How a file system is not as it should be: see ``onhost.wrong_mounts``."""

    TURNED = "turned"
    READ_ONLY = "read-only"
    MISSING = "missing"
    ABSENT = "absent"


class WrongMount(NamedTuple):
    """A file system that is not as it should be; ``what`` is its kind, or its source in fstab."""

    mount: Line
    trouble: MountTrouble
    what: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class HostObservation:
    """All that one round trip brought from a host.

    ``offset`` is how far the host's clock is ahead of the operator's, in seconds, give or take
    ``uncertainty``. ``seconds`` is the whole round trip, with connecting and logging in where that
    was needed. What is None (``hostname`` and ``boot_id``: empty) was not answered, or not in its
    form; ``troubles`` then has the reason by the question's name. ``memory`` is total and available
    bytes.
    """

    hostname: str
    boot_id: str
    uptime: float | None
    load: float | None
    processors: int | None
    offset: float | None
    uncertainty: float
    seconds: float
    units: Mapping[str, UnitState] | None
    failed_units: tuple[str, ...] | None
    listening: frozenset[int] | None
    memory: tuple[int, int] | None
    file_systems: tuple[FileSystem, ...]
    probes: Mapping[str, ProbeAnswer]
    troubles: Mapping[str, str]
    others: Mapping[str, UnitState] = field(default_factory=dict)
    """Units that need not be there, empty where nothing is known of them."""
    running: tuple[str, ...] = ()
    """The service units that run, without ``.service``."""
    wrong_mounts: tuple[WrongMount, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """How ``onhost.ask_all`` answers one question."""

    seconds: Seconds = 0.0
    value: Json = None
    error: Line | None = None
    late: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Units:
    """The answer of ``onhost.units``: texts of many lines, and states by main PID."""

    show: str
    states: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OtherUnits:
    """The answer of ``onhost.other_units``."""

    show: str
    states: Mapping[str, str] = field(default_factory=dict)
    running: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Memory:
    """The answer of ``onhost.memory``, in bytes."""

    total: Count
    available: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    """The answer of ``onhost.disk``."""

    size: Count
    used: int  # some file systems have more free blocks than blocks
    available: Count
    inodes: Count
    inodes_free: Count


def parse(
    answer: Answer,
    units: Sequence[str],
    probes: Iterable[HostProbe] = (),
    *,
    host: str,
    others: Sequence[str] = (),
) -> HostObservation:
    """Turn what the script printed into an observation.

    ``units`` and ``others`` are the names that were asked for, in that order, ``probes`` the
    questions of services. Raises RemoteFailure where the text is not the script's at all.
    """
    try:
        read = _Reader(as_answer(dict[str, Any], answer, host=host))
    except BadAnswer as error:
        raise not_answers(answer, host, error) from error
    started, finished = (read.top(name, Seconds) for name in ("started", "finished"))
    offset, uncertainty = None, 0.0
    if started is not None and finished is not None:
        # The host's two readings lie between the operator's two: four times give offset and error
        # bound, as NTP has them (https://www.rfc-editor.org/rfc/rfc5905#section-8).
        before, after = started - answer.sent_at, answer.received_at - finished
        offset, uncertainty = (before - after) / 2, (before + after) / 2
    memory = read.answer("memory", _Memory)
    other_units, running = _other_units(read, others)
    return HostObservation(
        hostname=read.top("hostname", Line) or "",
        boot_id=read.top("boot_id", Line) or "",
        uptime=read.top("uptime", Seconds),
        load=read.top("load", Seconds),
        processors=read.top("processors", Count),
        offset=offset,
        uncertainty=uncertainty,
        seconds=answer.connecting + answer.received_at - answer.sent_at,
        units=_units(read, units),
        failed_units=_failed(read.answer("failed units", str)),
        listening=read.answer("listening", frozenset[Count]),
        memory=(memory.total, memory.available) if memory else None,
        file_systems=tuple(_file_systems(read)),
        probes={probe.name: read.probe(probe) for probe in probes},
        troubles=read.troubles,
        others=other_units,
        running=running,
        wrong_mounts=_wrong_mounts(read),
    )


class _Reader:
    """Takes the values out of an answer one by one, and notes why one cannot be read."""

    def __init__(self, data: Mapping[str, Json]) -> None:
        self._data = data
        self.troubles: dict[str, str] = {}
        answers = data.get("answers")
        if not isinstance(answers, dict) or not answers:
            raise BadAnswer("missing", place="answers")
        self.answers = {clean(name, longest=LONGEST_LINE): one for name, one in answers.items()}

    def top(self, name: str, kind: type[T]) -> T | None:
        """Return a value that stands at the top of the answer; None where it is of another form."""
        try:
            return part(kind, self._data.get(name))
        except BadAnswer as error:
            self.troubles[name] = odd(error)
            return None

    def answer(self, name: str, kind: type[T]) -> T | None:
        """Return the answer to one question; None where there is none, or of another form."""
        asked, value = self._asked(name, kind)
        if asked.trouble:
            self.troubles[name] = asked.trouble
        return value

    def probe(self, probe: HostProbe) -> ProbeAnswer:
        """Return the answer to a question of a service's."""
        asked, _ = self._asked(f"probe {probe.name}", probe.returns)
        return asked

    def _asked(self, name: str, kind: type[T]) -> tuple[ProbeAnswer, T | None]:
        if name not in self.answers:
            return ProbeAnswer(trouble="it was not asked"), None
        try:
            asked = part(_Asked, self.answers[name])
        except BadAnswer as error:
            return ProbeAnswer(trouble=odd(error), odd=True), None
        if asked.late is not None:
            trouble = f"no answer within {asked.late:g} s"
            return ProbeAnswer(trouble=trouble, late=True, seconds=asked.seconds), None
        if asked.error is not None:
            return ProbeAnswer(trouble=asked.error or "an error", seconds=asked.seconds), None
        try:
            value = part(kind, asked.value)
        except BadAnswer as error:
            return ProbeAnswer(trouble=odd(error), odd=True, seconds=asked.seconds), None
        return ProbeAnswer(value=value, seconds=asked.seconds), value


def odd(error: BadAnswer) -> str:
    """Return that an answer is not of the expected form, as evidence."""
    return f"an answer that is not of the expected form: {error}"


def _units(read: _Reader, names: Sequence[str]) -> Mapping[str, UnitState] | None:
    answered, monotonic = read.answer("units", _Units), read.top("monotonic", Seconds)
    if answered is None:
        return None
    try:
        return parse_show(answered.show, names, answered.states, monotonic)
    except BadAnswer as error:
        read.troubles["units"] = odd(error)
        return None


def _other_units(
    read: _Reader, names: Sequence[str]
) -> tuple[Mapping[str, UnitState], tuple[str, ...]]:
    """Return what is known of units that need not be there; their absence is no trouble."""
    if "other units" not in read.answers:
        return {}, ()
    answered, monotonic = read.answer("other units", _OtherUnits), read.top("monotonic", Seconds)
    if answered is None:
        return {}, ()
    running = tuple(name.removesuffix(".service") for name in answered.running)
    try:
        return parse_show(answered.show, names, answered.states, monotonic), running
    except BadAnswer as error:
        read.troubles["other units"] = odd(error)
        return {}, running


def _wrong_mounts(read: _Reader) -> tuple[WrongMount, ...]:
    if "mounts" not in read.answers:
        return ()
    return (read.answer("mounts", tuple[WrongMount, ...]) or ())[:MOST_DISKS]


def parse_show(
    text: str, names: Sequence[str], states: Mapping[str, str], monotonic: float | None
) -> dict[str, UnitState]:
    """Turn the output of ``systemctl show UNIT…`` into states, by the names that were asked for.

    One block of ``Property=value`` lines comes for each unit, in the order of the command line;
    it may bear another ``Id``, where the name asked for is an alias. ``states`` has processes'
    states by main PID, ``monotonic`` is the host's monotonic clock in seconds, None unknown.
    Raises BadAnswer where the blocks are not those of the units.
    """
    blocks = [block for block in text.split("\n\n") if block.strip()]
    if len(blocks) != len(names):
        raise BadAnswer(f"{len(blocks)} units in the answer, {len(names)} asked for")
    found = {}
    for name, block in zip(names, blocks, strict=True):
        got = {key: clean(value, longest=_SHOWN) for key, value in _properties(block)}
        try:
            found[name] = _unit(name, got, states, monotonic)
        except BadAnswer as error:
            found[name] = UnitState(name=name, trouble=odd(error))
    return found


def _properties(block: str) -> Iterable[tuple[str, str]]:
    for line in block.split("\n"):
        key, _, value = line.partition("=")
        yield key, value


def _unit(
    name: str, got: Mapping[str, str], states: Mapping[str, str], monotonic: float | None
) -> UnitState:
    for needed in ("LoadState", "ActiveState"):
        if not got.get(needed):
            raise BadAnswer("missing", place=needed)

    def number(key: str) -> int:
        return whole(got[key], place=key) if got.get(key) else 0

    stamp = number("StateChangeTimestampMonotonic")
    if got["ActiveState"] == "active":
        stamp = number("ActiveEnterTimestampMonotonic") or stamp
    pid = number("MainPID")
    return UnitState(
        name=name,
        load=got["LoadState"],
        active=got["ActiveState"],
        sub=got.get("SubState", ""),
        boot=got.get("UnitFileState", ""),
        result=got.get("Result", ""),
        restarts=number("NRestarts"),
        main_pid=pid,
        exit_status=number("ExecMainStatus"),
        since=max(0.0, monotonic - stamp / 1e6) if stamp and monotonic is not None else None,
        processes=states.get(str(pid), "") if pid else "",
    )


def _file_systems(read: _Reader) -> Iterable[FileSystem]:
    names = [name for name in read.answers if name.startswith("disk ")]
    for name in names[:MOST_DISKS]:
        sizes = read.answer(name, _Sizes)
        if sizes is not None:
            yield FileSystem(
                mount=name.removeprefix("disk "),
                size=sizes.size,
                used=max(0, sizes.used),
                available=sizes.available,
                # Those without a fixed number of inodes report more free ones than there are.
                inodes=0 if sizes.inodes_free > sizes.inodes else sizes.inodes,
                inodes_free=sizes.inodes_free,
            )
    if len(names) > MOST_DISKS:
        read.troubles["disks"] = f"{len(names) - MOST_DISKS} of {len(names)} are not judged"


def _failed(text: str | None) -> tuple[str, ...] | None:
    """Return the names of ``systemctl list-units --failed --plain --no-legend``.

    Masked ones are left out: they are not meant to run.
    """
    if text is None:
        return None
    fields = (line.split() for line in text.splitlines() if line.strip())
    return tuple(clean(field[0], longest=255) for field in fields if field[1:2] != ["masked"])
