"""Everything as a user with sudo, through a bastion: root's login is refused on every host.

`make acceptance` runs these on a lab of their own; by hand:
`BACKSTAY_LAB=operator BACKSTAY_LAB_LOGIN=operator pytest -m operator tests/acceptance`.
"""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backstay.errors import HostUnreachable, LoginRefused, RemoteFailure
from backstay.inventory.load import load
from backstay.transports.ssh import HostShell
from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import boot_id, cloud_with, last_run, reboot, result
from tests.acceptance.replacements import as_built, is_green, is_taken_over
from tests.acceptance.replacements import replace as replace_host
from tests.acceptance.test_backup import create, listed
from tests.acceptance.test_clients import objects_have_their_digests
from tests.acceptance.test_restore import forget_what_was_kept, restore
from tests.acceptance.test_stream import caught_up, status, streaming
from tests.acceptance.watches import own_journal, watching

pytestmark = pytest.mark.operator


@pytest.fixture(autouse=True)
def of_an_operator(running_lab: Lab) -> None:
    """Refuse a lab in which root logs in: there everything here would go well without a reason."""
    found = json.loads(running_lab.backstay("lab", "status", "-o", "json").stdout)
    if found["login"] != "operator":
        pytest.fail(f"lab {found['name']} is none with --login operator: {__doc__}")


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    with cloud_with(lab, f"backup: {{folder: {tmp_path}/backups}}\n") as file:
        yield file
    for copy in lab.cloud_file.parent.glob("story.yaml.before-*"):
        copy.unlink()


@pytest.fixture
def replaced(lab: Lab, cloud: Path) -> Iterator[Path]:
    yield cloud
    as_built(lab)


def test_root_and_the_direct_way_are_refused(lab: Lab) -> None:
    """That what follows is by sudo through the bastion, as there is no other way."""
    described = load(lab.cloud_file)
    with pytest.raises(TimeoutError):
        socket.create_connection((lab.hosts["proxy"]["address"], 22), 3)

    async def story() -> None:
        async with HostShell() as shell:
            for host in described.hosts.values():
                target = described.ssh_target(host)
                told = await shell.ask(target, "import getpass; print(getpass.getuser())", bound=60)
                assert told == "operator\n"
                with pytest.raises(LoginRefused):
                    await shell.ask(replace(target, user="root"), "print(1)", bound=60)
            bastion = replace(target, address=lab.hosts["bastion"]["address"], jumps=None)
            elsewhere = replace(target, address="127.0.0.1")
            with pytest.raises(HostUnreachable, match="does not pass on connections"):
                await shell.ask(elsewhere, "print(1)", bound=60)
            with pytest.raises(RemoteFailure):  # it runs nothing
                await shell.ask(bastion, "print(1)", bound=60)

    asyncio.run(story())


def test_check_says_that_all_is_well(lab: Lab) -> None:
    assert lab.check().status == "ok"


def test_sudo_that_asks_for_a_password_is_named(lab: Lab) -> None:
    file = "/etc/sudoers.d/backstay-lab"
    lab.shell("proxy", f"sed -i 's/NOPASSWD: //' {file}")
    try:
        found = lab.check("proxy")
        told = next(one for one in found.bad() if "sudo asks operator" in one["evidence"])
        assert "operator ALL=(root) NOPASSWD: /usr/bin/python3" in told["remedy"]
        assert "powered on" not in told["remedy"]
    finally:
        lab.shell("proxy", f"sed -i 's/) ALL/) NOPASSWD: ALL/' {file} && visudo -c")
    assert lab.check("proxy").status == "ok"


def test_reboot(lab: Lab, cloud: Path) -> None:
    before = boot_id(lab, "proxy")
    reboot(lab, "proxy", cloud=cloud)
    run = last_run(lab)
    assert run["state"] == "done"
    assert result(run, "proxy.up")["boot_id"] == boot_id(lab, "proxy") != before
    assert lab.check().status == "ok"


def test_backup_stream_and_restore_of_a_service(lab: Lab, cloud: Path) -> None:
    create(lab, cloud, "controller", "--verify")
    assert {one["state"] for one in listed(lab, cloud)} == {"verified"}
    with streaming(cloud):
        lab.wait_until(lambda: status(lab, cloud)[0] == 0, what="it streams", bound=120)
        caught_up(lab, cloud)
    try:
        restore(lab, cloud, "controller", "--service", "keystone", "--yes")
        lab.wait_green()
    finally:
        forget_what_was_kept(lab)


def test_reattach_and_reconcile(lab: Lab, cloud: Path) -> None:
    lab.backstay("lab", "break", "wedge-agent", "compute1")
    lab.backstay("reattach", "--yes", "--cloud", str(cloud), bound=600)
    lab.wait_green()
    lab.backstay("reconcile", "--cloud", str(cloud), bound=600)


def test_the_watch_sees_a_service_die(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lines come each second through the bastion."""
    own_journal(monkeypatch, tmp_path, tmp_path)
    with watching(lab, tmp_path) as watch:
        watch.until_all_up()
        since = time.time()
        lab.backstay("lab", "break", "kill-service", "proxy/swift-proxy")
        at, post = watch.until_notified(since)
        assert "swift" in json.dumps(post)
        print(f"told after {at - since:.1f} s")
        lab.backstay("lab", "heal")
        watch.until_over()


def test_replace_the_proxy(lab: Lab, replaced: Path) -> None:
    create(lab, replaced, "proxy", "--verify")
    lab.backstay("lab", "break", "dead-board", "proxy")
    print(replace_host(lab, replaced, "proxy").stdout)
    objects_have_their_digests(lab)
    is_taken_over(replaced, "proxy")
    is_green(lab, replaced)


def test_replace_the_controller(lab: Lab, replaced: Path) -> None:
    create(lab, replaced, "controller", "--verify")
    lab.backstay("lab", "break", "dead-board", "controller")
    print(replace_host(lab, replaced, "controller").stdout)
    is_taken_over(replaced, "controller")
    is_green(lab, replaced)
