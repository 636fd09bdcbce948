"""Clocks that are set do not make what is old fresh again."""

import math
import time

import pytest

from backstay import clock
from backstay.clock import Ages, Moment, moment


def test_within_a_boot_the_wall_clock_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    then = moment()
    for jump in (-7200.0, 7200.0):
        real = time.time
        monkeypatch.setattr(time, "time", lambda jump=jump: then.at + jump)
        assert 0 <= then.age() < 60
        monkeypatch.setattr(time, "time", real)
    old = Moment(at=then.at, boot=then.boot, up=then.up - 7200)
    monkeypatch.setattr(time, "time", lambda: then.at + 1)  # it was set back
    assert old.age() >= 7200


def test_across_boots_a_time_in_the_future_is_not_fresh() -> None:
    now = time.time()
    assert Moment(at=now + 3600).age() == math.inf
    assert Moment(at=now + 3600, boot="another", up=clock.since_boot()).age() == math.inf
    assert 60 <= Moment(at=now - 60, boot="another", up=0.0).age() < 120


def test_ages_grow_as_time_passes_whatever_the_wall_clock_says() -> None:
    clocks = {"wall": 1000.0, "up": 50.0}
    ages = Ages(lambda: clocks["wall"], lambda: clocks["up"])
    assert ages.of(900.0) == 100.0
    clocks |= {"wall": 90000.0, "up": 55.0}
    assert ages.of(900.0) == 105.0
    clocks |= {"wall": 10.0, "up": 60.0}
    assert ages.of(900.0) == 110.0
    assert ages.of(500.0) == 0.0, "what is in the future has just happened"
    clocks["up"] = 61.0
    assert ages.of(500.0) == 1.0
