"""Runs that the version before the words changed wrote: their results are read, one is resumed."""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from backstay.access.session import CloudSession
from backstay.finding import Finding
from backstay.inventory.load import load
from backstay.journal.action import Running, StepKind
from backstay.journal.engine import Progress, carry_out
from backstay.journal.records import RunState, StepState
from backstay.journal.store import Store
from backstay.runbooks.backup import steps as backup
from backstay.runbooks.reattach import steps as reattach
from backstay.runbooks.reboot import actions, postflight, steps
from backstay.runbooks.reboot.actions import runbook
from backstay.runbooks.reboot.plan import options_of
from backstay.runbooks.reboot.report import reports

OLD = Path(__file__).parents[1] / "fixtures" / "old_version"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    shutil.copy(OLD / "journal.sqlite", tmp_path)
    return Store(f"sqlite:///{tmp_path}/journal.sqlite")


def read(store: Store, run: str, kinds: Sequence[StepKind[Any]]) -> Mapping[str, Any]:
    """Read every result that is there by its type; there is no step without a kind."""
    by_name, record = {kind.name: kind for kind in kinds}, store.run(run)
    return {
        step.action: by_name[step.action].result.from_json(done.result)
        for step, done in zip(record.plan.steps, record.steps, strict=True)
        if done.state is StepState.DONE
    }


def test_results_of_a_reboot(store: Store) -> None:
    found = read(store, "reboot-1", steps.KINDS)
    assert found["gates"] == steps.GatesPassed(known=(), asked_at=1796002888.9088078)
    noted = found["note"]
    assert (noted.boot_id[:8], noted.hostname) == ("bd16032a", "proxy")
    assert noted.apis == {"object-store": "http://10.77.0.12:8080/"}
    assert ("compute1", "nova-compute") in noted.agents
    assert noted.summary.startswith("boot id bd16032a")
    assert found["ask"] == steps.RebootRequested(asked=True)
    assert found["down"] == steps.WentDown(gone_after=1.9, cycled=False)
    assert found["up"].boot_id.startswith("d96a72ed")
    assert found["functions"] == steps.Waited(seconds=0.5)
    assert found["agents"].proved == 0
    api, *instances = found["report"].recorded
    assert (api.kind, api.what, api.down, len(api.outages)) == ("api", "object-store", 0.6, 1)
    assert [one.what for one in instances] == ["demo-1", "shop-1"]
    [report] = reports(store.run("reboot-1"), store.runs(cloud="lab"))
    assert report.whole
    assert report.until_working == pytest.approx(3.3, abs=1)
    assert [line.down for line in report.lines] == [0.6, 0, 0]


@pytest.mark.parametrize("run", ["backup-2", "backup-3", "backup-4", "backup-6"])
def test_results_of_backups(store: Store, run: str) -> None:
    found = read(store, run, backup.KINDS)
    assert found["repository"].backup.startswith(store.run(run).plan.targets[0])
    assert found["bring"].fetched >= 0
    if run != "backup-6":  # killed before its files were stored
        assert found["files"].contents
        assert found["record"].backup == found["repository"].backup
    if run == "backup-2":
        assert found["verify"].problems == ()
        assert found["verify"].restore_seconds > 0
    if run == "backup-4":
        assert found["database"].facts["position"] == ["mysql-bin.000002", "290941"]


def test_results_of_a_reattachment(store: Store) -> None:
    run = store.run("reattach-8")
    results = {step.id: step.result for step in run.steps}
    step = run.plan.steps[-1]
    running = Running(
        run=run.id, plan=run.plan, step=step, results=results, started=0.0, report=lambda _: None
    )
    agent = "nova-compute on compute1"
    assert reattach.Settled.from_json(results["settle"]).left == (agent,)
    [batch] = reattach.batches_done(running)
    assert (batch.restarted, batch.outcomes, batch.failed) == ((agent,), ((agent, True),), ())
    proved = reattach.AgentsProved.from_json(results["prove"])
    assert (proved.proved, proved.restarted) == (1, (agent,))
    assert [target.name for target in reattach.targets_of(step)] == [agent]


def test_a_reboot_that_the_old_version_left_is_resumed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = load(OLD / "run-cloud.yaml")
    recorded = []

    class Recorder:
        on = False

        def start(self, apis: Mapping[str, str], instances: Mapping[str, str]) -> None:
            recorded.append((dict(apis), sorted(instances)))
            self.on = True

        def stop(self) -> list[Any]:
            return []

    async def all_pass(_session: Any) -> list[Finding]:
        return []

    monkeypatch.setattr(actions, "OutageRecorder", Recorder)
    monkeypatch.setattr(postflight, "check_hosts", all_pass)
    cloud = cloud.model_copy(
        update={"maintenance": cloud.maintenance.model_copy(update={"settle": 0.0})}
    )
    session: Any = CloudSession(cloud=cloud, shell=None, api=None)  # type: ignore[arg-type]
    run, shown = store.run("reboot-9"), list[Progress]()
    assert options_of(run.plan).skip_gates == ()
    state = asyncio.run(
        carry_out(
            store,
            run,
            runbook(session, store),
            locks=f"file://{tmp_path}/locks",
            progress=shown.append,
        )
    )
    assert state is RunState.DONE
    assert {one.step.action for one in shown} == {"settle", "report"}
    assert recorded == [({"object-store": "http://10.77.0.12:8080/"}, ["demo-1", "shop-1"])]
    [report] = reports(store.run("reboot-9"), ())
    assert not report.whole
    assert report.boot_after.startswith("cd17b0c5")
