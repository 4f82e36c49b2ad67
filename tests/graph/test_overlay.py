import threading

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.graph.config import WalkConfig
from corkboard.graph.packed import Overlay, PackedGraph
from corkboard.graph.pixie import Pixie
from tests.graph.builders import graph_of, random_graph
from tests.graph.test_pixie import ONE, visits_of, whole


def test_a_pin_saved_a_second_ago_is_walked_to_and_from():
    pixie = Pixie(graph_of("ab", "cd"), whole(1_000))
    pixie.overlay.add(4, 0)
    assert set(pixie.recommend(np.array([0]), ONE, 9, 1)[0].tolist()) == {1, 4}
    assert set(pixie.recommend(np.array([4]), ONE, 9, 1)[0].tolist()) == {0, 1}


def test_a_new_board_joins_old_items_and_new_ones():
    pixie = Pixie(graph_of("ab", "cd"), whole(1_000))
    for row in (0, 2, 9):
        pixie.overlay.add(row, 7)
    assert set(pixie.recommend(np.array([9]), ONE, 9, 1)[0].tolist()) == {0, 1, 2, 3}
    assert 7 in pixie.recommend(np.array([0]), ONE, 9, 1, boards=True)[0]


def test_an_isolated_item_and_an_empty_board_get_their_first_edges():
    """Nodes without a list share the place of the next one in the rows; new edges must not be taken for that one's."""
    graph = graph_of("ab", "", "ce", items=5)
    pixie = Pixie(graph, whole(2_000))
    pixie.overlay.add(3, 1)
    pixie.overlay.add(2, 1)
    assert set(pixie.recommend(np.array([3]), ONE, 9, 1)[0].tolist()) == {2, 4}
    assert set(pixie.recommend(np.array([2]), ONE, 9, 1)[0].tolist()) == {3, 4}
    assert set(pixie.recommend(np.array([2]), ONE, 9, 1, boards=True)[0].tolist()) == {1, 2}
    assert set(pixie.recommend(np.array([4]), ONE, 9, 1)[0].tolist()) == {2, 3}
    assert set(pixie.recommend(np.array([0]), ONE, 9, 1)[0].tolist()) == {1}


def test_a_graph_without_edges_lives_from_its_overlay():
    pixie = Pixie(graph_of(items=2), whole(1_000))
    pixie.overlay.add(0, 0)
    pixie.overlay.add(1, 0)
    assert pixie.recommend(np.array([0]), ONE, 9, 1)[0].tolist() == [1]


@pytest.mark.parametrize("count", [40, 1_500, 4_000])
def test_edges_of_the_overlay_are_walked_like_those_of_the_graph(count):
    """Half of a graph in its overlay, some of it in each of the two tables: the same visits, up to chance, as with the whole graph."""
    graph = random_graph(150, 60, 7_000, seed=3)
    items, boards = np.repeat(np.arange(150, dtype=np.int32), graph.left.degrees), graph.left.neighbours
    order = np.random.default_rng(1).permutation(len(items))
    old, new = order[count:], order[:count]
    part = type(graph).of_pairs("part", items[old], boards[old], graph.left_ids, graph.right_ids)
    config = whole(300_000)
    split = Pixie(part, config)
    for n, edge in enumerate(new.tolist()):
        split.overlay.add(items[edge], boards[edge])
        if n % 700 == 0:
            split.recommend(np.array([0]), ONE, 3, 1)
    assert np.array_equal(split._degrees(np.arange(150)), graph.left.degrees)
    start = int(items[new[0]])
    mine, wanted = visits_of(split, start), visits_of(Pixie(graph, config), start)
    assert np.abs(mine - wanted).max() < 8 * np.sqrt(wanted.max())
    assert np.corrcoef(mine, wanted)[0, 1] > 0.9


def test_an_edge_that_is_there_already_changes_nothing():
    pixie = Pixie(graph_of("ab", "cd"), whole(1_000))
    before = visits_of(pixie, 0)
    pixie.overlay.add(0, 0)
    assert len(pixie.overlay) == 0
    assert np.array_equal(visits_of(pixie, 0), before)
    for _ in range(3):
        pixie.overlay.add(0, 1)
    assert len(pixie.overlay) == 1
    assert pixie.overlay.degree(0) == 1


def test_an_edge_needs_rows():
    overlay = Pixie(graph_of("ab")).overlay
    for edge in ((-1, 0), (0, -1)):
        with pytest.raises(InputError, match="two rows"):
            overlay.add(*edge)


def test_a_label_is_kept_to_beside_newer_edges():
    labels = np.array([1, 2, 2], np.uint16), np.array([2, 1], np.uint16)
    pixie = Pixie(graph_of("abc", "ab"), whole(5_000, bias=1.0), *labels)
    pixie.overlay.add(0, 9)
    pixie.overlay.add(7, 9)
    counts = dict(zip(*(part.tolist() for part in pixie.recommend(np.array([0]), ONE, 9, 1, label=2)), strict=True))
    assert set(counts) == {1, 2, 7}
    assert set(Pixie(graph_of("abc", "ab"), whole(5_000, bias=1.0), *labels).recommend(np.array([0]), ONE, 9, 1, label=2)[0].tolist()) == {
        1,
        2,
    }


def test_one_more_edge_does_not_make_everything_anew(monkeypatch):
    """10,000 edges with a request after each: every edge is put into a table some dozen times a thousand, not ten thousand times."""
    graph = random_graph(500, 100, 1_000)
    overlay, put = Overlay(graph, PackedGraph.of(graph)), 0
    from corkboard.graph import packed

    make = packed._fresh

    def counting(places, words):
        nonlocal put
        put += len(places)
        return make(places, words)

    monkeypatch.setattr(packed, "_fresh", counting)
    for n in range(10_000):
        overlay.add(n % 500, 100 + n // 500)
        older, newer = overlay.tables()
        assert len(older.words) + len(newer.words) == 2 * (n + 1)
    assert put < 10_000 * 1_000
    assert overlay.tables() is overlay.tables(), "nothing new, nothing made"


def test_edges_may_be_added_while_others_walk():
    """Every walk of the writers' time sees whole edges: only rows that exist are told, and at the end all of them are."""
    pixie = Pixie(graph_of("ab"), WalkConfig(visits=2_000))
    problems: list[str] = []
    done = threading.Event()

    def read():
        while not done.is_set():
            rows, _ = pixie.recommend(np.array([0, 1]), np.ones(2), 10_000, 1)
            if not set(rows.tolist()) <= set(range(2_002)):
                problems.append(str(rows))

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=lambda w=w: [pixie.overlay.add(2 + n, n % 5) for n in range(w, 2_000, 2)]) for w in range(2)]
    for thread in readers + writers:
        thread.start()
    for writer in writers:
        writer.join()
    done.set()
    for reader in readers:
        reader.join()
    assert problems == []
    assert len(pixie.overlay) == 2_000
    rows, _ = Pixie.recommend(pixie, np.array([0]), ONE, 10_000, 1)
    assert len(rows) > 100
