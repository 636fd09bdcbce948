"""APIs, BMCs, channels, the journal's servers and the repository: asked, and nothing is changed."""

import asyncio
import email.utils
import os
import sqlite3
import ssl
from pathlib import Path
from typing import Any

import pytest

from backstay.doctor import read_afar as reader
from backstay.doctor.facts_afar import Afar, Tried
from backstay.doctor.judge_afar import judge_afar
from backstay.doctor.needs import NEEDS, Topic
from backstay.doctor.point import Point, State
from backstay.errors import ApiRefused, BackstayError, BackupError, ChannelFailed, PowerError
from backstay.inventory.cloud import Cloud
from backstay.inventory.watch import Channel
from backstay.journal import reach
from backstay.transports import listening, restic_reading
from backstay.transports.tls import Trust
from tests.doctor.hosts import NO_API, LocalShell, cloud_in, session_of
from tests.services.memory_api import MemoryApi
from tests.transports.receivers import PASSWORD, USER, Mailbox, certificates, mail_server
from tests.transports.redfish_board import RedfishBoard, served

ALL = frozenset(topic for topics in NEEDS.values() for topic in topics)


def judged(afar: Afar, cloud: Cloud) -> list[Point]:
    return [one for one in judge_afar(afar, cloud, ALL) if one.state is not State.OK]


def read(cloud: Cloud, *wanted: Topic, api: Any = NO_API, hosts: tuple[str, ...] = ()) -> Afar:
    session = session_of(cloud, LocalShell(), api)
    return asyncio.run(reader.read_afar(session, set(wanted), hosts))


def test_a_token_is_asked_for_and_its_account_named(tmp_path: Path) -> None:
    cloud = cloud_in(tmp_path)
    afar = read(cloud, Topic.API, api=MemoryApi())
    assert afar.api is not None
    assert afar.api.brought == "a token as admin of no project"
    assert [one.topic for one in judged(afar, cloud)] == [Topic.CHANNELS]


def test_apis_that_are_not_reached_are_unknown_and_refused_credentials_missing(
    tmp_path: Path,
) -> None:
    cloud = cloud_in(tmp_path)
    refused = ApiRefused("asking", came_back="401", remedy="compare the password")
    for error, state in ((NO_API, State.UNKNOWN), (refused, State.MISSING)):
        afar = read(cloud, Topic.API, api=error)
        [point] = [one for one in judged(afar, cloud) if one.topic is Topic.API]
        assert (point.state, point.remedy) == (state, error.remedy)


def test_only_what_is_sure_of_a_server_s_clock_counts() -> None:
    at = 1_800_000_000.0
    date = email.utils.formatdate(at, usegmt=True)
    assert reader.sure_offset(date, at + 0.2, at + 0.9) == 0
    assert reader.sure_offset(date, at - 60, at - 59.5) == 59.5
    assert reader.sure_offset(date, at + 61, at + 62) == -60
    for odd in ("", "yesterday", "Mon, 99 Foo 2026"):
        assert reader.sure_offset(odd, at, at) is None


def test_clocks_of_servers_are_judged(tmp_path: Path) -> None:
    cloud = cloud_in(tmp_path)
    afar = Afar(clocks={"http://a:5000": 60.0, "http://b": 1.0, "http://c": 0.0})
    found = [one for one in judged(afar, cloud) if one.topic is Topic.CLOCK]
    assert [(one.what, one.optional) for one in found] == [
        ("clock of http://a:5000", False),
        ("clock of http://b", True),
    ]


def with_bmc(folder: Path, url: str) -> Cloud:
    bmc = {"url": url, "username": "a", "password": "b"}
    host = {"address": "10.0.0.11", "roles": ["controller"]}
    return cloud_in(
        folder, hosts={"controller": host | {"bmc": bmc}, "bare": host | {"address": "10.0.0.12"}}
    )


def test_a_bmc_is_asked_for_its_power_and_nothing_is_switched(tmp_path: Path) -> None:
    board = RedfishBoard()
    with served(board) as url:
        cloud = with_bmc(tmp_path, url)
        afar = read(cloud, Topic.BMC, hosts=("controller", "bare"))
    assert afar.bmcs["controller"].brought == "its power is on"
    assert (board.resets, board.patches) == ([], [])
    [bare] = [one for one in judged(afar, cloud) if one.topic is Topic.BMC]
    assert (bare.host, bare.optional) == ("bare", True)


def test_a_bmc_that_cannot_be_asked_is_missing(tmp_path: Path) -> None:
    cloud = with_bmc(tmp_path, "http://127.0.0.1:1")
    afar = read(cloud, Topic.BMC, hosts=("controller",))
    [point] = [one for one in judged(afar, cloud) if one.topic is Topic.BMC]
    assert (point.host, point.state, point.optional) == ("controller", State.MISSING, False)
    assert isinstance(afar.bmcs["controller"].error, PowerError)


def channel(**given: Any) -> Channel:
    return Channel.model_validate(given)


def mail(port: int, **more: Any) -> Channel:
    given = {"server": "127.0.0.1", "port": port, "from": "a@x", "to": ["b@x"], "tls": "none"}
    return channel(email=given | more)


def test_a_mail_server_is_greeted_and_gets_no_mail() -> None:
    box = Mailbox()
    with mail_server(box) as port:
        said = asyncio.run(reader._channel(mail(port())))
    assert str(port()) in said
    assert box.got == []


def test_a_login_that_a_mail_server_refuses_is_found(tmp_path: Path) -> None:
    ca, pem = certificates(tmp_path)
    with mail_server(Mailbox(), pem=pem) as port:
        given = {"tls": "starttls", "ca": str(ca), "username": USER}
        said = asyncio.run(reader._channel(mail(port(), password=PASSWORD, **given)))
        assert "took the login" in said
        with pytest.raises(ChannelFailed, match="login was refused"):
            asyncio.run(reader._channel(mail(port(), password="wrong", **given)))
        with pytest.raises(ChannelFailed, match="certificate is not trusted"):
            asyncio.run(reader._channel(mail(port(), tls="starttls")))


def test_a_webhook_is_connected_to_and_gets_nothing() -> None:
    got: list[bytes] = []

    async def use() -> str:
        async def serve(reading: asyncio.StreamReader, writing: asyncio.StreamWriter) -> None:
            got.append(await reading.read())
            writing.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            said = await reader._channel(
                channel(webhook={"url": f"http://127.0.0.1:{port}/s3cret"})
            )
            await asyncio.sleep(0)
        return said

    assert "s3cret" not in asyncio.run(use())
    assert set(got) <= {b""}
    with pytest.raises(ChannelFailed, match="refuses connections") as failed:
        asyncio.run(reader._channel(channel(webhook={"url": "http://127.0.0.1:1/s3cret"})))
    assert "s3cret" not in f"{failed.value}{failed.value.remedy}"


def test_no_channel_is_optional_and_one_that_fails_is_not(tmp_path: Path) -> None:
    [none] = [one for one in judged(Afar(), cloud_in(tmp_path)) if one.topic is Topic.CHANNELS]
    assert none.optional
    cloud = cloud_in(
        tmp_path, watch={"channels": {"on call": {"webhook": {"url": "http://127.0.0.1:1/x"}}}}
    )
    afar = read(cloud, Topic.CHANNELS)
    [point] = judged(afar, cloud)
    assert (point.state, point.optional, point.what) == (State.MISSING, False, "channel on call")
    late = Afar(channels={"on call": Tried(late=10.0)})
    [point] = judged(late, cloud)
    assert (point.state, point.remedy) == (State.UNKNOWN, "backstay watch test 'on call'")


def test_why_a_server_takes_no_connection() -> None:
    async def ask() -> tuple[str, str, str]:
        server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return (
                await listening.trouble("127.0.0.1", port, bound=5),
                await listening.trouble("127.0.0.1", port, bound=5, trust=Trust()),
                await listening.trouble("no-such-host.invalid", port, bound=5),
            )

    plain, tls, name = asyncio.run(ask())
    assert plain == ""
    assert tls
    assert "no-such-host.invalid" in name
    assert ssl.SSLError is not None


def test_the_journal_s_file_is_read_and_not_made(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    assert reach.journal_file(f"sqlite:///{file}") == file
    assert reach.journal_file("postgresql://db/x") is None
    assert reach.file_trouble(file) == ""
    assert not file.exists()
    sqlite3.connect(file).execute("CREATE TABLE a (b)").connection.close()
    assert reach.file_trouble(file) == ""
    file.write_text("what is this?")
    assert "not a database" in reach.file_trouble(file)


def test_servers_of_journal_and_locks_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", "mysql+pymysql://ann:secret@127.0.0.1:1/x")
    monkeypatch.setenv("BACKSTAY_LOCKS", "etcd3+http://127.0.0.1:1")
    monkeypatch.setattr(reach, "load_locks", lambda _url: None)
    afar = asyncio.run(reader.read_servers({Topic.JOURNAL, Topic.LOCKS}))
    found = judge_afar(afar, None, ALL)
    assert [(one.topic, one.state) for one in found] == [
        (Topic.JOURNAL, State.MISSING),
        (Topic.LOCKS, State.MISSING),
    ]
    assert "refuses connections" in found[1].evidence
    assert "secret" not in str(found)


def test_where_the_locks_are() -> None:
    assert reach.locks_server("etcd3+http://a:1234") == ("a", 1234)
    assert reach.locks_server("postgresql://u:p@db/x") == ("db", 5432)
    assert reach.locks_server("file:///x") is None
    with pytest.raises(BackstayError, match="using the locks"):
        reach.load_locks("nosuchkind://x")


RESTIC = """#!/bin/sh
[ "$*" = "cat config --no-cache --no-lock" ] || exit 9
[ -f "$RESTIC_PASSWORD_FILE" ] || exit 8
echo "$SAYS" >&2
exit "$ENDS"
"""


@pytest.fixture
def restic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets what a restic of this test's own says, and its status."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "restic").write_text(RESTIC)
    (programs / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def says(text: str, ends: int) -> None:
        monkeypatch.setenv("SAYS", text)
        monkeypatch.setenv("ENDS", str(ends))

    return says


NONE = "Fatal: unable to open config file: stat /r/config: no such file or directory"


def test_a_repository_is_read_and_never_made(tmp_path: Path, restic: Any) -> None:
    cloud = cloud_in(tmp_path)
    backups = tmp_path / "backups"
    assert asyncio.run(reader._repository(cloud)) == "it will be made by the first backup"
    assert not backups.exists()
    backups.mkdir()
    (backups / "password").write_text("x")
    restic("", 0)
    assert "can be read" in asyncio.run(reader._repository(cloud))
    restic(NONE, 1)
    assert "will be made" in asyncio.run(reader._repository(cloud))
    (backups / "catalogue").mkdir()
    (backups / "catalogue" / "one.json").touch()
    with pytest.raises(BackupError) as gone:
        asyncio.run(reader._repository(cloud))
    assert "mounted" in gone.value.remedy
    restic("Fatal: wrong password or no key found", 1)
    with pytest.raises(BackupError) as wrong:
        asyncio.run(reader._repository(cloud))
    assert "password_file" in wrong.value.remedy
    (backups / "password").unlink()
    with pytest.raises(BackupError, match="password"):
        asyncio.run(reader._repository(cloud))
    assert sorted(one.name for one in backups.iterdir()) == ["catalogue"]


def test_a_password_in_a_repository_s_url_is_not_shown() -> None:
    assert reader.without("rest:https://ann:secret@backup:8000/x") == "rest:https://backup:8000/x"
    assert reader.without("/srv/restic") == "/srv/restic"
    assert reader.without("s3:s3.amazonaws.com/bucket") == "s3:s3.amazonaws.com/bucket"


def test_a_repository_that_does_not_answer_is_left(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "restic").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "restic").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    said = asyncio.run(restic_reading.trouble("/r", tmp_path / "p", bound=0.3))
    assert said == "no answer within 0.3 s"
