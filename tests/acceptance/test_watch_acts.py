"""The watch acts by the policy in cloud.yaml, and by nothing else."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.reboots import cloud_with
from tests.acceptance.test_backup import create
from tests.acceptance.test_replace import as_built, is_green, is_taken_over

pytestmark = pytest.mark.lab

REPLACED = 900.0


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


@pytest.fixture
def watch(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
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


def test_a_service_that_has_ended_is_restarted(lab: Lab, watch: Watch) -> None:
    with watch("{service-failed: restart}") as watched:
        all_up(watched)
        lab.backstay("lab", "break", "stop-service", "proxy/swift-proxy")
        watched.until(lambda: watched.told.first("closed"), "it is told to be over")
        [run] = watched.runs()
        assert (run["plan"]["runbook"], run["state"]) == ("restart", "done")
        [incident] = watched.incidents()
        assert incident["run"] == run["id"]
        assert watched.told.words()[0] == "opened"
        assert "acted" in watched.told.words()
        lab.wait_green()


def test_a_deaf_agent_is_reattached(lab: Lab, watch: Watch) -> None:
    with watch("{agent-deaf: reattach}") as watched:
        all_up(watched)
        lab.backstay("lab", "break", "wedge-agent", "compute1")
        watched.until(lambda: watched.told.first("closed"), "it is told to be over", 300)
        [run] = watched.runs()
        assert (run["plan"]["runbook"], run["state"]) == ("reattach", "done")
        lab.wait_green()


def test_nothing_is_done_where_the_policy_says_tell(lab: Lab, watch: Watch) -> None:
    with watch("{}") as watched:
        all_up(watched)
        lab.backstay("lab", "break", "stop-service", "proxy/swift-proxy")
        watched.until(lambda: watched.told.first("opened"), "it is told")
        lab.backstay("lab", "heal")
        watched.until(lambda: watched.told.first("closed"), "it is told to be over")
        assert watched.runs() == []


def test_who_is_cut_off_replaces_nothing(lab: Lab, watch: Watch) -> None:
    with watch("{controller-dead: replace}") as watched:
        create(lab, watched.cloud, "proxy", "--verify")
        all_up(watched)
        lab.backstay("lab", "break", "cut-network", "proxy", "--from", "operator")
        held = "replace: not now: in doubt: only this machine is cut off"
        watched.until(lambda: held in watched.log, "it is said why nothing is done")
        time.sleep(20)  # as long as it would take to begin
        assert watched.runs() == []
        assert watched.told.first("acted") is None
        lab.backstay("lab", "heal")
        watched.until(lambda: watched.told.first("closed"), "it is told to be over")


def test_a_replacement_that_is_approved(lab: Lab, watch: Watch) -> None:
    with watch("{controller-dead: ask}") as watched:
        create(lab, watched.cloud, "proxy", "--verify")
        all_up(watched)
        try:
            lab.backstay("lab", "break", "dead-board", "proxy")
            watched.until(lambda: watched.told.first("asked"), "an approval is asked for")
            asked = watched.told.first("asked")
            assert asked is not None
            command = asked["approval"].split()
            assert command[:3] == ["backstay", "watch", "approve"]
            assert command[-1] not in watched.log
            assert [run["state"] for run in watched.runs()] == ["planned"]
            approve = ["watch", "approve", "--cloud", str(watched.cloud), command[-1]]
            lab.backstay(*approve)
            again = lab.backstay(*approve, ok=False)
            assert again.returncode == 3
            assert "used already" in again.stderr
            # The run goes on whatever becomes of the watch.
            watched.process.kill()
            watched.process.wait()
            watched.begin()
            watched.until(lambda: watched.runs()[0]["state"] == "done", "it is done", REPLACED)
            is_taken_over(watched.cloud, "proxy")
            is_green(lab, watched.cloud)
            watched.until(lambda: watched.told.first("closed"), "it is told to be over")
            assert len(watched.runs()) == 1
        finally:
            watched.end()
            as_built(lab)


@pytest.mark.slow
def test_no_hand_is_touched_until_green(lab: Lab, watch: Watch) -> None:
    with watch("{controller-dead: replace}") as watched:
        create(lab, watched.cloud, "controller", "--verify")
        all_up(watched)
        try:
            begun = time.monotonic()
            lab.backstay("lab", "break", "dead-board", "controller")
            watched.until(lambda: watched.told.first("closed"), "it is told to be over", REPLACED)
            took = time.monotonic() - begun
            print(f"from the loss to the end of the incident: {took:.0f} s")
            [run] = watched.runs()
            assert run["state"] == "done"
            is_taken_over(watched.cloud, "controller")
            is_green(lab, watched.cloud)
            hosts = [one["cause"]["host"] for one in watched.incidents()]
            assert hosts.count("controller") == 1
        finally:
            watched.end()
            as_built(lab)
