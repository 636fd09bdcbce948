"""Whether a host itself answers, from its pings and its own word."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from backstay.transports.ping_monitor import Echo
from backstay.watch.detect.probe import Outcome
from backstay.watch.detect.reachability import HANGS, STARTING, HostReachability


def reach(
    *,
    pinged: float | None,
    streamed: float | None = 0.5,
    refused: bool = False,
    unasked: bool = False,
    began: float = 60.0,
    stream: bool = True,
    echo: bool = True,
) -> HostReachability:
    now = time.monotonic()
    ping_monitor: Any = SimpleNamespace(allowed=True, hosts={})
    if echo:
        heard = None if pinged is None else now - pinged
        ping_monitor.hosts["c1"] = Echo(address="10.0.0.11", heard=heard, seconds=0.001)
    one: Any = SimpleNamespace(
        heard=None if streamed is None else now - streamed,
        refused=refused,
        unasked=unasked,
        excuse="it is busy",
        trouble="the user or the key was refused",
    )
    found = HostReachability(ping_monitor, {"c1": one} if stream else {}, 1.0)
    found.began = now - began
    return found


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        ({"pinged": 0.3}, Outcome.OK),
        ({"pinged": 5.0}, Outcome.OK),  # pings get lost, its status channel has data
        ({"pinged": 5.0, "streamed": 5.0}, Outcome.SILENT),
        ({"pinged": None, "streamed": None}, Outcome.SILENT),
        ({"pinged": None, "streamed": None, "began": STARTING - 1}, Outcome.UNKNOWN),
        ({"pinged": 0.3, "streamed": HANGS + 1}, Outcome.LATE),
        ({"pinged": 0.3, "streamed": HANGS + 1, "refused": True}, Outcome.OK),
        ({"pinged": None, "streamed": None, "refused": True}, Outcome.OK),
        # The fault is on this machine, or on the way: a jump host, say.
        ({"pinged": None, "streamed": None, "unasked": True}, Outcome.UNKNOWN),
        ({"pinged": None, "streamed": None, "unasked": True, "echo": False}, Outcome.UNKNOWN),
        ({"pinged": None, "streamed": 60.0, "unasked": True}, Outcome.UNKNOWN),
        ({"pinged": 0.3, "streamed": None, "unasked": True}, Outcome.OK),
        ({"pinged": 0.3, "streamed": 60.0, "unasked": True}, Outcome.OK),
        ({"pinged": 5.0, "streamed": 60.0, "unasked": True}, Outcome.SILENT),
        ({"pinged": 0.3, "streamed": None, "stream": False}, Outcome.OK),  # a spare: only its pings
        ({"pinged": 5.0, "streamed": None, "stream": False}, Outcome.SILENT),
        ({"pinged": None, "streamed": None, "stream": False, "echo": False}, Outcome.UNKNOWN),
    ],
)
def test_how_a_host_looks(given: dict[str, Any], outcome: Outcome) -> None:
    result = reach(**given).probe_result("c1")
    assert result.outcome is outcome, result
    assert not result.sure  # only what others say of it is


def test_what_excuses_late_answers() -> None:
    found = reach(pinged=0.1)
    assert found.excuse("c1") == "it is busy"
    found.ping_monitor.hosts["c1"].lost.extend([False, True])
    assert found.excuse("c1") == "50% of pings to it are lost"
    assert found.excuse("unknown") == ""
    assert reach(pinged=0.1, streamed=3.0).excuse("c1") == "no data on its status channel"


def test_who_tells_nothing_just_now() -> None:
    assert reach(pinged=0.1, streamed=0.5).silent_streams() == []
    assert reach(pinged=0.1, streamed=3.0).silent_streams() == ["c1"]
    assert reach(pinged=0.1, streamed=None).silent_streams() == ["c1"]
    assert reach(pinged=0.1, streamed=None, refused=True).silent_streams() == []
    assert reach(pinged=0.1, streamed=None, unasked=True).silent_streams() == []
