"""A replacement that the real engine carried out, with actions that tell what real ones tell."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backstay.errors import BackstayError
from backstay.journal.action import Action, Runbook, Running
from backstay.journal.engine import carry_out
from backstay.journal.plan import Plan, Step
from backstay.journal.records import RunRecord
from backstay.journal.store import Store
from tests.journal.child import JsonResult

BEGAN = 1795558800.0
LOST = "lost: nothing; the stream has received everything the database had a moment ago"
DIFF = """\
--- cloud.yaml (before)
+++ cloud.yaml
@@ -30,3 +30,3 @@
     roles: [controller]
-    bmc: {url: 'https://10.77.0.111:8443', username: admin, password: …, ca: bmc/ca.pem}
+    bmc: {url: 'https://10.77.0.131:8443', username: admin, password: …, ca: bmc/ca.pem}
   proxy:"""


def watched(kind: str, what: str, asked: int, unanswered: int, *outages: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "what": what,
        "since": BEGAN + 1,
        "until": BEGAN + 345,
        "asked": asked,
        "unanswered": unanswered,
        "down": sum(ends - begins for begins, ends in outages),
        "outages": [{"begins": BEGAN + b, "ends": BEGAN + e} for b, e in outages],
    }


# Name of the step, seconds that it takes, its result.
STEPS: list[tuple[str, float, Mapping[str, Any]]] = [
    (
        "confirm",
        9,
        {
            "verdict": "dead",
            "reason": "nobody reaches it",
            "power": "no answer",
            "witnesses": [
                ["this machine", "silent"],
                ["compute1", "no ARP answer"],
                ["proxy", "no ARP answer"],
                ["compute2", "left out by the operator (--without-witness)"],
            ],
            "left_out": ["compute2"],
            "recording": {
                "apis": {"identity": "http://10.77.0.11:5000/"},
                "apis_by": "reboot-3",
                "instances": {"demo-1": "10.78.0.68"},
                "silent": ["demo-9"],
                "unasked": ["compute2"],
            },
        },
    ),
    ("prepare", 1, {"boot_id": "b", "summary": "0 of 640 packages are there"}),
    ("fence", 4, {"how": "power", "fenced_at": BEGAN + 14}),
    ("begin-packages", 1, {"unit": "backstay-replace-1-packages-1"}),
    ("fetch", 12, {"newer": 3}),
    (
        "rebuild",
        20,
        {
            "remarks": ["1 files are lost that glance has records of: /a", LOST],
            "replayed": {"losses": [LOST], "changes": 71},
        },
    ),
    ("packages", 70, {"missing": [], "differ": [], "summary": "640 packages"}),
    ("adopt", 4, {"kept": "/var/lib/backstay/restore/20261124-220000-identity/before"}),
    ("look", 1, {}),
    ("send", 8, {}),
    ("stop", 6, {"triggers": []}),
    ("swap", 2, {"kept": ["/var/lib/mysql.backstay-20261124-220000/before"]}),
    ("start-mariadb", 5, {"seconds": 4.0}),
    ("start-nova", 15, {"seconds": 14.0}),
    ("begin-build", 1, {"unit": "u"}),
    ("build", 90, {"summary": "Applied catalog in 82 seconds"}),
    ("works", 20, {"seconds": 19.0}),
    ("agents", 25, {"seconds": 24.5, "restarted": ["nova-compute on compute1"], "left": []}),
    (
        "reconcile",
        4,
        {
            "mismatches": [
                {
                    "subject": "instance x 1",
                    "evidence": "a guest runs without a record",
                    "proposal": "adopt it",
                }
            ],
            "missing": [{"what": "guests", "host": "compute2", "why": "no route to host"}],
        },
    ),
    ("record", 20, {"backup": "controller-20261124T220600Z"}),
    ("verify", 25, {"backup": "controller-20261124T220600Z"}),
    (
        "take-over",
        0.1,
        {
            "written": True,
            "fenced": "controller-old",
            "diff": DIFF,
            "by_hand": "",
            "kept": "/etc/backstay/cloud.yaml.before-20261124-220000",
            "recorded_since": BEGAN + 1,
            "recorded": [
                watched("api", "identity", 600, 420, (1, 250)),
                watched("api", "compute", 600, 500, (1, 262)),
                watched("instance", "demo-1", 1720, 0),
            ],
        },
    ),
]


class Tells(Action[JsonResult]):
    """Takes its time by the clock of the test, and tells a result."""

    def __init__(self, clock: list[float], fails: str) -> None:
        self.clock = clock
        self.fails = fails
        self.told = {name: (seconds, result) for name, seconds, result in STEPS}

    async def do(self, running: Running) -> JsonResult:
        name = running.step.id.partition(".")[2]
        seconds, result = self.told[name]
        self.clock[0] += seconds
        if name == self.fails:
            raise BackstayError("applying it", came_back="Puppet says no", remedy="fix it")
        return JsonResult(data=result)


def plan(without: tuple[str, ...] = ()) -> Plan:
    steps = tuple(
        Step(
            id=f"controller.{name}",
            action="start" if name.startswith("start-") else name,
            target="controller",
            does=name,
            bound=600,
        )
        for name, _, _ in STEPS
        if name not in without
    )
    settings = {
        "spare": "spare1",
        "backup": "controller-20261124T200000Z",
        "to": {},
        "service": "",
        "mark": "20261124-220000",
        "confirmed_fenced": False,
    }
    return Plan(
        runbook="replace",
        cloud="lab",
        targets=("controller", "spare1"),
        steps=steps,
        settings=settings,
    )


def carried_out(
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    fails: str = "",
    again_after: float | None = None,
    without: tuple[str, ...] = (),
) -> tuple[Store, RunRecord]:
    """Carry it out; ``fails`` names the step that fails, and is tried again ``again_after``."""
    clock = [BEGAN]
    patch.setattr("backstay.journal.store.time", SimpleNamespace(time=lambda: clock[0]))
    store = Store(f"sqlite:///{folder}/journal.db")
    name = store.create(plan(without))
    for failing in (fails, "") if again_after is not None else (fails,):
        actions: dict[str, Action[Any]] = dict.fromkeys(
            [step.action for step in store.run(name).plan.steps], Tells(clock, failing)
        )
        asyncio.run(
            carry_out(
                store,
                store.run(name),
                Runbook(actions=actions),
                locks=f"file://{folder}/locks",
                progress=lambda _progress: None,
            )
        )
        clock[0] += again_after or 0
    return store, store.run(name)
