"""The timer that takes backups, and a stream's service, carried out by the systemd of a host."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backstay.transports.systemd import repeating_files, service_file
from tests.acceptance.conftest import Lab

pytestmark = pytest.mark.lab

NAME = "backstay-backup-story"
FIRED = "/root/fired"
# As `systemctl edit` would: the story does not wait for what spreads timers.
AT_ONCE = "[Timer]\\nRandomizedDelaySec=0\\nAccuracySec=1s\\n"


def files(calendar: str) -> dict[str, str]:
    return repeating_files(
        NAME,
        does="a story",
        calendar=calendar,
        command=["/bin/sh", "-c", f"echo $KEY >> {FIRED}"],
        environment={"KEY": '100 % "fired"'},
    )


def start(lab: Lab, calendar: str) -> None:
    folder = f"/run/systemd/system/{NAME}.timer.d"
    for file, text in files(calendar).items():
        lab.shell("spare1", f"cat > /run/systemd/system/{file} <<'E'\n{text}E\n")
    lab.shell("spare1", f"mkdir -p {folder}; printf '{AT_ONCE}' > {folder}/at-once.conf")
    lab.shell("spare1", f"rm -f {FIRED}; systemctl daemon-reload; systemctl restart {NAME}.timer")


def fired(lab: Lab) -> list[str]:
    return lab.shell("spare1", f"cat {FIRED} 2>/dev/null; true").splitlines()


@pytest.fixture
def clean(lab: Lab) -> Iterator[None]:
    yield
    lab.shell(
        "spare1",
        f"systemctl stop {NAME}.timer; rm -rf /run/systemd/system/{NAME}.* {FIRED} "
        f"/var/lib/systemd/timers/stamp-{NAME}.timer; systemctl daemon-reload",
    )


@pytest.mark.usefixtures("clean")
def test_it_fires_again_and_again_and_catches_up(lab: Lab) -> None:
    start(lab, "*:*:0/4")
    lab.wait_until(lambda: len(fired(lab)) >= 2, what="it has fired twice", bound=60)
    assert set(fired(lab)) == {'100 % "fired"'}

    # The machine was off when its time came: it is started when the machine is up.
    lab.shell("spare1", f"systemctl stop {NAME}.timer")
    lab.shell("spare1", f"touch -d '2 days ago' /var/lib/systemd/timers/stamp-{NAME}.timer")
    start(lab, "*-*-* 00:30")
    lab.wait_until(lambda: len(fired(lab)) == 1, what="it has caught up", bound=60)


@pytest.mark.usefixtures("clean")
def test_a_stream_s_service_is_started_again_whenever_it_ends(lab: Lab) -> None:
    command = ["/bin/sh", "-c", f"echo $KEY >> {FIRED}; kill -9 $$"]
    text = service_file(does="a story", command=command, environment={"KEY": "started"})
    lab.shell("spare1", f"cat > /run/systemd/system/{NAME}.service <<'E'\n{text}E\n")
    lab.shell("spare1", f"rm -f {FIRED}; systemctl daemon-reload; systemctl start {NAME}")
    lab.wait_until(lambda: len(fired(lab)) >= 3, what="it has started three times", bound=60)
    lab.shell("spare1", f"systemctl stop {NAME}.service")
    assert set(fired(lab)) == {"started"}


def test_systemd_finds_nothing_wrong_with_the_files(lab: Lab, tmp_path: Path) -> None:
    for file, text in files("*-*-* 00:30").items():
        (tmp_path / file).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "story" not in done.stderr
    assert done.returncode == 0, done.stderr
