"""A real controller's databases by dump, and schemas that their release has outgrown."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import cloud_with
from tests.acceptance.test_backup import create, listed

pytestmark = pytest.mark.lab

VERSIONS = "/usr/lib/python3/dist-packages/nova/db/main/migrations/versions"


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    settings = f"folder: {tmp_path}/backups, engine: dump, paths: [/etc/backstay/puppet]"
    with cloud_with(lab, f"backup: {{{settings}}}\n") as file:
        yield file


def test_a_dump_is_proved_as_a_hot_backup_is(lab: Lab, cloud: Path, tmp_path: Path) -> None:
    create(lab, cloud, "controller", "--verify")
    [backup] = listed(lab, cloud)
    assert backup["state"] == "verified"
    assert backup["engine"] == "dump"
    assert set(backup["snapshots"]) == {"files", "database"}
    file, offset = backup["facts"]["position"]
    assert file.startswith("mysql-bin.")
    assert int(offset) > 0
    assert "nova@% on nova" in backup["facts"]["grants"]
    assert backup["facts"]["release"]["unknown"] == {}
    assert set(backup["facts"]["release"]["heads"]) == set(backup["facts"]["databases"])
    site = tmp_path / "backups" / "mirror" / "controller" / "content" / "etc/backstay/puppet"
    assert (site / "data" / "secrets.yaml").is_file()
    assert (tmp_path / "backups" / "mirror" / "controller").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_a_schema_that_was_not_upgraded_is_told(lab: Lab, cloud: Path) -> None:
    newer = f"{VERSIONS}/backstay_story.py"
    head = lab.shell("controller", "mariadb -BNe 'SELECT version_num FROM nova.alembic_version'")
    text = f'revision = "newer"\\ndown_revision = "{head.strip()}"\\n'
    lab.shell("controller", f"printf '{text}' > {newer}")
    try:
        failed = create(lab, cloud, "controller", "--verify", ok=False)
    finally:
        lab.shell("controller", f"rm {newer}")
    assert failed.returncode == 2
    assert listed(lab, cloud)[0]["state"] == "failed"
    shown = lab.backstay("backup", "show", "controller", "--cloud", str(cloud)).stdout
    assert f"nova has schema {head.strip()}, its release expects newer" in shown
    assert "nova-manage db sync" in shown
    create(lab, cloud, "controller", "--verify")
    assert listed(lab, cloud)[0]["state"] == "verified"
