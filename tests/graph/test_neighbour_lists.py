import math

import numpy as np
import pytest

from corkboard.artifacts import write_artifact
from corkboard.errors import InputError
from corkboard.graph.config import NeighbourConfig
from corkboard.graph.neighbour_lists import NeighbourLists
from tests.graph.builders import adjacency, expected_visits, graph_of, random_graph

ITEMS = ["a", "b", "c", "d"]
CONFIG = NeighbourConfig(count=3, visits=2_000, min_visits=2)


def lists(seed: int = 1, threads: int = 1) -> NeighbourLists:
    graphs = {"board": graph_of("abc", "cd", items=4), "tag": graph_of("ad", items=4)}
    return NeighbourLists.of(graphs, ITEMS, CONFIG, seed=seed, threads=threads)


def test_neighbours_are_the_most_visited():
    found = lists()
    assert found.graphs == ("board", "tag")
    assert found.rows.shape == found.visits.shape == (2, 4, 3)
    assert found.degrees.tolist() == [[1, 1, 2, 1], [1, 0, 0, 1]]
    expected = expected_visits(adjacency(graph_of("abc", "cd", items=4)), 0, 0.5)
    assert found.rows[0, 0].tolist() == [2, 1, 3] == [row for row in np.argsort(-expected).tolist() if row != 0]
    assert found.rows[1].tolist() == [[3, -1, -1], [-1] * 3, [-1] * 3, [0, -1, -1]]
    assert np.all(np.diff(found.visits, axis=2) <= 0)
    assert np.array_equal(found.rows >= 0, found.visits > 0)


def test_what_was_hardly_visited_is_no_neighbour():
    graphs = {"board": random_graph(50, 10, 300)}
    few = NeighbourLists.of(graphs, range(50), NeighbourConfig(count=20, visits=300, min_visits=12), seed=1)
    assert few.visits[few.rows >= 0].min() >= 12
    assert (few.rows < 0).any()


def test_threads_and_seeds():
    one, two = lists(), lists(threads=2)
    assert np.array_equal(one.rows, two.rows)
    assert np.array_equal(one.visits, two.visits)
    assert not np.array_equal(one.visits, lists(seed=2).visits)


def test_some_graphs_only():
    some = lists().only(["tag", "query"])
    assert some.graphs == ("tag", "query")
    assert np.array_equal(some.rows[0], lists().rows[1])
    assert (some.rows[1] == -1).all()
    assert some.visits[1].sum() == some.degrees[1].sum() == 0
    assert lists().only([]).rows.shape == (0, 4, 3)


def test_other_items_in_another_order():
    """b left, e is new: lists follow their ids, and who left is nobody's neighbour."""
    found = lists().in_order_of(["d", "e", "a", "c"])
    names = [{found.item_ids[row] for row in found.rows[0, place] if row >= 0} for place in range(4)]
    assert names == [{"c", "a"}, set(), {"c", "d"}, {"a", "d"}]
    assert np.array_equal(found.rows >= 0, found.visits > 0)
    assert found.degrees[0].tolist() == [1, 0, 1, 2]
    assert lists().in_order_of([]).rows.shape == (2, 0, 3)
    same = lists()
    assert same.in_order_of(ITEMS) is same


def test_lists_of_nobody():
    nobody = NeighbourLists.of({"board": graph_of()}, [], CONFIG)
    assert nobody.in_order_of(["a"]).rows.tolist() == [[[-1, -1, -1]]]
    assert math.isnan(nobody.overlap(nobody))


def test_lists_come_back_from_their_artefact(tmp_path):
    found = lists()
    again = NeighbourLists.from_artifact(write_artifact(tmp_path, "n", "1", tensors=found.tensors(), tables=found.tables()))
    assert (again.graphs, list(again.item_ids)) == (found.graphs, ITEMS)
    for mine, theirs in zip(again.tensors().values(), found.tensors().values(), strict=True):
        assert np.array_equal(mine, theirs)
        assert mine.dtype == np.int32


def test_parts_that_do_not_fit_are_refused():
    found = lists()
    with pytest.raises(InputError, match="row an item"):
        NeighbourLists(("board",), ITEMS, found.rows, found.visits, found.degrees)


def by_hand(*rows: list[int]) -> NeighbourLists:
    array = np.array([rows], np.int32)
    return NeighbourLists(("g",), range(len(rows)), array, (array >= 0).astype(np.int32), np.ones(array.shape[:2], np.int32))


def test_overlap_is_the_mean_jaccard_index():
    mine, other = by_hand([1, 2, 3], [0, -1, -1], [-1, -1, -1], [0, 1, -1]), by_hand([3, 2, 4], [2, -1, -1], [-1, -1, -1], [1, 0, -1])
    assert mine.overlap(mine) == 1
    assert mine.overlap(other) == other.overlap(mine) == pytest.approx((2 / 4 + 0 + 1) / 3)
    with pytest.raises(InputError, match="same items"):
        mine.overlap(lists())


def test_longer_walks_agree_more():
    graphs = {"board": random_graph(200, 50, 2_000)}

    def agreement(visits: int) -> float:
        one, two = (NeighbourLists.of(graphs, range(200), NeighbourConfig(count=8, visits=visits), seed=seed) for seed in (1, 2))
        return one.overlap(two)

    assert agreement(100) < agreement(1_000) < agreement(20_000)
