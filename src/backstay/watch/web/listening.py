"""The page's connections, from accept to the first byte of a request.

A connection costs a file and little more until it sends something, and a TLS handshake starts in
its turn. Nothing here writes a line of the log for a single connection.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable

from backstay.watch.web.connections import Rooms, Stage, network_of
from backstay.watch.web.rates import Summary
from backstay.watch.web.turns import Turns

SILENT_SECONDS = 5.0
"""How long a connection may send nothing at all."""
HANDSHAKE_SECONDS = 5
SHUTDOWN_SECONDS = 2
BACKLOG = 1024
"""Connections that the kernel holds until they are accepted (at most net.core.somaxconn)."""

_AT_ONCE = 64
_NO_FILES_PAUSE = 0.25
_TLS_HANDSHAKE = b"\x16"
_HANDSHAKE_COST = 0.002
"""Seconds that a handshake is taken to cost this process until some were measured."""
_LEARNING = 0.1
"""Weight of the last handshake in what they are taken to cost."""
_SEND_BUFFER = 128 * 1024

Make = Callable[["Peer"], asyncio.Protocol]
"""Makes the protocol of a connection that begins a request."""


class Listener:
    """Accepts connections for as long as it is open."""

    def __init__(
        self,
        listening: socket.socket,
        *,
        context: ssl.SSLContext | None,
        rooms: Rooms["Peer"],
        summary: Summary,
        make: Make,
    ) -> None:
        self.context, self.rooms, self.summary, self.make = context, rooms, summary, make
        self.loop = asyncio.get_running_loop()
        self.turns = Turns(self._rank)
        self.starting: set[asyncio.Task[None]] = set()
        self.handshake_cost = 0.0 if context is None else _HANDSHAKE_COST
        self._listening = listening
        self._peers: set[Peer] = set()
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self.loop.add_reader(listening, self._accept)

    def close(self) -> None:
        """Accept nothing more, and close what has sent no request yet."""
        self.loop.remove_reader(self._listening)
        if self._pause is not None:
            self._pause.cancel()
        self.turns.close()
        for peer in list(self._peers):
            if peer.stage is Stage.SILENT:
                peer.close("at the end")

    def abort(self) -> None:
        """Close all connections at once."""
        for peer in list(self._peers):
            peer.close("at the end")

    def forget(self, peer: "Peer") -> None:
        """Count a connection no longer."""
        self._peers.discard(peer)

    def learn(self, cost: float) -> None:
        """Note the seconds of work of a handshake: they depend on the key, by a factor of ten."""
        self.handshake_cost += _LEARNING * (min(cost, _HANDSHAKE_COST) - self.handshake_cost)

    def _rank(self, network: str) -> tuple[int, int]:
        return not self.rooms.is_favoured(network), self.rooms[Stage.UNKNOWN].held_by(network)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                sock, address = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    self.summary.count("not accepted: too many open files")
                    self._wait()
                return
            sock.setblocking(False)
            peer = Peer(self, sock, network_of(str(address[0])))
            self._peers.add(peer)
            peer.start()

    def _wait(self) -> None:
        """Accept nothing for a moment: the listening socket stays readable all the time."""
        self.loop.remove_reader(self._listening)
        self._pause = self.loop.call_later(
            _NO_FILES_PAUSE, self.loop.add_reader, self._listening, self._accept
        )


class Peer:
    """One connection: its place among the others, and how it is closed."""

    def __init__(self, listener: Listener, sock: socket.socket, network: str) -> None:
        self.network = network
        self.stage = Stage.SILENT
        self.connected = False
        """Whether the protocol was started, which with TLS is after the handshake."""
        self.endless = False
        """Whether its newest response is a live stream, which has no end of its own."""
        self.transport: asyncio.BaseTransport | None = None
        self._owner = network
        self._listener = listener
        self._sock: socket.socket | None = sock
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def turns(self) -> Turns:
        """Return what strangers wait in."""
        return self._listener.turns

    def learn(self, cost: float) -> None:
        """Note the seconds of work of its handshake."""
        self._listener.learn(cost)

    def start(self) -> None:
        """Wait for the first byte."""
        loop = self._listener.loop
        self._enter(Stage.SILENT, self.network)
        if self._sock is None:
            return
        loop.add_reader(self._sock, self._first_byte)
        self._timer = loop.call_later(SILENT_SECONDS, self.close, "sent nothing")

    def move(self, stage: Stage, owner: str) -> None:
        """Count it among those of a stage, as the owner's: a network's, or a person's."""
        if self._closed or (stage, owner) == (self.stage, self._owner):
            return
        self._listener.rooms[self.stage].leave(self, self._owner)
        self._enter(stage, owner)

    def touch(self) -> None:
        """Note that it is being served."""
        self._listener.rooms[self.stage].touch(self, self._owner)

    def close(self, why: str = "") -> None:
        """Close it at once; ``why`` is counted."""
        if self._closed:
            return
        if why:
            self._listener.summary.count(why)
        self.left()
        if self.transport is not None:
            abort = getattr(self.transport, "abort", self.transport.close)
            abort()

    def left(self) -> None:
        """Count it no longer: it is closed."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._listener.rooms[self.stage].leave(self, self._owner)
        self._listener.forget(self)
        if self._sock is not None:
            self._listener.loop.remove_reader(self._sock)
            self._sock.close()
            self._sock = None

    def _enter(self, stage: Stage, owner: str) -> None:
        self.stage, self._owner = stage, owner
        if stage is Stage.KNOWN:
            self._listener.rooms.favour(self.network)
        goes = self._listener.rooms[stage].enter(self, owner)
        if goes is not None:
            goes.close(f"too many {stage}")

    def _first_byte(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            first = sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        encrypted = self._listener.context is not None
        if not first or (encrypted and first != _TLS_HANDSHAKE):
            self.close("no TLS" if first else "")
            return
        self._listener.loop.remove_reader(sock)
        self.move(Stage.UNKNOWN, self.network)
        self.turns.take(self.network, self._begin, self._listener.handshake_cost)

    def _begin(self) -> None:
        """Hand the connection to its protocol."""
        sock = self._sock
        if self._closed or sock is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._sock = None  # from here on it is the transport's
        task = self._listener.loop.create_task(self._connect(sock))
        self._listener.starting.add(task)
        task.add_done_callback(self._listener.starting.discard)

    async def _connect(self, sock: socket.socket) -> None:
        loop, context = self._listener.loop, self._listener.context
        with contextlib.suppress(OSError):
            # Bounds what the kernel holds for a reader who does not take it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        try:
            protocol: asyncio.BaseProtocol = self._listener.make(self)
            if context is not None:
                protocol = _Encrypted(self, protocol, context)
            self.transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock)
        except OSError:
            sock.close()
            self.left()
            return
        if self._closed:  # meanwhile
            self.transport.abort()


class _Encrypted(SSLProtocol):
    """TLS with small buffers: asyncio's own take 256 KiB for each connection, used or not.

    Where asyncio sets this size otherwise one day, connections take more memory, no more.
    """

    max_size = 16 * 1024

    def __init__(self, peer: Peer, inner: asyncio.BaseProtocol, context: ssl.SSLContext) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            inner,
            context,
            None,  # type: ignore[arg-type]  # nobody waits for the handshake
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )
        self._peer = peer
        self._cost = 0.0

    def buffer_updated(self, nbytes: int) -> None:
        """Read what has arrived; the processor time until the handshake is complete is measured."""
        if self._peer.connected:
            super().buffer_updated(nbytes)
            return
        began = time.thread_time()
        super().buffer_updated(nbytes)
        self._cost += time.thread_time() - began
        if self._peer.connected:
            self._peer.learn(self._cost)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let go of it also where the handshake failed: the inner protocol is not called then."""
        super().connection_lost(exc)
        self._peer.left()
