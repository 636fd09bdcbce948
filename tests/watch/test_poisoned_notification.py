"""A notification that cannot be sent stops no other, with real receivers of mail and documents."""

import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from backstay.watch.incidents.incident import Kind, TimelineEntry
from backstay.watch.incidents.store import WatchStore
from backstay.watch.notify import notifier as notifier_module
from backstay.watch.notify.channels import EmailSender
from tests.watch.causes import MARIADB
from tests.watch.notifier_harness import cause, courier_of, opened, unsent, until
from tests.watch.test_notifier import Receivers

HOSTILE = "dead\ud800 \x1b[2J\u202e"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Receivers]:
    made = Receivers(tmp_path)
    with made.stack:
        yield made


def texts(site: Receivers) -> str:
    return "\n".join(str(mail["Subject"]) + mail.get_content() for mail in site.mailbox.got)


def test_texts_of_causes_and_timelines_are_clean() -> None:
    one = replace(MARIADB, title=HOSTILE, evidence=(HOSTILE,), impact=HOSTILE, remedy=HOSTILE)
    for text in (one.title, *one.evidence, one.impact, one.remedy):
        assert text.isprintable()
    assert TimelineEntry(at=1.0, kind="updated", text=HOSTILE).text.isprintable()


def spoil(journal: Path, mark: str) -> None:
    """Put into a journal what an older version wrote for ``mark``: as JSON it can be anything."""
    with sqlite3.connect(journal) as db:
        done = db.execute(
            "UPDATE incidents SET cause = replace(cause, ?, ?)", (mark, r"dead\ud800\u001b[2J")
        )
        assert done.rowcount


def test_an_older_journal_with_a_lone_surrogate_silences_nobody(site: Receivers) -> None:
    """What a host's answer could do: mail about other hosts never came."""
    store = WatchStore(f"sqlite:///{site.journal}", "lab")
    for name in ("poison", "nova", "glance"):
        store.open(cause(name), began=1.0, at=2.0, channels=["mail", "hook"])
    store.close_database()
    spoil(site.journal, "poison does not answer")

    async def story() -> None:
        channels = {"mail": site.mail(), "hook": site.webhook()}
        async with courier_of(site.journal, channels):
            await until(lambda: len(site.hook.got) == 3 and site.mailbox.got)
            await until(lambda: not unsent(site.journal))

    asyncio.run(story())
    assert all(name in texts(site) for name in ("nova", "glance", "dead"))
    assert "\x1b" not in texts(site)


def has(word: str) -> Any:
    def refuses(mail: EmailMessage) -> bool:
        return word in mail.get_content()

    return refuses


def test_a_mail_that_the_server_refuses_for_its_content_stops_no_other(site: Receivers) -> None:
    site.mailbox.refuses_content = has("GTUBE")
    names = ["GTUBE", "nova", "glance"]

    async def story() -> None:
        async with courier_of(site.journal, {"mail": site.mail()}) as (incident_log, notifier):
            await opened(incident_log, *(cause(name) for name in names))
            await until(lambda: all(name in texts(site) for name in names[1:]))
            await until(lambda: len(unsent(site.journal)) == 1 and notifier.problems)
            assert "554" in notifier.problems[0]
            await opened(incident_log, cause("cinder"))
            await until(lambda: "cinder" in texts(site))

    asyncio.run(story())
    assert "GTUBE" not in texts(site)


def test_what_one_channel_refuses_another_sends(site: Receivers) -> None:
    site.mailbox.refuses_content = has("GTUBE")

    async def story() -> None:
        channels = {"mail": site.mail(), "sms": site.fallback()}
        async with courier_of(site.journal, channels) as (incident_log, _):
            await opened(incident_log, cause("GTUBE"))
            await until(lambda: site.sms.got)
            await until(lambda: not unsent(site.journal))

    asyncio.run(story())


def test_what_is_refused_is_sent_in_ascii(site: Receivers) -> None:
    site.mailbox.refuses_content = lambda mail: not mail.get_content().isascii()

    async def story() -> None:
        async with courier_of(site.journal, {"mail": site.mail()}) as (incident_log, _):
            await opened(incident_log, cause("Überwachung"), cause("nova"))
            await until(lambda: not unsent(site.journal))

    asyncio.run(story())
    assert "\\xdcberwachung does not answer" in texts(site)
    assert "nova does not answer" in texts(site)


def test_a_document_that_is_refused_does_not_hold_up_the_next(site: Receivers) -> None:
    site.hook.refuses = lambda document: "poison" in document["subject"]

    async def story() -> None:
        async with courier_of(site.journal, {"hook": site.webhook()}) as (incident_log, notifier):
            await opened(incident_log, cause("poison"), cause("nova"), cause("glance"))
            await until(lambda: len(site.hook.got) == 2)
            await until(lambda: len(unsent(site.journal)) == 1)
            assert not any("422" in one and "failing" in one for one in notifier.problems)

    asyncio.run(story())


def unsent_by_sms(site: Receivers) -> list[str]:
    return [one for one in unsent(site.journal) if one.endswith(".sms")]


def test_a_channel_that_refuses_all_is_the_one_that_fails(
    site: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier_module, "TRIES", 1)
    site.mailbox.refuses_content = lambda _: True

    async def story() -> None:
        channels = {"mail": site.mail(), "sms": site.fallback()}
        async with courier_of(site.journal, channels) as (incident_log, _):
            await opened(incident_log, cause("nova"), cause("glance"))
            await until(lambda: site.sms.got and not unsent_by_sms(site))
            kinds = {one.cause.kind for one in incident_log.open_incidents()}
            assert Kind.CHANNEL_FAILED in kinds

    asyncio.run(story())


def test_an_error_of_ours_in_one_message_stops_no_other(
    site: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = EmailSender.send

    async def send(self: EmailSender, batch: Any) -> str:
        if any("poison" in one.cause.title for _, one in batch):
            raise KeyError("poison")
        return await real(self, batch)

    monkeypatch.setattr(EmailSender, "send", send)

    async def story() -> None:
        async with courier_of(site.journal, {"mail": site.mail()}) as (incident_log, _):
            await opened(incident_log, cause("poison"), cause("nova"))
            await until(lambda: "nova" in texts(site))

    asyncio.run(story())
