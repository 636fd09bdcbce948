"""The locked requirements: running carries nothing of tests and the lab, both are pinned."""

import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).parents[2]
NEVER_IN_PRODUCTION = {
    "aiosmtpd", "bcrypt", "flask", "hypothesis", "mypy", "pip-tools", "playwright", "pytest",
    "ruff", "schemathesis", "sushy-tools", "werkzeug",
}  # fmt: skip


def locked(name: str) -> dict[str, str]:
    """Return the versions by name. Each has to have a hash."""
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", (TOP / name).read_text()):
        pinned = re.match(r"([A-Za-z0-9._-]+)==(\S+) ", block)
        if pinned is not None:
            assert "--hash=sha256:" in block, pinned[1]
            found[canonicalize_name(pinned[1])] = pinned[2]
    return found


def needed(kind: str) -> set[str]:
    """Return what the declared dependencies need, by what is installed here."""
    program = [sys.executable, str(TOP / "packaging" / "dependencies.py"), kind]
    declared = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    found: dict[str, set[str]] = {}
    pending = [Requirement(line) for line in declared.splitlines()]
    while pending:
        one = pending.pop()
        name = canonicalize_name(one.name)
        if name in found and one.extras <= found[name]:
            continue
        extras = found.setdefault(name, set())
        extras |= one.extras
        for text in distribution(one.name).requires or ():
            inner = Requirement(text)
            environments = [{"extra": extra} for extra in ("", *extras)]
            if inner.marker is None or any(map(inner.marker.evaluate, environments)):
                pending.append(inner)
    return set(found)


def test_the_lock_for_running_is_what_running_needs() -> None:
    assert set(locked("requirements.txt")) == needed("run")
    assert not set(locked("requirements.txt")) & NEVER_IN_PRODUCTION


def test_developing_has_the_same_versions_and_more() -> None:
    run, develop = locked("requirements.txt"), locked("requirements-dev.txt")
    assert run.items() <= develop.items()
    assert needed("develop") <= set(develop)
    assert set(develop) >= NEVER_IN_PRODUCTION


BLOCKED = """
import importlib, pkgutil, sys
names = set(sys.argv[1].split(","))
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in names:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
import backstay
for one in pkgutil.walk_packages(backstay.__path__, "backstay."):
    if one.name != "backstay.cli.lab":  # loads the lab where it is installed, as it is here
        importlib.import_module(one.name)
print("imported")
"""


def test_all_of_backstay_is_imported_without_what_developing_adds() -> None:
    more = set(locked("requirements-dev.txt")) - set(locked("requirements.txt"))
    modules = {name.replace("-", "_") for name in more} | {"backstay_lab", "_pytest"}
    command = [sys.executable, "-c", BLOCKED, ",".join(modules)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.stdout == "imported\n", said.stderr[-1000:]
