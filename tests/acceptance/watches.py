"""What the stories of `backstay watch` share: the watch itself, and who is told by it."""

import contextlib
import email
import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.reboots import cloud_with

START_BOUND = 180.0
PORT = 8491


@dataclass
class Told:
    """Everything that was received, with the time of its arrival (Unix seconds)."""

    mails: list[tuple[float, EmailMessage]] = field(default_factory=list)
    posts: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def of(self, word: str, since: float = 0.0) -> list[tuple[float, dict[str, Any]]]:
        """The posts with a word (``opened``), that came since a time."""
        return [(at, post) for at, post in self.posts if post["event"] == word and at >= since]

    def first(self, word: str) -> dict[str, Any] | None:
        """The first post with a word, None before it has come."""
        return next((post for _, post in self.of(word)), None)

    def once(self) -> bool:
        """Nothing came twice: each message has an id of its own."""
        posts = [post["id"] for _, post in self.posts]
        mails = [str(mail["Message-ID"]) for _, mail in self.mails]
        return len(set(posts)) == len(posts) and len(set(mails)) == len(mails)


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
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    hook = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as free:  # it connects to itself by its number
        port = free.getsockname()[1]
    mail = Controller(_Mail(told), hostname="127.0.0.1", port=port)
    mail.start()
    try:
        yield told, port, hook.server_port
    finally:
        mail.stop()
        hook.shutdown()
        hook.server_close()


@dataclass
class Watch:
    """A watch that runs as a process of its own, and what it has told."""

    lab: Lab
    cloud: Path
    told: Told
    folder: Path
    process: "subprocess.Popen[bytes]" = field(init=False)

    @property
    def log(self) -> str:
        """What it said."""
        return (self.folder / "watch.log").read_text()

    def start(self) -> None:
        """Start it, again."""
        with (self.folder / "watch.log").open("ab") as log:
            self.process = subprocess.Popen(
                [BACKSTAY, "watch", "run", "--cloud", self.cloud],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def kill(self) -> None:
        """End it at once, as the kernel would."""
        self.process.kill()
        self.process.wait(timeout=20)

    def stop(self) -> None:
        """End it as systemd does; where it has ended already that is well."""
        self.process.terminate()
        self.process.wait(timeout=20)

    def until(self, holds: Callable[[], Any], what: str, bound: float = 120.0) -> None:
        """Wait until something holds; its log is shown where it does not."""
        try:
            self.lab.wait_until(lambda: bool(holds()), what=what, bound=bound, pause=0.2)
        except AssertionError as error:
            raise AssertionError(f"{error}; its log:\n{self.log[-3000:]}") from None

    def until_all_up(self) -> None:
        """Wait until it sees everything well: what changes then is a fault."""
        self.until(lambda: self.seen() == "up", "everything is seen to be up", START_BOUND)

    def seen(self) -> str:
        """How the cloud stands by its page's API; empty where it does not answer."""
        with contextlib.suppress(OSError):
            return str(json.loads(self.page("api/v1/status"))["state"])
        return ""

    def page(self, path: str = "") -> str:
        """What its page answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def incidents(self) -> list[dict[str, Any]]:
        """The incidents in its journal, the newest first."""
        done = self.lab.backstay("watch", "incidents", "-o", "json", "--cloud", str(self.cloud))
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def runs(self) -> list[dict[str, Any]]:
        """The runs that it has started by itself."""
        done = self.lab.backstay("runs", "list", "-o", "json")
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return [one for one in found if one["reason"].startswith("watch: ")]

    def until_notified(self, since: float, bound: float = 60.0) -> tuple[float, dict[str, Any]]:
        """Wait for the first alert since a time: after how many seconds it came, what it says.

        Both a mail and a post must have come; the time is that of the later.
        """

        def mails() -> list[float]:
            return [at for at, _ in self.told.mails if at >= since]

        self.until(lambda: self.told.of("opened", since) and mails(), "somebody is told", bound)
        at, post = self.told.of("opened", since)[0]
        return max(at, mails()[0]) - since, post["incident"]

    def until_over(self, bound: float = 420.0) -> None:
        """Wait until no incident is open any more, and that is told."""

        def over() -> bool:
            told = [len(self.told.of(word)) for word in ("opened", "resolved")]
            return told[0] == told[1] and all(one["closed"] for one in self.incidents())

        self.until(over, "it is over, and told", bound)


def own_journal(monkeypatch: pytest.MonkeyPatch, folder: Path, journal: Path) -> None:
    """Let the story have a journal in ``journal``, and locks and all else in ``folder``."""
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{journal}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{folder}/locks")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))


@contextmanager
def watching(lab: Lab, folder: Path, policy: str = "{}") -> Iterator[Watch]:
    """A watch of the lab that tells a mail server and a webhook, and acts by ``policy``.

    It is there when it sees everything well. Journal and locks are the fixture's, ``own_journal``.
    """
    with receivers() as (told, mail_port, hook_port):
        text = f"""
            backup: {{folder: {folder}/backups}}
            watch:
              channels:
                mail:
                  email: {{server: 127.0.0.1, port: {mail_port}, tls: none,
                          from: backstay@example.org, to: [oncall@example.org]}}
                hook: {{webhook: {{url: 'http://127.0.0.1:{hook_port}/'}}}}
              page: {{listen: '127.0.0.1:{PORT}'}}
              policy: {policy}
            """
        with cloud_with(lab, text) as cloud:
            watch = Watch(lab, cloud, told, folder)
            watch.start()
            try:
                watch.until_all_up()
                yield watch
            finally:
                watch.stop()
                print(watch.log[-6000:])
            assert "Traceback" not in watch.log
    for copy in lab.cloud_file.parent.glob("story.yaml.before-*"):
        copy.unlink()
