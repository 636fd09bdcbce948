"""The lab that a benchmark measures on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.startup import BACKSTAY

NOT_UP = 3
"""The exit status where there is no lab to measure on, as for what else cannot be used."""


def lab_status() -> dict[str, Any]:
    """Return what ``backstay lab status`` says of a lab that is up, or stop with 3.

    ``cloud_file`` in it is the path of the lab's cloud.yaml.
    """
    done = subprocess.run(
        [BACKSTAY, "lab", "status", "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    try:
        status: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        print(done.stderr or done.stdout, file=sys.stderr, end="")
        print("the lab cannot be asked: backstay lab status", file=sys.stderr)
        sys.exit(NOT_UP)
    if status["cloud_file"] is None:
        print("the lab is not up: backstay lab up", file=sys.stderr)
        sys.exit(NOT_UP)
    return status


def lab_cloud_file() -> Path:
    """Return the path of the lab's cloud.yaml, or stop as ``lab_status``."""
    return Path(lab_status()["cloud_file"])
