"""The faults that take a host's way to the broker: their rules, and what they make of the files."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from backstay.services.transport_url import transport_of
from backstay_lab.faults import broker_way
from backstay_lab.faults.lifecycle import FAULTS, ON_MACHINE
from backstay_lab.faults.network import ruleset
from backstay_lab.faults.records import Record
from backstay_lab.layout import Lab

NOVA = """[DEFAULT]
debug = false
transport_url = rabbit://openstack:secret-1@10.77.0.11:5672/
[oslo_messaging_rabbit]
heartbeat_in_pthread = false
"""


def cut(lost: str) -> Record:
    noted = {"address": "10.77.0.21", "peer": "10.77.0.11", "port": "5672"}
    return Record(fault="cut-broker", host="compute1", options={"lost": lost}, noted=noted)


@pytest.mark.parametrize(
    ("lost", "rule"),
    [
        ("back", "ip saddr 10.77.0.11 ip daddr 10.77.0.21 tcp sport 5672 counter drop"),
        ("there", "ip saddr 10.77.0.21 ip daddr 10.77.0.11 tcp dport 5672 counter drop"),
    ],
)
def test_packets_are_lost_in_one_direction(lost: str, rule: str) -> None:
    text = ruleset(Lab(), [cut(lost)])
    assert [line.strip() for line in text.splitlines() if "drop" in line] == [
        f'{rule} comment "cut-broker compute1"'
    ]
    if shutil.which("nft") and os.geteuid() == 0:
        done = subprocess.run(
            ["unshare", "--net", "nft", "-c", "-f", "-"],
            input=text,
            text=True,
            capture_output=True,
            check=False,
        )
        if "Operation not permitted" not in done.stderr:
            assert done.returncode == 0, done.stderr


def test_they_are_among_the_faults() -> None:
    assert {"cut-broker", "wrong-broker"} <= set(FAULTS)
    assert "cut-broker" in ON_MACHINE


@pytest.mark.parametrize("how", list(broker_way.CHANGE))
def test_what_is_wrong_in_the_files(tmp_path: Path, how: str) -> None:
    file = tmp_path / "nova.conf"
    file.write_text(NOVA)
    script = broker_way.CHANGE[how].replace("$f", str(file))
    for _ in range(2):
        file.write_text(NOVA)
        subprocess.run(["sh", "-c", script], check=True)
    found = transport_of("nova", "", [str(file)])
    [broker] = found["brokers"]
    wrong = {
        "password": broker["password"] == "wrong-password",
        "vhost": found["vhost"] == "nowhere",
        "name": broker["host"] == "broker.lab.example",
        "tls": found["tls"] is not None,
    }
    assert [name for name, is_wrong in wrong.items() if is_wrong] == [how]
    assert broker["port"] == 5672
