"""Rows and lakes for the tests of this room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake
from corkboard.lake.tables import TABLES

T0 = 1_709_251_200_000
"""2024-03-01, midnight UTC."""
HOUR = 3_600_000
DAY = 24 * HOUR


def frame(table: str, *rows: dict[str, Any]) -> pl.DataFrame:
    """A frame of ``table`` from rows that name only what they need."""
    schema = TABLES[table].schema
    whole = [{**dict.fromkeys(schema), "tenant": "default", **row} for row in rows]
    assert all(row.keys() == schema.keys() for row in whole)
    return pl.DataFrame(whole, schema=schema)


def action(
    event_id: str, time_ms: int, kind: str = "click", item_id: str | None = "i1", user_id: str | None = "ann", **more: Any
) -> dict[str, Any]:
    return {"event_id": event_id, "time_ms": time_ms, "action": kind, "item_id": item_id, "user_id": user_id, **more}


def undo(event_id: str, time_ms: int, undoes: str, user_id: str = "ann") -> dict[str, Any]:
    return action(event_id, time_ms, "undo", None, user_id, undoes=undoes)


def item(event_id: str, time_ms: int, item_id: str, **more: Any) -> dict[str, Any]:
    return {"event_id": event_id, "time_ms": time_ms, "item_id": item_id, "kind": "pin", "available": True, "deleted": False, **more}


def impression(event_id: str, time_ms: int, items: list[str], user_id: str = "ann", **more: Any) -> dict[str, Any]:
    slots = [{"item_id": item_id, "position": n} for n, item_id in enumerate(items)]
    return {
        "event_id": event_id,
        "time_ms": time_ms,
        "request_id": f"r-{event_id}",
        "user_id": user_id,
        "surface": "home",
        "slots": slots,
        **more,
    }


def lake_of(folder: Path, **tables: list[dict[str, Any]]) -> Lake:
    """A lake with one commit that holds these rows."""
    report = ingest_frames(folder, {name: frame(name, *rows) for name, rows in tables.items()}, "test")
    assert report.refused == 0, report.refusals
    return Lake(folder)


def many_actions(n: int, seed: int = 0, days: int = 20, prefix: str = "e") -> pl.DataFrame:
    """``n`` random clicks over some days, in no order."""
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "event_id": [f"{prefix}{k}" for k in range(n)],
            "time_ms": T0 + random.integers(0, days * DAY, n),
            "user_id": [f"u{k}" for k in random.integers(0, 50, n)],
            "action": "click",
            "item_id": [f"i{k}" for k in random.integers(0, 200, n)],
        }
    )


def files_below(folder: Path) -> set[str]:
    """Every file of a lake, without commits and refused rows."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in paths if path.parts[0] not in ("commits", "refused")}
