"""The bipartite graphs that a lake supports: what items share, seen from boards, people, searches, creators and labels.

A graph ends where the lake's view ends: give it ``lake.until(cut)`` and no edge of the evaluation is in it. Nothing that was taken back
is in it. A save onto a secret or deleted board, or onto one that nobody declared, is in no graph at all, not even in those of users and
searches; where the lake declares no boards, a save is one of its user, and its board counts for nothing.

An edge that people's actions make (a search) needs ``min_people`` of them, and an item in a graph of users, or a creator whom they
follow, as many users: what only one person did would show that person to others. A board is what its owner shows to all and needs
nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from corkboard.errors import InputError
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.config import PruningConfig
from corkboard.graph.graphs import FOLLOW, Graphs
from corkboard.graph.pruning import board_entropy, most_alike, without_diverse_boards
from corkboard.lake.lake import Lake
from corkboard.lake.schema import user_key_expr

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "save": ("save",),
    "click": ("click", "long_click"),
    "close_up": ("close_up",),
    "cart": ("add_to_cart", "checkout"),
}
"""Kinds of action that make one graph of users and items together."""

Edges = pl.LazyFrame
"""Columns ``left``, ``right`` (ids) and ``time_ms``, one row for each time the edge was made; ``tenant`` and ``user_key``, the owner of the
right node, in graphs of boards and users."""


def graphs(
    lake: Lake,
    item_ids: Sequence[str],
    config: PruningConfig | None = None,
    topics: np.ndarray | None = None,
    vectors: np.ndarray | None = None,
    until_ms: int | None = None,
) -> Graphs:
    """Every graph that the lake supports, over ``item_ids``; with ``until_ms`` those of edges before it, judged by all that the lake knows:
    what was taken back since, and boards that are secret or deleted by now, are not in them.

    ``topics`` float32 ``(items, topics)``, rows that add up to 1 (0: nothing known), are needed where ``config.max_entropy`` is set:
    diverse boards are left out. ``vectors`` float32 ``(items, dim)``, unit rows, are needed where ``config.degree_exponent`` is below 1:
    items keep the edges most like them, to boards and to users. Other graphs stay whole. Raises :class:`InputError` where they are missing.
    """
    config = config or PruningConfig()
    for name, needed, given in (("topics", config.max_entropy is not None, topics), ("vectors", config.degree_exponent < 1, vectors)):
        if needed and (given is None or len(given) != len(item_ids)):
            raise InputError(f"This pruning needs {name} of all items", found=None if given is None else len(given), expected=len(item_ids))
    by_name = {}
    for name, edges in item_edges(lake, config, until_ms).items():
        found = edges.collect()
        if name == "board" or name.startswith("user_"):
            found = _pruned(found, item_ids, config, topics if name == "board" else None, vectors)
        by_name[name] = BipartiteGraph.of(name, found, item_ids)
    followed = follow_edges(lake, config, until_ms).collect()
    if followed.height:
        by_name[FOLLOW] = BipartiteGraph.of(FOLLOW, followed, followed["left"].unique().sort().to_list())
    return Graphs(list(item_ids), by_name)


def item_edges(lake: Lake, config: PruningConfig | None = None, until_ms: int | None = None) -> dict[str, Edges]:
    """Edges of items and what holds them together, by the name of the graph; graphs without any edge are left out.

    ``until_ms`` as in :func:`graphs`.
    """
    config = config or PruningConfig()
    items = (lake if until_ms is None else lake.until(until_ms)).items().lazy()
    actions, boards = _before(_shown_actions(lake), until_ms), _public(lake.boards().lazy())
    found = {"board": _saved(actions, boards), "query": _queries(actions, config.min_people)}
    found |= {f"user_{name}": _users(actions, kinds, config.min_people) for name, kinds in FAMILIES.items()}
    found |= {name: _labels(items, column) for name, column in (("creator", "creator_id"), ("brand", "brand_id"), ("category", "category"))}
    found["tag"] = _tags(items)
    return {name: edges for name, edges in found.items() if edges.head(1).collect().height}


def follow_edges(lake: Lake, config: PruningConfig | None = None, until_ms: int | None = None) -> Edges:
    """Creators with enough followers, and who follows them."""
    followed = _before(lake.actions().lazy(), until_ms).filter((pl.col("action") == "follow") & pl.col("creator_id").is_not_null())
    edges = followed.select("time_ms", "tenant", left="creator_id", right=user_key_expr(), user_key=user_key_expr())
    return _by_enough(edges, ["left"], (config or PruningConfig()).min_people)


def newer_saves(lake: Lake, since_ms: int) -> pl.DataFrame:
    """``item_id``, ``board_id``, ``time_ms``, ``tenant`` and ``user_key`` (whose board it is) of the saves onto public boards since then,
    oldest first: what the overlay of a graph that ends there begins with."""
    edges = _saved(_shown_actions(lake), _public(lake.boards().lazy())).filter(pl.col("time_ms") >= since_ms)
    return edges.select("time_ms", "tenant", "user_key", item_id="left", board_id="right").sort("time_ms", "item_id", "board_id").collect()


def _public(boards: pl.LazyFrame) -> pl.LazyFrame:
    """board_id, tenant and owner of the boards that everybody may see."""
    shown = boards.filter(~pl.col("secret").fill_null(False) & ~pl.col("deleted").fill_null(False))
    return shown.select("board_id", "tenant", owner="user_id").unique(["board_id", "tenant"])


def _shown_actions(lake: Lake) -> pl.LazyFrame:
    """The actions that were not taken back, without saves onto boards that are not public.

    Where nobody ever declared a board, saves say nothing of them, and all are there.
    """
    actions = lake.actions().lazy()
    onto_board = (pl.col("action") == "save") & pl.col("board_id").is_not_null()
    if not lake.declares_boards:
        return actions
    public = _public(lake.boards().lazy()).select("board_id", "tenant", public=pl.lit(True))
    known = actions.join(public, on=["board_id", "tenant"], how="left", maintain_order="left")
    return known.filter(~onto_board | pl.col("public").fill_null(False)).drop("public")


def _before(actions: pl.LazyFrame, until_ms: int | None) -> pl.LazyFrame:
    return actions if until_ms is None else actions.filter(pl.col("time_ms") < until_ms)


def _saved(actions: pl.LazyFrame, public: pl.LazyFrame) -> Edges:
    saved = actions.filter((pl.col("action") == "save") & pl.col("item_id").is_not_null())
    onto = saved.join(public, on=["board_id", "tenant"], how="inner")
    return onto.select("time_ms", "tenant", left="item_id", right="board_id", user_key="owner")


def _users(actions: pl.LazyFrame, kinds: tuple[str, ...], min_people: int) -> Edges:
    done = actions.filter(pl.col("action").is_in(kinds) & pl.col("item_id").is_not_null())
    edges = done.select("time_ms", "tenant", left="item_id", right=user_key_expr(), user_key=user_key_expr())
    return _by_enough(edges, ["left"], min_people)


def _queries(actions: pl.LazyFrame, min_people: int) -> Edges:
    searched = actions.filter(pl.col("query").is_not_null() & pl.col("item_id").is_not_null())
    said = pl.col("query").str.strip_chars().str.to_lowercase()
    edges = searched.select("time_ms", "tenant", left="item_id", right=said, user_key=user_key_expr()).filter(pl.col("right") != "")
    return _by_enough(edges, ["left", "right"], min_people).drop("tenant", "user_key")


def _by_enough(edges: pl.LazyFrame, what: list[str], least: int) -> pl.LazyFrame:
    return edges if least <= 1 else edges.filter(pl.struct("tenant", "user_key").n_unique().over(what) >= least)


def _labels(items: pl.LazyFrame, column: str) -> Edges:
    return items.filter(pl.col(column).is_not_null()).select(left="item_id", right=column, time_ms="created_ms")


def _tags(items: pl.LazyFrame) -> Edges:
    pairs = items.select("item_id", "created_ms", "attributes").explode("attributes").drop_nulls("attributes").unnest("attributes")
    return pairs.select(left="item_id", right=pl.concat_str("name", "value", separator="\x1f"), time_ms="created_ms")


def _pruned(
    edges: pl.DataFrame, item_ids: Sequence[str], config: PruningConfig, topics: np.ndarray | None, vectors: np.ndarray | None
) -> pl.DataFrame:
    """Edges that are left, each once with its newest time: of boards that are not too diverse, and then of each item the most alike."""
    items = pl.DataFrame({"left": list(item_ids)}, {"left": pl.String}).with_row_index("item")
    newest = (
        edges.join(items, on="left").group_by("left", "right", "tenant", "item").agg(pl.col("user_key").first(), pl.col("time_ms").max())
    )
    edges = newest.sort("right", "tenant", "item").with_columns(node=pl.struct("right", "tenant").rle_id())
    if config.max_entropy is not None and topics is not None and edges.height:
        item, board, time_ms = (edges[column].to_numpy().astype(np.int64) for column in ("item", "node", "time_ms"))
        edges = edges.filter(without_diverse_boards(board_entropy(item, board, time_ms, topics, config.newest), board, config.max_entropy))
    if config.degree_exponent < 1 and vectors is not None and edges.height:
        item, node = (edges[column].to_numpy().astype(np.int64) for column in ("item", "node"))
        edges = edges.filter(most_alike(item, node, vectors, config.degree_exponent))
    return edges.drop("item", "node")
