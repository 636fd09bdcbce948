"""What the systemd units of this machine need that call Backstay without a terminal."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from backstay.cli.exit_status import Refused
from backstay.cli.output.terminal import echo

if TYPE_CHECKING:
    from backstay.inventory.cloud import Cloud


def own_command(*words: str) -> list[str]:
    """Return Backstay's command line with ``words``, by its absolute path."""
    return [str(Path(sys.argv[0]).resolve()), *words]


def own_environment() -> dict[str, str]:
    """Return where this terminal's journal and locks are, where its environment names them."""
    from backstay.journal.place import JOURNAL, LOCKS

    return {key: os.environ[key] for key in (JOURNAL, LOCKS) if key in os.environ}


def refuse_environment(cloud: "Cloud") -> None:
    """Raise Refused where the cloud's credentials are only in this terminal's environment."""
    if cloud.credentials.environment:
        raise Refused(
            "the credentials come from this terminal's environment, which a unit of systemd does "
            "not have",
            remedy=f"name an openrc under `credentials` in {cloud.path}",
        )


def show_files(files: dict[str, str]) -> None:
    """Print the unit files that would be installed."""
    from backstay.transports.systemd import FOLDER

    for name, text in files.items():
        echo(f"would write {FOLDER / name}:")
        echo("".join(f"    {line}".rstrip() + "\n" for line in text.splitlines()), nl=False)


def uninstall(units: Sequence[str], stays: str, *, dry_run: bool) -> bool:
    """Stop and remove unit files, the first of which is what runs. Return whether it was there.

    ``stays`` is what is not removed. Raises BackstayError.
    """
    from backstay.transports.systemd import FOLDER, remove

    name = units[0]
    if dry_run:
        there = (FOLDER / name).exists()
        echo(f"would remove {name}; {stays}" if there else f"{name} is not installed")
        return there
    there = remove(*units)
    echo(f"{name} is removed; {stays}" if there else f"{name} is not installed")
    return there
