"""What a reboot calls on the host itself. Shipped as text: standard library, Python 3.6."""

import os
import socket
import subprocess
import time
from pathlib import Path

from backstay.backup.onhost import firmware
from backstay.jsondata import Json

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def boot() -> Json:
    """Return this boot's id, its uptime in seconds, and the clock in Unix seconds.

    A container's boot is that of its first process; its boot id is bound over the kernel's.
    """
    boot_id = Path(BOOT_ID).read_text().strip()
    fields = Path("/proc/1/stat").read_text().rpartition(")")[2].split()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    # Field 22 of proc(5), the start after the machine's boot in clock ticks.
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return {"boot_id": boot_id, "up": max(0.0, uptime - started), "clock": time.time()}


def reboot(boot_id: str) -> Json:
    """Ask systemd for a clean reboot, if this is still that boot and no reboot is in progress.

    https://www.freedesktop.org/software/systemd/man/latest/systemctl.html#reboot
    """
    now = Path(BOOT_ID).read_text().strip()
    if now != boot_id:
        return {"asked": False, "why": "it has rebooted already"}
    state = subprocess.run(
        ["systemctl", "is-system-running"], stdout=subprocess.PIPE, timeout=20, check=False
    )
    if state.stdout.decode().strip() == "stopping":
        return {"asked": False, "why": "it is already going down"}
    done = subprocess.run(
        ["systemctl", "reboot"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
        check=False,
    )
    if done.returncode != 0:
        return {"asked": False, "error": done.stdout.decode(errors="replace").strip()[-300:]}
    return {"asked": True, "why": ""}


def running_units() -> Json:
    """Return the active and the failed services, and what tells this boot and this host."""

    def listed(state: str) -> list[str]:
        command = [
            "systemctl",
            "list-units",
            "--type=service",
            "--state=" + state,
            "--plain",
            "--no-legend",
            "--no-pager",
            "--full",
        ]
        shown = subprocess.run(command, stdout=subprocess.PIPE, timeout=20, check=False)
        return [line.split()[0] for line in shown.stdout.decode().splitlines() if line.strip()]

    return {
        "running": listed("running"),
        "failed": listed("failed"),
        "kernel": os.uname().release,
        "boot_id": Path(BOOT_ID).read_text().strip(),
        "hostname": socket.gethostname(),
        "uuid": firmware("product_uuid"),
        "serial": firmware("product_serial"),
    }
