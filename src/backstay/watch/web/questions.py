"""What the API is asked, checked: its OpenAPI description is made from these."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from backstay.watch.detect.status import State

LARGEST = 2**31 - 1


def _whole(given: object) -> object:
    """Take 7.0 for 7, as JSON Schema does."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


Number = Annotated[int, Field(ge=1, le=LARGEST), BeforeValidator(_whole)]
Limit = Annotated[int, Field(ge=1, le=200)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
Key = Annotated[str, StringConstraints(pattern=r"^[ -~]{1,300}$")]
Code = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,100}$")]


class _Question(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Nothing(_Question):
    """No parameters."""


class StandingsQuestion(_Question):
    """Which subjects: all, or those of a host, a service, in a state."""

    host: Name | None = None
    service: Name | None = None
    state: State | None = None
    offset: Annotated[int, Field(ge=0, le=LARGEST)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] = 1000


class IncidentsQuestion(_Question):
    """Which incidents, the newest first; ``before`` an incident's number."""

    open: bool = False
    before: Number | None = None
    limit: Limit = 50


class RunsQuestion(_Question):
    """Which runs, the newest first; ``before`` a run's number."""

    before: Number | None = None
    limit: Limit = 20


class HistoryQuestion(_Question):
    """Which subject, by its key, and how many hours back."""

    subject: Key
    hours: Annotated[float, Field(gt=0, le=168, allow_inf_nan=False)] = 24.0


class IncidentPath(_Question):
    """An incident's number."""

    id: Number


class RunPath(_Question):
    """A run's name."""

    id: Name


class Approval(_Question):
    """A code that was sent, and the incident that it was sent for."""

    incident: Number
    code: Code
