"""Backups of a real controller: taken under load, proved, interrupted, damaged."""

import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backstay_lab.cloud_api import CloudApi
from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.reboots import boot_id, cloud_with, last_run
from tests.acceptance.test_clients import in_sh

pytestmark = pytest.mark.lab

IMAGE_BYTES = 100_000
VOLUMES = 5  # a project may have ten, cinder's default


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    with cloud_with(lab, f"backup: {{folder: {tmp_path}/backups}}\n") as file:
        yield file


def create(lab: Lab, cloud: Path, *arguments: str, ok: bool = True) -> Any:
    return lab.backstay("backup", "create", *arguments, "--cloud", str(cloud), bound=600, ok=ok)


def listed(lab: Lab, cloud: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        lab.backstay("backup", "list", "-o", "json", "--cloud", str(cloud)).stdout
    )
    return found


class Writer:
    """Makes projects, images and volumes through the APIs until it is stopped."""

    def __init__(self, lab: Lab) -> None:
        password = in_sh(lab, 'printf %s "$OS_PASSWORD"')
        url = in_sh(lab, 'printf %s "$OS_AUTH_URL"')
        self.api = CloudApi(url, "admin", "admin", password, "RegionOne")
        self.slowest = 0.0
        self.made: list[tuple[str, str]] = []
        self.acknowledged: list[tuple[float, str, str]] = []
        self.failed: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> "Writer":
        self.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()
        self.clean()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write no more."""
        self._stopped.set()
        self._thread.join()

    def clean(self) -> None:
        """Delete what was made."""
        for service, path in self.made:
            self.api.call("DELETE", service, path, accept=(404, 400))

    def is_there(self, service: str, path: str) -> bool:
        """Whether what was made is still there, an image's data with all their bytes."""
        answer = self.api.call("GET", service, path, accept=(404,))
        whole = not path.endswith("/file") or len(answer.content) == IMAGE_BYTES
        return answer.status_code != 404 and whole

    def _work(self) -> None:
        number = 0
        while not self._stopped.is_set():
            number += 1
            try:
                self._make(f"story-{number}", with_volume=number <= VOLUMES)
            except Exception as error:  # told by the story
                self.failed.append(str(error))

    def _make(self, name: str, *, with_volume: bool) -> None:
        project = self._timed("POST", "identity", "/v3/projects", json={"project": {"name": name}})
        self.note("identity", f"/v3/projects/{project['project']['id']}")
        image = {"name": name, "disk_format": "raw", "container_format": "bare"}
        made = self._timed("POST", "image", "/v2/images", json=image)["id"]
        self.note("image", f"/v2/images/{made}")
        headers = {"Content-Type": "application/octet-stream"}
        self._timed(
            "PUT", "image", f"/v2/images/{made}/file", data=b"x" * IMAGE_BYTES, headers=headers
        )
        self.acknowledged.append((time.time(), "image", f"/v2/images/{made}/file"))
        if not with_volume:
            return
        volume = {"volume": {"name": name, "size": 1}}
        found = self._timed("POST", "block-storage", "/volumes", json=volume)["volume"]["id"]
        self.note("block-storage", f"/volumes/{found}")

    def note(self, service: str, path: str) -> None:
        """Note what the API has said to be made."""
        self.made.append((service, path))
        self.acknowledged.append((time.time(), service, path))

    def _timed(self, *arguments: str, **options: Any) -> Any:
        started = time.monotonic()
        answer = self.api.call(*arguments, **options)
        self.slowest = max(self.slowest, time.monotonic() - started)
        return answer.json() if answer.content else None


def test_taken_and_proved_while_the_cloud_is_written_to(
    lab: Lab, cloud: Path, record_property: Any
) -> None:
    with Writer(lab) as writer:
        lab.wait_until(lambda: len(writer.made) > 5, what="the writer writes")
        before = len(writer.made)
        create(lab, cloud, "controller", "proxy", "--verify")
        written = len(writer.made) - before
    assert writer.failed == []
    assert written > 5, "the APIs answered meanwhile"
    record_property("slowest call while backing up, s", round(writer.slowest, 2))
    print(f"slowest call: {writer.slowest:.2f} s, {written} objects made meanwhile")
    first = {one["host"]: one for one in listed(lab, cloud)}
    assert {one["state"] for one in first.values()} == {"verified"}
    controller = first["controller"]
    assert set(controller["snapshots"]) == {"files", "database", "dump"}
    assert controller["proof"]["problems"] == []
    assert controller["facts"]["position"][0].startswith("mysql-bin.")
    shown = lab.backstay("backup", "show", "controller", "--cloud", str(cloud)).stdout
    assert "VERIFIED" in shown

    create(lab, cloud, "controller")
    second = listed(lab, cloud)[0]
    assert second["state"] == "taken"
    assert second["added"]["files"] < controller["added"]["files"] / 4, "only what is new is added"


@pytest.mark.slow
def test_killed_at_random_instants_nothing_torn_is_listed(lab: Lab, cloud: Path) -> None:
    create(lab, cloud, "proxy")
    chosen = random.Random(7)
    for _ in range(5):
        before = {one["name"] for one in listed(lab, cloud)}
        taking = subprocess.Popen(
            [str(BACKSTAY), "backup", "create", "controller", "--cloud", str(cloud)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            taking.wait(timeout=chosen.uniform(1, 9))
        except subprocess.TimeoutExpired:
            taking.send_signal(signal.SIGKILL)
        taking.wait(timeout=10)
        new = [one for one in listed(lab, cloud) if one["name"] not in before]
        assert all(set(one["snapshots"]) == {"files", "database"} for one in new)
    create(lab, cloud, "controller", "--verify")
    assert listed(lab, cloud)[0]["state"] == "verified"
    # The snapshots that were torn off are forgotten by the next run.
    create(lab, cloud, "proxy")
    named = {snapshot for one in listed(lab, cloud) for snapshot in one["snapshots"].values()}
    assert {one["short_id"] for one in snapshots(cloud)} == named


def snapshots(cloud: Path) -> list[dict[str, Any]]:
    """What restic itself has in the repository."""
    folder = Path(
        next(line for line in cloud.read_text().splitlines() if "folder:" in line)
        .partition("folder: ")[2]
        .rstrip("}")
    )
    done = subprocess.run(
        [
            "restic",
            "-r",
            str(folder / "repository"),
            "-p",
            str(folder / "password"),
            "snapshots",
            "--json",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def damage(repository: Path, chosen: random.Random) -> tuple[Path, bytes]:
    """Flip one bit in a pack or an index; return the file and what it was."""
    files = [f for part in ("data", "index") for f in (repository / part).rglob("*") if f.is_file()]
    file = chosen.choice(sorted(files))
    before = file.read_bytes()
    data = bytearray(before)
    data[chosen.randrange(len(data))] ^= 1 << chosen.randrange(8)
    file.chmod(0o600)
    file.write_bytes(data)
    return file, before


@pytest.mark.slow
def test_every_flipped_bit_is_found_and_the_backup_is_not_called_verified(
    lab: Lab, cloud: Path, tmp_path: Path
) -> None:
    create(lab, cloud, "proxy", "--verify")
    chosen = random.Random(11)
    for number in range(50):
        file, before = damage(tmp_path / "backups" / "repository", chosen)
        verified = lab.backstay("backup", "verify", "proxy", "--cloud", str(cloud), ok=False)
        assert verified.returncode == 2, (number, file, verified.stdout)
        assert listed(lab, cloud)[0]["state"] == "failed", (number, file)
        file.write_bytes(before)
    lab.backstay("backup", "verify", "proxy", "--cloud", str(cloud))
    assert listed(lab, cloud)[0]["state"] == "verified"


def test_what_stands_against_a_backup_is_told(lab: Lab, cloud: Path, tmp_path: Path) -> None:
    create(lab, cloud, "proxy")
    password = tmp_path / "backups" / "password"
    right = password.read_text()
    password.write_text("wrong-password-of-a-story")
    refused = create(lab, cloud, "proxy", ok=False)
    assert refused.returncode == 2
    assert "wrong password" in refused.stdout
    assert "wrong-password-of-a-story" not in refused.stdout + refused.stderr
    password.write_text(right)

    lab.backstay("lab", "break", "kill-service", "controller/mariadb")
    failed = create(lab, cloud, "controller", ok=False)
    assert failed.returncode == 2
    assert "controller" in failed.stdout
    lab.backstay("lab", "heal")
    lab.wait_green()
    assert [one["host"] for one in listed(lab, cloud)] == ["proxy"]


def test_a_reboot_takes_and_proves_a_backup_just_before(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    text = f"backup: {{folder: {tmp_path}/backups, max_age: 1h}}\nmaintenance:\n  settle: 1s\n"
    before = boot_id(lab, "proxy")
    named = ("reboot", "proxy", "--now", "--yes", "--cloud")
    with cloud_with(lab, text) as cloud:
        refused = lab.backstay(*named, str(cloud), ok=False)
        assert refused.returncode == 4
        assert "backup: there is no verified backup of proxy" in refused.stdout
        create(lab, cloud, "proxy")
        assert lab.backstay(*named, str(cloud), ok=False).returncode == 4, "taken is not verified"
    assert boot_id(lab, "proxy") == before
    with cloud_with(lab, text + "  backup: true\n") as cloud:
        lab.backstay(*named, str(cloud), bound=600)
        run = last_run(lab)
        assert listed(lab, cloud)[0]["state"] == "verified"
    done = [step["id"] for step in run["steps"] if step["state"] == "done"]
    assert done.index("proxy.verify") < done.index("proxy.ask")
    assert boot_id(lab, "proxy") != before
