"""What a replacement took and cost, from a run that the real engine has carried out."""

import json
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from backstay.cli.main import backstay
from backstay.cli.output.replace import replace_page, replace_text
from backstay.journal.records import RunState, StepState
from backstay.runbooks.replace.report import reports
from tests.runbooks.replacement import BEGAN, LOST, carried_out


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    return carried_out(tmp_path, monkeypatch)[1]


def test_the_clock_of_each_phase(run):
    [report] = reports(run)
    parts = {part.name: part for part in report.phases}
    assert list(parts) == [
        "confirm",
        "fence",
        "packages",
        "backup read back",
        "identity",
        "restore",
        "start",
        "build",
        "proof",
        "reconcile",
        "new backup",
        "cloud.yaml",
    ]
    packages, read = parts["packages"], parts["backup read back"]
    assert packages.begins < read.begins < read.ends < packages.ends
    assert round(packages.ends - packages.begins) == 103
    assert round(packages.waited) == 71
    # Nothing is counted twice, and nothing left out.
    assert sum(part.waited for part in report.phases) == pytest.approx(run.seconds, abs=0.5)
    assert report.until_working == pytest.approx(294, abs=0.5)
    assert report.ended == pytest.approx(run.seconds, abs=0.5)
    assert report.within is True
    assert report.whole
    assert report.status == ""


def test_what_it_cost(run):
    [report] = reports(run)
    assert report.lost == (LOST,)
    assert report.remarks == ("1 files are lost that glance has records of: /a",)
    assert report.newer == 3
    assert report.impact is not None
    assert [line.down for line in report.impact.lines] == [249, 261, 0]
    assert report.impact.out_at_begin == ("identity", "compute")
    assert report.impact.before == 1
    assert report.impact.silent == ("demo-9",)
    assert report.agents is not None
    assert report.agents.restarted == ("nova-compute on compute1",)
    assert report.mismatches == ("instance x 1: a guest runs without a record; adopt it",)
    assert report.not_compared == ("guests of compute2: no route to host",)
    assert len(report.replaced_data) == 3
    assert report.verified
    json.dumps(report.document())


def test_text_says_it(run):
    text = click.unstyle(replace_text(reports(run), width=90))
    assert "all checks green after 4 min 54 s, within the guide's 15 min" in text
    assert "verified; all was done after 5 min" in " ".join(text.split())
    assert "dead for 3 witnesses; left out by the operator: compute2; fenced: its power" in text
    assert "waited 1 min 11 s" in text
    assert "already out when the run started, for longer than shown: all APIs of" in text
    assert "1 instance answered every one of 1720 pings" in text
    assert "what runs on compute2 is not known" in text
    assert "+    bmc: {url: 'https://10.77.0.131:8443'" in text
    drawn = text.partition("cloud.yaml now:")[0]
    assert max(map(len, drawn.splitlines())) <= 90


def test_the_page_is_whole_and_needs_nothing_else(run):
    class Links(HTMLParser):
        outside: list[str] = []  # noqa: RUF012 - a test's own

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.outside += [f"{tag} {key}" for key, _ in attrs if key in {"src", "href"}]

    text = replace_page(run, reports(run))
    parser = Links()
    parser.feed(text)
    assert parser.outside == []
    assert text.count("<rect") == 12 + 3 + 2
    assert "password: …" in text
    assert "no ARP answer" in text


def test_too_late_and_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _, run = carried_out(tmp_path, monkeypatch, fails="build", again_after=900)
    [report] = reports(run)
    assert run.state is RunState.DONE
    assert not report.whole
    assert report.within is False
    text = click.unstyle(replace_text([report], width=90))
    assert "longer than the guide's 15 min" in text
    assert "the run was interrupted" in text


def test_a_run_that_failed_says_how_far_it_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _, run = carried_out(tmp_path, monkeypatch, fails="build")
    [report] = reports(run)
    assert report.until_working is None
    assert report.phases[-1].name == "build"
    assert report.phases[-1].state is StepState.FAILED
    text = click.unstyle(replace_text([report], width=90))
    assert "not verified to work yet" in text
    assert "it was not recorded to the end" in text
    assert "switch spare1 off before" in " ".join(text.split())
    assert 'class="failed">applying it: Puppet says no' in replace_page(run, [report])


def test_before_the_spare_has_the_address_another_can_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    [report] = reports(carried_out(tmp_path, monkeypatch, fails="packages")[1])
    assert report.status.startswith("controller is fenced, and spare1 is still a spare")


def test_refused_runs_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _, run = carried_out(tmp_path, monkeypatch, fails="confirm")
    assert reports(run) == []


def test_a_proxy_has_no_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _, run = carried_out(tmp_path, monkeypatch, without=("rebuild", "agents", "reconcile"))
    [report] = reports(run)
    assert report.lost == (
        "no databases were restored; its files are those of controller-20261124T200000Z, and "
        "newer ones that had come with the stream",
    )
    assert report.agents is None
    assert report.mismatches is None
    assert report.until_working is not None


def test_each_runbook_has_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, run = carried_out(tmp_path, monkeypatch)
    store.close()
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    call = CliRunner().invoke
    read = json.loads(call(backstay, ["runs", "show", run.id, "-o", "json"]).output)
    assert read["reports"][0]["phases"][0]["begins"] == BEGAN
    assert read["reports"][0]["guide"] == 900
    html = call(backstay, ["runs", "show", run.id, "-o", "html"]).output
    assert html.startswith("<!DOCTYPE html>")
    assert "Who found it dead" in html
    assert "all checks green after" in call(backstay, ["runs", "show", run.id]).output


CLOUD = """
name: lab
credentials: {openrc: openrc}
hosts:
  controller: {address: 192.0.2.11, roles: [controller]}
"""
OLD = "fenced: {controller-old: {was: controller, since: '2026-11-24T22:00:00Z'}}"


def test_a_run_whose_last_step_was_cut_off_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store, run = carried_out(tmp_path, monkeypatch, fails="take-over")
    store.close()
    file = tmp_path / "cloud.yaml"
    monkeypatch.setenv("BACKSTAY_JOURNAL", f"sqlite:///{tmp_path}/journal.db")
    monkeypatch.setattr("backstay.cli.runs.carry_out", lambda *_args, **_more: 0)
    call = CliRunner().invoke
    file.write_text(CLOUD)
    lost = call(backstay, ["runs", "resume", run.id, "--cloud", str(file)])
    assert lost.exit_code == 4
    assert "no host spare1 any more" in lost.output
    file.write_text(CLOUD + OLD)  # the spare is gone because it is the controller now
    assert call(backstay, ["runs", "resume", run.id, "--cloud", str(file)]).exit_code == 0
