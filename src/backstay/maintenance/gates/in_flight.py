"""The gate that asks for work under way that would be torn."""

import asyncio
import time
from collections.abc import Sequence

from backstay.errors import BackstayError
from backstay.inventory.enums import Role
from backstay.maintenance.gates.asked import GateInput
from backstay.maintenance.refusal import Refusal
from backstay.services.declaration import InFlightTask

NAME = "in-flight"
_PAUSE = 2.0
_SHOWN = 8


async def gate(asked: GateInput) -> Sequence[Refusal]:
    """Refuse while a controller's or compute host's services have work under way.

    Waits for ``asked.idle`` seconds until there is none.
    """
    if not {Role.CONTROLLER, Role.COMPUTE} & set(asked.cloud.hosts[asked.host].roles):
        return []
    until = time.monotonic() + asked.idle
    while True:
        try:
            in_flight = await asked.in_flight()
        except BackstayError as error:
            return [
                Refusal(
                    gate=NAME,
                    reason=f"whether work is under way is not known: {error}",
                    remedy=f"{error.remedy}; or, if you know that there is none: --despite {NAME}",
                )
            ]
        if not in_flight:
            return []
        if time.monotonic() >= until:
            return [_refusal(in_flight, asked.idle)]
        asked.say(f"waiting until idle: {describe_tasks(in_flight)}")
        await asyncio.sleep(min(_PAUSE, max(0.0, until - time.monotonic())))


def describe_tasks(in_flight: Sequence[InFlightTask]) -> str:
    """Return what is under way in a few words."""
    shown = ", ".join(f"{one.what} is {one.doing}" for one in in_flight[:_SHOWN])
    more = len(in_flight) - _SHOWN
    return f"{shown}, and {more} more" if more > 0 else shown


def _refusal(in_flight: Sequence[InFlightTask], waited: float) -> Refusal:
    after = f" after {waited:g} s of waiting" if waited else ""
    return Refusal(
        gate=NAME,
        reason=f"work is under way{after}: {describe_tasks(in_flight)}",
        remedy=f"wait for it: --wait-for-idle 10m; or, if it is stuck: --despite {NAME}",
    )
