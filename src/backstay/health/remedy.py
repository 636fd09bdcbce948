"""The exact commands that findings give as remedies, with the cloud's own users and addresses."""

from backstay.commands import SSH, again, command
from backstay.transports import ssh_command
from backstay.transports.targets import SshTarget


def ssh(target: SshTarget) -> str:
    """Return the command that reaches a host, up to the remote command: ``ssh root@10.0.0.11``.

    Another user than root gets ``sudo``.
    """
    words = list(ssh_command.words(target))
    if target.user not in {"root", None}:
        words.append("sudo")
    return command(*words)


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
