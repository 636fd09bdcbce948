"""Mail, handed in to a real mail server."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.errors import ChannelFailed
from backstay.transports.smtp import Letter, MailServer, send_mail
from tests.transports.receivers import PASSWORD, USER, Mailbox, certificates, mail_server

LETTER = Letter(
    sender="Backstay <backstay@ops.example.org>",
    to=("Ops <ops@example.org>", "boss@example.org"),
    subject="[lab] DOWN: MariaDB — it does not answer",
    text="Since 02:10:03\nUsers lose: everything\n",
    id="12.opened.0.mail.1@lab.backstay",
    at=1764036603.0,
)


def send(server: MailServer, letter: Letter = LETTER, bound: float = 10) -> Mapping[str, str]:
    return asyncio.run(send_mail(server, letter, bound=bound))


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def plain(mailbox: Mailbox) -> Iterator[MailServer]:
    with mail_server(mailbox) as port:
        yield MailServer(host="127.0.0.1", port=port(), tls="none")


@pytest.fixture
def secure(mailbox: Mailbox, tmp_path: Path) -> Iterator[MailServer]:
    ca, pem = certificates(tmp_path)
    with mail_server(mailbox, pem=pem) as port:
        yield MailServer(
            host="127.0.0.1", port=port(), tls="starttls", ca=ca, username=USER, password=PASSWORD
        )


def test_a_mail_arrives_by_starttls_and_login(secure: MailServer, mailbox: Mailbox) -> None:
    assert send(secure, replace(LETTER, follows="1@x")) == {}
    [mail] = mailbox.got
    assert mail["Subject"] == LETTER.subject
    assert mail["Message-ID"] == "<12.opened.0.mail.1@lab.backstay>"
    assert mail["References"] == mail["In-Reply-To"] == "<1@x>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["To"] == "Ops <ops@example.org>, boss@example.org"
    assert mail.get_content().splitlines() == LETTER.text.splitlines()


def test_a_certificate_that_is_not_trusted(secure: MailServer, mailbox: Mailbox) -> None:
    with pytest.raises(ChannelFailed, match="certificate is not trusted") as raised:
        send(replace(secure, ca=None))
    assert "`ca`" in raised.value.remedy
    assert mailbox.got == []


def test_another_hosts_certificate(mailbox: Mailbox, tmp_path: Path) -> None:
    ca, pem = certificates(tmp_path, name="192.0.2.1")
    with mail_server(mailbox, pem=pem) as port:
        server = MailServer(host="127.0.0.1", port=port(), tls="starttls", ca=ca)
        with pytest.raises(ChannelFailed, match="certificate is not trusted"):
            send(server)


def test_a_wrong_password_is_not_told(secure: MailServer) -> None:
    wrong = replace(secure, password="Falsch-0815")
    with pytest.raises(ChannelFailed, match="login was refused") as raised:
        send(wrong)
    assert "Falsch" not in f"{raised.value!r} {raised.value.remedy} {wrong!r}"


def test_a_password_does_not_go_over_a_plain_connection(
    plain: MailServer, mailbox: Mailbox
) -> None:
    with pytest.raises(ChannelFailed, match="nothing was sent"):
        send(replace(plain, username=USER, password=PASSWORD))
    assert mailbox.got == []


def test_a_server_without_starttls_gets_nothing(plain: MailServer, mailbox: Mailbox) -> None:
    with pytest.raises(ChannelFailed, match="STARTTLS") as raised:
        send(replace(plain, tls="starttls"))
    assert "`tls: none`" in raised.value.remedy
    assert "reachable" not in raised.value.remedy
    with pytest.raises(ChannelFailed) as raised:
        send(replace(plain, tls="tls"))
    assert "`tls: starttls`" in raised.value.remedy
    assert mailbox.got == []


def test_a_refused_recipient_keeps_nobody_else_from_it(plain: MailServer, mailbox: Mailbox) -> None:
    mailbox.refused_recipients = ("boss@example.org",)
    assert send(plain) == {"boss@example.org": "550 no such person"}
    assert len(mailbox.got) == 1


def test_nobody_is_there_says_why(plain: MailServer, mailbox: Mailbox) -> None:
    mailbox.refused_recipients = ("boss@example.org", "ops@example.org")
    with pytest.raises(ChannelFailed, match=r"ops@example\.org: 550 no such person") as raised:
        send(plain)
    assert "`to`" in raised.value.remedy


def test_a_server_that_says_no(plain: MailServer, mailbox: Mailbox) -> None:
    mailbox.refuses = "452 the disk is full"
    with pytest.raises(ChannelFailed, match="452 the disk is full"):
        send(plain)


def test_a_server_that_hangs(plain: MailServer, mailbox: Mailbox) -> None:
    mailbox.delay = 1.0
    with pytest.raises(ChannelFailed, match=r"no answer within 0\.3 s|not answer in time"):
        send(plain, bound=0.3)


def test_nothing_listens() -> None:
    with pytest.raises(ChannelFailed, match="Connection refused"):
        send(MailServer(host="127.0.0.1", port=1, tls="none"))


def test_a_line_break_in_an_address_is_told_and_not_sent(
    plain: MailServer, mailbox: Mailbox
) -> None:
    with pytest.raises(ChannelFailed):
        send(plain, replace(LETTER, sender="a@b\r\nBcc: x@example.org"))
    assert mailbox.got == []
