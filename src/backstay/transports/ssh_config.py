"""What ``ssh`` would do to reach a host: where it is, by whom, through whom. Nothing else.

OpenSSH's own program reads its configuration (``ssh -G``), as only that has all of its rules.
The files are written for people at a terminal. What they would give to a host of the operator's own
(the agent, tickets, variables, X11) or run there is switched off: a host that was taken over would
use it.
"""

import asyncio
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backstay.errors import NotAsked
from backstay.ownership import NotTrusted
from backstay.transports import ssh_files
from backstay.transports.program_output import OutputTooLong, tail, whole
from backstay.transports.programs import kill_session
from backstay.transports.sent import log_call
from backstay.transports.ssh_alike import Patterns
from backstay.transports.ssh_command import connecting
from backstay.transports.targets import SshTarget

NOWHERE = frozenset({"none", "/dev/null"})
_USUAL_PORT = 22
_FRESH = 5.0
"""Seconds for which what was read holds: a watch runs for weeks, and the files may change."""
_BOUND = 10.0
"""Seconds for one reading: ``Match exec`` runs programs, and names may be asked for."""
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """A host on the way, as ``ProxyJump`` names it."""

    host: str
    port: int | None
    user: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a host is reached. ``said`` is what ``ssh -G`` printed, by option in lower case.

    ``original`` is the name that ``ssh`` is given, ``host`` what it stands for.
    """

    original: str
    host: str
    port: int
    user: str
    said: Mapping[str, Sequence[str]]
    jumps: Sequence[Jump] = ()
    keeps_order: bool = False
    """Whether ``HostKeyAlgorithms`` is to be taken in its order."""

    def option(self, name: str, usual: str = "") -> str:
        """Return the value of an option as it was printed."""
        return self.said.get(name, (usual,))[0]

    def is_on(self, name: str) -> bool:
        """Return whether an option says yes, as ``ssh`` prints that."""
        return self.option(name) in {"yes", "true", "ask"}

    @property
    def alias(self) -> str | None:
        """Return the name by which its key is known, where that is another one."""
        return self.option("hostkeyalias") or None

    @property
    def proxy_command(self) -> str | None:
        """Return the program whose input and output is the connection, for a shell."""
        command = self.option("proxycommand")
        return None if command.lower() in {"", "none"} else self.expanded(command, path=False)

    def user_known_hosts(self) -> list[Path]:
        """Return the user's files of known host keys, the first one where ``ssh`` adds keys."""
        return self._files("userknownhostsfile")

    def global_known_hosts(self) -> list[Path]:
        """Return the system's files of known host keys."""
        return self._files("globalknownhostsfile")

    def file(self, name: str) -> Path | None:
        """Return the file that an option names, None where it names none."""
        value = self.option(name)
        return None if value.lower() in {"", "none"} else Path(self.expanded(value))

    def expanded(self, text: str, *, path: bool = True) -> str:
        """Return a text with its tokens replaced, and ``~`` of a path. See ssh_config(5)."""
        values = {
            "%": "%",
            "d": str(ssh_files.home()),
            "h": self.host,
            "i": str(os.getuid()),
            "k": self.alias or self.host,
            "l": os.uname().nodename,
            "L": os.uname().nodename.partition(".")[0],
            "n": self.original,
            "p": str(self.port),
            "r": self.user,
        }
        text = re.sub(r"%(.)", lambda found: values.get(found[1], found[0]), text)
        return str(ssh_files.from_home(text)) if path else text

    def _files(self, option: str) -> list[Path]:
        words = re.split(r" (?=[/~]|none(?: |$))", self.option(option))
        return [Path(self.expanded(word)) for word in words if word.lower() not in {"", *NOWHERE}]


class SshConfig:
    """What ``ssh`` says of hosts, asked once for those that it reads the same for."""

    def __init__(self) -> None:
        self._at_once = asyncio.Semaphore(os.cpu_count() or 1)
        self._patterns: Patterns | None = None
        self._read: dict[object, asyncio.Task[Mapping[str, Sequence[str]]]] = {}
        self._until = 0.0

    async def way(self, target: SshTarget) -> Way:
        """Return how a target is reached. Raises NotAsked where that cannot be read."""
        patterns = self._current()
        alike = patterns.alike(target.address)
        key = (alike.key, target.port, target.user, target.key, target.jumps)
        task = self._read.get(key)
        if task is None:
            # Not cancelled with whoever asked first: others wait for it too.
            task = self._read[key] = asyncio.ensure_future(self._said(target))
        try:
            said = await asyncio.shield(task)
            way = _way(target, said)
        except _Unreadable as error:
            raise NotAsked(connecting(target), came_back=str(error), remedy=error.remedy) from error
        way = replace(way, keeps_order=way.option("hostkeyalgorithms") in patterns.orders)
        return way if alike.host is None else replace(way, host=alike.host)

    def close(self) -> None:
        """End what is being read."""
        for task in self._read.values():
            task.cancel()

    def _current(self) -> Patterns:
        if self._patterns is None or time.monotonic() > self._until:
            self._patterns = Patterns.of(ssh_files.lines())
            self._read = {}
            self._until = time.monotonic() + _FRESH
        return self._patterns

    async def _said(self, target: SshTarget) -> Mapping[str, Sequence[str]]:
        """Return the options for a target, and raise _Unreadable."""
        try:
            ssh_files.check_user_files()
        except NotTrusted as error:
            raise _Unreadable(
                f"the SSH configuration is not used: {error}",
                f"{error.remedy}; if it is another user's (sudo), call with a HOME of your own: "
                "sudo -H",
            ) from error
        program = shutil.which("ssh")
        if program is None:
            return _without_program(target)
        words = ["-G", *_given(target), "--", target.address]
        async with self._at_once:
            if not ssh_files.is_elsewhere():
                return _options(*await _printed([program, *words]))
            with tempfile.TemporaryDirectory(prefix="backstay-ssh-") as folder:
                first, copies = ssh_files.copied(Path(folder))
                status, output, errors = await _printed([program, "-F", str(first), *words])
        for copy, file in reversed(
            list(copies.items())
        ):  # `config-1` is in the name of `config-10`
            errors = errors.replace(copy, file)
        return _options(status, output, errors)


class _Unreadable(Exception):
    """What ``ssh`` has against its configuration; ``remedy`` is what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy


def _given(target: SshTarget) -> list[str]:
    """Return what cloud.yaml says of a host, as ``ssh`` is given it."""
    words = [] if target.port is None else ["-p", str(target.port)]
    words += [] if target.user is None else ["-l", target.user]
    if target.key is not None:
        words += ["-i", str(target.key).replace("%", "%%"), "-o", "IdentitiesOnly=yes"]
    words += [] if target.jumps is None else ["-J", target.jumps]
    return words


async def _printed(command: Sequence[str]) -> tuple[int, str, str]:
    log_call("program", " ".join(command[:2]))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # what `Match exec` starts ends with it
    )
    assert process.stdout is not None  # noqa: S101 - both are pipes
    assert process.stderr is not None  # noqa: S101
    try:
        async with asyncio.timeout(_BOUND):
            output, errors = await asyncio.gather(
                whole(process.stdout, _MOST_BYTES), tail(process.stderr)
            )
            status = await process.wait()
    except (TimeoutError, OutputTooLong):
        raise _Unreadable(
            f"reading the SSH configuration did not end within {_BOUND:g} s",
            "look at what `Match exec` in it runs, and at the name service: time ssh -G HOST",
        ) from None
    finally:
        await kill_session(process)
    return status, output.decode(errors="replace"), errors.decode(errors="replace")


def _options(status: int, output: str, errors: str) -> Mapping[str, Sequence[str]]:
    """Return what was printed by option. Raises _Unreadable with what ``ssh`` says instead."""
    if status != 0:
        said = [line.strip() for line in errors.splitlines() if line.strip()]
        about = [line for line in said if "terminating" not in line] or said
        problem = about[-1] if about else f"ssh -G ended with status {status}"
        unknown = re.search(r"Could not resolve host \"(.*?)\"", problem)
        if unknown is not None:
            raise _Unreadable(
                f"cannot be reached: the name `{unknown[1]}` is not known (CanonicalizeHostname)",
                "correct `address` in cloud.yaml, or CanonicalDomains in ~/.ssh/config",
            )
        _, circle, by = problem.partition("jumphost loop via ")
        if circle:
            raise _Unreadable(
                f"ProxyJump in ~/.ssh/config leads in a circle, by {by}",
                f"give it before the lines for all hosts: Host {by}, ProxyJump none",
            )
        raise _Unreadable(
            f"~/.ssh/config cannot be used: {problem}"
            if str(ssh_files.SYSTEM) not in problem
            else f"{ssh_files.SYSTEM} cannot be used: {problem}",
            "run as a user that the passwd file has"
            if "No user exists" in problem
            else "correct that; ssh itself says the same",
        )
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        option, _, value = line.partition(" ")
        found.setdefault(option, []).append(value)
    return found


def _without_program(target: SshTarget) -> Mapping[str, Sequence[str]]:
    """Return ssh's own defaults. Raises _Unreadable where there are settings to be read."""
    if any(
        line.option not in {"", "host", "include"} for line in ssh_files.lines(ssh_files.config())
    ):
        raise _Unreadable(
            "this machine has no program `ssh`, which reads ~/.ssh/config",
            "install it: apt-get install openssh-client",
        )
    usual = [f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ed25519")]
    return {
        "hostname": [target.address],
        "user": [target.user or os.environ.get("LOGNAME", "root")],
        "port": [str(target.port or _USUAL_PORT)],
        "identityfile": usual if target.key is None else [str(target.key).replace("%", "%%")],
        "identitiesonly": ["no" if target.key is None else "yes"],
        "userknownhostsfile": ["~/.ssh/known_hosts ~/.ssh/known_hosts2"],
        "globalknownhostsfile": ["/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"],
        "stricthostkeychecking": ["ask"],
        "proxyjump": [target.jumps or "none"],
    }


def _way(target: SshTarget, said: Mapping[str, Sequence[str]]) -> Way:
    try:
        return Way(
            original=target.address,
            host=said["hostname"][0],
            port=int(said["port"][0]),
            user=said["user"][0],
            said=said,
            jumps=_jumps(said.get("proxyjump", ["none"])[0]),
        )
    except (KeyError, ValueError) as error:
        raise _Unreadable(
            f"what ssh -G prints is not understood: {error}", "report this as a fault of Backstay"
        ) from error


def _jumps(words: str) -> list[Jump]:
    """Return the hosts of ``ProxyJump``. Raises ValueError for a port that is none."""
    if words.lower() == "none":
        return []
    jumps = []
    for word in words.split(","):
        user, _, place = word.strip().removeprefix("ssh://").rpartition("@")
        found = re.fullmatch(r"\[?(.+?)\]?(?::(\d{1,5}))?", place)
        if found is None:
            raise ValueError(f"ProxyJump {words}")
        jumps.append(
            Jump(host=found[1], port=int(found[2]) if found[2] else None, user=user or None)
        )
    return jumps


def line_of(option: str) -> str:
    """Return which line of the files sets an option to none, for an error's text."""
    for line in ssh_files.lines():
        words = {word.lower() for word in re.split(r"[\s\"]+", line.words)}
        if line.option == option.lower() and NOWHERE & words:
            return str(line)
    return f"~/.ssh/config: {option}"
