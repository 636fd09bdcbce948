"""The steps of a restore that change the host: stop, put in place, start, check, tidy."""

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backstay.access.session import name_findings
from backstay.answers import Line
from backstay.backup import onhost_restore, onhost_units
from backstay.backup.files import EXPORTS
from backstay.backup.manifest import MOST_BYTES
from backstay.backup.mariadb import onhost_restore as onhost_tables
from backstay.backup.mariadb.answers import TablesSwapped
from backstay.backup.selection import invariants
from backstay.beneath import Folder
from backstay.errors import BackstayError, BackupError, HostError
from backstay.finding import Finding, bad
from backstay.health.check import check_hosts, check_units
from backstay.health.rpc.diagnosis import AgentDiagnosis, name_agents
from backstay.journal.action import Running
from backstay.journal.result import StepResult
from backstay.runbooks.common.reattacher import AgentReattacher
from backstay.runbooks.common.waiting import until_healthy
from backstay.runbooks.restore.answers import Replaced, UnitsStarted, UnitsStopped
from backstay.runbooks.restore.context import RestoreAction, RestoreContext
from backstay.runbooks.restore.plan import units_of
from backstay.runbooks.restore.steps import (
    LOOK,
    REBUILD,
    SEND,
    STOP,
    AgentsAttached,
    BackupInPlace,
    ServicesStopped,
    Waited,
)
from backstay.services.declaration import Service

_MARGIN = 20.0
_PAUSE = 0.5
"""Seconds between two checks of what was started: the next service waits for it."""


class Stop(RestoreAction[ServicesStopped]):
    """Stops what is restored: services with an API first, what they stand on last."""

    async def do(self, running: Running) -> ServicesStopped:
        """Stop, and keep from starting: nothing may write while data are exchanged."""
        context, host = self.context(running), running.step.target
        bound = running.step.bound / 2 - _MARGIN
        groups = (
            [one for one in context.services if one.endpoint_types],
            [one for one in context.services if not one.endpoint_types],
        )
        triggers: list[str] = []
        for group in groups:
            units = units_of(self.site.cloud, host, group)
            if not units:
                continue
            running.report(f"stopping {', '.join(units)}")
            stopped = await self.site.ask(
                host, onhost_units.stop, units, returns=UnitsStopped, bound=bound
            )
            triggers += stopped.triggers
            if stopped.running:
                raise BackstayError(
                    f"stopping services on {host}",
                    came_back=f"{', '.join(stopped.running)} are still active",
                    remedy=f"stop them on {host}, then: {running.resume}",
                )
        return ServicesStopped(triggers=tuple(triggers))


class Swap(RestoreAction[BackupInPlace]):
    """Puts what was sent in its place."""

    async def do(self, running: Running) -> BackupInPlace:
        """Keep what is there, then rename. Raises HostError."""
        context, host = self.context(running), running.step.target
        kept = await self._databases(context, host, running)
        sent = running.result(SEND)
        placed = await self.site.ask(
            host,
            onhost_restore.place_files,
            context.staging,
            [list(folder) for folder in sent.folders],
            list(context.paths),
            returns=Replaced,
            bound=running.step.bound - _MARGIN,
        )
        kept += [placed.kept] if placed.kept else []
        summary = f"replaced data kept in {', '.join(kept)}" if kept else "nothing was replaced"
        return BackupInPlace(kept=tuple(kept), files=placed.placed, summary=summary)

    async def _databases(self, context: RestoreContext, host: str, running: Running) -> list[str]:
        bound = running.step.bound / 2
        if not context.has_databases:
            return []
        if context.service:
            pairs = [
                [name, context.restored_name(name), context.kept_name(name)]
                for name, *_ in running.result(REBUILD).loads
            ]
            tables = await self.site.ask(
                host, onhost_tables.swap_tables, pairs, returns=TablesSwapped, bound=bound
            )
            return [f"database {name}" for name in tables.kept]
        inspected = running.result(LOOK)
        swapped = await self.site.ask(
            host,
            onhost_restore.swap_data,
            inspected.data,
            inspected.beside,
            returns=Replaced,
            bound=bound,
        )
        return [swapped.kept] if swapped.kept else []


class Start(RestoreAction[Waited]):
    """Starts services, and puts back what only the running service takes."""

    async def do(self, running: Running) -> Waited:
        """Start, wait until its units run and listen. Raises BackstayError."""
        context, host = self.context(running), running.step.target
        names = names_in(running.step.arguments)
        services = [one for one in context.services if one.name in names]
        units = units_of(self.site.cloud, host, services)
        triggers = list(running.result(STOP).triggers)
        started = await self.site.ask(
            host,
            onhost_units.start,
            units,
            triggers,
            returns=UnitsStarted,
            bound=running.step.bound / 2,
        )
        if started.error:
            raise BackstayError(
                f"starting {', '.join(units)} on {host}",
                came_back=started.error,
                remedy=f"read the log of {units[0]} on {host} (journalctl -u {units[0]} -n 50); "
                f"then: {running.resume}",
            )

        async def look() -> Sequence[Finding]:
            found = bad(await check_units(self.site, host))
            return [finding for finding in found if finding.service in names]

        took = await until_healthy(
            running,
            look,
            attempted=f"waiting for {', '.join(names)} on {host}",
            remedy=f"backstay check {host}; then: {running.resume}",
            pause=_PAUSE,
        )
        for service in services:
            if service.put_back and service.exports:
                await self._put_back(service, context, host)
        return Waited(seconds=round(took, 1))

    async def _put_back(self, service: Service, context: RestoreContext, host: str) -> None:
        assert service.put_back is not None  # noqa: S101 - asked by the caller
        texts = {
            name: text.decode(errors="replace")
            for name, text in exports_in(context.files, list(service.exports)).items()
        }
        if texts:
            await self.site.ask(host, service.put_back, texts, bound=120)


def exports_in(files: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Return those exports of a backup that are there. Raises BackupError."""
    found = {}
    try:
        with Folder.open(files / EXPORTS) as folder:
            for name in names:
                if folder.size(name) is not None:
                    found[name] = folder.content(name, most=MOST_BYTES)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BackupError(
            f"reading the exports in {files / EXPORTS}",
            came_back=error.strerror or str(error),
            remedy="choose another backup: backstay backup list",
        ) from error
    return found


def names_in(arguments: Mapping[str, Any]) -> list[str]:
    """Return the names of the services that a step starts: several, or one."""
    return list(arguments.get("services") or [arguments["service"]])


_LAST_LOOK = 30.0
"""Seconds before the bound at which agents are observed for the last time."""


class Works(RestoreAction[Waited]):
    """Waits until the host and the APIs work; names what does not elsewhere."""

    async def do(self, running: Running) -> Waited:
        """Check all hosts and APIs. Findings of other hosts are in the summary, not waited for."""
        context, host = self.context(running), running.step.target
        others: list[Finding] = []

        async def look() -> Sequence[Finding]:
            found = bad(await check_hosts(self.site))
            mine = [f for f in found if f.host in {host, None}]
            others[:] = [f for f in found if f not in mine]
            return mine

        took = await until_healthy(
            running,
            look,
            attempted=f"waiting for {host} to work after the restore",
            remedy=f"backstay check {host}; then: {running.resume}",
        )
        remarks = [f"elsewhere: {name_findings(others)}"] if others else []
        remarks += await self._torn(context, host)
        return Waited(seconds=round(took, 1), summary="; ".join(remarks))

    async def _torn(self, context: RestoreContext, host: str) -> list[str]:
        """Return what does not fit together between this cloud's databases now."""
        holds = invariants(self.site.cloud, self.site.services) if context.has_databases else []
        try:
            rows = await self.site.ask(
                host,
                onhost_tables.answers,
                [one.broken for one in holds],
                returns=list[list[Line]],
                bound=120,
            )
        except HostError:
            return []
        pairs = zip(holds, rows, strict=False)
        return [f"{len(found)} {one.says}: {', '.join(found[:3])}" for one, found in pairs if found]


class Agents(RestoreAction[AgentsAttached]):
    """Waits for agents to come back to the restored broker; restarts only those that do not."""

    async def do(self, running: Running) -> AgentsAttached:
        """Wait for all that are enabled; the summary names those that are not attached then.

        That is no failure of the restore: a host may be down for reasons of its own.
        """
        reattacher, started_at = (
            AgentReattacher(self.site, None, say=running.report),
            time.monotonic(),
        )

        def concerned(one: AgentDiagnosis) -> bool:
            return one.seen.agent.in_service

        left = await reattacher.until_attached(concerned, bound=running.step.bound - _LAST_LOOK)
        again = reattacher.restarted
        remarks = [f"restarted {', '.join(again)}"] if again else []
        remarks += [f"not attached: {name_agents(left)}; backstay reattach"] if left else []
        return AgentsAttached(
            seconds=round(time.monotonic() - started_at, 1),
            restarted=tuple(again),
            left=tuple(agent.name for agent in left),
            summary="; ".join(remarks) or "all attached, none restarted",
        )


class Tidy(RestoreAction[StepResult]):
    """Removes what was brought to this machine and sent; what was replaced stays."""

    async def do(self, running: Running) -> StepResult:
        """Remove. Raises HostError."""
        context, host = self.context(running), running.step.target
        shutil.rmtree(context.work, ignore_errors=True)
        beside = running.result(LOOK).beside
        await self.site.ask(
            host,
            onhost_restore.remove,
            [
                f"{context.staging}/{onhost_restore.NEW}",
                f"{beside}/{onhost_restore.NEW}",
            ],
        )
        again = f"take a new backup now: backstay backup create {host} --verify"
        # A service's databases are exchanged within the server: its log continues.
        new_log = context.has_databases and not context.service
        follows = any(step.action == "record" for step in running.plan.steps)
        return StepResult(summary=again if new_log and not follows else "")
