"""What is shipped to witnesses: on loopback, with the real programs, and from recorded output."""

import ast
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backstay.access.shipping import program
from backstay.answers import convert, read
from backstay.health.witness import onhost
from backstay.health.witness.evidence import PortState, WitnessAnswer, read_witness

DATA = Path(__file__).parent / "data"


@contextmanager
def listening(serve: Callable[[socket.socket], None] | None) -> Iterator[int]:
    """A port; without `serve` nobody ever takes a connection from the kernel."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        if serve:

            def run() -> None:
                with server.accept()[0] as connection:
                    serve(connection)

            threading.Thread(target=run, daemon=True).start()
        yield server.getsockname()[1]


def greets(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    assert connection.recv(64) == b"", "one that greets is sent nothing"


def speaks_http(connection: socket.socket) -> None:
    assert connection.recv(64).startswith(b"GET / ")
    connection.sendall(b"HTTP/1.1 300 Multiple Choices\r\n\r\n")


def closes(connection: socket.socket) -> None:
    connection.recv(64)


@pytest.mark.parametrize(
    ("serve", "state", "told"),
    [
        (greets, "answered", "SSH-2.0-OpenSSH_9.2p1"),
        (speaks_http, "answered", "HTTP/1.1 300 Multiple Ch"),
        (closes, "answered", "closed it"),
        (None, "accepted", "accepts connections and sends nothing"),
    ],
)
def test_only_bytes_are_an_answer(
    serve: Callable[[socket.socket], None] | None,
    state: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onhost, "ANSWER", 0.5)
    with listening(serve) as port:
        assert onhost.ask_port("127.0.0.1", port) == [state, told]


def test_a_closed_port_refuses() -> None:
    with listening(None) as port:
        pass
    assert onhost.ask_port("127.0.0.1", port)[0] == "refused"


def test_connections_and_when_they_last_brought_something() -> None:
    shown = (DATA / "ss-compute1.txt").read_text()
    assert onhost.established(shown) == {"count": 4, "heard": 4.684}
    # ss leaves out what is 0: that was just now.
    now = shown.replace("lastrcv:4684 ", "").replace("lastack:4684 ", "")
    assert onhost.established(now)["heard"] == 0.0
    assert onhost.established("0 0 10.0.0.1:1 10.0.0.2:2\n")["heard"] is None


def test_the_whole_question_runs_where_it_is_shipped_to() -> None:
    script = program(onhost.witness, "127.0.0.1", [1], False)
    ast.parse(script, feature_version=(3, 6))
    assert "backstay." not in script
    done = subprocess.run(
        ["python3", "-I", "-"], input=script, capture_output=True, text=True, check=True
    )
    found = read_witness("here", read(WitnessAnswer, done.stdout))
    assert found.has_address
    assert [(port.number, port.state) for port in found.ports] == [(1, PortState.REFUSED)]
    assert found.pings is (True if os.geteuid() == 0 else found.pings)
    assert (found.macs, found.no_arp) == (None, "not on its network")


def test_a_name_that_is_not_known_is_told() -> None:
    answer = onhost.witness("no-such-host.invalid", [22], True)
    found = read_witness("here", convert(WitnessAnswer, answer))
    assert "the name no-such-host.invalid is not known" in found.trouble
    assert not found.spoke
