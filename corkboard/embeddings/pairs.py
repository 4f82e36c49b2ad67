"""Pairs of items that were engaged together: the training signal of every item tower."""

from __future__ import annotations

import numpy as np
import polars as pl

from corkboard.embeddings.config import PairConfig
from corkboard.lake.schema import user_key_expr
from corkboard.seeds import generator

PAIR_SCHEMA = {"left_id": pl.String, "right_id": pl.String, "weight": pl.Float32, "user": pl.String, "time_ms": pl.Int64}
"""A pair is symmetric; ``time_ms`` is when its later action happened."""


def co_engagement_pairs(actions: pl.DataFrame, config: PairConfig | None = None, seed: int = 0) -> pl.DataFrame:
    """Pairs of distinct items that one user engaged positively within a short window, or saved to the same board.

    Returns a frame of :data:`PAIR_SCHEMA`, sorted by time; weight is the geometric mean of the two actions' weights. An item
    has at most ``cap_per_item`` pairs. The caller cuts ``actions`` in time; the order of its rows does not matter.
    """
    config = config or PairConfig()
    weights = config.weights.model_dump()
    weight = pl.col("action").replace_strict(list(weights), list(weights.values()), default=0.0, return_dtype=pl.Float64)
    done = (
        actions.lazy()
        .select(pl.col("time_ms", "event_id", "item_id", "board_id"), user=user_key_expr(), weight=weight)
        .filter((pl.col("weight") > 0) & pl.col("item_id").is_not_null() & pl.col("user").is_not_null())
        .sort("user", "time_ms", "event_id")
        .collect()
    )
    parts = [_following(done, "user", config.next_actions, config.window_minutes * 60_000)]
    if config.board_neighbours:
        saved = done.filter(pl.col("board_id").is_not_null()).sort("board_id", "time_ms", "event_id")
        parts.append(_following(saved, "board_id", config.board_neighbours, np.inf))
    pairs = (
        pl.concat(parts)
        .sort("time_ms", "left_id", "right_id", "user", "weight")
        .unique(["left_id", "right_id", "user", "time_ms"], keep="first", maintain_order=True)
    )
    return _capped(pairs, config, seed)


def _following(done: pl.DataFrame, group: str, most: int, window_ms: float) -> pl.DataFrame:
    """Each row with up to ``most`` following rows of its group, within the window."""
    groups = done[group].rle_id().to_numpy() if len(done) else np.empty(0, np.int64)
    times = done["time_ms"].to_numpy()
    items = done["item_id"].rank("dense").to_numpy() if len(done) else np.empty(0, np.int64)
    lefts, rights = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for lag in range(1, min(most, len(done) - 1) + 1):
        near = (groups[lag:] == groups[:-lag]) & (times[lag:] - times[:-lag] <= window_ms) & (items[lag:] != items[:-lag])
        left = np.flatnonzero(near)
        lefts.append(left)
        rights.append(left + lag)
    left, right = np.concatenate(lefts), np.concatenate(rights)
    weight = np.sqrt(done["weight"].to_numpy()[left] * done["weight"].to_numpy()[right])
    return pl.DataFrame(
        {
            "left_id": done["item_id"][left],
            "right_id": done["item_id"][right],
            "weight": weight,
            "user": done["user"][right],
            "time_ms": times[right],
        },
        schema_overrides=PAIR_SCHEMA,
    )


def _capped(pairs: pl.DataFrame, config: PairConfig, seed: int) -> pl.DataFrame:
    """In random order, keep a pair while both of its items have room."""
    order = generator(seed, "pairs").permutation(len(pairs))
    shuffled = pairs[order]
    sides = (
        pl.concat([shuffled["left_id"], shuffled["right_id"]]).rank("dense").to_numpy().reshape(2, -1)
        if len(pairs)
        else np.empty((2, 0), np.int64)
    )
    # how many earlier pairs the item of each cell has, over both sides
    flat = sides.T.ravel()
    by_item = np.argsort(flat, kind="stable")
    starts = np.flatnonzero(np.diff(flat[by_item], prepend=-1))
    place = np.empty(len(flat), np.int64)
    place[by_item] = np.arange(len(flat)) - np.repeat(starts, np.diff(np.append(starts, len(flat))))
    keep = (place.reshape(-1, 2) < config.cap_per_item).all(axis=1)
    kept = np.sort(order[keep][: config.max_pairs])
    return pairs[kept]
