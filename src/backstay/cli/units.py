"""What the systemd units of this machine need that call Backstay without a terminal."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from backstay.cli.exit_status import Refused
from backstay.cli.output.terminal import echo
from backstay.commands import command

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

    line = own_command(*words)
    folders = code_folders()
    for file in (Path(line[0]), Path(sys.executable), *folders):
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
    return line


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


def refuse_environment(cloud: "Cloud", *, watch: bool = False) -> None:
    """Raise Refused where credentials, or the password, are only in this terminal's environment.

    With ``watch`` those of the watch's own account too.
    """
    own = cloud.watch.credentials
    accounts = {"credentials": cloud.credentials}
    if watch and own is not None:
        accounts["watch.credentials"] = own
    for key, given in accounts.items():
        if given.environment:
            raise Refused(
                "the credentials come from this terminal's environment, which a unit of systemd "
                "does not have",
                remedy=f"name an openrc under `{key}` in {cloud.path}",
            )
        if given.openrc is not None:
            _refuse_question(given.openrc)


def _refuse_question(openrc: Path) -> None:
    """Raise Refused for an openrc without a password; what else is wrong is said in use."""
    from backstay.errors import InventoryError
    from backstay.inventory.openrc import PasswordMissing, read_openrc

    try:
        read_openrc(openrc, with_terminal=False)
    except PasswordMissing as error:
        raise Refused(
            f"{openrc} sets no OS_PASSWORD, and a unit of systemd has no terminal to ask for it",
            remedy=f"write `export OS_PASSWORD=...` into it, and let root alone read it: "
            f"{command('chmod', '600', str(openrc))}",
        ) from error
    except InventoryError:
        return


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
