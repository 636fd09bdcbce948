"""A host's power by its BMC over Redfish, with sushy.

This module imports sushy, which takes its time: import it where power is asked or changed.
https://docs.openstack.org/sushy/latest/reference/usage.html
"""

import logging
import re
from collections.abc import Callable
from typing import Any, TypeVar

import sushy
from sushy.connector import Connector
from sushy.exceptions import AccessError, ConnectionError, SushyError  # noqa: A004 - its own

from backstay.errors import PowerError
from backstay.quantities import size
from backstay.transports import limits
from backstay.transports.bounded_http import bound_session, led_elsewhere, session, too_long
from backstay.transports.hardware import Hardware, hardware_of
from backstay.transports.power import ASK_BOUND, until_off
from backstay.transports.sent import log_call
from backstay.transports.targets import BmcTarget
from backstay.transports.threads import on_thread
from backstay.transports.urls import redacted, without_secrets

T = TypeVar("T")

_LONGEST = 300
RESTORE, ALWAYS_OFF = "PowerRestorePolicy", "AlwaysOff"


class Redfish:
    """The power of one host (``transports.power.Power``)."""

    def __init__(self, target: BmcTarget) -> None:
        self.target = target
        logging.getLogger("sushy").setLevel(logging.CRITICAL)  # it logs requests with passwords

    async def cycle(self) -> None:
        """Restart the host by force, or power it on where it is off. Raises PowerError."""

        def force(system: Any) -> None:  # noqa: ANN401 - sushy is untyped
            off = system.power_state == sushy.POWER_STATE_OFF
            allowed = system.get_allowed_reset_system_values()
            forced = sushy.RESET_TYPE_FORCE_RESTART
            if off or forced not in allowed:
                forced = sushy.RESET_TYPE_ON if off else sushy.RESET_TYPE_POWER_CYCLE
            system.reset_system(forced)

        await self._ask("power-cycling", force)

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
        """Take the host's power by force; return when it is read back as off. Raises PowerError.

        An orderly shutdown would wait for a host that may hang. Also where the BMC says that it is
        off already the order is sent: what it says may be old.
        """

        def force(system: Any) -> None:  # noqa: ANN401 - sushy is untyped
            try:
                system.reset_system(sushy.RESET_TYPE_FORCE_OFF)
            except SushyError:
                if system.power_state != sushy.POWER_STATE_OFF:
                    raise

        await self._ask("powering off", force)
        if not await until_off(self):
            raise self._error("powering off", "its BMC still reports that it is on")

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

    async def _ask(
        self, attempted: str, question: Callable[[Any], T], *, bound: float = ASK_BOUND
    ) -> T:
        log_call(f"redfish, {attempted} {self.target.name}", self.target.url)
        try:
            return await on_thread(lambda: question(self._system(bound)), bound)
        except TimeoutError:
            raise self._error(attempted, f"its BMC gave no answer within {bound:g} s") from None
        except PowerError:
            raise
        except AccessError:
            raise self._error(attempted, "its BMC refuses the user or the password") from None
        except Exception as error:
            # sushy takes answers apart as they come: of another form they raise anything.
            raise self._error(attempted, _reason(error)) from error

    def _system(self, bound: float) -> Any:  # noqa: ANN401 - sushy is untyped
        target = self.target
        connector = Connector(
            target.url,
            verify=str(target.ca) if target.ca else True,
            server_side_retries=1,
            default_request_timeout=bound / 2,
        )
        # Links in its answers may be whole URLs: the password goes to no other server.
        bound_session(connector._session, origin=target.url)
        root = sushy.Sushy(
            target.url,
            auth=sushy.auth.BasicAuth(target.username, target.password),
            connector=connector,
            public_connector=session(origin=target.url),
        )
        collection = root.get_system_collection()
        # Not get_members, which asks for each, however many the answer names.
        names = collection.members_identities
        if len(names) != 1:
            raise self._error("finding the host behind", f"its BMC has {len(names)} systems")
        return collection.get_member(names[0])

    def _error(self, attempted: str, came_back: str) -> PowerError:
        return PowerError(
            f"{attempted} {self.target.name} by its BMC ({without_secrets(self.target.url)})",
            came_back=came_back,
            remedy="try the BMC's own page or console; is `bmc` in cloud.yaml right?",
        )


def _reason(error: Exception) -> str:
    """Return why nothing usable came, in words."""
    if elsewhere := led_elsewhere(error):
        return f"its BMC leads to {elsewhere.place}: nothing was sent there"
    if too_long(error):
        return f"its BMC's answer is longer than {size(limits.BODY)}: the connection was closed"
    if isinstance(error, ConnectionError):
        reason = re.search(r"\[Errno -?\d+\] ([^'\")]+)|(Read timed out)", str(error))
        why = f": {(reason[1] or reason[2]).strip()}" if reason else ""
        return f"its BMC cannot be reached{why}"
    said = redacted(str(error)[: 10 * _LONGEST])[:_LONGEST]
    if isinstance(error, SushyError | OSError):
        return said or type(error).__name__
    return f"its BMC's answer is not one of Redfish ({type(error).__name__}: {said})"


def _no_override(system: Any) -> list[str]:  # noqa: ANN401 - sushy is untyped
    if system.json.get("Boot", {}).get("BootSourceOverrideEnabled") in (None, "Disabled"):
        return []
    none = sushy.BOOT_SOURCE_TARGET_NONE
    offered = none in system.get_allowed_system_boot_source_values()
    system.set_system_boot_options(
        target=none if offered else None, enabled=sushy.BOOT_SOURCE_ENABLED_DISABLED
    )
    return []


def _stay_off(system: Any) -> list[str]:  # noqa: ANN401 - sushy is untyped
    if RESTORE not in system.json:
        return [f"power after an outage: this BMC does not offer {RESTORE}"]
    if system.json[RESTORE] != ALWAYS_OFF:
        # sushy has no method of its own for it.
        system._conn.patch(system.path, data={RESTORE: ALWAYS_OFF})
        system.refresh()
        if system.json.get(RESTORE) != ALWAYS_OFF:
            return [f"power after an outage: it stays {system.json.get(RESTORE)}"]
    return []
