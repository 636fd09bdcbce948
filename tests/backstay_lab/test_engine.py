import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from backstay_lab import (
    build,
    cloudfile,
    disk,
    down,
    layers,
    network,
    plan,
    programs,
    secrets,
    state,
)
from backstay_lab.errors import LabError
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab, Network
from backstay_lab.machine import Facts, missing, require
from backstay_lab.plan import Plan
from backstay_lab.progress import Progress
from backstay_lab.state import Phase, State
from backstay_lab.up import BringUp

DATA = Path(__file__).parent / "data"
GIB = 1024**3
FIT = Facts(
    root=True,
    os_ids=frozenset(["debian"]),
    programs={"nft": True, "debootstrap": True, "systemd-nspawn": True},
    kernel=(),
    disk_free=80 * GIB,
    memory_free=16 * GIB,
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BACKSTAY_LAB_HOME", str(tmp_path))
    return tmp_path


# --- layers and disks ---------------------------------------------------------------------------


def test_package_lists_have_comments_and_blank_lines():
    assert layers.parse_packages("# a\n\nnova-api\n glance-api  # images\n#x\n") == [
        "nova-api",
        "glance-api",
    ]


def test_a_digest_tells_lists_apart_that_read_alike_when_joined():
    assert layers.digest("ab", "c") != layers.digest("a", "bc")
    assert layers.digest("ab", "c") == layers.digest("ab", "c")


def test_mounts_are_found_innermost_first_and_only_the_labs_own():
    found = disk.mounts_below(Path("/var/lib/backstay/labs/lab"), (DATA / "mountinfo").read_text())
    spare = Path("/var/lib/backstay/labs/lab/hosts/spare1")
    assert found == [spare / "root/mnt/a b", spare / "root", spare / "disk"]


def test_loops_are_found_also_when_their_file_was_deleted():
    listing = (DATA / "losetup.json").read_text()
    found = disk.loops_below(Path("/var/lib/backstay/labs/lab"), listing)
    assert found == ["/dev/loop1", "/dev/loop0"]
    assert disk.loops_below(Path("/var/lib/backstay/labs/lab"), "") == []


# --- networks -----------------------------------------------------------------------------------


def test_the_uplink_is_the_default_routes_interface():
    assert network.uplink((DATA / "ip-route.json").read_text()) == "eth0"
    assert network.uplink("[]") is None


def links(*names: str) -> str:
    return json.dumps([{"ifname": name} for name in names])


def test_a_bridge_or_table_of_someone_else_stands_in_the_way_and_ours_does_not():
    lab = Lab()
    bridge = lab.bridge(Network.MANAGEMENT)
    tables = json.dumps({"nftables": [{"table": {"family": "ip", "name": lab.nft_table}}]})
    addresses = (DATA / "ip-address.json").read_text()
    assert network.taken(lab, (), links(bridge), tables, addresses) == [
        f"an interface {bridge} exists that is not the lab's",
        f"an nftables table {lab.nft_table} exists that is not the lab's",
    ]
    assert network.taken(lab, network.claims(lab), links(bridge), tables, addresses) == []


def test_addresses_that_another_interface_has_stand_in_the_way():
    lab = Lab()
    one = {"family": "inet", "local": "10.0.0.5", "prefixlen": 8}
    found = network.taken(lab, (), "[]", "{}", json.dumps([{"ifname": "wg0", "addr_info": [one]}]))
    assert found == ["wg0 has 10.0.0.0/8, which the lab's addresses lie in"] * len(found)
    assert found
    own = [{"ifname": lab.bridge(Network.PROVIDER), "addr_info": [one]}]
    assert network.taken(lab, network.claims(lab), "[]", "{}", json.dumps(own)) == []


# --- the machine --------------------------------------------------------------------------------


def test_a_fit_machine_lacks_nothing():
    assert missing(FIT, built=False, bare=False) == []
    require([])


def test_everything_missing_is_named_at_once_with_the_command():
    facts = Facts(
        root=False,
        os_ids=frozenset(["fedora"]),
        programs={"nft": False, "debootstrap": False, "systemd-nspawn": False},
        kernel=(),
        disk_free=3 * GIB,
        memory_free=GIB // 2,
    )
    with pytest.raises(LabError) as caught:
        require(missing(facts, built=False, bare=False))
    for word in ("Debian", "root", "nft, debootstrap, systemd-nspawn", "3.0 GiB", "0.5 GiB"):
        assert word in caught.value.came_back
    assert "apt-get install debootstrap nftables systemd-container" in caught.value.remedy


def test_built_disks_and_bare_hosts_need_less():
    facts = Facts(True, FIT.os_ids, FIT.programs, (), 6 * GIB, 2 * GIB)
    assert len(missing(facts, built=False, bare=False)) == 2
    assert len(missing(facts, built=True, bare=False)) == 1
    assert missing(facts, built=False, bare=True) == []


# --- what to do next ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only", "built", "expected"),
    [
        ((), False, Plan.BUILD),
        ((), True, Plan.START),
        (("spare1",), False, Plan.BARE),
        (("spare1",), True, Plan.BARE),
        (("controller", "spare1"), False, Plan.BUILD_SOME),
        (("controller",), True, Plan.START),
    ],
)
def test_the_plan_of_an_up(only, built, expected):
    assert plan.choose(Lab(), only, built=built) is expected


@pytest.mark.parametrize(
    ("phase", "chosen", "expected"),
    [
        (Phase.BUILDING, Plan.BUILD, ["controller"]),
        (Phase.BUILDING, Plan.BARE, ["controller"]),
        (Phase.STARTING, Plan.START, []),
        (Phase.UP, Plan.START, []),
        (Phase.UP, Plan.BUILD, ["controller"]),
    ],
)
def test_half_built_hosts_are_thrown_away_and_bare_ones_never(phase, chosen, expected):
    known = State("lab", 0, 2, phase)
    assert plan.to_discard(known, chosen, ["controller", "spare1"]) == expected


def test_every_host_that_is_built_knows_what_it_needs():
    for place in Lab(computes=10).places.values():
        if place.manifest:
            assert set(plan.needed(place.name)) <= set(Lab().places)


def test_state_survives_writing_and_reading_and_is_private(home):
    known = State("lab", 3, 5, Phase.STARTING, ("controller",), ("bs3-mgmt",), "key")
    state.save(known)
    assert state.load("lab") == known
    assert stat.S_IMODE((home / "labs" / "lab").stat().st_mode) == 0o700
    assert state.load("other") is None


def test_a_broken_state_names_the_file_and_can_still_be_taken_down(home):
    file = home / "labs" / "lab" / "state.json"
    file.parent.mkdir(parents=True)
    file.write_text('{"slot": 0')
    with pytest.raises(LabError, match=r"state\.json"):
        state.load("lab")
    guessed = state.load_or_guess("lab")
    assert guessed is not None
    assert guessed.lab.name == "lab"


def test_labs_get_slots_of_their_own(home):
    first = state.new("a", 2, {known.slot for known in state.all_labs()})
    state.save(first)
    second = state.new("b", 2, {known.slot for known in state.all_labs()})
    assert (first.slot, second.slot) == (0, 1)
    with pytest.raises(LabError, match="slots"):
        state.new("c", 2, set(range(10)))
    with pytest.raises(LabError, match="small letter"):
        state.new("../c", 2, set())


def test_a_second_command_on_a_lab_is_refused_with_the_process(home):
    with state.locked("lab"), pytest.raises(LabError, match=str(os.getpid())), state.locked("lab"):
        pass
    with state.locked("lab"):
        pass


def test_a_pid_that_is_another_process_by_now_is_not_taken_for_the_host(home):
    host = LabHost(Lab(), "spare1")
    host.folder.mkdir(parents=True)
    (host.folder / "supervisor.pid").write_text(f"{os.getpid()} 1\n")
    assert host.power_state() == "off"
    started = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[19]
    (host.folder / "supervisor.pid").write_text(f"{os.getpid()} {started}\n")
    assert host.power_state() == "on"


def test_an_unknown_host_is_named_with_those_there_are():
    with pytest.raises(LabError) as caught:
        LabHost(Lab(), "controler")
    assert "controller" in caught.value.remedy


# --- files for the operator ---------------------------------------------------------------------


def test_secrets_differ_each_time_are_private_and_come_back(home):
    file = home / "secrets.yaml"
    first, second = secrets.renew(file), secrets.renew(file)
    assert not set(first.values()) & set(second.values())
    assert secrets.load(file) == second
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(set(second.values())) == len(second)


@pytest.mark.parametrize("user", ["admin", "demo", "shop"])
def test_openrc_is_read_by_a_posix_shell(home, user):
    lab = Lab()
    values = secrets.generate()
    cloudfile.write(lab, values)
    file = lab.openrc_of(user)
    script = f'. {file}; echo "$OS_AUTH_URL $OS_USERNAME $OS_PROJECT_NAME $OS_PASSWORD"'
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    password = values[f"{user}_password"]
    assert done.stdout == f"http://10.77.0.11:5000/v3 {user} {user} {password}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    cloudfile.remove(lab)
    assert not file.exists()


def test_cloud_yaml_names_every_host_and_what_the_spare_is_for():
    from ruamel.yaml import YAML  # noqa: PLC0415

    cloud = YAML(typ="safe").load(cloudfile.cloud_yaml(Lab()))
    assert list(cloud["hosts"]) == list(Lab().places)
    assert cloud["hosts"]["proxy"]["roles"] == ["storage-proxy"]
    assert cloud["hosts"]["spare1"]["spare_for"] == ["controller", "proxy"]
    assert cloud["hosts"]["compute2"]["bmc"] == {
        "url": "https://10.77.0.122:8443",
        "username": "admin",
        "password": {"file": "bmc/compute2.password"},
        "ca": "bmc/ca.pem",
    }


def test_hiera_values_are_yaml(home):
    from ruamel.yaml import YAML  # noqa: PLC0415

    lab = Lab(computes=3)
    text = build.hiera_yaml(build.lab_values(lab, LabHost(lab, "compute3")))
    values = YAML(typ="safe").load(text)
    assert values["lab::storage_addresses"] == ["10.77.0.13"]
    assert values["lab::compute_count"] == 3
    assert values["lab::address"] == "10.77.0.23"


# --- programs -----------------------------------------------------------------------------------


def test_a_failing_program_says_its_last_words_and_a_slow_one_is_killed():
    with pytest.raises(LabError, match="no such mirror"):
        programs.run(["sh", "-c", "echo no such mirror >&2; exit 7"], attempted="x")
    with pytest.raises(LabError, match="did not end within"):
        programs.run(["sh", "-c", "sleep 60 & wait"], attempted="x", bound=0.2)
    with pytest.raises(LabError, match="cannot be started"):
        programs.run(["/no/such/program"], attempted="x")


def test_of_a_long_log_the_errors_are_shown(tmp_path):
    log = tmp_path / "logs" / "puppet.log"  # of a lab whose layers were there already
    script = "echo 'Error: no broker'; for n in $(seq 40); do echo Warning: skipped; done; exit 6"
    with pytest.raises(LabError) as caught:
        programs.run(["sh", "-c", script], attempted="x", log=log)
    assert "no broker" in caught.value.came_back
    assert str(log) in caught.value.remedy


# --- what decides whether hosts are built again ---------------------------------------------------


def test_comments_docstrings_and_imports_do_not_build_hosts_anew():
    before = '"""One."""\nimport os\n\ndef made(a):\n    """Two."""\n    return a  # three\n'
    after = "from os import path\n\n# other\n\ndef made(a):\n    return a\n"
    assert layers.code(before) == layers.code(after)
    assert layers.code(before) != layers.code(after.replace("return a", "return a + 1"))


@pytest.mark.parametrize(
    ("only", "phase", "layers_there", "expected"),
    [
        (("proxy",), Phase.UP, True, True),  # of the cloud that runs, with its passwords
        (("proxy",), Phase.UP, False, False),
        (("proxy",), Phase.DOWN, True, False),
        ((), Phase.UP, True, False),
    ],
)
def test_a_host_of_a_lab_that_is_up_starts_from_what_that_lab_was_built_with(
    home, only, phase, layers_there, expected
):
    known = State("lab", 0, 2, phase)
    known.lab.built.mkdir(parents=True)
    (known.lab.built / "key").write_text("earlier")
    layer = home / "layer"
    if layers_there:
        layer.mkdir()

    class OneLayer(layers.Recipe):
        def lowers(self, role):
            return [layer]

    recipe = OneLayer(configuration=None, architecture="amd64")  # type: ignore[arg-type]
    assert BringUp(known, only, Progress())._is_built(recipe, "newer") is expected
    assert BringUp(known, only, Progress())._is_built(recipe, "earlier") is (
        layers_there or phase is not Phase.UP or not only
    )


@pytest.mark.parametrize("package", ["backstay_lab", "backstay/lab"])
def test_supervisors_are_found_also_of_a_lab_that_an_earlier_version_started(home, package):
    script = home / package / "supervisor.py"
    script.parent.mkdir(parents=True)
    script.write_text("import time\nprint(1, flush=True)\ntime.sleep(60)\n")
    argv = [sys.executable, str(script), str(Lab().folder / "hosts" / "spare1")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            assert down.supervisors(Lab()) == [process.pid]
        finally:
            process.kill()
