"""Is a host dead? Asked from several places; and a dead one is fenced before another is it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from ruamel.yaml import YAML

from backstay.access.session import CloudSession
from backstay.cli.session import open_api
from backstay.errors import PowerError
from backstay.health.witness.judge import HostVerdict, Verdict, judge
from backstay.health.witness.observe import ask_address, gather_evidence
from backstay.inventory.cloud import Cloud
from backstay.inventory.load import load
from backstay.journal.action import Refused, Running
from backstay.journal.plan import Plan, Step
from backstay.runbooks.replace.address_in_use import NotFenced
from backstay.runbooks.replace.confirm import Confirm
from backstay.runbooks.replace.fence import Fence
from backstay.runbooks.replace.fence_guard import guarded, still_fenced
from backstay.runbooks.replace.steps import BY_PERSON
from backstay.transports.bmc import power_of
from backstay.transports.power import Power
from backstay.transports.ssh import HostShell
from tests.acceptance.conftest import Lab
from tests.acceptance.network_partition import cut_from_each_other

pytestmark = pytest.mark.lab

T = TypeVar("T")
SILENT_BMC = "https://{net}.199:8443"  # nobody has that address in the lab


def on_site(
    lab: Lab, story: Callable[[CloudSession], Awaitable[T]], bmcs: Mapping[str, str] | None = None
) -> T:
    """Tell a story on the lab's site; hosts in `bmcs` have a BMC of that URL."""
    cloud = load(lab.cloud_file)
    hosts = {name: _with_bmc(cloud, name, url) for name, url in (bmcs or {}).items()}
    cloud = cloud.model_copy(update={"hosts": cloud.hosts | hosts})

    async def told() -> T:
        async with HostShell(connect_bound=cloud.bounds.connect_seconds) as shell:
            return await story(CloudSession(cloud=cloud, shell=shell, api=open_api(cloud)))

    return asyncio.run(told())


def _with_bmc(cloud: Cloud, name: str, url: str) -> Any:
    host = cloud.hosts[name]
    assert host.bmc
    changed = host.model_copy(update={"bmc": host.bmc.model_copy(update={"url": url})})
    changed._name = name
    return changed


def silent_bmc(lab: Lab, host: str) -> str:
    return SILENT_BMC.format(net=lab.hosts[host]["address"].rpartition(".")[0])


def judged(lab: Lab, host: str) -> HostVerdict:
    async def story(site: CloudSession) -> HostVerdict:
        return judge(await gather_evidence(site, host))

    return on_site(lab, story)


def running(
    host: str, action: str, *, confirmed_fenced: bool = False, results: dict[str, Any] | None = None
) -> Running:
    step = Step(id=f"{host}.{action}", action=action, target=host, does=action, bound=240)
    settings = {"spare": "spare1", "confirmed_fenced": confirmed_fenced}
    plan = Plan(runbook="replace", cloud="lab", targets=(host,), steps=(step,), settings=settings)
    return Running(
        run="replace-1",
        plan=plan,
        step=step,
        results=results or {},
        started=time.time(),
        report=lambda _: None,
    )


def confirmed(lab: Lab, host: str) -> dict[str, Any]:
    """Confirm that a host is dead, and give the results of a run that did."""
    result = on_site(lab, lambda site: Confirm(site).do(running(host, "confirm")))
    return {f"{host}.confirm": result.to_json()}


def fenced(
    lab: Lab,
    host: str,
    results: dict[str, Any],
    *,
    confirmed_fenced: bool = False,
    bmcs: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Fence a host; give the results of the run so far."""
    step = running(host, "fence", confirmed_fenced=confirmed_fenced, results=results)
    result = on_site(lab, lambda site: Fence(site).do(step), bmcs)
    return results | {f"{host}.fence": result.to_json()}


def power(lab: Lab, host: str) -> Power:
    cloud = load(lab.cloud_file)
    target = cloud.bmc_target(cloud.hosts[host])
    assert target
    return power_of(target)


def state(lab: Lab, host: str) -> bool | None:
    return asyncio.run(power(lab, host).state())


@contextmanager
def powered_on_again(lab: Lab, host: str) -> Iterator[None]:
    """Whatever the story did to its power, it is on afterwards."""
    try:
        yield
    finally:
        lab.backstay("lab", "heal")
        if not state(lab, host):
            asyncio.run(power(lab, host).cycle())


@pytest.mark.parametrize("host", ["controller", "proxy", "compute1"])
def test_a_host_that_is_well_is_alive(lab: Lab, host: str) -> None:
    started = time.monotonic()
    found = judged(lab, host)
    assert (found.verdict, found.remedy) == (Verdict.ALIVE, f"backstay check {host}")
    assert all(word.sign for word in found.statements)
    assert {word.witness for word in found.statements} == {
        "this machine",
        "BMC",
        *set(lab.hosts) - {host, "spare1"},
    }
    assert time.monotonic() - started < 15


def test_cut_off_from_the_operator_only(lab: Lab) -> None:
    lab.backstay("lab", "break", "cut-network", "controller", "--from", "operator")
    found = judged(lab, "controller")
    assert found.verdict is Verdict.CUT_OFF_HERE
    assert "4 of 4 others do" in found.reason
    with pytest.raises(Refused) as caught:
        confirmed(lab, "controller")
    assert "repair the network between this machine and" in caught.value.remedy
    assert "compute2: ARP: " in caught.value.came_back, "what every witness says is told"


def test_a_compute_host_and_the_controller_that_do_not_reach_each_other(lab: Lab) -> None:
    addresses = (lab.hosts["controller"]["address"], lab.hosts["compute1"]["address"])
    with cut_from_each_other(addresses):
        for host, blind in (("compute1", "controller"), ("controller", "compute1")):
            found = judged(lab, host)
            assert found.verdict is not Verdict.DEAD
            assert f"{blind} cannot reach it" in found.reason
            assert {w.sign for w in found.statements if w.witness == blind} == {False}
    lab.wait_green()


def test_services_that_hang_or_stopped_are_no_death(lab: Lab) -> None:
    lab.backstay("lab", "break", "hang-service", "controller/keystone")
    lab.backstay("lab", "break", "stop-service", "controller/glance-api")
    found = judged(lab, "controller")
    assert found.verdict is Verdict.UNHEALTHY
    assert "accepts connections to 5000 and sends nothing" in found.reason
    assert "glance-api: not running" in found.reason
    assert "backstay reboot controller" in found.remedy


def test_a_host_that_hangs_as_a_whole_is_no_death(lab: Lab) -> None:
    lab.backstay("lab", "break", "freeze", "proxy")
    found = judged(lab, "proxy")
    assert found.verdict is Verdict.UNHEALTHY
    assert "power-cycle it" in found.remedy


def test_a_host_without_power_is_dead_and_fencing_reads_that_back(lab: Lab) -> None:
    with powered_on_again(lab, "proxy"):
        lab.backstay("lab", "break", "power-off", "proxy")
        started = time.monotonic()
        results = confirmed(lab, "proxy")
        assert time.monotonic() - started < 20
        assert results["proxy.confirm"]["verdict"] == "dead"
        assert results["proxy.confirm"]["power"] == "power off"
        results = fenced(lab, "proxy", results)
        assert results["proxy.fence"]["how"] == "power"
        assert {"this machine", "spare1", "compute1"} <= set(results["proxy.fence"]["silent_for"])
        step = running("proxy", "fence", results=results)
        found = on_site(lab, lambda site: Fence(site).probe(step))
        assert found
        assert found.how == "power", "an interrupted step finds that it is done"
        on_site(lab, lambda site: still_fenced(site, step))


def test_a_host_with_power_that_nobody_reaches_is_powered_off(lab: Lab) -> None:
    with powered_on_again(lab, "proxy"):
        lab.backstay("lab", "break", "cut-network", "proxy")
        results = confirmed(lab, "proxy")
        assert "reports power on" in results["proxy.confirm"]["reason"]
        assert on_site(lab, lambda site: Fence(site).probe(running("proxy", "fence"))) is None
        results = fenced(lab, "proxy", results)
        assert state(lab, "proxy") is False
        lab.backstay("lab", "heal")  # its network is back: nobody is there to answer
        step = running("proxy", "adopt", results=results)
        on_site(lab, lambda site: still_fenced(site, step))
        asyncio.run(power(lab, "proxy").cycle())  # somebody presses its button before it is adopted
        with pytest.raises(NotFenced, match="switched on"):
            on_site(lab, lambda site: still_fenced(site, step))


def test_the_mains_come_back_after_it_was_fenced(lab: Lab) -> None:
    with powered_on_again(lab, "proxy"):
        lab.backstay("lab", "break", "power-off", "proxy")
        results = fenced(lab, "proxy", confirmed(lab, "proxy"))
        if any("PowerRestorePolicy" in missed for missed in results["proxy.fence"]["not_set"]):
            pytest.skip("this lab's BMCs are of an older version: lab down, lab up")
        assert not results["proxy.fence"]["not_set"]
        lab.backstay("lab", "heal")
        assert state(lab, "proxy") is False
        on_site(lab, lambda site: still_fenced(site, running("proxy", "adopt", results=results)))


async def switched_on(lab: Lab, site: "CloudSession", step: Running) -> float:
    """Switch the old host on during a guarded step; return for how many seconds it was on."""
    async with guarded(site, step):
        board = power(lab, "proxy")
        await board.cycle()
        started = time.monotonic()
        while await board.state() and time.monotonic() - started < 30:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return time.monotonic() - started


def test_one_that_is_switched_on_while_its_place_is_taken_loses_its_power_again(lab: Lab) -> None:
    with powered_on_again(lab, "proxy"):
        lab.backstay("lab", "break", "power-off", "proxy")
        results = fenced(lab, "proxy", confirmed(lab, "proxy"))
        step = running("proxy", "build", results=results)
        on_for = on_site(lab, lambda site: switched_on(lab, site, step))
        # A server takes longer to get through its firmware; a host of the lab is there in a second.
        assert on_for < 5
        assert state(lab, "proxy") is False
        on_site(lab, lambda site: still_fenced(site, step))


def test_one_that_comes_back_before_it_is_fenced_is_left_alone(lab: Lab) -> None:
    with powered_on_again(lab, "proxy"):
        lab.backstay("lab", "break", "power-off", "proxy")
        results = confirmed(lab, "proxy")
        lab.backstay("lab", "heal")
        lab.wait_green()
        with pytest.raises(Refused, match="it is alive"):
            fenced(lab, "proxy", results)
        assert state(lab, "proxy") is True


@pytest.mark.slow
def test_without_a_bmc_silence_and_a_person_s_word_are_both_asked_for(lab: Lab) -> None:
    silent = {"proxy": silent_bmc(lab, "proxy")}
    with powered_on_again(lab, "proxy"):
        lab.backstay("lab", "break", "power-off", "proxy")
        results = confirmed(lab, "proxy")
        with pytest.raises(Refused) as caught:
            fenced(lab, "proxy", results, bmcs=silent)
        assert "no person has confirmed that it is off" in caught.value.came_back
        by_person = fenced(lab, "proxy", results, confirmed_fenced=True, bmcs=silent)["proxy.fence"]
        assert by_person["how"] == BY_PERSON
        assert "unplug its cables" in by_person["summary"]
        lab.backstay("lab", "heal")  # it is back, and the confirmation was wrong
        lab.wait_until(lambda: address_answers(lab, "proxy"), what="its address answers", bound=30)
        with pytest.raises(Refused) as caught:
            fenced(lab, "proxy", results, confirmed_fenced=True, bmcs=silent)
        assert "\n  this machine: ARP: " in caught.value.came_back
        step = running("proxy", "adopt", results=results | {"proxy.fence": by_person})
        with pytest.raises(NotFenced, match="something answers with its address"):
            on_site(lab, lambda site: still_fenced(site, step), silent)


def address_answers(lab: Lab, host: str) -> bool:
    async def story(site: CloudSession) -> bool:
        return any(witness.macs for witness in await ask_address(site, host))

    return on_site(lab, story)


@pytest.mark.slow
def test_a_dead_board_is_fenced_and_stays_so(lab: Lab) -> None:
    try:
        lab.backstay("lab", "break", "dead-board", "proxy")
        results = fenced(lab, "proxy", confirmed(lab, "proxy"))
        assert results["proxy.fence"]["how"] == "power"
        with pytest.raises(PowerError):
            asyncio.run(power(lab, "proxy").cycle())
        step = running("proxy", "adopt", results=results)
        on_site(lab, lambda site: still_fenced(site, step))
    finally:
        lab.backstay("lab", "new-board", "proxy")
    lab.wait_green()


def test_check_watches_over_what_is_only_fenced(lab: Lab) -> None:
    yaml = YAML(typ="safe")
    described = yaml.load(lab.cloud_file)
    spare = described["hosts"].pop("spare1")
    old = {"was": "proxy", "since": "2026-11-24T22:00:00Z", "bmc": spare["bmc"]}
    gone = old | {"bmc": spare["bmc"] | {"url": silent_bmc(lab, "proxy")}}
    described["fenced"] = {"old": old, "gone": gone}
    file = lab.cloud_file.with_name("story.yaml")
    yaml.dump(described, file)

    def severities() -> dict[str, str]:
        checked = lab.check("--cloud", str(file))
        return {name: checked.about(name, "fenced host")["severity"] for name in ("old", "gone")}

    try:
        with powered_on_again(lab, "spare1"):
            assert severities() == {"old": "failed", "gone": "unknown"}
            asyncio.run(power(lab, "spare1").off())
            assert severities() == {"old": "warning", "gone": "unknown"}
    finally:
        file.unlink()
