"""Times of outside files as UTC milliseconds: whole or broken numbers of any usual unit, ISO 8601 text, dates and datetimes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl

A_MS = {"us": 1_000, "ns": 1_000_000}
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
NUMBER = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"


def unit_of(numbers: pl.Series) -> str | None:
    """The unit of times since 1970, by the magnitude of their median; None where there is no number.

    The bounds are the same moment in each unit: 10^11 s is the year 5138, 10^11 ms is 1973.
    """
    median = numbers.filter(numbers != 0).abs().median()
    if not isinstance(median, int | float):
        return None
    return "s" if median < 1e11 else "ms" if median < 1e14 else "us" if median < 1e17 else "ns"


@dataclass
class TimeReader:
    """Reads the times of one file. The unit is decided by the first piece that has numbers, and kept; ``seen`` says how they were read."""

    unit: str | None = None
    seen: str = ""

    def read(self, series: pl.Series) -> pl.Series:
        """Int64 milliseconds; what cannot be read stays as it stands, for the validation to refuse (the column is text then)."""
        if series.dtype == pl.Date or series.dtype == pl.Datetime:
            self.seen = "dates and times" + (" without a zone, taken as UTC" if getattr(series.dtype, "time_zone", None) is None else "")
            return series.cast(pl.Datetime("ms")).cast(pl.Int64) if series.dtype == pl.Date else series.dt.epoch("ms")
        if series.dtype == pl.String:
            return self._read_text(series)
        if series.dtype.is_integer() or series.dtype.is_float():
            return self._scale(series)
        return series

    def _scale(self, numbers: pl.Series) -> pl.Series:
        self.unit = self.unit or unit_of(numbers)
        if self.unit in (None, "ms"):
            return numbers
        self.seen = f"numbers in {UNIT_NAMES[self.unit]}"
        if self.unit == "s":
            return (numbers.cast(pl.Float64) * 1_000).round()
        return (numbers / A_MS[self.unit]).floor() if numbers.dtype.is_float() else numbers.cast(pl.Int64, strict=False) // A_MS[self.unit]

    def _read_text(self, series: pl.Series) -> pl.Series:
        given = series.is_not_null()
        numbers = series.str.contains(NUMBER).fill_null(False)
        times = pl.Series(series.name, [None], dtype=pl.Int64).new_from_index(0, len(series))
        if numbers.any():
            scaled = self._scale(_as_numbers(series.set(~numbers, None))).cast(pl.Int64, strict=False)
            times = times.zip_with(~numbers, scaled)
        words = given & ~numbers
        if words.any():
            times = times.zip_with(~words, _read_iso(series.set(~words, None)))
            self.seen = "ISO 8601 text; without a zone it is taken as UTC"
        if (times.is_null() & given).any():
            return times.cast(pl.String).zip_with(times.is_not_null(), series)
        return times


def _as_numbers(texts: pl.Series) -> pl.Series:
    whole = texts.cast(pl.Int64, strict=False)
    return whole if whole.null_count() == texts.null_count() else texts.cast(pl.Float64, strict=False)


def _read_iso(texts: pl.Series) -> pl.Series:
    """Int64 milliseconds, null where the text is not ISO 8601. Each different text is read once."""
    unique = texts.drop_nulls().unique()
    known = {text: _iso_ms(text) for text in unique}
    return texts.replace_strict(known, default=None, return_dtype=pl.Int64)


def _iso_ms(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
