"""Acts by policy: what is started, once, and what continues after the watch itself has ended."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BackstayError
from backstay.journal.records import RunState
from backstay.watch.act.approvals import NotApproved, approve
from backstay.watch.act.guards import WatchAction, reason_for
from backstay.watch.incidents.incident import Kind
from backstay.watch.incidents.notification import NotificationEvent as Event
from tests.watch.act_harness import Acted
from tests.watch.causes import CAUSE, OTHER

DEAD = replace(CAUSE, kind=Kind.HOST_DEAD, key="host:controller", service="host")
RESTART = {"service-failed": "restart"}
ASK = {"controller-dead": "ask"}
REPLACE = {"controller-dead": "replace", "attempts": 2}

CUT = {"fenced-host-on": "power-off", "service-failed": "restart"}
ON = replace(CAUSE, kind=Kind.FENCED_HOST_ON, key="fenced-host:old", host="old")
Story = Callable[[Acted], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[dict[str, Any], Story], Acted]:
    def played(policy: dict[str, Any], story: Story) -> Acted:
        acted = Acted(tmp_path, policy)
        acted.now = time.time()
        asyncio.run(story(acted))
        return acted

    return played


Play = Callable[[dict[str, Any], Story], Acted]


def test_a_failed_service_is_restarted_once_and_told(play: Play) -> None:
    async def story(acted: Acted) -> None:
        incident = await acted.open(CAUSE)
        await acted.act_once()
        await acted.act_once()
        assert acted.started == ["restart-1"]
        [now] = acted.incident_log.open_incidents()
        assert now.run == "restart-1"
        acted.carry_out("restart-1", RunState.DONE)
        await acted.act_once()
        await acted.act_once()
        await acted.incident_log.close(incident, at=acted.now, text="answers again")

    acted = play(RESTART, story)
    assert acted.store.run("1").reason == f"watch: incident-1: {CAUSE.key}"
    assert acted.lines("action_taken") == ["starts restart-1: do it"]
    assert len(acted.lines("run_ended")) == 1
    words = [it.event for it in acted.watch_store.notifications()]
    assert words == [
        Event.OPENED,
        Event.ACTION_TAKEN,
        Event.RESOLVED,
    ]


def test_it_is_tried_so_often_with_a_pause_and_then_left_to_people(play: Play) -> None:
    async def story(acted: Acted) -> None:
        await acted.open(CAUSE)
        await acted.act_once()
        acted.carry_out("restart-1", RunState.FAILED)
        for _ in range(3):
            await acted.act_once(5.0)
        assert acted.started == ["restart-1"]
        await acted.act_once(600.0)
        assert acted.started == ["restart-1", "restart-2"]
        acted.carry_out("restart-2", RunState.FAILED)
        for _ in range(3):
            await acted.act_once(700.0)

    acted = play(RESTART, story)
    assert acted.started == ["restart-1", "restart-2"]
    assert acted.store.run("1").state is RunState.ABANDONED
    said = acted.lines("blocked")
    assert len(said) == 2
    assert "no action before" in said[0]
    assert "tried 2 times" in said[1]


def test_nothing_is_done_without_a_policy(play: Play) -> None:
    async def story(acted: Acted) -> None:
        await acted.open(CAUSE)
        await acted.act_once()

    acted = play({}, story)
    assert acted.planned == []
    assert acted.lines("blocked") == []


def test_one_thing_at_a_time(play: Play) -> None:
    async def story(acted: Acted) -> None:
        await acted.open(CAUSE)
        await acted.open(replace(OTHER, host="proxy"))
        await acted.act_once()
        acted.carry_out("restart-1", RunState.RUNNING)  # by this process, which lives
        await acted.act_once()
        assert acted.started == ["restart-1"]

    play(RESTART, story)


def test_never_while_in_doubt(play: Play) -> None:
    async def story(acted: Acted) -> None:
        await acted.open(CAUSE)
        acted.doubt = "the lock was not renewed"
        for _ in range(3):
            await acted.act_once()
        acted.doubt = ""
        await acted.act_once()

    acted = play(RESTART, story)
    assert acted.started == ["restart-1"]
    assert len(acted.lines("blocked")) == 1


def test_what_cannot_be_planned_is_told_once_and_tried_again_later(play: Play) -> None:
    async def story(acted: Acted) -> None:
        await acted.open(DEAD)
        acted.wrong = BackstayError("making sure", came_back="alive: compute1 sees it", remedy="")
        for _ in range(5):
            await acted.act_once(1.0)
        assert len(acted.planned) == 1
        await acted.act_once(61.0)
        assert len(acted.planned) == 2

    acted = play(REPLACE, story)
    assert acted.started == []
    assert acted.lines("blocked") == ["replace: not done: making sure: alive: compute1 sees it"]


def test_a_replacement_waits_for_its_approval_and_begins_once(play: Play) -> None:
    async def story(acted: Acted) -> None:
        incident = await acted.open(DEAD)
        await acted.act_once()
        await acted.act_once()
        assert acted.started == []
        code = acted.approvals.command(incident).split()[-1]
        assert len(code) == 19
        with pytest.raises(NotApproved, match="no plan waits"):
            await acted.approvals.by_page(incident.id, "AAAA-BBBB-CCCC-DDDD", "ann")
        with pytest.raises(NotApproved, match="no plan waits"):
            await acted.approvals.by_page(incident.id + 1, code, "ann")
        told = await acted.approvals.by_page(incident.id, code.lower().replace("-", ""), "ann")
        assert "replace-1 starts" in told
        with pytest.raises(NotApproved, match="used already, by ann"):
            approve(acted.watch_store, code, by="bob", now=acted.now)
        await acted.act_once()
        await acted.act_once()
        assert acted.started == ["replace-1"]
        assert code not in str(acted.watch_store.everything())

    acted = play(ASK, story)
    assert acted.lines("approved") == ["replace-1 was approved by ann"]
    words = [it.event for it in acted.watch_store.notifications()]
    assert words == [
        Event.OPENED,
        Event.APPROVAL_REQUESTED,
        Event.ACTION_TAKEN,
    ]


def test_an_approval_that_comes_too_late(play: Play) -> None:
    async def story(acted: Acted) -> None:
        incident = await acted.open(DEAD)
        await acted.act_once()
        code = acted.approvals.command(incident).split()[-1]
        acted.now += 3601.0
        with pytest.raises(NotApproved, match="expired"):
            await acted.approvals.by_page(incident.id, code, "ann")
        for _ in range(3):
            await acted.act_once()

    acted = play(ASK, story)
    assert acted.started == []
    assert acted.store.run("1").state is RunState.ABANDONED
    assert acted.lines("blocked") == ["replace-1 was not approved in time: it is not started"]
    assert len(acted.lines("approval_requested")) == 1


def test_what_is_over_by_itself_is_not_begun(play: Play) -> None:
    async def story(acted: Acted) -> None:
        incident = await acted.open(DEAD)
        await acted.act_once()
        code = acted.approvals.command(incident).split()[-1]
        await acted.incident_log.close(incident, at=acted.now, text="it is back")
        await acted.act_once()
        with pytest.raises(NotApproved):
            await acted.approvals.by_page(incident.id, code, "ann")

    acted = play(ASK, story)
    assert acted.store.run("1").state is RunState.ABANDONED


def test_after_a_restart_of_the_watch_a_new_code_is_sent(play: Play) -> None:
    async def story(acted: Acted) -> None:
        incident = await acted.open(DEAD)
        await acted.act_once()
        old = acted.approvals.command(incident).split()[-1]
        acted.approvals._codes.clear()  # as in a new process
        acted.anew()
        await acted.incident_log.start()
        await acted.act_once()
        await acted.act_once()
        new = acted.approvals.command(incident).split()[-1]
        with pytest.raises(NotApproved, match="may not be started"):
            await acted.approvals.by_page(incident.id, old, "ann")
        await acted.approvals.by_page(incident.id, new, "ann")
        await acted.act_once()
        assert acted.started == ["replace-1"]

    acted = play(ASK, story)
    assert len(acted.lines("approval_requested")) == 2


def test_a_run_whose_process_was_killed_is_gone_on_with_but_not_for_ever(play: Play) -> None:
    async def story(acted: Acted) -> None:
        await acted.open(DEAD)
        await acted.act_once()
        for _ in range(6):
            acted.carry_out("replace-1", RunState.RUNNING)
            acted.killed.add("replace-1")
            acted.anew()
            await acted.incident_log.start()
            await acted.act_once(700.0)

    acted = play(REPLACE, story)
    assert acted.started == ["replace-1"] * 3
    assert "was started 3 times" in acted.lines("blocked")[0]


def test_a_process_that_cannot_begin_is_told(play: Play) -> None:
    async def story(acted: Acted) -> None:
        await acted.open(CAUSE)
        for _ in range(8):
            await acted.act_once(700.0)
            for process in acted.processes:
                process.ended = True

    acted = play(RESTART, story)
    assert acted.started == ["restart-1", "restart-2"]
    assert acted.lines("blocked")[0] == "restart-1 could not be started: no cloud.yaml"
    assert "tried 2 times" in acted.lines("blocked")[-1]


def test_a_watch_that_dies_before_it_has_asked_asks_and_begins_nothing(play: Play) -> None:
    async def story(acted: Acted) -> None:
        incident = await acted.open(DEAD)
        made = await acted._plan(WatchAction.ASK, acted.site, DEAD)
        acted.store.create(made.plan, reason=reason_for(incident))
        for _ in range(3):
            await acted.act_once()
        assert acted.approvals.command(incident)

    acted = play(ASK, story)
    assert acted.started == []
    assert len(acted.lines("approval_requested")) == 1


def test_the_end_of_a_run_is_told_though_its_incident_is_over(play: Play) -> None:
    async def story(acted: Acted) -> None:
        incident = await acted.open(CAUSE)
        await acted.act_once()
        await acted.incident_log.close(incident, at=acted.now, text="answers again")
        for notification, _ in await acted.incident_log.due(acted.now):
            await acted.incident_log.sent(notification.id, at=acted.now)
        acted.carry_out("restart-1", RunState.DONE)
        await acted.act_once()
        await acted.act_once()

    acted = play(RESTART, story)
    assert len(acted.lines("run_ended")) == 1
    assert [it.event for it in acted.watch_store.notifications(unsent=True)] == [Event.ACTION_TAKEN]


def test_who_approved_decides_also_whether_it_is_gone_on_with(play: Play) -> None:
    async def story(acted: Acted) -> None:
        incident = await acted.open(DEAD)
        await acted.act_once()
        code = acted.approvals.command(incident).split()[-1]
        await acted.approvals.by_page(incident.id, code, "ann")
        await acted.act_once()
        acted.carry_out("replace-1", RunState.FAILED)
        for _ in range(3):
            await acted.act_once(700.0)

    acted = play(ASK, story)
    assert acted.started == ["replace-1"]


def test_fenced_hosts_that_are_on_wait_for_no_other_action(play: Play) -> None:
    async def story(acted: Acted) -> None:
        await acted.open(CAUSE)
        await acted.act_once()
        acted.carry_out("restart-1", RunState.RUNNING)
        await acted.open(OTHER)
        await acted.open(ON)
        await acted.open(replace(ON, key="fenced-host:older", host="older"))
        await acted.act_once()
        assert acted.started == ["restart-1", "power-off-2", "power-off-3"]
        await acted.act_once()
        assert len(acted.started) == 3

    play(CUT, story)


def test_one_that_comes_back_at_once_is_cut_again(play: Play) -> None:
    async def story(acted: Acted) -> None:
        await acted.open(ON)
        await acted.act_once()
        acted.carry_out("power-off-1", RunState.DONE)
        await acted.act_once()
        assert acted.started == ["power-off-1"]
        await acted.act_once(seconds=31.0)
        assert acted.started == ["power-off-1", "power-off-2"]

    play(CUT, story)
