"""Which backup is put back, which files of it, and how they take the places of others."""

import asyncio
import io
import os
import stat
import tarfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backstay.backup import archive, onhost, onhost_restore
from backstay.backup.catalogue import Backup, State
from backstay.backup.manifest import Entry, Files, from_document
from backstay.backup.restorable import changed, chosen, paths_of
from backstay.backup.restore_point import RestorePoint, choose
from backstay.backup.selection import IDENTITY
from backstay.errors import BackupError
from backstay.services.registry import all_services, named

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def backup(name: str, hours_ago: float, state: State = State.VERIFIED) -> Backup:
    at = (NOON - timedelta(hours=hours_ago)).timestamp()
    return Backup(name=name, cloud="lab", host="controller", taken_at=at, seconds=60, state=state)


def test_the_newest_verified_backup_is_chosen() -> None:
    there = [
        backup("a", 5),
        backup("b", 3),
        backup("c", 1, State.TAKEN),
        backup("d", 1, State.FAILED),
    ]
    assert choose(there, "controller", RestorePoint(), now=NOON).name == "b"
    assert choose(there, "controller", RestorePoint(latest=True), now=NOON).name == "b"


def test_for_a_time_one_that_was_whole_by_then_is_chosen() -> None:
    there = [backup("a", 5), backup("b", 3)]
    just_begun = RestorePoint(at=NOON - timedelta(hours=3) + timedelta(seconds=30))
    assert choose(there, "controller", just_begun, now=NOON).name == "a"
    whole = RestorePoint(at=NOON - timedelta(hours=3) + timedelta(seconds=60))
    assert choose(there, "controller", whole, now=NOON).name == "b"


@pytest.mark.parametrize(
    ("there", "to", "told"),
    [
        ([], RestorePoint(), "there is no backup of it"),
        (
            [backup("a", 1, State.TAKEN)],
            RestorePoint(),
            "none is verified; the newest, a, is `taken`",
        ),
        (
            [backup("a", 1)],
            RestorePoint(at=NOON - timedelta(hours=2)),
            "the oldest backup was taken",
        ),
        ([backup("a", 1)], RestorePoint(at=NOON + timedelta(hours=1)), "is in the future"),
    ],
)
def test_what_stands_against_every_backup_is_told(
    there: list[Backup], to: RestorePoint, told: str
) -> None:
    with pytest.raises(BackupError, match=told):
        choose(there, "controller", to, now=NOON)


def test_a_moment_comes_back_from_its_text() -> None:
    for moment in (RestorePoint(), RestorePoint(latest=True), RestorePoint(at=NOON)):
        assert RestorePoint.from_document(moment.document()) == moment
    with pytest.raises(ValueError, match="yesterday"):
        RestorePoint.from_document("yesterday")


def test_what_describes_the_machine_itself_is_never_put_back() -> None:
    paths = paths_of(all_services(), IDENTITY)
    assert {"/etc/nova", "/etc/ssh", "/etc/hostname", "/var/lib/glance/images"} <= set(paths)
    assert not {"/etc/fstab", "/etc/network", "/etc/resolv.conf"} & set(paths)
    assert paths_of([named("glance")]) == (
        "/etc/glance",
        "/var/lib/glance/images",
        "/etc/default/glance-api",
        "/etc/sysconfig/glance-api",
        "/etc/systemd/system/glance-api.service.d",
    )


def entry(
    path: str,
    kind: str = "f",
    *,
    mode: int = 0o640,
    user: int = 0,
    size: int = 3,
    when: int = 1,
    target: str = "",
) -> Entry:
    return Entry(path, kind, mode, user, 0, size, when, target)


def files(*entries: Entry, users: dict[str, str] | None = None) -> Files:
    return Files(entries=entries, users=users or {"0": "root"}, groups={"0": "root"})


def test_only_what_lies_below_is_chosen() -> None:
    there = files(entry("/etc/nova", "d"), entry("/etc/nova/x"), entry("/etc/nova-y"))
    assert [e[0] for e in chosen(there, ["/etc/nova"]).entries] == ["/etc/nova", "/etc/nova/x"]


def test_a_file_differs_by_size_time_rights_and_the_owner_s_name() -> None:
    wanted = files(entry("/a"))
    assert changed(wanted, files(entry("/a"))) == []
    for other in (
        entry("/a", size=4),
        entry("/a", when=2),
        entry("/a", mode=0o600),
        entry("/a", "l"),
        entry("/b"),
    ):
        assert changed(wanted, files(other)) == [entry("/a")]
    nova = files(entry("/a", user=101), users={"101": "nova"})
    assert changed(nova, files(entry("/a", user=998), users={"998": "nova"})) == []
    assert changed(nova, files(entry("/a", user=101), users={"101": "glance"})) != []


def test_of_a_link_its_target_counts_and_of_a_folder_not_its_time() -> None:
    link = files(entry("/l", "l", target="a"))
    assert changed(link, files(entry("/l", "l", target="a", when=9, mode=0o777))) == []
    assert changed(link, files(entry("/l", "l", target="b"))) != []
    folder = files(entry("/d", "d", when=1))
    assert changed(folder, files(entry("/d", "d", when=2, size=9))) == []


def test_files_travel_with_owners_by_name_rights_and_nanoseconds(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "conf").write_text("abc")
    (source / "conf").chmod(0o640)
    os.utime(source / "conf", ns=(5, 1_700_000_000_123_456_789))
    (source / "link").symlink_to("conf")
    wanted = from_document(onhost.manifest([str(source)], []))
    content = tmp_path / "restored" / "content" / str(source).lstrip("/")
    content.mkdir(parents=True)
    (content / "conf").write_text("abc")
    moved = [e for e in wanted.entries if e[1] != "d"]

    async def made() -> bytes:
        return b"".join([x async for x in archive.files(tmp_path / "restored", wanted, moved)])

    data = asyncio.run(made())
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        told = {member.name: member for member in tar}
    conf = told[str(source / "conf").lstrip("/")]
    assert (conf.uname, conf.mode) == (wanted.owner(moved[0])[0], 0o640)
    assert told[str(source / "link").lstrip("/")].linkname == "conf"
    there = tmp_path / "there"
    there.mkdir()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall(there, filter="fully_trusted")
    seen = (there / str(source).lstrip("/") / "conf").stat()
    assert stat.S_IMODE(seen.st_mode) == 0o640
    assert abs(seen.st_mtime_ns - 1_700_000_000_123_456_789) < 1000


def test_a_file_that_cannot_be_read_ends_the_archive(tmp_path: Path) -> None:
    async def made() -> None:
        async for _ in archive.files(tmp_path, files(entry("/gone")), [entry("/gone")]):
            pass

    with pytest.raises(FileNotFoundError):
        asyncio.run(made())


def test_what_is_squeezed_for_the_way_comes_out_as_it_was_and_torn_it_is_refused() -> None:
    pieces = [os.urandom(700_000), b"x" * 3_000_000, b"end"]

    async def given() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def made() -> bytes:
        return b"".join([piece async for piece in archive.squeezed(given())])

    assert archive.can_squeeze()
    data = asyncio.run(made())
    assert len(data) < 800_000
    out = io.BytesIO()
    onhost_restore.unsqueeze(io.BytesIO(data), out)
    assert out.getvalue() == b"".join(pieces)
    with pytest.raises(OSError, match="incomplete"):
        onhost_restore.unsqueeze(io.BytesIO(data[:-1]), io.BytesIO())


class Crash(Exception):
    pass


def dying_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let the process die at the ``count``-th change that it makes to the file system."""
    left = [count]
    for name in ("rename", "mkdir", "rmdir", "chown", "fchown", "fchmod", "unlink"):
        real = getattr(os, name)

        def change(*arguments: Any, real: Any = real, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Crash
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, change)


def tree(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): f.read_text() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize(
    "renames", [True, False], ids=["one file system", "no renaming of folders"]
)
def test_data_directories_are_exchanged_whatever_instant_it_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: bool
) -> None:
    if not renames:  # as on an overlay, or between two file systems
        real = os.rename

        def rename(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
            status = os.stat(source, dir_fd=src_dir_fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                raise OSError(18, "Invalid cross-device link")
            real(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

        monkeypatch.setattr(os, "rename", rename)
    for count in range(60):
        work = tmp_path / str(count)
        data, beside = work / "mysql", work / "beside"
        old, new = (
            {"ibdata1": "old", "nova/a.ibd": "old"},
            {"ibdata1": "new", "glance/b.ibd": "new"},
        )
        for folder, content in ((data, old), (beside / "new", new)):
            for name, text in content.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text)
        with monkeypatch.context() as patched:
            dying_after(patched, count)
            try:
                onhost_restore.swap_data(str(data), str(beside))
                died = False
            except Crash:
                died = True
        onhost_restore.swap_data(str(data), str(beside))
        assert tree(data) == new, count
        assert tree(beside / "before") == old, count
        if not died:
            return
    raise AssertionError("it makes more changes than were tried")


def test_a_data_directory_that_is_a_mount_of_its_own_keeps_both_within(tmp_path: Path) -> None:
    data = tmp_path / "mysql"
    beside = data / ".backstay-1"
    (beside / "new").mkdir(parents=True)
    (beside / "new" / "ibdata1").write_text("new")
    (data / "ibdata1").write_text("old")
    onhost_restore.swap_data(str(data), str(beside))
    assert (data / "ibdata1").read_text() == "new"
    assert tree(beside / "before") == {"ibdata1": "old"}


def test_nothing_is_moved_away_where_nothing_was_sent(tmp_path: Path) -> None:
    data = tmp_path / "mysql"
    data.mkdir()
    (data / "ibdata1").write_text("old")
    with pytest.raises(OSError, match="new is not there"):
        onhost_restore.swap_data(str(data), str(tmp_path / "beside"))
    assert tree(data) == {"ibdata1": "old"}


def test_files_take_their_places_and_what_they_replace_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count in range(60):
        etc, staging = tmp_path / str(count) / "etc", tmp_path / str(count) / "staging"
        (etc / "nova").mkdir(parents=True)
        (etc / "nova" / "nova.conf").write_text("old")
        (etc / "nova" / "own").write_text("stays")
        sent = staging / "new" / str(etc / "nova").lstrip("/")
        (sent / "more").mkdir(parents=True)
        (sent / "nova.conf").write_text("new")
        (sent / "more" / "x").write_text("new")
        (sent / "link").symlink_to("nova.conf")
        with monkeypatch.context() as patched:
            dying_after(patched, count)
            try:
                onhost_restore.place_files(str(staging), [])
                died = False
            except Crash:
                died = True
        onhost_restore.place_files(str(staging), [])
        expected = {"nova.conf": "new", "own": "stays", "more/x": "new", "link": "new"}
        assert tree(etc / "nova") == expected, count
        assert (etc / "nova" / "link").is_symlink()
        kept = staging / "before" / str(etc / "nova").lstrip("/")
        assert tree(kept) == {"nova.conf": "old"}, count
        if not died:
            return
    raise AssertionError("it makes more changes than were tried")


def test_folders_get_their_owner_and_rights(tmp_path: Path) -> None:
    folder = tmp_path / "fernet-keys"
    (tmp_path / "staging" / "new").mkdir(parents=True)
    wanted = [str(folder), 0o700, tmp_path.owner(), tmp_path.group()]
    onhost_restore.place_files(str(tmp_path / "staging"), [wanted])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
