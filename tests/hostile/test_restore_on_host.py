"""A service that was taken over puts links where root restores and reads: none is followed."""

import json
import os
import pwd
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backstay.access.shipping import stream
from backstay.backup import onhost, onhost_restore
from backstay.backup.manifest import from_document, quoted
from backstay.backup.mariadb import onhost_restore as onhost_fill

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="gives folders to other users")
NOBODY = pwd.getpwnam("nobody")


class Host:
    """A folder that stands for a host's root: a service's own, root's own, what was sent."""

    def __init__(self, folder: Path) -> None:
        self.service = folder / "srv" / "nova"
        self.service.mkdir(parents=True)
        os.chown(self.service, NOBODY.pw_uid, NOBODY.pw_gid)
        self.secret = folder / "root"
        self.secret.mkdir(mode=0o700)
        (self.secret / "key").write_text("private")
        (self.secret / "key").chmod(0o600)
        self.staging = folder / "staging"
        (self.staging / "new").mkdir(parents=True)

    @property
    def declared(self) -> list[str]:
        return [str(self.service)]

    def send(self, name: str, text: str = "restored") -> None:
        """Put a file of the service's where ``receive`` has what was sent."""
        file = self.staging / "new" / str(self.service)[1:] / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def place(self, *folders: tuple[Path, int, str, str]) -> dict[str, Any]:
        rows = [[str(path), *rest] for path, *rest in folders]
        return onhost_restore.place_files(str(self.staging), rows, self.declared)

    def kept(self, name: str) -> Path:
        return self.staging / "before" / str(self.service)[1:] / name


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    status = made.secret.stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o700)
    assert [file.name for file in made.secret.iterdir()] == ["key"]
    key = made.secret / "key"
    assert (key.read_text(), key.stat().st_uid) == ("private", 0)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", "instances"])
def test_a_folder_that_is_a_link_now_is_replaced_and_kept(host: Host, name: str) -> None:
    path = host.service / name
    if not name:
        path.rmdir()
    path.symlink_to(host.secret)
    host.place((path, 0o2777, "nobody", "nogroup"))
    assert not path.is_symlink()
    status = path.stat()
    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (NOBODY.pw_uid, 0o2777)
    assert host.kept(name).is_symlink()


def test_without_declared_paths_the_folder_itself_may_be_no_link_either(host: Host) -> None:
    path = host.service / "instances"
    path.symlink_to(host.secret)
    onhost_restore.place_files(str(host.staging), [[str(path), 0o777, "nobody", "nogroup"]])
    (host.service / "way").symlink_to(host.secret)
    beyond = [str(host.service / "way" / "in"), 0o777, "nobody", "nogroup"]
    with pytest.raises(OSError, match="a link or a file stands where a folder must be"):
        onhost_restore.place_files(str(host.staging), [beyond])
    host.send("way/in/file")
    with pytest.raises(OSError, match="a link or a file stands where a folder must be"):
        onhost_restore.place_files(str(host.staging), [])


def test_no_file_is_placed_beyond_a_link(host: Host) -> None:
    (host.service / "a").symlink_to(host.secret)
    (host.service / "key").symlink_to(host.secret / "key")
    (host.service / "b").mkdir()
    (host.service / "b" / "c").symlink_to("../../../root")
    for name in ("a/key", "key", "b/c/key", "b/c/d/key"):
        host.send(name)
    assert host.place()["placed"] == 4
    for name in ("a/key", "key", "b/c/key", "b/c/d/key"):
        assert (host.service / name).read_text() == "restored"
        assert not (host.service / name).is_symlink()
    assert host.kept("a").is_symlink()
    assert host.kept("key").is_symlink()
    assert host.kept("b/c").is_symlink()


def test_what_is_in_the_way_is_kept_whatever_it_is(host: Host) -> None:
    (host.service / "folder" / "deep").mkdir(parents=True)
    (host.service / "folder" / "deep" / "file").write_text("old")
    (host.service / "folder" / "link").symlink_to(host.secret)
    os.mkfifo(host.service / "pipe")
    (host.service / "file").write_text("old")
    for name in ("folder", "pipe", "file/now/a/folder"):
        host.send(name)
    assert host.place()["placed"] == 3
    assert (host.service / "pipe").read_text() == "restored"
    assert (host.service / "folder").read_text() == "restored"
    assert host.kept("folder/deep/file").read_text() == "old"
    assert host.kept("folder/link").is_symlink()
    assert host.kept("file").read_text() == "old"


def test_links_of_root_alone_may_lead_to_what_is_declared(host: Host, tmp_path: Path) -> None:
    (tmp_path / "var").symlink_to("srv")
    host_paths = [str(tmp_path / "var" / "nova")]
    new = host.staging / "new" / str(tmp_path)[1:] / "var" / "nova"
    new.mkdir(parents=True)
    (new / "file").write_text("restored")
    onhost_restore.place_files(str(host.staging), [], host_paths)
    assert (host.service / "file").read_text() == "restored"
    (new / "file").write_text("again")
    for theirs in (tmp_path / "var", tmp_path):
        os.chown(theirs, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)
        with pytest.raises(OSError, match="a link or a file stands"):
            onhost_restore.place_files(str(host.staging), [], host_paths)
        os.chown(theirs, 0, 0, follow_symlinks=False)
    assert (host.service / "file").read_text() == "restored"


def test_a_folder_that_is_exchanged_all_the_time_leads_nowhere(host: Host) -> None:
    folder, link = host.service / "x", host.service / "link"
    folder.mkdir()
    link.symlink_to(host.secret)
    done = threading.Event()

    def exchange() -> None:
        while not done.is_set():
            for old, new in ((folder, "aside"), (link, "x"), (folder, "link"), ("aside", "x")):
                try:
                    (host.service / old).rename(host.service / new)
                except OSError:
                    continue

    thread = threading.Thread(target=exchange)
    thread.start()
    try:
        for _ in range(60):
            host.send("x/key")
            try:
                host.place((folder, 0o777, "nobody", "nogroup"))
            except OSError:
                continue  # it may be refused; it is not followed
    finally:
        done.set()
        thread.join()


def test_a_data_directory_is_given_away_without_following(host: Host, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "nova").mkdir(parents=True)
    (data / "nova" / "t.ibd").write_text("x")
    (data / "nova" / "link").symlink_to(host.secret / "key")
    (data / "way").symlink_to(host.secret)
    opened = os.open(data, os.O_RDONLY)
    onhost_fill.give(opened, NOBODY)
    os.close(opened)
    for path in (data, data / "nova", data / "nova" / "t.ibd", data / "way"):
        assert path.lstat().st_uid == NOBODY.pw_uid


def test_what_another_user_may_exchange_is_not_filled(host: Host, tmp_path: Path) -> None:
    beside = tmp_path / "mysql"
    beside.mkdir()
    (beside / "new").symlink_to(host.secret)
    os.close(onhost_restore.fresh(str(beside / "new")))
    assert not (beside / "new").is_symlink()
    os.chown(beside, NOBODY.pw_uid, NOBODY.pw_gid)
    for use in (
        lambda: onhost_restore.fresh(str(beside / "new")),
        lambda: onhost_restore.swap_data(str(tmp_path / "data"), str(beside)),
        lambda: onhost_restore.place_files(str(beside), []),
    ):
        with pytest.raises(OSError, match="another user may write"):
            use()
    (beside / "way").symlink_to(host.secret)
    with pytest.raises(OSError, match="a link or a file stands"):
        onhost_restore.fresh(str(beside / "way" / "new"))


def test_data_directories_are_exchanged_without_following(host: Host, tmp_path: Path) -> None:
    data, beside = tmp_path / "data", tmp_path / "beside"
    data.mkdir()
    (data / "way").symlink_to(host.secret)
    (beside / "new").mkdir(parents=True)
    (beside / "new" / "way").mkdir()
    (beside / "new" / "way" / "t.ibd").write_text("new")
    onhost_restore.swap_data(str(data), str(beside))
    assert (data / "way" / "t.ibd").read_text() == "new"
    assert (beside / "before" / "way").is_symlink()


def test_removing_follows_no_link(host: Host, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "new").mkdir(parents=True)
    (work / "new" / "way").symlink_to(host.secret)
    onhost_restore.remove([str(work / "new"), str(tmp_path / "gone" / "new")])
    assert not work.exists()
    (tmp_path / "link").symlink_to(host.secret)
    onhost_restore.remove([str(tmp_path / "link")])
    assert not (tmp_path / "link").is_symlink()


# Reading for a backup.


def sent(paths: list[str], declared: list[str]) -> bytes:
    script = stream(onhost.send_files, [quoted(path) for path in paths], declared)
    done = subprocess.run(
        [sys.executable, "-I", "-"],
        input=script.encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_links_are_listed_as_links_and_nothing_is_read_beyond_them(host: Host) -> None:
    (host.service / "way").symlink_to(host.secret)
    (host.service / "key").symlink_to(host.secret / "key")
    os.mkfifo(host.service / "pipe")
    (host.service / "own").write_text("own")
    (host.service / "again").hardlink_to(host.service / "own")
    told = from_document(onhost.listing(host.declared, []), host.declared)
    kinds = {entry.path.rpartition("/")[2]: entry.kind for entry in told.entries}
    assert kinds == {"nova": "d", "way": "l", "key": "l", "own": "f", "again": "f"}
    wanted = [str(host.service / name) for name in ("way/key", "key", "pipe", "own", "again")]
    data = sent(wanted, host.declared)
    assert b"private" not in data
    assert data.count(b"own\0") >= 2, "a file of two names comes under both, as a file"


def test_a_link_of_another_user_on_the_way_is_not_followed_and_reported(
    host: Host, tmp_path: Path
) -> None:
    way = tmp_path / "var"
    way.symlink_to(host.secret)
    declared = [str(way / "key")]
    assert [e.kind for e in from_document(onhost.listing(declared, []), declared).entries] == ["f"]
    os.chown(way, NOBODY.pw_uid, NOBODY.pw_gid, follow_symlinks=False)
    told = from_document(onhost.listing(declared, []), declared)
    assert told.entries == []
    assert told.left_out.count == 1
    assert "another user's link" in told.left_out.some[0]
    assert sent(declared, declared).strip(b"\0") == b""
    assert onhost.listing([str(tmp_path / "gone" / "x")], [])["left_out"]["count"] == 0


def test_paths_that_overlap_are_listed_once(host: Host) -> None:
    (host.service / "file").write_text("x")
    declared = [str(host.service), str(host.service / "file"), str(host.service.parent)]
    told = from_document(json.loads(json.dumps(onhost.listing(declared, []))), declared)
    assert len(told.entries) == 3
