"""Answers of hosts to the runbooks: each is read as declared, or is that host's failure."""

import ast
import json
import re

import pytest

from backstay.access.shipping import as_answer
from backstay.errors import RemoteFailure
from backstay.provision.following import LogPiece
from backstay.transports.targets import Answer
from tests.structure.test_rules import SOURCE

STATE = {"started": True, "runs": False, "status": 2, "log": "/var/lib/backstay/runs/x/log"}


def answered(text: str) -> Answer:
    return Answer(stdout=text, sent_at=0, received_at=0)


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
