"""Connections to hosts over SSH, kept open: opened once, through jump hosts, with checked keys.

This module imports asyncssh, which takes its time: import it where connections are made.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh

from backstay.errors import HostError, LoginRefused
from backstay.transports import ssh_config, ssh_errors
from backstay.transports.known_hosts import KnownHosts, refused
from backstay.transports.ssh_config import Jump, Way
from backstay.transports.targets import SshTarget

KEEPALIVE = 15
"""Seconds between questions whether the host is still there; the fourth unanswered is the last."""
UNANSWERED = 3
# Hosts that are being connected to at one moment: key exchanges are this machine's CPU time, and
# with a thousand at once the first would reach their bound before their turn comes.
CONNECTING_AT_ONCE = 64
MOST_JUMPS = 8


class _Witness(asyncssh.SSHClient):
    """Remembers how far a connection came, and the host key that was refused."""

    def __init__(self) -> None:
        self.presented: asyncssh.SSHKey | None = None
        self.connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Keep the connection: the TCP handshake is done."""
        self.connection = conn

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Keep the key and say no: asyncssh asks only about keys that are not known."""
        self.presented = key
        return False

    @property
    def banner_seen(self) -> bool:
        """Return whether the server has sent its version."""
        return bool(self.connection and self.connection.get_extra_info("server_version"))


class Connections:
    """Open connections by target. ``bound`` is for connecting and logging in, in seconds."""

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self._known = KnownHosts()
        self._keys: dict[Path, asyncssh.SSHKey] = {}
        self._open: dict[SshTarget, asyncssh.SSHClientConnection] = {}
        self._opening: dict[SshTarget, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._connecting = asyncio.Semaphore(CONNECTING_AT_ONCE)

    def __contains__(self, target: SshTarget) -> bool:
        """Return whether there is one, which may turn out to be closed."""
        return target in self._open

    async def to(self, target: SshTarget) -> tuple[asyncssh.SSHClientConnection, float]:
        """Return the connection and the seconds that it took to make it, waiting excluded.

        Raises HostUnreachable, HostKeyRefused or LoginRefused.
        """
        return await self._to(target, (), None)

    def drop(self, target: SshTarget) -> None:
        """Close a connection without waiting for a host that may be gone."""
        connection = self._open.pop(target, None)
        if connection is not None:
            connection.abort()

    def drop_closed(self, target: SshTarget) -> None:
        """Forget a connection that is closed already."""
        if target in self._open and self._open[target].is_closed():
            self.drop(target)

    def close(self) -> None:
        """Close all connections."""
        for target in list(self._open):
            self.drop(target)

    async def _to(
        self,
        target: SshTarget,
        beyond: tuple[SshTarget, ...],
        through: asyncssh.SSHClientConnection | None,
    ) -> tuple[asyncssh.SSHClientConnection, float]:
        """Return the connection to a target, by ``through`` or as ``~/.ssh/config`` has it.

        ``beyond`` are those that are reached through it, the farthest first.
        """
        seconds = 0.0
        async with self._opening[target]:
            if target not in self._open:
                way = ssh_config.read(target)
                if through is None:
                    through = await self._through(way.jumps, target, beyond)
                async with self._connecting:
                    started = time.monotonic()
                    self._open[target] = await self._connect(target, way, through)
                    seconds = time.monotonic() - started
            return self._open[target], seconds

    async def _through(
        self, jumps: Sequence[Jump], target: SshTarget, beyond: tuple[SshTarget, ...]
    ) -> asyncssh.SSHClientConnection | None:
        """Return the connection to the last of the jump hosts before a target, None without any.

        They are connected to as hosts are: with their keys checked, and given nothing.
        """
        connection = None
        path = (*beyond, target)
        for at, jump in enumerate(jumps):
            hop = _hop(jump, jumps[:at], target)
            if len(path) > MOST_JUMPS or (hop.address, hop.port) in {
                (one.address, one.port) for one in path
            }:
                raise ssh_errors.circle(target, jump.host)
            self.drop_closed(hop)
            try:
                connection, _ = await self._to(hop, path, connection)
            except HostError as error:
                raise ssh_errors.at_jump_host(target, jump.host, error) from error
        return connection

    async def _connect(
        self, target: SshTarget, way: Way, through: asyncssh.SSHClientConnection | None
    ) -> asyncssh.SSHClientConnection:
        witness = _Witness()
        options: dict[str, Any] = {
            **way.options,
            # Half the CPU time of asyncssh's first choice, where much is sent; what hosts lack of
            # it they do not agree to.
            "encryption_algs": "^aes128-gcm@openssh.com",
            "known_hosts": self._known.keys_for(target, way),
        }
        if through is not None:
            options["tunnel"] = through
        if target.key is not None:
            options |= {"agent_path": None, "client_keys": [self._key(target, target.key)]}
        try:
            async with asyncio.timeout(self.bound):
                return await asyncssh.connect(
                    client_factory=lambda: witness,
                    login_timeout=0,
                    keepalive_interval=KEEPALIVE,
                    keepalive_count_max=UNANSWERED,
                    **options,
                )
        except TimeoutError:
            raise ssh_errors.silent(
                target,
                self.bound,
                port_open=witness.connection is not None,
                banner_seen=witness.banner_seen,
            ) from None
        except asyncssh.HostKeyNotVerifiable as error:
            raise self._key_refused(target, way, witness) from error
        except asyncssh.KeyExchangeFailed as error:
            # The host has none of the kinds of key that are known for it.
            if "host key" in error.reason.lower():
                raise self._key_refused(target, way, witness) from error
            raise ssh_errors.no_common_algorithm(target, error.reason) from error
        except asyncssh.PermissionDenied as error:
            raise ssh_errors.login_refused(target, error.reason) from error
        except asyncssh.ChannelOpenError as error:
            jump = way.jumps[-1].host if way.jumps else "before it"
            prohibited = error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED
            raise ssh_errors.not_let_through(
                target, jump, error.reason, prohibited=prohibited
            ) from error
        except (asyncssh.Error, OSError, ValueError) as error:
            raise ssh_errors.no_connection(target, error) from error

    def _key_refused(self, target: SshTarget, way: Way, witness: _Witness) -> HostError:
        expected, files = self._known.expected(target, way), self._known.files_of(target, way)
        return refused(target, witness.presented, expected, files[0])

    def _key(self, target: SshTarget, path: Path) -> asyncssh.SSHKey:
        if path not in self._keys:
            try:
                self._keys[path] = asyncssh.read_private_key(path)
            except OSError as error:
                raise _key_unusable(
                    target,
                    path,
                    error.strerror or str(error),
                    "correct `key` under `ssh` in cloud.yaml, or run as a user that may read it",
                ) from error
            except asyncssh.KeyImportError as error:
                raise _key_unusable(
                    target,
                    path,
                    str(error),
                    f"a key with a passphrase is used through the agent: ssh-add {path}, and "
                    "leave `key` out of cloud.yaml",
                ) from error
        return self._keys[path]


def _hop(jump: Jump, after: Sequence[Jump], target: SshTarget) -> SshTarget:
    """Return a jump host as a target; another one where others are before it.

    Where cloud.yaml names it, its key and its file of known host keys are for it too.
    """
    name = " via ".join(one.host for one in (jump, *reversed(after)))
    hop = SshTarget(name=name, address=jump.host, port=jump.port, user=jump.user)
    if target.jumps is None:
        return hop
    return replace(hop, key=target.key, known_hosts=target.known_hosts)


def _key_unusable(target: SshTarget, path: Path, came_back: str, remedy: str) -> LoginRefused:
    attempted = f"reading the SSH key {path} for {target.name}"
    return LoginRefused(attempted, came_back=came_back, remedy=remedy)
