"""What a spare is asked before it becomes another host. Shipped as text: see ``onhost``."""

import os
import time
from typing import Any

from backstay.backup.onhost import lines, machine
from backstay.backup.onhost_restore import data_folder, said


def look(units: list[str], databases: list[str]) -> dict[str, Any]:
    """Return what decides whether this host can become another; makes nothing.

    ``units`` and ``databases`` are the lost host's: what of them is here is in the way.
    """
    data = data_folder()
    active = said(["systemctl", "list-units", "--no-legend", "--plain", "--state=active", *units])
    found = machine()
    return {
        "machine": found,
        "boot_id": lines("/proc/sys/kernel/random/boot_id")[0].strip(),
        "clock": time.time(),
        "free": {place: room(place) for place in ("/", "/usr", "/var", "/var/lib", data)},
        "addresses": [
            line.split()[1::2][:2]
            for line in said(["ip", "-o", "addr", "show", "scope", "global"]).splitlines()
        ],
        "active": [line.split()[0] for line in active.splitlines() if line.strip()],
        "databases": [name for name in databases if os.path.isdir(os.path.join(data, name))],
        "packages": said(["dpkg-query", "-W", "-f", "${Package} ${Version}\\n"]).splitlines(),
        "apt": bool(said(["apt-get", "--version"])),
        "prepared": "\n".join(lines("/var/lib/backstay/spare/prepared.json")),
    }


def room(place: str) -> list[int]:
    """Return the device and the free bytes of where a folder is, or will be."""
    while not os.path.exists(place):
        place = os.path.dirname(place)
    told = os.statvfs(place)
    return [os.stat(place).st_dev, told.f_bfree * told.f_frsize]


def keep_note(text: str) -> dict[str, Any]:
    """Write down for what this spare is prepared."""
    os.makedirs("/var/lib/backstay/spare", mode=0o700, exist_ok=True)
    with open("/var/lib/backstay/spare/prepared.json.part", "w") as file:
        file.write(text)
    os.rename("/var/lib/backstay/spare/prepared.json.part", "/var/lib/backstay/spare/prepared.json")
    return {}
