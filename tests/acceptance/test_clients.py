"""The operator's own clients, unmodified, work against the lab with `. openrc` in plain sh."""

import hashlib
import json
import subprocess
from typing import Any

import pytest

from tests.acceptance.conftest import Lab

pytestmark = pytest.mark.lab


def in_sh(lab: Lab, command: str) -> str:
    """Run a command in a POSIX sh with nothing but the openrc sourced."""
    done = subprocess.run(
        ["env", "-i", "PATH=/usr/bin:/bin", "sh", "-eu", "-c", f'. "$0"; {command}', lab.openrc],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "question",
    ["image list", "project list", "volume list --all-projects", "network agent list"],
)
def test_openstack_lists(lab: Lab, question: str) -> None:
    assert json.loads(in_sh(lab, f"openstack {question} -f json"))


def test_openstack_server_list_shows_the_running_instances(lab: Lab) -> None:
    servers: list[dict[str, Any]] = json.loads(
        in_sh(lab, "openstack server list --all-projects --long -f json")
    )
    seeded = {server["id"] for server in lab.seed["instances"]}
    assert {s["ID"] for s in servers if s["Status"] == "ACTIVE"} >= seeded


def test_glance_image_list(lab: Lab) -> None:
    assert "tiny" in in_sh(lab, "glance image-list")


def test_swift_stat(lab: Lab) -> None:
    assert "Account: AUTH_" in in_sh(lab, "swift stat")


def test_seeded_objects_have_their_digests(lab: Lab) -> None:
    objects_have_their_digests(lab)


def objects_have_their_digests(lab: Lab) -> None:
    for entry in lab.seed["objects"]:
        rc = lab.cloud_file.parent / f"openrc-{entry['project']}"
        done = subprocess.run(
            [
                "sh",
                "-c",
                '. "$0"; swift download --output - "$1" "$2"',
                rc,
                entry["container"],
                entry["name"],
            ],
            capture_output=True,
            timeout=60,
            check=True,
        )
        assert hashlib.sha256(done.stdout).hexdigest() == entry["sha256"]
