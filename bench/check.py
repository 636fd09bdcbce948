"""``backstay check`` against the same questions asked the operations guide's way, on the lab.

The guide's way is what an operator types today: for each host ssh and ps, then one command for
each API, one after another. Both are run in one run, in turns: ``python -m bench.check``.
"""

import json
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.lab import lab_status
from bench.startup import BACKSTAY, ENVIRONMENT, seconds

ROUNDS = 3

# What the guide asks on each kind of host, by ssh.
ON_HOST = {
    "controller": (
        "ps aux | grep -E 'nova-|glance-|keystone|cinder-|neutron-|placement' | grep -v grep",
        "systemctl --failed --no-pager",
        "mysql -e 'select 1'",
        "rabbitmqctl status",
        "rabbitmqctl list_alarms 2>/dev/null || rabbitmq-diagnostics alarms",
        "df -h; df -i; free -m; date",
    ),
    "storage-proxy": ("ps aux | grep swift", "systemctl --failed --no-pager", "df -h; df -i; date"),
    "storage": ("ps aux | grep swift", "systemctl --failed --no-pager", "df -h; df -i; date"),
    "compute": (
        "ps aux | grep -E 'nova-|neutron-|libvirt' | grep -v grep",
        "systemctl --failed --no-pager",
        "df -h; df -i; free -m; date",
    ),
    "spare": ("systemctl --failed --no-pager", "df -h; df -i; free -m; date"),
}

# What it asks of the APIs, one command each.
OF_APIS = (
    "openstack token issue",
    "openstack image list",
    "openstack server list --all-projects",
    "openstack project list",
    "openstack volume list --all-projects",
    "openstack resource provider list",
    "openstack network agent list",
    "openstack compute service list",
    "openstack volume service list",
    "swift stat",
)


def timed(command: list[str | Path], *, ok: tuple[int, ...] = (0,)) -> tuple[float, str]:
    """Run a command; return its seconds and its output, or stop where it failed."""
    started = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=ENVIRONMENT
    )
    taken = time.perf_counter() - started
    if done.returncode not in ok:
        sys.exit(f"{command} failed with {done.returncode}: {done.stderr[-500:]}")
    return taken, done.stdout


def the_guide_s_way(status: dict[str, Any], roles: dict[str, list[str]]) -> float:
    """Ask every question one after another, as the guide does; return the seconds."""
    folder = Path(status["cloud_file"]).parent
    ssh = [
        "ssh",
        "-o",
        f"UserKnownHostsFile={folder}/ssh/known_hosts",
        "-i",
        f"{folder}/ssh/id_ed25519",
        "-o",
        "BatchMode=yes",
    ]
    total = 0.0
    for host in status["hosts"]:
        for role in roles[host["name"]]:
            for question in ON_HOST[role]:
                total += timed([*ssh, f"root@{host['address']}", question], ok=(0, 1))[0]
    for question in OF_APIS:
        total += timed(["sh", "-c", f". {shlex.quote(status['openrc'])}; {question}"])[0]
    return total


def start_up() -> float:
    """Seconds of a check that has nothing to wait for: it reads all that a check needs.

    Its one host and its keystone refuse the connection at once.
    """
    with tempfile.TemporaryDirectory() as folder:
        openrc, file = Path(folder, "openrc"), Path(folder, "cloud.yaml")
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]  # nothing listens on it from here on
        openrc.write_text(
            f"export OS_AUTH_URL=http://127.0.0.1:{port}/v3 OS_USERNAME=u OS_PASSWORD=p "
            "OS_PROJECT_NAME=p OS_USER_DOMAIN_NAME=d OS_PROJECT_DOMAIN_NAME=d\n"
        )
        file.write_text(
            f"name: nothing\ncredentials: {{openrc: {openrc}}}\nhosts:\n"
            f"  one: {{address: 127.0.0.1, roles: [controller], ssh: {{port: {port}}}}}\n"
        )
        return seconds(BACKSTAY, "check", "--cloud", file)


def main() -> None:
    """Print both medians, their ratio, and the slowest single probe."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - only here

    status = lab_status()
    cloud = YAML(typ="safe").load(Path(status["cloud_file"]))
    roles = {name: list(host["roles"]) for name, host in cloud["hosts"].items()}
    guide, ours, slowest = [], [], []
    for _ in range(ROUNDS):
        guide.append(the_guide_s_way(status, roles))
        taken, output = timed([BACKSTAY, "check", "-o", "json"])
        ours.append(taken)
        findings = json.loads(output)["findings"]
        slowest.append(max((f["seconds"], f["subject"]) for f in findings if f["seconds"]))
    start = start_up()
    check, probe = statistics.median(ours), sorted(slowest)[len(slowest) // 2]
    print(f"the guide's way: {statistics.median(guide):.1f} s")
    print(f"backstay check:  {check:.2f} s, {statistics.median(guide) / check:.0f} times faster")
    print(f"slowest probe:   {probe[0]:.2f} s ({probe[1]}); start-up {start:.2f} s")
    print(f"check / (slowest probe + start-up) = {check / (probe[0] + start):.2f}")


if __name__ == "__main__":
    main()
