"""How good the content tower is, on the simulated world: minutes rather than seconds, so only with ``-m quality``."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from corkboard.embeddings.config import PairConfig
from corkboard.embeddings.content import co_engagement_pairs, train_content, untrained_content
from corkboard.embeddings.content_training import pair_recall
from corkboard.world.world import World

DAY_MS = 86_400_000


@pytest.mark.quality
def test_training_doubles_recall_and_reaches_new_items() -> None:
    tables = World().tables()
    items = tables["items"].sort("time_ms").unique("item_id", keep="last").sort("item_id").with_columns(created_ms="time_ms")
    cut_ms = int(tables["actions"]["time_ms"].to_numpy().max()) - 14 * DAY_MS
    past, future = tables["actions"].filter(pl.col("time_ms") < cut_ms), tables["actions"].filter(pl.col("time_ms") >= cut_ms)
    known = items.filter(pl.col("created_ms") < cut_ms)
    row_of = {item_id: row for row, item_id in enumerate(items["item_id"])}
    pairs = co_engagement_pairs(future, PairConfig(cap_per_item=60), 0)
    ends = np.array([(row_of[a], row_of[b]) for a, b in zip(pairs["left_id"], pairs["right_id"], strict=True)])
    ends = np.concatenate([ends, ends[:, ::-1]])
    new = (items["created_ms"] >= cut_ms).to_numpy()
    untrained = untrained_content(known).encode(items, cut_ms)
    trained = train_content(known, co_engagement_pairs(past), now_ms=cut_ms).encode(items, cut_ms)

    def recall(vectors: np.ndarray, which: np.ndarray, k: int) -> float:
        return pair_recall(vectors, ends[which], k)

    everything, to_new = np.ones(len(ends), bool), new[ends[:, 1]]
    figures = {
        name: [round(recall(vectors, which, k), 4) for which, k in ((everything, 10), (everything, 50), (to_new, 50))]
        for name, vectors in (("untrained", untrained), ("trained", trained))
    }
    print(figures)
    assert figures["trained"][0] > 1.8 * figures["untrained"][0]
    assert figures["trained"][1] > 1.8 * figures["untrained"][1]
    assert figures["trained"][2] > 1.5 * figures["untrained"][2]
