"""Faults are on record before they are made, and the rules follow from the record alone."""

import json
import shutil
import subprocess

import pytest

from backstay_lab.errors import LabError
from backstay_lab.faults import records
from backstay_lab.faults.lifecycle import chosen
from backstay_lab.faults.network import ruleset
from backstay_lab.faults.records import Record
from backstay_lab.layout import Lab

KILLED = Record(fault="kill-service", host="controller", unit="nova-api.service")
CUT = Record(fault="cut-network", host="compute1", options={"from": "everyone"})
CUT_OPERATOR = Record(fault="cut-network", host="compute1", options={"from": "operator"})
LOSS = Record(fault="loss", host="proxy", options={"percent": "20"})
DEAF = Record(fault="wedge-agent", host="compute1", options={"how": "deaf"})
HALF_OPEN = Record(
    fault="wedge-agent",
    host="compute2",
    options={"how": "half-open"},
    noted={"address": "10.77.0.22", "peer": "10.77.0.11", "port": "5672", "ports": "40001,40002"},
)


@pytest.fixture
def lab(tmp_path, monkeypatch) -> Lab:
    monkeypatch.setenv("BACKSTAY_LAB_HOME", str(tmp_path))
    lab = Lab("practice")
    lab.folder.mkdir(parents=True)
    return lab


def test_records_come_back_as_they_were_written(lab: Lab) -> None:
    records.add(lab, KILLED)
    records.add(lab, HALF_OPEN)
    assert records.read(lab) == [KILLED, HALF_OPEN]
    records.remove(lab, KILLED)
    records.remove(lab, KILLED)
    assert records.read(lab) == [HALF_OPEN]


def test_the_same_fault_again_is_one_fault(lab: Lab) -> None:
    records.add(lab, CUT)
    records.add(lab, LOSS)
    records.add(lab, CUT_OPERATOR)
    assert records.read(lab) == [LOSS, CUT_OPERATOR]


def test_an_unreadable_record_is_an_error_for_the_operator(lab: Lab) -> None:
    (lab.folder / "faults.json").write_text(json.dumps([{"fault": "loss"}]))
    with pytest.raises(LabError):
        records.read(lab)


def test_no_lab_no_record(lab: Lab) -> None:
    with pytest.raises(LabError) as refused:
        records.add(Lab("other"), CUT)
    assert refused.value.remedy == "backstay lab up"


def test_healing_begins_with_the_newest() -> None:
    assert chosen([KILLED, CUT, DEAF], None, None) == [DEAF, CUT, KILLED]


@pytest.mark.parametrize(
    "target", ["controller", "nova-api", "nova-api.service", "controller/nova-api"]
)
def test_a_fault_is_healed_by_host_unit_or_both(target: str) -> None:
    assert chosen([KILLED, CUT], None, target) == [KILLED]
    assert chosen([KILLED, CUT], "cut-network", target) == []


def test_rules_of_all_faults_stand_in_one_table() -> None:
    rules = ruleset(Lab(), [KILLED, CUT, LOSS, DEAF, HALF_OPEN])
    assert 'iifname { "bs0m-21", "bs0p-21" } counter drop comment "cut-network compute1"' in rules
    assert "numgen random mod 100 < 20" in rules
    assert "tcp sport { 40001,40002 } tcp dport 5672" in rules
    assert "nova-api" not in rules
    assert 'comment "wedge-agent compute1"' not in rules


def test_a_cut_from_the_operator_leaves_other_hosts_alone() -> None:
    rules = ruleset(Lab(), [CUT_OPERATOR])
    input_chain = rules.split("chain input")[1].split("chain")[0]
    assert 'iifname "bs0m-21" counter drop' in input_chain
    assert "bs0m-21" not in rules.split("chain prerouting")[1].split("chain")[0]


def test_without_faults_the_table_goes() -> None:
    assert ruleset(Lab(), [KILLED]).splitlines()[1:] == ["delete table bridge backstay_lab0_faults"]


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
def test_nft_understands_the_rules() -> None:
    rules = ruleset(Lab(), [CUT, CUT_OPERATOR, LOSS, HALF_OPEN])
    checked = subprocess.run(
        ["nft", "--check", "-f", "-"], input=rules, text=True, capture_output=True, check=False
    )
    if "Operation not permitted" in checked.stderr:
        pytest.skip("only root may ask nft")
    assert checked.returncode == 0, checked.stderr
