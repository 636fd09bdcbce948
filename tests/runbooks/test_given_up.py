"""A spare that was given up half-way never comes on as the host; a BMC is that of the machine."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from backstay.cli.main import backstay
from backstay.errors import PowerError
from backstay.inventory.cloud import Cloud
from backstay.inventory.load import load
from backstay.inventory.takeover import give_up
from backstay.journal.action import Refused
from backstay.journal.plan import Plan, Step
from backstay.journal.records import EventKind, RunState
from backstay.journal.store import Store
from backstay.runbooks import power_off
from backstay.runbooks.common.which_machine import AnotherMachine
from backstay.runbooks.replace import given_up
from backstay.runbooks.replace.fence import Fence
from backstay.runbooks.replace.fence_guard import guarded, still_fenced
from backstay.runbooks.replace.given_up import (
    GivenUp,
    given_up_by,
    is_proved_off,
    refuse_unless_off,
)
from backstay.transports.hardware import Hardware, hardware_of
from tests.health.witness.recorded import HOSTS
from tests.runbooks.test_fencing import Board, World, as_stored, bmc, cloud, confirmed, orders, run
from tests.runbooks.test_power_off import running as power_off_running
from tests.transports.redfish_board import RedfishBoard, served

HOST, OTHER = "4c4c4544-0038-3110-8052-b4c04f4e3432", "4c4c4544-0038-3110-8052-b4c04f4e3433"


@dataclasses.dataclass
class TellingBoard(Board):
    """A BMC that says which machine is behind it."""

    uuid: str = HOST

    async def hardware(self) -> Hardware:
        self._answer()
        return hardware_of(self.uuid)


class TellingWorld(World):
    uuid = HOST

    def power(self, target: Any) -> TellingBoard:
        return TellingBoard(self, target.name, self.uuid)


def fence(world: World, uuid: str) -> Fence:
    return Fence(
        cast("Any", world), cast("Any", world.power), world.here, lambda *_: hardware_of(uuid)
    )


def test_the_machine_behind_the_bmc_is_compared_before_it_is_powered_off() -> None:
    world = TellingWorld()
    result = as_stored(asyncio.run(fence(world, HOST).do(run(world, "fence"))))
    assert (result["uuid"], orders(world)) == (HOST, ["off controller"])
    assert "its BMC is that of this machine" in result["summary"]


def test_the_bmc_of_another_machine_is_left_alone() -> None:
    world = TellingWorld()
    with pytest.raises(Refused) as caught:
        asyncio.run(fence(world, OTHER).do(run(world, "fence")))
    assert orders(world) == []
    assert HOST in caught.value.came_back
    assert OTHER in caught.value.came_back
    assert "correct `bmc` of controller" in caught.value.remedy
    world.on["controller"] = False
    assert asyncio.run(fence(world, OTHER).probe(run(world, "fence"))) is None
    # A person's word is enough, as where there is no BMC: whatever the other machine's state is.
    world.on["controller"] = True
    done = asyncio.run(fence(world, OTHER).do(run(world, "fence", confirmed_fenced=True)))
    assert (done.how, orders(world)) == ("person", [])


@pytest.mark.parametrize(
    "urls",
    [
        ("https://localhost:8443", "https://127.0.0.1:8443"),
        ("https://localhost", "https://127.0.0.1/of-another/"),
        ("https://localhost:8443", "ipmi://127.0.0.1"),
    ],
)
def test_a_bmc_that_two_names_lead_to_is_left_alone(urls: tuple[str, str]) -> None:
    hosts = {
        name: host | {"bmc": {**bmc(name), "protocol": None, "url": url}}
        for (name, host), url in zip(
            HOSTS.items(), [*urls, *(f"https://192.0.2.{n}" for n in range(9))], strict=False
        )
    }
    world = World(cloud=cloud(hosts=hosts))
    first, second = list(hosts)[:2]
    running = run(world, "fence")
    plan = dataclasses.replace(running.plan, targets=(first,))
    results = {f"{first}.confirm": confirmed()["controller.confirm"]}
    running = dataclasses.replace(running, plan=plan, results=results)
    with pytest.raises(Refused, match=f"{second} has the same BMC"):
        asyncio.run(fence(world, "").do(running))
    assert orders(world) == []


def test_one_that_tells_nothing_is_not_compared_and_that_is_said() -> None:
    for world, noted in ((World(), HOST), (TellingWorld(), "")):
        result = asyncio.run(fence(world, noted).do(run(world, "fence")))
        assert "not compared which machine is behind its BMC" in str(result.summary)
        assert orders(world) == ["off controller"]


def test_a_bmc_whose_address_another_machine_has_by_now_is_not_powered_off_later() -> None:
    world = TellingWorld()
    results = {
        **confirmed(),
        "controller.fence": {
            "how": "power",
            "bmc": "https://controller.bmc.example",
            "uuid": OTHER,
        },
    }

    async def guard() -> None:
        async with guarded(
            cast("Any", world), run(world, "adopt", results), cast("Any", world.power)
        ):
            await asyncio.sleep(0.05)

    asyncio.run(guard())
    assert orders(world) == []
    with pytest.raises(AnotherMachine):
        asyncio.run(
            still_fenced(
                cast("Any", world),
                run(world, "adopt", results),
                power=cast("Any", world.power),
                here=world.here,
            )
        )
    results["controller.fence"]["uuid"] = HOST
    asyncio.run(guard())
    assert orders(world) == ["off controller"]


def test_the_power_of_a_fenced_host_is_cut_only_while_it_is_behind_its_bmc() -> None:
    world = TellingWorld(cloud=cloud(fenced={"old": OLD | {"uuid": OTHER}}))
    world.on["old"] = True
    plan = power_off.plan(world.cloud, "old")
    action = power_off.runbook(cast("Any", world_session(world)), power=cast("Any", world.power))
    step = plan.steps[0]
    with pytest.raises(AnotherMachine):
        asyncio.run(action.actions[step.action].do(power_off_running(plan, step)))
    assert orders(world) == []


OLD = {
    "was": "controller",
    "since": "2026-11-24T22:00:00Z",
    "bmc": {"url": "https://old.bmc.example", "username": "admin", "password": "s3cret"},
}


def world_session(world: World) -> Any:
    """The world as a session: it has a cloud."""
    return dataclasses.make_dataclass("Session", ["cloud"])(world.cloud)


def test_the_guard_watches_a_spare_that_was_given_up() -> None:
    world = World(cloud=cloud(fenced={"spare9": OLD}))
    world.on |= {"spare9": True, "controller": False}
    fenced = {"how": "power", "bmc": "https://controller.bmc.example"}
    results = {**confirmed(), "controller.fence": fenced}

    async def guard() -> None:
        async with guarded(
            cast("Any", world), run(world, "send", results), cast("Any", world.power)
        ):
            await asyncio.sleep(0.05)

    asyncio.run(guard())
    assert orders(world) == ["off spare9"]


def plan_with(spare: str, host: str = "controller") -> Plan:
    steps = tuple(
        Step(id=f"{host}.{name}", action=name, target=host, does=name, bound=9)
        for name in ("prepare", "fence", "adopt", "send")
    )
    return Plan(
        runbook="replace",
        cloud="cloud",
        targets=(host, spare),
        steps=steps,
        settings={"spare": spare, "backup": f"{host}-1", "mark": "m"},
    )


def half_built(
    store: Store, spare: str, *, adopts: bool = True, uuid: str = "", host: str = "controller"
) -> str:
    """A run that has failed in, or before, *adopt*."""
    name = store.create(plan_with(spare, host))
    claim = store.take(name, ["cloud", f"cloud/{host}", f"cloud/{spare}"])
    store.start(claim, f"{host}.prepare")
    store.finish(claim, f"{host}.prepare", {"uuid": uuid} if uuid else {})
    if adopts:
        store.start(claim, f"{host}.adopt")
        store.fail(claim, f"{host}.adopt", PowerError("x", came_back="x", remedy="x"))
    store.end(claim, RunState.FAILED)
    return name


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path}/journal.db"
    monkeypatch.setenv("BACKSTAY_JOURNAL", url)
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    found = Store(url)
    yield found
    found.close()


def refused(world: World, store: Store, spare: str = "spare2") -> str:
    """Start another replacement; return why it is refused, empty where it is not."""
    running = run(world, "confirm")
    plan = dataclasses.replace(running.plan, settings={"spare": spare})
    running = dataclasses.replace(running, plan=plan, run="replace-99")
    try:
        asyncio.run(refuse_unless_off(world.cloud, store, running, power=cast("Any", world.power)))
    except Refused as error:
        return f"{error.came_back} | {error.remedy}"
    return ""


def test_another_replacement_is_refused_until_the_first_spare_is_proved_off(store: Store) -> None:
    world = World()
    half_built(store, "spare1", adopts=False)
    assert refused(world, store) == "", "before adopt a spare is a spare"
    name = half_built(store, "spare1")
    assert f"may be resumed: backstay runs abandon {name}" in refused(world, store)
    assert refused(world, store, "spare1") == "", "it is built anew: it is that host"
    store.abandon(name, ["cloud"], "given up")
    why = refused(world, store)
    assert "not proved off" in why
    assert f"backstay runs abandon {name} --confirm-fenced spare1" in why
    store.note(name, EventKind.SPARE_OFF, "off")
    assert refused(world, store) == ""
    world.cloud = cloud(fenced={"spare1-old": OLD})
    world.on["spare1-old"] = True
    assert "spare1-old, which had the place of controller before, is switched on" in refused(
        world, store
    )
    world.on["spare1-old"] = False
    assert refused(world, store) == ""


def test_a_spare_that_may_have_another_host_s_address_is_not_built_into_this_one(
    store: Store,
) -> None:
    world = World()
    name = half_built(store, "spare1", host="proxy")
    assert refused(world, store, "spare2") == "", "it is of another host's concern"
    why = refused(world, store, "spare1")
    assert "spare1 may have the address of another host" in why
    assert f"backstay runs abandon {name}" in why
    store.abandon(name, ["cloud"], "given up")
    assert "--confirm-fenced spare1" in refused(world, store, "spare1")
    store.note(name, EventKind.SPARE_OFF, "off")
    assert refused(world, store, "spare1") == "", "it was installed anew"


def test_one_that_was_given_up_long_ago_is_not_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backups and reboots are runs too, and there are many of them."""
    monkeypatch.setattr(given_up, "RUNS", 2)
    half_built(store, "spare1")
    for _ in range(3):
        store.create(dataclasses.replace(plan_with("spare1"), runbook="reboot"))
    assert "may be resumed" in refused(World(), store)


def test_only_a_run_whose_adopt_was_started_has_such_a_spare(store: Store) -> None:
    assert given_up_by(store.run(half_built(store, "spare1", adopts=False))) is None
    found = given_up_by(store.run(half_built(store, "spare1", uuid=HOST)))
    assert found == GivenUp(
        run="replace-2",
        host="controller",
        spare="spare1",
        hardware=Hardware(uuid=HOST),
        ended=False,
    )


FILE = """\
name: cloud
credentials: {environment: true}
hosts:
  controller:
    address: 192.0.2.11
    roles: [controller]
    bmc: {url: 'https://192.0.2.111', username: admin, password: s3cret}
  spare1:
    address: 192.0.2.31
    roles: [spare]
    # its board
    bmc: {url: 'URL', username: admin, password: s3cret}
  spare2:
    address: 192.0.2.32
    roles: [spare]
"""


def abandoned(tmp_path: Path, url: str, *words: str) -> Any:
    file = tmp_path / "cloud.yaml"
    if not file.exists():
        file.write_text(FILE.replace("URL", url))
        file.chmod(0o600)
    command = ["runs", "abandon", *words, "--yes", "--cloud", str(file)]
    return CliRunner().invoke(backstay, command)


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    async def give_back(*_: Any, **__: Any) -> Mapping[str, str]:
        return {}

    monkeypatch.setattr("backstay.runbooks.common.host_lease.give_back", give_back)
    monkeypatch.setattr("backstay.transports.power.OFF_PAUSE", 0.01)
    monkeypatch.setattr("backstay.transports.power.OFF_BOUND", 0.5)


def test_abandoning_it_powers_its_spare_off_for_good(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    name, board = half_built(store, "spare1"), RedfishBoard()
    with served(board) as url:
        done = abandoned(tmp_path, url, name)
    assert done.exit_code == 0, done.output
    assert (board.power, board.policy) == ("Off", "AlwaysOff")
    assert board.resets[0] == "ForceOff"
    assert "spare1 is off, read back by its BMC" in done.output
    assert store.run(name).state is RunState.ABANDONED
    assert is_proved_off(store, name)
    written = load(tmp_path / "cloud.yaml")
    assert "spare1" not in written.hosts
    assert written.fenced["spare1"].was == "controller"
    assert written.fenced["spare1"].bmc
    assert written.hosts["controller"].bmc, "the host itself stays as it is"
    again = abandoned(tmp_path, "", name)
    assert again.exit_code == 4, "there is nothing more to do"


def test_where_it_cannot_be_powered_off_that_is_said_and_a_person_may_confirm_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    name = half_built(store, "spare1")
    done = abandoned(tmp_path, "http://127.0.0.1:9", name)
    assert done.exit_code == 2
    assert "spare1 is NOT proved off" in done.output
    assert f"backstay runs abandon {name} --confirm-fenced spare1" in done.output
    assert store.run(name).state is RunState.ABANDONED, "and yet nobody may resume it"
    assert not is_proved_off(store, name)
    assert "not proved off" in refused(World(), store)
    wrong = abandoned(tmp_path, "", name, "--confirm-fenced", "spare2")
    assert wrong.exit_code == 64
    done = abandoned(tmp_path, "", name, "--confirm-fenced", "spare1")
    assert done.exit_code == 0, done.output
    assert is_proved_off(store, name)
    assert load(tmp_path / "cloud.yaml").fenced["spare1"].was == "controller"


def test_a_spare_of_that_name_in_another_cloud_is_left_alone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    name, board = half_built(store, "spare1"), RedfishBoard()
    with served(board) as url:
        file = tmp_path / "cloud.yaml"
        file.write_text(FILE.replace("URL", url).replace("name: cloud", "name: other"))
        file.chmod(0o600)
        done = abandoned(tmp_path, url, name)
    assert done.exit_code == 2, done.output
    assert board.resets == []
    assert "describes other" in done.output
    assert "spare1 is NOT proved off" in done.output
    assert not is_proved_off(store, name)


def answering(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> None:
    """Answer the questions of a terminal; what may be called is what happens meanwhile."""
    left = list(answers)

    def prompt(*_: Any, **__: Any) -> Any:
        answer = left.pop(0)
        return answer() if callable(answer) else answer

    monkeypatch.setattr("backstay.cli.options._has_terminal", lambda: True)
    monkeypatch.setattr("backstay.cli.output.terminal.prompt", prompt)
    monkeypatch.setattr("backstay.cli.output.terminal.confirm", prompt)


def asked_about(tmp_path: Path, url: str, name: str) -> Any:
    file = tmp_path / "cloud.yaml"
    file.write_text(FILE.replace("URL", url))
    file.chmod(0o600)
    return CliRunner().invoke(backstay, ["runs", "abandon", name, "--cloud", str(file)])


def test_a_run_that_adopts_while_the_operator_thinks_is_seen(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    name, board = store.create(plan_with("spare1")), RedfishBoard()
    claim = store.take(name, ["cloud", "cloud/controller", "cloud/spare1"])

    def meanwhile() -> bool:
        store.start(claim, "controller.adopt")
        return True

    answering(monkeypatch, meanwhile, "spare1")
    with served(board) as url:
        done = asked_about(tmp_path, url, name)
    assert done.exit_code == 0, done.output
    assert board.power == "Off"
    assert is_proved_off(store, name)


def test_a_run_that_is_done_while_the_operator_thinks_is_not_abandoned(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    name, board = store.create(plan_with("spare1")), RedfishBoard()
    claim = store.take(name, ["cloud", "cloud/controller", "cloud/spare1"])
    store.start(claim, "controller.adopt")

    def meanwhile() -> str:
        store.finish(claim, "controller.adopt", {})
        store.end(claim, RunState.DONE)
        return "spare1"

    answering(monkeypatch, meanwhile)
    with served(board) as url:
        done = asked_about(tmp_path, url, name)
    assert done.exit_code == 4, done.output
    assert "it is done by now" in done.output
    assert board.resets == []
    assert store.run(name).state is RunState.DONE


def test_the_bmc_of_another_machine_is_left_alone_then_too(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick(monkeypatch)
    name, board = half_built(store, "spare1", uuid=HOST), RedfishBoard(uuid=OTHER)
    with served(board) as url:
        done = abandoned(tmp_path, url, name)
    assert done.exit_code == 2
    assert board.resets == []
    assert OTHER in done.output


def test_a_file_that_cannot_be_changed_is_said(store: Store, tmp_path: Path) -> None:
    (tmp_path / "cloud.yaml").write_text("hosts: &x {spare1: {}}\n")
    described = Cloud.model_validate(
        {
            "credentials": {"environment": True},
            "hosts": {"spare1": {"address": "192.0.2.31", "roles": ["spare"]}},
        },
        context={"path": tmp_path / "cloud.yaml"},
    )
    given = given_up_by(store.run(half_built(store, "spare1")))
    assert given is not None
    done = given_up.write_down(described, given)
    assert "take spare1 out of `hosts` and write it under `fenced`" in done.by_hand


def test_the_rest_of_cloud_yaml_stays_as_a_person_wrote_it() -> None:
    text = FILE.replace("URL", "https://192.0.2.131") + "# the end\n"
    changed = give_up(
        text, host="controller", spare="spare1", since=datetime(2026, 11, 24, tzinfo=UTC), uuid=HOST
    )
    kept = [line for line in text.splitlines() if line in changed.text.splitlines()]
    assert len(kept) >= len(text.splitlines()) - 6
    assert changed.fenced == "spare1"
    assert f"uuid: '{HOST}'" in changed.text
    assert json.dumps("s3cret") not in changed.diff
