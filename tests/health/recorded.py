"""Recorded answers of real hosts (Debian 12), read and judged as `check` does."""

import json
from pathlib import Path

from backstay.finding import Finding
from backstay.health.judge_host import judge_host
from backstay.health.observation import HostObservation, parse
from backstay.health.read_hosts import unit_names
from backstay.inventory.enums import Role
from backstay.inventory.limits import Limits
from backstay.services.declaration import HostProbe, Unit
from backstay.services.registry import all_services
from backstay.transports.targets import Answer, SshTarget

DATA = Path(__file__).parent / "data"
TARGET = SshTarget(name="host", address="10.0.0.11", user="root")


def units_of(role: Role) -> list[tuple[str, Unit]]:
    return [(s.name, u) for s in all_services() for u in s.units if u.role is role]


def probes_of(role: Role) -> list[tuple[str, HostProbe]]:
    return [(s.name, p) for s in all_services() for p in s.host_probes if role in p.roles]


def observe(role: Role) -> HostObservation:
    text = (DATA / f"{role}.json").read_text(encoding="utf-8")
    times = json.loads(text)
    answer = Answer(
        stdout=text, sent_at=times["started"] - 0.2, received_at=times["finished"] + 0.1
    )
    probes = [probe for _, probe in probes_of(role)]
    return parse(answer, unit_names([unit for _, unit in units_of(role)]), probes, host="host")


def judge(role: Role, observed: HostObservation) -> list[Finding]:
    return judge_host(
        observed, TARGET, units=units_of(role), probes=probes_of(role), limits=Limits()
    )


def as_text(findings: list[Finding]) -> str:
    lines = [f"{f.severity:8}{f.service:11}{f.subject:31}{f.evidence}" for f in findings]
    return "\n".join(lines) + "\n"
