"""A program in a sandbox on a machine with systemd: the spare, as if it were the operator's host.

There the sandbox is started as Backstay's own unit starts it, and systemd has to keep its limits.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import backstay
from backstay.cli.watch import _UNIT
from backstay.transports.namespaces import FIRST_USER
from tests.acceptance.conftest import BACKSTAY, Lab

pytestmark = pytest.mark.lab

HOST, NAME, FOLDER = "spare1", "backstay-sandbox-story", "/root/sandbox-story"
SECRET = f"{FOLDER}/secret"
# Two at once; what they see; and then it waits to be killed.
PROGRAM = f"""
import asyncio, json, pathlib, subprocess
from backstay.transports import namespaces
from backstay.transports.sandbox import sandbox

LOOK = '''
exec 2>&1
cat {SECRET} /etc/shadow && echo READ
exec 3<>/dev/tcp/10.255.255.255/22 && echo CONNECTED
cat /proc/net/route
echo ready
trap "" TERM
setsid sleep 600 &
sleep 600
'''

async def story():
    found = dict(form=namespaces.form(), said="", units="")
    running = []
    for name in ("one", "two"):
        box = sandbox(pathlib.Path("{FOLDER}") / name)
        pipe, none = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        running.append(await box.start("bash", "-c", LOOK, stdin=none, stdout=pipe))
    for one in running:
        while (line := await one.stdout.readline()) not in (b"ready\\n", b""):
            found["said"] += line.decode()
        found["units"] += pathlib.Path(f"/proc/{{one.pid}}/cgroup").read_text()
    new = pathlib.Path("{FOLDER}/new")
    new.write_text(json.dumps(found))
    new.rename("{FOLDER}/found")
    await asyncio.sleep(600)

asyncio.run(story())
"""
# The limits in the kernel of the group that a sandbox is in, by cgroup v1 and v2.
LIMITS = (
    "cd /sys/fs/cgroup; cat {{memory/,pids/,}}system.slice/{0}/"
    "{{memory.limit_in_bytes,memory.max,pids.max}} 2>/dev/null; true"
)
# systemd-nspawn mounts the groups of v1 that limit read-only: systemd makes no limits there.
MOUNT = """
for one in memory pids; do
    [ ! -d /sys/fs/cgroup/$one ] || mount -o remount,bind,{} /sys/fs/cgroup/$one
done
systemctl daemon-reexec
"""
MAY_LIMIT = """
[ -w /sys/fs/cgroup/memory/cgroup.procs -a -w /sys/fs/cgroup/pids/cgroup.procs ] && echo yes
grep -w memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null | grep -w pids
true
"""


def unit_options() -> list[str]:
    """What our unit of the watch restricts, as systemd-run takes it."""
    other = ("#", "Type=", "NotifyAccess=", "WatchdogSec=", "RuntimeDirectory")
    lines = [line for line in _UNIT.splitlines() if not line.startswith(other)]
    assert "ProtectKernelModules=yes" in lines
    return [f"--property={line}" for line in lines]


def start(lab: Lab) -> dict[str, Any]:
    """Start the program as a unit; give what it has found when both sandboxes run."""
    lab.shell(HOST, f"systemctl reset-failed {NAME} 2>/dev/null; rm -f {FOLDER}/found")
    python = f"--setenv=PYTHONPATH={FOLDER}/src /usr/bin/python3 {FOLDER}/program.py"
    options = " ".join(unit_options())
    lab.shell(HOST, f"systemd-run --quiet --collect --unit={NAME} {options} {python}")
    show = f"cat {FOLDER}/found 2>/dev/null; true"
    lab.wait_until(lambda: bool(lab.shell(HOST, show)), what="two sandboxes run", bound=60)
    found: dict[str, Any] = json.loads(lab.shell(HOST, show))
    return found


def scopes(found: dict[str, Any]) -> list[str]:
    """The scopes that the sandboxes are in, by their processes' own groups."""
    return sorted(set(re.findall(r":/system\.slice/(run-.*\.scope)$", found["units"], re.M)))


def left(lab: Lab) -> str:
    """What is left of sandboxes: processes of their users, and scopes."""
    processes = f"ps -eo uid=,args= | awk '$1 >= {FIRST_USER}'"
    listed = "systemctl list-units --all --plain --no-legend 'run-*.scope'"
    return lab.shell(HOST, f"{processes}; {listed}").strip()


def kill(lab: Lab) -> None:
    lab.shell(HOST, f"systemctl kill --kill-who=main --signal=KILL {NAME}")
    lab.wait_until(lambda: not left(lab), what="sandboxes end with what has started them", bound=20)


@pytest.fixture
def spare(lab: Lab) -> Iterator[Lab]:
    theirs = lab.shell(HOST, 'python3 -c "import sys; print(sys.version_info >= (3, 11))"')
    if theirs.strip() != "True":
        pytest.skip("Backstay needs Python 3.11, and the lab's hosts have an earlier one")
    lab.shell(HOST, f"mkdir -p {FOLDER}/src; echo hunter2 > {SECRET}; chmod 644 {SECRET}")
    lab.shell(HOST, f"cat > {FOLDER}/program.py <<'END'\n{PROGRAM}END\n")
    source = Path(backstay.__file__).parents[1]
    packed: list[str | Path] = ["tar", "-C", source, "-cf", "-", "backstay"]
    unpack = f"tar -C {FOLDER}/src -xf - --no-same-owner"
    with subprocess.Popen(packed, stdout=subprocess.PIPE) as packing:
        command: list[str | Path] = [BACKSTAY, "lab", "shell", HOST, unpack]
        subprocess.run(command, stdin=packing.stdout, check=True, timeout=120)
    yield lab
    lab.shell(HOST, f"systemctl stop {NAME} 2>/dev/null; {MOUNT.format('ro')}rm -rf {FOLDER}")


def test_in_a_unit_of_ours_it_is_closed_limited_and_ends_with_it(spare: Lab) -> None:
    lab = spare
    if not lab.shell(HOST, MAY_LIMIT).strip():
        # systemd makes a scope here, and no limits: Backstay must not say that there are any.
        found = start(lab)
        assert found["form"].endswith("with limits for each process")
        assert not scopes(found)
        kill(lab)
        lab.shell(HOST, MOUNT.format("rw"))
    if not lab.shell(HOST, MAY_LIMIT).strip():
        pytest.skip("the lab's hosts may not limit memory on this machine")

    found = start(lab)
    assert found["form"].endswith("with limits of a systemd scope")
    said = found["said"]
    assert "hunter2" not in said
    assert "READ" not in said
    assert "CONNECTED" not in said
    assert "No such file" in said
    assert "unreachable" in said

    names = scopes(found)
    assert len(names) == 2, "each has its own"
    for again in (False, True):
        if again:  # as the installation of any package with a unit does
            lab.shell(HOST, "systemctl daemon-reload")
        for name in names:
            limits = lab.shell(HOST, f"bash -c '{LIMITS.format(name)}'").split()
            assert {"8589934592", "512"} <= set(limits), f"{name}: {limits}"
    log = lab.shell(HOST, f"journalctl --boot --output=cat | grep -F {names[0]}; true")
    assert "ignoring" not in log
    assert "Backstay: a program that reads data of a host" in log

    lab.shell(HOST, f"timeout 10 systemctl stop {names[0]}")
    assert names[0] not in left(lab)
    assert names[1] in left(lab), "it does not end with another"
    kill(lab)
