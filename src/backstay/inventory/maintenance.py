"""How a site does maintenance: what it expects and allows, its gates and its hooks."""

from typing import Any, Self

from pydantic import Field, model_validator

from backstay.inventory.duration import Duration
from backstay.inventory.part import Part


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
