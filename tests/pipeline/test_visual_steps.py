"""What a build learns of pictures, and what it does with a lake that has none."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import Artifact
from corkboard.embeddings.visual import VisualEncoder
from corkboard.embeddings.visual_lake import picture_features
from corkboard.lake.lake import Lake
from corkboard.lake.pictures.reading import Pictures
from corkboard.pipeline import visual_steps
from corkboard.pipeline.plan import plan
from corkboard.pipeline.visual_steps import visual_vectors, weights_digest
from corkboard.retrieval.binary_index import BinaryIndex
from corkboard.settings import load_settings
from corkboard.vision.config import TrunkSource


def test_other_weights_are_another_trunk(tmp_path):
    weights = tmp_path / "trunk.safetensors"
    weights.write_bytes(b"one")
    first = weights_digest(TrunkSource(weights=str(weights)))
    weights.write_bytes(b"two")
    assert len({first, weights_digest(TrunkSource(weights=str(weights))), weights_digest(TrunkSource())}) == 3
    assert weights_digest(TrunkSource(weights=str(tmp_path / "none"))) == ""
    assert weights_digest(TrunkSource(checkpoint="somebody/on-a-hub")) == ""
    first = weights_digest(TrunkSource(checkpoint=str(tmp_path)))
    weights.write_bytes(b"three")
    assert first != weights_digest(TrunkSource(checkpoint=str(tmp_path))) != ""


def test_the_world_is_built_with_its_pictures(built):
    release = built.releases.current()
    visual, index, placed = (release.artifacts[role] for role in ("visual", "visual_index", "multibisage"))
    assert {"item", "category"} <= set(visual.metrics["tasks"])
    assert [space.name for space in visual.makes] == ["visual", "visual_codes"]
    assert placed.config["spaces"][1] == str(visual.makes[0])
    table = visual_vectors({"visual": visual}, built.lake().folder, built.lake().items())
    found = BinaryIndex.from_artifact(index)
    assert found.ids == table.ids
    assert len(found) == built.lake().items().height
    encoder, pictures = VisualEncoder.from_artifact(visual), built.lake().pictures()
    features = picture_features(encoder, pictures, pictures.main(built.lake().items())["hash"].to_list())
    np.testing.assert_array_equal(found.codes_of(np.arange(len(found))), encoder.codes_of(features))
    rows, scores = found.search(found.codes_of(np.arange(5)), 1, table.lookup(found.ids[:5])[0])
    assert [found.ids[row] for row in rows[:, 0]] == found.ids[:5]
    assert (scores[:, 0] > 0.98).all()


def test_a_lake_without_pictures_has_an_empty_artefact(tmp_path):
    none = Artifact(tmp_path, {"makes": [], "config": {}})
    assert visual_vectors({"visual": none}, tmp_path, pl.DataFrame()) is None
    assert visual_vectors({}, tmp_path, pl.DataFrame()) is None
    assert visual_steps.visual_encoder({}) is None
    assert Pictures(tmp_path).main(Lake(tmp_path).items()).is_empty()
    config = visual_steps.VisualStepConfig(trunk=TrunkSource(weights=str(tmp_path / "none")))  # nobody looks for it
    given = SimpleNamespace(lake=Lake(tmp_path), config=config, seed=0, artifacts={"visual": none}, progress=None)
    for made in (visual_steps.train_visual(given), visual_steps.index_visual(given)):
        assert (dict(made.tensors), made.config, list(made.makes)) == ({}, {"kind": "none"}, [])


@pytest.mark.parametrize(
    "module", ["corkboard.learning", "corkboard.lake.pictures.reading", "corkboard.vision", "corkboard.embeddings.visual"]
)
def test_other_code_is_another_encoder(module):
    (step,) = (step for step in plan(load_settings()).steps if step.title == "visual")
    assert module in step.code
    assert step.pictures
