"""The steps after the host is back: units, functions and agents work, and stay so; outages."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from backstay.access.session import CloudSession, name_of
from backstay.errors import BackstayError
from backstay.finding import Finding, Severity, bad
from backstay.health.check import check_hosts, check_units
from backstay.health.rpc.diagnosis import AgentDiagnosis, name_agents
from backstay.inventory.enums import Role
from backstay.journal.action import Action, Running
from backstay.runbooks.common.outage_recorder import OutageRecorder
from backstay.runbooks.common.reattacher import AgentReattacher
from backstay.runbooks.common.waiting import until_healthy
from backstay.runbooks.reboot.power_cycle import RESUME
from backstay.runbooks.reboot.steps import (
    GATES,
    NOTE,
    AgentsAttached,
    OutagesRecorded,
    Waited,
)

_LAST_OBSERVATION = 15.0
"""Seconds before the step's bound at which agents are observed for the last time."""


@dataclass(frozen=True)
class Units(Action[Waited]):
    """Waits until all units that the host's roles require are active."""

    site: CloudSession

    async def do(self, running: Running) -> Waited:
        """Check the host alone: its APIs may not answer yet. Raises BackstayError at the bound."""
        host = running.host

        async def failing() -> Sequence[Finding]:
            return bad(await check_units(self.site, host))

        took = await until_healthy(
            running,
            failing,
            attempted=f"waiting for the units of {host}",
            remedy=f"backstay check {host}; {RESUME}",
        )
        return Waited(seconds=round(took, 1))


@dataclass(frozen=True)
class Functions(Action[Waited]):
    """Waits until everything works that worked before, agents aside."""

    site: CloudSession
    recorder: OutageRecorder

    async def do(self, running: Running) -> Waited:
        """Check the whole cloud once its APIs answer at all. Raises BackstayError at the bound.

        Whether they answer is known from the recording of outages; probes of the check would only
        slow down a host that is starting.
        """

        async def failing() -> Sequence[Finding]:
            if silent := self.recorder.silent_apis():
                return [_silent(name) for name in silent]
            found = await new_findings(self.site, running)
            return [finding for finding in found if not finding.subject.startswith("agent ")]

        took = await until_healthy(
            running,
            failing,
            attempted="waiting for everything to work as before",
            remedy=f"backstay check; {RESUME}",
        )
        return Waited(seconds=round(took, 1))


@dataclass(frozen=True)
class Settle(Action[Waited]):
    """Waits until everything has worked for the settling time."""

    site: CloudSession

    async def do(self, running: Running) -> Waited:
        """Check the whole cloud repeatedly. Raises BackstayError at the bound."""
        lasting = self.site.cloud.maintenance.settle

        async def failing() -> Sequence[Finding]:
            return await new_findings(self.site, running)

        took = await until_healthy(
            running,
            failing,
            attempted=f"waiting for all checks to pass for {lasting:g} s",
            remedy=f"backstay check; {RESUME}",
            lasting=lasting,
        )
        return Waited(seconds=round(took, 1))


@dataclass(frozen=True)
class Agents(Action[AgentsAttached]):
    """Waits until every agent that was up before answers a call; restarts those that do not."""

    site: CloudSession

    async def do(self, running: Running) -> AgentsAttached:
        """Let agents reconnect by themselves first; never restart one twice.

        A report since the boot is no proof: an agent that is deaf reports, too. Raises
        BackstayError where some are not attached at the step's bound.
        """
        host, noted = running.host, running.result(NOTE)
        before = set(noted.agents)
        everyone = Role.CONTROLLER in self.site.host(host).roles
        names = self.site.cloud.host_names({host: noted.hostname})
        reattacher = AgentReattacher(self.site, None if everyone else {host}, say=running.report)

        def concerned(name: str) -> bool:
            return everyone or names.host_of(name) == host

        def chosen(diagnosis: AgentDiagnosis) -> bool:
            agent = diagnosis.seen.agent
            return (agent.host, agent.binary) in before and concerned(agent.host)

        started = time.monotonic()
        bound = running.step.bound - _LAST_OBSERVATION
        left = await reattacher.until_attached(chosen, bound=bound)
        if left:
            raise BackstayError(
                "waiting for every agent to be attached",
                came_back=f"not within {running.step.bound:g} s: {name_agents(left)}",
                remedy=f"{reattacher.remedy(left[0])}; backstay reattach; {RESUME}",
            )
        count, up = sum(concerned(name) for name, _ in before), reattacher.broker_up
        return AgentsAttached(
            seconds=round(time.monotonic() - started, 1),
            proved=count,
            restarted=tuple(reattacher.restarted),
            since_broker=round(up, 1) if everyone and up else None,
            summary=_summary(count, reattacher.restarted),
        )


def _summary(count: int, restarted: Sequence[str]) -> str:
    if not count:
        return "it has no agents"
    which = f"restarted {', '.join(restarted)}" if restarted else "none restarted"
    return f"{count} answered a call, {which}"


@dataclass(frozen=True)
class Report(Action[OutagesRecorded]):
    """Stops recording outages, and puts them into the journal."""

    recorder: OutageRecorder

    async def do(self, running: Running) -> OutagesRecorded:
        """Return the outages of each API and instance."""
        return OutagesRecorded(recorded=tuple(self.recorder.stop() if self.recorder.on else ()))


async def new_findings(site: CloudSession, running: Running) -> list[Finding]:
    """Return the checks that fail now: all of the host's own, elsewhere those that did not before.

    Agents are among them. Backups and fenced hosts are not: no reboot changes them.
    """
    host, known = running.host, set(running.result(GATES).known)
    findings = bad(await check_hosts(site))
    return [f for f in findings if f.host == host or name_of(f) not in known]


def _silent(api: str) -> Finding:
    return Finding(
        host=None,
        service="",
        subject=f"API {api}",
        severity=Severity.FAILED,
        evidence="does not answer yet",
        remedy="",
    )
