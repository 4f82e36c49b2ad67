"""What the outfit model of a release reads: chances of its own space, or none at all."""

from __future__ import annotations

from shutil import rmtree
from types import SimpleNamespace

import numpy as np
import pytest

from corkboard.artifacts import Space, load_artifact, write_artifact
from corkboard.errors import NotFound, SpaceMismatch
from corkboard.feed import look_parts
from corkboard.shopping.outfit_config import OutfitModelConfig
from corkboard.shopping.outfit_model import OutfitModel
from corkboard.shopping.outfit_network import OutfitNetwork
from corkboard.vision.appearance import Appearance, AppearanceReader, appearance_table
from corkboard.vision.config import CentreConfig, DetectorConfig, TrunkConfig
from corkboard.vision.detector import build_detector, detector_facts, detector_tensors

CHANCES = Space("appearance", "1")


def test_what_comes_with_a_request_is_read_where_this_copy_tells_the_same_chances(monkeypatch):
    reader = AppearanceReader({"shade": ("red", "blue")}, lambda images: np.tile(np.float32([0.25, 0.75]), (len(images), 1)), "1")
    monkeypatch.setattr("corkboard.vision.appearance.built_in_reader", lambda: reader)
    image = np.full((20, 20, 3), (250, 10, 10), np.uint8)
    objects = SimpleNamespace(boxes=np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], np.float32))
    here = look_parts._appearances_in(image, objects, 0.1, CHANCES)
    assert [one.chances for one in here] == [(0.25, 0.75)] * 2
    for other in (Space("appearance", "2"), None):
        found = look_parts._appearances_in(image, objects, 0.1, other)
        assert [one.chances for one in found] == [(), ()]
        assert [one.colours for one in found] == [one.colours for one in here]  # reasons are none the poorer


def test_appearances_of_a_release_say_of_which_space_their_chances_are(tmp_path):
    table = appearance_table(["a", "a", "b"], [Appearance((), chances=(1.0,)), Appearance(()), Appearance(())])
    write_artifact(tmp_path, "appearances", "1", tables={"appearances": table}, config={"kind": "appearances"}, makes=[CHANCES])
    found, space = look_parts._appearances(load_artifact(tmp_path / "appearances" / "default" / "1"))
    assert space == CHANCES
    assert [len(found[name]) for name in ("a", "b")] == [2, 1]
    assert found["a"][0].chances == (1.0,)
    write_artifact(tmp_path, "appearances", "2", config={"kind": "none"})
    assert look_parts._appearances(load_artifact(tmp_path / "appearances" / "default" / "2")) == ({}, None)


def test_a_model_that_reads_what_the_release_has_not_is_refused(tmp_path):
    settings = OutfitModelConfig(dim=4, hidden=(4,), category_dim=2)
    network = OutfitNetwork(settings, {"appearance": np.eye(3, dtype=np.float32)}, 2)
    model = OutfitModel(settings, ["hat"], None, CHANCES, network.tensors())
    write_artifact(tmp_path, "outfit_model", "1", tensors=model.tensors(), config=model.config)
    kept = load_artifact(tmp_path / "outfit_model" / "default" / "1")
    assert look_parts._outfit_model({"visual": None, "appearance": CHANCES}, kept).space == model.space
    with pytest.raises(SpaceMismatch):
        look_parts._outfit_model({"visual": None, "appearance": Space("appearance", "2")}, kept)
    with pytest.raises(NotFound, match="appearance"):
        look_parts._outfit_model({"visual": Space("visual", "1"), "appearance": None}, kept)


def test_a_release_finds_with_the_detector_that_it_has_learned(tmp_path):
    settings = DetectorConfig(side=32, trunk=TrunkConfig(side=32, width=0.5), centre=CentreConfig(channels=8))
    detector = build_detector(settings, ["hat", "shoe"], 0)
    parts = {"tensors": detector_tensors(detector), "config": {"kind": "detector", **detector_facts(detector)}}
    for key, given in (("1", parts), ("2", {"config": {"kind": "none"}})):
        write_artifact(tmp_path, "detector", key, **given)
    kept, empty = (load_artifact(tmp_path / "detector" / "default" / key) for key in ("1", "2"))
    load = look_parts._own_detector(kept)
    rmtree(kept.path)  # a later build sweeps it away while this release still serves
    assert load().class_names == ("hat", "shoe")
    assert look_parts._own_detector(empty) is None
