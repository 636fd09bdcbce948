"""How much memory a program takes: it is run as a process of its own and asked at its end."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_MEASURED = """
import json, resource, sys
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
before = [0]
def measured():
    before[0] = peak()
{program}
print(json.dumps({{"grew": (peak() - before[0]) / 1024, "peak": peak() / 1024}}))
"""


@dataclass(frozen=True)
class Ran:
    """What a program printed before, and its memory in MiB: at most, and since ``measured()``."""

    output: str
    peak: float
    grew: float


def run(program: str, *arguments: str, bound: float = 120.0) -> Ran:
    """Run Python statements as a process; ``arguments`` are ``sys.argv[1:]``.

    The program calls ``measured()`` when what it needs is imported: from then on growth counts.
    Raises AssertionError with its errors where it fails, or has not ended after ``bound`` seconds.
    """
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED.format(program=program), *arguments],
        capture_output=True,
        text=True,
        timeout=bound,
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    *output, figures = done.stdout.splitlines()
    return Ran(output="\n".join(output), **json.loads(figures))
