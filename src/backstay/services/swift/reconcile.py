"""swift: what accounts list against the containers that there are.

The databases of accounts and containers are read where they lie, on the storage hosts: asked by the
proxy, every account would need its own credentials and every container its own question.
"""

import configparser
import glob
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from backstay.answers import Line
from backstay.inventory.enums import Role
from backstay.services.reconciliation import (
    Evidence,
    HostQuestion,
    Mismatch,
    MismatchKind,
    Reconciler,
    mismatch,
)

LISTINGS = "accounts and containers"
RINGS = "swift-recon --md5 on the proxy"
"""What compares the rings of all hosts."""
ACCOUNTS_READ = 300
CONTAINERS_READ = 3000
"""So many databases of each kind are read on a host; where there are more, a part of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingsAnswer:
    """What ``ask_listings`` answers.

    ``listed`` are account, container and count of objects; ``containers`` account, container, the
    count that it reported and whether it reported at all; ``part`` where not all was read.
    """

    listed: tuple[tuple[Line, Line, int], ...]
    containers: tuple[tuple[Line, Line, int, int | None], ...]
    part: bool


def compare(seen: Evidence) -> Iterator[Mismatch]:
    """Compare accounts with containers. Pure.

    Only where every storage host answered and none read only a part: a container has copies on some
    of them, and is missing only where none has one. Counts are compared with what a container last
    reported to its account: what is on its way is no mismatch.
    """
    if not seen.whole(LISTINGS):
        return
    answers: list[ListingsAnswer] = list(seen.answers[LISTINGS].values())
    reported_to: set[tuple[str, str]] = set()
    containers: dict[tuple[str, str], set[int]] = {}
    for answer in answers:
        for account, container, reported, known in answer.containers:
            containers.setdefault((account, container), set()).add(reported)
            reported_to |= {(account, container)} if known else set()
    listed: dict[tuple[str, str], set[int]] = {}
    for answer in answers:
        for account, container, count in answer.listed:
            listed.setdefault((account, container), set()).add(count)
    part = any(answer.part for answer in answers)
    for (account, container), counts in sorted(listed.items()):
        held = containers.get((account, container))
        if held is None:
            if not part:
                yield mismatch(
                    "swift",
                    f"container {account}/{container}",
                    MismatchKind.GONE,
                    (
                        f"the account lists it with {max(counts)} objects, and no storage host "
                        "has it: it answers 404",
                        "compare rings and hash suffix of all hosts with the backup's "
                        "(swift-recon --md5); on a lost disk let the replicators run",
                        RINGS,
                    ),
                )
        elif not held & counts:
            yield mismatch(
                "swift",
                f"container {account}/{container}",
                MismatchKind.STATE,
                (
                    f"the account counts {max(counts)} objects in it, it reported {max(held)}",
                    "see whether swift-container-updater runs on every storage host",
                    RINGS,
                ),
            )
    if part:
        return
    for account, container in sorted(reported_to - listed.keys()):
        yield mismatch(
            "swift",
            f"container {account}/{container}",
            MismatchKind.UNKNOWN_TO_RECORDS,
            (
                "storage hosts have it and reported it to its account, which does not list it",
                "see whether swift-container-updater runs on every storage host; it reports to the "
                "account",
                RINGS,
            ),
        )


def ask_listings() -> dict[str, Any]:
    """Return what accounts on this host list, and which containers there are. Runs on the host.

    Databases of many megabytes are read by their totals only; locked ones are left out, and
    the answer then counts as a part.
    """
    found: dict[str, Any] = {"listed": [], "containers": [], "part": False}
    for kind, limit in (("account", ACCOUNTS_READ), ("container", CONTAINERS_READ)):
        pattern = devices(kind) + "/*/" + kind + "s/*/*/*/*.db"
        paths = sorted(glob.glob(pattern))  # noqa: PTH207 - as short
        found["part"] = found["part"] or len(paths) > limit
        for path in paths[:limit]:
            try:
                rows = read(path, kind)
            except sqlite3.Error:
                if os.path.exists(path):  # noqa: PTH110 - as short
                    found["part"] = True
                continue
            found["listed" if kind == "account" else "containers"] += rows
    return found


def devices(kind: str) -> str:
    """Return the folder of the devices."""
    parser = configparser.RawConfigParser(strict=False)
    parser.read(["/etc/swift/" + kind + "-server.conf"])
    return str(parser.defaults().get("devices", "/srv/node"))


def read(path: str, kind: str) -> list[list[Any]]:
    """Return an account's containers with their counts, or what a container last reported.

    Deleted ones stay as rows for a while, and databases as files.
    """
    connection = sqlite3.connect("file:" + path + "?mode=ro", uri=True, timeout=1)
    try:
        if kind == "account":
            [(account,)] = connection.execute("SELECT account FROM account_stat")
            rows = connection.execute(
                "SELECT name, object_count FROM container WHERE deleted = 0 LIMIT 10000"
            )
            return [[account, name, count] for name, count in rows]
        rows = connection.execute(
            "SELECT account, container, reported_object_count, "
            "reported_put_timestamp >= put_timestamp FROM container_stat "
            "WHERE delete_timestamp <= put_timestamp"
        )
        # Accounts and containers of swift's own are listed in other ways.
        return [list(row) for row in rows if not row[0].startswith(".")]
    finally:
        connection.close()


RECONCILER = Reconciler(
    service="swift",
    questions=(
        HostQuestion(
            name=LISTINGS, roles=(Role.STORAGE,), ask=ask_listings, returns=ListingsAnswer
        ),
    ),
    compare=compare,
    order=70,
)
