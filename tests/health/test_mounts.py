"""File systems that are not as they should be: mountinfo of real hosts beside what fstab wants.

Those of Linux 6.18 were recorded here: an ext4 file system whose kernel was made to find an error
(``/sys/fs/ext4/*/trigger_fs_error``), one that was remounted by hand, and bind mounts.
"""

import os
from pathlib import Path

import pytest

from backstay.finding import Severity
from backstay.health.judge_host import judge_mounts
from backstay.health.observation import HostObservation, MountTrouble, WrongMount
from backstay.health.onhost_mounts import compare_mounts, mounts, wrong_mounts
from backstay.transports.targets import SshTarget

DATA = Path(__file__).parent / "data" / "mounts"
ROOT = "UUID=6f1e / ext4 defaults,errors=remount-ro 0 1\n"
VOL1 = "/dev/vdb /srv/vol1 ext4 defaults 0 2\n"
LXC = "LABEL=cloudimg-rootfs / ext4 defaults 0 1\nLABEL=UEFI /boot/efi vfat umask=0077 0 1\n"


def wrong(name: str, fstab: str, *, contained: bool = False) -> list[tuple[str, str]]:
    text = (DATA / f"{name}.mountinfo").read_text(encoding="utf-8")
    found = compare_mounts(text, fstab, contained, lambda path: path)
    return [(mount, trouble) for mount, trouble, _ in found]


@pytest.mark.parametrize("kernel", ["error-linux-6.18", "error-linux-6.1"])
@pytest.mark.parametrize("fstab", ["", ROOT, ROOT + VOL1])
def test_a_disk_that_the_kernel_has_turned_read_only_is_found_without_fstab(
    kernel: str, fstab: str
) -> None:
    assert wrong(kernel, fstab) == [("/srv/vol1", "turned")]


@pytest.mark.parametrize(
    ("name", "fstab", "found"),
    [
        ("writable", ROOT + VOL1, []),
        ("writable", "", []),
        ("remounted-by-hand", ROOT + VOL1, [("/srv/vol1", "read-only")]),
        ("remounted-by-hand", "/dev/vdb /srv/vol1/ ext4\n", [("/srv/vol1", "read-only")]),
        ("remounted-by-hand", "/dev/vdb /srv/vol1 ext4 ro 0 2", []),
        ("remounted-by-hand", "/dev/vdb /srv/vol1 ext4 rw,nosuid,ro 0 2", []),
        ("remounted-by-hand", "/dev/vdb /srv/vol1 ext4 ro,rw 0 2", [("/srv/vol1", "read-only")]),
        ("remounted-by-hand", "/dev/vdb /srv/vol1 ext4 noauto 0 2", []),
        ("remounted-by-hand", "#/dev/vdb /srv/vol1 ext4 defaults\n", []),
        ("bound-read-only", VOL1 + "/srv/vol1 /srv/bound none bind,ro 0 0\n", []),
        ("bound-read-only", VOL1 + "/srv/vol1 /srv/bound none bind 0 0\n", []),
        ("root-read-only", ROOT, [("/", "read-only")]),
        ("root-read-only", "", []),
        ("root-read-only", "/dev/vda1 / ext4 ro 0 1\n", []),
        ("blank-in-name", "/dev/vdb /srv/two\\040words ext4 defaults 0 2\n", []),
        ("writable", "/dev/vdb /srv/two\\040words xfs 0 2\n", [("/srv/two words", "missing")]),
        ("writable", VOL1 + "/dev/vdc /srv/vol2 xfs defaults 0 2", [("/srv/vol2", "missing")]),
        ("writable", "UUID=1 /srv/vol2 auto defaults 0 2", [("/srv/vol2", "missing")]),
        ("writable", "/dev/vdc /srv/vol2 xfs nofail 0 2", [("/srv/vol2", "absent")]),
        ("writable", "nas:/v /srv/nas nfs4 _netdev 0 0", [("/srv/nas", "missing")]),
        ("writable", "/dev/vdc /srv/vol2 xfs noauto 0 2", []),
        ("writable", "/dev/vdc none swap sw 0 0\nproc /proc proc defaults 0 0\n", []),
        ("writable", "/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n", []),
        ("writable", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n\nnonsense\n", []),
        ("ubuntu-snaps", LXC + "/dev/vdb /srv/auto ext4 noauto,x-systemd.automount 0 0\n", []),
        ("ubuntu-snaps", LXC + "nas:/x /srv/auto nfs x-systemd.automount 0 0\n", []),
        ("btrfs", "UUID=9 / btrfs subvol=@ 0 0\nUUID=9 /home btrfs subvol=@home 0 0\n", []),
        ("btrfs", "UUID=9 /snapshots btrfs subvol=@snap,ro 0 0\n", []),
        ("btrfs", "UUID=9 /snapshots btrfs subvol=@snap 0 0\n", [("/snapshots", "read-only")]),
    ],
)
def test_fstab_says_what_should_be(name: str, fstab: str, found: list[tuple[str, str]]) -> None:
    assert wrong(name, fstab) == found


def test_a_container_has_no_devices_of_its_own() -> None:
    assert wrong("container", LXC + "/dev/vdb /srv/x ext4 defaults 0 2\n", contained=True) == []
    assert wrong("container", "", contained=True) == []
    assert wrong("remounted-by-hand", VOL1, contained=True) == [("/srv/vol1", "read-only")]
    nas = "nas:/v /srv/nas nfs4 defaults 0 0\n"
    assert wrong("container", nas, contained=True) == [("/srv/nas", "missing")]


def test_a_mount_point_may_be_named_by_a_link() -> None:
    text = (DATA / "writable.mountinfo").read_text(encoding="utf-8")
    links = {"/data": "/srv/vol1"}.get
    assert not compare_mounts(text, "/dev/vdb /data ext4\n", False, lambda p: links(p, p))


def test_this_machine_can_be_asked() -> None:
    assert all(trouble in list(MountTrouble) for _, trouble, _ in wrong_mounts())
    assert "/" in mounts(Path("/proc/self/mounts").read_text(encoding="utf-8"))
    assert os.path.ismount("/")


def test_the_finding_names_the_disk_and_what_to_do() -> None:
    observed = HostObservation(
        hostname="h",
        boot_id="b",
        uptime=1.0,
        load=0.0,
        processors=1,
        offset=0.0,
        uncertainty=0.0,
        seconds=0.1,
        units={},
        failed_units=(),
        listening=None,
        memory=None,
        file_systems=(),
        probes={},
        troubles={},
        wrong_mounts=tuple(
            WrongMount(f"/srv/{trouble} x", trouble, "ext4") for trouble in MountTrouble
        ),
    )
    target = SshTarget(name="storage1", address="10.0.0.13", user="root")
    found = judge_mounts(observed, target)
    assert [one.severity for one in found] == [
        Severity.FAILED,
        Severity.FAILED,
        Severity.FAILED,
        Severity.WARNING,
    ]
    assert found[0].subject == "mount /srv/turned x"
    assert "after an error" in found[0].evidence
    assert all("dmesg" in one.remedy and one.host == "storage1" for one in found)
