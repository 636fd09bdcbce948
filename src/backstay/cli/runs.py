"""``backstay runs``: what was done, and what was left unfinished."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.cli.execution import carry_out, newest_run, open_store, page_of, shown, whole_run
from backstay.cli.exit_status import RUN_STATUSES, ExitStatus, Refused, exit_statuses
from backstay.cli.group import show_error
from backstay.cli.options import (
    cloud_option,
    confirm,
    confirm_name,
    dry_run_option,
    output_option,
    run_argument,
    run_cloud_option,
    yes_option,
)
from backstay.cli.output.terminal import echo, echo_json
from backstay.cli.output.text import terminal_width
from backstay.cli.session import open_cloud, open_session, require_hosts

if TYPE_CHECKING:
    from backstay.access.lease import Holder
    from backstay.inventory.cloud import Cloud
    from backstay.journal.records import Claim, DamagedRun, RunRecord
    from backstay.journal.store import Store
    from backstay.runbooks.replace.given_up import GivenUp

_READING = exit_statuses(ok="shown", unknown="the journal cannot be read, or has no such run")


_LISTING = exit_statuses(
    ok="listed", warning="a run in it is damaged", unknown="the journal cannot be read"
)


@click.group()
def runs() -> None:
    """List and show runs in the journal; resume or abandon one that is unfinished."""


@runs.command("list", epilog=_LISTING)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many at most.",
)
@output_option
def list_runs(limit: int, output: str) -> None:
    """List the newest runs."""
    found, damaged = open_store().readable_runs(limit=limit)
    if output == "json":
        echo_json([asdict(run) for run in found])
    else:
        from backstay.cli.output.run import runs_table

        echo(runs_table(found), nl=False)
    for error in damaged:
        show_error(error)
    if damaged:
        sys.exit(ExitStatus.WARNING)


@runs.command(epilog=_READING)
@run_argument
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "html"]),
    default="table",
    show_default=True,
    help="Output format; html is a page with the timeline drawn.",
)
def show(run: str | None, output: str) -> None:
    """Show a RUN: its steps with times and results, and what was out meanwhile.

    Without RUN the newest unfinished one; where there is none, the newest.
    """
    store = open_store()
    found = newest_run(store, run, unfinished=False)
    if output == "json":
        echo(whole_run(store, found))
        return
    if output == "html":
        echo(page_of(store, found), nl=False)
        return
    from backstay.cli.output.run import run_text

    echo(run_text(found, store.events(found.id)) + shown(store, found), nl=False)


@runs.command(epilog=RUN_STATUSES)
@run_argument
@dry_run_option
@run_cloud_option
@output_option
def resume(run: str | None, dry_run: bool, cloud: Path | None, output: str) -> None:
    """Resume a RUN that was interrupted or failed, from where it stopped.

    Steps that are done are not repeated; the one that was under way is first checked. Without RUN
    the newest one that was started and is not finished.
    """
    store = open_store()
    found = newest_run(store, run, unfinished=True)
    if not found.state.in_flight:
        raise Refused(f"{found.id} is {found.state.value}: there is nothing to resume")
    described = _cloud_of(found, cloud)
    _require_hosts_of(found, described)
    if dry_run:
        from backstay.cli.output.run import remaining_table

        echo(remaining_table(found), nl=False)
        return
    sys.exit(carry_out(described, store, found, as_json=output == "json"))


def _cloud_of(run: "RunRecord", given: Path | None) -> "Cloud":
    """Return the cloud of the file given, else of the run's own, else of that any command takes.

    The run's own may be another machine's, where the journal is shared. Raises InventoryError, and
    Refused where the file is of another cloud: that has other machines of the run's names.
    """
    own = Path(run.plan.cloud_file)
    cloud = open_cloud(own if given is None and own.is_file() else given)
    if cloud.name != run.plan.cloud:
        raise Refused(
            f"{run.id} is of the cloud {run.plan.cloud}, {cloud.path} describes {cloud.name}",
            remedy="name the right file with --cloud",
        )
    return cloud


def _require_hosts_of(run: "RunRecord", cloud: "Cloud") -> None:
    """Raise Refused where the run is of hosts that are gone."""
    known = {*cloud.hosts, *cloud.fenced}  # a fenced host's power may be cut
    gone = [name for name in run.plan.targets if name not in known]
    # A replacement whose last step has written cloud.yaml: its spare has the host's name now.
    if run.plan.targets and run.plan.targets[0] in {old.was for old in cloud.fenced.values()}:
        gone = [name for name in gone if name != run.plan.settings.get("spare")]
    if gone:
        raise Refused(
            f"{cloud.path} has no host {', '.join(gone)} any more",
            remedy=f"put it back, or: backstay runs abandon {run.id}",
        )


@runs.command(
    epilog=exit_statuses(
        ok="abandoned",
        failed="its spare is not proved off",
        unknown="the journal cannot be used",
        refused="not confirmed, or the run is finished",
    )
)
@run_argument
@dry_run_option
@click.option("--reason", default="", help="Reason, recorded in the journal.")
@click.option(
    "--confirm-fenced",
    "confirmed",
    metavar="SPARE",
    default="",
    help="You have unplugged power and network of this half-built SPARE: its BMC cannot be used.",
)
@yes_option
@run_cloud_option
def abandon(
    run: str | None, *, dry_run: bool, reason: str, confirmed: str, yes: bool, cloud: Path | None
) -> None:
    """Give up a RUN that will not be resumed. What it has done stays as it is.

    A process that still carries it out is stopped within seconds, and what it has left running on
    its hosts is ended. A spare that has started to take a host's place is powered off for good: it
    has that host's address. Without RUN the newest one that was started and is not finished; with
    --yes a RUN is required.
    """
    from backstay.journal.records import DamagedRun

    if yes and run is None:
        raise click.UsageError("with --yes name the RUN: the newest may be one that is carried out")
    store = open_store()
    try:
        found = newest_run(store, run, unfinished=True)
    except DamagedRun as error:
        if error.over and not confirmed:
            raise
        why = f"abandoned: {reason or 'no reason given'}"
        _abandon_damaged(store, error, why=why, confirmed=confirmed, yes=yes, dry_run=dry_run)
        return
    given = _to_fence(store, found)
    if not found.state.in_flight and given is None:
        raise Refused(f"{found.id} is {found.state.value}: there is nothing to abandon")
    if confirmed and (given is None or confirmed != given.spare):
        raise click.BadParameter(
            f"{found.id} has made no {confirmed} into another host", param_hint="--confirm-fenced"
        )
    started = ", ".join(step.id for step in found.steps if step.attempts) or "none"
    if not yes or dry_run:
        text = f"{found.id} was carried out by {found.holder}; started steps: {started}"
        echo(click.wrap_text(text, terminal_width(), subsequent_indent="  "))
    if dry_run:
        off = f" and power off {given.spare} for good" if given and not confirmed else ""
        echo(f"would abandon {found.id}{off}")
        return
    if given and not confirmed:
        _confirm_off(given, yes=yes)
    else:
        confirm(f"Abandon {found.id}, leaving everything as it is now?", yes=yes)
    if found.state.in_flight:
        _end(store, found, f"abandoned: {reason or 'no reason given'}", cloud)
        before, given = given, _to_fence(store, store.run(found.id))
        if given and before is None:  # meanwhile its process went on as far as that
            _confirm_off(given, yes=yes)
    if given:
        _fence_spare(store, found, given, cloud, by_person=bool(confirmed))


def _to_fence(store: "Store", run: "RunRecord") -> "GivenUp | None":
    """Return the spare that a run has started to make into a host, None where it is proved off."""
    from backstay.runbooks.replace.given_up import given_up_by, is_proved_off

    given = given_up_by(run)
    return None if given and given.ended and is_proved_off(store, run.id) else given


def _end(store: "Store", run: "RunRecord", why: str, cloud: Path | None) -> None:
    """Abandon a run, and take its hosts from it. Raises Refused where it is over by now."""
    from backstay.journal.engine import lock_names
    from backstay.journal.records import RunOver

    try:
        claim = store.abandon(run.id, lock_names(run.plan), why)
    except RunOver as error:
        raise Refused(f"{run.id}: {error.came_back}", remedy=error.remedy) from error
    echo(f"{run.id} is abandoned; a process that still carries it out is stopped")
    _free_hosts(run, claim, cloud)


def _confirm_off(given: "GivenUp", *, yes: bool) -> None:
    """Have the operator type the name of a spare that is to be powered off. Raises Refused."""
    statement = f"{given.spare} has the address of {given.host}, or has started to take it: this "
    confirm_name(f"{statement}powers {given.spare} off for good", given.spare, yes=yes)


def _abandon_damaged(
    store: "Store", error: "DamagedRun", *, why: str, confirmed: str, yes: bool, dry_run: bool
) -> None:
    """End a run whose plan or steps cannot be read: what it has done is not known.

    A replacement may have given its spare the address of a host: only a person can see to that.
    """
    from backstay.journal.records import EventKind
    from backstay.runbooks.replace.given_up import may_have_a_spare

    show_error(error)
    echo("what it has started cannot be ended by Backstay: see at its hosts", err=True)
    if may_have_a_spare(error.run) and not confirmed:
        raise Refused(
            f"{error.run} may have given its spare the address of a host, and which is not known",
            remedy=f"take power and network from its spare, then: backstay runs abandon "
            f"{error.run} --confirm-fenced SPARE",
        )
    if dry_run:
        echo(f"would abandon {error.run}")
        return
    confirm(f"Abandon {error.run}, leaving everything as it is now?", yes=yes)
    store.abandon_damaged(error.run, why)
    if confirmed:
        store.note(error.run, EventKind.SPARE_OFF, f"{confirmed} is off, as a person confirms")
    echo(f"{error.run} is abandoned")


def _fence_spare(
    store: "Store", run: "RunRecord", given: "GivenUp", cloud: Path | None, *, by_person: bool
) -> None:
    """Power off a spare that was given up, or take a person's word; note it. Exits with 2 if not.

    A new replacement of its host is refused until it is noted.
    """
    import asyncio

    from backstay.errors import BackstayError
    from backstay.journal.epochs import who
    from backstay.journal.records import EventKind
    from backstay.runbooks.replace import given_up

    try:
        described = _cloud_of(run, cloud)
        if by_person:
            done = given_up.write_down(described, given)
            how = f"{given.spare} is off: confirmed by {who()}"
        else:
            done = asyncio.run(given_up.fence(described, given))
            how = f"{given.spare} is off, read back by its BMC, and stays off"
    except (BackstayError, Refused) as error:
        again = f"backstay runs abandon {given.run}"
        echo(
            f"{given.spare} is NOT proved off: {error}; {error.remedy}\n"
            f"it has the address of {given.host}: unplug its power and its network, and confirm "
            f"that: {again} --confirm-fenced {given.spare}; or try again: {again}",
            err=True,
        )
        sys.exit(ExitStatus.FAILED)
    how = "; ".join([how, *done.not_set])
    store.note(given.run, EventKind.SPARE_OFF, how)
    echo(how)
    echo(done.by_hand or f"it stands under `fenced` in {described.path}, as {done.name}")


def _free_hosts(run: "RunRecord", claim: "Claim", cloud: Path | None) -> None:
    """Take the run's hosts from it; say which could not be asked."""
    import asyncio

    from backstay.errors import BackstayError
    from backstay.runbooks.common.host_lease import give_back, lease_of

    if not any(step.attempts for step in run.steps):
        return

    async def free(described: "Cloud") -> dict[str, str]:
        lease = lease_of(claim, run.plan.cloud, run.plan.targets)
        async with open_session(described) as session:
            return await give_back(session, lease, run.plan.targets, stop=True)

    try:
        described = _cloud_of(run, cloud)
    except (BackstayError, Refused) as error:
        echo(f"its hosts could not be asked: {error}", err=True)
        return
    for host, why in asyncio.run(free(described)).items():
        echo(
            f"{host} could not be asked ({why}): what the run has started there may still run, "
            "and another journal's runs are refused there for two minutes",
            err=True,
        )


@runs.command(
    epilog=exit_statuses(
        ok="released, or nobody has it", refused="not confirmed", failed="it cannot be asked"
    )
)
@click.argument("host")
@dry_run_option
@yes_option
@cloud_option
def release(host: str, dry_run: bool, yes: bool, cloud: Path | None) -> None:
    """Take a HOST from a run of another journal, which can change nothing there any more.

    For a run whose process is surely dead: one that lives is stopped in the middle of its step.
    """
    import asyncio

    from backstay.runbooks.common import host_lease

    described = open_cloud(cloud)
    require_hosts([host], described)

    async def ask(*, take: bool) -> "Holder":
        async with open_session(described) as session:
            if take:
                return await host_lease.release(session, host)
            return await host_lease.holder_of(session, host)

    found = asyncio.run(ask(take=False))
    if not found.who:
        echo(f"no run has {host}")
        return
    echo(f"{host}: {found.run} of another journal has it, carried out by {found.who}")
    if dry_run:
        echo(f"would take {host} from it")
        return
    confirm_name(f"This will stop {found.run} on {host}", host, yes=yes)
    asyncio.run(ask(take=True))
    echo(f"{host} is free")
