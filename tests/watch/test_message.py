"""What people read."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from backstay.watch.incidents.incident import Incident, Kind, TimelineEntry, Urgency
from backstay.watch.incidents.notification import Notification, NotificationEvent
from backstay.watch.notify import alertmanager
from backstay.watch.notify.message import Message, headline, known_as, message, short, text
from backstay.watch.notify.routing import sections
from backstay.watch.notify.webhook import document
from tests.watch.causes import BEGAN, DISK, MARIADB, incident, notification, over

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "watch.schema.json").read_text(encoding="utf-8")
)
DOWN = incident()


def said(*batch: tuple[Notification, Incident]) -> Message:
    return message(batch, sections(batch), zone=UTC)


def test_a_mail_on_what_is_down() -> None:
    assert said((notification(DOWN), DOWN)) == Message(
        id="12.opened.0.mail.1764036605000@lab.backstay",
        follows="",
        subject="[lab] DOWN: MariaDB on controller does not answer",
        text="""\
DOWN: MariaDB on controller does not answer
Since Tue 25 Nov 02:10:03 UTC

Impact:     every OpenStack API fails; instances run on
Remedy:     backstay check controller

Observed:
  query from ops1: takes the connection and does not answer within 1.5 s
  compute1 and storage1 reach controller

Also down (4): keystone (the cloud's address); nova, glance on controller; \
nova-compute on compute1

Timeline:
  02:10:05 opened: MariaDB on controller does not answer

incident-12, cloud lab, service-failed, critical
""",
        short="""\
DOWN: MariaDB on controller does not answer
Since Tue 25 Nov 02:10:03 UTC
Impact:     every OpenStack API fails; instances run on
Observed: query from ops1: takes the connection and does not answer within 1.5 s
4 more targets are down because of it
Remedy: backstay check controller
incident-12""",
    )


def test_when_it_is_over_the_duration_comes_first_and_the_mails_are_a_thread() -> None:
    ended = over(DOWN)
    told = said((notification(ended, NotificationEvent.RESOLVED, made=ended.closed), ended))
    assert told.subject == "[lab] RESOLVED after 3 min 12 s: MariaDB on controller does not answer"
    assert told.follows == said((notification(DOWN), DOWN)).id
    first, when, news, *_ = told.text.splitlines()
    assert first == "RESOLVED after 3 min 12 s: MariaDB on controller does not answer"
    assert when == "From Tue 25 Nov 02:10:03 to 02:13:15 UTC"
    assert news == "answers again"
    assert "To do" not in told.text


def test_an_approval_is_asked_for_with_its_command() -> None:
    line = TimelineEntry(
        at=BEGAN + 9, kind="approval_requested", text="controller can be replaced by spare1"
    )
    asked = replace(DOWN, timeline=(*DOWN.timeline, line))
    told = message(
        [(notification(asked, NotificationEvent.APPROVAL_REQUESTED), asked)],
        sections([(notification(asked, NotificationEvent.APPROVAL_REQUESTED), asked)]),
        approval=lambda one: f"backstay watch approve {one.name} 7XK2",
    )
    assert told.subject.startswith("[lab] APPROVAL REQUIRED: MariaDB")
    for words in (told.text, told.short):
        assert "controller can be replaced by spare1" in words
        assert "backstay watch approve incident-12 7XK2" in words


def test_several_are_one_message_and_the_worst_is_its_subject() -> None:
    full = incident(DISK, id=13)
    ended = over(incident(id=14))
    told = said(
        (notification(full), full),
        (notification(ended, NotificationEvent.RESOLVED), ended),
        (notification(DOWN), DOWN),
    )
    assert told.subject == "[lab] DOWN: MariaDB on controller does not answer (and 2 more)"
    assert told.id.startswith("13.opened")
    places = [told.text.index(one) for one in ("DOWN: Maria", "WARNING: disk", "RESOLVED after")]
    assert places == sorted(places)


def test_only_being_cut_off_here_is_not_called_down() -> None:
    cut = replace(
        MARIADB, kind=Kind.MONITORING_HOST_ISOLATED, title="controller is unreachable from here"
    )
    assert (
        headline(incident(cut), NotificationEvent.OPENED)
        == "ISOLATED: controller is unreachable from here"
    )


def test_every_kind_has_a_word_for_it() -> None:
    for kind in Kind:
        assert headline(incident(replace(MARIADB, kind=kind)), NotificationEvent.OPENED)


def test_what_a_host_said_cannot_break_a_subject_or_fill_a_mailbox() -> None:
    cause = replace(
        MARIADB,
        title="down\r\nBcc: x@example.org",
        evidence=tuple(f"line {n} " + "x" * 5000 for n in range(100)),
        symptoms=tuple(f"compute{n}/agent/nova-compute" for n in range(40)),
    )
    many = tuple(TimelineEntry(at=BEGAN + n, kind="updated", text="y" * 2000) for n in range(50))
    one = incident(cause, timeline=many)
    told = said((notification(one), one))
    assert "\n" not in told.subject
    assert len(told.text) < 12_000
    assert "and 88 more" in told.text
    assert len(told.short) < 1500


def test_a_telling_is_known_again_and_another_journals_is_not_taken_for_it() -> None:
    assert known_as(notification(DOWN), "lab") == known_as(notification(DOWN, attempts=3), "lab")
    assert known_as(notification(DOWN), "lab") != known_as(
        notification(DOWN, made=BEGAN + 3), "lab"
    )
    assert known_as(notification(DOWN), "lab") != known_as(notification(DOWN), "shop")
    assert " " not in known_as(notification(DOWN, channel="a b>"), "lab <x>")


def test_the_webhooks_document_is_as_the_schema_says() -> None:
    for one, event in ((DOWN, NotificationEvent.OPENED), (over(DOWN), NotificationEvent.RESOLVED)):
        told = json.loads(json.dumps(document(notification(one, event), one)))
        assert list(told) == SCHEMA["required"] == list(SCHEMA["properties"])
        schema = SCHEMA["properties"]["incident"]
        assert list(told["incident"]) == schema["required"] == list(schema["properties"])
        timeline = schema["properties"]["timeline"]["items"]
        assert all(list(line) == timeline["required"] for line in told["incident"]["timeline"])
        assert datetime.fromisoformat(told["incident"]["began"]).timestamp() == BEGAN
    assert told["incident"]["seconds"] == 192.0
    values = SCHEMA["properties"]["incident"]["properties"]
    assert values["kind"]["enum"] == [kind.value for kind in Kind]
    assert set(values["urgency"]["enum"]) == {urgency.value for urgency in Urgency}
    assert SCHEMA["properties"]["event"]["enum"] == [event.value for event in NotificationEvent]


def test_an_alert_lasts_while_it_is_posted_and_ends_with_the_incident() -> None:
    alert = alertmanager.alert(DOWN, at=1000.0)
    assert alert.labels == {
        "alertname": "service-failed",
        "cloud": "lab",
        "host": "controller",
        "service": "mariadb",
        "severity": "critical",
        "cause": "service-failed:controller/mariadb",
    }
    assert (alert.starts, alert.ends) == (BEGAN, 1000.0 + 4 * alertmanager.REPEAT)
    assert alertmanager.alert(over(DOWN), at=1000.0).ends == BEGAN + 192


def test_a_short_text_says_what_a_long_one_does() -> None:
    for line in short(DOWN, NotificationEvent.OPENED, zone=UTC).splitlines()[:3]:
        assert line in text(DOWN, NotificationEvent.OPENED, zone=UTC)
