"""How a site does maintenance: windows, what it expects and allows, its gates and hooks."""

import re
from datetime import date, time
from enum import IntEnum
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    model_validator,
)

from backstay.answers import clean
from backstay.inventory.fields import Duration, Part


class Hook(Part):
    """Something of the site's own to call: a ``command`` or a ``url``, given up after ``bound``.

    It gets what is done in variables (``BACKSTAY_RUN``, …) or as JSON, and may refuse: by an
    exit status other than 0, by an HTTP status of 400 or more. A plain text is a command, or a URL
    where it begins like one.
    """

    command: str | None = None
    url: str | None = Field(default=None, pattern=r"^https?://[^/]+")
    bound: Duration = 60.0

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:  # noqa: ANN401 - whatever YAML holds
        if not isinstance(given, str):
            return given
        return {"url" if given.startswith(("http://", "https://")) else "command": given}

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.command is None) == (self.url is None):
            raise ValueError("expected exactly one of `command` and `url`")
        return self


class Hooks(Part):
    """When hooks are called, in order.

    ``before`` may refuse the maintenance (a change ticket, silencing of monitoring); ``backup``
    takes the site's own backup just before; ``drain`` stops new work from reaching the host,
    ``undrain`` lets it return; ``after`` is called when the checks are green again.
    """

    before: tuple[Hook, ...] = ()
    backup: tuple[Hook, ...] = ()
    drain: tuple[Hook, ...] = ()
    undrain: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()


class Maintenance(Part):
    """Under ``maintenance:`` in cloud.yaml; all durations may be written as ``10m``.

    ``expected`` is how long a reboot is taken to last while there is no history of it. ``down``
    and ``up`` are how long a host may take to go down and to come back, ``agents`` how long its
    agents may take to be attached again, ``settle`` how long everything must stay green.
    ``reconnect`` is how long after the broker came back agents are given to reconnect on their own.
    ``power_cycle`` allows the BMC to help where the host itself does not reboot.
    ``backup`` takes a backup of the host just before, and proves it.
    """

    expected: Duration = 900.0
    down: Duration = 300.0
    up: Duration = 900.0
    units: Duration = 600.0
    functions: Duration = 600.0
    agents: Duration = 600.0
    settle: Duration = 30.0
    reconnect: Duration = 90.0
    power_cycle: bool = True
    backup: bool = False
    hooks: Hooks = Hooks()


class Day(IntEnum):
    """A day of the week, as ``date.weekday()`` counts."""

    MON = 0
    TUE = 1
    WED = 2
    THU = 3
    FRI = 4
    SAT = 5
    SUN = 6


EVERY_DAY = tuple(Day)
_NAMES = {"daily": EVERY_DAY, "weekdays": EVERY_DAY[:5], "weekend": EVERY_DAY[5:]}
_TO = "[-\N{EN DASH}]"
_SHORT = re.compile(
    rf"(?:(?P<days>(?:[a-z,\s]|{_TO})+)\s+)?"
    rf"(?P<start>\d{{1,2}}:\d\d)\s*{_TO}\s*(?P<end>\d{{1,2}}:\d\d)"
    r"(?:\s+(?P<zone>[A-Za-z0-9_+/-]+))?"
)
_LONGEST_SHORT = 200
LONGEST = 7 * 86400.0


def _days(given: Any) -> Any:  # noqa: ANN401 - whatever YAML holds
    """Read ``daily``, ``fri``, ``mon-fri``, ``sat,sun`` or a list of these."""
    words = re.split(r"[,\s]+", given.strip()) if isinstance(given, str) else given
    if not isinstance(words, list):
        return given
    return tuple(day for word in words for day in _one(str(word).lower()))


def _one(word: str) -> tuple[Day, ...]:
    if word in _NAMES:
        return _NAMES[word]
    names = [part[:3].upper() for part in re.split(_TO, word)]
    if len(names) > 2 or any(name not in Day.__members__ for name in names):
        raise ValueError(
            f"`{word}` is not a day: mon … sun, mon-fri, daily, weekdays or weekend are"
        )
    first, last = Day[names[0]], Day[names[-1]]
    count = (last - first) % 7 + 1
    return tuple(Day((first + offset) % 7) for offset in range(count))


def _time(given: Any) -> Any:  # noqa: ANN401 - as above
    if isinstance(given, int):  # 01:00 without quotes, in YAML 1.1: minutes
        if not 0 <= given < 24 * 60:
            raise ValueError("expected a time of day such as 22:00")
        return time(given // 60, given % 60)
    if isinstance(given, str) and re.fullmatch(r"\d:\d\d", given):
        return f"0{given}"
    return given


def _zone(given: str) -> str:
    try:
        ZoneInfo(given)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"`{given}` is not a time zone such as Europe/Berlin or UTC") from None
    return given


Clock = Annotated[time, BeforeValidator(_time)]


class Window(Part):
    """When maintenance may be done: ``start`` by the clock of ``zone`` on each of ``days``.

    It closes at ``end`` by the same clock (the next day's, where that is not after ``start``), or
    ``duration`` seconds later. ``closed`` (``except`` in the file) are the dates on which it does
    not open. As text: ``mon-fri 22:00-04:00 Europe/Berlin``.
    """

    days: Annotated[tuple[Day, ...], BeforeValidator(_days)] = Field(
        default=EVERY_DAY, min_length=1
    )
    start: Clock
    end: Clock | None = None
    duration: Annotated[Duration, Field(le=LONGEST)] | None = None
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    closed: frozenset[date] = Field(default=frozenset(), alias="except")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:  # noqa: ANN401 - as above
        if not isinstance(given, str):
            return given
        # Trying every way to part a long text takes hours.
        match = _SHORT.fullmatch(given.strip()) if len(given) <= _LONGEST_SHORT else None
        if match is None:
            shown = clean(given, longest=80)
            raise ValueError(f"`{shown}` is not a window such as `mon-fri 22:00-04:00 UTC`")
        return {key: value for key, value in match.groupdict().items() if value is not None}

    @model_validator(mode="after")
    def _ends_somehow(self) -> Self:
        if (self.end is None) == (self.duration is None):
            raise ValueError("expected exactly one of `end` and `duration`")
        return self
