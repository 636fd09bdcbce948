"""One HTTP request, told apart by how far it came; against servers that misbehave in one way."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from backstay.transports.exchange import HttpExchange, HttpOutcome, exchange

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def asked(serve: Serve, *, method: str = "GET", bound: float = 5.0) -> tuple[HttpExchange, int]:
    """What came of one request to a server, and how many connections that took."""
    count = 0

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    async def story() -> HttpExchange:
        server = await asyncio.start_server(served, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await exchange(
                f"http://127.0.0.1:{port}/v3/auth/tokens?limit=1",
                method=method,
                headers={"X-Auth-Token": "secret"},
                bound=bound,
            )

    return asyncio.run(story()), count


def answering(status: int, head: list[bytes] | None = None) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked_for = await reader.readuntil(b"\r\n\r\n")
        if head is not None:
            head.append(asked_for)
        writer.write(b"HTTP/1.1 %d Whatever\r\nContent-Length: 9999\r\n\r\n" % status)
        await writer.drain()

    return serve


def test_the_head_of_an_answer_is_enough() -> None:
    head: list[bytes] = []
    came, connections = asked(answering(503, head), method="HEAD")
    assert (came.outcome, came.status, connections) == (HttpOutcome.ANSWERED, 503, 1)
    assert head[0].startswith(b"HEAD /v3/auth/tokens?limit=1 HTTP/1.1\r\n")
    assert b"X-Auth-Token: secret" in head[0]


def test_a_server_that_takes_the_connection_and_is_silent_is_late() -> None:
    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    came, _ = asked(serve, bound=0.3)
    assert came.outcome is HttpOutcome.LATE
    assert 0.3 <= came.seconds < 3
    assert "secret" not in came.message


def test_a_server_that_sends_an_answer_byte_by_byte_is_late() -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"H")
            await asyncio.sleep(0.05)

    assert asked(serve, bound=0.4)[0].outcome in {HttpOutcome.LATE, HttpOutcome.BROKEN}


def test_a_server_that_hangs_up_is_broken() -> None:
    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    came, _ = asked(serve)
    assert came.outcome is HttpOutcome.BROKEN
    assert came.message == "closes the connection without an answer"


def test_something_else_than_http_is_broken() -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await writer.drain()

    assert asked(serve)[0].outcome is HttpOutcome.BROKEN


def test_a_port_on_which_nothing_listens_refuses() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        assert asyncio.run(exchange(url, bound=2.0)).outcome is HttpOutcome.REFUSED


def test_a_port_whose_queue_is_full_is_silent() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        came = asyncio.run(exchange(f"http://127.0.0.1:{address[1]}/", bound=0.5))
        for one in waiting:
            one.close()
    assert came.outcome is HttpOutcome.SILENT
