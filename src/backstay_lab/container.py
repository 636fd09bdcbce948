"""The container that a lab host is: the command lines that start it and go into it."""

from collections.abc import Iterable
from pathlib import Path

from backstay_lab.layout import archives_folder


def machine_name(cgroup: str) -> str:
    """Return the name of the container in a group, as systemd-nspawn takes it."""
    return cgroup.replace(".", "-")


def command(
    *, root: Path, name: str, machine: str, veths: Iterable[tuple[str, str]], target: str | None
) -> list[str]:
    """Return the command line of systemd-nspawn(1) that boots a host from its ``root``.

    ``veths`` are pairs: the machine's end of an interface, and the host's. ``target`` is the
    systemd target to boot to instead of the default.
    """
    return [
        "systemd-nspawn",
        "--quiet",
        "--boot",
        f"--directory={root}",
        f"--machine={machine}",
        f"--hostname={name}",
        "--register=no",
        "--keep-unit",
        "--private-network",
        *(f"--network-veth-extra={outside}:{inside}" for outside, inside in veths),
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--capability=all",
        "--system-call-filter=@keyring",
        "--system-call-filter=bpf",
        f"--bind={archives_folder()}:/var/cache/apt/archives",
        "--console=pipe",
        *([f"systemd.unit={target}"] if target else []),
    ]


def entered(leader: int) -> list[str]:
    """Return the beginning of a command line that runs a program beside a host's PID 1.

    ``leader`` is that PID 1 as the machine numbers it. No network of the host is needed.
    """
    return [
        "nsenter",
        f"--target={leader}",
        "--mount",
        "--uts",
        "--ipc",
        "--net",
        "--pid",
        "--cgroup",
        "--root",
        "--",
    ]
