"""What this machine, or a host, lacks: how that is said, and which package brings it.

The one place where such a remedy is made: each names ``backstay doctor``, which looks for all that
is missing, where the command that has failed has met the first of it.
"""

import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from backstay.commands import quoted

PACKAGES: Mapping[str, str] = {
    "ansible-playbook": "ansible",
    "bash": "bash",
    "mount": "mount",
    "pivot_root": "util-linux",
    "prlimit": "util-linux",
    "puppet": "puppet-agent",
    "python3": "python3-minimal",
    "restic": "restic",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "systemd-run": "systemd",
    "umount": "mount",
    "unshare": "util-linux",
    "zstd": "zstd",
}
"""Which package of Debian's brings which program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """Something that is missing, or that is not as it must be.

    ``remedy`` says what to do in words; ``command`` does it when it is pasted, ``{ssh}`` in it is
    what reaches the host. ``packages`` are Debian's that bring it: those of several are installed
    by one command. ``optional``: what needs it can do without.
    """

    what: str
    evidence: str
    remedy: str = ""
    command: str = ""
    packages: tuple[str, ...] = ()
    optional: bool = False


ALSO = "; all that is missing: backstay doctor"
"""Ends the remedy of every error that is about something missing."""


def remedy(text: str) -> str:
    """Return a remedy with the way to find all that is missing beside this. Pure."""
    return f"{text}{ALSO}"


LAB = "call `make develop` in a checkout of Backstay"
"""What installs the lab, beside Backstay."""


def install_extra(name: str) -> str:
    """Return the command that installs what an extra of Backstay's brings, here."""
    return pip_install(f"backstay[{name}]")


def pip_install(package: str) -> str:
    """Return the command that installs a Python package where Backstay is: another's with sudo."""
    own = os.access(sysconfig.get_path("purelib"), os.W_OK)
    return f"{'' if own else 'sudo '}{quoted(sys.executable)} -m pip install {quoted(package)}"


def install(packages: Iterable[str]) -> str:
    """Return the command that installs packages of Debian's. Pure."""
    return " ".join(["apt-get", "install", *sorted(set(packages))])
