"""What a reboot cost, from a run that was recorded on the lab."""

from dataclasses import replace
from html.parser import HTMLParser

import click

from backstay.cli.output.reboot import reboot_page, reboot_text
from backstay.cli.output.run import ending, plan_table, run_text, runs_table
from backstay.journal.records import RunState, StepState
from backstay.runbooks.reboot.report import durations, reports
from tests.runbooks.recorded import recorded

RUN, EVENTS = recorded("reboot-controller")


def test_the_report_of_a_controller() -> None:
    [report] = reports(RUN, [])
    assert report.boot_before.startswith("576fa283")
    assert report.boot_after.startswith("6fdf80ac")
    assert not report.cycled
    assert report.whole
    assert round(report.away or 0) == 13
    assert round(report.until_working or 0) == 84
    lines = {line.what: line for line in report.lines}
    assert lines["compute"].down > 30
    assert len(lines["compute"].outages) == 1
    assert lines["demo-1"].unanswered == 0
    assert [phase.name for phase in report.phases] == [
        "gates",
        "going down",
        "coming back",
        "units",
        "functions",
        "agents",
        "settling",
    ]


def test_past_runs_stand_beside_it() -> None:
    later = replace(RUN, id="reboot-9", made=RUN.made + 86400)
    [report] = reports(later, [later, RUN])
    assert report.runs == 1
    assert report.past_until_working == report.until_working
    assert all(line.past == line.down for line in report.lines)
    assert durations([RUN], "controller") == [round_trip(RUN.steps)]


def round_trip(steps: object) -> float:
    ends = [step.ended for step in RUN.steps if step.ended]
    begins = [step.began for step in RUN.steps if step.began]
    return max(ends) - min(begins)


def test_interrupted_runs_tell_no_duration() -> None:
    steps = (replace(RUN.steps[0], attempts=2), *RUN.steps[1:])
    assert durations([replace(RUN, steps=steps)], "controller") == []
    assert not reports(replace(RUN, steps=steps), [])[0].whole


def test_text_fits_and_says_it() -> None:
    text = click.unstyle(reboot_text(reports(RUN, []), width=80))
    assert "everything worked after 84 s" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "instance demo-1" in text


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    class Links(HTMLParser):
        outside: list[str] = []  # noqa: RUF012 - a test's own

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.outside += [f"{tag} {key}" for key, _ in attrs if key in {"src", "href"}]

    text = reboot_page(replace(RUN, reason="<b>kernel</b>"), reports(RUN, []))
    parser = Links()
    parser.feed(text)
    assert parser.outside == []
    assert "&lt;b&gt;kernel" in text
    assert text.count("<rect") >= 7 + 2 * 6


def test_a_failed_run_names_what_to_do() -> None:
    error = {"attempted": "waiting", "came_back": "nothing", "remedy": "look"}
    steps = tuple(
        replace(step, state=StepState.FAILED, error=error) if step.id.endswith("units") else step
        for step in RUN.steps
    )
    failed = replace(RUN, state=RunState.FAILED, steps=steps)
    text = click.unstyle(ending(failed))
    assert "waiting: nothing" in text
    assert "what to do: look" in text
    assert "backstay runs resume reboot-2" in text
    assert "FAILED" in click.unstyle(run_text(failed, EVENTS))
    assert "failed" in click.unstyle(runs_table([failed, RUN]))


def test_every_step_of_the_plan_is_shown_with_its_bound() -> None:
    lines = click.unstyle(plan_table(RUN.plan)).splitlines()[1:]
    assert len(lines) == len(RUN.plan.steps)
    assert all("at most" in line for line in lines)
