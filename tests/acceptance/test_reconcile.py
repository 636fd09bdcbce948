"""Records against reality: every mismatch is made for real, found, and where it is safe healed."""

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backstay_lab.seed_instances import build_instance, upload
from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import cloud_with, last_run, result
from tests.acceptance.test_backup import Writer, create
from tests.acceptance.test_restore import forget_what_was_kept

pytestmark = pytest.mark.lab

SECONDS = 5.0
"""So long may a whole look take."""


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")


@dataclass(frozen=True)
class Story:
    """An instance of the stories' own on compute1, with a volume attached, and an image."""

    lab: Lab
    api: Any
    server: str
    volume: str
    image: str


@pytest.fixture(scope="module")
def story(running_lab: Lab) -> Iterator[Story]:
    running_lab.backstay("lab", "heal")
    running_lab.wait_green()
    writer = Writer(running_lab)
    api = writer.api
    seed = running_lab.seed
    image = upload(api, "story-reconcile", "raw", b"story" * 2000, {})
    writer.note("image", f"/v2/images/{image}")
    things = {"image": seed["image"], "flavor": seed["flavor"], "network": seed["network"]}
    server = build_instance(api, "story-reconcile", "compute1", **things)["id"]
    try:
        volume = make_volume(running_lab, writer, "story-attached")
        body = {"volumeAttachment": {"volumeId": volume}}
        api.post("compute", f"/servers/{server}/os-volume_attachments", body)
        await_status(running_lab, api, volume, "in-use")
        yield Story(lab=running_lab, api=api, server=server, volume=volume, image=image)
    finally:
        delete_server(running_lab, api, server)
        writer.clean()
        running_lab.wait_green()
        assert look(running_lab)[1] == set()


def make_volume(lab: Lab, writer: Writer, name: str) -> str:
    body = {"volume": {"name": name, "size": 1}}
    made = str(writer.api.post("block-storage", "/volumes", body)["volume"]["id"])
    writer.note("block-storage", f"/volumes/{made}")
    await_status(lab, writer.api, made, "available")
    return made


def status_of(api: Any, volume: str) -> str:
    return str(api.get("block-storage", f"/volumes/{volume}")["volume"]["status"])


def await_status(lab: Lab, api: Any, volume: str, wanted: str) -> None:
    lab.wait_until(lambda: status_of(api, volume) == wanted, what=f"volume is {wanted}", bound=90)


def delete_server(lab: Lab, api: Any, server: str) -> None:
    path = f"/servers/{server}"
    api.call("DELETE", "compute", path, accept=(404,))

    def gone() -> bool:
        return bool(api.call("GET", "compute", path, accept=(404,)).status_code == 404)

    lab.wait_until(gone, what="the instance is deleted", bound=90)


def look(lab: Lab, *arguments: str) -> tuple[dict[str, Any], set[tuple[str, str]]]:
    """What `reconcile -o json` says, and the service and kind of each mismatch."""
    done = lab.backstay("reconcile", "-o", "json", *arguments, ok=False)
    document = json.loads(done.stdout)
    assert done.returncode == (1 if document["mismatches"] else 0), done.stderr
    assert document["unknown"] == []
    assert document["seconds"] < SECONDS
    return document, {(one["service"], one["kind"]) for one in document["mismatches"]}


def of(document: dict[str, Any], service: str, kind: str) -> dict[str, Any]:
    """The one mismatch of that service and kind."""
    [one] = [
        each
        for each in document["mismatches"]
        if (each["service"], each["kind"]) == (service, kind)
    ]
    return dict(one)


def apply(lab: Lab) -> str:
    """Heal what is safe; afterwards nothing differs."""
    return lab.backstay("reconcile", "--apply", "--yes", bound=400).stdout


def sql(lab: Lab, text: str) -> str:
    return lab.shell("controller", f'mariadb -BNe "{text}"')


def test_a_green_cloud_has_nothing_to_reconcile(story: Story) -> None:
    document, kinds = look(story.lab)
    assert kinds == set()
    compared = document["compared"]
    assert compared["nova instances"] >= 3
    assert compared["cinder attachments"] >= 2
    assert [one["severity"] for one in document["guards"]] == ["ok", "ok"]
    assert "nothing differs" in story.lab.backstay("reconcile").stdout
    assert "nothing differs" in story.lab.backstay("reconcile", "--apply").stdout


@contextmanager
def without_its_record(story: Story, *, forgotten: bool) -> Iterator[None]:
    """Take an instance's row away from nova, or mark it as deleted."""
    where = f"uuid = '{story.server}'"
    if forgotten:
        sql(
            story.lab,
            "SET foreign_key_checks = 0; CREATE DATABASE story; CREATE TABLE story.rows AS "
            f"SELECT * FROM nova.instances WHERE {where}; DELETE FROM nova.instances WHERE {where}",
        )
    else:
        mark = "deleted = id, deleted_at = UTC_TIMESTAMP()"
        sql(story.lab, f"UPDATE nova.instances SET {mark} WHERE {where}")
    try:
        yield
    finally:
        if forgotten:
            back = "INSERT INTO nova.instances SELECT * FROM story.rows; DROP DATABASE story"
            sql(story.lab, f"SET foreign_key_checks = 0; {back}")
        else:
            back = "deleted = 0, deleted_at = NULL"
            sql(story.lab, f"UPDATE nova.instances SET {back} WHERE {where}")


@pytest.mark.parametrize("forgotten", [True, False], ids=["no record", "marked as deleted"])
def test_a_guest_that_nova_does_not_know_is_told_and_never_touched(
    story: Story, forgotten: bool
) -> None:
    lab = story.lab
    before = lab.shell("compute1", f"virsh domstate {story.server}; virsh domid {story.server}")
    with without_its_record(story, forgotten=forgotten):
        document, kinds = look(lab)
        guest = of(document, "nova", "no record" if forgotten else "danger")
        assert guest["subject"] == f"guest story-reconcile {story.server}"
        assert (guest["host"], guest["safe"]) == ("compute1", False)
        assert f"virsh dumpxml {story.server}" in guest["command"]
        assert kinds >= {("neutron", "stale"), ("cinder", "stale")}
        for one in document["mismatches"]:
            assert not one["safe"], "what hangs on a running guest is not touched"
            assert " delete " not in one["command"], one["command"]
        # Nothing of it is safe, so that there is nothing to apply.
        done = lab.backstay("reconcile", "--apply", "--yes", "-o", "json", ok=False)
        assert done.returncode == 1
    after = lab.shell("compute1", f"virsh domstate {story.server}; virsh domid {story.server}")
    assert after == before, "the guest runs on"
    assert status_of(story.api, story.volume) == "in-use"
    apply(lab)  # nova-compute may have given up the allocation of what it took for deleted
    assert look(lab)[1] == set()


def test_a_guest_undefined_behind_novas_back(story: Story) -> None:
    lab, server = story.lab, story.server
    lab.shell("compute1", f"virsh destroy {server} && virsh undefine {server}")
    try:
        document, _ = look(lab)
        gone = of(document, "nova", "gone")
        assert gone["subject"] == f"instance story-reconcile {server}"
        assert (gone["host"], gone["safe"]) == ("compute1", False)
        assert "its own disk is there" in gone["proposal"]
        assert gone["command"] == f"openstack server reboot --hard {server}"
    finally:
        path = f"/servers/{server}/action"

        def idle() -> bool:
            told = story.api.get("compute", f"/servers/{server}")["server"]
            return told["OS-EXT-STS:task_state"] is None

        lab.wait_until(idle, what="nova leaves the instance alone", bound=60)
        story.api.call("POST", "compute", path, json={"reboot": {"type": "HARD"}})
    lab.wait_until(lambda: not look(lab)[1], what="the guest is there again", bound=120)


def test_a_lost_allocation_is_healed(story: Story) -> None:
    lab = story.lab
    held = allocation(lab, story.server)
    assert held
    path = f"/allocations/{story.server}"
    story.api.call("DELETE", "placement", path)
    document, kinds = look(lab)
    assert kinds == {("placement", "lacking")}
    assert of(document, "placement", "lacking")["safe"]
    assert "1 repaired" in apply(lab)
    assert allocation(lab, story.server) == held
    run = json.loads(lab.backstay("runs", "list", "-o", "json").stdout)[0]
    assert (run["plan"]["runbook"], run["state"]) == ("reconcile", "done")


def allocation(lab: Lab, server: str) -> list[str]:
    columns = "resource_provider_id, resource_class_id, used"
    where = f"WHERE consumer_id = '{server}' ORDER BY 2"
    return sql(lab, f"SELECT {columns} FROM placement.allocations {where}").splitlines()


def test_images_without_data_and_data_without_image(story: Story) -> None:
    lab, folder = story.lab, "/var/lib/glance/images"
    stray = "11111111-2222-3333-4444-555555555555"
    lab.shell("controller", f"mv {folder}/{story.image} /root/story; echo x > {folder}/{stray}")
    try:
        document, kinds = look(lab)
        assert kinds == {("glance", "gone"), ("glance", "no record")}
        gone = of(document, "glance", "gone")
        assert story.image in gone["subject"]
        assert "is not there, 10000 bytes" in gone["evidence"]
        assert of(document, "glance", "no record")["subject"] == f"file {folder}/{stray}"
        lab.shell("controller", f"head -c 99 /root/story > {folder}/{story.image}")
        assert "has 99 of its 10000 bytes" in of(look(lab)[0], "glance", "gone")["evidence"]
    finally:
        lab.shell("controller", f"mv /root/story {folder}/{story.image}; rm {folder}/{stray}")
    assert look(lab)[1] == set()


def test_a_volume_that_was_being_made_at_the_moment_of_the_loss(story: Story) -> None:
    lab, writer = story.lab, Writer(story.lab)
    volume = make_volume(lab, writer, "story-creating")
    try:
        lab.shell("controller", f"rbd --id cinder -p volumes rm volume-{volume}")
        assert of(look(lab)[0], "cinder", "gone")["subject"] == f"volume story-creating {volume}"
        old = "UTC_TIMESTAMP() - INTERVAL 1 DAY"
        change = f"UPDATE cinder.volumes SET status = 'creating', updated_at = {old}"
        sql(lab, f"{change} WHERE id = '{volume}'")
        document, kinds = look(lab)
        assert kinds == {("cinder", "stuck")}
        assert of(document, "cinder", "stuck")["safe"]
        apply(lab)
        assert status_of(story.api, volume) == "error"
    finally:
        writer.clean()
    lab.wait_until(lambda: not look(lab)[1], what="the volume is deleted", bound=60)


def test_an_attachment_of_a_deleted_instance_is_ended(story: Story) -> None:
    lab, writer, seed = story.lab, Writer(story.lab), story.lab.seed
    things = {"image": seed["image"], "flavor": seed["flavor"], "network": seed["network"]}
    server = build_instance(story.api, "story-short", "compute2", **things)["id"]
    delete_server(lab, story.api, server)
    volume = make_volume(lab, writer, "story-stale")
    try:
        body = {"attachment": {"volume_uuid": volume, "instance_uuid": server}}
        story.api.post("block-storage", "/attachments", body, microversion="3.27")
        document, kinds = look(lab)
        assert kinds == {("cinder", "stale")}
        assert of(document, "cinder", "stale")["safe"]
        apply(lab)
        assert status_of(story.api, volume) == "available"
        assert status_of(story.api, story.volume) == "in-use"
    finally:
        writer.clean()
    lab.wait_until(lambda: not look(lab)[1], what="the volume is deleted", bound=60)


def test_a_port_bound_to_a_host_that_is_not_there(story: Story) -> None:
    body = {"network_id": story.lab.seed["network"], "binding:host_id": "compute9"}
    port = story.api.post("network", "/v2.0/ports", {"port": body})["port"]["id"]
    try:
        document, kinds = look(story.lab)
        assert kinds == {("neutron", "elsewhere")}
        one = of(document, "neutron", "elsewhere")
        assert port in one["subject"]
        assert "bound to host compute9" in one["evidence"]
    finally:
        story.api.call("DELETE", "network", f"/v2.0/ports/{port}")
    assert look(story.lab)[1] == set()


@contextmanager
def nova_compares_no_power(lab: Lab) -> Iterator[None]:
    """Nova does so every ten minutes, and would be first now and then."""
    file = "/etc/nova/nova-compute.conf"
    lines = r"\n[DEFAULT]\nsync_power_state_interval = -1\n"
    restart = "systemctl restart nova-compute"
    lab.shell("compute1", f"cp -a {file} {file}.story; printf '{lines}' >>{file}; {restart}")
    try:
        lab.wait_green()
        yield
    finally:
        lab.shell("compute1", f"mv {file}.story {file}; {restart}")
        lab.wait_green()


def test_a_guest_that_nova_would_stop(story: Story) -> None:
    with nova_compares_no_power(story.lab):
        _is_set_to_active_again(story)


def _is_set_to_active_again(story: Story) -> None:
    lab = story.lab
    before = lab.shell("compute1", f"virsh domid {story.server}")
    change = "UPDATE nova.instances SET vm_state = 'stopped', power_state = 4"
    sql(lab, f"{change} WHERE uuid = '{story.server}'")
    document, kinds = look(lab)
    assert kinds == {("nova", "state")}
    assert of(document, "nova", "state")["safe"]
    apply(lab)
    told = story.api.get("compute", f"/servers/{story.server}")["server"]
    assert told["status"] == "ACTIVE"
    assert lab.shell("compute1", f"virsh domid {story.server}") == before


def test_dhcp_that_nobody_is_to_serve(story: Story) -> None:
    lab, network = story.lab, story.lab.seed["network"]
    bound = sql(lab, "SELECT dhcp_agent_id FROM neutron.networkdhcpagentbindings").split()
    sql(lab, f"DELETE FROM neutron.networkdhcpagentbindings WHERE network_id = '{network}'")
    try:
        document, kinds = look(lab)
        assert kinds == {("neutron", "lacking")}
        assert of(document, "neutron", "lacking")["safe"]
        apply(lab)
    finally:
        for agent in bound:
            path = f"/v2.0/agents/{agent}/dhcp-networks"
            body = {"network_id": network}
            story.api.call("POST", "network", path, json=body, accept=(409,))
    assert len(sql(lab, "SELECT 1 FROM neutron.networkdhcpagentbindings").split()) == len(bound)
    lab.wait_until(lambda: not look(lab)[1], what="DHCP is served", bound=60)


def test_a_reaper_that_would_destroy_guests_is_told(story: Story) -> None:
    lab, file = story.lab, "/etc/nova/nova.conf"
    lab.shell("compute2", f"cp -p {file} /root/story.conf")
    option = "running_deleted_instance_action"
    try:
        lab.shell("compute2", f"sed -i 's/^{option}.*/{option} = reap/' {file}")
        document, kinds = look(lab)
        assert kinds == {("nova", "danger")}
        told = of(document, "nova", "danger")
        assert (told["host"], told["safe"]) == ("compute2", False)
        assert f"is reap in {file}" in told["evidence"]
        assert f"{option} = log" in told["command"]
    finally:
        lab.shell("compute2", f"cp -p /root/story.conf {file}; rm /root/story.conf")
    assert look(lab)[1] == set()


@pytest.mark.slow
def test_an_instance_made_after_the_backup_is_adopted_with_its_records(
    story: Story, tmp_path: Path
) -> None:
    """The records that a restore has put aside bring it back; its guest runs on all the while."""
    lab, seed = story.lab, story.lab.seed
    things = {"image": seed["image"], "flavor": seed["flavor"], "network": seed["network"]}
    with cloud_with(lab, f"backup: {{folder: {tmp_path}/backups}}\n") as cloud:
        create(lab, cloud, "controller", "--verify")
        server = build_instance(story.api, "story-late", "compute2", **things)["id"]
        before = lab.shell("compute2", f"virsh domid {server}")
        try:
            named = ("controller", "--service", "nova", "--yes", "--cloud", str(cloud))
            lab.backstay("backup", "restore", *named, bound=900)
            document, kinds = look(lab)
            guest = of(document, "nova", "no record")
            assert (guest["subject"], guest["host"]) == (f"guest story-late {server}", "compute2")
            assert kinds == {("nova", "no record"), ("placement", "stale"), ("neutron", "stale")}
            assert not [one for one in document["mismatches"] if one["safe"]]
            adopt(lab, result(last_run(lab), "controller.swap")["kept"])
            assert look(lab)[1] == set()
            told = story.api.get("compute", f"/servers/{server}")["server"]
            assert told["status"] == "ACTIVE"
            assert lab.shell("compute2", f"virsh domid {server}") == before
        finally:
            delete_server(lab, story.api, server)
            forget_what_was_kept(lab)
    lab.wait_green()


def adopt(lab: Lab, kept: list[str]) -> None:
    """Put rows back that are only in what a restore has put aside."""
    aside = [one.removeprefix("database ") for one in kept if one.startswith("database ")]
    for database in aside:
        name = database.partition("__before_")[0]
        where = f"table_schema = '{database}' AND table_type = 'BASE TABLE'"
        tables = sql(lab, f"SELECT table_name FROM information_schema.tables WHERE {where}")
        inserts = "; ".join(
            f"INSERT IGNORE INTO {name}.{table} SELECT * FROM {database}.{table}"
            for table in tables.split()
        )
        sql(lab, f"SET foreign_key_checks = 0; {inserts}")


@pytest.mark.parametrize(
    ("fault", "missing"),
    [(("cut-network", "compute1"), "guests"), (("hang-service", "compute1/libvirtd"), "guests")],
    ids=["host", "libvirt"],
)
def test_a_host_that_does_not_answer_makes_nothing_free(
    story: Story, fault: tuple[str, ...], missing: str
) -> None:
    """Its guests are not gone, and what they hold is not offered."""
    lab = story.lab
    lab.backstay("lab", "break", *fault)
    started = time.monotonic()
    try:
        done = lab.backstay("reconcile", "-o", "json", ok=False)
        took = time.monotonic() - started
        document = json.loads(done.stdout)
        assert done.returncode == 3
        assert took < 60
        assert {one["host"] for one in document["unknown"]} == {"compute1"}
        assert any(missing in one["what"] for one in document["unknown"])
        assert document["mismatches"] == []
        assert "UNKNOWN" in lab.backstay("reconcile", ok=False).stdout
    finally:
        lab.backstay("lab", "heal")
    lab.wait_green()
    assert look(lab)[1] == set()


@pytest.mark.slow
def test_killed_at_every_boundary_a_heal_goes_on(story: Story) -> None:
    lab, held = story.lab, allocation(story.lab, story.server)
    for point in itertools.count(1):
        story.api.call("DELETE", "placement", f"/allocations/{story.server}")
        killed = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.acceptance.killed_reboot",
                str(point),
                "reconcile",
                "--apply",
                "--yes",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
        listed = json.loads(lab.backstay("runs", "list", "-o", "json").stdout)
        if listed and listed[0]["state"] != "done":
            lab.backstay("runs", "resume", listed[0]["id"], bound=400)
            assert last_run(lab)["state"] == "done"
        else:
            apply(lab)
        assert allocation(lab, story.server) == held
        assert look(lab)[1] == set()
    assert point > 2, "it was killed on its way"
