"""Mutated answers of hosts, through all that reads them for the check. Only that host suffers."""

import json
from collections import Counter
from dataclasses import fields

import pytest

from backstay.errors import RemoteFailure
from backstay.finding import Finding
from backstay.health.judge_host import judge_host
from backstay.health.observation import parse
from backstay.health.read_hosts import unit_names
from backstay.inventory.enums import Role
from backstay.inventory.limits import Limits
from backstay.transports.targets import Answer
from tests.fuzz.mutate import Mutator
from tests.health.recorded import DATA, TARGET, probes_of, units_of

ROLES = [Role.CONTROLLER, Role.COMPUTE, Role.STORAGE, Role.STORAGE_PROXY]
TIMES = 150


def judged(role: Role, printed: str) -> list[Finding]:
    units, probes = units_of(role), probes_of(role)
    answer = Answer(stdout=printed, sent_at=1.7e9, received_at=1.7e9 + 2)
    names = unit_names([unit for _, unit in units])
    observed = parse(answer, names, [probe for _, probe in probes], host="host")
    return judge_host(observed, TARGET, units=units, probes=probes, limits=Limits())


def is_clean(finding: Finding) -> bool:
    texts = [getattr(finding, each.name) for each in fields(finding)]
    return all(one.isprintable() and len(one) <= 5000 for one in texts if isinstance(one, str))


@pytest.mark.parametrize("role", ROLES)
def test_a_mutated_answer_makes_findings_of_that_host_or_its_failure(role):
    recorded = json.loads((DATA / f"{role}.json").read_text(encoding="utf-8"))
    mutator, ends = Mutator(1), Counter[str]()
    for _ in range(TIMES):
        printed = mutator.answer(recorded).decode(errors="replace")
        try:
            findings = judged(role, printed)
        except RemoteFailure:
            ends["failure"] += 1
            continue
        ends["findings"] += 1
        assert {finding.host for finding in findings} == {"host"}
        assert [one for one in findings if "cannot be judged" in one.evidence] == []
        assert [one for one in findings if not is_clean(one)] == []
    assert min(ends.values()) > TIMES / 20, "mutations of both kinds are tried"
