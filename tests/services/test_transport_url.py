"""transport_url as oslo.messaging reads it, from the files that oslo.config reads."""

from pathlib import Path
from typing import Any

import pytest

from backstay.services.transport_url import parsed_transport, transport_of


def places(url: str, **options: str) -> list[tuple[Any, ...]]:
    found = parsed_transport(url, options)["brokers"]
    return [(one["host"], one["port"], one["user"], one["password"]) for one in found]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rabbit://u:p@h:5673/", [("h", 5673, "u", "p")]),
        ("rabbit://u:p@h", [("h", 5672, "u", "p")]),
        ("rabbit://u:p%40%2F@h/", [("h", 5672, "u", "p@/")]),
        ("rabbit://u:p@[2001:db8::1]:5671/", [("2001:db8::1", 5671, "u", "p")]),
        ("rabbit://u:p@[::1]/", [("::1", 5672, "u", "p")]),
        (
            "rabbit://a:1@x:1,b:2@y:2,z:3/v",
            [("x", 1, "a", "1"), ("y", 2, "b", "2"), ("z", 3, "guest", "guest")],
        ),
        ("kombu+rabbit://u:p@h/", [("h", 5672, "u", "p")]),
        ("rabbit:///", []),
    ],
)  # fmt: skip
def test_brokers(url: str, expected: list[Any]) -> None:
    if not expected:
        with pytest.raises(ValueError, match="no host"):
            places(url)
    else:
        assert places(url) == expected


@pytest.mark.parametrize(
    ("path", "vhost"),
    [("", "/"), ("/", "/"), ("//", "/"), ("/nova", "nova"), ("/%2Fnova", "/nova")],
)
def test_virtual_hosts(path: str, vhost: str) -> None:
    assert parsed_transport(f"rabbit://u:p@h{path}", {})["vhost"] == vhost


def test_tls_of_the_file_and_of_the_query() -> None:
    assert parsed_transport("rabbit://u:p@h/", {})["tls"] is None
    assert parsed_transport("rabbit://u:p@h/", {"ssl": "True", "ssl_ca_file": "/ca"})["tls"] == {
        "ca": "/ca",
        "cert": "",
        "key": "",
        "name": "",
    }
    assert parsed_transport("rabbit://u:p@h/?ssl=1&ssl_ca_file=/b", {"ssl": "false"})["tls"] == {
        "ca": "/b",
        "cert": "",
        "key": "",
        "name": "",
    }
    assert parsed_transport("rabbit://u:p@h/?ssl=0", {"ssl": "true"})["tls"] is None


def test_another_transport_is_not_tried() -> None:
    for url in ("amqp://u:p@h/", "fake://", "kafka://u:p@h:9092/"):
        assert "not RabbitMQ's" in parsed_transport(url, {})["trouble"]


def test_the_last_file_wins_and_trouble_holds_no_secret(tmp_path: Path) -> None:
    first, second = tmp_path / "nova.conf", tmp_path / "nova-compute.conf"
    first.write_text("[DEFAULT]\ntransport_url = rabbit://a:secret@one/\n")
    assert transport_of("nova", "", [str(first), str(second)])["brokers"][0]["host"] == "one"
    second.write_text(
        "[DEFAULT]\ntransport_url=rabbit://a:secret@two/\n[oslo_messaging_rabbit]\nssl=true\n"
    )
    found = transport_of("nova", "", [str(first), str(second)])
    assert (found["brokers"][0]["host"], found["config"]) == ("two", str(second))
    assert found["tls"] is not None
    for text in ("rabbit://a:secret@h:port/", "a:secret@h"):
        second.write_text(f"[DEFAULT]\ntransport_url = {text}\n")
        trouble = transport_of("nova", "", [str(second)])
        assert "brokers" not in trouble
        assert "secret" not in str(trouble)
    assert (
        transport_of("nova", "", [str(tmp_path / "none")])["trouble"] == "transport_url is not set"
    )
