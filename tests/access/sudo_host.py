"""A host that lets a user log in who is not root, as a real sshd with a real sudo on this machine.

They run in a mount namespace of their own, with a copy of /etc in which that user is and what sudo
is to do, so that nothing of the machine is changed. ``with sudo_host(folder, lines) as host:`` runs
it; ``host.target`` leads there, by a bastion (another sshd) where ``bastion`` is asked for.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from backstay.transports.targets import SshTarget

USER = "backstay-op"
PROGRAMS = ("sshd", "sudo", "unshare", "ssh-keygen")

NEEDED = pytest.mark.skipif(
    os.geteuid() != 0
    or any(shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None for name in PROGRAMS),
    reason="needs root, sshd and sudo (apt-get install openssh-server sudo)",
)

PREPARE = """
cp -a /etc "$WORK/etc"
mount --bind "$WORK/etc" /etc
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs -o mode=755 none /home
mkdir /run/sshd
echo "$NAME:x:4711:4711::/home/$NAME:$LOGIN_SHELL" >>/etc/passwd
echo "$NAME:x:4711:" >>/etc/group
echo "$NAME:*:19000:0:99999:7:::" >>/etc/shadow
mkdir -p "/home/$NAME/.ssh"
cp "$WORK/id.pub" "/home/$NAME/.ssh/authorized_keys"
chown -R "$NAME:" "/home/$NAME"
rm -rf /etc/sudoers.d
mkdir -m 750 /etc/sudoers.d
printf 'Defaults env_reset\\nDefaults use_pty\\n@includedir /etc/sudoers.d\\n' >/etc/sudoers
cp "$WORK/sudoers" /etc/sudoers.d/lines
chmod 440 /etc/sudoers /etc/sudoers.d/lines
printf '%s' "$PROFILE" >/etc/default/locale
for config in "$WORK"/sshd-*; do /usr/sbin/sshd -D -e -f "$config" 2>>"$WORK/log" & done
wait
"""

SETTINGS = """
HostKey {folder}/host
ListenAddress 127.0.0.1:{port}
PidFile none
UsePAM yes
PasswordAuthentication no
PermitRootLogin no
AllowUsers {user}
StrictModes no
"""


@dataclass(frozen=True)
class SudoHost:
    """``target`` leads there; ``direct`` without the bastion."""

    target: SshTarget
    direct: SshTarget
    log: Path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_greeting(port: int, running: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        assert running.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text() if log.exists() else "no sshd"
        time.sleep(0.05)


@contextmanager
def sudo_host(
    folder: Path,
    sudoers: str = f"{USER} ALL=(root) NOPASSWD: /usr/bin/python3\n",
    *,
    bastion: bool = False,
    shell: str = "/bin/bash",
    locale: str = "",
    settings: str = "",
) -> Iterator[SudoHost]:
    """Run a host; ``sudoers`` is its file for sudo, ``settings`` more for its sshd."""
    for name in ("id", "host"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    (folder / "sudoers").write_text(sudoers)
    port, way = _free_port(), _free_port()
    host_key = (folder / "host.pub").read_text()
    known = [f"[127.0.0.1]:{one} {host_key}" for one in (port, way)]
    (folder / "known_hosts").write_text("".join(known))
    common = {"folder": folder, "user": USER}
    (folder / "sshd-host").write_text(
        SETTINGS.format(port=port, **common) + f"DisableForwarding yes\n{settings}"
    )
    if bastion:
        (folder / "sshd-bastion").write_text(
            SETTINGS.format(port=way, **common)
            + f"ForceCommand /usr/sbin/nologin\nPermitOpen 127.0.0.1:{port}\nPermitTTY no\n"
        )
    running = subprocess.Popen(
        ["unshare", "--mount", "--propagation=private", "sh", "-euc", PREPARE],
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "WORK": str(folder),
            "NAME": USER,
            "LOGIN_SHELL": shell,
            "PROFILE": locale,
        },
        stdin=subprocess.DEVNULL,
        stdout=(folder / "log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    direct = SshTarget(
        name="controller",
        address="127.0.0.1",
        port=port,
        user=USER,
        key=folder / "id",
        known_hosts=folder / "known_hosts",
    )
    through = f"{USER}@127.0.0.1:{way}" if bastion else None
    try:
        for one in (port, way) if bastion else (port,):
            _await_greeting(one, running, folder / "log")
        yield SudoHost(target=replace(direct, jumps=through), direct=direct, log=folder / "log")
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait(timeout=10)
