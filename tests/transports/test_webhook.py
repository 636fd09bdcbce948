"""JSON posted to a real web server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import ChannelFailed
from backstay.transports.webhook import post_json
from tests.transports.receivers import Inbox, certificates, web_server

SECRETS = ("T0K3N", "user", "s3cret")


def post(url: str, **more: Any) -> None:
    given = {"headers": {"Idempotency-Key": "1@lab"}, "bound": 10.0, **more}
    asyncio.run(post_json(url, {"event": "opened"}, **given))


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def url(inbox: Inbox) -> Iterator[str]:
    with web_server(inbox) as url:
        yield url


def test_a_document_arrives(url: str, inbox: Inbox) -> None:
    post(f"{url}/services/T0K3N")
    [got] = inbox.got
    assert got.path == "/services/T0K3N"
    assert got.document == {"event": "opened"}
    assert got.headers["Idempotency-Key"] == "1@lab"
    assert "Authorization" not in got.headers


def test_a_token_is_not_replaced_by_one_from_netrc(
    url: str, inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    post(url, headers={"Authorization": "Bearer right"})
    assert inbox.got[0].headers["Authorization"] == "Bearer right"


def test_a_redirected_post_was_not_received(url: str, inbox: Inbox) -> None:
    inbox.status = 302
    with pytest.raises(ChannelFailed, match="status 302"):
        post(url)
    assert [one.path for one in inbox.got] == ["/"]


def test_no_error_tells_more_of_the_url_than_its_host(url: str, inbox: Inbox) -> None:
    inbox.status = 500
    host = url.partition("://")[2]
    for place in (host, "127.0.0.1:1", "nowhere.invalid", "127.0.0.1:99999"):
        with pytest.raises(ChannelFailed) as raised:
            post(f"http://user:s3cret@{place}/T0K3N?token=T0K3N")
        told = f"{raised.value!r} {raised.value.remedy} {raised.value.__cause__}"
        assert place.partition(":")[0] in told
        assert not any(secret in told for secret in SECRETS)


def test_a_server_that_hangs(url: str, inbox: Inbox) -> None:
    inbox.delay = 1.0
    with pytest.raises(ChannelFailed, match=r"no answer within 0\.3 s"):
        post(url, bound=0.3)


def test_certificates_are_checked(inbox: Inbox, tmp_path: Path) -> None:
    ca, pem = certificates(tmp_path)
    with web_server(inbox, pem=pem) as url:
        post(url, ca=ca)
        with pytest.raises(ChannelFailed, match="not trusted"):
            post(url)
    assert len(inbox.got) == 1


def test_a_missing_file_of_authorities_is_told(inbox: Inbox, tmp_path: Path) -> None:
    with pytest.raises(ChannelFailed):
        post("https://127.0.0.1:1", ca=tmp_path / "missing.pem")
