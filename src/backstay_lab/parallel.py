"""Work on several hosts in parallel, a thread each; where one fails the others stop."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from backstay_lab import programs
from backstay_lab.hosts import LabHost


class OtherHostFailed(Exception):
    """Work on this host ends because another host failed."""


class ParallelHosts:
    """Runs a function for several hosts in parallel."""

    def __init__(self) -> None:
        self._failed = threading.Event()

    def each(self, hosts: Sequence[LabHost], work: Callable[[LabHost], None]) -> None:
        """Call ``work`` for all hosts in parallel; raise the first error, which ends the others."""
        pool = ThreadPoolExecutor(max(1, len(hosts)))
        futures: list[Future[None]] = [pool.submit(work, host) for host in hosts]
        try:
            ended, running = wait(futures, return_when=FIRST_EXCEPTION)
            first = next((error for future in ended if (error := future.exception())), None)
            if first and running:
                self._failed.set()
                programs.kill_all()
                wait(running)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        if first:
            raise first

    def check(self) -> None:
        """Raise OtherHostFailed where another host has failed."""
        if self._failed.is_set():
            raise OtherHostFailed

    def wait_for(self, event: threading.Event) -> None:
        """Wait for an event that another host's thread sets. Raises as ``check``."""
        while not event.wait(0.5):
            self.check()
