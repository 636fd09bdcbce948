"""The ``ssh`` command that reaches a host just as Backstay does, for a person to paste."""

import re
from collections.abc import Sequence
from dataclasses import replace

from backstay.commands import command
from backstay.transports.targets import SshTarget

_USUAL_PORT = 22


def words(target: SshTarget, *options: str) -> Sequence[str]:
    """Return the command's words up to the host: what cloud.yaml names, as options of ``ssh``.

    The rest comes from ~/.ssh/config for ``ssh`` too. ``options`` come first. Pure.
    """
    found = ["ssh", *options, *_options(target)]
    found += _through(target)
    found.append(f"{target.user}@{target.address}" if target.user else target.address)
    return found


def _options(target: SshTarget) -> list[str]:
    found = []
    if target.key is not None:
        found += ["-i", str(target.key)]
    if target.known_hosts is not None:
        found += ["-o", f"UserKnownHostsFile={target.known_hosts}"]
    if target.port is not None and target.port != _USUAL_PORT:
        found += ["-p", str(target.port)]
    return found


def _through(target: SshTarget) -> list[str]:
    """Return the options that lead through the bastions which cloud.yaml names.

    ``ssh -J`` gives them no key and no file of known host keys. https://man.openbsd.org/ssh#J
    """
    if target.jumps is None:
        return []
    if target.jumps == "none" or (target.key is None and target.known_hosts is None):
        return ["-J", target.jumps]
    before, _, last = target.jumps.rpartition(",")
    place, _, port = last.rpartition(":") if re.search(r":\d+$", last) else (last, "", "")
    hop = replace(
        target,
        address=place.rpartition("@")[2].strip("[]"),
        user=place.rpartition("@")[0] or None,
        port=int(port) if port else None,
        jumps=before or None,
    )
    inner = [word.replace("%", "%%") for word in (*_options(hop), *_through(hop))]
    found = ["ssh", *inner, "-W", "[%h]:%p"]
    found.append(f"{hop.user}@{hop.address}" if hop.user else hop.address)
    return ["-o", f"ProxyCommand={command(*found)}"]


def line(target: SshTarget, *remote: str, options: Sequence[str] = ()) -> str:
    """Return the command line that runs ``remote``, a word each, on the host. Pure."""
    return command(*words(target, *options), *remote)


def connecting(target: SshTarget) -> str:
    """Return what is attempted, for an error. Pure."""
    return f"connecting to {target.name} ({target.address}) by SSH"
