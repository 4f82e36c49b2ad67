"""From the online store into the lake: every accepted event and every served page, each exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from corkboard.lake.ingest import IngestReport, ingest_frames
from corkboard.lake.lake import Lake
from corkboard.lake.tables import EVENT_TABLE, TABLES
from corkboard.state.stores import Store

ROWS_AT_ONCE = 50_000
"""Rows of one commit; it bounds memory, not what is moved."""


def ingest_store(lake_folder: Path, store: Store) -> IngestReport:
    """Move what the store accepted since the last time into the lake.

    The store's sequence number up to which the lake holds everything is committed together with the rows, so whatever moment
    this is killed at, the next call goes on where the last commit ended. The store keeps its rows: states are made from them.
    """
    total = IngestReport(source=f"store {store.store_id}")
    upto = store.sequence()
    done = Lake(lake_folder).watermark(store.store_id) if lake_folder.exists() else 0
    while done < upto:
        events = store.events_since(done, ROWS_AT_ONCE)
        served = store.served_since(done, ROWS_AT_ONCE)
        ends = [rows[-1][0] for rows in (events, served) if len(rows) == ROWS_AT_ONCE]
        done = min([*ends, upto])
        frames = frames_of([row for seq, row in events if seq <= done], [row for seq, row in served if seq <= done])
        report = ingest_frames(lake_folder, frames, source=f"store {store.store_id} to {done}", watermark=(store.store_id, done))
        total = _sum(total, report)
    return total


def frames_of(events: Sequence[dict[str, Any]], served: Sequence[dict[str, Any]]) -> dict[str, pl.DataFrame]:
    """Rows of the store as frames of the lake, by table."""
    by_table: dict[str, list[dict[str, Any]]] = {"served": list(served)} if served else {}
    for row in events:
        by_table.setdefault(EVENT_TABLE[row["event"]], []).append(row)
    return {table: _frame(table, rows) for table, rows in by_table.items()}


def _frame(table: str, rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    schema = TABLES[table].schema
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def _sum(total: IngestReport, more: IngestReport) -> IngestReport:
    added = {table: total.rows_added.get(table, 0) + more.rows_added.get(table, 0) for table in {**total.rows_added, **more.rows_added}}
    return replace(
        total,
        rows_read=total.rows_read + more.rows_read,
        rows_added=added,
        duplicates=total.duplicates + more.duplicates,
        refused=total.refused + more.refused,
        purged=total.purged + more.purged,
        notes=[*total.notes, *more.notes],
        refusals=[*total.refusals, *more.refusals][:20],
        refused_file=more.refused_file or total.refused_file,
        commit=more.commit or total.commit,
        seconds=total.seconds + more.seconds,
    )
