"""Healing what is safe to heal: each kind by its service's own small change."""

import subprocess
from collections.abc import Mapping, Sequence

from backstay.access.session import CloudSession
from backstay.errors import ApiUnreachable, BackstayError, HostError
from backstay.inventory.enums import Role
from backstay.jsondata import Json
from backstay.services.reconciliation import RepairCommand
from backstay.services.registry import all_reconcilers
from backstay.transports.threads import on_thread

PROGRAM_BOUND = 90.0
"""Seconds that a program on a controller may take for one heal; nova-manage starts slowly."""


def healings() -> dict[str, RepairCommand]:
    """Return every kind of safe change, by its name."""
    return {name: healing for kept in all_reconcilers() for name, healing in kept.heals.items()}


async def heal(site: CloudSession, name: str, arguments: Mapping[str, str]) -> str:
    """Make one safe change and return what was done, empty where nothing was to be done any more.

    To repeat it is harmless. Raises BackstayError.
    """
    healing = healings().get(name)
    if healing is None:
        raise BackstayError(
            f"healing by {name}",
            came_back="this version of Backstay has no such change",
            remedy="look again: backstay reconcile",
        )
    if healing.api is not None:
        return await _by_api(site, healing, arguments)
    if healing.program is None:
        return ""
    return await _by_program(site, healing.program(arguments), healing.well)


async def _by_api(site: CloudSession, healing: RepairCommand, arguments: Mapping[str, str]) -> str:
    if isinstance(site.api, BackstayError):
        raise site.api
    api, change = site.api, healing.api
    assert change is not None  # noqa: S101 - for mypy
    bound = site.cloud.bounds.api_seconds * 2
    try:
        return await on_thread(lambda: change(api, arguments), bound)
    except TimeoutError:
        raise ApiUnreachable(
            "healing by the APIs",
            came_back=f"no answer within {bound:g} s",
            remedy="backstay check; then go on: backstay runs resume",
        ) from None


async def _by_program(site: CloudSession, command: Sequence[str], well: frozenset[int]) -> str:
    """Run a program on the first controller that answers; its own word is told where it fails.

    It may run twice, where the connection turns out to be gone: each finds what the other has done.
    """
    told = " ".join(command)
    refused: HostError | None = None
    for host in site.cloud.with_role(Role.CONTROLLER):
        try:
            status, said = await site.ask(
                host.name, run, list(command), PROGRAM_BOUND, bound=PROGRAM_BOUND + 10
            )
        except HostError as error:
            refused = error
            continue
        if status not in well:
            raise BackstayError(
                f"{told} on {host.name}",
                came_back=f"exit status {status}: {said or 'no word'}",
                remedy="see what it says, then go on: backstay runs resume",
            )
        return told if status == 0 else ""
    raise refused or BackstayError(
        told, came_back="cloud.yaml has no controller", remedy="add it to cloud.yaml"
    )


def run(command: Json, bound: Json) -> Json:
    """Run a program on the host; return its exit status and the last of what it says."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=bound,
        check=False,
    )
    return [done.returncode, done.stdout.decode(errors="replace").strip()[-400:]]
