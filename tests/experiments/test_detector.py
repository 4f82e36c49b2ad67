"""Making a detector: what it is shown, and the card that says what it is worth."""

import json

import numpy as np
import pytest

from corkboard.experiments.detector import (
    CLASS_NAMES,
    BoxedPictures,
    asked_pictures,
    card_lines,
    found_in,
    learned_pictures,
    make_detector,
    outside,
    products_of,
)
from corkboard.experiments.detector_config import BoxedPicturesConfig, DetectorExperimentConfig
from corkboard.vision.detection import Detections
from corkboard.vision.detector import load_detector
from corkboard.world.scenes import Scenes, scenes

QUICK = DetectorExperimentConfig.quick()
FEW = BoxedPicturesConfig(products=12, scenes=5, collages=3, singles=2, test_products=6, test=3)


def shown(product, visible):
    """Three pictures: one thing, none, two things."""
    boxes = np.array([[1, 2, 30, 40], [5, 5, 20, 20], [0, 0, 9, 9]])
    columns = {"category": np.array([3, 1, 15]), "style": np.zeros(3, np.int64), "depth": np.zeros(3, np.int64)}
    images = np.zeros((3, 64, 64, 3), np.uint8)
    return Scenes(images, np.array([0, 2, 2]), boxes, np.array(product), visible=np.array(visible, np.float32), **columns)


def test_boxes_are_by_picture_and_a_picture_may_have_none():
    pictures = BoxedPictures.of(shown([0, 1, 2], [1, 1, 0.1]), least_visible=0.25)
    assert [one.tolist() for one in pictures.classes] == [[3], [], [1, 15]]
    assert [len(one) for one in pictures.boxes] == [1, 0, 2]
    np.testing.assert_allclose(pictures.truth()[0][0], [[1 / 64, 2 / 64, 30 / 64, 40 / 64]])


def test_what_stands_about_and_is_hardly_seen_is_not_told():
    pictures = BoxedPictures.of(shown([0, -1, -1], [0.1, 0.3, 0.2]), least_visible=0.25)
    assert [one.tolist() for one in pictures.classes] == [[3], [], [1]]


def test_what_is_learned_is_scenes_collages_and_singles_in_every_domain():
    products, asked = products_of(FEW, 3)
    pictures = learned_pictures(products, FEW, 32, 3)
    assert pictures.images.shape == (5 + 3 + 3 * 2, 32, 32, 3)
    assert len(pictures.boxes) == len(pictures.classes) == 14
    assert all((box[:, 2:] > box[:, :2]).all() and box.min() >= 0 and box.max() <= 32 for box in pictures.boxes if len(box))
    assert all(2 <= len(one) <= 4 for one in pictures.classes[:5])
    assert all(3 <= len(one) <= 5 for one in pictures.classes[5:8])
    assert not np.isin(asked.key, products.key).any()


def test_what_is_asked_is_the_same_however_much_is_learned():
    more = FEW.model_copy(update={"products": 20})
    (_, one), (_, other) = products_of(FEW, 3), products_of(more, 3)
    np.testing.assert_array_equal(one.key, other.key)
    asked = asked_pictures(one, FEW, 32, 3)
    assert list(asked) == ["scenes", "camera", "scenes, held-out backgrounds", "camera, held-out backgrounds", "collages"]
    assert all(len(pictures.images) == 3 for pictures in asked.values())
    assert (asked["scenes"].images != asked["scenes, held-out backgrounds"].images).any()
    again = scenes(products_of(FEW, 3)[0], 3, 0, 32)
    assert (again.images != asked["scenes"].images).any()


def test_what_is_found_is_as_measures_take_it():
    told = Detections(np.array([[0, 0, 0.5, 0.5]], np.float32), np.array([0.9], np.float32), np.eye(16, dtype=np.float32)[[4]])

    class Fixed:
        def detect(self, images):
            return [told] * len(images)

    (boxes, scores, classes), _ = found_in(Fixed(), np.zeros((2, 8, 8, 3), np.uint8))
    assert (boxes.tolist(), classes.tolist()) == ([[0, 0, 0.5, 0.5]], [4])
    assert scores[0] == pytest.approx(0.9)


def test_the_card_is_in_the_file_and_the_same_detector_is_made_again(tmp_path):
    said = []
    card = make_detector(tmp_path / "a", tmp_path / "work", QUICK, 1, said.append)
    detector = load_detector(tmp_path / "a")
    assert detector.notes == json.loads(json.dumps(card))
    assert detector.class_names == CLASS_NAMES
    assert (card["seed"], card["steps"], card["made_by"]) == (1, 4, "corkboard experiment detector")
    assert all(0 <= figures["AP50"][0] <= 1 and figures["objects"] for figures in card["figures"].values())
    assert len(card_lines(card)) == 5
    assert any("measuring" in line for line in said)
    again = make_detector(tmp_path / "b", tmp_path / "elsewhere", QUICK, 1, said.append)
    assert load_detector(tmp_path / "b").version == detector.version
    assert again["figures"] == card["figures"]


def test_a_figure_outside_of_the_card_is_told():
    card = {"figures": {"scenes": {"AP50": [0.7, 0.65, 0.75]}, "camera": {"AP50": [0.4, 0.3, 0.5]}}}
    made = {"figures": {"scenes": {"AP50": [0.64, 0.6, 0.7]}, "camera": {"AP50": [0.5, 0.4, 0.6]}}}
    assert outside(card, card) == []
    [line] = outside(made, card)
    assert "scenes is 0.640" in line
    assert "[0.650, 0.750]" in line
