"""A dead controller, and a dead storage proxy, built anew on the spare."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Lab
from tests.acceptance.reboots import cloud_with, last_run
from tests.acceptance.test_backup import Writer, create
from tests.acceptance.test_clients import objects_have_their_digests
from tests.acceptance.test_restore import Pings
from tests.acceptance.test_stream import caught_up, status, streaming

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@pytest.fixture
def cloud(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    with cloud_with(lab, f"backup: {{folder: {tmp_path}/backups}}\n") as file:
        yield file
    as_built(lab)


def as_built(lab: Lab) -> None:
    """Give the spare a bare disk, and then the lost hosts their own place again."""
    lab.backstay("lab", "break", "dead-board", "spare1")
    lab.backstay("lab", "new-board", "spare1", bound=600)
    for host in ("controller", "proxy"):
        lab.backstay("lab", "new-board", host, bound=600, ok=False)
    lab.wait_green()


def replace(lab: Lab, cloud: Path, host: str, *more: str, ok: bool = True) -> Any:
    named = ("replace", host, "--with", "spare1", "--yes", "--cloud", str(cloud))
    return lab.backstay(*named, *more, bound=1500, ok=ok)


def test_a_proxy(lab: Lab, cloud: Path) -> None:
    create(lab, cloud, "proxy", "--verify")
    lab.backstay("lab", "break", "dead-board", "proxy")
    print(replace(lab, cloud, "proxy").stdout)
    objects_have_their_digests(lab)
    assert last_run(lab)["state"] == "done"


def test_a_controller(lab: Lab, cloud: Path, record_property: Any) -> None:
    with streaming(cloud), Pings(lab) as pings:
        create(lab, cloud, "controller", "--verify")
        caught_up(lab, cloud)
        writer = Writer(lab)
        writer.start()
        try:
            lab.wait_until(lambda: len(writer.acknowledged) > 20, what="the writer writes")
        finally:
            lab.backstay("lab", "break", "dead-board", "controller")
            writer.stop()
        lab.wait_until(lambda: status(lab, cloud)[1]["state"]["doing"] == "failed", what="noticed")
        told = status(lab, cloud)[1]
        known = min(told["state"]["caught_up_at"], told["files_whole_at"])
        print(replace(lab, cloud, "controller").stdout)
    lost = [one for one in writer.acknowledged if not writer.is_there(*one[1:])]
    late = [one for one in lost if one[0] > known]
    print(f"{len(writer.acknowledged)} writes acknowledged, {len(lost)} lost: {lost}; "
          f"{pings.sent} pings, {len(pings.lost)} lost")  # fmt: skip
    record_property("lost", len(lost))
    assert lost == late, "what the stream had is there"
    assert pings.lost == []
