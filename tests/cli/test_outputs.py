"""Findings in, the printed text out: expected texts are files in data/."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from backstay.cli.output.findings import Report, findings_document, findings_table, plugin_line
from backstay.finding import Finding, Severity

DATA = Path(__file__).parent / "data"
DOCS = Path(__file__).parents[2] / "docs"


def found(  # noqa: PLR0917 - a row of a table
    host: str | None, service: str, subject: str, severity: str, evidence: str, remedy: str = ""
) -> Finding:
    return Finding(
        host=host,
        service=service,
        subject=subject,
        severity=Severity(severity),
        evidence=evidence,
        remedy=remedy,
        seconds=0.1234 if "list" in subject else None,
    )


GOOD = [
    found("controller", "glance", "unit glance-api", "ok", "active for 3 d"),
    found("controller", "glance", "image list", "ok", "4 images"),
    found("compute1", "host", "disk /", "ok", "31 % used"),
]
BAD = [
    *GOOD,
    found("compute1", "host", "clock", "warning", "0.7 s ahead of this machine's", "chronyc"),
    found(
        "controller",
        "nova",
        "unit nova-scheduler",
        "failed",
        "failed since 02:14:07 (exit status 1)\nMainPID 0 | \x1b[31mnot\x1b[0m running; " * 2,
        "ssh root@10.77.0.11 systemctl restart nova-scheduler; "
        "journalctl -u nova-scheduler -n 50 --no-pager",
    ),
    found("compute2", "host", "host", "unknown", "the host's key is not the known one", "look"),
    found(None, "keystone", "token", "failed", "keystone hangs", "restart it"),
]


def report(findings: list[Finding]) -> Report:
    at = datetime(2026, 11, 23, 2, 15, tzinfo=UTC)
    return Report(cloud="lab", at=at, seconds=1.234, findings=findings)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("table-bad.txt", click.unstyle(findings_table(report(BAD), width=80))),
        ("table-bad-quiet.txt", click.unstyle(findings_table(report(BAD), width=80, quiet=True))),
        (
            "table-bad-verbose.txt",
            click.unstyle(findings_table(report(BAD), width=60, verbose=True)),
        ),
        ("table-good.txt", click.unstyle(findings_table(report(GOOD), width=80))),
        ("nagios-bad.txt", plugin_line(report(BAD))),
        ("nagios-good.txt", plugin_line(report(GOOD))),
        ("bad.json", findings_document(report(BAD))),
    ],
)
def test_printed_form(name, text):
    assert text == (DATA / name).read_text()


def test_the_worst_comes_first():
    assert [group[0] for group in report(BAD).by_host()] == [
        "controller",
        "cloud",
        "compute2",
        "compute1",
    ]
    assert report(BAD).status is Severity.FAILED
    assert report([]).status is Severity.UNKNOWN
    assert findings_table(report(GOOD), quiet=True) == ""


def test_nothing_but_the_remedy_is_wider_than_the_terminal():
    for line in click.unstyle(findings_table(report(BAD), width=80)).splitlines():
        assert len(line) <= 80 or line.lstrip().startswith("-> ")


def test_the_monitoring_line_is_one_line_with_one_bar():
    line = plugin_line(report(BAD * 50))
    assert line.count("\n") == 1
    assert line.count("|") == 1
    assert "\x1b" not in line
    assert len(line) < 4096


def test_the_document_is_as_the_schema_says():
    schema = json.loads((DOCS / "check.schema.json").read_text())
    told = json.loads(findings_document(report(BAD)))
    assert list(told) == schema["required"] == list(schema["properties"])
    finding = schema["properties"]["findings"]["items"]
    for one in told["findings"]:
        assert list(one) == finding["required"] == list(finding["properties"])
        assert one["severity"] in finding["properties"]["severity"]["enum"]
    assert finding["properties"]["severity"]["enum"] == [severity.value for severity in Severity]
    assert datetime.fromisoformat(told["checked_at"]) == report(BAD).at
