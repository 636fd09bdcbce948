"""The typed result of a step: a dataclass per kind of step, stored in the journal as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from pydantic import TypeAdapter, ValidationError

from backstay.journal.records import JournalError, with_current_keys


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step produced, without secrets; later steps and the report read it.

    Subclasses are frozen dataclasses whose fields are JSON values, other dataclasses, or tuples
    and mappings of these. ``summary`` is for the operator: one line, empty if there is nothing
    to add.
    """

    OLD_KEYS: ClassVar[Mapping[str, str]] = {}
    """Keys that older versions wrote, with the field that each is now."""

    summary: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON data; ``from_json`` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the result that ``to_json`` gave, of an older version too.

        Unknown keys are ignored. Raises JournalError where a field lacks or has another type.
        """
        read = {cls.OLD_KEYS.get(key, key): value for key, value in with_current_keys(data).items()}
        try:
            result: Self = _reader(cls).validate_python(read)
        except ValidationError as error:
            first = error.errors()[0]
            raise JournalError(
                f"reading the result of a step ({cls.__name__})",
                came_back=f"{'.'.join(map(str, first['loc']))}: {first['msg']}",
                remedy="use the version of Backstay that wrote it",
            ) from error
        return result


_READERS: dict[type[StepResult], TypeAdapter[Any]] = {}


def _reader(kind: type[StepResult]) -> TypeAdapter[Any]:
    if kind not in _READERS:
        _READERS[kind] = TypeAdapter(kind)
    return _READERS[kind]
