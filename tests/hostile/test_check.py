"""``backstay check`` against hosts that lie: that host is unknown, and there is no traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile import ssh
from tests.hostile.memory import ROOT
from tests.hostile.ssh import Behaviour, hostile_host

_MAIN = "from backstay.cli.main import main; main()"
RECORDED = (ROOT / "tests" / "health" / "data" / "compute.json").read_text(encoding="utf-8")


def with_memory(value: object) -> bytes:
    answer = json.loads(RECORDED)
    answer["answers"]["memory"]["value"]["total"] = value
    return json.dumps(answer).encode()


BEHAVIOURS = {
    "a text for a number": ssh.says(with_memory("x")),
    "deep": ssh.says(b"[" * 100_000),
    "a lone surrogate": ssh.says(with_memory("dead\ud800")),
    "garbage": ssh.garbage,
    "without end": ssh.endless_stdout,
    "null": ssh.says(b"null"),
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS.values(), ids=BEHAVIOURS)
@pytest.mark.parametrize("output", ["json", "nagios"])
def test_a_host_that_lies_is_unknown(tmp_path: Path, behaviour: Behaviour, output: str) -> None:
    with hostile_host(tmp_path, behaviour) as host:
        file = tmp_path / "cloud.yaml"
        file.write_text(f"name: c\ncredentials: {{environment: true}}\nhosts:\n{host.hosts_entry}")
        done = subprocess.run(
            [sys.executable, "-c", _MAIN, "check", "--cloud", str(file), "-o", output],
            capture_output=True,
            text=True,
            timeout=120,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)},
            check=False,
        )
    assert "Traceback" not in done.stderr + done.stdout
    assert done.returncode in {2, 3}
    if output == "nagios":
        assert done.stdout.startswith(("BACKSTAY UNKNOWN - ", "BACKSTAY CRITICAL - "))
        return
    found = [one for one in json.loads(done.stdout)["findings"] if one["host"] == "compute1"]
    assert {"unknown"} <= {one["severity"] for one in found}
