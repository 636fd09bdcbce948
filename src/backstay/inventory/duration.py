"""Durations in cloud.yaml and on the command line: ``90s``, ``10m``, ``1h30m``, ``2d``."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(min|[smhd])")


def seconds(given: str | float) -> float:
    """Return a duration in seconds; a bare number is seconds already.

    Raises ValueError where it is not a duration.
    """
    if isinstance(given, int | float):
        return float(given)
    text = given.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(rf"({_PART.pattern}\s*)+", text):
        raise ValueError(f"`{given}` is not a duration such as 90s, 10m, 1h30m or 2d")
    return sum(float(count) * _SECONDS[unit] for count, unit in _PART.findall(text))


def _read(given: Any) -> Any:  # noqa: ANN401 - whatever YAML holds
    return seconds(given) if isinstance(given, str) else given


Duration = Annotated[float, BeforeValidator(_read), Field(gt=0)]
"""Seconds, written with or without a unit."""
