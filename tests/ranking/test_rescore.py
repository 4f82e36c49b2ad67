"""The comparison behind re-scoring, on numbers that can be checked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corkboard.ranking.features import FEATURE_NAMES
from corkboard.ranking.rescore import COLUMNS, TOLERANCE, Comparison, PageFacts, difference
from ranking.builders import HOUR_MS, NOW_MS

NAMES = [name for _, name in COLUMNS]
AGE = FEATURE_NAMES.index("age")


def row(features: list[list[float]], heads: list[list[float]] | None = None, **more: Any) -> dict[str, Any]:
    """A served row of ``age`` and ``activity``, logged in that order."""
    slots = [{"features": values, "heads": heads[n] if heads else None} for n, values in enumerate(features)]
    given = {"time_ms": NOW_MS, "feature_names": ["age", "activity"], "slots": slots, "sequence": None}
    return {**given, "user_vector_space": None, "user_vector_ms": None, **more}


def facts(*arguments: Any, **more: Any) -> PageFacts:
    return PageFacts.logged(row(*arguments, **more), ("click", "save"))


def test_logged_features_are_found_by_name_and_heads_by_action():
    page = facts([[1.0, 2.0], [3.0, 4.0]], [[0.1, 0.2], [0.3, 0.4]])
    assert page.features[:, AGE].tolist() == [1.0, 3.0]
    assert page.features[:, FEATURE_NAMES.index("activity")].tolist() == [2.0, 4.0]
    assert np.isnan(page.features).sum() == 2 * (len(FEATURE_NAMES) - 2)
    assert page.heads[1, 1:4] == pytest.approx([0.3, np.nan, 0.4], nan_ok=True)  # click, long_click, save
    assert np.isnan(facts([[1.0, 2.0]]).heads).all()
    assert np.isnan(facts([[1.0]]).features).all()  # not as many numbers as names


def test_differences_by_column():
    logged, again = facts([[1.0, 2.0], [3.0, 4.0]], [[0.1, 0.2], [0.3, 0.4]]), facts([[1.5, 2.0], [2.0, 4.0]], [[0.1, 0.2], [0.3, 0.5]])
    found = difference(logged, again)
    assert found.largest[AGE] == 1.0
    assert found.total[AGE] == 1.5
    assert found.cells[AGE] == 2
    assert [NAMES[n] for n in np.flatnonzero(found.beyond)] == ["age", "save"]
    assert found.largest[NAMES.index("save")] == pytest.approx(0.1)
    assert found.worst == ("age", 1.0)
    assert [NAMES[n] for n in np.flatnonzero(found.cells)] == ["age", "activity", "click", "save", "sequence", "user vector"]
    assert not difference(logged, logged)


def test_rounding_is_no_difference_and_grows_with_the_number():
    assert not difference(facts([[1000.0, 0.0]]), facts([[1000.0 + 900 * TOLERANCE, 0.0]]))
    assert difference(facts([[1000.0, 0.0]]), facts([[1000.0 + 1100 * TOLERANCE, 0.0]]))
    assert difference(facts([[0.0, 0.0]]), facts([[2 * TOLERANCE, 0.0]]))


def test_a_number_that_only_the_log_has_differs_by_infinity():
    found = difference(facts([[1.0, 2.0]]), facts([[np.nan, 2.0]]))
    assert found.worst == ("age", np.inf)
    assert not difference(facts([[np.nan, 2.0]]), facts([[1.0, 2.0]]))  # what the log does not have is not compared


def test_sequences_and_user_vectors():
    def entries(*items: str) -> dict[str, Any]:
        done = [{"item_id": item, "action": "save", "time_ms": NOW_MS - (n + 1) * HOUR_MS} for n, item in enumerate(items)]
        return {"sequence": [{"item_id": "later", "action": "save", "time_ms": NOW_MS}, *done]}  # training does not read what is later

    def gap(name: str, logged: dict[str, Any], again: dict[str, Any]) -> float:
        return difference(facts([[1.0, 2.0]], **logged), facts([[1.0, 2.0]], **again)).largest[NAMES.index(name)]

    assert facts([[1.0, 2.0]], **entries("a", "b")).sequence == (("a", "save", NOW_MS - HOUR_MS), ("b", "save", NOW_MS - 2 * HOUR_MS))
    assert gap("sequence", entries("a", "b"), entries("a", "b")) == 0
    assert gap("sequence", entries("a", "b"), entries("a")) == 1
    assert gap("sequence", entries("a", "b"), entries("a", "c")) == 2
    turned = entries("a", "b")
    turned["sequence"].reverse()
    assert gap("sequence", entries("a", "b"), turned) == 2
    old = {"user_vector_space": "p@1", "user_vector_ms": NOW_MS - 30 * HOUR_MS}
    assert gap("user vector", old, old) == 0
    assert gap("user vector", old, old | {"user_vector_ms": NOW_MS - 6 * HOUR_MS}) == 24
    assert gap("user vector", old, old | {"user_vector_ms": None}) == np.inf
    assert gap("user vector", old, old | {"user_vector_space": "p@2"}) == np.inf


def test_many_pages_together():
    comparison = Comparison()
    same, other = facts([[1.0, 2.0], [1.0, 2.0]]), facts([[1.0, 2.0], [2.0, 2.0]])
    for again, explained in ((same, False), (other, True), (other, False), (same, False)):
        comparison.add(difference(same, again), explained)
    rows = {part["name"]: part for part in comparison.rows()}
    assert list(rows) == ["age", "activity", "sequence", "user vector"]
    assert rows["age"] == {"kind": "feature", "name": "age", "max": 1.0, "mean": 2 / 8, "pages": 0.5, "unexplained": 0.25}
    assert rows["activity"]["pages"] == 0
