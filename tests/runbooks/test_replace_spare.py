"""Can a spare take a host's place, and what of its network names the address then."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.answers import convert
from backstay.backup.catalogue import Backup
from backstay.inventory.limits import Limit
from backstay.runbooks.replace import onhost
from backstay.runbooks.replace.answers import SpareAnswer
from backstay.runbooks.replace.spare import SpareRequirements, blockers, off_by, warnings

GIB = 1024**3
MACHINE = {
    "id": "debian",
    "release": "12",
    "codename": "bookworm",
    "architecture": "x86_64",
    "memory": 16 * GIB,
}
BACKUP = Backup(
    name="controller-1",
    cloud="lab",
    host="controller",
    taken_at=0,
    seconds=1,
    sizes={"files": GIB, "database": 2 * GIB},
    machine=MACHINE,
)
WANTED = SpareRequirements(
    backup=BACKUP,
    packages=["a", "b"],
    versions={"base-files": "12.4+deb12u5"},
    old_address="10.77.0.11",
    own_address="10.77.0.31",
    clock=Limit(warning=0.5, failed=5),
)
FREE = {
    "/": [1, 9 * GIB],
    "/usr": [1, 9 * GIB],
    "/var": [1, 9 * GIB],
    "/var/lib": [1, 9 * GIB],
    "/var/lib/mysql": [1, 9 * GIB],
}


def told(**more: Any) -> SpareAnswer:
    answer = {
        "machine": MACHINE,
        "boot_id": "b",
        "clock": 1.0,
        "prepared": "",
        "free": FREE,
        "active": [],
        "databases": [],
        "apt": True,
        "addresses": [["host0", "10.77.0.31/24"]],
        "packages": ["base-files 12.4+deb12u9"],
        **more,
    }
    return convert(SpareAnswer, answer)


def test_a_spare_like_the_host_is_taken():
    assert blockers(WANTED, told(), offset=0.1) == []
    assert warnings(WANTED, told(), offset=0.1) == []


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"machine": {**MACHINE, "codename": "trixie"}}, "it runs debian trixie, the host ran "),
        ({"machine": {**MACHINE, "architecture": "aarch64"}}, "it is aarch64"),
        ({"machine": {**MACHINE, "memory": 4 * GIB}}, "it has 4.0 GiB of memory"),
        ({"free": {**FREE, "/var/lib/mysql": [2, GIB]}}, "/var/lib/mysql has only 1.0 GiB free"),
        ({"addresses": [["host0", "10.9.0.31/24"], ["x", "10.77.0.31/28"]]}, "not of that netw"),
        ({"active": ["keystone.service"]}, "keystone.service run on it"),
        ({"databases": ["nova"]}, "it has databases of its own: nova"),
        ({"apt": False}, "no apt-get"),
    ],
)
def test_each_reason_against_it(more, said):
    if "addresses" in more:
        wanted = replace(WANTED, old_address="10.77.0.111")
        found = blockers(wanted, told(**more), offset=0)
    else:
        found = blockers(WANTED, told(**more), offset=0)
    assert len(found) == 1
    assert said in found[0]


def test_all_reasons_are_told_at_once_and_a_clock_far_off_is_one():
    found = blockers(WANTED, told(active=["mariadb.service"], apt=False), offset=-9.0)
    assert len(found) == 3
    assert "9.0 s behind" in found[1]


def test_room_is_counted_once_for_each_file_system():
    small = {place: [1, 4 * GIB] for place in FREE}
    assert blockers(WANTED, told(free=small), offset=0) == []
    small = {place: [1, 3 * GIB] for place in FREE}
    assert len(blockers(WANTED, told(free=small), offset=0)) == 1


def test_an_older_backup_is_judged_by_its_packages():
    wanted = replace(WANTED, backup=replace(BACKUP, machine={}))
    assert blockers(wanted, told(), offset=0) == []
    assert "does not record" in warnings(wanted, told(), offset=0)[0]
    newer = blockers(wanted, told(packages=["base-files 13.1"]), offset=0)
    assert newer == ["it is of another release: base-files 13.1, the host had 12.4+deb12u5"]


def test_a_clock_read_between_two_moments_is_off_by_what_lies_outside():
    assert off_by(10.5, 10, 11) == 0
    assert off_by(12.0, 10, 11) == 1.0
    assert off_by(9.0, 10, 11) == -1.0


def test_the_old_address_takes_the_place_of_the_spare_s_own_and_no_other(tmp_path, monkeypatch):
    interfaces, plan = tmp_path / "interfaces", tmp_path / "01.yaml"
    interfaces.write_text("address 10.77.0.31/24\ngateway 10.77.0.1\nup route via 10.77.0.311\n")
    plan.write_text("addresses: [110.77.0.31/24, '10.77.0.31/24']\n")
    plan.chmod(0o600)
    monkeypatch.setattr(onhost, "CONFIGURED", (str(interfaces), str(tmp_path / "*.yaml")))
    kept = tmp_path / "kept"
    for _ in range(2):  # again after an interruption: the copies stay those of before
        found = onhost.configure("10.77.0.31", "10.77.0.11", str(kept))
        assert found == sorted([str(interfaces), str(plan)])
    expected = "address 10.77.0.11/24\ngateway 10.77.0.1\nup route via 10.77.0.311\n"
    assert interfaces.read_text() == expected
    assert plan.read_text() == "addresses: [110.77.0.31/24, '10.77.0.11/24']\n"
    assert plan.stat().st_mode & 0o777 == 0o600
    assert "10.77.0.31/24" in (kept / str(interfaces).lstrip("/")).read_text()
    assert sorted(Path(tmp_path).glob("*.backstay")) == []
