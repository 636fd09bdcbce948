"""What users see of a replacement: APIs and instances are asked all the while, as in a reboot.

The watch begins with the first step and ends with the last. It lives in the process that carries
the run out: what was out while nobody carried it out, and what an interrupted process had seen, is
not known. The report says so.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from backstay.access.session import CloudSession
from backstay.errors import BackstayError
from backstay.journal.action import Running
from backstay.journal.store import Store
from backstay.jsondata import Json
from backstay.runbooks.common.outage_recorder import OutageRecorder
from backstay.services.by_host import services_on, units_on

BEGINS, ENDS = "confirm", "take-over"
"""The actions with which the recording starts and ends."""
USUAL = "the usual ports"
_INTERVAL = 0.5
"""Seconds between questions to an API: it is out for minutes, and cores are short meanwhile."""
_LOOK_BOUND = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTargets:
    """What is watched: APIs by name to URL, and where the URLs are from; instances to address.

    ``silent`` are instances that did not answer a ping from here when the watch began, so that
    their silence could tell nothing; ``unasked`` hosts could not be asked what runs on them.
    """

    apis: Mapping[str, str]
    apis_by: str
    instances: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "apis": dict(self.apis),
            "apis_by": self.apis_by,
            "instances": dict(self.instances),
            "silent": list(self.silent),
            "unasked": list(self.unasked),
        }


class OutageRecording:
    """Finds what is to be watched of a host that is dead already, and watches it."""

    def __init__(
        self, site: CloudSession, store: Store, recorder: OutageRecorder | None = None
    ) -> None:
        self.site = site
        self.store = store
        self.recorder = recorder or OutageRecorder()

    async def start(self, running: Running) -> RecordedTargets:
        """Begin to watch what can be found. Raises nothing: a replacement does not wait for it."""
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
            self.end()
            raise

    def resume(self, running: Running) -> None:
        """Record the same targets again where another process had started to."""
        if running.step.action in {BEGINS, ENDS}:
            return
        begun = running.results.get(f"{running.plan.targets[0]}.{BEGINS}", {})
        if not self.recorder.on and "watching" in begun:
            self._start(begun["watching"]["apis"], begun["watching"]["instances"])

    def end(self) -> dict[str, Any]:
        """End it, and return what was seen."""
        if not self.recorder.on:
            return {"watched": [], "watched_since": None}
        since = self.recorder.started
        return {"watched": [asdict(one) for one in self.recorder.stop()], "watched_since": since}

    def _start(self, apis: Mapping[str, str], instances: Mapping[str, str]) -> None:
        self.recorder.start(apis, instances, interval=_INTERVAL)

    def _apis(self, host: str) -> tuple[Mapping[str, str], str]:
        """Return the APIs of a host and who says so: a dead one cannot be asked for the catalogue.

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
        # Reads what the credentials say; asks nobody.
        scheme = urlsplit(getattr(self.site.api, "auth_url", "")).scheme or "http"
        found: dict[str, str] = {}
        for service, unit in units_on(cloud, there, self.site.services):
            if service.endpoint_types and unit.ports:
                url = f"{scheme}://{there.address}:{unit.ports[0]}/"
                found.setdefault(service.endpoint_types[0], url)
        return found

    async def _guests(self) -> tuple[dict[str, str], list[str]]:
        """Return what runs of the users' own by name, with an address; and hosts without answer."""
        asked = [
            (host.name, service.running)
            for host in self.site.cloud.hosts.values()
            for service in services_on(self.site.cloud, host, self.site.services)
            if service.running is not None
        ]
        told = await asyncio.gather(
            *(self.site.ask(host, ask, bound=_LOOK_BOUND) for host, ask in asked),
            return_exceptions=True,
        )
        found: dict[str, str] = {}
        unasked: list[str] = []
        for (host, _), answer in zip(asked, told, strict=True):
            if isinstance(answer, BackstayError):
                unasked.append(host)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found |= _addressed(answer, taken=found)
        return found, unasked


def _addressed(told: Json, taken: Mapping[str, str]) -> dict[str, str]:
    """Return names with their first addresses; two of one name are told apart by the address."""
    found: dict[str, str] = {}
    for name, addresses in told:
        if addresses:
            twice = name in taken or name in found
            found[f"{name} {addresses[0]}" if twice else name] = addresses[0]
    return found
