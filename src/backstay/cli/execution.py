"""Runs from the command line: found in the journal, carried out, printed."""

import asyncio
import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from backstay.cli.exit_status import ExitStatus, Refused, of_run
from backstay.cli.options import SKIPPED
from backstay.cli.output.terminal import echo
from backstay.cli.output.text import terminal_width
from backstay.cli.session import open_session

if TYPE_CHECKING:
    from backstay.cli.output.run import Live
    from backstay.inventory.cloud import Cloud
    from backstay.journal.plan import Plan
    from backstay.journal.records import RunRecord, RunState
    from backstay.journal.store import Store


def open_store() -> "Store":
    """Return the journal. Raises JournalError."""
    from backstay.journal.place import journal_url
    from backstay.journal.store import Store

    return Store(journal_url())


def shown(store: "Store", run: "RunRecord") -> str:
    """Return a run's reports as text for this terminal."""
    from backstay.cli.output.reports import reports_of

    return reports_of(store, run).text(terminal_width())


def page_of(store: "Store", run: "RunRecord") -> str:
    """Return a run's reports as an HTML page."""
    from backstay.cli.output.reports import reports_of

    return reports_of(store, run).page()


def whole_run(store: "Store", run: "RunRecord") -> str:
    """Return all that is known of a run as a JSON text."""
    from backstay.cli.output.reports import reports_of

    whole = asdict(run) | {
        "events": [asdict(event) for event in store.events(run.id)],
        "reports": reports_of(store, run).documents(),
    }
    return json.dumps(whole, indent=2)


def newest_run(store: "Store", name: str | None, *, unfinished: bool) -> "RunRecord":
    """Return the run of that name; without one the newest that was started and is not finished.

    Where there is none of these, ``unfinished`` decides whether that is refused or the newest of
    all is returned. Which run was taken is printed. Raises JournalError and Refused.
    """
    from backstay.journal.records import NoSuchRun

    if name is not None:
        return store.run(name)
    found = store.runs(limit=1, unfinished=True) or ([] if unfinished else store.runs(limit=1))
    if not found:
        if unfinished:
            raise Refused("the journal has no unfinished run", remedy="backstay runs list")
        raise NoSuchRun(
            "looking for the newest run",
            came_back="the journal has no runs yet",
            remedy="runs of another user, or of another journal (BACKSTAY_JOURNAL), are in theirs",
        )
    run = found[0]
    kind = "newest unfinished" if run.state.in_flight else "newest"
    echo(f"backstay: no RUN given: taking {run.id}, the {kind}", err=True)
    return run


def start(
    cloud: "Cloud", plan: "Plan", *, reason: str, ticket: str = "", as_json: bool = False
) -> ExitStatus:
    """Write a plan into the journal and carry it out, showing it; return the exit status."""
    skipped = click.get_current_context().meta.get(SKIPPED)
    if skipped:
        plan = replace(plan, settings={**plan.settings, "skip_gates": list(skipped)})
    store = open_store()
    run = store.create(plan.of_file(cloud.path), reason=reason, ticket=ticket)
    return carry_out(cloud, store, store.run(run), as_json=as_json)


def carry_out(
    cloud: "Cloud", store: "Store", run: "RunRecord", *, as_json: bool = False
) -> ExitStatus:
    """Carry out a run from where it is, showing it; return the exit status.

    With ``as_json`` standard output gets the whole run when it is over, and nothing else.
    """
    from backstay.cli.output.run import Live, ending
    from backstay.journal.locks import LockHeld
    from backstay.journal.records import RunState

    live = Live(run.plan, to_stderr=as_json)
    try:
        state = asyncio.run(_carried_out(cloud, store, run, live))
    except KeyboardInterrupt:
        live.close()
        echo(f"interrupted; to continue: backstay runs resume {run.id}", err=True)
        raise
    except LockHeld as error:
        if run.state is RunState.PLANNED:
            store.refuse(run.id, error)
        raise Refused(str(error), remedy=error.remedy) from error
    finally:
        live.close()
    run = store.run(run.id)
    echo(whole_run(store, run) if as_json else shown(store, run) + ending(run).rstrip("\n"))
    return of_run(state)


async def _carried_out(
    cloud: "Cloud", store: "Store", run: "RunRecord", live: "Live"
) -> "RunState":
    from backstay.journal.engine import carry_out as work
    from backstay.journal.place import locks_url
    from backstay.runbooks.registry import runbook_of

    async with open_session(cloud) as session:
        runbook = runbook_of(run, session, store)
        return await work(store, run, runbook, locks=locks_url(), progress=live)
