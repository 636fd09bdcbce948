"""A secret that cloud.yaml names: in a file, in an environment variable, or written there."""

import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from backstay.errors import InventoryError
from backstay.inventory.fields import Part
from backstay.ownership import NotTrusted, TooLong, read_own


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    """Make ``path`` absolute: relative paths are relative to the file that names them."""
    folder = (info.context or {}).get("folder", Path())
    absolute: Path = folder / path.expanduser()
    return absolute


BesideFile = Annotated[Path, AfterValidator(_beside_the_file)]
"""A path in cloud.yaml, relative to it; ``~`` is the operator's home."""


_LONGEST = 1 << 16


class Secret(Part):
    """Exactly one of ``file``, ``env`` (a variable's name) and ``value``.

    A plain string in cloud.yaml is ``value``. Neither ``repr`` nor errors show it.
    """

    file: BesideFile | None = None
    env: str | None = None
    value: SecretStr | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain_string_is_value(cls, given: Any) -> Any:  # noqa: ANN401 - whatever YAML holds
        return {"value": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(source is not None for source in (self.file, self.env, self.value)) != 1:
            raise ValueError("expected exactly one of `file`, `env` and `value`")
        return self

    def reveal(self) -> str:
        """Return the secret: a file's content without its last newline, or the variable's value.

        Raises InventoryError where the file cannot be read or the variable is not set.
        """
        if self.value is not None:
            return self.value.get_secret_value()
        if self.env is not None:
            return _from_environment(self.env)
        assert self.file is not None  # noqa: S101 - _exactly_one holds
        return _from_file(self.file)


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise InventoryError(
            f"reading the secret in the environment variable {name}",
            came_back="it is not set",
            remedy=f"set it: export {name}=…",
        )
    return value


def _from_file(path: Path) -> str:
    attempted = f"reading the secret in {path}"
    try:
        return read_own(path, most=_LONGEST).decode("utf-8").removesuffix("\n")
    except NotTrusted as error:
        raise InventoryError(attempted, came_back=str(error), remedy=error.remedy) from error
    except (OSError, ValueError, TooLong) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InventoryError(
            attempted,
            came_back=str(error) if isinstance(error, TooLong) else reason,
            remedy=f"check that {path} exists and that you may read it",
        ) from error
