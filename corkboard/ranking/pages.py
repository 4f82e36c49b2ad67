"""Pages as slots: one row for each item of each page, from impressions and from the served log."""

from __future__ import annotations

import numpy as np
import polars as pl

from corkboard.lake.lake import Lake
from corkboard.lake.schema import user_key_expr
from corkboard.ranking.features import BESIDE_SURFACES, FEATURE_NAMES
from corkboard.seeds import generator

SLOT_COLUMNS = ("page", "request_id", "tenant", "user_key", "time_ms", "item_id", "position", "randomised", "weight")
"""Columns of every frame of slots, sorted by time, request and position; ``page`` numbers the pages from 0."""

BESIDE = "beside"
"""A column that a frame of slots may have as well: the item that a page is beside, null where it is beside none."""
HOME = ("home",)
"""What the light ranker and the table of pages are about, whatever else a ranker learns from."""

_FIRST_SHARE = 0.7


def impression_pages(lake: Lake, start_ms: int, end_ms: int, surfaces: tuple[str, ...]) -> pl.DataFrame:
    """Slots that were shown in [start_ms, end_ms) on ``surfaces``, or on any where none of these has pages.

    What a client reported as seen narrows the page that was served; a served page without a report counts as it is. A
    page's time is that of the request where it is known, because that is when its features were true, and the item that it is beside is
    the one that was asked with.
    """
    seen = _exploded(lake.impressions(start_ms, end_ms))
    served = _exploded(lake.served(start_ms, end_ms))
    requested = served.group_by("request_id").agg(requested_ms=pl.col("time_ms").min(), asked=pl.col(BESIDE).first())
    slots = pl.concat([seen, served.join(seen, on="request_id", how="anti")])
    slots = slots.join(requested, on="request_id", how="left").with_columns(
        pl.coalesce("asked", BESIDE).alias(BESIDE), time_ms=pl.coalesce("requested_ms", pl.col("time_ms").min().over("request_id"))
    )
    chosen = slots.filter(pl.col("surface").is_in(list(surfaces)))
    return _numbered(slots if chosen.is_empty() else chosen)


def served_pages(lake: Lake, start_ms: int, end_ms: int) -> pl.DataFrame:
    """Slots of the served log of [start_ms, end_ms) that counted as shown, with ``features`` as a fixed-width array.

    Pages whose log does not have every feature of this version are left out.
    """
    served = lake.served(start_ms, end_ms)
    served = served.filter(pl.col("feature_names").list.set_intersection(list(FEATURE_NAMES)).list.len() == len(FEATURE_NAMES))
    slots = [_with_features(names[0], part) for names, part in served.group_by("feature_names", maintain_order=True)]
    if not slots:
        return _numbered(_exploded(served)).with_columns(features=pl.lit(None, pl.Array(pl.Float32, len(FEATURE_NAMES))))
    frame = _numbered(pl.concat(slots), keep=("features",))
    seen = _exploded(lake.impressions(start_ms, end_ms)).select("request_id", "item_id").unique()
    reported = frame["request_id"].is_in(seen["request_id"].unique().implode())
    narrowed = frame.join(seen, on=["request_id", "item_id"], how="semi")
    return _numbered(pl.concat([frame.filter(~reported), narrowed]), keep=("features",))


def served_requests(lake: Lake, start_ms: int, end_ms: int) -> pl.DataFrame:
    """What the served log of [start_ms, end_ms) knows of each request: request_id, sequence, user_vector_space, user_vector_ms."""
    served = lake.served(start_ms, end_ms).unique("request_id", keep="first", maintain_order=True)
    return served.select("request_id", "sequence", "user_vector_space", "user_vector_ms")


def sample_pages(slots: pl.DataFrame, acted: np.ndarray, max_rows: int, seed: int) -> np.ndarray:
    """Which slots to keep so that about ``max_rows`` remain: float64 ``(slots,)`` weights, 0 for those left out.

    Whole pages are kept or left out. Pages in random order and pages with an action (``acted``, bool ``(slots,)``) come
    first, because they teach most; a kept page weighs one over the probability with which it was kept.
    """
    if slots.height <= max_rows:
        return np.ones(slots.height)
    page = slots["page"].to_numpy()
    first = np.zeros(int(page.max()) + 1, bool)
    first[page[acted | slots["randomised"].to_numpy()]] = True
    important = first[page]
    rows_first, rows_rest = int(important.sum()), int((~important).sum())
    keep_first = min(1.0, max(_FIRST_SHARE * max_rows, max_rows - rows_rest) / max(rows_first, 1))
    keep_rest = min(1.0, (max_rows - keep_first * rows_first) / max(rows_rest, 1))
    keep = np.where(first, keep_first, keep_rest)
    kept = generator(seed, "rows", "pages").random(len(first)) < keep
    return np.where(kept, 1.0 / np.maximum(keep, 1e-12), 0.0)[page]


def _exploded(pages: pl.DataFrame) -> pl.DataFrame:
    """One row a slot, each item once a request."""
    beside = pl.when(pl.col("surface").is_in(list(BESIDE_SURFACES))).then("context_item_id").alias(BESIDE)
    slots = (
        pages.filter(pl.col("slots").list.len() > 0)
        .select("request_id", "tenant", "surface", "time_ms", "slots", beside, user_key=user_key_expr())
        .explode("slots")
    )
    slot = pl.col("slots").struct
    known = ("request_id", "tenant", "surface", "time_ms", "user_key", BESIDE)
    slots = slots.select(*known, slot.field("item_id"), slot.field("position"), randomised=slot.field("propensity").is_not_null())
    return slots.unique(["request_id", "item_id"], keep="first", maintain_order=True)


def _with_features(names: list[str], pages: pl.DataFrame) -> pl.DataFrame:
    """Slots of pages that share their feature names, with the logged features in this version's order."""
    order = [names.index(name) for name in FEATURE_NAMES]
    logged = pages.select("request_id", "slots").explode("slots").select("request_id", pl.col("slots").struct.field("item_id", "features"))
    logged = logged.filter(pl.col("features").list.len() == len(names)).unique(["request_id", "item_id"], keep="first", maintain_order=True)
    logged = logged.with_columns(pl.col("features").list.gather(order).list.to_array(len(order)).cast(pl.Array(pl.Float32, len(order))))
    return _exploded(pages).join(logged, on=["request_id", "item_id"])


def _numbered(slots: pl.DataFrame, keep: tuple[str, ...] = ()) -> pl.DataFrame:
    """In order of time, with pages numbered and every weight 1."""
    slots = slots.sort("time_ms", "request_id", "position")
    return slots.with_columns(page=pl.col("request_id").rle_id(), weight=pl.lit(1.0)).select(*SLOT_COLUMNS, BESIDE, *keep)
