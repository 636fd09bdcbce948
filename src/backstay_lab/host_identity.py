"""What makes a copy of a layer this host: name, addresses, keys. Written before its first boot."""

import shutil
import uuid
from pathlib import Path

from backstay_lab import programs
from backstay_lab.host_login import SETTINGS
from backstay_lab.hosts import LabHost
from backstay_lab.layout import Lab, Login


def make_keys(lab: Lab) -> None:
    """Make the operator's key pair and every host's key, and the known_hosts file.

    Keys that exist are kept: hosts started from built disks present the same ones.
    """
    folder = lab.folder / "ssh"
    folder.mkdir(parents=True, exist_ok=True)
    _key(lab.ssh_key, f"operator@{lab.name}")
    lines = []
    for name, place in lab.places.items():
        _key(folder / f"host-{name}", name)
        kind, key = (folder / f"host-{name}.pub").read_text().split()[:2]
        lines.append(f"{lab.address(place)},{name} {kind} {key}\n")
    lab.known_hosts.write_text("".join(lines))


def _key(file: Path, comment: str) -> None:
    if not file.exists():
        programs.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)],
            attempted=f"making the key {file.name}",
        )


def hosts_file(lab: Lab) -> str:
    """Return the /etc/hosts that all hosts of the lab have."""
    lines = [f"{lab.address(place)} {name}" for name, place in lab.places.items()]
    return "\n".join(["127.0.0.1 localhost", "::1 localhost ip6-localhost", *lines, ""])


def network_file(lab: Lab, host: LabHost) -> str:
    """Return the settings that the host's network unit reads."""
    return f"ADDRESS={host.address}\nGATEWAY={lab.gateway}\n"


def write(host: LabHost) -> None:
    """Write a host's identity into its mounted root."""
    lab, root = host.lab, host.root
    etc = root / "etc"
    _replace(etc / "hostname", f"{host.name}\n")
    _replace(etc / "hosts", hosts_file(lab))
    _replace(etc / "machine-id", f"{uuid.uuid4().hex}\n", mode=0o444)
    # the machine's resolver does not answer here: each look-up would wait for it, Puppet's 80 s
    _replace(etc / "resolv.conf", "# the lab's names are in /etc/hosts\n")
    _replace(etc / "backstay" / "lab-network", network_file(lab, host))
    key = lab.folder / "ssh" / f"host-{host.name}"
    _replace(etc / "ssh" / "ssh_host_ed25519_key", key.read_text(), mode=0o600)
    shutil.copyfile(key.with_suffix(".pub"), etc / "ssh" / "ssh_host_ed25519_key.pub")
    login = root / "root" / ".ssh"
    login.mkdir(mode=0o700, exist_ok=True)
    if lab.login is Login.ROOT:
        _replace(login / "authorized_keys", lab.ssh_key.with_suffix(".pub").read_text(), mode=0o600)
        (root / SETTINGS.lstrip("/")).unlink(missing_ok=True)
    else:  # ``host_login`` lets the other user in when it runs
        (login / "authorized_keys").unlink(missing_ok=True)


def _replace(file: Path, text: str, mode: int = 0o644) -> None:
    """Write a file of ours in the host; never through a link that stands in its place."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.touch(mode=mode)
    file.write_text(text)
    file.chmod(mode)
