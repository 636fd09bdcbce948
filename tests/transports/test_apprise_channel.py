"""Messages by apprise, to a real web server."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from backstay.errors import ChannelFailed
from backstay.transports.apprise_channel import send_apprise, without
from tests.transports.receivers import Inbox, web_server


def send(address: str, bound: float = 10.0) -> None:
    asyncio.run(send_apprise(address, title="[lab] DOWN", text="Since 02:10\n<x>", bound=bound))


def test_a_message_arrives_as_it_is() -> None:
    inbox = Inbox()
    with web_server(inbox) as url:
        send(url.replace("http", "json") + "/hook")
    [got] = inbox.got
    assert (got.document["title"], got.document["message"]) == ("[lab] DOWN", "Since 02:10\n<x>")


class CapturedLog(logging.Handler):
    """What a program that logs everything would write. (Pytest's own looks where it must not.)"""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.getMessage()}")


@pytest.fixture
def captured() -> Iterator[CapturedLog]:
    root, handler = logging.getLogger(), CapturedLog()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


@pytest.mark.parametrize("status", [401, 500])
def test_no_error_tells_the_address(status: int, captured: CapturedLog) -> None:
    inbox = Inbox()
    inbox.status = status
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    with web_server(inbox) as url:
        host = url.partition("://")[2]
        with pytest.raises(ChannelFailed, match=f"apprise's json.*{status}") as raised:
            send(f"json://someone:Geheim@{host}/T0K3N/?+X-Key=Sch%20lecht")
    told = f"{raised.value!r} {raised.value.remedy} {raised.value.__cause__} {captured.lines}"
    for secret in ("someone", "Geheim", "T0K3N", "lecht"):
        assert secret not in told


@pytest.mark.parametrize("address", ["Geheim", "slack://Geheim", "nothing://Geheim/x", ""])
def test_an_address_that_apprise_cannot_read(address: str) -> None:
    with pytest.raises(ChannelFailed, match="cannot read the address") as raised:
        send(address)
    assert "Geheim" not in f"{raised.value!r} {raised.value.remedy}"


def test_a_service_that_hangs() -> None:
    inbox = Inbox()
    inbox.delay = 2.0
    with web_server(inbox) as url, pytest.raises(ChannelFailed):
        send(url.replace("http", "json"), bound=0.5)


def test_parts_of_an_address_are_taken_out_wherever_they_stand() -> None:
    said = without("tgram://123456:ABC-def/chat%20one", "POST /bot123456:abc-DEF/ chat one: 401")
    assert said == "POST /bot…:…/ … …: 401"
