"""The image that the lab's instances boot: Debian's own kernel and a busybox, in 16 MB.

It gets its address by DHCP, prints each renewal of its lease on the serial console, answers
ping and powers off when its power button is pressed. Emulated without hardware help it is up in
seconds.
"""

import gzip
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from backstay_lab.errors import LabError
from backstay_lab.layers import code

KERNEL_PACKAGE = "linux-image-cloud-amd64"
BUSYBOX_PACKAGE = "busybox-static"
DOWNLOAD_BOUND = 300.0
"""Seconds for fetching the two packages, 28 MB."""

_MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "button", "evdev")
_APPLETS = ("acpid", "cut", "echo", "insmod", "ip", "mount", "poweroff", "sh", "sleep", "udhcpc")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestImage:
    """The files to upload: a Linux kernel (``aki``) and its initramfs (``ari``)."""

    kernel: Path
    initramfs: Path


def build(cache: Path) -> GuestImage:
    """Return the guest image, building it under ``cache`` unless this version is there already.

    Packages come from the sources in the machine's own APT configuration and are unpacked, never
    installed. Raises LabError where they cannot be downloaded.
    """
    target = cache / f"guest-{_version()}"
    image = GuestImage(kernel=target / "vmlinuz", initramfs=target / "initramfs.gz")
    if target.is_dir():
        return image
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="guest-", dir=cache) as name:
        work = Path(name)
        unpacked = _unpack_packages(work)
        made = work / "made"
        made.mkdir()
        shutil.copyfile(_one(unpacked, "boot/vmlinuz-*"), made / "vmlinuz")
        archive = b"".join(_initramfs(unpacked))
        (made / "initramfs.gz").write_bytes(gzip.compress(archive, 6, mtime=0))
        # Complete or not there at all: an interrupted build must not look like a finished one.
        made.rename(target)
    return image


def _version() -> str:
    """Return a short digest of all that decides what the image contains, but for the packages."""
    recipe = sha256(repr((KERNEL_PACKAGE, BUSYBOX_PACKAGE, _MODULES, _APPLETS)).encode())
    recipe.update(code(Path(__file__).read_text()).encode())
    for content in _scripts().values():
        recipe.update(content)
    return recipe.hexdigest()[:12]


def _scripts() -> Mapping[str, bytes]:
    """Return the guest's own scripts by their path in the guest."""
    data = files("backstay_lab") / "data" / "guest"
    return {
        "init": (data / "init").read_bytes(),
        "lease": (data / "lease").read_bytes(),
        "acpi/PWRF/00000080": (data / "power").read_bytes(),
    }


def _unpack_packages(work: Path) -> Path:
    """Download kernel and busybox into ``work`` and return the folder they are unpacked in."""
    depends = _run(["apt-cache", "depends", KERNEL_PACKAGE], work, bound=60.0)
    _run(["apt-get", "download", kernel_of(depends), BUSYBOX_PACKAGE], work, bound=DOWNLOAD_BOUND)
    unpacked = work / "unpacked"
    for package in work.glob("*.deb"):
        _run(["dpkg-deb", "--extract", str(package), str(unpacked)], work, bound=120.0)
    return unpacked


def kernel_of(depends: str) -> str:
    """Return the package that holds the kernel, from ``apt-cache depends`` of its meta package."""
    found = re.search(r"^\s*Depends: (linux-image-\d\S*)", depends, re.MULTILINE)
    if found is None:
        raise LabError(
            f"looking up the kernel that {KERNEL_PACKAGE} stands for",
            came_back="APT knows no such package",
            remedy="run `apt-get update`; check that the sources contain Debian's main archive",
        )
    return found[1]


def _run(command: list[str], folder: Path, *, bound: float) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=bound, check=True
        )
    except subprocess.TimeoutExpired as expired:
        raise LabError(
            f"building the guest image with `{' '.join(command)}`",
            came_back=f"it did not end within {bound:.0f} s",
            remedy="check whether the package mirror of this machine answers",
        ) from expired
    except (OSError, subprocess.CalledProcessError) as error:
        output = getattr(error, "stderr", None) or str(error)
        raise LabError(
            f"building the guest image with `{' '.join(command)}`",
            came_back=str(output).strip().splitlines()[-1],
            remedy="run `apt-get update`; check whether the disk has space left",
        ) from error
    return done.stdout


def _one(folder: Path, pattern: str) -> Path:
    found = next(iter(sorted(folder.glob(pattern))), None)
    if found is None:
        raise LabError(
            "building the guest image",
            came_back=f"the unpacked packages hold no {pattern}",
            remedy=f"this release of {KERNEL_PACKAGE} has another layout; report it",
        )
    return found


def load_order(wanted: tuple[str, ...], modules: Mapping[str, bytes]) -> list[str]:
    """Return the modules to load for ``wanted``, each after those that it needs.

    ``modules`` are the kernel's module files by name. The package carries no ``modules.dep`` (it is
    made at installation), but each module names its needs in its ``.modinfo`` section. Modules
    that are not there are built into the kernel and are left out.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in modules or name in order:
            return
        needs = re.search(rb"\0depends=([^\0]*)\0", modules[name])
        for need in needs[1].decode().split(",") if needs else ():
            visit(need)
        order.append(name)

    for name in wanted:
        visit(name)
    return order


def _initramfs(unpacked: Path) -> Iterator[bytes]:
    """Yield the initramfs as an uncompressed cpio archive."""
    kernel_modules = {
        path.stem: path.read_bytes() for path in (unpacked / "lib" / "modules").rglob("*.ko")
    }
    order = load_order(_MODULES, kernel_modules)
    entries = {"bin/busybox": _one(unpacked, "bin/busybox").read_bytes(), **_scripts()}
    entries |= {f"modules/{name}.ko": kernel_modules[name] for name in order}
    entries["modules/order"] = "".join(f"{name}.ko\n" for name in order).encode()
    for folder in ("bin", "modules", "acpi", "acpi/PWRF", "dev", "proc", "sys", "tmp"):
        yield cpio_entry(folder, b"", 0o040755)
    for name in _APPLETS:
        yield cpio_entry(f"bin/{name}", b"busybox", 0o120777)
    for name, content in entries.items():
        yield cpio_entry(name, content, 0o100755)
    yield cpio_entry("TRAILER!!!", b"", 0)


def cpio_entry(name: str, content: bytes, mode: int) -> bytes:
    """Return one entry of a "newc" cpio archive, owned by root, without a time of its own.

    https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
    """
    path = name.encode() + b"\0"
    numbers = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % number for number in numbers)
    return _padded(header + path) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
