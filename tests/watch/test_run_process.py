"""Whether the process that carries out a run may live, by what the journal says of it."""

import socket
import subprocess
import sys
from dataclasses import replace

from backstay.watch.act.run_process import alive
from tests.watch.test_silences import RUN


def lives(machine: str, process: int) -> bool:
    return alive(replace(RUN, holder=f"root@{machine}, process {process}"))


def test_a_process_of_this_machine_is_looked_for() -> None:
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    assert not lives(socket.gethostname(), ended.pid)
    assert stays(["sh", "-c", "echo; read -r line", "backstay"])
    assert not stays(["sh", "-c", "echo; read -r line", "another"]), "its number is another's now"


def stays(command: list[str]) -> bool:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as running:
        assert running.stdout is not None
        running.stdout.readline()  # before it has started its words are not to be read
        return lives(socket.gethostname(), running.pid)


def test_of_another_machine_or_an_unknown_holder_nothing_is_known() -> None:
    assert lives("elsewhere", 1)
    assert alive(replace(RUN, holder="somebody"))
