"""Prices by hand."""

from __future__ import annotations

import polars as pl
import pytest

from corkboard.lake.importers.prices import minor_units


@pytest.mark.parametrize(
    ("written", "currency", "minor"),
    [
        ("19.99", "EUR", 1999),
        ("19,99", "EUR", 1999),
        ("1,299.00", "USD", 129_900),
        ("1.299,5", "EUR", 129_950),
        ("1,299", "USD", 129_900),
        ("1,299,000", "USD", 129_900_000),
        ("$ 5", "USD", 500),
        ("€19.99", "EUR", 1999),
        ("19.99 EUR", "EUR", 1999),
        ("EUR 19.99", "EUR", 1999),
        ("0", "EUR", 0),
        ("500", "JPY", 500),
        ("1.234", "KWD", 1234),
        ("4.35", "USD", 435),
        ("", "EUR", None),
        ("free", "EUR", None),
        ("-3", "EUR", None),
        ("1.299.00", "EUR", None),
        ("12,34,56", "EUR", None),
        ("NaN", "EUR", None),
        ("9" * 30, "EUR", None),
    ],
)
def test_prices_are_whole_numbers_of_the_smallest_unit(written: str, currency: str, minor: int | None):
    frame = pl.DataFrame({"price": [written], "currency": [currency]})
    assert frame.select(minor_units(pl.col("price"), pl.col("currency"))).item() == minor


def test_numbers_and_nothing_are_read_too():
    prices = pl.DataFrame({"price": [19.99, None, 3.0, float("nan"), -1.0]})
    assert prices.select(minor_units(pl.col("price"), pl.lit("EUR"))).to_series().to_list() == [1999, None, 300, None, None]
