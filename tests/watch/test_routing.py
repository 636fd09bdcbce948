"""Who is told."""

from backstay.inventory.watch import Watch
from backstay.watch.incidents.incident import Urgency
from backstay.watch.incidents.notification import Delivery
from backstay.watch.incidents.notification import NotificationEvent as Event
from backstay.watch.notify.routing import channels_for, instead_of, next_batch, sections
from tests.watch.causes import DISK, incident, notification, over

HOOK = {"webhook": {"url": "http://192.0.2.9/"}}


def watch(**channels: dict[str, object]) -> Watch:
    return Watch.model_validate({"channels": {n: {**HOOK, **how} for n, how in channels.items()}})


SITE = watch(chat={}, pager={"least": "critical"}, sms={"fallback": True})


def test_a_warning_wakes_nobody() -> None:
    assert channels_for(SITE, Urgency.WARNING) == ("chat",)
    assert channels_for(SITE, Urgency.CRITICAL) == ("chat", "pager")


def test_fallbacks_are_told_where_there_is_nothing_else() -> None:
    assert channels_for(watch(sms={"fallback": True}), Urgency.WARNING) == ("sms",)
    assert channels_for(watch(), Urgency.CRITICAL) == ()


def test_a_fallback_is_told_instead_though_others_have_it() -> None:
    told = instead_of(SITE, "chat", Urgency.CRITICAL, failing={"chat"}, have={"pager"})
    assert told == ("sms",)


def test_without_fallbacks_nobody_is_told_twice() -> None:
    site = watch(chat={}, mail={})
    failing = {"chat"}
    assert instead_of(site, "chat", Urgency.WARNING, failing=failing, have={"mail"}) == ()
    assert instead_of(site, "chat", Urgency.WARNING, failing=failing, have=()) == ("mail",)


def test_where_nobody_is_left_it_is_tried_again() -> None:
    failing = {"chat", "pager", "sms"}
    assert instead_of(SITE, "chat", Urgency.CRITICAL, failing=failing, have=()) is None


def test_rather_a_pager_for_a_warning_than_nobody() -> None:
    site = watch(chat={}, pager={"least": "critical"})
    assert instead_of(site, "chat", Urgency.WARNING, failing={"chat"}, have=()) == ("pager",)


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
        [section] = sections([(notification(one, event), one) for event in words])
        assert section.event is said
        assert len(section.notifications) == len(words)
