"""A host's database server sends what is no binary log of its own: names, answers, endless ones."""

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from backstay.backup.mariadb.binlog import Asker, asking, receiving
from backstay.backup.mariadb.logs import Logs
from backstay.backup.mariadb.source import SshSource
from backstay.errors import BackstayError, BackupError
from backstay.transports.namespaces import FIRST_USER
from backstay.transports.targets import Answer, SshTarget
from tests.hostile.database import (
    RECORDED,
    HostileDatabase,
    event,
    format_description,
    hostile_database,
    rotate,
)

pytestmark = pytest.mark.skipif(
    shutil.which("mariadb-binlog") is None or os.geteuid() != 0,
    reason="needs mariadb-client, and root",
)
KEY = b"\nssh-ed25519 AAAA attacker\n"
BOUND = 30.0


def received(folder: Path, socket: Path, server: HostileDatabase, first: str) -> str:
    """Receive until the program has ended, or has all; return its last words."""

    async def story() -> str:
        async with receiving(socket, first, folder, number=7) as receiver:
            async with asyncio.timeout(BOUND):
                while not server.sent.is_set():
                    try:
                        await receiver.refuse_end()
                    except BackupError as error:
                        return error.came_back
                    await asyncio.sleep(0.02)
                for _ in range(20):  # it has read what was sent when it ends, or makes the file
                    try:
                        await receiver.refuse_end()
                    except BackupError as error:
                        return error.came_back
                    await asyncio.sleep(0.02)
        return ""

    return asyncio.run(story())


@pytest.mark.parametrize("name", [b"../evil-binlog", b"../../evil", b"/tmp/backstay-evil-binlog"])
def test_a_file_s_name_leads_nowhere_else(tmp_path: Path, name: bytes) -> None:
    logs = tmp_path / "logs"
    arriving = logs / "0001" / "arriving"
    arriving.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    elsewhere = Path("/tmp/backstay-evil-binlog")
    elsewhere.unlink(missing_ok=True)
    log = [rotate(name), format_description(), event(2, b"\0" * 13 + KEY)]
    with hostile_database(tmp_path / "s", log=log) as server:
        received(arriving, tmp_path / "s", server, "mysql-bin.000001")
        assert server.dumps == 1
    assert not elsewhere.exists()
    found = [one for one in tmp_path.rglob("*") if arriving not in one.parents]
    assert sorted(one for one in found if one.name != "s") == before


def test_what_arrives_belongs_to_a_user_of_its_own(tmp_path: Path) -> None:
    arriving = tmp_path / "arriving"
    log = [rotate(b"mysql-bin.000001"), format_description()]
    with hostile_database(tmp_path / "s", log=log) as server:
        received(arriving, tmp_path / "s", server, "mysql-bin.000001")
    [file] = arriving.iterdir()
    assert file.name == "mysql-bin.000001"
    assert file.stat().st_uid >= FIRST_USER


@pytest.mark.parametrize(
    "name", ["--result-file=/root/x.1", "../x.1", "x", "x.1;y", "x.\uff11", ""]
)
def test_a_first_file_of_another_kind_of_name_is_not_asked_for(tmp_path: Path, name: str) -> None:
    with (
        hostile_database(tmp_path / "s") as server,
        pytest.raises(BackupError, match="the server names a file"),
    ):
        received(tmp_path / "arriving", tmp_path / "s", server, name)
    assert server.dumps == 0


def answered(socket: Path, rows: Sequence[Sequence[bytes]]) -> list[tuple[str, int]]:
    async def story(asker: Asker) -> list[tuple[str, int]]:
        return await asker.sizes(bound=BOUND)

    async def session() -> list[tuple[str, int]]:
        async with asking(socket) as asker:
            return await story(asker)

    with hostile_database(socket, rows=rows):
        return asyncio.run(session())


def test_what_a_server_answers_is_checked(tmp_path: Path) -> None:
    good = [b"mysql-bin.000001", b"1234"]
    assert answered(tmp_path / "a", [good]) == [("mysql-bin.000001", 1234)]
    wrong: list[list[bytes]] = [
        [b"../../root/.ssh/authorized_keys.1", b"1"],
        [b"-x.000001", b"1"],
        [b"mysql-bin.000001", b"many"],
        [b"mysql-bin.000001", b"9" * 5000],
        [b"\x1b]0;title\x07.1", b"1"],
        [b"x" * 200_000, b"1"],
    ]
    for number, row in enumerate(wrong):
        with pytest.raises(BackupError) as raised:
            answered(tmp_path / f"b{number}", [good, row])
        assert "\x1b" not in str(raised.value)
        assert len(str(raised.value)) < 500


def test_a_server_reads_no_file_of_this_machine(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")

    async def story() -> None:
        async with asking(tmp_path / "s") as asker:
            await asker.sizes(bound=BOUND)

    with (
        hostile_database(tmp_path / "s", wants_file=str(secret).encode()) as server,
        pytest.raises(BackupError),
    ):
        asyncio.run(story())
    assert not any("hunter2" in query for query in server.queries)


class Shell:
    """A host that answers one text."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def answer(self, target: SshTarget, script: str, *, bound: float) -> Answer:
        return Answer(stdout=self.text, sent_at=0, received_at=0, connecting=0)

    def forward(self, target, socket, here):
        raise NotImplementedError

    def drop(self, target: SshTarget) -> None:
        pass


@pytest.mark.parametrize(
    "text",
    [
        '{"socket": "/s", "files": [["--to-last-log", 1, ""]]}',
        '{"socket": "/s", "files": [["../x.000001", 1, ""]]}',
        '{"socket": "/s", "files": [["x.000001", "1", ""]]}',
        '{"socket": 1, "files": []}',
        '{"files": [["x.000001", 1]]}',
        "[]",
    ],
)
def test_what_a_host_says_of_its_log_is_checked(tmp_path: Path, text: str) -> None:
    target = SshTarget(name="controller", address="127.0.0.1")
    with pytest.raises(BackstayError):
        asyncio.run(SshSource(Shell(text), target).server_logs())


def test_what_a_host_has_of_its_log_is_taken(tmp_path: Path) -> None:
    shell = Shell('{"socket": "/s", "files": [["mysql-bin.000001", 5, "abc"]], "new": 1}')
    found = asyncio.run(SshSource(shell, SshTarget(name="a", address="127.0.0.1")).server_logs())
    assert (found.socket, [file.name for file in found.files]) == ("/s", ["mysql-bin.000001"])


def test_links_and_pipes_among_what_arrived_are_no_logs(tmp_path: Path) -> None:
    logs = Logs(tmp_path / "logs" / "controller")
    incarnation = logs.begin()
    other = tmp_path / "another host's"
    shutil.copy(RECORDED, other)
    (incarnation.arriving / "mysql-bin.000001").symlink_to(other)
    os.mkfifo(incarnation.arriving / "mysql-bin.000002")
    (incarnation.arriving / "mysql-bin.000003").mkdir()
    (incarnation.arriving / "evil name.000004").write_bytes(RECORDED.read_bytes())
    (incarnation.arriving / "deep").mkdir()
    (incarnation.arriving / "deep" / "x.000001").symlink_to("/")
    incarnation.settle()
    assert incarnation.pieces() == []
    incarnation.clear()
    assert list(incarnation.arriving.iterdir()) == []
    assert other.exists()
