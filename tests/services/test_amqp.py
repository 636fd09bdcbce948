"""The way to a broker, step by step: with what a real RabbitMQ 3.10.8 answered, and what others do.

``data/amqp-rabbitmq-3.10.8.json`` holds all bytes that it sent, for each way in which it was tried.
"""

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backstay.access.shipping import source_of
from backstay.answers import convert
from backstay.health.rpc import onhost
from backstay.services import amqp
from backstay.services.broker_way import BrokenLink, Link, WayAnswer, broken_link
from backstay.services.rabbitmq import way

RECORDED = json.loads(
    (Path(__file__).parent / "data" / "amqp-rabbitmq-3.10.8.json").read_text(encoding="utf-8")
)
SECRET = "pass-word-of-nova"
NO_TLS = {"ca": "", "cert": "", "key": "", "name": ""}


def frames(recorded: str) -> Iterator[bytes]:
    """The frames of a recording, one after another; what is none comes as it is."""
    data = bytes.fromhex(recorded)
    while data:
        size = int.from_bytes(data[3:7], "big") + 8 if data[:1] == b"\x01" else len(data)
        yield data[:size]
        data = data[size:]


@contextmanager
def server(serve: Callable[[socket.socket], Any]) -> Iterator[int]:
    """A server on loopback whose connections are each served on a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    threading.Thread(target=work, args=(connection,), daemon=True).start()

        def work(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]


def recorded(name: str) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        for frame in frames(RECORDED[name]):
            # Tune is answered by two methods, which may come in one piece or in two.
            if connection.recv(4096)[3:] == b"" and frame[7:11] == b"\0\x0a\0\x29":
                connection.recv(4096)
            connection.sendall(frame)
        connection.recv(4096)

    return serve


def tried(port: int, *, login: bool = True, tls: Any = None, host: str = "127.0.0.1") -> WayAnswer:
    broker = {"host": host, "port": port, "user": "openstack", "password": SECRET}
    transport = {"config": "/etc/nova/nova.conf", "vhost": "/", "tls": tls, "brokers": [broker]}
    answer = amqp.try_brokers(transport, login)
    assert SECRET not in json.dumps(answer)
    return convert(WayAnswer, answer)


def broken(answer: WayAnswer) -> BrokenLink:
    found = broken_link(
        answer, "compute1", lambda one: "controller" if one.startswith("127.") else ""
    )
    assert found is not None
    assert SECRET not in f"{found}"
    return found


def test_a_login_that_a_real_broker_takes() -> None:
    with server(recorded("open")) as port:
        answer = tried(port)
    assert [(one.step, one.ended) for one in answer.tries] == [("vhost", "ok")]
    assert broken_link(answer, "compute1") is None


@pytest.mark.parametrize(
    ("name", "link", "word", "remedy"),
    [
        ("wrong-password", Link.LOGIN, "ACCESS_REFUSED", "change_password openstack"),
        ("no-such-user", Link.LOGIN, "ACCESS_REFUSED", "change_password openstack"),
        ("vhost-missing", Link.VHOST, "vhost nowhere not found", "rabbitmqctl add_vhost /"),
        ("vhost-refused", Link.VHOST, "refused for user 'openstack'", "set_permissions -p /"),
        ("plain-to-tls", Link.TLS, "wants TLS", "ssl_ca_file"),
    ],
)
def test_a_real_broker_that_lets_nobody_in(name: str, link: Link, word: str, remedy: str) -> None:
    with server(recorded(name)) as port:
        found = broken(tried(port))
    assert found.link is link
    assert word in found.evidence
    assert "/etc/nova/nova.conf" in found.evidence
    assert remedy in found.remedy


def test_a_broker_that_closes_instead_of_saying_why() -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(next(frames(RECORDED["open"])))
        connection.recv(4096)

    with server(serve) as port:
        assert broken(tried(port)).link is Link.LOGIN


def test_nothing_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqp, "BOUND", 0.5)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with contextlib.ExitStack() as stack:
            # A full queue of connections drops further packets without a word, as a firewall does.
            for _ in range(4):
                one = stack.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(full.getsockname())
            port = full.getsockname()[1]
            for login in (True, False):
                found = broken(tried(port, login=login))
                assert found.link is Link.NETWORK
                assert found.title == f"network from compute1 to controller port {port}"
                assert "no packet came back" in found.evidence
                assert "{ssh} ip route get 127.0.0.1" in found.remedy


def test_a_port_that_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    found = broken(tried(port))
    assert (found.link, found.title) == (
        Link.PORT,
        f"controller refuses port {port} to compute1",
    )


def test_a_broker_that_takes_the_connection_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(amqp, "ANSWER_BOUND", 0.5)
    done = threading.Event()
    with server(lambda _: done.wait(10)) as port:
        assert tried(port, login=False).tries[0].ended == "ok"
        found = broken(tried(port))
        done.set()
    assert found.link is Link.NETWORK
    assert "accepted" in found.evidence


@pytest.mark.parametrize(
    ("error", "ended", "word"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "not known"),
            "unknown",
            "does not know rabbit.nowhere",
        ),
        (socket.gaierror(socket.EAI_AGAIN, "temporary"), "late", "gives no answer"),
        (UnicodeError("label too long"), "unknown", "does not know"),
    ],
)
def test_a_name_that_is_not_known(
    monkeypatch: pytest.MonkeyPatch, error: Exception, ended: str, word: str
) -> None:
    def ask(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    monkeypatch.setattr(amqp, "name_servers", lambda: "10.0.0.2")
    answer = tried(5672, host="rabbit.nowhere")
    assert answer.tries[0].ended == ended
    found = broken(answer)
    assert found.link is Link.NAME
    assert "10.0.0.2" in found.evidence
    assert word in found.evidence


def test_a_name_service_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: done.wait(10))
    monkeypatch.setattr(amqp, "NAME_BOUND", 0.2)
    found = broken(tried(5672, host="rabbit.example"))
    done.set()
    assert found.link is Link.NAME
    assert found.title == "the name of the broker, rabbit.example, is not known on compute1"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    file = tmp_path_factory.mktemp("tls") / "one.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    make += ["-nodes", "-keyout", str(file.with_suffix(".key")), "-out", str(file)]
    subprocess.run([*make, "-days", "2", "-subj", "/CN=broker"], check=True, capture_output=True)
    return file


@contextmanager
def tls_server(certificate: Path, then: Callable[[socket.socket], Any]) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            then(wrapped)

    with server(serve) as port:
        yield port


def test_tls_whose_authority_is_named(certificate: Path) -> None:
    with tls_server(certificate, recorded("open")) as port:
        answer = tried(port, tls={**NO_TLS, "ca": str(certificate)})
    assert [(one.step, one.ended) for one in answer.tries] == [("vhost", "ok")]


@pytest.mark.parametrize(
    ("options", "word", "remedy"),
    [
        ({}, "not trusted on compute1: self", "ssl_ca_file"),
        ({"ca": "/nothere.pem"}, "/nothere.pem: No such file", "correct `ssl_ca_file`"),
        ({"name": "other.example"}, "Hostname mismatch", "ssl_ca_file"),
    ],
)
def test_tls_that_is_not_trusted(
    certificate: Path, options: dict[str, str], word: str, remedy: str
) -> None:
    given = {**NO_TLS, **options}
    if "name" in options:
        given["ca"] = str(certificate)
    with tls_server(certificate, lambda one: one.recv(1)) as port:
        found = broken(tried(port, tls=given))
    assert found.link is Link.TLS
    assert word in found.evidence
    assert remedy in found.remedy


def test_tls_to_a_port_without() -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(amqp.HEADER)  # as RabbitMQ answers what is no AMQP

    with server(plain) as port:
        found = broken(tried(port, tls=NO_TLS))
    assert found.link is Link.TLS
    assert "speaks without TLS" in found.evidence


def test_something_else_on_the_port() -> None:
    with server(lambda one: one.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as port:
        found = broken(tried(port))
    assert found.link is Link.PORT
    assert "no message broker" in found.title


def test_one_of_several_brokers_is_enough_and_else_the_furthest_counts() -> None:
    with server(recorded("wrong-password")) as refuses, server(recorded("open")) as takes:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            dead = listening.getsockname()[1]

        def ways(*ports: int) -> WayAnswer:
            brokers = [
                {"host": "127.0.0.1", "port": port, "user": "openstack", "password": SECRET}
                for port in ports
            ]
            transport = {"config": "f", "vhost": "/", "tls": None, "brokers": brokers}
            return convert(WayAnswer, amqp.try_brokers(transport, True))

        assert broken_link(ways(dead, refuses, takes), "compute1") is None
        found = broken_link(ways(dead, refuses), "compute1")
        assert found is not None
        assert found.link is Link.LOGIN
        assert f"nor by 127.0.0.1:{dead} (connect: refused)" in found.evidence


def test_a_host_that_answers_nonsense_breaks_nothing() -> None:
    odd = {"tries": [{"host": "x", "port": 1, "step": "dance", "ended": "late"}]}
    assert broken_link(convert(WayAnswer, odd), "compute1") is None


def test_all_of_it_can_be_shipped() -> None:
    for function in (way.ask_way, way.knock_broker, onhost.read_agents):
        space: dict[str, Any] = {}
        exec(compile(source_of(function), function.__name__, "exec"), space)
        assert callable(space[function.__name__])
