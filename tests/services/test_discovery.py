"""Adding a folder adds a service, removing the folder removes it; nothing else is touched."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import backstay
from backstay.services.registry import all_services

SOURCE = Path(backstay.__file__).parent
NAMES = [service.name for service in all_services()]

DECLARATION = '''
"""heron: a made-up service."""
from backstay.inventory.enums import Role
from backstay.services.declaration import ApiProbe, HostProbe, Service, Unit

def ask_heron():
    """Answer on the host."""
    return 1

SERVICE = Service(
    name="heron",
    title="Birds (heron)",
    restore_order=95,
    units=(Unit(name="heron-api", role=Role.CONTROLLER, purpose="no birds", ports=(9999,)),),
    host_probes=(
        HostProbe(
            name="nest",
            roles=(Role.CONTROLLER,),
            ask=ask_heron,
            returns=dict,
            judge=lambda _answer: (),
        ),
    ),
)
'''
RECONCILE = '''
"""heron: what it has records of."""
from backstay.services.reconciliation import Reconciler

RECONCILER = Reconciler(
    service="heron", records={"heron birds": "SELECT id FROM heron.birds"}, order=15
)
'''
SMOKE_TEST = '''
"""A bird: hatch and release."""
from backstay.services.smoke_test import SmokeTest

async def use(api, name):
    """Hatch."""
    return f"{name} hatched"

async def find(api):
    """Find none."""
    return []

async def remove(api, key):
    """Release."""

SMOKE_TEST = SmokeTest(
    kind="bird", service="heron", bound=5.0, use=use, find=find, remove=remove
)
'''
SEEN = '''
import asyncio, json, sys
from backstay.access.session import CloudSession
from backstay.errors import HostError
from backstay.health import check, smoke_tests
from backstay.inventory.cloud import Cloud
from backstay.services import registry

services = registry.all_services()
early = sorted(n for n in sys.modules if n.endswith((".reconcile", ".smoke_test", ".liveness")))
cloud = Cloud.model_validate(
    {
        "name": "c",
        "credentials": {"openrc": "x"},
        "hosts": {"ctl": {"address": "10.0.0.1", "roles": ["controller"]}},
    }
)

class Shell:
    """Keeps the script, and answers nothing."""
    script = ""

    async def answer(self, target, script, *, bound, most=0):
        self.script += script
        raise HostError("asking ctl", came_back="nothing", remedy="none")

shell = Shell()
session = CloudSession(cloud=cloud, shell=shell, api=None)
asyncio.run(check.check_hosts(session, with_apis=False))
findings = asyncio.run(smoke_tests.run_smoke_tests(None, ["heron"]))
print(json.dumps({
    "services": [s.name for s in services],
    "early": [n for n in early if not n.endswith("liveness")],
    "script": shell.script,
    "reconcilers": [r.service for r in registry.all_reconcilers()],
    "tests": [t.service for t in registry.all_smoke_tests()],
    "findings": [[f.service, f.subject, f.severity, f.evidence] for f in findings],
}))
'''
IMPORT_ALL = """
import importlib, json, pkgutil, backstay
names = [m.name for m in pkgutil.walk_packages(backstay.__path__, "backstay.")]
for name in names:
    importlib.import_module(name)
print(json.dumps(names))
"""
COMPARE = """
import json
from backstay.services import registry
from backstay.services.reconciliation import Evidence
empty = {"rows": {}, "answers": {}, "silent": {}, "names": {}}
names = [r.service for r in registry.all_reconcilers()]
queries = {name for r in registry.all_reconcilers() for name in r.records}
for rows in ({}, {name: [] for name in queries}):
    if "nova cells" in rows:
        rows["nova cells"] = [{"others": "1"}]
    for reconciler in registry.all_reconcilers():
        assert not list(reconciler.compare(Evidence(rows=rows)))
        reconciler.notes(Evidence(rows=rows))
tests = [t.service for t in registry.all_smoke_tests()]
print(json.dumps([[s.name for s in registry.all_services()], names, tests]))
"""


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return the package's services in a copy of the whole package."""
    ignored = shutil.ignore_patterns("__pycache__", "static", "puppet")
    shutil.copytree(SOURCE, tmp_path / "backstay", ignore=ignored)
    return tmp_path / "backstay" / "services"


def said(services: Path, program: str) -> Any:
    """Return what a program prints that uses the copied package."""
    environment = {**os.environ, "PYTHONPATH": str(services.parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_a_folder_more_is_a_service_more(copied: Path) -> None:
    before = said(copied, SEEN)
    assert before["early"] == [], "declarations import neither reconcilers nor smoke tests"
    folder = copied / "heron"
    folder.mkdir()
    (folder / "__init__.py").write_text(DECLARATION)
    (folder / "reconcile.py").write_text(RECONCILE)
    (folder / "smoke_test.py").write_text(SMOKE_TEST)
    after = said(copied, SEEN)
    assert after["services"] == [*before["services"], "heron"]
    assert after["early"] == []
    for question in ("heron-api", "ask_heron"):
        assert question in after["script"]
        assert question not in before["script"]
    assert after["reconcilers"] == ["libvirt", "heron", *before["reconcilers"][1:]]
    assert after["tests"] == [*before["tests"], "heron"]
    [[service, subject, severity, evidence]] = after["findings"]
    assert (service, subject, severity) == ("heron", "deep bird", "ok")
    assert evidence.endswith("hatched")


@pytest.mark.parametrize("name", NAMES)
def test_without_its_folder_a_service_is_gone_and_the_others_work(copied: Path, name: str) -> None:
    shutil.rmtree(copied / name)
    services, reconcilers, tests = said(copied, COMPARE)
    assert services == [each for each in NAMES if each != name]
    assert name not in reconcilers
    assert name not in tests
    assert set(reconcilers) >= {"nova", "cinder", "glance"} - {name}


@pytest.mark.parametrize("names", [("swift",), ("cinder", "nova"), tuple(NAMES)])
def test_no_module_elsewhere_needs_a_service(copied: Path, names: tuple[str, ...]) -> None:
    for name in names:
        shutil.rmtree(copied / name)
    assert "backstay.health.check" in said(copied, IMPORT_ALL)
