"""Typed results of steps: what is written is read back, of older versions too."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from backstay.journal.action import Running, StepKind
from backstay.journal.plan import Plan, Step
from backstay.journal.records import JournalError
from backstay.journal.result import StepResult


@dataclass(frozen=True)
class Inner:
    name: str
    macs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Fenced(StepResult):
    OLD_KEYS: ClassVar[Mapping[str, str]] = {"way": "how"}

    how: str
    at: float = 0.0
    found: tuple[Inner, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)


FENCE = StepKind("fence", Fenced)


def running(results: Mapping[str, Any]) -> Running:
    step = Step(id="a.build", action="build", target="a", does="build it", bound=1)
    plan = Plan(runbook="trial", cloud="lab", targets=("a", "b"), steps=(step,))
    return Running(
        run="trial-1", plan=plan, step=step, results=results, started=0.0, report=lambda _: None
    )


def test_what_was_written_is_read_back() -> None:
    fenced = Fenced(how="power", at=3.5, found=(Inner("c1", ("aa",)),), summary="it is off")
    assert Fenced.from_json(fenced.to_json()) == fenced
    results = {"a.fence": fenced.to_json(), "b.fence": {"how": "b"}}
    assert running(results).result(FENCE) == fenced
    assert running(results).result(FENCE, "b") == Fenced(how="b")


def test_older_keys_are_read_and_unknown_ones_are_ignored() -> None:
    old = {"way": "power", "told": "it is off", "never": 1}
    assert Fenced.from_json(old) == Fenced(how="power", summary="it is off")


def test_a_step_that_is_not_done_has_no_result() -> None:
    assert running({}).find(FENCE) is None
    with pytest.raises(JournalError, match=r"the step a\.fence of this run is not done"):
        running({}).result(FENCE)


@pytest.mark.parametrize("broken", [{}, {"how": ["power"]}, {"how": "power", "found": "x"}])
def test_what_cannot_be_read_is_an_error_of_the_journal(broken: Mapping[str, Any]) -> None:
    with pytest.raises(JournalError, match=r"\(Fenced\)"):
        running({"a.fence": broken}).result(FENCE)
