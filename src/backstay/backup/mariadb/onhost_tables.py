"""What a host does with databases when a backup is put back. Shipped as text: see onhost."""

import subprocess
import sys
from typing import Any

from backstay.backup.mariadb.onhost_database import query


def load(database: str, charset: str, collation: str) -> None:
    """Load a dump from standard input into an empty database of that name."""
    query(
        "DROP DATABASE IF EXISTS `{0}`; CREATE DATABASE `{0}` CHARACTER SET {1} COLLATE {2}".format(
            database, charset, collation
        )
    )
    done = subprocess.run(
        ["mariadb", database],
        stdin=0,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(done.stderr.decode(errors="replace").strip()[-300:])


def swap_tables(pairs: list[list[str]]) -> dict[str, Any]:
    """Rename all tables of databases away, and the restored ones to their places, at one time.

    ``pairs`` are database, restored database, and database in which what was there is kept. Foreign
    keys follow their tables: https://mariadb.com/kb/en/rename-table/
    """
    renames, kept = [], []
    for database, restored, before in pairs:
        fresh = tables(restored)
        if not fresh:
            continue  # it was swapped before an interruption
        if triggers(database) or triggers(restored):
            raise OSError(database + " has triggers, and tables with triggers cannot be moved")
        query("CREATE DATABASE IF NOT EXISTS `" + before + "`")
        kept.append(before)
        renames += [(database, name, before) for name in tables(database)]
        renames += [(restored, name, database) for name in fresh]
    if renames:
        query(
            "SET foreign_key_checks = 0; SET lock_wait_timeout = 60; RENAME TABLE "
            + ", ".join("`{0}`.`{1}` TO `{2}`.`{1}`".format(*one) for one in renames)
        )
    for _, restored, _ in pairs:
        query("DROP DATABASE IF EXISTS `" + restored + "`")
    return {"kept": kept, "tables": len(renames)}


def tables(database: str) -> list[str]:
    """Return the names of a database's tables."""
    return query(
        "SELECT table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
        "AND table_schema = '" + database + "'"
    )


def triggers(database: str) -> list[str]:
    """Return the names of a database's triggers."""
    return query(
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = '"
        + database
        + "'"
    )


def answers(queries: list[str]) -> list[list[str]]:
    """Return the lines that each query gives, at most a hundred."""
    return [query(text)[:100] for text in queries]
