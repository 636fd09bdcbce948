"""Agents as real APIs reported them (data/*.json, OpenStack Zed), beside what must be read."""

import json
from pathlib import Path

import pytest

from backstay.services import cinder, neutron, nova, placement

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("nova-os-services", nova.read_agents),
        ("neutron-agents", neutron.read_agents),
        ("cinder-os-services", cinder.read_agents),
    ],
)
def test_recorded_agents(name, read):
    agents = read(json.loads((DATA / f"{name}.json").read_text(encoding="utf-8")))
    lines = [
        f"{a.binary} {a.host} {'up' if a.up else 'down'} {'enabled' if a.enabled else 'disabled'} "
        f"{a.heartbeat:%Y-%m-%d %H:%M:%S %Z}"
        for a in agents
    ]
    assert lines == (DATA / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def test_recorded_providers():
    text = (DATA / "placement-resource-providers.json").read_text(encoding="utf-8")
    assert placement.judge_providers(json.loads(text)).severity.value == "ok"
