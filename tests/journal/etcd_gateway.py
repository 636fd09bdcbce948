"""etcd's JSON gateway as far as locks need it, on loopback: leases that run out, keys, one txn.

It can fall silent, as an etcd does that is cut off. The driver of tooz and its client are real.
``etcd_server`` is a real etcd with the same methods.
https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/
"""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Gateway:
    """The state of one etcd; ``silent`` makes it answer nothing, ``url`` is that of locks in it."""

    url: str = ""
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    leases: dict[str, tuple[float, float]] = field(default_factory=dict)
    silent: bool = False
    renewals: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def steal(self) -> None:
        """Give all locks to another."""
        with self.lock:
            self.keys = {key: ("b3RoZXI=", lease) for key, (_, lease) in self.keys.items()}

    def remove(self) -> None:
        """Remove the keys of all locks."""
        with self.lock:
            self.keys = {}

    def revoke(self) -> None:
        """Revoke all leases, and with them the locks."""
        with self.lock:
            self.leases, self.keys = {}, {}

    def pause(self) -> None:
        """Let it be silent: its connections stay open."""
        self.silent = True

    def resume(self) -> None:
        self.silent = False

    def await_renewal(self) -> None:
        """Return as soon as a lease was renewed."""
        before = self.renewals
        while self.renewals == before:
            time.sleep(0.005)

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            self._expire()
            return getattr(self, "_" + path.removeprefix("/v3/").replace("/", "_"))(body)  # type: ignore[no-any-return]

    def _expire(self) -> None:
        gone = {lease for lease, (until, _) in self.leases.items() if until < time.monotonic()}
        for lease in gone:
            del self.leases[lease]
        self.keys = {k: v for k, v in self.keys.items() if v[1] not in gone}

    def _lease_grant(self, body: dict[str, Any]) -> dict[str, Any]:
        name, ttl = str(len(self.leases) + time.monotonic_ns()), float(body["TTL"])
        self.leases[name] = (time.monotonic() + ttl, ttl)
        return {"ID": name, "TTL": str(ttl)}

    def _lease_keepalive(self, body: dict[str, Any]) -> dict[str, Any]:
        name = str(body["ID"])
        if name not in self.leases:
            return {"result": {"ID": name}}
        self.renewals += 1
        ttl = self.leases[name][1]
        self.leases[name] = (time.monotonic() + ttl, ttl)
        return {"result": {"ID": name, "TTL": str(int(ttl))}}

    def _kv_range(self, body: dict[str, Any]) -> dict[str, Any]:
        found = self.keys.get(body["key"])
        return {"kvs": [{"key": body["key"], "value": found[0]}]} if found else {}

    def _kv_deleterange(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"deleted": "1"} if self.keys.pop(body["key"], None) else {}

    def _kv_txn(self, body: dict[str, Any]) -> dict[str, Any]:
        (compared,) = body["compare"]
        known = self.keys.get(compared["key"])
        if compared["target"] == "CREATE":
            fits = known is None
        else:
            fits = known is not None and known[0] == compared["value"]
        for request in body["success"] if fits else ():
            if "request_put" in request:
                put = request["request_put"]
                self.keys[put["key"]] = (put["value"], str(put["lease"]))
            if "request_delete_range" in request:
                self.keys.pop(request["request_delete_range"]["key"], None)
        return {"succeeded": True} if fits else {}


@contextlib.contextmanager
def etcd_gateway() -> Iterator[Gateway]:
    """Serve one on loopback."""
    gateway = Gateway()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            assert self.path == "/version"
            self._answer({"etcdserver": "3.5.0", "etcdcluster": "3.5.0"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            while gateway.silent:
                time.sleep(0.05)
            self._answer(gateway.answer(self.path, body))

        def _answer(self, document: dict[str, Any]) -> None:
            answer = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            with contextlib.suppress(OSError):  # who asked is gone
                self.wfile.write(answer)

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    gateway.url = f"etcd3+http://127.0.0.1:{server.server_address[1]}"
    try:
        yield gateway
    finally:
        gateway.silent = False
        server.shutdown()
        server.server_close()
