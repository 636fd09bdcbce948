"""Hooks: real commands, a real HTTP server on loopback."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from backstay.errors import HookFailed
from backstay.transports.hook import call_command, call_url

FACTS = {"host": "controller", "run": "reboot-1"}


def test_a_command_gets_the_facts_and_says_its_last_line() -> None:
    said = asyncio.run(call_command("echo a; echo $BACKSTAY_HOST $BACKSTAY_RUN", FACTS, bound=10))
    assert said == "controller reboot-1"


def test_a_command_that_says_no() -> None:
    with pytest.raises(HookFailed, match="exit status 3: no ticket is open"):
        asyncio.run(call_command("echo no ticket is open; exit 3", FACTS, bound=10))


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    command = f"(sleep 60; touch {tmp_path}/late) & sleep 60"
    with pytest.raises(HookFailed, match=r"did not end within 0.3 s"):
        asyncio.run(call_command(command, FACTS, bound=0.3))


def test_a_password_on_the_command_line_is_not_told() -> None:
    with pytest.raises(HookFailed) as raised:
        asyncio.run(call_command("false --password geheim", FACTS, bound=10))
    assert "geheim" not in f"{raised.value} {raised.value.remedy}"


class Receiver(BaseHTTPRequestHandler):
    """Remembers what it got; says no at /no."""

    got: list[dict[str, str]] = []  # noqa: RUF012 - a test's own

    def do_POST(self) -> None:
        self.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(409 if self.path.startswith("/no") else 200)
        self.end_headers()
        self.wfile.write(b"change 7 is closed\n" if self.path.startswith("/no") else b"silenced\n")

    def log_message(self, *arguments: object) -> None:
        """Stay quiet."""


@pytest.fixture
def site() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_url_gets_the_facts(site: str) -> None:
    assert asyncio.run(call_url(f"{site}/yes", FACTS, bound=10)) == "silenced"
    assert Receiver.got[-1] == FACTS


def test_a_url_that_says_no_and_one_that_is_not_there(site: str) -> None:
    with pytest.raises(HookFailed, match="status 409: change 7 is closed") as raised:
        asyncio.run(call_url(f"{site}/no?token=geheim", FACTS, bound=10))
    assert "geheim" not in str(raised.value)
    with pytest.raises(HookFailed, match="cannot be reached"):
        asyncio.run(call_url("http://127.0.0.1:1/", FACTS, bound=10))


@pytest.mark.parametrize(
    ("command", "unclear"),
    [("exit 3", False), ("no-such-program-here", False), ("sleep 60", True)],
)
def test_a_command_that_has_not_said_how_it_ended_may_have_done_it(
    command: str, unclear: bool
) -> None:
    with pytest.raises(HookFailed) as raised:
        asyncio.run(call_command(command, FACTS, bound=1.0))
    assert raised.value.unclear is unclear
    assert ("it may have done its part" in str(raised.value)) is unclear


def test_a_server_that_ends_the_connection_may_have_done_it() -> None:
    class Ends(Receiver):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.close_connection = True

    server = HTTPServer(("127.0.0.1", 0), Ends)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    with pytest.raises(HookFailed) as raised:
        asyncio.run(call_url(url, FACTS, bound=10))
    server.shutdown()
    server.server_close()
    assert raised.value.unclear
    with pytest.raises(HookFailed, match="cannot be reached") as gone:
        asyncio.run(call_url(url, FACTS, bound=10))
    assert not gone.value.unclear
