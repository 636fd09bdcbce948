"""``backstay lab``, which comes with another distribution, ``backstay-lab``: the extra ``lab``.

Backstay finds it by its entry points, so that a machine without it has no command that breaks
hosts, and nothing of Backstay imports it.
"""

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NoReturn

import click

from backstay import lacking
from backstay.errors import BackstayError

COMMANDS = "backstay.commands"
"""Group of entry points: click commands by their name on the command line."""
CLOUD_FILES = "backstay.cloud_files"
"""Group of entry points: functions that return the ``cloud.yaml`` to use where none is named."""
_INSTALL = f"{lacking.LAB}, or uninstall the distribution backstay-lab"


class NotInstalled(BackstayError):
    """A command was called whose distribution is not installed."""


@click.command(
    "lab",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def _missing() -> NoReturn:
    """Raise NotInstalled, whatever the arguments."""
    raise NotInstalled(
        "calling a command of the lab",
        came_back="the lab is not installed",
        remedy=lacking.remedy(lacking.LAB),
    )


def _installed() -> click.Command:
    for point in entry_points(group=COMMANDS, name="lab"):
        command: click.Command = _loaded(point)
        return command
    return _missing


def _loaded(point: EntryPoint) -> Any:  # noqa: ANN401 - whatever is behind it
    """Return what an entry point leads to. Raises NotInstalled where the package is not whole."""
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise NotInstalled(
            f"loading {point.value}",
            came_back=f"the lab is installed in part: {error}",
            remedy=lacking.remedy(_INSTALL),
        ) from error


lab = _installed()


def current_cloud_file() -> Path | None:
    """Return the ``cloud.yaml`` of the lab that is up; None where none is, or none is installed.

    Raises NotInstalled where the lab is installed in part.
    """
    for point in entry_points(group=CLOUD_FILES):
        file: Path | None = _loaded(point)()
        if file is not None:
            return file
    return None
