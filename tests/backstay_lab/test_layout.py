import json
import os

import pytest

from backstay.inventory.enums import Role
from backstay_lab import layout
from backstay_lab.layout import MAX_COMPUTES, SLOTS, Lab, Network


@pytest.fixture
def labs(tmp_path, monkeypatch):
    monkeypatch.setenv("BACKSTAY_LAB_HOME", str(tmp_path))
    return tmp_path


def test_addresses_of_the_first_slot():
    lab = Lab()
    addresses = {name: lab.address(place) for name, place in lab.places.items()}
    assert addresses == {
        "controller": "10.77.0.11",
        "proxy": "10.77.0.12",
        "storage1": "10.77.0.13",
        "compute1": "10.77.0.21",
        "compute2": "10.77.0.22",
        "spare1": "10.77.0.31",
    }
    assert lab.bmc_address(lab.places["controller"]) == "10.77.0.111"
    assert lab.gateway == "10.77.0.1"
    assert lab.provider_net == "10.78.0"


def test_no_two_slots_share_an_address_or_a_name():
    labs = [Lab("a", slot, MAX_COMPUTES) for slot in SLOTS]
    nets = [lab.net(network) for lab in labs for network in Network]
    names = [lab.bridge(network) for lab in labs for network in Network]
    names += [lab.nft_table for lab in labs]
    assert len(set(nets)) == len(nets)
    assert len(set(names)) == len(names)


def test_no_two_hosts_share_an_address_with_each_other_or_with_a_bmc():
    lab = Lab(computes=MAX_COMPUTES)
    addresses = [lab.address(place) for place in lab.places.values()]
    addresses += [lab.bmc_address(place) for place in lab.places.values()]
    assert len(set(addresses)) == len(addresses)


def test_interface_names_fit_into_the_kernels_15_characters_and_differ():
    lab = Lab("x" * 20, SLOTS[-1], MAX_COMPUTES)
    names = [lab.veth(place, net) for place in lab.places.values() for net in Network]
    names += [lab.bridge(network) for network in Network]
    assert max(map(len, names)) <= 15
    assert len(set(names)) == len(names)


def test_the_groups_of_one_lab_are_no_prefix_of_anothers():
    assert not Lab("lab2").cgroup("proxy").startswith(Lab("lab").cgroup(""))


@pytest.mark.parametrize("name", ["", "Lab", "../x", "a.b", "a/b", "1a", "a" * 21, "a b", "a\n"])
def test_names_that_would_not_be_safe_are_refused(name):
    assert not layout.is_name(name)


def test_roles_and_their_manifests():
    manifests = {place.role: place.manifest for place in Lab().places.values()}
    assert manifests == {
        Role.CONTROLLER: "controller",
        Role.STORAGE_PROXY: "proxy",
        Role.STORAGE: "storage",
        Role.COMPUTE: "compute",
        Role.SPARE: None,
    }


def test_a_lab_is_found_only_while_it_is_up(labs):
    folder = labs / "labs" / "mine"
    folder.mkdir(parents=True)
    assert layout.current_cloud_file() is None
    (folder / "cloud.yaml").write_text("name: mine\n")
    for state in ("{half", "[]", "{}"):
        (folder / "state.json").write_text(state)
        assert layout.current_cloud_file() is None
    for phase, found in (("up", folder / "cloud.yaml"), ("building", None), ("down", None)):
        (folder / "state.json").write_text(json.dumps({"phase": phase}))
        assert layout.current_cloud_file() == found


def test_of_two_labs_the_one_brought_up_last_is_found_while_it_is_up(labs):
    for age, name in enumerate(("second", "first")):
        folder = labs / "labs" / name
        folder.mkdir(parents=True)
        (folder / "state.json").write_text('{"phase": "up"}')
        (folder / "cloud.yaml").write_text("name: x\n")
        os.utime(folder / "cloud.yaml", (1e9 - age, 1e9 - age))
    assert layout.current_cloud_file() == labs / "labs" / "second" / "cloud.yaml"
    (labs / "labs" / "second" / "state.json").write_text('{"phase": "down"}')
    assert layout.current_cloud_file() == labs / "labs" / "first" / "cloud.yaml"


def test_the_lab_that_the_environment_names_is_found(labs, monkeypatch):
    for name in ("one", "other"):
        folder = labs / "labs" / name
        folder.mkdir(parents=True)
        (folder / "state.json").write_text('{"phase": "up"}')
        (folder / "cloud.yaml").write_text("name: x\n")
    for name in ("one", "other"):
        monkeypatch.setenv("BACKSTAY_LAB", name)
        assert layout.current_cloud_file() == labs / "labs" / name / "cloud.yaml"
    monkeypatch.setenv("BACKSTAY_LAB", "third")
    assert layout.current_cloud_file() is None
