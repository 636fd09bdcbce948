"""What comes beside data is bounded, and what healthy hosts do is not."""

from typing import Any, cast

import pytest

from backstay.transports.ssh_meter import BESIDE, LATE, SPAN, Meter


class Connection:
    """Remembers that it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def _force_close(self, _error: Exception) -> None:
        self.closed = True


def meter(outer: Meter | None = None) -> tuple[Meter, Connection, list[float]]:
    connection, now = Connection(), [100.0]
    return Meter(cast("Any", connection), outer, clock=lambda: now[0]), connection, now


def test_any_amount_of_data_may_come_in_usual_pieces():
    made, connection, _ = meter()
    for _ in range(100_000):
        made.data(4096)
        made.came(4096 + 64)
    assert not connection.closed


def test_a_host_may_say_as_often_as_it_is_sent_something_that_it_has_taken_it():
    made, connection, _ = meter()
    for _ in range(100_000):
        made.sent(1 << 15)
        made.came(80)
    assert not connection.closed


def test_what_carries_nothing_is_counted_within_a_span():
    made, connection, now = meter()
    for _ in range(10):
        made.came(BESIDE)
        now[0] += SPAN + 1
    assert not connection.closed
    ended: list[str] = []
    made.begin(made, lambda: ended.append("a"), 0)
    made.came(BESIDE)
    made.came(1)
    assert connection.closed
    assert ended == ["a"]


def test_what_is_under_way_when_a_conversation_ends_is_no_flood():
    made, connection, now = meter()
    made.begin(made, lambda: None, 0)
    made.over(made)
    made.over(made)
    made.came(BESIDE + LATE)
    assert not connection.closed
    made.came(1)
    assert connection.closed
    assert now


@pytest.mark.parametrize("size", [1 << 10, 1 << 20])
def test_what_a_jump_host_passes_on_is_data_of_it(size):
    outer, outermost, _ = meter()
    inner, _, _ = meter(outer)
    for _ in range(1000):
        inner.data(size)
        inner.came(size + 64)
        outer.came(size + 128)
    assert not outermost.closed
