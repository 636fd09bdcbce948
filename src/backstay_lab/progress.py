"""What ``lab up`` is doing, per host: a live table on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table


class Progress:
    """The phases of all hosts. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._phases: dict[str, tuple[str, float]] = {}
        self._took: dict[str, list[str]] = {}
        self._began = time.monotonic()
        self._live: Live | None = None

    def phase(self, host: str, phase: str) -> None:
        """Say that a host has entered a phase, which ends the one before."""
        now = time.monotonic()
        with self._lock:
            before = self._phases.get(host)
            if before:
                self._took.setdefault(host, []).append(f"{before[0]} {now - before[1]:.0f} s")
            self._phases[host] = (phase, now)
            if not self._live:
                print(f"{now - self._began:6.0f} s  {host:<12} {phase}", flush=True)

    def seconds(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._began

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the table while the block runs, where standard output is a terminal."""
        if not sys.stdout.isatty():
            yield
            return
        from rich.live import Live  # noqa: PLC0415 - imported only where something is drawn

        with Live(get_renderable=self._table, refresh_per_second=2) as self._live:
            yield
        self._live = None

    def hide(self) -> None:
        """Leave the terminal as it was; for an end in the middle of ``shown``."""
        if self._live:
            self._live.stop()

    def _table(self) -> "Table":
        from rich.table import Table  # noqa: PLC0415

        table = Table(box=None, pad_edge=False)
        for title in ("host", "phase", "seconds", "done"):
            table.add_column(title, justify="right" if title == "seconds" else "left")
        now = time.monotonic()
        with self._lock:
            for host, (phase, since) in self._phases.items():
                took = ", ".join(self._took.get(host, []))
                table.add_row(host, phase, f"{now - since:.0f}", took, style=_style(phase))
        return table


def _style(phase: str) -> str:
    return "green" if phase == "ready" else ""
