from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from corkboard.lake.times import TimeReader, unit_of

T = 1_709_294_400_000  # 2024-03-01 12:00 UTC


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ([T // 1000, T // 1000 + 1], "seconds"),
        ([T / 1000, T / 1000 + 1.0], "seconds"),
        ([T, T + 1000], ""),
        ([T * 1000, (T + 1000) * 1000], "microseconds"),
        ([T * 1_000_000, (T + 1000) * 1_000_000], "nanoseconds"),
        ([str(T // 1000), str(T // 1000 + 1)], "seconds"),
        ([f"{T // 1000}.0", f"{T // 1000 + 1}.0"], "seconds"),
        ([str(T), str(T + 1000)], ""),
        (["2024-03-01T12:00:00Z", "2024-03-01 13:00:01+01:00"], "ISO 8601"),
        (["2024-03-01T12:00:00", "2024-03-01T12:00:01.000"], "without a zone"),
        ([datetime(2024, 3, 1, 12), datetime(2024, 3, 1, 12, 0, 1)], "without a zone"),
        ([datetime(2024, 3, 1, 12, tzinfo=UTC), datetime(2024, 3, 1, 12, 0, 1, tzinfo=UTC)], "dates and times"),
    ],
)
def test_every_form_of_time_becomes_milliseconds(numbers: list, said: str) -> None:
    reader = TimeReader()
    assert reader.read(pl.Series("t", numbers)).cast(pl.Int64).to_list() == [T, T + 1000]
    assert said in reader.seen
    assert bool(said) == bool(reader.seen)


def test_dates_are_midnights() -> None:
    assert TimeReader().read(pl.Series([date(2024, 3, 1)])).to_list() == [T - 12 * 3_600_000]
    assert TimeReader().read(pl.Series(["2024-03-01"])).to_list() == [T - 12 * 3_600_000]


def test_the_unit_is_decided_once_for_a_file() -> None:
    reader = TimeReader()
    reader.read(pl.Series([T // 1000]))
    assert reader.read(pl.Series([5])).to_list() == [5_000]  # nothing says seconds here; the first piece did


def test_zeros_and_nulls_say_nothing_about_the_unit() -> None:
    assert unit_of(pl.Series([0, 0, None, T])) == "ms"
    assert unit_of(pl.Series([0, 0])) is None
    assert unit_of(pl.Series([], dtype=pl.Int64)) is None


def test_what_cannot_be_read_stays_as_it_stands() -> None:
    assert TimeReader().read(pl.Series(["2024-03-01T12:00:00Z", "yesterday", None])).to_list() == [str(T), "yesterday", None]
    assert TimeReader().read(pl.Series([str(T), "2024-03-01T12:00:01Z"])).to_list() == [T, T + 1000]
