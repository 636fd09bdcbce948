"""What the systemd units of this machine need that call Backstay without a terminal."""

import os
import re
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


def unit_name(*parts: str) -> str:
    """Return the name of a unit without its kind; names of clouds may have spaces."""
    return re.sub("[^A-Za-z0-9_.-]", "-", "-".join(("backstay", *parts)))


def unit_command(*words: str) -> list[str]:
    """Return Backstay's command line for a unit. Raises Refused where others may change it."""
    from backstay.ownership import NotTrusted, check_own, check_own_tree

    command = own_command(*words)
    folders = code_folders()
    for file in (Path(command[0]), Path(sys.executable), *folders):
        try:
            (check_own_tree if file in folders else check_own)(file)
        except NotTrusted as error:
            what = f"what is in {file}" if file in folders else str(file)
            raise Refused(
                f"the unit would run {what} as root, and {error}",
                remedy=f"{error.remedy}, or install Backstay where only root may write",
            ) from error
        except OSError as error:
            raise Refused(
                f"the unit would run {file}: {error.strerror}", remedy="install Backstay again"
            ) from error
    return command


def code_folders() -> list[Path]:
    """Return where what runs may be imported from: a module of any package runs with its rights."""
    import backstay

    named = [Path(entry) for entry in sys.path if entry]
    return list(dict.fromkeys([Path(backstay.__file__).parent, *named]))


def own_environment() -> dict[str, str]:
    """Return where this terminal's journal and locks are, where its environment names them.

    Without those that ``secret_environment`` returns.
    """
    secret = secret_environment()
    return {key: value for key, value in _given().items() if key not in secret}


def secret_environment() -> dict[str, str]:
    """Return which of these may hold a password: URLs with a user or with parameters."""
    return {key: value for key, value in _given().items() if "@" in value or "?" in value}


def _given() -> dict[str, str]:
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
        if name.endswith(".env"):
            echo(f"would write {FOLDER / name}: variables with secrets, for root alone")
            continue
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
