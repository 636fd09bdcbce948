"""A host lies about its files: nothing outside of its own copy is written, read or removed."""

import asyncio
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from backstay.answers import BadAnswer
from backstay.backup.files import CONTENT, Mirror
from backstay.backup.follow import FollowedFiles
from backstay.backup.manifest import Entry, Manifest, from_document
from backstay.errors import BackupError, RemoteFailure
from backstay.runbooks.backup.prove import missing_files, wrong_files
from tests.hostile.archives import Liar, endless, listed, lying_proxy, member, row, tar

CONF = "/etc/swift/proxy-server.conf"
NAME = CONF[1:]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """The operator's own, which nothing may touch or read."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "victim").write_text("private")
    return folder


@pytest.fixture(autouse=True)
def untouched(outside: Path, tmp_path: Path) -> Any:
    yield
    assert {file.name: file.read_text() for file in outside.iterdir()} == {"victim": "private"}
    for file in (tmp_path / "backups").rglob("*"):
        assert stat.S_IFMT(file.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR), file
        assert file.is_dir() or b"private" not in file.read_bytes(), file
        assert file.is_dir() or file.stat().st_nlink == 1, file


def refused(shown: Result, reason: str = "") -> None:
    """See that a backup failed with a finding about that host, in one line, and no traceback."""
    assert shown.exit_code == 2, shown.output
    assert "Traceback" not in shown.output
    assert "proxy" in shown.output
    assert "an error in Backstay itself" not in shown.output
    assert reason in shown.output


def climbing(outside: Path) -> list[str]:
    up = "/etc" + "/.." * 12
    return [str(outside / "new"), f"{up}{outside}/new", f"..{'/..' * 12}{outside}/new"]


def test_what_a_host_exports_has_no_say_in_where_it_is_stored(
    tmp_path: Path, outside: Path
) -> None:
    exports = dict.fromkeys(climbing(outside), "ssh-ed25519 AAAA attacker")
    liar = Liar([listed(row(CONF))], [tar(member(NAME))], exports)
    with lying_proxy(tmp_path, liar) as call:
        shown = call("backup", "create", "proxy")
    assert shown.exit_code == 0, shown.output
    assert "exported" not in liar.asked, "a host without exports is not asked for any"


def test_a_link_of_one_run_is_no_way_for_the_next_archive(tmp_path: Path, outside: Path) -> None:
    link = member("etc/swift", b"", type=tarfile.SYMTYPE, linkname=str(outside))
    for number, first in enumerate((tar(link), tar(link, member("etc/swift/new")))):
        liar = Liar([listed(row("/etc/swift/new"))], [first, tar(member("etc/swift/new"))])
        with lying_proxy(tmp_path / str(number), liar) as call:
            refused(call("backup", "create", "proxy"), "not the archive that was asked for")
            call("backup", "create", "proxy")


def test_what_is_left_out_of_a_manifest_removes_nothing_outside(
    tmp_path: Path, outside: Path
) -> None:
    odd = f"/etc{'/..' * 12}{outside}/victim"
    for number, path in enumerate((odd, str(outside / "victim"))):
        rows = [row(path, size + 7 * number) for size in range(1 if number else 20)]
        liar = Liar([listed(*rows, row(CONF)), listed(row(CONF))], [tar(member(NAME))])
        with lying_proxy(tmp_path, liar) as call:
            refused(call("backup", "create", "proxy"), "not of the expected form")
            call("backup", "create", "proxy")


def test_a_file_that_comes_as_a_link_is_not_read(tmp_path: Path, outside: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        link = member(NAME, b"", type=kind, linkname=str(outside / "victim"))
        liar = Liar([listed(row(CONF, 7))], [tar(link)])
        with lying_proxy(tmp_path, liar) as call:
            refused(call("backup", "create", "proxy", "--verify"), "is no regular file")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([row("/etc/../tmp/x")], "not a name beneath"),
        ([row("etc/swift/x")], "not an absolute path"),
        ([row("//etc/swift/x")], "not a name beneath"),
        ([row("/etc/swift//x")], "not a name beneath"),
        ([row("/etc/swift/./x")], "not a name beneath"),
        ([row("/etc/swift/x/")], "not a name beneath"),
        ([row("/etc/swift/%00x")], "not a name beneath"),
        ([row("/etc/swift/%2e%2e/x")], "not a name beneath"),
        ([row("%2fetc/passwd")], "was not asked for"),
        ([row("/etc/swift/x", kind="l", target="%00")], "no possible target"),
        ([row("/etc/swift/" + "x" * 300)], "too long"),
        ([row("/etc/swift" + "/x" * 300)], "too deep"),
        ([row("/root/.ssh/authorized_keys")], "was not asked for"),
        ([row("/etc/swiftly")], "was not asked for"),
        ([row(CONF), row(CONF, 5)], "twice"),
        ([row(CONF), row(f"{CONF}/x")], "beneath something that is not a folder"),
        ([row("/etc/swift", kind="l", target="/"), row(CONF)], "not a folder"),
        ([row(CONF, kind="p")], "entries.0.1"),
        ([row(CONF, kind="l")], "no possible target"),
        ([row(CONF, target="/")], "no possible target"),
        ([row(CONF, -1)], "entries.0.5"),
        ([row(CONF, 1 << 62)], "entries.0.5"),
        ([row(CONF, "4")], "entries.0.5"),  # type: ignore[arg-type]
        ([row(CONF, when=1 << 80)], "entries.0.6"),
        ([[CONF, "f", 0o10000, 0, 0, 4, 1, ""]], "entries.0.2"),
        ([[CONF, "f", 0o644, -1, 0, 4, 1, ""]], "entries.0.3"),
        ([[CONF, "f", 0o644, 0, True, 4, 1, ""]], "entries.0.4"),
        ([[CONF, "f"]], "entries.0"),
        ([{"path": CONF}], "entries.0"),
        ("x", "entries"),
    ],
)
def test_a_manifest_is_read_strictly(entries: Any, reason: str) -> None:
    with pytest.raises(BadAnswer, match=reason) as raised:
        from_document(listed() | {"entries": entries, "quoted": True}, ["/etc/swift"])
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400


def block(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.GNU_FORMAT)


def pax(records: bytes, size: int | None = None) -> bytes:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(records) if size is None else size
    return block(info) + records + b"\0" * (-len(records) % 512)


def record(key: str, value: bytes) -> bytes:
    body = b" " + key.encode() + b"=" + value + b"\n"
    length = len(body)
    while length != len(str(length)) + len(body):
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def long_name(name: bytes) -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, len(name)
    return block(info) + name + b"\0" * (-len(name) % 512)


def kind(type_: bytes, **more: Any) -> bytes:
    return tar(member(NAME, b"", type=type_, **more))


async def endless_headers(process: Any) -> None:
    await endless(process, long_name(NAME.encode()))


GOOD = tar(member(NAME))
END = b"\0" * 1024


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (kind(tarfile.CHRTYPE, devmajor=1, devminor=5), "no regular file"),
        (kind(tarfile.BLKTYPE, devmajor=8), "no regular file"),
        (kind(tarfile.FIFOTYPE), "no regular file"),
        (kind(tarfile.DIRTYPE), "no regular file"),
        (kind(tarfile.CONTTYPE), "no regular file"),
        (kind(b"V"), "no regular file"),
        (kind(tarfile.GNUTYPE_SPARSE), "no regular file"),
        (tar(member(f"/{NAME}")), "was not asked for"),
        (tar(member(f"./{NAME}")), "was not asked for"),
        (tar(member(f"etc/../{NAME}")), "was not asked for"),
        (tar(member("etc/swift/other")), "was not asked for"),
        (tar(member(NAME), member(NAME)), "comes twice"),
        (pax(record("path", b"etc/passwd")) + GOOD, "was not asked for"),
        (pax(record("path", b"/" + NAME.encode())) + GOOD, "was not asked for"),
        (pax(record("GNU.sparse.realsize", b"9" * 15)) + GOOD, "sparse"),
        (pax(record("size", b"9" * 18)) + GOOD, "far larger"),
        (pax(record("size", b"-4")) + GOOD, "no number"),
        (pax(b"99 path=x\n") + GOOD, "extended headers"),
        (pax(b"0 \n") + GOOD, "extended headers"),
        (pax(b"", 8 << 30), "a size that none has"),
        (pax(record("comment", b"x" * 70000)) + GOOD, "a size that none has"),
        (pax(record("path", NAME.encode())) * 2 + GOOD, "a size that none has"),
        (long_name(b"etc/passwd\0" + NAME.encode() + b"\0") + GOOD, "was not asked for"),
        (long_name(NAME.encode() + b"\0/../../x\0") + GOOD, "was not asked for"),
        (long_name(b"x" * 9000) + GOOD, "a size that none has"),
        (GOOD[:1024] + GOOD, "comes twice"),
        (GOOD[:600], "it ends within"),
        (b"", "it ends within"),
        (END + GOOD, "something follows its end"),
        (b"this is no archive" * 100, "not one of tar"),
    ],
)
def test_an_archive_holds_what_was_asked_for_and_nothing_else(
    tmp_path: Path, archive: bytes, reason: str
) -> None:
    async def unpack(step: int) -> None:
        mirror = Mirror(tmp_path / "backups")
        async with mirror.extracting([entry(CONF, 4)], host="proxy") as take:
            for start in range(0, len(archive), step):
                await take(archive[start : start + step])

    for step in (1 << 18, 300):
        with pytest.raises(RemoteFailure, match=reason) as raised:
            asyncio.run(unpack(step))
        assert "proxy" in raised.value.attempted
        assert str(raised.value).isprintable()


@pytest.mark.parametrize("archive", [endless, endless_headers])
def test_an_archive_without_end_ends(tmp_path: Path, archive: Any) -> None:
    with lying_proxy(tmp_path, Liar([listed(row(CONF))], [archive])) as call:
        refused(call("backup", "create", "proxy"), "not the archive that was asked for")


def test_a_file_without_end_is_not_stored(tmp_path: Path) -> None:
    info = tarfile.TarInfo(NAME)
    info.size = 1 << 40

    async def sends(process: Any) -> None:
        process.stdout.write(block(info))
        await endless(process)

    with lying_proxy(tmp_path, Liar([listed(row(CONF))], [sends])) as call:
        refused(call("backup", "create", "proxy"), "far larger than it was")
    assert not (tmp_path / "backups" / "mirror" / "proxy" / CONTENT / NAME).exists()


def test_a_file_of_another_size_than_listed_is_not_stored_as_it(tmp_path: Path) -> None:
    for data in (b"", b"x", b"longer than it was"):
        liar = Liar([listed(row(CONF))], [tar(member(NAME, data))])
        with lying_proxy(tmp_path, liar) as call:
            shown = call("backup", "create", "proxy")
        content = tmp_path / "backups" / "mirror" / "proxy" / CONTENT / NAME
        if len(data) > 4:  # one that grows all the time, as long as it was when it was listed
            assert shown.exit_code == 0, shown.output
            assert content.read_bytes() == data[:4]
        else:
            refused(shown, "missing or have another size")
        assert liar.asked.count("manifest") >= 3


def test_what_is_stored_is_its_owner_s_alone_whatever_the_archive_says(tmp_path: Path) -> None:
    sent = member(NAME, mode=0o6777, uid=65534, gid=65534)
    with lying_proxy(tmp_path, Liar([listed(row(CONF))], [tar(sent)])) as call:
        assert call("backup", "create", "proxy").exit_code == 0
    status = (tmp_path / "backups" / "mirror" / "proxy" / CONTENT / NAME).stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_uid == os.geteuid()


def test_a_file_that_becomes_a_folder_and_a_file_again_is_backed_up(tmp_path: Path) -> None:
    """Nothing evil, and it must work: what is not there any more makes room."""
    folder, file = row("/etc/swift", kind="d"), row("/etc/swift")
    for manifest, archive in (
        (listed(folder, row(CONF)), tar(member(NAME))),
        (listed(file), tar(member("etc/swift"))),
        (listed(folder, row(CONF)), tar(member(NAME))),
        (listed(row("/etc/swift", kind="l", target="/x")), tar()),
        (listed(folder, row(CONF)), tar(member(NAME))),
    ):
        with lying_proxy(tmp_path, Liar([manifest], [archive])) as call:
            shown = call("backup", "create", "proxy")
        assert shown.exit_code == 0, shown.output
        assert missing_files(tmp_path / "backups" / "mirror" / "proxy") == []


def test_links_that_an_earlier_version_has_brought_are_not_followed(
    tmp_path: Path, outside: Path
) -> None:
    content = tmp_path / "backups" / "mirror" / "proxy" / CONTENT
    (content / "etc").mkdir(parents=True)
    (content / "etc" / "swift").symlink_to(outside)
    (content / "etc" / "hosts").symlink_to(outside / "victim")
    rows = [row("/etc/swift/victim", 7), row("/etc/hosts", 7)]
    sent = tar(member("etc/swift/victim", b"1234567"), member("etc/hosts", b"1234567"))
    with lying_proxy(tmp_path, Liar([listed(*rows)], [sent])) as call:
        shown = call("backup", "create", "proxy", "--verify")
    assert shown.exit_code == 0, shown.output
    assert (content / "etc" / "hosts").read_text() == "1234567"
    assert (content / "etc" / "swift" / "victim").read_text() == "1234567"


@pytest.mark.parametrize("answer", [None, {"boot_id": 5}])
def test_who_it_is_is_read_strictly(tmp_path: Path, answer: Any) -> None:
    with lying_proxy(tmp_path, Liar([listed()], [tar()], boot=answer)) as call:
        refused(call("backup", "create", "proxy"), "not of the expected form")


def test_what_it_can_do_is_read_strictly_before_a_restore(tmp_path: Path) -> None:
    liar = Liar([listed(row(CONF))], [tar(member(NAME))])
    good = {"data": "/var/lib/mysql", "owner": "mysql", "free_data": 1 << 40, "has": {"tar": True}}
    with lying_proxy(tmp_path, liar) as call:
        assert call("backup", "create", "proxy", "--verify").exit_code == 0
        for bad in ({"data": "x"}, {"owner": "--help"}, {"owner": "a b"}, {"free_data": -1}):
            liar.look = good | bad
            shown = call("backup", "restore", "proxy", "--yes")
            assert shown.exit_code in (2, 4), shown.output
            assert "not of the expected form" in shown.output
            assert "Traceback" not in shown.output
            assert call("runs", "abandon", shown.output.rpartition("(")[2].partition(")")[0])


def restored(folder: Path, *entries: Entry) -> Path:
    mirror = Mirror(folder / "restored")
    mirror.content.mkdir(parents=True)
    for entry in entries:
        file = mirror.content / entry.path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * entry.size)
    mirror.note(Manifest(entries=entries))
    return mirror.folder


def entry(path: str, size: int = 7) -> Entry:
    return Entry(path, "f", 0o644, 0, 0, size, 1, "")


def test_a_link_where_a_file_was_is_a_failed_proof(tmp_path: Path, outside: Path) -> None:
    folder = restored(tmp_path, entry("/etc/a"), entry("/etc/b/c"))
    assert missing_files(folder) == []
    (folder / CONTENT / "etc" / "a").unlink()
    (folder / CONTENT / "etc" / "a").symlink_to(outside / "victim")
    [lost, odd] = missing_files(folder)
    assert lost == "1 file is missing or incomplete: /etc/a"
    assert odd == "1 are neither files nor folders: etc/a"
    (folder / CONTENT / "etc" / "a").unlink()
    (folder / CONTENT / "etc" / "a").write_text("1234567")
    os.mkfifo(folder / CONTENT / "etc" / "pipe")
    assert missing_files(folder) == ["1 are neither files nor folders: etc/pipe"]


def test_records_of_a_database_name_no_files_of_this_machine(tmp_path: Path, outside: Path) -> None:
    content = tmp_path / CONTENT
    content.mkdir()
    (content / "link").symlink_to(outside / "victim")
    digest = "6e9cd6ad3acb0b1bd93fa2a6c4e5a1e6e3c1f4f4"
    for path in (f"/..{outside}/victim", "/../outside/victim", "/link", "victim", "/a\0b"):
        [problem] = wrong_files(content, [[path, "sha1", digest]])
        assert problem.endswith("is missing")
    for record_ in (["/x", "shake_128", ""], ["/x", "no-such", ""], ["/x"], []):
        [problem] = wrong_files(content, [record_])
        assert problem.startswith("a record names no file")


def test_what_is_written_between_backups_leads_nowhere_else(
    tmp_path: Path, outside: Path, stored: Callable[[str], FollowedFiles]
) -> None:
    for path in ("/../outside/victim", f"/etc/../../../../../..{outside}/victim"):
        store = stored(path)
        assert store.mirror.known() == []
        store.mirror.forget([path])
        assert store.drop_before(1e12) == []


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[str], FollowedFiles]:
    """A folder of followed files whose list an earlier version wrote as the host had it."""

    def make(path: str) -> FollowedFiles:
        store = FollowedFiles(tmp_path / "followed")
        store.mirror.content.mkdir(parents=True, exist_ok=True)
        text = f'{{"entries": [["{path}", "f", 420, 0, 0, 7, 1, ""]]}}'
        (store.mirror.folder / "manifest.json").write_text(text)
        return store

    return make


def test_a_mirror_that_is_a_link_is_not_used(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / CONTENT).symlink_to(outside)
    mirror = Mirror(tmp_path / "mirror")
    with pytest.raises(BackupError, match="writing"):
        mirror.forget(["/victim"])
    assert not mirror.has([entry("/victim")])
