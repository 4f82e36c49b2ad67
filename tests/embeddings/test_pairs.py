from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from corkboard.embeddings.config import PairActionWeights, PairConfig
from corkboard.embeddings.pairs import PAIR_SCHEMA, co_engagement_pairs

MINUTE = 60_000


def frame(rows: Sequence[tuple[str, str, str, float, str | None]]) -> pl.DataFrame:
    """(user, action, item, minute, board) as an actions frame."""
    columns = {
        "event_id": [f"e{place}" for place in range(len(rows))],
        "time_ms": [int(row[3] * MINUTE) for row in rows],
        "user_id": [row[0] for row in rows],
        "session_id": [None] * len(rows),
        "action": [row[1] for row in rows],
        "item_id": [row[2] for row in rows],
        "board_id": [row[4] for row in rows],
    }
    return pl.DataFrame(columns, schema={name: pl.Int64 if name == "time_ms" else pl.String for name in columns})


def keys(pairs: pl.DataFrame) -> set[tuple[str, str]]:
    return {(row["left_id"], row["right_id"]) for row in pairs.iter_rows(named=True)}


CONFIG = PairConfig(window_minutes=10, next_actions=2, board_neighbours=1)


def test_pairs_within_the_window_of_one_user() -> None:
    actions = frame(
        [
            ("ann", "click", "a", 0, None),
            ("bob", "click", "x", 1, None),
            ("ann", "click", "b", 5, None),
            ("ann", "click", "c", 12, None),  # 12 minutes after a, 7 after b
            ("ann", "hide", "h", 13, None),  # a hide says nothing about what belongs together
            ("ann", "click", "c", 14, None),  # the same item is no pair
        ]
    )
    pairs = co_engagement_pairs(actions, CONFIG)
    assert keys(pairs) == {("a", "b"), ("b", "c")}
    assert dict(pairs.schema) == PAIR_SCHEMA


def test_at_most_the_next_actions() -> None:
    actions = frame([("ann", "click", item, minute, None) for minute, item in enumerate("abcd")])
    assert keys(co_engagement_pairs(actions, CONFIG)) == {("a", "b"), ("a", "c"), ("b", "c"), ("b", "d"), ("c", "d")}


def test_the_same_board_pairs_whenever_and_whoever() -> None:
    actions = frame([("ann", "save", "a", 0, "board"), ("bob", "save", "b", 50_000, "board"), ("ann", "save", "c", 90_000, "other")])
    assert keys(co_engagement_pairs(actions, CONFIG)) == {("a", "b")}
    assert len(co_engagement_pairs(actions, CONFIG.model_copy(update={"board_neighbours": 0}))) == 0


def test_weight_is_the_geometric_mean_and_zero_leaves_out() -> None:
    config = CONFIG.model_copy(update={"weights": PairActionWeights(click=1.0, save=4.0, close_up=0.0)})
    actions = frame([("ann", "click", "a", 0, None), ("ann", "save", "b", 1, None), ("ann", "close_up", "c", 2, None)])
    pairs = co_engagement_pairs(actions, config)
    assert pairs["weight"].to_list() == [2.0]  # sqrt(1 * 4)
    assert pairs["user"].to_list() == ["ann"]
    assert pairs["time_ms"].to_list() == [MINUTE]


@pytest.mark.parametrize("cap", [1, 3])
def test_a_popular_item_does_not_fill_the_set(cap: int) -> None:
    rows = []
    for user in range(30):
        rows += [(f"u{user}", "click", "star", user * 100, None), (f"u{user}", "click", f"i{user}", user * 100 + 1, None)]
    pairs = co_engagement_pairs(frame(rows), CONFIG.model_copy(update={"cap_per_item": cap}), seed=4)
    assert len(pairs) == cap
    other = co_engagement_pairs(frame(rows), CONFIG.model_copy(update={"cap_per_item": cap}), seed=5)
    assert keys(pairs) != keys(other)  # drawn at random, by the seed


def test_the_order_of_rows_does_not_matter() -> None:
    draw = np.random.default_rng(0)
    rows = [(f"u{draw.integers(4)}", "click", f"i{draw.integers(9)}", float(draw.integers(300)), None) for _ in range(80)]
    actions = frame(rows)
    assert co_engagement_pairs(actions, CONFIG, 1).equals(co_engagement_pairs(actions.sample(fraction=1, shuffle=True, seed=3), CONFIG, 1))


def test_no_actions_no_pairs() -> None:
    assert len(co_engagement_pairs(frame([]), CONFIG)) == 0
    assert len(co_engagement_pairs(frame([("ann", "click", "a", 0, None)]), CONFIG)) == 0
