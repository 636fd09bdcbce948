"""The ``ssh`` command that reaches a host just as Backstay does, for a person to paste."""

from collections.abc import Sequence

from backstay.commands import command
from backstay.transports.targets import SshTarget

_USUAL_PORT = 22


def words(target: SshTarget, *options: str) -> Sequence[str]:
    """Return the command's words up to the host: what cloud.yaml names, as options of ``ssh``.

    The rest comes from ~/.ssh/config for ``ssh`` too. ``options`` come first. Pure.
    """
    found = ["ssh", *options]
    if target.key is not None:
        found += ["-i", str(target.key)]
    if target.known_hosts is not None:
        found += ["-o", f"UserKnownHostsFile={target.known_hosts}"]
    if target.port is not None and target.port != _USUAL_PORT:
        found += ["-p", str(target.port)]
    if target.jumps is not None:
        found += ["-J", target.jumps]
    found.append(f"{target.user}@{target.address}" if target.user else target.address)
    return found


def line(target: SshTarget, *remote: str, options: Sequence[str] = ()) -> str:
    """Return the command line that runs ``remote``, a word each, on the host. Pure."""
    return command(*words(target, *options), *remote)


def connecting(target: SshTarget) -> str:
    """Return what is attempted, for an error. Pure."""
    return f"connecting to {target.name} ({target.address}) by SSH"
