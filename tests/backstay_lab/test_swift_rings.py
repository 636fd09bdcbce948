"""The script that builds swift's rings, with a stand-in for swift-ring-builder that writes files.

What it must never do is replace a ring that is there, or leave half of one after a failure.
"""

import os
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

SCRIPT = str(files("backstay_lab") / "data/puppet/modules/lab/files/swift-rings")
RINGS = ("account", "container", "object")
BUILDER = """#!/bin/sh
case $2 in
    create) echo created > "$1" ;;
    add) echo "$@" >> "$1" ;;
    rebalance) [ -z "$BREAK" ] || case $1 in *"$BREAK"*) exit 1 ;; esac
               cp "$1" "${1%.builder}.ring.gz" ;;
esac
"""


def run(folder: Path, *arguments: str, breaks: str = "") -> int:
    """Run the script with the stand-in first in PATH; give its exit status."""
    program = folder / "bin" / "swift-ring-builder"
    program.parent.mkdir(exist_ok=True)
    program.write_text(BUILDER)
    program.chmod(0o755)
    env = {"PATH": f"{program.parent}:{os.environ['PATH']}", "BREAK": breaks}
    return subprocess.run(["sh", SCRIPT, *arguments], env=env, check=False, timeout=30).returncode


@pytest.fixture
def rings(tmp_path: Path) -> Path:
    folder = tmp_path / "swift"
    folder.mkdir()
    return folder


def test_builds_all_three_with_their_own_ports(tmp_path: Path, rings: Path) -> None:
    assert run(tmp_path, "--complete", str(rings)) != 0
    assert run(tmp_path, "10.77.0.13", str(rings)) == 0
    assert run(tmp_path, "--complete", str(rings)) == 0
    ports = {"account": "6202", "container": "6201", "object": "6200"}
    for name in RINGS:
        text = (rings / f"{name}.ring.gz").read_text()
        assert text.count(f"--ip 10.77.0.13 --port {ports[name]}") == 3
    assert sorted(path.name for path in rings.iterdir()) == sorted(
        f"{name}.{end}" for name in RINGS for end in ("builder", "ring.gz")
    )


def test_a_ring_in_use_is_left_alone(tmp_path: Path, rings: Path) -> None:
    (rings / "container.ring.gz").write_text("in use")
    assert run(tmp_path, "10.77.0.13", str(rings)) == 0
    assert (rings / "container.ring.gz").read_text() == "in use"
    assert not (rings / "container.builder").exists()


def test_a_failure_leaves_no_half_ring_and_can_be_repeated(tmp_path: Path, rings: Path) -> None:
    assert run(tmp_path, "10.77.0.13", str(rings), breaks="container") != 0
    assert sorted(path.name for path in rings.iterdir()) == ["account.builder", "account.ring.gz"]
    assert run(tmp_path, "--complete", str(rings)) != 0
    assert run(tmp_path, "10.77.0.13", str(rings)) == 0
    assert run(tmp_path, "--complete", str(rings)) == 0
