"""Rows of the item tables: each against what it wraps, over catalogues in another order, and with items it knows nothing of."""

import numpy as np
import pytest
import scipy.sparse as sp

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.experiments.item_scorers import (
    UNKNOWN,
    BoostedSum,
    ChanceItems,
    HistoryItems,
    NeighbourItems,
    PixieItems,
    VectorItems,
    pixie_rows,
    rows_in,
)
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.config import WalkConfig
from corkboard.graph.pixie import Pixie
from corkboard.retrieval.baselines import EASE, ItemKNN, Popularity
from corkboard.retrieval.config import EASEConfig, ItemKNNConfig
from corkboard.retrieval.neighbours import NeighbourTable

IDS = [f"i{n}" for n in range(12)]
MIXED = ["new", *reversed(IDS), "newer"]
"""The same items in another order, between two that no model knows."""


def matrix(seed=0, users=40):
    rng = np.random.default_rng(seed)
    return sp.csr_array((rng.random((users, len(IDS))) < 0.3).astype(np.float32))


def graph_of(pairs, ids=IDS, name="board"):
    left, right = (np.array(part, np.int32) for part in zip(*pairs, strict=True))
    boards = [f"b{n}" for n in range(int(right.max()) + 1)]
    return BipartiteGraph.of_pairs(name, left, right, ids, boards)


def two_circles():
    """Items 0 to 5 on boards 0 to 2, items 6 to 10 on boards 3 and 4; item 11 is on none."""
    return graph_of([(i, b) for i in range(6) for b in range(3)] + [(i, b) for i in range(6, 11) for b in (3, 4)])


def test_rows_of_one_catalogue_in_another():
    assert rows_in(["a", "b", "c"], ["c", "x", "a"]).tolist() == [2, -1, 0]
    assert rows_in([], ["a"]).tolist() == [-1]


# --------------------------------------------------------------------------------------------------------------- vectors


def test_vectors_by_hand():
    vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 0]], np.float32)
    scores = VectorItems(vectors).score_items(np.array([0, 3]))
    assert scores[0, :3] == pytest.approx([1, 0, 0.6])
    assert scores[1, :3] == pytest.approx([0, 0, 0])  # a query without a vector: everything ties
    assert (scores[:, 3] == UNKNOWN).all()
    mean = VectorItems(vectors).score_sets([np.array([0, 1]), np.array([], np.int64)])
    assert mean[0, :3] == pytest.approx([0.5, 0.5, 0.7])
    assert mean[1, :3] == pytest.approx([0, 0, 0])
    closest = VectorItems(vectors, closest=True).score_sets([np.array([0, 1]), np.array([], np.int64)])
    assert closest[0, :3] == pytest.approx([1, 1, 0.8])
    assert closest[1, :3] == pytest.approx([0, 0, 0])


def test_an_item_without_a_vector_comes_after_the_least_alike():
    table = EmbeddingTable(["a", "b"], np.array([[1, 0], [-1, 0]]), Space("content", "1"))
    scores = VectorItems.of(table, ["b", "unknown", "a"]).score_items(np.array([2]))
    assert np.argsort(-scores[0]).tolist() == [2, 0, 1]


# ----------------------------------------------------------------------------------------------------- what reads histories


def test_ease_for_an_item_is_its_row_of_weights():
    model = EASE.fit_matrix(matrix(), IDS, EASEConfig(regularisation=5.0))
    assert HistoryItems.of(model, IDS, IDS).score_items(np.array([3, 0])) == pytest.approx(model.weights[[3, 0]])


def test_a_model_with_a_catalogue_of_its_own_is_read_by_id():
    model = EASE.fit_matrix(matrix(), IDS, EASEConfig(regularisation=5.0))
    rows = HistoryItems.of(model, IDS, MIXED)
    scores = rows.score_items(np.arange(len(MIXED)))
    assert scores[1:-1, 1:-1] == pytest.approx(model.weights[::-1, ::-1])
    assert not scores[[0, -1]].any()
    assert not scores[:, [0, -1]].any()
    sets = [np.array([0, 1, 5]), np.array([13])]  # "new", "i11", "i7"; "newer"
    assert rows.score_sets(sets)[:, 1:-1] == pytest.approx(model.score_all([np.array([11, 7]), np.array([], np.int64)])[:, ::-1])


def test_popularity_is_the_same_for_every_query():
    scores = HistoryItems.of(Popularity(IDS, np.arange(12)), IDS, MIXED).score_items(np.array([0, 5]))
    assert scores.tolist() == [[0, *range(11, -1, -1), 0]] * 2


def test_a_model_without_any_item_scores_nothing():
    assert HistoryItems.of(Popularity([], np.zeros(0)), [], IDS).score_items(np.array([1])).tolist() == [[0] * 12]


def test_neighbours_are_all_that_the_table_has():
    model = ItemKNN.fit_matrix(matrix(), IDS, ItemKNNConfig(neighbours=11, scored_neighbours=3))
    scores = NeighbourItems.of(model.table, MIXED).score_items(np.arange(len(MIXED)))
    for row, item_id in enumerate(MIXED):
        wanted = dict.fromkeys(MIXED, 0.0)
        if item_id in IDS:
            own = IDS.index(item_id)
            wanted |= {IDS[near]: score for near, score in zip(model.table.rows[own], model.table.scores[own], strict=True) if near >= 0}
        assert scores[row] == pytest.approx([wanted[one] for one in MIXED])
    assert (scores > 0).sum(axis=1).max() > 3  # more than the model counts when it ranks by itself


def test_a_set_is_the_sum_of_its_items_and_an_empty_one_is_nothing():
    table = NeighbourTable(["a", "b", "c"], np.array([[1, 2], [2, -1], [0, -1]], np.int32), np.array([[3, 1], [2, 0], [5, 0]], np.float32))
    scores = NeighbourItems.of(table, ["a", "b", "c"]).score_sets([np.array([0, 1]), np.array([], np.int64)])
    assert scores.tolist() == [[0, 3, 3], [0, 0, 0]]


# ----------------------------------------------------------------------------------------------------------------- walks


def test_walks_of_single_items_are_pixies_neighbours():
    graph = two_circles()
    scores = PixieItems.of(graph, IDS, visits=500, seed=3).score_items(np.array([2, 11, 7]))
    found, times = Pixie(graph).neighbours(np.array([2, 7]), 12, 500, 3)
    for row, (near, visits) in zip((0, 2), zip(found, times, strict=True), strict=True):
        assert {n: s for n, s in enumerate(scores[row].tolist()) if s} == dict(
            zip(near[near >= 0].tolist(), visits[near >= 0].tolist(), strict=True)
        )
    assert not scores[1].any()  # on no board
    assert (scores[0, [0, 1, 3, 4, 5]] > 0).all()
    assert not scores[0, 6:].any()


def test_walks_of_sets_are_pixies_recommendations():
    graph, config = two_circles(), WalkConfig(visits=400)
    sets = [np.array([0, 7]), np.array([11]), np.array([], np.int64)]
    scores = PixieItems.of(graph, IDS, config, seed=3).score_sets(sets)
    found, visits = Pixie(graph, config).recommend(np.array([0, 7]), np.ones(2), 12, 3)
    assert {n: s for n, s in enumerate(scores[0].tolist()) if s} == dict(zip(found.tolist(), visits.tolist(), strict=True))
    assert not scores[1:].any()


def test_walks_over_another_catalogue():
    here, there = (PixieItems.of(two_circles(), ids, visits=300, seed=1) for ids in (IDS, MIXED))
    assert (there.score_items(np.arange(14))[1:-1, 1:-1] == here.score_items(np.arange(12))[::-1, ::-1]).all()
    assert not there.score_items(np.array([0, 13])).any()
    assert (there.score_sets([np.array([0, 1, 6])])[:, 1:-1] == here.score_sets([np.array([11, 6])])[:, ::-1]).all()


def test_walks_depend_on_the_seed_alone():
    graph = two_circles()
    first, again, other = (PixieItems.of(graph, IDS, visits=50, seed=seed, threads=n) for seed, n in ((1, 1), (1, 2), (2, 1)))
    rows = np.arange(12)
    assert (first.score_items(rows) == again.score_items(rows)).all()
    assert (first.score_items(rows) != other.score_items(rows)).any()
    # and not on what else is asked in the same chunk
    assert (first.score_items(rows[5:7]) == first.score_items(rows)[5:7]).all()


class Given:
    def __init__(self, scores):
        self.scores = np.array(scores, np.float32)

    def score_items(self, rows):
        return self.scores

    score_sets = score_items


def test_what_several_graphs_lead_to_comes_first():
    boosted = BoostedSum([Given([[4, 9, 0]]), Given([[4, 0, 1]])])
    assert boosted.score_items(np.array([0])).tolist() == [[16, 9, 1]]
    assert boosted.score_sets([np.array([0])]).tolist() == [[16, 9, 1]]


def test_a_row_for_each_graph_alone_and_one_for_all():
    graphs = {"board": two_circles(), "user_click": graph_of([(5, 0), (6, 0)])}
    rows = pixie_rows(graphs, IDS, alone=("board", "absent"), visits=200)
    assert list(rows) == ["Pixie, board", "Pixie, all graphs"]
    alone, together = (row.score_items(np.array([5]))[0] for row in rows.values())
    assert alone[6] == 0 < together[6]
    assert list(pixie_rows({"board": two_circles()}, IDS)) == ["Pixie, board"]
    assert pixie_rows({}, IDS) == {}


# ---------------------------------------------------------------------------------------------------------------- chance


def test_chance_is_another_draw_for_each_query_and_the_same_again():
    chance = ChanceItems(1000, seed=4)
    scores = chance.score_items(np.array([3, 8]))
    assert (scores[0] != scores[1]).all()
    assert (chance.score_items(np.array([8]))[0] == scores[1]).all()
    assert scores.mean() == pytest.approx(0.5, abs=0.05)
    assert chance.score_sets([]).shape == (0, 1000)
