"""Looking at agents, restarting one, and waiting until each answers: for every runbook."""

import asyncio
import random
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from backstay.errors import ApiError, HostError
from backstay.health.messaging.look import look
from backstay.health.messaging.seen import Looked
from backstay.health.messaging.signatures import Judged, Signature, judge_all
from backstay.inventory.words import Role
from backstay.runbooks.site import Site

JITTER = 2.0
"""Restarts at one time begin within so many seconds of each other, not in the same instant."""
PAUSE = 2.0


async def see(site: Site, hosts: Collection[str] | None = None) -> tuple[Looked, list[Judged]]:
    """Look at all agents, or those on ``hosts``, and judge them. Raises ApiError.

    Those on the controllers are always looked at: through them the others report.
    """
    controllers = {host.name for host in site.cloud.with_role(Role.CONTROLLER)}
    looked = await look(site, None if hosts is None else {*hosts, *controllers})
    judged = judge_all(looked, reconnect=site.cloud.maintenance.reconnect)
    return looked, [one for one in judged if hosts is None or one.seen.host in hosts]


async def restart(site: Site, judged: Judged) -> str:
    """Begin a restart of an agent's unit; return why it could not, empty where it did."""
    await asyncio.sleep(random.uniform(0, JITTER))  # noqa: S311 - to spread them out
    host, unit = judged.seen.host, judged.seen.wiring.unit
    try:
        told = await site.ask(str(host), restart_unit, unit)
    except HostError as error:
        return f"{error.attempted}: {error.came_back}"
    return str(told)


def restart_unit(unit: str) -> Any:  # noqa: ANN401 - JSON data
    """Ask systemd for a restart without waiting for its end; return what it says against it.

    Runs on the host. A unit that failed too often is let try again.
    """
    subprocess.run(["systemctl", "reset-failed", unit], stderr=subprocess.DEVNULL, timeout=10,
                   check=False)  # fmt: skip
    done = subprocess.run(
        ["systemctl", "restart", "--no-block", unit], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=20, check=False,
    )  # fmt: skip
    return done.stdout.decode(errors="replace").strip() if done.returncode else ""


async def until_attached(
    site: Site,
    chosen: Callable[[Judged], bool],
    hosts: Collection[str] | None,
    *,
    bound: float,
    give_up: Callable[[Looked, Sequence[Judged]], bool] = lambda _looked, _left: False,
) -> tuple[list[Judged], float | None]:
    """Wait until the chosen agents are attached; return who is not, and how long the broker is up.

    Ends early where ``give_up`` says so of those that are left.
    """
    ends = time.monotonic() + bound
    while True:
        try:
            looked, judged = await see(site, hosts)
        except ApiError:
            if time.monotonic() + PAUSE > ends:
                raise
        else:
            left = [
                one for one in judged if chosen(one) and one.signature is not Signature.ATTACHED
            ]
            if not left or give_up(looked, left) or time.monotonic() + PAUSE > ends:
                return left, looked.broker.up
        await asyncio.sleep(PAUSE)
