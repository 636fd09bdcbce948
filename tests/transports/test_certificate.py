"""Certificates of real TLS servers in this process."""

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backstay.errors import ApiUnreachable
from backstay.finding import Severity
from backstay.health.certificates import judge, places, unreadable
from backstay.inventory.limits import Limits
from backstay.transports.certificate import Certificate, presented
from backstay.transports.targets import Endpoint

NOW = datetime.now(UTC).replace(microsecond=0)
EXPIRES = NOW + timedelta(days=5)


@pytest.fixture
def server(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(EXPIRES)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    connection.close()

        threading.Thread(target=work, daemon=True).start()
        yield listener.getsockname()[1], pem
        listener.shutdown(socket.SHUT_RDWR)


def test_an_untrusted_certificate_s_date_is_read_and_its_distrust_told(server):
    port, pem = server
    unknown = presented("localhost", port, bound=5)
    assert (unknown.expires, "self-signed" in unknown.distrust) == (EXPIRES, True)
    assert presented("localhost", port, bound=5, ca=pem) == Certificate(
        expires=EXPIRES, distrust=""
    )


def test_no_server():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ApiUnreachable, match="refused"):
        presented("127.0.0.1", port, bound=1)


@pytest.mark.parametrize(
    ("days", "distrust", "severity", "evidence"),
    [
        (90, "", "ok", "90 days"),
        (20, "", "warning", "20 days"),
        (2, "", "failed", "2 days"),
        (-1, "", "failed", "expired on"),
        (90, "self-signed certificate", "failed", "not trusted: self-signed"),
    ],
)
def test_judgement(days, distrust, severity, evidence):
    found = Certificate(expires=NOW + timedelta(days=days, seconds=9), distrust=distrust)
    finding = judge(("api.example.org", 5000), found, "controller", now=NOW, limits=Limits())
    assert (finding.subject, finding.severity.value) == (
        "certificate api.example.org:5000",
        severity,
    )
    assert evidence in finding.evidence
    assert bool(finding.remedy) == (severity != "ok")


@pytest.mark.parametrize("days", [90, 2, -1])
def test_what_is_not_to_be_checked_is_no_failure(days):
    found = Certificate(expires=NOW + timedelta(days=days, seconds=9), distrust="self-signed")
    place = ("api.example.org", 5000)
    finding = judge(place, found, None, now=NOW, limits=Limits(), insecure=True)
    assert finding.severity is Severity.WARNING
    assert "not checked, as OS_INSECURE says" in finding.evidence
    assert "OS_CACERT" in finding.remedy


def test_each_place_once_and_none_of_plain_http():
    urls = ["https://a:5000/v3", "https://a:5000/v2", "http://b:9292", "https://c/"]
    assert places(urls) == [("a", 5000), ("c", 443)]


def test_urls_of_the_catalogue_that_cannot_be_read_are_findings_and_hide_no_other() -> None:
    bad = ["http://[::1", "https://a:99999/v3", "https://a:x/", "https://", "\x1b[2J"]
    good = ["https://b:8774/v2.1", "http://c/"]
    assert places([*bad, *good]) == [("b", 8774)]
    found = unreadable([*bad, *good])
    assert len(found) == len(bad)
    assert all(one.severity is Severity.FAILED and one.subject.isprintable() for one in found)
    assert [Endpoint(service_type="x", url=url).host for url in bad] == [""] * len(bad)
