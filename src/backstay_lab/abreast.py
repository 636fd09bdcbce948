"""Hosts brought up side by side, each on a thread; where one fails the others stop."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from backstay_lab import programs
from backstay_lab.hosts import LabHost


class Abandoned(Exception):
    """Another host failed, so this one is not gone on with."""


class Abreast:
    """Work on several hosts at once."""

    def __init__(self) -> None:
        self._failed = threading.Event()

    def each(self, hosts: Sequence[LabHost], one: Callable[[LabHost], None]) -> None:
        """Do something for all hosts side by side; the first error ends the others."""
        pool = ThreadPoolExecutor(max(1, len(hosts)))
        futures: list[Future[None]] = [pool.submit(one, host) for host in hosts]
        try:
            ended, going_on = wait(futures, return_when=FIRST_EXCEPTION)
            first = next((error for future in ended if (error := future.exception())), None)
            if first and going_on:
                self._failed.set()
                programs.kill_all()
                wait(going_on)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if first:
            raise first

    def go_on(self) -> None:
        """Raise Abandoned where another host has failed."""
        if self._failed.is_set():
            raise Abandoned

    def wait_for(self, event: threading.Event) -> None:
        """Wait for what the thread of another host brings about; raises as ``go_on``."""
        while not event.wait(0.5):
            self.go_on()
