"""A spare becomes another host: name, SSH keys, address. Shipped as text: see ``onhost``.

What is replaced is kept. Each function may be called again after an interruption at any point.
"""

import glob
import json
import os
import re
import shutil
import socket
import subprocess
import time
from typing import Any

from backstay.backup.mariadb.onhost_restore import data_folder
from backstay.backup.onhost import boot_id, lines, machine
from backstay.backup.onhost_restore import copy, copy_rights, place_files, said
from backstay.jsondata import Json
from backstay.transports.arp import arp_frame, spelled_mac, who_has
from backstay.transports.ndp import who_has_v6

NOTE = "/var/lib/backstay/replace.json"
CONFIGURED = (
    "/etc/network/interfaces",
    "/etc/network/interfaces.d/*",
    "/etc/netplan/*.yaml",
    "/etc/systemd/network/*.network",
    "/etc/NetworkManager/system-connections/*",
    "/etc/sysconfig/network-scripts/ifcfg-*",
    "/etc/backstay/lab-network",
)
ARP = 0x0806
BEFORE = "before"
"""As ``place_files`` calls it: constants of other modules are not shipped."""


def missing(paths: list[str]) -> list[str]:
    """Return those of the paths that are not here."""
    return [path for path in paths if not os.path.exists(path)]


def adopted() -> dict[str, Any]:
    """Return the mark of the run by which this host replaces another, if any, and its boot id."""
    try:
        with open(NOTE) as file:
            note = json.load(file)
    except (OSError, ValueError):
        note = {}
    return dict(boot_id(), mark=note.get("mark", ""))


def holds(old: str, own: str) -> dict[str, Any]:
    """Return whether this host has the ``old`` address, and the hardware address of its own."""
    found = interface(own) or interface(old)
    mac = spelled_mac(hardware(found[0])) if found else ""
    return {"has": interface(old) is not None, "mac": mac}


def adopt(given: dict[str, Any]) -> dict[str, Any]:
    """Become the host: files in their places, then the address, now and at boots; then its keys.

    ``given``: ``mark``, ``name``, ``old`` and ``own`` (addresses), ``staging``, ``folders`` and
    ``declared`` (as ``place_files`` has them), ``keys`` (the paths of the host's SSH keys). Where
    anything on the network still answers with the old address nothing is changed, and ``others``
    are the hardware addresses that do.
    """
    device, prefix = interface(given["own"]) or interface(given["old"]) or ("", 0)
    if not device:
        raise OSError("no interface of this host has " + given["own"])
    if interface(given["old"]) is None:
        others = others_at(device, given["old"])
        if others:
            return {"others": others}
    kept = os.path.join(given["staging"], BEFORE)
    place_files(given["staging"], given["folders"], given["declared"])
    put_aside(sorted(set(glob.glob("/etc/ssh/ssh_host_*")) - set(given["keys"])), kept)
    configured = configure(given["own"], given["old"], kept)
    socket.sethostname(given["name"])
    note(given["mark"], given["name"])
    if interface(given["old"]) is None:
        command = ["ip", "addr", "add", "%s/%d" % (given["old"], prefix), "dev", device]
        subprocess.run(command, check=True)
    announce(device, given["old"])
    reload_sshd()
    os.sync()
    return dict(
        boot_id(), device=device, configured=configured, kept=kept if os.path.isdir(kept) else ""
    )


def note(mark: str, name: str) -> None:
    """Note which host this is now: an interrupted run recognises its own spare by it."""
    os.makedirs(os.path.dirname(NOTE), exist_ok=True)
    with open(NOTE + ".part", "w") as file:
        json.dump({"mark": mark, "host": name, "at": time.time()}, file)
    os.rename(NOTE + ".part", NOTE)


def interface(address: str) -> Json:
    """Return the interface that has an address, and the length of its network; None for none."""
    done = subprocess.run(["ip", "-o", "addr", "show"], stdout=subprocess.PIPE, check=True)
    for line in done.stdout.decode(errors="replace").splitlines():
        words = line.split()
        found, _, length = words[3].partition("/")
        if found == address:
            return words[1], int(length or (128 if ":" in address else 32))
    return None


def configure(own: str, old: str, kept: str) -> list[str]:
    """Put the old address in the place of the own one in what configures the network at boots.

    Returns the files that name it then.
    """
    pattern = re.compile(r"(?<![\w.:])" + re.escape(own) + r"(?![\w.:])")
    found = []
    for path in sorted(path for place in CONFIGURED for path in glob.glob(place)):
        with open(path, errors="surrogateescape") as file:
            text = file.read()
        changed = pattern.sub(old, text)
        if changed != text:
            aside = os.path.join(kept, path.lstrip("/"))
            if not os.path.exists(aside):
                os.makedirs(os.path.dirname(aside), mode=0o700, exist_ok=True)
                copy(path, aside)
            with open(path + ".backstay", "w", errors="surrogateescape") as file:
                file.write(changed)
            copy_rights(path, path + ".backstay")
            os.rename(path + ".backstay", path)
        if re.search(r"(?<![\w.:])" + re.escape(old) + r"(?![\w.:])", changed):
            found.append(path)
    return found


def put_aside(paths: list[str], kept: str) -> None:
    """Move files away: SSH keys that the host never had would make it another one."""
    for path in paths:
        aside = os.path.join(kept, path.lstrip("/"))
        os.makedirs(os.path.dirname(aside), mode=0o700, exist_ok=True)
        shutil.move(path, aside)


def reload_sshd() -> None:
    """Let sshd read the keys that are there now, if its configuration is valid."""
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    tested = subprocess.run([sshd, "-t"], stderr=subprocess.PIPE, check=False)
    if tested.returncode != 0:
        raise OSError("sshd -t: " + tested.stderr.decode(errors="replace").strip()[-300:])
    for unit in ("ssh.service", "sshd.service"):
        subprocess.run(
            ["systemctl", "try-reload-or-restart", unit], stderr=subprocess.DEVNULL, check=False
        )


def others_at(device: str, address: str) -> list[str]:
    """Return the hardware addresses that answer for an address on a device's network."""
    if ":" in address:
        return who_has_v6(device, [address])[address]
    return who_has(device, [address])[address]


def announce(device: str, address: str) -> None:
    """Announce the address on the network: neighbours would keep the old entry for long."""
    if ":" in address:
        return
    mine = hardware(device)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ARP)) as wire:
        wire.bind((device, ARP))
        for _ in range(3):
            for operation, target in ((1, b"\0" * 6), (2, b"\xff" * 6)):
                wire.send(arp_frame(operation, mine, address, target, address))
            time.sleep(0.1)


def hardware(device: str) -> bytes:
    """Return an interface's hardware address."""
    with open("/sys/class/net/" + device + "/address") as file:
        return bytes(int(byte, 16) for byte in file.read().strip().split(":"))


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
    status = os.statvfs(place)
    return [os.stat(place).st_dev, status.f_bfree * status.f_frsize]


def keep_note(text: str) -> dict[str, Any]:
    """Write down for what this spare is prepared."""
    os.makedirs("/var/lib/backstay/spare", mode=0o700, exist_ok=True)
    with open("/var/lib/backstay/spare/prepared.json.part", "w") as file:
        file.write(text)
    os.rename("/var/lib/backstay/spare/prepared.json.part", "/var/lib/backstay/spare/prepared.json")
    return {}
