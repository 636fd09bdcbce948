"""The steps after the host is back: does all of it work, and stay so; what was out meanwhile."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from backstay.access.session import CloudSession, name_of
from backstay.errors import BackstayError
from backstay.finding import Finding, Severity, bad
from backstay.health.check import check, check_units
from backstay.health.rpc.diagnosis import AgentDiagnosis, name_agents
from backstay.inventory.enums import Role
from backstay.journal.action import Action, Result, Running
from backstay.runbooks.common.outage_recorder import OutageRecorder
from backstay.runbooks.common.reattacher import AgentReattacher
from backstay.runbooks.common.waiting import until_well
from backstay.runbooks.reboot.power_cycle import RESUME

_LAST_LOOK = 15.0
"""A look at agents that do not answer takes up to so many seconds."""


@dataclass(frozen=True)
class Units(Action[Result]):
    """Waits until every unit that the host's roles require runs."""

    site: CloudSession

    async def do(self, running: Running) -> Result:
        """Ask the host alone: its APIs may not answer yet."""
        host = running.step.target

        async def look() -> Sequence[Finding]:
            return bad(await check_units(self.site, host))

        took = await until_well(
            running,
            look,
            attempted=f"waiting for the units of {host}",
            remedy=f"backstay check {host}; {RESUME}",
        )
        return {"seconds": round(took, 1)}


@dataclass(frozen=True)
class Functions(Units):
    """Waits until everything works that worked before, agents aside."""

    recorder: OutageRecorder

    async def do(self, running: Running) -> Result:
        """Check the whole cloud, as soon as its APIs answer at all.

        The watch knows when; questions of the check's own would only hold up a host that starts.
        """

        async def look() -> Sequence[Finding]:
            silent = self.recorder.silent_apis()
            if silent:
                return [_about(None, f"API {name}", "does not answer yet", "") for name in silent]
            found = await new_findings(self.site, running)
            return [finding for finding in found if not finding.subject.startswith("agent ")]

        took = await until_well(
            running,
            look,
            attempted="waiting for everything to work as before",
            remedy=f"backstay check; {RESUME}",
        )
        return {"seconds": round(took, 1)}


class Settle(Units):
    """Waits until everything has been well for the settling time."""

    async def do(self, running: Running) -> Result:
        """Check the whole cloud again and again."""
        lasting = self.site.cloud.maintenance.settle

        async def look() -> Sequence[Finding]:
            return await new_findings(self.site, running)

        took = await until_well(
            running,
            look,
            attempted=f"waiting for everything to stay well for {lasting:g} s",
            remedy=f"backstay check; {RESUME}",
            lasting=lasting,
        )
        return {"seconds": round(took, 1)}


class Agents(Units):
    """Sees every agent that was well before answer a call; restarts those that do not come back."""

    async def do(self, running: Running) -> Result:
        """Leave them to reconnect by themselves first; never restart one twice.

        That an agent has reported since the boot is not enough: one that is deaf reports, too.
        """
        host = running.step.target
        before = {tuple(agent) for agent in running.results[f"{host}.note"]["agents"]}
        everyone = Role.CONTROLLER in self.site.host(host).roles
        hostname = running.results[f"{host}.note"]["hostname"]
        names = self.site.cloud.host_names({host: hostname})
        reattacher = AgentReattacher(self.site, None if everyone else {host}, say=running.say)

        def concerned(one: AgentDiagnosis) -> bool:
            known = (one.seen.agent.host, one.seen.agent.binary) in before
            return known and (everyone or names.host_of(one.seen.agent.host) == host)

        begun = time.monotonic()
        left = await reattacher.until_attached(concerned, bound=running.step.bound - _LAST_LOOK)
        up = reattacher.broker_up
        if left:
            raise BackstayError(
                "waiting for every agent to be attached",
                came_back=f"not within {running.step.bound:g} s: {name_agents(left)}",
                remedy=f"{reattacher.remedy(left[0])}; backstay reattach; {RESUME}",
            )
        count = sum(everyone or names.host_of(name) == host for name, _ in before)
        return {
            "seconds": round(time.monotonic() - begun, 1),
            "proved": count,
            "restarted": reattacher.restarted,
            "since_broker": round(up, 1) if everyone and up else None,
            "told": _agents_told(count, reattacher.restarted),
        }


def _agents_told(count: int, restarted: Sequence[str]) -> str:
    if not count:
        return "it has none"
    again = f"restarted {', '.join(restarted)}" if restarted else "none restarted"
    return f"{count} proved attached, {again}"


@dataclass(frozen=True)
class Report(Action[Result]):
    """Ends the watch and keeps what it saw."""

    recorder: OutageRecorder

    async def do(self, running: Running) -> Result:
        """Return what was out, and for how long."""
        return {
            "watched": [asdict(one) for one in (self.recorder.stop() if self.recorder.on else ())]
        }


async def new_findings(site: CloudSession, running: Running) -> list[Finding]:
    """Return what is bad now: all on the host itself, elsewhere what was not bad before."""
    host = running.step.target
    known = {tuple(name) for name in running.results[f"{host}.gates"]["known"]}
    findings = bad(await check(site))
    return [f for f in findings if f.host == host or name_of(f) not in known]


def _about(host: str | None, subject: str, evidence: str, remedy: str) -> Finding:
    return Finding(
        host=host,
        service="agents",
        subject=subject,
        severity=Severity.FAILED,
        evidence=evidence,
        remedy=remedy,
    )
