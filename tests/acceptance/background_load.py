"""What goes on beside a story until its block ends: questions again and again, pings."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.acceptance.conftest import Lab
from tests.acceptance.test_lab import pings as answers

EVERY = 0.5  # seconds between two rounds of pings


@contextmanager
def again_and_again(ask: Callable[[], None], pause: float = 0.0) -> Iterator[None]:
    """Ask on a thread until the block ends, every ``pause`` seconds; its error is the story's."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(pause):
            ask()

    with ThreadPoolExecutor(max_workers=1) as beside:
        working = beside.submit(work)
        try:
            yield
        finally:
            over.set()
        working.result()


@dataclass
class Pings:
    """How many pings were sent to the instances, and which were not answered, when."""

    sent: int = 0
    lost: list[tuple[str, float]] = field(default_factory=list)


@contextmanager
def pinging(lab: Lab) -> Iterator[Pings]:
    """Ping every instance of the seed until the block ends."""
    pings = Pings()

    def ping() -> None:
        for server in lab.seed["instances"]:
            pings.sent += 1
            if not answers(server["address"]):
                pings.lost.append((server["address"], time.time()))

    with again_and_again(ping, EVERY):
        yield pings


@contextmanager
def nobody_misses_a_ping(lab: Lab) -> Iterator[None]:
    """The instances answer every ping all the while."""
    with pinging(lab) as pings:
        yield
    assert pings.sent > 0
    assert pings.lost == []
