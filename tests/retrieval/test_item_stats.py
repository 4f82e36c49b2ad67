from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.artifacts import write_artifact
from corkboard.errors import LeakError
from corkboard.retrieval.item_stats import COUNTERS, NAMES, WINDOWS_DAYS, ItemStats, stat
from retrieval.builders import DAY_MS, actions_frame, shown_frame

IDS = ["a", "b"]


def build(rows: list[tuple[str, str, str, float]], upto_day: float = 40, shown: list[tuple[list[str], float]] | None = None) -> ItemStats:
    return ItemStats.build(actions_frame(rows), shown_frame(shown or []), IDS, int(upto_day * DAY_MS), half_life_days=2.0)


def test_windows_by_hand() -> None:
    stats = build(
        [("u", "save", "a", 9.5), ("u", "save", "a", 9.9), ("v", "save", "a", 4.0), ("v", "hide", "b", 1.0)],
        shown=[(["a", "b", "gone"], 9.0)],
    )
    now = stats.as_of(10)
    assert [now[0, stat(f"save_{w}")] for w in ("1d", "7d", "28d")] == [2, 3, 3]
    assert [now[1, stat(f"hide_{w}")] for w in ("1d", "7d", "28d")] == [0, 0, 1]
    assert now[:, stat("impressions_1d")].tolist() == [1, 1]
    # half-life 2 days, counted from the last day before: 2 on day 9, 1 on day 4, five days earlier
    assert now[0, stat("save_decayed")] == pytest.approx(2 + 0.5 ** (5 / 2))
    assert now.dtype == np.float32
    assert now.shape == (2, len(NAMES))


def test_a_planted_event_of_the_day_itself_is_not_seen() -> None:
    """The leak this class exists to prevent: a label of the day must not be among the features of that day."""
    quiet, planted = build([("u", "save", "a", 9.0)]), build([("u", "save", "a", 9.0), ("u", "save", "a", 10.0), ("u", "save", "a", 10.99)])
    assert np.array_equal(quiet.as_of(10), planted.as_of(10))
    assert planted.as_of(11)[0, stat("save_1d")] == 2


def test_nothing_at_or_after_the_cut_is_counted() -> None:
    stats = build([("u", "save", "a", 9.0), ("u", "save", "a", 20.0)], upto_day=20)
    assert stats.as_of(20)[0, stat("save_28d")] == 1
    with pytest.raises(LeakError):
        stats.as_of(21)
    assert np.array_equal(stats.latest(), stats.as_of(20))


def test_a_cut_within_a_day_allows_the_next_midnight() -> None:
    stats = build([("u", "save", "a", 19.2), ("u", "save", "a", 19.8)], upto_day=19.5)
    assert stats.last_day == 20
    assert stats.latest()[0, stat("save_1d")] == 1


def test_actions_that_say_nothing_of_items_and_unknown_items_are_left_out() -> None:
    stats = build([("u", "follow", "a", 5.0), ("u", "save", "gone", 5.0)])
    assert stats.as_of(6).sum() == 0


def test_days_in_order_once() -> None:
    stats = build([("u", "click", "a", 3.0)])
    days = [day for day, _ in stats.by_day([5, 4, 5])]
    assert days == [4, 5]
    assert all(np.array_equal(frame, stats.as_of(day)) for day, frame in stats.by_day([4, 5]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(COUNTERS[1:]), st.sampled_from(IDS), st.integers(0, 39)), max_size=40), st.integers(1, 40))
def test_equals_a_plain_count(events: list[tuple[str, str, int]], day: int) -> None:
    found = build([("u", action, item, float(when)) for action, item, when in events]).as_of(day)
    for place, item in enumerate(IDS):
        for window in WINDOWS_DAYS:
            for action in COUNTERS[1:]:
                expected = sum(1 for a, i, when in events if (a, i) == (action, item) and day - window <= when < day)
                assert found[place, stat(f"{action}_{window}d")] == expected


def test_survives_writing_down(tmp_path: Path) -> None:
    stats = build([("u", "save", "a", 9.0), ("u", "hide", "b", 30.0)], shown=[(["a", "a", "b"], 8.0)])
    artifact = write_artifact(tmp_path, "stats", "1", tensors=stats.tensors(), tables=stats.tables(), config=stats.config)
    again = ItemStats.from_artifact(artifact)
    assert np.array_equal(again.as_of(35), stats.as_of(35))
    assert (again.ids, again.last_day) == (IDS, 40)


def test_no_events_at_all() -> None:
    assert build([]).latest().sum() == 0


def test_before_a_day_is_what_a_build_on_that_morning_would_have_counted() -> None:
    rows = [("u", "save", "a", 9.5), ("u", "click", "b", 10.0), ("v", "save", "b", 12.0)]
    later = build(rows, upto_day=13).before(10)
    assert later.last_day == build(rows[:1], upto_day=10).last_day
    assert np.array_equal(later.latest(), build(rows[:1], upto_day=10).latest())
    with pytest.raises(LeakError):
        later.as_of(12)
