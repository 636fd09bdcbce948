"""Carrying out a run from the command line, for ``reboot`` and ``runs resume``."""

import asyncio
import json
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from backstay.cli.session import open_session

if TYPE_CHECKING:
    from backstay.cli.output.run import Live
    from backstay.inventory.cloud import Cloud
    from backstay.journal.records import RunRecord, RunState
    from backstay.journal.store import Store

DONE, FAILED, REFUSED = 0, 2, 4
"""Exit statuses of a run. 4 tells that nothing was changed."""


def open_store() -> "Store":
    """Return the journal. Raises JournalError."""
    from backstay.journal.place import journal_url
    from backstay.journal.store import Store

    return Store(journal_url())


def shown(store: "Store", run: "RunRecord") -> str:
    """Return a run's reports as text for this terminal."""
    from backstay.cli.output.reports import reports_of

    width = max(60, min(100, shutil.get_terminal_size().columns))
    return reports_of(store, run).text(width)


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


def carry_out(cloud: "Cloud", store: "Store", run: "RunRecord", *, as_json: bool = False) -> int:
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
        click.echo(f"interrupted; to go on: backstay runs resume {run.id}", err=True)
        raise
    except LockHeld as error:
        if run.state is RunState.PLANNED:
            store.refuse(run.id, error)
        click.echo(f"backstay: refused, nothing has been changed: {error}", err=True)
        click.echo(f"  what to do: {error.remedy}", err=True)
        return REFUSED
    finally:
        live.close()
    run = store.run(run.id)
    click.echo(whole_run(store, run) if as_json else shown(store, run) + ending(run).rstrip("\n"))
    return {RunState.DONE: DONE, RunState.REFUSED: REFUSED}.get(state, FAILED)


async def _carried_out(
    cloud: "Cloud", store: "Store", run: "RunRecord", live: "Live"
) -> "RunState":
    from backstay.journal.engine import carry_out as work
    from backstay.journal.place import locks_url
    from backstay.runbooks.registry import runbook_of

    async with open_session(cloud) as site:
        return await work(store, run, runbook_of(run, site, store), locks=locks_url(), watch=live)
