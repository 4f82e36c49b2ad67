"""What OmniSearchSage learns from: queries with pins, with products, with what was bought, and with the queries that followed them.

The published query-query pairs are clicks on related searches, which this lake does not know: here a pair is a query and the next one
of the same person within minutes. Offsite pairs are carts and checkouts on the search surface, wherever the purchase itself was made.
"""

from __future__ import annotations

import polars as pl

from corkboard.embeddings.config import PairActionWeights
from corkboard.embeddings.omni_config import OmniSearchSageConfig
from corkboard.embeddings.query_pairs import capped, query_pairs, query_text
from corkboard.lake.lake import Lake
from corkboard.lake.schema import user_key_expr

TASKS = ("pin", "product", "query", "offsite")
"""Tasks that have pairs of their own in the lake. The task "title" is made of the items."""
OMNI_PAIR_SCHEMA = {
    "task": pl.String,
    "query": pl.String,
    "target": pl.String,
    "time_ms": pl.Int64,
    "weight": pl.Float32,
    "user": pl.String,
}
"""``target`` is an item's id, or for the task "query" the query that followed, as :func:`query_text` writes it."""


def omni_pairs(lake: Lake, until_ms: int, config: OmniSearchSageConfig | None = None, seed: int = 0) -> pl.DataFrame:
    """The pairs of all tasks strictly before ``until_ms``, a frame of :data:`OMNI_PAIR_SCHEMA`, by task and time.

    An item is a product by its kind as it was then. What was taken back is left out; pins and products are in as many pairs of a task as
    the config allows, drawn by ``seed``. Raises :class:`LeakError` where ``until_ms`` lies behind the end of the lake's view.
    """
    config = config or OmniSearchSageConfig()
    products = lake.items(until_ms).filter(pl.col("kind") == "product")["item_id"].to_list()
    every = config.query.model_copy(update={"cap_per_item": 1 << 31})
    bought = PairActionWeights(close_up=0.0, click=0.0, long_click=0.0, save=0.0)
    found = query_pairs(lake, until_ms, every)
    is_product = pl.col("item_id").is_in(products)
    parts = {
        "pin": capped(found.filter(~is_product), config.cap_per_pin, seed),
        "product": capped(found.filter(is_product), config.cap_per_product, seed),
        "offsite": capped(
            query_pairs(lake, until_ms, every.model_copy(update={"weights": bought})).filter(is_product), config.cap_per_product, seed
        ),
    }
    named = {task: pairs.rename({"item_id": "target"}) for task, pairs in parts.items()}
    named["query"] = following_queries(lake, until_ms, config.following_minutes)
    return pl.concat([named[task].with_columns(task=pl.lit(task)).select(list(OMNI_PAIR_SCHEMA)) for task in TASKS])


def following_queries(lake: Lake, until_ms: int, minutes: float) -> pl.DataFrame:
    """Queries and the next, different one of the same person at most ``minutes`` later: columns query, target, time_ms, weight (1), user.

    A query was asked when a page was computed or seen for it, or when an action names it; the first of these is its time, and the time
    of a pair is that of the later query. A person's
    queries are looked at in their order, so that of three queries the first and the last are no pair.
    """
    asked = [
        rows.filter((pl.col("surface") == "search") & pl.col("query").is_not_null()).select("time_ms", "query", user=user_key_expr(table))
        for table, rows in (
            ("impressions", lake.impressions(end_ms=until_ms)),
            ("served", lake.served(end_ms=until_ms)),
            ("actions", lake.actions(end_ms=until_ms)),
        )
    ]
    rows = pl.concat(asked)
    said = rows["query"].unique().to_list()
    text = pl.col("query").replace_strict(said, [query_text(query) for query in said], return_dtype=pl.String)
    rows = rows.with_columns(query=text).filter(pl.col("query") != "").drop_nulls("user").sort("user", "time_ms", "query")
    rows = rows.filter((pl.struct("user", "query").rle_id().diff() != 0).fill_null(True))  # the same query again is the same search
    before = [pl.col(name).shift().over("user").alias(f"{name}_before") for name in ("query", "time_ms")]
    followed = rows.with_columns(before).filter(pl.col("time_ms") - pl.col("time_ms_before") <= minutes * 60_000)
    ends = {"query": pl.col("query_before"), "target": pl.col("query"), "weight": pl.lit(1.0, pl.Float32)}
    return followed.sort("time_ms", "user", "query").with_columns(**ends).select("query", "target", "time_ms", "weight", "user")
