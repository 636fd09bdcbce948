"""Which packages of a lost host its spare needs, and the long command that installs them."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backstay.access.shipping import stream
from backstay.answers import BadAnswer, Line, read
from backstay.errors import BackstayError
from backstay.provision import onhost_compile, onhost_packages
from backstay.provision.work import Work

# They belong to the machine and its disks, not to what runs on it.
OF_THE_MACHINE = (
    "linux-image-*",
    "linux-headers-*",
    "linux-modules-*",
    "grub*",
    "shim-*",
    "os-prober",
    "firmware-*",
    "*-microcode",
    "*-firmware",
    "efibootmgr",
    "mdadm",
    "cloud-init",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packages:
    """Names and versions, and which of them were asked for by name (none where not known)."""

    wanted: Sequence[tuple[str, str]]
    manual: Sequence[str] = ()


def wanted(manifest: Mapping[str, Any]) -> Packages:
    """Return what a backup's manifest says was installed, without what is the machine's. Pure."""
    pairs = (line.split() for line in manifest.get("packages", ()))
    return Packages(
        wanted=[
            (pair[0], pair[1]) for pair in pairs if len(pair) == 2 and not _of_the_machine(pair[0])
        ],
        manual=[name for name in manifest.get("manual", ()) if not _of_the_machine(name)],
    )


def _of_the_machine(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in OF_THE_MACHINE)


def work(packages: Packages, *, disable: bool) -> Work:
    """Return the command that installs them and starts nothing; ``disable``: not at boots either.

    What the host gets stands in its script there, so it is no secret.
    """
    program = stream(
        onhost_packages.install,
        [list(pair) for pair in packages.wanted],
        list(packages.manual),
        disable,
        stream(onhost_compile.compile_noted),
    )
    return Work(
        name="packages",
        does="installing packages",
        script=f"python3 -I - <<'BACKSTAY-PROGRAM'\n{program}\nBACKSTAY-PROGRAM\n",
        after=onhost_packages.ALLOW,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagesDifference:
    """Packages that are ``missing``; those that ``differ``: name, version wanted, version there."""

    missing: tuple[Line, ...] = ()
    differ: tuple[tuple[Line, Line, Line], ...] = ()


def result(log: str) -> PackagesDifference:
    """Return what the installation says of itself at its end, from its log. Pure.

    Raises BackstayError where that is something else.
    """
    lines = [line for line in log.splitlines() if line.startswith(onhost_packages.RESULT)]
    if not lines:
        return PackagesDifference()
    try:
        return read(PackagesDifference, lines[-1].removeprefix(onhost_packages.RESULT))
    except BadAnswer as error:
        raise BackstayError(
            "reading which packages the installation has left out",
            came_back=f"the last line of its log is not what Backstay writes there: {error}",
            remedy="compare the packages by hand (dpkg-query -W) with those of the backup",
        ) from error


def describe_packages(found: PackagesDifference, count: int) -> str:
    """Return it in a few words. Pure."""
    words = [f"{count} packages"]
    if found.missing:
        words.append(f"not available in any repository: {', '.join(found.missing[:6])}")
    if found.differ:
        some = [f"{name} {there} (was {was})" for name, was, there in found.differ[:4]]
        words.append(f"{len(found.differ)} in other versions: {', '.join(some)}")
    return "; ".join(words)
