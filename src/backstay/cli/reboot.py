"""``backstay reboot`` and ``backstay plan reboot``."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from backstay.cli.check import known_hosts
from backstay.cli.execution import REFUSED, carry_out, open_store
from backstay.cli.lazy import LazyGroup
from backstay.cli.options import cloud_option, load_cloud
from backstay.cli.runs import output_option

if TYPE_CHECKING:
    from backstay.inventory.cloud import Cloud
    from backstay.journal.plan import Plan
    from backstay.journal.store import Store
    from backstay.maintenance.timing import Go

_NAP = 30.0


class _DurationType(click.ParamType):  # type: ignore[type-arg]
    name = "duration"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click declares it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return seconds."""
        from backstay.inventory.duration import seconds

        try:
            return seconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _when_and_what(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that ``reboot`` and ``plan reboot`` share."""
    for option in (
        click.argument("hosts", nargs=-1, required=True, metavar="HOST..."),
        cloud_option,
        click.option("--now", "now", is_flag=True, help="Begin now."),
        click.option("--at", "at", metavar="HH:MM", help="Begin at that time, by this clock."),
        click.option("--window", metavar="NAME", help="Begin in that window, when it opens next."),
        click.option("--emergency", is_flag=True, help="Whatever the windows; needs --reason."),
        click.option("--despite", multiple=True, metavar="GATE", help="Do not ask this gate."),
        click.option(
            "--wait-for-idle",
            "idle",
            type=_DurationType(),
            default=0.0,
            metavar="10m",
            help="Wait that long for work under way to end.",
        ),
        click.option("--reason", default="", help="Why, for the journal."),
        click.option("--ticket", default="", help="The change ticket, for the journal."),
    )[::-1]:
        command = option(command)
    return command


@click.command()
@_when_and_what
@click.option("--yes", is_flag=True, help="Do not ask: for scripts.")
@click.option("--schedule", is_flag=True, help="Let a systemd timer begin it, and return.")
@output_option
def reboot(yes: bool, schedule: bool, output: str, **chosen: Any) -> None:  # noqa: ANN401 - click's by name
    """Reboot HOSTs, one after another, and see that everything is back.

    Nothing is touched before every gate has said yes. Each host counts as rebooted when its boot
    id is another, and as back when everything that worked before works again and stays so.

    Exit status: 0 done, 2 failed half-way (backstay runs resume), 4 refused, nothing changed.
    """
    cloud, store = load_cloud(chosen["cloud"]), open_store()
    plan, go = _planned(cloud, store, chosen)
    if output != "json":
        _show(plan, go)
    if not yes:
        if not sys.stdin.isatty():
            raise click.ClickException("without a terminal this needs --yes")
        click.confirm(f"Reboot {', '.join(plan.targets)}?", abort=True)
    if schedule:
        _schedule(cloud, plan, go, chosen)
        return
    _wait(go)
    run = store.create(plan, reason=chosen["reason"], ticket=chosen["ticket"])
    sys.exit(carry_out(cloud, store, store.run(run), as_json=output == "json"))


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
    """Show what a runbook would do, with the bound of each step. Nothing is touched."""


@plan.command("reboot")
@_when_and_what
@output_option
def plan_reboot(output: str, **chosen: Any) -> None:  # noqa: ANN401 - as above
    """Show the plan of a reboot of HOSTs."""
    cloud, store = load_cloud(chosen["cloud"]), open_store()
    made, go = _planned(cloud, store, chosen)
    if output == "json":
        click.echo(json.dumps({"at": go.at.isoformat(), "plan": made.document()}, indent=2))
        return
    _show(made, go)


def _planned(cloud: "Cloud", store: "Store", chosen: dict[str, Any]) -> "tuple[Plan, Go]":
    """Return the plan and when it begins; ends with REFUSED where there is no time for it."""
    from backstay.maintenance.refusal import Refusal
    from backstay.runbooks.reboot.plan import RebootOptions
    from backstay.runbooks.reboot.plan import plan as make

    _known(chosen["hosts"], cloud)
    _checked(chosen, cloud)
    decided, seconds = _decided(cloud, store, chosen)
    if isinstance(decided, Refusal):
        click.echo(f"backstay: refused, nothing has been changed: {decided.reason}", err=True)
        click.echo(f"  what to do: {decided.remedy}", err=True)
        raise SystemExit(REFUSED)
    opening = decided.opening
    made = make(
        cloud,
        chosen["hosts"],
        RebootOptions(
            closes=opening.closes.timestamp() if opening else None,
            window=opening.window if opening else "",
            expected=seconds,
            source=decided.expected.source,
            skip_gates=tuple(chosen["despite"]),
            idle=chosen["idle"],
            emergency=chosen["emergency"],
        ),
    )
    return made, decided


def _known(hosts: Sequence[str], cloud: "Cloud") -> None:
    known_hosts(hosts, cloud)
    if len(set(hosts)) != len(hosts):
        raise click.BadParameter("a host is named twice", param_hint="HOST")


def _checked(chosen: dict[str, Any], cloud: "Cloud") -> None:
    """Refuse options that do not go together."""
    from backstay.maintenance.gates import MAY_BE_SKIPPED

    when = [name for name in ("now", "at", "window") if chosen[name]]
    if len(when) != 1:
        raise click.UsageError("say when: exactly one of --now, --at HH:MM and --window NAME")
    if chosen["window"] and chosen["window"] not in cloud.windows:
        names = ", ".join(cloud.windows) or "none"
        raise click.BadParameter(
            f"{cloud.path} has no such window: it has {names}", param_hint="--window"
        )
    if chosen["emergency"] and not chosen["reason"]:
        raise click.UsageError("--emergency needs a --reason")
    for gate in chosen["despite"]:
        if gate not in MAY_BE_SKIPPED:
            raise click.BadParameter(
                f"`{gate}` is none of {', '.join(MAY_BE_SKIPPED)}", param_hint="--despite"
            )


def _decided(cloud: "Cloud", store: "Store", chosen: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return Go or Refusal, and the seconds that one host is expected to take."""
    from backstay.maintenance import timing
    from backstay.runbooks.reboot.report import durations

    past = store.runs(cloud=cloud.name, limit=100)
    each = [
        timing.expected(durations(past, host), cloud.maintenance.expected)
        for host in chosen["hosts"]
    ]
    longest = max(each, key=lambda one: one.seconds)
    needed = timing.Expected(seconds=sum(one.seconds for one in each), source=longest.source)
    now = datetime.now(UTC)
    windows = {} if chosen["emergency"] else cloud.windows
    if chosen["window"]:
        decided = timing.in_window(cloud.windows, chosen["window"], now, needed)
    elif chosen["at"]:
        decided = timing.at_instant(windows, _instant(chosen["at"], now), needed)
    else:
        decided = timing.at_instant(windows, now, needed)
    return decided, longest.seconds


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

    click.echo(plan_table(plan), nl=False)
    expected = f"expected to take {duration(go.expected.seconds)} ({go.expected.source})"
    click.echo(f"  begins {describe_time(go.at)}; {expected}; at most {duration(plan.bound)}")
    if go.opening and go.latest_start:
        click.echo(
            f"  window {go.opening.window} closes {describe_time(go.opening.closes)}; "
            "latest safe start "
            f"{describe_time(go.latest_start)}"
        )


def _schedule(cloud: "Cloud", plan: "Plan", go: "Go", chosen: dict[str, Any]) -> None:
    """Install a timer that begins it; what it then needs must not depend on this terminal."""
    from backstay.cli import unattended
    from backstay.maintenance.timing import describe_time
    from backstay.transports.systemd import install, unit_files

    if chosen["now"]:
        raise click.UsageError("--schedule goes with --at or --window")
    unattended.refuse_environment(cloud)
    name = f"backstay-reboot-{'-'.join(plan.targets)}"
    again = ["--now", "--yes", "--cloud", str(cloud.path)]
    again += [word for gate in chosen["despite"] for word in ("--despite", gate)]
    again += ["--wait-for-idle", f"{chosen['idle']:g}"] if chosen["idle"] else []
    again += ["--emergency"] if chosen["emergency"] else []
    for option in ("reason", "ticket"):
        again += [f"--{option}", chosen[option]] if chosen[option] else []
    files = unit_files(
        name,
        does=f"Backstay: reboot {', '.join(plan.targets)}",
        at=go.at,
        command=unattended.command("reboot", *plan.targets, *again),
        environment=unattended.environment(),
    )
    install(f"{name}.timer", files, instead="leave out --schedule and leave the terminal open")
    click.echo(
        f"scheduled for {describe_time(go.at)}; see it: systemctl list-timers {name}.timer\n"
        f"  call it off: systemctl disable --now {name}.timer\n"
        f"  what it did: backstay runs list; journalctl -u {name}"
    )


def _wait(go: "Go") -> None:
    """Wait in the foreground until it begins."""
    from backstay.quantities import duration

    left = go.at.timestamp() - time.time()
    if left > 0:
        click.echo(f"  waiting for {duration(left)}; Ctrl-C calls it off")
    while (left := go.at.timestamp() - time.time()) > 0:
        time.sleep(min(left, _NAP))
