"""What each kind of step of a reattachment does."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.access.session import CloudSession
from backstay.errors import BackstayError
from backstay.health.rpc.agents import diagnose_agents
from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature, after_restart, faulty
from backstay.journal.action import Action, Result, Running
from backstay.runbooks.common.reattacher import restart_agent, until_attached
from backstay.runbooks.reattach.plan import VERIFY, Target, targets_of

_MARGIN = 10.0
"""A wait ends this long before its step's bound: the last look takes its time, too."""


def actions(site: CloudSession) -> Mapping[str, Action[Any]]:
    """Return the actions by their names."""
    return {"settle": Settle(site), "restart": Restart(site), "prove": Prove(site)}


@dataclass(frozen=True)
class Settle(Action[Result]):
    """Waits until nobody is settling any more: attached by then, or found out to be faulty."""

    site: CloudSession

    async def do(self, running: Running) -> Result:
        """Wait as long as the broker, or an agent that was started, is young."""
        targets = targets_of(running.step)

        def none_settles(left: Sequence[AgentDiagnosis]) -> bool:
            settling = [one.name for one in left if one.signature is Signature.SETTLING]
            if settling:
                running.say(f"settling: {_listed(settling)}")
            return not settling

        left, _ = await until_attached(
            self.site,
            among(targets),
            {one.host for one in targets},
            bound=running.step.bound - _MARGIN,
            give_up=none_settles,
        )
        came = len(targets) - len(left)
        return {"left": [one.name for one in left], "told": f"{came} of {len(targets)} attached"}


@dataclass(frozen=True)
class Restart(Action[Result]):
    """Restarts those of a batch that need it still, and sees each of them answer a call."""

    site: CloudSession

    async def do(self, running: Running) -> Result:
        """Look first: who has come back by itself, or was restarted just now, is left alone."""
        targets = targets_of(running.step)
        chosen, hosts = among(targets), {one.host for one in targets}
        _, judged = await diagnose_agents(self.site, hosts)
        force = bool(running.plan.settings["force"])
        wrong = faulty(filter(chosen, judged), force=force)
        refusals = await asyncio.gather(*(restart_agent(self.site, one) for one in wrong))
        said = {one.name: why for one, why in zip(wrong, refusals, strict=True) if why}
        if wrong:
            running.say(f"restarted {_listed([one.name for one in wrong if one.name not in said])}")
        left, _ = await until_attached(
            self.site,
            chosen,
            hosts,
            bound=VERIFY,
            give_up=lambda late: _over(late, None if not wrong else said),
        )
        late = {one.name: one for one in left}
        outcomes = [[one.name, one.name not in late] for one in wrong]
        failed = [_failure(one, said.get(name, "")) for name, one in late.items()]
        _stop_in_a_row(running, outcomes, failed)
        return {
            "restarted": [one.name for one in wrong if one.name not in said],
            "outcomes": outcomes,
            "failed": failed,
            "told": _describe(wrong, failed),
        }


@dataclass(frozen=True)
class Prove(Action[Result]):
    """Sees at the end that every agent of the plan is attached, and names the rest."""

    site: CloudSession

    async def do(self, running: Running) -> Result:
        """Look. Raises BackstayError with what is to be done about those that are not."""
        targets = targets_of(running.step)
        left, up = await until_attached(
            self.site,
            among(targets),
            {one.host for one in targets},
            bound=running.step.bound - _MARGIN,
            give_up=lambda late: all(one.signature is not Signature.SETTLING for one in late),
        )
        restarted = restarted_in(running.results.values())
        if left:
            raise BackstayError(
                "reattaching agents",
                came_back=_evidence(left),
                remedy="; ".join(dict.fromkeys(_next(one, restarted) for one in left[:4])),
            )
        return {
            "proved": len(targets),
            "restarted": restarted,
            "broker_up": up,
            "told": f"{len(targets)} attached, {len(restarted)} restarted",
        }


def among(targets: Iterable[Target]) -> Callable[[AgentDiagnosis], bool]:
    """Return whether an agent is one of the plan's."""
    wanted = {(one.binary, one.server) for one in targets}

    def chosen(judged: AgentDiagnosis) -> bool:
        agent = judged.seen.agent
        return (agent.binary, agent.rpc_target) in wanted

    return chosen


def restarted_in(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the agents that a run's steps restarted."""
    return [name for result in results for name in result.get("restarted", [])]


def in_a_row(outcomes: Iterable[Sequence[Any]]) -> int:
    """Return how many restarts failed in a row at the end. Pure."""
    count = 0
    for _name, well in outcomes:
        count = 0 if well else count + 1
    return count


def _stop_in_a_row(
    running: Running, outcomes: Sequence[Sequence[Any]], failed: Sequence[Mapping[str, str]]
) -> None:
    """Raise BackstayError where too many restarts in a row did not help."""
    before = [one for result in running.results.values() for one in result.get("outcomes", [])]
    count = in_a_row([*before, *outcomes])
    if count < running.plan.settings["stop_after"]:
        return
    raise BackstayError(
        f"restarting agents: {count} in a row did not come back, so something else is wrong",
        came_back="; ".join(f"{one['name']}: {one['evidence']}" for one in failed[:4]),
        remedy="; ".join(dict.fromkeys(one["remedy"] for one in failed[:4]))
        + "; backstay check; then go on: backstay runs resume",
    )


def _over(late: Sequence[AgentDiagnosis], refused: Mapping[str, str] | None) -> bool:
    """Say whether waiting is in vain for those who are late.

    It is where systemd refused to restart them, or where nobody was restarted and none settles.
    """
    if refused is None:
        return all(one.signature is not Signature.SETTLING for one in late)
    return all(one.name in refused for one in late)


def _failure(judged: AgentDiagnosis, refusal: str) -> dict[str, str]:
    evidence = f"{judged.signature.value}: {judged.evidence}"
    if refusal:
        evidence = f"{evidence}; systemd refused to restart it: {refusal}"
    return {"name": judged.name, "evidence": evidence, "remedy": after_restart(judged)}


def _evidence(left: Sequence[AgentDiagnosis], limit: int = 4) -> str:
    words = [f"{one.name}: {one.signature.value}: {one.evidence}" for one in left[:limit]]
    return "; ".join(words + ([f"and {len(left) - limit} more"] if len(left) > limit else []))


def _next(judged: AgentDiagnosis, restarted: Sequence[str]) -> str:
    if judged.name in restarted or not judged.remedy:
        return after_restart(judged)
    return judged.remedy


def _describe(wrong: Sequence[AgentDiagnosis], failed: Sequence[Mapping[str, str]]) -> str:
    if failed:
        return f"not attached: {_listed([one['name'] for one in failed])}"
    return "answers" if wrong else "attached by itself, not restarted"


def _listed(names: Sequence[str], limit: int = 4) -> str:
    more = [f"{len(names) - limit} more"] if len(names) > limit else []
    return ", ".join([*names[:limit], *more]) or "none"
