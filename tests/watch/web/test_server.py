"""The server: port, certificate, shutdown."""

import asyncio
import datetime
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

from backstay.inventory.watch import Page
from backstay.watch.web import server as module
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


def test_it_ends_soon_with_a_live_page_open(fake: FakeCloud) -> None:
    page = Page(listen=f"127.0.0.1:{free_port()}")

    async def story() -> tuple[float, str]:
        task = asyncio.create_task(serve(app_of(fake), page))
        url = f"http://{page.listen}"
        async with httpx.AsyncClient(base_url=url, timeout=10) as client, asyncio.timeout(20):
            while True:
                try:
                    await client.get("/")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.02)
            async with client.stream("GET", "/live/") as answer:
                lines = answer.aiter_lines()
                first = ""
                while not first.startswith("data:"):
                    first = await anext(lines)
                started = time.monotonic()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                return time.monotonic() - started, first

    took, first = asyncio.run(story())
    assert took < 6
    assert "All systems operational" in first


def test_idle_connections_are_closed(
    fake: FakeCloud, served: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.2)

    async def story() -> list[bytes]:
        async with served(fake) as url, asyncio.timeout(10):
            host, port = url.removeprefix("http://").split(":")
            request = b"GET /live.js HTTP/1.1\r\nHost: localhost\r\n"
            ends = []
            for said in (b"", request, request + b"\r\n" + request):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(said)
                ends.append(await reader.read())  # until the other side closes
                writer.close()
            return ends

    silent, half, one_and_a_half = asyncio.run(story())
    assert (silent, half) == (b"", b"")
    assert one_and_a_half.startswith(b"HTTP/1.1 200")


def test_a_live_stream_is_not_closed(
    fake: FakeCloud, served: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IDLE_SECONDS", 0.2)

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


def test_signals_are_left_to_the_process(fake: FakeCloud, served: Serving) -> None:
    async def story() -> None:
        before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
        async with served(fake) as url, httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/")).status_code == 200
            assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before

    asyncio.run(story())
