"""Mutated answers of hosts to the runbooks: each is read as declared, or is that host's failure."""

import ast
import asyncio
import contextlib
import json
import re
from typing import Any

import pytest

from backstay.access.shipping import as_answer
from backstay.answers import clean
from backstay.errors import BackstayError, RemoteFailure
from backstay.maintenance.gates import BootObstacles
from backstay.provision import packages
from backstay.provision.following import CommandState, LogPiece, LongCommand
from backstay.provision.work import Work, last_errors
from backstay.runbooks.reboot.answers import BootAnswer, RebootAnswer, UnitsAnswer
from backstay.runbooks.replace import outages, spare
from backstay.runbooks.replace.answers import (
    AddressHeld,
    AdoptAnswer,
    BootIdAnswer,
    PreparedNote,
    SpareAnswer,
    UnitsEnabled,
)
from backstay.runbooks.spare import note_of, state_of
from backstay.transports.targets import Answer
from tests.fuzz.mutate import Mutator
from tests.maintenance.test_gates import refusals
from tests.runbooks.test_replace_spare import FREE, MACHINE, WANTED
from tests.structure.test_rules import SOURCE

TIMES = 300
STATE = {"started": True, "runs": False, "status": 2, "log": "/var/lib/backstay/runs/x/log"}
RECORDED: dict[Any, Any] = {
    BootAnswer: {"boot_id": "7e6f", "up": 12.5, "clock": 1.7e9},
    RebootAnswer: {"asked": False, "why": "it has rebooted already"},
    UnitsAnswer: {
        "running": ["ssh.service"],
        "failed": [],
        "kernel": "6.1.0",
        "boot_id": "7e6f",
        "hostname": "controller",
    },
    BootObstacles: {"packaging": "", "half_done": "nova-api", "kernel": ["/boot/vmlinuz"]},
    CommandState: STATE,
    LogPiece: STATE | {"text": "Error: no\n", "end": 10},
    SpareAnswer: {
        "machine": MACHINE,
        "boot_id": "7e6f",
        "clock": 1.7e9,
        "free": FREE,
        "addresses": [["host0", "10.77.0.31/24"]],
        "active": [],
        "databases": ["nova"],
        "packages": ["base-files 12.4+deb12u9"],
        "apt": True,
        "prepared": "",
    },
    UnitsEnabled: {"enabled": ["nova-api.service"]},
    AddressHeld: {"has": True, "mac": "52:54:00:00:00:01"},
    BootIdAnswer: {"boot_id": "7e6f", "mark": "m"},
    AdoptAnswer: {"boot_id": "7e6f", "device": "host0", "configured": ["/etc/x"], "kept": "/k"},
    outages.Guests: [["web", ["10.0.0.5", "fe80::1"]], ["bare", []]],
}


def use(answer: Any) -> None:
    """Do with an answer what the runbooks do with it first."""
    if isinstance(answer, BootObstacles):
        for refusal in refusals(on_host=answer):
            assert clean(refusal, longest=len(refusal)) == refusal
    if isinstance(answer, SpareAnswer):
        said = spare.blockers(WANTED, answer, offset=0) + spare.warnings(WANTED, answer, offset=0)
        assert [clean(text, longest=len(text)) for text in said] == said
    if isinstance(answer, tuple):
        for name, address in outages.first_addresses(answer, {}).items():
            assert clean(name) == name
            assert re.fullmatch(r"[0-9a-f.:%]+", address)


@pytest.mark.parametrize("kind", RECORDED, ids=lambda kind: getattr(kind, "__name__", "guests"))
def test_an_answer_is_of_its_kind_or_that_hosts_failure(kind: Any) -> None:
    mutator, good = Mutator(11), 0
    use(as_answer(kind, answered(json.dumps(RECORDED[kind])), host="h"))
    for _ in range(TIMES):
        text = mutator.answer(RECORDED[kind]).decode(errors="replace")
        with contextlib.suppress(RemoteFailure):
            use(as_answer(kind, answered(text), host="h"))
            good += 1
    assert good < TIMES


def answered(text: str) -> Answer:
    return Answer(stdout=text, sent_at=0, received_at=0)


def test_a_note_of_a_spare() -> None:
    recorded = {
        "for": "controller",
        "backup": "controller-1",
        "at": 1.0,
        "packages": {"missing": ["a"], "differ": [["b", "1", "2"]], "summary": ""},
        "files": 3,
    }
    note = note_of("spare1", json.dumps(recorded))
    assert (note.host, note.packages.missing) == ("controller", ("a",))
    mutator = Mutator(12)
    for _ in range(TIMES):
        with contextlib.suppress(RemoteFailure):
            note = note_of("spare1", mutator.answer(recorded).decode(errors="replace"))
            assert isinstance(note, PreparedNote)
            state_of("spare1", note, {"a": "1"}, {"packages": ["a 1"]})


def test_the_end_of_an_installation() -> None:
    recorded = {"missing": ["d"], "differ": [["c", "3", "9"]]}
    mutator = Mutator(13)
    for _ in range(TIMES):
        end = mutator.answer(recorded).decode(errors="replace")
        with contextlib.suppress(BackstayError):
            found = packages.result(f"Setting up\nbackstay-result: {end}\n")
            assert clean(packages.describe_packages(found, 1)) is not None


class Endless:
    """A host that answers anything to a question about a command, and never that it has ended."""

    def __init__(self, mutator: Mutator) -> None:
        self.mutator = mutator
        self.left = 60

    async def __call__(self, function: Any, *_: Any, returns: Any, bound: float) -> Any:
        del function, bound
        self.left -= 1
        recorded = STATE | {"text": "Error: no\n", "end": self.left, "runs": self.left > 0}
        text = self.mutator.answer(recorded).decode(errors="replace")
        return as_answer(returns, answered(text), host="h")


def test_a_command_is_followed_or_fails_as_that_hosts(tmp_path: Any) -> None:
    work = Work(name="t", does="running it", script="")
    for seed in range(60):
        log = tmp_path / f"{seed}.log"
        one = LongCommand("u", Endless(Mutator(seed)), host="h", folder="/f", log=log)
        with contextlib.suppress(BackstayError):
            asyncio.run(one.follow(work, say=check_line))
        last_errors(log.read_text(errors="replace") if log.exists() else "")


def check_line(text: str) -> None:
    assert clean(text) == text


def test_a_piece_that_is_larger_than_asked_for_is_refused() -> None:
    text = json.dumps(STATE | {"text": "x" * 100_000, "end": 100_000})
    with pytest.raises(RemoteFailure):
        as_answer(LogPiece, answered(text), host="h")


ROOMS = re.compile(
    r"backstay\.(provision|maintenance|runbooks\.(common|power_off|reboot|replace|restart|spare))\b"
)


def test_every_question_of_these_rooms_declares_its_answer() -> None:
    calls = [
        (name, node)
        for name, module in SOURCE.modules.items()
        if ROOMS.match(name)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(("site.ask", "session.ask", "_ask"))
    ]
    untyped = [
        f"{name}:{node.lineno}"
        for name, node in calls
        if "returns" not in {keyword.arg for keyword in node.keywords}
    ]
    assert calls
    assert untyped == []
