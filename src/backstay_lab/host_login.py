"""The login of another user than root: a user with sudo on each host, behind a bastion.

Done in the running host, after its first boot: root's login is refused then. The package of sudo is
installed here and in no layer, so that all labs of a machine share their layers.
"""

import fcntl
import shutil
from pathlib import Path

from backstay_lab import programs
from backstay_lab.errors import LabError
from backstay_lab.hosts import LabHost
from backstay_lab.layout import BASTION, Lab, Login, layers_folder

SETTINGS = "/etc/ssh/sshd_config.d/00-backstay-login.conf"
"""Of sshd, which takes the first of several values: the name comes before the base layer's."""
SUDOERS = "Defaults use_pty\n{user} ALL=(ALL:ALL) NOPASSWD: ALL\n"
_PACKAGE = "/var/cache/backstay-sudo.deb"
_DOWNLOAD_BOUND = 300.0

# Debian has a group of this name in every system, and no user.
_SCRIPT = """
user={user}
if [ -n "{sudo}" ] && ! command -v sudo >/dev/null; then
  DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold -i {package} >/dev/null
fi
rm -f {package}
getent group "$user" >/dev/null || groupadd --system "$user"
id "$user" >/dev/null 2>&1 || useradd --create-home --gid "$user" --shell /bin/bash "$user"
usermod --password '*' "$user"
install -d -m 700 -o "$user" -g "$user" "/home/$user/.ssh"
cat >"/home/$user/.ssh/authorized_keys" <<'X'
{key}X
chown "$user:$user" "/home/$user/.ssh/authorized_keys"
chmod 600 "/home/$user/.ssh/authorized_keys"
rm -f /root/.ssh/authorized_keys
if [ -n "{sudo}" ]; then
  cat >/etc/sudoers.d/backstay-lab <<'X'
{sudoers}X
  chmod 440 /etc/sudoers.d/backstay-lab
  visudo -c -q
fi
cat >{settings} <<'X'
{sshd}X
sshd -t
systemctl reload ssh.service
"""


def apply(host: LabHost) -> None:
    """Let the lab's user in, and root no more; nothing where root logs in. Safe to repeat.

    Raises LabError where the package of sudo cannot be downloaded, or the host does not do it.
    """
    lab = host.lab
    if lab.login is Login.ROOT:
        return
    needs_sudo = host.name != BASTION
    if needs_sudo:
        shutil.copyfile(_sudo_package(), host.root / _PACKAGE.lstrip("/"))
    host.script(
        _SCRIPT.format(
            user=lab.login,
            sudo="yes" if needs_sudo else "",
            package=_PACKAGE,
            key=lab.ssh_key.with_suffix(".pub").read_text(),
            sudoers=SUDOERS.format(user=lab.login),
            settings=SETTINGS,
            sshd=sshd_settings(lab, host.name),
        ),
        bound=180,
    )


def sshd_settings(lab: Lab, host: str) -> str:
    """Return what sshd is told: hosts let the user in from the bastion, that from the machine.

    The bastion runs nothing and leads to the hosts' SSH only; hosts lead nowhere.
    """
    bastion = lab.address(lab.places[BASTION])
    if host != BASTION:
        return f"PermitRootLogin no\nAllowUsers {lab.login}@{bastion}\nDisableForwarding yes\n"
    hosts = [f"{lab.address(place)}:22" for place in lab.places.values() if place.role]
    return (
        f"PermitRootLogin no\nAllowUsers {lab.login}@{lab.gateway}\n"
        "AllowTcpForwarding local\nAllowStreamLocalForwarding no\nAllowAgentForwarding no\n"
        "X11Forwarding no\nPermitTTY no\nForceCommand /usr/sbin/nologin\n"
        f"PermitOpen {' '.join(hosts)}\n"
    )


def _sudo_package() -> Path:
    """Return the package of sudo, downloaded once for all labs of the machine."""
    folder = layers_folder() / "sudo"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = sorted(folder.glob("sudo_*.deb"))
        if not found:
            # By APT's own rule the user _apt writes there.
            programs.run(
                ["sh", "-euc", f"cd {folder} && apt-get -q download sudo"],
                attempted="downloading the package of sudo",
                bound=_DOWNLOAD_BOUND,
            )
            found = sorted(folder.glob("sudo_*.deb"))
        if not found:
            raise LabError(
                "downloading the package of sudo",
                came_back="APT has put none there",
                remedy="run `apt-get update`, then repeat the command",
            )
        return found[-1]
