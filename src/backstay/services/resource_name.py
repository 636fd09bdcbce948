"""The name of every resource of a smoke test, by which the next run finds what was left.

``backstay-deep-TIME-WHERE-PID-RANDOM``: the time in UTC, a short digest of this machine's boot
and process namespace, the process. Left over is what a process created here that has ended,
and what is older than any run takes. Pure, except that ``new`` and ``is_left_over`` look at
processes.
"""

import hashlib
import os
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

PREFIX = "backstay-deep-"
# No run takes as long: every one of its waits is bounded, and they add up to less.
LONGEST_RUN = timedelta(minutes=30)
_FORM = re.compile(PREFIX + r"(\d{8}t\d{6}z)-([0-9a-f]{8})-(\d+)-[0-9a-f]{6}")
_TIME = "%Y%m%dt%H%M%Sz"


def new() -> str:
    """Return a fresh name."""
    now = datetime.now(UTC).strftime(_TIME)
    return f"{PREFIX}{now}-{_here()}-{os.getpid()}-{secrets.token_hex(3)}"


def is_left_over(name: str, *, now: datetime) -> bool:
    """Return whether a resource of that name was left by an earlier run and may be deleted.

    Only of names of exactly this form.
    """
    form = _FORM.fullmatch(name)
    if form is None:
        return False
    made = datetime.strptime(form[1], _TIME).replace(tzinfo=UTC)
    if now - made > LONGEST_RUN:
        return True
    return form[2] == _here() and not Path(f"/proc/{form[3]}").exists()


def _here() -> str:
    """Return a digest that another machine, boot or process namespace does not share."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    namespace = Path("/proc/self/ns/pid").readlink()
    return hashlib.sha256(f"{boot}{namespace}".encode()).hexdigest()[:8]
