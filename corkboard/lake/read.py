"""Reading outside files in pieces: JSON lines, CSV and Parquet, plain, .gz or .zst. What cannot be read as a row is told, not fatal.

Rows are numbered from 1. In JSON lines the number is that of the line; in CSV the header and blank lines do not count.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from corkboard.errors import InputError, NotFound, SchemaError
from corkboard.lake.fields import EXACT_FLOAT, relist
from corkboard.lake.validate import flatten_context

COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}
BOM = b"\xef\xbb\xbf"
DELIMITERS = (",", "\t", ";", "|")
LINES_AT_ONCE = 16 << 20
CSV_BLOCK = 8 << 20
ROWS_AT_ONCE = 500_000


@dataclass(frozen=True)
class Broken:
    """A row that cannot be read at all."""

    row: int
    found: str
    expected: str
    original: str


@dataclass(frozen=True)
class Piece:
    """Some rows of a file: ``numbers`` int64 ``(rows,)`` says where each stands in it.

    ``records`` are the objects themselves where the file has objects; ``frame`` then has a column for every key, of Python objects where
    the values have no common type. ``total`` estimates the rows of the whole file.
    """

    frame: pl.DataFrame
    numbers: np.ndarray
    broken: list[Broken]
    total: int
    records: list[dict[str, Any]] | None = None

    def original(self, index: int) -> dict[str, Any]:
        """The row as it stands in the file."""
        return self.records[index] if self.records is not None else self.frame.row(index, named=True)


def source_hash(path: Path) -> str:
    """16 hex digits of the content of a file as it lies there."""
    if not path.is_file():
        raise NotFound("There is no such file", found=str(path))
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def read_pieces(path: Path) -> Iterator[Piece]:
    """The rows of a file, whatever its format; the format is told by its first bytes, not by its name.

    Raises :class:`SchemaError` for an empty file, and :class:`InputError` for one that is damaged.
    """
    try:
        with _open(path) as stream:
            start = stream.peek(64).removeprefix(BOM).lstrip()[:4]
            if not start:
                raise SchemaError(f"{path} is empty", expected="rows as JSON lines, CSV or Parquet")
            if start == b"PAR1":
                yield from _parquet(stream.read() if _compression(path) else path)
            elif start[:1] == b"{":
                yield from _json_lines(stream, path)
            elif start[:1] == b"[":
                yield from _json_list(stream.read(), path)
            else:
                yield from _csv(stream, path)
    except (OSError, EOFError, pl.exceptions.PolarsError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0]}", hint="Is the file whole?") from error


def _compression(path: Path) -> str | None:
    with open(path, "rb") as file:
        return COMPRESSIONS.get(file.read(2))


def _open(path: Path) -> io.BufferedReader:
    return io.BufferedReader(pa.input_stream(str(path), compression=_compression(path)), 1 << 20)


# ---------------------------------------------------------------------------------------------------------------- Parquet


def _parquet(source: Path | bytes) -> Iterator[Piece]:
    frame = pl.read_parquet(source)
    done = 0
    for part in frame.iter_slices(ROWS_AT_ONCE) if frame.height else [frame]:
        yield Piece(part, np.arange(done + 1, done + part.height + 1), [], frame.height)
        done += part.height


# -------------------------------------------------------------------------------------------------------------------- CSV


def _csv(stream: io.BufferedReader, path: Path) -> Iterator[Piece]:
    header = stream.readline().removeprefix(BOM).decode(errors="replace").rstrip("\r\n")
    delimiter = max(DELIMITERS, key=header.count)
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    if len(set(names)) < len(names):
        raise SchemaError(f"Columns of {path} have the same name", found=sorted({name for name in names if names.count(name) > 1}))
    if not stream.peek(1):
        yield Piece(pl.DataFrame(schema=dict.fromkeys(names, pl.String)), np.arange(0), [], 0)
        return
    invalid: list[arrow_csv.InvalidRow] = []
    reader = _csv_reader(stream, names, delimiter, invalid)
    taken, last, size, seen = 0, 0, path.stat().st_size, 0
    for block in reader:
        seen += block.nbytes
        columns, unreadable = _decode(block)
        known = {row.number for row in invalid}
        numbers = _numbers(last, block.num_rows, known)
        last = int(numbers[-1]) if len(numbers) else last
        broken = [Broken(row.number, f"{row.actual_columns} fields", f"{row.expected_columns} fields", row.text) for row in invalid[taken:]]
        broken += [
            Broken(int(numbers[i]), "bytes that are not UTF-8", "text in UTF-8", str(block.slice(i, 1).to_pylist()[0]))
            for i in np.flatnonzero(unreadable)
        ]
        taken = len(invalid)
        readable = ~unreadable
        yield Piece(columns.filter(pl.Series(readable)), numbers[readable], broken, max(last, int(last * size / max(seen, 1))))
    rest = [Broken(row.number, f"{row.actual_columns} fields", f"{row.expected_columns} fields", row.text) for row in invalid[taken:]]
    if rest or not last:
        yield Piece(pl.DataFrame(schema=dict.fromkeys(names, pl.String)), np.arange(0), rest, last)


def _csv_reader(stream: io.BufferedReader, names: Sequence[str], delimiter: str, invalid: list) -> arrow_csv.CSVStreamingReader:
    """A reader of raw bytes that puts rows with a wrong number of fields into ``invalid`` instead of stopping there."""

    def note(row: arrow_csv.InvalidRow) -> str:
        invalid.append(row)
        return "skip"

    return arrow_csv.open_csv(
        stream,
        read_options=arrow_csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK, column_names=list(names)),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=note, newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()), null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=True
        ),
    )


def _numbers(last: int, count: int, skipped: set[int]) -> np.ndarray:
    """The next ``count`` numbers after ``last`` that are not in ``skipped``."""
    reach = np.arange(last + 1, last + count + len(skipped) + 1)
    return reach[~np.isin(reach, list(skipped))][:count] if skipped else reach


def _decode(block: pa.RecordBatch) -> tuple[pl.DataFrame, np.ndarray]:
    """The block as text, and bool ``(rows,)``: which rows hold bytes that are not UTF-8."""
    unreadable = np.zeros(block.num_rows, bool)
    columns = {}
    for name, column in zip(block.schema.names, block.columns, strict=True):
        try:
            columns[name] = column.cast(pa.large_string())
        except pa.ArrowInvalid:
            texts = [None if value is None else value.decode(errors="replace") for value in column.to_pylist()]
            unreadable |= [text is not None and text.encode() != value for text, value in zip(texts, column.to_pylist(), strict=True)]
            columns[name] = pa.array(texts, pa.large_string())
    return pl.DataFrame({name: pl.from_arrow(column) for name, column in columns.items()}), unreadable


# ------------------------------------------------------------------------------------------------------------------- JSON


@dataclass
class _Records:
    """Objects gathered from lines or list elements, and what was none."""

    records: list[dict[str, Any]] = field(default_factory=list)
    flat: list[Mapping[str, Any]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)

    def add(self, number: int, value: Any, original: Callable[[], str]) -> None:
        if type(value) is dict:
            self.records.append(value)
            self.flat.append(flatten_context(value) if type(value.get("context")) is dict else value)
            self.numbers.append(number)
        else:
            self.broken.append(Broken(number, type(value).__name__, "a JSON object", original()))

    def piece(self, total: int) -> Piece:
        return Piece(frame_of(self.flat), np.array(self.numbers, np.int64), self.broken, total, self.records)


def _json_lines(stream: io.BufferedReader, path: Path) -> Iterator[Piece]:
    read, seen, size = 0, 0, path.stat().st_size
    while lines := stream.readlines(LINES_AT_ONCE):
        found = _Records()
        for number, line in enumerate(lines, read + 1):
            text = line.removeprefix(BOM) if number == 1 else line
            if text.isspace():
                continue
            try:
                value = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                found.broken.append(Broken(number, f"no JSON: {error}", "a JSON object", text.decode(errors="replace").rstrip("\r\n")))
            else:
                found.add(number, value, text.decode)
        read, seen = read + len(lines), seen + sum(map(len, lines))
        yield found.piece(max(read, int(read * size / seen)))


def _json_list(data: bytes, path: Path) -> Iterator[Piece]:
    try:
        values = orjson.loads(data.removeprefix(BOM))
    except orjson.JSONDecodeError as error:
        raise InputError(
            f"{path} begins like a JSON list but is none: {error}", expected="a JSON list of objects, or one object a line"
        ) from None
    found = _Records()
    for number, value in enumerate(values, 1):
        found.add(number, value, lambda value=value: orjson.dumps(value).decode())
    yield found.piece(len(values))


def frame_of(records: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Records as columns. A column gets a type where all its values have the very same one; others stay Python objects."""
    names = dict.fromkeys(chain.from_iterable(records))
    columns = [_column(name, [record.get(name) for record in records]) for name in names]
    return pl.DataFrame(columns) if columns else pl.DataFrame(height=len(records))


def _column(name: str, values: list[Any]) -> pl.Series:
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return pl.Series(name, values, dtype=pl.Null)
    if kinds == {int}:
        try:
            return pl.Series(name, values, dtype=pl.Int64)
        except (OverflowError, TypeError):  # beyond 64 bits
            return pl.Series(name, values, dtype=pl.Object)
    if kinds == {str}:
        return pl.Series(name, values, dtype=pl.String)
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds <= {int, float} and all(type(value) is not int or abs(value) < EXACT_FLOAT for value in values):
        return pl.Series(name, values, dtype=pl.Float64, strict=False)
    lists = _lists(name, values) if kinds == {list} else None
    return lists if lists is not None else pl.Series(name, values, dtype=pl.Object)


def _lists(name: str, values: list[list[Any] | None]) -> pl.Series | None:
    """Lists of texts or of records with plain fields as a typed column; None for anything else."""
    parts = list(chain.from_iterable(value for value in values if value is not None))
    kinds = set(map(type, parts))
    if kinds == {str}:
        return pl.Series(name, values, dtype=pl.List(pl.String))
    if kinds != {dict}:
        return None
    records = frame_of(parts)
    if pl.Object in records.dtypes or not records.width:
        return None
    lengths = np.array([0 if value is None else len(value) for value in values], np.int64)
    given = pl.Series([value is not None for value in values], dtype=pl.Boolean)
    return relist(records, lengths, given, pl.List(pl.Struct(records.schema))).alias(name)
