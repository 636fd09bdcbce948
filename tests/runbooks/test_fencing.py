"""Confirm, fence and guard, in a cloud in memory: what is refused, what is done, what is read."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from backstay.errors import HostUnreachable, LoginRefused, PowerError
from backstay.health.witness import observe, onhost
from backstay.inventory.cloud import Cloud
from backstay.journal.action import Refused, Running
from backstay.journal.plan import Plan, Step
from backstay.journal.result import StepResult
from backstay.journal.store import Store
from backstay.runbooks.replace import actions, fence_guard
from backstay.runbooks.replace.address_in_use import NotFenced
from backstay.runbooks.replace.confirm import FRESH, Confirm
from backstay.runbooks.replace.fence import Fence
from backstay.runbooks.replace.fence_guard import guarded, still_fenced
from backstay.transports import power
from backstay.transports.bmc import power_of
from tests.answering import as_asked
from tests.health.witness.recorded import HOSTS, Recorded
from tests.transports.redfish_board import RedfishBoard, served

if TYPE_CHECKING:
    from backstay.access.session import CloudSession

MINE, SPARES = "da:3e:a3:86:25:36", "02:00:00:00:00:31"


def bmc(host: str) -> dict[str, str]:
    return {"url": f"https://{host}.bmc.example", "username": "admin", "password": "s3cret"}


def cloud(**more: Any) -> Cloud:
    hosts = {name: host | {"bmc": bmc(name)} for name, host in HOSTS.items()}
    return Cloud.model_validate({"credentials": {"openrc": "openrc"}, "hosts": hosts} | more)


@pytest.fixture(autouse=True)
def nothing_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check_hosts(_session: Any, _hosts: Any) -> list[Any]:
        return []

    monkeypatch.setattr(observe, "check_hosts", check_hosts)


@dataclass
class World:
    """Who has power by its BMC, who answers by ARP with the controller's address, who is silent.

    `dead_bmcs` do not answer, `stubborn` ones do not obey; `off_takes` is who is really behind the
    controller's BMC; `mains_return` while a board is told to stay off. `blind` are hosts that may
    not ask by ARP; `liars` say that they see its hardware address.
    """

    cloud: Cloud = field(default_factory=cloud)
    on: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(HOSTS, True))
    liars: set[str] = field(default_factory=set)
    dead_bmcs: set[str] = field(default_factory=set)
    stubborn: bool = False
    macs: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    blind: set[str] = field(default_factory=set)
    off_takes: str = "controller"
    mains_return: bool = False
    done: list[str] = field(default_factory=list)
    services: tuple[Any, ...] = ()

    def host(self, name: str) -> Any:
        return self.cloud.hosts[name]

    async def ask(
        self,
        host: str,
        function: Any,
        *arguments: Any,
        returns: Any = None,
        bound: float = 30.0,
    ) -> Any:
        answers = MINE in self.macs if host == "controller" else host not in self.gone
        if not answers:
            raise HostUnreachable("asking", came_back="no route to host", remedy="look")
        answer = {"boot_id": "b"} if function is onhost.alive else self.told(host)
        return as_asked(answer, returns, host)

    async def here(self, _address: str, _ports: Any, _quick: bool) -> dict[str, Any]:
        return self.told("this machine")

    def told(self, host: str) -> dict[str, Any]:
        may = host not in self.blind
        if host in self.liars:
            seen = {"asked": True, "message": "", "macs": [MINE]}
            return {"arp": seen, "pings": True, "way": {"own": False}, "ports": []}
        return {
            "arp": {
                "asked": may,
                "message": "" if may else "not on its network",
                "macs": self.macs if may else [],
            },
            "pings": bool(self.macs),
            "way": {"own": False},
            "ports": [],
        }

    def power(self, target: Any) -> "Board":
        return Board(self, target.name)


@dataclass
class Board:
    world: World
    host: str

    def _answer(self) -> None:
        if self.host in self.world.dead_bmcs:
            raise PowerError("asking its BMC", came_back="no answer", remedy="look")

    async def state(self, *, bound: float = 30.0) -> bool | None:
        self._answer()
        return self.world.on[self.host]

    async def off(self) -> None:
        self._answer()
        if not self.world.on[self.host]:
            return
        self.world.done.append(f"off {self.host}")
        if self.world.stubborn:
            raise PowerError("powering off", came_back="still does not say off", remedy="look")
        self.world.on[self.host] = False
        if self.world.off_takes != self.host:
            self.world.gone.add(self.world.off_takes)

    async def keep_off(self) -> list[str]:
        self._answer()
        self.world.on[self.host] |= self.world.mains_return
        return ["power after an outage: not offered"]

    async def cycle(self) -> None:
        raise NotImplementedError


def run(
    world: World,
    action: str,
    results: Mapping[str, Any] | None = None,
    *,
    confirmed_fenced: bool = False,
    without_witnesses: Sequence[str] = (),
) -> Running:
    step = Step(id=f"controller.{action}", action=action, target="controller", does="", bound=9)
    plan = Plan(
        runbook="replace",
        cloud="lab",
        targets=("controller",),
        steps=(step,),
        settings={
            "spare": "spare1",
            "confirmed_fenced": confirmed_fenced,
            "without_witnesses": list(without_witnesses),
        },
    )
    return Running(
        run="replace-1",
        plan=plan,
        step=step,
        results=results or confirmed(),
        started=0.0,
        report=world.done.append,
    )


def confirmed(age: float = 0.0) -> dict[str, Any]:
    spoke = ["proxy", "storage1", "compute1", "compute2"]
    found = {"verdict": "dead", "asked_at": time.time() - age, "spoke": spoke}
    return {"controller.confirm": found}


def found_dead(world: World, **chosen: Any) -> dict[str, Any]:
    step = Confirm(cast("CloudSession", world), world.here, lambda t: world.power(t).state())
    return as_stored(asyncio.run(step.do(run(world, "confirm", {"x": 1}, **chosen))))


def test_a_witness_that_lies_is_left_out_by_the_operator_from_the_verdict_to_the_fence():
    world = World(liars={"compute2"})
    with pytest.raises(Refused, match="the witnesses disagree: compute2 sees it") as caught:
        found_dead(world)
    line = "backstay replace controller --with spare1 --without-witness compute2"
    assert caught.value.remedy.endswith(f"replace it with --without-witness compute2: {line}")

    result = found_dead(world, without_witnesses=["compute2"])
    assert result["verdict"] == "dead"
    assert result["left_out"] == ["compute2"]
    assert result["spoke"] == ["proxy", "storage1", "compute1"]
    assert ["compute2", "left out by the operator (--without-witness)"] in result["witnesses"]
    assert "left out by the operator: compute2" in result["reason"]
    assert "left out as witnesses: compute2" in world.done

    with pytest.raises((Refused, NotFenced)) as again:
        fenced(world, {"controller.confirm": result})
    assert again.value.remedy.endswith(line)
    done = fenced(world, {"controller.confirm": result}, without_witnesses=["compute2"])
    assert done["how"] == "power"
    assert "compute2" not in done["silent_for"]
    results = {"controller.confirm": result, "controller.fence": done}
    with pytest.raises(NotFenced) as late:
        still(world, results)
    assert late.value.remedy.endswith(f"backstay runs abandon replace-1; {line}")
    still(world, results, without_witnesses=["compute2"])


def test_one_that_begins_to_lie_in_mid_run_is_left_out_beside_the_others():
    world = World()
    done = fenced(world, without_witnesses=["compute1"])
    results = confirmed() | {"controller.fence": done}
    world.liars = {"compute2"}
    with pytest.raises(NotFenced) as caught:
        still(world, results, without_witnesses=["compute1"])
    line = caught.value.remedy.rpartition("; ")[2]
    assert line == (
        "backstay replace controller --with spare1 --without-witness compute1 "
        "--without-witness compute2"
    )
    world.liars = {"compute2", "proxy"}
    with pytest.raises(NotFenced) as caught:
        still(world, results, without_witnesses=["compute1"])
    assert "--without-witness" not in caught.value.remedy, "too few would be left"


def test_those_left_out_count_among_all_where_the_others_cannot_be_asked():
    world = World(gone={"storage1", "compute1"})
    with pytest.raises(Refused, match="only 1 of 4 others could be asked, and at least 2 must be"):
        found_dead(world, without_witnesses=["compute2"])


def fence(world: World) -> Fence:
    return Fence(cast("CloudSession", world), cast("Any", world.power), world.here)


def fenced(world: World, results: Mapping[str, Any] | None = None, **chosen: Any) -> Any:
    return as_stored(asyncio.run(fence(world).do(run(world, "fence", results, **chosen))))


def as_stored(result: StepResult) -> dict[str, Any]:
    """Return a result as the journal gives it back."""
    stored: dict[str, Any] = json.loads(json.dumps(result.to_json()))
    return stored


def orders(world: World) -> list[str]:
    return [done for done in world.done if done.startswith("off ")]


def test_confirm_refuses_with_everybody_s_words_and_gives_them_where_it_is_dead():
    alive = Recorded("cut-off-here")
    confirm = Confirm(cast("CloudSession", alive), alive.here, alive.power)
    with pytest.raises(Refused) as caught:
        asyncio.run(confirm.do(run(World(), "confirm", {"x": 1})))
    assert "cut off from here only" in caught.value.came_back
    assert "\n  compute1: ARP: da:3e:a3:86:25:36" in caught.value.came_back
    assert "repair the network" in caught.value.remedy

    dead = World(gone={"storage1"})
    confirm = Confirm(cast("CloudSession", dead), dead.here, lambda t: dead.power(t).state())
    result = as_stored(asyncio.run(confirm.do(run(dead, "confirm", {"x": 1}))))
    assert result["verdict"] == "dead"
    assert result["power"] == "power on"
    assert result["spoke"] == ["proxy", "compute1", "compute2"]
    assert ["storage1", "could not be asked: no route to host"] in result["witnesses"]
    assert asyncio.run(confirm.probe(run(dead, "confirm"))) is None


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_login_that_was_refused_is_a_sign_of_life_only_where_the_host_refused_it(elsewhere):
    class Locked(World):
        async def ask(self, host: str, function: Any, *arguments: Any, **how: Any) -> Any:
            if host != "controller":
                return await super().ask(host, function, *arguments, **how)
            refused = LoginRefused("logging in", came_back="no key", remedy="look")
            refused.elsewhere = elsewhere
            raise refused

    site = cast("CloudSession", Locked())
    login = asyncio.run(observe._login(site, "controller"))
    assert login.there is not elsewhere
    assert login.error == "no key"


def test_it_is_powered_off_and_read_back():
    world = World()
    result = fenced(world)
    assert (result["how"], orders(world), world.on["controller"]) == (
        "power",
        ["off controller"],
        False,
    )
    assert result["not_set"] == ["power after an outage: not offered"]
    assert "spare1" in result["silent_for"], "the spare counts here"
    assert asyncio.run(fence(world).probe(run(world, "fence")))


def test_nothing_is_done_to_one_that_was_not_confirmed_dead():
    world = World()
    for results in (
        {"x": 1},
        {"controller.confirm": {"verdict": "alive", "asked_at": time.time()}},
    ):
        with pytest.raises(Refused, match="not confirmed dead"):
            fenced(world, results)
    assert not orders(world)


@pytest.mark.parametrize("age", [0.0, FRESH + 1])
def test_one_that_is_back_since_it_was_found_dead_is_left_alone(age: float):
    world = World(macs=[MINE])
    with pytest.raises(Refused, match=r"it is alive"):
        fenced(world, confirmed(age))
    assert not orders(world)
    assert fenced(World(), confirmed(age))["how"] == "power", "still dead: goes on"


def test_a_clock_that_was_set_back_makes_no_old_verdict_fresh():
    world = World()
    later = {"controller.confirm": confirmed()["controller.confirm"]}
    later["controller.confirm"]["asked_at"] += 3600  # the clock was set back by an hour since
    fenced(world, later)
    assert any("asking all witnesses again" in done for done in world.done)


def test_mains_that_come_back_before_its_board_is_told_to_stay_off_do_not_bring_it_back():
    world = World(mains_return=True)
    world.on["controller"] = False
    assert fenced(world)["how"] == "power"
    assert not world.on["controller"]


def test_an_address_that_still_answers_is_told_and_can_be_gone_on_from():
    world = World(macs=["0e:00:00:00:00:99"])
    world.on["controller"] = False
    with pytest.raises(NotFenced) as caught:
        fenced(world)
    assert "compute1: 0e:00:00:00:00:99" in caught.value.came_back
    assert asyncio.run(fence(world).probe(run(world, "fence"))) is None
    assert not isinstance(caught.value, Refused), "its power was taken: the run is not over"
    world.macs.clear()
    assert asyncio.run(fence(world).probe(run(world, "fence")))


def test_a_bmc_of_another_host_is_noticed_by_who_is_gone():
    world = World(off_takes="compute2")
    with pytest.raises(NotFenced, match="compute2 cannot be asked") as caught:
        fenced(world)
    assert "not that of compute2" in caught.value.remedy


@pytest.mark.parametrize(
    ("world", "confirmed_fenced", "missing"),
    [
        (World(dead_bmcs={"controller"}), False, ["no person has confirmed that it is off"]),
        (
            World(dead_bmcs={"controller"}, blind={*HOSTS, "this machine"}),
            True,
            ["no host on its network found it silent by ARP", "spare1: not on its network"],
        ),
        (World(stubborn=True), True, ["reports power on, whatever was confirmed"]),
    ],
)
def test_without_its_bmc_a_word_and_silence_are_both_needed(
    world: World, confirmed_fenced: bool, missing: list[str]
):
    with pytest.raises(Refused) as caught:
        fenced(world, confirmed_fenced=confirmed_fenced)
    for words in missing:
        assert words in caught.value.came_back
    assert "--confirm-fenced controller" in caught.value.remedy


def test_silence_for_the_spare_alone_and_a_word_are_enough():
    world = World(dead_bmcs={"controller"}, blind={*HOSTS, "this machine"} - {"spare1"})
    result = fenced(world, confirmed_fenced=True)
    assert result["how"] == "person"
    assert "unplug its cables" in result["summary"]
    assert asyncio.run(fence(world).probe(run(world, "fence"))) is None, "it has to be asked again"


def still(
    world: World,
    results: Mapping[str, Any],
    *,
    without_witnesses: Sequence[str] = (),
    **adopted: Any,
) -> None:
    asyncio.run(
        still_fenced(
            cast("CloudSession", world),
            run(world, "adopt", results, without_witnesses=without_witnesses),
            power=cast("Any", world.power),
            here=world.here,
            **adopted,
        )
    )


def test_it_is_looked_at_again_before_and_after_its_address_is_adopted():
    world = World()
    with pytest.raises(Refused, match="no step of this run has made sure"):
        still(world, confirmed())
    results = confirmed() | {"controller.fence": fenced(world)}
    still(world, results)
    world.macs = [SPARES]
    still(world, results, adopted=[SPARES.upper()])
    world.macs = [MINE, SPARES]
    with pytest.raises(NotFenced, match=MINE):
        still(world, results, adopted=[SPARES])
    world.macs, world.on["controller"] = [], True
    with pytest.raises(NotFenced, match="it was switched on"):
        still(world, results)


def guard(world: World, results: Mapping[str, Any], step: str) -> AbstractAsyncContextManager[None]:
    running = run(world, step, results)
    return guarded(cast("CloudSession", world), running, cast("Any", world.power))


def guard_a_step(world: World, results: Mapping[str, Any]) -> None:
    """Guard a step that is done when the controller is off, or after a while."""

    async def step() -> None:
        async with guard(world, results, "build"):
            until = time.monotonic() + 0.5
            while world.on["controller"] and time.monotonic() < until:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    asyncio.run(step())


def test_one_that_is_switched_on_meanwhile_is_powered_off_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fence_guard, "PAUSE", 0.01)
    world = World()
    results = confirmed() | {"controller.fence": fenced(world)}
    world.on["controller"] = True
    guard_a_step(world, results)
    assert orders(world) == ["off controller", "off controller"]
    assert any("switched on" in said for said in world.done)


def test_where_it_comes_on_and_a_step_fails_it_is_off_before_the_run_ends():
    world = World()
    results = confirmed() | {"controller.fence": fenced(world)}

    async def step() -> None:
        """Fail as the controller comes on: its packets disturb the step."""
        async with guard(world, results, "send"):
            world.on["controller"] = True
            raise HostUnreachable("sending", came_back="connection reset", remedy="resume")

    with pytest.raises(HostUnreachable) as caught:
        asyncio.run(step())
    assert not world.on["controller"]
    assert "controller was switched on meanwhile" in caught.value.remedy
    assert caught.value.remedy.endswith("; then: resume")


def test_every_step_after_the_fence_is_guarded_and_its_errors_name_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    monkeypatch.setattr(actions, "guarded", partial(guarded, power=cast("Any", world.power)))
    results = confirmed() | {"controller.fence": fenced(world), "controller.adopt": {}}
    store = Store(f"sqlite:///{tmp_path}/journal.db")
    runbook = actions.runbook(cast("CloudSession", world), store)

    async def step(action: str) -> None:
        async with runbook.around(run(world, action, results)):
            world.on["controller"] = True
            raise HostUnreachable("asking controller", came_back="no route", remedy="look")

    for action in ("adopt", "build", "works", "take-over"):
        with pytest.raises(HostUnreachable) as caught:
            asyncio.run(step(action))
        assert not world.on["controller"], action
        assert caught.value.remedy.startswith("controller was switched on meanwhile")
        assert "that is spare1, which has the place of controller by now" in caught.value.remedy


def test_the_host_that_has_its_name_since_is_never_powered_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fence_guard, "PAUSE", 0.01)
    world = World()
    results = confirmed() | {"controller.fence": fenced(world)}
    hosts = {name: host | {"bmc": bmc(name)} for name, host in HOSTS.items() if name != "spare1"}
    hosts["controller"] = HOSTS["controller"] | {"bmc": bmc("spare1")}
    fence_entry = {"was": "controller", "since": "2026-11-24T22:00:00Z", "bmc": bmc("controller")}
    world.cloud = cloud(hosts=hosts, fenced={"controller-old": fence_entry})
    world.on["controller"], world.done = True, []
    guard_a_step(world, results)
    # Both are called controller here; the URL tells that it was the old one's BMC.
    assert world.on["controller"] is False
    world.cloud = cloud(hosts=hosts)
    world.on["controller"], world.done = True, []
    guard_a_step(world, results)
    assert not orders(world)


def at_a_board(world: World, url: str, *, again: bool = False, **chosen: Any) -> Any:
    """Fence by a BMC in memory that speaks Redfish."""

    def board(target: Any) -> Any:
        return power_of(replace(target, url=url))

    done = Fence(cast("CloudSession", world), board, world.here)
    running = replace(run(world, "fence", None, **chosen), again=again)
    return as_stored(asyncio.run(done.do(running)))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "OFF_PAUSE", 0.01)
    monkeypatch.setattr(power, "OFF_BOUND", 20.0)


@pytest.mark.parametrize("fault", [503, "closed", 401])
def test_a_bmc_that_is_busy_after_the_order_is_asked_again(quick: None, fault: int | str) -> None:
    board = RedfishBoard(faults=[fault] * 4)
    with served(board) as url:
        assert at_a_board(World(), url)["how"] == "power"
    assert board.power == "Off"


def test_a_run_that_has_sent_the_order_is_not_refused_and_says_so(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power, "OFF_BOUND", 0.3)
    board, world = RedfishBoard(faults=[503], forever=True), World()
    with served(board) as url:
        with pytest.raises(NotFenced, match="ForceOff was sent, and the power was not") as caught:
            at_a_board(world, url)
        assert "then: backstay runs resume replace-1" in caught.value.remedy
        assert "--confirm-fenced controller" in caught.value.remedy
        done = at_a_board(world, url, confirmed_fenced=True)
        assert done["how"] == "person", "a word and silence are enough, as ever"
        board.busy = [401] * 9
        board.faults = []
        board.resets.clear()
        board.power, board.left = "On", None
        with pytest.raises(NotFenced, match="an earlier attempt of this step may have cut"):
            at_a_board(world, url, again=True)
        with pytest.raises(Refused):
            at_a_board(world, url)


def test_what_fails_after_its_power_was_cut_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    board = Board(world, "controller")

    async def fails() -> None:
        raise PowerError("powering off", came_back="connection refused", remedy="look")

    async def keep_off() -> list[str]:
        monkeypatch.setattr(board, "off", fails)
        return []

    monkeypatch.setattr(board, "keep_off", keep_off)
    monkeypatch.setattr(world, "power", lambda _: board)
    with pytest.raises(NotFenced, match="its power was cut, and read back as off; then"):
        fenced(world)
