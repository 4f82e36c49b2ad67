import math

import pytest

from corkboard.artifacts import Releases, write_artifact
from corkboard.errors import ArtifactError, InputError
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.config import PruningConfig
from corkboard.graph.from_lake import graphs
from corkboard.graph.graphs import Graphs
from corkboard.graph.pixie import Pixie
from corkboard.lake.known import purge_mark
from corkboard.pipeline.purge import purge_artifacts
from tests.graph.builders import graph_of
from tests.graph.test_from_lake import a_lake


def written(root, found: Graphs):
    return write_artifact(root / "artifacts", "graphs", "g1", tensors=found.tensors(), tables=found.tables())


def of_lake(tmp_path) -> Graphs:
    return graphs(a_lake(tmp_path / "lake"), ["i1", "i2", "i3", "i4"], PruningConfig(min_people=1))


def test_graphs_come_back_from_their_artefact(tmp_path):
    found = of_lake(tmp_path)
    again = Graphs.from_artifact(written(tmp_path, found))
    assert again.item_ids == found.item_ids
    assert list(again.by_name) == list(found.by_name)
    for name, graph in found.by_name.items():
        read = again.by_name[name]
        assert (read.left_ids, read.right_ids) == (list(graph.left_ids), graph.right_ids), name
        assert [read.left.of(row).tolist() for row in range(len(read.left))] == [
            graph.left.of(row).tolist() for row in range(len(graph.left))
        ]
        assert (read.owners is None) == (graph.owners is None)
    assert "follow" not in again.of_items


def test_only_some_graphs_are_read(tmp_path):
    artifact = written(tmp_path, of_lake(tmp_path))
    assert list(Graphs.from_artifact(artifact, only=["user_save"]).by_name) == ["user_save"]
    assert Graphs.from_artifact(artifact, only=[]).walked is None
    with pytest.raises(ArtifactError, match=r"no graph nonsense"):
        Graphs.from_artifact(artifact, only=["nonsense"])


def test_a_purged_user_cannot_be_walked_to(tmp_path):
    """Ann owns boards b1 and b5; once she is forgotten neither they nor she are in any graph."""
    artifact = written(tmp_path, of_lake(tmp_path))
    releases = Releases(tmp_path)
    release = releases.write("first", {"graphs": artifact})
    gone = purge_artifacts(releases, {purge_mark("default", "ann"): math.inf})
    assert sum(gone.values()) > 0
    read = Graphs.from_artifact(releases.load(release.id).artifacts["graphs"])
    for name, graph in read.by_name.items():
        assert "ann" not in graph.right_ids, name
        assert graph.owners is None or "ann" not in graph.owners["user_key"].to_list(), name
        assert graph.left.degrees.sum() == graph.right.degrees.sum() == graph.edges
    assert read.by_name["board"].right_ids == ["b2"]
    boards, _ = Pixie(read.by_name["board"]).recommend([0, 1, 2, 3], [1, 1, 1, 1], 9, 1, boards=True)
    assert boards.tolist() == [0]


@pytest.mark.parametrize(
    ("edges", "walked"),
    [
        ({"board": "a", "user_save": "abc"}, "board"),
        ({"board": "", "user_save": "ab", "user_click": "abc", "tag": "abcd"}, "user_click"),
        ({"board": "", "tag": "ab", "query": "abc"}, "query"),
        ({"board": ""}, None),
        ({}, None),
    ],
)
def test_what_is_walked(edges, walked):
    items = ["a", "b", "c", "d"]
    assert Graphs(items, {name: graph_of(word, items=4, name=name) for name, word in edges.items()}).walked == walked


def test_a_graph_of_other_items_is_refused():
    with pytest.raises(InputError, match="other items"):
        Graphs(["a"], {"board": graph_of("ab")})
    follow = BipartiteGraph.of_pairs("follow", *(graph_of("ab").left.neighbours,) * 2, ["c1", "c2"], ["u1", "u2"])
    assert Graphs(["a"], {"follow": follow}).walked is None
