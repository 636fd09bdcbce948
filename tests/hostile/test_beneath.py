"""Names from elsewhere lead to nothing outside of the folder that they are to be in."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.beneath import Folder, NotAFile, UnsafeName, inside, parts


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("private")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder.open(tmp_path / "mirror", make=True) as opened:
        yield opened


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "..",
        "../x",
        "a/../b",
        "a/..",
        "./a",
        "a/.",
        "a//b",
        "a/",
        "a\0b",
        "a/\udfff",
        "x" * 256,
        "é" * 128,
        "/".join(["x" * 255] * 17),
        "a/" * 300 + "a",
    ],
)
def test_names_that_are_none_are_refused(folder: Folder, name: str, tmp_path: Path) -> None:
    for use in (folder.read, folder.create, folder.size, folder.unlink, folder.make, folder.remove):
        with pytest.raises(UnsafeName) as raised:
            use(name)
        assert len(str(raised.value)) < 200
        assert str(raised.value).isprintable()
    assert list((tmp_path / "mirror").iterdir()) == []


def test_odd_names_of_real_files_are_kept_as_they_are(folder: Folder, tmp_path: Path) -> None:
    names = ["a b", "é", os.fsdecode(b"\xff\xfe"), "-rf", "*", "new\nline", "etc/...", "a\\b"]
    for name in names:
        folder.write(name, b"x")
        assert folder.content(name, most=9) == b"x"
        assert (tmp_path / "mirror" / name).read_bytes() == b"x"


def test_paths_of_hosts_must_be_absolute_and_normalised() -> None:
    assert inside("/etc/nova") == "etc/nova"
    assert parts("etc/nova") == ("etc", "nova")
    for path in ("etc", "//etc", "/etc/../x", "/", "", "/etc/"):
        with pytest.raises(UnsafeName):
            inside(path)


def test_no_component_may_be_a_link(folder: Folder, tmp_path: Path, outside: Path) -> None:
    (tmp_path / "mirror" / "way").symlink_to(outside)
    (tmp_path / "mirror" / "file").symlink_to(outside / "secret")
    with pytest.raises(NotAFile):
        folder.read("file")
    with pytest.raises(OSError, match="way"):
        folder.read("way/secret")
    assert folder.size("file") is None
    assert folder.size("way/secret") is None
    assert not folder.unlink("way/secret")
    folder.remove("way/secret")
    with pytest.raises(OSError, match="way"):
        folder.names("way")
    assert (outside / "secret").read_text() == "private"


def test_what_is_written_replaces_links_and_never_goes_through_them(
    folder: Folder, tmp_path: Path, outside: Path
) -> None:
    (tmp_path / "mirror" / "way").symlink_to(outside)
    (tmp_path / "mirror" / "file").symlink_to(outside / "secret")
    folder.write("file", b"new")
    with folder.create("way/secret") as file:
        file.write(b"new")
    folder.make("way/more")
    assert (outside / "secret").read_text() == "private"
    assert not (outside / "more").exists()
    assert (tmp_path / "mirror" / "way" / "secret").read_bytes() == b"new"
    assert not (tmp_path / "mirror" / "file").is_symlink()


def test_a_folder_with_links_is_removed_and_what_they_name_is_not(
    folder: Folder, tmp_path: Path, outside: Path
) -> None:
    folder.write("a/b/c", b"x")
    (tmp_path / "mirror" / "a" / "b" / "way").symlink_to(outside)
    (tmp_path / "mirror" / "a" / "file").symlink_to(outside / "secret")
    folder.remove("a")
    folder.remove("a")
    assert folder.names() == []
    assert (outside / "secret").read_text() == "private"
    folder.write("a", b"a file now")
    folder.write("a/b", b"a folder again")
    assert folder.content("a/b", most=100) == b"a folder again"
    with folder.create("a") as file:
        file.write(b"and a file")
    assert folder.size("a") == 10


def test_only_regular_files_are_read(folder: Folder, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mirror" / "pipe")
    folder.make("folder")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "mirror" / "socket"))
    for name in ("pipe", "folder", "socket"):
        with pytest.raises(NotAFile):
            folder.read(name)
        assert folder.size(name) is None
    folder.write("large", b"x" * 10)
    with pytest.raises(OSError, match="larger"):
        folder.content("large", most=9)


def test_a_folder_that_is_a_link_is_not_opened(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(OSError, match="link"):
        Folder.open(tmp_path / "link", make=True)


def test_everything_beneath_is_listed_without_following(
    folder: Folder, tmp_path: Path, outside: Path
) -> None:
    folder.write("a/b", b"x")
    (tmp_path / "mirror" / "a" / "way").symlink_to(outside)
    assert sorted(name for name, _ in folder.walk()) == ["a", "a/b", "a/way"]
