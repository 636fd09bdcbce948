"""The ``--cloud`` option of every command that works on a cloud, and what it finds."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from backstay.backup.choice import RestorePoint
    from backstay.inventory.cloud import Cloud


cloud_option = click.option(
    "--cloud",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="cloud.yaml; else $BACKSTAY_CLOUD, ./cloud.yaml, /etc/backstay/cloud.yaml, the lab's.",
)


def load_cloud(given: Path | None) -> "Cloud":
    """Return the cloud that the command is about, saying so where it is the lab.

    Raises InventoryError where there is none, or where its file holds mistakes.
    """
    from backstay.cli.lab import current_cloud_file
    from backstay.inventory.find import find
    from backstay.inventory.load import load
    from backstay.services.registry import all_services

    found = find(given, current_cloud_file)
    if found.of_lab:
        click.echo(
            f"backstay: no cloud.yaml is named or here: using the lab's, {found.path}", err=True
        )
    return load(found.path, services=[service.name for service in all_services()])


def moment_named(text: str) -> "RestorePoint":
    """Return the moment: `latest`, `backup` or a time, which is local without a zone.

    Raises click.BadParameter.
    """
    from backstay.backup.choice import RestorePoint

    try:
        return RestorePoint.from_document("" if text == "backup" else text)
    except ValueError:
        raise click.BadParameter(
            f"`{text}` is neither `latest`, `backup`, nor a time such as '2026-11-24 02:00'",
            param_hint="--to",
        ) from None
