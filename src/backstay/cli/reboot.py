"""``backstay reboot`` and ``backstay plan``."""

import sys
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from backstay.cli import completion
from backstay.cli.execution import open_store, start
from backstay.cli.exit_status import RUN_STATUSES, Refused, exit_statuses
from backstay.cli.group import LazyGroup
from backstay.cli.options import (
    DurationType,
    cloud_option,
    confirm,
    dry_run_option,
    output_option,
    reason_option,
    ticket_option,
    yes_option,
)
from backstay.cli.output.terminal import echo, echo_json
from backstay.cli.session import open_cloud, require_hosts
from backstay.cli.units import (
    own_environment,
    refuse_environment,
    secret_environment,
    show_files,
    unit_command,
)

if TYPE_CHECKING:
    from backstay.inventory.cloud import Cloud
    from backstay.journal.plan import Plan
    from backstay.maintenance.timing import Go

_NAP = 30.0


@click.command(epilog=RUN_STATUSES)
@click.argument(
    "hosts", nargs=-1, required=True, metavar="HOST...", shell_complete=completion.hosts
)
@cloud_option
@click.option("--now", "now", is_flag=True, help="Start now.")
@click.option("--at", "at", metavar="HH:MM", help="Start at HH:MM, local time.")
@click.option(
    "--window",
    metavar="NAME",
    shell_complete=completion.windows,
    help="Start when that window opens next, or now while it is open.",
)
@click.option("--emergency", is_flag=True, help="Ignore maintenance windows (requires --reason).")
@click.option(
    "--skip-gate",
    "skip_gates",
    multiple=True,
    metavar="GATE",
    shell_complete=completion.gates,
    help="Skip this gate (repeatable).",
)
@click.option(
    "--wait-for-idle",
    "idle",
    type=DurationType(),
    default=0.0,
    metavar="10m",
    help="How long to wait for work under way to end.",
)
@reason_option
@ticket_option
@click.option("--schedule", is_flag=True, help="Start it by a systemd timer, and return.")
@dry_run_option
@yes_option
@output_option
def reboot(*, schedule: bool, dry_run: bool, yes: bool, output: str, **chosen: Any) -> None:  # noqa: ANN401 - click's by name
    """Reboot HOSTs, one after another, and wait until everything is back.

    Nothing is touched before every gate is open. Each host counts as rebooted when its boot id is
    another, and as back when everything that worked before works again and stays so.
    """
    if schedule and chosen["now"]:
        raise click.UsageError("--schedule goes with --at or --window")
    cloud = open_cloud(chosen["cloud"])
    if dry_run and not schedule and not _times(chosen):
        chosen |= _usual_time(cloud)
    plan, go = _planned(cloud, chosen)
    if output != "json":
        _show(plan, go)
    if dry_run and not schedule:
        if output == "json":
            document = {"at": go.at.isoformat(), "plan": plan.document()}
            echo_json(document)
        return
    if not dry_run:
        confirm(f"Reboot {', '.join(plan.targets)}?", yes=yes)
    if schedule:
        _schedule(cloud, plan, go, chosen, dry_run=dry_run)
        return
    _wait(go)
    reason, ticket = chosen["reason"], chosen["ticket"]
    sys.exit(start(cloud, plan, reason=reason, ticket=ticket, as_json=output == "json"))


@click.group(
    cls=LazyGroup,
    elsewhere={
        "replace": (
            "backstay.cli.replace",
            "plan_replace",
            "Show the plan that builds a dead host anew on a spare.",
        )
    },
)
def plan() -> None:
    """Show what a runbook would do, with the bound of each step: the same as its --dry-run."""


def as_plan(command: click.Command, summary: str, **fixed: object) -> click.Command:
    """Return a command as ``plan`` offers it: --dry-run is on, and ``fixed`` options are set."""
    assert command.callback is not None  # noqa: S101 - for mypy
    values = {"dry_run": True, "yes": True} | fixed
    return click.Command(
        command.name,
        params=[option for option in command.params if option.name not in values],
        callback=partial(command.callback, **values),
        help=summary,
        epilog=exit_statuses(ok="shown", refused="it would be refused"),
    )


plan.add_command(as_plan(reboot, "Show the plan of a reboot of HOSTs.", schedule=False))


def _planned(cloud: "Cloud", chosen: dict[str, Any]) -> "tuple[Plan, Go]":
    """Return the plan and when it starts. Raises Refused where there is no time for it."""
    from backstay.maintenance.refusal import Refusal
    from backstay.runbooks.reboot.plan import RebootOptions
    from backstay.runbooks.reboot.plan import plan as make
    from backstay.runbooks.reboot.start_time import Start, decide_start

    _require_options(chosen, cloud)
    past, now = open_store().runs(cloud=cloud.name, limit=100), datetime.now(UTC)
    at = _instant(chosen["at"], now) if chosen["at"] else now
    when = Start(at=at, window=chosen["window"] or "", emergency=chosen["emergency"])
    decided, seconds = decide_start(cloud, past, chosen["hosts"], when, now=now)
    if isinstance(decided, Refusal):
        raise Refused(decided.reason, remedy=decided.remedy)
    opening = decided.opening
    options = RebootOptions(
        closes=opening.closes.timestamp() if opening else None,
        window=opening.window if opening else "",
        expected=seconds,
        source=decided.expected.source,
        skip_gates=tuple(chosen["skip_gates"]),
        idle=chosen["idle"],
        emergency=chosen["emergency"],
    )
    return make(cloud, chosen["hosts"], options), decided


def _require_options(chosen: dict[str, Any], cloud: "Cloud") -> None:
    """Raise click's errors for names that are unknown and options that do not go together."""
    from backstay.maintenance.gates import MAY_BE_SKIPPED

    require_hosts(chosen["hosts"], cloud)
    if len(set(chosen["hosts"])) != len(chosen["hosts"]):
        raise click.BadParameter("a host is named twice", param_hint="HOST")
    if len(_times(chosen)) != 1:
        raise click.UsageError("give exactly one of --now, --at HH:MM and --window NAME")
    if chosen["window"] and chosen["window"] not in cloud.windows:
        names = ", ".join(cloud.windows) or "none"
        raise click.BadParameter(
            f"{cloud.path} has no such window; it has {names}", param_hint="--window"
        )
    if chosen["emergency"] and not chosen["reason"]:
        raise click.UsageError("--emergency requires a --reason")
    for gate in chosen["skip_gates"]:
        if gate not in MAY_BE_SKIPPED:
            raise click.BadParameter(
                f"`{gate}` is none of {', '.join(MAY_BE_SKIPPED)}", param_hint="--skip-gate"
            )


def _times(chosen: dict[str, Any]) -> list[str]:
    """Return which of the options that say when it begins were given."""
    return [name for name in ("now", "at", "window") if chosen[name]]


def _usual_time(cloud: "Cloud") -> dict[str, Any]:
    """Return when it would begin, where a plan is asked for without a time: in the only window."""
    if len(cloud.windows) == 1:
        return {"window": next(iter(cloud.windows))}
    return {} if cloud.windows else {"now": True}


def _instant(text: str, now: datetime) -> datetime:
    from backstay.maintenance.timing import clock_instant

    try:
        clock = datetime.strptime(text, "%H:%M").time()
    except ValueError:
        raise click.BadParameter(
            f"`{text}` is not a time such as 02:00", param_hint="--at"
        ) from None
    zone = datetime.now().astimezone().tzinfo
    assert zone is not None  # noqa: S101 - astimezone gives one
    return clock_instant(clock, now, zone)


def _show(plan: "Plan", go: "Go") -> None:
    from backstay.cli.output.run import plan_table
    from backstay.maintenance.timing import describe_time
    from backstay.quantities import duration

    echo(plan_table(plan), nl=False)
    expected = f"expected to take {duration(go.expected.seconds)} ({go.expected.source})"
    echo(f"  starts {describe_time(go.at)}; {expected}; at most {duration(plan.bound)}")
    if go.opening and go.latest_start:
        echo(
            f"  window {go.opening.window} closes {describe_time(go.opening.closes)}; "
            f"latest safe start {describe_time(go.latest_start)}"
        )


def _schedule(
    cloud: "Cloud", plan: "Plan", go: "Go", chosen: dict[str, Any], *, dry_run: bool
) -> None:
    """Install a timer that starts it; what it then needs must not depend on this terminal."""
    from backstay.maintenance.timing import describe_time
    from backstay.transports.systemd import install, unit_files

    refuse_environment(cloud)
    name = f"backstay-reboot-{'-'.join(plan.targets)}"
    files = unit_files(
        name,
        does=f"Backstay: reboot {', '.join(plan.targets)}",
        at=go.at,
        command=unit_command("reboot", *plan.targets, *_again(cloud, chosen)),
        environment=own_environment(),
        secrets=secret_environment(),
    )
    if dry_run:
        show_files(files)
        return
    install(f"{name}.timer", files, instead="leave out --schedule and leave the terminal open")
    echo(
        f"scheduled for {describe_time(go.at)}; see it: systemctl list-timers {name}.timer\n"
        f"  cancel it: systemctl disable --now {name}.timer\n"
        f"  what it did: backstay runs list; log: journalctl -u {name}"
    )


def _again(cloud: "Cloud", chosen: dict[str, Any]) -> list[str]:
    """Return the options with which the timer calls this command."""
    words = ["--now", "--yes", "--cloud", str(cloud.path)]
    words += [word for gate in chosen["skip_gates"] for word in ("--skip-gate", gate)]
    words += ["--wait-for-idle", f"{chosen['idle']:g}"] if chosen["idle"] else []
    words += ["--emergency"] if chosen["emergency"] else []
    for option in ("reason", "ticket"):
        words += [f"--{option}", chosen[option]] if chosen[option] else []
    return words


def _wait(go: "Go") -> None:
    """Wait in the foreground until it starts."""
    from backstay.quantities import duration

    left = go.at.timestamp() - time.time()
    if left > 0:
        echo(f"  waiting for {duration(left)}; Ctrl-C cancels it")
    while (left := go.at.timestamp() - time.time()) > 0:
        time.sleep(min(left, _NAP))
