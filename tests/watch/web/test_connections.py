"""Who has to go when there are too many connections, whose turn it is, and what is counted."""

import asyncio
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import pytest

from backstay.watch.web.connections import Room, Rooms, Stage, limits_for, network_of
from backstay.watch.web.rates import Rates, Summary
from backstay.watch.web.turns import Turns


def room(most: int, *favoured: str) -> Room[str]:
    return Room(most, lambda network: network in favoured)


def test_whoever_holds_the_most_makes_room() -> None:
    mine = room(10)
    for number in range(9):
        assert mine.enter(f"a{number}", "a") is None
    assert mine.enter("b0", "b") is None
    assert mine.enter("c0", "c") == "a0"
    mine.touch("a1", "a")
    assert mine.enter("d0", "d") == "a2"
    assert (len(mine), mine.held_by("a"), mine.held_by("b")) == (10, 7, 1)


def test_one_network_makes_room_for_itself() -> None:
    mine = room(3)
    assert [mine.enter(str(number), "a") for number in range(5)] == [None, None, None, "0", "1"]


def test_addresses_of_readers_go_last() -> None:
    mine = room(4, "office")
    for number in range(3):
        mine.enter(f"o{number}", "office")
    mine.enter("x", "elsewhere")
    assert mine.enter("o3", "office") == "x"


def test_leaving_twice_counts_once() -> None:
    mine = room(2)
    mine.enter("x", "a")
    mine.leave("x", "a")
    mine.leave("x", "a")
    assert (len(mine), mine.held_by("a")) == (0, 0)


def test_strangers_take_no_place_of_readers() -> None:
    rooms: Rooms[int] = Rooms(limits_for(1024))
    for number in range(10_000):
        rooms[Stage.UNKNOWN].enter(number, f"10.0.{number % 250}.1")
        rooms.favour(str(number))
    assert rooms[Stage.KNOWN].enter(-1, "anna") is None
    assert len(rooms[Stage.UNKNOWN]) == rooms.limits.unknown
    assert len(rooms._from) <= 1024


@pytest.mark.parametrize("files", [16, 256, 1024, 20_000, 1 << 20])
def test_the_page_takes_a_part_of_the_files(files: int) -> None:
    limits = limits_for(files)
    assert 8 <= limits.total <= max(8, min(4096, files // 4))
    assert min(limits.silent, limits.unknown, limits.known) >= 2


def test_an_ipv6_network_is_one_visitor() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert network_of("2001:db8:0:1::1") != network_of("2001:db8::1")
    assert network_of("::ffff:10.0.0.1") == network_of("10.0.0.1") == "10.0.0.1"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("testclient") == "elsewhere"


def test_a_flood_is_spread_over_turns() -> None:
    at_once: list[int] = []

    def take(turns: Turns, act: Act) -> None:
        for number in range(50):
            turns.take("flood", partial(act, str(number)), 0.002)
        turns.take("reader", partial(act, "reader"), 0.002)
        at_once.append(len(order))

    order: list[str] = []
    ordered(order, take, 51, lambda network: (False, 0 if network == "reader" else 99))
    assert at_once[0] < 10
    assert order.index("reader") < 10
    assert len(set(order)) == 51


def test_requests_and_new_connections_of_one_network_take_turns() -> None:
    def take(turns: Turns, act: Act) -> None:
        turns.take("own", partial(act, "first"), 1.0)
        for number in range(3):
            turns.take("own", partial(act, f"start {number}"), 0.002)
            turns.take("own", partial(act, f"read {number}"))

    order: list[str] = []
    ordered(order, take, 7, lambda _: (False, 0))
    assert order[1:] == ["start 2", "read 0", "start 1", "read 1", "start 0", "read 2"]


Act = Callable[[str], None]


def ordered(
    order: list[str],
    take: Callable[[Turns, Act], None],
    count: int,
    rank: Callable[[str], tuple[int, int]],
) -> None:
    """Note in ``order`` what is run of what ``take`` gives, until that are ``count``."""

    async def story() -> None:
        done = asyncio.Event()

        def act(name: str) -> None:
            order.append(name)
            if len(order) == count:
                done.set()

        take(Turns(rank), act)
        async with asyncio.timeout(10):
            await done.wait()

    asyncio.run(story())


def test_rates_are_bounded_and_come_back() -> None:
    now = [0.0]
    rates = Rates(rate=10, burst=5, most=100, clock=lambda: now[0])
    assert [rates.allow("a") for _ in range(7)] == [True] * 5 + [False] * 2
    assert rates.allow("b")
    now[0] = 0.2
    assert [rates.allow("a") for _ in range(3)] == [True, True, False]
    for number in range(1000):
        rates.allow(str(number))
    assert len(rates._left) == 100


def test_a_summary_is_written_once_a_minute_and_not_of_a_few() -> None:
    now, lines = [0.0], list[str]()
    summary = Summary(lines.append, lambda: now[0])
    for second in range(300):
        now[0] = float(second)
        for _ in range(100 if second < 150 else 0):
            summary.count("sent nothing")
    summary.count("sent nothing")
    assert len(lines) == 2 + 1
    assert "sent nothing" in lines[0]


def test_the_watch_may_open_as_many_files_as_it_is_allowed() -> None:
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 2048));"
        "from backstay.watch.file_limit import raise_file_limit; print(raise_file_limit());"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert said.stdout.split("\n")[:2] == ["2048", "(2048, 2048)"], said.stderr
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 0
