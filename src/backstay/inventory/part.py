"""The base of every model of cloud.yaml."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A part of cloud.yaml: unknown keys are mistakes, and values do not change once read.

    Input is left out of validation errors, because it may hold secrets. Keys with a dash are
    aliases of field names; both are accepted from code.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, validate_by_name=True
    )
