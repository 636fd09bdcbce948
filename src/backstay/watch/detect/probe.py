"""Probe results: what one quick probe of one part of the cloud observed."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a probe ended.

    ``LATE`` took the connection and did not answer in time (hung); ``REFUSED`` is a host that is
    there and takes no connection (nothing listens); ``SILENT`` gave no sign at all; ``FAILED``
    answered with an error. ``NO_WAY`` is an agent whose host cannot open a connection to the
    broker: its evidence is the first broken link, and a restart changes nothing. ``UNKNOWN`` could
    not be asked, which is neither good nor bad.
    """

    OK = "ok"
    LATE = "late"
    FAILED = "failed"
    REFUSED = "refused"
    SILENT = "silent"
    NO_WAY = "no-way"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is watched: a part of a service on a host, or a host itself.

    ``host`` is the inventory's name, empty for the cloud as a whole. ``service`` is a service's
    name (``keystone``), ``host`` for the host itself, ``agent`` for agents. ``name`` is the
    question (``token``, ``query``, ``reachable``, ``nova-compute``).
    """

    host: str
    service: str
    name: str

    @property
    def key(self) -> str:
        """Return its key, stable over time: ``controller/keystone/token``."""
        return f"{self.host or 'cloud'}/{self.service}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One answer. ``at`` is Unix time, ``seconds`` how long it took, None where none came.

    ``sure``: a bad result cannot come from a slow host or a bad network: a unit that
    has failed, a process that is stopped, a refusal. ``age`` is how many seconds a unit has been
    active for, None of anything else.
    """

    subject: Subject
    outcome: Outcome
    evidence: str
    at: float
    seconds: float | None = None
    sure: bool = False
    age: float | None = None

    @property
    def good(self) -> bool:
        """Return whether it is a good sign; one that could not be asked for is neither."""
        return self.outcome is Outcome.OK

    @property
    def bad(self) -> bool:
        """Return whether it is a bad sign."""
        return self.outcome not in {Outcome.OK, Outcome.UNKNOWN}
