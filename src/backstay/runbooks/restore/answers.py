"""What a host answers to the steps of a restore, as it is read."""

from collections.abc import Sequence
from dataclasses import dataclass

from backstay.answers import Count, Line


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """Something was put in place; ``kept`` is where what it replaced is, empty if nothing."""

    kept: Line = ""
    placed: Count = 0


@dataclass(frozen=True, kw_only=True)
class UnitsStopped:
    """The answer of ``onhost_units.stop``: units that still run, and what starts them again."""

    running: Sequence[Line] = ()
    triggers: Sequence[Line] = ()


@dataclass(frozen=True, kw_only=True)
class UnitsStarted:
    """The answer of ``onhost_units.start``: why that failed, empty where it did not."""

    error: Line = ""
