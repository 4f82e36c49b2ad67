"""The steps behind Complete The Look, from objects that are told to them: what they make, and what they say where there is too little."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import Artifact, write_artifact
from corkboard.learning.config import TrainingConfig
from corkboard.pipeline import outfit_steps
from corkboard.pipeline.plan import plan
from corkboard.pipeline.steps import Made, StepInput
from corkboard.settings import Settings
from corkboard.shopping.complete_config import MiningConfig, SceneModelConfig, SceneTrainingConfig
from corkboard.shopping.look_index import LookIndex
from corkboard.shopping.outfit_config import OutfitModelConfig
from corkboard.shopping.outfits import Outfits
from corkboard.vision.appearance import AppearanceReader
from tests.shopping.look_builders import ColourEncoder, found, items

FEW = TrainingConfig(steps=4, warmup_steps=1, validate_every=2)
COUNT = 30
"""Pictures; each shows a hat, a bag and a shoe of one colour, which are sold as well."""


def kept(root: Path, step: str, made: Made) -> Artifact:
    spaces = {"makes": made.makes, "requires": made.requires}
    return write_artifact(root, step, "x", tensors=made.tensors, tables=made.tables, config=made.config, metrics=made.metrics, **spaces)


def given(artifacts: dict[str, Artifact], config=None, ids=()) -> StepInput:
    lake = SimpleNamespace(folder=Path("nowhere"), items=lambda: pl.DataFrame({"item_id": list(ids)}, schema={"item_id": pl.String}))
    return StepInput(lake, SimpleNamespace(), artifacts, config, 0, "test", lambda *at: None)


@pytest.fixture
def told(tmp_path, monkeypatch) -> dict[str, Artifact]:
    """Objects, their index, and what is mined of them; pictures are what their names say."""
    draw = np.random.default_rng(0)
    colours = draw.integers(30, 220, (COUNT, 3))
    names, shown = [f"{k:03d}" for k in range(COUNT)], ["hat", "bag", "shoe"] * COUNT
    boxes = [[0.0, 0.0, 0.3, 0.4], [0.4, 0.0, 0.7, 0.4], [0.0, 0.5, 0.3, 0.9]] * COUNT
    vectors = np.repeat(colours, 3, axis=0) + draw.normal(0, 3, (3 * COUNT, 3))
    whole = {"item_id": [*np.repeat(names, 3), *(f"sold {k}" for k in range(3 * COUNT))], "box": boxes * 2}
    pictures = [f"hash {name}" for name in np.repeat(names, 3)]
    columns = {"image_hash": pictures * 2, "sold": [False] * 3 * COUNT + [True] * 3 * COUNT, "box": whole["box"]}
    objects = found(np.concatenate([vectors, vectors]), shown * 2, ids=whole["item_id"], **columns)
    sold = [(f"sold {k}", shown[k], True) for k in range(3 * COUNT)]
    index = LookIndex.build(objects, items(*sold, *((name, None, False) for name in names)))
    made = {"objects": Made(objects.tensors(), objects.tables(), objects.config)}
    made["look_index"] = Made(index.tensors(), index.tables(), index.config)

    def read(_, name: str) -> np.ndarray:
        return np.full((20, 20, 3), colours[int(name.split()[1])], np.uint8)

    monkeypatch.setattr("corkboard.shopping.objects.read", read)
    monkeypatch.setattr(outfit_steps, "visual_encoder", lambda artifacts: ColourEncoder())
    return {name: kept(tmp_path, name, one) for name, one in made.items()}


def mined(told: dict[str, Artifact], root: Path, monkeypatch, kind: str = "collage") -> Made:
    kinds = np.eye(3, dtype=np.float32)[("product", "collage", "scene").index(kind)]
    codes = np.arange(COUNT, dtype=np.uint8)[:, None]
    monkeypatch.setattr("corkboard.embeddings.visual_lake.picture_features", lambda encoder, pictures, hashes: np.zeros((len(hashes), 3)))
    monkeypatch.setattr(ColourEncoder, "codes_of", lambda self, features: codes[: len(features)])
    monkeypatch.setattr("corkboard.shopping.outfits.picture_kinds", lambda images, shown: np.tile(kinds, (len(images), 1)))
    monkeypatch.setattr("corkboard.vision.appearance.built_in_file", lambda: Path(__file__))
    made = outfit_steps.make_outfits(given(told, outfit_steps.OutfitsStepConfig(mining=MiningConfig(near_bits=0.0))))
    told["outfits"] = kept(root, "outfits", made)
    return made


NOTHING = (outfit_steps.make_appearances, outfit_steps.make_outfits, outfit_steps.train_outfit_model, outfit_steps.train_scene_model)


@pytest.mark.parametrize("step", NOTHING)
def test_where_nothing_was_found_every_artefact_is_empty_and_says_so(step):
    configs = {"make_outfits": outfit_steps.OutfitsStepConfig(), "train_scene_model": SceneModelConfig()}
    made = step(given({}, configs.get(step.__name__)))
    assert made.config == {"kind": "none"}
    assert made.metrics["too_little"]
    assert not made.makes


def test_empty_artefacts_are_read_as_none(tmp_path):
    names = ("outfits", "outfit_model", "scene_model", "appearances")
    empty = {name: write_artifact(tmp_path, name, "x", config={"kind": "none"}) for name in names}
    assert outfit_steps.mined_outfits(empty) is outfit_steps.mined_outfits({}) is None
    assert outfit_steps.outfit_model(empty) is outfit_steps.outfit_model({}) is None
    assert outfit_steps.scene_model(empty) is outfit_steps.scene_model({}) is None
    assert outfit_steps.object_appearances(empty) is None
    assert outfit_steps.product_appearances(empty) == {}


def looked_at(told: dict[str, Artifact], monkeypatch) -> Made:
    """Appearances, with the mean of each channel for chances."""
    reader = AppearanceReader({"shade": ("red", "green", "blue")}, lambda images: images.mean(axis=(1, 2)).astype(np.float32) / 255, "told")
    monkeypatch.setattr("corkboard.vision.appearance.built_in_reader", lambda: reader)
    monkeypatch.setattr("corkboard.vision.appearance.built_in_file", lambda: Path(__file__))
    return outfit_steps.make_appearances(given(told, outfit_steps.AppearancesStepConfig()))


def test_appearances_are_in_the_order_of_the_objects(told, tmp_path, monkeypatch):
    made = looked_at(told, monkeypatch)
    assert made.metrics["objects"] == 6 * COUNT
    assert [str(space) for space in made.makes] == ["appearance@told"]
    artifacts = {"appearances": kept(tmp_path, "appearances", made)}
    whole = outfit_steps.object_appearances(artifacts)
    assert len(whole) == 6 * COUNT
    assert all(one.colours for one in whole)
    assert whole[0].colours == whole[1].colours  # one picture of one colour
    products = outfit_steps.product_appearances(artifacts)
    assert set(products) == {f"sold {k}" for k in range(3 * COUNT)}
    assert products["sold 7"] == whole[3 * COUNT + 7]


def test_outfits_are_mined_of_pictures_that_are_not_of_one_product(told, tmp_path, monkeypatch):
    made = mined(told, tmp_path, monkeypatch)
    assert made.metrics["outfits"] == COUNT
    assert made.metrics["sources"] == {"collage": COUNT}
    assert len(made.tables["kinds"]) == COUNT
    assert Outfits.from_artifact(told["outfits"]).frame["row"].max() < 3 * COUNT


def test_the_outfit_model_learns_from_what_was_there_before_its_cut(told, tmp_path, monkeypatch):
    mined(told, tmp_path, monkeypatch)
    config = OutfitModelConfig(dim=4, hidden=(8,), batch=16, training=FEW)
    made = outfit_steps.train_outfit_model(given(told, config, [f"{k:03d}" for k in range(25)]))
    assert made.metrics == {"outfits": 25, "reads": ["visual"]}  # nobody has looked at the objects
    model = outfit_steps.outfit_model({"outfit_model": kept(tmp_path, "outfit_model", made)})
    assert model.encode(np.ones((2, 3), np.float32), ["hat", "bag"]).shape == (2, 4)
    few = outfit_steps.train_outfit_model(given(told, config, ["000"]))
    assert few.metrics == {"too_little": True, "outfits": 1}


def test_the_outfit_model_reads_what_it_is_told_to(told, tmp_path, monkeypatch):
    mined(told, tmp_path, monkeypatch)
    told["appearances"] = kept(tmp_path, "appearances", looked_at(told, monkeypatch))
    for reads, names in (("appearance", ["appearance"]), ("visual", ["visual"]), ("both", ["visual", "appearance"])):
        config = OutfitModelConfig(dim=4, hidden=(8,), batch=16, training=FEW, reads=reads)
        made = outfit_steps.train_outfit_model(given(told, config, [f"{k:03d}" for k in range(25)]))
        assert made.metrics["reads"] == names
        assert [space.name for space in made.requires] == [{"visual": made.requires[0].name, "appearance": "appearance"}[n] for n in names]
        model = outfit_steps.outfit_model({"outfit_model": kept(tmp_path, f"outfit_model_{reads}", made)})
        chances = np.full((1, 3), 0.5, np.float32)
        assert model.encode(np.ones((1, 3), np.float32), ["hat"], chances).any()
        assert model.encode(None, ["hat"], chances).any() == ("appearance" in names)


def test_keys_hold_the_digest_of_the_weights(monkeypatch, tmp_path):
    """Other heads make other appearances, and find other outfits."""
    steps = ("appearances", "outfits")
    before = {step.name: step.config for step in plan(Settings()).steps if step.name in steps}
    assert {name: config.weights for name, config in before.items()} == dict.fromkeys(steps, outfit_steps.weights_digest())
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"others")
    monkeypatch.setattr("corkboard.vision.appearance.built_in_file", lambda: other)
    after = {step.name: step.config for step in plan(Settings()).steps if step.name in steps}
    assert all(before[name] != after[name] for name in steps)
    monkeypatch.setattr("corkboard.vision.appearance.built_in_file", lambda: Path("nowhere"))
    assert outfit_steps.weights_digest() == ""


def test_the_scene_model_learns_from_products_that_are_matched_and_cut_out(told, tmp_path, monkeypatch):
    from corkboard.shopping.config import ShopTheLookConfig
    from corkboard.shopping.matcher import fit_matcher
    from corkboard.vision.trunk import build_trunk
    from tests.shopping.look_builders import TRUNK

    mined(told, tmp_path, monkeypatch, "scene")
    matcher = fit_matcher(LookIndex.from_artifact(told["look_index"]), config=ShopTheLookConfig())
    told["look_matcher"] = kept(tmp_path, "look_matcher", Made(matcher.tensors(), matcher.tables(), matcher.config))
    learning = SceneTrainingConfig(batch=16, least_pairs=10, training=FEW)
    config = SceneModelConfig(side=16, cells=2, dim=4, hidden=8, least_probability=0.0, learning=learning)
    ids = [*(f"{k:03d}" for k in range(COUNT)), *(f"sold {k}" for k in range(3 * COUNT))]
    made = outfit_steps.train_scene_model(given(told, config, ids))
    assert made.metrics["pairs"] == 3 * COUNT
    model = outfit_steps.scene_model({"scene_model": kept(tmp_path, "scene_model", made)})
    assert model.categories == ["bag", "hat", "shoe"]
    assert model.asked(np.ones((1, build_trunk(TRUNK, 0).dim, 2, 2)), ["hat"]).shape == (1, 4)
    known = outfit_steps.train_scene_model(given(told, config, ids[: COUNT + 3]))
    assert known.metrics["pairs"] <= 3 * COUNT  # products that were not there yet are no answer
    assert outfit_steps.train_scene_model(given(told, config, ids[COUNT:])).metrics["pairs"] == 0  # no scene was there yet
