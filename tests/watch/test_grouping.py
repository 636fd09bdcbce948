"""What makes one message."""

from backstay.watch.incidents.notification import Delivery
from backstay.watch.incidents.notification import NotificationEvent as Event
from backstay.watch.notify.grouping import next_batch, pieces
from tests.watch.causes import DISK, incident, notification, over

DOWN = incident()
FULL = incident(DISK, id=13)


def test_what_is_due_within_a_moment_is_one_message() -> None:
    due = [(notification(FULL, made=20.0), FULL), (notification(DOWN, made=10.0), DOWN)]
    assert [one.incident for one, _ in next_batch(due, grouped=True)] == [12, 13]
    assert [one.incident for one, _ in next_batch(due, grouped=False)] == [12]


def test_what_was_tried_goes_out_again_as_it_was() -> None:
    tried = notification(DOWN, made=10.0, attempts=1, state=Delivery.SENDING)
    due = [(notification(FULL, made=5.0), FULL), (tried, DOWN)]
    assert next_batch(due, grouped=True) == [(tried, DOWN)]


def test_of_several_words_the_one_that_matters_is_said() -> None:
    for words, said in (
        ([Event.OPENED, Event.UPDATED], Event.OPENED),
        (
            [
                Event.OPENED,
                Event.UPDATED,
                Event.APPROVAL_REQUESTED,
            ],
            Event.APPROVAL_REQUESTED,
        ),
        (
            [Event.APPROVAL_REQUESTED, Event.ACTION_TAKEN],
            Event.ACTION_TAKEN,
        ),
        (
            [
                Event.OPENED,
                Event.APPROVAL_REQUESTED,
                Event.RESOLVED,
            ],
            Event.RESOLVED,
        ),
        ([Event.UPDATED, Event.UPDATED], Event.UPDATED),
    ):
        one = over(DOWN)
        [piece] = pieces([(notification(one, event), one) for event in words])
        assert piece.event is said
        assert len(piece.notifications) == len(words)
