"""``backstay lab break`` and ``backstay lab heal``: make real faults, and undo them."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from backstay_lab.cli import name_option, typed

if TYPE_CHECKING:
    from backstay_lab.faults import Record
    from backstay_lab.layout import Lab


@click.group(name="break", context_settings={"help_option_names": ["-h", "--help"]})
def break_() -> None:
    """Make a real fault. Each is recorded first, and `backstay lab heal` undoes it.

    UNIT is a systemd unit, with or without its host: controller/nova-api or nova-api.
    """


@break_.command("kill-service")
@name_option()
@click.argument("target", metavar="[HOST/]UNIT")
def kill_service(name: str, target: str) -> None:
    """Kill a service (SIGKILL) and keep it from starting again."""
    _break(name, "kill-service", target)


@break_.command("stop-service")
@name_option()
@click.argument("target", metavar="[HOST/]UNIT")
def stop_service(name: str, target: str) -> None:
    """Stop a service: inactive, not failed.

    As if it had exited by itself.
    """
    _break(name, "stop-service", target)


@break_.command("hang-service")
@name_option()
@click.argument("target", metavar="[HOST/]UNIT")
def hang_service(name: str, target: str) -> None:
    """Hang a service (SIGSTOP): port open, no answer."""
    _break(name, "hang-service", target)


@break_.command("power-off")
@name_option()
@click.argument("host")
def power_off(name: str, host: str) -> None:
    """Cut a host's power at once, as if its plug was pulled."""
    _break(name, "power-off", host)


@break_.command("busy-bmc")
@name_option()
@click.argument("host")
def busy_bmc(name: str, host: str) -> None:
    """Keep a host's BMC busy after orders: 503 for some seconds."""
    _break(name, "busy-bmc", host)


@break_.command("dead-board")
@name_option()
@click.argument("host")
def dead_board(name: str, host: str) -> None:
    """Destroy a host: disk lost, board dead. No undo.

    It is off, and its BMC cannot power it on.
    """
    _break(name, "dead-board", host)


@break_.command("freeze")
@name_option()
@click.argument("host")
def freeze(name: str, host: str) -> None:
    """Hang a whole host: it answers ping and nothing else."""
    _break(name, "freeze", host)


@break_.command("cut-network")
@name_option()
@click.argument("host")
@click.option(
    "--from",
    "whom",
    type=click.Choice(["everyone", "operator"]),
    default="everyone",
    show_default=True,
    help="From where the host is unreachable; the operator is this machine.",
)
def cut_network(name: str, host: str, whom: str) -> None:
    """Cut a host's network: packets are dropped silently.

    Open connections are cut too.
    """
    _break(name, "cut-network", host, {"from": whom})


@break_.command("loss")
@name_option()
@click.argument("host")
@click.argument("percent")
def loss(name: str, host: str, percent: str) -> None:
    """Lose PERCENT of a host's packets, at random.

    In each direction.
    """
    _break(name, "loss", host, {"percent": percent})


@break_.command("duplicate-address")
@name_option()
@click.argument("host")
def duplicate_address(name: str, host: str) -> None:
    """Let a second host answer for a host's address, as a replaced one that is switched on."""
    _break(name, "duplicate-address", host)


@break_.command("fill-disk")
@name_option()
@click.argument("host")
def fill_disk(name: str, host: str) -> None:
    """Fill a host's disk. Its size is limited: this machine's disk is not filled."""
    _break(name, "fill-disk", host)


@break_.command("read-only-disk")
@name_option()
@click.argument("host")
def read_only_disk(name: str, host: str) -> None:
    """Give a host a data disk that turns read-only after an error."""
    _break(name, "read-only-disk", host)


@break_.command("wedge-agent")
@name_option()
@click.argument("host")
@click.option(
    "--how",
    type=click.Choice(["deaf", "half-open", "no-reply-queue"]),
    default="deaf",
    show_default=True,
    help="deaf: no message reaches its queue. half-open: its connections carry nothing. "
    "no-reply-queue: no answer to its own calls reaches it.",
)
def wedge_agent(name: str, host: str, how: str) -> None:
    """Wedge nova-compute: it does not process RPC messages.

    It is active and connected.
    """
    _break(name, "wedge-agent", host, {"how": how})


@break_.command("old-client")
@name_option()
@click.argument("host")
def old_client(name: str, host: str) -> None:
    """Run nova-compute without heartbeats and keepalive.

    As clients of old releases do with their connections to the broker.
    """
    _break(name, "old-client", host)


@break_.command("rabbit-amnesia")
@name_option()
@click.argument("host", required=False, default="")
def rabbit_amnesia(name: str, host: str) -> None:
    """Restart the broker without queues, exchanges, users.

    HOST is the one with the broker; by default the controller.
    """
    _break(name, "rabbit-amnesia", host)


@break_.command("cut-broker")
@name_option()
@click.argument("host")
@click.option(
    "--lost",
    type=click.Choice(["back", "there"]),
    default="back",
    show_default=True,
    help="Which packets are lost: the broker's to the host, or the host's to the broker.",
)
def cut_broker(name: str, host: str, lost: str) -> None:
    """Cut a host from the broker, in one direction.

    Packets are dropped silently; all others pass.
    """
    _break(name, "cut-broker", host, {"lost": lost})


@break_.command("wrong-broker")
@name_option()
@click.argument("host")
@click.option(
    "--how",
    type=click.Choice(["password", "vhost", "name", "tls"]),
    default="password",
    show_default=True,
    help="What is wrong in the agents' configuration; name: their name service is dead, too.",
)
def wrong_broker(name: str, host: str, how: str) -> None:
    """Restart a host's agents with a wrong way to the broker."""
    _break(name, "wrong-broker", host, {"how": how})


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@name_option()
@click.argument("fault", required=False, metavar="[FAULT | all]")
@click.argument("target", required=False)
def heal(name: str, fault: str | None, target: str | None) -> None:
    """Undo faults, the newest first: all of them, or those of one kind or one target.

    Safe to repeat. What cannot be undone (a dead board) is named and left; where it was asked for
    by its name, that is an error.
    """
    from backstay_lab import faults
    from backstay_lab.faults.fault import NoUndo

    kind = None if fault in (None, "all") else fault
    _refuse_unknown(kind)
    left = found = 0
    for healed in faults.heal(_lab(name), kind, target):
        found += 1
        what = f"{healed.record.fault} {healed.record.target}"
        if healed.error is None:
            click.echo(f"{what}: {healed.done}.")
            continue
        click.echo(f"{what}: not healed: {healed.error.came_back}", err=True)
        click.echo(f"  what to do: {healed.error.remedy}", err=True)
        left += kind is not None or not isinstance(healed.error, NoUndo)
    if not found:
        click.echo("Nothing to heal.")
    if left:
        sys.exit(3)


def _break(name: str, fault: str, target: str, options: Mapping[str, str] | None = None) -> None:
    from backstay_lab import faults

    record, evidence = faults.break_(_lab(name), fault, target, options or {})
    click.echo(f"{fault} {record.target}: {evidence}. {_undo_command(name, record)}")


def _undo_command(name: str, record: "Record") -> str:
    if record.fault == "dead-board":
        return "There is no undo."
    return f"Undo: {typed('heal', name)} {record.fault} {record.target}"


def _lab(name: str) -> "Lab":
    from backstay_lab import state

    return state.opened(name).lab


def _refuse_unknown(fault: str | None) -> None:
    from backstay_lab.faults.lifecycle import FAULTS

    if fault is not None and fault not in FAULTS:
        raise click.BadParameter(f"`{fault}` is not one of: all, {', '.join(FAULTS)}")
