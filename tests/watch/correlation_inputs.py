"""A small cloud, and how its parts stand, for what is decided about them."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from backstay.inventory.load import load
from backstay.services.registry import all_services
from backstay.watch.detect.corroboration import Corroboration
from backstay.watch.detect.probe import Outcome, Subject
from backstay.watch.detect.state_machine import TargetState
from backstay.watch.detect.status import State
from backstay.watch.detect.topology import HOST, REACHABLE, Topology, topology
from backstay.watch.incidents.correlate import CandidateCause, CorrelationInput, causes
from backstay.watch.incidents.incident import Kind

NOW = 1000.0
CLOUD = """
name: small
credentials: {environment: true}
hosts:
  controller: {address: 10.0.0.11, roles: [controller]}
  proxy: {address: 10.0.0.12, roles: [storage-proxy]}
  storage1: {address: 10.0.0.13, roles: [storage]}
  compute1: {address: 10.0.0.21, roles: [compute]}
  compute2: {address: 10.0.0.22, roles: [compute]}
  spare1: {address: 10.0.0.31, roles: [spare], spare_for: [controller]}
"""


def small(folder: Path, text: str = CLOUD) -> Topology:
    """The topology of a cloud.yaml."""
    file = folder / "cloud.yaml"
    file.write_text(text)
    return topology(load(file), all_services())


def target(
    key: str,
    state: State,
    outcome: Outcome = Outcome.FAILED,
    *,
    since: float = NOW - 1,
    sure: bool = True,
) -> TargetState:
    """How a subject stands, by its key."""
    host, service, name = key.split("/")
    subject = Subject(host="" if host == "cloud" else host, service=service, name=name)
    bad = state in {State.SUSPECT, State.DOWN, State.RECOVERING}
    return TargetState(
        subject=subject,
        state=state,
        since=since,
        evidence=f"{name} looks {outcome}",
        outcome=outcome if bad else Outcome.OK,
        began=since - 1 if bad else None,
        bad=3 if bad else 0,
        sure=3 if bad and sure else 0,
        seen=NOW,
    )


def host(name: str, state: State = State.UP, outcome: Outcome = Outcome.SILENT) -> TargetState:
    """How a host itself stands."""
    return target(f"{name}/{HOST}/{REACHABLE}", state, outcome)


def corroboration(kind: Kind, power: bool | None = None) -> Corroboration:
    """What was confirmed."""
    return Corroboration(
        kind=kind, reason=f"they say {kind}", statements=("proxy: no answer",), power=power
    )


def correlation_input(
    top: Topology,
    *targets: TargetState,
    corroborations: Mapping[str, Corroboration] | None = None,
    silenced: frozenset[str] = frozenset(),
    **more: object,
) -> CorrelationInput:
    """Input in which all hosts answer, but for what is given."""
    known = {one.subject.key: one for one in (*map(host, top.cloud.hosts), *targets)}
    return CorrelationInput(
        now=NOW,
        targets=known,
        topology=top,
        corroborations=corroborations or {},
        silenced=silenced,
        **more,  # type: ignore[arg-type]
    )


def ready(given: CorrelationInput) -> list[CandidateCause]:
    """The causes that are to be told."""
    return [one for one in causes(given) if one.ready]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that tells nobody; at most for five seconds."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
