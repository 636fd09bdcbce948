"""Hosts that do not answer are looked at; what others say of them makes them down."""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from backstay.watch.detect.corroboration import Corroboration
from backstay.watch.detect.probe import Outcome, ProbeResult
from backstay.watch.detect.status import State
from backstay.watch.detect.suspects import SAID, SuspectHosts
from backstay.watch.detect.topology import host_subject
from backstay.watch.detect.tracker import StateTracker
from backstay.watch.incidents.incident import Kind
from tests.watch.correlation_inputs import corroboration, small


class Others:
    """What others say, and of whom they were asked."""

    def __init__(self) -> None:
        self.says: Corroboration = corroboration(Kind.HOST_OFF)
        self.quickly: list[tuple[str, set[str]]] = []
        self.wholly: list[str] = []

    async def quick(self, host: str, unreached: Collection[str]) -> Corroboration:
        self.quickly.append((host, set(unreached)))
        return self.says

    async def whole(self, host: str) -> Corroboration:
        self.wholly.append(host)
        return self.says


class Setup:
    def __init__(self, folder: Path) -> None:
        self.tracker = StateTracker(small(folder), 10.0, lambda _: "")
        self.others = Others()
        self.suspects = SuspectHosts(self.tracker, self.others, self.aside)  # type: ignore[arg-type]
        self.at = 0.0

    @staticmethod
    def aside(_name: str, work: Any) -> None:
        asyncio.run(work())

    def looks(self, host: str, outcome: Outcome) -> State:
        self.at += 1
        result = ProbeResult(subject=host_subject(host), outcome=outcome, evidence="", at=self.at)
        self.tracker.take(result)
        self.suspects._looked.clear()
        self.suspects.confirm_suspects()
        return self.tracker.targets[result.subject.key].state

    def said(self) -> Kind | None:
        return self.suspects.corroborations["controller"].kind


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_a_silent_host_is_down_when_others_say_so(setup: Setup) -> None:
    assert setup.looks("controller", Outcome.OK) is State.UP
    assert setup.others.quickly == []
    assert setup.looks("controller", Outcome.SILENT) is State.DOWN
    assert setup.others.quickly == [("controller", set())]
    assert setup.said() is Kind.HOST_OFF


def test_a_host_that_others_see_is_suspect_and_no_more(setup: Setup) -> None:
    setup.others.says = Corroboration(kind=None, reason="it answers")
    for _ in range(5):
        assert setup.looks("controller", Outcome.SILENT) is State.SUSPECT
    assert setup.suspects.corroborations == {}


def test_who_does_not_answer_either_is_known(setup: Setup) -> None:
    setup.others.says = Corroboration(kind=None, reason="")
    setup.looks("proxy", Outcome.SILENT)
    setup.looks("controller", Outcome.SILENT)
    assert ("controller", {"proxy"}) in setup.others.quickly


def test_a_host_that_answers_pings_only_is_looked_at_wholly(setup: Setup) -> None:
    setup.others.says = corroboration(Kind.HOST_UNREACHABLE)
    assert setup.looks("controller", Outcome.LATE) is State.DOWN
    assert setup.others.wholly == ["controller"]


def test_a_worse_word_counts_at_once_and_a_better_one_when_it_is_said_for_long(
    setup: Setup,
) -> None:
    setup.others.says = corroboration(Kind.HOST_DEAD)
    setup.looks("controller", Outcome.SILENT)
    setup.others.says = corroboration(Kind.HOST_OFF)
    setup.looks("controller", Outcome.SILENT)
    assert setup.said() is Kind.HOST_OFF
    setup.others.says = corroboration(Kind.HOST_DEAD)  # it has power again, and boots
    for _ in range(SAID - 1):
        setup.looks("controller", Outcome.SILENT)
        assert setup.said() is Kind.HOST_OFF
    setup.looks("controller", Outcome.SILENT)
    assert setup.said() is Kind.HOST_DEAD


def test_a_host_that_is_up_again_has_no_word(setup: Setup) -> None:
    setup.looks("controller", Outcome.SILENT)
    for _ in range(12):
        setup.looks("controller", Outcome.OK)
    assert setup.suspects.corroborations == {}
