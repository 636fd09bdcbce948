"""The exact commands that findings give as remedies, with the cloud's own users and addresses."""

import shlex

from backstay.transports.targets import SshTarget


def ssh(target: SshTarget) -> str:
    """Return the command that reaches a host, up to the remote command: ``ssh root@10.0.0.11``.

    Another user than root gets ``sudo``.
    """
    words = ["ssh"]
    if target.key is not None:
        words += ["-i", shlex.quote(str(target.key))]
    if target.known_hosts is not None:
        words += ["-o", shlex.quote(f"UserKnownHostsFile={target.known_hosts}")]
    if target.port not in {None, 22}:
        words += ["-p", str(target.port)]
    words.append(f"{target.user}@{target.address}" if target.user else target.address)
    if target.user not in {"root", None}:
        words.append("sudo")
    return " ".join(words)


def on(target: SshTarget, command: str) -> str:
    """Return the command line that runs ``command`` on the host, quoted where it needs to be."""
    plain = all(character.isalnum() or character in " -_./@=:," for character in command)
    if plain:
        return f"{ssh(target)} {command}"
    if target.user not in {"root", None}:
        command = f"sh -c {shlex.quote(command)}"
    return f"{ssh(target)} {shlex.quote(command)}"


def filled(remedy: str, target: SshTarget) -> str:
    """Put the command that reaches the host where a verdict's remedy has ``{ssh}``."""
    return remedy.replace("{ssh}", ssh(target))
