"""What real hosts answered, beside what must be said of it (data/ROLE.json, data/ROLE.txt)."""

import dataclasses
import json
import shlex

import pytest

from backstay.errors import RemoteFailure
from backstay.finding import Finding, Severity
from backstay.health.observation import HostObservation, parse
from backstay.health.read_hosts import unit_names
from backstay.inventory.enums import Role
from backstay.transports.targets import Answer
from tests.health.recorded import DATA, as_text, judge, observe, probes_of, units_of

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
    with pytest.raises(RemoteFailure, match=r"not the answers|not of the expected form"):
        parse(Answer(stdout=text, sent_at=0.0, received_at=1.0), [], host="h")


def altered(role: Role, change) -> HostObservation:
    """What a recorded host is seen as when a part of its answer is another."""
    data = json.loads((DATA / f"{role}.json").read_text(encoding="utf-8"))
    change(data)
    sent = json.loads((DATA / f"{role}.json").read_text(encoding="utf-8"))["started"]
    probes = [probe for _, probe in probes_of(role)]
    names = unit_names([unit for _, unit in units_of(role)])
    return parse(
        Answer(stdout=json.dumps(data), sent_at=sent, received_at=sent + 1),
        names,
        probes,
        host="host",
    )


def of_unit(data, name: str, old: str, new: str) -> None:
    value = data["answers"]["units"]["value"]
    blocks = value["show"].split("\n\n")
    value["show"] = "\n\n".join(b.replace(old, new) if f"Id={name}" in b else b for b in blocks)


def put(value, *path: str):
    def change(data):
        for step in path[:-1]:
            data = data[step]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        (put("x", "answers", "memory", "value", "total"), "memory"),
        (put(None, "answers", "memory", "value"), "memory"),
        (put("x", "answers", "memory"), "memory"),
        (put("x", "answers", "disk /", "value", "size"), "disk /"),
        (put({}, "answers", "disk /run", "value"), "disk /run"),
        (put(["22"], "answers", "listening", "value"), "listening"),
        (put(float("inf"), "uptime"), "uptime"),
        (put([], "load"), "load"),
        (put(2**70, "processors"), "processors"),
        (put(7, "hostname"), "hostname"),
        (put("x", "started"), "clock"),
        (put([[]], "answers", "probe query", "value", "rows"), "query"),
        (put("28 !", "answers", "probe query", "value", "rows", "Threads_connected"), "query"),
        (put({"login": 1}, "answers", "probe broker", "value"), "broker"),
        (put(None, "answers", "probe cache", "value"), "cache"),
        (put("late", "answers", "probe cache", "late"), "cache"),
        (lambda d: of_unit(d, "nova-api.service", "MainPID=", "MainPID=x"), "unit nova-api"),
        (lambda d: of_unit(d, "keystone.service", "LoadState", "State"), "unit keystone"),
    ],
)
def test_a_wrong_value_is_unknown_and_all_the_others_are_judged(change, subject):
    whole = judge(Role.CONTROLLER, observe(Role.CONTROLLER))
    found = judge(Role.CONTROLLER, altered(Role.CONTROLLER, change))
    wrong = about(found, subject)
    assert wrong.severity is Severity.UNKNOWN
    assert wrong.evidence
    assert wrong.remedy
    before = {finding.subject for finding in whole}
    lost = before - {finding.subject for finding in found}
    expected = {"query", "login", "alarms", "partitions", "cache", subject, f"inodes {subject[5:]}"}
    assert lost <= expected
    others = [f for f in found if f.severity is not Severity.OK and f.subject != subject]
    assert {finding.subject for finding in others} <= {"clock", "started"}


def test_a_host_that_floods_is_cut():
    def flood(data):
        size = data["answers"]["disk /"]
        data["answers"] |= {f"disk /{number}": size for number in range(5000)}
        data["answers"]["failed units"]["value"] = "x.service loaded failed\n" * 5000

    found = judge(Role.COMPUTE, altered(Role.COMPUTE, flood))
    assert len(found) < 1000
    assert about(found, "disks").severity is Severity.UNKNOWN
    assert about(found, "failed units").evidence == "4950 more have failed"


def test_names_from_the_host_are_quoted_in_remedies():
    def rename(data):
        full = data["answers"]["disk /"]["value"] | {"used": 10, "available": 0}
        data["answers"]["disk /srv/$(reboot)"] = {"value": full, "seconds": 0.1}
        data["answers"]["failed units"]["value"] = "a;reboot.service loaded failed\n"

    found = judge(Role.COMPUTE, altered(Role.COMPUTE, rename))
    for subject in ("disk /srv/$(reboot)", "failed unit a;reboot.service"):
        words = shlex.split(about(found, subject).remedy)
        inner = shlex.split(words[-1])
        assert any(word in {"/srv/$(reboot)", "a;reboot.service"} for word in inner)


def test_a_file_system_without_a_number_of_inodes_is_judged_by_its_space():
    change = put(2**64 - 1, "answers", "disk /", "value", "inodes_free")
    found = judge(Role.COMPUTE, altered(Role.COMPUTE, change))
    assert about(found, "disk /").severity is Severity.OK
    assert not any(finding.subject == "inodes /" for finding in found)
