"""Leases: taking a target raises its epoch, and every write compares it.

So a process that lost its lock without noticing can write nothing more.
"""

import getpass
import os
import socket
import time
import uuid
from collections.abc import Mapping, Sequence

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


_IDENTITY = "//journal"
"""The row that names the journal itself: no lock is called so."""


def journal_id(db: Connection) -> str:
    """Return the name of this journal, which no other has; it is made at the first call."""
    known = db.scalar(sa.select(EPOCHS.c.run).where(EPOCHS.c.target == _IDENTITY))
    if known is None:
        known = uuid.uuid4().hex
        values = {"epoch": 0, "holder": "", "run": known, "at": time.time()}
        db.execute(sa.insert(EPOCHS).values(target=_IDENTITY, **values))
    return str(known)


def raise_own_epochs(db: Connection, targets: Sequence[str], run: str) -> dict[str, int]:
    """Raise the epochs of those targets that ``run`` was the last to take; return those of all.

    What another run has taken since is that one's: it continues.
    """
    query = sa.select(EPOCHS.c.target, EPOCHS.c.epoch, EPOCHS.c.run)
    rows = db.execute(query.where(EPOCHS.c.target.in_(list(targets)))).all()
    return {
        target: raise_epoch(db, target, run) if by == run else int(epoch)
        for target, epoch, by in rows
    }


def raise_epoch(db: Connection, target: str, run: str) -> int:
    """Take a target for a run; return its new epoch. A process that had it can write no more."""
    known = db.scalar(sa.select(EPOCHS.c.epoch).where(EPOCHS.c.target == target))
    values = {"epoch": (known or 0) + 1, "holder": me(), "run": run, "at": time.time()}
    if known is None:
        db.execute(sa.insert(EPOCHS).values(target=target, **values))
    else:
        db.execute(sa.update(EPOCHS).where(EPOCHS.c.target == target).values(**values))
    return (known or 0) + 1


def compare(db: Connection, epochs: Mapping[str, int], attempted: str, *, run: str = "") -> None:
    """Raise LeaseLost if a target was taken from ``run``, which rolls the transaction back."""
    query = sa.select(EPOCHS).where(EPOCHS.c.target.in_(list(epochs)))
    for row in db.execute(query).mappings():
        if row["epoch"] != epochs[row["target"]]:
            what = f"{row['target']} was taken over by {row['holder']}, for run {row['run']}"
            if row["run"] == run:
                what = f"the run was resumed or abandoned by {row['holder']}"
            raise LeaseLost(attempted, came_back=what, remedy=f"backstay runs show {row['run']}")


def holder(db: Connection, target: str) -> str:
    """Return who took a target last, and for which run; empty if it was never taken."""
    row = db.execute(sa.select(EPOCHS).where(EPOCHS.c.target == target)).mappings().first()
    return f"{row['holder']}, for run {row['run']}" if row else ""
