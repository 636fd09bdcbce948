"""A repository that cannot be read is not an empty one, and no evidence against a backup."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from backstay.backup import mounts, own_folder
from backstay.backup.catalogue import Backup, Catalogue, State, StoredIn
from backstay.backup.findings import repository_findings
from backstay.backup.place import Place
from backstay.backup.prune import prune
from backstay.cli.exit_status import ExitStatus
from backstay.cli.main import backstay
from backstay.errors import BackupError, DamagedBackup
from backstay.finding import Severity
from backstay.inventory.backup import Keep
from backstay.inventory.load import load
from backstay.journal.action import Running
from backstay.runbooks.backup.plan import verify_plan
from backstay.runbooks.backup.prove import Verify
from backstay.transports import restic as restic_module
from backstay.transports.programs import failed
from backstay.transports.restic import Restic

pytestmark = pytest.mark.skipif(
    shutil.which("restic") is None, reason="restic is not installed: apt-get install restic"
)
CLOUD = """
name: lab
credentials: {{openrc: openrc}}
hosts:
  proxy: {{address: 192.0.2.12, roles: [storage-proxy]}}
backup: {{folder: backups, repository: '{repository}', password_file: password}}
"""
NAMES = ("proxy-1", "proxy-2", "proxy-3")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with three backups of a proxy in a repository on a disk; it is copied for each test.

    The newest was taken by an earlier version: which repository it is in is not noted.
    """
    site = tmp_path_factory.mktemp("site")
    (site / "password").write_text("geheim")
    mirror = site / "mirror"
    (mirror / "content" / "etc").mkdir(parents=True)
    (mirror / "content" / "etc" / "swift.conf").write_bytes(os.urandom(200_000))
    entries = [["/etc/swift.conf", "f", 0o644, 0, 0, 200_000, 1, ""]]
    (mirror / "manifest.json").write_text(json.dumps({"entries": entries}))

    async def fill() -> dict[str, Any]:
        restic = Restic(str(site / "disk" / "restic"), site / "password", site / "cache")
        await restic.open()
        made = await restic.backup(mirror, host="proxy", tags=["backstay"], bound=120)
        return {"id": await restic.identity(), "snapshot": made.id}

    (site / "made.json").write_text(json.dumps(asyncio.run(fill())))
    return site


@pytest.fixture
def site(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    monkeypatch.setattr(restic_module, "QUICK", 600.0)
    there = tmp_path / "site"
    shutil.copytree(filled, there)
    (there / "cloud.yaml").write_text(CLOUD.format(repository=f"local:{there}/disk/restic"))
    made = json.loads((there / "made.json").read_text())
    place = place_at(there)
    for at, name in enumerate(NAMES):
        place.record(
            Backup(
                name=name,
                cloud="lab",
                host="proxy",
                taken_at=float(at),
                seconds=1.0,
                state=State.VERIFIED,
                snapshots={"files": made["snapshot"]},
                sizes={"files": 200_000},
                stored=stored_in(there, made["id"]) if at < 2 else StoredIn(),
            )
        )
    return there


def stored_in(site: Path, repository: str) -> StoredIn:
    return StoredIn(id=repository, place=f"{site}/disk/restic", mount="")


def place_at(site: Path) -> Place:
    return Place(load(site / "cloud.yaml", services=[]))


def states(site: Path) -> dict[str, str]:
    return {one.name: one.state for one in place_at(site).catalogue.backups()}


ALL_VERIFIED = dict.fromkeys(NAMES[::-1], "verified")


def unmounted(site: Path) -> None:
    (site / "disk").rename(site / "away")
    (site / "disk").mkdir()


def empty(site: Path) -> None:
    unmounted(site)
    (site / "disk" / "restic").mkdir()


def without_config(site: Path) -> None:
    (site / "disk" / "restic" / "config").unlink()


def another(site: Path) -> None:
    unmounted(site)
    other = Restic(str(site / "disk" / "restic"), site / "password", site / "cache")
    asyncio.run(other.make())


def wrong_password(site: Path) -> None:
    (site / "password").write_text("falsch")


def without_password(site: Path) -> None:
    (site / "password").unlink()


AWAY = [
    (unmounted, "there is no repository, and the catalogue has 3 backups in one"),
    (empty, "there is no repository, and the catalogue has 3 backups in one"),
    (without_config, "its file `config` is gone, and snapshots are there"),
    (another, "it is another one"),
    (wrong_password, "wrong password"),
    (without_password, "password"),
]


def files(folder: Path) -> set[str]:
    return {
        str(file.relative_to(folder)) for file in folder.rglob("*") if "locks" not in file.parts
    }


def verified(site: Path, name: str) -> None:
    place = place_at(site)
    step = verify_plan(place_cloud(site), "proxy", name).steps[0]
    running = Running(
        run="backup-1",
        plan=verify_plan(place_cloud(site), "proxy", name),
        step=step,
        results={},
        started=0.0,
        report=lambda _: None,
    )
    asyncio.run(Verify(cast("Any", None), place).do(running))


def place_cloud(site: Path) -> Any:
    return load(site / "cloud.yaml", services=[])


@pytest.mark.parametrize(("happened", "said"), AWAY, ids=[one.__name__ for one, _ in AWAY])
def test_nothing_is_made_judged_or_removed(
    site: Path, happened: Callable[[Path], None], said: str
) -> None:
    happened(site)
    before, listed = files(site / "disk"), files(site / "backups" / "catalogue")
    place = place_at(site)
    with pytest.raises(BackupError, match=said) as taking:
        asyncio.run(place.opened())
    assert taking.value.remedy
    for name in (NAMES[0], NAMES[2]):
        with pytest.raises(BackupError, match=r"it stays `verified`") as proving:
            verified(site, name)
        assert not isinstance(proving.value, DamagedBackup)
    with pytest.raises(BackupError, match=said):
        asyncio.run(prune(place, Keep(last=1, daily=0, weekly=0, monthly=0), {}))
    assert files(site / "disk") == before
    assert files(site / "backups" / "catalogue") == listed
    assert states(site) == ALL_VERIFIED


def test_the_mount_that_is_missing_is_named(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unmounted(site)
    fstab = site / "fstab"
    fstab.write_text(f"# disks\nUUID=1 / ext4\nUUID=2 {site}/disk ext4 noauto 0 0\n")
    monkeypatch.setattr(mounts, "FSTAB", fstab)
    with pytest.raises(BackupError, match=f"{site}/disk is not mounted") as caught:
        asyncio.run(place_at(site).opened())
    assert caught.value.remedy.startswith(f"mount {site}/disk, then try again")
    shutil.rmtree(site / "backups" / "catalogue")
    shutil.rmtree(site.parent / own_folder.NOTES)
    with pytest.raises(BackupError, match=f"{site}/disk is not mounted"):
        asyncio.run(place_at(site).opened())
    assert not list((site / "disk").iterdir()), "not at the first backup either"


def test_its_own_is_opened_by_whatever_name_and_notes_itself(site: Path) -> None:
    made = json.loads((site / "made.json").read_text())
    found = asyncio.run(place_at(site).opened())
    assert found == stored_in(site, made["id"])
    (site / "disk").rename(site / "elsewhere")
    (site / "cloud.yaml").write_text(CLOUD.format(repository=f"{site}/elsewhere/restic"))
    assert asyncio.run(place_at(site).opened()).id == made["id"]
    old = [replace(one, stored=StoredIn()) for one in place_at(site).catalogue.backups()]
    for backup in old:
        place_at(site).catalogue.write(backup)
    assert asyncio.run(place_at(site).opened()).id == made["id"], "known by what is in it"


def test_a_new_place_is_made_by_a_person_alone(site: Path) -> None:
    catalogue = place_at(site).catalogue
    catalogue.remove([NAMES[2]])
    (site / "cloud.yaml").write_text(CLOUD.format(repository=f"{site}/new"))
    with pytest.raises(BackupError, match=r"in one at .*/disk/restic") as caught:
        asyncio.run(place_at(site).opened())
    assert f"restic -r {site}/new init" in caught.value.remedy
    assert not (site / "new").exists()
    asyncio.run(Restic(f"{site}/new", site / "password", site / "cache").make())
    assert asyncio.run(place_at(site).opened()).place == f"{site}/new"
    with pytest.raises(BackupError, match="it is in another repository, which was at"):
        verified(site, NAMES[0])
    keep = Keep(last=1, daily=0, weekly=0, monthly=0)
    assert not asyncio.run(prune(place_at(site), keep, {})).backups, "it cannot be reached"
    assert len(states(site)) == 2


def test_what_is_not_what_was_stored_is_evidence(site: Path) -> None:
    verified(site, NAMES[0])
    assert states(site) == ALL_VERIFIED
    packs = [file for file in (site / "disk").rglob("data/*/*") if file.stat().st_size > 100_000]
    data = bytearray(packs[0].read_bytes())
    data[1000] ^= 1
    packs[0].chmod(0o600)
    packs[0].write_bytes(data)
    with pytest.raises(DamagedBackup):
        verified(site, NAMES[0])
    assert states(site)[NAMES[0]] == "failed"
    for snapshot in (site / "disk" / "restic" / "snapshots").iterdir():
        snapshot.unlink()
    packs[0].write_bytes(bytes(data[:1000]) + bytes([data[1000] ^ 1]) + bytes(data[1001:]))
    with pytest.raises(DamagedBackup, match="no matching ID found"):
        verified(site, NAMES[1])
    assert states(site)[NAMES[1]] == "failed"


def test_a_disk_that_goes_away_meanwhile_is_none(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: Restic, **_: Any) -> None:
        unmounted(site)
        raise self._error("checking", "pack 6051f3c383: does not exist\nFatal: contains errors")

    monkeypatch.setattr(Restic, "check", away)
    with pytest.raises(BackupError, match=r"cannot be read any more.* it stays `verified`"):
        verified(site, NAMES[0])
    assert states(site) == ALL_VERIFIED


@pytest.mark.parametrize(
    "said",
    [
        '[ERROR] InnoDB: Write failed: (Errcode: 28 "No space left on device")',
        "mariadb-backup: Cannot allocate memory for the buffer pool",
        "[ERROR] InnoDB: Operating system error number 24 in a file operation.",
        "it was ended: exit status -9",
    ],
)
def test_a_machine_that_lacks_something_is_none(
    site: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    async def fails(*_: Any, **__: Any) -> None:
        raise failed("starting the scratch server", said)

    monkeypatch.setattr(Verify, "_proof", fails)
    monkeypatch.setattr(Place, "holding", fails if "ended" in said else _fine)
    with pytest.raises(BackupError, match=r"it stays `verified`") as caught:
        verified(site, NAMES[0])
    assert "do not rely" not in caught.value.remedy or "ended" in said
    assert states(site) == ALL_VERIFIED


async def _fine(*_: Any) -> None:
    pass


def test_a_locked_repository_keeps_its_backups_in_the_catalogue(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def locked(self: Restic, *_: Any, **__: Any) -> None:
        raise self._error("pruning", "unable to create lock in backend: already locked by PID 1")

    monkeypatch.setattr(Restic, "forget", locked)
    with pytest.raises(BackupError) as caught:
        asyncio.run(prune(place_at(site), Keep(last=1, daily=0, weekly=0, monthly=0), {}))
    assert "another restic is at work" in caught.value.remedy
    assert states(site) == ALL_VERIFIED
    assert not place_at(site).removing()


SAID = {
    "Fatal: unable to open config file: Stat: Access Denied.\nIs there a repository at the "
    "following location?": "refuses the credentials",
    "Fatal: unable to open config file: unexpected HTTP response (403): 403 Forbidden\nIs there a "
    "repository at the following location?": "refuses the credentials",
    "Fatal: unable to open config file: stat /mnt/x/config: permission denied": "may not read",
    'Fatal: unable to open config file: client.Head: Head "http://h/": dial tcp: lookup h: no such '
    "host\nIs there a repository": "cannot be reached",
    "Fatal: unable to open repository at sftp:h:/x: unable to start the sftp session": "be reached",
    "Fatal: unable to open config file: stat /mnt/x/config: input/output error": "its disk fails",
    "Fatal: unable to open config file: Stat: Get https://s3/: deadline exceeded": "be reached",
    "Fatal: unable to open config file: Stat: InvalidAccessKeyId: does not exist": "credentials",
}


def restic_says(site: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Restic:
    """A program in restic's place; what it was called with is in the file ``calls``."""
    program = site / "bin" / "restic"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {site}/calls\n{script}')
    program.chmod(0o755)
    made = Restic("s3:s3.example/bucket", site / "password", site / "cache")
    monkeypatch.setitem(made._environment, "PATH", f"{program.parent}:{os.environ['PATH']}")
    return made


@pytest.mark.parametrize("said", SAID)
def test_what_refuses_or_does_not_answer_is_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    restic = restic_says(tmp_path, monkeypatch, f"cat >&2 <<'E'\n{said}\nE\nexit 1\n")
    with pytest.raises(BackupError) as caught:
        asyncio.run(restic.open())
    assert SAID[said] in caught.value.remedy
    assert "init" not in (tmp_path / "calls").read_text()


@pytest.mark.parametrize("words", [("snapshots",), ("restore",), ("dump",), ("check",)])
def test_what_cannot_be_locked_is_read_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str]
) -> None:
    """As on a disk that is full or mounted to be read only: a restore is wanted all the more."""
    says = "Fatal: unable to create lock in backend: mkdir locks: read-only file system"
    script = f'case "$*" in *--no-lock*) echo "[]"; exit 0;; esac\necho "{says}" >&2\nexit 1\n'
    restic = restic_says(tmp_path, monkeypatch, script)

    async def dumped() -> bytes:
        return b"".join([data async for data in restic.content("1234", "/f", silence=60)])

    if words == ("snapshots",):
        assert asyncio.run(restic.snapshots()) == []
    elif words == ("restore",):
        asyncio.run(restic.restore("1234", tmp_path / "x", bound=60))
    elif words == ("check",):
        asyncio.run(restic.check(read_data=True, bound=60))
    else:
        assert asyncio.run(dumped()) == b"[]\n"
    with pytest.raises(BackupError) as caught:
        asyncio.run(restic.forget(["1234"], prune=False, bound=60))
    assert "mount it for writing" in caught.value.remedy


def call(site: Path, *words: str) -> Any:
    return CliRunner().invoke(backstay, ["backup", *words, "--cloud", str(site / "cloud.yaml")])


def test_a_folder_that_is_not_the_one_that_had_the_backups(site: Path) -> None:
    (site / "backups").rename(site / "unmounted")
    for words in (["list"], ["show", "proxy"], ["verify", "proxy"], ["prune", "--yes"]):
        refused = call(site, *words)
        assert refused.exit_code == ExitStatus.UNKNOWN, refused.output
        assert "there are backups of this cloud in it, and none is here now" in refused.stderr
    with pytest.raises(BackupError, match="the folder that has them is not here") as caught:
        asyncio.run(place_at(site).opened())
    assert not (site / "backups").exists()

    (site / "backups").mkdir()
    (site / "backups" / own_folder.ID).write_text("0" * 32)
    with pytest.raises(BackupError, match="another folder is in its place"):
        place_at(site).catalogue.backups()
    shutil.rmtree(site / "backups")

    given_up = caught.value.remedy.rpartition(": rm ")[2]
    assert Path(given_up).is_file()
    (site / "unmounted").rename(site / "backups")
    assert states(site) == ALL_VERIFIED
    (site / "backups" / own_folder.ID).unlink()
    assert states(site) == ALL_VERIFIED, "a copy that an earlier version has made"
    shutil.rmtree(site / "backups")
    Path(given_up).unlink()
    assert place_at(site).catalogue.backups() == []


def test_a_half_written_file_costs_no_other_backup(site: Path) -> None:
    file = site / "backups" / "catalogue" / f"{NAMES[1]}.json"
    file.write_bytes(file.read_bytes()[:40])
    found, damaged = Catalogue(site / "backups" / "catalogue").readable()
    assert [one.name for one in found] == [NAMES[2], NAMES[0]]
    assert len(damaged) == 1
    with pytest.raises(BackupError, match="not a catalogue file"):
        asyncio.run(prune(place_at(site), Keep(last=1, daily=0, weekly=0, monthly=0), {}))
    assert len(list(file.parent.iterdir())) == 3


def test_the_check_names_a_disk_that_is_away(site: Path) -> None:
    backups = place_at(site).catalogue.backups()
    repository = f"local:{site}/disk/restic"
    assert repository_findings(repository, backups) == []
    noted = replace(backups[1].stored, mount=f"{site}/disk")
    [found] = repository_findings(repository, [replace(backups[1], stored=noted)])
    assert (found.severity, found.remedy) == (Severity.WARNING, f"mount {site}/disk")
    assert "proxy-2" in found.evidence


def test_mount_points_of_fstab(tmp_path: Path) -> None:
    fstab = tmp_path / "fstab"
    fstab.write_text(
        f"UUID=1 / ext4 defaults 0 1\nUUID=2 {tmp_path}/my\\040disk ext4 noauto 0 0 # x\n"
        f"#UUID=3 {tmp_path}/other ext4\nUUID=4 none swap sw 0 0\n"
    )
    path = tmp_path / "my disk" / "restic"
    assert mounts.missing_mount(path, fstab=fstab) == f"{tmp_path}/my disk"
    assert mounts.missing_mount(tmp_path / "other" / "x", fstab=fstab) == ""
    assert mounts.missing_mount(path, "/proc", fstab=tmp_path / "none") == ""
    assert mounts.missing_mount(path, str(tmp_path), fstab=fstab) == str(tmp_path)
    assert mounts.mount_of(Path("/proc/self/x")) == "/proc"
