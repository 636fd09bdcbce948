"""The steps of a reboot before and after the host is away."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from backstay.errors import ApiError, HookFailed, HostError
from backstay.finding import Finding, Severity
from backstay.inventory.maintenance import Hook
from backstay.inventory.words import Role
from backstay.journal.action import Action, Refused, Result, Running
from backstay.journal.store import Store
from backstay.maintenance.gates import onhost as look
from backstay.maintenance.gates.asked import Asked
from backstay.maintenance.gates.standard import ask_all
from backstay.maintenance.refusal import MayNot
from backstay.runbooks.reboot import onhost
from backstay.runbooks.reboot.going import RESUME, Ask, Down, Up
from backstay.runbooks.reboot.recorder import Recorder, as_data
from backstay.runbooks.reboot.waiting import until_well
from backstay.runbooks.site import Site, bad, name_of
from backstay.services.declaration import Agent
from backstay.transports.hook import call_command, call_url


def actions(site: Site, store: Store) -> Mapping[str, Action]:
    """Return what each kind of step does."""
    recorder = Recorder()
    hooks = site.cloud.maintenance.hooks
    return {
        "gates": Gates(site, store),
        "before": Hooks(site, hooks.before, may_refuse=True),
        "backup": Hooks(site, hooks.backup),
        "note": Note(site, recorder),
        "drain": Hooks(site, hooks.drain),
        "ask": Ask(site),
        "down": Watching(Down(site), recorder),
        "up": Watching(Up(site), recorder),
        "units": Watching(Units(site), recorder),
        "functions": Watching(Functions(site, recorder), recorder),
        "agents": Watching(Agents(site), recorder),
        "settle": Watching(Settle(site), recorder),
        "undrain": Hooks(site, hooks.undrain),
        "report": Report(recorder),
        "after": Hooks(site, hooks.after),
    }


class Gates:
    """Asks all gates; notes what was bad before, so that it is not laid to the reboot."""

    def __init__(self, site: Site, store: Store) -> None:
        self.site = site
        self.store = store

    async def do(self, running: Running) -> Result:
        """Ask. Raises Refused with every reason."""
        host, settings = running.step.target, running.plan.settings
        findings = await self.site.check()
        refusals = await ask_all(
            Asked(
                cloud=self.site.cloud,
                host=host,
                run=running.run,
                now=time.time(),
                findings=findings,
                known=self._known(running),
                on_host=await self._on_host(host),
                unfinished=self.site.unfinished,
                idle=settings["idle"],
                runs=self.store.runs(cloud=self.site.cloud.name, limit=200),
                say=running.say,
                closes=settings["closes"],
                expected=settings["expected"],
            ),
            settings["despite"],
        )
        if refusals:
            why = MayNot(f"rebooting {host}", refusals)
            raise Refused(why.attempted, came_back=why.came_back, remedy=why.remedy)
        known = [name_of(finding) for finding in bad(findings)]
        told = f"{len(known)} findings were bad before" if known else ""
        return {"known": known, "asked_at": time.time(), "told": told}

    async def probe(self, running: Running) -> Result | None:
        """Ask again: what was true then may not be now."""
        return None

    async def _on_host(self, host: str) -> Mapping[str, Any]:
        try:
            told: Mapping[str, Any] = await self.site.ask(host, look.look)
        except HostError:
            return {}
        return told

    def _known(self, running: Running) -> frozenset[tuple[str | None, str, str]] | None:
        """Return what was bad before the run's first host went down, None for the first."""
        first = running.results.get(f"{running.plan.targets[0]}.gates")
        return frozenset(tuple(name) for name in first["known"]) if first else None


class Hooks:
    """Calls hooks of the site's own, one after another. Where one says no, the run ends."""

    def __init__(self, site: Site, hooks: Sequence[Hook], *, may_refuse: bool = False) -> None:
        self.site = site
        self.hooks = hooks
        self.may_refuse = may_refuse

    async def do(self, running: Running) -> Result:
        """Call them all; a no before the host is touched is a refusal."""
        facts = {
            "run": running.run,
            "runbook": running.plan.runbook,
            "cloud": running.plan.cloud,
            "host": running.step.target,
            "step": running.step.action,
        }
        said = []
        for hook in self.hooks:
            try:
                if hook.url:
                    said.append(await call_url(hook.url, facts, bound=hook.bound))
                else:
                    said.append(await call_command(hook.command or "", facts, bound=hook.bound))
            except HookFailed as error:
                if not self.may_refuse:
                    raise
                raise Refused(
                    error.attempted, came_back=error.came_back, remedy=error.remedy
                ) from error
        return {"said": said, "told": "; ".join(filter(None, said))}

    async def probe(self, running: Running) -> Result | None:
        """Call again: a hook is safe to repeat."""
        return None


class Note:
    """Notes the boot id, what runs, and who answers; begins to watch."""

    def __init__(self, site: Site, recorder: Recorder) -> None:
        self.site = site
        self.recorder = recorder

    async def do(self, running: Running) -> Result:
        """Read from the host and the APIs. An API that does not answer leaves its part out."""
        host = running.step.target
        noted: dict[str, Any] = dict(await self.site.ask(host, onhost.running_units))
        noted["apis"] = await self._apis(host)
        noted["instances"] = await self._instances()
        noted["agents"] = await self._agents()
        self.recorder.start(noted["apis"], noted["instances"])
        instances, apis = len(noted["instances"]), len(noted["apis"])
        noted["told"] = (
            f"boot id {noted['boot_id'][:8]}…; watching {apis} API{'s' * (apis != 1)} and "
            f"{instances} instance{'s' * (instances != 1)}"
        )
        return noted

    async def probe(self, running: Running) -> Result | None:
        """Note again: the host has not been touched yet."""
        return None

    async def _apis(self, host: str) -> dict[str, str]:
        """Return the root of each API whose endpoint has the host's address."""
        address = self.site.host(host).address
        return {
            endpoint.service_type: "{0.scheme}://{0.netloc}/".format(urlsplit(endpoint.url))
            for endpoint in await self.site.endpoints()
            if urlsplit(endpoint.url).hostname == address
        }

    async def _instances(self) -> dict[str, str]:
        """Return the instances that answer ping from here: the others cannot be watched."""
        try:
            workloads = await self.site.workloads()
        except ApiError:
            return {}
        addresses = {one.name: address for one in workloads for address in one.addresses[:1]}
        answers = await asyncio.gather(*(self.site.ping(one) for one in addresses.values()))
        pairs = zip(addresses.items(), answers, strict=True)
        return {name: address for (name, address), answered in pairs if answered}

    async def _agents(self) -> list[list[str]]:
        try:
            agents = await self.site.agents()
        except ApiError:
            return []
        return [[agent.host, agent.binary] for agent in agents if agent.up and agent.enabled]


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


async def new_findings(site: Site, running: Running) -> list[Finding]:
    """Return what is bad now: all on the host itself, elsewhere what was not bad before."""
    host = running.step.target
    known = {tuple(name) for name in running.results[f"{host}.gates"]["known"]}
    findings = bad(await site.check())
    return [f for f in findings if f.host == host or name_of(f) not in known]


class Agents(Units):
    """Waits until every agent that reported before has reported since the boot."""

    async def do(self, running: Running) -> Result:
        """Compare the age of reports with the age of the boot, never the processes' state."""
        host = running.step.target
        before = {tuple(agent) for agent in running.results[f"{host}.note"]["agents"]}
        booted = datetime.fromtimestamp(running.results[f"{host}.up"]["booted_at"], UTC)
        everyone = Role.CONTROLLER in self.site.host(host).roles
        names = {host, running.results[f"{host}.note"]["hostname"]}

        def concerned(agent: Agent) -> bool:
            known = (agent.host, agent.binary) in before
            return known and (everyone or agent.host in names)

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
        count = sum(everyone or name in names for name, _ in before)
        return {"seconds": round(took, 1), "told": f"{count} agents" if count else "it has none"}


def _about(host: str | None, subject: str, evidence: str, remedy: str) -> Finding:
    return Finding(
        host=host,
        service="agents",
        subject=subject,
        severity=Severity.FAILED,
        evidence=evidence,
        remedy=remedy,
    )


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
