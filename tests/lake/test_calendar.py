from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.lake.calendar import DAY_MS, Calendar, day_name, day_of, spans
from corkboard.lake.config import CalendarConfig
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake

from .rows import DAY, T0, action, frame, lake_of


def lake_of_days(folder: Path, days: int) -> Lake:
    """An action at the beginning of each day, and one in the last millisecond of the last."""
    return lake_of(folder, actions=[*(action(f"e{day}", T0 + day * DAY + 1) for day in range(days)), action("last", T0 + days * DAY - 1)])


WEEK = CalendarConfig(rank_days=7)


def test_two_weeks_of_rows_and_two_of_test_unless_told_otherwise():
    assert spans(84, CalendarConfig()) == (14, 14)


def test_cuts_are_midnights_counted_back_from_the_end(tmp_path: Path) -> None:
    calendar = Calendar.of(lake_of_days(tmp_path, 84), WEEK)
    assert (calendar.start_ms, calendar.end_ms) == (T0, T0 + 84 * DAY)
    assert calendar.rank_cut_ms == T0 + 70 * DAY  # 84 - 14 days of test
    assert calendar.item_cut_ms == T0 + 63 * DAY  # 70 - 7 days of ranking rows
    assert calendar.rank_validation_ms == T0 + 68 * DAY  # 3 days, but at most a third of 7
    assert calendar.item_validation_ms == T0 + 60 * DAY
    assert len(calendar.days()) == 84
    assert day_name(calendar.days()[0]) == "2024-03-01"


def test_a_click_years_later_is_one_more_day_and_moves_nothing_else(tmp_path: Path) -> None:
    """Somebody serves an old data set and clicks: the ranking span and the test must keep days on which something happened."""
    late = T0 + 900 * DAY
    calendar = Calendar.of(
        lake_of(tmp_path, actions=[*(action(f"e{day}", T0 + day * DAY) for day in range(84)), action("late", late)]), WEEK
    )
    assert calendar.end_ms == late + DAY
    assert calendar.rank_cut_ms == T0 + 71 * DAY  # the test has 13 of the old days and the new one
    assert calendar.item_cut_ms == T0 + 64 * DAY


def test_a_window_leaves_out_what_is_older(tmp_path: Path) -> None:
    calendar = Calendar.of(lake_of_days(tmp_path, 400), CalendarConfig(window_days=60))
    assert calendar.start_ms == T0 + 340 * DAY
    assert calendar.rank_cut_ms == T0 + 386 * DAY


def test_models_that_are_trained_weekly_stand_still_in_between(tmp_path: Path) -> None:
    weekly = CalendarConfig(retrain_days=7)
    cuts = [Calendar.of(lake_of_days(tmp_path / str(days), days), weekly) for days in range(84, 99)]
    every = [Calendar.of(lake_of_days(tmp_path / str(days), days), CalendarConfig()) for days in range(84, 99)]
    assert sorted({np.count_nonzero([one.item_cut_ms == other.item_cut_ms for other in cuts]) for one in cuts[6:9]}) == [7]
    assert all(day_of(one.item_cut_ms) % 7 == 0 for one in cuts)
    for weekly_one, daily in zip(cuts, every, strict=True):
        assert daily.item_cut_ms - 7 * DAY_MS < weekly_one.item_cut_ms <= daily.item_cut_ms
        assert (weekly_one.rank_cut_ms, weekly_one.end_ms) == (daily.rank_cut_ms, daily.end_ms)


def test_a_short_lake_is_trained_on_every_day(tmp_path: Path) -> None:
    lake = lake_of_days(tmp_path, 10)
    assert Calendar.of(lake, CalendarConfig(retrain_days=30)) == Calendar.of(lake)


@pytest.mark.parametrize(
    ("days", "test", "rank"),
    [
        (42, 14, 7),  # half of 42 is 21: just enough
        (30, 10, 5),  # half is 15, shared 14 : 7
        (10, 3, 2),  # half is 5: 5 * 14 / 21 = 3.3
        (4, 1, 1),
        (1000, 14, 7),
    ],
)
def test_a_short_lake_keeps_half_of_its_days_for_item_models(days: int, test: int, rank: int) -> None:
    assert spans(days, WEEK) == (test, rank)


@pytest.mark.parametrize("days", [4, 5, 6, 9, 17, 41])
@pytest.mark.parametrize(
    "settings", [CalendarConfig(test_days=1, rank_days=90), CalendarConfig(test_days=90, rank_days=1), CalendarConfig()]
)
def test_every_span_has_a_day(days: int, settings: CalendarConfig) -> None:
    test, rank = spans(days, settings)
    assert test >= 1
    assert rank >= 1
    assert days - test - rank >= days / 2


def test_too_few_days_are_an_error_that_says_how_many(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"too few days.*found 3.*at least 4"):
        Calendar.of(lake_of_days(tmp_path, 3))


def test_a_tenth_of_the_users_is_held_out_whoever_else_there_is(tmp_path: Path) -> None:
    calendar = Calendar.of(lake_of_days(tmp_path, 84))
    users = [f"u{k}" for k in range(20_000)]
    held_out = calendar.held_out(users)
    # 20,000 * 0.1 = 2,000 with a standard deviation of sqrt(20,000 * 0.1 * 0.9) = 42
    assert abs(held_out.sum() - 2_000) < 5 * 42
    assert (calendar.held_out(users[::-1])[::-1] == held_out).all()
    assert calendar.held_out([]).shape == (0,)
    assert not Calendar(0, 1, 2, 3, held_out_share=0.0).held_out(users).any()


def test_the_split_hash_changes_with_the_cuts_and_the_events_and_with_nothing_else(tmp_path: Path) -> None:
    rows = [action(f"e{day}", T0 + day * DAY) for day in range(84)]
    one = lake_of(tmp_path / "one", actions=rows)
    two = lake_of(tmp_path / "two", actions=rows[:40])
    ingest_frames(tmp_path / "two", {"actions": frame("actions", *rows[30:])}, "the rest")
    two = two.refresh()
    calendar = Calendar.of(one)
    assert calendar == Calendar.of(two)
    assert calendar.split_hash(one) == calendar.split_hash(two)  # the same events, in other commits
    assert calendar.split_hash(one.until(T0 + DAY)) == calendar.split_hash(one)
    assert Calendar.of(one, CalendarConfig(test_days=13)).split_hash(one) != calendar.split_hash(one)
    ingest_frames(tmp_path / "two", {"actions": frame("actions", action("more", T0))}, "one more")
    assert calendar.split_hash(two.refresh()) != calendar.split_hash(one)


def test_days_of_moments() -> None:
    assert day_of(T0) == T0 // DAY_MS == 19_783
    assert day_of(np.array([T0 - 1, T0])).tolist() == [19_782, 19_783]
    assert day_name(19_783) == "2024-03-01"


def test_the_last_quarter_before_a_cut_is_whole_weeks():
    calendar = Calendar(10 * DAY_MS, 50 * DAY_MS, 60 * DAY_MS, 70 * DAY_MS)
    assert calendar.last_quarter_ms(18 * DAY_MS) == 16 * DAY_MS  # a quarter of eight days
    assert calendar.last_quarter_ms(calendar.item_cut_ms) == 43 * DAY_MS  # of 40: ten days, nearest to one week
    assert calendar.last_quarter_ms(calendar.rank_cut_ms) == 46 * DAY_MS  # of 50: 12.5 days, nearest to two weeks
