"""What BACKSTAY_DEBUG=1 shows of what is sent: names and places, never arguments or secrets."""

import logging

import pytest

from backstay.access.shipping import program
from backstay.transports.sent import log_request, log_script


def answer(secret: str) -> str:
    return secret


def test_what_is_logged_has_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "backstay.sent")
    log_script("controller", "192.0.2.11", program(answer, "top-secret"))
    log_request("GET /servers", "https://joe:top-secret@api.example:8774/v2.1/servers?t=top-secret")
    assert "controller (192.0.2.11): python3 -I -: answer(), " in caplog.messages[0]
    assert caplog.messages[1] == "http, GET /servers: https://api.example:8774/v2.1/servers"
    assert "top-secret" not in caplog.text


def test_nothing_is_logged_without_it(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("backstay.sent").setLevel(logging.WARNING)
    log_script("controller", "192.0.2.11", "print()")
    log_request("GET /servers", "https://api.example/servers")
    assert not caplog.messages
