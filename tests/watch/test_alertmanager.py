"""Alerts: to a web server that keeps what it gets; to a real Alertmanager where there is one."""

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from backstay.watch.incidents.incident import Kind
from backstay.watch.notify import notifier as courier_module
from tests.installed import need
from tests.transports.receivers import Inbox, web_server
from tests.watch.causes import DISK, MARIADB
from tests.watch.notifier_harness import courier_of, until

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")


def told(inbox: Inbox) -> list[tuple[str, bool]]:
    """Return each alert posted: its name, and whether it lasts."""
    return [
        (alert["labels"]["alertname"], alert["endsAt"] > alert["startsAt"] and _lasts(alert))
        for post in inbox.got
        for alert in post.document
    ]


def _lasts(alert: dict[str, Any]) -> bool:
    return datetime.fromisoformat(alert["endsAt"]).timestamp() > time.time()


def test_what_is_open_is_posted_again_and_what_is_over_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier_module, "REPEAT", 0.2)
    inbox = Inbox()

    async def story(url: str) -> None:
        channels = {"alerts": {"alertmanager": {"url": f"{url}/am/"}, "least": "critical"}}
        async with courier_of(tmp_path / "journal.db", channels) as (incident_log, notifier):
            now = time.time()
            await incident_log.open(DISK, began=now, at=now)
            down = await incident_log.open(MARIADB, began=now, at=now)
            await until(lambda: len(inbox.got) > 3)
            assert set(told(inbox)) == {("service-failed", True)}
            inbox.status = 503
            await until(lambda: notifier.problems)
            assert "status 503" in notifier.problems[0]
            inbox.status = 200
            await until(lambda: not notifier.problems)
            await incident_log.close(down, at=time.time(), text="answers again")
            await until(lambda: ("service-failed", False) in told(inbox))
            inbox.arrived.clear()
            await asyncio.sleep(0.5)  # more than two times of repeating
            assert not inbox.arrived.is_set()

    with web_server(inbox) as url:
        asyncio.run(story(url))
    assert {post.path for post in inbox.got} == {"/am/api/v2/alerts"}


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    missing = [] if PROGRAM else ["Alertmanager"]
    need(missing, "apt-get install --no-install-recommends prometheus-alertmanager")
    file = tmp_path / "alertmanager.yml"
    file.write_text("route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    address = f"127.0.0.1:{port}"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [
                str(PROGRAM),
                f"--config.file={file}",
                f"--storage.path={tmp_path}/data",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)


def alerts(url: str) -> list[tuple[str, str, str]]:
    """Return the alerts that last, as a real Alertmanager has them."""
    try:
        found = requests.get(f"{url}/api/v2/alerts", timeout=5).json()
    except requests.ConnectionError:
        return [("", "it does not listen yet", "")]
    return [
        (one["labels"]["alertname"], one["annotations"]["summary"], one["status"]["state"])
        for one in found
    ]


def test_a_real_alertmanager_has_what_is_open_and_only_that(
    tmp_path: Path, alertmanager: str
) -> None:
    async def story() -> None:
        channels = {"alerts": {"alertmanager": {"url": alertmanager}}}
        await until(lambda: alerts(alertmanager) == [])
        async with courier_of(tmp_path / "journal.db", channels) as (incident_log, notifier):
            now = time.time()
            down = await incident_log.open(MARIADB, began=now - 2, at=now)
            expected = [("service-failed", MARIADB.title, "active")]
            await until(lambda: alerts(alertmanager) == expected)
            # The cause is known better: one alert, under its new name.
            off = replace(MARIADB, kind=Kind.HOST_OFF, title="controller is off")
            down = await incident_log.change(
                down, off, at=time.time(), text="BMC: off", notify=True
            )
            expected = [("host-off", "controller is off", "active")]
            await until(lambda: alerts(alertmanager) == expected)
            await incident_log.close(down, at=time.time(), text="answers again")
            await until(lambda: alerts(alertmanager) == [])
            assert notifier.problems == ()
            await notifier.test("alerts")
            assert [name for name, _, _ in alerts(alertmanager)] == ["backstay-test"]

    asyncio.run(story())
