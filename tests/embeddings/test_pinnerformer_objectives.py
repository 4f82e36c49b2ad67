"""Pairs by hand. One user acts at hours 0, 1, 1, 3, 30; the label is every action but the one at hour 0."""

from __future__ import annotations

import numpy as np
import pytest

from corkboard.embeddings.config import ObjectiveConfig
from corkboard.embeddings.pinnerformer_objectives import LabelRanges, Pairs, draw_pairs
from corkboard.seeds import generator

HOUR_MS = 3_600_000
OFFSETS = np.array([0, 5])
TIMES = np.array([0, 1, 1, 3, 30]) * HOUR_MS
LABELS = np.array([False, True, True, True, True])


def ranges(hours: float | None = None) -> LabelRanges:
    return LabelRanges.of(OFFSETS, TIMES, LABELS, None if hours is None else hours * HOUR_MS)


def drawn(name: str, found: LabelRanges, seed: int = 0, start: int = 0, stop: int = 5, **changes: object) -> Pairs:
    config = ObjectiveConfig.model_validate({"name": name, "equal_users": True, **changes})
    return draw_pairs(found, np.array([start]), np.array([stop]), generator(seed, "tests"), config)


def seen(name: str, found: LabelRanges, **changes: object) -> set[tuple[int, int]]:
    """Every pair that two hundred draws bring."""
    pairs = [drawn(name, found, seed, **changes) for seed in range(200)]
    return {pair for each in pairs for pair in zip(each.positions.tolist(), each.labels.tolist(), strict=True)}


def test_ranges_begin_strictly_after_the_position_and_end_with_the_window() -> None:
    # slots 1 and 2 are of one moment: neither is a label of the other
    assert [ranges().slots[a:b].tolist() for a, b in zip(ranges().first, ranges().stop, strict=True)] == [
        [1, 2, 3, 4],
        [3, 4],
        [3, 4],
        [4],
        [],
    ]
    assert ranges().able.tolist() == [0, 1, 2, 3]
    # within two hours, the end included: nothing follows the action at hour 3 in time
    near = ranges(2)
    assert [near.slots[a:b].tolist() for a, b in zip(near.first, near.stop, strict=True)] == [[1, 2], [3], [3], [], []]
    assert near.able.tolist() == [0, 1, 2]


def test_ranges_do_not_reach_into_another_user() -> None:
    found = LabelRanges.of(np.array([0, 2, 4]), np.array([0, 5, 3, 9]) * HOUR_MS, np.ones(4, bool), None)
    assert [found.slots[a:b].tolist() for a, b in zip(found.first, found.stop, strict=True)] == [[1], [], [3], []]


def test_next_action_has_one_position_and_the_single_next_label() -> None:
    assert seen("next_action", ranges()) == {(0, 1), (1, 3), (2, 3), (3, 4)}
    pairs = drawn("next_action", ranges())
    assert (len(pairs.positions), pairs.weights.tolist()) == (1, [1.0])


def test_sasrec_has_every_position_and_the_newest_twice_as_often() -> None:
    pairs = drawn("sasrec", ranges())
    assert pairs.positions.tolist() == [0, 1, 2, 3]
    assert pairs.labels.tolist() == [1, 3, 3, 4]
    assert pairs.weights.tolist() == pytest.approx([0.125, 0.125, 0.125, 0.625])  # half of the weight on all, half on the newest
    assert drawn("sasrec", ranges(), last_weight=0.0).weights.tolist() == pytest.approx([0.25] * 4)
    assert drawn("sasrec", ranges(), equal_users=False, last_weight=0.0).weights.tolist() == pytest.approx([1.0] * 4)


def test_all_action_has_one_position_and_several_labels() -> None:
    assert seen("all_action", ranges(2)) == {(0, 1), (0, 2), (1, 3), (2, 3)}
    for seed in range(20):
        pairs = drawn("all_action", ranges(), seed, labels=2)
        position = int(pairs.positions[0])
        assert set(pairs.positions.tolist()) == {position}
        assert len(set(pairs.labels.tolist())) == len(pairs.labels) == min(2, [4, 2, 2, 1][position])
        assert pairs.weights.sum() == pytest.approx(1.0)


def test_dense_all_action_has_several_positions_with_one_label_each() -> None:
    assert seen("dense_all_action", ranges(2), positions=2) == {(0, 1), (0, 2), (1, 3), (2, 3)}
    assert seen("dense_all_action", ranges(), positions=2) == {
        *((0, label) for label in (1, 2, 3, 4)),
        *((position, label) for position in (1, 2) for label in (3, 4)),
        (3, 4),
    }
    pairs = drawn("dense_all_action", ranges(), positions=3)
    assert len(set(pairs.positions.tolist())) == 3
    assert pairs.weights.tolist() == pytest.approx([1 / 3] * 3)


def test_old_positions_may_only_be_read() -> None:
    found = LabelRanges.of(OFFSETS, TIMES, LABELS, None, since_ms=HOUR_MS)
    assert found.able.tolist() == [1, 2, 3]
    assert drawn("sasrec", found).positions.tolist() == [1, 2, 3]


def test_labels_are_drawn_evenly() -> None:
    counts = np.bincount([drawn("dense_all_action", ranges(), seed, stop=1).labels[0] for seed in range(800)], minlength=5)
    assert counts[1:].tolist() == pytest.approx([200] * 4, abs=50)


@pytest.mark.parametrize("name", ["next_action", "sasrec", "all_action", "dense_all_action"])
def test_windows_of_several_users(name: str) -> None:
    # the second user's window holds nothing to learn from, the third's two positions
    found = LabelRanges.of(np.array([0, 5, 6, 9]), np.array([0, 1, 1, 3, 30, 2, 5, 6, 7]) * HOUR_MS, np.ones(9, bool), None)
    starts, stops = np.array([1, 5, 6]), np.array([3, 6, 9])
    pairs = draw_pairs(found, starts, stops, generator(3, "tests"), ObjectiveConfig(name=name, equal_users=True))
    assert set(pairs.owners.tolist()) == {0, 2}
    assert (np.diff(pairs.owners) >= 0).all()
    assert (pairs.positions >= starts[pairs.owners]).all()
    assert (pairs.positions < stops[pairs.owners]).all()
    assert np.bincount(pairs.owners, pairs.weights).tolist() == pytest.approx([1.0, 0.0, 1.0])


def test_nothing_to_learn_from() -> None:
    found = LabelRanges.of(np.array([0, 1]), np.array([5]), np.array([True]), None)
    for name in ("next_action", "sasrec", "all_action", "dense_all_action"):
        assert len(draw_pairs(found, np.array([0]), np.array([1]), generator(0), ObjectiveConfig(name=name)).positions) == 0
    assert len(LabelRanges.of(np.array([0, 0]), np.empty(0, np.int64), np.empty(0, bool), 5.0).able) == 0
