"""The catalogue as serving sees it: columns by row, filters as masks, and items that arrive or leave while it runs.

Rows ``0 .. frozen - 1`` are the items of the artefact, sorted by id; items that arrive live take the next rows and keep
them. A row is therefore valid for the life of this object, and means nothing outside of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact
from corkboard.errors import InputError
from corkboard.lake.schema import TABLES
from corkboard.retrieval.attributes import AttributeRows
from corkboard.retrieval.config import ItemFilter

CODED = ("kind", "category", "creator_id", "brand_id", "merchant_id")
"""Columns that are kept as small integers; -1 is "none"."""
TEXTS = ("title", "link", "currency")
"""Columns that are only shown."""

_FILTERS = {"kinds": "kind", "categories": "category", "creators": "creator_id", "brands": "brand_id", "merchants": "merchant_id"}
_NO_PRICE = -1


class _CodedColumn:
    """Strings as int32 codes in a buffer with room to grow."""

    def __init__(self, values: pl.Series):
        self.names: list[str] = sorted(values.drop_nulls().unique().to_list())
        self.code_of = {name: code for code, name in enumerate(self.names)}
        codes = values.replace_strict(self.names, list(range(len(self.names))), default=-1, return_dtype=pl.Int32) if self.names else None
        self.buffer = np.full(len(values), -1, np.int32) if codes is None else codes.fill_null(-1).to_numpy().astype(np.int32)
        self.order = np.argsort(self.buffer, kind="stable")
        self.starts = np.searchsorted(self.buffer[self.order], np.arange(len(self.names) + 1))

    def encode(self, value: str | None) -> int:
        """The code of ``value``; a new one where it was never seen."""
        if value is None:
            return -1
        code = self.code_of.get(value)
        if code is None:
            self.names.append(value)
            code = self.code_of[value] = len(self.names) - 1
        return code


class Catalogue:
    """Items by row. Reading needs no lock and never waits; writing is serialised inside.

    ``items`` has the columns of the lake's ``items`` plus ``created_ms``; absent columns are taken as null.
    """

    def __init__(self, items: pl.DataFrame):
        items = _serving_columns(items).sort("item_id")
        self.ids: list[str] = items["item_id"].to_list()
        self.frozen = len(self.ids)
        self._row_of = {item_id: row for row, item_id in enumerate(self.ids)}
        self._coded = {name: _CodedColumn(items[name]) for name in CODED}
        self._texts = {name: items[name].to_list() for name in TEXTS}
        self._images: list[Sequence[str]] = items["images"].to_list()
        self._attributes = AttributeRows(items["attributes"])
        self._created_ms = items["created_ms"].to_numpy().copy()
        self._price_minor = items["price_minor"].to_numpy().copy()
        self._available = items["available"].to_numpy().copy()
        self._moved: list[int] = []
        self._lock = threading.Lock()
        self._frame = items

    # ------------------------------------------------------------------------------------------------------- reading

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._row_of

    def row(self, item_id: str) -> int:
        """The row of an item, -1 where it is unknown."""
        return self._row_of.get(item_id, -1)

    def rows(self, ids: Iterable[str]) -> np.ndarray:
        """int64 ``(len(ids),)`` rows, -1 where an id is unknown."""
        row_of = self._row_of
        return np.fromiter((row_of.get(item_id, -1) for item_id in ids), np.int64)

    def ids_of(self, rows: Iterable[int]) -> list[str]:
        """The ids at ``rows``."""
        return [self.ids[row] for row in rows]

    @property
    def created_ms(self) -> np.ndarray:
        """int64 ``(n,)``: when the item was first seen."""
        return self._created_ms[: len(self.ids)]

    @property
    def price_minor(self) -> np.ndarray:
        """int64 ``(n,)``: the price in minor units, -1 where there is none."""
        return self._price_minor[: len(self.ids)]

    @property
    def available(self) -> np.ndarray:
        """bool ``(n,)``: may be recommended at all. Read-only by convention; :meth:`add` and :meth:`remove` change it."""
        return self._available[: len(self.ids)]

    def codes(self, column: str) -> np.ndarray:
        """int32 ``(n,)`` codes of one of :data:`CODED`, -1 where null."""
        return self._coded[column].buffer[: len(self.ids)]

    def names(self, column: str) -> list[str]:
        """The strings behind :meth:`codes`; it grows while items arrive, and never reorders."""
        return self._coded[column].names

    def code(self, column: str, value: str | None) -> int:
        """The code of ``value``, -1 where nothing in the catalogue has it."""
        return -1 if value is None else self._coded[column].code_of.get(value, -1)

    def value(self, column: str, row: int) -> str | None:
        """One cell of :data:`CODED` or :data:`TEXTS`."""
        if column in self._texts:
            return self._texts[column][row]
        code = int(self._coded[column].buffer[row])
        return None if code < 0 else self._coded[column].names[code]

    def images(self, row: int) -> Sequence[str]:
        """What an item shows, in its order. The first that has a picture is its main one; where pictures lie is not known here."""
        return self._images[row]

    def rows_with(self, column: str, code: int) -> np.ndarray:
        """int64 rows whose ``column`` has ``code``, in time that does not grow with the catalogue."""
        if code < 0:
            return np.empty(0, np.int64)
        coded = self._coded[column]
        rows = coded.order[coded.starts[code] : coded.starts[code + 1]] if code + 1 < len(coded.starts) else coded.order[:0]
        n = len(self.ids)
        if n > self.frozen or self._moved:
            rows = np.unique(np.concatenate([rows, np.asarray(self._moved, np.int64), np.arange(self.frozen, n)]))
            rows = rows[coded.buffer[rows] == code]
        return rows.astype(np.int64, copy=False)

    def mask(self, item_filter: ItemFilter | None = None) -> np.ndarray:
        """bool ``(n,)``: available and let through by ``item_filter``. The caller owns the array."""
        allowed = self.available.copy()
        if item_filter is None:
            return allowed
        n = len(allowed)
        for field, column in _FILTERS.items():
            wanted = getattr(item_filter, field)
            if wanted:
                allowed &= np.isin(self._coded[column].buffer[:n], [code for value in wanted if (code := self.code(column, value)) >= 0])
        if item_filter.sold:
            allowed &= (self._price_minor[:n] != _NO_PRICE) | (self._coded["kind"].buffer[:n] == self._coded["kind"].code_of.get("product"))
        if item_filter.attributes:
            allowed &= self._attributes.mask(item_filter.attributes, n)
        price, created = self._price_minor[:n], self._created_ms[:n]
        if item_filter.min_price_minor is not None:
            allowed &= (price != _NO_PRICE) & (price >= item_filter.min_price_minor)
        if item_filter.max_price_minor is not None:
            allowed &= (price != _NO_PRICE) & (price <= item_filter.max_price_minor)
        if item_filter.created_from_ms is not None:
            allowed &= created >= item_filter.created_from_ms
        if item_filter.created_before_ms is not None:
            allowed &= created < item_filter.created_before_ms
        return allowed

    # ------------------------------------------------------------------------------------------------------- changing

    def add(self, item: Mapping[str, Any]) -> int:
        """Put an item event in: a new item gets a new row, a known one is replaced in its row. Returns the row.

        ``item`` needs ``item_id`` and ``time_ms``; an item with ``deleted`` is removed instead.
        """
        item_id, time_ms = item.get("item_id"), item.get("time_ms")
        if not item_id or time_ms is None:
            raise InputError("A live item needs item_id and time_ms", found={"item_id": item_id, "time_ms": time_ms})
        if item.get("deleted"):
            return self.remove(item_id)
        with self._lock:
            row = self._row_of.get(item_id)
            new = row is None
            if row is None:
                row = len(self.ids)
                self._reserve(row + 1)
            self._write(row, item, created_ms=int(time_ms) if new else None)
            if new:  # published last: a reader sees either no item or a whole one
                self.ids.append(item_id)
                self._row_of[item_id] = row
        return row

    def remove(self, item_id: str) -> int:
        """Take an item out of every mask. Its row stays, so that old actions on it still resolve. -1 where it is unknown."""
        with self._lock:
            row = self._row_of.get(item_id, -1)
            if row >= 0:
                self._available[row] = False
        return row

    def _write(self, row: int, item: Mapping[str, Any], created_ms: int | None) -> None:
        values = {name: item.get(name) for name in CODED}
        values["kind"] = values["kind"] or "pin"
        for name, column in self._coded.items():
            code = column.encode(values[name])
            if created_ms is None and column.buffer[row] != code and row < self.frozen and row not in self._moved:
                self._moved.append(row)
            column.buffer[row] = code
        shown = {name: (texts, item.get(name)) for name, texts in self._texts.items()}
        for texts, value in (*shown.values(), (self._images, item.get("images") or [])):
            if created_ms is None:
                texts[row] = value
            else:
                texts.append(value)
        self._attributes.put(row, item.get("attributes") or [])
        price = item.get("price_minor")
        self._price_minor[row] = _NO_PRICE if price is None else int(price)
        if created_ms is not None:
            self._created_ms[row] = created_ms
        self._available[row] = item.get("available") is not False

    def _reserve(self, rows: int) -> None:
        capacity = len(self._created_ms)
        if rows <= capacity:
            return
        room = max(2 * capacity, rows, 64)
        for column in self._coded.values():
            column.buffer = _grown(column.buffer, room)
        self._created_ms = _grown(self._created_ms, room)
        self._price_minor = _grown(self._price_minor, room)
        self._available = _grown(self._available, room)

    # ------------------------------------------------------------------------------------------------------- artefact

    def tables(self) -> dict[str, pl.DataFrame]:
        """What an artefact holds of it: the frozen part, without what arrived since."""
        return {"items": self._frame}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Catalogue:
        """The catalogue of an artefact that was written with :meth:`tables`."""
        return cls(artifact.table("items"))


def _grown(buffer: np.ndarray, room: int) -> np.ndarray:
    larger = np.zeros(room, buffer.dtype)
    larger[: len(buffer)] = buffer
    return larger


def _serving_columns(items: pl.DataFrame) -> pl.DataFrame:
    """The columns that serving keeps, with defaults where the lake has nulls or the column is absent."""
    if "images" not in items.columns and "image" in items.columns:  # of a release that was built when only the first was kept
        items = items.with_columns(images=pl.concat_list("image").list.drop_nulls())
    if "created_ms" not in items.columns and "time_ms" in items.columns:
        items = items.with_columns(created_ms=pl.col("time_ms"))
    kinds: dict[str, Any] = {"item_id": pl.String, "created_ms": pl.Int64, "price_minor": pl.Int64, "available": pl.Boolean}
    kinds |= {**dict.fromkeys(CODED + TEXTS, pl.String), "images": pl.List(pl.String), "attributes": TABLES["items"].schema["attributes"]}
    columns = [pl.col(name).cast(kind) if name in items.columns else pl.lit(None, kind).alias(name) for name, kind in kinds.items()]
    return items.select(columns).with_columns(
        pl.col("kind").fill_null("pin"),
        pl.col("available").fill_null(True),
        pl.col("price_minor").fill_null(_NO_PRICE),
        pl.col("created_ms").fill_null(0),
        pl.col("images").fill_null([]),
    )
