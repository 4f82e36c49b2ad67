"""Time: the unit of a column of numbers, and times for rows of which only the order is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.lake.fields import FIRST_MS, LAST_MS
from corkboard.lake.times import TimeReader

_UNIT_MS = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
_EARLIEST_MS, _LATEST_MS = 315_532_800_000, 4_102_444_800_000  # 1980 to 2100: the years in which somebody logged a click
_SITTING_MS = 3_600_000


def time_unit(numbers: pl.Series) -> str | None:
    """ "s", "ms", "us" or "ns": which puts the middle of ``numbers`` between 1980 and 2100. None where none does: these are no times."""
    middle = numbers.cast(pl.Float64, strict=False).median()
    if not isinstance(middle, float) or np.isnan(middle):
        return None
    return next((unit for unit, factor in _UNIT_MS.items() if _EARLIEST_MS <= middle * factor < _LATEST_MS), None)


def to_ms(values: pl.Series, unit: str | None = None) -> pl.Series:
    """Int64 milliseconds, null where the value is no time; the unit is told by the values where it is not given."""
    return TimeReader(unit).read(values).cast(pl.Int64, strict=False)


def plausible(time_ms: pl.Expr) -> pl.Expr:
    """The time where the lake would take it, null elsewhere: one impossible moment must not decide since when an item exists."""
    return pl.when(time_ms.is_between(FIRST_MS, LAST_MS)).then(time_ms)


def spread_back(place: pl.Expr, length: pl.Expr, end_ms: int, step_ms: int) -> pl.Expr:
    """Times for the rows of a sequence of which nothing but the order is known: ``step_ms`` apart, the last at ``end_ms``.

    ``place`` is 0 for the oldest of ``length`` rows.
    """
    return (pl.lit(end_ms) - (length - 1 - place) * step_ms).cast(pl.Int64)


@dataclass(frozen=True)
class FilledTimes:
    """``time_ms`` int64 ``(rows,)``, strictly increasing within each user, and how the unknown ones came about."""

    time_ms: np.ndarray
    between: int
    """Rows set evenly between two known times of the same user."""
    outside: int
    """Rows before the first or after the last known time of their user: ``pace_ms`` apart."""
    alone: int
    """Rows of users without any known time: they start when the users with neighbouring ids do."""
    pace_ms: float
    """Mean gap between two known actions of one sitting (gaps under an hour)."""

    @property
    def share(self) -> float:
        """Share of rows, in [0, 1], whose time was not known."""
        return (self.between + self.outside + self.alone) / max(1, len(self.time_ms))


def fill_times(user: np.ndarray, known_ms: np.ndarray) -> FilledTimes:
    """Times for every row from the times of some.

    ``user`` int64 ``(rows,)`` is non-decreasing and numbers the users in the order of their ids; within a user rows are in
    their true order. ``known_ms`` float64 ``(rows,)`` is NaN where unknown and non-decreasing within a user.

    Between two known times the rows are spread evenly; before the first and after the last they keep the mean pace of
    a sitting. A user without known times starts at the median start of the eleven users whose ids are nearest: where ids were
    given out in order of arrival this is about right, elsewhere it is a guess. Equal times are then pushed apart by a millisecond.
    """
    rows = np.arange(len(user))
    known = np.flatnonzero(~np.isnan(known_ms))
    if not len(known):
        raise ValueError("no time is known")
    pace = _pace_ms(user, known_ms)
    first_row = np.flatnonzero(np.r_[True, user[1:] != user[:-1]])
    start_row = first_row[np.cumsum(np.r_[True, user[1:] != user[:-1]]) - 1]
    # The known row at or before, and at or after, every row; -1 and len where there is none of the same user.
    before = np.maximum.accumulate(np.where(np.isnan(known_ms), -1, rows))
    after = np.minimum.accumulate(np.where(np.isnan(known_ms), len(rows), rows)[::-1])[::-1]
    has_before = (before >= 0) & (user[np.maximum(before, 0)] == user)
    has_after = (after < len(rows)) & (user[np.minimum(after, len(rows) - 1)] == user)
    b, a = np.where(has_before, before, 0), np.where(has_after, after, 0)
    weight = (rows - b) / np.maximum(a - b, 1)
    start_ms = _starts_ms(user, rows, known, known_ms, pace)
    times = np.select(
        [has_before & has_after, has_after, has_before],
        [known_ms[b] + (known_ms[a] - known_ms[b]) * weight, known_ms[a] - (a - rows) * pace, known_ms[b] + (rows - b) * pace],
        start_ms[user] + (rows - start_row) * pace,
    )
    unknown = np.isnan(known_ms)
    return FilledTimes(
        _strictly_increasing(user, np.rint(times).astype(np.int64)),
        int((unknown & has_before & has_after).sum()),
        int((unknown & (has_before != has_after)).sum()),
        int((unknown & ~has_before & ~has_after).sum()),
        pace,
    )


def _pace_ms(user: np.ndarray, known_ms: np.ndarray) -> float:
    gaps = np.diff(known_ms)[user[1:] == user[:-1]]
    gaps = gaps[~np.isnan(gaps) & (gaps < _SITTING_MS)]
    return max(1.0, float(gaps.mean())) if len(gaps) else 1_000.0


def _starts_ms(user: np.ndarray, rows: np.ndarray, known: np.ndarray, known_ms: np.ndarray, pace: float) -> np.ndarray:
    """float64 ``(users,)``: when each user started; for those without any time, the median of the eleven nearest."""
    users = int(user[-1]) + 1
    anchored, first_known = np.unique(user[known], return_index=True)
    row_of_first = known[first_known]
    start_row = np.searchsorted(user, anchored)
    estimates = known_ms[row_of_first] - (rows[row_of_first] - start_row) * pace
    starts = np.empty(users)
    starts[anchored] = estimates
    for one in np.setdiff1d(np.arange(users), anchored):
        place = int(np.searchsorted(anchored, one))
        starts[one] = np.median(estimates[max(0, place - 5) : place + 6])
    return starts


def _strictly_increasing(user: np.ndarray, times: np.ndarray) -> np.ndarray:
    """``times`` with every row at least one millisecond after the row before it of the same user."""
    rows = np.arange(len(times))
    lifted = pl.DataFrame({"user": user, "time": times - rows}).select(pl.col("time").cum_max().over("user"))
    return lifted["time"].to_numpy() + rows
