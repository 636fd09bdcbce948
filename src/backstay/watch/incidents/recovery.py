"""When a cause is no more, and for how long its aftermath is still its own.

A host that is back starts its services one after another: until they run, they are that incident's,
not new ones. So an incident ends when what it began with is well again, and with it what followed.
"""

from collections.abc import Mapping, Sequence

from backstay.finding import Finding
from backstay.watch.detect.state_machine import TargetState
from backstay.watch.detect.status import State
from backstay.watch.detect.topology import AGENT, HOST
from backstay.watch.incidents.incident import Cause, Incident, Kind

HOST_AFTERMATH = 300.0
AFTERMATH = 120.0
"""Seconds for which what comes back later still belongs to an incident."""
FORGOTTEN = 120.0
"""Seconds after which an incident ends whose subject is not in cloud.yaml any more."""


class Recovery:
    """Remembers since when causes have been gone, and which findings stood twice.

    ``targets`` is the watch's own mapping. ``findings`` are texts by host (empty for the cloud).
    """

    def __init__(self, targets: Mapping[str, TargetState]) -> None:
        self.targets = targets
        self.findings: dict[str, tuple[str, ...]] = {}
        self._before: frozenset[tuple[str, str, str]] = frozenset()
        self._checks = 0
        self._back: dict[int, float] = {}
        self._began: float | None = None

    def checked(self, failed: Sequence[Finding], *, calm: bool) -> None:
        """Take a check's failed findings: what stood in the one before as well counts.

        What is found while there are other incidents (not ``calm``) may come from those.
        """
        names = {(f.host or "", f.service, f.subject): f for f in failed}
        twice: dict[str, list[str]] = {}
        for (host, _, subject), finding in names.items():
            if calm and (host, finding.service, subject) in self._before:
                twice.setdefault(host, []).append(f"{subject}: {finding.evidence}")
        self.findings = {host: tuple(texts) for host, texts in twice.items()}
        self._before = frozenset(names if calm else ())
        self._checks += 1

    def recovering(self, incidents: Sequence[Incident], now: float) -> tuple[Cause, ...]:
        """Return the causes that are gone, and whose aftermath is under way."""
        found = []
        ids = {incident.id for incident in incidents}
        self._back = {id_: at for id_, at in self._back.items() if id_ in ids}
        for incident in incidents:
            if incident.cause.kind is Kind.FINDING or not self._is_back(incident.cause):
                self._back.pop(incident.id, None)
                continue
            since = self._back.setdefault(incident.id, now)
            long = HOST_AFTERMATH if incident.cause.service == HOST else AFTERMATH
            if now - since < long:
                found.append(incident.cause)
        return tuple(found)

    def over(self, cause: Cause, now: float) -> bool:
        """Return whether what an incident began with works again; unknown does not count."""
        self._began = now if self._began is None else self._began
        if cause.kind is Kind.FINDING:
            return self._checks >= 2 and cause.host not in self.findings
        mine = self._mine(cause)
        if not mine:
            return now - self._began > FORGOTTEN
        return all(target.state is State.UP for target in mine)

    def _is_back(self, cause: Cause) -> bool:
        mine = self._mine(cause)
        return bool(mine) and not any(
            target.state in {State.DOWN, State.RECOVERING} for target in mine
        )

    def _mine(self, cause: Cause) -> list[TargetState]:
        """Return what a cause is about, not what follows from it."""
        if cause.kind is Kind.MONITORING_HOST_ISOLATED:
            hosts = [self.targets[key] for key in cause.symptoms if key in self.targets]
            return [target for target in hosts if target.subject.service == HOST]
        found = [t for t in self.targets.values() if t.subject.service == cause.service]
        if cause.service == AGENT and not cause.host:
            return found
        return [target for target in found if target.subject.host == cause.host]
