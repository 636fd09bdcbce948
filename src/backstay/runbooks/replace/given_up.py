"""A spare that had started to become a host, and was given up: it must not come on any more.

From the step *adopt* on it has the host's address, name and keys, at boots too. Where its run is
abandoned and the host is built on another spare, the first one would be a second host with one
address as soon as somebody, or the mains, switches it on. So to abandon such a run powers its spare
off, keeps it off, and writes it under ``fenced`` in cloud.yaml, where ``backstay check`` and the
watch see it; and a new replacement of that host is refused until it is proved off.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from backstay.errors import BackstayError, InventoryError, PowerError
from backstay.inventory.cloud import Cloud
from backstay.inventory.takeover import give_up
from backstay.journal.action import Refused, Running
from backstay.journal.records import DamagedRun, EventKind, RunRecord, RunState
from backstay.journal.store import Store
from backstay.runbooks.common.power_actions import Board, cut_for_good
from backstay.runbooks.replace.inventory_update import text_of, write_cloud
from backstay.runbooks.replace.plan import RUNBOOK
from backstay.runbooks.replace.steps import ADOPT, PREPARE, SparePrepared
from backstay.transports.bmc import power_of
from backstay.transports.hardware import Hardware, hardware_of
from backstay.transports.power import STATE_BOUND, Power, no_bmc, state_soon
from backstay.transports.targets import BmcTarget

RUNS = 500
"""So many of the newest replacements are looked at: older ones are forgotten."""
PowerOf = Callable[[BmcTarget], Power]


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """A ``spare`` that a ``run`` has started to make into ``host``, and has not finished.

    ``hardware`` are its ids, as it gave them itself. ``ended`` is whether the run was abandoned:
    else it may be resumed.
    """

    run: str
    host: str
    spare: str
    hardware: Hardware
    ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FencedSpare:
    """A spare that is off.

    ``name`` is its name under ``fenced``, empty where it must be written there by hand, as
    ``by_hand`` says; ``not_set`` is what its BMC could not be set to.
    """

    name: str
    not_set: Sequence[str] = ()
    by_hand: str = ""


def given_up_by(run: RunRecord) -> GivenUp | None:
    """Return the spare that a run has started to make into a host, None for none. Pure."""
    spare = str(run.plan.settings.get("spare") or "")
    if run.plan.runbook != RUNBOOK or run.state is RunState.DONE or not spare:
        return None
    host = run.plan.targets[0]
    started = any(step.id == ADOPT.id(host) and step.attempts for step in run.steps)
    if not started:
        return None
    found = next((step.result for step in run.steps if step.id == PREPARE.id(host)), {})
    prepared = SparePrepared.from_json(found)
    return GivenUp(
        run=run.id,
        host=host,
        spare=spare,
        hardware=hardware_of(prepared.uuid, prepared.serial),
        ended=run.state is RunState.ABANDONED,
    )


def may_have_a_spare(run: str) -> bool:
    """Return whether a run of this name is a replacement: more may not be known of it. Pure."""
    return run.startswith(f"{RUNBOOK}-")


def refuse_damaged(store: Store, damaged: Sequence[DamagedRun], host: str) -> None:
    """Raise Refused where a spare may be on of which the journal cannot be read any more."""
    for error in damaged:
        if not may_have_a_spare(error.run) or (error.over and is_proved_off(store, error.run)):
            continue
        raise Refused(
            f"replacing {host}",
            came_back=f"{error}; it may have given its spare the address of {host}",
            remedy="take power and network from its spare, then: backstay runs abandon "
            f"{error.run} --confirm-fenced SPARE",
        )


def is_proved_off(store: Store, run: str) -> bool:
    """Return whether the spare of a run that was abandoned was off then. Raises JournalError."""
    return any(event.kind == EventKind.SPARE_OFF for event in store.events(run))


async def fence(cloud: Cloud, given: GivenUp, *, power: PowerOf = power_of) -> FencedSpare:
    """Power a spare off, keep it off, read that back, and write it under ``fenced``.

    Raises PowerError, InventoryError and AnotherMachine where it is not proved off.
    """
    target = _target(cloud, given.spare)
    board = Board(name=given.spare, url=target.url, power=power(target), noted=given.hardware)
    missed = await cut_for_good(board)
    if await state_soon(board.power) is not False:
        raise PowerError(
            f"powering off {given.spare}",
            came_back="its BMC does not report off afterwards",
            remedy="try it at the BMC's own page or console",
        )
    return write_down(cloud, given, missed=missed)


def write_down(cloud: Cloud, given: GivenUp, *, missed: Sequence[str] = ()) -> FencedSpare:
    """Write a spare under ``fenced`` in cloud.yaml, unless it is there; raises nothing."""
    if given.spare in cloud.fenced and given.spare not in cloud.hosts:
        return FencedSpare(name=given.spare, not_set=missed)
    now = datetime.now(UTC).replace(microsecond=0)

    def require(written: Cloud) -> None:
        if given.spare in written.hosts:
            raise InventoryError(
                "writing cloud.yaml",
                came_back=f"the new text still has {given.spare} under `hosts`",
                remedy="report this",
            )

    try:
        text = text_of(cloud.path)
        changed = give_up(
            text, host=given.host, spare=given.spare, since=now, uuid=given.hardware.uuid
        )
        mark = f"{given.run}-abandoned"
        write_cloud(cloud.path, changed.text, text, mark=mark, require=require)
    except (BackstayError, OSError) as error:
        why = error.came_back if isinstance(error, BackstayError) else str(error)
        return FencedSpare(
            name="",
            not_set=missed,
            by_hand=f"{cloud.path} could not be changed ({why}): take {given.spare} out of `hosts` "
            f"and write it under `fenced`, with `was: {given.host}`, `since: '{now:%FT%TZ}'` and "
            "its `bmc`",
        )
    return FencedSpare(name=changed.fenced, not_set=missed)


async def refuse_unless_off(
    cloud: Cloud, store: Store, running: Running, *, power: PowerOf = power_of
) -> None:
    """Raise Refused where another spare may come on with the address of the host of this run.

    Those are the spares of other runs that had started to make one into the host, and the fenced
    hosts that had its place. Each must be off: a spare whose run was abandoned by its BMC, or by
    the word of a person then. The run's own spare must not have the address of another host by an
    earlier one. Raises JournalError.
    """
    host, spare = running.plan.targets[0], str(running.plan.settings["spare"])
    runs, damaged = store.readable_runs(cloud=cloud.name, limit=RUNS, runbook=RUNBOOK)
    refuse_damaged(store, damaged, host)
    others = [found for found in map(given_up_by, runs) if found and found.run != running.run]
    reasons = []
    for given in _newest(given for given in others if given.host == host):
        if given.spare != spare:
            reasons += await _reason(cloud, store, given, power)
    for name, old in cloud.fenced.items():
        if old.was == host and old.bmc and await _is_on(old.bmc.target(name), power):
            reasons.append(
                f"{name}, which had the place of {host} before, is switched on: switch it off, and "
                "make sure that it stays off"
            )
    if reasons:
        raise Refused(
            f"replacing {host}",
            came_back="another machine may come on with its address: " + "; ".join(reasons),
            remedy="do that, then start the replacement again",
        )
    for given in others:
        if given.spare == spare and given.host != host:
            reasons += await _reason(cloud, store, given, power)
    if reasons:
        raise Refused(
            f"replacing {host}",
            came_back=f"{spare} may have the address of another host: " + "; ".join(reasons),
            remedy="do that, and install it anew, or choose another spare",
        )


def _newest(found: Iterable[GivenUp]) -> list[GivenUp]:
    """Return for each spare the newest of its runs; they come newest first."""
    known: dict[str, GivenUp] = {}
    for given in found:
        known.setdefault(given.spare, given)
    return list(known.values())


async def _reason(cloud: Cloud, store: Store, given: GivenUp, power: PowerOf) -> list[str]:
    again = f"backstay runs abandon {given.run}"
    words = f"{given.spare}, which {given.run} has started to make into {given.host}"
    if not given.ended:
        return [f"{words}, and which may be resumed: {again}"]
    if is_proved_off(store, given.run):
        return []  # whether it has come on since is asked where it stands under `fenced`
    fenced = cloud.fenced.get(given.spare)
    if fenced and fenced.bmc and await _is_off(fenced.bmc.target(given.spare), power):
        return []
    return [
        f"{words}, is not proved off: {again}; or unplug its power and its network by hand, and "
        f"confirm that: {again} --confirm-fenced {given.spare}"
    ]


async def _is_on(target: BmcTarget, power: PowerOf) -> bool:
    """Return whether a BMC reports on. One that does not answer is what the check tells of."""
    try:
        return await power(target).state(bound=STATE_BOUND) is True
    except (PowerError, InventoryError):
        return False


async def _is_off(target: BmcTarget, power: PowerOf) -> bool:
    try:
        return await power(target).state(bound=STATE_BOUND) is False
    except (PowerError, InventoryError):
        return False


def _target(cloud: Cloud, spare: str) -> BmcTarget:
    """Return a spare's BMC, wherever it stands in cloud.yaml. Raises PowerError, InventoryError."""
    places = [cloud.hosts.get(spare), cloud.fenced.get(spare)]
    bmc = next((place.bmc for place in places if place is not None and place.bmc), None)
    if bmc is None:
        raise no_bmc(spare)
    return bmc.target(spare)
