"""A watch at work on the lab as a process of its own, and a webhook that it tells."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.reboots import cloud_with


class Told:
    """A webhook's receiver, in this process."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        told = self

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told.documents.append(json.loads(body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/"

    def words(self) -> list[str]:
        return [one["word"] for one in self.documents]

    def first(self, word: str) -> dict[str, Any] | None:
        return next((one for one in self.documents if one["word"] == word), None)


class Watched:
    """A watch at work as a process of its own, and what it has told."""

    def __init__(self, lab: Lab, cloud: Path, told: Told, folder: Path) -> None:
        self.lab, self.cloud, self.told, self.folder = lab, cloud, told, folder
        self.process: subprocess.Popen[bytes]
        self.begin()

    def begin(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [BACKSTAY, "watch", "--cloud", self.cloud], stderr=log, stdin=subprocess.DEVNULL
            )

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def incidents(self) -> list[dict[str, Any]]:
        done = self.lab.backstay("watch", "incidents", "--cloud", str(self.cloud), "-o", "json")
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(
            self.lab.backstay("runs", "list", "-o", "json").stdout
        )
        return [one for one in found if one["reason"].startswith("watch: ")]

    def until(self, holds: Callable[[], Any], what: str, bound: float = 120.0) -> None:
        try:
            self.lab.wait_until(lambda: bool(holds()), what=what, bound=bound, pause=0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}; its log:\n{self.log[-3000:]}") from None


Watch = Callable[[str], AbstractContextManager[Watched]]


@contextmanager
def watches(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: Path | None = None
) -> Iterator[Watch]:
    """Give what begins watches, with a journal, locks and backups of their own."""
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{journal or tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    told = Told()

    @contextmanager
    def watching(policy: str) -> Iterator[Watched]:
        text = (
            f"backup: {{folder: {tmp_path}/backups}}\n"
            "watch:\n"
            f"  channels: {{hook: {{webhook: {{url: '{told.url}'}}}}}}\n"
            "  page: {listen: '127.0.0.1:8586'}\n"
            f"  policy: {policy}\n"
        )
        with cloud_with(lab, text) as cloud:
            watched = Watched(lab, cloud, told, tmp_path)
            try:
                ready = "leads the watch"
                watched.until(lambda: ready in watched.log, "the watch leads")
                yield watched
            finally:
                watched.end()
                print(watched.log)
            assert "Traceback" not in watched.log

    yield watching
    told.server.shutdown()
    for copy in lab.cloud_file.parent.glob("story.yaml.before-*"):
        copy.unlink()


def all_up(watched: Watched) -> None:
    """Wait until the watch sees everything well: it acts on what it sees change then."""
    watched.until(lambda: seen(watched) == "up", "everything is seen to be up", 180)


def seen(watched: Watched) -> str:
    done = subprocess.run(
        ["curl", "-s", "-m", "5", "http://127.0.0.1:8586/api/v1/status"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return str(json.loads(done.stdout or "{}").get("state", ""))
