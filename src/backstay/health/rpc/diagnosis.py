"""What is the matter with an agent: the signatures, and a judgement on one agent."""

from dataclasses import dataclass
from enum import StrEnum

from backstay.health.rpc.evidence import AgentSeen


class Signature(StrEnum):
    """What is the matter with an agent."""

    ATTACHED = "attached"
    SETTLING = "settling"
    DEAF = "deaf"
    HALF_OPEN = "half-open"
    FROZEN = "frozen"
    DOWN = "down"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDiagnosis:
    """A judgement on one agent.

    ``restart`` tells that restarting its unit is what mends it. Where it is not, ``remedy`` says
    what is to be done instead; for an agent that is settling that is nothing.
    """

    seen: AgentSeen
    signature: Signature
    evidence: str
    restart: bool = False
    remedy: str = ""

    @property
    def name(self) -> str:
        """Return what it is called: ``nova-compute on compute1``."""
        return f"{self.seen.agent.binary} on {self.seen.host or self.seen.agent.host}"
