"""Which unit is meant, and what systemd and the kernel say of it, from recorded output."""

import os
import subprocess
from pathlib import Path

import pytest

from backstay_lab.errors import LabError
from backstay_lab.faults.agent import is_bound, local_ports, reply_queues
from backstay_lab.faults.broker import user_names
from backstay_lab.faults.disks import used_percent
from backstay_lab.faults.units import (
    LISTING,
    Unit,
    choose,
    full_name,
    parse_unit,
    processes_of,
    similar,
)

DATA = Path(__file__).parent / "data"


def recorded(name: str) -> str:
    return (DATA / name).read_text()


def unit(active: str, load: str = "loaded") -> Unit:
    return Unit("nova-api.service", load, active, "", 0, "")


def test_a_running_unit() -> None:
    seen = parse_unit(recorded("systemctl-show-running.txt"))
    assert seen.name == "nova-compute.service"
    assert seen.runs
    assert (seen.load, seen.main_pid) == ("loaded", 468)
    assert seen.group == "/system.slice/nova-compute.service"


def test_an_unknown_unit() -> None:
    seen = parse_unit(recorded("systemctl-show-unknown.txt"))
    assert seen.load == "not-found"
    assert not seen.runs


def test_processes_of_a_unit_and_their_states() -> None:
    listing = recorded("processes-ssh-stopped.txt")
    assert set(processes_of("/system.slice/ssh.service", listing).values()) == {"T"}
    assert set(processes_of("/system.slice/nova-compute.service", listing)) == {468}
    assert processes_of("/system.slice/ssh", listing) == {}


def test_a_process_that_ends_while_it_is_listed_is_no_failure(tmp_path: Path) -> None:
    grep = tmp_path / "grep"
    grep.write_text("#!/bin/sh\necho seen\nexit 2\n")  # as with a file that is gone
    grep.chmod(0o755)
    done = subprocess.run(
        ["sh", "-eus"],
        input=LISTING,
        env={"PATH": f"{tmp_path}:{os.defpath}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "seen\nseen\n")


def test_the_type_of_a_unit_may_be_left_out() -> None:
    assert full_name("nova-api") == "nova-api.service"
    assert full_name("ceph-osd@0") == "ceph-osd@0.service"
    assert full_name("mariadb.socket") == "mariadb.socket"


def test_of_several_hosts_the_one_that_runs_the_unit_is_meant() -> None:
    found = {"proxy": unit("inactive"), "controller": unit("active")}
    assert choose("nova-api", found) == "controller"
    assert choose("nova-api", {"proxy": unit("inactive", "not-found")}) is None


def test_an_ambiguous_unit_names_the_candidates() -> None:
    with pytest.raises(LabError) as refused:
        choose("ssh", {"proxy": unit("active"), "controller": unit("active")})
    assert "proxy/ssh, controller/ssh" in refused.value.remedy


def test_a_mistyped_unit_is_told_what_was_meant() -> None:
    known = ["nova-api", "nova-conductor", "nova-scheduler", "ssh"]
    assert similar("nova-schedular", known).startswith("did you mean nova-scheduler")
    assert "list-units" in similar("zzz", known)


def test_local_ports_of_an_agents_connections() -> None:
    sockets = recorded("ss-established.txt")
    assert local_ports(sockets, {468}, "10.85.0.11:5672") == ["35866"]
    assert local_ports(sockets, {1}, "10.85.0.11:5672") == []
    mapped = sockets.replace("10.85.0.11:5672", "[::ffff:10.85.0.11]:5672")
    assert local_ports(mapped, {468}, "10.85.0.11:5672") == ["35866"]


def test_whether_a_queue_is_bound_to_nova() -> None:
    bindings = recorded("list-bindings.txt")
    assert is_bound(bindings, "compute.compute1")
    assert not is_bound(bindings, "compute.compute2")
    default_exchange_only = bindings.splitlines()[0]
    assert not is_bound(default_exchange_only, "compute.compute1")


def test_users_of_the_broker() -> None:
    assert user_names(recorded("list-users.txt")) == ["openstack"]


def test_share_of_a_disk_in_use() -> None:
    assert used_percent("Use%\n 100%\n") == 100


def test_the_reply_queue_of_a_process_by_its_connections() -> None:
    consumers, channels = recorded("rabbitmq-consumers.txt"), recorded("rabbitmq-channels.txt")
    ends = [line.split("\t")[1].split(" ")[0] for line in channels.splitlines() if "->" in line]
    ports = {end.partition(":")[2] for end in ends if end.startswith("10.77.0.22:")}
    assert len(reply_queues(consumers, channels, "10.77.0.22", ports)) == 3
    assert reply_queues(consumers, channels, "10.77.0.22", {"1"}) == []
    assert reply_queues(consumers, channels, "10.77.0.99", ports) == []
