"""What a board controller does for each reset, and that the last word counts."""

import threading
from typing import Literal

import pytest

from backstay_lab.bmc.power import Board, DeadBoard, UnknownReset, actions


class Host:
    """A host in memory; an orderly shutdown waits until ``may_go_down`` is set."""

    name = "controller"

    def __init__(self, *, on: bool) -> None:
        self.on = on
        self.done: list[str] = []
        self.may_go_down = threading.Event()
        self.down = threading.Event()

    def power_on(self) -> None:
        self.done.append("on")
        self.on = True

    def power_off(self, *, hard: bool) -> None:
        if not hard:
            assert self.may_go_down.wait(10)
        self.done.append("hard" if hard else "soft")
        self.on = False
        self.down.set()

    def power_state(self) -> Literal["on", "off"]:
        return "on" if self.on else "off"


def alive() -> bool:
    return False


@pytest.mark.parametrize(
    ("reset", "when_on", "when_off"),
    [
        ("On", (), ("on",)),
        ("ForceOff", ("hard-off",), ()),
        ("GracefulShutdown", ("soft-off",), ()),
        ("GracefulRestart", ("soft-off", "on"), ()),
        ("ForceRestart", ("hard-off", "on"), ()),
        ("PushPowerButton", ("soft-off",), ("on",)),
    ],
)
def test_resets(reset: str, when_on: tuple[str, ...], when_off: tuple[str, ...]) -> None:
    assert actions(reset, on=True) == when_on
    assert actions(reset, on=False) == when_off


def test_an_unknown_reset_names_those_that_there_are() -> None:
    with pytest.raises(UnknownReset) as refused:
        actions("Nmi", on=True)
    assert "GracefulShutdown" in refused.value.remedy


def test_a_forced_power_off_calls_off_the_orderly_restart_under_way() -> None:
    host = Host(on=True)
    board = Board(host, alive)
    board.reset("GracefulRestart")
    board.reset("ForceOff")
    host.may_go_down.set()
    for thread in threading.enumerate():
        if thread.name == "reset-controller":
            thread.join(10)
    assert "on" not in host.done
    assert not host.on


def test_an_orderly_shutdown_does_not_keep_the_client_waiting() -> None:
    host = Host(on=True)
    Board(host, alive).reset("GracefulShutdown")
    assert host.on
    host.may_go_down.set()
    assert host.down.wait(10)


def test_a_dead_board_cannot_be_powered_on() -> None:
    host = Host(on=False)
    board = Board(host, lambda: True)
    with pytest.raises(DeadBoard):
        board.reset("On")
    assert not host.on
