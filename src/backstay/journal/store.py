"""The journal's database: every change is on disk before the next thing happens.

This module imports SQLAlchemy, which takes its time: import it where a run is made or read.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from backstay.answers import clean
from backstay.errors import BackstayError
from backstay.journal import epochs, reading
from backstay.journal.database import BUSY_SECONDS, Database
from backstay.journal.epochs import me, who
from backstay.journal.plan import Plan
from backstay.journal.records import (
    Claim,
    DamagedRun,
    Event,
    EventKind,
    NoSuchRun,
    RunOver,
    RunRecord,
    RunState,
    StepState,
)
from backstay.journal.tables import EPOCHS, EVENTS, RUNS, SCHEMA, STEPS

_DIGITS = 16
"""So many digits no run's number has."""


class Store:
    """The journal at an SQLAlchemy URL. Its calls block; each is one transaction.

    Raises JournalError where the database cannot be used. ``busy`` is for how many seconds a write
    waits for another process's.
    """

    def __init__(self, url: str, *, busy: float = BUSY_SECONDS) -> None:
        self._database = Database(url, SCHEMA, busy=busy)

    def create(self, plan: Plan, *, reason: str = "", ticket: str = "") -> str:
        """Write a whole plan down and return the name of its run."""
        with self._write("writing the plan down") as db:
            number = (db.scalar(sa.select(sa.func.max(RUNS.c.number))) or 0) + 1
            run = f"{plan.runbook}-{number}"
            db.execute(
                sa.insert(RUNS).values(
                    id=run,
                    number=number,
                    state=RunState.PLANNED,
                    cloud=plan.cloud,
                    runbook=plan.runbook,
                    plan=plan.document(),
                    who=who(),
                    holder=me(),
                    reason=clean(reason, lines=True),
                    ticket=clean(ticket),
                    made=time.time(),
                )
            )
            db.execute(
                sa.insert(STEPS),
                [
                    {
                        "run": run,
                        "position": position,
                        "id": step.id,
                        "state": StepState.WAITING,
                        "attempts": 0,
                        "result": {},
                        "error": {},
                    }
                    for position, step in enumerate(plan.steps)
                ],
            )
        return run

    def take(self, run: str, targets: Sequence[str]) -> Claim:
        """Take a run and ``targets`` (lock names): a process that had them can write no more."""
        with self._write(f"taking run {run}") as db:
            taken = {target: epochs.raise_epoch(db, target, run) for target in targets}
            db.execute(
                sa.update(RUNS)
                .where(RUNS.c.id == run)
                .values(
                    state=RunState.RUNNING,
                    holder=me(),
                    began=sa.func.coalesce(RUNS.c.began, time.time()),
                    ended=None,
                )
            )
            _note(db, run, "", EventKind.TAKEN, f"by {me()}")
            journal = epochs.journal_id(db)
        return Claim(run=run, epochs=taken, journal=journal)

    def confirm(self, claim: Claim) -> None:
        """Return if nobody has taken the run over or abandoned it. Raises LeaseLost."""
        attempted = f"continuing {claim.run}"
        with self._read(attempted) as db:
            epochs.compare(db, claim.epochs, attempted, run=claim.run)

    def start(self, claim: Claim, step: str) -> float:
        """Note that a step is started, before its effect.

        Returns when it was first started, in Unix seconds.
        """
        with self._leased(claim, f"noting that {step} is started") as db:
            this = (STEPS.c.run == claim.run) & (STEPS.c.id == step)
            db.execute(
                sa.update(STEPS)
                .where(this)
                .values(
                    state=StepState.RUNNING,
                    began=sa.func.coalesce(STEPS.c.began, time.time()),
                    ended=None,
                    error={},
                    attempts=STEPS.c.attempts + 1,
                )
            )
            _note(db, claim.run, step, EventKind.STARTED, "")
            return float(db.scalar(sa.select(STEPS.c.began).where(this)) or 0.0)

    def finish(self, claim: Claim, step: str, result: Mapping[str, Any], *, text: str = "") -> None:
        """Note that a step is done, and its result."""
        self._end_step(claim, step, StepState.DONE, result=dict(result), text=text)

    def fail(self, claim: Claim, step: str, error: BackstayError) -> None:
        """Note that a step failed, and why."""
        failure = {
            "attempted": error.attempted,
            "came_back": error.came_back,
            "remedy": error.remedy,
        }
        self._end_step(claim, step, StepState.FAILED, error=failure, text=str(error))

    def _end_step(self, claim: Claim, step: str, state: StepState, **values: Any) -> None:  # noqa: ANN401 - columns
        text = values.pop("text")
        with self._leased(claim, f"noting that {step} is {state}") as db:
            db.execute(
                sa.update(STEPS)
                .where((STEPS.c.run == claim.run) & (STEPS.c.id == step))
                .values(state=state, ended=time.time(), **values)
            )
            _note(db, claim.run, step, state, text)

    def progress(self, claim: Claim, step: str, text: str) -> None:
        """Note the progress of a step."""
        with self._leased(claim, f"noting the progress of {step}") as db:
            _note(db, claim.run, step, EventKind.PROGRESS, text)

    def end(self, claim: Claim, state: RunState) -> None:
        """Note how the run ended."""
        with self._leased(claim, f"noting the end of {claim.run}") as db:
            _end_run(db, claim.run, state)

    def refuse(self, run: str, error: BackstayError) -> None:
        """Note that a run was refused before it was taken: no step of it was started."""
        with self._write(f"noting that {run} was refused") as db:
            _note(db, run, "", EventKind.PROGRESS, str(error))
            _end_run(db, run, RunState.REFUSED)

    def abandon(self, run: str, targets: Sequence[str], why: str) -> Claim:
        """End a run for good; a process that still carries it out can write no more.

        ``targets`` are its locks: those that another run has taken since stay that one's. Returns
        the epochs that they have now. Raises RunOver where it has ended already: what it has built
        is in use.
        """
        with self._write(f"abandoning {run}") as db:
            state = db.scalar(sa.select(RUNS.c.state).where(RUNS.c.id == run))
            if state in _OVER:
                raise RunOver(
                    f"abandoning {run}",
                    came_back=f"it is {state} by now",
                    remedy=f"backstay runs show {run}",
                )
            found = epochs.raise_own_epochs(db, targets, run)
            _note(db, run, "", EventKind.PROGRESS, why)
            _end_run(db, run, RunState.ABANDONED)
            return Claim(run=run, epochs=found, journal=epochs.journal_id(db))

    def abandon_damaged(self, run: str, why: str) -> None:
        """End a run for good of which nothing more than its name can be read."""
        with self._write(f"abandoning {run}") as db:
            taken = sa.select(EPOCHS.c.target).where(EPOCHS.c.run == run)
            epochs.raise_own_epochs(db, db.scalars(taken).all(), run)
            _note(db, run, "", EventKind.PROGRESS, why)
            _end_run(db, run, RunState.ABANDONED)

    def note(self, run: str, kind: EventKind, text: str) -> None:
        """Note something about a run that nobody carries out."""
        with self._write(f"noting something about {run}") as db:
            _note(db, run, "", kind, text)

    def run(self, name: str) -> RunRecord:
        """Return a run by its name, or by its number alone. Raises NoSuchRun."""
        with self._read(f"reading run {name}") as db:
            number = name.isascii() and name.isdigit() and len(name) < _DIGITS
            which = RUNS.c.number == int(name) if number else RUNS.c.id == name
            row = db.execute(sa.select(RUNS).where(which)).mappings().first()
            if row is not None:
                return _record(db, row)
        raise NoSuchRun(
            f"finding run {name}",
            came_back="the journal has no run of that name",
            remedy="backstay runs list",
        )

    def runs(
        self,
        *,
        cloud: str | None = None,
        limit: int = 20,
        before: int | None = None,
        unfinished: bool = False,
    ) -> list[RunRecord]:
        """Return the newest runs, the newest first; ``before`` a run's number.

        ``unfinished`` leaves those that were started and are neither done nor given up. One that
        is damaged is left out if it is over; else DamagedRun is raised: who decides by them must
        know all that may be under way.
        """
        found, damaged = self.readable_runs(
            cloud=cloud, limit=limit, before=before, unfinished=unfinished
        )
        for error in damaged:
            if not error.over:
                raise error
        return found

    def readable_runs(
        self,
        *,
        cloud: str | None = None,
        limit: int = 20,
        before: int | None = None,
        unfinished: bool = False,
        runbook: str | None = None,
    ) -> tuple[list[RunRecord], list[DamagedRun]]:
        """Return what ``runs`` does, and an error for each run that is damaged and left out.

        Of one ``runbook`` alone where it is given, by the runs' names: damage may be in the rest.
        """
        with self._read("reading the runs") as db:
            query = sa.select(RUNS).order_by(RUNS.c.number.desc()).limit(limit)
            if cloud is not None:
                query = query.where(RUNS.c.cloud == cloud)
            if runbook is not None:
                query = query.where(RUNS.c.id.startswith(f"{runbook}-", autoescape=True))
            if before is not None:
                query = query.where(RUNS.c.number < before)
            if unfinished:
                states = [RunState.RUNNING, RunState.FAILED]
                query = query.where(RUNS.c.state.in_(states))
            found, damaged = list[RunRecord](), list[DamagedRun]()
            for row in db.execute(query).mappings().all():
                try:
                    found.append(_record(db, row))
                except DamagedRun as error:
                    damaged.append(error)
            return found, damaged

    def events(self, run: str) -> list[Event]:
        """Return what happened in a run, in order."""
        with self._read(f"reading the events of {run}") as db:
            query = sa.select(EVENTS).where(EVENTS.c.run == run).order_by(EVENTS.c.number)
            return reading.events([dict(row) for row in db.execute(query).mappings()], run)

    def holder(self, target: str) -> str:
        """Return who took a target (a lock's name) last, and for which run; empty if it is free."""
        with self._read(f"reading who holds {target}") as db:
            return epochs.holder(db, target)

    def close(self) -> None:
        """Close the connections to the database."""
        self._database.dispose()

    def _write(self, attempted: str) -> AbstractContextManager[Connection]:
        return self._database.write(attempted)

    def _read(self, attempted: str) -> AbstractContextManager[Connection]:
        return self._database.read(attempted)

    @contextmanager
    def _leased(self, claim: Claim, attempted: str) -> Iterator[Connection]:
        """Open a transaction that is rolled back where another process took a target over."""
        with self._write(attempted) as db:
            epochs.compare(db, claim.epochs, attempted, run=claim.run)
            yield db


_OVER = {state.value for state in RunState if not state.in_flight}


def _end_run(db: Connection, run: str, state: RunState) -> None:
    db.execute(sa.update(RUNS).where(RUNS.c.id == run).values(state=state, ended=time.time()))
    _note(db, run, "", state, "")


def _note(db: Connection, run: str, step: str, kind: str, text: str) -> None:
    db.execute(
        sa.insert(EVENTS).values(
            run=run, at=time.time(), step=step, kind=str(kind), text=clean(text, lines=True)
        )
    )


def _record(db: Connection, row: RowMapping) -> RunRecord:
    query = sa.select(STEPS).where(STEPS.c.run == row["id"]).order_by(STEPS.c.position)
    return reading.run_record(dict(row), [dict(step) for step in db.execute(query).mappings()])
