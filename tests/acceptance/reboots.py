"""What the stories of `backstay reboot` share: a journal of their own, and the runs in it."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.acceptance.conftest import BACKSTAY, Lab

REBOOT_BOUND = 900.0


def last_run(lab: Lab) -> dict[str, Any]:
    """The newest run in the journal, with its events and reports."""
    newest = json.loads(lab.backstay("runs", "list", "-o", "json").stdout)[0]["id"]
    whole: dict[str, Any] = json.loads(lab.backstay("runs", "show", newest, "-o", "json").stdout)
    return whole


def result(run: dict[str, Any], step: str) -> dict[str, Any]:
    """What a step of a run brought."""
    found: dict[str, Any] = next(one["result"] for one in run["steps"] if one["id"] == step)
    return found


@contextmanager
def cloud_with(lab: Lab, text: str) -> Iterator[Path]:
    """The lab's cloud.yaml with other settings, beside it, as paths are relative to it."""
    yaml = YAML(typ="safe")
    described, told = yaml.load(lab.cloud_file), yaml.load(text)
    for section, settings in told.items():
        described[section] = described.get(section, {}) | settings
    file = lab.cloud_file.with_name("story.yaml")
    yaml.dump(described, file)
    try:
        yield file
    finally:
        file.unlink()


def reboot(
    lab: Lab, *arguments: str, cloud: Path | None = None, ok: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run `backstay reboot --now --yes`."""
    named = ["--cloud", str(cloud)] if cloud else []
    return lab.backstay("reboot", *arguments, "--now", "--yes", *named, bound=REBOOT_BOUND, ok=ok)


def start_reboot(*arguments: str, cloud: Path) -> "subprocess.Popen[str]":
    """Begin `backstay reboot --now --yes` and go on."""
    return subprocess.Popen(
        [BACKSTAY, "reboot", *arguments, "--now", "--yes", "--cloud", cloud],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env=os.environ,
    )


def boot_id(lab: Lab, host: str) -> str:
    """The boot id as the host itself has it."""
    return lab.shell(host, "cat /proc/sys/kernel/random/boot_id").strip()


def run_named(text: str) -> str:
    """The name of the run that the command line told."""
    found = re.search(r"reboot-\d+", text)
    assert found, text
    return found[0]
