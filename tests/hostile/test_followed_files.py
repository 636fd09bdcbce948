"""A host lies to ``backup stream``: nothing is written outside, and it goes on."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from backstay.backup.files import CONTENT
from backstay.backup.follow import Follow, FollowedFiles, FollowState, Lines
from backstay.backup.manifest import MANIFEST, Entry, Manifest
from backstay.errors import BackupError
from backstay.runbooks.restore.rebuild_local import copy_files, files_not_in
from backstay.transports.ssh import HostShell
from tests.hostile.archives import endless, listed, member, row, tar
from tests.hostile.ssh import Process, hostile_host

IMAGE = "/var/lib/glance/images/one"


def following(folder: Path, watch: Callable[[Process], Awaitable[None]], archive: bytes) -> str:
    """Follow a host that lists so, and sends that; return the first error that is reported."""

    async def behave(process: Process) -> None:
        script = await process.stdin.read()
        if b"lambda: watch(" in script:
            await watch(process)
        else:
            process.stdout.write(archive)
        process.exit(0)

    async def until_error(target: Any) -> str:
        store = FollowedFiles(folder / "followed")
        async with HostShell() as shell:
            follow = Follow(
                shell,
                target,
                store,
                paths=["/var/lib/glance/images"],
                leave_out=[],
                known=lambda: [],
            )
            running = asyncio.ensure_future(follow.run())
            try:
                async with asyncio.timeout(60):
                    while not store.state().error and not running.done():  # noqa: ASYNC110 - a file
                        await asyncio.sleep(0.02)
                assert not running.done(), "it goes on"
            finally:
                running.cancel()
                await asyncio.wait([running])
        return store.state().error

    with hostile_host(folder, behave, name="controller") as host:
        return asyncio.run(until_error(host.target))


def says(*documents: Any) -> Callable[[Process], Awaitable[None]]:
    async def watch(process: Process) -> None:
        for document in documents:
            text = document if isinstance(document, str) else json.dumps(document)
            process.stdout.write(text.encode() + b"\n")
        await process.stdout.drain()
        await asyncio.Event().wait()

    return watch


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("x", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ({}, "missing"),
        ({"clock": "now"}, "number"),
        ({"clock": float("nan")}, "number"),
        ({"clock": 1.0, "entries": "none"}, "entries"),
        ({"clock": 1.0, "entries": [[]]}, "entries.0"),
        (listed(row("/etc/passwd")), "was not asked for"),
        (listed(row("/var/lib/glance/images/../../../../etc/passwd")), "not a name beneath"),
        (listed(row(IMAGE), row(IMAGE)), "twice"),
        (listed(row(IMAGE, kind="l", target="/"), row(f"{IMAGE}/x")), "not a folder"),
    ],
)
def test_a_listing_is_read_strictly(tmp_path: Path, document: Any, reason: str) -> None:
    error = following(tmp_path, says(document), b"")
    assert reason in error
    assert "controller" in error
    assert not (tmp_path / "followed" / CONTENT).exists()


def test_a_line_without_end_ends(tmp_path: Path) -> None:
    error = following(tmp_path, lambda process: endless(process, b"x" * (1 << 20)), b"")
    assert "a line of more than" in error


def test_an_archive_holds_what_was_asked_for(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    listing = listed(row(IMAGE))
    for archive in (
        tar(member(IMAGE[1:], b"", type=b"2", linkname=str(outside))),
        tar(member(f"{'../' * 12}{outside}/new")),
        tar(member(str(outside / "new"))),
    ):
        error = following(tmp_path, says(listing), archive)
        assert "not the archive that was asked for" in error
        (tmp_path / "followed" / "state.json").unlink()
    assert list(outside.iterdir()) == []


def test_lines_are_cut_where_they_end() -> None:
    lines = Lines(most=5)
    assert lines.feed(b"ab") == []
    assert lines.feed(b"c\nde\n\nf") == [b"abc", b"de", b""]
    assert lines.feed(b"\n") == [b"f"]
    for data in (b"abcdef", b"abcdef\n"):
        with pytest.raises(ValueError, match="more than 5 bytes"):
            Lines(most=5).feed(data)


def test_a_state_of_another_form_is_an_error_that_names_it(tmp_path: Path) -> None:
    store = FollowedFiles(tmp_path)
    assert store.state() == FollowState()
    for text in ("[]", '{"whole_at": "x"}', '{"error": 5}', "\xff", "[" * 100_000):
        (tmp_path / "state.json").write_text(text)
        with pytest.raises(BackupError, match=r"state\.json"):
            store.state()


def entry(path: str, size: int = 7) -> Entry:
    return Entry(path, "f", 0o644, 0, 0, size, 1, "")


def test_what_a_restore_adds_of_them_comes_through_no_link(tmp_path: Path) -> None:
    outside, source, target = tmp_path / "outside", tmp_path / "source", tmp_path / "target"
    for folder in (outside, source, target):
        folder.mkdir()
    (outside / "victim").write_text("private")
    (source / "way").symlink_to(outside)
    (source / "file").symlink_to(outside / "victim")
    for path in ("/way/victim", "/file"):
        with pytest.raises(OSError, match=r"way|file"):
            copy_files(source, target, [entry(path)])
    (source / "file").unlink()
    (source / "file").write_text("new")
    (target / "file").symlink_to(outside / "victim")
    copy_files(source, target, [entry("/file")])
    assert (target / "file").read_text() == "new"
    assert (outside / "victim").read_text() == "private"
    assert files_not_in(target, ["/file", "/../outside/victim", "file", ""]) == [
        "/../outside/victim",
        "file",
        "",
    ]


def test_owners_names_of_both_lists_are_there(tmp_path: Path) -> None:
    store = FollowedFiles(tmp_path)
    (store.mirror.content / "a").mkdir(parents=True)
    (store.mirror.content / "a" / "b").write_text("1234567")
    store.add([entry("/a/b")], Manifest(users={"1": "one"}))
    (store.mirror.content / "a" / "b").unlink()
    (store.mirror.content / "a").rmdir()
    (store.mirror.content / "a").write_text("1234567")
    store.add([entry("/a")], Manifest(users={"2": "two"}))
    assert [one.path for one in store.mirror.known()] == ["/a"]
    assert store.mirror.names().users == {"1": "one", "2": "two"}
    assert MANIFEST in {file.name for file in tmp_path.iterdir()}
