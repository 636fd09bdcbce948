"""The exact commands that findings give as remedies, with the cloud's own users and addresses."""

import re
from dataclasses import replace

from backstay.commands import SSH, again, command
from backstay.transports.targets import SshTarget


def ssh(target: SshTarget) -> str:
    """Return the command that reaches a host, up to the remote command: ``ssh root@10.0.0.11``.

    Another user than root gets ``sudo``.
    """
    words = ["ssh", *_options(target), *_through(target)]
    words.append(f"{target.user}@{target.address}" if target.user else target.address)
    if target.user not in {"root", None}:
        words.append("sudo")
    return command(*words)


def _options(target: SshTarget) -> list[str]:
    words = []
    if target.key is not None:
        words += ["-i", str(target.key)]
    if target.known_hosts is not None:
        words += ["-o", f"UserKnownHostsFile={target.known_hosts}"]
    if target.port not in {None, 22}:
        words += ["-p", str(target.port)]
    return words


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
    words = ["ssh", *inner, "-W", "[%h]:%p"]
    words.append(f"{hop.user}@{hop.address}" if hop.user else hop.address)
    return ["-o", f"ProxyCommand={command(*words)}"]


def on(target: SshTarget, line: str) -> str:
    """Return the command line that runs ``line`` on the host, quoted where it needs to be.

    ``line`` is for the host's shell: words in it that Backstay has not chosen are quoted already,
    by ``commands.command``.
    """
    word = again(line)
    if word != line and target.user not in {"root", None}:
        word = again(f"sh -c {word}")
    return f"{ssh(target)} {word}"


def filled(remedy: str, target: SshTarget) -> str:
    """Put the command that reaches the host where a verdict's remedy has ``{ssh}``."""
    return remedy.replace(SSH, ssh(target))
