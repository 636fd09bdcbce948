"""Errors of hosts that gave no answer, for the operator."""

import errno
import socket

from backstay import lacking
from backstay.errors import (
    AnswerTooLong,
    HostError,
    HostUnreachable,
    LoginRefused,
    NoPython,
    RemoteFailure,
)
from backstay.quantities import size
from backstay.transports import script_errors
from backstay.transports.targets import SshTarget

_LOOK = "is it powered on, and its network connected? Ask its BMC or its console"


def _connecting(target: SshTarget) -> str:
    return f"connecting to {target.name} ({target.address}) by SSH"


def _port(target: SshTarget) -> int:
    return target.port or 22


def silent(
    target: SshTarget, bound: float, *, port_open: bool, banner_seen: bool
) -> HostUnreachable:
    """Return the error for a host that did not let anyone in within ``bound`` seconds.

    A frozen host still completes TCP handshakes, as its kernel does that by itself.
    """
    if not port_open:
        return HostUnreachable(
            _connecting(target),
            came_back=f"cannot be reached: port {_port(target)} did not answer within {bound:g} s",
            remedy=_LOOK,
        )
    missing = "the login was not finished" if banner_seen else "no SSH banner was received"
    return HostUnreachable(
        _connecting(target),
        came_back=f"cannot be reached: port {_port(target)} is open, but {missing} within "
        f"{bound:g} s",
        remedy="the host is frozen, overloaded or out of memory: look at its console",
    )


def no_connection(target: SshTarget, error: Exception) -> HostUnreachable:
    """Return the error for a connection that was refused or lost before the login."""
    reason, remedy = str(error) or type(error).__name__, _LOOK
    if isinstance(error, socket.gaierror):
        reason = f"the name `{target.address}` is not known: {error.strerror}"
        remedy = "correct `address` in cloud.yaml, or the name service"
    elif isinstance(error, ConnectionRefusedError):
        reason = f"port {_port(target)} refuses connections"
        remedy = "the host is up and its SSH server is not: at its console, systemctl status ssh"
    elif isinstance(error, OSError) and error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        reason = "no route to host"
    return HostUnreachable(
        _connecting(target), came_back=f"cannot be reached: {reason}", remedy=remedy
    )


def circle(target: SshTarget, jump_host: str) -> HostUnreachable:
    """Return the error for jump hosts that are reached through one another."""
    return HostUnreachable(
        _connecting(target),
        came_back=f"ProxyJump in ~/.ssh/config leads in a circle, by {jump_host}",
        remedy=f"give it before the lines for all hosts: Host {jump_host}, ProxyJump none",
    )


def at_jump_host(target: SshTarget, jump_host: str, error: HostError) -> HostError:
    """Return the error for a target whose jump host let nobody through, of the same kind."""
    return type(error)(
        _connecting(target),
        came_back=f"its jump host {jump_host}: {error.came_back}",
        remedy=error.remedy,
    )


def too_much(target: SshTarget, what: str, most: int) -> AnswerTooLong:
    """Return the error for a host that sent more than is taken; ``most`` is in bytes."""
    return AnswerTooLong(
        _asking(target),
        came_back=f"{what} is longer than {size(most)}: the connection was closed",
        remedy="no healthy host sends that much: look at it at its console, and who has logged in "
        "there",
    )


def lost(target: SshTarget, error: Exception) -> HostUnreachable:
    """Return the error for a connection that was lost while the host was being asked."""
    return HostUnreachable(
        _asking(target),
        came_back=f"the connection was lost: {error or type(error).__name__}",
        remedy="ask again; is the host going down, or its network disturbed?",
    )


def no_answer(target: SshTarget, bound: float) -> HostUnreachable:
    """Return the error for a host that was logged in to and did not answer in time."""
    return HostUnreachable(
        _asking(target),
        came_back=f"logged in, but no answer came within {bound:g} s",
        remedy="look for a hung disk or file system, no memory, or heavy load at its console",
    )


def no_common_algorithm(target: SshTarget, reason: str) -> HostUnreachable:
    """Return the error for a server that speaks only what this program does not."""
    return HostUnreachable(
        _connecting(target),
        came_back=f"cannot be reached: {reason}",
        remedy="compare KexAlgorithms, Ciphers and MACs in the host's sshd_config with what "
        "current OpenSSH offers",
    )


def login_refused(target: SshTarget, reason: str) -> LoginRefused:
    """Return the error for a user or key that the host does not accept."""
    user = f"the user {target.user}" if target.user else "the user"
    key = f"the key {target.key}" if target.key else "the keys of the agent and ~/.ssh"
    return LoginRefused(
        f"logging in to {target.name} ({target.address}) by SSH",
        came_back=f"the host refuses {user} with {key}: {reason}",
        remedy="add the public key to that user's ~/.ssh/authorized_keys on the host, or correct "
        "`user` and `key` under `ssh` in cloud.yaml",
    )


def failed(
    target: SshTarget,
    status: int | None,
    signal: tuple[object, ...] | None,
    stderr: str,
    printed: str = "",
) -> RemoteFailure:
    """Return the error for a script that ended with another status than 0.

    ``printed`` is what came on standard output, where that is known.
    """
    found = None if signal else script_errors.explained(target.user, status, stderr, printed)
    if found is not None and found.came_back.startswith(script_errors.NO_PYTHON):
        remedy = lacking.remedy(found.remedy)
        return NoPython(_asking(target), came_back=found.came_back, remedy=remedy)
    if found is not None:
        return RemoteFailure(_asking(target), came_back=found.came_back, remedy=found.remedy)
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    ending = f"signal {signal[0]}" if signal else f"exit status {status}"
    login = f"ssh {target.user + '@' if target.user else ''}{target.address}"
    return RemoteFailure(
        _asking(target),
        came_back=f"the questions ended with {ending}: {lines[-1] if lines else 'no message'}",
        remedy=f"look at it there: {login}"
        if lines
        else f"try by hand: {login} python3 -I -c 'print(1)'",
    )


def _asking(target: SshTarget) -> str:
    return f"asking {target.name} ({target.address}) by SSH"
