"""The watch in the stories: its detection alone, with incidents kept in memory."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from backstay.monitor.incident import Cause, Happened, Incident
from backstay.monitor.store import Minute


@dataclass
class MemoryLedger:
    """Incidents in memory, each with the time at which it was opened, told anew and closed."""

    cloud: str = "lab"
    troubles: tuple[str, ...] = ()
    incidents: dict[int, Incident] = field(default_factory=dict)
    told: list[tuple[float, str, Incident]] = field(default_factory=list)
    minutes: list[Minute] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    loud: bool = False

    async def open(self, cause: Cause, *, began: float, at: float) -> Incident:
        number = len(self.incidents) + 1
        incident = Incident(
            id=number, cloud=self.cloud, cause=cause, began=began, opened=at,
            happened=(Happened(at=at, kind="opened", text=cause.title),),
        )  # fmt: skip
        return self._keep("opened", incident)

    async def change(
        self, incident: Incident, cause: Cause, *, at: float, text: str, tell: bool = False
    ) -> Incident:
        happened = (*incident.happened, Happened(at=at, kind="changed", text=text))
        changed = replace(incident, cause=cause, happened=happened)
        return self._keep("told" if tell else "changed", changed, text)

    async def close(self, incident: Incident, *, at: float, text: str) -> None:
        happened = (*incident.happened, Happened(at=at, kind="closed", text=text))
        self._keep("closed", replace(incident, closed=at, happened=happened), text)

    def open_incidents(self) -> tuple[Incident, ...]:
        return tuple(one for one in self.incidents.values() if one.closed is None)

    async def keep(self, minutes: Sequence[Minute]) -> None:
        self.minutes += minutes

    def _keep(self, word: str, incident: Incident, text: str = "") -> Incident:
        self.incidents[incident.id] = incident
        self.told.append((time.time(), word, incident))
        self.changed.set()
        if self.loud:
            cause = incident.cause
            print(f"{time.time():.2f} {word} {incident.name} {cause.kind} {cause.title} | {text}")
            if word == "opened":
                for line in (*cause.evidence, f"impact: {cause.impact}", f"do: {cause.remedy}"):
                    print(f"      {line}")
                print(f"      symptoms: {' '.join(cause.symptoms)}", flush=True)
        return incident
