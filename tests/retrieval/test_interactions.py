from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from corkboard.retrieval.config import ActionWeights
from corkboard.retrieval.interactions import Validation, history_matrix, interactions
from retrieval.builders import DAY_MS, actions_frame

WEIGHTS = ActionWeights(close_up=0.0, click=1.0, save=4.0)
IDS = ["a", "b", "c"]


def test_cells_by_hand() -> None:
    rows = [
        ("u", "click", "a", 1.0),
        ("u", "save", "a", 8.0),
        ("u", "click", "b", 10.0),
        ("v", "close_up", "c", 9.0),
        ("v", "hide", "a", 9.0),
        ("w", "save", "c", 12.0),
    ]
    found = interactions(actions_frame(rows), IDS, WEIGHTS, 10 * DAY_MS + 1, 99, half_life_days=2.0, floor=0.2)
    # heaviest weight 4: a save is 1, a click 1/4; close-ups weigh 0, a hide has no weight, w comes after the cut
    assert found.user_ids == ["u"]
    assert found.matrix.toarray().tolist() == [[1.0, 0.25, 0.0]]
    # freshness of a, last touched two days ago: 0.2 + 0.8 / 2 = 0.6; of b, just now: 1
    assert found.recent.toarray()[0] == pytest.approx([0.6, 0.25, 0.0], abs=1e-5)


def test_somebody_unknown_is_a_session() -> None:
    frame = actions_frame([("u", "click", "a", 1.0)]).with_columns(user_id=pl.lit(None, pl.String), session_id=pl.lit("s1"))
    assert interactions(frame, IDS, WEIGHTS, 2 * DAY_MS, 9).user_ids == ["session:s1"]


def test_the_newest_items_of_a_long_history_stay() -> None:
    rows = [("u", "click", item, float(day)) for day, item in enumerate(IDS)]
    assert interactions(actions_frame(rows), IDS, WEIGHTS, 9 * DAY_MS, 2).matrix.toarray().tolist() == [[0.0, 0.25, 0.25]]


def test_a_faded_cell_keeps_its_place() -> None:
    found = interactions(actions_frame([("u", "click", "a", 0.0)]), IDS, WEIGHTS, 100_000 * DAY_MS, 9, half_life_days=1.0)
    assert found.recent.nnz == found.matrix.nnz == 1


def test_no_actions() -> None:
    assert interactions(actions_frame([]), IDS, WEIGHTS, DAY_MS, 9).matrix.shape == (0, 3)


def test_history_by_hand() -> None:
    # places 0, 1, 2 with half-life 1: 1, 1/2, 1/4; the second "0" is older and does not count; -1 is unknown
    matrix = history_matrix([np.array([0, -1, 2]), np.array([1, 1]), np.array([], np.int64)], 3, 1.0, 99)
    assert matrix.toarray().tolist() == [[1, 0, 0.25], [0, 1, 0], [0, 0, 0]]
    weighted = history_matrix([np.array([0, 1])], 3, 1.0, 99, [np.array([2.0, 4.0])])
    assert weighted.toarray().tolist() == [[2, 2, 0]]
    assert history_matrix([np.array([0, 1, 2])], 3, 1.0, 2).toarray().tolist() == [[1, 0.5, 0]]


def test_validation_holds_what_came_next() -> None:
    rows = [
        ("u", "click", "a", 1.0),
        ("u", "click", "b", 2.0),
        ("u", "click", "a", 5.0),
        ("u", "save", "c", 5.5),
        ("u", "save", "b", 9.0),
        ("v", "click", "a", 5.0),
        ("w", "click", "a", 1.0),
    ]
    found = Validation.of(actions_frame(rows), IDS, 5 * DAY_MS, 8 * DAY_MS)
    # v has no past, w no future; a is nothing new to u, and day 9 is too late
    assert len(found) == 1
    assert found.histories[0].tolist() == [1, 0]
    assert found.targets[0].tolist() == [2]
