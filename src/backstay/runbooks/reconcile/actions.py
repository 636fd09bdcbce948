"""What each kind of step of a reconciliation does, and how one repair is made."""

import asyncio
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay import commands
from backstay.access.onhost_lease import changes_host
from backstay.access.session import CloudSession
from backstay.answers import Line
from backstay.errors import ApiUnreachable, BackstayError, HostError
from backstay.inventory.enums import Role
from backstay.journal.action import Action, Running
from backstay.jsondata import Json
from backstay.runbooks.reconcile import steps
from backstay.runbooks.reconcile.comparison import ReconcileObservation
from backstay.runbooks.reconcile.observe import mismatches
from backstay.runbooks.reconcile.plan import OBSERVE_BOUND, PROGRAM_BOUND, repair_commands
from backstay.runbooks.reconcile.steps import Reconciled, Repaired, known_of, targets_of
from backstay.services.reconciliation import Mismatch, RepairCommand
from backstay.transports.threads import on_thread

PAUSE = 3.0
"""Seconds between two comparisons."""
SETTLE = 30.0
"""Seconds for what follows from a repair: an agent that was given a network starts a server."""


def actions(site: CloudSession) -> Mapping[str, Action[Any]]:
    """Return the actions by their names, those of older versions' plans among them."""
    repair_each = RepairEach(site)
    return {
        **dict([steps.REPAIR.by(repair_each), steps.PROVE.by(Prove(site))]),
        steps.OLD_REPAIR: repair_each,
    }


@dataclass(frozen=True)
class RepairEach(Action[Repaired]):
    """Repairs those mismatches of the plan that still differ, and are still safe to repair."""

    site: CloudSession

    async def do(self, running: Running) -> Repaired:
        """Compare first: much may have changed since the plan was made. Raises BackstayError."""
        observed = await mismatches(self.site)
        now = {mismatch.key: mismatch for mismatch in observed.mismatches}
        done, left = [], []
        for target in targets_of(running.step):
            mismatch = now.get(target.key)
            if mismatch is None or not mismatch.repair or mismatch.repair.name != target.name:
                left.append(target.subject)
                continue
            if summary := await repair(self.site, target.name, mismatch.repair.arguments):
                running.report(summary)
            done.append(mismatch.subject)
        parts = [f"{len(done)} repaired"] + ([f"{len(left)} left unchanged"] if left else [])
        return Repaired(repaired=tuple(done), left=tuple(left), summary=", ".join(parts))


@dataclass(frozen=True)
class Prove(Action[Reconciled]):
    """Proves at the end that none of the plan's mismatches is left, and that none has come instead.

    What has come is waited for, as it may be a service that is just starting; then it is listed.
    """

    site: CloudSession
    settle: float = SETTLE

    async def do(self, running: Running) -> Reconciled:
        """Compare until they are gone. Raises BackstayError with those that are still there."""
        targets = {target.key for target in targets_of(running.step)}
        known = known_of(running.step)
        ends = time.monotonic() + running.step.bound - OBSERVE_BOUND
        settled: float | None = None
        while True:
            observed = await mismatches(self.site)
            still = [one for one in observed.mismatches if one.key in targets]
            new = [one for one in observed.mismatches if one.key not in known]
            now = time.monotonic()
            if not still and not observed.missing:
                settled = settled or min(now + self.settle, ends)
                if not new or now >= settled:
                    return Reconciled(
                        proved=len(targets),
                        others=tuple(one.subject for one in observed.mismatches),
                        summary=f"{len(targets)} repaired and checked",
                    )
            elif now + PAUSE > ends:
                raise _not_repaired(observed, still)
            await asyncio.sleep(PAUSE)


def _not_repaired(observed: ReconcileObservation, still: Sequence[Mismatch]) -> BackstayError:
    if still:
        evidence = "; ".join(f"{one.subject}: {one.evidence}" for one in still[:4])
        remedy = "; ".join(dict.fromkeys(one.command for one in still[:4]))
        return BackstayError(
            "repairing mismatches", came_back=f"still differs: {evidence}", remedy=remedy
        )
    missing = observed.missing[0]
    return BackstayError(
        "proving that the mismatches are repaired",
        came_back=f"{missing.what} of {missing.host or 'the cloud'}: {missing.why}",
        remedy=f"{missing.remedy}; then: backstay runs resume",
    )


async def repair(site: CloudSession, name: str, arguments: Mapping[str, str]) -> str:
    """Make one safe repair; return what was done, empty where it was not necessary any more.

    It may be repeated. Raises BackstayError.
    """
    command = repair_commands().get(name)
    if command is None:
        raise BackstayError(
            f"repairing by {name}",
            came_back="this version of Backstay has no such repair",
            remedy="compare again: backstay reconcile",
        )
    if command.api is not None:
        return await _by_api(site, command, arguments)
    if command.program is None:
        return ""
    return await _by_program(site, command.program(arguments), command.succeeded)


async def _by_api(site: CloudSession, command: RepairCommand, arguments: Mapping[str, str]) -> str:
    if isinstance(site.api, BackstayError):
        raise site.api
    api, change = site.api, command.api
    assert change is not None  # noqa: S101 - for mypy
    bound = site.cloud.bounds.api_seconds * 2
    try:
        return await on_thread(lambda: change(api, arguments), bound)
    except TimeoutError:
        raise ApiUnreachable(
            "repairing by the APIs",
            came_back=f"no answer within {bound:g} s",
            remedy="backstay check; then: backstay runs resume",
        ) from None


async def _by_program(site: CloudSession, command: Sequence[str], well: frozenset[int]) -> str:
    """Run a program on the first controller that answers; its output is in the error if it fails.

    It may run twice, where the connection is lost meanwhile: each run finds what the other did.
    """
    shown = commands.command(*command)
    refused: HostError | None = None
    for host in site.cloud.with_role(Role.CONTROLLER):
        try:
            status, output = await site.ask(
                host.name,
                run,
                list(command),
                PROGRAM_BOUND,
                returns=tuple[int, Line],
                bound=PROGRAM_BOUND + 10,
            )
        except HostError as error:
            refused = error
            continue
        if status not in well:
            raise BackstayError(
                f"{shown} on {host.name}",
                came_back=f"exit status {status}: {output or 'no output'}",
                remedy="fix what it reports; then: backstay runs resume",
            )
        return shown if status == 0 else ""
    raise refused or BackstayError(
        shown, came_back="cloud.yaml has no controller", remedy="add it to cloud.yaml"
    )


@changes_host
def run(command: Json, bound: Json) -> Json:
    """Run a program on the host; return its exit status and the end of its output."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=bound,
        check=False,
    )
    return [done.returncode, done.stdout.decode(errors="replace").strip()[-400:]]
