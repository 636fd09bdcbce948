"""Errors of hosts that gave no answer, for the operator."""

import errno
import socket

import asyncssh

from backstay import lacking
from backstay.commands import command
from backstay.errors import (
    AnswerTooLong,
    HostError,
    HostUnreachable,
    LoginRefused,
    NoPython,
    NotAsked,
    RemoteFailure,
    SudoRefused,
    own_error,
)
from backstay.quantities import size
from backstay.transports import script_errors, ssh_command, sudo_errors
from backstay.transports.ssh_command import connecting
from backstay.transports.ssh_config import Way
from backstay.transports.ssh_logins import Login
from backstay.transports.targets import JumpOf, SshTarget

_LOOK = "is it powered on, and its network connected? Ask its BMC or its console"

_MOST_KEYS = 6
_TRY = "python3 -I -c 'print(1)'"


def _place(target: SshTarget, way: Way) -> str:
    """Return the port, and the host where the configuration names another one."""
    other = f" of {way.host}" if way.host != target.address.lower() else ""
    return f"port {way.port}{other}"


def silent(
    target: SshTarget, way: Way, bound: float, *, port_open: bool, banner_seen: bool
) -> HostUnreachable:
    """Return the error for a host that did not let anyone in within ``bound`` seconds.

    A frozen host still completes TCP handshakes, as its kernel does that by itself.
    """
    if way.proxy_command is not None and not banner_seen:
        return proxy_failed(target, way, f"no SSH banner came by it within {bound:g} s")
    place = _place(target, way)
    if not port_open:
        return HostUnreachable(
            connecting(target),
            came_back=f"cannot be reached: {place} did not answer within {bound:g} s",
            remedy=_LOOK,
        )
    missing = "the login was not finished" if banner_seen else "no SSH banner was received"
    return HostUnreachable(
        connecting(target),
        came_back=f"cannot be reached: {place} is open, but {missing} within {bound:g} s",
        remedy="the host is frozen, overloaded or out of memory: look at its console",
    )


def no_connection(target: SshTarget, way: Way, error: Exception) -> HostUnreachable:
    """Return the error for a connection that was refused or lost before the login."""
    if isinstance(error, socket.gaierror):
        return _name_unknown(target, way, error)
    if (
        isinstance(error, asyncssh.ChannelOpenError)
        and error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
    ):
        return NotAsked(
            connecting(target),
            came_back=f"its jump host does not pass on connections: {error}",
            remedy="allow it there (AllowTcpForwarding and PermitOpen in its sshd_config)",
        )
    reason, remedy = str(error) or type(error).__name__, _LOOK
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, ConnectionRefusedError) or "Connection refused" in reason:
        reason = f"{_place(target, way)} refuses connections"
        remedy = "the host is up and its SSH server is not: at its console, systemctl status ssh"
    elif number == errno.EHOSTUNREACH:
        reason = "no route to host"
    elif number in {errno.ENETUNREACH, errno.EADDRNOTAVAIL}:
        return NotAsked(
            connecting(target),
            came_back=f"this machine has no way there: {reason}",
            remedy=f"look at its network (and BindAddress in ~/.ssh/config): "
            f"{command('ip', 'route', 'get', way.host)}",
        )
    return HostUnreachable(
        connecting(target), came_back=f"cannot be reached: {reason}", remedy=remedy
    )


def _name_unknown(target: SshTarget, way: Way, error: socket.gaierror) -> NotAsked:
    where = str(target.jump_of or "`address` in cloud.yaml")
    if way.host != target.address.lower():
        where = "Hostname in ~/.ssh/config"
    return NotAsked(
        connecting(target),
        came_back=f"cannot be reached: the name `{way.host}` is not known: {error.strerror}",
        remedy=f"correct {where}, or the name service: {command('getent', 'hosts', way.host)}",
    )


def proxy_failed(target: SshTarget, way: Way, said: str) -> NotAsked:
    """Return the error for a ``ProxyCommand`` that brought no connection."""
    return NotAsked(
        connecting(target),
        came_back=f"its ProxyCommand `{way.proxy_command}` brought no connection: "
        f"{said or 'it ended'}",
        remedy=f"try it: {ssh_command.line(target, 'true', options=['-v'])}",
    )


def unexpected(target: SshTarget, error: Exception) -> NotAsked:
    """Return the error for what Backstay did not expect: it is this host's alone."""
    return NotAsked(
        connecting(target),
        came_back=own_error(error),
        remedy=f"see what ssh says: {ssh_command.line(target, 'true', options=['-v'])}",
    )


def circle(target: SshTarget, jump_host: str) -> NotAsked:
    """Return the error for jump hosts that are reached through one another."""
    return NotAsked(
        connecting(target),
        came_back=f"ProxyJump in ~/.ssh/config leads in a circle, by {jump_host}",
        remedy=f"give it before the lines for all hosts: Host {jump_host}, ProxyJump none",
    )


def at_jump_host(target: SshTarget, jump_host: str, error: HostError) -> HostError:
    """Return the error for a target whose jump host let nobody through.

    Of the same kind; but nothing of it tells about the target.
    """
    kind = NotAsked if isinstance(error, HostUnreachable) else type(error)
    found = kind(
        connecting(target),
        came_back=f"its jump host {jump_host}: {error.came_back}",
        remedy=error.remedy,
    )
    found.elsewhere = True
    return found


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
        connecting(target),
        came_back=f"cannot be reached: {reason}",
        remedy="compare HostKeyAlgorithms, KexAlgorithms, Ciphers and MACs in the host's "
        f"sshd_config with those of: {ssh_command.line(target, options=['-G'])}",
    )


def is_too_many_keys(error: Exception) -> bool:
    """Return whether a host closed a connection as too many keys were offered (MaxAuthTries)."""
    return isinstance(error, asyncssh.DisconnectError) and "authentication fail" in error.reason


def login_refused(target: SshTarget, way: Way, login: Login, reason: str) -> LoginRefused:
    """Return the error for a user or keys that the host does not accept."""
    keys = ", ".join(login.shown[:_MOST_KEYS])
    what = f"with the key {keys}" if keys else "as there is no key to log in with"
    missing = "; ".join(f"{one.shown}: {one.why}" for one in login.passed_over[:_MOST_KEYS])
    others = _other_logins(way)
    first = next((one.remedy for one in login.passed_over if one.remedy), "")
    if "oo many authentication" in reason:
        first = "offer fewer keys: IdentitiesOnly yes and IdentityFile in ~/.ssh/config"
    usual = (
        "add the public key to that user's ~/.ssh/authorized_keys on the host, or correct "
        f"{_where_login_is_set(target)}"
    )
    return LoginRefused(
        f"logging in to {target.name} ({target.address}) by SSH",
        came_back=f"the host refuses the user {way.user} {what}: {reason}"
        f"{f'; not used: {missing}' if missing else ''}"
        f"{f'; Backstay logs in by public keys, not by {others}' if others else ''}",
        remedy=f"{first}; else {usual}" if first else usual,
    )


def _where_login_is_set(target: SshTarget) -> str:
    """Return what names the user and the key; ``user`` of cloud.yaml is for no jump host. Pure."""
    if target.jump_of is JumpOf.CLOUD_FILE:
        return f"{JumpOf.CLOUD_FILE} (USER@{target.address}: `user` there is not for it), and `key`"
    if target.jump_of is JumpOf.SSH_CONFIG:
        return f"User and IdentityFile of {target.address} in ~/.ssh/config"
    return "`user` and `key` under `ssh` in cloud.yaml"


def _other_logins(way: Way) -> str:
    """Return what else ``ssh`` might log in with here, empty where nothing is set up."""
    from backstay.transports.ssh_options import logs_in_by_key  # noqa: PLC0415

    found = []
    if not logs_in_by_key(way):
        found.append("what PubkeyAuthentication and PreferredAuthentications leave")
    if way.is_on("hostbasedauthentication"):
        found.append("HostbasedAuthentication")
    if way.option("pkcs11provider", "none") != "none":
        found.append("PKCS11Provider (load its keys into the agent: ssh-add -s)")
    if way.option("controlpath", "none") != "none":
        found.append("connections of ControlMaster")
    return ", ".join(found)


def failed(
    target: SshTarget,
    status: int | None,
    signal: tuple[object, ...] | None,
    stderr: str,
    printed: str = "",
    *,
    user: str = "",
) -> RemoteFailure:
    """Return the error for a script that ended with another status than 0.

    ``printed`` is what came on standard output, where that is known, ``user`` who was logged in. It
    is SudoRefused where sudo did not run the script as root.
    """
    name = user or target.user
    refused = None if signal else sudo_errors.refusal(stderr, name or "USER")
    if refused is not None:
        return SudoRefused(_asking(target), came_back=refused.came_back, remedy=refused.remedy)
    found = None if signal else script_errors.explained(name, status, stderr, printed)
    if found is not None and found.came_back.startswith(script_errors.NO_PYTHON):
        remedy = lacking.remedy(found.remedy)
        return NoPython(_asking(target), came_back=found.came_back, remedy=remedy)
    if found is not None:
        return RemoteFailure(_asking(target), came_back=found.came_back, remedy=found.remedy)
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    ending = f"signal {signal[0]}" if signal else f"exit status {status}"
    return RemoteFailure(
        _asking(target),
        came_back=f"the questions ended with {ending}: {lines[-1] if lines else 'no message'}",
        remedy=f"look at it there: {ssh_command.line(target)}"
        if lines
        else f"try by hand: {ssh_command.line(target, _TRY)}",
    )


def _asking(target: SshTarget) -> str:
    return f"asking {target.name} ({target.address}) by SSH"
