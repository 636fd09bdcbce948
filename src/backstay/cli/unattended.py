"""What a unit of systemd's needs to call Backstay without the terminal that installed it."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backstay.journal.place import JOURNAL, LOCKS

if TYPE_CHECKING:
    from backstay.inventory.cloud import Cloud


def command(*words: str) -> list[str]:
    """Return Backstay's command line with ``words``, by its absolute path."""
    return [str(Path(sys.argv[0]).resolve()), *words]


def environment() -> dict[str, str]:
    """Return where this terminal's journal and locks are, where it names them."""
    return {key: os.environ[key] for key in (JOURNAL, LOCKS) if key in os.environ}


def refuse_environment(cloud: "Cloud") -> None:
    """Raise click's error where the cloud's credentials are only in this terminal."""
    if cloud.credentials.environment:
        raise click.ClickException(
            "the credentials come from this terminal's environment, which a timer has not: name an "
            f"openrc in {cloud.path}"
        )
