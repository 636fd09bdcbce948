"""What a board controller does to its host's power, whatever the protocol in front of it."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

from backstay.errors import BackstayError
from backstay_lab.errors import LabError

LOG = logging.getLogger(__name__)

Action = Literal["on", "hard-off", "soft-off"]

# Redfish's ResetType -> what is done to a host that is on, and to one that is off. A restart of a
# host that is off does nothing, as sushy-tools' own drivers have it.
ACTIONS: dict[str, tuple[tuple[Action, ...], tuple[Action, ...]]] = {
    "On": ((), ("on",)),
    "ForceOn": ((), ("on",)),
    "ForceOff": (("hard-off",), ()),
    "GracefulShutdown": (("soft-off",), ()),
    "GracefulRestart": (("soft-off", "on"), ()),
    "ForceRestart": (("hard-off", "on"), ()),
    "PushPowerButton": (("soft-off",), ("on",)),
}


class PowerControl(Protocol):
    """A host whose power can be switched: what a board controller needs of the lab's host."""

    @property
    def name(self) -> str:
        """Return the host's name."""

    def power_on(self) -> None:
        """Start the host; nothing where it is on."""

    def power_off(self, *, hard: bool) -> None:
        """Stop the host, at once where ``hard``; return when it is off."""

    def power_state(self) -> Literal["on", "off"]:
        """Return whether the host is on."""


class UnknownReset(LabError):
    """A reset type that no board controller of the lab knows."""


class DeadBoard(LabError):
    """The host's board is dead: it cannot be powered on."""


def actions(reset_type: str, *, on: bool) -> tuple[Action, ...]:
    """Return what a Redfish reset type means for a host that is on or off.

    Raises UnknownReset for a type that is not in ACTIONS.
    """
    try:
        when_on, when_off = ACTIONS[reset_type]
    except KeyError:
        raise UnknownReset(
            f"Reset of type {reset_type}",
            came_back="this board controller does not know that type",
            remedy=f"use one of {', '.join(ACTIONS)}",
        ) from None
    return when_on if on else when_off


class Board:
    """One host's board: carries out resets, the slow ones after it has answered.

    An orderly shutdown takes as long as the host takes, and a real controller does not wait for
    it. Every new reset calls off what an earlier one still had to do, so that a forced power-off
    during an orderly restart leaves the host off.
    """

    def __init__(self, host: PowerControl, is_dead: Callable[[], bool]) -> None:
        self._host = host
        self._is_dead = is_dead
        self._lock = threading.Lock()
        self._resets = 0

    @property
    def name(self) -> str:
        """Return the host's name."""
        return self._host.name

    def is_on(self) -> bool:
        """Return whether the host has power and runs."""
        return self._host.power_state() == "on"

    def reset(self, reset_type: str) -> None:
        """Carry out a Redfish reset; a clean shutdown continues after this returns.

        Raises UnknownReset, DeadBoard, or what the lab's host raises.
        """
        todo = actions(reset_type, on=self.is_on())
        if "on" in todo and self._is_dead():
            raise DeadBoard(
                f"Power-on of {self.name}",
                came_back="power supply OK, but the system board does not start",
                remedy="the board is dead: rebuild the host on a spare",
            )
        with self._lock:
            self._resets += 1
            mine = self._resets
        if "soft-off" in todo:
            threading.Thread(
                target=self._carry_out_logged, args=(todo, mine), name=f"reset-{self.name}"
            ).start()
        else:
            self._carry_out(todo, mine)

    def _carry_out(self, todo: tuple[Action, ...], mine: int) -> None:
        for action in todo:
            if self._resets != mine:
                LOG.info("%s: a later reset calls off '%s'", self.name, action)
                return
            LOG.info("%s: %s", self.name, action)
            if action == "on":
                self._host.power_on()
            else:
                self._host.power_off(hard=action == "hard-off")

    def _carry_out_logged(self, todo: tuple[Action, ...], mine: int) -> None:
        try:
            self._carry_out(todo, mine)
        except BackstayError as error:
            LOG.error("%s; %s", error, error.remedy)
        except Exception:
            # The end of a background thread: errors can only be logged.
            LOG.exception("%s: reset failed", self.name)


NAME = "PowerRestorePolicy"
ALWAYS_OFF, LAST_STATE = "AlwaysOff", "LastState"
POLICIES = ("AlwaysOn", ALWAYS_OFF, LAST_STATE)


def policy(file: Path) -> str:
    """Return the policy that is stored in a file, ``LastState`` where none was set."""
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return LAST_STATE
