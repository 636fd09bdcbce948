"""What the version before the words changed wrote is read, and nothing of it is lost.

tests/fixtures/old_version/README.md lists what is in the files.
"""

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from backstay.backup.catalogue import Catalogue, State
from backstay.backup.findings import freshness_findings
from backstay.cli.main import backstay
from backstay.finding import Severity
from backstay.inventory.backup import Engine
from backstay.inventory.load import load
from backstay.services.registry import all_services

OLD = Path(__file__).parent / "fixtures" / "old_version"
VERIFIED, TAKEN = "proxy-20261130T014145Z", "proxy-20261130T014155Z"
CONTROLLER = "controller-20261130T014202Z"
HOUR = 3600.0


# --- cloud.yaml ---------------------------------------------------------------------------------


def test_a_cloud_file_with_every_section_is_read(monkeypatch):
    cloud = load(OLD / "cloud.yaml", services=[service.name for service in all_services()])
    assert list(cloud.hosts) == [
        "controller",
        "proxy",
        "storage1",
        "compute1",
        "compute2",
        "spare1",
    ]
    assert set(cloud.fenced) == {"proxy-old", "compute1-old"}
    assert set(cloud.windows) == {"nightly", "weekend", "weekdays"}
    channels = cloud.watch.channels
    assert list(channels) == ["mail", "board", "alerts", "pager", "sms"]
    assert channels["sms"].fallback
    assert channels["mail"].email
    assert channels["mail"].email.sender == "backstay@ops.example.org"
    assert cloud.watch.page.people["anna"].may == "act"
    assert cloud.maintenance.hooks.before[0].command
    assert (cloud.backup.keep.daily, cloud.backup.max_age) == (7, 24 * HOUR)
    assert cloud.provision["controller"].puppet
    assert cloud.provision["storage-proxy"].ansible
    assert cloud.provision["default"].command
    assert {field for field in _sections() if not hasattr(cloud, field)} == set()


def _sections() -> set[str]:
    return set(YAML(typ="safe").load((OLD / "cloud.yaml").read_text()))


def test_a_policy_in_the_old_words_is_read():
    policy = load(OLD / "run-cloud.yaml").watch.policy
    written = {
        "service-failed": "notify",  # was: tell
        "agent-not-processing": "notify",  # was: agent-deaf: tell
        "controller-dead": "ask",
        "attempts": 2,
        "cool_down": 600.0,
        "approval": HOUR,
    }
    assert policy.model_dump(by_alias=True, mode="json") | written == policy.model_dump(
        by_alias=True, mode="json"
    )


# --- the catalogue of backups -------------------------------------------------------------------


@pytest.fixture
def cloud_file(tmp_path: Path) -> Path:
    """Return a cloud.yaml beside a copy of the old version's backups."""
    backups = tmp_path / "backups"
    shutil.copytree(OLD / "catalogue", backups / "catalogue")
    shutil.copytree(OLD / "under-way", backups / "under-way")
    text = (OLD / "run-cloud.yaml").read_text()
    file = tmp_path / "cloud.yaml"
    file.write_text(text.replace("/var/lib/backstay-fixture/backups", str(backups)))
    return file


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(backstay, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_backups_of_an_old_catalogue_are_listed_and_shown(cloud_file):
    listed = run("backup", "list", "--cloud", cloud_file)
    assert [name for name in (CONTROLLER, TAKEN, VERIFIED) if name in listed] == [
        CONTROLLER,
        TAKEN,
        VERIFIED,
    ]
    for name in (CONTROLLER, TAKEN, VERIFIED):
        assert name in run("backup", "show", name, "--cloud", cloud_file)
        shown = json.loads(run("backup", "show", name, "--cloud", cloud_file, "-o", "json"))
        written = json.loads((OLD / "catalogue" / f"{name}.json").read_text())
        assert {key: shown[key] for key in written} == written, "nothing of it is lost"


def test_the_states_and_the_freshness_of_old_backups_are_known():
    catalogue = Catalogue(OLD / "catalogue")
    assert {backup.name: backup.state for backup in catalogue.backups()} == {
        VERIFIED: State.VERIFIED,
        TAKEN: State.TAKEN,
        CONTROLLER: State.TAKEN,
    }
    assert catalogue.named("controller").engine is Engine.PHYSICAL
    assert catalogue.named("proxy").name == TAKEN
    at = catalogue.verified_at("proxy")
    assert at is not None
    hosts = ["controller", "proxy"]
    found = freshness_findings(catalogue.backups(), hosts, limit=24 * HOUR, now=at + HOUR)
    assert [(finding.host, finding.severity) for finding in found] == [
        ("controller", Severity.WARNING),
        ("proxy", Severity.OK),
    ]


# --- the journal --------------------------------------------------------------------------------

ROWS = {
    "runs": 9,
    "steps": 73,
    "events": 117,
    "epochs": 5,
    "incidents": 4,
    "incident_events": 11,
    "notifications": 18,  # was: tellings
    "samples": 64,
    "approvals": 1,
}


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the old journal, which the commands use."""
    file = tmp_path / "journal.db"
    shutil.copy(OLD / "journal.sqlite", file)
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{file}")
    return file


def values(document: Any) -> Iterator[str]:
    """Yield every value of a JSON document, but no key: those have new names; 60 is 60.0."""
    if isinstance(document, dict):
        for value in document.values():
            yield from values(value)
    elif isinstance(document, list):
        for value in document:
            yield from values(value)
    elif isinstance(document, int) and not isinstance(document, bool):
        yield json.dumps(float(document))
    else:
        yield json.dumps(document)


def test_every_value_of_an_old_run_is_listed_and_shown(journal):
    old = json.loads((OLD / "outputs" / "runs-list.json").read_text())
    new = json.loads(run("runs", "list", "-o", "json"))
    assert [it["id"] for it in new] == [it["id"] for it in old]
    for before, after in zip(old, new, strict=True):
        assert Counter(values(before)) - Counter(values(after)) == Counter(), before["id"]
        shown = json.loads(run("runs", "show", before["id"], "-o", "json"))
        assert Counter(values(before)) - Counter(values(shown)) == Counter(), before["id"]
        assert before["id"] in run("runs", "show", before["id"])


def test_old_incidents_are_listed_with_their_timelines(journal, cloud_file):
    old = json.loads((OLD / "outputs" / "watch-incidents-stopped.json").read_text())
    new = json.loads(run("watch", "incidents", "-o", "json", "--cloud", cloud_file))
    assert [it["id"] for it in new] == [it["id"] for it in old]
    for before, after in zip(old, new, strict=True):
        assert (after["closed"], after["run"]) == (before["closed"], before["run"])
        assert after["cause"]["title"] == before["cause"]["title"]
        told = [(line["at"], line["text"]) for line in before["happened"]]
        assert [(line["at"], line["text"]) for line in after["timeline"]] == told


def test_every_row_of_an_old_journal_is_there_after_the_upgrade(journal, cloud_file):
    run("runs", "list")
    run("watch", "incidents", "--cloud", cloud_file)
    database = sqlite3.connect(journal)
    try:
        counted = {
            table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ROWS
        }
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kinds = database.execute("SELECT DISTINCT event FROM notifications").fetchall()
    finally:
        database.close()
    assert counted == ROWS
    assert {kind for (kind,) in kinds} == {"opened", "approval_requested", "resolved"}
