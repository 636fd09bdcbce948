"""The watch's request trusts what the check trusts; what is no address is an outcome."""

import asyncio
import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.errors import InventoryError
from backstay.transports import credentials
from backstay.transports.exchange import HttpExchange, HttpOutcome, exchange
from backstay.transports.openstack import OpenStackApi
from backstay.transports.tls import Trust
from tests.hostile import http as hostile
from tests.hostile.http import HostileServer, hostile_server, redirects, says
from tests.transports.receivers import certificates


def asked(url: str, **variables: str) -> HttpExchange:
    trust = credentials.trust(variables)
    return asyncio.run(exchange(url, headers={"X-Auth-Token": "t"}, bound=5, trust=trust))


def checked(server: HostileServer, **variables: str) -> OpenStackApi:
    own = {"OS_AUTH_URL": f"{server.url}/v3", "OS_USERNAME": "a", "OS_PASSWORD": "p"}
    return OpenStackApi(own | {"OS_PROJECT_NAME": "p"} | variables, bound=5)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return certificates(tmp_path)


def test_a_certificate_is_checked_unless_the_credentials_say_otherwise(files):
    ca, pem = files
    with hostile_server(says({}), (pem, pem)) as server:
        assert asked(server.url).outcome is HttpOutcome.BROKEN
        assert "certificate" in asked(server.url).message
        assert asked(server.url, OS_CACERT=str(ca)).outcome is HttpOutcome.ANSWERED
        for insecure in ("true", "True"):
            assert asked(server.url, OS_INSECURE=insecure).outcome is HttpOutcome.ANSWERED
        for checked_all_the_same in ("0", "1", "yes"):  # as the openstack client has it
            came = asked(server.url, OS_INSECURE=checked_all_the_same)
            assert came.outcome is HttpOutcome.BROKEN
        assert checked(server, OS_INSECURE="true").trust.insecure


def test_this_side_s_certificate_is_presented(files):
    ca, pem = files
    with hostile_server(says({}), (pem, pem)) as server:
        assert server._context is not None
        server._context.verify_mode = ssl.CERT_REQUIRED
        server._context.load_verify_locations(ca)
        # With TLS 1.3 the refusal comes with the first byte of the answer.
        refused = asked(server.url, OS_CACERT=str(ca))
        assert refused.outcome is HttpOutcome.BROKEN
        own = {"OS_CACERT": str(ca), "OS_CERT": str(pem), "OS_KEY": str(pem)}
        assert asked(server.url, **own).outcome is HttpOutcome.ANSWERED


def test_a_file_that_is_not_there_is_named(tmp_path):
    with hostile_server(says({})) as server:
        url = server.url.replace("http:", "https:")
        none = tmp_path / "none.pem"
        for trust in (Trust(ca=none), Trust(certificate=none)):  # gone since it was checked
            outcome = asyncio.run(exchange(url, headers={}, bound=5, trust=trust))
            assert outcome.outcome is HttpOutcome.BROKEN
            assert str(none) in outcome.message


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:-1/",
        "http://höst/",
        "http://127.0.0.1:9/bücher",
        "http://[::1",
        "http://",
        "nothing",
        "http://127.0.0.1:9/a b",
        "http://127.0.0.1:9/\r\nX: y",
        "http://" + "a" * 300 + "/",
    ],
)
def test_what_is_no_address_is_an_outcome(url):
    came = asked(url)
    assert came.outcome in {HttpOutcome.BROKEN, HttpOutcome.SILENT}
    assert came.message


@pytest.mark.parametrize("behaviour", [*hostile.ENDLESS, *hostile.WRONG, *hostile.SLOW])
def test_whatever_answers_it_is_an_outcome(behaviour):
    with hostile_server(behaviour) as server:
        came = asyncio.run(exchange(server.url, bound=1.0))
        assert isinstance(came.outcome, HttpOutcome)
        assert came.seconds < 20


def test_the_token_follows_no_redirect():
    with hostile_server(says({})) as other, hostile_server(redirects(f"{other.url}/x")) as server:
        assert asked(server.url).status == 302
        assert other.seen == []


def test_an_authority_that_is_replaced_counts_from_then_on(tmp_path):
    """A watch runs for months; the check reads the file each time."""
    named = tmp_path / "ca.pem"
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        ca, pem = certificates(tmp_path / name)
        named.write_bytes(ca.read_bytes())
        with hostile_server(says({}), (pem, pem)) as server:
            came = asked(server.url, OS_CACERT=str(named))
            assert (name, came.outcome) == (name, HttpOutcome.ANSWERED), came.message


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_the_environment_counts_for_both(files, monkeypatch, tmp_path, name):
    ca, pem = files
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(name, str(ca))
    with hostile_server(says({}), (pem, pem)) as server:
        assert asked(server.url).outcome is HttpOutcome.ANSWERED
        assert checked(server).trust.ca == ca
        assert asked(server.url, OS_CACERT=str(pem)).outcome is HttpOutcome.BROKEN
        assert asked(server.url, OS_INSECURE="true").outcome is HttpOutcome.ANSWERED
    monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(InventoryError, match=f"{name} is .*none, which cannot be read"):
        credentials.trust({})


# Proxies: a watch goes the way that the check goes.


def proxied(url: str, proxy: str) -> HttpExchange:
    return asyncio.run(exchange(url, headers={"X-Auth-Token": "t"}, bound=3, proxy=proxy))


@contextlib.contextmanager
def proxy_server(*, refuses: int = 0) -> Iterator[tuple[str, list[bytes]]]:
    """Run a proxy that makes tunnels; give its URL and the heads of what it was asked."""
    heads: list[bytes] = []

    def serve(client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(4096)
            heads.append(head)
            method, to, _ = head.split(b"\r\n")[0].split(b" ")
            if refuses:
                client.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % refuses)
                return
            if method != b"CONNECT":
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                return
            host, _, port = to.decode().rpartition(":")
            with socket.create_connection((host, int(port))) as there:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                pass_on = threading.Thread(target=copy, args=(there, client), daemon=True)
                pass_on.start()
                copy(client, there)
                pass_on.join(5)

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://u%20x:p%40w@127.0.0.1:{listener.getsockname()[1]}", heads
        listener.shutdown(socket.SHUT_RDWR)


def test_a_server_behind_a_proxy_is_asked_through_it(files):
    ca, pem = files
    login = base64.b64encode(b"u x:p@w")
    with proxy_server() as (proxy, heads):
        assert proxied("http://keystone.invalid:5000/v3", proxy).status == 200
        assert heads[0].startswith(b"GET http://keystone.invalid:5000/v3 HTTP/1.1\r\n")
        assert b"\r\nHost: keystone.invalid:5000\r\n" in heads[0]
        assert b"\r\nProxy-Authorization: Basic " + login in heads[0]
        with hostile_server(says({}), (pem, pem)) as server:
            came = asyncio.run(exchange(server.url, bound=3, trust=Trust(ca=ca), proxy=proxy))
            assert (came.outcome, came.status) == (HttpOutcome.ANSWERED, 200), came.message
            untrusted = proxied(server.url, proxy)
            assert untrusted.outcome is HttpOutcome.BROKEN
            assert "certificate" in untrusted.message
        assert heads[1].startswith(b"CONNECT 127.0.0.1:")
        assert b"X-Auth-Token" not in heads[1], "the token is for the server alone"
        # As a proxy may also be written.
        assert proxied("http://x.invalid/", proxy.removeprefix("http://")).status == 200


@pytest.mark.parametrize(
    ("refuses", "outcome"),
    [(407, HttpOutcome.UNASKED), (403, HttpOutcome.UNASKED), (503, HttpOutcome.BROKEN)],
)
def test_a_proxy_that_leads_nowhere_is_named_without_its_password(refuses, outcome):
    with proxy_server(refuses=refuses) as (proxy, _):
        came = proxied("https://keystone.invalid:5000/v3", proxy)
    assert came.outcome is outcome
    assert came.message == f"the proxy http://{proxy.rpartition('@')[2]} answers {refuses}"


@pytest.mark.parametrize(
    "proxy", ["http://u:secret@127.0.0.1:9", "socks5://u:secret@127.0.0.1:9", "http://:9"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_says_nothing_of_the_server(proxy, scheme):
    came = proxied(f"{scheme}://keystone.invalid/v3", proxy)
    assert came.outcome is HttpOutcome.UNASKED
    assert "secret" not in came.message


def test_the_proxy_of_the_credentials_is_the_check_s_and_the_watch_s():
    own = {"OS_AUTH_URL": "http://k/v3", "OS_USERNAME": "a", "OS_PASSWORD": "p"}
    own |= {"OS_PROJECT_NAME": "p", "http_proxy": "http://10.0.0.1:3128", "no_proxy": "inside"}
    api = OpenStackApi(own)
    assert api.proxy_for("http://k:5000/v3") == "http://10.0.0.1:3128"
    assert api.proxy_for("http://inside:5000/v3") is None
