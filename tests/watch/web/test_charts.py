"""Charts: what they draw, and what they say to screen readers."""

from xml.etree import ElementTree

from backstay.watch.incidents.incident import Incident, TimelineEntry
from backstay.watch.incidents.store import Minute
from backstay.watch.web.charts import history, millis, sparkline, timeline
from tests.watch.web.fake_cloud import MARIADB

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # well-formed, whatever it holds


def test_a_sparkline_breaks_at_failed_probes() -> None:
    recent = [(0.0, 0.01), (1.0, 0.02), (2.0, None), (3.0, 0.01), (4.0, 0.2)]
    drawn = parsed(sparkline(recent))
    assert len(drawn.findall("polyline")) == 2
    assert len(drawn.findall("rect")) == 1
    assert drawn.findtext("title") == "5 probes in 4 s, 1 failed, at most 200 ms"


def test_without_data_there_is_no_chart() -> None:
    assert sparkline(()) == ""
    assert history((), since=0.0, until=60.0) == ""


def minute(number: int, *, answered: int = 60) -> Minute:
    return Minute(subject="x", minute=number, asked=60, answered=answered, median=0.02, longest=0.4)


def test_history_shows_failed_probes_and_gaps() -> None:
    minutes = [minute(n, answered=30 if n == 7 else 60) for n in range(5, 20)]
    drawn = parsed(history(minutes, since=300.0, until=3900.0))
    bad = [one for one in drawn.findall("rect") if one.get("class") == "bad"]
    assert len(bad) == 1
    assert float(bad[0].get("height", 0)) == 75.0
    assert len(drawn.findall("rect")) == 16
    assert "900 probes, 30 failed" in (drawn.findtext("title") or "")
    assert "longest 400 ms" in (drawn.findtext("title") or "")


def test_a_week_has_as_many_columns_as_pixels_at_the_most() -> None:
    minutes = [minute(n) for n in range(7 * 1440)]
    drawn = parsed(history(minutes, since=0.0, until=7 * 86400.0))
    assert len(drawn.findall("rect")) <= 700


def test_a_timeline_has_a_mark_for_every_entry() -> None:
    incident = Incident(
        id=1,
        cloud="amber",
        cause=MARIADB,
        began=100.0,
        opened=105.0,
        closed=160.0,
        timeline=(
            TimelineEntry(at=105.0, kind="opened", text="<b>"),
            TimelineEntry(at=160.0, kind="resolved", text="answers"),
        ),
    )
    drawn = parsed(timeline(incident, now=1000.0))
    marks = drawn.findall("circle")
    assert [one.get("class") for one in marks] == ["opened", "resolved"]
    assert marks[1].findtext("title") == "resolved after 1 min"
    assert "to the end: 1 min" in drawn.get("aria-label", "")


def test_latencies_are_short() -> None:
    assert [millis(one) for one in (None, 0.0004, 0.0123, 0.9, 1.44)] == [
        "-",
        "0.4 ms",
        "12 ms",
        "900 ms",
        "1.4 s",
    ]


def test_a_minute_alone_is_seen_and_gaps_are_no_line() -> None:
    minutes = [minute(5), minute(30), minute(31), minute(32)]
    lines = parsed(history(minutes, since=0.0, until=3600.0)).findall("polyline")
    assert [len((one.get("points") or "").split()) for one in lines] == [2, 4]
