"""Incidents in the journal's database."""

from dataclasses import replace
from pathlib import Path

import pytest

from backstay.journal.records import LeaseLost
from backstay.watch.incidents.notification import Delivery, NotificationEvent
from backstay.watch.incidents.record import (
    noted,
    opened_record,
    resolved,
    unnumbered,
    updated,
    with_notification,
)
from backstay.watch.incidents.store import Minute, WatchStore
from tests.watch.altered import altered
from tests.watch.causes import CAUSE as CAUSE_ALONE

CAUSE = replace(CAUSE_ALONE, symptoms=("controller/keystone/token",))


@pytest.fixture
def store(tmp_path: Path) -> WatchStore:
    return WatchStore(f"sqlite:///{tmp_path}/journal.db", "lab")


def test_a_cause_is_one_incident_while_it_lasts(store: WatchStore) -> None:
    first = store.open(CAUSE, began=90.0, at=92.0, channels=["mail"])
    again = store.open(CAUSE, began=95.0, at=96.0, channels=["mail"])
    assert again == first
    assert [notification.channel for notification in store.notifications()] == ["mail"]
    altered(
        store, first.id, lambda it: resolved(it, at=100.0, text="answers again", channels=["mail"])
    )
    altered(
        store, first.id, lambda it: resolved(it, at=101.0, text="answers again", channels=["mail"])
    )
    assert [one.event for one in store.notifications()] == [
        NotificationEvent.OPENED,
        NotificationEvent.RESOLVED,
    ]
    assert store.open(CAUSE, began=200.0, at=201.0, channels=[]).id != first.id


def test_an_incident_comes_back_as_it_was_written(store: WatchStore) -> None:
    opened_record = store.open(CAUSE, began=90.0, at=92.0, channels=[])
    more = replace(CAUSE, symptoms=("controller/keystone/token", "controller/nova/servers"))
    altered(store, opened_record.id, lambda it: updated(it, more, at=93.0, text="nova too"))
    altered(
        store,
        opened_record.id,
        lambda it: noted(it, "action_taken", "started replace-7", at=94.0, run="replace-7"),
    )
    read = store.incident(opened_record.id)
    assert read is not None
    assert (read.cause, read.run, read.closed) == (more, "replace-7", None)
    assert [(one.at, one.kind) for one in read.timeline] == [
        (92.0, "opened"),
        (93.0, "updated"),
        (94.0, "action_taken"),
    ]
    assert store.incidents(only_open=True) == [read]


def test_two_copies_of_an_incident_are_joined(store: WatchStore) -> None:
    opened_record = store.open(CAUSE, began=90.0, at=92.0, channels=["mail"])
    here = store.record(opened_record.id)
    assert here is not None
    [mail] = here.notifications
    altered(store, opened_record.id, lambda it: noted(it, "said", "one thing", at=93.0))
    sent = with_notification(here, replace(mail, state=Delivery.SENT, sent=94.0, attempts=1))
    for _ in range(2):
        store.put([noted(sent, "said", "another", at=92.5)])
    read = store.record(opened_record.id)
    assert read is not None
    assert [it.text for it in read.incident.timeline] == [CAUSE.title, "another", "one thing"]
    assert [it.state for it in read.notifications] == [Delivery.SENT]
    assert [it.id for it in store.notifications()] == [mail.id]
    assert store.notifications(unsent=True) == []


def test_incidents_that_turn_out_to_be_one(store: WatchStore) -> None:
    again = opened_record(
        unnumbered("lab", CAUSE, 1.0), "lab", CAUSE, began=1.0, at=1.0, channels=[]
    )
    store.put([again])
    first = store.open(replace(CAUSE, key="x"), began=2.0, at=2.0, channels=["mail"])
    assert first.id == 1  # and not the one after that which had no number
    store.put([], instead_of=[again.incident.id])
    assert [it.incident.id for it in store.live()] == [1]


def test_who_does_not_lead_any_more_writes_nothing(store: WatchStore, tmp_path: Path) -> None:
    store.open(CAUSE, began=1.0, at=1.0, channels=["mail"])
    store.lead()
    assert [it.incident.cause for it in store.live()] == [CAUSE]
    other = WatchStore(f"sqlite:///{tmp_path}/journal.db", "lab")
    other.lead()
    with pytest.raises(LeaseLost, match="taken over"):
        altered(store, 1, lambda it: resolved(it, at=2.0, text="over", channels=[]))
    altered(other, 1, lambda it: resolved(it, at=2.0, text="over", channels=[]))
    assert "process" in store.leader()
    assert "run" not in store.leader()


def test_history_is_kept_by_minute_and_forgotten(store: WatchStore) -> None:
    minute = Minute(subject="a/b/c", minute=100, asked=60, answered=59, median=0.1, longest=0.9)
    store.keep([minute])
    store.keep([replace(minute, answered=60)])
    assert store.history(since=6000.0) == [replace(minute, answered=60)]
    over = store.open(CAUSE, began=1.0, at=1.0, channels=["mail"])
    altered(store, over.id, lambda it: resolved(it, at=2.0, text="", channels=[]))
    store.forget(before=6060.0)
    assert store.history(since=0.0) == []
    assert store.incidents() == []
    assert store.notifications() == []


def test_another_clouds_incidents_are_not_mixed_in(store: WatchStore, tmp_path: Path) -> None:
    other = WatchStore(f"sqlite:///{tmp_path}/journal.db", "other")
    opened_record = other.open(CAUSE, began=1.0, at=1.0, channels=["mail"])
    assert store.incidents() == []
    assert store.incident(opened_record.id) is None
    assert store.notifications() == []
