"""What each kind of step of a reconciliation does."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backstay.access.session import CloudSession
from backstay.errors import BackstayError
from backstay.journal.action import Action, Result, Running
from backstay.runbooks.reconcile.evidence import ReconcileObservation
from backstay.runbooks.reconcile.observe import mismatches
from backstay.runbooks.reconcile.plan import LOOK_BOUND, targets_of
from backstay.runbooks.reconcile.repair import heal
from backstay.services.reconciliation import Mismatch

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
