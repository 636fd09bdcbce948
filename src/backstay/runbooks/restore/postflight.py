"""The steps of a restore after all is started: does it work, who is attached, what is left."""

import shutil
import time
from collections.abc import Sequence

from backstay.access.session import name_findings
from backstay.backup import onhost_restore
from backstay.backup.mariadb import onhost_tables
from backstay.backup.selection import invariants
from backstay.errors import HostError
from backstay.finding import Finding, bad
from backstay.health.rpc.diagnosis import AgentDiagnosis, name_agents
from backstay.journal.action import Result, Running
from backstay.runbooks.common.reattacher import AgentReattacher
from backstay.runbooks.common.waiting import until_well
from backstay.runbooks.restore.context import RESUME, About, Restoring

_LAST_LOOK = 30.0
"""Seconds before the bound at which the last look at agents begins."""


class Works(Restoring):
    """Waits until the host and the APIs work; tells what elsewhere does not."""

    async def do(self, running: Running) -> Result:
        """Check the whole cloud; other hosts' findings are told and waited for by nobody."""
        about, host = self.about(running), running.step.target
        others: list[Finding] = []

        async def look() -> Sequence[Finding]:
            found = bad(await self.site.check())
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
