"""Pairs of a query and the product that somebody chose after it: what ItemSage learns from, in eight tasks.

An image query is the item that a page was related to, a text query what was searched for. Whoever clicked, saved, put into a cart or
bought makes a pair. Nothing is a negative because it was not bought: purchases at the merchant come days later, and whoever has not
bought yet may still.
"""

from __future__ import annotations

from typing import get_args

import polars as pl

from corkboard.embeddings.config import ItemSageConfig, ProductTask
from corkboard.embeddings.product_inputs import products_of
from corkboard.embeddings.query_pairs import query_text, unsearched
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.lake import Lake
from corkboard.lake.schema import user_key_expr
from corkboard.seeds import generator

TASKS: tuple[str, ...] = get_args(ProductTask)
"""Image and text queries by click, save, cart and checkout."""
PRODUCT_PAIR_SCHEMA = {
    "task": pl.String,
    "query": pl.String,
    "query_item_id": pl.String,
    "item_id": pl.String,
    "time_ms": pl.Int64,
    "user": pl.String,
}
"""``query`` as :func:`corkboard.embeddings.query_pairs.query_text` writes it, or ``query_item_id``: the other one is null."""

_ACTIONS = {"click": "click", "long_click": "click", "save": "save", "add_to_cart": "cart", "checkout": "checkout"}
_KINDS = {"related": "image", "search": "text"}
_ORIGIN = ("surface", "query", "context_item_id")


def product_pairs(lake: Lake, until_ms: int, config: ItemSageConfig | None = None, seed: int = 0, since_ms: int = 0) -> pl.DataFrame:
    """What was done with products from ``since_ms`` on, strictly before ``until_ms``: a frame of :data:`PRODUCT_PAIR_SCHEMA`, of all tasks,
    oldest first.

    Where an action does not say its query, the page that it names does. A cart or checkout at the merchant that neither says is the
    doing of the user's last click on the product, at most ``attribution_days`` before, wherever that was: after a click on the home
    page it makes no pair. What was taken back before ``until_ms`` is left out, and a click that was taken back explains nothing; so is
    what was done on a search that became a home page. What one
    user did twice with one product for one query counts once, the first time. A product is in ``cap_per_item`` pairs of a task at most,
    drawn at random by ``seed``. Raises :class:`LeakError` where ``until_ms`` lies behind the end of the lake's view.
    """
    config = config or ItemSageConfig()
    products = products_of(lake.items(before_ms=until_ms)).select("tenant", "item_id").unique()
    actions = lake.actions(end_ms=until_ms).filter(pl.col("action").is_in(list(_ACTIONS))).with_columns(user=user_key_expr())
    actions = actions.join(products, on=["tenant", "item_id"], how="semi", maintain_order="left")
    actions = actions.join(unsearched(lake.served(end_ms=until_ms)), on=["tenant", "request_id"], how="anti", maintain_order="left")
    actions = _attributed(_with_pages(actions, lake, until_ms), config.attribution_days)
    said = actions["query"].drop_nulls().unique().to_list()
    words = pl.col("query").replace_strict(said, list(map(query_text, said)), default=None, return_dtype=pl.String)
    kind = pl.col("surface").replace_strict(_KINDS, default=None, return_dtype=pl.String)
    action = pl.col("action").replace_strict(_ACTIONS, return_dtype=pl.String)
    pairs = actions.with_columns(
        task=kind + "_" + action,
        query=pl.when(kind == "text").then(words),
        query_item_id=pl.when(kind == "image").then(pl.col("context_item_id")),
    )
    asked = (pl.col("query") != "") | (pl.col("query_item_id") != pl.col("item_id"))  # to choose what one looks at says nothing
    pairs = pairs.filter(asked).sort("time_ms", "event_id", "item_id")
    pairs = pairs.unique(["tenant", "user", "task", "query", "query_item_id", "item_id"], keep="first", maintain_order=True)
    pairs = pairs.filter(pl.col("time_ms") >= since_ms)
    return _capped(pairs.select(list(PRODUCT_PAIR_SCHEMA)), config.cap_per_item, seed)


def _with_pages(actions: pl.DataFrame, lake: Lake, until_ms: int) -> pl.DataFrame:
    """Actions that do not say where they come from have surface, query and item of their page, where the lake knows it."""
    silent = _silent() & pl.col("request_id").is_not_null()
    if not actions.select(silent.any()).item():
        return actions
    keys = ["tenant", "request_id"]
    pages = pl.concat([rows.select(*keys, *_ORIGIN) for rows in (lake.impressions(end_ms=until_ms), lake.served(end_ms=until_ms))])
    told = pages.unique(keys, keep="first", maintain_order=True).rename({name: f"page_{name}" for name in _ORIGIN})
    found = actions.join(told, on=keys, how="left", maintain_order="left")
    return found.with_columns(_filled(silent, "page_")).drop([f"page_{name}" for name in _ORIGIN])


def _attributed(actions: pl.DataFrame, days: float) -> pl.DataFrame:
    """Carts and checkouts at the merchant that still do not say where they come from have the origin of the last click."""
    lost = (
        _silent() & pl.col("action").is_in(["add_to_cart", "checkout"]) & (pl.col("offsite").fill_null(False) | pl.col("surface").is_null())
    )
    keys = ["tenant", "user", "item_id"]
    clicks = actions.filter(pl.col("action").is_in(["click", "long_click"])).select(*keys, "time_ms", *_ORIGIN)
    clicks = clicks.sort("time_ms", maintain_order=True).rename({name: f"click_{name}" for name in _ORIGIN})
    wanted = actions.with_columns(lost.alias("lost")).sort("time_ms", maintain_order=True)
    found = wanted.join_asof(
        clicks, on="time_ms", by=keys, strategy="backward", tolerance=round(days * DAY_MS), check_sortedness=False, coalesce=True
    )
    return found.with_columns(_filled(pl.col("lost"), "click_")).drop("lost", *(f"click_{name}" for name in _ORIGIN))


def _silent() -> pl.Expr:
    """Whether an action says neither what was searched for nor what was looked at, where it may come from such a page."""
    there = pl.col("surface").is_null() | pl.col("surface").is_in(list(_KINDS))
    return there & pl.col("query").is_null() & pl.col("context_item_id").is_null()


def _filled(silent: pl.Expr, prefix: str) -> list[pl.Expr]:
    return [pl.when(silent).then(pl.coalesce(f"{prefix}{name}", name)).otherwise(pl.col(name)).alias(name) for name in _ORIGIN]


def _capped(pairs: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """At most so many pairs a product and task, drawn at random; the order of the rest stays."""
    turn = pl.Series("turn", generator(seed, "product pairs").permutation(len(pairs)), dtype=pl.Int64)
    return pairs.with_columns(turn).filter(pl.col("turn").rank("ordinal").over("task", "item_id") <= most).drop("turn")
