"""etcd's JSON gateway as far as locks need it, on loopback: leases that run out, keys, one txn.

It can fall silent, as an etcd does that is cut off. ``Client`` stands in for etcd3gw where that is
not installed: the driver of tooz is real.
https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/
"""

import base64
import json
import threading
import time
import types
import urllib.request
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Gateway:
    """The state of one etcd; ``silent`` makes it answer nothing."""

    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    leases: dict[str, tuple[float, float]] = field(default_factory=dict)
    silent: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

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
        if body["ID"] not in self.leases:
            return {"result": {"ID": body["ID"]}}
        ttl = self.leases[body["ID"]][1]
        self.leases[body["ID"]] = (time.monotonic() + ttl, ttl)
        return {"result": {"ID": body["ID"], "TTL": str(int(ttl))}}

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
                self.keys[put["key"]] = (put["value"], put["lease"])
            if "request_delete_range" in request:
                self.keys.pop(request["request_delete_range"]["key"], None)
        return {"succeeded": True} if fits else {}


def served(gateway: Gateway) -> tuple[ThreadingHTTPServer, int]:
    """Serve it on loopback; return the server and its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            while gateway.silent:
                time.sleep(0.05)
            answer = json.dumps(gateway.answer(self.path, body)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, server.server_address[1]


class Client:
    """As ``etcd3gw.client``, as far as the driver of tooz uses it for locks."""

    def __init__(self, host: str, port: int, timeout: float = 30, **_others: Any) -> None:
        self.url = f"http://{host}:{port}/v3"
        self.timeout = timeout

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}/{path}", data=json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=self.timeout) as response:
            return json.loads(response.read())  # type: ignore[no-any-return]

    def lease(self, ttl: float) -> "Lease":
        return Lease(self, str(self.post("lease/grant", {"TTL": ttl})["ID"]))

    def transaction(self, txn: dict[str, Any]) -> dict[str, Any]:
        return self.post("kv/txn", txn)

    def get(self, key: str) -> list[bytes]:
        found = self.post("kv/range", {"key": base64.b64encode(key.encode()).decode()})
        return [base64.b64decode(one["value"]) for one in found.get("kvs", [])]


@dataclass
class Lease:
    client: Client
    id: str

    def refresh(self) -> int:
        answer = self.client.post("lease/keepalive", {"ID": self.id})["result"]
        return int(answer["TTL"]) if "TTL" in answer else -1


def modules() -> dict[str, types.ModuleType]:
    """Return what takes the place of etcd3gw among the modules."""
    package: Any = types.ModuleType("etcd3gw")
    exceptions: Any = types.ModuleType("etcd3gw.exceptions")
    lease: Any = types.ModuleType("etcd3gw.lease")
    for name in ("Etcd3Exception", "ConnectionFailedError", "ConnectionTimeoutError"):
        setattr(exceptions, name, type(name, (Exception,), {}))
    lease.Lease = Lease
    package.client, package.exceptions, package.lease = Client, exceptions, lease
    return {"etcd3gw": package, "etcd3gw.exceptions": exceptions, "etcd3gw.lease": lease}
