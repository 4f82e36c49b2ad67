"""Small catalogues and users whose features can be worked out by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from corkboard.artifacts import Space
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake
from corkboard.lake.schema import EVENT_TABLE, TABLES
from corkboard.ranking.item_side import STAT_NAMES, ItemSide
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.index import ExactIndex, OverlayIndex
from corkboard.retrieval.neighbours import NeighbourTable
from corkboard.seeds import generator
from corkboard.state.user_state import UserState

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOW_MS = 1_760_000_000_000 // DAY_MS * DAY_MS + 12 * HOUR_MS
SPACE = Space("content", "test")
_numbers = itertools.count()


def item(item_id: str, **columns: Any) -> dict[str, Any]:
    return {
        "event": "item",
        "event_id": f"item-{item_id}",
        "time_ms": NOW_MS - 10 * DAY_MS,
        "tenant": "default",
        "item_id": item_id,
        **columns,
    }


def items_frame(items: list[dict[str, Any]]) -> pl.DataFrame:
    columns = {
        "item_id": pl.String,
        "time_ms": pl.Int64,
        "kind": pl.String,
        "title": pl.String,
        "category": pl.String,
        "creator_id": pl.String,
    }
    columns |= {"brand_id": pl.String, "price_minor": pl.Int64, "available": pl.Boolean}
    columns |= {"attributes": pl.List(pl.Struct({"name": pl.String, "value": pl.String}))}
    return pl.DataFrame([{name: row.get(name) for name in columns} for row in items], schema=columns)


def action(name: str, item_id: str | None = None, hours_ago: float = 1.0, user: str = "ann", **columns: Any) -> dict[str, Any]:
    """One action row; every call is an event of its own."""
    row = {"event": "action", "event_id": f"event-{next(_numbers)}", "time_ms": NOW_MS - int(hours_ago * HOUR_MS), "tenant": "default"}
    return row | {"user_id": user, "session_id": None, "action": name, "item_id": item_id} | columns


def page(item_ids: list[str], hours_ago: float, user: str = "ann") -> dict[str, Any]:
    row = {"event": "impression", "event_id": f"event-{next(_numbers)}", "time_ms": NOW_MS - int(hours_ago * HOUR_MS), "tenant": "default"}
    slots = [{"item_id": item_id, "position": place} for place, item_id in enumerate(item_ids)]
    return row | {"request_id": row["event_id"], "user_id": user, "session_id": None, "surface": "home", "slots": slots}


def state_of(*rows: dict[str, Any], user: str = "ann") -> UserState:
    state = UserState(user)
    for row in rows:
        state.apply(row)
    return state


def world(n: int = 60, topics: int = 6, dim: int = 8, neighbours: bool = True, seed: int = 0) -> ItemSide:
    """n items in clusters of vectors; item i is of topic i % topics, creator i % 7, brand i % 5 and costs 100 * (i + 1)."""
    draw = generator(seed, "builders")
    rows = [
        item(
            f"i{i:03d}",
            title=f"Item {i}",
            category=f"t{i % topics}",
            creator_id=f"c{i % 7}",
            brand_id=f"b{i % 5}",
            kind="product" if i % 2 else "pin",
            price_minor=100 * (i + 1),
        )
        for i in range(n)
    ]
    catalogue = Catalogue(items_frame(rows))
    centres = draw.normal(size=(topics, dim))
    vectors = centres[np.arange(n) % topics] + 0.3 * draw.normal(size=(n, dim))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    stats = np.abs(draw.normal(size=(n, len(STAT_NAMES)))).astype(np.float32)
    table = None
    if neighbours:
        near = np.argsort(-(vectors @ vectors.T), axis=1)[:, 1:6].astype(np.int32)
        table = NeighbourTable(catalogue.ids, near, np.take_along_axis(vectors @ vectors.T, near.astype(np.int64), axis=1))
    return ItemSide(catalogue, OverlayIndex(ExactIndex(vectors, SPACE)), stats, table)


def lake_of(folder: Path, rows: list[dict[str, Any]]) -> Lake:
    """A lake of rows with their "event", "served" among them; what is not given is null."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        name = {**EVENT_TABLE, "served": "served"}[row["event"]]
        tables.setdefault(name, []).append({column: row.get(column) for column in TABLES[name].names})
    frames = {name: pl.DataFrame(part, schema=TABLES[name].schema) for name, part in tables.items()}
    report = ingest_frames(folder, frames, source="test")
    assert report.refused == 0, report.refusals
    return Lake(folder)
