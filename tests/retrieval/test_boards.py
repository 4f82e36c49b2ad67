from __future__ import annotations

import numpy as np
import polars as pl

from corkboard.retrieval.boards import board_neighbours
from corkboard.retrieval.config import BoardConfig
from retrieval.builders import DAY_MS, actions_frame

IDS = ["a", "b", "c", "d"]


def boards(rows: dict[str, bool]) -> pl.DataFrame:
    return pl.DataFrame(
        {"board_id": list(rows), "secret": list(rows.values()), "deleted": [False] * len(rows)},
        schema={"board_id": pl.String, "secret": pl.Boolean, "deleted": pl.Boolean},
    )


def neighbours(saves: list[tuple[str, str, float]], secret: dict[str, bool], upto_day: float = 50) -> dict[str, set[str]]:
    actions = actions_frame([("u", "save", item, day) for _, item, day in saves], [board for board, _, _ in saves])
    table = board_neighbours(actions, boards(secret), IDS, int(upto_day * DAY_MS), BoardConfig(max_items=3))
    return {IDS[row]: {IDS[near] for near in table.rows[row] if near >= 0} for row in range(len(IDS))}


def test_items_of_one_board_are_neighbours() -> None:
    found = neighbours([("x", "a", 1), ("x", "b", 2), ("y", "c", 3)], {"x": False, "y": False})
    assert found == {"a": {"b"}, "b": {"a"}, "c": set(), "d": set()}


def test_secret_and_undeclared_boards_do_not_show_through() -> None:
    found = neighbours([("x", "a", 1), ("x", "b", 2), ("nowhere", "c", 1), ("nowhere", "d", 1)], {"x": True})
    assert not any(found.values())


def test_the_future_and_the_oldest_of_a_huge_board_do_not_count() -> None:
    saves = [("x", "a", 1.0), ("x", "b", 2.0), ("x", "c", 3.0), ("x", "d", 4.0)]
    assert neighbours(saves, {"x": False})["a"] == set()  # three newest of four
    assert neighbours(saves, {"x": False}, upto_day=4)["a"] == {"b", "c"}


def test_no_boards_at_all() -> None:
    table = board_neighbours(actions_frame([]), boards({}), IDS, DAY_MS)
    assert (table.rows == -1).all()
    assert len(table.expand(np.array([0]), np.ones(1, np.float32))[0]) == 0
