"""The scene model: what stays of a scene, distances by the formulas, and that it learns what goes with a place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corkboard.artifacts import Space, write_artifact
from corkboard.errors import ArtifactError, InputError
from corkboard.learning.config import TrainingConfig
from corkboard.shopping.complete_config import SceneModelConfig, SceneTrainingConfig
from corkboard.shopping.scene_model import SceneModel, cut, scene_maps, triplet_accuracy, without
from corkboard.shopping.scene_network import SceneNetwork
from corkboard.shopping.scene_training import ScenePairs, held_out_scenes, same_category_negatives, train_scene_model

SPACE = Space("visual", "test")
FEW = TrainingConfig(steps=150, learning_rate=1e-2, warmup_steps=5, validate_every=50)


def config(loss: str = "softmax", **settings) -> SceneModelConfig:
    learning = SceneTrainingConfig(loss=loss, batch=64, held_out=0.25, training=FEW)
    return SceneModelConfig(**{"dim": 8, "hidden": 16, "dropout": 0.0, "cells": 2, "learning": learning, **settings})


def model(settings: SceneModelConfig, seed: int = 0) -> tuple[SceneModel, SceneNetwork]:
    draw = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network = SceneNetwork(settings, 2, draw.normal(size=(30, 4, 6)), draw.normal(size=(30, 5)))
    return SceneModel(settings, ["bags", "lamps"], SPACE, "trunk", network.weights()), network


def pairs(count: int = 240, seed: int = 0) -> ScenePairs:
    """Each scene has a taste of 3 numbers, which shows in one of its four regions; a product shows its own."""
    draw = np.random.default_rng(seed)
    taste = draw.normal(size=(count, 3))
    maps = draw.normal(0, 0.1, (count, 6, 2, 2))
    where = draw.integers(0, 4, count)
    maps[np.arange(count), :3, where // 2, where % 2] += taste
    kinds = draw.integers(0, 2, count)
    vectors = np.concatenate([taste, np.eye(2)[kinds] * 3], axis=1) + draw.normal(0, 0.05, (count, 5))
    names = [("bags", "lamps")[kind] for kind in kinds]
    return ScenePairs(maps.astype(np.float16), vectors.astype(np.float32), names, np.arange(count), np.arange(count))


# -------------------------------------------------------------------------------------------------------- the four rectangles


@pytest.mark.parametrize(
    ("box", "enlarge", "expected"),
    [
        ((0.6, 0.2, 0.9, 0.8), 0.0, (0, 0, 0.6, 1)),  # .6 is left of it, .2 above and below, .1 right
        ((0.1, 0.1, 0.4, 0.5), 0.0, (0.4, 0, 1, 1)),
        ((0.0, 0.7, 1.0, 1.0), 0.0, (0, 0, 1, 0.7)),
        ((0.0, 0.0, 1.0, 0.3), 0.0, (0, 0.3, 1, 1)),
        ((0.6, 0.2, 0.9, 0.8), 0.2, (0, 0, 0.57, 1)),  # a tenth of .3 on either side
        ((0.1, 0.1, 0.9, 0.9), 0.0, None),  # a tenth is left on any side
        ((0.1, 0.1, 0.8, 0.9), 0.0, (0.8, 0, 1, 1)),  # exactly a fifth
        ((0.1, 0.1, 0.81, 0.9), 0.0, None),
        ((0.0, 0.0, 1.0, 1.0), 0.1, None),
    ],
)
def test_the_largest_rectangle_beside_a_product_stays(box, enlarge, expected):
    found = without(box, enlarge, 0.2 - 1e-6)
    assert (found is None) == (expected is None)
    if expected is not None:
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_box_without_area_is_refused():
    with pytest.raises(InputError, match="area"):
        without((0.5, 0.2, 0.5, 0.8))


def test_nothing_of_the_product_is_left_at_the_cut():
    image = np.zeros((10, 10, 3), np.uint8)
    image[:, 5:] = 255  # the product begins in the middle of nowhere: at .53 of 10 px, whose pixel 5 is cut away, too
    assert not cut(image, np.array([0, 0, 0.53, 1])).any()
    assert cut(image, np.array([0.46, 0, 1, 1])).all()
    assert cut(image, np.array([0.5, 0, 1, 1])).shape == (10, 5, 3)


def test_maps_of_scenes_of_any_size():
    from corkboard.vision.config import TrunkConfig
    from corkboard.vision.trunk import build_trunk

    trunk = build_trunk(TrunkConfig(side=16, width=0.25), 0).eval()
    images = [np.full((20, 30, 3), 200, np.uint8), np.zeros((5, 4, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)]
    found = scene_maps(trunk, images, SceneModelConfig(side=32, cells=2))
    assert found.shape == (3, trunk.dim, 2, 2)
    assert found.dtype == np.float16
    alone = scene_maps(trunk, images[1:2], SceneModelConfig(side=32, cells=2))
    np.testing.assert_allclose(found[1:2].astype(float), alone.astype(float), atol=1e-2)


# --------------------------------------------------------------------------------------------------------------- the formulas


@pytest.mark.parametrize("parts", ["both", "global", "local"])
@pytest.mark.parametrize("attention", ["category", "uniform"])
def test_numpy_says_what_torch_says(parts, attention):
    settings = config(parts=parts, attention=attention)
    finished, network = model(settings)
    draw = np.random.default_rng(3)
    maps, vectors = draw.normal(size=(4, 6, 2, 2)).astype(np.float32), draw.normal(size=(4, 5)).astype(np.float32)
    regions = torch.from_numpy(maps).flatten(2).transpose(1, 2)
    with torch.no_grad():
        asked = network.eval().asked(regions, torch.tensor([0, 1, 2, 0])).numpy()
        products = network.product(torch.from_numpy(vectors)).numpy()
    names = ["bags", "lamps", "anything", "bags"]
    np.testing.assert_allclose(finished.asked(maps, names), asked, atol=1e-5)
    np.testing.assert_allclose(finished.products(vectors), products, atol=1e-5)


def test_the_distance_is_the_mean_of_both_parts_by_the_published_formula():
    finished, _ = model(config())
    draw = np.random.default_rng(4)
    maps, vector = draw.normal(size=(1, 6, 2, 2)), draw.normal(size=(1, 5))
    product = finished.products(vector)[0]
    regions = maps[0].reshape(6, 4).T.astype(np.float32)
    whole, each = finished._head("whole", regions.mean(axis=0)), finished._head("region", regions)
    shares = finished.attention(maps, ["lamps"])[0]
    local = sum(share * ((one - product) ** 2).sum() for share, one in zip(shares, each, strict=True))
    expected = (((whole - product) ** 2).sum() + local) / 2
    np.testing.assert_allclose(finished.distances(maps, ["lamps"], vector)[0, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(shares.sum(), 1, rtol=1e-6)


def test_attention_depends_on_the_category_unless_it_is_uniform():
    maps = np.random.default_rng(5).normal(size=(2, 6, 2, 2))
    maps[1] = maps[0]
    finished, _ = model(config())
    first, second = finished.attention(maps, ["bags", "lamps"])
    assert np.abs(first - second).max() > 1e-3
    uniform, _ = model(config(attention="uniform"))
    np.testing.assert_allclose(uniform.attention(maps, ["bags", "lamps"]), 0.25)


def test_in_training_no_row_knows_of_the_others():
    _, network = model(config())
    network.train()
    regions = torch.randn(6, 4, 6)
    together = network.asked(regions, torch.zeros(6, dtype=torch.int64))
    torch.testing.assert_close(together[2:3], network.asked(regions[2:3], torch.zeros(1, dtype=torch.int64)))


# -------------------------------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("loss", ["softmax", "triplet"])
def test_it_learns_what_goes_with_a_place_and_nothing_from_products_dealt_out_anew(loss):
    known, new = pairs(), pairs(seed=1)
    rows, others = same_category_negatives(new, np.arange(len(new)), 0)
    asked = new.take(rows)

    def worth(learned: ScenePairs) -> float:
        finished, _ = train_scene_model(learned, config(loss), SPACE, "trunk", 0)
        return triplet_accuracy(finished, asked.maps, asked.categories, asked.vectors, new.vectors[others])

    dealt = np.random.default_rng(0).permutation(len(known))
    shuffled = ScenePairs(known.maps, known.vectors[dealt], [known.categories[k] for k in dealt], known.product[dealt], known.scene)
    assert worth(known) > 0.75
    assert abs(worth(shuffled) - 0.5) < 0.12


def test_the_same_seed_gives_the_same_model_and_its_figures():
    settings = config(learning=SceneTrainingConfig(batch=16, held_out=0.25, training=TrainingConfig(steps=4, validate_every=2)))
    (one, figures), (two, _) = (train_scene_model(pairs(80), settings, SPACE, "trunk", 5) for _ in range(2))
    assert one.space == two.space
    assert figures["pairs"] == 80
    assert 0 <= figures["triplet_accuracy"] <= 1
    assert figures["held_out"] == 20


def test_negatives_are_of_the_same_category_and_another_scene_and_product():
    some = pairs(40)
    rows, others = same_category_negatives(some, np.arange(40), 0)
    assert len(rows) == 40
    assert all(some.categories[a] == some.categories[b] and a != b for a, b in zip(rows, others, strict=True))
    alone = ScenePairs(some.maps[:2], some.vectors[:2], ["bags", "lamps"], np.arange(2), np.arange(2))
    assert len(same_category_negatives(alone, np.arange(2), 0)[0]) == 0
    one_scene = ScenePairs(some.maps[:2], some.vectors[:2], ["bags", "bags"], np.arange(2), np.zeros(2, np.int64))
    assert len(same_category_negatives(one_scene, np.arange(2), 0)[0]) == 0


def test_scenes_are_held_out_whole():
    scene = np.repeat(np.arange(20), 3)
    held = held_out_scenes(scene, 0.25, 1)
    assert len(held) == 5
    assert np.isin(scene, held).sum() == 15


def test_a_constant_has_half_of_the_triplets():
    finished, _ = model(config())
    some = pairs(10)
    assert triplet_accuracy(finished, some.maps, some.categories, some.vectors, some.vectors) == 0.5
    assert np.isnan(triplet_accuracy(finished, some.maps[:0], [], some.vectors[:0], some.vectors[:0]))


def test_too_little_is_said(tmp_path):
    with pytest.raises(InputError, match="too few"):
        train_scene_model(pairs(10), config(), SPACE, "trunk", 0)
    with pytest.raises(InputError, match="Every pair"):
        ScenePairs(np.zeros((2, 6, 2, 2)), np.zeros((1, 5)), ["bags", "bags"], np.arange(2), np.arange(2))
    finished, _ = model(config())
    with pytest.raises(InputError, match="head product"):
        finished.products(np.zeros((1, 4)))
    with pytest.raises(InputError, match="category"):
        finished.asked(np.zeros((2, 6, 2, 2)), ["bags"])
    assert finished.asked(np.zeros((0, 6, 2, 2)), []).shape == (0, 8)


def test_a_model_goes_through_an_artefact(tmp_path):
    finished, _ = model(config())
    kept = write_artifact(tmp_path, "scene_model", "x", tensors=finished.tensors(), config=finished.config)
    again = SceneModel.from_artifact(kept)
    assert again.space == finished.space
    maps = np.random.default_rng(6).normal(size=(2, 6, 2, 2))
    assert (again.asked(maps, ["bags", "?"]) == finished.asked(maps, ["bags", "?"])).all()
    assert SceneModel.from_artifact(write_artifact(tmp_path, "scene_model", "y", config={"kind": "none"})) is None
    with pytest.raises(ArtifactError, match="no scene model"):
        SceneModel.from_artifact(write_artifact(tmp_path, "scene_model", "z", config={"kind": "other"}))
