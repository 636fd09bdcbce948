"""The server: port, certificate, shutdown."""

import asyncio
import contextlib
import datetime
import logging
import signal
import socket
import ssl
import time
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.responses import HTMLResponse, StreamingResponse

from backstay.inventory.watch import Page
from backstay.watch.web import listening, protocol
from backstay.watch.web.app import make_app
from backstay.watch.web.server import PageError, serve
from tests.watch.web.conftest import Serving, free_port
from tests.watch.web.fake_cloud import READER, FakeCloud, with_people


def certificate(folder: Path, name: str = "page") -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem, private


def app_of(fake: FakeCloud):
    return make_app(feed=fake.feed, store=fake.store, journal=fake.journal, cloud=fake.cloud)


def test_a_port_in_use_is_reported(fake: FakeCloud) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(PageError, match=listen) as raised:
            asyncio.run(serve(app_of(fake), Page(listen=listen)))
    assert raised.value.came_back == "Address already in use"
    assert "ss -ltnp" in raised.value.remedy


def test_invalid_certificates_are_reported(fake: FakeCloud, tmp_path: Path) -> None:
    pem, key = certificate(tmp_path)
    _, other = certificate(tmp_path, "other")
    text = tmp_path / "text.pem"
    text.write_text("hello")
    for chosen, private, says in (
        (tmp_path / "none.pem", key, "No such file"),
        (text, key, "not a certificate"),
        (pem, text, "not a certificate"),
        (pem, other, "the key does not belong"),
    ):
        page = Page(listen="127.0.0.1:1", certificate=chosen, key=private)
        with pytest.raises(PageError) as raised:
            asyncio.run(serve(app_of(fake), page))
        assert says in raised.value.came_back


def test_it_is_encrypted_with_the_certificate(tmp_path: Path, served: Serving) -> None:
    pem, key = certificate(tmp_path)
    listen = f"127.0.0.1:{free_port()}"
    given = {**with_people(listen), "certificate": str(pem), "key": str(key)}
    fake = FakeCloud(tmp_path, given)

    async def story() -> httpx.Response:
        async with served(fake, page=fake.cloud.watch.page) as url:
            trusts = ssl.create_default_context(cafile=str(pem))
            secure = url.replace("http://127.0.0.1", "https://localhost")
            async with httpx.AsyncClient(verify=trusts) as client:
                return await client.get(f"{secure}/", headers={"Authorization": f"Bearer {READER}"})

    answer = asyncio.run(story())
    assert answer.status_code == 200
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def troubles(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


def test_it_ends_at_once_with_a_live_page_open(
    fake: FakeCloud, served: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> tuple[float, str]:
        async with (
            httpx.AsyncClient(timeout=10) as client,
            contextlib.AsyncExitStack() as streams,
            asyncio.timeout(20),
        ):
            async with served(fake) as url:
                live = client.stream("GET", f"{url}/live/")
                lines = (await streams.enter_async_context(live)).aiter_lines()
                first = ""
                while not first.startswith("data:"):
                    first = await anext(lines)
                started = time.monotonic()
            return time.monotonic() - started, first

    took, first = asyncio.run(story())
    assert took < 6
    assert "All systems operational" in first
    assert troubles(caplog) == []


def test_it_ends_with_a_response_that_is_not_taken(
    fake: FakeCloud,
    served: Serving,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def enormous(*_: object) -> StreamingResponse:
        return StreamingResponse(b"x" * 100_000 for _ in range(300))

    monkeypatch.setattr("backstay.watch.web.pages.failed", enormous)

    async def story() -> None:
        async with asyncio.timeout(20):
            async with served(fake) as url:
                host, port = url.removeprefix("http://").split(":")
                reader, writer = await asyncio.open_connection(host, int(port), limit=1000)
                writer.write(b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await reader.read(1)
            writer.close()

    asyncio.run(story())
    assert [line for line in troubles(caplog) if not line.startswith("Cancel 1 running")] == []


REQUEST = b"GET /live.js HTTP/1.1\r\nHost: localhost\r\n"
POST = (
    b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\nx"
)


async def send(url: str, *said: bytes, pause: float = 0.0) -> bytes:
    """Send these pieces, and return everything that comes until the other side closes."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for piece in said:
        if writer.is_closing() or reader.at_eof():
            break
        writer.write(piece)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        await asyncio.sleep(pause)
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            found += data
    writer.close()
    return found


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that takes too long take too long after a moment."""
    monkeypatch.setattr(listening, "SILENT_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "TAKEN_SECONDS", 0.3)
    monkeypatch.setattr(protocol, "RESPONSE_SECONDS", 0.5)


@pytest.mark.usefixtures("soon")
def test_connections_without_a_whole_request_are_closed(
    fake: FakeCloud, served: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> list[bytes]:
        async with served(fake) as url, asyncio.timeout(10):
            return list(
                await asyncio.gather(
                    send(url),
                    send(url, REQUEST),
                    send(url, REQUEST + b"\r\n" + REQUEST),
                    send(url, POST),
                    send(url, *([POST] + [b"x"] * 30), pause=0.05),
                    send(url, *[bytes([one]) for one in REQUEST + b"A: bcdefghi"], pause=0.02),
                )
            )

    silent, half, one_and_a_half, no_body, slow_body, slow_head = asyncio.run(story())
    assert one_and_a_half.startswith(b"HTTP/1.1 200")
    assert (silent, half, no_body, slow_body, slow_head) == (b"",) * 5
    assert troubles(caplog) == []


@pytest.mark.usefixtures("soon")
def test_a_live_stream_is_not_closed(fake: FakeCloud, served: Serving) -> None:
    async def story() -> int:
        count = 0
        async with (
            served(fake) as url,
            httpx.AsyncClient(base_url=url) as client,
            client.stream("GET", "/live/") as answer,
            asyncio.timeout(10),
        ):
            async for line in answer.aiter_lines():
                count += line.startswith((":", "data:"))
                if count == 3:
                    break
        return count

    assert asyncio.run(story()) == 3


@pytest.mark.usefixtures("soon")
def test_whoever_does_not_take_a_response_is_let_go(
    fake: FakeCloud, served: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def enormous(*_: object) -> HTMLResponse:
        return HTMLResponse("x" * 30_000_000, headers={"Connection": "close"})

    monkeypatch.setattr("backstay.watch.web.pages.failed", enormous)

    async def story() -> int:
        async with served(fake) as url, asyncio.timeout(20):
            host, port = url.removeprefix("http://").split(":")
            sock = socket.create_connection((host, int(port)))
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await asyncio.sleep(1.5)
            got = 0
            with contextlib.suppress(ConnectionError):
                while data := await loop.sock_recv(sock, 1 << 20):
                    got += len(data)
            sock.close()
            return got

    assert 0 < asyncio.run(story()) < 30_000_000


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /?" + b"x=1&" * 1000 + b" HTTP/1.1\r\nHost: localhost\r\n", b"414"),
        (b"GET /%s HTTP/1.1\r\nHost: localhost\r\n" % (b"x" * 3000), b"414"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 200, b"431"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: %s\r\n" % (b"a=b; " * 50_000), b"400"),
        (b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n", b"40"),
        (b"\x16\x03\x01" * 100, b"400"),
        (
            b"GET /live.js HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, close\r\n"
            b"Upgrade: websocket\r\n",
            b"200",
        ),
    ],
)
def test_odd_requests_are_answered_without_a_line_of_the_log(
    fake: FakeCloud,
    served: Serving,
    caplog: pytest.LogCaptureFixture,
    head: bytes,
    status: bytes,
) -> None:
    async def story() -> bytes:
        async with served(fake) as url, asyncio.timeout(10):
            return await send(url, head + b"\r\n", b"more" * 5000)

    answer = asyncio.run(story())
    assert answer == b"" or answer.startswith(b"HTTP/1.1 " + status)
    assert troubles(caplog) == []


@pytest.mark.usefixtures("soon")
def test_bodies_that_break_off_write_no_line_of_the_log(
    fake: FakeCloud, served: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    chunked = POST.replace(b"Content-Length: 100", b"Transfer-Encoding: chunked")

    async def story() -> None:
        async with served(fake) as url, asyncio.timeout(10):
            for one in (POST, chunked, chunked + b"zz\r\n", POST.replace(b"100", b"99999")):
                host, port = url.removeprefix("http://").split(":")
                _, writer = await asyncio.open_connection(host, int(port))
                writer.write(one)
                await writer.drain()
                await asyncio.sleep(0.1)
                writer.transport.abort()
            async with httpx.AsyncClient(base_url=url) as client:
                assert (await client.get("/")).status_code == 200

    asyncio.run(story())
    assert troubles(caplog) == []


def test_a_flood_of_pipelined_requests_is_cut_off(fake: FakeCloud, served: Serving) -> None:
    async def story() -> bytes:
        async with served(fake) as url, asyncio.timeout(60):
            return await send(url, (REQUEST + b"\r\n") * 1000)

    answer = asyncio.run(story())
    assert 100 < answer.count(b"HTTP/1.1 200 OK") < 300
    assert answer.count(b"HTTP/1.1 429 ") == 1


def test_live_streams_are_counted_where_they_are_tested(tmp_path: Path, served: Serving) -> None:
    listen = f"127.0.0.1:{free_port()}"
    fake = FakeCloud(tmp_path, with_people(listen))
    bearer = {"Authorization": f"Bearer {READER}"}

    async def open_streams(client: httpx.AsyncClient, count: int, **headers: str) -> list[int]:
        requests = [client.build_request("GET", "/live/", headers=headers) for _ in range(count)]
        answers = await asyncio.gather(*(client.send(one, stream=True) for one in requests))
        return [answer.status_code for answer in answers]

    async def story() -> tuple[list[int], list[int], list[int]]:
        page = fake.cloud.watch.page
        limits = httpx.Limits(max_connections=None)
        async with served(fake, page=page) as url, asyncio.timeout(60):
            async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as client:
                strangers = await open_streams(client, 120)
                readers = await open_streams(client, 120, **bearer)
            async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as client:
                again: list[int] = []
                while again.count(200) < 32:  # until the others are seen to have gone
                    again += await open_streams(client, 1)
            return strangers, readers, again

    strangers, readers, again = asyncio.run(story())
    assert (strangers.count(200), strangers.count(503)) == (32, 88)
    assert (readers.count(200), readers.count(503)) == (32, 88)
    assert again.count(200) == 32


def test_all_streams_are_for_strangers_where_there_are_no_people(
    fake: FakeCloud, served: Serving
) -> None:
    async def story() -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with (
            served(fake) as url,
            httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as client,
            asyncio.timeout(60),
        ):
            requests = [client.build_request("GET", "/live/") for _ in range(120)]
            answers = await asyncio.gather(*(client.send(one, stream=True) for one in requests))
            return [answer.status_code for answer in answers]

    statuses = asyncio.run(story())
    assert (statuses.count(200), statuses.count(503)) == (64, 56)


def test_signals_are_left_to_the_process(fake: FakeCloud, served: Serving) -> None:
    async def story() -> None:
        before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
        async with served(fake) as url, httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/")).status_code == 200
            assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before

    asyncio.run(story())
