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


class Scene:
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
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_silent_host_is_down_when_others_say_so(scene: Scene) -> None:
    assert scene.looks("controller", Outcome.OK) is State.UP
    assert scene.others.quickly == []
    assert scene.looks("controller", Outcome.SILENT) is State.DOWN
    assert scene.others.quickly == [("controller", set())]
    assert scene.said() is Kind.HOST_OFF


def test_a_host_that_others_see_is_suspect_and_no_more(scene: Scene) -> None:
    scene.others.says = Corroboration(kind=None, reason="it answers")
    for _ in range(5):
        assert scene.looks("controller", Outcome.SILENT) is State.SUSPECT
    assert scene.suspects.corroborations == {}


def test_who_does_not_answer_either_is_known(scene: Scene) -> None:
    scene.others.says = Corroboration(kind=None, reason="")
    scene.looks("proxy", Outcome.SILENT)
    scene.looks("controller", Outcome.SILENT)
    assert ("controller", {"proxy"}) in scene.others.quickly


def test_a_host_that_answers_pings_only_is_looked_at_wholly(scene: Scene) -> None:
    scene.others.says = corroboration(Kind.HOST_UNREACHABLE)
    assert scene.looks("controller", Outcome.LATE) is State.DOWN
    assert scene.others.wholly == ["controller"]


def test_a_worse_word_counts_at_once_and_a_better_one_when_it_is_said_for_long(
    scene: Scene,
) -> None:
    scene.others.says = corroboration(Kind.HOST_DEAD)
    scene.looks("controller", Outcome.SILENT)
    scene.others.says = corroboration(Kind.HOST_OFF)
    scene.looks("controller", Outcome.SILENT)
    assert scene.said() is Kind.HOST_OFF
    scene.others.says = corroboration(Kind.HOST_DEAD)  # it has power again, and boots
    for _ in range(SAID - 1):
        scene.looks("controller", Outcome.SILENT)
        assert scene.said() is Kind.HOST_OFF
    scene.looks("controller", Outcome.SILENT)
    assert scene.said() is Kind.HOST_DEAD


def test_a_host_that_is_up_again_has_no_word(scene: Scene) -> None:
    scene.looks("controller", Outcome.SILENT)
    for _ in range(12):
        scene.looks("controller", Outcome.OK)
    assert scene.suspects.corroborations == {}
