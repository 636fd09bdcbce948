"""Run `openstack server list` for each case that standard input lists.

The client takes seconds to import, and keeps what it once read: each case is a fork of a process
that has imported it.
"""

import contextlib
import io
import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

from openstack.config import loader
from openstackclient import shell


def main() -> None:
    cases = json.load(sys.stdin)
    json.dump({case["name"]: apart(case) for case in cases}, sys.stdout)


def apart(case: dict[str, Any]) -> str:
    """Return what `run` returns, from a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w") as answer:
            answer.write(run(case))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def run(case: dict[str, Any]) -> str:
    """Return what the client says, where it fails; empty where it does not."""
    os.environ.clear()
    os.environ.update(case["environment"])
    os.chdir(case["folder"])
    with urllib.request.urlopen(f"{case['server']}/-/case/{case['name']}"):
        pass
    folders = [Path.cwd(), *map(Path, loader.CONFIG_SEARCH_PATH[1:])]
    suffixes = loader.YAML_SUFFIXES + loader.JSON_SUFFIXES
    for name, stem in (
        ("CONFIG_FILES", "clouds"),
        ("SECURE_FILES", "secure"),
        ("VENDOR_FILES", "clouds-public"),
    ):
        places = [str(folder / (stem + suffix)) for folder in folders for suffix in suffixes]
        setattr(loader, name, places)
    said = io.StringIO()
    arguments = [*case["arguments"], "server", "list", "-n", "-f", "json"]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status: object = shell.OpenStackShell().run(arguments)
        except SystemExit as ended:
            status = ended.code
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return said.getvalue() if status else ""


if __name__ == "__main__":
    main()
