"""Every recorded answer, mutated: 20,000 inputs, or as many as BACKSTAY_FUZZ says.

The long run, with a line of progress for each 5,000::

    BACKSTAY_FUZZ=200000 pytest -s tests/fuzz/test_all_answers.py
"""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.all_answers import Hang, within_bounds
from tests.fuzz.reader import Reader

INPUTS = int(os.environ.get("BACKSTAY_FUZZ", "20000"))
MOST_MB = 300


def ran(*words: str) -> dict[str, Any]:
    """What a process of its own finds: its memory is not that of the other tests."""
    program = [sys.executable, "-m", "tests.fuzz.all_answers", *words]
    here = Path(__file__).parents[2]
    done = subprocess.run(program, cwd=here, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_whatever_arrives_is_read_or_refused_within_bounds(tmp_path: Path) -> None:
    found = ran("run", str(INPUTS), str(tmp_path))
    faults = found.pop("faults")
    sys.stdout.write(f"{found}\n")
    again = "python -m tests.fuzz.all_answers replay 'READER' INPUT\n"
    assert not faults, f"{again}{json.dumps(faults, indent=1)[:10_000]}"
    assert found["inputs"] == INPUTS
    assert 0.2 < found["refused"] / INPUTS < 0.8, "mutations of both kinds are tried"
    assert found["peak"] < MOST_MB


def test_every_answer_that_the_source_asks_for_has_its_reader() -> None:
    assert ran("unread") == {"refused": [], "unread": []}


def test_an_input_that_takes_too_long_is_ended() -> None:
    def forever(_data: bytes) -> None:
        while True:
            with contextlib.suppress(Exception):  # as code that takes any error for a known one
                sum(range(1000))

    with pytest.raises(Hang, match=r"2 s of work|120 s"):
        within_bounds(Reader(name="x", recorded=1, digest=forever), b"")
