"""The form in which each service says what it consists of and how it is asked whether it works.

A service is data plus a few short functions. Functions that *ask* touch the outside only through
what they are given; functions that *judge* are pure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from backstay.finding import Severity
from backstay.inventory.words import Flavour, Role


class Api(Protocol):
    """The APIs of one cloud, authenticated. Calls block (they run on threads) and are bounded."""

    def get(self, service_type: str, path: str) -> Any:  # noqa: ANN401 - JSON is whatever the API sends
        """Return the decoded JSON of ``GET path`` at the catalogue's endpoint.

        ``service_type`` is a catalogue type (``image``, ``compute``); ``path`` begins with ``/``
        and is appended to the endpoint as the catalogue gives it (``/v2/images``).
        Raises ApiUnreachable, ApiRefused or ApiFailed.
        """

    def head(self, service_type: str, path: str) -> Mapping[str, str]:
        """Return the response headers (lower-case names) of ``HEAD path``. Raises as ``get``."""

    def authenticate(self) -> Mapping[str, Any]:
        """Return a fresh token's data (``user``, ``project``, ``expires_at``), never the token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A systemd unit that a role requires: ``name`` without ``.service``.

    ``ports`` are TCP ports that must be listening on the host. ``purpose`` says what users lose
    when it does not run ("no new instances can be built").
    """

    name: str
    role: Role
    purpose: str
    ports: tuple[int, ...] = ()
    flavour: Flavour = Flavour.DEBIAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judgement on one answer, before it is bound to a host."""

    subject: str
    severity: Severity
    evidence: str
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProbe:
    """A question that a host answers about itself (a query to its own MariaDB, say).

    ``ask`` is shipped to the host as source text and run by its ``python3``: standard library
    only, imports inside, no closure, returns JSON-serialisable data, bounded by itself to
    ``bound`` seconds. ``judge`` turns that data into verdicts.
    """

    name: str
    role: Role
    ask: Callable[[], Any]
    judge: Callable[[Any], Sequence[Verdict]]
    bound: float = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiProbe:
    """A question to the service's API, whose answer proves that it works ("image list").

    ``ask`` returns the verdicts on its answer; errors of the API may be raised, the caller makes
    them findings.
    """

    name: str
    ask: Callable[[Api], Sequence[Verdict]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A service process that works for the controller through RabbitMQ, as its API reports it.

    ``heartbeat`` is the time (UTC, aware) of its last report, None where the API gives none.
    ``interval`` is how often it should report, in seconds; ``down_after`` is after how many
    seconds the API calls it down.
    """

    binary: str
    host: str
    up: bool
    enabled: bool
    heartbeat: datetime | None
    interval: float
    down_after: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """All that Backstay knows about one service.

    ``databases`` and ``paths`` (files and directories on the role's hosts) are what a backup must
    hold; ``restore_order`` says when it is started after a restore, lowest first.
    """

    name: str
    title: str
    restore_order: int
    units: tuple[Unit, ...] = ()
    databases: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    host_probes: tuple[HostProbe, ...] = ()
    api_probes: tuple[ApiProbe, ...] = ()
    agents: Callable[[Api], Sequence[Agent]] | None = None
    endpoint_types: tuple[str, ...] = field(default=())
