"""`watch install` on a machine with systemd: the spare, as if it were the operator's host."""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import backstay
from tests.acceptance.conftest import BACKSTAY, Lab
from tests.acceptance.replacements import as_built
from tests.acceptance.test_lab import boot_id

pytestmark = [pytest.mark.lab, pytest.mark.slow]

HOST = "spare1"
PLACE, CLOUD = "/opt/backstay", "/etc/backstay/cloud"
COMMAND = f"{PLACE}/bin/backstay"
# Large, and needed by the lab and the tests alone.
LEFT_OUT = ("playwright", "mypy", "mypyc", "ansible", "ansible_collections", "hypothesis")


def unpacked(inside: str, folder: Path, *names: str) -> None:
    """Copy what is in a folder of this machine to a folder of the host."""
    without = [f"--exclude=./{one}" for one in LEFT_OUT]
    pack: list[str | Path] = ["tar", "-C", folder, *without, "-cf", "-", *names]
    unpack = f"mkdir -p {inside} && tar -C {inside} -xf - --no-same-owner"
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as packing:
        subprocess.run(
            [BACKSTAY, "lab", "shell", HOST, unpack],
            stdin=packing.stdout,
            check=True,
            timeout=300,
        )
    assert packing.returncode == 0


def on_host(lab: Lab, *arguments: str) -> str:
    """Call the host's own Backstay; give what it printed, whatever its exit status."""
    return lab.shell(HOST, f"{COMMAND} {' '.join(arguments)} --cloud {CLOUD}/cloud.yaml 2>&1; true")


@pytest.fixture
def unit(lab: Lab) -> Iterator[str]:
    """Backstay on the host, with the lab's cloud.yaml and keys; the name of the watch's unit.

    Nothing is fetched: it is this machine's installation, for the same release of Python.
    """
    theirs = lab.shell(HOST, 'python3 -c "import sys; print(*sys.version_info[:2])"').split()
    if [int(part) for part in theirs] != list(sys.version_info[:2]):
        pytest.skip(f"the lab's hosts have Python {'.'.join(theirs)}, this machine another")
    packages = f"{PLACE}/lib/python{'.'.join(theirs)}/site-packages"
    lab.shell(HOST, f"python3 -m venv --without-pip {PLACE}")
    unpacked(packages, Path(sysconfig.get_path("purelib")), ".")
    lab.shell(HOST, f"rm -r {packages}/backstay_lab-*")  # what says that the lab is installed
    unpacked(packages, Path(backstay.__file__).parents[1], "backstay")
    script = BACKSTAY.read_text().partition("\n")[2]
    lab.shell(HOST, f"cat > {COMMAND} <<'E'\n#!{PLACE}/bin/python\n{script}E\nchmod 755 {COMMAND}")
    names = ("cloud.yaml", "openrc", "ssh", "bmc")
    unpacked(CLOUD, lab.cloud_file.parent, *(f"./{name}" for name in names))
    yield f"backstay-watch-{lab.cloud_file.parent.name}.service"
    as_built(lab)


def shown(lab: Lab, unit: str, name: str) -> str:
    """A property of a unit, by systemd."""
    return lab.shell(HOST, f"systemctl show --value --property={name} {unit}").strip()


def is_watched(lab: Lab) -> bool:
    """Whether a watch leads on the host, by its own word."""
    told: dict[str, Any] = json.loads(on_host(lab, "watch", "status", "-o", "json") or "{}")
    return bool(told.get("watched"))


def test_systemd_keeps_it_running(lab: Lab, unit: str) -> None:
    told = on_host(lab, "watch", "install")
    assert f"{unit.removesuffix('.service')} is running" in told
    assert shown(lab, unit, "ActiveState") == "active", "it has said that it is ready"
    assert is_watched(lab)
    assert lab.shell(HOST, f"stat -c %a /etc/systemd/system/{unit}").strip() == "600"

    first = shown(lab, unit, "MainPID")
    lab.shell(HOST, f"kill -9 {first}")
    lab.wait_until(lambda: is_watched(lab), what="it is started again", bound=60)
    assert shown(lab, unit, "MainPID") != first
    assert shown(lab, unit, "NRestarts") == "1"

    boot = boot_id(lab, HOST)
    lab.backstay("reboot", HOST, "--now", "--yes")
    assert boot_id(lab, HOST) != boot
    lab.wait_until(lambda: is_watched(lab), what="it begins with the machine", bound=120)

    lab.backstay("lab", "break", "stop-service", "proxy/swift-proxy")

    def incidents() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(on_host(lab, "watch", "incidents", "-o", "json"))
        return found

    lab.wait_until(lambda: bool(incidents()), what="it sees the fault", bound=60)
    lab.backstay("lab", "heal")
    lab.wait_until(lambda: bool(incidents()[0]["closed"]), what="it is over", bound=120)
    assert incidents()[0]["cause"]["host"] == "proxy"
    assert "Traceback" not in lab.shell(HOST, f"journalctl -o cat -u {unit}")

    on_host(lab, "watch", "uninstall")
    assert shown(lab, unit, "LoadState") == "not-found"
    assert not is_watched(lab)
