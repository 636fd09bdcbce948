"""A lab whose hosts let a user with sudo in, through a bastion, instead of root."""

import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from backstay.inventory.load import load
from backstay_lab import cloudfile, host_login, network, plan, state
from backstay_lab.layout import BASTION, Lab, Login
from backstay_lab.state import State

LAB = Lab("practice", 2, login=Login.OPERATOR)
CONTROLLER = LAB.address(LAB.places["controller"])


def test_the_bastion_is_no_host_of_the_cloud(tmp_path: Path) -> None:
    assert BASTION not in Lab().places
    text = cloudfile.cloud_yaml(LAB)
    described = YAML(typ="safe").load(text)
    assert list(described["hosts"]) == list(Lab().places)
    for name in ("openrc", "bmc/ca.pem", "ssh/id_ed25519", "ssh/known_hosts"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch(mode=0o600)
    (tmp_path / "cloud.yaml").write_text(text)
    cloud = load(tmp_path / "cloud.yaml")
    target = cloud.ssh_target(cloud.hosts["compute2"])
    assert (target.user, target.jumps) == ("operator", "operator@10.81.0.41")


def test_a_lab_of_root_is_as_it_was() -> None:
    head = cloudfile.cloud_yaml(Lab())
    assert "  user: root\n" in head
    assert "jumps" not in head
    assert "by_bastion" not in network.ruleset(Lab(), None)
    assert "by_bastion" not in network.ruleset(Lab(), "eth0")


def test_the_operator_reaches_ssh_of_the_bastion_only() -> None:
    for uplink in (None, "eth0"):
        rules = network.ruleset(LAB, uplink)
        assert "ip daddr 10.81.0.0/24 ip daddr != 10.81.0.41 tcp dport 22 drop" in rules
        assert rules.count("{") == rules.count("}")
    assert rules.count("table ip backstay_lab2 {") == 1


@pytest.mark.parametrize("name", ["controller", "spare1"])
def test_hosts_let_nobody_in_but_from_the_bastion(name: str) -> None:
    told = host_login.sshd_settings(LAB, name).splitlines()
    assert told == [
        "PermitRootLogin no",
        "AllowUsers operator@10.81.0.41",
        "DisableForwarding yes",
    ]


def test_the_bastion_leads_to_the_hosts_and_nowhere_else() -> None:
    told = host_login.sshd_settings(LAB, BASTION)
    assert "AllowUsers operator@10.81.0.1\n" in told
    opened = next(line for line in told.splitlines() if line.startswith("PermitOpen "))
    assert opened.split()[1:] == [
        f"{LAB.address(place)}:22" for place in LAB.places.values() if place.role
    ]
    assert "10.81.0.41:22" not in opened


def test_the_login_is_kept_with_the_lab(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BACKSTAY_LAB_HOME", str(tmp_path))
    state.save(State("practice", 2, 2, login=Login.OPERATOR))
    found = state.load("practice")
    assert found is not None
    assert found.lab == LAB
    file = tmp_path / "labs/practice/state.json"
    file.write_text(file.read_text().replace('"login": "operator"', '"other": 1'))
    before = state.load("practice")
    assert before is not None
    assert before.lab.login is Login.ROOT, "one of before had no such setting"


def test_a_bastion_is_started_and_never_built() -> None:
    assert plan.choose(LAB, ["spare1", BASTION], built=False) is plan.Plan.BARE
    assert LAB.places[BASTION].manifest is None


def test_the_script_is_one_for_a_posix_shell() -> None:
    script = host_login._SCRIPT.format(
        user="operator",
        sudo="yes",
        package="/p.deb",
        key="ssh-ed25519 AAAA\n",
        sudoers=host_login.SUDOERS.format(user="operator"),
        settings=host_login.SETTINGS,
        sshd=host_login.sshd_settings(LAB, "proxy"),
    )
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
