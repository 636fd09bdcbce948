"""Hosts that are only fenced: told while they are off, an alarm when they are on."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backstay.errors import PowerError
from backstay.finding import Severity
from backstay.health.fenced import findings
from backstay.inventory.bmc import Fenced
from backstay.inventory.load import load
from backstay.inventory.mistakes import CloudFileWrong

BMC = "bmc: {url: 'https://192.0.2.111', username: admin, password: s3cret}"
HOST = f"hosts:\n  c: {{address: 192.0.2.1, roles: [controller], {BMC}}}\n"


def fenced(folder: Path, entry: str, *, hosts: str = "") -> dict[str, Fenced]:
    file = folder / "cloud.yaml"
    hosts = hosts or "hosts:\n  c: {address: 192.0.2.1, roles: [controller]}\n"
    file.write_text(f"credentials: {{environment: true}}\n{hosts}fenced:\n  {entry}\n")
    return dict(load(file).fenced)


@pytest.mark.parametrize("since", ["'2026-11-24T22:00:00Z'", "2026-11-24T22:00:00Z"])
def test_cloud_yaml_remembers_it(tmp_path: Path, since: str) -> None:
    (old,) = fenced(tmp_path, f"old: {{was: c, since: {since}, {BMC}}}").values()
    assert (old.was, old.since) == ("c", datetime(2026, 11, 24, 22, tzinfo=UTC))
    assert old.bmc
    assert old.bmc.target("old").url == "https://192.0.2.111"


@pytest.mark.parametrize(
    ("entry", "hosts", "said"),
    [
        ("c: {was: c, since: '2026-11-24T22:00:00Z'}", "", "`c` is under `hosts` too"),
        (f"old: {{was: c, since: '2026-11-24T22:00:00Z', {BMC}}}", HOST, "its BMC is that of `c`"),
        ("old: {since: '2026-11-24T22:00:00Z'}", "", "`was` is missing"),
        (
            "old: {was: c, since: 1, bmc: {url: 'ipmi://h', protocol: redfish, username: a, "
            "password: b}}",
            "",
            "`url` is one of ipmi, `protocol` says redfish",
        ),
    ],
)
def test_mistakes_in_it_are_told(tmp_path: Path, entry: str, hosts: str, said: str) -> None:
    with pytest.raises(CloudFileWrong) as caught:
        fenced(tmp_path, entry, hosts=hosts)
    assert said in caught.value.came_back


def in_use(bmc: str) -> str:
    bmc = f"bmc: {{url: '{bmc}', username: admin, password: s3cret}}"
    return f"hosts:\n  c: {{address: 192.0.2.1, roles: [controller], {bmc}}}\n"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://BMC1.example", "https://bmc1.example"),
        ("https://bmc1:443", "https://bmc1/"),
        ("https://bmc1/redfish/v1", "https://bmc1"),
        ("ipmi://10.0.0.5", "https://10.0.0.5"),
        ("ipmi://10.0.0.5:623", "http://10.0.0.5:80/"),
        ("https://[2001:DB8::5]:8443", "https://[2001:db8::5]:8443/redfish/v1/"),
    ],
)
def test_a_bmc_in_use_is_found_however_it_is_spelled(tmp_path: Path, one: str, other: str) -> None:
    old = (
        f"old: {{was: c, since: '2026-11-24T22:00:00Z', {BMC.replace('https://192.0.2.111', one)}}}"
    )
    with pytest.raises(CloudFileWrong, match="its BMC is that of `c`, which is in use"):
        fenced(tmp_path, old, hosts=in_use(other))


def test_two_bmcs_behind_one_forwarder_are_two(tmp_path: Path) -> None:
    forwarded = BMC.replace("192.0.2.111", "192.0.2.111:8443")
    old = f"old: {{was: c, since: '2026-11-24T22:00:00Z', {forwarded}}}"
    assert fenced(tmp_path, old, hosts=in_use("https://192.0.2.111:8444"))
    assert fenced(tmp_path, old, hosts=in_use("https://192.0.2.111"))


@pytest.mark.parametrize(
    ("on", "severity", "evidence"),
    [
        (
            False,
            Severity.WARNING,
            "only fenced: its BMC reports that its power is off; c was replaced",
        ),
        (True, Severity.FAILED, "its power is on: it may answer as c"),
        (None, Severity.UNKNOWN, "its BMC reports neither on nor off"),
    ],
)
def test_its_power_decides(
    tmp_path: Path, on: bool | None, severity: Severity, evidence: str
) -> None:
    async def power(_target: object) -> bool | None:
        return on

    old = fenced(tmp_path, f"old: {{was: c, since: '2026-11-24T22:00:00Z', {BMC}}}")
    (found,) = asyncio.run(findings(old, bound=5, power=power))
    assert (found.host, found.severity) == ("old", severity)
    assert evidence in found.evidence
    assert "take old from the network" in found.remedy


def test_silent_bmcs_are_asked_at_the_same_time_and_within_the_bound(tmp_path: Path) -> None:
    async def power(target: object) -> bool | None:
        if "'old1'" in repr(target):
            raise PowerError("asking", came_back="its BMC refuses the user", remedy="look")
        await asyncio.sleep(60)
        return None

    entries = "\n  ".join(
        f"old{at}: {{was: c, since: '2026-11-24T22:00:00Z', {BMC}}}" for at in range(5)
    )
    started = time.monotonic()
    found = asyncio.run(findings(fenced(tmp_path, entries), bound=0.2, power=power))
    assert time.monotonic() - started < 2
    assert {one.severity for one in found} == {Severity.UNKNOWN}
    assert "refuses the user" in found[1].evidence
    assert "no answer within 0.2 s" in found[0].evidence


def test_one_without_a_bmc_is_told_until_it_is_away(tmp_path: Path) -> None:
    old = fenced(tmp_path, "old: {was: c, since: '2026-11-24T22:00:00Z'}")
    (found,) = asyncio.run(findings(old, bound=5))
    assert found.severity is Severity.WARNING
    assert "no BMC to ask" in found.evidence
