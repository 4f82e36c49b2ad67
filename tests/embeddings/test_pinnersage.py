from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.embeddings.config import PinnerSageConfig
from corkboard.embeddings.content import co_engagement_pairs, train_content
from corkboard.embeddings.histories import Histories
from corkboard.embeddings.pinnersage import Interests, cohesion, in_turns, interests, recommend
from corkboard.errors import InputError
from corkboard.world.world import World

CONFIG = PinnerSageConfig()


def lumps(counts: list[int], dim: int = 8, spread: float = 0.05, seed: int = 0) -> np.ndarray:
    """Unit vectors around the axes, ``counts[i]`` around axis i."""
    around = np.repeat(np.eye(len(counts), dim), counts, axis=0)
    vectors = around + spread * np.random.default_rng(seed).standard_normal(around.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def groups(found: Interests) -> set[frozenset[int]]:
    return {frozenset(group.tolist()) for group in found.members}


# ----------------------------------------------------------------------------------------------------------------- Ward


def plain_ward(points: np.ndarray) -> list[tuple[frozenset[int], frozenset[int], float]]:
    """The merges as the paper has them: squared distances, the Lance-Williams update, a chain of nearest neighbours on a stack."""
    alive = {frozenset([i]) for i in range(len(points))}
    d = {frozenset([a, b]): float(((points[min(a)] - points[min(b)]) ** 2).sum()) for a in alive for b in alive if a != b}
    merges: list[tuple[frozenset[int], frozenset[int], float]] = []
    chain: list[frozenset[int]] = []
    while len(alive) > 1:
        if not chain:
            chain = [min(alive, key=sorted)]
        top = chain[-1]
        nearest = min((c for c in alive if c != top), key=lambda c: (d[frozenset([top, c])], c != (chain[-2] if len(chain) > 1 else None)))
        if len(chain) < 2 or nearest != chain[-2]:
            chain.append(nearest)
            continue
        a, b = chain.pop(), chain.pop()
        height, both = d[frozenset([a, b])], a | b
        alive -= {a, b}
        for c in alive:
            total = len(a) + len(b) + len(c)
            summed = (len(a) + len(c)) * d[frozenset([a, c])] + (len(b) + len(c)) * d[frozenset([b, c])] - len(c) * height
            d[frozenset([both, c])] = summed / total
        alive.add(both)
        merges.append((a, b, height))
    return merges


@pytest.mark.parametrize("seed", range(12))
def test_ward_is_the_papers_at_every_cut(seed: int) -> None:
    draw = np.random.default_rng(seed)
    m = int(draw.integers(2, 25))
    points = draw.standard_normal((m, 3)) + 2 * draw.standard_normal((3, 3))[draw.integers(0, 3, m)]
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    merges = plain_ward(points)
    heights = np.sort([height for *_, height in merges])
    cuts = [heights[0] / 2, *((heights[1:] + heights[:-1]) / 2), heights[-1] * 1.5]
    for alpha in cuts:
        expected = {frozenset([i]) for i in range(m)}
        for a, b, height in merges:
            if height <= alpha:
                expected = {c for c in expected if not c <= a | b} | {a | b}
        assert groups(interests(points, np.zeros(m), PinnerSageConfig(alpha=alpha))) == expected


def test_alpha_is_a_squared_distance_and_in_groups_weighs_their_sizes() -> None:
    two = np.array([[1, 0], [0.5, np.sqrt(0.75)]])  # cosine 0.5, squared distance 1
    assert len(interests(two, np.zeros(2), PinnerSageConfig(alpha=0.99))) == 2
    assert len(interests(two, np.zeros(2), PinnerSageConfig(alpha=1.01))) == 1
    five = np.repeat(two, [2, 3], axis=0)  # 2 * 2 * 3 / 5 x 1 = 2.4
    assert len(interests(five, np.zeros(5), PinnerSageConfig(alpha=2.39))) == 2
    assert len(interests(five, np.zeros(5), PinnerSageConfig(alpha=2.41))) == 1


def test_length_says_nothing() -> None:
    vectors = lumps([4, 3, 5])
    longer = vectors * np.random.default_rng(1).uniform(0.1, 9, (12, 1))
    ages = np.arange(12.0)
    one, other = interests(vectors, ages), interests(longer, ages)
    assert one.medoids.tolist() == other.medoids.tolist()
    assert groups(one) == groups(other) == {frozenset(range(4)), frozenset(range(4, 7)), frozenset(range(7, 12))}
    np.testing.assert_allclose(np.linalg.norm(other.vectors, axis=1), 1, rtol=1e-6)


# ------------------------------------------------------------------------------------------------- medoids and importance


def test_importance_by_hand_and_in_order() -> None:
    found = interests(np.eye(2)[[0, 1, 1, 0]], np.array([0.0, 10, 20, 200]), PinnerSageConfig(fade_per_day=0.01))
    assert [group.tolist() for group in found.members] == [[1, 2], [0, 3]]
    np.testing.assert_allclose(found.importance, [np.exp(-0.1) + np.exp(-0.2), 1 + np.exp(-2)], rtol=1e-6)
    assert interests(np.eye(2)[[0, 1, 1, 0]], np.array([0.0, 10, 20, 200]), PinnerSageConfig(fade_per_day=0.1)).medoids.tolist() == [0, 1]
    assert interests(np.eye(2)[[0, 1]], np.array([-5.0, 0]), CONFIG).importance.tolist() == [1, 1]  # a clock that runs ahead


@pytest.mark.parametrize("seed", range(5))
def test_the_medoid_is_the_item_with_the_least_squared_distances(seed: int) -> None:
    vectors = lumps([7, 9, 8], spread=0.3, seed=seed)
    found = interests(vectors, np.random.default_rng(seed).uniform(0, 50, 24))
    for medoid, group in zip(found.medoids, found.members, strict=True):
        sums = ((vectors[group, None] - vectors[None, group]) ** 2).sum(axis=2).sum(axis=1)
        assert sums[group.tolist().index(medoid)] == pytest.approx(sums.min(), rel=1e-5)
    assert sorted(np.concatenate(list(found.members)).tolist()) == list(range(24))


def test_of_two_the_newer_one_stands_for_both() -> None:
    vectors = lumps([2], spread=0.2)
    assert interests(vectors, np.array([5.0, 1.0])).medoids.tolist() == [1]
    assert interests(vectors, np.array([1.0, 5.0])).medoids.tolist() == [0]


def test_nearest_members_stand_in_for_medoids_that_may_not() -> None:
    angles = np.radians([0, 10, 25, 120, 180])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    config = PinnerSageConfig(alpha=0.5)
    assert interests(vectors, np.zeros(5), config).medoids.tolist() == [1, 3, 4]
    found = interests(vectors, np.zeros(5), config, np.array([True, False, True, False, True]))
    assert found.medoids.tolist() == [0, 4]  # 10 degrees from the medoid, not 15; the group of 120 degrees has nobody
    np.testing.assert_allclose(found.vectors, vectors[[0, 4]], atol=1e-6)
    assert found.members[0].tolist() == [0, 1, 2]  # who may not stand for a group is in it all the same
    assert len(interests(vectors, np.zeros(5), config, np.zeros(5, bool))) == 0


# ---------------------------------------------------------------------------------------------------- what there may be


def test_unknown_items_are_left_out_and_old_ones_beyond_the_cap() -> None:
    vectors = np.eye(4)[[0, 1, 2, 3]]
    vectors[1] = 0
    found = interests(vectors, np.array([9.0, 0, 1, 5]), PinnerSageConfig(max_items=2))
    assert found.medoids.tolist() == [2, 3]
    for vectors in (np.zeros((3, 4)), np.empty((0, 4))):
        nobody = interests(vectors, np.zeros(len(vectors)))
        assert (len(nobody), nobody.vectors.shape, nobody.importance.dtype) == (0, (0, 4), np.float32)
        assert len(nobody.sampled(3, 1)) == 0


@pytest.mark.parametrize("grouping", ["ward", "complete", "kmeans", "one"])
def test_one_item_and_the_same_item_many_times(grouping: str) -> None:
    config = PinnerSageConfig(grouping=grouping)
    for n in (1, 2, 9):
        found = interests(np.ones((n, 3)), np.arange(n), config)
        assert (found.medoids.tolist(), len(found.members[0])) == ([0], n)


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(InputError, match="needs an age"):
        interests(np.eye(3), np.zeros(2))
    with pytest.raises(InputError, match="finite"):
        interests(np.array([[np.nan, 1]]), np.zeros(1))
    with pytest.raises(InputError, match="finite"):
        interests(np.eye(2), np.array([0, np.inf]))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(0, 10_000),
    st.sampled_from(["ward", "complete", "kmeans", "one"]),
    st.sampled_from(["medoid", "centroid", "decayed_mean", "newest"]),
)
def test_properties(m: int, seed: int, grouping: str, representative: str) -> None:
    draw = np.random.default_rng(seed)
    vectors, ages = draw.standard_normal((m, 4)), draw.uniform(0, 100, m)
    vectors[draw.random(m) < 0.2] = 0
    config = PinnerSageConfig(grouping=grouping, representative=representative, alpha=1.5, max_items=25)
    found = interests(vectors, ages, config)
    known = [place for place in np.argsort(ages) if vectors[place].any()][:25]
    assert sorted(np.concatenate([np.empty(0, int), *found.members]).tolist()) == sorted(known)
    assert (np.diff(found.importance) <= 0).all()
    assert all(medoid in group for medoid, group in zip(found.medoids, found.members, strict=True))
    assert all((np.diff(ages[group]) >= 0).all() for group in found.members)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, rtol=1e-5)
    assert found.importance.sum() == pytest.approx(np.exp(-0.01 * ages[known]).sum(), rel=1e-5)


# -------------------------------------------------------------------------------------------- what it is compared with


def test_single_vectors_by_hand() -> None:
    vectors, ages = np.eye(3)[[0, 1, 1]], np.array([100.0, 50, 70])
    last = interests(vectors, ages, PinnerSageConfig(grouping="one", representative="newest"))
    assert (last.medoids.tolist(), last.vectors.tolist()) == ([1], [[0, 1, 0]])
    decayed = interests(vectors, ages, PinnerSageConfig(grouping="one", representative="decayed_mean", fade_per_day=0.01))
    expected = np.array([np.exp(-1), np.exp(-0.5) + np.exp(-0.7), 0])
    np.testing.assert_allclose(decayed.vectors[0], expected / np.linalg.norm(expected), rtol=1e-6)
    mean = interests(vectors, ages, PinnerSageConfig(grouping="one", representative="centroid"))
    np.testing.assert_allclose(mean.vectors[0], np.array([1, 2, 0]) / np.sqrt(5), rtol=1e-6)
    opposite = interests(np.array([[1.0, 0], [-1, 0]]), np.zeros(2), PinnerSageConfig(grouping="one", representative="centroid"))
    assert opposite.vectors.tolist() == [[1, 0]]  # no mean to go by: the medoid


def test_means_and_complete_linkage_find_lumps() -> None:
    vectors = lumps([6, 7, 8])
    expected = {frozenset(range(6)), frozenset(range(6, 13)), frozenset(range(13, 21))}
    assert groups(interests(vectors, np.zeros(21), PinnerSageConfig(grouping="complete"))) == expected
    assert groups(interests(vectors, np.zeros(21), PinnerSageConfig(grouping="kmeans", means=3))) == expected
    assert len(interests(vectors[:3], np.zeros(3), PinnerSageConfig(grouping="kmeans", means=5))) == 3


def test_complete_linkage_keeps_its_word() -> None:
    draw = np.random.default_rng(2)
    vectors = draw.standard_normal((30, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = interests(vectors, np.zeros(30), PinnerSageConfig(grouping="complete", complete_alpha=0.8))
    for group in found.members:
        assert ((vectors[group, None] - vectors[None, group]) ** 2).sum(axis=2).max() <= 0.8 + 1e-9
    assert 1 < len(found) < 30


# ------------------------------------------------------------------------------------------------------------ retrieval


def test_groups_are_drawn_in_proportion_to_importance() -> None:
    found = interests(np.eye(3)[[0, 0, 0, 1, 1, 2]], np.zeros(6))
    first = [found.sampled(1, seed).medoids[0] for seed in range(3000)]
    shares = np.bincount(np.searchsorted([0, 3, 5], first), minlength=3) / 3000
    np.testing.assert_allclose(shares, [3 / 6, 2 / 6, 1 / 6], atol=0.03)
    assert sorted(found.sampled(9, 4).medoids.tolist()) == [0, 3, 5]
    assert found.sampled(2, 7).medoids.tolist() == found.sampled(2, 7).medoids.tolist()
    gone = Interests(found.medoids, np.array([0, 1, 0], np.float32), found.members, found.vectors)
    assert gone.sampled(1, 5).medoids.tolist() == [3]


def test_in_turns_by_hand() -> None:
    rows, lists, places = in_turns(np.array([[5, 7, 8, 9], [7, 5, 6, -1]]), 4)
    assert (rows.tolist(), lists.tolist(), places.tolist()) == ([5, 7, 8, 6], [0, 1, 0, 1], [0, 0, 2, 2])
    assert in_turns(np.full((2, 3), -1), 4)[0].tolist() == []
    assert in_turns(np.empty((0, 3), np.int64), 4)[0].tolist() == []


def test_lists_take_turns_between_the_most_important_groups() -> None:
    items = lumps([20, 20, 20, 20])
    rows = np.array([0, 1, 2, 20, 21, 40])
    allowed = ~np.isin(np.arange(80), rows)
    found = recommend(items, rows, np.zeros(6), 10, PinnerSageConfig(searched=2), allowed)
    assert (found // 20).tolist() == [0, 1] * 5
    medoid = interests(items[rows], np.zeros(6)).medoids[0]
    nearest = [row for row in np.argsort(-(items @ items[rows[medoid]])) if allowed[row]][:5]
    assert found[::2].tolist() == nearest
    for k in (0, 1, 4):
        assert recommend(items, rows, np.zeros(6), k, PinnerSageConfig(searched=2), allowed).tolist() == found[:k].tolist()
    assert set(recommend(items, rows, np.zeros(6), 9, PinnerSageConfig(searched=9), allowed) // 20) == {0, 1, 2}


def test_lists_are_full_distinct_and_know_what_may_be_listed() -> None:
    items = lumps([10, 10])
    items[[3, 15]] = 0
    found = recommend(items, np.array([0, 10]), np.zeros(2), 100, CONFIG)
    assert sorted(found.tolist()) == [row for row in range(20) if row not in (3, 15)]
    assert recommend(items, np.array([3]), np.zeros(1), 5).tolist() == []
    assert recommend(items, np.array([], np.int64), np.zeros(0), 5).tolist() == []
    assert recommend(items, np.array([0]), np.zeros(1), 5, allowed=np.zeros(20, bool)).tolist() == []


def test_cohesion_by_hand() -> None:
    vectors = np.array([[1.0, 0], [0.6, 0.8], [0, 1]])
    one = interests(vectors, np.zeros(3), PinnerSageConfig(grouping="one"))
    assert cohesion(one, vectors) == pytest.approx((0.6 + 0 + 0.8) / 3)
    assert np.isnan(cohesion(interests(vectors, np.zeros(3), PinnerSageConfig(alpha=0.01)), vectors))


@pytest.mark.quality
def test_the_median_user_of_a_world_has_a_few_alike_groups() -> None:
    """The figures that alpha is chosen by; for other vectors, such as a graph's, ask the same two of them."""
    tables = World().tables()
    items = tables["items"].sort("time_ms").unique("item_id", keep="last").sort("item_id").with_columns(created_ms="time_ms")
    end_ms = int(tables["actions"]["time_ms"].to_numpy().max())
    vectors = train_content(items, co_engagement_pairs(tables["actions"]), now_ms=end_ms).encode(items, end_ms)
    histories = Histories.of(tables["actions"], items["item_id"].to_list())
    now_ms, sizes, alike = int(histories.time_ms.max()), [], []
    for user in range(len(histories)):
        slots = slice(histories.offsets[user], histories.offsets[user + 1])
        rows, newest = np.unique(histories.items[slots][::-1], return_index=True)
        ages_days = (now_ms - histories.time_ms[slots][::-1][newest]) / 86_400_000
        found = interests(vectors[rows], ages_days)
        sizes.append(len(found))
        alike.append(cohesion(found, vectors[rows]))
    print(f"groups: median {np.median(sizes)}, 90 % below {np.quantile(sizes, 0.9)}; cosine in groups: {np.nanmedian(alike):.2f}")
    assert 3 <= np.median(sizes) <= 8
    assert np.nanmedian(alike) > 0.5
