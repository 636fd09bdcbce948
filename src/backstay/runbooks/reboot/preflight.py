"""The steps before the host is touched: may it, and what was it like."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from backstay.access.session import CloudSession, name_of
from backstay.backup.place import Place
from backstay.errors import ApiError, HookFailed, HostError
from backstay.finding import bad
from backstay.health.check import check
from backstay.inventory.maintenance import Hook
from backstay.journal.action import Action, Refused, Result, Running
from backstay.journal.store import Store
from backstay.maintenance.gates import GateInput, ask_all
from backstay.maintenance.gates_onhost import boot_obstacles
from backstay.maintenance.refusal import GatesRefused
from backstay.runbooks.common.outage_recorder import OutageRecorder
from backstay.runbooks.reboot import onhost
from backstay.transports.hook import call_command, call_url


@dataclass(frozen=True)
class Gates(Action[Result]):
    """Asks all gates; notes what was bad before, so that it is not laid to the reboot."""

    site: CloudSession
    store: Store

    async def do(self, running: Running) -> Result:
        """Ask. Raises Refused with every reason."""
        host, settings = running.step.target, running.plan.settings
        findings = await check(self.site)
        refusals = await ask_all(
            GateInput(
                cloud=self.site.cloud,
                host=host,
                run=running.run,
                now=time.time(),
                findings=findings,
                known=self._known(running),
                on_host=await self._on_host(host),
                in_flight=self.site.in_flight,
                idle=settings["idle"],
                runs=self.store.runs(cloud=self.site.cloud.name, limit=200),
                progress=running.say,
                backed_up=Place(self.site.cloud).catalogue.verified_at(host),
                closes=settings["closes"],
                expected=settings["expected"],
            ),
            settings["skip_gates"],
        )
        if refusals:
            why = GatesRefused(f"rebooting {host}", refusals)
            raise Refused(why.attempted, came_back=why.came_back, remedy=why.remedy)
        known = [name_of(finding) for finding in bad(findings)]
        told = f"{len(known)} findings were bad before" if known else ""
        return {"known": known, "asked_at": time.time(), "told": told}

    async def _on_host(self, host: str) -> Mapping[str, Any]:
        try:
            told: Mapping[str, Any] = await self.site.ask(host, boot_obstacles)
        except HostError:
            return {}
        return told

    def _known(self, running: Running) -> frozenset[tuple[str | None, str, str]] | None:
        """Return what was bad before the run's first host went down, None for the first."""
        first = running.results.get(f"{running.plan.targets[0]}.gates")
        return frozenset(tuple(name) for name in first["known"]) if first else None


@dataclass(frozen=True)
class Hooks(Action[Result]):
    """Calls hooks of the site's own, one after another. Where one says no, the run ends."""

    site: CloudSession
    hooks: Sequence[Hook]
    may_refuse: bool = field(default=False, kw_only=True)

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


@dataclass(frozen=True)
class Note(Action[Result]):
    """Notes the boot id, what runs, and who answers; begins to watch."""

    site: CloudSession
    recorder: OutageRecorder

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
