"""What lies in files: the operator's own, those of backups and logs, and what programs print."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import asyncssh
from ruamel.yaml import YAML

from backstay.answers import convert
from backstay.backup import own_folder
from backstay.backup.catalogue import Backup, Catalogue
from backstay.backup.findings import freshness_findings
from backstay.backup.follow import FollowedFiles
from backstay.backup.manifest import Machine
from backstay.backup.mariadb.binlog_file import identity_of, position_of, reach
from backstay.backup.mariadb.lag import lag_findings
from backstay.backup.mariadb.logs import Logs, joined, not_needed
from backstay.backup.mariadb.settings import PLAIN, plain_settings
from backstay.backup.prune import to_forget
from backstay.backup.restore_point import RestorePoint, losses
from backstay.cli.output.backups import backup_text, backups_table
from backstay.cli.output.incidents import incident_text, incidents_table
from backstay.cli.output.run import remaining_table, run_text, runs_table
from backstay.errors import BackupError
from backstay.inventory import openrc
from backstay.inventory.backup import Keep
from backstay.inventory.clouds_yaml import read_clouds_yaml
from backstay.inventory.load import load
from backstay.inventory.openrc import PROXIES, read_openrc
from backstay.journal.plan import Plan, Step
from backstay.journal.reading import Damaged, decoded, events, run_record
from backstay.services.registry import all_services
from backstay.transports import restic_output, ssh_config
from backstay.transports.host_keys import HostKeys
from backstay.transports.ssh_config import Way
from backstay.transports.ssh_options import options
from backstay.transports.targets import SshTarget
from backstay.watch.incidents.reading import DamagedIncident, record
from backstay.watch.incidents.record import opened_record
from tests.fuzz.hosts import show
from tests.fuzz.reader import RECORDED, Reader, expect_clean
from tests.fuzz.test_state_files import BACKUP, RESTIC, SNAPSHOTS, STREAM
from tests.runbooks.test_replace_spare import MACHINE
from tests.watch.causes import CAUSE

OPENRC = (
    b"OS_AUTH_URL=http://192.0.2.11:5000/v3\0OS_USERNAME=admin\0OS_PASSWORD=s3cret\0"
    b"OS_PROJECT_NAME=admin\0OS_IDENTITY_API_VERSION=3\0PATH=/bin\0"
)
"""What the shell prints that has read an openrc: no mutation is ever run by a shell."""
CLOUDS = b"""\
clouds:
  amber:
    auth: {auth_url: "http://192.0.2.11:5000/v3", username: admin, password: s3cret}
    region_name: RegionOne
    regions: [RegionOne]
    verify: false
    cacert: ~/ca.pem
"""
SSH_CONFIG = b"""\
Host controller 192.0.2.*
    HostName 192.0.2.11
    User root
    Port 2222
    ProxyJump admin@192.0.2.1:22,[fe80::1]
    Include conf.d/*.conf ~/other
    UserKnownHostsFile ~/.ssh/known_hosts /dev/null
    ServerAliveInterval 5
    HostKeyAlias "c"
Match host "192.0.2.9" user root
    Ciphers aes256-gcm@openssh.com
"""
_KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDkPmgMGkJXZH8q2GqSSUEBbW8MJhKZcXk6hJ1jwqWX5"
KNOWN_HOSTS = b"""\
# a comment
192.0.2.11 KEY
@cert-authority *.example KEY
@revoked [192.0.2.12]:2222 KEY
|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= KEY
""".replace(b"KEY", _KEY)
SETTINGS = b"[mysqld]\ninnodb_page_size=16384\ninnodb_undo_directory=./\nplugin_load=x.so\n"


def readers(folder: Path) -> Iterator[Reader]:
    """Give a reader for each file; they are written beneath ``folder``, which is also HOME."""
    yield from _of_backups(folder)
    yield from _of_programs()
    yield from _of_the_operator(folder)
    yield from _of_the_journal()


def _of_backups(folder: Path) -> Iterator[Reader]:
    place = folder / "catalogue"
    Catalogue(place).write(BACKUP)
    recorded = json.loads((place / "controller-1.json").read_text(encoding="utf-8"))
    yield Reader(
        name="catalogue", recorded=recorded, digest=partial(take_catalogue, place), share=30
    )
    yield Reader(name="machine", recorded=MACHINE, digest=take_machine)
    logs = _Logs(folder / "streams")
    state = asdict(STREAM)
    files: dict[str, tuple[Any, Path]] = {
        "state of a stream": (state, logs.folder / "state.json"),
        "state of an incarnation": (state, logs.folder / "0001" / "state.json"),
        "sizes of whole logs": ({LOG: 1998}, logs.folder / "0001" / "closed.json"),
        "state of followed files": ({"whole_at": 1.7e9, "error": ""}, logs.follows / "state.json"),
    }
    for name, (document, path) in files.items():
        yield Reader(name=name, recorded=document, digest=partial(logs.take, path), share=6)
    whole = (RECORDED / "backup" / "data" / LOG).read_bytes()
    for start in (0, 4, 385, 1041):
        yield Reader(
            name=f"binary log from {start}",
            recorded=whole,
            digest=partial(_walk, folder / LOG, start),
            share=30,
        )
    note = {"folder": "/srv/backups", "id": "ab" * 16, "mount": "/srv"}
    digest = partial(take_note, folder / "note.json")
    yield Reader(name="note of a folder", recorded=note, digest=digest, share=10)
    dump = (RECORDED / "backup" / "data" / "dump-head.sql").read_bytes()
    yield Reader(name="head of a dump", recorded=dump, digest=take_dump, share=10)
    yield Reader(name="settings in a backup", recorded=SETTINGS, digest=take_settings, share=10)


LOG = "mysql-bin.000002"


def take_note(file: Path, data: bytes) -> None:
    """Take what this machine has noted of its folder of backups."""
    file.write_bytes(data)
    with patch.object(own_folder, "_note_of", lambda _: file):
        noted = own_folder._noted(Path("/srv/backups"))
    if noted is not None:
        error = own_folder._another(Path("/srv/backups"), noted, other=True)
        expect_clean([str(error), error.remedy])


def take_catalogue(place: Path, data: bytes) -> None:
    """Do with a backup what lists, checks and pruning do."""
    (place / "controller-1.json").write_bytes(data)
    try:
        backup = Catalogue(place).named("controller-1")
    except BackupError as error:
        assert str(place / "controller-1.json") in error.attempted  # noqa: PT017 - raised again
        raise
    _use(backup)


def _use(backup: Backup) -> None:
    backups_table([backup]).encode()
    backup_text(backup).encode()
    show(freshness_findings([backup], ["controller"], limit=1.0, now=time.time()))
    to_forget([backup], Keep(), UTC)
    with contextlib.suppress(BackupError):
        joined(backup)
    losses(backup, RestorePoint(), None, now=datetime.now(UTC))
    not_needed([], [backup])
    json.dumps(asdict(backup)).encode()


def take_machine(data: bytes) -> None:
    """Take the machine of a backup, as a replacement does."""
    found = decoded(data)
    if not isinstance(found, Damaged):
        convert(Machine, found)


class _Logs:
    """The folders of a stream, in which one file after the other is changed."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.folder, self.follows = base / "logs" / "controller", base / "followed" / "controller"
        (self.folder / "0001" / "arriving").mkdir(parents=True)
        (self.folder / "0001.old").mkdir()
        self.follows.mkdir(parents=True)
        self.log = RECORDED / "backup" / "data" / LOG
        (self.folder / "0001" / LOG).write_bytes(self.log.read_bytes())
        (self.folder / "0001" / "mysql-bin.²").write_bytes(b"")

    def take(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)
        try:
            found = lag_findings(self.base, limit=60, now=time.time())
            assert {one.host for one in found} <= {"controller"}
            show(found)
            [incarnation] = Logs(self.folder).incarnations()
            incarnation.state()
            with contextlib.suppress(BackupError):
                Logs(self.folder).after(LOG, 1041, identity_of(self.log) or "")
            with contextlib.suppress(BackupError):
                FollowedFiles(self.follows).state()
            incarnation.note_closed([(LOG, 1998), ("mysql-bin.000003", 5)])
            assert isinstance(incarnation.closed(), dict)
        finally:
            path.unlink()


def _walk(file: Path, start: int, data: bytes) -> None:
    file.write_bytes(data)
    try:
        found = reach(file, start)
    except BackupError as error:
        assert str(file) in error.attempted  # noqa: PT017 - it is raised again
        raise
    assert found.position <= len(data) or not found.changes
    assert found.torn <= len(data)


def take_dump(data: bytes) -> None:
    """Take the position that a dump names."""
    found = position_of(data)
    expect_clean(found)
    assert len(found) in {0, 2}


def take_settings(data: bytes) -> None:
    """Take over the settings that come with a hot backup."""
    lines = plain_settings(data.decode(errors="replace")).splitlines()
    assert lines[0] == "[mysqld]"
    assert {line.partition("=")[0] for line in lines[1:]} <= PLAIN.keys()


def _of_programs() -> Iterator[Reader]:
    yield Reader(name="restic, summary", recorded=RESTIC, digest=take_summary, share=10)
    status = {"message_type": "status", "total_files": 3, "files_done": 1, "total_bytes": 9}
    yield Reader(name="restic, status", recorded=status, digest=take_status, share=10)
    listed: Any = SNAPSHOTS
    yield Reader(name="restic, snapshots", recorded=listed, digest=take_snapshots, share=10)
    config = {"version": 2, "id": "ab" * 32, "chunker_polynomial": "3"}
    yield Reader(name="restic, config", recorded=config, digest=take_config)
    errors = b"Fatal: unable to open config file: rest:https://u:s3cret@h/x: wrong password\n"
    yield Reader(name="restic, errors", recorded=errors, digest=take_errors, share=10)


def take_summary(data: bytes) -> None:
    """Take restic's last line."""
    expect_clean([restic_output.summary(data.decode(errors="replace"), "h", ["t"]).id])


def take_config(data: bytes) -> None:
    """Take the config of a repository."""
    expect_clean([restic_output.repository_id(data.decode(errors="replace"))])


def take_status(data: bytes) -> None:
    """Take a line of restic's progress."""
    assert len(restic_output.counts(data.decode(errors="replace"))) in {0, 4}


def take_snapshots(data: bytes) -> None:
    """Take restic's list."""
    for one in restic_output.snapshots(data.decode(errors="replace")):
        assert not one.id.startswith("-")


def take_errors(data: bytes) -> None:
    """Take what restic complains of."""
    error = restic_output.error("reading", "rest:https://u:s3cret@h/x", data.decode("latin-1"))
    expect_clean([error.attempted, error.came_back, error.remedy])
    assert "s3cret" not in f"{error.attempted}{error.came_back}{error.remedy}"


def _of_the_operator(folder: Path) -> Iterator[Reader]:
    services = [service.name for service in all_services()]
    data = RECORDED / "inventory" / "data"
    file = folder / "cloud.yaml"
    for name in ("cloud.yaml", "lab-cloud.yaml"):
        yield Reader(
            name=name,
            recorded=(data / name).read_bytes(),
            digest=partial(_load_cloud, file, services),
            share=8,
        )
        yield Reader(
            name=f"{name} as JSON",
            recorded=_as_json(data / name),
            digest=partial(_load_cloud, file, services),
            share=16,
        )
    yield Reader(name="clouds.yaml", recorded=CLOUDS, digest=partial(_clouds, folder), share=8)
    yield Reader(name="openrc", recorded=OPENRC, digest=partial(_openrc, folder), share=20)
    (folder / ".ssh").mkdir()
    yield Reader(name="ssh config", recorded=SSH_CONFIG, digest=partial(_ssh, folder), share=20)
    yield Reader(
        name="known hosts", recorded=KNOWN_HOSTS, digest=partial(_known_hosts, folder), share=20
    )


def _as_json(file: Path) -> Any:
    """Return a YAML file as JSON, which is YAML too: its values are changed, not its letters."""
    return json.loads(
        json.dumps(YAML(typ="safe").load(file.read_text(encoding="utf-8")), default=str)
    )


def _load_cloud(file: Path, services: list[str], data: bytes) -> None:
    file.write_bytes(data)
    load(file, services=services)


def _clouds(folder: Path, data: bytes) -> None:
    file = folder / "clouds.yaml"
    file.write_bytes(data)
    found = read_clouds_yaml("amber", file)
    assert all(isinstance(one, str) for pair in found.items() for one in pair)


def _openrc(folder: Path, data: bytes) -> None:
    file = folder / "openrc"
    file.touch()
    printed = data.decode(errors="replace")
    with patch.object(openrc, "_run", lambda *_: (0, printed, "")):
        found = read_openrc(file)
    assert all(name.startswith("OS_") or name.lower() in PROXIES for name in found)


TARGET = SshTarget(name="controller", address="192.0.2.11")
_PRESENTED = asyncssh.import_public_key(_KEY)


def _ssh(folder: Path, data: bytes) -> None:
    if b"exec" in data.lower():
        return  # `Match exec` would run a program
    (folder / ".ssh" / "config").write_bytes(data)
    try:
        way = _way(TARGET)
        assert options(TARGET, way)["agent_forwarding"] is False
        HostKeys().of(TARGET, way, direct=True).order([], hashed=True, certified=True)
    finally:
        ssh_config.line_of("UserKnownHostsFile").encode(errors="replace")
        (folder / ".ssh" / "config").unlink()


def _known_hosts(folder: Path, data: bytes) -> None:
    file = folder / "known_hosts"
    file.write_bytes(data)
    target = SshTarget(name="c", address="192.0.2.11", key=file, known_hosts=file)
    # Its keys alone are looked at here: ssh is not asked each time.
    said = {"hostname": ["192.0.2.11"], "userknownhostsfile": ["none"]}
    way = Way(original="192.0.2.11", host="192.0.2.11", port=22, user="root", said=said)
    known = HostKeys().of(target, way, direct=True)
    known.order(["ssh-ed25519"], hashed=True, certified=True)
    known.revoked()
    known.accepts(_PRESENTED, "192.0.2.11")


def _way(target: SshTarget) -> Way:
    return asyncio.run(ssh_config.SshConfig().way(target))


PLAN = Plan(
    runbook="reboot",
    cloud="lab",
    targets=("a",),
    steps=tuple(
        Step(id=f"a.{name}", action=name, target="a", does=f"to {name}", bound=9.0)
        for name in ("look", "work")
    ),
    settings={"skip_gates": ["a"], "force": False},
)
RUN: dict[str, Any] = {
    "id": "reboot-1",
    "state": "failed",
    "who": "anna",
    "holder": "anna on ops1 (pid 7)",
    "reason": "a new kernel",
    "ticket": "OPS-1",
    "made": 1.7e9,
    "began": 1.7e9,
    "ended": None,
}
STEPS: list[dict[str, Any]] = [
    {
        "id": "a.look",
        "state": "done",
        "began": 1.7e9,
        "ended": 1.7e9 + 3,
        "attempts": 1,
        "result": {"summary": "seen", "number": 3},
        "error": {},
    },
    {
        "id": "a.work",
        "state": "failed",
        "began": 1.7e9 + 3,
        "ended": 1.7e9 + 9,
        "attempts": 2,
        "result": {},
        "error": {"attempted": "working", "came_back": "no", "remedy": "later"},
    },
]
EVENT: dict[str, Any] = {"at": 1.7e9, "step": "a.look", "kind": "started", "text": "to look"}


def _of_the_journal() -> Iterator[Reader]:
    plan = PLAN.document()
    yield Reader(name="journal, a plan", recorded=plan, digest=_row("plan"), share=10)
    yield Reader(name="journal, a run", recorded=RUN, digest=_row("run"), share=10)
    for column in ("result", "error"):
        recorded = STEPS[1 if column == "error" else 0][column]
        yield Reader(
            name=f"journal, {column} of a step", recorded=recorded, digest=_row(column), share=10
        )
    step = {key: one for key, one in STEPS[1].items() if key not in {"result", "error"}}
    yield Reader(name="journal, a step", recorded=step, digest=_row("step"), share=10)
    yield Reader(name="journal, an event", recorded=EVENT, digest=_row("event"), share=10)
    made = opened_record(1, "lab", CAUSE, began=1.0, at=2.0, channels=["mail"])
    rows = {
        "incident": asdict(made.incident),
        "line": asdict(made.incident.timeline[0]),
        "notification": asdict(made.notifications[0]),
    }
    for part, recorded in rows.items():
        digest = partial(_take_incident, part, rows)
        yield Reader(name=f"journal, {part}", recorded=recorded, digest=digest, share=10)


def _scalars(given: dict[str, Any]) -> dict[str, Any]:
    """Return values as columns have them: no lists and no mappings."""
    return {key: str(one) if isinstance(one, dict | list) else one for key, one in given.items()}


def _row(what: str) -> Callable[[bytes], None]:
    """Return what reads a run one part of which is what a column, or several, give."""

    def digest(data: bytes) -> None:
        given = decoded(data)
        columns = _scalars(given) if isinstance(given, dict) else {}
        run = RUN | {"plan": given if what == "plan" else PLAN.document()}
        steps, event = [dict(one) for one in STEPS], dict(EVENT)
        if what == "run":
            run |= {key: columns.get(key) for key in RUN if key in columns or not columns}
        elif what == "step":
            steps[1] |= {key: one for key, one in columns.items() if key in steps[1]}
        elif what == "event":
            event |= {key: one for key, one in columns.items() if key in event}
        elif what != "plan":
            steps[1 if what == "error" else 0][what] = given
        record = run_record(run, steps)
        text = run_text(record, events([event], record.id))
        for shown in (text, runs_table([record]), remaining_table(record)):
            shown.encode()

    return digest


def _take_incident(part: str, rows: Mapping[str, Any], data: bytes) -> None:
    """Read an incident one of whose rows is what was given."""
    given = decoded(data)
    if isinstance(given, dict):
        columns = _scalars(given) | {"cause": given.get("cause")}
        rows = {**rows, part: {key: columns.get(key) for key in rows[part]}}
    row = {**rows["incident"], "id": 1}
    try:
        found = record(row, [rows["line"]], [rows["notification"]], _take_damaged)
    except DamagedIncident as error:
        _take_damaged(error)
        return
    for shown in (incident_text(found.incident), incidents_table([found.incident], 3.0)):
        shown.encode()


def _take_damaged(error: DamagedIncident) -> None:
    expect_clean([str(error)])
