"""A maintenance window as cloud.yaml has it."""

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

from backstay.inventory.duration import Duration
from backstay.inventory.part import Part


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
        match = _SHORT.fullmatch(given.strip())
        if match is None:
            raise ValueError(f"`{given}` is not a window such as `mon-fri 22:00-04:00 UTC`")
        return {key: value for key, value in match.groupdict().items() if value is not None}

    @model_validator(mode="after")
    def _ends_somehow(self) -> Self:
        if (self.end is None) == (self.duration is None):
            raise ValueError("expected exactly one of `end` and `duration`")
        return self
