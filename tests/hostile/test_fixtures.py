"""The hostile servers do what their names say, as another program sees them."""

import asyncio
import http.client
import json
import socket
from urllib.parse import urlsplit

import asyncssh
import pytest

from tests.hostile import http as hostile_http
from tests.hostile import memory, ssh
from tests.hostile.http import hostile_server
from tests.hostile.ssh import HostileHost, hostile_host, raw_host


def connected(host: HostileHost, **options):
    return asyncssh.connect(
        "127.0.0.1",
        host.target.port,
        username="root",
        client_keys=[str(host.target.key)],
        known_hosts=str(host.target.known_hosts),
        config=None,
        **options,
    )


async def first_output(host: HostileHost, *, errors: bool = False, **options) -> bytes:
    async with connected(host, **options) as connection:
        process = await connection.create_process("python3 -I -", encoding=None)
        process.stdin.write_eof()
        stream = process.stderr if errors else process.stdout
        return await asyncio.wait_for(stream.read(1000), 20)


@pytest.mark.parametrize(
    ("behaviour", "begins"),
    [
        (ssh.endless_stdout, b'{"an": "answer"}\n{'),
        (ssh.endless_line, b"xxxx"),
        (ssh.endless_string, b'{"units": "'),
        (ssh.deep_json, b"[[[["),
        (ssh.slow_drip, b" "),
        (ssh.closes_in_the_middle, b'{"units": ['),
        (ssh.fills_the_window, b"\0\0"),
    ],
)
def test_hosts_write_what_they_are_to_write(tmp_path, behaviour, begins):
    with hostile_host(tmp_path, behaviour) as host:
        assert asyncio.run(first_output(host)).startswith(begins)
        assert host.commands == ["python3 -I -"]
        assert host.dropped.wait(20)


def test_an_endless_host_writes_no_more_than_is_taken(tmp_path):
    with hostile_host(tmp_path, ssh.endless_stderr) as host:
        assert asyncio.run(first_output(host, errors=True)).startswith(b"an error\n")
        assert host.dropped.wait(20)
        assert host.sent < 64 << 20


def test_a_host_gets_an_agent_only_where_it_is_offered(tmp_path):
    with (
        ssh.agent(tmp_path) as path,
        hostile_host(tmp_path, ssh.asks_for_the_agent) as host,
    ):
        asyncio.run(first_output(host, agent_path=None, agent_forwarding=False))
        assert (host.agent_offered, host.agent_reached) == (0, False)
        asyncio.run(first_output(host, agent_path=str(path), agent_forwarding=str(path)))
        assert (host.agent_offered, host.agent_reached) == (1, True)


@pytest.mark.parametrize("behaviour", [ssh.huge_banner, ssh.endless_version, ssh.huge_packet])
def test_hosts_that_do_not_come_to_a_session(tmp_path, behaviour):
    with (
        raw_host(tmp_path, behaviour) as host,
        socket.create_connection(("127.0.0.1", host.target.port or 0), 10) as connection,
    ):
        got = 0
        while got < 1 << 20:
            got += len(connection.recv(1 << 16))


@pytest.mark.parametrize("behaviour", hostile_http.ENDLESS[:7])
def test_servers_send_without_end(behaviour):
    with (
        hostile_server(behaviour) as server,
        socket.create_connection(("127.0.0.1", server.port), 10) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        got = 0
        while got < 1 << 22:
            got += len(connection.recv(1 << 16))


def test_servers_answer_by_path_and_note_what_came():
    with hostile_server(hostile_http.html_5xx) as server:
        server.answers["/v3"] = hostile_http.says({"a": 1}, 201, X_Subject_Token="t")
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
        connection.request("POST", "/v3?x=1", b"{}", {"X-Auth-Token": "secret"})
        answer = connection.getresponse()
        assert (answer.status, answer.headers["X-Subject-Token"]) == (201, "t")
        assert json.load(answer) == {"a": 1}
        connection.request("GET", "/other")
        assert connection.getresponse().status == 502
        assert [(seen.method, seen.path) for seen in server.seen] == [
            ("POST", "/v3"),
            ("GET", "/other"),
        ]
        assert server.secrets_seen() == ["secret"]


def test_bombs_are_small_on_the_wire():
    assert len(hostile_http._zeros(wrapped=True)) < 2 << 20


def test_the_memory_of_a_program_is_measured():
    ran = memory.run("measured(); block = b'x' * (200 << 20); print('made', len(block) >> 20)")
    assert ran.output == "made 200"
    assert 190 < ran.grew < 260
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        memory.run("1 / 0")
