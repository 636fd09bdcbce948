"""A host's power by its BMC over Redfish, with sushy.

This module imports sushy, which takes its time: import it where power is asked or changed.
https://docs.openstack.org/sushy/latest/reference/usage.html
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import sushy
from sushy.exceptions import HTTPError

from backstay.errors import PowerError, PowerOrdered
from backstay.transports import power, redfish_errors
from backstay.transports.hardware import Hardware, hardware_of
from backstay.transports.power import ASK_BOUND, cut_until_off
from backstay.transports.redfish_system import patch, reset, reset_values, system_of
from backstay.transports.sent import log_call
from backstay.transports.targets import BmcTarget
from backstay.transports.threads import on_thread
from backstay.transports.urls import without_secrets

T = TypeVar("T")

RESTORE, ALWAYS_OFF = "PowerRestorePolicy", "AlwaysOff"
EXPLAIN_BOUND = 12.0
"""Seconds for reading the certificate of a BMC that is not trusted."""
ON, OFF, RESTART, CYCLE = "On", "ForceOff", "ForceRestart", "PowerCycle"
"""Types of reset."""


class Redfish:
    """The power of one host (``transports.power.Power``)."""

    def __init__(self, target: BmcTarget) -> None:
        self.target = target
        logging.getLogger("sushy").setLevel(logging.CRITICAL)  # it logs requests with passwords

    async def cycle(self) -> None:
        """Restart the host by force, or power it on where it is off.

        By ForceOff and On where the BMC offers nothing else. Raises PowerError, and PowerOrdered
        where it was powered off and could not be powered on.
        """
        attempted = "power-cycling"

        def look(system: Any) -> tuple[bool, set[str] | None]:  # noqa: ANN401 - sushy is untyped
            return system.power_state == sushy.POWER_STATE_OFF, reset_values(system)

        off, offered = await self._ask(attempted, look)
        if not off:
            for kind in (RESTART, CYCLE):
                if offered is None or kind in offered:
                    try:
                        # Where that is not clear the next boot tells.
                        await self._order(attempted, kind, again=True)
                    except _NotOffered:
                        continue
                    return
            await self.off()
        await self._on(attempted, was_off=off)

    async def _on(self, attempted: str, *, was_off: bool) -> None:
        """Power it on; again for as long as a BMC is busy that has just powered it off."""
        until = time.monotonic() + power.OFF_BOUND
        while True:
            try:
                unclear = await self._order(attempted, ON, again=True)
                if not unclear or await power.state_soon(self):
                    return
                raise self._error(attempted, unclear)
            except PowerError as error:
                if was_off and not isinstance(error, PowerOrdered):
                    raise
                if time.monotonic() > until:
                    raise PowerOrdered(
                        error.attempted,
                        came_back=f"{OFF} was sent and came about, {ON} did not: {error.came_back}",
                        remedy=f"it is off: power it on by hand; {error.remedy}",
                    ) from error
            await asyncio.sleep(power.OFF_PAUSE)

    async def state(self, *, bound: float = ASK_BOUND) -> bool | None:
        """Return whether the host is on; None while it is being switched. Raises PowerError."""
        states = {sushy.POWER_STATE_ON: True, sushy.POWER_STATE_OFF: False}
        state = await self._ask("asking for the power of", lambda s: s.power_state, bound=bound)
        return states.get(state)

    async def hardware(self) -> Hardware:
        """Return the ids of the machine behind the BMC. Raises PowerError.

        https://redfish.dmtf.org/schemas/v1/ComputerSystem.v1_22_0.json (UUID, SerialNumber)
        """

        def read(system: Any) -> Hardware:  # noqa: ANN401 - sushy is untyped
            found = [system.json.get(name) for name in ("UUID", "SerialNumber")]
            return hardware_of(*(one if isinstance(one, str) else "" for one in found))

        return await self._ask("asking which machine is behind", read)

    async def off(self) -> None:
        """Take the host's power by force; return when it is read back as off.

        An orderly shutdown would wait for a host that may hang. Also where the BMC says that it is
        off already the order is sent: what it says may be old. Raises PowerError where nothing was
        sent, PowerOrdered where it is not known to be off since.
        """
        attempted = "powering off"
        try:
            await cut_until_off(self, lambda: self._order(attempted, OFF), words=OFF)
        except PowerOrdered as error:
            told = self._error(attempted, error.came_back)
            raise PowerOrdered(
                told.attempted,
                came_back=told.came_back,
                remedy=f"it may be off, or go off yet: {told.remedy}",
            ) from error

    async def keep_off(self) -> list[str]:
        """Set what keeps the host from coming on by itself; return what could not be set, and why.

        Without a boot override it starts nothing but its own disk when it is powered on by hand;
        ``PowerRestorePolicy`` keeps it off when the mains power returns.
        https://redfish.dmtf.org/schemas/v1/ComputerSystem.v1_22_0.json
        """
        tried = {"boot override": _no_override, "power after an outage": _stay_off}
        missed = []
        for what, setting in tried.items():
            try:
                missed += await self._ask(f"setting {what} of", setting)
            except PowerError as error:
                missed.append(f"{what}: {error.came_back}")
        return missed

    async def _order(self, attempted: str, kind: str, *, again: bool = False) -> str:
        """Order a reset; return why it is not clear that it was taken, empty where it was.

        A BMC that is busy before it is ordered is asked for ``ASK_BOUND`` seconds, and with
        ``again`` one that is too busy for the order. Raises PowerError where nothing was sent, or
        the BMC has refused it.
        """
        sent = list[str]()

        def order(system: Any) -> None:  # noqa: ANN401 - sushy is untyped
            sent.append(kind)
            try:
                reset(system, kind)
            except HTTPError as error:
                if kind == OFF and system.power_state == sushy.POWER_STATE_OFF:
                    return
                if redfish_errors.is_not_offered(error):
                    words = f"it refuses {kind}: {redfish_errors.reason(error)}"
                    raise _NotOffered(*self._words(attempted, words)) from error
                raise

        until = time.monotonic() + power.ASK_BOUND
        while True:
            sent.clear()
            try:
                await self._ask(attempted, order)
            except _NotOffered:
                raise
            except PowerError as error:
                cause = error.__cause__
                away = cause is not None and redfish_errors.was_not_sent(cause)
                busy = redfish_errors.is_busy(cause) and not away
                if time.monotonic() > until or not busy or (sent and not again):
                    refused = away or (isinstance(cause, HTTPError) and not busy)
                    if sent and not refused:
                        return error.came_back
                    raise
                if sent and not isinstance(cause, HTTPError):
                    return error.came_back  # it may have been taken
            else:
                return ""
            await asyncio.sleep(power.OFF_PAUSE)

    async def _ask(
        self, attempted: str, question: Callable[[Any], T], *, bound: float = ASK_BOUND
    ) -> T:
        log_call(f"redfish, {attempted} {self.target.name}", self.target.url)
        try:
            return await on_thread(lambda: question(system_of(self.target, bound)), bound)
        except TimeoutError:
            raise self._error(attempted, f"its BMC gave no answer within {bound:g} s") from None
        except PowerError:
            raise
        except Exception as error:
            # sushy takes answers apart as they come: of another form they raise anything.
            came_back, remedy = await self._explained(error)
            raise self._error(attempted, came_back, remedy) from error

    async def _explained(self, error: Exception) -> tuple[str, str]:
        """Return what came back, and what to do where it is not the usual."""
        try:
            return await on_thread(
                lambda: redfish_errors.explained(error, self.target), EXPLAIN_BOUND
            )
        except TimeoutError:
            return redfish_errors.reason(error), ""

    def _words(self, attempted: str, came_back: str, remedy: str = "") -> tuple[str, str, str]:
        place = without_secrets(self.target.url)
        return (
            f"{attempted} {self.target.name} by its BMC ({place})",
            came_back,
            remedy or "try the BMC's own page or console; is `bmc` in cloud.yaml right?",
        )

    def _error(self, attempted: str, came_back: str, remedy: str = "") -> PowerError:
        attempted, came_back, remedy = self._words(attempted, came_back, remedy)
        return PowerError(attempted, came_back=came_back, remedy=remedy)


class _NotOffered(PowerError):
    """A BMC does not know a type of reset: another may do."""

    def __init__(self, attempted: str, came_back: str, remedy: str) -> None:
        super().__init__(attempted, came_back=came_back, remedy=remedy)


def _no_override(system: Any) -> list[str]:  # noqa: ANN401 - sushy is untyped
    if system.json.get("Boot", {}).get("BootSourceOverrideEnabled") in (None, "Disabled"):
        return []
    none = sushy.BOOT_SOURCE_TARGET_NONE
    offered = none in system.get_allowed_system_boot_source_values()
    try:
        system.set_system_boot_options(
            target=none if offered else None, enabled=sushy.BOOT_SOURCE_ENABLED_DISABLED
        )
    except HTTPError as error:
        if not redfish_errors.wants_etag(error):
            raise
        patch(system, {"Boot": {"BootSourceOverrideEnabled": "Disabled"}})
    return []


def _stay_off(system: Any) -> list[str]:  # noqa: ANN401 - sushy is untyped
    if RESTORE not in system.json:
        return [f"power after an outage: this BMC does not offer {RESTORE}"]
    if system.json[RESTORE] != ALWAYS_OFF:
        # sushy has no method of its own for it.
        patch(system, {RESTORE: ALWAYS_OFF})
        system.refresh()
        if system.json.get(RESTORE) != ALWAYS_OFF:
            return [f"power after an outage: it stays {system.json.get(RESTORE)}"]
    return []
