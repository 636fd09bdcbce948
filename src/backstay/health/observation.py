"""What was read from a host, as plain typed values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.access.shipping import as_json, not_answers
from backstay.transports.targets import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    """The answer to one question on a host: ``value``, or ``trouble`` where there is none.

    ``late`` tells that nothing came within the bound. ``seconds`` is how long it took.
    """

    value: Any = None
    trouble: str = ""
    late: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitState:
    """A systemd unit as ``systemctl show`` gives it, ``""`` and 0 where it gives nothing.

    ``since`` is for how many seconds it has been in its state, None where systemd has not noted
    it. ``processes`` has a state letter (as in ``ps``) for the main process, then for each of its
    descendants; empty where there is no main process or it is gone.
    """

    name: str
    load: str
    active: str
    sub: str
    boot: str
    result: str
    restarts: int
    main_pid: int
    exit_status: int
    since: float | None
    processes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """Sizes in bytes; ``inodes`` is 0 where the file system has no fixed number of them."""

    mount: str
    size: int
    used: int
    available: int
    inodes: int
    inodes_free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostObservation:
    """All that one round trip brought from a host.

    ``offset`` is how far the host's clock is ahead of the operator's, in seconds, give or take
    ``uncertainty``. ``seconds`` is the whole round trip, with connecting and logging in where that
    was needed. ``units``, ``failed_units``, ``listening`` and ``memory`` (total and
    available bytes) are None where the question brought nothing; ``troubles`` then has the reason.
    """

    hostname: str
    boot_id: str
    uptime: float
    load: float
    processors: int
    offset: float
    uncertainty: float
    seconds: float
    units: Mapping[str, UnitState] | None
    failed_units: tuple[str, ...] | None
    listening: frozenset[int] | None
    memory: tuple[int, int] | None
    file_systems: tuple[FileSystem, ...]
    probes: Mapping[str, ProbeAnswer]
    troubles: Mapping[str, str]


def parse(answer: Answer, units: Sequence[str], *, host: str) -> HostObservation:
    """Turn what the script printed into an observation.

    ``units`` are the names that were asked for, in that order. Raises RemoteFailure where the text
    is not the script's.
    """
    read = as_json(answer, host=host)
    try:
        return _observation(read, units, answer)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise not_answers(answer, host, error) from error


def parse_show(
    text: str, names: Sequence[str], states: Mapping[str, str], monotonic: float
) -> dict[str, UnitState]:
    """Turn the output of ``systemctl show UNIT…`` into states, by the names that were asked for.

    One block of ``Property=value`` lines comes for each unit, in the order of the command line;
    it may bear another ``Id``, where the name asked for is an alias. ``states`` has processes'
    states by main PID, ``monotonic`` is the host's monotonic clock in seconds.
    """
    blocks = [block for block in text.split("\n\n") if block.strip()]
    if len(blocks) != len(names):
        raise ValueError(f"{len(blocks)} units in the answer, {len(names)} asked for")
    found = {}
    for name, block in zip(names, blocks, strict=True):
        got = dict(line.partition("=")[::2] for line in block.splitlines())
        found[name] = _unit(name, got, states, monotonic)
    return found


def _unit(
    name: str, got: Mapping[str, str], states: Mapping[str, str], monotonic: float
) -> UnitState:
    changed = got.get("StateChangeTimestampMonotonic", "")
    entered = got.get("ActiveEnterTimestampMonotonic", "") if got["ActiveState"] == "active" else ""
    stamp = int(entered or changed or 0)
    pid = int(got.get("MainPID") or 0)
    return UnitState(
        name=name,
        load=got["LoadState"],
        active=got["ActiveState"],
        sub=got.get("SubState", ""),
        boot=got.get("UnitFileState", ""),
        result=got.get("Result", ""),
        restarts=int(got.get("NRestarts") or 0),
        main_pid=pid,
        exit_status=int(got.get("ExecMainStatus") or 0),
        since=max(0.0, monotonic - stamp / 1e6) if stamp else None,
        processes=states.get(str(pid), "") if pid else "",
    )


def _observation(read: Mapping[str, Any], names: Sequence[str], answer: Answer) -> HostObservation:
    answers = {name: _asked(brought) for name, brought in read["answers"].items()}
    units, failed, memory = answers["units"], answers["failed units"], answers["memory"]
    # The host's two readings lie between the operator's two: four times give offset and error
    # bound, as NTP has them (https://www.rfc-editor.org/rfc/rfc5905#section-8).
    before, after = read["started"] - answer.sent_at, answer.received_at - read["finished"]
    disks = {name[5:]: asked for name, asked in answers.items() if name.startswith("disk ")}
    return HostObservation(
        hostname=read["hostname"],
        boot_id=read["boot_id"],
        uptime=read["uptime"],
        load=read["load"],
        processors=read["processors"],
        offset=(before - after) / 2,
        uncertainty=(before + after) / 2,
        seconds=answer.connecting + answer.received_at - answer.sent_at,
        units=None
        if units.trouble
        else parse_show(units.value["show"], names, units.value["states"], read["monotonic"]),
        failed_units=None if failed.trouble else _failed(failed.value),
        listening=frozenset(answers["listening"].value or ())
        if not answers["listening"].trouble
        else None,
        memory=None if memory.trouble else (memory.value["total"], memory.value["available"]),
        file_systems=tuple(
            FileSystem(mount=mount, **asked.value)
            for mount, asked in disks.items()
            if not asked.trouble
        ),
        probes={name[6:]: asked for name, asked in answers.items() if name.startswith("probe ")},
        troubles={
            name: asked.trouble
            for name, asked in answers.items()
            if asked.trouble and not name.startswith("probe ")
        },
    )


def _asked(answer: Mapping[str, Any]) -> ProbeAnswer:
    if "late" in answer:
        trouble = f"no answer within {answer['late']:g} s"
        return ProbeAnswer(trouble=trouble, late=True, seconds=answer["seconds"])
    trouble = str(answer.get("error", ""))
    return ProbeAnswer(value=answer.get("value"), trouble=trouble, seconds=answer["seconds"])


def _failed(text: str) -> tuple[str, ...]:
    """Return the names of ``systemctl list-units --failed --plain --no-legend``.

    Masked ones are left out: they are not meant to run.
    """
    fields = (line.split() for line in text.splitlines() if line.strip())
    return tuple(field[0] for field in fields if field[1:2] != ["masked"])
