"""The script that hosts run, run here: by the system's python3, without SSH, without systemd."""

import ast
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from backstay.access.shipping import source_of
from backstay.health import onhost
from backstay.health.observation import parse
from backstay.health.onhost_mounts import mounts
from backstay.health.read_hosts import assemble, unit_names
from backstay.inventory.enums import Role
from backstay.services.declaration import HostProbe, Unit
from backstay.services.registry import all_services
from backstay.transports.targets import Answer

UNITS = [unit for service in all_services() for unit in service.units]
PROBES = [probe for service in all_services() for probe in service.host_probes]
OLD_PYTHONS = [name for name in ("3.6", "3.7", "3.9") if shutil.which(f"python{name}")]


def hang():
    threading.Event().wait()


def fail():
    raise ValueError("no such thing")


def probe(ask, bound=1.0) -> HostProbe:
    return HostProbe(
        name=ask.__name__,
        roles=(Role.SPARE,),
        ask=ask,
        returns=Any,
        judge=lambda _: [],
        bound=bound,
    )


def answers(script: str, python: str = "/usr/bin/python3"):
    done = subprocess.run(
        [python, "-I", "-"], input=script, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_this_machine_answers_within_bounds():
    script = assemble(UNITS, PROBES)
    sent = time.time()
    answer = Answer(stdout=answers(script), sent_at=sent, received_at=time.time())
    observed = parse(answer, unit_names(UNITS), PROBES, host="here")
    assert observed.seconds < 20
    assert observed.offset is not None
    assert abs(observed.offset) <= observed.uncertainty
    assert any(system.mount == "/" for system in observed.file_systems)
    assert observed.memory is not None
    assert observed.memory[0] > observed.memory[1] > 0
    assert set(observed.probes) == {probe.name for probe in PROBES}
    assert all(not asked.trouble for asked in observed.probes.values()), observed.probes
    if Path("/run/systemd/system").exists():
        assert observed.units is not None
    else:
        assert observed.units is None
        assert "systemd" in observed.troubles["units"]


def test_the_script_is_of_python_3_6_and_names_nothing_of_backstay():
    script = assemble(UNITS, PROBES)
    ast.parse(script, feature_version=(3, 6))
    assert "backstay." not in script


@pytest.mark.parametrize("version", OLD_PYTHONS)
def test_old_pythons_run_it(version):
    python = f"python{version}"
    usable = subprocess.run([python, "--version"], capture_output=True, check=False)
    if usable.returncode != 0:
        pytest.skip(f"{python} is there in name only")
    read = json.loads(answers(assemble(UNITS, PROBES), python))
    troubles = [a["error"] for n, a in read["answers"].items() if "error" in a and "probe" in n]
    assert troubles == []


def test_one_question_that_hangs_stops_neither_the_others_nor_the_script():
    started = time.monotonic()
    read = json.loads(answers(assemble([], [probe(hang), probe(fail)])))["answers"]
    assert time.monotonic() - started < 10
    assert read["probe hang"]["late"] == 1.0
    assert read["probe fail"]["error"] == "ValueError: no such thing"
    assert read["memory"]["value"]["total"] > 0


def test_a_stopped_process_is_seen_with_its_descendants():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        child.send_signal(19)
        deadline = time.monotonic() + 10
        while onhost.family_states([child.pid])[child.pid] != "T":
            assert time.monotonic() < deadline
        gone = onhost.family_states([2**22 + 1])
    finally:
        child.kill()
        child.communicate()
    assert gone == {2**22 + 1: ""}


def test_mounts_are_the_real_ones_each_once():
    text = (
        "overlay / overlay rw 0 0\nproc /proc proc rw 0 0\ntmpfs /run tmpfs rw 0 0\n"
        "tmpfs /dev/shm tmpfs rw 0 0\n/dev/sda2 /var ext4 rw 0 0\n"
        "/dev/sda2 /srv/again ext4 rw 0 0\n"
        "/dev/sr0 /media iso9660 ro 0 0\nnas:/x /my\\040images nfs4 rw 0 0\n"
        "/dev/loop0 /run/host/os-release ext4 rw 0 0\n"
    )
    assert mounts(text) == ["/", "/my images", "/run", "/var"]


def test_what_cannot_be_shipped_is_refused():
    with pytest.raises(ValueError, match="standard library"):
        source_of(test_what_cannot_be_shipped_is_refused)


def test_the_names_of_probes_on_one_host_differ():
    for role in Role:
        names = [probe.name for probe in PROBES if role in probe.roles]
        assert len(names) == len(set(names))


def test_units_are_asked_once_with_their_sockets():
    unit = Unit(name="a", role=Role.COMPUTE, purpose="", socket="a.socket")
    assert unit_names([unit, unit]) == ["a", "a.socket"]


def test_a_user_who_may_not_ask_is_told_so():
    command = ["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-I", "-"]
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("changing the user takes root and setpriv")
    done = subprocess.run(
        command, input=assemble([], []), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert "sudo" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
