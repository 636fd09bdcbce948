"""The lab is a real cloud: guests that keep their network, reboots, BMCs, volumes."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from backstay.transports import ping
from tests.acceptance.conftest import Lab

pytestmark = pytest.mark.lab


def pings(address: str) -> bool:
    """Whether the address answers one ping within two seconds."""
    return ping.answers(address, bound=2.0)


def boot_id(lab: Lab, host: str) -> str:
    return lab.shell(host, "cat /proc/sys/kernel/random/boot_id").strip()


def lease_renewals(lab: Lab, server: dict[str, str]) -> int:
    """How often the guest has renewed its DHCP lease, as its own console says."""
    console = lab.shell(server["host"], f"cat /var/lib/nova/instances/{server['id']}/console.log")
    return console.count("guest: lease renew")


def test_one_instance_on_each_compute_host_answers(lab: Lab) -> None:
    computes = {name for name, host in lab.hosts.items() if host["role"] == "compute"}
    assert {server["host"] for server in lab.seed["instances"]} == computes
    assert all(pings(server["address"]) for server in lab.seed["instances"])


def test_a_host_reboots_with_a_new_boot_id(lab: Lab) -> None:
    before = boot_id(lab, "spare1")
    lab.shell("spare1", "systemctl reboot --no-block")
    lab.wait_until(
        lambda: boot_id_or_none(lab, "spare1") not in (None, before), what="a new boot id"
    )


def boot_id_or_none(lab: Lab, host: str) -> str | None:
    done = lab.backstay(
        "lab", "shell", host, "cat /proc/sys/kernel/random/boot_id", ok=False, bound=30
    )
    return done.stdout.strip() if done.returncode == 0 else None


def test_a_bmc_reads_and_switches_the_power_of_its_host(lab: Lab) -> None:
    status = json.loads(lab.backstay("lab", "status", "-o", "json").stdout)
    spare = next(host for host in status["hosts"] if host["name"] == "spare1")
    url, folder = spare["bmc"], lab.cloud_file.parent / "bmc"
    assert redfish_power(url, folder) == "On"
    redfish_reset(url, folder, "ForceOff")
    lab.wait_until(lambda: redfish_power(url, folder) == "Off", what="spare1 off", bound=30)
    assert not pings(spare["address"])
    redfish_reset(url, folder, "On")
    lab.wait_until(lambda: pings(spare["address"]), what="spare1 answers", bound=60)


def redfish(url: str, folder: Path, *arguments: str) -> str:
    """One Redfish call by curl, with the CA checked and the password kept off the command line."""
    password = (folder / "spare1.password").read_text().strip()
    done = subprocess.run(
        [
            "curl",
            "-sS",
            "--fail",
            "--max-time",
            "20",
            "--cacert",
            folder / "ca.pem",
            "--config",
            "-",
            *arguments,
        ],
        input=f'user = "admin:{password}"\nurl = "{url}"\n',
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def system_path(url: str, folder: Path) -> str:
    members = json.loads(redfish(f"{url}/redfish/v1/Systems", folder))["Members"]
    assert len(members) == 1, "a BMC answers for one host only"
    return str(members[0]["@odata.id"])


def redfish_power(url: str, folder: Path) -> str:
    system = json.loads(redfish(url + system_path(url, folder), folder))
    return str(system["PowerState"])


def redfish_reset(url: str, folder: Path, kind: str) -> None:
    redfish(
        f"{url}{system_path(url, folder)}/Actions/ComputerSystem.Reset",
        folder,
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps({"ResetType": kind}),
    )


def test_instances_keep_network_and_lease_with_the_controller_off(lab: Lab) -> None:
    before = {s["id"]: lease_renewals(lab, s) for s in lab.seed["instances"]}
    lab.backstay("lab", "break", "power-off", "controller")
    off_at = time.monotonic()
    lost = 0
    while time.monotonic() - off_at < 150:  # longer than a lease of 120 s
        lost += sum(not pings(server["address"]) for server in lab.seed["instances"])
        time.sleep(1)
    renewed = {s["id"]: lease_renewals(lab, s) for s in lab.seed["instances"]}
    assert lost == 0
    assert all(renewed[server] > before[server] for server in before), (before, renewed)
    checked = lab.check()
    assert any(f["host"] == "controller" and f["severity"] != "ok" for f in checked.findings)
    lab.backstay("lab", "heal")
    lab.wait_green(bound=420)


def test_the_seeded_volume_is_in_use_and_keeps_its_data(lab: Lab) -> None:
    volume = lab.seed["volume"]
    assert volume["server"] in {server["id"] for server in lab.seed["instances"]}
    host = next(s["host"] for s in lab.seed["instances"] if s["id"] == volume["server"])
    assert volume["id"] in lab.shell(host, "virsh domblklist $(virsh list --name | head -1)")
    volume_has_its_data(lab, "controller")


def volume_has_its_data(lab: Lab, controller: str) -> None:
    """What the seed has written is read back, by the machine that is the controller."""
    volume = lab.seed["volume"]
    exported = f"rbd --id cinder export volumes/volume-{volume['id']} - 2>/dev/null"
    digest = lab.shell(controller, f"{exported} | head -c {volume['bytes']} | sha256sum")
    assert digest.split()[0] == volume["sha256"]
