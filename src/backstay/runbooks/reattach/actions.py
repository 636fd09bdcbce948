"""What each kind of step of a reattachment does."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.access.session import CloudSession
from backstay.errors import BackstayError
from backstay.health.rpc.agents import diagnose_agents
from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature, after_restart, faulty
from backstay.journal.action import Action, Running
from backstay.runbooks.common.reattacher import restart_agent, until_attached
from backstay.runbooks.reattach import steps
from backstay.runbooks.reattach.plan import VERIFY
from backstay.runbooks.reattach.steps import (
    AgentsProved,
    AgentsRestarted,
    FailedRestart,
    Settled,
    among,
    batches_done,
    targets_of,
)

_MARGIN = 10.0
"""Seconds before its step's bound at which a wait ends: the last observation takes time, too."""


def actions(site: CloudSession) -> Mapping[str, Action[Any]]:
    """Return the actions by their names."""
    return dict(
        [
            steps.SETTLE.by(Settle(site)),
            steps.RESTART.by(Restart(site)),
            steps.PROVE.by(Prove(site)),
        ]
    )


@dataclass(frozen=True)
class Settle(Action[Settled]):
    """Waits until no agent is settling any more: each is attached, or faulty."""

    site: CloudSession

    async def do(self, running: Running) -> Settled:
        """Wait for that. Raises ApiError where an API does not list its agents."""
        targets = targets_of(running.step)

        def none_settles(left: Sequence[AgentDiagnosis]) -> bool:
            settling = [one.name for one in left if one.signature is Signature.SETTLING]
            if settling:
                running.report(f"settling: {_listed(settling)}")
            return not settling

        left, _ = await until_attached(
            self.site,
            among(targets),
            {target.host for target in targets},
            bound=running.step.bound - _MARGIN,
            give_up=none_settles,
        )
        return Settled(
            left=tuple(one.name for one in left),
            summary=f"{len(targets) - len(left)} of {len(targets)} attached",
        )


@dataclass(frozen=True)
class Restart(Action[AgentsRestarted]):
    """Restarts the agents of a batch that are still faulty, and waits until each is attached."""

    site: CloudSession

    async def do(self, running: Running) -> AgentsRestarted:
        """Diagnose first: agents that reconnected, or were just restarted, are left alone.

        Raises BackstayError where too many restarts in a row did not help; ApiError where an API
        does not list its agents.
        """
        targets = targets_of(running.step)
        chosen, hosts = among(targets), {target.host for target in targets}
        _, diagnoses = await diagnose_agents(self.site, hosts)
        force = bool(running.plan.settings["force"])
        wrong = faulty(filter(chosen, diagnoses), force=force)
        answers = await asyncio.gather(*(restart_agent(self.site, one) for one in wrong))
        refusals = {one.name: why for one, why in zip(wrong, answers, strict=True) if why}
        restarted = tuple(one.name for one in wrong if one.name not in refusals)
        if wrong:
            running.report(f"restarted {_listed(restarted)}")
        left, _ = await until_attached(
            self.site,
            chosen,
            hosts,
            bound=VERIFY,
            give_up=lambda late: _no_use_waiting(late, refusals if wrong else None),
        )
        late = {one.name for one in left}
        failed = tuple(_failed(one, refusals.get(one.name, "")) for one in left)
        outcomes = tuple((one.name, one.name not in late) for one in wrong)
        _stop_after_failures(running, outcomes, failed)
        return AgentsRestarted(
            restarted=restarted,
            outcomes=outcomes,
            failed=failed,
            summary=_summary(restarted, failed),
        )


@dataclass(frozen=True)
class Prove(Action[AgentsProved]):
    """Proves at the end that every agent of the plan is attached, and names those that are not."""

    site: CloudSession

    async def do(self, running: Running) -> AgentsProved:
        """Observe them. Raises BackstayError with a remedy for those that are not attached."""
        targets = targets_of(running.step)
        left, up = await until_attached(
            self.site,
            among(targets),
            {target.host for target in targets},
            bound=running.step.bound - _MARGIN,
            give_up=_none_settles,
        )
        restarted = tuple(name for batch in batches_done(running) for name in batch.restarted)
        if left:
            raise BackstayError(
                "reattaching agents",
                came_back=_evidence(left),
                remedy="; ".join(dict.fromkeys(_remedy(one, restarted) for one in left[:4])),
            )
        return AgentsProved(
            proved=len(targets),
            restarted=restarted,
            broker_up=up,
            summary=f"{len(targets)} attached, {len(restarted)} restarted",
        )


def failed_in_a_row(outcomes: Sequence[tuple[str, bool]]) -> int:
    """Return how many restarts at the end failed in a row. Pure."""
    count = 0
    for _name, attached in outcomes:
        count = 0 if attached else count + 1
    return count


def _stop_after_failures(
    running: Running, outcomes: Iterable[tuple[str, bool]], failed: Sequence[FailedRestart]
) -> None:
    """Raise BackstayError where too many restarts in a row did not help."""
    before = [outcome for batch in batches_done(running) for outcome in batch.outcomes]
    count = failed_in_a_row([*before, *outcomes])
    if count < running.plan.settings["stop_after"]:
        return
    remedies = "; ".join(dict.fromkeys(one.remedy for one in failed[:4]))
    raise BackstayError(
        f"restarting agents: {count} in a row did not come back, so the cause is another",
        came_back="; ".join(f"{one.name}: {one.evidence}" for one in failed[:4]),
        remedy=f"{remedies}; backstay check; then: backstay runs resume",
    )


def _none_settles(late: Sequence[AgentDiagnosis]) -> bool:
    return all(one.signature is not Signature.SETTLING for one in late)


def _no_use_waiting(late: Sequence[AgentDiagnosis], refusals: Mapping[str, str] | None) -> bool:
    """Return whether those that are late will not be attached by waiting.

    So it is where systemd refused to restart them (``refusals``, by name), or where none was
    restarted (None) and none is settling.
    """
    if refusals is None:
        return _none_settles(late)
    return all(one.name in refusals for one in late)


def _failed(diagnosis: AgentDiagnosis, refusal: str) -> FailedRestart:
    evidence = f"{diagnosis.signature.value}: {diagnosis.evidence}"
    if refusal:
        evidence = f"{evidence}; systemd refused to restart it: {refusal}"
    return FailedRestart(name=diagnosis.name, evidence=evidence, remedy=after_restart(diagnosis))


def _evidence(left: Sequence[AgentDiagnosis], limit: int = 4) -> str:
    parts = [f"{one.name}: {one.signature.value}: {one.evidence}" for one in left[:limit]]
    return "; ".join(parts + ([f"and {len(left) - limit} more"] if len(left) > limit else []))


def _remedy(diagnosis: AgentDiagnosis, restarted: Sequence[str]) -> str:
    if diagnosis.name in restarted or not diagnosis.remedy:
        return after_restart(diagnosis)
    return diagnosis.remedy


def _summary(restarted: Sequence[str], failed: Sequence[FailedRestart]) -> str:
    if failed:
        return f"not attached: {_listed([one.name for one in failed])}"
    return "attached" if restarted else "attached without a restart"


def _listed(names: Sequence[str], limit: int = 4) -> str:
    more = [f"{len(names) - limit} more"] if len(names) > limit else []
    return ", ".join([*names[:limit], *more]) or "none"
