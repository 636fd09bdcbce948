"""The steps of a restore that change the host: stop, put in place, start."""

from collections.abc import Mapping, Sequence
from typing import Any

from backstay.backup import onhost_restore, onhost_units
from backstay.backup.mariadb import onhost_tables
from backstay.errors import BackstayError
from backstay.finding import Finding, bad
from backstay.journal.action import Result, Running
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
            found = bad(await self.site.check_units(host))
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
