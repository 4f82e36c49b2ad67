import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.artifacts import write_artifact
from corkboard.errors import ArtifactError, InputError
from corkboard.graph.bipartite import BipartiteGraph, Rows
from tests.graph.builders import graph_of

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=60)


@settings(deadline=None)
@given(PAIRS)
def test_both_directions_hold_every_edge_once_and_in_order(pairs):
    left, right = (np.array(column, np.int32) for column in zip(*pairs, strict=True)) if pairs else np.empty((2, 0), np.int32)
    graph = BipartiteGraph.of_pairs("g", left, right, range(7), range(5))
    assert graph.edges == len(set(pairs))
    for rows, wanted in ((graph.left, set(pairs)), (graph.right, {(r, l) for l, r in pairs})):
        assert rows.offsets.dtype == np.int64
        assert rows.neighbours.dtype == np.int32
        assert [rows.of(node).tolist() for node in range(len(rows))] == [
            sorted(b for a, b in wanted if a == node) for node in range(len(rows))
        ]
    assert all(graph.has(l, r) == ((l, r) in set(pairs)) for l in range(-1, 8) for r in range(-1, 6))


def test_a_frame_becomes_a_graph_of_known_items():
    frame = pl.DataFrame({"left": ["a", "b", "a", "?", None, "a"], "right": ["y", "x", "y", "x", "x", None]})
    graph = BipartiteGraph.of("g", frame, ["b", "a", "c"])
    assert graph.right_ids == ["x", "y"]
    assert graph.owners is None
    assert [graph.left.of(row).tolist() for row in range(3)] == [[0], [1], []]
    assert graph.left.degrees.tolist() == [1, 1, 0]


def test_a_frame_with_owners_keeps_them_and_tells_tenants_apart():
    frame = pl.DataFrame(
        {"left": ["a", "b", "a", "b"], "right": ["x", "x", "x", "y"], "tenant": ["t1", "t1", "t2", "t1"], "user_key": ["u", "u", "u", None]}
    )
    graph = BipartiteGraph.of("g", frame, ["a", "b"])
    assert graph.right_ids == ["x", "x", "y"]
    assert graph.owners.rows() == [("t1", "u"), ("t2", "u"), ("t1", None)]
    assert [graph.right.of(row).tolist() for row in range(3)] == [[0, 1], [0], [1]]


def test_given_right_ids_keep_their_order():
    frame = pl.DataFrame({"left": ["a", "a"], "right": ["x", "z"]})
    graph = BipartiteGraph.of("g", frame, ["a"], ["z", "y", "x"])
    assert graph.left.of(0).tolist() == [0, 2]
    assert graph.right.degrees.tolist() == [1, 0, 1]


@pytest.mark.parametrize(("left", "right"), [([2], [0]), ([0], [1]), ([-1], [0])])
def test_an_edge_of_a_node_without_an_id_is_refused(left, right):
    with pytest.raises(InputError, match="without an id"):
        BipartiteGraph.of_pairs("g", np.array(left, np.int32), np.array(right, np.int32), ["a", "b"], ["x"])


def test_a_graph_whose_parts_do_not_fit_is_refused():
    rows, none = Rows(np.array([0, 1]), np.array([0], np.int32)), Rows(np.array([0, 0]), np.empty(0, np.int32))
    with pytest.raises(InputError, match="id"):
        BipartiteGraph("g", ["a", "b"], ["x"], rows, rows)
    with pytest.raises(InputError, match="directions"):
        BipartiteGraph("g", ["a"], ["x"], rows, none)


def written(tmp_path, graph: BipartiteGraph):
    return write_artifact(tmp_path, "graphs", "g1", tensors=graph.tensors(), tables={"right": graph.table()})


def test_a_graph_comes_back_from_its_artefact_without_being_copied(tmp_path):
    graph = graph_of("abc", "cd", "da", items=5)
    artifact = written(tmp_path, graph)
    again = BipartiteGraph.from_artifact(artifact, "board", graph.left_ids, artifact.table("right"))
    for mine, theirs in ((again.left, graph.left), (again.right, graph.right)):
        assert np.array_equal(mine.offsets, theirs.offsets)
        assert np.array_equal(mine.neighbours, theirs.neighbours)
        base = mine.neighbours
        while isinstance(base.base, np.ndarray):
            base = base.base
        assert isinstance(base, np.memmap)
    assert (again.left_ids, again.right_ids) == (graph.left_ids, graph.right_ids)


def test_a_right_node_that_is_gone_from_the_table_is_gone_with_its_edges(tmp_path):
    graph = graph_of("ab", "bcd", "da")
    artifact = written(tmp_path, graph)
    again = BipartiteGraph.from_artifact(artifact, "board", graph.left_ids, artifact.table("right").filter(pl.col("row") != 1))
    assert again.right_ids == ["b0", "b2"]
    assert [again.left.of(row).tolist() for row in range(4)] == [[0, 1], [0], [], [1]]
    assert [again.right.of(row).tolist() for row in range(2)] == [[0, 1], [0, 3]]
    none = BipartiteGraph.from_artifact(artifact, "board", graph.left_ids, artifact.table("right").head(0))
    assert (none.edges, len(none.right)) == (0, 0)


def test_users_are_named_by_their_key_alone():
    owners = pl.DataFrame({"tenant": ["t", "t"], "user_key": ["ann", "bob"]})
    users = BipartiteGraph.of_pairs("user_save", np.zeros(2, np.int32), np.arange(2, dtype=np.int32), ["a"], ["ann", "bob"], owners)
    assert users.table().columns == ["row", "tenant", "user_key"]
    boards = BipartiteGraph.of_pairs("board", np.zeros(2, np.int32), np.arange(2, dtype=np.int32), ["a"], ["x", "y"], owners)
    assert boards.table().columns == ["row", "id", "tenant", "user_key"]
    assert boards.table()["row"].dtype == pl.Int32


def test_an_artefact_without_the_graph_says_what_it_has(tmp_path):
    artifact = written(tmp_path, graph_of("ab"))
    with pytest.raises(ArtifactError, match=r"no graph query.*board/left_neighbours"):
        BipartiteGraph.from_artifact(artifact, "query", ["a", "b"], artifact.table("right"))
