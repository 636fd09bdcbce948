"""Errors of hosts that gave no answer, for the operator."""

import errno
import socket

from backstay.errors import (
    AnswerTooLong,
    HostError,
    HostUnreachable,
    LoginRefused,
    RemoteFailure,
    SudoRefused,
)
from backstay.quantities import size
from backstay.transports.sudo_errors import refusal
from backstay.transports.targets import SshTarget

_LOOK = "is it powered on, and its network connected? Ask its BMC or its console"

_COMMAND_NOT_FOUND = 127  # of every POSIX shell
_REFUSED = 1  # of sudo, whatever it has against it


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


def not_let_through(
    target: SshTarget, jump_host: str, reason: str, *, prohibited: bool
) -> HostUnreachable:
    """Return the error for a target that its jump host, which was logged in to, did not reach.

    ``prohibited`` is whether the jump host may not try: that says nothing of the target.
    """
    if prohibited:
        return HostUnreachable(
            _connecting(target),
            came_back=f"its jump host {jump_host} does not pass on connections to "
            f"{target.address}, port {_port(target)}: {reason}",
            remedy=f"allow it in sshd_config of {jump_host}: AllowTcpForwarding yes (or local), "
            "without DisableForwarding, and PermitOpen with that address and port; then: systemctl "
            "reload ssh",
        )
    return HostUnreachable(
        _connecting(target),
        came_back=f"cannot be reached from its jump host {jump_host}: port {_port(target)}: "
        f"{reason}",
        remedy="the host is up and its SSH server is not: at its console, systemctl status ssh"
        if "refused" in reason.lower()
        else _LOOK,
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
    *,
    user: str = "",
) -> RemoteFailure:
    """Return the error for a script that ended with another status than 0.

    ``user`` is who was logged in. It is SudoRefused where the script did not come to run as root.
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if status == _COMMAND_NOT_FOUND:
        return RemoteFailure(
            _asking(target),
            came_back="it has no python3",
            remedy="install python3 on the host: apt-get install python3-minimal",
        )
    refused = refusal(stderr, user or target.user or "the user") if status == _REFUSED else None
    if refused is not None:
        return SudoRefused(_asking(target), came_back=refused.came_back, remedy=refused.remedy)
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
