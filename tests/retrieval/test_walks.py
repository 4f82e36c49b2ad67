from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.config import WalkConfig
from corkboard.graph.pixie import Pixie
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.walks import WalkedGraph
from retrieval.builders import NOW_MS, board_graph, catalogue_of, tens_and_sevens

ITEMS = 40
BOARDS = {"b0": range(10), "b1": range(10, 20), "b2": range(20, 30)}


def asked(walks: WalkedGraph, rows: list[int], k: int = 100, allowed: np.ndarray | None = None) -> dict[int, float]:
    everything = np.ones(200, bool)
    found, scores = walks.recommend(np.array(rows), np.ones(len(rows)), k, everything if allowed is None else allowed)
    assert (np.diff(scores) <= 0).all()
    assert len(set(found.tolist())) == len(found) == len(scores) <= k
    return dict(zip(found.tolist(), scores.tolist(), strict=True))


def test_same_rows_are_the_graphs_own() -> None:
    graph, catalogue = tens_and_sevens(ITEMS), catalogue_of(ITEMS)
    rows, weights = np.array([3, 17]), np.array([1.0, 2.0])
    allowed = np.random.default_rng(0).random(ITEMS) < 0.7
    found, scores = WalkedGraph.of(graph, catalogue).recommend(rows, weights, 20, allowed)
    plain, expected = Pixie(graph).recommend(rows, weights, 20, 0, only=allowed)
    assert found.tolist() == plain.tolist()
    assert scores.tolist() == expected.tolist()


def test_the_same_question_has_the_same_answer_whatever_the_threads() -> None:
    answers = [asked(WalkedGraph.of(tens_and_sevens(ITEMS), catalogue_of(ITEMS), threads=threads), [1, 2, 30]) for threads in (1, 1, 3)]
    assert answers[0] == answers[1] == answers[2]
    other = asked(WalkedGraph.of(tens_and_sevens(ITEMS), catalogue_of(ITEMS), seed=1), [1, 2, 30])
    assert other.keys() == answers[0].keys()
    assert other != answers[0]


def test_the_query_and_what_is_not_allowed_are_never_told() -> None:
    walks = WalkedGraph.of(board_graph(BOARDS, ITEMS), catalogue_of(ITEMS))
    assert set(asked(walks, [3, 4])) == set(range(10)) - {3, 4}
    allowed = np.zeros(ITEMS, bool)
    allowed[[4, 5, 15]] = True
    assert set(asked(walks, [3, 4], allowed=allowed)) == {5}
    assert set(asked(walks, [3], allowed=allowed[:5])) == {4}  # rows behind the end of the mask are not allowed
    assert len(asked(walks, [3], k=4)) == 4


@pytest.mark.parametrize("rows", [[], [-1], [35], [500], [-1, 35, 500]])
def test_unknown_and_lonely_items_bring_nothing(rows: list[int]) -> None:
    walks = WalkedGraph.of(board_graph(BOARDS, ITEMS), catalogue_of(ITEMS))
    assert asked(walks, rows) == {}
    if rows:
        assert asked(walks, [*rows, 3]).keys() == asked(walks, [3]).keys()


def test_nothing_allowed_or_nothing_wanted() -> None:
    walks = WalkedGraph.of(board_graph(BOARDS, ITEMS), catalogue_of(ITEMS))
    for k, allowed in ((5, np.zeros(ITEMS, bool)), (5, np.zeros(0, bool)), (0, np.ones(ITEMS, bool))):
        found, scores = walks.recommend(np.array([3]), np.ones(1), k, allowed)
        assert (found.dtype, scores.dtype, len(found), len(scores)) == (np.int64, np.float32, 0, 0)


def test_a_graph_without_edges_or_without_items() -> None:
    for items in (0, 5):
        walks = WalkedGraph.of(board_graph({}, items), catalogue_of(5))
        assert asked(walks, [0, 1]) == {}
        walks.add(0, "new")
        walks.add(1, "new")
        assert set(asked(walks, [0])) == {1}


# --------------------------------------------------------------------------------------------------------- newer edges


def test_a_pin_saved_a_second_ago_is_walked_to() -> None:
    catalogue = catalogue_of(ITEMS)
    walks = WalkedGraph.of(board_graph(BOARDS, ITEMS), catalogue)
    live = catalogue.add({"item_id": "live", "time_ms": NOW_MS})
    assert (live, asked(walks, [live])) == (ITEMS, {})
    walks.add(live, "b1")
    assert set(asked(walks, [live])) == set(range(10, 20))
    assert live in asked(walks, [12])
    assert live not in asked(walks, [12], allowed=np.ones(ITEMS, bool))  # a mask that is older than the item
    walks.add(35, "b1")  # one that was alone
    assert 35 in asked(walks, [12])


def test_an_unknown_board_holds_its_items_together() -> None:
    walks = WalkedGraph.of(board_graph(BOARDS, ITEMS), catalogue_of(ITEMS))
    for row in (33, 34, 36):
        walks.add(row, "made just now")
    walks.add(37, "another")
    assert set(asked(walks, [33])) == {34, 36}
    assert asked(walks, [37]) == {}
    walks.add(5, "made just now")
    assert set(asked(walks, [33])) > {34, 36, 5, 6}


def test_what_is_there_already_changes_nothing() -> None:
    walks = WalkedGraph.of(board_graph(BOARDS, ITEMS), catalogue_of(ITEMS))
    before = asked(walks, [3])
    walks.add(3, "b0")
    walks.add(-1, "b0")
    assert (walks.added, asked(walks, [3])) == (0, before)
    for _ in range(3):
        walks.add(35, "b0")
    assert walks.added == 1


def test_a_board_of_another_tenant_is_another_board() -> None:
    edges = pl.DataFrame({"left": ["i0001", "i0002", "i0003", "i0004"], "right": ["b"] * 4, "tenant": ["one", "one", "two", "two"]})
    graph = BipartiteGraph.of("board", edges.with_columns(user_key=pl.lit("ann")), [f"i{place:04d}" for place in range(ITEMS)])
    assert graph.right_ids == ["b", "b"]
    for tenant, inside in (("one", {1, 2}), ("two", {3, 4}), ("three", set())):
        walks = WalkedGraph.of(graph, catalogue_of(ITEMS), tenant=tenant)
        walks.add(9, "b")
        walks.add(10, "b")
        walks.add(11, "new")
        assert set(asked(walks, [9])) == inside | {10}
        assert asked(walks, [11]) == {}


def test_walking_beside_adding() -> None:
    catalogue = catalogue_of(ITEMS)
    walks = WalkedGraph.of(board_graph(BOARDS, ITEMS), catalogue, WalkConfig(visits=500))
    walks.recommend(np.array([0]), np.ones(1), 5, np.ones(ITEMS, bool))

    def adding(worker: int) -> None:
        for board in range(40):
            walks.add(30 + worker, f"new{board}")

    def walking(_: int) -> bool:
        for _ in range(40):
            found = asked(walks, [3, 31])
            if not set(range(10)) - {3} <= found.keys() <= set(range(10)) | set(range(30, 40)):
                return False
        return True

    with ThreadPoolExecutor(6) as pool:
        writers, readers = pool.map(adding, range(3)), pool.map(walking, range(3))
        assert all(readers)
        list(writers)
    assert walks.added == 120
    fresh = WalkedGraph.of(board_graph(BOARDS, ITEMS), catalogue_of(ITEMS))
    for worker in range(3):
        for board in range(40):
            fresh.add(30 + worker, f"new{board}")
    assert set(asked(walks, [31])) == set(asked(fresh, [31])) == {30, 32}


# -------------------------------------------------------------------------------------------- another order of the items


def other_catalogue() -> Catalogue:
    """Some items of the graph are missing, others stand between."""
    ids = sorted([f"i{place:04d}" for place in range(0, ITEMS, 2)] + [f"h{place}" for place in range(7)])
    return Catalogue(pl.DataFrame({"item_id": ids, "created_ms": [0] * len(ids)}))


def test_another_catalogue_is_mapped_both_ways() -> None:
    graph, catalogue = tens_and_sevens(ITEMS), other_catalogue()
    walks = WalkedGraph.of(graph, catalogue)
    found = asked(walks, [catalogue.row("i0004"), catalogue.row("i0020")])
    everything = np.ones(ITEMS, bool)
    nodes, scores = Pixie(graph).recommend(np.array([4, 20]), np.ones(2), 100, 0, only=everything)
    expected = {catalogue.row(f"i{node:04d}"): score for node, score in zip(nodes.tolist(), scores.tolist(), strict=True) if node % 2 == 0}
    assert found == expected
    assert asked(walks, [catalogue.row("h3")]) == {}
    allowed = np.zeros(len(catalogue), bool)
    allowed[catalogue.row("i0006")] = True
    assert set(asked(walks, [catalogue.row("i0004")], allowed=allowed)) == {catalogue.row("i0006")}


def test_newer_edges_in_another_catalogue() -> None:
    catalogue = other_catalogue()
    walks = WalkedGraph.of(board_graph(BOARDS, ITEMS), catalogue)
    known, stranger, live = catalogue.row("i0012"), catalogue.row("h3"), catalogue.add({"item_id": "live", "time_ms": NOW_MS})
    inside = {catalogue.row(f"i{place:04d}") for place in range(10, 20, 2)}
    for row in (stranger, live):
        walks.add(row, "b1")
        assert row in asked(walks, [known])
        assert inside <= asked(walks, [row]).keys()
    assert set(asked(walks, [known])) == inside - {known} | {stranger, live}
    walks.add(known, "b1")
    assert walks.added == 2


def test_a_smaller_graph_of_the_same_order_needs_no_map() -> None:
    graph = BipartiteGraph.of(
        "board", pl.DataFrame({"left": ["i0000", "i0001"], "right": ["b", "b"]}), [f"i{place:04d}" for place in range(5)]
    )
    walks = WalkedGraph.of(graph, catalogue_of(ITEMS))
    walks.add(20, "b")
    assert set(asked(walks, [0])) == {1, 20}
