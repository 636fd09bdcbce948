"""Reattaching: who is restarted, how many at a time, and when it stops."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BackstayError
from backstay.health.rpc.agents import diagnose_agents
from backstay.health.rpc.diagnosis import AgentDiagnosis, Signature
from backstay.journal.action import Runbook
from backstay.journal.engine import Progress, carry_out
from backstay.journal.records import RunRecord, RunState
from backstay.journal.store import Store
from backstay.runbooks.common import reattacher
from backstay.runbooks.common.reattacher import AgentReattacher
from backstay.runbooks.reattach.actions import actions, failed_in_a_row
from backstay.runbooks.reattach.plan import plan
from tests.runbooks.cloud_of_agents import CloudOfAgents


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reattacher, "JITTER", 0.0)
    monkeypatch.setattr(reattacher, "PAUSE", 0.01)
    monkeypatch.setattr("backstay.runbooks.reattach.actions.VERIFY", 0.05)


def seen(site: Any) -> list[AgentDiagnosis]:
    return asyncio.run(diagnose_agents(site))[1]


def reattach(site: Any, tmp_path: Path, **options: Any) -> tuple[RunRecord, list[Progress]]:
    made = plan(site.cloud, seen(site), **options)
    assert made is not None
    store = Store(f"sqlite:///{tmp_path}/journal.db")
    name, shown = store.create(made), list[Progress]()
    locks = f"file://{tmp_path}/locks"
    asyncio.run(
        carry_out(
            store,
            store.run(name),
            Runbook(actions=actions(site)),
            locks=locks,
            progress=shown.append,
        )
    )
    return store.run(name), shown


def test_nobody_is_restarted_where_all_are_attached() -> None:
    site: Any = CloudOfAgents(3)
    judged = seen(site)
    assert {one.signature for one in judged} == {Signature.ATTACHED}
    assert plan(site.cloud, judged) is None


def test_only_the_deaf_is_restarted_and_proved(tmp_path: Path) -> None:
    site: Any = CloudOfAgents(3)
    site.deaf = {"c1"}
    run, _ = reattach(site, tmp_path)
    assert run.state is RunState.DONE
    assert site.restarted == ["c1"]
    assert run.plan.targets == ("c1",)
    assert run.steps[-1].result["restarted"] == ["nova-compute on c1"]


def way(step: str, ended: str, **more: Any) -> dict[str, Any]:
    tried = {"host": "10.0.0.1", "port": 5672, "step": step, "ended": ended, "user": "openstack"}
    return {"config": "/etc/nova/nova.conf", "vhost": "/", "tries": [tried | more]}


@pytest.mark.parametrize(
    ("tried", "signature", "title"),
    [
        (way("connect", "late", detail="7 attempts"), "network", "network from c1 to "),
        (way("connect", "no route"), "network", "network from c1 to controller port 5672"),
        (way("connect", "refused"), "port", "controller refuses port 5672 to c1"),
        (way("name", "late", host="mq"), "name", "the name of the broker, mq, is not known on c1"),
        (way("tls", "untrusted"), "tls", "TLS between c1 and controller port 5672"),
        (way("login", "refused"), "login", "the broker on controller refuses the login of c1"),
        (way("vhost", "refused"), "vhost", "the broker on controller refuses the virtual"),
    ],
)  # fmt: skip
def test_a_host_without_a_way_to_the_broker_is_named_and_nobody_restarted(
    tried: dict[str, Any], signature: str, title: str
) -> None:
    site: Any = CloudOfAgents(3)
    site.deaf, site.ways = {"c1"}, {"c1": tried}
    judged = seen(site)
    [bad] = [one for one in judged if one.signature is not Signature.ATTACHED]
    assert (bad.signature, bad.restart, bad.name) == (signature, False, "nova-compute on c1")
    assert bad.evidence.startswith(title)
    assert bad.remedy
    assert "{ssh}" not in bad.remedy
    assert plan(site.cloud, judged) is None
    assert plan(site.cloud, judged, force=True) is None
    # It is known already: no second try of several seconds, and no login that fills a log.
    assert [logins for host, logins in site.logins if host == "c1"] == [None, []]
    assert [logins for host, logins in site.logins if host == "c2"] == [None]


def test_the_way_is_tried_by_a_login_where_a_connected_agent_does_not_answer() -> None:
    site: Any = CloudOfAgents(3)
    site.deaf, site.ways = {"c1"}, {"c1": way("vhost", "ok")}
    [bad] = [one for one in seen(site) if one.signature is not Signature.ATTACHED]
    assert bad.signature is Signature.DEAF
    assert bad.restart
    assert ("c1", ["nova-compute"]) in site.logins


def test_an_agent_that_answers_is_attached_whatever_its_file_says() -> None:
    site: Any = CloudOfAgents(3)
    site.ways = {"c1": way("login", "refused")}
    assert {one.signature for one in seen(site)} == {Signature.ATTACHED}


@pytest.mark.parametrize(("option", "together"), [(None, 2), (5, 5)])
def test_at_a_time(tmp_path: Path, option: int | None, together: int) -> None:
    site: Any = CloudOfAgents(40)
    site.deaf = {f"c{number}" for number in range(12)}
    run, _ = reattach(site, tmp_path, at_a_time=option)
    assert run.state is RunState.DONE
    assert sorted(site.restarted) == sorted({f"c{number}" for number in range(12)})
    assert site.together == together


def test_who_has_come_back_by_himself_is_left_alone(tmp_path: Path) -> None:
    site: Any = CloudOfAgents(2)
    site.deaf = {"c0", "c1"}
    made = plan(site.cloud, seen(site))
    assert made is not None
    site.deaf = {"c1"}
    store = Store(f"sqlite:///{tmp_path}/journal.db")
    name = store.create(made)
    locks = f"file://{tmp_path}/locks"
    asyncio.run(
        carry_out(
            store,
            store.run(name),
            Runbook(actions=actions(site)),
            locks=locks,
            progress=lambda _: None,
        )
    )
    assert site.restarted == ["c1"]


def test_it_stops_after_three_failures_in_a_row(tmp_path: Path) -> None:
    site: Any = CloudOfAgents(10)
    site.deaf = site.cursed = {f"c{number}" for number in range(10)}
    run, shown = reattach(site, tmp_path)
    assert run.state is RunState.FAILED
    assert site.restarted == ["c0", "c1", "c2"]
    failed = shown[-1].error
    assert failed is not None
    assert "3 in a row" in failed.attempted
    assert "rabbitmqctl delete_queue compute.c2" in failed.remedy


def test_one_that_stays_deaf_is_told_with_another_remedy_at_the_end(tmp_path: Path) -> None:
    site: Any = CloudOfAgents(4)
    site.deaf, site.cursed = {"c0", "c1", "c2"}, {"c1"}
    run, shown = reattach(site, tmp_path)
    assert run.state is RunState.FAILED
    assert site.restarted == ["c0", "c1", "c2"]
    assert shown[-1].error is not None
    assert shown[-1].error.came_back.startswith("nova-compute on c1: deaf")
    assert "delete_queue compute.c1" in shown[-1].error.remedy


def test_a_silent_host_is_unknown_and_not_restarted() -> None:
    site: Any = CloudOfAgents(2)
    site.deaf, site.silent = {"c0"}, {"c0"}
    [one] = [one for one in seen(site) if one.signature is not Signature.ATTACHED]
    assert one.signature is Signature.UNKNOWN
    assert "no answer" in one.evidence
    assert plan(site.cloud, [one]) is None
    assert plan(site.cloud, [one], force=True) is not None


def test_a_settling_agent_is_in_the_plan_and_is_not_restarted(tmp_path: Path) -> None:
    site: Any = CloudOfAgents(2)
    site.deaf, site.broker_up = {"c0"}, 5.0
    [one] = [one for one in seen(site) if one.signature is not Signature.ATTACHED]
    assert one.signature is Signature.SETTLING
    made = plan(site.cloud, seen(site))
    assert made is not None
    site.deaf = set()
    store = Store(f"sqlite:///{tmp_path}/journal.db")
    name = store.create(made)
    locks = f"file://{tmp_path}/locks"
    asyncio.run(
        carry_out(
            store,
            store.run(name),
            Runbook(actions=actions(site)),
            locks=locks,
            progress=lambda _: None,
        )
    )
    assert store.run(name).state is RunState.DONE
    assert site.restarted == []


def test_within_another_runbook_nobody_is_restarted_twice() -> None:
    site: Any = CloudOfAgents(3)
    site.deaf, site.cursed = {"c0", "c1"}, {"c1"}
    said: list[str] = []
    work = AgentReattacher(site, None, say=said.append)
    left = asyncio.run(work.until_attached(lambda _: True, bound=0.3))
    assert [one.name for one in left] == ["nova-compute on c1"]
    assert site.restarted == ["c0", "c1"]
    assert "delete_queue compute.c1" in work.remedy(left[0])
    assert any("restarting it" in text for text in said)


def test_in_a_row() -> None:
    assert failed_in_a_row([]) == 0
    assert failed_in_a_row([("a", False), ("b", True), ("c", False), ("d", False)]) == 2


def test_what_systemd_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site: Any = CloudOfAgents(1)
    site.deaf = {"c0"}

    async def refuses(_host: str, _unit: str) -> str:
        return "Unit is masked."

    monkeypatch.setattr(site, "_restart_unit", refuses)
    run, shown = reattach(site, tmp_path)
    assert run.state is RunState.FAILED
    assert isinstance(shown[-1].error, BackstayError)
    assert "masked" in str(run.steps[1].result["failed"][0]["evidence"])
