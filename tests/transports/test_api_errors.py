"""The first broken link to an API: what requests and OpenSSL say, and what is made of it."""

from pathlib import Path

import pytest

from backstay.errors import ApiNotAsked
from backstay.transports import api_errors

URL = "https://cloud.example:5000/v3"
# As urllib3 and requests have it: the chain of errors as one text.
POOL = "HTTPSConnectionPool(host='cloud.example', port=5000): Max retries exceeded with url: /v3 "


@pytest.mark.parametrize(
    ("reason", "means", "local"),
    [
        ("[Errno -2] Name or service not known", "not known to the name service (10.0.0.2)", True),
        ("[Errno -3] Temporary failure in name resolution", "(10.0.0.2) gives no answer", True),
        ("[Errno -5] No address associated with hostname", "is not known", True),
        ("[Errno 101] Network is unreachable", "this machine has no way", True),
        ("[Errno 99] Cannot assign requested address", "this machine has no way", True),
        ("[Errno 1] Operation not permitted", "this machine has no way", True),
        ("[Errno 113] No route to host", "no machine answers", False),
        ("[Errno 111] Connection refused", "refuses connections", False),
        ("Connection to cloud.example timed out.", "no packet came back", False),
        ("('Connection aborted.', BadStatusLine('\\x15\\x03\\x03'))", "wants TLS", False),
        ("('Connection aborted.', RemoteDisconnected('closed'))", "was lost", False),
    ],
)  # fmt: skip
def test_no_connection(
    monkeypatch: pytest.MonkeyPatch, reason: str, means: str, local: bool
) -> None:
    monkeypatch.setattr(api_errors, "name_servers", lambda: ["10.0.0.2"])
    error = api_errors.not_connected("asking", URL, f"{POOL}(Caused by X('{reason}'))")
    assert means in error.came_back
    assert isinstance(error, ApiNotAsked) is local
    assert error.remedy


@pytest.mark.parametrize(
    ("reason", "means"),
    [
        ("certificate verify failed: certificate has expired (_ssl.c:992)", "has expired"),
        (
            "certificate verify failed: self-signed certificate in certificate chain",
            "not known here",
        ),
        ("certificate verify failed: unable to get local issuer certificate", "not known here"),
        ("certificate verify failed: Hostname mismatch, certificate is not valid", "another name"),
        ("certificate verify failed: IP address mismatch, certificate is not", "another address"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:992)", "without TLS"),
        ("[SSL] record layer failure (_ssl.c:1000)", "without TLS"),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required", "client's"),
        ("[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol", "too old"),
        ("[SSL: EE_KEY_TOO_SMALL] ee key too small", "too weak"),
        ("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred", "closes the connection"),
        ("[X509: KEY_VALUES_MISMATCH] key values mismatch", "no TLS with"),
    ],
)
def test_no_tls(reason: str, means: str) -> None:
    error = api_errors.no_tls("asking", URL, reason)
    assert means in error.came_back
    assert "{" not in error.remedy


@pytest.mark.parametrize(
    "body",
    [
        b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
        b"<p>You're speaking plain HTTP to an SSL-enabled server port.<br />",
    ],
)
def test_http_to_a_port_with_tls(body: bytes) -> None:
    error = api_errors.status("asking", "http://cloud.example:5000/v3", 400, body)
    assert "wants TLS" in error.came_back


def test_the_name_servers_are_read(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# x\nnameserver 10.0.0.2\n nameserver ::1\nsearch a\n")
    assert api_errors.name_servers(file) == ["10.0.0.2", "::1"]
    assert api_errors.name_servers(tmp_path / "none") == []
