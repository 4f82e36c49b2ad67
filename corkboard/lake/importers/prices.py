"""Prices as people write them, as whole minor units with a currency."""

from __future__ import annotations

import polars as pl

_WITHOUT = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THOUSANDTHS = "BHD IQD JOD KWD LYD OMR TND"
DECIMALS = dict.fromkeys(_WITHOUT.split(), 0) | dict.fromkeys(_THOUSANDTHS.split(), 3)
"""Currencies whose unit has other parts than hundredths (ISO 4217)."""
_MARKS = r"^[\p{Sc}\s]*(?:[A-Za-z]{3}\s)?|(?:\s[A-Za-z]{3})?[\p{Sc}\s]*$"
_POINT = r"^(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?$"
_COMMA = r"^(?:\d+|\d{1,3}(?:\.\d{3})+),\d{1,2}$"


def minor_units(prices: pl.Expr, currency: pl.Expr) -> pl.Expr:
    """Int64: prices in whole units ("19.99", "1,299.00", "19,99", "19.99 EUR", numbers) in the smallest ones of ``currency``.

    Null for what is no such number: less than nothing, or with marks that may mean either a thousand or a decimal.
    """
    bare = prices.cast(pl.String).str.strip_chars().str.replace_all(_MARKS, "")
    plain = pl.when(bare.str.contains(_POINT)).then(bare.str.replace_all(",", "", literal=True))
    comma = pl.when(bare.str.contains(_COMMA)).then(bare.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True))
    decimals = currency.replace_strict(DECIMALS, default=2, return_dtype=pl.Int64)
    value = pl.coalesce(plain, comma).cast(pl.Float64, strict=False) * pl.lit(10.0).pow(decimals)
    return pl.when(value <= 2**53).then(value.round(0)).cast(pl.Int64)
