"""What the stories of `backstay watch` share: the watch itself, and who is told by it."""

import email
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller

from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.reboots import cloud_with

START_BOUND = 60.0


@dataclass
class Told:
    """Everything that was received, with the time of its arrival (Unix seconds)."""

    mails: list[tuple[float, EmailMessage]] = field(default_factory=list)
    posts: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def opened(self, since: float = 0.0) -> list[tuple[float, dict[str, Any]]]:
        """The posts that tell of a new incident."""
        return [(at, post) for at, post in self.posts if post["word"] == "opened" and at >= since]

    def closed(self) -> list[tuple[float, dict[str, Any]]]:
        """The posts that tell of the end of one."""
        return [(at, post) for at, post in self.posts if post["word"] == "closed"]


class _Mail:
    def __init__(self, told: Told) -> None:
        self.told = told

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        message = email.message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.told.mails.append((time.time(), message))
        return "250 received"


@contextmanager
def receivers() -> Iterator[tuple[Told, int, int]]:
    """A mail server and a webhook's receiver on loopback: what they got, and their ports."""
    told = Told()

    class Hook(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.posts.append((time.time(), json.loads(body)))
            told.keys.append(self.headers["Idempotency-Key"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    hook = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    mail = Controller(_Mail(told), hostname="127.0.0.1", port=0)
    mail.start()
    server: Any = mail.server
    try:
        yield told, server.sockets[0].getsockname()[1], hook.server_port
    finally:
        mail.stop()
        hook.shutdown()
        hook.server_close()


@dataclass
class Watch:
    """A watch that runs, and what it has told."""

    lab: Lab
    cloud: Path
    told: Told
    log: Path
    process: "subprocess.Popen[bytes]"

    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        done = self.lab.backstay(
            "watch", "status", "-o", "json", "--cloud", str(self.cloud), ok=False
        )
        assert done.stdout, done.stderr
        shown: dict[str, Any] = json.loads(done.stdout)
        return shown

    def incidents(self) -> list[dict[str, Any]]:
        """The incidents in its journal, the newest first."""
        done = self.lab.backstay("watch", "incidents", "-o", "json", "--cloud", str(self.cloud))
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def open(self) -> list[dict[str, Any]]:
        """Those that are not over."""
        return [one for one in self.incidents() if one["closed"] is None]

    def first_told(self, since: float, bound: float = 60.0) -> tuple[float, dict[str, Any]]:
        """Wait for the first alert after a time; return after how many seconds, and what it says.

        Both a mail and a post must have come; the time is that of the later.
        """
        end = time.monotonic() + bound
        while not (self.told.opened(since) and self._mails(since)):
            assert time.monotonic() < end, f"nobody was told within {bound:g} s: {self.tail()}"
            time.sleep(0.05)
        at, post = self.told.opened(since)[0]
        return max(at, self._mails(since)[0][0]) - since, post

    def _mails(self, since: float) -> list[tuple[float, EmailMessage]]:
        return [(at, mail) for at, mail in self.told.mails if at >= since]

    def wait_over(self, bound: float = 240.0) -> None:
        """Wait until no incident is open any more."""
        end = time.monotonic() + bound
        while left := self.open():
            assert time.monotonic() < end, f"not over within {bound:g} s: {left}"
            time.sleep(1)

    def tail(self) -> str:
        """The end of what it said."""
        return self.log.read_text()[-3000:]

    def kill(self) -> None:
        """End it at once, as the kernel would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=20)

    def start(self) -> None:
        """Start it, again."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [BACKSTAY, "watch", "--cloud", self.cloud],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def wait_ready(self) -> None:
        """Wait until it leads, and has seen everything once: all up."""
        end = time.monotonic() + START_BOUND
        while True:
            assert self.process.poll() is None, self.tail()
            shown = self.status()
            states = {one["state"] for one in shown.get("standings", [])}
            if shown.get("running") and states == {"up"}:
                return
            assert time.monotonic() < end, f"not ready: {shown}: {self.tail()}"
            time.sleep(0.5)


@contextmanager
def watching(lab: Lab, folder: Path, more: str = "", *, port: int = 8491) -> Iterator[Watch]:
    """A watch of the lab that tells a mail server and a webhook; ``more`` is for its settings."""
    log = folder / "watch.log"
    with receivers() as (told, mail_port, hook_port):
        channels = (
            f"{{mail: {{email: {{server: 127.0.0.1, port: {mail_port}, tls: none, "
            "from: backstay@example.org, to: [oncall@example.org]}}, "
            f"hook: {{webhook: {{url: 'http://127.0.0.1:{hook_port}/'}}}}}}"
        )
        text = f"watch: {{channels: {channels}, page: {{listen: '127.0.0.1:{port}'}}{more}}}\n"
        with cloud_with(lab, text + f"backup: {{folder: {folder}/backups}}\n") as cloud:
            watch = Watch(lab, cloud, told, log, None)  # type: ignore[arg-type]
            watch.start()
            try:
                watch.wait_ready()
                yield watch
            finally:
                watch.process.terminate()
                try:
                    watch.process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    watch.kill()
                print(watch.tail())
