"""Why something may not be done, in the operator's words."""

from collections.abc import Sequence
from dataclasses import dataclass

from backstay.answers import clean
from backstay.errors import BackstayError


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """``gate`` is its name, for ``--skip-gate``; ``remedy`` is what to do or type."""

    gate: str
    reason: str
    remedy: str


class GatesRefused(BackstayError):
    """The maintenance may not start; all reasons are in ``refusals``."""

    def __init__(self, attempted: str, refusals: Sequence[Refusal]) -> None:
        self.refusals = tuple(refusals)
        shown = "".join(
            f"\n  {refusal.gate}: {clean(refusal.reason)}\n    -> {clean(refusal.remedy)}"
            for refusal in self.refusals
        )
        count = len(self.refusals)
        super().__init__(
            attempted,
            came_back=f"refused for {count} reason{'s' if count > 1 else ''}{shown}",
            remedy="resolve what is named above, then try again",
            lines=True,
        )
