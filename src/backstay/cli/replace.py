"""``backstay replace`` and ``backstay plan replace``: a dead host is built anew on a spare."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from backstay.cli.execution import REFUSED, carry_out, open_store
from backstay.cli.options import cloud_option, load_cloud, moment_named
from backstay.cli.runs import output_option

if TYPE_CHECKING:
    from backstay.backup.place import Place
    from backstay.inventory.cloud import Cloud
    from backstay.journal.plan import Plan
    from backstay.runbooks.restore.plan import RestoreOptions


def _who_and_what(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that ``replace`` and ``plan replace`` share."""
    for option in (
        click.argument("host", metavar="HOST"),
        click.option("--with", "spare", required=True, metavar="SPARE", help="Its new machine."),
        click.option(
            "--to",
            "moment",
            default=None,
            metavar="TIME|latest|backup",
            help="Restore as of then; the latest known where a stream was kept.",
        ),
        click.option(
            "--backup",
            "backup",
            default="",
            metavar="BACKUP",
            help="Begin with this backup, not with the newest verified one.",
        ),
        click.option(
            "--vouch",
            default="",
            metavar="HOST",
            help="Its name again: somebody has taken its power and its cables out. Only "
            "where its BMC cannot be asked.",
        ),
        cloud_option,
    )[::-1]:
        command = option(command)
    return command


@click.command()
@_who_and_what
@click.option("--yes", is_flag=True, help="Do not ask: for scripts.")
@click.option("--reason", default="", help="Why, for the journal.")
@output_option
def replace(yes: bool, reason: str, output: str, **chosen: Any) -> None:  # noqa: ANN401 - click's by name
    """Build the dead HOST anew on SPARE: fence, build, restore, check.

    Nothing is changed before several places have found HOST dead. Its power is taken and read back
    before the spare gets its address. Instances are not touched.

    Exit status: 0 done, 2 failed half-way (backstay runs resume), 4 refused, nothing changed.
    """
    made = _made(chosen)
    if output != "json":
        _show(made)
    host = made.chosen.backup.host
    if not yes:
        if not sys.stdin.isatty():
            raise click.ClickException("without a terminal this needs --yes")
        typed = click.prompt(
            f"{host} is powered off for good. Type its name to go on",
            default="",
            show_default=False,
        )
        if typed.strip() != host:
            click.echo(f"that is not {host}: nothing has been changed", err=True)
            raise SystemExit(REFUSED)
    store = open_store()
    run = store.create(made.plan, reason=reason)
    sys.exit(carry_out(made.cloud, store, store.run(run), as_json=output == "json"))


@click.command("replace")
@_who_and_what
@output_option
def plan_replace(output: str, **chosen: Any) -> None:  # noqa: ANN401 - as above
    """Show the plan that builds HOST anew on SPARE, and what it would lose."""
    made = _made(chosen)
    if output == "json":
        document = {"lost": made.lost, "plan": made.plan.document()}
        click.echo(json.dumps(document, indent=2))
        return
    _show(made)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A replacement as it was asked for: ``lost`` are sentences on what it cannot bring back."""

    cloud: "Cloud"
    plan: "Plan"
    chosen: "RestoreOptions"
    lost: list[str]
    now: datetime


def _made(given: dict[str, Any]) -> _Made:
    from backstay.backup.loss import losses, stream_of
    from backstay.backup.place import Place
    from backstay.runbooks.replace.plan import ReplaceRequest
    from backstay.runbooks.replace.plan import plan as make
    from backstay.services.registry import all_services

    cloud, now = load_cloud(given["cloud"]), datetime.now(UTC)
    host, spare = given["host"], given["spare"]
    _require(cloud, host, spare, given["vouch"])
    place = Place(cloud)
    chosen = _chosen(place, host, given["backup"], given["moment"], now)
    wish = ReplaceRequest(spare=spare, chosen=chosen, confirmed_fenced=bool(given["vouch"]))
    made = make(cloud, wish, all_services(), now=now)
    backup, lost = chosen.backup, []
    if any(step.action == "rebuild" for step in made.steps):
        lost = losses(backup, chosen.to, stream_of(backup, place.logs(host)), now=now)
    return _Made(cloud=cloud, plan=made, chosen=chosen, lost=lost, now=now)


def _require(cloud: "Cloud", host: str, spare: str, confirm_fenced: str) -> None:
    """End with what is wrong about the names that were given."""
    from backstay.cli.check import known_hosts
    from backstay.inventory.enums import Role

    known_hosts([host, spare], cloud)
    there = cloud.hosts[host]
    if not {Role.CONTROLLER, Role.STORAGE_PROXY} & set(there.roles):
        raise click.BadParameter(
            f"{host} is neither a controller nor a storage proxy: only these can be replaced",
            param_hint="HOST",
        )
    if Role.SPARE not in cloud.hosts[spare].roles:
        names = ", ".join(one.name for one in cloud.with_role(Role.SPARE)) or "none"
        raise click.BadParameter(
            f"{spare} is no spare; those of {cloud.path}: {names}", param_hint="--with"
        )
    meant = cloud.hosts[spare].spare_for
    if meant and host not in meant:
        raise click.BadParameter(
            f"{spare} is meant for {', '.join(meant)}: `spare_for` in {cloud.path}",
            param_hint="--with",
        )
    if confirm_fenced and confirm_fenced != host:
        raise click.BadParameter(f"that is not {host}", param_hint="--vouch")


def _chosen(
    place: "Place", host: str, name: str, moment: str | None, now: datetime
) -> "RestoreOptions":
    """Return what is restored: up to the last moment where there is a log to do so."""
    from backstay.runbooks.replace.plan import chosen

    to = moment_named(moment) if moment is not None else None
    return chosen(place, host, now=now, backup=name, to=to)


def _show(made: _Made) -> None:
    """Print what is restored, what that loses, and the plan."""
    from backstay.cli.output.backups import before

    text = before(made.plan, made.chosen, made.lost, now=made.now, until="fence")
    click.echo(text, nl=False)
