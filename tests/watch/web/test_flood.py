"""The page under attack: connections to a real process, from other addresses and from one's own.

The full numbers (1,000 slow and 2,000 idle connections for 60 s, an answer within 1 s) are used
where BACKSTAY_FLOOD is set; otherwise fewer, with the process's files limited accordingly.
"""

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.watch.web.conftest import free_port
from tests.watch.web.fake_cloud import ACTOR
from tests.watch.web.test_server import certificate

FULL = "BACKSTAY_FLOOD" in os.environ
SLOW, IDLE, SECONDS, FILES, WITHIN = (
    (1000, 2000, 60.0, 16384, 1.0) if FULL else (300, 300, 4.0, 1024, 5.0)
)
LATE = 0.3
"""Seconds by which the watch may be late before it distrusts its own probes."""
MOST_MIB = 400
HARDLY_ANY_LINES = 5


class Page:
    """A process that serves the page, and a reader who has logged in."""

    def __init__(self, folder: Path, *, files: int) -> None:
        self.port = free_port()
        pem, _ = certificate(folder)
        self.trusts = ssl.create_default_context(cafile=str(pem))
        self.errors = folder / "stderr"
        self.process = _started(
            ["page_process", str(folder), str(self.port), str(files)], self.errors
        )
        end = time.monotonic() + 120
        while self.process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError):
                self.ask("/live.js")
                break
            time.sleep(0.05)
        self.cookie = self._log_in()

    def ask(
        self, path: str, *, source: str = "127.0.0.1", cookie: str = "", body: str | None = None
    ) -> tuple[int, str]:
        """Make a request on a connection of its own; return the status and the whole response."""
        with (
            socket.create_connection(("127.0.0.1", self.port), 20, (source, 0)) as plain,
            self.trusts.wrap_socket(plain, server_hostname="localhost") as sock,
        ):
            head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: localhost\r\n"
            head += f"Cookie: {cookie}\r\n" if cookie else ""
            head += "Content-Type: application/x-www-form-urlencoded\r\n" if body else ""
            head += f"Content-Length: {len(body or '')}\r\nConnection: close\r\n\r\n{body or ''}"
            sock.sendall(head.encode())
            answer = b""
            while data := sock.recv(65536):
                answer += data
        if not answer:
            raise ConnectionResetError("closed before it was answered")
        return int(answer[9:12]), answer.decode()

    def served(self, *, within: float) -> int:
        """Ask as a browser does, which connects again where a connection is reset at once."""
        end = time.monotonic() + within
        while True:
            try:
                return self.ask("/", cookie=self.cookie)[0]
            except ConnectionResetError:
                assert time.monotonic() < end, "every connection was reset"

    def _log_in(self) -> str:
        text = self.ask("/login")[1]
        cookie = _cookie(text)
        form = text.partition('name="form_token" value="')[2].partition('"')[0]
        body = f"name=anna&token={ACTOR}&next=/&form_token={form}"
        status, text = self.ask("/login", cookie=cookie, body=body)
        assert status == 303
        return _cookie(text)

    def measured(self) -> dict[str, Any]:
        return dict(json.loads(_said(self.process)))

    def lines(self) -> list[str]:
        return self.errors.read_text().splitlines()


def _cookie(answer: str) -> str:
    found = re.search(r"set-cookie: ([^;]+)", answer, re.IGNORECASE)
    assert found is not None
    return found[1]


def _started(words: list[str], errors: Path) -> subprocess.Popen[str]:
    with errors.open("w") as stderr:
        return subprocess.Popen(
            [sys.executable, "-m", f"tests.watch.web.{words[0]}", *words[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=Path(__file__).parents[3],
        )


def _said(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline()


@contextlib.contextmanager
def _ending(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    page = Page(tmp_path, files=FILES)
    with _ending(page.process):
        yield page


@pytest.mark.parametrize("addresses", [(2, 250), (2, 3), (1, 1)], ids=["many", "two", "my-own"])
def test_a_reader_is_served_while_strangers_hold_connections(
    page: Page, tmp_path: Path, addresses: tuple[int, int]
) -> None:
    words = [page.port, SLOW, IDLE, *addresses]
    attack = _started(["attack", *map(str, words)], tmp_path / "attack")
    took, late = [], []
    with _ending(attack):
        end = time.monotonic() + 20
        while int(_said(attack).split()[1]) < SLOW and time.monotonic() < end:
            time.sleep(0.1)
        page.measured()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            began = time.monotonic()
            assert page.served(within=WITHIN) == 200
            took.append(time.monotonic() - began)
            late.append(page.measured()["late"])
            time.sleep(0.2)
        measured = page.measured()
        opened = _said(attack).strip()
    lines = page.lines()
    print(f"took {sorted(took)[-3:]}, late {sorted(one['most'] for one in late)[-3:]}, {measured}")
    print(f"connections open, opened: {opened}; lines {lines[:HARDLY_ANY_LINES]}")
    assert max(took) < WITHIN
    assert sorted(one["usual"] for one in late)[len(late) // 2] < LATE
    assert measured["mib"] < MOST_MIB
    assert measured["files"] < FILES / 2
    assert len(lines) <= HARDLY_ANY_LINES + SECONDS / 60
