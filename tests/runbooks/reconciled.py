"""Answers of hosts about records and reality as a real cloud gave them (OpenStack Zed), told again.

Each recording is of the moment of its name: a guest without a record, an image without data, …
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from backstay.errors import BackstayError, HostUnreachable
from backstay.runbooks.reconcile import observe
from backstay.runbooks.reconcile.comparison import ReconcileObservation
from backstay.services.declaration import Service
from backstay.services.reconciliation import Mismatch
from backstay.services.registry import all_services
from tests.answering import as_asked
from tests.health.rpc.recorded import CLOUD

DATA = Path(__file__).parent / "data" / "reconcile"
STORY = "story-reconcile"
"""The instance of the recordings that something happened to; it is on compute1."""

Answers = dict[str, Any]
Change = Callable[[Answers], None]


class Recorded:
    """Tells again what hosts answered; ``change`` alters it, ``silent`` hosts do not answer.

    ``printed`` gives what a host prints instead of its answer.
    """

    services: Sequence[Service] = list(all_services())
    api = BackstayError("asking the APIs", came_back="there are none here", remedy="none")

    def __init__(
        self, name: str, change: Change = lambda _: None, silent: Sequence[str] = ()
    ) -> None:
        self.cloud = CLOUD
        self.name, self.change, self.silent = name, change, silent
        self.asked: list[tuple[str, str]] = []
        self.printed: Callable[[str, Any], Any] = lambda _host, given: given

    async def ask(
        self,
        host: str,
        function: Any,
        *arguments: Any,
        returns: Any = None,
        bound: float = 30.0,
        most: int = 0,
    ) -> Any:
        self.asked.append((host, function.__name__))
        if host in self.silent:
            raise HostUnreachable(
                f"asking {host}", came_back="no answer within 8 s", remedy="see its power"
            )
        answers = json.loads((DATA / f"{self.name}.json").read_text())
        self.change(answers)
        answer = answers[host]
        questions, queries = arguments[0], arguments[2]
        wanted = {one[0] for one in questions} | ({"records"} if queries else set())
        assert wanted <= set(answer["answers"]), "the recording is of these very questions"
        given = {
            "names": answer["names"],
            "answers": {one: answer["answers"][one] for one in wanted},
        }
        return as_asked(self.printed(host, given), returns, host)


def looked(
    name: str, change: Change = lambda _: None, silent: Sequence[str] = ()
) -> ReconcileObservation:
    """What a look at a recorded cloud finds."""
    return compared(Recorded(name, change, silent))


def compared(site: Recorded) -> ReconcileObservation:
    """What a look finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observe, "AGAIN_AFTER", 0.0)
        return asyncio.run(observe.mismatches(site))  # type: ignore[arg-type]


def kinds(found: ReconcileObservation) -> set[tuple[str, str]]:
    """The service and kind of each mismatch."""
    return {(one.service, one.kind.value) for one in found.mismatches}


def only(found: ReconcileObservation, service: str, kind: str) -> Mismatch:
    """The one mismatch of that service and kind."""
    [one] = [m for m in found.mismatches if (m.service, m.kind.value) == (service, kind)]
    return one


def rows(answers: Answers, query: str) -> list[dict[str, str]]:
    """The rows of a query."""
    table = answers["controller"]["answers"]["records"]["value"][query]["value"]
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def put(answers: Answers, query: str, changed: list[dict[str, str]]) -> None:
    """Put other rows in the place of those of a query."""
    table = answers["controller"]["answers"]["records"]["value"][query]["value"]
    table["columns"] = list(changed[0]) if changed else []
    table["rows"] = [list(row.values()) for row in changed]


def changing(query: str, **values: str) -> Change:
    """Change columns of the rows of a query that are about the story's things."""

    def change(answers: Answers) -> None:
        found = rows(answers, query)
        for row in found:
            if any(one.startswith("story") for one in (row.get("name", ""),)):
                row.update(values)
        put(answers, query, found)

    return change


def guests(answers: Answers, host: str) -> list[dict[str, Any]]:
    """The guests of a host, to be changed."""
    found: list[dict[str, Any]] = answers[host]["answers"]["guests"]["value"]["guests"]
    return found


def story_guest(answers: Answers) -> dict[str, Any]:
    """The story's guest on compute1."""
    return next(one for one in guests(answers, "compute1") if one["name"] == STORY)
