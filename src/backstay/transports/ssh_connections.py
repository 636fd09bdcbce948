"""Connections to hosts over SSH, kept open: opened once, through jump hosts, with checked keys.

This module imports asyncssh, which takes its time: import it where connections are made.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import asyncssh

from backstay.errors import HostError
from backstay.transports import host_key_errors, ssh_errors
from backstay.transports.host_keys import HostKeys, KnownHost
from backstay.transports.ssh_config import Jump, SshConfig, Way
from backstay.transports.ssh_logins import Login, Logins
from backstay.transports.ssh_meter import measure
from backstay.transports.ssh_options import host_key_algorithms, options
from backstay.transports.ssh_proxy import Proxy
from backstay.transports.targets import JumpOf, SshTarget

KEEPALIVE = 15
"""Seconds between questions whether the host is still there; the fourth unanswered is the last."""
UNANSWERED = 3
# Hosts that are being connected to at one moment: key exchanges are this machine's CPU time, and
# with a thousand at once the first would reach their bound before their turn comes.
CONNECTING_AT_ONCE = 64
MOST_JUMPS = 8
_ENDING = 1.0
"""Seconds for which the programs of ``ProxyCommand`` are waited for at the end."""


class _Witness(asyncssh.SSHClient):
    """Remembers how far a connection came, and judges the host's key."""

    def __init__(
        self, known: KnownHost, through: asyncssh.SSHClientConnection | None = None
    ) -> None:
        self._known, self._through = known, through
        self.connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Keep the connection: the TCP handshake is done."""
        self.connection = conn
        measure(conn, self._through)

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Compare the key: asyncssh knows none, and asks about each."""
        return self._known.accepts(key, addr)

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Compare the authority that has signed a certificate."""
        return self._known.accepts_authority(key)

    @property
    def banner_seen(self) -> bool:
        """Return whether the server has sent its version."""
        return bool(self.connection and self.connection.get_extra_info("server_version"))


class Connections:
    """Open connections by target. ``bound`` is for connecting and logging in, in seconds."""

    def __init__(self, bound: float) -> None:
        self.bound = bound
        self._config = SshConfig()
        self._host_keys = HostKeys()
        self._logins = Logins()
        self._open: dict[SshTarget, asyncssh.SSHClientConnection] = {}
        self._opening: dict[SshTarget, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._by_program: list[asyncssh.SSHClientConnection] = []
        self._connecting = asyncio.Semaphore(CONNECTING_AT_ONCE)

    def __contains__(self, target: SshTarget) -> bool:
        """Return whether there is one, which may turn out to be closed."""
        return target in self._open

    async def to(self, target: SshTarget) -> tuple[asyncssh.SSHClientConnection, float]:
        """Return the connection and the seconds that it took to make it, waiting excluded.

        Raises HostUnreachable, HostKeyRefused or LoginRefused, whatever goes wrong.
        """
        try:
            return await self._to(target, (), None)
        except HostError:
            raise
        except Exception as error:
            # One host's error is never all that is known of all hosts.
            raise ssh_errors.unexpected(target, error) from error

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
        self._config.close()
        for target in list(self._open):
            self.drop(target)

    async def ended(self) -> None:
        """Wait for the programs of ``ProxyCommand``, which end with their connections."""
        with contextlib.suppress(TimeoutError, asyncssh.Error, OSError):
            async with asyncio.timeout(_ENDING):
                await asyncio.gather(*(one.wait_closed() for one in self._by_program))

    async def _to(
        self,
        target: SshTarget,
        beyond: tuple[SshTarget, ...],
        through: asyncssh.SSHClientConnection | None,
    ) -> tuple[asyncssh.SSHClientConnection, float]:
        """Return the connection to a target, by ``through`` or as ``ssh`` has it.

        ``beyond`` are those that are reached through it, the farthest first.
        """
        seconds = 0.0
        async with self._opening[target]:
            if target not in self._open:
                way = await self._config.way(target)
                if through is None:
                    through = await self._through(way.jumps, target, beyond)
                async with self._connecting:
                    started = time.monotonic()
                    attempt = _Attempt(target, way, through, self.bound)
                    known = self._host_keys.of(target, way, direct=attempt.is_direct)
                    async with self._logins.of(target, way) as login:
                        self._open[target] = await attempt.made(known, login)
                    if through is None and way.proxy_command is not None:
                        alive = [one for one in self._by_program if not one.is_closed()]
                        self._by_program = [*alive, self._open[target]]
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


@dataclass
class _Attempt:
    """One way to one host, tried as often as its kinds of keys need it."""

    target: SshTarget
    way: Way
    through: asyncssh.SSHClientConnection | None
    bound: float

    @property
    def is_direct(self) -> bool:
        """Return whether this machine itself connects to the host."""
        return self.through is None and self.way.proxy_command is None

    async def made(self, known: KnownHost, login: Login) -> asyncssh.SSHClientConnection:
        """Connect and log in. Raises HostError.

        Where the files do not know what is presented the other kinds of key are asked for, as
        ``ssh`` does: a certificate's own key, and those that are known by hashed names only.
        """
        allowed = host_key_algorithms(self.target, self.way)
        asked: list[list[str]] = []
        problem = ""
        for hashed, certified in ((False, True), (True, True), (True, False)):
            order = known.order(allowed, hashed=hashed, certified=certified)
            if order in asked:
                continue
            asked.append(order)
            try:
                return await self._connect(known, login, order)
            except _KeyRefused as refused:
                problem = str(refused)
            if known.is_revoked:
                break
        raise known.refusal or host_key_errors.unsigned(self.target, problem)

    async def _connect(
        self, known: KnownHost, login: Login, order: Sequence[str]
    ) -> asyncssh.SSHClientConnection:
        witness = _Witness(known, self.through)
        wanted: dict[str, Any] = {
            **options(self.target, self.way),
            "server_host_key_algs": order,
            "known_hosts": ([], [], known.revoked() if known.authorities else []),
            "client_keys": login.keys or None,
            "agent_path": None,
        }
        bound = _shorter(self.bound, self.way.option("connecttimeout", "none"))
        with Proxy(None if self.through is not None else self.way.proxy_command) as proxy:
            if self.through is not None:
                wanted["tunnel"] = self.through
            elif proxy.command is not None:
                wanted["proxy_command"] = proxy.command
            try:
                async with asyncio.timeout(bound):
                    return await asyncssh.connect(
                        client_factory=lambda: witness,
                        login_timeout=0,
                        keepalive_interval=KEEPALIVE,
                        keepalive_count_max=UNANSWERED,
                        **wanted,
                    )
            except TimeoutError:
                raise ssh_errors.silent(
                    self.target,
                    self.way,
                    bound,
                    port_open=witness.connection is not None,
                    banner_seen=witness.banner_seen,
                ) from None
            except asyncssh.HostKeyNotVerifiable as error:
                if "revoked" in error.reason and known.refusal is None:
                    raise host_key_errors.revoked(
                        self.target, None, "a line with @revoked of the known hosts files"
                    ) from error
                raise _KeyRefused(error.reason) from error
            except asyncssh.KeyExchangeFailed as error:
                raise ssh_errors.no_common_algorithm(self.target, error.reason) from error
            except asyncssh.PermissionDenied as error:
                raise ssh_errors.login_refused(
                    self.target, self.way, login, error.reason
                ) from error
            except (asyncssh.Error, OSError, ValueError) as error:
                if ssh_errors.is_too_many_keys(error):
                    raise ssh_errors.login_refused(
                        self.target, self.way, login, str(error)
                    ) from error
                if proxy.command is not None and not witness.banner_seen:
                    raise ssh_errors.proxy_failed(self.target, self.way, proxy.said()) from error
                if witness.banner_seen and known.presented is None:
                    raise ssh_errors.no_common_algorithm(
                        self.target, f"in the key exchange: {error or type(error).__name__}"
                    ) from error
                raise ssh_errors.no_connection(self.target, self.way, error) from error


class _KeyRefused(Exception):
    """The key or the certificate that was presented is not known."""


def _shorter(bound: float, named: str) -> float:
    """Return the bound, or ``ConnectTimeout`` where that is shorter."""
    return min(bound, int(named)) if named.isdigit() and int(named) else bound


def _hop(jump: Jump, after: Sequence[Jump], target: SshTarget) -> SshTarget:
    """Return a jump host as a target, through those before it.

    Where cloud.yaml names it, its key and its file of known host keys are for it too.
    """
    through = ",".join(_written(one) for one in after)
    hop = SshTarget(
        name=jump.host,
        address=jump.host,
        port=jump.port,
        user=jump.user,
        jumps=through or None,
        jump_of=JumpOf.SSH_CONFIG if target.jumps is None else JumpOf.CLOUD_FILE,
    )
    if target.jumps is None:
        return hop
    return replace(hop, key=target.key, known_hosts=target.known_hosts)


def _written(jump: Jump) -> str:
    host = f"[{jump.host}]" if ":" in jump.host else jump.host
    user = f"{jump.user}@" if jump.user else ""
    return f"{user}{host}{f':{jump.port}' if jump.port else ''}"
