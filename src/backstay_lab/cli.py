"""``backstay lab``: a real OpenStack cloud on this machine, for practice."""

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import click

from backstay.cli.group import LazyGroup
from backstay_lab.layout import (
    DEFAULT_NAME,
    MAX_COMPUTES,
    SLOTS,
    Login,
    login_from_environment,
    name_from_environment,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from backstay_lab.progress import Progress

ELSEWHERE = {
    "break": ("backstay_lab.cli_faults", "break_", "Make a real fault."),
    "heal": ("backstay_lab.cli_faults", "heal", "Undo faults."),
}


@click.group(
    cls=LazyGroup, elsewhere=ELSEWHERE, context_settings={"help_option_names": ["-h", "--help"]}
)
def lab() -> None:
    """Run a real OpenStack cloud on this machine, for practice."""


def name_option() -> "Callable[[Callable[..., None]], Callable[..., None]]":
    """Return the option that names the lab; BACKSTAY_LAB names it where the option does not."""
    return click.option(
        "--name", default=name_from_environment, help="The lab's name.  [BACKSTAY_LAB, or lab]"
    )


@lab.command()
@name_option()
@click.option("--computes", type=click.IntRange(1, MAX_COMPUTES), help="Compute hosts.  [2]")
@click.option("--only", multiple=True, metavar="HOST", help="Start only this host; repeatable.")
@click.option("--slot", type=click.IntRange(0, SLOTS[-1]), help="Address range: 10.(77+2n).0.0/24.")
@click.option(
    "--login",
    type=click.Choice([str(login) for login in Login]),
    default=login_from_environment,
    help="How hosts are reached: operator is with sudo, through a bastion.  "
    "[BACKSTAY_LAB_LOGIN, as before, or root]",
)
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
def up(
    name: str,
    computes: int | None,
    only: tuple[str, ...],
    slot: int | None,
    *,
    login: str | None,
    hosts: tuple[str, ...],
) -> None:
    """Start the lab; build it first where it is not built.

    With --only, further HOSTs may follow: --only spare1 compute1.
    """
    from backstay_lab.progress import Progress
    from backstay_lab.up import LabRequest
    from backstay_lab.up import up as bring_up

    if hosts and not only:
        raise click.UsageError("name hosts after --only")
    progress = Progress()
    request = LabRequest(name=name, computes=computes, only=(*only, *hosts), slot=slot, login=login)
    _stop_at_once(name, progress)
    with progress.shown():
        known = bring_up(request, progress)
    click.echo(f"Lab {name} is up after {progress.seconds():.0f} s: {known.lab.cloud_file}")


def _stop_at_once(name: str, progress: "Progress") -> None:
    """End at once on Ctrl-C and SIGTERM: threads may wait for hosts and APIs up to their bounds.

    The next ``up`` or ``down`` clears what this leaves.
    """
    from backstay_lab import programs

    def stop(number: int, _frame: object) -> None:
        programs.kill_all()
        progress.hide()
        click.echo(f"\nInterrupted. Continue with: {typed('up', name)}", err=True)
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def typed(command: str, name: str) -> str:
    """Return the command line of a lab command for this lab."""
    return f"backstay lab {command}" + ("" if name == DEFAULT_NAME else f" --name {name}")


@lab.command("new-board")
@name_option()
@click.argument("host")
def new_board(name: str, host: str) -> None:
    """Replace the dead board of HOST; its disk is as first built."""
    from backstay_lab import board as repair
    from backstay_lab.progress import Progress

    progress = Progress()
    _stop_at_once(name, progress)
    with progress.shown():
        repair.new_board(name, host, progress)
    click.echo(f"{host} has a new board and the disk that it had when the lab was built.")


@lab.command()
@name_option()
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def status(name: str, output: str) -> None:
    """Show the lab's files, hosts, BMCs and faults."""
    from backstay_lab.status import read

    found = read(name)
    if output == "json":
        click.echo(json.dumps(found, indent=2))
        return
    _print_status(found)


def _print_status(found: "Mapping[str, Any]") -> None:
    login = "" if found["login"] == Login.ROOT else f", login: {found['login']} by a bastion"
    click.echo(f"lab {found['name']}: {found['phase']}{login}")
    for key in ("cloud_file", "openrc"):
        click.echo(f"{key.replace('_', ' ')}: {found[key] or '-'}")
    columns = ("name", "role", "address", "power", "bmc", "boot_id")
    rows: list[tuple[str, ...]] = [columns]
    rows.extend(tuple(str(host[column] or "-") for column in columns) for host in found["hosts"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
    for made in found["faults"]:
        click.echo(f"fault: {made['fault']} {made['target']}, since {made['at']}")


@lab.command(context_settings={"ignore_unknown_options": True})
@name_option()
@click.argument("host")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell(name: str, host: str, command: tuple[str, ...]) -> None:
    """Open a root shell on HOST, or run COMMAND there.

    The host's network is not needed. COMMAND's arguments are joined and passed to a shell there, as
    ssh does.
    """
    from backstay_lab import state
    from backstay_lab.hosts import LabHost

    inside = ["bash", "-c", " ".join(command)] if command else ["bash", "--login"]
    terminal = {"TERM": os.environ.get("TERM", "dumb")}
    argv = LabHost(state.opened(name).lab, host).command(inside, terminal)
    os.execvp(argv[0], argv)  # noqa: S606 - the arguments after the host's name are the operator's


@lab.command()
@name_option()
@click.option("--purge", is_flag=True, help="Delete the built hosts and package layers too.")
def down(name: str, *, purge: bool) -> None:
    """Stop the lab; remove all that it made on this machine."""
    from backstay_lab.down import down as take_down

    found = take_down(name, purge=purge)
    click.echo(f"Lab {name} is down." if found else f"There is no lab {name}.")


@lab.command()
@click.option("--install", is_flag=True, help="Install missing packages with apt-get.")
def requirements(*, install: bool) -> None:
    """Show what this machine lacks for a lab.

    Exit status 3 where something is missing.
    """
    from backstay_lab import machine
    from backstay_lab.up import LabRequest, require

    if install and (names := machine.install_missing(machine.read())):
        click.echo(f"installed: {' '.join(names)}")
    require(LabRequest(name=name_from_environment()))
    click.echo("This machine can host the lab.")
