"""What hosts answer to runbooks, backups and commands that last."""

import asyncio
import contextlib
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from backstay.access.lease import Holder, held, held_in
from backstay.access.onhost_lease import HELD
from backstay.access.shipping import as_answer
from backstay.answers import Count, Line, clean
from backstay.backup import manifest
from backstay.backup.files import exported
from backstay.backup.manifest import Entry, Manifest, merged
from backstay.backup.mariadb.answers import (
    DatabaseFacts,
    ExpectedSchemas,
    ServerHost,
    TablesSwapped,
)
from backstay.backup.mariadb.source import SshSource, first_file, next_file
from backstay.backup.proof import other_schemas
from backstay.backup.unpack import UnexpectedArchive, Unpacking
from backstay.beneath import Folder
from backstay.errors import BackstayError
from backstay.maintenance.gates import BootObstacles
from backstay.provision import onhost_packages, packages
from backstay.provision.following import CommandState, LogPiece, LongCommand
from backstay.provision.work import Work, last_errors
from backstay.runbooks.reboot.answers import BootAnswer, RebootAnswer, UnitsAnswer
from backstay.runbooks.replace import outages, spare
from backstay.runbooks.replace.answers import (
    AddressHeld,
    AdoptAnswer,
    BootIdAnswer,
    Nothing,
    SpareAnswer,
    UnitsEnabled,
)
from backstay.runbooks.restore.answers import Replaced, UnitsStarted, UnitsStopped
from backstay.runbooks.spare import note_of, state_of
from backstay.transports.targets import Answer, SshTarget
from tests.fuzz.reader import Reader, expect_clean, printed
from tests.maintenance.test_gates import refusals
from tests.runbooks.test_replace_spare import FREE, MACHINE, WANTED

STATE = {"started": True, "runs": False, "status": 2, "log": "/var/lib/backstay/runs/x/log"}
PIECE = STATE | {"text": "Error: no\n", "end": 10}
ANSWERS: dict[Any, Any] = {
    BootAnswer: {"boot_id": "7e6f", "up": 12.5, "clock": 1.7e9},
    RebootAnswer: {"asked": False, "why": "it has rebooted already"},
    UnitsAnswer: {
        "running": ["ssh.service"],
        "failed": [],
        "kernel": "6.1.0",
        "boot_id": "7e6f",
        "hostname": "controller",
    },
    BootObstacles: {"packaging": "", "half_done": "nova-api", "kernel": ["/boot/vmlinuz"]},
    CommandState: STATE,
    LogPiece: PIECE,
    SpareAnswer: {
        "machine": MACHINE,
        "boot_id": "7e6f",
        "clock": 1.7e9,
        "free": FREE,
        "addresses": [["host0", "10.77.0.31/24"]],
        "active": [],
        "databases": ["nova"],
        "packages": ["base-files 12.4+deb12u9"],
        "apt": True,
        "prepared": "",
    },
    UnitsEnabled: {"enabled": ["nova-api.service"]},
    AddressHeld: {"has": True, "mac": "52:54:00:00:00:01"},
    BootIdAnswer: {"boot_id": "7e6f", "mark": "m"},
    AdoptAnswer: {"boot_id": "7e6f", "device": "host0", "configured": ["/etc/x"], "kept": "/k"},
    Nothing: {},
    outages.Guests: [["web", ["10.0.0.5", "fe80::1"]], ["bare", []]],
    Holder: {"who": "anna on ops1", "run": "reboot-3", "since": 1.7e9, "by": "", "epoch": 4},
    Replaced: {"kept": "/var/lib/backstay/kept/3", "placed": 120},
    UnitsStopped: {"running": [], "triggers": ["glance-api.timer"]},
    UnitsStarted: {"error": "Job for mariadb.service failed"},
    TablesSwapped: {"kept": ["backstay_kept_nova"]},
    ServerHost: {
        "data": "/var/lib/mysql",
        "owner": "mysql",
        "own_mount": False,
        "server": "10.11.6-MariaDB",
        "free_data": 10**10,
        "zstd": True,
        "fills": True,
        "has": {"mariadb": True},
    },
    DatabaseFacts: {
        "version": "10.11.6-MariaDB",
        "clock": 1.7e9,
        "schemas": {"nova": ["960aac0e09ea"]},
        "touched": ["nova.instances"],
        "grants": ["GRANT USAGE ON *.* TO `nova`@`%`"],
        "logs": {"mysql-bin.000002": "7bd7"},
        "rows": {"nova.instances": 3},
    },
    ExpectedSchemas: {"heads": {"nova": ["960a"]}, "unknown": {"cinder": "no package"}},
    Line: "restarted",
    str: "Job for nova-api.service failed",
    bool: True,
    dict[str, Line]: {"boot_id": "7e6f"},
    dict[str, Count]: {"nova": 10**6, "glance": 5},
    list[Line]: ["nova", "glance"],
    list[list[Line]]: [["3"], ["nova.instances", "2"]],
    tuple[str, ...]: ["base-files", "nova-api"],
    tuple[int, Line]: [0, "deleted"],
}


def readers() -> Iterator[Reader]:
    """Give a reader for each answer that a runbook or a backup asks for."""
    for kind, recorded in ANSWERS.items():
        name = getattr(kind, "__name__", str(kind)[:60])
        yield Reader(name=f"runbooks, {name}", recorded=recorded, digest=_answered(kind), share=10)
    yield Reader(name="note of a spare", recorded=_NOTE, digest=take_note, share=10)
    yield Reader(name="end of an installation", recorded=_LEFT_OUT, digest=take_end, share=10)
    yield Reader(
        name="a command that lasts", recorded=PIECE | {"status": 0}, digest=follow, share=10
    )
    yield Reader(name="host is another's", recorded=ANSWERS[Holder], digest=take_holder)
    yield Reader(name="binary logs of a server", recorded=_LOGS, digest=take_logs)
    yield Reader(name="exports", recorded={"a.json": "%7B%7D"}, digest=take_exports)
    listed = [list(one) for one in ENTRIES]
    names = {"users": {"0": "root"}, "groups": {"0": "root"}, "clock": 1.7e9, "quoted": True}
    host = {"packages": ["swift 1"], "manual": [], "enabled": ["ssh"], "machine": MACHINE}
    listing = {"entries": listed, **names, **host, "left_out": {"count": 1, "some": ["/etc/x"]}}
    yield Reader(name="list of files", recorded=listing, digest=take_listing, share=30)
    line = {"entries": listed, **names}
    yield Reader(name="list of files, followed", recorded=line, digest=take_line, share=10)
    yield Reader(name="list of files in a backup", recorded=listing, digest=take_backup, share=10)
    old = listing | {"quoted": False}
    yield Reader(name="list of files in an old backup", recorded=old, digest=take_backup, share=10)
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        yield Reader(
            name=f"archive of form {form}", recorded=_archive(form), digest=unpack, share=30
        )


def _answered(kind: Any) -> Callable[[bytes], None]:
    def digest(data: bytes) -> None:
        use(as_answer(kind, printed(data), host="h"))

    return digest


def use(answer: Any) -> None:
    """Do with an answer what the runbooks do with it first."""
    if isinstance(answer, BootObstacles):
        expect_clean(refusals(on_host=answer))
    if isinstance(answer, SpareAnswer):
        expect_clean(spare.blockers(WANTED, answer, offset=0))
        expect_clean(spare.warnings(WANTED, answer, offset=0))
        with contextlib.suppress(BackstayError):
            note = note_of("spare1", answer.prepared)
            state_of("spare1", note, answer.versions, {"packages": list(answer.packages)})
    if isinstance(answer, Holder):
        error = held("h", answer)
        expect_clean([error.attempted, error.came_back, error.remedy])
    if isinstance(answer, ExpectedSchemas):
        other_schemas({name: list(one) for name, one in answer.heads.items()}, {})
    if isinstance(answer, tuple) and answer and isinstance(answer[0], tuple):
        for name, address in outages.first_addresses(answer, {}).items():
            expect_clean([name])
            assert re.fullmatch(r"[0-9a-f.:%]+", address)


_NOTE = {
    "for": "controller",
    "backup": "controller-1",
    "at": 1.0,
    "packages": {"missing": ["a"], "differ": [["b", "1", "2"]], "summary": ""},
    "files": 3,
}


def take_note(data: bytes) -> None:
    """Take what a prepared spare has noted."""
    note = note_of("spare1", data.decode(errors="replace"))
    state_of("spare1", note, {"a": "1"}, {"packages": ["a 1"]})


_LEFT_OUT = {"missing": ["d"], "differ": [["c", "3", "9"]]}


def take_end(data: bytes) -> None:
    """Take the end of what an installation printed."""
    text = data.decode(errors="replace")
    found = packages.result(f"Setting up\n{onhost_packages.RESULT}{text}\n")
    packages.describe_packages(found, 1).encode()


def follow(data: bytes) -> None:
    """Follow a command whose host answers one odd piece after the other, and then never again."""
    left = 20
    pieces = [data, json.dumps(PIECE | {"runs": True}).encode()]

    async def ask(function: Any, *_: Any, returns: Any, bound: float) -> Any:
        del function
        nonlocal left
        assert bound > 0
        left -= 1
        if left < 0:
            raise BackstayError("asking", came_back="silence", remedy="look")
        return as_answer(returns, printed(pieces[left % 2]), host="h")

    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = LongCommand("u", ask, host="h", folder="/f", log=log)
        work = Work(name="t", does="running it", script="")
        try:
            asyncio.run(command.follow(work, say=lambda text: expect_clean([text])))
        finally:
            last_errors(log.read_text(errors="replace") if log.exists() else "")


def take_holder(data: bytes) -> None:
    """Take the last words of a program that ended as the host is another run's."""
    found = held_in(f"exit status 75: {HELD}{data.decode(errors='replace')}")
    assert found is not None
    use(found)


_LOGS = {"socket": "/run/mysqld/mysqld.sock", "files": [["mysql-bin.000002", 1998, "7bd7"]]}


def take_logs(data: bytes) -> None:
    """Take which binary logs a server has."""

    async def answer(*_: Any, **__: Any) -> Answer:
        return printed(data)

    shell: Any = SimpleNamespace(answer=answer)
    source = SshSource(shell, SshTarget(name="controller", address="192.0.2.11"))
    found = asyncio.run(source.server_logs())
    next_file(None, found.files)
    expect_clean([first_file(found.files, [])])


def take_exports(data: bytes) -> None:
    """Take what a host's programs have printed."""
    exported("h", ["a.json"], as_answer(dict[str, str], printed(data), host="h"))


ENTRIES = (
    Entry("/etc", "d", 0o755, 0, 0, 0, 1, ""),
    Entry("/etc/hosts", "f", 0o644, 0, 0, 4, 10**18, ""),
    Entry("/etc/nova/nova.conf", "f", 0o640, 0, 110, 3, 10**18, ""),
    Entry("/etc/rc", "l", 0o777, 0, 0, 0, 1, "../bin/rc"),
)


def take_listing(data: bytes) -> None:
    """Take a host's list of files."""

    async def ask(_host: str, *_: Any, returns: Any, most: int, **__: Any) -> Any:
        return as_answer(returns, printed(data), host="h", most=most)

    session: Any = SimpleNamespace(ask=ask)
    _use_listing(asyncio.run(manifest.ask_manifest(session, "h", ["/etc"], [])))


def take_line(data: bytes) -> None:
    """Take a list of files of a host that is followed."""
    found = manifest.of_line(data, host="h", below=["/etc"])
    if isinstance(found, Manifest):
        _use_listing(found)


def take_backup(data: bytes) -> None:
    """Take the list of files that lies in a backup."""
    _use_listing(manifest.of_backup(data, backup="h-1"))


def _use_listing(found: Manifest) -> None:
    found.owners()
    for entry in found.regular():
        assert ".." not in entry.inside.split("/")
        assert not entry.inside.startswith("/")
    merged(ENTRIES, found.entries)
    manifest.from_document(json.loads(json.dumps(found.document())))


def _archive(form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for entry in ENTRIES:
            if entry.kind == "f":
                info = tarfile.TarInfo(entry.inside)
                info.size = entry.size
                archive.addfile(info, io.BytesIO(bytes(entry.size)))
        info = tarfile.TarInfo(LONG.inside)
        info.size = LONG.size
        archive.addfile(info, io.BytesIO(bytes(LONG.size)))
    return out.getvalue()


LONG = Entry("/etc/" + "n/" * 60 + "é", "f", 0o644, 0, 0, 700, 1, "")


def unpack(data: bytes) -> None:
    """Unpack an archive as it arrives, in pieces."""
    with tempfile.TemporaryDirectory() as name:
        inner = Path(name) / "content"
        inner.mkdir()
        with Folder.open(inner) as folder:
            unpacking = Unpacking(folder, [*ENTRIES[1:3], LONG], grown=len(data) % 2 == 0)
            try:
                for start in range(0, len(data), 1000):
                    unpacking.feed(data[start : start + 1000])
                unpacking.end()
            except UnexpectedArchive as error:
                expect_clean([clean(str(error)), str(error)], longest=1000)
            finally:
                unpacking.close()
        assert [one.name for one in Path(name).iterdir()] == ["content"]
