"""Units and timers that an earlier version installed still do their work after the upgrade."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from backstay.cli import backup_stream, reboot, watch
from backstay.cli.earlier_units import STREAM_COMMANDS, current_words
from backstay.cli.main import backstay

CLOUD = """
name: lab
credentials: {openrc: openrc}
hosts:
  controller: {address: 192.0.2.11, roles: [controller]}
  proxy: {address: 192.0.2.12, roles: [storage-proxy]}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setenv("BACKSTAY_LOCKS", f"file://{tmp_path}/locks")
    path = tmp_path / "cloud.yaml"
    path.write_text(CLOUD)
    return str(path)


def called(*words: str) -> Result:
    done = CliRunner().invoke(backstay, words)
    assert done.exit_code == 0, done.output
    return done


def test_the_watch_s_service(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[str] = []
    monkeypatch.setattr(watch, "_watch", lambda cloud: watched.append(cloud.name))
    assert "backstay watch install" in called("watch", "--cloud", file).stderr
    assert watched == ["lab"]


def test_a_stream_s_service(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[object] = []

    async def receive(_cloud: object, hosts: object) -> None:
        received.append(hosts)

    monkeypatch.setattr(backup_stream, "_receive", receive)
    done = called("backup", "stream", "controller", "--cloud", file)
    assert "backstay backup stream install controller" in done.stderr
    assert received == [["controller"]]


def test_a_reboot_s_timer(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[Any] = []

    def start(_cloud: object, plan: object, **_: object) -> int:
        plans.append(plan)
        return 0

    monkeypatch.setattr(reboot, "start", start)
    words = ["reboot", "proxy", "--now", "--yes", "--cloud", file, "--despite", "backup"]
    words += ["--despite", "in-flight", "--wait-for-idle", "600", "--reason", "--despite"]
    assert "--skip-gate" in called(*words).stderr
    assert plans[0].settings["skip_gates"] == ["backup", "in-flight"]


@pytest.mark.parametrize(
    "words",
    [
        "backup create controller --verify --prune --reason scheduled --cloud f",
        "runs resume reboot-1 --cloud f",
        "reboot proxy --now --yes --cloud f --emergency --reason r --ticket t",
        "watch",
        "watch --help",
        "watch status --cloud f",
        "backup stream",
        "backup stream --help",
        *(f"backup stream {name} --cloud f" for name in STREAM_COMMANDS),
        "backup stream controller --help",
    ],
)
def test_all_else_stays(words: str) -> None:
    assert current_words(words.split()) == (words.split(), "")


def test_commands_of_streams_are_not_taken_for_hosts() -> None:
    assert set(backup_stream.stream.commands) == STREAM_COMMANDS
