"""Reading the beginning of any table, whatever it is: delimited text, JSON lines, one JSON document or Parquet, plain or .gz.

Memory is bounded by the sample: a text file is read up to a number of uncompressed bytes, a Parquet file up to as many rows.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from corkboard.errors import InputError, NotFound
from corkboard.lake.importers.files import decode_named, is_gzip, read_bytes
from corkboard.lake.importers.words import OURS_BY_NAME, folded

SAMPLE_BYTES = 64 << 20
SEPARATORS = ("\t", ",", ";", "|", "::", " ")
NULLS = ("", "NA", "N/A", "null", "NULL", "None", "\\N", "nan", "NaN")
_NAME = re.compile(r"[A-Za-z_][\w .:/()-]*")
_NUMBER = r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"
_LEADING_ZERO = r"^-?0\d"


@dataclass(frozen=True)
class Peek:
    """The beginning of a file as a frame.

    ``kind`` is "delimited", "jsonl", "json" or "parquet"; ``rows`` is the number of rows of the whole file, counted where
    ``exact`` and estimated from the size otherwise. ``ragged`` counts rows with another number of fields than the header.
    """

    path: Path
    kind: str
    frame: pl.DataFrame
    rows: int
    exact: bool
    separator: str | None = None
    has_header: bool = True
    encoding: str | None = None
    ragged: int = 0


def peek(path: Path, sample_bytes: int = SAMPLE_BYTES) -> Peek:
    """Look at the first ``sample_bytes`` of ``path``. Raises :class:`InputError`, in one sentence, for what is no table."""
    path = Path(path)
    if not path.is_file():
        raise NotFound("There is no such file", found=str(path))
    start = read_bytes(path, 4)
    if not start:
        raise InputError(f"{path} is empty", expected="a table")
    if start == b"PAR1":
        return _peek_parquet(path, sample_bytes)
    data = read_bytes(path, sample_bytes + 1)
    if b"\x00" in data[:65_536]:
        raise InputError(f"{path} holds binary data", expected="CSV, TSV, JSON lines or Parquet, plain or .gz")
    whole = len(data) <= sample_bytes
    if not whole:
        data = data[: data.rfind(b"\n") + 1] or data
    text, encoding = decode_named(data)
    share = 1.0 if whole else _share_read(path, len(data))
    if text.lstrip()[:1] in ("{", "["):
        return _peek_json(path, text, whole, share)
    return _peek_delimited(path, text, encoding, whole, share)


def _share_read(path: Path, read: int) -> float:
    """About which share of the file the first ``read`` uncompressed bytes are."""
    size = path.stat().st_size
    if not is_gzip(path):
        return min(1.0, read / size)
    with open(path, "rb") as raw:
        stream = gzip.GzipFile(fileobj=raw)
        left = read
        while left > 0 and (part := stream.read(min(left, 1 << 20))):
            left -= len(part)
        return min(1.0, max(raw.tell() / size, 1e-6))


# --------------------------------------------------------------------------------------------------------------- Parquet


def _peek_parquet(path: Path, sample_bytes: int) -> Peek:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = io.BytesIO(read_bytes(path)) if is_gzip(path) else path
        facts = pq.read_metadata(source)
        size = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
        take = facts.num_rows if size <= sample_bytes else max(1, int(facts.num_rows * sample_bytes / size))
        frame = pl.scan_parquet(source).head(take).collect()
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from None
    return Peek(path, "parquet", frame, facts.num_rows, True)


# ------------------------------------------------------------------------------------------------------------------ JSON


def _peek_json(path: Path, text: str, whole: bool, share: float) -> Peek:
    lines = [line for line in text.splitlines() if line.strip()]
    if _is_record(lines[0]) and (len(lines) > 1 or not _is_document(lines[0])):
        return _peek_jsonl(path, lines, whole, share)
    if not whole:
        raise InputError(f"{path} is one JSON document too large to look at", expected="JSON lines: one object a line")
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is neither JSON lines nor one JSON document: {error}") from None
    return Peek(path, "json", _document_frame(path, document), _document_rows(document), True, encoding="utf-8")


def _is_record(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except json.JSONDecodeError:
        return False


def _is_document(line: str) -> bool:
    """One object that is a whole table: ids as keys, or more keys than a record has."""
    keys = list(json.loads(line))
    return len(keys) > 100 or (bool(keys) and all(key.isdigit() for key in keys))


def _peek_jsonl(path: Path, lines: list[str], whole: bool, share: float) -> Peek:
    records, bad = [], 0
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            bad += 1
            continue
        if isinstance(record, dict):
            records.append({key: _flat(value) for key, value in record.items()})
        else:
            bad += 1
    frame = pl.DataFrame(records, infer_schema_length=None, strict=False)
    return Peek(path, "jsonl", frame, len(lines) if whole else round(len(lines) / share), whole, encoding="utf-8", ragged=bad)


def _flat(value: object) -> object:
    """Nested values and numbers beyond 64 bits as text: what is in them is not needed for a look, and records may differ in it."""
    if isinstance(value, dict | list) or (type(value) is int and abs(value) >= 2**63):
        return json.dumps(value)
    return value


def _document_rows(document: object) -> int:
    if isinstance(document, dict):
        return sum(len(value) if isinstance(value, list) else 1 for value in document.values())
    return len(document) if isinstance(document, list) else 1


def _document_frame(path: Path, document: object) -> pl.DataFrame:
    """Rows out of [record, ...], {key: [value, ...]} or {key: value}."""
    if isinstance(document, list) and document and all(isinstance(record, dict) for record in document):
        rows = [{key: _flat(value) for key, value in record.items()} for record in document]
        return pl.DataFrame(rows, infer_schema_length=None, strict=False)
    if isinstance(document, dict) and document:
        pairs = [(key, _flat(v)) for key, value in document.items() for v in (value if isinstance(value, list) else [value])]
        return pl.DataFrame({"key": [key for key, _ in pairs], "value": pl.Series([v for _, v in pairs], strict=False)})
    raise InputError(f"{path} is a JSON document without records", expected="JSON lines: one object a line")


# -------------------------------------------------------------------------------------------------------- delimited text


def _peek_delimited(path: Path, text: str, encoding: str, whole: bool, share: float) -> Peek:
    head = [line for line in text[: 1 << 16].splitlines() if line.strip()][:100]
    if not head:
        raise InputError(f"{path} has no lines", expected="a table")
    separator = _separator(head)
    if separator is None:
        raise InputError(
            f"{path} is text, but no table: its lines have no common number of fields", expected="CSV, TSV, JSON lines or Parquet"
        )
    width = _usual_width(head, separator)
    has_header = _has_header([_fields(line, separator) for line in head])
    frame, ragged = _parse(path, text, separator, has_header, width)
    rows = frame.height if whole else round(frame.height / share)
    return Peek(path, "delimited", typed(frame), rows, whole, separator, has_header, encoding, ragged)


def _fields(line: str, separator: str) -> list[str]:
    if len(separator) > 1:
        return line.split(separator)
    return next(csv.reader([line], delimiter=separator), [])


def _usual_width(lines: list[str], separator: str) -> int:
    return Counter(len(_fields(line, separator)) for line in lines).most_common(1)[0][0]


def _separator(lines: list[str]) -> str | None:
    """The separator that gives most lines the same number of fields, more than one.

    One field a line is fine where no line has any separator.
    """
    best, best_share = None, 0.0
    for separator in SEPARATORS:
        widths = Counter(len(_fields(line, separator)) for line in lines)
        width, count = widths.most_common(1)[0]
        share = count / len(lines)
        if width > 1 and share >= 0.9 and share > best_share:
            best, best_share = separator, share
    if best is None and not any(separator in line for separator in SEPARATORS for line in lines):
        return ","
    return best


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first row names columns: no numbers, no repetition, and known names or values of another kind below."""
    first, rest = [field.strip() for field in rows[0]], rows[1:]
    known = [folded(field.partition(":")[0]) in OURS_BY_NAME for field in first]
    if any(known) and not re.match(_NUMBER, first[0]):
        return True
    if len(set(first)) < len(first) or any(re.match(_NUMBER, field) or not _NAME.fullmatch(field) for field in first):
        return False
    if not rest:
        return True
    for place, name in enumerate(first):
        below = [row[place] for row in rest if len(row) > place]
        if below and all(re.match(_NUMBER, value) for value in below):
            return True
        if name in below:
            return False
    return len(rest) >= 5


def _parse(path: Path, text: str, separator: str, has_header: bool, width: int) -> tuple[pl.DataFrame, int]:
    """Every column as text, and how many lines have another number of fields than most."""
    if len(separator) > 1:
        text, separator = text.replace(separator, "\x1f"), "\x1f"
    quotes = separator in ",;" or '"' in text[:65_536]
    ragged = 0
    if not quotes:
        counts = pl.Series(text.splitlines()).str.count_matches(re.escape(separator)) + 1
        ragged = int((counts != width).sum())
    options = {
        "separator": separator,
        "has_header": has_header,
        "infer_schema": False,
        "truncate_ragged_lines": True,
        "null_values": list(NULLS),
    }
    try:
        frame = pl.read_csv(io.BytesIO(text.encode()), quote_char='"' if quotes else None, **options)
    except pl.exceptions.PolarsError:
        try:  # a stray quote: read it as a plain character
            frame = pl.read_csv(io.BytesIO(text.encode()), quote_char=None, **options)
        except pl.exceptions.PolarsError as error:
            raise InputError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from None
    if not frame.height:
        raise InputError(f"{path} has a header but no rows", expected="at least one row")
    if not has_header:
        frame.columns = [f"column_{place}" for place in range(1, frame.width + 1)]
    return frame, ragged


def typed(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns of text that hold numbers as numbers. Numbers with leading zeros are codes and stay text."""
    return frame.with_columns([_typed_column(frame[name]) for name in frame.columns if frame.schema[name] == pl.String])


def _typed_column(values: pl.Series) -> pl.Series:
    known = values.drop_nulls()
    if not len(known) or known.head(1_000).str.contains(_LEADING_ZERO).any():
        return values
    for kind in (pl.Int64, pl.Float64):
        numbers = values.cast(kind, strict=False)
        if numbers.null_count() == values.null_count():
            return numbers
    return values
