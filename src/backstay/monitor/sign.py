"""A sign: what one quick question to one part of the cloud brought."""

from dataclasses import dataclass
from enum import StrEnum


class Look(StrEnum):
    """How a question ended.

    ``LATE`` took the connection and did not answer in time (hung); ``REFUSED`` is a host that is
    there and takes no connection (nothing listens); ``SILENT`` gave no sign at all; ``FAILED``
    answered with an error. ``UNKNOWN`` could not be asked, which is neither good nor bad.
    """

    OK = "ok"
    LATE = "late"
    FAILED = "failed"
    REFUSED = "refused"
    SILENT = "silent"
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
        """Return it as one word, stable over time: ``controller/keystone/token``."""
        return f"{self.host or 'cloud'}/{self.service}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One answer. ``at`` is Unix time, ``seconds`` how long it took, None where none came."""

    subject: Subject
    look: Look
    evidence: str
    at: float
    seconds: float | None = None
