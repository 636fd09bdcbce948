"""How agents report, as a service's own configuration says: read as oslo.config reads it."""

from pathlib import Path
from typing import Any

import pytest

from backstay.answers import convert
from backstay.services import oslo, reporting
from backstay.services.registry import all_services
from backstay.services.reporting import ReportTimes

AGENTS = {"nova-compute": ["DEFAULT", "report_interval", 10.0]}
NEUTRON = {"neutron-l3-agent": ["agent", "report_interval", 30.0]}


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tmp_path / "nova.conf"


def read(
    monkeypatch: pytest.MonkeyPatch,
    conf: Path,
    processes: dict[str, Any] | None = None,
    agents: dict[str, Any] | None = None,
) -> ReportTimes:
    monkeypatch.setattr(reporting, "all_running", lambda _programs: processes or {})
    found = reporting.report_times(
        "backstay-test",
        [str(conf)],
        ["nova-api", "nova-wsgi"],
        ["service_down_time", 60.0],
        agents or AGENTS,
    )
    return convert(ReportTimes, found)


@pytest.mark.parametrize(
    ("text", "interval", "down_after", "names"),
    [
        ("[DEFAULT]\n", 10, 60, ()),
        ("[DEFAULT]\nreport_interval = 60\nservice_down_time=300\n", 60, 300, ()),
        ("[DEFAULT]\nreport_interval: 60\n", 60, 150, ()),  # nova raises the other by itself
        ("[DEFAULT]\nhost = cmp1.dc1\n", 10, 60, ("cmp1.dc1",)),
        ("[other]\nreport_interval = 99\nhost = x\n", 10, 60, ()),
        ("[DEFAULT]\nreport_interval = $other\n", None, 60, ()),
        ("[DEFAULT]\nservice_down_time = soon\n", 10, None, ()),
        ("[DEFAULT]\nservice_down_time = 1\n[DEFAULT]\nservice_down_time = 200\n", 10, 200, ()),
        ("[DEFAULT]\nservice_down_time = -5\n", 10, None, ()),
        ("[DEFAULT]\nservice_down_time = nan\n", 10, None, ()),
        (
            "[DEFAULT]\nenabled_backends = a, b\n[a]\nbackend_host = rbd:v\n[b]\nx=1\n",
            10,
            60,
            ("rbd:v",),
        ),
    ],
)
def test_a_file(  # noqa: PLR0917 - a table
    monkeypatch: pytest.MonkeyPatch,
    conf: Path,
    text: str,
    interval: float | None,
    down_after: float | None,
    names: tuple[str, ...],
) -> None:
    conf.write_text(text)
    found = read(monkeypatch, conf)
    assert found.intervals.get("nova-compute") == interval
    assert (found.down_after, found.names) == (down_after, names)
    assert found.complete


@pytest.mark.parametrize("section", ["agent", "AGENT", "Agent"])
def test_sections_go_by_any_case(monkeypatch: pytest.MonkeyPatch, conf: Path, section: str) -> None:
    conf.write_text(f"[DEFAULT]\nreport_interval = 5\n[{section}]\nreport_interval = 45\n")
    assert read(monkeypatch, conf, agents=NEUTRON).intervals == {"neutron-l3-agent": 45}
    conf.write_text("[DEFAULT]\nreport_interval = 5\n[agent]\n")
    assert read(monkeypatch, conf, agents=NEUTRON).intervals == {"neutron-l3-agent": 30}


def test_the_files_and_folders_of_the_command_line_in_its_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, conf: Path
) -> None:
    conf.write_text("[DEFAULT]\nreport_interval = 1\n")
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "10-a.conf").write_text("[DEFAULT]\nreport_interval = 20\n")
    (folder / "20-b.conf").write_text("[DEFAULT]\nreport_interval = 25\n")
    own = tmp_path / "own.conf"
    own.write_text("[DEFAULT]\nreport_interval = 40\n")

    def interval(*words: str, variables: dict[str, str] | None = None) -> float | None:
        process = (4e9, ["/usr/bin/python3", "/usr/bin/nova-compute", *words], variables or {})
        found = read(monkeypatch, conf, {"nova-compute": process})
        return found.intervals.get("nova-compute")

    assert interval() == 1
    assert interval("--config-dir", str(folder)) == 25
    assert interval(f"--config-file={own}", f"--config-dir={folder}") == 25
    assert interval(f"--config-dir={folder}", "--config-file", str(own)) == 40
    assert interval("--config-file", str(own), variables={"OS_DEFAULT__REPORT_INTERVAL": "7"}) == 7


def test_what_was_changed_after_its_program_had_read_it_is_not_known(
    monkeypatch: pytest.MonkeyPatch, conf: Path
) -> None:
    conf.write_text("[DEFAULT]\nreport_interval = 60\n")
    found = read(monkeypatch, conf, {"nova-compute": (1.0, ["nova-compute"], {})})
    assert (found.intervals, found.complete) == ({}, False)


@pytest.mark.parametrize("text", [b"report_interval = 60\n", b"[DEFAULT\n", b"\x00\xff[["])
def test_a_file_that_cannot_be_read_says_nothing(
    monkeypatch: pytest.MonkeyPatch, conf: Path, text: bytes
) -> None:
    conf.write_bytes(text)
    assert read(monkeypatch, conf) == ReportTimes()
    conf.unlink()
    assert read(monkeypatch, conf) == ReportTimes()  # a host that has not this service


@pytest.mark.parametrize(
    ("words", "program"),
    [
        (["/usr/bin/python3", "/usr/bin/nova-compute", "--config-file", "x"], "nova-compute"),
        (["/usr/bin/python3.9", "-s", "/usr/bin/nova-compute", ""], "nova-compute"),
        (["/usr/bin/nova-compute", ""], "nova-compute"),
        (["vim", "/usr/bin/nova-compute"], "vim"),
        (["/usr/bin/python3", "-u"], "python3"),
        ([""], ""),
    ],
)
def test_the_program_of_a_command_line(words: list[str], program: str) -> None:
    assert oslo.program_of(words) == program


def test_every_service_asks_in_the_same_form() -> None:
    asked = [service for service in all_services() if service.report_times]
    assert [one.name for one in asked] == ["nova", "neutron", "cinder"]
    for service in asked:
        assert service.report_times is not None
        assert convert(ReportTimes, service.report_times.ask()).complete in {True, False}
