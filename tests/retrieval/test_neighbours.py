from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corkboard.artifacts import write_artifact
from corkboard.errors import ArtifactError
from corkboard.retrieval.neighbours import NeighbourTable

TABLE = NeighbourTable(
    ["a", "b", "c", "d"],
    np.array([[1, 2], [0, -1], [0, 1], [-1, -1]], np.int32),
    np.array([[0.5, 0.2], [0.4, 0], [0.3, 0.1], [0, 0]], np.float32),
)


def test_expansion_by_hand() -> None:
    rows, scores, origin = TABLE.expand(np.array([0, 2, 3, -1, 99]), np.array([1.0, 3.0, 1.0, 1.0, 1.0], np.float32))
    # from a (weight 1): b .5, c .2; from c (weight 3): a .9, b .3
    assert rows.tolist() == [0, 1, 2]
    assert scores == pytest.approx([0.9, 0.8, 0.2])
    assert origin.tolist() == [1, 1, 0]  # b is known to both; c is the heavier one


def test_nothing_from_nothing() -> None:
    for seeds in (np.array([], np.int64), np.array([3]), np.array([-1])):
        rows, scores, origin = TABLE.expand(seeds, np.ones(len(seeds), np.float32))
        assert len(rows) == len(scores) == len(origin) == 0


@given(st.lists(st.tuples(st.integers(-1, 5), st.floats(0.1, 4)), max_size=6))
def test_scores_equal_a_plain_sum(seeds: list[tuple[int, float]]) -> None:
    found = TABLE.expand(np.array([seed for seed, _ in seeds], np.int64), np.array([weight for _, weight in seeds], np.float32))
    expected: dict[int, float] = {}
    for seed, weight in seeds:
        for row, score in zip(TABLE.rows[seed], TABLE.scores[seed], strict=True) if 0 <= seed < 4 else ():
            if row >= 0:
                expected[int(row)] = expected.get(int(row), 0.0) + float(score) * weight
    assert found[0].tolist() == sorted(expected)
    assert found[1] == pytest.approx([expected[row] for row in sorted(expected)], rel=1e-5)


def test_survives_writing_down(tmp_path: Path) -> None:
    again = NeighbourTable.from_artifact(write_artifact(tmp_path, "knn", "1", tensors=TABLE.tensors(), tables=TABLE.tables()))
    assert again.ids == TABLE.ids
    assert np.array_equal(again.rows, TABLE.rows)


def test_refuses_columns_of_different_length() -> None:
    with pytest.raises(ArtifactError):
        NeighbourTable(["a"], TABLE.rows, TABLE.scores)
