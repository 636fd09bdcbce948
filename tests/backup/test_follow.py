"""Files that records name come here between backups."""

import asyncio
import io
import tarfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from backstay.backup.follow import Follow, FollowedFiles, FollowState, news
from backstay.backup.manifest import Entry, Manifest
from backstay.transports.targets import SshTarget

CONTROLLER = SshTarget(name="controller", address="192.0.2.11")
SECOND = 10**9


def entry(path: str, size: int, seconds: float) -> Entry:
    return Entry(path, "f", 0o640, 5, 5, size, int(seconds * SECOND), "")


class Host:
    """A host that lists files and sends them; its clock stands at ``clock``."""

    def __init__(self, files: dict[str, tuple[bytes, float]], clock: float) -> None:
        self.files = files
        self.clock = clock
        self.sent: list[str] = []

    def listing(self) -> Manifest:
        entries = [entry(path, len(data), at) for path, (data, at) in self.files.items()]
        names = {"5": "glance"}
        return Manifest(entries=entries, users=names, groups=names, clock=self.clock)

    async def stream(
        self,
        target: SshTarget,
        script: str,
        receive: Callable[[bytes], Awaitable[None]],
        *,
        silence: float,
    ) -> str:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            for path, (data, _) in self.files.items():
                if path in script:
                    self.sent.append(path)
                    told = tarfile.TarInfo(path.lstrip("/"))
                    told.size = len(data)
                    archive.addfile(told, io.BytesIO(data))
        await receive(out.getvalue())
        return ""


def follow(host: Host, folder: Path, known: list[Entry] | None = None) -> Follow:
    return Follow(
        host,
        CONTROLLER,
        FollowedFiles(folder),
        paths=["/images"],
        leave_out=[],
        known=lambda: known or [],
    )


def test_only_what_no_backup_has_travels_and_only_once(tmp_path: Path) -> None:
    host = Host({"/images/a": (b"old", 10.0), "/images/b": (b"new", 90.0)}, clock=100.0)
    following = follow(host, tmp_path, [entry("/images/a", 3, 10.0)])
    asyncio.run(following.heard(host.listing()))
    assert host.sent == ["/images/b"]
    assert (tmp_path / "content" / "images" / "b").read_bytes() == b"new"
    assert FollowedFiles(tmp_path).mirror.names().users == {"5": "glance"}
    asyncio.run(following.heard(host.listing()))
    assert host.sent == ["/images/b"]


def test_a_file_that_is_being_written_is_waited_for_and_told(tmp_path: Path) -> None:
    host = Host({"/images/a": (b"half", 99.9)}, clock=100.0)
    following = follow(host, tmp_path)
    assert asyncio.run(following.heard(host.listing())) == 99.9
    assert host.sent == []
    assert asyncio.run(following.heard(101.0)) == 101.0, "nothing has changed since"
    assert host.sent == ["/images/a"]


def test_what_went_from_the_host_stays_here_until_a_verified_backup_is_newer(
    tmp_path: Path,
) -> None:
    host = Host({"/images/a": (b"one", 50.0), "/images/b": (b"two", 60.0)}, clock=100.0)
    asyncio.run(follow(host, tmp_path).heard(host.listing()))
    del host.files["/images/a"]
    asyncio.run(follow(host, tmp_path).heard(host.listing()))
    store = FollowedFiles(tmp_path)
    assert [one[0] for one in store.mirror.known()] == ["/images/a", "/images/b"]
    assert store.drop_before(55.0) == ["/images/a"]
    assert [one[0] for one in store.mirror.known()] == ["/images/b"]
    assert not (tmp_path / "content" / "images" / "a").exists()


def test_news() -> None:
    now = [entry("/a", 1, 10), entry("/b", 2, 20), entry("/c", 1, 99.9)]
    now.append(entry("/large", 10**10, 50))
    rests, pending = news(now, [entry("/a", 1, 10), entry("/b", 1, 20)], clock=100)
    assert [one[0] for one in rests] == ["/b"]
    assert [one[0] for one in pending] == ["/c", "/large"]


def test_how_far_behind() -> None:
    assert FollowState().behind_for(100.0) == 0
    assert FollowState(whole_at=90.0).behind_for(100.0) == 10
