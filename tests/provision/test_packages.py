"""Which packages a spare gets, in which versions, and what is told of the rest."""

from backstay.access.shipping import stream
from backstay.provision import onhost_packages, packages


def test_what_belongs_to_the_machine_is_left_out_and_what_was_asked_for_is_known():
    manifest = {
        "packages": [
            "nova-api 2:26.2.2-1~deb12u5",
            "linux-image-6.1.0-18-amd64 6.1.76-1",
            "grub-pc 2.06-13",
            "intel-microcode 3.2",
            "broken",
            "keystone 2:22.0.2-0",
        ],
        "manual": ["nova-api", "grub-pc"],
    }
    found = packages.wanted(manifest)
    assert [name for name, _ in found.wanted] == ["nova-api", "keystone"]
    assert found.manual == ["nova-api"]


def test_a_version_then_a_file_then_any_and_what_is_there_is_not_replaced():
    found = onhost_packages.chosen(
        [["a", "1"], ["b", "1:2"], ["c", "3"], ["d", "4"], ["libc6", "2.36"]],
        {"libc6": "2.37"},
        {"a": ["2", "1"], "b": ["9"], "c": ["9"], "libc6": ["2.37"]},
        {"b_1%3a2": "/var/cache/apt/archives/b_1%3a2_all.deb"},
    )
    assert found["specs"] == ["a=1", "/var/cache/apt/archives/b_1%3a2_all.deb", "c"]
    assert found["names"] == ["a", "/var/cache/apt/archives/b_1%3a2_all.deb", "c"]
    assert found["inexact"] == ["c", "d", "libc6"]


def test_the_difference_is_read_from_the_log_and_told():
    result = '{"missing": ["d"], "differ": [["c", "3", "9"]]}'
    log = f"Setting up c (9) ...\n{onhost_packages.RESULT}{result}\n"
    found = packages.result(log)
    assert packages.describe_packages(found, 5) == (
        "5 packages; not available in any repository: d; 1 in other versions: c 9 (was 3)"
    )
    assert packages.describe_packages(packages.PackagesDifference(), 5) == "5 packages"


def test_the_installation_is_shipped_whole_and_its_policy_goes_whatever_happens(tmp_path):
    work = packages.work(packages.Packages(wanted=[("a", "1")]), disable=True)
    compile(stream(onhost_packages.install, [["a", "1"]], [], True), "shipped", "exec")
    assert "rm -f /usr/sbin/policy-rc.d" in work.after
    assert work.script.count("BACKSTAY-PROGRAM") == 2
