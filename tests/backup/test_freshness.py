"""What check says of backups: judged from the catalogue alone."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from backstay.backup.catalogue import Backup, Catalogue, State
from backstay.backup.findings import findings, freshness_findings
from backstay.cli import session
from backstay.finding import Finding, Severity
from backstay.transports import namespaces
from tests.backup.test_backup import backup, cloud

HOUR = 3600.0
NOW = 1_000_000.0


def judged(*backups: Backup, limit: float | None = 24 * HOUR) -> list[Finding]:
    return freshness_findings(backups, ["controller"], limit=limit, now=NOW)


def test_a_verified_backup_that_is_young_enough() -> None:
    [found] = judged(
        backup("old", NOW - 90 * HOUR, State.FAILED), backup("a", NOW - 3 * HOUR, State.VERIFIED)
    )
    assert found.severity is Severity.OK
    assert found.evidence == "the newest is 3 h old (a)"
    assert found.remedy == ""


def test_a_verified_backup_that_is_too_old() -> None:
    [found] = judged(backup("a", NOW - 30 * HOUR, State.VERIFIED))
    assert found.severity is Severity.WARNING
    assert found.evidence == ("the newest is 30 h old (a); `max_age` wants one of the last 24 h")
    assert found.remedy.startswith("backstay backup create controller --verify")


def test_the_newest_is_taken_and_not_verified() -> None:
    [found] = judged(backup("a", NOW - 30 * HOUR, State.VERIFIED), backup("b", NOW - HOUR))
    assert found.severity is Severity.WARNING
    assert found.evidence.endswith("; newer: b, 60 min old, taken and not verified")
    assert found.remedy == "backstay backup verify b"


def test_the_newest_has_failed() -> None:
    failed = backup("b", NOW - HOUR).proved(State.FAILED, {"problems": ["glance.images is empty"]})
    [found] = judged(failed)
    assert found.evidence == (
        "there is none; `max_age` wants one of the last 24 h; "
        "newer: b, 60 min old, failed: glance.images is empty"
    )
    [found] = judged(backup("a", NOW - 2 * HOUR, State.VERIFIED), failed)
    assert found.severity is Severity.WARNING, "the last try has failed, which is worth a look"
    assert found.remedy == ("fix what is named, then: backstay backup create controller --verify")
    assert judged(failed, limit=None)[0].severity is Severity.WARNING


def test_there_is_no_backup_and_what_a_limit_makes_of_it() -> None:
    [found] = judged()
    assert found.severity is Severity.WARNING
    assert found.evidence == "there is none; `max_age` wants one of the last 24 h"
    assert "backstay backup schedule" in found.remedy
    assert judged(limit=None) == []
    assert judged(backup("a", NOW - 900 * HOUR), limit=None) == []
    assert judged(backup("a", NOW - HOUR, host="proxy"))[0].evidence.startswith("there is none")


def kept(tmp_path: Path, *backups: Backup, **settings: Any) -> Any:
    for one in backups:
        Catalogue(tmp_path / "catalogue").write(one)
    return cloud(backup={"folder": str(tmp_path), **settings})


def test_the_catalogue_is_read_for_the_hosts_that_are_asked_for(tmp_path: Path) -> None:
    young = backup("a", NOW - HOUR, State.VERIFIED)
    described = kept(tmp_path, young, max_age="24h")
    both = findings(described, [], now=NOW)
    assert [(one.host, one.severity) for one in both] == [
        ("controller", Severity.OK),
        ("proxy", Severity.WARNING),
        (None, Severity.OK),
    ]
    assert [one.host for one in findings(described, ["proxy"], now=NOW)] == ["proxy"]
    without = findings(kept(tmp_path), [], now=NOW)
    assert [one.subject for one in without] == ["sandbox"], "without a limit, and none has failed"
    assert findings(cloud(backup={"folder": str(tmp_path / "none")}), [], now=NOW) == []


def test_how_programs_are_confined_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = kept(tmp_path, backup("a", NOW))
    [found] = findings(described, [], now=NOW)
    assert found.subject == "sandbox"
    assert found.severity is Severity.OK
    assert found.evidence.startswith("programs that read data of hosts run as a user of their own")

    def refused() -> None:
        raise namespaces.cannot("unshare: Operation not permitted")

    monkeypatch.setattr(namespaces, "require", refused)
    [found] = findings(described, [], now=NOW)
    assert found.severity is Severity.WARNING
    assert "unshare: Operation not permitted" in found.evidence
    assert found.remedy


def test_a_catalogue_that_cannot_be_read_is_not_known(tmp_path: Path) -> None:
    described = kept(tmp_path, backup("a", NOW))
    (tmp_path / "catalogue" / "b.json").write_text("{")
    for only in ([], ["proxy"]):
        found, *_ = findings(described, only, now=NOW)
        assert found.severity is Severity.UNKNOWN
        assert "not a catalogue file of a backup" in found.evidence
    there = cloud(backup={"folder": str(tmp_path / "catalogue" / "a.json")})
    found, *_ = findings(there, [], now=NOW)
    assert found.severity is Severity.UNKNOWN
    assert "Not a directory" in found.evidence


def test_a_disk_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backstay.backup.findings.findings", lambda *_, **__: time.sleep(5))
    described = cloud(bounds={"host_seconds": 0.1})
    [found] = asyncio.run(session.read_backups(described, []))
    assert found.severity is Severity.UNKNOWN
    assert found.evidence == "not read within 0.1 s"
