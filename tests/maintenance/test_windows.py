"""Windows: across time zones, midnight and daylight saving."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstay.inventory.maintenance import EVERY_DAY, Day, Window
from backstay.maintenance.refusal import Refusal
from backstay.maintenance.timing import (
    Expected,
    Go,
    at_instant,
    clock_instant,
    expected,
    in_window,
    latest_start,
)
from backstay.maintenance.windows import next_opening, open_at, opening, openings

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "UTC",
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # changes by half an hour
    "Pacific/Apia",  # left out a whole day, 2011-12-30
    "America/St_Johns",
)
zones = st.sampled_from(ZONES)
clocks = st.times().map(lambda clock: clock.replace(second=0, microsecond=0))
instants = st.datetimes(datetime(2011, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
days = st.lists(st.sampled_from(EVERY_DAY), min_size=1, unique=True).map(tuple)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start = draw(clocks)
    ending: dict[str, object] = {"duration": draw(st.integers(60, 2 * 86400))}
    if draw(st.booleans()):
        ending = {"end": draw(clocks)}
    return Window.model_validate(
        {"days": draw(days), "start": start, "zone": draw(zones), **ending}
    )


def window(text: str) -> Window:
    return Window.model_validate(text)


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def test_a_window_belongs_to_the_day_on_which_it_opened() -> None:
    friday = {"late": window("fri 22:00-04:00 Europe/Berlin")}
    assert open_at(friday, at("2026-11-28T02:00"))[0].day == date(2026, 11, 27)
    assert not open_at(friday, at("2026-11-27T02:00"))
    assert not open_at(friday, at("2026-11-28T22:30"))
    assert not open_at(friday, at("2026-11-28T04:00"))


def test_a_date_that_is_left_out_leaves_out_what_opened_on_it() -> None:
    late = Window.model_validate(
        {"start": "22:00", "end": "04:00", "zone": "Europe/Berlin", "except": ["2026-12-24"]}
    )
    assert not open_at({"late": late}, at("2026-12-25T02:00"))
    assert open_at({"late": late}, at("2026-12-24T02:00"))


def test_summer_time_takes_an_hour_and_gives_it_back() -> None:
    nightly = window("01:00-04:00 Europe/Berlin")
    spring, autumn = date(2026, 3, 29), date(2026, 10, 25)
    lengths = [opening("nightly", nightly, day) for day in (spring, autumn, date(2026, 6, 1))]
    assert [one.seconds / 3600 for one in lengths if one] == [2, 4, 3]
    by_duration = Window.model_validate(
        {"start": "01:00", "duration": "3h", "zone": "Europe/Berlin"}
    )
    found = opening("nightly", by_duration, spring)
    assert found is not None
    assert found.closes == at("2026-03-29T05:00")


def test_what_the_clock_jumps_over_does_not_open() -> None:
    assert opening("x", window("02:59-03:00 Europe/Berlin"), date(2026, 3, 29)) is None


@given(windows(), instants)
def test_openings_are_in_order_and_not_over(shown: Window, now: datetime) -> None:
    found = [one for one, _ in zip(openings("w", shown, now), range(5), strict=False)]
    assert all(one.opens < one.closes and one.closes > now for one in found)
    assert [one.opens for one in found] == sorted(one.opens for one in found)
    assert found, "within a year every window opens again"


@given(windows(), instants)
def test_an_opening_begins_by_its_own_clock_on_its_own_day(shown: Window, now: datetime) -> None:
    zone = ZoneInfo(shown.zone)
    for one, _ in zip(openings("w", shown, now), range(8), strict=False):
        assert Day(one.day.weekday()) in shown.days
        local = one.opens.astimezone(zone)
        late = local.replace(tzinfo=None) - datetime.combine(one.day, shown.start)
        assert timedelta(0) <= late <= timedelta(hours=24)
        if late:  # only where the clock jumped over the start
            naive = datetime.combine(one.day, shown.start, tzinfo=zone)
            assert naive.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != naive.replace(
                tzinfo=None
            )


@given(windows(), instants)
def test_open_at_agrees_with_openings(shown: Window, now: datetime) -> None:
    first = next(openings("w", shown, now))
    assert bool(open_at({"w": shown}, now)) == (first.opens <= now)
    for one in open_at({"w": shown}, now):
        assert one.opens <= now < one.closes
    following = next_opening({"w": shown}, now)
    assert following is not None
    assert following.opens > now


@given(windows(), instants, st.floats(60, 6 * 3600))
def test_what_begins_is_over_when_the_window_closes(
    shown: Window, now: datetime, seconds: float
) -> None:
    needed = Expected(seconds=seconds, source="a test")
    for decided in (
        at_instant({"w": shown}, now, needed, UTC),
        in_window({"w": shown}, "w", now, needed, UTC),
    ):
        if isinstance(decided, Refusal):
            assert decided.gate == "window"
            continue
        assert decided.opening is not None
        assert decided.at >= now
        assert decided.opening.opens <= decided.at
        assert decided.at + timedelta(seconds=seconds) <= decided.opening.closes
        assert decided.at <= latest_start(decided.opening, needed)


@given(clocks, instants, zones)
def test_a_time_of_the_clock_is_the_next_one(clock: time, now: datetime, name: str) -> None:
    found = clock_instant(clock, now, ZoneInfo(name))
    assert now < found <= now + timedelta(hours=49)


def test_the_refusal_has_all_numbers() -> None:
    nightly = {"nightly": window("01:00-04:00 Europe/Berlin")}
    needed = expected([1500.0, 1200.0], 900.0)
    assert needed.seconds == 1800
    late = at_instant(nightly, at("2026-11-24T03:45"), needed, BERLIN)
    assert isinstance(late, Refusal)
    assert "closes at Tue 2026-11-24 04:00 CET, 15 min after" in late.reason
    assert "expected to take 30 min (the longest of the last 2 runs" in late.reason
    assert "latest safe start is Tue 2026-11-24 03:30 CET" in late.reason
    closed = at_instant(nightly, at("2026-11-24T12:00"), needed, BERLIN)
    assert isinstance(closed, Refusal)
    assert "nightly, Wed 2026-11-25 01:00 CET to Wed 2026-11-25 04:00 CET" in closed.reason
    assert "latest safe start Wed 2026-11-25 03:30 CET" in closed.reason


def test_a_window_that_is_too_short_for_it() -> None:
    short = {"short": window("01:00-01:10 UTC")}
    refused = in_window(short, "short", at("2026-11-24T00:00"), expected([], 900.0), UTC)
    assert isinstance(refused, Refusal)
    assert "never open for more than 10 min" in refused.reason


def test_without_windows_every_time_is_right() -> None:
    assert isinstance(at_instant({}, at("2026-11-24T12:00"), expected([], 900.0)), Go)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("fri 25:00-04:00 UTC", "hour"),
        ("fri 22:00-04:00 Europe/Bonn", "not a time zone"),
        ("fry 22:00-04:00 UTC", "not a day"),
        ("whenever", "not a window such as"),
        ({"start": "22:00", "zone": "UTC"}, "exactly one of `end` and `duration`"),
        ({"start": "22:00", "duration": "3x"}, "not a duration"),
        ({"start": "22:00", "duration": "3h", "length": 1}, "Extra inputs"),
    ],
)
def test_mistakes_are_told(given: object, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Window.model_validate(given)


def test_days_and_short_forms() -> None:
    assert window("sat-mon 1:00\N{EN DASH}4:00").days == (Day.SAT, Day.SUN, Day.MON)
    assert window("weekend 01:00-04:00").days == (Day.SAT, Day.SUN)
    assert window("01:00-04:00").days == EVERY_DAY
