"""When a reboot may start: in a window, at a time, now. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from backstay.inventory.cloud import Cloud
from backstay.journal.records import RunRecord
from backstay.maintenance import timing
from backstay.maintenance.refusal import Refusal
from backstay.maintenance.timing import Go
from backstay.runbooks.reboot.report import durations


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """When a reboot is to start: in the window of that name, else ``at`` an instant (aware).

    ``emergency`` ignores all windows.
    """

    at: datetime
    window: str = ""
    emergency: bool = False


def decide_start(
    cloud: Cloud, past: Sequence[RunRecord], hosts: Sequence[str], start: Start, *, now: datetime
) -> tuple[Go | Refusal, float]:
    """Return when reboots of ``hosts``, one after another, may start, or why they may not.

    With it, the seconds that the slowest host is expected to take, by its ``past`` runs.
    """
    each = [timing.expected(durations(past, host), cloud.maintenance.expected) for host in hosts]
    longest = max(each, key=lambda one: one.seconds)
    needed = timing.Expected(seconds=sum(one.seconds for one in each), source=longest.source)
    if start.window:
        return timing.in_window(cloud.windows, start.window, now, needed), longest.seconds
    windows = {} if start.emergency else cloud.windows
    return timing.at_instant(windows, start.at, needed), longest.seconds
