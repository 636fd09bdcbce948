"""Mismatches from recorded clouds: what is told, what is called safe, and what never is."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from backstay.finding import Severity
from backstay.runbooks.reconcile.comparison import ReconcileObservation
from backstay.runbooks.reconcile.observe import mismatches, reaper_findings
from backstay.runbooks.reconcile.plan import plan
from backstay.runbooks.reconcile.steps import targets_of
from backstay.services import instances
from backstay.services.nova.reconcile import EVACUATIONS
from tests.health.rpc.recorded import CLOUD
from tests.runbooks.reconciled import (
    STORY,
    Answers,
    Recorded,
    changing,
    guests,
    kinds,
    looked,
    only,
    put,
    rows,
    story_guest,
)


def test_a_green_cloud_differs_in_nothing() -> None:
    found = looked("green")
    assert (found.mismatches, found.missing, found.notes) == ((), (), ())
    assert found.compared["nova instances"] == 3
    assert plan(CLOUD, found.mismatches) is None


@pytest.mark.parametrize(
    ("name", "expected", "safe"),
    [
        (
            "no-record",
            {
                ("nova", "no record"),
                ("placement", "stale"),
                ("cinder", "stale"),
                ("neutron", "stale"),
            },
            [],
        ),
        (
            "marked-deleted",
            {("nova", "danger"), ("placement", "stale"), ("cinder", "stale"), ("neutron", "stale")},
            [],
        ),
        ("guest-gone", {("nova", "gone")}, []),
        ("no-allocation", {("placement", "lacking")}, ["heal-allocation"]),
        ("images", {("glance", "gone"), ("glance", "no record")}, []),
        ("creating", {("cinder", "stuck")}, ["volume-error"]),
        ("stale-attachment", {("cinder", "stale")}, ["attachment-delete"]),
        ("port", {("neutron", "elsewhere")}, []),
        ("stopped", {("nova", "state")}, ["server-active"]),
        ("no-dhcp", {("neutron", "lacking")}, ["dhcp-agent"]),
        ("reap", {("nova", "danger")}, []),
    ],
)
def test_each_recorded_mismatch(name: str, expected: set[tuple[str, str]], safe: list[str]) -> None:
    found = looked(name)
    assert kinds(found) == expected
    assert [one.repair.name for one in found.safe if one.repair] == safe
    assert found.missing == ()
    for one in found.mismatches:
        assert "{" not in one.command, "every command is this cloud's own"
        assert one.evidence
        assert one.proposal


def test_what_hangs_on_a_running_guest_is_never_offered_for_deletion() -> None:
    found = looked("no-record")
    assert not found.safe
    assert not [one.command for one in found.mismatches if " delete " in one.command]
    assert "adopt" in only(found, "nova", "no record").proposal
    assert only(found, "nova", "no record").command.startswith("ssh ")


def test_with_a_silent_compute_host_nothing_is_free_and_all_is_told_as_unknown() -> None:
    """Its guests may be those whose records are missing."""
    alone = looked("no-record", silent=["compute1"])
    assert {one.host for one in alone.missing} == {"compute1"}
    assert ("nova", "no record") not in kinds(alone)
    assert not [one.command for one in alone.mismatches if " delete " in one.command]
    assert "ask compute1 first" in only(alone, "placement", "stale").proposal
    stale = looked("stale-attachment", silent=["compute2"])
    assert not stale.safe
    assert looked("no-allocation", silent=["compute1"]).safe == []
    assert kinds(looked("green", silent=["compute1"])) == set()


def test_a_compute_host_that_cloud_yaml_does_not_have_may_have_any_guest() -> None:
    def one_more(answers: Answers) -> None:
        nodes = rows(answers, "nova compute nodes")
        put(answers, "nova compute nodes", [*nodes, nodes[0] | {"host": "gpu7", "node": "gpu7"}])

    stale = looked("stale-attachment", one_more)
    assert not only(stale, "cinder", "stale").safe
    assert "ask gpu7 first" in only(stale, "cinder", "stale").proposal
    assert "gpu7" in stale.notes[0]


def test_without_records_nothing_is_concluded() -> None:
    found = looked("green", silent=["controller"])
    assert found.mismatches == ()
    assert "records" in {one.what for one in found.missing}

    def no_table(answers: Answers) -> None:
        told = answers["controller"]["answers"]["records"]["value"]
        told["nova instances"] = {"error": "Table 'nova.instances' doesn't exist"}

    found = looked("green", no_table)
    assert found.mismatches == ()
    [one] = found.missing
    assert (one.what, one.host) == ("nova instances", "controller")
    assert "doesn't exist" in one.why


def test_where_the_first_controller_is_silent_another_s_copy_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("backstay.runbooks.reconcile.observe.AGAIN_AFTER", 0.0)

    def copied(answers: Answers) -> None:
        answers["second"] = answers["controller"]

    site = Recorded("no-allocation", copied, silent=["controller"])
    hosts = dict(CLOUD.hosts)
    hosts["second"] = hosts["controller"].model_copy(update={"address": "10.77.0.14"})
    hosts["second"]._name = "second"
    site.cloud = CLOUD.model_copy(update={"hosts": hosts})
    found = asyncio.run(mismatches(site))  # type: ignore[arg-type]
    assert kinds(found) == {("placement", "lacking")}
    assert {one.host for one in found.missing} == {"controller"}


def test_a_column_that_holds_something_else_hides_only_its_service() -> None:
    found = looked("no-allocation", changing("cinder volumes", age="NULL"))
    assert kinds(found) == {("placement", "lacking")}
    [missing] = found.missing
    assert missing.what == "cinder volumes"
    assert "could not read the records: row" in missing.why
    assert "'NULL' is no number" in missing.why


def test_what_is_only_in_one_look_was_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backstay.runbooks.reconcile.observe.AGAIN_AFTER", 0.0)
    site = Recorded("no-allocation")
    original = site.ask

    async def ask(host: str, function: Any, *arguments: Any, **options: Any) -> Any:
        if (host, function.__name__) in site.asked:
            site.name = "green"
        return await original(host, function, *arguments, **options)

    monkeypatch.setattr(site, "ask", ask)
    assert asyncio.run(mismatches(site)).mismatches == ()  # type: ignore[arg-type]
    hosts = [host for host, _ in site.asked]
    assert {hosts.count(host) for host in hosts} == {2}, "one round trip for each host and look"


def test_a_guest_on_another_host_than_its_record() -> None:
    def moved(answers: Answers) -> None:
        guest = story_guest(answers)
        guests(answers, "compute1").remove(guest)
        guests(answers, "compute2").append(guest)

    one = only(looked("green", moved), "nova", "elsewhere")
    assert one.host == "compute2"
    assert "SET host='compute2'" in one.command
    assert not one.safe

    def migrating(answers: Answers) -> None:
        moved(answers)
        changing("nova instances", task_state="migrating")(answers)

    assert kinds(looked("green", migrating)) == set()


def test_two_running_guests_of_one_instance_are_the_worst() -> None:
    def twice(answers: Answers) -> None:
        guests(answers, "compute2").append(story_guest(answers))

    one = only(looked("green", twice), "nova", "twice")
    assert "runs on compute1 and compute2" in one.evidence


def test_a_gone_guest_whose_disk_is_gone_too_is_not_simply_made_anew() -> None:
    def no_disk(answers: Answers) -> None:
        answers["compute1"]["answers"]["guests"]["value"]["kept"] = []

    assert (
        "hard reboot makes the guest again" in only(looked("guest-gone"), "nova", "gone").proposal
    )
    assert "find the disk" in only(looked("guest-gone", no_disk), "nova", "gone").proposal


def test_an_evacuated_guest_is_in_danger_where_it_came_from() -> None:
    def evacuated(answers: Answers) -> None:
        guest = story_guest(answers)["id"]
        row = {
            "uuid": guest,
            "source": "compute1",
            "dest": "compute2",
            "status": "done",
            "migration": "11111111-0000-0000-0000-000000000000",
        }
        put(answers, EVACUATIONS, [row])

    one = only(looked("green", evacuated), "nova", "danger")
    assert "nova-compute destroys it when it starts" in one.evidence
    assert looked("green", evacuated).mismatches[0] == one, "danger comes first"


def test_other_cells_are_said_not_to_be_compared() -> None:
    found = looked("no-record", lambda answers: put(answers, instances.CELLS, [{"others": "2"}]))
    assert ("nova", "no record") not in kinds(found)
    assert ("neutron", "stale") not in kinds(found)
    assert ("placement", "stale") not in kinds(found)
    assert "several cells" in found.notes[0]


def test_a_provider_of_the_same_name_and_another_identity_is_the_409() -> None:
    def other(answers: Answers) -> None:
        found = rows(answers, "nova compute nodes")
        found[0]["uuid"] = "99999999-0000-0000-0000-000000000000"
        put(answers, "nova compute nodes", found)

    found = looked("green", other)
    conflicts = [one for one in found.mismatches if one.subject == "resource provider compute2"]
    assert ["409" in one.evidence for one in conflicts] == [True]
    assert not found.safe


def test_a_volume_that_has_data_or_is_still_being_made_is_not_set_to_error() -> None:
    def with_data(answers: Answers) -> None:
        [volume] = [r for r in rows(answers, "cinder volumes") if r["status"] == "creating"]
        store = answers["controller"]["answers"]["volumes' data"]["value"]["stores"]["volumes"]
        store["names"].append(f"volume-{volume['id']}")

    def older_worker(answers: Answers) -> None:
        answers["controller"]["answers"]["volumes' data"]["value"]["worker_age"] = 1e6

    def just_begun(answers: Answers) -> None:
        changing("cinder volumes", age="3")(answers)

    for change in (with_data, older_worker):
        assert not only(looked("creating", change), "cinder", "stuck").safe
    assert "its data are there" in only(looked("creating", with_data), "cinder", "stuck").proposal
    assert kinds(looked("creating", just_begun)) == set()


def test_an_attachment_ends_only_where_nova_remembers_the_deletion() -> None:
    forgotten = looked("stale-attachment", lambda answers: put(answers, instances.DELETED, []))
    assert not only(forgotten, "cinder", "stale").safe

    def used(answers: Answers) -> None:
        [volume] = [r for r in rows(answers, "cinder volumes") if r["name"] == "story-stale"]
        guests(answers, "compute2")[0]["volumes"].append(volume["id"])

    assert not only(looked("stale-attachment", used), "cinder", "stale").safe


def test_volumes_whose_status_and_use_differ() -> None:
    available = looked("green", changing("cinder volumes", status="available"))
    one = only(available, "cinder", "danger")
    assert "attached a second time" in one.evidence
    assert one.command.startswith("openstack volume set --state in-use")

    def no_attachment(answers: Answers) -> None:
        attached = rows(answers, "cinder attachments")
        put(
            answers,
            "cinder attachments",
            [row for row in attached if row["instance"] != story_guest(answers)["id"]],
        )

    found = looked("green", no_attachment)
    assert "the guest needs it" in only(found, "cinder", "state").proposal
    assert "cinder has no such attachment" in only(found, "cinder", "lacking").evidence


def test_data_without_a_record_and_a_record_without_data() -> None:
    def swapped(answers: Answers) -> None:
        store = answers["controller"]["answers"]["volumes' data"]["value"]["stores"]["volumes"]
        attached = story_guest(answers)["volumes"][0]
        store["names"].remove(f"volume-{attached}")
        store["names"].append("volume-11111111-0000-0000-0000-000000000000")

    found = looked("green", swapped)
    assert kinds(found) == {("cinder", "gone"), ("cinder", "no record")}
    assert "do not delete it" in only(found, "cinder", "no record").proposal

    def of_another_driver(answers: Answers) -> None:
        store = answers["controller"]["answers"]["volumes' data"]["value"]["stores"]["volumes"]
        store.update(names=None, driver="LVMVolumeDriver")

    found = looked("green", of_another_driver)
    assert kinds(found) == set()
    assert "LVMVolumeDriver" in found.notes[0]


def test_a_disk_that_nova_does_not_know() -> None:
    found = looked("green", lambda answers: put(answers, "nova block device mappings", []))
    assert [one.kind.value for one in found.mismatches] == ["no record", "no record"]


def test_a_network_card_that_neutron_does_not_know() -> None:
    def lost(answers: Answers) -> None:
        left = [
            r for r in rows(answers, "neutron ports") if r["device"] != story_guest(answers)["id"]
        ]
        put(answers, "neutron ports", left)

    one = only(looked("green", lost), "neutron", "no record")
    assert STORY in one.subject
    assert "--mac-address fa:16:3e:" in one.command


def test_dhcp_that_is_to_be_served_and_is_not() -> None:
    def ended(answers: Answers) -> None:
        answers["compute2"]["answers"]["DHCP servers"]["value"]["networks"] = []

    one = only(looked("green", ended), "neutron", "gone")
    assert one.host == "compute2"
    assert one.command.endswith("systemctl restart neutron-dhcp-agent")

    def ovn(answers: Answers) -> None:
        put(answers, "neutron DHCP agents of networks", [])
        put(answers, "neutron agents", [])

    assert kinds(looked("green", ovn)) == set()


def test_containers_against_their_accounts() -> None:
    def told(answers: Answers) -> dict[str, Any]:
        value: dict[str, Any] = answers["storage1"]["answers"]["accounts and containers"]["value"]
        return value

    def gone(answers: Answers) -> None:
        told(answers)["containers"] = [
            row for row in told(answers)["containers"] if row[1] != "records"
        ]

    def counted(answers: Answers) -> None:
        for row in told(answers)["listed"]:
            row[2] = 5

    def part(answers: Answers) -> None:
        gone(answers)
        told(answers)["part"] = True

    assert kinds(looked("green", gone)) == {("swift", "gone")}
    assert kinds(looked("green", counted)) == {("swift", "state")}
    assert kinds(looked("green", part)) == set()
    assert kinds(looked("green", gone, silent=["storage1"])) == set()


def test_the_reaper_is_judged_before_anything_works_for_restored_records() -> None:
    found = asyncio.run(reaper_findings(_guards("reap")))  # type: ignore[arg-type]
    assert [(one.host, one.severity) for one in found] == [
        ("compute2", Severity.FAILED),
        ("compute1", Severity.OK),
    ]
    assert "s/^running_deleted_instance_action" in found[0].remedy
    silent = asyncio.run(reaper_findings(_guards("green", silent=("compute1",))))  # type: ignore[arg-type]
    assert [(one.host, one.severity) for one in silent] == [
        ("compute1", Severity.UNKNOWN),
        ("compute2", Severity.OK),
    ]


class _OnlyGuards(Recorded):
    async def ask(self, host: str, function: Any, *arguments: Any, **options: Any) -> Any:
        assert [one[0] for one in arguments[0]] == ["reaper"]
        assert not arguments[1], "no record is read for it"
        return await super().ask(host, function, *arguments, **options)


def _guards(name: str, silent: tuple[str, ...] = ()) -> Recorded:
    return _OnlyGuards(name, silent=silent)


def test_a_plan_has_a_step_for_each_kind_of_change_and_proves_the_end() -> None:
    found = [*looked("no-allocation").safe, *looked("stopped").safe]
    made = plan(CLOUD, found)
    assert made is not None
    assert [step.id for step in made.steps] == ["heal-allocation", "server-active", "prove"]
    assert [one.key for one in targets_of(made.steps[-1])] == [one.key for one in found]


def test_the_exit_status_of_a_look() -> None:
    from backstay.cli.reconcile import status_of  # noqa: PLC0415 - the command line's

    assert status_of(looked("green")) == 0
    assert status_of(looked("images")) == 1
    assert status_of(looked("images", silent=["compute1"])) == 3
    assert status_of(replace(ReconcileObservation(mismatches=()), seconds=1.0)) == 0
