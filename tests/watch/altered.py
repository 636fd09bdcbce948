"""An incident in the journal, after more has happened to it."""

from collections.abc import Callable

from backstay.watch.incidents.record import IncidentRecord
from backstay.watch.incidents.store import WatchStore


def altered(
    store: WatchStore, incident: int, alter: Callable[[IncidentRecord], IncidentRecord]
) -> None:
    """Write an incident again, as the incident log does."""
    known = store.record(incident)
    assert known is not None
    store.put([alter(known)])
