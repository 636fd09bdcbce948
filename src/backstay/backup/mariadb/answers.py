"""What hosts answer about their databases, as it is read: a bad answer is that host's failure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from backstay.answers import Count, Line, Seconds

AbsolutePath = Annotated[str, Field(pattern=r"^/[^\x00-\x1f\x7f]{0,1000}$")]
UserName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\$?$")]
"""That of a user of a database server: it is given to tar(1) on this machine."""


@dataclass(frozen=True, kw_only=True)
class DatabaseFacts:
    """The answer of ``onhost_database.database_facts``.

    Attributes:
        version: the server's.
        clock: the host's, in seconds since 1970.
        schemas: by database the versions of its schema, of those that note one.
        touched: the tables that were written to since a time.
        grants: one text for each account, and for each of its grants.
        logs: by binary log what it is known by.
        rows: by table (``database.table``) how many it has.

    """

    version: Line
    clock: Seconds
    schemas: Mapping[str, Sequence[Line]]
    touched: Sequence[str]
    grants: Sequence[str]
    logs: Mapping[str, Line]
    rows: Mapping[str, Count]


@dataclass(frozen=True, kw_only=True)
class ExpectedSchemas:
    """The answer of ``migrations.expected_heads``: by database its heads, or why not known."""

    heads: Mapping[str, Sequence[Line]] = field(default_factory=dict)
    unknown: Mapping[str, Line] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ServerHost:
    """The answer of ``onhost_restore.look``: whether a host can take a backup.

    Attributes:
        data: the data directory; ``own_mount``: it is a file system of its own.
        owner: the user that owns it.
        server: the version that the server prints, empty where there is none.
        free_data: bytes that are free there.
        zstd: the host can decompress a stream.
        fills: the host can make a data directory of a hot backup.
        has: by program whether it is there.

    """

    data: AbsolutePath
    owner: UserName
    own_mount: bool = False
    server: Line = ""
    free_data: Count
    zstd: bool = False
    fills: bool = False
    has: Mapping[str, bool]


@dataclass(frozen=True, kw_only=True)
class TablesSwapped:
    """The answer of ``onhost_restore.swap_tables``: databases that hold what was replaced."""

    kept: Sequence[Line]
