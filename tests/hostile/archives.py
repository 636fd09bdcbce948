"""A host that was taken over, as backups see it: it lists and sends files as it likes."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from backstay.cli.main import backstay
from tests.hostile.ssh import PIECE, Process, hostile_host

Row = list[Any]
Archive = bytes | Callable[[Process], Any]


def row(path: str, size: int = 4, kind: str = "f", *, when: int = 1, target: str = "") -> Row:
    """An entry of a manifest, as a host answers it."""
    return [path, kind, 0o644, 0, 0, size, when, target]


def listed(*rows: Row, **more: Any) -> dict[str, Any]:
    """A manifest of a proxy."""
    names = {"0": "root"}
    return {
        "entries": list(rows),
        "users": names,
        "groups": names,
        "clock": 1.7e9,
        "packages": ["swift 1"],
        "manual": [],
        "enabled": [],
        "machine": {"id": "debian", "memory": 1},
        **more,
    }


def member(name: str, data: bytes = b"evil", **attributes: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A member of an archive, with attributes of ``TarInfo`` as they are given."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive of such members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


@dataclass
class Liar:
    """What the host answers: the next of each list, the last of them again and again.

    ``asked`` are the functions that it was to call, in order.
    """

    manifests: Sequence[Any] = ()
    archives: Sequence[Archive] = ()
    exports: Any = field(default_factory=dict)
    boot: Any = field(default_factory=lambda: {"boot_id": "another"})
    look: Any = None
    asked: list[str] = field(default_factory=list)

    async def __call__(self, process: Process) -> None:
        """Answer one command."""
        script = await process.stdin.read()
        function = script.rpartition(b"lambda: ")[2].partition(b"(")[0].decode()
        before = self.asked.count(function)
        self.asked.append(function)
        if function == "send_files":
            archive = self.archives[min(before, len(self.archives) - 1)]
            if callable(archive):
                await archive(process)
            else:
                process.stdout.write(archive)
        else:
            answers = {
                "boot_id": self.boot,
                "look": self.look,
                "manifest": self.manifests[min(before, len(self.manifests) - 1)],
                "listing": self.manifests[-1],
                "exported": self.exports,
            }
            process.stdout.write(json.dumps(answers.get(function)).encode())
        process.exit(0)


async def endless(process: Process, piece: bytes = b"\0" * PIECE) -> None:
    """Write without end."""
    while True:
        process.stdout.write(piece)
        await process.stdout.drain()


@contextmanager
def lying_proxy(folder: Path, liar: Liar) -> Iterator[Callable[..., Result]]:
    """Run the host; give what calls ``backstay`` with a cloud in which it is the proxy."""
    with hostile_host(folder / "host", liar, name="proxy") as host:
        entry = host.hosts_entry.replace("[compute]", "[storage-proxy]")
        folder.mkdir(exist_ok=True)
        cloud = folder / "cloud.yaml"
        cloud.write_text(
            f"credentials: {{openrc: openrc}}\nbackup: {{folder: {folder}/backups}}\n"
            f"hosts:\n{entry}"
        )
        environment = {
            "BACKSTAY_CLOUD": str(cloud),
            "BACKSTAY_JOURNAL": f"sqlite:///{folder}/journal.db",
            "COLUMNS": "200",
        }

        def call(*arguments: str) -> Result:
            return CliRunner(env=environment).invoke(backstay, list(arguments))

        yield call
