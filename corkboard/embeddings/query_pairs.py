"""Pairs of what somebody searched for and what they then engaged with: the training signal of SearchSage.

A pair is a save, click or long click on an item that a search showed. The published pairs are saves and click-throughs of at least 35 s;
here clicks count, too, but are drawn less often.
"""

from __future__ import annotations

import polars as pl

from corkboard.embeddings.config import SearchSageConfig
from corkboard.lake.lake import Lake
from corkboard.lake.schema import user_key_expr
from corkboard.learning.query_text import normalised
from corkboard.learning.text import split_words
from corkboard.seeds import generator

QUERY_PAIR_SCHEMA = {"query": pl.String, "item_id": pl.String, "time_ms": pl.Int64, "weight": pl.Float32, "user": pl.String}
"""``query`` as :func:`query_text` writes it; ``weight`` by the action."""
UNSEARCHED = "no_search"
"""The note of a served page of the search surface that was made without looking for its query: what stands there is no answer to it."""


def query_text(text: str | None) -> str:
    """A query as it is learned from, searched with and cached: the words of its normal form, with one space between.

    Whatever is no word in any script (punctuation, emoji, markup) is gone; a query of nothing else is empty. Accents are kept.
    """
    return " ".join(split_words(normalised(text)))


def query_pairs(lake: Lake, until_ms: int, config: SearchSageConfig | None = None, seed: int = 0) -> pl.DataFrame:
    """What was engaged with on the search surface strictly before ``until_ms``: a frame of :data:`QUERY_PAIR_SCHEMA`, oldest first.

    An action that does not say what was searched for has the query of the page that it names. What was taken back before ``until_ms`` is
    left out, and so is what was done on a page that says :data:`UNSEARCHED`. An item is in ``cap_per_item`` pairs at most, drawn at
    random by ``seed``; the order in which the lake was filled does not matter. Raises :class:`LeakError` where ``until_ms`` lies behind
    the end of the lake's view.
    """
    config = config or SearchSageConfig()
    weights = config.weights.model_dump()
    weight = pl.col("action").replace_strict(list(weights), list(weights.values()), default=0.0, return_dtype=pl.Float32)
    actions = lake.actions(end_ms=until_ms).filter(pl.col("surface") == "search").with_columns(weight=weight, user=user_key_expr())
    actions = _with_queries(actions.filter((pl.col("weight") > 0) & pl.col("item_id").is_not_null()), lake, until_ms)
    said = actions["query"].drop_nulls().unique().to_list()
    text = pl.col("query").replace_strict(said, list(map(query_text, said)), default=None, return_dtype=pl.String)
    pairs = actions.with_columns(query=text).filter(pl.col("query") != "").sort("time_ms", "event_id", "item_id", "query")
    return capped(pairs.select(list(QUERY_PAIR_SCHEMA)), config.cap_per_item, seed)


def capped(pairs: pl.DataFrame, most: int, seed: int = 0) -> pl.DataFrame:
    """At most so many pairs an item, drawn at random; the order of the rest stays."""
    turn = pl.Series(generator(seed, "query pairs").permutation(len(pairs)), dtype=pl.Int64)
    return pairs.filter(turn.to_frame("turn").select(pl.col("turn").rank("ordinal").over(pairs["item_id"]))["turn"] <= most)


def _with_queries(actions: pl.DataFrame, lake: Lake, until_ms: int) -> pl.DataFrame:
    """Actions on pages that answer a query, with that of the page where they do not say it and the lake knows it."""
    if actions["request_id"].is_null().all():
        return actions
    served, keys = lake.served(end_ms=until_ms), ["tenant", "request_id"]
    actions = actions.join(unsearched(served), on=keys, how="anti", maintain_order="left")
    if not (actions["query"].is_null() & actions["request_id"].is_not_null()).any():
        return actions
    pages = pl.concat([rows.select(*keys, "query") for rows in (lake.impressions(end_ms=until_ms), served)])
    asked = pages.drop_nulls("query").unique(keys, keep="first", maintain_order=True)
    found = actions.join(asked.rename({"query": "asked"}), on=keys, how="left", maintain_order="left")
    return found.with_columns(pl.coalesce("query", "asked").alias("query")).drop("asked")


def unsearched(served: pl.DataFrame) -> pl.DataFrame:
    """tenant and request_id of the ``served`` pages whose notes say :data:`UNSEARCHED`."""
    return served.filter(pl.col("notes").list.contains(UNSEARCHED)).select("tenant", "request_id").unique()
