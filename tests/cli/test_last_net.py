"""Whatever happens in a command, its process ends with a sentence and never with 1 for an error."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backstay.cli.exit_status import ExitStatus

PROGRAM = """
import sys
import backstay.cli.check, backstay.cli.runs
{before}
sys.argv = ["backstay", *{words!r}]
from backstay.cli.main import main
main()
"""
CLOUD = """
name: lab
credentials: {openrc: openrc}
hosts:
  controller: {address: 192.0.2.11, roles: [controller]}
"""
RAISES = "def fails(*_, **__): {what}\nbackstay.cli.runs.open_store = fails\n"


def run(
    folder: Path, before: str, *words: str, output: Any = subprocess.PIPE, **variables: str
) -> "subprocess.CompletedProcess[str]":
    (folder / "cloud.yaml").write_text(CLOUD)
    environment = os.environ | {
        "BACKSTAY_CLOUD": str(folder / "cloud.yaml"),
        "BACKSTAY_JOURNAL": f"sqlite:///{folder}/journal.db",
        "BACKSTAY_DEBUG": "0",
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before, words=words)],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "what",
    [
        "raise ZeroDivisionError('x')",
        "raise KeyError('doing')",
        "raise RecursionError",
        "fails()",
        "raise MemoryError",
        "raise EOFError",
        "raise OSError(5, 'Input/output error')",
        "raise BrokenPipeError(32, 'Broken pipe')",
        "raise ValueError('\\udc80 \\x1b]0;title\\x07')",
        "raise ExceptionGroup('several', [KeyError('one'), ValueError('two')])",
        "raise type('Odd', (Exception,), {'__str__': lambda _: 1 / 0})()",
        "sys.exit('some words')",
    ],
)
def test_an_error_that_nobody_expected(tmp_path: Path, what: str) -> None:
    done = run(tmp_path, RAISES.format(what=what), "runs", "list")
    assert done.returncode == ExitStatus.UNKNOWN, done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    assert done.stderr.startswith("backstay: ")
    if "exit" not in what:
        assert "carrying out backstay runs list: an error in Backstay itself: " in done.stderr
        assert "BACKSTAY_DEBUG=1" in done.stderr


def test_its_details(tmp_path: Path) -> None:
    before = RAISES.format(what="raise ValueError('\\x1b[2J')")
    done = run(tmp_path, before, "runs", "list", BACKSTAY_DEBUG="1")
    assert done.returncode == ExitStatus.UNKNOWN
    assert "Traceback" in done.stderr
    assert "\x1b" not in done.stderr


def test_monitoring_gets_its_line(tmp_path: Path) -> None:
    before = "def fails(*_, **__): raise TypeError('x')\nbackstay.cli.check._checked = fails\n"
    for words in (["-o", "nagios"], ["-onagios"], ["--output=nagios"], ["--output", "nagios"]):
        done = run(tmp_path, before, "check", *words)
        assert done.returncode == ExitStatus.UNKNOWN
        assert done.stdout.startswith("BACKSTAY UNKNOWN - carrying out backstay check: ")
        assert done.stdout.count("\n") == 1
    assert run(tmp_path, before, "check").stdout == ""


def test_memory_that_runs_out(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20))\n"
    before = limit + RAISES.format(what="bytearray(4 << 30)")
    done = run(tmp_path, before, "runs", "list")
    assert done.returncode == ExitStatus.UNKNOWN
    assert "MemoryError" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["runs", "list"], ["--help"], ["runs", "list", "-o", "json"]])
def test_an_output_that_nobody_reads_or_that_is_full(tmp_path: Path, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run(tmp_path, "", *words, output=writer)
    os.close(writer)
    assert done.returncode == ExitStatus.UNKNOWN
    assert "Traceback" not in done.stderr
    assert "closed it" in done.stderr
    with Path("/dev/full").open("wb") as full:
        done = run(tmp_path, "", *words, output=full)
    assert done.returncode == ExitStatus.UNKNOWN
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr


def test_no_standard_error_either(tmp_path: Path) -> None:
    before = "import os; os.close(2)\n" + RAISES.format(what="raise KeyError(1)")
    assert run(tmp_path, before, "runs", "list").returncode == ExitStatus.UNKNOWN
    closed = "sys.stdout.close(); sys.stderr = None\n"
    assert run(tmp_path, closed, "runs", "list").returncode == ExitStatus.UNKNOWN


def test_a_locale_without_the_characters(tmp_path: Path) -> None:
    before = (
        "import backstay.cli.output.run as run\n"
        "run.runs_table = lambda _: 'Zürich … \\u202e \\udc80\\n'\n"
    )
    for encoding in ("ascii", "latin-1", "utf-8"):
        done = run(tmp_path, before, "runs", "list", PYTHONIOENCODING=encoding)
        assert done.returncode == ExitStatus.OK, done.stderr
        assert "rich" in done.stdout


def test_an_error_in_a_thread_is_a_sentence(tmp_path: Path) -> None:
    thread = (
        "import threading\n"
        "def fails(*_, **__):\n"
        "    def inner(): raise ValueError('inner')\n"
        "    one = threading.Thread(target=inner); one.start(); one.join()\n"
        "    raise KeyError('outer')\n"
        "backstay.cli.runs.open_store = fails\n"
    )
    done = run(tmp_path, thread, "runs", "list")
    assert done.returncode == ExitStatus.UNKNOWN
    assert "Traceback" not in done.stderr
    assert "an error in Backstay itself: ValueError: inner" in done.stderr


IN_THE_WATCH = """
import asyncio
import backstay.watch.process as process
async def fails(self):
    async def inner(): raise ValueError("inner")
    task = asyncio.ensure_future(inner())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    {then}
process.Process.run = fails
"""


def test_an_error_in_the_process_of_the_watch(tmp_path: Path) -> None:
    before = IN_THE_WATCH.format(then="raise KeyError('doing')")
    done = run(tmp_path, before, "watch", "run")
    assert done.returncode == ExitStatus.UNKNOWN
    assert "carrying out backstay watch run: an error in Backstay itself: KeyError" in done.stderr
    assert "an error in Backstay itself: ValueError: inner" in done.stderr, "of a forgotten task"
    assert "Traceback" not in done.stderr
