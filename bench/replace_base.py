"""The base line of ``bench.replace``: a bare spare gets packages and a plain ``puppet apply``.

That is what the guide does: install, then let the configuration management build everything, from
nothing. The same packages, manifests and values as a replacement takes, on the same spare.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from backstay.backup.manifest import MANIFEST
from backstay.inventory.cloud import Cloud
from backstay.provision.packages import wanted
from backstay.transports.targets import SshTarget

BOUND = 1800.0
_INSTALL = """
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \\
  -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install $(cat) >&2
rm -f /usr/sbin/policy-rc.d
"""
# Its name and its address are the host's, as its manifests take them for their own.
_BECOME = """
name={name}; address={address}; own={own}
echo $name > /etc/hostname; hostname $name
device=$(ip -o addr show to $own | cut -d' ' -f2)
ip addr add $address/24 dev $device
"""


@dataclass(frozen=True, slots=True)
class Base:
    """Seconds of the two parts."""

    packages: float
    puppet: float

    @property
    def whole(self) -> float:
        """Return both together."""
        return self.packages + self.puppet


def base_line(cloud: Cloud, host: str, spare: str, files: Path) -> Base:
    """Build ``host`` on the bare ``spare`` by packages and Puppet alone; return how long it took.

    ``files`` is a folder with the host's files, as a backup's mirror has them. The host must be
    off. The spare is then a controller without data: give it a new board.
    """
    means = cloud.provision_of(cloud.hosts[host])
    if means is None or means.puppet is None:
        sys.exit(f"cloud.yaml has no `provision` by Puppet for {host}")
    ssh = _ssh(cloud.ssh_target(cloud.hosts[spare]))
    manifest = json.loads((files / MANIFEST).read_text())
    specs = [f"{name}={version}" for name, version in wanted(manifest).wanted]
    started = time.monotonic()
    _run(ssh, f"set -e; {_INSTALL}", " ".join(specs).encode())
    installed = time.monotonic()
    for folder in cloud.backup.paths:
        archive = subprocess.run(
            ["tar", "-C", files / "content", "-c", folder.lstrip("/")],
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        _run(ssh, "tar -C / -x", archive)
    become = _BECOME.format(
        name=host, address=cloud.hosts[host].address, own=cloud.hosts[spare].address
    )
    _run(ssh, f"set -e; {become}", b"")
    from backstay.provision.methods import PuppetApply  # noqa: PLC0415 - only here

    work = PuppetApply(means.puppet).work(host, cloud.hosts[host].address)
    applying = time.monotonic()
    _run(ssh, work.script, b"", ok=tuple(work.good))
    return Base(packages=installed - started, puppet=time.monotonic() - applying)


def _ssh(target: SshTarget) -> list[str]:
    options = ["-o", "BatchMode=yes"]
    if target.known_hosts:
        options += ["-o", f"UserKnownHostsFile={target.known_hosts}"]
    if target.key:
        options += ["-i", str(target.key)]
    return ["ssh", *options, f"{target.user or 'root'}@{target.address}"]


def _run(ssh: list[str], script: str, given: bytes, ok: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(
        [*ssh, script],
        input=given,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=BOUND,
        check=False,
    )
    if done.returncode not in ok:
        said = done.stderr.decode(errors="replace")[-800:]
        sys.exit(f"{script[:120]}: ended with {done.returncode}: {said}")
