"""The steps of the graph in a built workspace: what each may know, what serves beside it, and who is taken out."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import load_artifact
from corkboard.experiments.leaks import require_known_edges
from corkboard.graph.from_lake import item_edges
from corkboard.graph.graphs import Graphs
from corkboard.graph.neighbour_lists import NeighbourLists
from corkboard.lake.calendar import DAY_MS
from corkboard.pipeline.graph_steps import graph_vectors
from corkboard.pipeline.purge import purge_at_rest
from corkboard.pipeline.trained import TrainedModels
from corkboard.workspace import Workspace


@pytest.fixture(scope="module")
def models(built) -> TrainedModels:
    """The models of the built workspace, as its evaluation reads them."""
    return TrainedModels(built.builder(), built.settings)


def test_a_graph_ends_at_its_cut(built, models):
    lake, calendar = built.lake(), models.builder.calendar
    serving = built.releases.current().artifacts["graphs"]
    for artifact, cut_ms in (
        (models.builder.artifact("graphs/before_ranking"), calendar.item_cut_ms),
        (models.artifacts["graphs/before_test"], calendar.rank_cut_ms),
        (serving, calendar.end_ms - DAY_MS),
    ):
        graphs = Graphs.from_artifact(artifact).by_name
        assert graphs["board"].edges > 0
        require_known_edges(graphs, lake, cut_ms, built.settings.graph.pruning)
    # the later graph holds what the earlier one lacks: the check above could have failed
    assert (
        Graphs.from_artifact(serving).by_name["board"].edges
        > Graphs.from_artifact(models.builder.artifact("graphs/before_ranking")).by_name["board"].edges
    )


def test_what_serves_has_the_saves_since_its_graph_beside_it(built):
    newer = built.releases.current().artifacts["graphs"].table("newer")
    since = built.calendar().end_ms - DAY_MS
    saves = item_edges(built.lake())["board"].filter(pl.col("time_ms") >= since).collect()
    assert (
        newer.select("item_id", "board_id").sort("item_id", "board_id").rows() == saves.select("left", "right").sort("left", "right").rows()
    )
    assert newer["time_ms"].min() >= since


def test_an_item_of_after_the_graph_is_placed_by_its_content_and_its_picture(built, models):
    items = built.lake().items()
    before = NeighbourLists.from_artifact(models.artifacts["neighbours/before_test"])
    late = [item for item in items["item_id"].to_list() if item not in set(before.item_ids)]
    assert late
    found = models.graph.lookup(late)[0]
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-4)
    # the same items by the older graph, which does not have them either
    older = graph_vectors(models.artifacts, built.lake(), models.builder.calendar.rank_cut_ms)
    assert older.lookup(late)[0] == pytest.approx(found, abs=1e-5)
    known = list(before.item_ids)
    assert np.abs(older.lookup(known)[0] - models.graph.lookup(known)[0]).max() > 1e-3


def test_who_is_deleted_is_out_of_the_graphs(built, tmp_path):
    folder = shutil.copytree(built.folder, tmp_path / "copy")
    copied = Workspace(folder, built.settings)
    artifact = copied.releases.current().artifacts["graphs"]
    graph = Graphs.from_artifact(artifact, ["user_click"]).by_name["user_click"]
    owner = artifact.table("graph_right_user_click")["user_key"][int(np.argmax(graph.right.degrees))]
    purge_at_rest(folder, owner)
    left = copied.releases.current().artifacts["graphs"]
    assert left.key != artifact.key
    for name in left.path.glob("*.parquet"):
        table = pl.read_parquet(name)
        assert "user_key" not in table.columns or owner not in set(table["user_key"])
    after = Graphs.from_artifact(load_artifact(left.path), ["user_click"]).by_name["user_click"]
    assert after.edges == graph.edges - int(graph.right.degrees.max())
