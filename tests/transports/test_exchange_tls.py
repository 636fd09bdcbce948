"""The watch's request trusts what the check trusts; what is no address is an outcome."""

import asyncio
import ssl
from pathlib import Path

import pytest

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
