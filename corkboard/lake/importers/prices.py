"""Prices as people write them, as whole minor units with a currency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from corkboard.lake.importers.words import folded

_WITHOUT = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_THOUSANDTHS = "BHD IQD JOD KWD LYD OMR TND"
DECIMALS = dict.fromkeys(_WITHOUT.split(), 0) | dict.fromkeys(_THOUSANDTHS.split(), 3)
"""Currencies whose unit has other parts than hundredths (ISO 4217)."""
SIGNS = {"€": "EUR", "£": "GBP", "₹": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY", "₪": "ILS", "₫": "VND", "₴": "UAH", "zł": "PLN"}
"""Signs that stand for one currency; $, ¥ and kr stand for several."""
WHOLE = ("saleprice", "price", "listprice")
"""Columns of prices in whole units: what is on sale costs what the sale says."""
MINOR = "priceminor"
CURRENCIES = ("currency", "currencycode", "pricecurrency")
_LEAST_SHARE = 0.5
"""A column has prices where at least this share of what it tells is one: "$$" and "cheap" are attributes."""
_WORD = r"^([A-Za-z]{3})\b|\b([A-Za-z]{3})$"
_SIGN = r"(\p{Sc}|zł)"
_MARKS = r"(?i)^(?:[a-z]{3}\b|[a-z]{0,3}\p{Sc}|\s)+|(?:\b[a-z]{3}|\p{Sc}|zł|kr\.?|\s)+$"
_GROUPED = r"^(?:\d+|\d{1,3}(?:[,\s’']\d{3})+)(?:\.\d+)?$"
_COMMA = r"^(?:\d+|\d{1,3}(?:[.\s’']\d{3})+),\d{1,2}$"
_EITHER = r"^\d{1,3}\.\d{3}$"


def amount(prices: pl.Expr, currency: pl.Expr) -> pl.Expr:
    """Float64: what text such as "19.99", "1,299.00", "19,99 EUR" or "€ 5" says, in whole units.

    Null for what is no number, for less than nothing, and for "1.299", which may be either unless the unit of ``currency`` has thousandths.
    """
    bare = prices.str.replace_all(_MARKS, "")
    either = bare.str.contains(_EITHER) & (_decimals(currency) < 3)
    grouped = pl.when(bare.str.contains(_GROUPED) & ~either).then(bare.str.replace_all(r"[,\s’']", ""))
    comma = pl.when(bare.str.contains(_COMMA)).then(bare.str.replace_all(r"[.\s’']", "").str.replace(",", ".", literal=True))
    return pl.coalesce(grouped, comma).cast(pl.Float64, strict=False)


def minor_units(amounts: pl.Expr, currency: pl.Expr) -> pl.Expr:
    """Int64: amounts in whole units, Float64, in the smallest ones of ``currency``; null for no number and for less than nothing."""
    value = amounts * pl.lit(10.0).pow(_decimals(currency))
    return pl.when((value >= 0) & (value <= 2**53)).then(value.round(0)).cast(pl.Int64)


def currency_in(prices: pl.Expr) -> pl.Expr:
    """The currency that the text of a price names by its three letters or by a sign of its own; null for none."""
    bare = prices.str.strip_chars()
    word = pl.coalesce(bare.str.extract(_WORD, 1), bare.str.extract(_WORD, 2)).str.to_uppercase()
    return pl.coalesce(word, bare.str.extract(_SIGN, 1).replace_strict(SIGNS, default=None, return_dtype=pl.String))


def currency_of(values: pl.Expr) -> pl.Expr:
    """The currency that a cell names; null for what is none."""
    bare = values.str.strip_chars()
    letters = pl.when(bare.str.contains("^[A-Za-z]{3}$") & (bare.str.to_lowercase() != "nan")).then(bare.str.to_uppercase())
    return pl.coalesce(letters, bare.replace_strict(SIGNS, default=None, return_dtype=pl.String))


def _decimals(currency: pl.Expr) -> pl.Expr:
    return currency.replace_strict(DECIMALS, default=2, return_dtype=pl.Int64)


# ------------------------------------------------------------------------------------------------------------------ columns


@dataclass(frozen=True)
class Prices:
    """``rows`` has price_minor and currency, a row for each of the table; ``columns`` are those that told them."""

    rows: pl.DataFrame
    columns: list[str]
    notes: list[str]


def prices_of(frame: pl.DataFrame, default: str) -> Prices | None:
    """The price of each row of a table of texts, of its first column that tells one; None where no column has prices.

    The currency is that of the row, else the one that the price names, else ``default``. Where row and price name two, neither counts.
    """
    named: dict[str, str] = {}
    for name in frame.columns:
        named.setdefault(folded(name), name)
    cells = [named[word] for word in CURRENCIES if word in named]
    told = pl.coalesce(*(currency_of(pl.col(name)) for name in cells), pl.lit(None, pl.String))
    read = [_whole(pl.col(named[word]), told, default) for word in WHOLE if word in named]
    columns = [named[word] for word in WHOLE if word in named]
    if MINOR in named:
        read.append(_written(pl.col(named[MINOR]), told, default))
        columns.append(named[MINOR])
    found = [(name, frame.select(price)) for name, price in zip(columns, read, strict=True)]
    found = [(name, price) for name, price in found if _mostly(frame[name], price["price_minor"])]
    return _first(frame, found, cells) if found else None


def _first(frame: pl.DataFrame, found: Sequence[tuple[str, pl.DataFrame]], cells: Sequence[str]) -> Prices:
    names = [name for name, _ in found]
    joined = pl.concat(
        [price.rename({part: f"{part} {k}" for part in price.columns}) for k, (_, price) in enumerate(found)], how="horizontal"
    )
    first = pl.coalesce(*(pl.when(pl.col(f"price_minor {k}").is_not_null()).then(pl.lit(k)) for k in range(len(found))))
    rows = joined.select(
        pl.coalesce(*(pl.when(first == k).then(pl.col(f"{part} {k}")) for k in range(len(found)))).alias(part)
        for part in ("price_minor", "currency", "assumed")
    )
    given = (
        frame.select(pl.any_horizontal(pl.col(name).str.strip_chars().str.len_chars() > 0 for name in names)).to_series().fill_null(False)
    )
    unread, assumed = int((given & rows["price_minor"].is_null()).sum()), int(rows["assumed"].sum())
    notes = [f"Prices are those of {', '.join(names)}, the first that a row has."]
    if unread:
        notes.append(f"{unread:,} rows have no price that can be read for sure: their items come in without one.")
    if assumed:
        currency = rows.filter(pl.col("assumed"))["currency"][0]
        notes.append(f"{assumed:,} prices name no currency: {currency} was assumed (imports.currency).")
    return Prices(rows.select("price_minor", "currency"), [*names, *cells], notes)


def _whole(prices: pl.Expr, told: pl.Expr, default: str) -> list[pl.Expr]:
    inside = currency_in(prices)
    currency, clash = pl.coalesce(told, inside, pl.lit(default)), (told != inside).fill_null(False)
    return _told(pl.when(~clash).then(minor_units(amount(prices, currency), currency)), currency, told.is_null() & inside.is_null())


def _written(prices: pl.Expr, told: pl.Expr, default: str) -> list[pl.Expr]:
    value = prices.cast(pl.Float64, strict=False)
    whole = pl.when((value >= 0) & (value <= 2**53) & (value == value.round(0))).then(value).cast(pl.Int64)
    return _told(whole, pl.coalesce(told, pl.lit(default)), told.is_null())


def _told(price: pl.Expr, currency: pl.Expr, assumed: pl.Expr) -> list[pl.Expr]:
    known = price.is_not_null()
    return [price.alias("price_minor"), pl.when(known).then(currency).alias("currency"), (known & assumed).alias("assumed")]


def _mostly(cells: pl.Series, prices: pl.Series) -> bool:
    given = int((cells.str.strip_chars().str.len_chars() > 0).sum())
    return given > 0 and int(prices.is_not_null().sum()) >= _LEAST_SHARE * given
