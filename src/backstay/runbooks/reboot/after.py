"""The steps after the host is back: does all of it work, and stay so; what was out meanwhile."""

from collections.abc import Sequence
from datetime import UTC, datetime

from backstay.errors import ApiError
from backstay.finding import Finding, Severity, bad
from backstay.inventory.words import Role
from backstay.journal.action import Action, Result, Running
from backstay.runbooks.reboot.going import RESUME
from backstay.runbooks.reboot.recorder import Recorder, as_data
from backstay.runbooks.reboot.waiting import until_well
from backstay.runbooks.site import Site, name_of
from backstay.services.declaration import Agent


class Watching:
    """Another action, during which the watch goes on: begun anew where the process is another."""

    def __init__(self, action: Action, recorder: Recorder) -> None:
        self.action = action
        self.recorder = recorder

    async def do(self, running: Running) -> Result:
        """See to the watch, then do it."""
        self._watch(running)
        return await self.action.do(running)

    async def probe(self, running: Running) -> Result | None:
        """See to the watch, then probe."""
        self._watch(running)
        return await self.action.probe(running)

    def _watch(self, running: Running) -> None:
        noted = running.results[f"{running.step.target}.note"]
        if not self.recorder.on:
            self.recorder.start(noted["apis"], noted["instances"])


class Units:
    """Waits until every unit that the host's roles require runs."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def do(self, running: Running) -> Result:
        """Ask the host alone: its APIs may not answer yet."""
        host = running.step.target

        async def look() -> Sequence[Finding]:
            return bad(await self.site.check_units(host))

        took = await until_well(
            running,
            look,
            attempted=f"waiting for the units of {host}",
            remedy=f"backstay check {host}; {RESUME}",
        )
        return {"seconds": round(took, 1)}

    async def probe(self, running: Running) -> Result | None:
        """Look again: that is all it does."""
        return None


class Functions(Units):
    """Waits until everything works that worked before, agents aside."""

    def __init__(self, site: Site, recorder: Recorder) -> None:
        super().__init__(site)
        self.recorder = recorder

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
    """Waits until every agent that reported before has reported since the boot."""

    async def do(self, running: Running) -> Result:
        """Compare the age of reports with the age of the boot, never the processes' state."""
        host = running.step.target
        before = {tuple(agent) for agent in running.results[f"{host}.note"]["agents"]}
        booted = datetime.fromtimestamp(running.results[f"{host}.up"]["booted_at"], UTC)
        everyone = Role.CONTROLLER in self.site.host(host).roles
        names = {_short(host), _short(running.results[f"{host}.note"]["hostname"])}

        def concerned(agent: Agent) -> bool:
            known = (agent.host, agent.binary) in before
            return known and (everyone or _short(agent.host) in names)

        async def look() -> Sequence[Finding]:
            try:
                agents = [agent for agent in await self.site.agents() if concerned(agent)]
            except ApiError as error:
                return [_about(None, "agent lists", str(error), error.remedy)]
            late = [a for a in agents if a.heartbeat is None or a.heartbeat <= booted]
            return [
                _about(a.host, f"agent {a.binary}", f"last report {a.heartbeat}", "") for a in late
            ]

        took = await until_well(
            running,
            look,
            attempted="waiting for every agent to report after the boot",
            remedy=f"restart those that are named, {RESUME}",
        )
        count = sum(everyone or _short(name) in names for name, _ in before)
        return {"seconds": round(took, 1), "told": f"{count} agents" if count else "it has none"}


class Report:
    """Ends the watch and keeps what it saw."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    async def do(self, running: Running) -> Result:
        """Return what was out, and for how long."""
        return {"watched": as_data(self.recorder.stop() if self.recorder.on else [])}

    async def probe(self, running: Running) -> Result | None:
        """Report again: it only reads."""
        return None


async def new_findings(site: Site, running: Running) -> list[Finding]:
    """Return what is bad now: all on the host itself, elsewhere what was not bad before."""
    host = running.step.target
    known = {tuple(name) for name in running.results[f"{host}.gates"]["known"]}
    findings = bad(await site.check())
    return [f for f in findings if f.host == host or name_of(f) not in known]


def _short(host: str) -> str:
    """Return a host's name without its domain: services report with or without it."""
    return host.partition(".")[0]


def _about(host: str | None, subject: str, evidence: str, remedy: str) -> Finding:
    return Finding(
        host=host,
        service="agents",
        subject=subject,
        severity=Severity.FAILED,
        evidence=evidence,
        remedy=remedy,
    )
