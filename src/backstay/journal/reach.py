"""Can the journal and the locks be used? Nothing is made and nothing is written.

This module imports SQLAlchemy and tooz where they are asked.
"""

import logging
from pathlib import Path
from urllib.parse import urlsplit

from backstay.errors import BackstayError
from backstay.journal import drivers
from backstay.journal.place import JOURNAL, LOCKS
from backstay.journal.records import JournalError
from backstay.transports.urls import redacted, without_secrets

_HEAD = b"SQLite format 3\0"
_PORTS = {"etcd3": 2379, "postgresql": 5432, "redis": 6379}


def journal_file(url: str) -> Path | None:
    """Return the file of a journal in SQLite, None where it is in a server."""
    if not url.startswith("sqlite"):
        return None
    _, _, path = url.partition("///")
    return Path(path.partition("?")[0])


def file_trouble(file: Path) -> str:
    """Return why a file is no journal, empty where it is one or not there yet."""
    try:
        with file.open("rb") as content:
            head = content.read(len(_HEAD))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return "" if head in {b"", _HEAD} else "it is not a database of SQLite"


def ask_journal(url: str) -> None:
    """Connect to the server of a journal and ask it for a number. It blocks. Raises JournalError.

    No table is made: so it is not known whether the journal may be written.
    """
    import sqlalchemy as sa  # noqa: PLC0415 - heavy
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError  # noqa: PLC0415

    attempted = f"connecting to the journal in {without_secrets(url, path=True)}"
    other = f"name another journal in {JOURNAL}"
    try:
        engine = sa.create_engine(url)
    except ImportError as error:
        driver = sa.make_url(url).get_driver_name()
        came_back, remedy = drivers.missing(error, driver, otherwise=other)
        raise JournalError(attempted, came_back=came_back, remedy=remedy) from error
    except (SQLAlchemyError, ValueError) as error:
        raise JournalError(
            attempted, came_back=redacted(str(error))[:300], remedy=f"correct {JOURNAL}"
        ) from error
    try:
        with engine.connect() as db:
            db.execute(sa.text("SELECT 1"))
    except (SQLAlchemyError, OSError) as error:
        reason = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        raise JournalError(
            attempted,
            came_back=redacted(" ".join(reason.split()))[:300],
            remedy=f"make sure that the server runs and takes this user, or {other}",
        ) from error
    finally:
        engine.dispose()


def load_locks(url: str) -> None:
    """Load the driver of the locks; nothing is asked by it. It blocks. Raises BackstayError."""
    from tooz import coordination  # noqa: PLC0415 - heavy

    for noisy in ("tooz", "stevedore"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    attempted = f"using the locks ({url.partition('://')[0]})"
    try:
        coordination.get_coordinator(url, b"backstay-doctor")
    except ImportError as error:
        other = f"name other locks in {LOCKS}"
        came_back, remedy = drivers.missing(error, otherwise=other)
        raise BackstayError(attempted, came_back=came_back, remedy=remedy) from error
    except Exception as error:  # tooz, the library below it, or no such driver
        raise BackstayError(
            attempted, came_back=redacted(str(error))[:300], remedy=f"correct {LOCKS}"
        ) from error


def locks_server(url: str) -> tuple[str, int] | None:
    """Return where the server of the locks is, None where they are files or that is not known."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None
