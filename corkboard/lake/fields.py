"""Kinds of field. Each kind judges values twice: one by one, and by whole column.

``read`` is the law: it takes one value and returns what is stored, or raises :class:`Unfit`. ``accept`` is the fast way
through for a column: it returns the stored column and a mask of the rows it is sure of. A row that ``accept`` is not sure
of is read again by ``read``, so that bulk and live events get the same verdict by construction; ``accept`` must only never
take what ``read`` refuses, nor store something else (tests/lake/test_verdicts.py).

A number may be written as text ("12"), an id as a whole number (12), a list as JSON text or with "|" between its parts:
CSV has no types, and data frames turn whole numbers with gaps into floats.
"""

from __future__ import annotations

import json
import math
import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

INT64 = pl.Int64()
EXACT_FLOAT = 2**53
"""Beyond this a float no longer tells neighbouring whole numbers apart."""

WHOLE_TEXT = re.compile(r"(-?[0-9]{1,18})(?:\.0+)?")
NUMBER_TEXT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
FLAG_TEXT = {"true": True, "1": True, "false": False, "0": False}


class Unfit(ValueError):
    """A value that does not fit its field. ``path`` leads to the part of a nested value that is meant."""

    def __init__(self, expected: str, found: object, path: str = ""):
        super().__init__(expected)
        self.expected, self.found, self.path = expected, found, path

    def below(self, path: str) -> Unfit:
        return Unfit(self.expected, self.found, path + self.path)


class Kind(ABC):
    """What the values of a column are. Null is never handed to ``read``; whether it may be null is the column's matter."""

    dtype: pl.DataType
    expected: str

    @abstractmethod
    def read(self, value: Any) -> Any:
        """The stored form of one value. Raises :class:`Unfit`."""

    def accept(self, series: pl.Series) -> tuple[pl.Series, pl.Series]:
        """The stored column, and bool ``(n,)``: true where the row is null or surely fits."""
        return self._unsure(series)

    def _unsure(self, series: pl.Series) -> tuple[pl.Series, pl.Series]:
        return nulls(series.name, self.dtype, len(series)), series.is_null()

    def _unfit(self, value: object) -> Unfit:
        return Unfit(self.expected, value)


def nulls(name: str, dtype: pl.DataType, n: int) -> pl.Series:
    """A column of ``n`` nulls."""
    return pl.Series(name, [None], dtype=dtype).new_from_index(0, n)


def _whole(value: Any) -> int | None:
    """A whole number however it is written, or None."""
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) < EXACT_FLOAT:
        return int(value)
    if type(value) is str and (match := WHOLE_TEXT.fullmatch(value)):
        return int(match[1])
    return None


def _whole_column(series: pl.Series) -> pl.Series:
    """Int64, null where the value is not surely a whole number that ``_whole`` reads alike."""
    if series.dtype.is_integer():
        return series.cast(pl.Int64, strict=False)
    if series.dtype.is_float():
        sure = series.is_finite() & (series == series.floor()) & (series.abs() < EXACT_FLOAT)
        return series.set(~sure, None).cast(pl.Int64, strict=False)
    if series.dtype == pl.String:
        return series.str.extract(f"^{WHOLE_TEXT.pattern}$", 1).cast(pl.Int64, strict=False)
    return nulls(series.name, pl.Int64(), len(series))


def _json_list(value: Any) -> Any:
    """A list that was written as JSON text, for want of types in CSV; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


@dataclass(frozen=True)
class Text(Kind):
    """Text of ``min_bytes`` to ``max_bytes`` bytes of UTF-8."""

    max_bytes: int
    min_bytes: int = 0
    what: str = "text"

    dtype = pl.String()

    @property
    def expected(self) -> str:  # type: ignore[override]
        return f"{self.what} of {self.min_bytes} to {self.max_bytes} bytes"

    def read(self, value: Any) -> str:
        text = value
        if type(value) is not str:
            number = _whole(value)
            if number is None or not -(2**63) <= number < 2**64:
                raise self._unfit(value)
            text = str(number)
        if not self.min_bytes <= self._bytes(text) <= self.max_bytes:
            raise self._unfit(value)
        return text

    def _bytes(self, text: str) -> int:
        if text.isascii():
            return len(text)
        try:
            return len(text.encode())
        except UnicodeEncodeError:  # half of a surrogate pair: JSON can say it, UTF-8 can't
            raise Unfit("text that can be written as UTF-8", ascii(text)) from None

    def accept(self, series: pl.Series) -> tuple[pl.Series, pl.Series]:
        if isinstance(series.dtype, pl.Categorical | pl.Enum):
            series = series.cast(pl.String)
        if not (series.dtype == pl.String or series.dtype.is_numeric()):
            return self._unsure(series)
        text = series if series.dtype == pl.String else _whole_column(series).cast(pl.String)
        sure = text.str.len_bytes().is_between(self.min_bytes, self.max_bytes)
        return text, sure.fill_null(False) | series.is_null()


def Id(max_bytes: int) -> Text:
    """An id: text that is not empty."""
    return Text(max_bytes, min_bytes=1, what="an id")


@dataclass(frozen=True)
class Choice(Kind):
    """One of a closed list of words."""

    values: tuple[str, ...]

    dtype = pl.String()

    @property
    def expected(self) -> str:  # type: ignore[override]
        return "one of " + ", ".join(self.values)

    def read(self, value: Any) -> str:
        if type(value) is str and value in self.values:
            return value
        raise self._unfit(value)

    def accept(self, series: pl.Series) -> tuple[pl.Series, pl.Series]:
        if isinstance(series.dtype, pl.Categorical | pl.Enum):
            series = series.cast(pl.String)
        if series.dtype != pl.String:
            return self._unsure(series)
        return series, series.is_in(list(self.values)).fill_null(False) | series.is_null()


@dataclass(frozen=True)
class Currency(Kind):
    """A currency by its three letters (ISO 4217), stored in capitals."""

    dtype = pl.String()
    expected = "the 3 letters of a currency, such as USD"

    def read(self, value: Any) -> str:
        if type(value) is str and len(value) == 3 and value.isascii() and value.isalpha():
            return value.upper()
        raise self._unfit(value)

    def accept(self, series: pl.Series) -> tuple[pl.Series, pl.Series]:
        if series.dtype != pl.String:
            return self._unsure(series)
        return series.str.to_uppercase(), series.str.contains("^[A-Za-z]{3}$").fill_null(False) | series.is_null()


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number from ``low`` to ``high``."""

    low: int = 0
    high: int = 2**63 - 1
    dtype: pl.DataType = INT64
    what: str = "a whole number"

    @property
    def expected(self) -> str:  # type: ignore[override]
        return f"{self.what} from {self.low}" if self.high >= 2**31 - 1 else f"{self.what} from {self.low} to {self.high}"

    def read(self, value: Any) -> int:
        number = _whole(value)
        if number is None or not self._fits(number):
            raise self._unfit(value)
        return number

    def _fits(self, number: int) -> bool:
        return self.low <= number <= self.high

    def accept(self, series: pl.Series) -> tuple[pl.Series, pl.Series]:
        numbers = _whole_column(series)
        sure = self._fit(numbers).fill_null(False)
        return numbers.cast(self.dtype, strict=False), sure | series.is_null()

    def _fit(self, numbers: pl.Series) -> pl.Series:
        return numbers.is_between(self.low, self.high)


FIRST_MS = 100_000_000_000
LAST_MS = 4_102_444_800_000


@dataclass(frozen=True)
class Moment(Whole):
    """UTC milliseconds from 1973-03-03 to 2100. What is below is seconds by mistake; ``timeless`` also takes 0, "always known"."""

    timeless: bool = False
    low: int = FIRST_MS
    high: int = LAST_MS

    @property
    def expected(self) -> str:  # type: ignore[override]
        return "UTC milliseconds from 100000000000 (1973-03-03) to 4102444800000 (2100-01-01); seconds need three more digits"

    def _fits(self, number: int) -> bool:
        return self.low <= number <= self.high or (self.timeless and number == 0)

    def _fit(self, numbers: pl.Series) -> pl.Series:
        fits = numbers.is_between(self.low, self.high)
        return fits | (numbers == 0) if self.timeless else fits


@dataclass(frozen=True)
class Number(Kind):
    """A float32 from ``low`` to ``high``, finite unless ``any_value``; with ``above_low`` it is greater than ``low``."""

    low: float = -math.inf
    high: float = math.inf
    above_low: bool = False
    any_value: bool = False

    dtype = pl.Float32()

    @property
    def expected(self) -> str:  # type: ignore[override]
        if self.low == -math.inf:
            return "a finite number"
        return f"a number {'above' if self.above_low else 'from'} {self.low:g} to {self.high:g}"

    def read(self, value: Any) -> float:
        if type(value) is str and NUMBER_TEXT.fullmatch(value):
            value = float(value)
        if type(value) not in (int, float):
            raise self._unfit(value)
        try:
            number = struct.unpack("f", struct.pack("f", value))[0]
        except (OverflowError, struct.error):
            raise self._unfit(value) from None
        if not (self.any_value or (math.isfinite(number) and self._within(number))):
            raise self._unfit(value)
        return number

    def _within(self, number: float) -> bool:
        return (number > self.low if self.above_low else number >= self.low) and number <= self.high

    def accept(self, series: pl.Series) -> tuple[pl.Series, pl.Series]:
        if not (series.dtype.is_integer() or series.dtype.is_float()):
            return self._unsure(series)
        wide = series.cast(pl.Float64)
        numbers = wide.cast(pl.Float32)
        if self.any_value:
            return numbers, (numbers.is_infinite() == wide.is_infinite()).fill_null(True)
        above = numbers > self.low if self.above_low else numbers >= self.low
        return numbers, (numbers.is_finite() & above & (numbers <= self.high)).fill_null(False) | series.is_null()


@dataclass(frozen=True)
class Flag(Kind):
    """True or false; also 1 or 0, and these as text."""

    dtype = pl.Boolean()
    expected = "true or false"

    def read(self, value: Any) -> bool:
        if type(value) is bool:
            return value
        if type(value) is str and value.lower() in FLAG_TEXT:
            return FLAG_TEXT[value.lower()]
        if type(value) in (int, float) and value in (0, 1):
            return bool(value)
        raise self._unfit(value)

    def accept(self, series: pl.Series) -> tuple[pl.Series, pl.Series]:
        if series.dtype == pl.Boolean:
            return series, pl.repeat(True, len(series), eager=True)
        if series.dtype.is_integer():
            return series == 1, series.is_in([0, 1]).fill_null(False) | series.is_null()
        if series.dtype != pl.String:
            return self._unsure(series)
        flags = series.str.to_lowercase().replace_strict(FLAG_TEXT, default=None, return_dtype=pl.Boolean)
        return flags, flags.is_not_null() | series.is_null()


@dataclass(frozen=True)
class Texts(Kind):
    """A list of texts, none of them null. As text: JSON, or parts with "|" between them."""

    part: Text
    max_items: int

    dtype = pl.List(pl.String())

    @property
    def expected(self) -> str:  # type: ignore[override]
        return f"a list of at most {self.max_items} texts"

    def read(self, value: Any) -> list[str]:
        if type(value) is str:
            value = _json_list(value) if value.startswith("[") else value.split("|") if value else []
        if not isinstance(value, list | tuple) or len(value) > self.max_items:
            raise self._unfit(value)
        return list(_each(self.part, value))

    def accept(self, series: pl.Series) -> tuple[pl.Series, pl.Series]:
        if series.dtype != self.dtype:
            return self._unsure(series)
        element = pl.element()
        fits = element.is_not_null() & element.str.len_bytes().is_between(self.part.min_bytes, self.part.max_bytes)
        sure = series.list.eval(fits).list.all() & (series.list.len() <= self.max_items)
        return series, sure.fill_null(False) | series.is_null()


@dataclass(frozen=True)
class Numbers(Kind):
    """A list of float32, of ``length`` numbers where that is set; with ``gaps`` also null, NaN and infinite ones."""

    length: int | None = None
    gaps: bool = False

    dtype = pl.List(pl.Float32())

    @property
    def expected(self) -> str:  # type: ignore[override]
        return f"a list of {self.length or ''} numbers".replace("  ", " ")

    def read(self, value: Any) -> list[float | None]:
        value = _json_list(value)
        if not isinstance(value, list | tuple) or (self.length is not None and len(value) != self.length):
            raise self._unfit(value)
        part = Number(any_value=self.gaps)
        if self.gaps:
            return [None if number is None else part.read(number) for number in value]
        return list(_each(part, value))

    def accept(self, series: pl.Series) -> tuple[pl.Series, pl.Series]:
        if self.gaps and series.dtype == self.dtype:  # gaps come with any value: there is nothing to look at
            return series, pl.repeat(True, len(series), eager=True)
        if self.gaps or not isinstance(series.dtype, pl.List | pl.Array) or not series.dtype.inner.is_numeric():
            return self._unsure(series)
        lists = series.cast(pl.List(pl.Float64)).cast(self.dtype)
        sure = lists.list.eval(pl.element().is_not_null() & pl.element().is_finite()).list.all()
        if self.length is not None:
            sure &= lists.list.len() == self.length
        return lists, sure.fill_null(False) | series.is_null()


@dataclass(frozen=True)
class Pairs(Kind):
    """Attributes: ``[{name, value}]``, or an object ``{name: value or [values]}``.

    A name may come several times; a null value is left out.
    """

    name: Text
    value: Text
    max_items: int

    dtype = pl.List(pl.Struct({"name": pl.String(), "value": pl.String()}))

    @property
    def expected(self) -> str:  # type: ignore[override]
        return f"at most {self.max_items} attributes: an object of names and values, or a list of {{name, value}}"

    def read(self, value: Any) -> list[dict[str, str]]:
        given = _json_list(value)
        pairs = list(self._pairs(given))
        if len(pairs) > self.max_items:
            raise self._unfit(given)
        return [{"name": self.name.read(name), "value": self._value(name, part)} for name, part in pairs if part is not None]

    def _pairs(self, given: Any) -> Iterator[tuple[Any, Any]]:
        if isinstance(given, Mapping):
            for name, value in given.items():
                yield from ((name, part) for part in (value if isinstance(value, list | tuple) else [value]))
        elif isinstance(given, list | tuple):
            for pair in given:
                if not isinstance(pair, Mapping):
                    raise self._unfit(given)
                yield pair.get("name"), pair.get("value")
        else:
            raise self._unfit(given)

    def _value(self, name: Any, part: Any) -> str:
        try:
            if type(part) is bool:
                return "true" if part else "false"
            return repr(part) if type(part) is float and not part.is_integer() else self.value.read(part)
        except Unfit as error:
            raise error.below(f".{name}") from None

    def accept(self, series: pl.Series) -> tuple[pl.Series, pl.Series]:
        if series.dtype != self.dtype:
            return self._unsure(series)
        sure = series.list.len() <= self.max_items
        for name, part in (("name", self.name), ("value", self.value)):
            text = pl.element().struct.field(name)
            fits = text.is_not_null() & text.str.len_bytes().is_between(part.min_bytes, part.max_bytes)
            sure &= series.list.eval(fits).list.all()
        return series, sure.fill_null(False) | series.is_null()


@dataclass(frozen=True)
class Part:
    """One field of a nested record."""

    name: str
    kind: Kind
    required: bool = False


@dataclass(frozen=True)
class Records(Kind):
    """A list of ``min_items`` to ``max_items`` records; no two of them alike in ``distinct`` (a whole number of 32 bits)."""

    parts: tuple[Part, ...]
    min_items: int = 0
    max_items: int = 10_000
    distinct: str | None = None

    @property
    def dtype(self) -> pl.List:  # type: ignore[override]
        return pl.List(pl.Struct({part.name: part.kind.dtype for part in self.parts}))

    @property
    def expected(self) -> str:  # type: ignore[override]
        names = ", ".join(part.name for part in self.parts)
        return f"a list of {self.min_items} to {self.max_items} records ({names})"

    def read(self, value: Any) -> list[dict[str, Any]]:
        given = _json_list(value)
        if not isinstance(given, list | tuple) or not self.min_items <= len(given) <= self.max_items:
            raise self._unfit(given)
        records = [self._record(index, record) for index, record in enumerate(given)]
        if self.distinct is not None and len({record[self.distinct] for record in records}) < len(records):
            raise Unfit(f"a different {self.distinct} for each record", [record[self.distinct] for record in records])
        return records

    def _record(self, index: int, given: Any) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            raise Unfit("a record", given, f"[{index}]")
        record: dict[str, Any] = {}
        for part in self.parts:
            value = given.get(part.name)
            if value is None and part.required:
                raise Unfit(part.kind.expected, None, f"[{index}].{part.name}")
            try:
                record[part.name] = None if value is None else part.kind.read(value)
            except Unfit as error:
                raise error.below(f"[{index}].{part.name}") from None
        return record

    def accept(self, series: pl.Series) -> tuple[pl.Series, pl.Series]:
        if not (isinstance(series.dtype, pl.List) and isinstance(series.dtype.inner, pl.Struct)):
            return self._unsure(series)
        lengths = series.list.len().fill_null(0).to_numpy().astype(np.int64)
        flat = series.explode(empty_as_null=False, keep_nulls=False)
        given, sure = flat.struct.unnest(), ~flat.is_null()
        columns = []
        for part in self.parts:
            column, fits = (
                part.kind.accept(given[part.name]) if part.name in given.columns else (nulls(part.name, part.kind.dtype, len(flat)), sure)
            )
            sure &= fits & column.is_not_null() if part.required else fits
            columns.append(column.alias(part.name))
        records = pl.DataFrame(columns)
        rows = _all_of_each(sure.to_numpy(), lengths) & (lengths >= self.min_items) & (lengths <= self.max_items)
        if self.distinct is not None:
            rows &= _distinct_in_each(records[self.distinct], lengths)
        whole = series if series.dtype == self.dtype else relist(records, lengths, series.is_not_null(), self.dtype)
        return whole.alias(series.name), pl.Series(rows) | series.is_null()


def _each(part: Kind, values: list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    for index, value in enumerate(values):
        if value is None:
            raise Unfit(part.expected, None, f"[{index}]")
        try:
            yield part.read(value)
        except Unfit as error:
            raise error.below(f"[{index}]") from None


def _all_of_each(sure: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """bool ``(lists,)``: whether every element of each list is sure."""
    unsure = np.concatenate([[0], np.cumsum(~sure)])
    ends = np.cumsum(lengths)
    return unsure[ends] == unsure[ends - lengths]


def _distinct_in_each(numbers: pl.Series, lengths: np.ndarray) -> np.ndarray:
    """bool ``(lists,)``: whether the numbers of each list differ. Numbers in rising order, as pages have them, cost no sort."""
    owners = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    keys = (owners << 32) | (numbers.fill_null(0).to_numpy().astype(np.int64) & 0xFFFFFFFF)
    if (keys[1:] <= keys[:-1]).any():
        keys = np.sort(keys)
    distinct = np.ones(len(lengths), bool)
    distinct[keys[1:][keys[1:] == keys[:-1]] >> 32] = False
    return distinct


def relist(records: pl.DataFrame, lengths: np.ndarray, given: pl.Series, dtype: pl.List) -> pl.Series:
    """Put flat records back into lists of ``lengths``, null where not ``given``."""
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int64())
    lists = pa.LargeListArray.from_arrays(offsets, records.to_struct().to_arrow(), mask=pa.array(~given.to_numpy()))
    return pl.Series(pl.from_arrow(lists)).cast(dtype)
