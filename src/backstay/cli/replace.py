"""``backstay replace`` and ``backstay plan replace``: a dead host is built anew on a spare."""

import asyncio
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from backstay.cli import completion
from backstay.cli.execution import start
from backstay.cli.exit_status import RUN_STATUSES
from backstay.cli.options import (
    RestorePointType,
    cloud_option,
    confirm_name,
    dry_run_option,
    host_argument,
    output_option,
    reason_option,
    skip_healthy_option,
    yes_option,
)
from backstay.cli.output.terminal import echo, echo_json
from backstay.cli.reboot import as_plan
from backstay.cli.session import backups_of, open_cloud, require_hosts

if TYPE_CHECKING:
    from backstay.inventory.cloud import Cloud
    from backstay.journal.plan import Plan
    from backstay.runbooks.restore.plan import RestoreOptions


class SpareOption(click.Option):
    """An option that says, where it is missing, how to find its value."""

    def get_error_hint(self, ctx: click.Context | None, /) -> str:
        """Return how the option is called, and what lists the spares."""
        return f"{super().get_error_hint(ctx)} SPARE; what spares there are: backstay spare status"


@click.command(epilog=RUN_STATUSES)
@host_argument
@click.option(
    "--with",
    "spare",
    cls=SpareOption,
    required=True,
    metavar="SPARE",
    shell_complete=completion.spares,
    help="Spare to rebuild on.",
)
@click.option(
    "--to",
    type=RestorePointType(),
    metavar="TIME|latest|backup",
    help="Restore as of then (default: the latest known where a stream was kept).",
)
@click.option(
    "--backup",
    default="",
    metavar="BACKUP",
    shell_complete=completion.backups,
    help="Start from this backup (default: the newest verified one).",
)
@click.option(
    "--confirm-fenced",
    default="",
    metavar="HOST",
    shell_complete=completion.hosts,
    help="Confirm that HOST was powered off and unplugged by hand (like pcs stonith confirm). "
    "Only where its BMC cannot be reached.",
)
@click.option(
    "--without-witness",
    multiple=True,
    metavar="HOST",
    shell_complete=completion.hosts,
    help="Do not ask HOST whether the host is dead: it is proved to be wrong. May be repeated; "
    "each is confirmed by its name, and at least half of the witnesses must be left.",
)
@cloud_option
@dry_run_option
@skip_healthy_option
@yes_option
@reason_option
@output_option
def replace(*, dry_run: bool, yes: bool, reason: str, output: str, **given: Any) -> None:  # noqa: ANN401 - click's by name
    """Build the dead HOST anew on SPARE: fence, build, restore, check.

    Nothing is changed before several places have found HOST dead. Its power is taken and read back
    before the spare gets its address. Instances are not touched.
    """
    from backstay.runbooks.restore.here import require_here

    made, as_json = _made(given), output == "json"
    if not as_json:
        _show(made)
    elif dry_run:
        echo_json({"lost": made.lost, "plan": made.plan.document()})
    host = made.chosen.backup.host
    asyncio.run(require_here(made.plan, made.chosen, f"replacing {host}"))
    if dry_run:
        return
    for witness in made.plan.settings["without_witnesses"]:
        statement = (
            f"{witness} will not be asked whether {host} is dead: if it is right, two hosts will "
            "have one address"
        )
        confirm_name(statement, witness, yes=yes)
    confirm_name(f"This will permanently power off {host}", host, yes=yes)
    sys.exit(start(made.cloud, made.plan, reason=reason, as_json=as_json))


plan_replace = as_plan(
    replace, "Show the plan that builds HOST anew on SPARE, and what it would lose.", reason=""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A replacement as it was requested: ``lost`` are sentences on what it cannot bring back."""

    cloud: "Cloud"
    plan: "Plan"
    chosen: "RestoreOptions"
    lost: list[str]
    now: datetime


def _made(given: dict[str, Any]) -> _Made:
    from backstay.backup.restore_point import losses, stream_of
    from backstay.runbooks.replace.plan import ReplaceRequest
    from backstay.runbooks.replace.plan import default_options as choose
    from backstay.runbooks.replace.plan import plan as make
    from backstay.services.registry import all_services

    cloud, now = open_cloud(given["cloud"]), datetime.now(UTC)
    host, spare, confirmed = given["host"], given["spare"], given["confirm_fenced"]
    without = tuple(dict.fromkeys(given["without_witness"]))
    _require(cloud, host, spare, confirmed)
    _require_witnesses(cloud, host, without)
    place = backups_of(cloud)
    chosen = choose(place, host, now=now, backup=given["backup"], to=given["to"])
    request = ReplaceRequest(
        spare=spare, chosen=chosen, confirmed_fenced=bool(confirmed), without_witnesses=without
    )
    made = make(cloud, request, all_services(), now=now)
    backup, lost = chosen.backup, []
    if any(step.action == "rebuild" for step in made.steps):
        lost = losses(backup, chosen.to, stream_of(backup, place.logs(host)), now=now)
    return _Made(cloud=cloud, plan=made, chosen=chosen, lost=lost, now=now)


def _require(cloud: "Cloud", host: str, spare: str, confirmed: str) -> None:
    """Raise click's error for what is wrong about the names that were given."""
    from backstay.runbooks.replace.plan import host_blocker, spare_blocker

    require_hosts([host], cloud)
    require_hosts([spare], cloud, hint="--with")
    if blocker := host_blocker(cloud, host):
        raise click.BadParameter(blocker, param_hint="HOST")
    if blocker := spare_blocker(cloud, host, spare):
        raise click.BadParameter(blocker, param_hint="--with")
    if confirmed and confirmed != host:
        raise click.BadParameter(f"that is not {host}", param_hint="--confirm-fenced")


def _require_witnesses(cloud: "Cloud", host: str, without: tuple[str, ...]) -> None:
    """Raise click's error where these witnesses cannot be left out."""
    from backstay.health.witness.selection import exclusion_blocker

    require_hosts(without, cloud, hint="--without-witness")
    if blocker := exclusion_blocker(cloud, host, without):
        raise click.BadParameter(blocker, param_hint="--without-witness")


def _show(made: _Made) -> None:
    """Print what is restored, what that loses, and the plan."""
    from backstay.cli.output.backups import before

    text = before(made.plan, made.chosen, made.lost, now=made.now, until="fence")
    echo(text, nl=False)
