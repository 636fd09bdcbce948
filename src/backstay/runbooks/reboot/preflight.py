"""The steps before the host is rebooted: gates, hooks, and a note of its state."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from backstay.access.session import CloudSession, Name, name_of
from backstay.backup.place import Place
from backstay.clock import moment
from backstay.errors import ApiError, BackupError, HookFailed, HostError
from backstay.finding import bad
from backstay.health.check import check
from backstay.inventory.maintenance import Hook
from backstay.journal.action import Action, Refused, Running
from backstay.journal.store import Store
from backstay.maintenance.gates import BootObstacles, GateInput, ask_all
from backstay.maintenance.gates_onhost import boot_obstacles
from backstay.maintenance.refusal import GatesRefused
from backstay.runbooks.common.outage_recorder import OutageRecorder
from backstay.runbooks.reboot import onhost
from backstay.runbooks.reboot.answers import UnitsAnswer
from backstay.runbooks.reboot.plan import options_of
from backstay.runbooks.reboot.steps import GATES, GatesPassed, HooksCalled, HostNoted
from backstay.transports.hook import call_command, call_url


@dataclass(frozen=True)
class Gates(Action[GatesPassed]):
    """Asks all gates, and records which checks were failing before the reboot."""

    site: CloudSession
    store: Store

    async def do(self, running: Running) -> GatesPassed:
        """Ask all gates. Raises Refused with every reason."""
        host, options = running.host, options_of(running.plan)
        findings = await check(self.site)
        refusals = await ask_all(
            GateInput(
                cloud=self.site.cloud,
                host=host,
                run=running.run,
                now=time.time(),
                findings=findings,
                known=self._known(running),
                on_host=await self._boot_obstacles(host),
                in_flight=self.site.in_flight,
                idle=options.idle,
                runs=self.store.runs(cloud=self.site.cloud.name, limit=200),
                progress=running.report,
                backed_up=self._backed_up(host),
                closes=options.closes,
                expected=options.expected,
            ),
            options.skip_gates,
        )
        if refusals:
            why = GatesRefused(f"rebooting {host}", refusals)
            raise Refused(why.attempted, came_back=why.came_back, remedy=why.remedy, lines=True)
        known = tuple(name_of(finding) for finding in bad(findings))
        asked = moment()
        return GatesPassed(
            known=known,
            asked_at=asked.at,
            asked_boot=asked.boot,
            asked_up=asked.up,
            summary=already_failing(len(known)),
        )

    def _backed_up(self, host: str) -> float | None:
        """Return when the newest verified backup was taken, None where there is none.

        A catalogue that cannot be read matters only where the site wants a young backup: raises
        Refused then.
        """
        try:
            return Place(self.site.cloud).catalogue.verified_at(host)
        except BackupError as error:
            if self.site.cloud.backup.max_age is None:
                return None
            raise Refused(
                error.attempted, came_back=error.came_back, remedy=error.remedy
            ) from error

    async def _boot_obstacles(self, host: str) -> BootObstacles | None:
        try:
            return await self.site.ask(host, boot_obstacles, returns=BootObstacles)
        except HostError:
            return None

    def _known(self, running: Running) -> frozenset[Name] | None:
        """Return what was failing before the run's first host went down, None for the first."""
        first = running.find(GATES, running.plan.targets[0])
        return None if first is None else frozenset(first.known)


def already_failing(count: int) -> str:
    """Return the summary of ``count`` checks that were failing before the reboot. Pure."""
    if not count:
        return ""
    checks = "1 check was" if count == 1 else f"{count} checks were"
    return f"{checks} already failing (ignored afterwards)"


@dataclass(frozen=True)
class Hooks(Action[HooksCalled]):
    """Calls the site's own hooks, one after another; the first that fails ends the run."""

    site: CloudSession
    hooks: Sequence[Hook]
    may_refuse: bool = field(default=False, kw_only=True)
    """Whether a hook that fails refuses the reboot: the host has not been changed yet."""

    async def do(self, running: Running) -> HooksCalled:
        """Call them all. Raises HookFailed, or Refused where hooks may refuse.

        It is no refusal, of which nothing is left, where others were called before it, or where it
        has not said how it ended.
        """
        facts = {
            "run": running.run,
            "runbook": running.plan.runbook,
            "cloud": running.plan.cloud,
            "host": running.step.target,
            "step": running.step.action,
        }
        outputs = []
        for hook in self.hooks:
            try:
                if hook.url:
                    outputs.append(await call_url(hook.url, facts, bound=hook.bound))
                else:
                    outputs.append(await call_command(hook.command or "", facts, bound=hook.bound))
            except HookFailed as error:
                if outputs:
                    count = f"{len(outputs)} hook" + "s" * (len(outputs) > 1)
                    raise HookFailed(
                        error.attempted,
                        came_back=f"{error.came_back}; called before it: {count}",
                        remedy=error.remedy,
                        unclear=error.unclear,
                    ) from error
                if not self.may_refuse or error.unclear:
                    raise
                raise Refused(
                    error.attempted, came_back=error.came_back, remedy=error.remedy
                ) from error
        return HooksCalled(outputs=tuple(outputs), summary="; ".join(filter(None, outputs)))


@dataclass(frozen=True)
class Note(Action[HostNoted]):
    """Notes the boot id, running services and agents; starts to record outages."""

    site: CloudSession
    recorder: OutageRecorder

    async def do(self, running: Running) -> HostNoted:
        """Read from the host and the APIs; what an API that does not answer has is left out.

        Raises HostError.
        """
        host = running.host
        units = await self.site.ask(host, onhost.running_units, returns=UnitsAnswer)
        apis, instances = await self._apis(host), await self._instances()
        self.recorder.start(apis, instances)
        targets = f"{_counted(len(apis), 'API')} and {_counted(len(instances), 'instance')}"
        return HostNoted(
            boot_id=units.boot_id,
            hostname=units.hostname,
            kernel=units.kernel,
            running=units.running,
            failed=units.failed,
            apis=apis,
            instances=instances,
            agents=await self._agents(),
            uuid=units.uuid,
            serial=units.serial,
            summary=f"boot id {units.boot_id[:8]}…; recording outages of {targets}",
        )

    async def _apis(self, host: str) -> dict[str, str]:
        """Return the root URL of each API whose endpoint has the host's address, by its type."""
        address = self.site.host(host).address
        return {
            endpoint.service_type: "{0.scheme}://{0.netloc}/".format(urlsplit(endpoint.url))
            for endpoint in await self.site.endpoints()
            if endpoint.host == address
        }

    async def _instances(self) -> dict[str, str]:
        """Return the instances that answer ping from here: no others can be recorded."""
        try:
            workloads = await self.site.workloads()
        except ApiError:
            return {}
        addresses = {one.name: address for one in workloads for address in one.addresses[:1]}
        answers = await asyncio.gather(*(self.site.ping(one) for one in addresses.values()))
        pairs = zip(addresses.items(), answers, strict=True)
        return {name: address for (name, address), answered in pairs if answered}

    async def _agents(self) -> tuple[tuple[str, str], ...]:
        try:
            agents = await self.site.agents()
        except ApiError:
            return ()
        return tuple(
            (agent.host, agent.binary) for agent in agents if agent.up and agent.in_service
        )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
