"""Functions that are sent to a host, each with an effect that can be counted."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from backstay.access.onhost_lease import changes_host, hold_lease


def append(path: str, line: str) -> bool:
    """Append a line."""
    with open(path, "a") as file:  # noqa: PTH123 - as short
        file.write(line + "\n")
    return True


@changes_host
def change(path: str, line: str) -> bool:
    """Append a line: wherever this is sent, it changes the host."""
    return append(path, line)


def append_for(path: str, seconds: float) -> bool:
    """Append the time again and again."""
    until = time.time() + seconds
    while time.time() < until:
        append(path, str(time.time()))
        time.sleep(0.1)
    return True


def take_at(when: float, given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take a host for several runs at the same moment."""

    def take(one: dict[str, Any]) -> dict[str, Any]:
        time.sleep(max(0.0, when - time.time()))
        return hold_lease(one)

    with ThreadPoolExecutor(len(given)) as pool:
        return list(pool.map(take, given))
