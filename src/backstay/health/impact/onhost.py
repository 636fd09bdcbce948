"""What the other hosts are asked. Sent as text: standard library, Python 3.6."""

import re
import subprocess

from backstay.access.onhost import loaded
from backstay.jsondata import Json


def about_host(autostart: Json) -> Json:
    """Return who on this host is connected to whom, and whether its instances start by themselves.

    ``autostart`` is source text and name of the function that tells the second, or empty.

    https://man7.org/linux/man-pages/man8/ss.8.html; connections of the kernel's own (iSCSI, NFS)
    have no program.
    """
    command = ["ss", "-Htnp", "state", "established"]
    done = subprocess.run(  # noqa: UP022 - capture_output came with Python 3.7
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20, check=False
    )
    known = done.returncode == 0
    shown = connections(done.stdout.decode(errors="replace")) if known else None
    return {
        "connections": shown,
        "resumes": loaded("autostart", *autostart)() if autostart else None,
    }


def connections(text: str) -> Json:
    """Return the other end's address and port, and the program here, of each line of ``ss``."""
    found = set()
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 4:
            continue
        address, _, port = fields[3].rpartition(":")
        program = re.search(r'\(\("([^"]*)"', line)
        found.add((address.strip("[]"), int(port), program.group(1) if program else ""))
    return sorted(found)
