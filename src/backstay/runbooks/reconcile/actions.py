"""What each kind of step of a reconciliation does."""

import asyncio
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.access.session import CloudSession
from backstay.errors import ApiUnreachable, BackstayError, HostError
from backstay.inventory.enums import Role
from backstay.journal.action import Action, Result, Running
from backstay.jsondata import Json
from backstay.runbooks.reconcile.comparison import ReconcileObservation
from backstay.runbooks.reconcile.observe import mismatches
from backstay.runbooks.reconcile.plan import LOOK_BOUND, PROGRAM_BOUND, healings, targets_of
from backstay.services.reconciliation import Mismatch, RepairCommand
from backstay.transports.threads import on_thread

PAUSE = 3.0


def actions(site: CloudSession) -> Mapping[str, Action[Any]]:
    """Return the actions by their names."""
    return {"heal": HealEach(site), "prove": Prove(site)}


@dataclass(frozen=True)
class HealEach(Action[Result]):
    """Heals those of the plan that still differ, and are safe still."""

    site: CloudSession

    async def do(self, running: Running) -> Result:
        """Look first: between plan and step, or before a resume, the world has gone on."""
        looked = await mismatches(self.site)
        now = {one.key: one for one in looked.mismatches}
        done, left = [], []
        for target in targets_of(running.step):
            one = now.get(target.key)
            if one is None or one.heal is None or one.heal.name != target.name:
                left.append(target.subject)
                continue
            told = await heal(self.site, one.heal.name, one.heal.arguments)
            if told:
                running.say(told)
            done.append(one.subject)
        words = [f"{len(done)} healed"] + ([f"{len(left)} left as they are now"] if left else [])
        return {"healed": done, "left": left, "told": ", ".join(words)}


@dataclass(frozen=True)
class Prove(Action[Result]):
    """Sees at the end that none of the plan's mismatches is there any more."""

    site: CloudSession

    async def do(self, running: Running) -> Result:
        """Look until they are gone. Raises BackstayError with what is still there."""
        targets = {one.key for one in targets_of(running.step)}
        ends = time.monotonic() + running.step.bound - LOOK_BOUND
        while True:
            looked = await mismatches(self.site)
            still = [one for one in looked.mismatches if one.key in targets]
            if not still and not looked.missing:
                return {
                    "proved": len(targets),
                    "others": [one.subject for one in looked.mismatches],
                    "told": f"{len(targets)} as they should be",
                }
            if time.monotonic() + PAUSE > ends:
                raise _not_healed(looked, still)
            await asyncio.sleep(PAUSE)


def _not_healed(looked: ReconcileObservation, still: list[Mismatch]) -> BackstayError:
    if still:
        words = "; ".join(f"{one.subject}: {one.evidence}" for one in still[:4])
        remedy = "; ".join(dict.fromkeys(one.command for one in still[:4]))
        return BackstayError("healing mismatches", came_back=f"still so: {words}", remedy=remedy)
    one = looked.missing[0]
    return BackstayError(
        "seeing that the mismatches are healed",
        came_back=f"{one.what} of {one.host or 'the cloud'}: {one.why}",
        remedy=f"{one.remedy}; then go on: backstay runs resume",
    )


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
