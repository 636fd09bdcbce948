"""Lists of all files and records of the whole cloud have a bound of their own, and it is one."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import memory, ssh
from tests.hostile.ssh import Behaviour, hostile_host
from tests.runbooks.reconciled import DATA

_PROGRAM = """
import asyncio, sys
from pathlib import Path
from backstay.access.session import CloudSession
from backstay.backup.manifest import ask_manifest
from backstay.errors import HostError
from backstay.inventory.cloud import Cloud
from backstay.runbooks.reconcile import observe
from backstay.transports.ssh import HostShell
folder, port, role, what = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
keys = {"key": str(folder / "id"), "known_hosts": str(folder / "known_hosts")}
host = {"address": "127.0.0.1", "roles": [role], "ssh": {"port": port, "user": "root", **keys}}
cloud = Cloud.model_validate({"credentials": {"environment": True}, "hosts": {"host1": host}})
async def main():
    observe.RECORDS_BOUND = 90.0
    async with HostShell() as shell:
        session = CloudSession(cloud=cloud, shell=shell, api=None)
        reconcilers = observe._of_this_cloud(session)
        measured()
        try:
            if what == "files":
                print(len((await ask_manifest(session, "host1", ["/srv"], [], bound=90)).entries))
                return
            read = await observe._read_hosts(session, reconcilers)
            print(len(read.seen.rows.get("nova instances", ())))
            print(*{f"{one.why} / {one.remedy}" for one in read.missing})
        except HostError as error:
            print(type(error).__name__, error, error.remedy)
asyncio.run(main())
"""


def asked(folder: Path, behaviour: Behaviour, what: str, role: str = "controller") -> memory.Ran:
    """What a host of this behaviour is asked for, and what this machine's memory does."""
    with hostile_host(folder, behaviour, name="host1") as host:
        ran = memory.run(_PROGRAM, str(folder), str(host.target.port), role, what)
        assert host.dropped.wait(10)
        return ran


def files(count: int, *, longer: int = 0) -> bytes:
    """A host's list of so many files, with names that are so much longer."""
    name = "x" * longer
    entry = '["/srv/images/%08d%s", "f", 420, 64055, 64055, 123456, 1764490000123456789, ""]'
    entries = ", ".join([entry % (number, name) for number in range(count)])
    return f'{{"clock": 1.0, "quoted": true, "entries": [{entries}]}}'.encode()


def records(instances: int) -> bytes:
    """What a controller answers that has so many instances, each with a port and a volume."""
    given: dict[str, Any] = json.loads((DATA / "green.json").read_text())["controller"]
    tables = given["answers"]["records"]["value"]
    for query, times in {
        "nova instances": 1,
        "neutron ports": 1,
        "cinder volumes": 1,
        "cinder attachments": 1,
        "placement allocations": 3,
    }.items():
        row = tables[query]["value"]["rows"][0]
        tables[query]["value"]["rows"] = [
            [str(uuid.UUID(int=number)) if field == row[0] else field for field in row]
            for number in range(instances * times)
        ]
    return json.dumps(given).encode()


@pytest.mark.parametrize(("count", "longer", "mib"), [(200_000, 20, 16), (225_000, 205, 60)])
def test_a_host_with_very_many_files_is_listed(
    tmp_path: Path, count: int, longer: int, mib: int
) -> None:
    text = files(count, longer=longer)
    assert mib << 20 < len(text) < 64 << 20
    ran = asked(tmp_path, ssh.says(text), "files")
    assert ran.output == str(count)
    assert ran.grew < 550


@pytest.mark.parametrize(
    "behaves",
    [
        lambda: ssh.says(files(250_000)),
        lambda: ssh.says(files(220_000, longer=240)),
        lambda: ssh.endless_line,
    ],
)
def test_a_list_that_is_too_long_says_the_bound_and_what_to_do(
    tmp_path: Path, behaves: Callable[[], Behaviour]
) -> None:
    ran = asked(tmp_path, behaves(), "files")
    assert ran.output.startswith("AnswerTooLong listing the files of host1: the list is too long: ")
    assert "at most 233016 files and folders, and 64.0 MiB, are read" in ran.output
    assert "du --inodes" in ran.output
    assert "`backup.paths`" in ran.output
    assert ran.grew < 250


def test_the_records_of_a_large_cloud_are_read(tmp_path: Path) -> None:
    text = records(30_000)
    assert len(text) > 24 << 20
    ran = asked(tmp_path, ssh.says(text), "records")
    assert ran.output.split() == ["30000"]
    assert ran.grew < 500


@pytest.mark.parametrize("behaves", [lambda: ssh.says(records(60_000)), lambda: ssh.endless_string])
def test_records_without_end_say_the_bound_and_what_to_do(
    tmp_path: Path, behaves: Callable[[], Behaviour]
) -> None:
    ran = asked(tmp_path, behaves(), "records")
    assert ran.output.startswith("0\nreading the records of host1: they are too long: at most 64.0")
    assert "45000 instances" in ran.output
    assert "see on host1 which table" in ran.output
    assert ran.grew < 250


def test_a_host_without_the_records_has_the_bound_of_every_answer(tmp_path: Path) -> None:
    ran = asked(tmp_path, ssh.endless_line, "records", role="compute")
    assert "its answer is longer than 16.0 MiB" in ran.output
    assert ran.grew < 100
