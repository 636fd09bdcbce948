"""A host's power by its BMC over Redfish, with sushy.

This module imports sushy, which takes its time: import it where power is asked or changed.
https://docs.openstack.org/sushy/latest/reference/usage.html
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import requests
import sushy
from sushy.exceptions import AccessError, SushyError

from backstay.errors import PowerError
from backstay.transports.target import BmcTarget
from backstay.transports.threads import on_thread

T = TypeVar("T")

BOUND = 30.0
"""Seconds for one exchange with a BMC, its session included; many are slow."""


class Power:
    """The power of one host."""

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

    async def _ask(self, attempted: str, question: Callable[[Any], T]) -> T:
        try:
            return await on_thread(lambda: question(self._system()), BOUND)
        except TimeoutError:
            raise self._error(attempted, f"its BMC gave no answer within {BOUND:g} s") from None
        except AccessError:
            raise self._error(attempted, "its BMC refuses the user or the password") from None
        except (SushyError, requests.RequestException, OSError) as error:
            raise self._error(attempted, " ".join(str(error).split())[:300]) from error

    def _system(self) -> Any:  # noqa: ANN401 - sushy is untyped
        target = self.target
        root = sushy.Sushy(
            target.url,
            verify=str(target.ca) if target.ca else True,
            auth=sushy.auth.BasicAuth(target.username, target.password),
            server_side_retries=1,
            read_timeout=BOUND / 2,
        )
        systems = root.get_system_collection().get_members()
        if len(systems) != 1:
            raise self._error("finding the host behind", f"its BMC has {len(systems)} systems")
        return systems[0]

    def _error(self, attempted: str, came_back: str) -> PowerError:
        return PowerError(
            f"{attempted} {self.target.name} by its BMC ({self.target.url})",
            came_back=came_back,
            remedy="try the BMC's own page or console; is `bmc` in cloud.yaml right?",
        )
