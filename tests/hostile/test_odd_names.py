"""Odd names and files are backed up as they are: nothing of them is lost for being odd."""

import asyncio
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from backstay.access.shipping import program, reading, stream
from backstay.backup import archive, onhost, onhost_restore
from backstay.backup.files import Mirror
from backstay.backup.manifest import Entry, Manifest, from_document, merged, quoted
from backstay.backup.unpack import Unpacking
from backstay.beneath import Folder
from backstay.runbooks.backup.prove import missing_files

NAMES = (
    "a b",
    "\u00e9",
    os.fsdecode(b"\xff\xfe"),
    "new\nline",
    "per%cent",
    "%41",
    "back\\slash",
    "zero\u200bwidth",
    "\u202eright to left",
    "-rf *",
    "x" * 255,
    "...",
    "a/" * 60 + "deep",
)


def on_host(text: str, data: bytes = b"", locale: str = "C.UTF-8") -> bytes:
    """Run a program as a host of that locale does."""
    command = [sys.executable, "-I", *(["-c", text] if data else ["-"])]
    done = subprocess.run(
        command,
        input=data or text.encode(),
        capture_output=True,
        env={"LC_ALL": locale, "PATH": os.environ["PATH"], "PYTHONUTF8": "0"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_they_come_here_and_go_back(tmp_path: Path, locale: str) -> None:
    source, staging = tmp_path / "source", tmp_path / "staging"
    for name in NAMES:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(f"content of {name!r}")
    (source / "link").symlink_to(NAMES[3])
    listing = on_host(program(onhost.listing, [str(source)], []), locale=locale)
    told = from_document(json.loads(listing), [str(source)])
    assert {entry.path for entry in told.regular()} == {str(source / name) for name in NAMES}
    wanted = [quoted(entry.path) for entry in told.regular()]
    data = on_host(stream(onhost.send_files, wanted, [str(source)]), locale=locale)
    mirror = Mirror(tmp_path / "mirror")
    asyncio.run(unpack(mirror, told.regular(), data))
    mirror.note(told)
    assert Mirror(mirror.folder).known() == list(told.entries)
    assert missing_files(mirror.folder) == []
    moved = [entry for entry in told.entries if entry.kind != "d"]
    back = asyncio.run(joined(mirror, told, moved))
    on_host(reading(onhost_restore.receive, str(staging / "new")), back, locale=locale)
    for name in NAMES:
        (source / name).write_text("changed")
    placed = program(onhost_restore.place_files, str(staging), [], [str(source)])
    assert json.loads(on_host(placed, locale=locale))["placed"] == len(moved)
    for name in NAMES:
        assert (source / name).read_text() == f"content of {name!r}"
    assert (source / "link").readlink() == Path(NAMES[3])


async def unpack(mirror: Mirror, entries: list[Entry], data: bytes) -> None:
    async with mirror.extracting(entries, host="controller") as take:
        await take(data)


async def joined(mirror: Mirror, wanted: Manifest, entries: list[Entry]) -> bytes:
    return b"".join([piece async for piece in archive.files(mirror.folder, wanted, entries)])


def test_a_list_that_an_earlier_version_wrote_is_read_with_its_odd_names(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    entries = []
    for name in NAMES:
        file = mirror.content / "etc" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
        entries.append([f"/etc/{name}", "f", 0o644, 0, 0, 1, 1, ""])
    users = {"0": "root"}
    document = {"entries": sorted(entries), "users": users, "groups": users, "clock": 1.5}
    (tmp_path / "manifest.json").write_text(json.dumps(document))
    assert {entry.path for entry in mirror.known()} == {f"/etc/{name}" for name in NAMES}


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("step", [1, 511, 512, 100_000])
def test_archives_of_every_form_and_in_any_pieces(tmp_path: Path, form: Any, step: int) -> None:
    source = tmp_path / "source"
    names = ["etc/a", f"etc/{'b' * 90}/{'c' * 99}", "etc/empty"]
    names += [] if form == tarfile.USTAR_FORMAT else [f"etc/{'d' * 200}", f"etc/\u00e9{'e' * 100}"]
    out = tmp_path / "archive.tar"
    with tarfile.open(out, "w", format=form) as made:
        for name in names:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text("" if name == "etc/empty" else name * 100)
            made.add(source / name, name)
    entries = [
        Entry(f"/{name}", "f", 0o644, 0, 0, (source / name).stat().st_size, 1, "") for name in names
    ]
    data = out.read_bytes()
    with Folder.open(tmp_path / "content", make=True) as folder:
        unpacking = Unpacking(folder, entries)
        for start in range(0, len(data), step):
            unpacking.feed(data[start : start + step])
        unpacking.end()
    for name in names:
        assert (tmp_path / "content" / name).read_text() == (source / name).read_text()


def entry(path: str, kind: str = "f", size: int = 1) -> Entry:
    return Entry(path, kind, 0o644, 0, 0, size, 1, "x" if kind == "l" else "")


def test_lists_are_joined_without_what_cannot_be_beside_the_new() -> None:
    old = [entry("/a"), entry("/b/c"), entry("/b", "d"), entry("/d"), entry("/e", size=1)]
    new = [entry("/a/x"), entry("/b", "l"), entry("/e", size=2)]
    joined_ = merged(old, new)
    assert [one.path for one in joined_] == ["/a/x", "/b", "/d", "/e"]
    assert joined_[-1].size == 2
    assert merged([], new) == new
    from_document(Manifest(entries=joined_).document())
