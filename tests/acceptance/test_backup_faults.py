"""What can stand against a backup, for real: each is told, and what was there before stays good."""

import contextlib
import os
import random
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from backstay_lab import secrets
from tests.acceptance.background_load import again_and_again
from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.reboots import cloud_with, last_run
from tests.acceptance.test_backup import create, listed, snapshots
from tests.acceptance.test_reboot import list_steps

pytestmark = pytest.mark.lab

TABLE = "glance.backstay_story"
PAGE = 16384  # bytes, InnoDB's default
MAKE_TABLE = f"""SET max_recursive_iterations = 10000;
DROP TABLE IF EXISTS {TABLE};
CREATE TABLE {TABLE} (id INT PRIMARY KEY, t VARCHAR(200)) ENGINE=InnoDB;
INSERT INTO {TABLE}
    WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
    SELECT i, REPEAT(MD5(i), 6) FROM n;
FLUSH TABLES {TABLE} FOR EXPORT;
UNLOCK TABLES;
"""


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    with cloud_with(lab, f"backup: {{folder: {tmp_path}/backups, max_age: 1h}}\n") as file:
        yield file


def verify(lab: Lab, cloud: Path, name: str) -> str:
    return lab.backstay("backup", "verify", name, "--cloud", str(cloud), bound=300).stdout


def mounted(folder: Path, size: str) -> None:
    """Mount a small disk, or give the one that is there another size."""
    options = f"remount,size={size}" if folder.is_mount() else f"size={size}"
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "story", folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MiB: the files of a controller have room on it, and little else."""
    folder = tmp_path / "disk"
    mounted(folder, "40m")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_the_repository_is_full(lab: Lab, tmp_path: Path, disk: Path) -> None:
    mounted(disk, "4m")  # a proxy's backup has room on it, a controller's has not
    text = f"backup: {{folder: {tmp_path}/backups, repository: {disk}/repository}}\n"
    with cloud_with(lab, text) as cloud:
        create(lab, cloud, "proxy")
        failed = create(lab, cloud, "controller", ok=False)
        assert failed.returncode == 2
        assert "no space left on device" in failed.stdout
        assert "make space there, then: backstay backup prune" in failed.stdout
        assert [one["host"] for one in listed(lab, cloud)] == ["proxy"]
        verify(lab, cloud, "proxy")
        assert listed(lab, cloud)[0]["state"] == "verified"

        lab.backstay(
            "backup", "prune", "--yes", "--cloud", str(cloud)
        )  # works in what room is left
        mounted(disk, "600m")
        create(lab, cloud, "controller", "--verify")
        assert listed(lab, cloud)[0]["state"] == "verified"


@pytest.mark.slow
def test_the_repository_s_disk_is_away(lab: Lab, tmp_path: Path) -> None:
    """It is neither made anew in the mount point, nor held against the backups that are on it."""
    image, disk = tmp_path / "vault.img", tmp_path / "vault"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    mounting = ["mount", "-o", "loop", str(image), str(disk)]
    subprocess.run(mounting, check=True)
    text = f"backup: {{folder: {tmp_path}/backups, repository: 'local:{disk}/restic'}}\n"
    try:
        with cloud_with(lab, text) as cloud:
            create(lab, cloud, "proxy", "--verify")
            before = listed(lab, cloud)
            subprocess.run(["umount", disk], check=True)
            refused = create(lab, cloud, "proxy", ok=False)
            assert refused.returncode == 2
            assert f"{disk} is not mounted" in refused.stdout
            assert f"mount {disk}, then try again" in refused.stdout
            arguments = ("verify", before[0]["name"])
            told = lab.backstay("backup", *arguments, "--cloud", str(cloud), ok=False)
            assert told.returncode == 2
            assert "it stays `verified`" in told.stdout
            assert list(disk.iterdir()) == []
            assert listed(lab, cloud) == before
            subprocess.run(mounting, check=True)
            create(lab, cloud, "proxy", "--verify")
            assert [one["state"] for one in listed(lab, cloud)] == ["verified", "verified"]
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            full = create(lab, cloud, "proxy", ok=False)
            assert full.returncode == 2, full.stdout
            assert [one["state"] for one in listed(lab, cloud)] == ["verified", "verified"]
    finally:
        subprocess.run(["umount", disk], check=False)


@pytest.mark.slow
def test_the_machine_has_no_room_for_the_files(lab: Lab, tmp_path: Path, disk: Path) -> None:
    mounted(disk, "10m")
    text = f"backup: {{folder: {disk}, repository: {tmp_path}/repository}}\n"
    with cloud_with(lab, text) as cloud:
        failed = create(lab, cloud, "controller", ok=False)
        assert failed.returncode == 2
        assert re.search(
            r"bringing \d+ files of controller here: it needs .* are free", failed.stdout
        )
        assert "free space there" in failed.stdout
        mounted(disk, "40m")
        create(lab, cloud, "controller")
        [before] = listed(lab, cloud)
        refused = lab.backstay("backup", "verify", "controller", "--cloud", str(cloud), ok=False)
        assert refused.returncode == 2
        assert f"proving the backup {before['name']}" in refused.stdout
        assert "are free" in refused.stdout
        assert "free space there" in refused.stdout
        assert listed(lab, cloud) == [before], "no room to look at it says nothing of the backup"
        mounted(disk, "1g")
        verify(lab, cloud, "controller")


def start(cloud: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [BACKSTAY, "backup", "create", *arguments, "--cloud", cloud],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.slow
def test_the_host_is_lost_in_the_middle(lab: Lab, cloud: Path) -> None:
    create(lab, cloud, "controller", "--verify")
    taking = start(cloud, "controller")
    try:
        lab.wait_until(lambda: bool(list_steps(lab, "running")), what="it has started", bound=180)
        lab.wait_until(
            lambda: "controller.database" in list_steps(lab, "running"),
            what="the database is being read",
            bound=180,
            pause=0.1,
        )
        lab.backstay("lab", "break", "cut-network", "controller")
        output, _ = taking.communicate(timeout=100)  # four keepalives of 15 s, and some
    finally:
        taking.kill()
        lab.backstay("lab", "heal")
    assert taking.returncode == 2, output
    assert "controller (10." in output
    assert "store a hot backup of its databases" in output
    # by what it does just then: waits for the data, or for the answer to a question before them
    assert re.search("the connection was lost|no answer came within 30 s", output), output
    [before] = listed(lab, cloud)
    assert before["state"] == "verified"
    verify(lab, cloud, before["name"])
    lab.wait_green()
    create(lab, cloud, "controller", "--verify")
    newest = listed(lab, cloud)[0]
    assert newest["state"] == "verified"
    assert newest["name"] != before["name"]
    named = {snapshot for one in listed(lab, cloud) for snapshot in one["snapshots"].values()}
    assert {one["short_id"] for one in snapshots(cloud)} == named, "what was torn is forgotten"


@pytest.fixture
def damaged(lab: Lab) -> Iterator[Any]:
    """Give what damages a table on its disk; the server, which has read it, does not notice."""
    file = f"/var/lib/mysql/{TABLE.replace('.', '/')}.ibd"
    lab.shell("controller", f"mysql <<'E'\n{MAKE_TABLE}E\n")

    def damage() -> None:
        where = f"bs=1 seek={20 * PAGE + 500} count=64 conv=notrunc,fsync status=none"
        lab.shell("controller", f"dd if=/dev/urandom of={file} {where}")

    yield damage
    lab.shell("controller", f"mysql -e 'DROP TABLE {TABLE}'")


def test_a_table_is_damaged_on_its_disk(lab: Lab, cloud: Path, damaged: Any) -> None:
    create(lab, cloud, "controller", "--verify")
    damaged()
    failed = create(lab, cloud, "controller", "--verify", ok=False)
    assert failed.returncode == 2
    assert f"the table {TABLE} is damaged on its disk" in failed.stdout
    assert " hex " not in failed.stdout + str(last_run(lab))
    [before] = listed(lab, cloud)
    verify(lab, cloud, before["name"])
    lab.shell("controller", f"mysql -e 'ALTER TABLE {TABLE} FORCE'")  # written anew
    create(lab, cloud, "controller", "--verify")
    assert [one["state"] for one in listed(lab, cloud)] == ["verified", "verified"]
    assert lab.check().status == "ok"


@contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """Every command line of this machine, the lab's hosts included, until the block ends."""
    seen: set[bytes] = set()

    def look() -> None:
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):  # it has ended
                    seen.add(Path(entry.path, "cmdline").read_bytes())

    with again_and_again(look, 0.02):
        yield seen


def test_no_secret_is_seen_anywhere(lab: Lab, cloud: Path, tmp_path: Path) -> None:
    with command_lines() as seen:
        created = create(lab, cloud, "controller", "--verify")
    assert any(b"mariadb-backup" in line for line in seen), "the host's are seen, too"
    assert any(line.startswith(b"restic") for line in seen)
    known = secrets.load(lab.cloud_file.parent / "secrets.yaml")
    known["repository"] = (tmp_path / "backups" / "password").read_text()
    catalogue = [file.read_bytes() for file in (tmp_path / "backups" / "catalogue").iterdir()]
    for name, secret in known.items():
        word = secret.encode()
        assert not any(word in line for line in seen), f"{name} in a process list"
        assert word not in (tmp_path / "journal.db").read_bytes(), f"{name} in the journal"
        assert secret not in created.stdout + created.stderr, name
        assert not any(word in text for text in catalogue), f"{name} in the catalogue"
    for host in ("controller",):
        log = lab.shell(host, "journalctl -o cat --since -5min | tail -n 5000")
        assert not [name for name, secret in known.items() if secret in log]


def test_check_warns_until_there_is_a_fresh_proof(lab: Lab, cloud: Path) -> None:
    named = ("--cloud", str(cloud))
    create(lab, cloud, "proxy")
    warned = lab.check(*named)
    assert warned.exit_status == 1
    assert {one["host"]: one["subject"] for one in warned.bad()} == {
        "controller": "verified backup",
        "proxy": "verified backup",
    }
    told = warned.about("proxy", "verified backup")
    assert "taken and not verified" in told["evidence"]
    line = lab.backstay("check", "-o", "nagios", *named, ok=False)
    assert line.returncode == 1
    assert "verified backup: there is none" in line.stdout
    remedy = re.sub("^backstay ", "", told["remedy"]).split()
    lab.backstay(*remedy, *named)
    assert lab.check("proxy", *named).status == "ok"


@pytest.mark.slow
def test_one_repository_of_two_clouds_and_a_new_journal(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None takes the other's backups for leftovers, nor those of before the journal was lost."""
    shared = f"repository: {tmp_path}/repository, password_file: {tmp_path}/password"
    (tmp_path / "password").write_text(f"story-{random.getrandbits(64):x}")
    for number in (1, 2, 1):
        monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/{random.random()}.db")
        text = f"backup: {{folder: {tmp_path}/backups{number}, {shared}}}\n"
        with cloud_with(lab, text) as cloud:
            create(lab, cloud, "proxy")
            backups = [one["name"] for one in listed(lab, cloud)]
            for name in backups:
                verify(lab, cloud, name)
    assert len(backups) == 2
