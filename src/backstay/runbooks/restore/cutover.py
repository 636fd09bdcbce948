"""The steps of a restore that change the host: stop, put in place, start."""

import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

from backstay.access.session import name_findings
from backstay.backup import onhost_restore, onhost_units
from backstay.backup.mariadb import onhost_tables
from backstay.backup.selection import invariants
from backstay.errors import BackstayError, HostError
from backstay.finding import Finding, bad
from backstay.health.check import check, check_units
from backstay.health.rpc.diagnosis import AgentDiagnosis, name_agents
from backstay.journal.action import Result, Running
from backstay.runbooks.common.reattacher import AgentReattacher
from backstay.runbooks.common.waiting import until_well
from backstay.runbooks.restore.context import RESUME, About, Restoring
from backstay.runbooks.restore.plan import units_of
from backstay.services.declaration import Service

_MARGIN = 20.0
_PAUSE = 0.5
"""Seconds between two looks at what was started: the next service waits for it."""


class Stop(Restoring):
    """Stops what is restored: services with an API first, what they stand on last."""

    async def do(self, running: Running) -> Result:
        """Stop, and keep from starting: nothing may write while data are exchanged."""
        about, host = self.about(running), running.step.target
        bound = running.step.bound / 2 - _MARGIN
        groups = (
            [one for one in about.services if one.endpoint_types],
            [one for one in about.services if not one.endpoint_types],
        )
        triggers: list[str] = []
        for group in groups:
            units = units_of(self.site.cloud, host, group)
            if not units:
                continue
            running.say(f"stopping {', '.join(units)}")
            told = await self.site.ask(host, onhost_units.stop, units, bound=bound)
            triggers += told["triggers"]
            if told["running"]:
                raise BackstayError(
                    f"stopping services on {host}",
                    came_back=f"{', '.join(told['running'])} still run",
                    remedy=f"end them there, {RESUME}",
                )
        return {"triggers": triggers}


class Swap(Restoring):
    """Puts what was sent in its place."""

    async def do(self, running: Running) -> Result:
        """Keep what is there, then rename. Raises HostError."""
        about, host = self.about(running), running.step.target
        kept = await self._databases(about, host, running)
        sent = running.results[f"{host}.send"]
        placed = await self.site.ask(
            host,
            onhost_restore.place_files,
            about.staging,
            sent["folders"],
            bound=running.step.bound - _MARGIN,
        )
        kept += [placed["kept"]] if placed["kept"] else []
        told = f"what was there is kept: {', '.join(kept)}" if kept else "there was nothing to keep"
        return {"kept": kept, "files": placed["placed"], "told": told}

    async def _databases(self, about: About, host: str, running: Running) -> list[str]:
        bound = running.step.bound / 2
        if not about.has_databases:
            return []
        if about.service:
            pairs = [
                [name, about.restored_name(name), about.kept_name(name)]
                for name, *_ in running.results[f"{host}.rebuild"]["loads"]
            ]
            told = await self.site.ask(host, onhost_tables.swap_tables, pairs, bound=bound)
            return [f"database {name}" for name in told["kept"]]
        looked = running.results[f"{host}.look"]
        told = await self.site.ask(
            host, onhost_restore.swap_data, looked["data"], looked["beside"], bound=bound
        )
        return [told["kept"]] if told["kept"] else []


class Start(Stop):
    """Starts services, and puts back what only the running service takes."""

    async def do(self, running: Running) -> Result:
        """Start, wait until its units run and listen. Raises BackstayError."""
        about, host = self.about(running), running.step.target
        names = names_in(running.step.arguments)
        services = [one for one in about.services if one.name in names]
        units = units_of(self.site.cloud, host, services)
        stopped = running.results[f"{host}.stop"]["triggers"]
        told = await self.site.ask(
            host, onhost_units.start, units, stopped, bound=running.step.bound / 2
        )
        if told["error"]:
            raise BackstayError(
                f"starting {', '.join(units)} on {host}",
                came_back=told["error"],
                remedy=f"see there: journalctl -u {units[0]} -n 50; {RESUME}",
            )

        async def look() -> Sequence[Finding]:
            found = bad(await check_units(self.site, host))
            return [finding for finding in found if finding.service in names]

        took = await until_well(
            running,
            look,
            attempted=f"waiting for {', '.join(names)} on {host}",
            remedy=f"backstay check {host}; {RESUME}",
            pause=_PAUSE,
        )
        for service in services:
            if service.put_back and service.exports:
                await self._put_back(service, about, host)
        return {"seconds": round(took, 1)}

    async def _put_back(self, service: Service, about: About, host: str) -> None:
        assert service.put_back is not None  # noqa: S101 - asked by the caller
        folder = about.files / "exports"
        texts = {
            name: (folder / name).read_text()
            for name in service.exports
            if (folder / name).is_file()
        }
        if texts:
            await self.site.ask(host, service.put_back, texts, bound=120)


def names_in(arguments: Mapping[str, Any]) -> list[str]:
    """Return the names of the services that a step starts: several, or one."""
    return list(arguments.get("services") or [arguments["service"]])


_LAST_LOOK = 30.0
"""Seconds before the bound at which the last look at agents begins."""


class Works(Restoring):
    """Waits until the host and the APIs work; tells what elsewhere does not."""

    async def do(self, running: Running) -> Result:
        """Check the whole cloud; other hosts' findings are told and waited for by nobody."""
        about, host = self.about(running), running.step.target
        others: list[Finding] = []

        async def look() -> Sequence[Finding]:
            found = bad(await check(self.site))
            mine = [f for f in found if f.host in {host, None}]
            others[:] = [f for f in found if f not in mine]
            return mine

        took = await until_well(
            running,
            look,
            attempted=f"waiting for {host} to work after the restore",
            remedy=f"backstay check {host}; {RESUME}",
        )
        told = [f"elsewhere: {name_findings(others)}"] if others else []
        told += await self._torn(about, host)
        return {"seconds": round(took, 1), "told": "; ".join(told)}

    async def _torn(self, about: About, host: str) -> list[str]:
        """Return what does not fit together between this cloud's databases now."""
        holds = invariants(self.site.cloud, self.site.services) if about.has_databases else []
        try:
            rows = await self.site.ask(
                host, onhost_tables.answers, [one.broken for one in holds], bound=120
            )
        except HostError:
            return []
        pairs = zip(holds, rows, strict=True)
        return [f"{len(found)} {one.says}: {', '.join(found[:3])}" for one, found in pairs if found]


class Agents(Restoring):
    """Sees agents come back to the restored broker; restarts only those that do not."""

    async def do(self, running: Running) -> Result:
        """Wait for all that are enabled; who is not attached then is told, with what to do.

        That is no failure of the restore: a host may be down for reasons of its own.
        """
        reattacher, begun = AgentReattacher(self.site, None, say=running.say), time.monotonic()

        def concerned(one: AgentDiagnosis) -> bool:
            return one.seen.agent.enabled

        left = await reattacher.until_attached(concerned, bound=running.step.bound - _LAST_LOOK)
        told = [f"restarted {', '.join(reattacher.restarted)}"] if reattacher.restarted else []
        told += [f"not attached: {name_agents(left)}; backstay reattach"] if left else []
        return {
            "seconds": round(time.monotonic() - begun, 1),
            "restarted": reattacher.restarted,
            "left": [one.name for one in left],
            "told": "; ".join(told) or "all attached, none restarted",
        }


class Tidy(Restoring):
    """Removes what was brought to this machine and sent; what was replaced stays."""

    async def do(self, running: Running) -> Result:
        """Remove. Raises HostError."""
        about, host = self.about(running), running.step.target
        shutil.rmtree(about.work, ignore_errors=True)
        beside = running.results[f"{host}.look"]["beside"]
        await self.site.ask(
            host,
            onhost_restore.remove,
            [
                f"{about.staging}/{onhost_restore.NEW}",
                f"{beside}/{onhost_restore.NEW}",
            ],
        )
        again = f"take a new backup now: backstay backup create {host} --verify"
        # A service's databases are exchanged within the server: its log goes on.
        begins = about.has_databases and not about.service
        follows = any(step.action == "record" for step in running.plan.steps)
        return {"told": again if begins and not follows else ""}
