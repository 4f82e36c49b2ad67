"""Prices by hand."""

from __future__ import annotations

import polars as pl
import pytest

from corkboard.errors import CorkboardError
from corkboard.lake.importers.prices import amount, currency_in, currency_of, minor_units, prices_of
from corkboard.settings import load_settings


@pytest.mark.parametrize(
    ("written", "currency", "minor"),
    [
        ("19.99", "EUR", 1999),
        ("19,99", "EUR", 1999),
        ("1,299.00", "USD", 129_900),
        ("1.299,5", "EUR", 129_950),
        ("1 299,00", "EUR", 129_900),
        ("1,299", "USD", 129_900),
        ("1,299,000", "USD", 129_900_000),
        ("$ 5", "USD", 500),
        ("US$ 5", "USD", 500),
        ("€19.99", "EUR", 1999),
        ("19.99 EUR", "EUR", 1999),
        ("EUR 19.99", "EUR", 1999),
        ("0", "EUR", 0),
        ("500", "JPY", 500),
        ("1.234", "KWD", 1234),
        ("1.234", "EUR", None),  # a thousand and some, or one and some
        ("12.500 EUR", "EUR", None),
        ("1234.567", "EUR", 123_457),
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
    assert frame.select(minor_units(amount(pl.col("price"), pl.col("currency")), pl.col("currency"))).item() == minor


def test_numbers_are_read_as_they_are():
    prices = pl.DataFrame({"price": [19.99, None, 3.0, 1.299, float("nan"), -1.0]})
    assert prices.select(minor_units(pl.col("price"), pl.lit("EUR"))).to_series().to_list() == [1999, None, 300, 130, None, None]


@pytest.mark.parametrize(
    ("written", "named"),
    [("19,99 EUR", "EUR"), ("eur 5", "EUR"), ("€5", "EUR"), ("5 £", "GBP"), ("$5", None), ("¥5", None), ("5", None), ("5 zł", "PLN")],
)
def test_the_currency_that_a_price_names(written: str, named: str | None):
    assert pl.DataFrame({"price": [written]}).select(currency_in(pl.col("price"))).item() == named


def test_what_is_no_currency_is_none():
    cells = pl.DataFrame({"cell": ["eur", " USD ", "€", "EURO", "n/a", "", None, "nan"]})
    assert cells.select(currency_of(pl.col("cell"))).to_series().to_list() == ["EUR", "USD", "EUR", None, None, None, None, None]


def test_a_row_has_the_first_price_that_it_tells():
    table = {
        "list_price": ["30", "30", None, "x", "30"],
        "Price": ["25", "25", "25", None, "cheap"],
        "sale_price": ["19.99", None, None, None, None],
        "price_minor": [None, None, None, "1234.0", "7"],
        "currency": ["EUR", None, "EURO", "USD", None],
    }
    found = prices_of(pl.DataFrame(table), "GBP")
    assert found is not None
    assert found.rows.rows() == [(1999, "EUR"), (2500, "GBP"), (2500, "GBP"), (1234, "USD"), (3000, "GBP")]
    assert found.columns == ["sale_price", "Price", "list_price", "price_minor", "currency"]
    assert found.notes == [
        "Prices are those of sale_price, Price, list_price, price_minor, the first that a row has.",
        "3 prices name no currency: GBP was assumed (imports.currency).",
    ]


def test_a_price_that_contradicts_its_row_is_left_out():
    found = prices_of(pl.DataFrame({"price": ["19 EUR", "19 EUR", "€19"], "currency": ["USD", "EUR", None]}), "GBP")
    assert found is not None
    assert found.rows.rows() == [(None, None), (1900, "EUR"), (1900, "EUR")]
    assert "1 rows have no price that can be read for sure" in found.notes[1]


@pytest.mark.parametrize("column", [{"price": ["$$", "cheap", "5"]}, {"price": [None, "", None]}, {"currency": ["EUR", "EUR", "EUR"]}])
def test_columns_without_prices_are_none(column: dict[str, list[str | None]]):
    assert prices_of(pl.DataFrame(column, dict.fromkeys(column, pl.String)), "USD") is None


def test_the_assumed_currency_is_three_capitals():
    with pytest.raises(CorkboardError):
        load_settings(overrides=["imports.currency=jpy"])
