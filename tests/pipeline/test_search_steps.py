"""What a build learns of queries, and what it does with a lake that has none."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.embeddings.query_pairs import QUERY_PAIR_SCHEMA
from corkboard.embeddings.searchsage import SearchSage
from corkboard.pipeline import search_steps
from corkboard.pipeline.plan import before_items_cut, plan
from corkboard.settings import load_settings
from corkboard.workspace import open_demo

SPACE = Space("multibisage", "1")
TINY = ["scale=tiny"]
TITLES = ["red lamp", "blue lamp", "red tent", "blue tent"] * 6


class NoPairs:
    """A lake with titles and no searches."""

    def __init__(self, titles):
        ids = [f"i{place:02}" for place in range(len(titles))]
        columns = {"item_id": pl.Series(ids, dtype=pl.String), "title": pl.Series(titles, dtype=pl.String)}
        self.frame = pl.DataFrame(columns)

    def items(self):
        return self.frame


def given_of(lake: NoPairs, monkeypatch) -> SimpleNamespace:
    told = []
    angle = np.arange(len(lake.frame)) % 4 * np.pi / 2
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    table = EmbeddingTable(lake.frame["item_id"].to_list(), vectors.reshape(-1, 2), SPACE)
    monkeypatch.setattr(search_steps, "graph_vectors", lambda *_: table)
    monkeypatch.setattr("corkboard.embeddings.query_pairs.query_pairs", lambda *_: pl.DataFrame(schema=QUERY_PAIR_SCHEMA))
    small = {"width": 16, "heads": 1, "table_rows": 512, "batch": 16, "pool": 8, "training": {"steps": 30, "warmup_steps": 2}}
    config = search_steps.QueryEncoderConfig.model_validate({"searchsage": small | {"text": {"min_count": 1}}})
    progress = lambda *at: told.append(at)  # noqa: E731
    return SimpleNamespace(
        lake=lake, artifacts={}, calendar=SimpleNamespace(item_cut_ms=1), config=config, seed=3, progress=progress, told=told
    )


def test_a_lake_without_searches_teaches_its_titles(monkeypatch):
    given = given_of(NoPairs(TITLES), monkeypatch)
    made = search_steps.train_searchsage(given)
    assert given.told[-1] == ("training SearchSage", 30, 30)
    assert [space.name for space in made.makes] == ["searchsage"]
    assert list(made.requires) == [SPACE]
    assert made.tables["words"]["word"].to_list() == ["blue", "lamp", "red", "tent"]
    assert made.metrics["titles"] == len(TITLES)
    encoder = SearchSage.from_artifact(SimpleNamespace(config=made.config, tensors=made.tensors))
    red, nothing = encoder.encode(["red lamp", "#"])
    assert np.argmax(red @ np.array([[1, 0, -1, 0], [0, 1, 0, -1]])) == 0
    assert not nothing.any()


def test_a_lake_without_any_text_has_an_encoder_that_knows_nothing(monkeypatch):
    for titles in ([], [None, None], ["", "!"]):
        made = search_steps.train_searchsage(given_of(NoPairs(titles), monkeypatch))
        encoder = SearchSage.from_artifact(SimpleNamespace(config=made.config, tensors=made.tensors))
        assert not encoder.encode(["red lamp"]).any()
        assert made.tables["words"].is_empty()
        assert made.config["sure_similarity"] == -1.0


def test_thresholds_are_what_pairs_and_nonsense_say():
    """Pairs have cosines 1 and 0 by halves, nonsense is near to nothing but the second item, at 0.6."""
    items = EmbeddingTable(["a", "b"], np.eye(2, dtype=np.float32), SPACE)

    class ByHand:
        def encode(self, texts):
            return np.array([[1, 0] if text == "right" else [-1, 0.6] for text in texts], np.float32).reshape(-1, 2)

    pairs = pl.DataFrame({"query": ["right"] * 100, "item_id": ["a", "b"] * 50})
    found = search_steps.calibrated(ByHand(), pairs, ["right", "abcdefgh"], items, 0)
    assert found["least_similarity"] == pytest.approx(0.0)
    assert found["sure_similarity"] == pytest.approx(0.6)
    nothing = search_steps.calibrated(ByHand(), pairs[:0], [], items, 0)
    assert nothing == {"least_similarity": -1.0, "sure_similarity": -1.0}


def test_words_are_those_that_the_encoder_reads():
    assert search_steps.words_of(["Red  LAMP!", "lamp", "", "café"]) == ["café", "lamp", "red"]


def test_the_plan_trains_it_before_the_items_cut_and_serves_it_beside_the_graph():
    made = plan(load_settings())
    (step,) = (step for step in made.steps if step.title == "searchsage")
    assert step.cut is before_items_cut
    assert {"multibisage", "neighbours/before_ranking"} <= set(step.needs)
    with_it = [stage.label for stage in made.stages if "searchsage" in stage.roles]
    assert with_it == [stage.label for stage in made.stages][3:]
    assert with_it[0] == "+ MultiBiSage"


def test_the_world_is_built_with_an_encoder_of_queries(built):
    release = built.releases.current()
    artifact = release.artifacts["searchsage"]
    encoder = SearchSage.from_artifact(artifact)
    assert artifact.makes == [encoder.own_space]
    assert artifact.requires == [encoder.space]
    assert encoder.space in release.artifacts["graph_index"].makes
    assert artifact.cut_ms == built.calendar().item_cut_ms
    assert artifact.metrics["pairs"] > 0
    assert -1 < artifact.config["least_similarity"] < artifact.config["sure_similarity"] <= 1


def test_the_joint_form_is_a_choice_that_keeps_the_index(built, tmp_path):
    shutil.copytree(built.folder, tmp_path / "ws")
    few = [f"embeddings.omnisearchsage.{name}" for name in ("training.steps=6", "training.warmup_steps=1", "batch=64", "pool=32")]
    joint = open_demo(tmp_path / "ws", overrides=[*TINY, "embeddings.joint_search=true", *few])
    artifact = joint.builder().artifact("searchsage")
    encoder = SearchSage.from_artifact(artifact)
    before = built.releases.current().artifacts
    assert artifact.config["joint"]
    assert encoder.space in before["graph_index"].makes
    assert artifact.makes == [encoder.own_space] != before["searchsage"].makes
    assert np.linalg.norm(encoder.encode(["lamp"])[0]) == pytest.approx(1, abs=1e-4)
    assert open_demo(tmp_path / "ws", overrides=TINY).builder().artifact("searchsage").key == before["searchsage"].key
