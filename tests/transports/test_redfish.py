"""Power by Redfish: taken, read back, kept off; what a board does not do is told."""

import asyncio
import socket

import pytest

from backstay.errors import PowerError
from backstay.transports import bmc, power
from backstay.transports.bmc import power_of
from backstay.transports.power import Power
from backstay.transports.targets import BmcTarget
from tests.transports.redfish_board import RedfishBoard, served


def power_at(url: str) -> Power:
    return power_of(BmcTarget(name="controller", url=url, username="admin", password="s3cret"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "OFF_PAUSE", 0.01)
    monkeypatch.setattr(power, "OFF_BOUND", 30.0)


def test_off_is_done_only_when_it_is_read_back():
    board = RedfishBoard(stays=3)
    with served(board) as url:
        power = power_at(url)
        assert asyncio.run(power.state()) is True
        asyncio.run(power.off())
        assert board.power == "Off"
        assert asyncio.run(power.state()) is False
        asyncio.run(power.off())  # which says that it is off already
    assert board.resets == ["ForceOff", "ForceOff"]


def test_a_board_that_only_says_yes_is_not_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "OFF_BOUND", 0.5)
    with (
        served(RedfishBoard(stays=None)) as url,
        pytest.raises(PowerError, match="still reports that it is on"),
    ):
        asyncio.run(power_at(url).off())


def test_a_board_between_on_and_off_is_neither():
    board = RedfishBoard()
    board.power = "PoweringOff"
    with served(board) as url:
        assert asyncio.run(power_at(url).state()) is None


def test_it_is_kept_off_by_all_that_the_board_offers():
    board = RedfishBoard()
    with served(board) as url:
        assert asyncio.run(power_at(url).keep_off()) == []
        assert (board.policy, board.override) == ("AlwaysOff", "Disabled")
        done = len(board.patches)
        assert asyncio.run(power_at(url).keep_off()) == []
    assert len(board.patches) == done, "what is set already is left alone"


@pytest.mark.parametrize(
    ("board", "told"),
    [
        (RedfishBoard(policy=None), "does not offer PowerRestorePolicy"),
        (RedfishBoard(deaf=True), "it stays LastState"),
    ],
)
def test_what_could_not_be_set_is_told_and_is_no_failure(board, told):
    with served(board) as url:
        (missed,) = asyncio.run(power_at(url).keep_off())
    assert missed.startswith("power after an outage: ")
    assert told in missed


def test_a_board_that_refuses_connections_is_told_in_a_few_words():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
        target = BmcTarget(name="old", url=url, username="admin", password="s3cret")
        assert asyncio.run(bmc.listens(target))
    assert not asyncio.run(bmc.listens(target))
    with pytest.raises(PowerError) as caught:
        asyncio.run(power_at(url).state(bound=20.0))
    assert caught.value.came_back == "its BMC cannot be reached: Connection refused"


def test_a_board_that_is_dead_is_an_error_within_the_bound():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(PowerError, match=r"within 1 s|Read timed out") as caught:
            asyncio.run(power_at(url).state(bound=1.0))
    assert "s3cret" not in str(caught.value) + caught.value.remedy


def test_a_board_of_this_machine_is_not_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch):
    """By http its password would go over the network to the proxy, which no warning tells of."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with served(RedfishBoard()) as url:
        assert asyncio.run(power_at(url).state()) is True
