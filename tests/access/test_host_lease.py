"""The note on a host: programs as they are sent there, run by a real python3 on this machine."""

import asyncio
import contextlib
import json
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from backstay.access import lease as access_lease
from backstay.access import onhost_lease
from backstay.access.lease import HostHeld, HostLease, carry
from backstay.access.onhost_lease import hold_lease, let_lease_go, read_note, release_lease
from backstay.access.session import CloudSession
from backstay.access.shipping import program
from backstay.errors import BackstayError, RemoteFailure
from backstay.inventory.cloud import Cloud
from backstay.journal.action import Action, Runbook, Running
from backstay.journal.engine import carry_out
from backstay.journal.plan import Plan, Step
from backstay.journal.records import LeaseLost, RunState
from backstay.journal.result import StepResult
from backstay.journal.store import Store
from backstay.runbooks.common import host_lease as host_lease_of_runs
from backstay.runbooks.common.host_lease import give_back, lease_of, leased, release
from backstay.transports import limits
from backstay.transports.targets import Answer, SshTarget
from tests.access import effects


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found = [str(tmp_path / "lib"), str(tmp_path / "run")]
    monkeypatch.setattr(access_lease, "PLACES", tuple(found))
    return found


def given(places: list[str], journal: str = "a", epoch: int = 1, **more: Any) -> dict[str, Any]:
    known = {"journal": journal, "run": f"reboot-{epoch}", "epoch": epoch}
    return known | {"who": f"root@{journal}, process 7", "life": 120.0, "places": places} | more


def test_the_first_takes_it_and_another_journal_s_run_is_refused(places: list[str]) -> None:
    assert hold_lease(given(places)) == {}
    assert hold_lease(given(places)) == {}, "it is its own"
    found = hold_lease(given(places, "b"))
    assert (found["who"], found["run"]) == ("root@a, process 7", "reboot-1")
    file = Path(places[0]) / "host-lease.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(one.name for one in Path(places[0]).iterdir()) == ["host-lease.json"]


def test_in_one_journal_the_newer_epoch_takes_it_and_the_older_may_not_return(
    places: list[str],
) -> None:
    assert hold_lease(given(places, epoch=4)) == {}
    assert hold_lease(given(places, epoch=5)) == {}
    assert hold_lease(given(places, epoch=4))["taken_back"]
    assert let_lease_go(given(places, epoch=5)) == {}
    assert hold_lease(given(places, epoch=4))["taken_back"], "also when that one has ended"
    assert hold_lease(given(places, "b", epoch=1)) == {}, "the host is free"


def test_an_abandoned_run_does_not_return_after_many_other_journals(places: list[str]) -> None:
    for epoch, journal in enumerate(["a", *(f"other{n}" for n in range(15)), "a", "late"], 1):
        mine = given(places, journal, epoch)
        assert hold_lease(mine) == {}
        assert let_lease_go(mine) == {}
    assert hold_lease(given(places, "a", 1))["taken_back"]


def test_a_run_that_ends_leaves_the_note_of_a_newer_one(places: list[str]) -> None:
    assert hold_lease(given(places, epoch=5)) == {}
    assert let_lease_go(given(places, epoch=5, run="another")) == {}
    assert hold_lease(given(places, "b")), "it is still held"


def test_it_is_free_when_it_was_not_renewed_and_after_a_boot(places: list[str]) -> None:
    assert hold_lease(given(places, life=0.0)) == {}
    assert hold_lease(given(places, "b")) == {}
    note = read_note(places[0])
    rewritten(places[0], boot="another", life=10e9)
    assert hold_lease(given(places, "c")), "its own run may be waiting for that boot"
    rewritten(places[0], boot="another", life=0.0, until=note["until"] + 10e9)
    assert hold_lease(given(places, "c")) == {}, "long after that boot it is not heard of any more"


def rewritten(place: str, **more: Any) -> None:
    file = Path(place) / "host-lease.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


def test_released_by_hand_its_holder_cannot_return_but_when_it_is_resumed(
    places: list[str],
) -> None:
    assert hold_lease(given(places, epoch=3)) == {}
    assert release_lease({"who": "ann@ops", "places": places})["run"] == "reboot-3"
    assert hold_lease(given(places, epoch=3))["by"] == "ann@ops"
    assert hold_lease(given(places, epoch=4)) == {}
    assert release_lease({"who": "ann@ops", "places": [places[0] + "x", places[1]]}) == {}


@pytest.mark.parametrize(
    "text", ["", "[]", "[" * 100_000, '{"journal": 1}', "\xff", '{"epoch": "x", "least": 5}']
)
def test_a_note_that_is_not_well_formed_is_none(places: list[str], text: str) -> None:
    assert hold_lease(given(places)) == {}
    (Path(places[0]) / "host-lease.json").write_text(text)
    assert hold_lease(given(places, "b")) == {}


@pytest.mark.parametrize("name", ["host-lease.json", "host-lease.json.new"])
def test_links_are_not_followed(places: list[str], tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("{}")
    assert hold_lease(given(places)) == {}
    (Path(places[0]) / name).unlink(missing_ok=True)
    (Path(places[0]) / name).symlink_to(secret)
    with contextlib.suppress(OSError):
        hold_lease(given(places, epoch=2))
    assert secret.read_text() == "{}"
    assert stat.S_IMODE(secret.stat().st_mode) != 0o600


def test_a_folder_that_is_a_link_or_that_others_may_write_is_refused(
    places: list[str], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    Path(places[0]).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotADirectoryError):
        hold_lease(given(places))
    Path(places[0]).unlink()
    Path(places[0]).mkdir()
    Path(places[0]).chmod(0o777)
    with pytest.raises(PermissionError, match="others may write there"):
        hold_lease(given(places))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_of_many_who_take_it_at_once_one_has_it(places: list[str]) -> None:
    ready = time.time() + 1.5
    script = program(effects.take_at, ready, [given(places, name) for name in "abcdefgh"])
    done = subprocess.run(
        [sys.executable, "-I", "-"], input=script, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout).count({}) == 1


@dataclass
class Machine:
    """One host: this machine's python3; ``before`` is done before each question."""

    asked: list[str] = field(default_factory=list)

    async def answer(
        self, target: SshTarget, script: str, *, bound: float, most: int = limits.ANSWER
    ) -> Answer:
        self.asked.append(target.name)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(bound):
                out, errors = await process.communicate(script.encode())
        finally:
            if process.returncode is None:
                process.kill()
        if process.returncode:
            last = errors.decode().strip().splitlines()[-1:]
            raise RemoteFailure("asking", came_back=f"ended with: {last[0]}", remedy="look")
        return Answer(stdout=out.decode(), sent_at=0, received_at=0)

    async def send(self, target: SshTarget, script: str, data: Any, *, silence: float) -> None:
        async for _ in data:
            pass
        await self.answer(target, script, bound=silence)

    async def stream(self, *_: Any, **__: Any) -> str:
        raise AssertionError("nothing is streamed")

    def drop(self, target: SshTarget) -> None:
        """Nothing is kept."""


CLOUD = Cloud.model_validate(
    {
        "name": "lab",
        "credentials": {"openrc": "o"},
        "hosts": {
            "controller": {"address": "192.0.2.11", "roles": ["controller"]},
            "compute1": {"address": "192.0.2.12", "roles": ["compute"]},
        },
    }
)


def session() -> CloudSession:
    return CloudSession(
        cloud=CLOUD,
        shell=cast("Any", Machine()),
        api=BackstayError("x", came_back="x", remedy="x"),
    )


def host_lease(journal: str, epoch: int = 1) -> HostLease:
    return HostLease(
        journal=journal,
        run="reboot-1",
        epoch=epoch,
        who=f"root@{journal}, process 7",
        hosts=frozenset({"controller"}),
    )


def test_what_a_run_sends_is_refused_with_who_has_it_and_how_it_is_taken_over(
    places: list[str], tmp_path: Path
) -> None:
    file = str(tmp_path / "effects")

    async def story() -> None:
        carry(host_lease("anna"))
        await session().ask("controller", effects.append, file, "anna")
        carry(host_lease("root"))
        with pytest.raises(HostHeld) as raised:
            await session().ask("controller", effects.append, file, "root")
        assert "root@anna, process 7 works on it since 20" in raised.value.came_back
        assert "reboot-1 of another journal" in raised.value.came_back
        assert "backstay runs release controller" in raised.value.remedy

        async def data() -> Any:
            yield b"x"

        with pytest.raises(HostHeld):
            await session().send(
                "controller", effects.append, file, "root", data=data(), silence=20
            )
        await session().ask("compute1", effects.append, file, "reads elsewhere")
        with pytest.raises(HostHeld):
            await session().ask("compute1", effects.change, file, "changes elsewhere")
        carry(None)
        assert (await release(session(), "controller")).run == "reboot-1"
        carry(host_lease("root"))
        await session().ask("controller", effects.append, file, "root")
        carry(host_lease("anna"))
        with pytest.raises(HostHeld, match="taken from this run"):
            await session().ask("controller", effects.append, file, "anna again")

    asyncio.run(story())
    assert Path(file).read_text().split("\n")[:-1] == ["anna", "reads elsewhere", "root"]


def test_what_works_there_ends_when_the_host_is_taken_away(
    places: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "effects"

    async def story() -> float:
        carry(host_lease("anna"))
        works = asyncio.ensure_future(
            session().ask("controller", effects.append_for, str(file), 60.0, bound=90)
        )
        while not file.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.05)
        release_lease({"who": "ann@ops", "places": places})
        at = time.time()
        with pytest.raises(HostHeld, match="by ann@ops"):
            await works
        return at

    at = asyncio.run(story())
    late = [line for line in file.read_text().split() if float(line) > at + 5]
    assert late == []


class Appends(Action[StepResult]):
    """Sends an effect to the host every 200 ms."""

    def __init__(self, site: CloudSession, file: Path, times: int) -> None:
        self.site, self.file, self.times = site, file, times

    async def do(self, running: Running) -> StepResult:
        for _ in range(self.times):
            line = f"{running.claim.journal if running.claim else ''}:{time.time()}"
            await self.site.ask("controller", effects.append, str(self.file), line)
            await asyncio.sleep(0.2)
        return StepResult(summary="done")


def carried_out(
    folder: Path, file: Path, *, times: int = 2, before: Callable[[Store], None] | None = None
) -> tuple[RunState, Store, Mapping[str, str]]:
    """Carry out a plan with a journal and locks of its own in ``folder``."""
    folder.mkdir(exist_ok=True)
    store, site = Store(f"sqlite:///{folder}/journal.db"), session()
    steps = (Step(id="controller.work", action="work", target="controller", does="", bound=60),)
    plan = Plan(runbook="reboot", cloud="lab", targets=("controller",), steps=steps)
    run = store.run(store.create(plan))
    runbook = leased(Runbook(actions={"work": Appends(site, file, times)}), run, site)
    if before:
        before(store)
    state = asyncio.run(
        carry_out(
            store, run, runbook, locks=f"file://{folder}/locks", progress=lambda _progress: None
        )
    )
    return state, store, store.run(run.id).steps[0].error


def test_two_operators_with_two_journals_do_not_work_on_one_host_at_once(
    places: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "effects"
    assert carried_out(tmp_path / "anna", file)[0] is RunState.DONE
    assert carried_out(tmp_path / "root", file)[0] is RunState.DONE, "the first has given it up"
    hold_lease(given(places, "another", run="reboot-9"))
    before = file.read_text()
    state, _, error = carried_out(tmp_path / "root", file)
    assert state is RunState.REFUSED, "nothing was changed"
    assert "reboot-9 of another journal" in error["came_back"]
    assert "backstay runs release controller" in error["remedy"]
    assert file.read_text() == before


def test_what_an_abandoned_run_still_sends_is_refused(places: list[str], tmp_path: Path) -> None:
    file = tmp_path / "effects"
    _, store, _ = carried_out(tmp_path / "anna", file)
    run = store.create(store.run("1").plan)
    claim = store.take(run, ["lab", "lab/controller"])

    async def story() -> None:
        old = lease_of(claim, "lab", ["controller"])
        carry(old)
        await session().ask("controller", effects.append, str(file), "before")
        carry(None)
        new = lease_of(store.abandon(run, ["lab", "lab/controller"], "x"), "lab", ["controller"])
        assert await give_back(session(), new, ["controller"], stop=True) == {}
        carry(old)
        with pytest.raises(HostHeld, match="taken from this run"):
            await session().ask("controller", effects.append, str(file), "after")

    asyncio.run(story())
    assert "after" not in file.read_text()


def test_a_run_whose_host_is_taken_away_stops(places: list[str], tmp_path: Path) -> None:
    file = tmp_path / "effects"

    def soon(_store: Store) -> None:
        script = "import sys, time\nwhile not __import__('os').path.exists(sys.argv[1]): "
        script += "time.sleep(0.05)\n" + program(
            release_lease, {"who": "ann@ops", "places": places}
        )
        subprocess.Popen([sys.executable, "-c", script, str(file)], stdout=subprocess.DEVNULL)

    state, _, error = carried_out(tmp_path / "anna", file, times=200, before=soon)
    assert state is RunState.FAILED
    assert "by ann@ops" in error["came_back"]


def test_a_host_is_renewed_beside_a_step_that_asks_it_nothing(
    places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_lease_of_runs, "RENEWED", 0.5)
    monkeypatch.setattr(access_lease, "LIFE", 3.0)

    class Waits(Action[StepResult]):
        async def do(self, running: Running) -> StepResult:
            await site.ask("controller", effects.append, str(tmp_path / "effects"), "one")
            await asyncio.sleep(6)
            assert hold_lease(given(places, "another")), "it is still this run's"
            release_lease({"who": "ann@ops", "places": places})
            await asyncio.sleep(30)
            return StepResult()

    site, store = session(), Store(f"sqlite:///{tmp_path}/journal.db")
    steps = (Step(id="controller.work", action="work", target="controller", does="", bound=60),)
    plan = Plan(runbook="reboot", cloud="lab", targets=("controller",), steps=steps)
    run = store.run(store.create(plan))
    runbook = leased(Runbook(actions={"work": Waits()}), run, site)
    with pytest.raises(LeaseLost, match="taken from this run"):
        asyncio.run(
            carry_out(store, run, runbook, locks=f"file://{tmp_path}/l", progress=lambda _: None)
        )
    assert store.run(run.id).state is RunState.FAILED


def test_where_the_disk_is_full_the_note_is_in_run(
    places: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = onhost_lease.put_note

    def full(folder: int, note: dict[str, Any]) -> None:
        if str(Path(f"/proc/self/fd/{folder}").readlink()) == places[0]:
            raise OSError(28, "No space left on device")
        put(folder, note)

    assert hold_lease(given(places, epoch=1)) == {}
    monkeypatch.setattr(onhost_lease, "put_note", full)
    assert hold_lease(given(places, epoch=2)) == {}
    assert read_note(places[1])["epoch"] == 2
    assert hold_lease(given(places, "b"))["epoch"] == 2


def test_a_long_call_renews_the_host_itself(
    places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_lease, "LIFE", 6.0)

    async def story() -> None:
        mine = host_lease("anna")
        carry(mine)
        file = str(tmp_path / "effects")
        works = asyncio.ensure_future(session().ask("controller", effects.append_for, file, 9.0))
        await asyncio.sleep(8)
        assert mine.busy["controller"] == 1
        assert hold_lease(given(places, "b")), "longer than its life, and it is still held"
        await works
        assert mine.busy["controller"] == 0

    asyncio.run(story())
