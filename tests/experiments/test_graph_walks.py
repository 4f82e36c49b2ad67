"""What the experiment asks of walks, held against Pixie itself and against counts by hand."""

import numpy as np
import pytest

from corkboard.experiments.graph_walks import EqualVisits, PlainSum, equalising, overlap, visits_from, visits_until_stop
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.config import WalkConfig
from corkboard.graph.pixie import Pixie, shares_of_visits
from corkboard.graph.walks import ROUND


@pytest.fixture(scope="module")
def graph():
    rng = np.random.default_rng(1)
    pairs = np.unique(np.stack([rng.zipf(1.5, 900) % 60, rng.integers(0, 25, 900)], axis=1), axis=0).astype(np.int32)
    return BipartiteGraph.of_pairs("board", pairs[:, 0], pairs[:, 1], [f"i{n}" for n in range(61)], [f"b{n}" for n in range(25)])


def test_the_sum_and_the_boost_read_the_same_walks(graph):
    """What single pins bring, added by the root, is what Pixie recommends for all of them."""
    pixie = Pixie(graph, WalkConfig(visits=3000))
    rows = np.array([3, 7, 20, 60])  # the last one lies on no board
    degrees = graph.left.degrees
    visits = shares_of_visits(degrees[rows], np.ones(4), 3000)
    roots, total = np.zeros(61), np.zeros(61)
    for row, share in zip(rows.tolist(), visits.tolist(), strict=True):
        if share:
            found, times = visits_from(pixie, row, share, 5)
            roots[found] += np.sqrt(times)
            total[found] += times
    found, scores = pixie.recommend(rows, np.ones(4), 61, 5)
    np.testing.assert_allclose(roots[found] ** 2, scores, rtol=1e-5)
    np.testing.assert_allclose(PlainSum(pixie, degrees, 5).score_sets([rows])[0], total, rtol=1e-6)
    assert pixie.config.visits == 3000


def test_equal_visits_are_equal(graph):
    degrees = np.array([1, 3, 40, 0])
    weights = equalising(degrees)
    assert weights[3] == 0
    assert shares_of_visits(degrees, weights, 3000).tolist() == [1000, 1000, 1000, 0]
    assert not np.allclose(shares_of_visits(degrees, np.ones(4), 3000)[:3], 1000)
    pixie = Pixie(graph, WalkConfig(visits=3000))
    rows = np.array([3, 7, 20])
    scores = EqualVisits(pixie, graph.left.degrees, 5).score_sets([rows])
    plain = np.zeros(61)
    found, times = pixie.recommend(rows, np.ones(3), 61, 5)
    plain[found] = times
    assert scores.shape == (1, 61)
    assert not np.allclose(scores[0], plain)


@pytest.mark.parametrize("enough", [(5, 50), (20, 300), (60, 100_000)])
def test_the_visits_of_a_walk_that_stopped_are_counted_from_outside(graph, enough):
    plain = WalkConfig(visits=5 * ROUND + 100, board_share=1.0)
    stopping = Pixie(graph, plain.model_copy(update={"enough_items": enough[0], "enough_visits": enough[1]}))
    whole = Pixie(graph, plain)
    short = visits_from(stopping, 3, plain.visits, 5)[1].sum()
    made = visits_until_stop(whole, 3, float(short), plain.visits, 5)
    counts = visits_from(whole, 3, made, 5)[1]
    assert counts.sum() == short
    if made < plain.visits:
        assert made % ROUND == 0
        assert (counts >= enough[1]).sum() >= enough[0] - 1  # the item itself counts as well
    if enough[1] == 100_000:
        assert made == plain.visits


def test_overlap_by_hand():
    assert overlap(np.array([1, 2, 3, 4]), np.array([2, 9, 1, 4]), 2) == 0.5
    assert overlap(np.array([1, 2, 3, 4]), np.array([2, 9, 1, 4]), 4) == 0.75
    assert overlap(np.array([], int), np.array([1]), 4) == 1.0
