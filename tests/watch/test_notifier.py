"""The notifier, with real receivers that fail, hang and come back; and killed on its way."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BackstayError
from backstay.watch.incidents.incident import Kind
from backstay.watch.incidents.notification import NotificationEvent
from backstay.watch.notify import channels as channels_module
from backstay.watch.notify import notifier as courier_module
from tests.transports.receivers import Inbox, Mailbox, mail_server, web_server
from tests.watch.causes import DISK, MARIADB
from tests.watch.notifier_harness import cause, courier_of, opened, unsent, until


class Receivers:
    """A journal, a mail server and two web servers; ``ports`` stay the same when they come back."""

    def __init__(self, folder: Path) -> None:
        self.journal = folder / "journal.db"
        self.mailbox, self.hook, self.sms = Mailbox(), Inbox(), Inbox()
        self.stack = ExitStack()
        self.mail_port = self.stack.enter_context(mail_server(self.mailbox))()
        self.hook_url = self.stack.enter_context(web_server(self.hook))
        self.sms_url = self.stack.enter_context(web_server(self.sms))

    def mail(self, port: int = 0, **more: Any) -> dict[str, Any]:
        email = {
            "server": "127.0.0.1",
            "port": port or self.mail_port,
            "tls": "none",
            "from": "backstay@example.org",
            "to": ["ops@example.org"],
        }
        return {"email": email, **more}

    def webhook(self, **more: Any) -> dict[str, Any]:
        return {"webhook": {"url": self.hook_url}, **more}

    def fallback(self) -> dict[str, Any]:
        return {"apprise": {"url": self.sms_url.replace("http", "json")}, "fallback": True}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Receivers]:
    made = Receivers(tmp_path)
    with made.stack:
        yield made


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def words(inbox: Inbox) -> list[tuple[str, str]]:
    return [(one.document["event"], one.document["incident"]["title"]) for one in inbox.got]


def test_the_beginning_and_the_end_are_told_within_a_second(site: Receivers) -> None:
    async def story() -> None:
        channels = {"mail": site.mail(), "hook": site.webhook()}
        async with courier_of(site.journal, channels) as (incident_log, notifier):
            began = time.monotonic()
            now = time.time()
            down = await incident_log.open(MARIADB, began=now - 100, at=now)
            await until(lambda: site.mailbox.got and site.hook.got)
            assert time.monotonic() - began < 1.5
            await incident_log.close(down, at=now + 1, text="answers again")
            await until(lambda: len(site.mailbox.got) == 2 and len(site.hook.got) == 2)
            assert notifier.problems == ()
            await until(lambda: not unsent(site.journal))

    asyncio.run(story())
    first, last = site.mailbox.got
    assert first["Subject"] == f"[lab] DOWN: {MARIADB.title}"
    assert str(last["Subject"]).strip().startswith("[lab] RESOLVED after 1 min 41 s")
    assert last["References"] == first["Message-ID"]
    assert [event for event, _ in words(site.hook)] == ["opened", "resolved"]
    assert [one.headers["Idempotency-Key"] for one in site.hook.got] == [
        one.document["id"] for one in site.hook.got
    ]


def test_what_happens_at_once_is_one_mail_and_a_document_each(site: Receivers) -> None:
    names = ["nova", "glance", "cinder"]

    async def story() -> None:
        channels = {"mail": site.mail(), "hook": site.webhook()}
        async with courier_of(site.journal, channels) as (incident_log, _):
            for name in names:
                await opened(incident_log, cause(name))
                await until(lambda: site.hook.got)  # the first has been told there by now
            await until(lambda: len(site.hook.got) == 3 and site.mailbox.got)
            await until(lambda: not unsent(site.journal))

    asyncio.run(story())
    assert site.mailbox.subjects == ["[lab] DOWN: nova does not answer (and 2 more)"]
    assert [title.split()[0] for _, title in words(site.hook)] == names


def test_a_channel_that_fails_is_told_by_the_others_and_hears_of_it_when_it_is_back(
    site: Receivers,
) -> None:
    port = free_port()

    async def story() -> None:
        channels = {"mail": site.mail(port), "hook": site.webhook(), "sms": site.fallback()}
        async with courier_of(site.journal, channels) as (incident_log, notifier):
            await opened(incident_log, MARIADB)
            await until(lambda: site.sms.got)  # the third attempt has failed
            assert MARIADB.title in site.sms.got[0].document["title"]
            await until(lambda: len(site.hook.got) == 2)
            assert words(site.hook)[1] == ("opened", "channel mail does not accept messages")
            assert "Connection refused" in str(site.hook.got[1].document["incident"]["evidence"])
            [trouble] = notifier.problems
            assert trouble.startswith("channel mail: sending mail by 127.0.0.1")

            began = time.monotonic()  # nobody waits for a channel that is known to fail
            await opened(incident_log, cause("nova"))
            await until(lambda: len(site.sms.got) == 2)
            assert time.monotonic() - began < 2

            with mail_server(site.mailbox, port=port):
                await until(lambda: site.mailbox.got, bound=30)
                assert "channel mail does not accept messages" in site.mailbox.subjects[0]
                await until(lambda: notifier.problems == ())
                await until(lambda: len(site.hook.got) == 4)
                await until(lambda: not unsent(site.journal))
            kinds = {one.cause.kind for one in incident_log.open_incidents()}
            assert Kind.CHANNEL_FAILED not in kinds

    asyncio.run(story())
    assert len(site.sms.got) == 2
    assert words(site.hook)[3] == ("resolved", "channel mail does not accept messages")


def test_a_channel_that_hangs_is_not_waited_for_three_times(
    site: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels_module, "BOUND", 1.0)
    monkeypatch.setattr(courier_module, "PATIENCE", 0.8)
    site.mailbox.delay = 2.5

    async def story() -> None:
        channels = {"mail": site.mail(), "sms": site.fallback()}
        async with courier_of(site.journal, channels) as (incident_log, notifier):
            began = time.monotonic()
            await opened(incident_log, MARIADB)
            await until(lambda: site.sms.got)
            assert time.monotonic() - began < 3
            assert "in time" in notifier.problems[0] or "within 1 s" in notifier.problems[0]

    asyncio.run(story())


def test_without_a_fallback_who_has_it_is_not_told_again(site: Receivers) -> None:
    async def story() -> None:
        channels = {"mail": site.mail(free_port()), "hook": site.webhook()}
        async with courier_of(site.journal, channels) as (incident_log, notifier):
            await opened(incident_log, MARIADB)
            await until(lambda: notifier.problems and len(site.hook.got) == 2)
            await until(lambda: len(unsent(site.journal)) == 1)  # mail's own failure, for mail

    asyncio.run(story())
    assert [title for _, title in words(site.hook)] == [
        MARIADB.title,
        "channel mail does not accept messages",
    ]


def test_the_only_channel_is_tried_until_it_works(site: Receivers) -> None:
    port = free_port()

    async def story() -> None:
        async with courier_of(site.journal, {"mail": site.mail(port)}) as (incident_log, notifier):
            [down] = await opened(incident_log, MARIADB)
            await until(lambda: notifier.problems)
            await incident_log.close(down, at=time.time(), text="answers again")
            with mail_server(site.mailbox, port=port):
                await until(lambda: not unsent(site.journal), bound=30)

    asyncio.run(story())
    told = [subject.partition("[lab] ")[2].split()[0] for subject in site.mailbox.subjects]
    assert told[0] == "DOWN:"  # as it was first tried
    assert sorted(told[1:]) == ["RESOLVED"]  # of the incident and of the channel, in one


def test_a_channel_that_cannot_even_be_tried_holds_up_no_other(site: Receivers) -> None:
    channels = {"hook": site.webhook(), "chat": {"apprise": {"url": {"file": "/nowhere/url"}}}}

    async def story() -> None:
        async with courier_of(site.journal, channels) as (incident_log, notifier):
            await opened(incident_log, MARIADB)
            await until(lambda: len(site.hook.got) == 2)
            assert "/nowhere/url" in notifier.problems[0]

    asyncio.run(story())


def test_what_was_to_a_channel_that_is_gone_is_told_by_another(site: Receivers) -> None:
    async def story() -> None:
        async with courier_of(site.journal, {"old": site.mail(free_port())}) as (
            incident_log,
            notifier,
        ):
            await opened(incident_log, MARIADB)
            await until(lambda: notifier.problems)
        async with courier_of(site.journal, {"hook": site.webhook()}) as (incident_log, _):
            await until(lambda: not unsent(site.journal))
            assert [one.cause for one in incident_log.open_incidents()] == [MARIADB]

    asyncio.run(story())
    assert ("opened", MARIADB.title) in words(site.hook)


def test_a_warning_does_not_use_the_channel_for_what_is_urgent(site: Receivers) -> None:
    async def story() -> None:
        channels = {"mail": site.mail(least="critical"), "hook": site.webhook()}
        async with courier_of(site.journal, channels) as (incident_log, _):
            await opened(incident_log, DISK)
            await until(lambda: site.hook.got)
            await until(lambda: not unsent(site.journal))

    asyncio.run(story())
    assert site.mailbox.got == []


def test_refused_recipients_are_a_trouble_and_not_a_second_mail(site: Receivers) -> None:
    site.mailbox.refused_recipients = ("gone@example.org",)
    mail = site.mail()
    mail["email"]["to"] = ["gone@example.org", "ops@example.org"]

    async def story() -> None:
        async with courier_of(site.journal, {"mail": mail}) as (incident_log, notifier):
            await opened(incident_log, MARIADB)
            await until(lambda: notifier.problems)
            assert "gone@example.org was refused: 550" in notifier.problems[0]
            await until(lambda: not unsent(site.journal))

    asyncio.run(story())
    assert len(site.mailbox.got) == 1


def test_what_is_under_way_at_the_end_is_not_sent_again(site: Receivers) -> None:
    site.hook.delay = 0.7

    async def story() -> None:
        async with courier_of(site.journal, {"hook": site.webhook()}) as (incident_log, _):
            await opened(incident_log, MARIADB)
            await until(lambda: site.hook.got)
        assert unsent(site.journal) == []

    asyncio.run(story())
    assert len(site.hook.got) == 1


def killed_on_the_way(site: Receivers, channels: dict[str, Any], names: list[str]) -> None:
    """Have a notifier in its own process notify; kill it when the receiver has got something."""
    for box in (site.hook, site.mailbox):
        box.delay = 3.0
    command = [
        sys.executable,
        "-m",
        "tests.watch.notifier_harness",
        str(site.journal),
        json.dumps(channels),
    ]
    process = subprocess.Popen([*command, *names], cwd=Path(__file__).parents[2])
    try:
        arrived = site.hook.arrived if "hook" in channels else site.mailbox.arrived
        assert arrived.wait(20)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    for box in (site.hook, site.mailbox):
        box.delay = 0.0


def test_killed_between_sending_and_knowing_it_sends_once_more_with_the_same_id(
    site: Receivers,
) -> None:
    channels = {"hook": site.webhook()}
    killed_on_the_way(site, channels, ["nova", "glance"])
    assert len(unsent(site.journal)) == 2

    async def story() -> None:
        async with courier_of(site.journal, channels) as (incident_log, _):
            await until(lambda: not unsent(site.journal))
            assert len(incident_log.open_incidents()) == 2

    asyncio.run(story())
    ids = Counter(one.headers["Idempotency-Key"] for one in site.hook.got)
    assert sorted(ids.values()) == [1, 2]


def test_a_mail_that_was_taken_before_the_kill_is_known_again_by_its_id(site: Receivers) -> None:
    channels = {"mail": site.mail()}
    killed_on_the_way(site, channels, ["nova", "glance"])

    async def story() -> None:
        async with courier_of(site.journal, channels) as (incident_log, _):
            await opened(incident_log, cause("cinder"))  # must not go out under an id that was seen
            await until(lambda: not unsent(site.journal))

    asyncio.run(story())
    first, again, other = site.mailbox.got
    assert first["Message-ID"] == again["Message-ID"] != other["Message-ID"]
    assert first.get_content() == again.get_content()
    assert "cinder" in other["Subject"]


def test_the_test_message(site: Receivers) -> None:
    channels = {"mail": site.mail(), "hook": site.webhook(), "bad": site.mail(free_port())}

    async def story() -> None:
        async with courier_of(site.journal, channels) as (_, notifier):
            assert f"127.0.0.1:{site.mail_port} accepted it" in await notifier.test("mail")
            await notifier.test("hook")
            for channel, problem in (("bad", "refused"), ("none", "mail, hook, bad")):
                with pytest.raises(BackstayError) as raised:
                    await notifier.test(channel)
                assert problem in f"{raised.value} {raised.value.remedy}"

    asyncio.run(story())
    assert site.mailbox.subjects == ["[lab] Test message of the watch"]
    assert [one.document["event"] for one in site.hook.got] == ["test"]


def test_a_change_is_told_in_the_thread(site: Receivers) -> None:
    async def story() -> None:
        async with courier_of(site.journal, {"mail": site.mail()}) as (incident_log, _):
            [down] = await opened(incident_log, MARIADB)
            await until(lambda: len(site.mailbox.got) == 1)
            off = replace(MARIADB, kind=Kind.HOST_OFF, title="controller is off")
            down = await incident_log.change(
                down, off, at=time.time(), text="BMC: off", notify=True
            )
            await until(lambda: len(site.mailbox.got) == 2)
            await incident_log.note(
                down,
                "action_taken",
                "started replace-7",
                at=time.time(),
                event=NotificationEvent.ACTION_TAKEN,
            )
            await until(lambda: len(site.mailbox.got) == 3)

    asyncio.run(story())
    assert site.mailbox.subjects[1:] == [
        "[lab] NOW OFF: controller is off",
        "[lab] ACTION TAKEN: controller is off",
    ]
    assert "started replace-7" in site.mailbox.got[2].get_content()
    assert len({mail["References"] for mail in site.mailbox.got[1:]}) == 1
