"""Making a trunk: what it is told first, and the card that says what it is worth."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from corkboard.experiments.trunk import ATTRIBUTES, Attributes, card_lines, counted, make_trunk, outside, started, steps_told, told
from corkboard.experiments.vision_config import StartConfig, VisualRetrievalConfig
from corkboard.experiments.visual_retrieval import Labelled
from corkboard.learning.config import TrainingConfig
from corkboard.learning.training import Progress
from corkboard.metrics.intervals import PerUser
from corkboard.vision.config import TrunkConfig
from corkboard.vision.trunk import build_trunk, built_in_file, load_trunk, trunk_notes, trunk_tensors
from corkboard.world.rendering import Products

QUICK = VisualRetrievalConfig.quick()


def learned(count=20, side=16):
    products = Products.drawn(count, 5)
    draw = np.random.default_rng(0)
    colours = draw.integers(0, 255, (12, 3), dtype=np.uint8)
    images = np.repeat(np.repeat(colours[products.shade][:, None, None], side, 1), side, 2)
    return Labelled(products, images, np.arange(count), np.zeros(count, np.int64))


def test_the_first_loss_is_the_sum_over_attributes_and_skips_what_does_not_show():
    model = Attributes(build_trunk(QUICK.trunk, 0)).eval()
    images = learned(2).images
    classes = torch.tensor([[3, -1, 2, 1], [7, 4, -1, 0]])
    with torch.no_grad():
        features = model.trunk(model.trunk.pixels(images))
        logits = [head(features) for head in model.heads]
        wanted = functional.cross_entropy(logits[0], classes[:, 0]) + functional.cross_entropy(logits[1][1:], classes[1:, 1])
        wanted = wanted + functional.cross_entropy(logits[2][:1], classes[:1, 2]) + functional.cross_entropy(logits[3], classes[:, 3])
        assert float(model.loss(images, classes)) == pytest.approx(float(wanted))
    assert [values.shape[1] for values in logits] == list(ATTRIBUTES.values()) == [40, 6, 12, 12]


def test_a_trunk_learns_the_attributes_in_place_and_no_steps_leave_it_alone():
    losses = []
    trunk, config = (
        build_trunk(QUICK.trunk, 0),
        StartConfig(batch=16, training=TrainingConfig(steps=30, learning_rate=1e-2, warmup_steps=2)),
    )
    before = trunk_tensors(trunk)
    assert started(learned(), trunk, config.model_copy(update={"training": TrainingConfig(steps=0)}), 0) is trunk
    assert all((before[name] == value).all() for name, value in trunk_tensors(trunk).items())
    assert started(learned(), trunk, config, 0, lambda at: losses.append(at.loss)) is trunk
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    again = started(learned(), build_trunk(QUICK.trunk, 0), config, 0)
    assert all((value == trunk_tensors(again)[name]).all() for name, value in trunk_tensors(trunk).items())


def test_the_card_is_in_the_file_and_the_same_trunk_is_made_again(tmp_path):
    said = []
    cards = [make_trunk(tmp_path / f"{n}.safetensors", tmp_path / "work", QUICK, 3, said.append) for n in range(2)]
    card = trunk_notes(tmp_path / "0.safetensors")
    assert card == json.loads(json.dumps(cards[0]))
    assert {**cards[0], "seconds": 0} == {**cards[1], "seconds": 0}
    one, two = (trunk_tensors(load_trunk(tmp_path / f"{n}.safetensors")) for n in range(2))
    assert all((one[name] == two[name]).all() for name in one)
    assert set(card["figures"]) == {"validation", "test", "held-out combinations", "held-out backgrounds"}
    value, low, high = card["figures"]["test"]["camera P@1"]
    assert low <= value <= high
    assert {"camera P@1, 16 bits", "camera P@1, 32 bits", "web R@10"} <= set(card["figures"]["test"])
    assert set(card["baselines"]) == {"centre histogram", "histogram", "raw pixels", "untrained trunk"}
    assert {"seed", "steps", "code", "picture_code", "pictures_version", "split", "training_products", "chance"} <= set(card)
    assert any(line.startswith("test") and "camera P@1" in line for line in card_lines(card))


def test_a_trunk_made_anew_is_held_against_the_intervals_of_a_card():
    card = {"figures": {"test": {"camera P@1": [0.48, 0.45, 0.52], "web P@1": [0.97, 0.95, 0.98]}}}

    def made(camera, web):
        return {"figures": {"test": {"camera P@1": [camera, 0.0, 1.0], "web P@1": [web, 0.0, 1.0]}}}

    assert outside(made(0.45, 0.98), card) == []
    assert outside(made(0.449, 0.97), card) == ["camera P@1 is 0.449, outside of [0.450, 0.520] on the card"]
    assert len(outside(made(0.6, 0.5), card)) == 2


def test_a_demo_that_trains_all_is_held_against_the_card_that_ships(tmp_path, monkeypatch):
    from corkboard.cli import demo

    card, asked = trunk_notes(built_in_file()), {}
    assert outside(card, card) == []
    for part in ("training_products", "test_products"):
        assert part in card

    def quick(file, folder, config, seed, say):
        asked.update(file=file, config=config, seed=seed)
        return {"figures": {"test": {**card["figures"]["test"], "camera P@1": [0.1, 0.1, 0.1]}}}

    monkeypatch.setattr("corkboard.experiments.trunk.make_trunk", quick)
    missed = demo._train_trunk(tmp_path / "trunk.safetensors", tmp_path)
    assert len(missed) == 1
    assert missed[0].startswith("camera P@1 is 0.100, outside of")
    assert (asked["seed"], asked["config"]) == (card["seed"], VisualRetrievalConfig.shipped())
    assert asked["config"].model_dump(mode="json", exclude={"evaluation"}) == card["settings"]


def test_figures_are_told_with_their_intervals():
    figure = PerUser(np.array([2.0, 0.0] * 50), np.full(100, 2.0))
    value, low, high = told({"x": figure}, QUICK.evaluation)["x"]
    assert value == 0.5
    assert 0.35 < low < 0.5 < high < 0.65


def test_progress_is_said_with_a_rate(monkeypatch):
    now, lines = [0.0], []
    monkeypatch.setattr("corkboard.experiments.trunk.time.monotonic", lambda: now[0])
    pictures, steps = counted(lines.append), steps_told(lines.append, 96)
    now[0] = 10.0
    pictures("pictures", 100, 1000)
    steps(Progress(5, 10, 1.5, 2.0, 150.0, None))
    assert lines == []
    now[0] = 25.0
    pictures("pictures", 500, 1000)
    steps(Progress(6, 10, 1.5, 2.0, 150.0, None))
    assert lines == ["pictures 500/1,000, 20 a second", "step 6/10, loss 1.50, 192 pictures a second, 3 minutes to go"]
    steps(Progress(10, 10, 1.25, 2.0, 0.0, None))
    assert lines[-1].startswith("step 10/10")


def test_the_trunk_that_comes_with_the_package_is_small_enough():
    assert sum(value.nbytes for value in trunk_tensors(build_trunk(TrunkConfig(), 0), half=True).values()) < 900_000
