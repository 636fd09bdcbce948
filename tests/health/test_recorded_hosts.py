"""What real hosts answered, beside what must be said of it (data/ROLE.json, data/ROLE.txt)."""

import dataclasses

import pytest

from backstay.errors import RemoteFailure
from backstay.finding import Finding, Severity
from backstay.health.observation import parse
from backstay.inventory.enums import Role
from backstay.transports.targets import Answer
from tests.health.recorded import DATA, as_text, judge, observe

ROLES = [Role.CONTROLLER, Role.STORAGE_PROXY, Role.STORAGE, Role.COMPUTE]


@pytest.mark.parametrize("role", ROLES)
def test_a_recorded_host_is_judged_as_written_beside_it(role):
    expected = (DATA / f"{role}.txt").read_text(encoding="utf-8")
    assert as_text(judge(role, observe(role))) == expected


def about(findings: list[Finding], subject: str) -> Finding:
    return next(finding for finding in findings if finding.subject == subject)


def test_a_clock_is_only_called_wrong_when_the_round_trip_cannot_explain_it():
    observed = observe(Role.STORAGE)
    near = dataclasses.replace(observed, offset=0.9, uncertainty=0.8)
    assert about(judge(Role.STORAGE, near), "clock").severity is Severity.OK
    far = dataclasses.replace(observed, offset=-90.0, uncertainty=0.8)
    finding = about(judge(Role.STORAGE, far), "clock")
    assert (finding.severity, finding.evidence) == (
        Severity.FAILED,
        "89 s behind this machine's",
    )


def test_the_offset_is_the_middle_and_the_uncertainty_half_of_the_round_trip():
    observed = observe(Role.STORAGE)
    assert observed.offset == pytest.approx(0.05, abs=1e-3)
    assert observed.uncertainty == pytest.approx(0.15, abs=1e-3)


def test_a_full_disk_names_itself_and_the_way_to_what_fills_it():
    observed = observe(Role.COMPUTE)
    root = next(system for system in observed.file_systems if system.mount == "/")
    full = dataclasses.replace(root, used=root.size, available=0)
    finding = about(
        judge(Role.COMPUTE, dataclasses.replace(observed, file_systems=(full,))), "disk /"
    )
    assert finding.severity is Severity.FAILED
    assert finding.evidence.startswith("100 % used, 0 B free")
    assert finding.remedy.startswith("ssh root@10.0.0.11 'du -xh")


def test_little_memory():
    observed = dataclasses.replace(observe(Role.COMPUTE), memory=(100, 2))
    assert about(judge(Role.COMPUTE, observed), "memory").severity is Severity.FAILED


def test_where_systemd_does_not_answer_its_units_are_unknown_and_named():
    observed = dataclasses.replace(
        observe(Role.COMPUTE), units=None, troubles={"units": "no answer within 8 s"}
    )
    finding = about(judge(Role.COMPUTE, observed), "units")
    assert finding.severity is Severity.UNKNOWN
    assert "nova-compute" in finding.evidence
    assert "no answer within 8 s" in finding.evidence


def test_a_probe_that_hangs_is_a_failure_and_one_that_cannot_be_asked_is_unknown():
    observed = observe(Role.CONTROLLER)
    late = dataclasses.replace(
        observed.probes["query"], value=None, late=True, trouble="no answer within 8 s"
    )
    broken = dataclasses.replace(observed.probes["query"], value=None, trouble="KeyError: 'x'")
    for asked, severity in ((late, Severity.FAILED), (broken, Severity.UNKNOWN)):
        changed = dataclasses.replace(observed, probes={**observed.probes, "query": asked})
        assert about(judge(Role.CONTROLLER, changed), "query").severity is severity


def test_a_failed_unit_that_no_service_needs_is_a_warning_of_its_own():
    observed = dataclasses.replace(observe(Role.STORAGE), failed_units=("fwupd.service",))
    finding = about(judge(Role.STORAGE, observed), "failed unit fwupd.service")
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize("text", ["", "Welcome!\n{}", "[]", "{}", '{"answers": {}}'])
def test_text_that_is_no_answer_is_an_error_in_words(text):
    with pytest.raises(RemoteFailure, match="not the answers"):
        parse(Answer(stdout=text, sent_at=0.0, received_at=1.0), [], host="h")
