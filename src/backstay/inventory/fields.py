"""The base of cloud.yaml's models, and the types of fields that several of them share."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from backstay.answers import clean


class Part(BaseModel):
    """A part of cloud.yaml: unknown keys are mistakes, and values do not change once read.

    Input is left out of validation errors, because it may hold secrets. Keys with a dash are
    aliases of field names; both are accepted from code.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_by_name=True
    )


_LONGEST_TEXT = 100
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(min|[smhd])")


def seconds(given: str | float) -> float:
    """Return a duration in seconds; a bare number is seconds already.

    Raises ValueError where it is not a duration.
    """
    if isinstance(given, int | float):
        return float(given)
    text = given.strip().lower()
    if len(text) > _LONGEST_TEXT:
        raise ValueError("it is too long to be a duration such as 90s, 10m, 1h30m or 2d")
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(rf"({_PART.pattern}\s*)+", text):
        raise ValueError(f"`{given}` is not a duration such as 90s, 10m, 1h30m or 2d")
    return sum(float(count) * _SECONDS[unit] for count, unit in _PART.findall(text))


def _read(given: Any) -> Any:  # noqa: ANN401 - whatever YAML holds
    return seconds(given) if isinstance(given, str) else given


LONGEST = 20 * 365 * 86400.0
Duration = Annotated[float, BeforeValidator(_read), Field(gt=0, le=LONGEST, allow_inf_nan=False)]
"""Seconds, written with or without a unit; twenty years at most."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_WORDS = re.compile(rf"{_NAME.pattern}(?: [A-Za-z0-9._-]+)*")


def name_of_length(longest: int, *, words: bool = False) -> AfterValidator:
    """Return a validator for a name that becomes part of paths, names of units and URLs.

    ``words`` allows single spaces: a cloud could always have them, and units have ``-`` for them.
    """
    pattern, what = (_WORDS, "letters, digits, - _ . and") if words else (_NAME, "letters, digits,")

    def check(given: str) -> str:
        if not pattern.fullmatch(given) or len(given) > longest:
            rest = "single spaces" if words else "- _ ."
            raise ValueError(
                f"`{clean(given, longest=longest)}` is no name: {what} {rest} only, a letter or "
                f"digit first, at most {longest} characters"
            )
        return given

    return AfterValidator(check)


Label = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f/\\]+$")]
"""A name that is only shown and recorded: in one line, and no path."""
