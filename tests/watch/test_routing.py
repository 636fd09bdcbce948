"""Who is told."""

from backstay.inventory.watch import Watch
from backstay.watch.incidents.incident import Urgency
from backstay.watch.notify.routing import channels_for, instead_of

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
