"""What ``~/.ssh/config`` may say of a host: where it is, by whom, through whom. Nothing else.

It is written for people at a terminal. What it would give to a host of the operator's own (the
agent, tickets, variables, X11) or run there is switched off: a host that was taken over would use
it. https://asyncssh.readthedocs.io/en/latest/api.html#supportedclientconfigoptions
"""

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from backstay.errors import HostUnreachable
from backstay.ownership import NotTrusted, check_own
from backstay.transports.targets import SshTarget

ALWAYS: dict[str, Any] = {
    "agent_forwarding": False,  # else the host can sign with every key of the operator's agent
    "x11_forwarding": False,
    "gss_delegate_creds": False,  # the same for Kerberos
    "gss_kex": False,  # its host key would not be asked for
    "x509_trusted_certs": None,  # nor looked up among those that are known
    "env": None,
    "send_env": None,
    "command": None,
    "request_pty": False,
    "compression_algs": ["none"],  # a packet of a few kB may be many MB unpacked
}
"""Options of every connection, whatever the file says."""

_USUAL_PORT = 22
_INCLUDES = 16
"""How deep files may include others, as ssh has it."""
_NOWHERE = frozenset({"none", "/dev/null"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """A host on the way, as ``ProxyJump`` names it."""

    host: str
    port: int | None
    user: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a host is reached. ``options`` are for ``asyncssh.connect``, without keys.

    ``name`` and ``port`` are what its key is known by. ``known_hosts`` are the files named for
    keys, empty where none are named; what stands for no file at all is not among them, and where
    nothing else is named it is ``blank``. ``jumps`` are on the way, the first one first.
    """

    options: Mapping[str, Any]
    name: str
    port: int
    known_hosts: Sequence[Path] = ()
    blank: bool = False
    jumps: Sequence[Jump] = ()


def read(target: SshTarget) -> Way:
    """Return what the file says of a target. Raises HostUnreachable where it cannot be read."""
    given: dict[str, Any] = ALWAYS | {"host": target.address}
    if target.port is not None:
        given["port"] = target.port
    if target.user is not None:
        given["username"] = target.user
    if target.key is not None:  # cloud.yaml has everything
        return Way(
            options=given | {"config": None},
            name=target.address,
            port=target.port or _USUAL_PORT,
            jumps=jumps_of(target.jumps),
        )
    _check_own(target)
    try:
        # No keys and no agent yet: only the file is read.
        found = asyncssh.SSHClientConnectionOptions(
            config=(), client_keys=None, known_hosts=[], **given
        )
        if found.config.has_match_final():
            found.update(host=found.orig_host, reload=True, canonical=False, final=True)
        jumps = jumps_of(found.tunnel if target.jumps is None else target.jumps)
    except (ValueError, OSError, asyncssh.Error) as error:
        raise HostUnreachable(
            f"connecting to {target.name} ({target.address}) by SSH",
            came_back=f"~/.ssh/config cannot be used: {error}",
            remedy="correct it, or name `user`, `key` and `known_hosts` under `ssh` in cloud.yaml",
        ) from error
    named = [
        word
        for option in ("UserKnownHostsFile", "GlobalKnownHostsFile")
        for word in _known_hosts(found, option)
    ]
    files = [word for word in named if word.lower() not in _NOWHERE]
    # `none` is a word of ssh's that asyncssh would take for a host or a program.
    command = found.proxy_command
    if jumps or (command and [word.lower() for word in command] == ["none"]):
        given["proxy_command"] = None
    return Way(
        options=given | {"tunnel": None},
        name=found.host_key_alias or found.host,
        port=found.port,
        known_hosts=[_expanded(word, found) for word in files],
        blank=bool(named) and not files,
        jumps=jumps,
    )


def _check_own(target: SshTarget) -> None:
    """Raise HostUnreachable where others may change the file: it can name programs to run.

    ssh refuses such a file too. With sudo ``~`` may be another user's: https://man.openbsd.org/ssh_config
    """
    for file in dict.fromkeys(file for file, _, _ in _lines(_file(), _INCLUDES)):
        try:
            check_own(file)
        except NotTrusted as error:
            raise HostUnreachable(
                f"connecting to {target.name} ({target.address}) by SSH",
                came_back=f"{file} is not used: {error}",
                remedy=f"{error.remedy}; if it is another user's (sudo), call with a HOME of your "
                "own: sudo -H",
            ) from error
        except OSError:
            continue  # whatever reads it says so


def _file() -> Path:
    return Path("~/.ssh/config").expanduser()


def line_of(option: str) -> str:
    """Return which line of the file sets an option to none, for an error's text."""
    for file, number, line in _lines(_file(), _INCLUDES):
        words = re.split(r"[\s=\"]+", line.strip())
        if words[0].lower() == option.lower() and _NOWHERE & {word.lower() for word in words[1:]}:
            return f"{file}, line {number}: {line.strip()[:200]}"
    return f"~/.ssh/config: {option}"


def _known_hosts(options: asyncssh.SSHClientConnectionOptions, option: str) -> list[str]:
    """Return the words of the option; ``none`` as the word, which asyncssh gives as no words."""
    found = options.config.get(option)
    if found is None:
        return []
    return [str(word) for word in found] if isinstance(found, list) and found else ["none"]


def _expanded(word: str, options: asyncssh.SSHClientConnectionOptions) -> Path:
    values = {"%": "%", "d": str(Path.home()), "h": options.host, "r": options.username}
    text = re.sub(r"%(.)", lambda found: values.get(found[1], found[0]), word)
    return _from_home(text)


def _from_home(text: str) -> Path:
    """Return a path, ``~`` as a home. It stays where there is no such user: that is no file."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises RuntimeError


def jumps_of(tunnel: object) -> list[Jump]:
    """Return the hosts of ``ProxyJump``. Raises ValueError for a port that is none."""
    if not isinstance(tunnel, str) or tunnel.lower() == "none":
        return []
    jumps = []
    for word in tunnel.split(","):
        user, _, place = word.strip().removeprefix("ssh://").rpartition("@")
        found = re.fullmatch(r"\[?(.+?)\]?(?::(\d{1,5}))?", place)
        if found is None:
            raise ValueError(f"ProxyJump {tunnel}")
        jumps.append(
            Jump(host=found[1], port=int(found[2]) if found[2] else None, user=user or None)
        )
    return jumps


def _lines(file: Path, depth: int) -> Iterator[tuple[Path, int, str]]:
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for number, line in enumerate(lines, 1):
        yield file, number, line
        if line.strip().lower().startswith("include") and depth:
            for pattern in _words(line)[1:]:
                at = _from_home(pattern)
                folder = Path(at.anchor) if at.is_absolute() else Path("~/.ssh").expanduser()
                relative = str(at.relative_to(at.anchor)) if at.is_absolute() else str(at)
                for included in _matching(folder, relative):
                    yield from _lines(included, depth - 1)


def _matching(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except (ValueError, OSError, NotImplementedError):  # no pattern of files
        return []


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return []
