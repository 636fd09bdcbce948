"""What users see of a replacement: outages of APIs and instances are recorded, as in a reboot.

The recording starts with the first step and ends with the last. It lives in the process that
carries the run out: what was out while no process did, and what an interrupted process had
recorded, is not known. The report says so.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from backstay.access.session import CloudSession
from backstay.answers import Line
from backstay.errors import BackstayError
from backstay.journal.action import Running
from backstay.journal.store import Store
from backstay.runbooks.common.outage_recorder import OutageRecorder
from backstay.runbooks.replace.steps import (
    CONFIRM,
    TAKE_OVER,
    InventoryUpdated,
    RecordedTargets,
)
from backstay.services.by_host import services_on, units_on
from backstay.transports.urls import is_ip_address

USUAL = "the usual ports"
_INTERVAL = 0.5
"""Seconds between questions to an API: it is out for minutes, and cores are short meanwhile."""
_LOOK_BOUND = 10.0


class OutageRecording:
    """Finds what outages can be recorded of, with a host that is dead already; records them."""

    def __init__(
        self, site: CloudSession, store: Store, recorder: OutageRecorder | None = None
    ) -> None:
        self.site = site
        self.store = store
        self.recorder = recorder or OutageRecorder()

    async def start(self, running: Running) -> RecordedTargets:
        """Start to record of what can be found. Raises nothing: it stops no replacement."""
        host = running.plan.targets[0]
        apis, by = self._apis(host)
        guests, unasked = await self._guests()
        answers = await asyncio.gather(
            *(self.site.ping(one) for one in guests.values()), return_exceptions=True
        )
        answering = {
            name for name, answered in zip(guests, answers, strict=True) if answered is True
        }
        found = RecordedTargets(
            apis=apis,
            apis_by=by,
            instances={name: address for name, address in guests.items() if name in answering},
            silent=tuple(name for name in guests if name not in answering),
            unasked=tuple(unasked),
        )
        self._start(found.apis, found.instances)
        return found

    @contextlib.asynccontextmanager
    async def started_beside(
        self, running: Running
    ) -> AsyncIterator["asyncio.Future[RecordedTargets]"]:
        """Start to record beside the work of this block, which need not wait for it.

        Gives what will return the recorded targets. Where the block fails nothing is recorded.
        """
        starting = asyncio.ensure_future(self.start(running))
        try:
            yield starting
        except BaseException:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, BackstayError):
                await starting
            self.recorder.stop()
            raise

    def resume(self, running: Running) -> None:
        """Record the same targets again where another process had started to."""
        if running.step.action in {CONFIRM.name, TAKE_OVER.name} or self.recorder.on:
            return
        confirmed = running.find(CONFIRM)
        if confirmed is not None and confirmed.recording is not None:
            self._start(confirmed.recording.apis, confirmed.recording.instances)

    def end(self, result: InventoryUpdated) -> InventoryUpdated:
        """End it, and return the last step's result with what was recorded."""
        if not self.recorder.on:
            return result
        since = self.recorder.started
        recorded = tuple(self.recorder.stop())
        return replace(result, recorded=recorded, recorded_since=since)

    def _start(self, apis: Mapping[str, str], instances: Mapping[str, str]) -> None:
        self.recorder.start(apis, instances, interval=_INTERVAL)

    def _apis(self, host: str) -> tuple[Mapping[str, str], str]:
        """Return the APIs of a host, and where that is from: Keystone may have been on it.

        An earlier run has noted them, or they are where their service usually has them.
        """
        with contextlib.suppress(BackstayError):
            for run in self.store.runs(cloud=self.site.cloud.name, limit=200):
                for step in run.steps:
                    noted = step.result.get("apis") if step.id == f"{host}.note" else None
                    if noted:
                        return dict(noted), run.id
        return self._usual(host), USUAL

    def _usual(self, host: str) -> dict[str, str]:
        there, cloud = self.site.host(host), self.site.cloud
        # Reads the credentials; opens no connection.
        scheme = urlsplit(getattr(self.site.api, "auth_url", "")).scheme or "http"
        found: dict[str, str] = {}
        for service, unit in units_on(cloud, there, self.site.services):
            if service.endpoint_types and unit.ports:
                url = f"{scheme}://{there.address}:{unit.ports[0]}/"
                found.setdefault(service.endpoint_types[0], url)
        return found

    async def _guests(self) -> tuple[dict[str, str], list[str]]:
        """Return the users' instances that run, addresses by name; and the hosts without answer."""
        asked = [
            (host.name, service.running)
            for host in self.site.cloud.hosts.values()
            for service in services_on(self.site.cloud, host, self.site.services)
            if service.running is not None
        ]
        answers = await asyncio.gather(
            *(self.site.ask(host, ask, returns=Guests, bound=_LOOK_BOUND) for host, ask in asked),
            return_exceptions=True,
        )
        found: dict[str, str] = {}
        unasked: list[str] = []
        for (host, _), answer in zip(asked, answers, strict=True):
            if isinstance(answer, BackstayError):
                unasked.append(host)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found |= first_addresses(answer, taken=found)
        return found, unasked


Guests = tuple[tuple[Line, tuple[Line, ...]], ...]
"""The instances that a host runs: the name of each, and its addresses."""


def first_addresses(instances: Guests, taken: Mapping[str, str]) -> dict[str, str]:
    """Return first addresses by name; of two with one name the second has its address added."""
    found: dict[str, str] = {}
    for name, addresses in instances:
        # A name that a host sends is not looked up.
        if addresses and is_ip_address(addresses[0]):
            twice = name in taken or name in found
            found[f"{name} {addresses[0]}" if twice else name] = addresses[0]
    return found
