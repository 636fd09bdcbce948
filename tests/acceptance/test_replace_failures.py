"""What goes wrong while a host is replaced: reported, resumed or started again; backups stay."""

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from backstay.inventory.load import load
from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import cloud_with
from tests.acceptance.replacements import (
    as_built,
    board,
    command,
    is_taken_over,
    newest,
    replace,
    resume,
    resuming,
    standing_still,
)
from tests.acceptance.test_backup import create, listed
from tests.acceptance.test_clients import objects_have_their_digests

pytestmark = pytest.mark.lab

HOST, SPARE = "proxy", "spare1"
PUPPET = "/etc/backstay/puppet"
FAILS = f"""
provision:
  storage-proxy:
    puppet:
      manifest: {PUPPET}/manifests/fails.pp
      modulepath: [{PUPPET}/modules, /usr/share/puppet/modules]
      hiera: {PUPPET}/hiera.yaml
      environment: {{FACTER_backstay_role: proxy}}
"""


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    fails = "exec { 'the site is repaired': command => '/usr/bin/test -e /etc/repaired' }"
    lab.shell(HOST, f'cd {PUPPET}/manifests && {{ cat proxy.pp; echo "{fails}"; }} >fails.pp')
    with cloud_with(lab, f"backup: {{folder: {tmp_path}/backups}}\n{FAILS}") as file:
        create(lab, file, HOST, "--verify")
        lab.backstay("lab", "break", "dead-board", HOST)
        yield file
    for copy in lab.cloud_file.parent.glob("story.yaml.before-*"):
        copy.unlink()
    as_built(lab)


def backups() -> Path:
    """The folder of the story's backups."""
    return Path(os.environ["BACKSTAY_LOCKS"].removeprefix("file://")).with_name("backups")


def kept(lab: Lab, cloud: Path) -> dict[str, Any]:
    """What there is of older backups: the catalogue's word, and the repository's packs and keys.

    restic names each file by the digest of its content.
    """
    repository = backups() / "repository"
    stored = {
        str(file.relative_to(repository)): file.stat().st_size
        for part in ("data", "snapshots", "keys", "config")
        for file in [repository / part, *(repository / part).rglob("*")]
        if file.is_file()
    }
    return {"catalogue": listed(lab, cloud), "stored": stored}


def still_kept(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Nothing that was there is gone or another."""
    assert [one for one in now["catalogue"] if one in before["catalogue"]] == before["catalogue"]
    assert before["stored"].items() <= now["stored"].items()


def told(done: Any) -> str:
    """What the operator reads of a run that failed half-way."""
    said = str(done.stdout + done.stderr)
    print(said)
    assert done.returncode == 2, said
    assert "FAILED" in said
    assert "what to do:" in said
    assert "runs resume" in said
    return said


def going_on(running: Any) -> Any:
    """Let a command that stands still go on to its end."""
    running.send_signal(signal.SIGCONT)
    out = running.communicate(timeout=900)[0]
    running.stdout, running.stderr = out, ""
    return running


def test_what_is_wrong_from_the_first_is_refused(lab: Lab, cloud: Path) -> None:
    lab.shell(SPARE, "sed -i s/bookworm/trixie/ /etc/os-release")
    lab.backstay("lab", "break", "fill-disk", SPARE)
    done = replace(lab, cloud, HOST, ok=False)
    print(done.stdout, done.stderr)
    assert done.returncode == 4
    assert "it runs debian trixie, the host ran debian bookworm" in done.stdout
    assert "free, about" in done.stdout
    assert "choose another spare; nothing has been changed" in done.stdout
    lab.backstay("lab", "heal", "fill-disk")

    (backups() / "password").write_text("another")
    done = replace(lab, cloud, HOST, ok=False)
    assert done.returncode == 4
    assert "wrong password" in done.stdout
    assert "nothing has been changed" in done.stdout


@pytest.mark.slow
def test_what_fails_on_the_way_is_told_and_gone_on_with(lab: Lab, cloud: Path) -> None:
    folder = backups()
    before, away = kept(lab, cloud), folder.with_name("away")

    with standing_still(lab, f"{HOST}.fetch", *command(cloud, HOST)) as running:
        folder.rename(away)
        said = told(going_on(running))
    assert f"using {folder} for backups: there are backups of this cloud in it, and none is" in said
    assert not folder.exists(), "what is only looked for is not made"
    away.rename(folder)

    password = (folder / "password").read_text()
    (folder / "password").write_text("another")
    said = told(resume(lab, cloud))
    assert "wrong password" in said
    (folder / "password").write_text(password)

    with standing_still(lab, f"{HOST}.send", *resuming(lab, cloud)) as running:
        lab.backstay("lab", "break", "power-off", SPARE)
        told(going_on(running))
    lab.backstay("lab", "heal", "power-off", SPARE)

    said = told(resume(lab, cloud))
    assert "Error: '/usr/bin/test -e /etc/repaired' returned 1" in said
    going_on_with = resuming(lab, cloud)

    another = replace(lab, cloud, HOST, ok=False)
    assert another.returncode == 4
    assert "its BMC reports that its power is off, and yet" in another.stdout

    lab.shell(SPARE, "touch /etc/repaired")
    done = lab.backstay(*going_on_with, bound=1500)
    print(done.stdout, done.stderr)
    is_taken_over(cloud, HOST)
    objects_have_their_digests(lab)
    still_kept(before, kept(lab, cloud))


@pytest.mark.slow
def test_where_the_spare_dies_too_another_one_is_built(lab: Lab, cloud: Path) -> None:
    before = kept(lab, cloud)
    with standing_still(lab, f"{HOST}.send", *command(cloud, HOST)) as running:
        lab.backstay("lab", "break", "dead-board", SPARE)
        said = told(going_on(running))
    run = newest(lab)["id"]
    assert f"that is {SPARE}, which has the place of {HOST} by now" in said
    assert f"backstay runs abandon {run}, and start again with another spare" in said

    # Another machine of the same name: its address is its own, and nothing is on its disk.
    lab.backstay("lab", "new-board", SPARE, bound=600)
    described = cloud.read_text()
    lab.backstay("runs", "abandon", run, "--yes", "--cloud", str(cloud))
    assert SPARE in load(cloud).fenced
    assert board(lab, SPARE, "state") is False
    cloud.write_text(described)
    board(lab, SPARE, "cycle")
    login = ("lab", "shell", SPARE, "systemctl is-active ssh")
    lab.wait_until(
        lambda: lab.backstay(*login, ok=False).returncode == 0, what="the spare is up", bound=120
    )
    lab.shell(SPARE, "touch /etc/repaired")
    done = replace(lab, cloud, HOST)
    print(done.stdout, done.stderr)
    is_taken_over(cloud, HOST)
    objects_have_their_digests(lab)
    still_kept(before, kept(lab, cloud))
