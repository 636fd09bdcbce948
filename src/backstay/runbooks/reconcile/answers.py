"""What a host answers to ``onhost.answer``, as it arrives, and how each part of it is read.

A part that cannot be read is a question without an answer. The others count all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from backstay.answers import BadAnswer, Line, Seconds, part
from backstay.jsondata import Json
from backstay.services.rows import Query, Row, Table, read_rows

T = TypeVar("T")
RECORDS = "records"
"""The name of the question to the databases."""
_NOTHING: Any = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenAnswer:
    """A value, an error, or the bound in seconds within which nothing came."""

    value: Json = _NOTHING
    error: Line | None = None
    late: Seconds | None = None

    def read(self, kind: type[T]) -> T:
        """Return the value, as ``kind``. Raises BadAnswer where there is none, or another."""
        if self.late is not None:
            raise BadAnswer(f"no answer within {self.late:g} s")
        if self.error is not None:
            raise BadAnswer(self.error)
        if self.value is _NOTHING:
            raise BadAnswer("no answer")
        try:
            return part(kind, self.value)
        except BadAnswer as error:
            raise BadAnswer(f"could not read its answer: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAnswers:
    """The names that a host goes by, and its answers by question."""

    names: tuple[Line, ...]
    answers: Mapping[str, GivenAnswer] = field(default_factory=dict)

    def read(self, question: str, kind: type[T]) -> T:
        """Return the answer to a question, as ``kind``. Raises BadAnswer with the reason."""
        return self.answers.get(question, GivenAnswer()).read(kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableAnswer:
    """The databases' answer to one query: a table, or an error."""

    value: Table | None = None
    error: Line = ""

    def read(self, query: Query) -> Sequence[Row]:
        """Return the rows. Raises BadAnswer where there are none, or one cannot be read."""
        if self.value is None:
            raise BadAnswer(self.error or "no answer")
        try:
            return read_rows(query, self.value)
        except BadAnswer as error:
            raise BadAnswer(f"could not read the records: {error}") from error
