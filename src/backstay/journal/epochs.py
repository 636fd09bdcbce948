"""Leases: taking a target raises its epoch, and every write compares it.

So a process that lost its lock without noticing can write nothing more.
"""

import getpass
import os
import socket
import time
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from backstay.journal.records import LeaseLost
from backstay.journal.tables import EPOCHS


def me() -> str:
    """Return the name of this process as a lock's holder: ``root@ops, process 4711``."""
    return f"{who()}@{socket.gethostname()}, process {os.getpid()}"


def who() -> str:
    """Return the login name of the operator, also behind sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # no such user in passwd
        return f"uid {os.getuid()}"


def raise_epoch(db: Connection, target: str, run: str) -> int:
    """Take a target for a run; return its new epoch. A process that had it can write no more."""
    known = db.scalar(sa.select(EPOCHS.c.epoch).where(EPOCHS.c.target == target))
    values = {"epoch": (known or 0) + 1, "holder": me(), "run": run, "at": time.time()}
    if known is None:
        db.execute(sa.insert(EPOCHS).values(target=target, **values))
    else:
        db.execute(sa.update(EPOCHS).where(EPOCHS.c.target == target).values(**values))
    return (known or 0) + 1


def compare(db: Connection, epochs: Mapping[str, int], attempted: str) -> None:
    """Raise LeaseLost if a target was taken since, which rolls the transaction back."""
    query = sa.select(EPOCHS).where(EPOCHS.c.target.in_(list(epochs)))
    for row in db.execute(query).mappings():
        if row["epoch"] != epochs[row["target"]]:
            raise LeaseLost(
                attempted,
                came_back=f"{row['target']} was taken over by {row['holder']}, "
                f"for run {row['run']}",
                remedy=f"backstay runs show {row['run']}",
            )


def holder(db: Connection, target: str) -> str:
    """Return who took a target last, and for which run; empty if it was never taken."""
    row = db.execute(sa.select(EPOCHS).where(EPOCHS.c.target == target)).mappings().first()
    return f"{row['holder']}, for run {row['run']}" if row else ""
