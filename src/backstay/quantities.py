"""Quantities in words that are quick to read."""


def ago(seconds: float | None) -> str:
    """Return ``3 min ago`` for 180; ``at an unknown time`` for None."""
    return "at an unknown time" if seconds is None else f"{duration(seconds)} ago"


def lasting(seconds: float | None) -> str:
    """Return ``for 3 min`` for 180; empty for None."""
    return "" if seconds is None else f"for {duration(seconds)}"


def duration(seconds: float) -> str:
    """Return a duration with the unit that fits: ``45 s``, ``3 min``, ``7 h``, ``12 days``."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:.0f} days"


def exact(seconds: float) -> str:
    """Return a duration to the second: ``45 s``, ``4 min 50 s``, ``3 min``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    return f"{whole // 3600} h" + (f" {whole % 3600 // 60} min" if whole % 3600 >= 60 else "")


def size(count: float) -> str:
    """Return a number of bytes as ``3.2 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
