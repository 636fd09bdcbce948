"""A plan that waits for a person, as a plain value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A plan that waits: ``run`` is its name in the journal. Times are Unix seconds.

    ``used`` is when it was approved, None while it was not, ``by`` who did. ``refused`` means that
    it is not to be begun any more.
    """

    incident: int
    run: str
    made: float
    until: float
    used: float | None
    by: str
    refused: bool

    def waits(self, now: float) -> bool:
        """Say whether it can still be approved."""
        return self.used is None and not self.refused and now < self.until
