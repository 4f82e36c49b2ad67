from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from corkboard.lake import write
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake

from .rows import many_actions


def test_a_collision_of_hashes_never_costs_an_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def three_hashes(texts: pl.Series) -> np.ndarray:
        return (texts.str.len_bytes().to_numpy() % 3).astype(np.uint64)

    monkeypatch.setattr(write, "hash_texts", three_hashes)
    rows = many_actions(200)
    assert ingest_frames(tmp_path, {"actions": pl.concat([rows[:120], rows[100:120]])}, "one").rows_added == {"actions": 120}
    report = ingest_frames(tmp_path, {"actions": rows}, "two")
    assert (report.rows_added, report.duplicates) == ({"actions": 80}, 120)
    assert Lake(tmp_path).actions()["event_id"].n_unique() == 200
