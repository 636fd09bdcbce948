"""What a replacement took and cost, from the journal: a clock per phase, losses, outages. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from backstay.journal.action import R, StepKind
from backstay.journal.records import RunRecord, RunState, StepRecord, StepState
from backstay.reports.timeline import OutageLine, Phase, outage_line_of
from backstay.runbooks.backup import steps as backup
from backstay.runbooks.replace import steps as replace
from backstay.runbooks.replace.plan import RUNBOOK
from backstay.runbooks.replace.steps import (
    ADOPT,
    CONFIRM,
    FENCE,
    PACKAGES,
    RECONCILE,
    TAKE_OVER,
)
from backstay.runbooks.restore import steps as restore

GUIDE = 15 * 60.0
"""Seconds: "This should not take more than 15 minutes if you have a spare server available."
https://docs.openstack.org/operations-guide/ops-maintenance-controller.html
"""
_PHASES = {
    **{kind.name: kind.phase for kind in (*replace.KINDS, *restore.KINDS) if kind.phase},
    **{kind.name: "new backup" for kind in backup.KINDS},
}
_HEALTHY = (restore.WORKS, restore.AGENTS)
"""All checks are green: what comes after them compares, and makes the next replacement possible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlappingPhase(Phase):
    """A phase that others may overlap: ``waited`` is for how many seconds the run had only it."""

    waited: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """How agents came back: after how many ``seconds`` all had, who was restarted, who is left."""

    seconds: float
    restarted: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UserImpact:
    """What users saw.

    Attributes:
        before: how many seconds after the run's start the recording started; what was out then had
            been so already.
        lines: the outages of each API and instance.
        out_at_begin: what was out when the recording started.
        never: what never answered.
        silent: instances that answered no ping when the recording started: not recorded.
        unasked: hosts that could not be asked what runs on them.
        apis_by: where the APIs' addresses are from: a run that noted them, or the usual ports.

    """

    before: float
    lines: tuple[OutageLine, ...]
    out_at_begin: tuple[str, ...]
    never: tuple[str, ...]
    silent: tuple[str, ...]
    unasked: tuple[str, ...]
    apis_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A replacement of ``host`` by ``spare``.

    Attributes:
        backup: the name of the backup that was restored.
        witnesses: names of witnesses that found the host dead, with their evidence.
        left_out: the witnesses among them that were not asked, as the operator wanted.
        fenced_by: ``power`` or ``person``.
        until_working: how many seconds, from the run's start, until all checks were green; None
            where they are not.
        within: whether that is within the guide's time.
        ended: after how many seconds the whole run was done, its new backup taken; None while it
            is not.
        whole: one process carried the run out, without an interruption.
        status: what each machine is now where it is not done, empty where it is.
        lost: sentences on data that could not be restored.
        remarks: what else the restore reported.
        newer: how many files came with the stream after the backup.
        packages: the summary of the packages.
        mismatches: what reconcile found, None where it was not asked.
        not_compared: what reconcile could not ask.
        impact: what users saw, None where that was not recorded to the end.
        replaced_data: where what was replaced is kept.
        new_backup: the name of the new backup; ``verified``: it was verified.
        fenced: the old host's name in cloud.yaml.
        diff: the change of cloud.yaml, to be made by hand where ``by_hand`` is not empty: that is
            why it could not be written.

    """

    host: str
    spare: str
    backup: str
    witnesses: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]
    fenced_by: str
    until_working: float | None
    within: bool | None
    ended: float | None
    whole: bool
    status: str
    phases: tuple[OverlappingPhase, ...]
    lost: tuple[str, ...]
    remarks: tuple[str, ...]
    newer: int
    packages: str
    agents: Agents | None
    mismatches: tuple[str, ...] | None
    not_compared: tuple[str, ...]
    impact: UserImpact | None
    replaced_data: tuple[str, ...]
    new_backup: str
    verified: bool
    fenced: str
    diff: str
    by_hand: str

    def document(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return asdict(self) | {"guide": GUIDE}


Steps = Mapping[str, StepRecord]


def reports(run: RunRecord) -> list[Report]:
    """Return the report of a replacement, none where it was refused before anything was done."""
    steps = _by_name(run)
    fenced = _result(steps, FENCE)
    if run.plan.runbook != RUNBOOK or not fenced.how:
        return []
    began = run.began or run.made
    until_working = _until_working(steps, began)
    updated, compared = _result(steps, TAKE_OVER), _result(steps, RECONCILE)
    settings = run.plan.settings
    lost, remarks = _lost(run, steps)
    return [
        Report(
            host=run.plan.targets[0],
            spare=str(settings["spare"]),
            backup=str(settings["backup"]),
            witnesses=_result(steps, CONFIRM).witnesses,
            left_out=_result(steps, CONFIRM).left_out,
            fenced_by=fenced.how,
            until_working=until_working,
            within=None if until_working is None else until_working <= GUIDE,
            ended=run.ended - began if run.ended and run.state is RunState.DONE else None,
            whole=all(step.attempts <= 1 for step in run.steps),
            status="" if until_working is not None else _status(run, steps),
            phases=tuple(_phases(run, steps)),
            lost=lost,
            remarks=remarks,
            newer=_result(steps, restore.FETCH).newer,
            packages=_result(steps, PACKAGES).summary,
            agents=_agents(steps),
            mismatches=_sentences(compared.mismatches),
            not_compared=_sentences(compared.missing) or (),
            impact=_impact(steps, began),
            replaced_data=tuple(_replaced_data(steps)),
            new_backup=str(_of_backup(steps, backup.RECORD).get("backup", "")),
            verified="backup" in _of_backup(steps, backup.VERIFY),
            fenced=updated.fenced,
            diff=updated.diff,
            by_hand=updated.by_hand,
        )
    ]


def _by_name(run: RunRecord) -> dict[str, StepRecord]:
    """Return the steps by their names without the host's: ``start-nova`` and the like."""
    prefix = f"{run.plan.targets[0]}."
    return {step.id.removeprefix(prefix): step for step in run.steps}


def _result(steps: Steps, kind: StepKind[R]) -> R:
    """Return a step's result; an empty one where it is not done."""
    return kind.result.from_json(steps[kind.name].result if kind.name in steps else {})


def _of_backup(steps: Steps, kind: StepKind[Any]) -> Mapping[str, Any]:
    return steps[kind.name].result if kind.name in steps else {}


def _until_working(steps: Steps, began: float) -> float | None:
    """Return when the last of the steps that prove it had ended, None while one has not."""
    proofs = [steps[kind.name] for kind in _HEALTHY if kind.name in steps]
    ends = [step.ended for step in proofs if step.state is StepState.DONE and step.ended]
    return max(ends) - began if proofs and len(ends) == len(proofs) else None


def _status(run: RunRecord, steps: Steps) -> str:
    """Return what each of the two machines is now, and what another spare would need."""
    host, spare = run.plan.targets[0], run.plan.settings["spare"]
    if ADOPT.name not in steps or steps[ADOPT.name].began is None:
        return (
            f"{host} is fenced, and {spare} is still a spare: resume, or abandon the run and use "
            "another spare"
        )
    placed = _state(steps, restore.SWAP) is StepState.DONE
    data = "in place" if placed else "not in place yet"
    return (
        f"{host} is fenced; {spare} has, or may have, its name and address, and the restored data "
        f"is {data}: resume, or switch {spare} off before another spare takes its place"
    )


def _state(steps: Steps, kind: StepKind[Any]) -> StepState | None:
    return steps[kind.name].state if kind.name in steps else None


def _phases(run: RunRecord, steps: Steps) -> Iterator[OverlappingPhase]:
    """Give the phases that were started, in the order of their starts.

    A phase starts with its first step and ends with its last: packages are installed while the
    backup is read back, so that their spans overlap.
    """
    by_phase: dict[str, list[StepRecord]] = {}
    actions = {step.id: step.action for step in run.plan.steps}
    for step in steps.values():
        phase = _PHASES.get(actions[step.id])
        if phase is not None and step.began is not None:
            by_phase.setdefault(phase, []).append(step)
    found = [_part(name, started) for name, started in by_phase.items()]
    yield from sorted(found, key=lambda part: part.begins)


def _part(name: str, steps: Sequence[StepRecord]) -> OverlappingPhase:
    spans = [(step.began or 0.0, step.ended or step.began or 0.0) for step in steps]
    return OverlappingPhase(
        name=name,
        begins=min(begins for begins, _ in spans),
        ends=max(ends for _, ends in spans),
        state=steps[-1].state,
        waited=sum(ends - begins for begins, ends in spans),
    )


def _lost(run: RunRecord, steps: Steps) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is lost, and what else the restore reported.

    Without databases it is the files alone that may be older than the moment of the loss.
    """
    rebuilt = _result(steps, restore.REBUILD)
    lost = list(rebuilt.replayed.losses)
    if "rebuild" not in steps:
        lost.append(
            f"no databases were restored; its files are those of {run.plan.settings['backup']}"
            + (
                ", and newer ones that had come with the stream"
                if _result(steps, restore.FETCH).newer
                else ""
            )
        )
    remarks = [one for one in rebuilt.remarks if one not in lost]
    return tuple(lost), tuple(remarks)


def _agents(steps: Steps) -> Agents | None:
    if not steps.get(restore.AGENTS.name) or not steps[restore.AGENTS.name].result:
        return None
    attached = _result(steps, restore.AGENTS)
    return Agents(seconds=attached.seconds, restarted=attached.restarted, left=attached.left)


def _sentences(found: Sequence[Mapping[str, Any] | str] | None) -> tuple[str, ...] | None:
    """Return each mismatch, or what was not compared, in a sentence; None for None."""
    if found is None:
        return None
    return tuple(one if isinstance(one, str) else _sentence(one) for one in found)


def _sentence(one: Mapping[str, Any]) -> str:
    if "why" in one:
        return f"{one['what']} of {one.get('host') or 'the cloud'}: {one['why']}"
    words = [f"{one.get('subject', '')}: {one.get('evidence', '')}", one.get("proposal", "")]
    return "; ".join(word for word in words if word)


def _impact(steps: Steps, began: float) -> UserImpact | None:
    targets, updated = _result(steps, CONFIRM).recording, _result(steps, TAKE_OVER)
    if targets is None or updated.recorded_since is None:
        return None
    lines = tuple(outage_line_of(series) for series in updated.recorded)
    firsts = {(series.kind, series.what): series.since for series in updated.recorded}
    return UserImpact(
        before=max(0.0, updated.recorded_since - began),
        lines=lines,
        out_at_begin=tuple(
            line.what
            for line in lines
            if line.outages and line.outages[0].begins <= firsts[line.kind, line.what]
        ),
        never=tuple(line.what for line in lines if line.asked and line.unanswered == line.asked),
        silent=targets.silent,
        unasked=targets.unasked,
        apis_by=targets.apis_by,
    )


def _replaced_data(steps: Steps) -> Iterator[str]:
    """Give the places of what was replaced, on the new host and on this machine."""
    adopted = _result(steps, ADOPT).kept
    yield from [adopted] if adopted else []
    yield from _result(steps, restore.SWAP).kept
    here = _result(steps, TAKE_OVER).kept
    yield from [f"{here} (on this machine)"] if here else []
