"""The keys that ``ssh`` would log in with, in its order: those of the agent first.

A key that cannot be used is passed over as ``ssh`` does; why is kept for when none is accepted.
"""

import asyncio
import base64
import binascii
import contextlib
import os
import stat
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh

from backstay.commands import command
from backstay.errors import LoginRefused
from backstay.transports import ssh_files
from backstay.transports.ssh_config import Way
from backstay.transports.targets import SshTarget

_MAGIC = b"openssh-key-v1\0"
_MOST_BYTES = 1 << 20
_AGENT_BOUND = 5.0
"""Seconds for an agent to list its keys."""
_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A key that could not be used: why, and the command that makes it usable, if any does."""

    shown: str
    why: str
    remedy: str = ""


@dataclass
class Login:
    """What is offered to a host, and how it is called."""

    keys: list[asyncssh.SSHKeyPair] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)


@dataclass
class _File:
    """A key in a file: ``blob`` is its public part, ``key`` what signs, None where it cannot."""

    path: Path
    blob: bytes | None
    key: asyncssh.SSHKeyPair | None
    problem: PassedOver | None = None


class Logins:
    """The keys of this user, each file read once as long as it does not change."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[tuple[int, ...], _File, asyncssh.SSHKey | None]] = {}

    @contextlib.asynccontextmanager
    async def of(self, target: SshTarget, way: Way) -> AsyncIterator[Login]:
        """Give what to log in to a host with; the agent is there until the end.

        Raises LoginRefused where the file that cloud.yaml names cannot be read.
        """
        if target.key is not None:
            _must_be_there(target, target.key)
        async with contextlib.AsyncExitStack() as stack:
            agent = await _agent_keys(way, stack)
            yield self._ordered(way, agent)

    def _ordered(self, way: Way, agent: Sequence[asyncssh.SSHKeyPair]) -> Login:
        login = Login()
        files: list[_File] = []
        private: dict[bytes, asyncssh.SSHKey | asyncssh.SSHKeyPair] = {
            key.public_data: key for key in agent
        }
        for path in _identity_files(way):
            file, key = self._file(path)
            files.append(file)
            if key is not None:
                private[key.public_data] = key
            if os.path.isfile(beside := f"{path}-cert.pub"):  # noqa: PTH113 - odd names
                files.append(_certified(Path(beside), private))
        named = [Path(way.expanded(one)) for one in way.said.get("certificatefile", ())]
        first = [_certified(path, private) for path in named if path.name != "none"]
        if way.is_on("identitiesonly"):
            agent = [key for key in agent if key.public_data in {one.blob for one in files}]
        listed = {one.blob for one in files}
        preferred = [key for key in agent if key.public_data in listed]
        for one in first:
            _offer(login, one)
        login.keys += [*preferred, *(one for one in agent if one.public_data not in listed)]
        if agent:
            login.shown.append(f"{len(agent)} of the agent's" if len(agent) > 1 else "the agent's")
        held = {key.public_data for key in agent}
        for one in files:
            if one.blob is None or one.blob not in held:
                _offer(login, one)
        return login

    def _file(self, path: Path) -> tuple[_File, asyncssh.SSHKey | None]:
        try:
            found = os.stat(path)  # noqa: PTH116 - pathlib has other errors for odd names
            state = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode, found.st_uid)
        except (OSError, ValueError):
            return _missing(path), None
        if path not in self._read or self._read[path][0] != state:
            self._read[path] = (state, *_loaded(path, found))
        return self._read[path][1:]


def _must_be_there(target: SshTarget, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        refused = LoginRefused(
            f"reading the SSH key for {target.name}",
            came_back=f"{path}: {error.strerror or error}",
            remedy="correct `key` under `ssh` in cloud.yaml, or run as a user that may read it",
        )
        refused.elsewhere = True
        raise refused from error


def _identity_files(way: Way) -> list[Path]:
    named = dict.fromkeys(way.said.get("identityfile", ()))
    return [Path(way.expanded(one)) for one in named if one.lower() != "none"]


async def _agent_keys(way: Way, stack: contextlib.AsyncExitStack) -> Sequence[asyncssh.SSHKeyPair]:
    """Return the keys of the agent that ``ssh`` would ask, none where there is none."""
    named = way.option("identityagent", "SSH_AUTH_SOCK")
    if named == "SSH_AUTH_SOCK" or named.startswith("$"):
        path = os.environ.get(named.strip("${}"), "")
    else:
        path = "" if named.lower() == "none" else way.expanded(named)
    if not path:
        return []
    try:
        async with asyncio.timeout(_AGENT_BOUND):
            agent = await stack.enter_async_context(asyncssh.connect_agent(path))
            return await agent.get_keys()
    except (OSError, ValueError, asyncssh.Error):
        return []


def _offer(login: Login, file: _File) -> None:
    if file.key is not None:
        login.keys.append(file.key)
        login.shown.append(str(file.path))
    elif file.problem is not None:
        login.passed_over.append(file.problem)


def _missing(path: Path) -> _File:
    """Return a key whose private part is not here: the agent may hold it."""
    usual = path.parent == ssh_files.home() / ".ssh" and path.name.startswith("id_")
    problem = None if usual else PassedOver(str(path), "there is no such file")
    return _File(path, _public(path), None, problem)


def _loaded(path: Path, found: os.stat_result) -> tuple[_File, asyncssh.SSHKey | None]:
    blob = _public(path)

    def unusable(why: str, *remedy: str) -> tuple[_File, None]:
        problem = PassedOver(str(path), why, command(*remedy) if remedy else "")
        return _File(path, blob, None, problem), None

    if found.st_uid == os.getuid() and found.st_mode & _OPEN_TO_OTHERS and not _is_public(path):
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        why = f"others may read it (mode {mode}): ssh does not use it either"
        return unusable(why, "chmod", "600", str(path))
    try:
        key = asyncssh.read_private_key(path)
        pair = asyncssh.load_keypairs([key])[0]
    except (OSError, asyncssh.KeyImportError, ValueError, TypeError) as error:
        if "assphrase" in str(error):
            return unusable("it has a passphrase, and no agent holds it", "ssh-add", str(path))
        if _is_public(path):
            return unusable("it is a public key, and no agent holds the private one")
        return unusable(getattr(error, "strerror", None) or str(error))
    return _File(path, key.public_data, pair), key


def _certified(path: Path, private: dict[bytes, asyncssh.SSHKey | asyncssh.SSHKeyPair]) -> _File:
    """Return a certificate with the key that it is for."""
    try:
        cert = asyncssh.read_certificate(path)
    except OSError as error:
        return _File(path, None, None, PassedOver(str(path), error.strerror or str(error)))
    except (asyncssh.KeyImportError, ValueError) as error:
        return _File(path, None, None, PassedOver(str(path), str(error)))
    key = private.get(cert.key.public_data)
    if key is None:
        return _File(path, None, None, PassedOver(str(path), "there is no key for it"))
    if isinstance(key, asyncssh.SSHKey):
        pair = next(one for one in asyncssh.load_keypairs([(key, cert)]) if one.has_cert)
    else:
        pair = type(key)(key._agent, key.algorithm, key.public_data, b"")  # type: ignore[attr-defined,call-arg,arg-type]
        pair.set_certificate(cert)
    return _File(path, cert.public_data, pair)


def _public(path: Path) -> bytes | None:
    """Return the public part of a key: from the private file, else from the one beside it."""
    for file in (path, Path(f"{path}.pub")):
        try:
            with file.open("rb") as content:
                data = content.read(_MOST_BYTES)
        except (OSError, ValueError):
            continue
        if (blob := _embedded(data)) is not None:
            return blob
        with contextlib.suppress(asyncssh.KeyImportError, ValueError):
            return asyncssh.import_public_key(data).public_data
    return None


def _embedded(data: bytes) -> bytes | None:
    """Return the public part within an OpenSSH private key, which is never encrypted."""
    lines = data.split(b"\n")
    body = b"".join(line.strip() for line in lines if line and not line.startswith(b"-----"))
    try:
        raw = base64.b64decode(body)
    except (binascii.Error, ValueError):
        return None
    if not raw.startswith(_MAGIC):
        return None
    at = len(_MAGIC)
    for _ in range(3):  # cipher, derivation of the key, its options
        at += 4 + int.from_bytes(raw[at : at + 4], "big")
    at += 4  # how many keys
    size = int.from_bytes(raw[at : at + 4], "big")
    return raw[at + 4 : at + 4 + size]


def _is_public(path: Path) -> bool:
    try:
        with path.open("rb") as content:
            return b"PRIVATE KEY" not in content.read(_MOST_BYTES)
    except OSError:
        return False
