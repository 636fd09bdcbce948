"""A real etcd on loopback, in a folder of its own: paused, killed, its locks taken away."""

import base64
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.installed import need

BOUND = 30.0
PREFIX = b"/tooz/locks"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


class EtcdServer:
    """One etcd. ``url`` is that of locks in it."""

    def __init__(self, program: str, folder: Path) -> None:
        self._web, peers = _free_url(), _free_url()
        self._command = [program, "--data-dir", str(folder), "--log-level", "error"]
        self._command += ["--listen-client-urls", self._web, "--advertise-client-urls", self._web]
        self._command += ["--listen-peer-urls", peers]
        self.url = f"etcd3+{self._web}"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._command)
        end = time.monotonic() + BOUND
        while not self._answers():
            assert self._process.poll() is None, "etcd ended"
            assert time.monotonic() < end, "etcd does not answer"
            time.sleep(0.05)

    def pause(self) -> None:
        """Let it be silent: its connections stay open."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def steal(self) -> None:
        """Give all locks to another."""
        for lock in self._locks():
            self._post("kv/deleterange", {"key": lock["key"]})
            self._post("kv/put", {"key": lock["key"], "value": encoded(b"other")})

    def remove(self) -> None:
        """Remove the keys of all locks."""
        for lock in self._locks():
            self._post("kv/deleterange", {"key": lock["key"]})

    def revoke(self) -> None:
        """Revoke the leases of all locks."""
        for lock in self._locks():
            self._post("lease/revoke", {"ID": lock["lease"]})

    def await_renewal(self) -> None:
        """Return as soon as the first lock was renewed."""
        lease = {"ID": self._locks()[0]["lease"]}
        before = left = float("inf")
        while left <= before:
            time.sleep(0.05)
            before, left = left, int(self._post("lease/timetolive", lease).get("TTL", 0))

    def _locks(self) -> list[dict[str, Any]]:
        every = {"key": encoded(PREFIX), "range_end": encoded(PREFIX[:-1] + b"t")}
        found: list[dict[str, Any]] = self._post("kv/range", every).get("kvs", [])
        assert found, "no locks in etcd"
        return found

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self._web}/v3/{path}", data=data)
        with urllib.request.urlopen(request, timeout=BOUND) as answer:
            return json.loads(answer.read())  # type: ignore[no-any-return]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._web}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextlib.contextmanager
def etcd_server(folder: Path) -> Iterator[EtcdServer]:
    """Give a new etcd with its data in a folder; without the program the test is left out."""
    program = shutil.which("etcd")
    need([] if program else ["etcd"], "apt-get install etcd-server")
    server = EtcdServer(str(program), folder)
    try:
        yield server
    finally:
        server.kill()


def _free_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return f"http://127.0.0.1:{one.getsockname()[1]}"
