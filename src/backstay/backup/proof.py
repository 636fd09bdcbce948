"""What a restored database must show to prove its backup. Pure but for the questions it asks."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from backstay.answers import clean
from backstay.backup.mariadb.onhost_database import GRANTS
from backstay.backup.mariadb.sql import UnusualName, identifier, listed, table_identifier
from backstay.services.declaration import Invariant, Migrations
from backstay.transports.programs import failed

Ask = Callable[[str], Awaitable[list[str]]]
_SHOWN = 5
_DOING = "asking the restored database"
_NUMBER = re.compile("[0-9]{1,18}")


async def broken_invariants(ask: Ask, invariants: Sequence[Invariant]) -> list[str]:
    """Return a sentence for each invariant that does not hold."""
    found = []
    for one in invariants:
        rows = await ask(one.broken)
        if rows:
            more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
            shown = ", ".join(clean(row, longest=200) for row in rows[:_SHOWN])
            found.append(f"{len(rows)} {one.says}: {shown}{more}")
    return found


async def count_rows(ask: Ask, tables: Sequence[str]) -> dict[str, int]:
    """Return the number of rows of each table (``database.table``).

    The names are those that were noted at backup time. Raises BackupError for one that is unusual,
    and where the answer is another than that to the question.
    """
    if not tables:
        return {}
    counting = " UNION ALL ".join(
        f"SELECT {number}, COUNT(*) FROM {name}"  # noqa: S608 - quoted
        for number, name in enumerate(_quoted(tables, table_identifier))
    )
    found = {}
    for line in await ask(counting):
        number, _, count = line.partition("\t")
        if not (_NUMBER.fullmatch(number) and _NUMBER.fullmatch(count)):
            raise failed(_DOING, f"the restored database answered {clean(line, longest=80)!r}")
        if int(number) < len(tables):
            found[tables[int(number)]] = int(count)
    return found


def _quoted(names: Sequence[str], quote: Callable[[str], str]) -> list[str]:
    """Return names as SQL has them. Raises BackupError for an unusual one."""
    try:
        return [quote(name) for name in names]
    except UnusualName as error:
        raise failed(_DOING, str(error)) from None


def lost_rows(
    before: Mapping[str, int],
    after: Mapping[str, int],
    restored: Mapping[str, int],
    touched: Collection[str] = (),
) -> list[str]:
    """Return the tables whose rows are neither those before nor after the backup, nor between.

    In tables that were ``touched`` meanwhile rows came and went: of these, only an empty table that
    was never seen empty is reported.
    """
    found = []
    for table, count in before.items():
        low, high = sorted((count, after.get(table, count)))
        now = restored.get(table)
        if now is None:
            found.append(f"{table} is missing")
        elif table in touched:
            if low and not now:
                found.append(f"{table} is empty, and had {low} rows")
        elif not low <= now <= high:
            expected = str(low) if low == high else f"{low} to {high}"
            found.append(f"{table} has {now} rows instead of {expected}")
    return found


async def lost_grants(ask: Ask, noted: Sequence[str]) -> list[str]:
    """Return one sentence for the accounts, and their grants on databases, that are missing."""
    lost = sorted(set(noted) - set(await ask(GRANTS)))
    more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    return [f"accounts or grants are missing: {', '.join(lost[:_SHOWN])}{more}"] if lost else []


async def schema_heads(ask: Ask, databases: Sequence[str]) -> dict[str, list[str]]:
    """Return each database's schema version, where alembic keeps one in it."""
    there = await ask(
        "SELECT table_schema FROM information_schema.tables WHERE table_name = 'alembic_version' "  # noqa: S608 - literals
        f"AND table_schema IN {listed(list(databases))}"
    )
    if not there:
        return {}
    # In one question; databases may have different collations.
    asking = " UNION ALL ".join(
        f"SELECT {number}, CONVERT(version_num USING utf8mb4) FROM {name}.alembic_version"  # noqa: S608 - quoted
        for number, name in enumerate(_quoted(there, identifier))
    )
    heads: dict[str, list[str]] = {name: [] for name in there}
    for line in await ask(asking):
        number, _, version = line.partition("\t")
        if not _NUMBER.fullmatch(number) or int(number) >= len(there):
            raise failed(_DOING, f"the restored database answered {clean(line, longest=80)!r}")
        heads[there[int(number)]].append(clean(version, longest=200))
    return {name: sorted(versions) for name, versions in heads.items()}


def other_schemas(noted: Mapping[str, Any], restored: Mapping[str, Any]) -> list[str]:
    """Return the databases whose schema version is not the one noted at backup time."""
    return [
        f"{name} has schema {', '.join(restored.get(name, ())) or 'none'} instead of "
        f"{', '.join(heads)}"
        for name, heads in noted.items()
        if restored.get(name) != heads
    ]


def outdated_schemas(
    expected: Mapping[str, Sequence[str]],
    restored: Mapping[str, Sequence[str]],
    migrations: Mapping[str, Migrations],
) -> list[str]:
    """Return the databases that are not at the schema version that the installed release expects.

    A database may name more versions than the heads, where it was stamped rather than upgraded.
    """
    return [
        f"{name} has schema {', '.join(restored[name]) or 'none'}, its release expects "
        f"{', '.join(heads)}: was `{migrations[name].sync}` not run?"
        for name, heads in expected.items()
        if name in restored and not set(heads) <= set(restored[name])
    ]
