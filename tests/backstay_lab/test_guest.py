"""The guest image: what is read from packages, and the archive that the kernel must understand."""

import shutil
import subprocess

import pytest

from backstay_lab.errors import LabError
from backstay_lab.guest import build, cpio_entry, kernel_of, load_order

DEPENDS = """\
linux-image-cloud-amd64
  Depends: linux-image-6.1.0-56-cloud-amd64
    linux-image-6.1.0-56-cloud-amd64-unsigned
"""


def module(*needs: str) -> bytes:
    return b"\x7fELF...\0license=GPL\0depends=" + ",".join(needs).encode() + b"\0intree=Y\0"


def test_the_kernel_behind_the_meta_package():
    assert kernel_of(DEPENDS) == "linux-image-6.1.0-56-cloud-amd64"


def test_without_package_lists_the_remedy_is_to_update_them():
    with pytest.raises(LabError) as raised:
        kernel_of("")
    assert "apt-get update" in raised.value.remedy


def test_modules_are_loaded_after_what_they_need():
    modules = {
        "virtio_net": module("net_failover", "virtio"),
        "net_failover": module("failover"),
        "failover": module(),
        "virtio": module("virtio_ring"),
        "virtio_ring": module(),
        "unrelated": module(),
    }
    order = load_order(("virtio_net", "built_into_the_kernel"), modules)
    assert set(order) == set(modules) - {"unrelated"}
    assert order.index("failover") < order.index("net_failover") < order.index("virtio_net")
    assert order.index("virtio_ring") < order.index("virtio")


def test_entries_follow_the_documented_format():
    # The example of the format's own documentation: magic, thirteen numbers of eight hexadecimal
    # digits, name with its end, everything padded to four bytes.
    entry = cpio_entry("init", b"12345", 0o100755)
    assert len(entry) % 4 == 0
    assert entry.startswith(b"070701" + b"00000000" + b"000081ED")
    assert entry[54:62] == b"00000005"
    assert entry[94:102] == b"00000005"
    assert entry[110:115] == b"init\0"
    assert entry[116:121] == b"12345"


def test_an_interrupted_build_is_not_taken_for_a_finished_one(tmp_path, monkeypatch):
    def interrupted(_work):
        raise KeyboardInterrupt

    monkeypatch.setattr("backstay_lab.guest._unpack_packages", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not shutil.which("busybox"), reason="busybox reads the archive back")
def test_another_program_reads_the_archive(tmp_path):
    archive = cpio_entry("a/", b"", 0o040755) + cpio_entry("a/file", b"content", 0o100644)
    archive += cpio_entry("TRAILER!!!", b"", 0)
    subprocess.run(["busybox", "cpio", "-id"], cwd=tmp_path, input=archive, check=True, timeout=10)
    assert (tmp_path / "a/file").read_bytes() == b"content"
