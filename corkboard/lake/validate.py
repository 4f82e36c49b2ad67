"""The verdict on rows: by column for a frame, one by one for live events, the same either way.

A frame is judged by column first. What that is not sure of, a few rows as a rule, is read one by one by the very function
that reads live events, which has the last word and finds the words of the refusal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import orjson
import polars as pl

from corkboard.lake.fields import Unfit, nulls
from corkboard.lake.tables import EVENT_TABLE, TABLES, Column, Table

Row = dict[str, Any]
"""Every column of its table by name, and "event", the kind of event, where it came in as one."""

BAD_SCHEMA = {"row": pl.Int64, "field": pl.String, "found": pl.String, "expected": pl.String}
CONTEXT = {"query": "query", "item_id": "context_item_id", "image_hash": "context_image_hash"}
FOUND_LENGTH = 120


class Refusal(NamedTuple):
    """Why a row does not come in: the field, what was found there, what was expected."""

    field: str
    found: str
    expected: str


@dataclass(frozen=True)
class Validated:
    """``good`` has exactly the columns of its table, in the order of the rows; ``bad`` has row (from 0), field, found, expected."""

    good: pl.DataFrame
    bad: pl.DataFrame


def show(value: object) -> str:
    """What was found, short enough for a report."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= FOUND_LENGTH else f"{text[:FOUND_LENGTH]}…"


# ---------------------------------------------------------------------------------------------------------- one by one


def check_row(table: Table, given: Mapping[str, Any]) -> Row | Refusal:
    """The stored form of one row, or why it is refused; its ``event_id`` is None where none was given."""
    row: Row = {}
    for column in table.columns:
        value = given.get(column.name)
        if value is None:
            value = column.default
            if value is None and column.required:
                return Refusal(column.name, show(None), column.kind.expected)
        else:
            try:
                value = column.kind.read(value)
            except Unfit as error:
                return Refusal(column.name + error.path, show(error.found), error.expected)
        row[column.name] = value
    for rule in table.rules:
        if not rule.holds(row):
            return Refusal(rule.field, show(row[rule.field]), rule.expected)
    return row


def validate_event(event: Mapping[str, Any]) -> Row | Refusal:
    """The row of one live event, or why it is refused. Unknown fields are ignored; a missing ``event_id`` comes from the content."""
    if not isinstance(event, Mapping):
        return Refusal("event", show(event), "an object")
    kind = event.get("event")
    if type(kind) is not str or kind not in EVENT_TABLE:
        return Refusal("event", show(kind), "one of " + ", ".join(EVENT_TABLE))
    context = event.get("context")
    if context is not None and not isinstance(context, Mapping):
        return Refusal("context", show(context), "an object with query, item_id or image_hash")
    table = TABLES[EVENT_TABLE[kind]]
    row = check_row(table, flatten_context(event) if context else event)
    if isinstance(row, Refusal):
        return row
    if row["event_id"] is None:
        row["event_id"] = event_id_of(table, row)
    row["event"] = kind
    return row


def flatten_context(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The event with ``context: {query, item_id, image_hash}`` as columns of their own; a column that is there already wins."""
    flat = dict(event)
    for name, value in (flat.pop("context", None) or {}).items():
        column = CONTEXT.get(name)
        if column is not None and flat.get(column) is None:
            flat[column] = value
    return flat


# ----------------------------------------------------------------------------------------------------------- by column


def validate_frame(table: str, frame: pl.DataFrame) -> Validated:
    """Judge every row of ``frame`` against ``table``. Columns the table does not have are ignored, missing ones are null.

    Missing event ids come from the content; of rows that are alike in everything, the k-th gets the suffix "-k" (k > 0).
    """
    checked = check_frame(TABLES[table], frame)
    return Validated(fill_event_ids(TABLES[table], checked.good), checked.bad)


def check_frame(table: Table, frame: pl.DataFrame) -> Validated:
    """:func:`validate_frame` before missing event ids are filled in."""
    sure = pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True)
    columns = []
    for column in table.columns:
        stored, fits = _accept(column, frame)
        sure &= fits
        columns.append(stored)
    good = pl.DataFrame(columns)
    if table.rules and frame.height:
        sure &= good.select(pl.all_horizontal(rule.holds_in_all.fill_null(False) for rule in table.rules)).to_series()
    if sure.all():
        return Validated(good, pl.DataFrame(schema=BAD_SCHEMA))
    return _read_the_rest(table, frame, good, sure)


def _accept(column: Column, frame: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """The stored column and the rows it is sure of, with the default where nothing is given."""
    given = frame[column.name] if column.name in frame.columns else None
    if given is None or given.dtype == pl.Null:
        stored = nulls(column.name, column.dtype, frame.height)
        fits = pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True)
    else:
        stored, fits = column.kind.accept(given)
    if column.default is not None:
        stored = stored.fill_null(column.default)
    elif column.required:
        fits &= stored.is_not_null()
    return stored.alias(column.name), fits


def _read_the_rest(table: Table, frame: pl.DataFrame, good: pl.DataFrame, sure: pl.Series) -> Validated:
    rest = (~sure).arg_true()
    given = frame.select(name for name in table.names if name in frame.columns)[rest].to_dicts()
    numbers, rows, bad = [], [], []
    for number, values in zip(rest.to_list(), given, strict=True):
        verdict = check_row(table, values)
        if isinstance(verdict, Refusal):
            bad.append((number, *verdict))
        else:
            numbers.append(number)
            rows.append(verdict)
    good = good.filter(sure)
    if rows:  # those that came in late go back to their places
        order = pl.concat([sure.arg_true().cast(pl.Int64), pl.Series(numbers, dtype=pl.Int64)]).arg_sort()
        good = pl.concat([good, pl.DataFrame(rows, schema=table.schema)])[order]
    return Validated(good, pl.DataFrame(bad, schema=BAD_SCHEMA, orient="row"))


def rows_to_frames(rows: Iterable[Row]) -> dict[str, pl.DataFrame]:
    """Valid rows with their "event" (as a store keeps them) as one frame a table."""
    by_table: dict[str, list[Row]] = {}
    for row in rows:
        by_table.setdefault(EVENT_TABLE[row["event"]], []).append(row)
    return {name: pl.DataFrame(rows, schema=TABLES[name].schema) for name, rows in by_table.items()}


# --------------------------------------------------------------------------------------------------- ids from content


def event_id_of(table: Table, row: Mapping[str, Any]) -> str:
    """The id of a row that came without one: blake2b over its table and everything in it."""
    parts = [f"{name}\x1f{_canonical(row[name])}\x1e" for name in table.names[1:] if row[name] is not None]
    return _digest(table.name, "".join(parts))


def fill_event_ids(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Fill missing event ids from the content, as :func:`event_id_of` does; repeated rows get a suffix each."""
    missing = frame["event_id"].is_null()
    if not missing.any():
        return frame
    rows = frame.filter(missing)
    columns = [(name, _canonical_column(rows[name])) for name in table.names[1:]]
    parts = [pl.lit(f"{name}\x1f") + column + pl.lit("\x1e") for name, column in columns if column is not None]
    texts = rows.select(pl.concat_str(parts, ignore_nulls=True)).to_series()
    made = pl.Series("made", [_digest(table.name, text) for text in texts], dtype=pl.String)
    if made.n_unique() < len(made):
        copy = made.to_frame().select((pl.int_range(pl.len()).over("made")).alias("copy")).to_series()
        made = pl.select(pl.when(copy == 0).then(made).otherwise(made + "-" + copy.cast(pl.String))).to_series()
    if missing.all():
        return frame.with_columns(made.alias("event_id"))
    return frame.with_columns(frame["event_id"].scatter(missing.arg_true(), made))


def _canonical(value: Any) -> str:
    if type(value) is bool:
        return "true" if value else "false"
    return orjson.dumps(value).decode() if isinstance(value, list) else str(value)


def _canonical_column(series: pl.Series) -> pl.Series | None:
    if series.null_count() == len(series):
        return None
    if series.dtype.is_nested():
        return pl.Series(series.name, [None if value is None else _canonical(value) for value in series.to_list()], dtype=pl.String)
    return series.cast(pl.String)


def _digest(table: str, text: str) -> str:
    digest = _blank(table).copy()  # cheaper than a new one with its parameters
    digest.update(text.encode())
    return digest.hexdigest()


@cache
def _blank(table: str) -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16, person=table.encode())
