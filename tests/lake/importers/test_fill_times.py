"""Times for rows of which only the order, or only a part of the times, is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corkboard.lake.importers.times import fill_times, spread_back, time_unit, to_ms

NAN = float("nan")


def test_between_two_known_times_rows_are_spread_evenly() -> None:
    # 4 gaps between 1000 and 9000: 2000 each.
    filled = fill_times(np.zeros(5, np.int64), np.array([1_000, NAN, NAN, NAN, 9_000.0]))
    assert filled.time_ms.tolist() == [1_000, 3_000, 5_000, 7_000, 9_000]
    assert (filled.between, filled.outside, filled.alone) == (3, 0, 0)
    assert filled.share == pytest.approx(0.6)


def test_before_the_first_and_after_the_last_the_pace_of_a_sitting_goes_on() -> None:
    # Known gaps: 4000 and 2000, and one of two hours that is no sitting; their mean is 3000.
    known = np.array([NAN, NAN, 100_000.0, 104_000.0, 106_000.0, 7_306_000.0, NAN])
    filled = fill_times(np.zeros(7, np.int64), known)
    assert filled.pace_ms == 3_000
    assert filled.time_ms.tolist() == [94_000, 97_000, 100_000, 104_000, 106_000, 7_306_000, 7_309_000]
    assert filled.outside == 3


def test_users_without_times_start_with_their_neighbours() -> None:
    # Users 0 and 2 start at 10_000 and 30_000; user 1 knows nothing: the median start is 20_000, the pace 1000.
    user = np.array([0, 0, 1, 1, 2, 2])
    filled = fill_times(user, np.array([10_000.0, 11_000.0, NAN, NAN, 30_000.0, 31_000.0]))
    assert filled.time_ms.tolist() == [10_000, 11_000, 20_000, 21_000, 30_000, 31_000]
    assert filled.alone == 2


def test_equal_times_are_pushed_apart_in_order() -> None:
    filled = fill_times(np.array([0, 0, 0, 0, 1]), np.array([5_000.0, 5_000.0, 5_000.0, 5_001.0, 5_000.0]))
    assert filled.time_ms.tolist() == [5_000, 5_001, 5_002, 5_003, 5_000]


def test_nothing_known_is_an_error() -> None:
    with pytest.raises(ValueError, match="no time is known"):
        fill_times(np.zeros(2, np.int64), np.array([NAN, NAN]))


@given(st.lists(st.lists(st.one_of(st.none(), st.integers(0, 10**7)), min_size=1, max_size=12), min_size=1, max_size=6))
def test_times_rise_within_a_user_and_known_ones_hardly_move(users: list[list[int | None]]) -> None:
    rows = [(u, t) for u, times in enumerate(users) for t in _sorted_where_known(times)]
    if all(t is None for _, t in rows):
        return
    user = np.array([u for u, _ in rows])
    known = np.array([NAN if t is None else float(t + 10**12) for _, t in rows])
    filled = fill_times(user, known)
    for u in np.unique(user):
        assert (np.diff(filled.time_ms[user == u]) >= 1).all()
    given_times = ~np.isnan(known)
    moved = filled.time_ms[given_times] - known[given_times]
    assert (moved >= 0).all()
    assert (moved < len(rows)).all()  # a millisecond for each row before it at most
    assert filled.between + filled.outside + filled.alone == int((~given_times).sum())


def _sorted_where_known(times: list[int | None]) -> list[int | None]:
    known = iter(sorted(t for t in times if t is not None))
    return [None if t is None else next(known) for t in times]


def test_sequences_end_together() -> None:
    frame = pl.DataFrame({"place": [0, 1, 2], "length": [3, 3, 3]})
    times = frame.select(spread_back(pl.col("place"), pl.col("length"), 1_000_000, 60_000)).to_series()
    assert times.to_list() == [880_000, 940_000, 1_000_000]


@pytest.mark.parametrize(
    ("value", "unit"),
    [(1_700_000_000, "s"), (1_700_000_000_000, "ms"), (1_700_000_000_000_000, "us"), (1.7e18, "ns"), (4711, None), (10**11, None)],
)
def test_units_are_read_from_the_magnitude(value: float, unit: str | None) -> None:
    values = pl.Series([value, value + 5, None])
    assert time_unit(values) == unit
    if unit is not None:
        assert to_ms(values)[0] == 1_700_000_000_000


def test_a_column_without_numbers_has_no_unit() -> None:
    assert time_unit(pl.Series([None, None], dtype=pl.Float64)) is None
    assert to_ms(pl.Series(["1700000000", "soon", None]), "s").to_list() == [1_700_000_000_000, None, None]
