"""What is learned from boxes of the lake, what it is held against, and when nothing is learned."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from corkboard.lake.pictures.reading import Pictures
from corkboard.lake.pictures.store import PictureStore
from corkboard.shopping.own_detector import Annotated, Learned, annotated, best_threshold, learn_detector
from corkboard.vision.config import CentreConfig, DetectorConfig, OwnDetectorConfig, TrunkConfig
from corkboard.vision.trunk import build_trunk
from tests.shopping.look_builders import ToldDetector, plain, png
from tests.shopping.own_detector_builders import BOXES, OWN, boxed_picture, rows_of

SIDE = 48


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> tuple[pl.DataFrame, pl.DataFrame, Pictures]:
    """Items, boxes and pictures: a hat in each of 90 pictures, a shoe in half of them, a bag in three."""
    folder = tmp_path_factory.mktemp("lake")
    store, items, boxes = PictureStore(folder), [], []
    for number in range(90):
        image, told = boxed_picture(number, SIDE)
        name = store.put(png(image))
        items.append({"item_id": f"i{number}", "images": [f"sha256:{name}"]})
        boxes += rows_of(f"i{number}", None if number % 2 else f"sha256:{name}", told)
    return pl.DataFrame(items), pl.DataFrame(boxes), Pictures(folder)


@pytest.fixture(scope="module")
def learned(lake) -> Learned:
    return learn_detector(annotated(*lake), lake[2], trunk, OWN, seed=0)


def trunk():
    return build_trunk(TrunkConfig(side=SIDE, width=0.5), 0)


def test_boxes_are_those_of_pictures_that_are_there(tmp_path):
    store = PictureStore(tmp_path)
    main, other = (store.put(png(plain(colour))) for colour in ((9, 9, 9), (99, 9, 9)))
    items = pl.DataFrame({"item_id": ["a", "b"], "images": [[f"sha256:{main}", f"sha256:{other}"], [f"sha256:{main}"]]})
    whole, half = [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]
    said = [
        ("a", None, whole, "hat"),
        ("b", f"sha256:{main}", whole, "hat"),  # the same box of the same picture
        ("a", other, half, "shoe"),
        ("a", None, half, None),
        ("a", None, [0.5, 0.0, 0.5, 1.0], "hat"),
        ("a", "f" * 64, whole, "hat"),
        ("nobody", None, whole, "hat"),
        ("a", None, None, "hat"),
        ("a", None, [0.5, -1.0, 2.0, 1.0], "shoe"),  # cut at the sides
    ]
    schema = {"item_id": pl.String, "image_hash": pl.String, "box": pl.List(pl.Float64), "category": pl.String}
    found = annotated(items, pl.DataFrame(said, schema, orient="row"), Pictures(tmp_path))
    assert found.class_names == ["hat", "shoe"]
    told = {name: (boxes.tolist(), kinds.tolist()) for name, boxes, kinds in zip(found.hashes, found.boxes, found.classes, strict=True)}
    assert told == {main: ([whole, [0.5, 0.0, 1.0, 1.0]], [0, 1]), other: ([half], [1])}


def test_a_rarer_category_goes_with_its_pictures():
    given = Annotated(
        ["a", "b"],
        [np.float32([[0, 0, 1, 1], [0, 0, 0.5, 1]]), np.float32([[0, 0, 1, 1]])],
        [np.array([2, 0]), np.array([1])],
        ["x", "y", "z"],
    )
    kept = given.of_classes([0, 2])
    assert (kept.hashes, kept.class_names) == (["a"], ["x", "z"])
    assert kept.classes[0].tolist() == [1, 0]
    assert given.digest != kept.digest == given.of_classes([0, 2]).digest


def test_it_finds_what_the_lake_has_boxes_of(learned, lake):
    assert learned.detector is not None
    assert learned.detector.class_names == ("hat", "shoe")
    assert learned.told["left_out"] == ["bag"]
    assert learned.told["AP50"] > max(0.5, 2 * learned.told["AP50_mean_boxes"])
    assert learned.told["learned"] + learned.told["held_out"] == learned.told["pictures"] == 90
    assert learned.detector.config.threshold == learned.told["threshold"]
    assert learned.sentence.startswith("one of 2 categories, learned from ")
    assert learned.sentence.endswith(f"it serves from a score of {learned.told['threshold']:.2f} on")
    image, told = boxed_picture(1000, SIDE)
    found = learned.detector.detect([image])[0]
    box = dict(told)["hat"]
    assert np.abs(found.boxes[found.classes == 0][0] - box).max() < 0.15


def test_nothing_held_out_is_learned(lake):
    given = annotated(*lake)
    other = given.take(np.flatnonzero(given.held_out_places >= OWN.held_out))
    assert 0 < len(given) - len(other) < len(given) / 2
    assert np.array_equal(given.take(np.arange(len(given))[::-1]).held_out_places, given.held_out_places[::-1])


def test_it_serves_only_where_it_is_better_than_what_serves_now(lake):
    items, boxes, pictures = lake
    given = annotated(items, boxes, pictures)

    class Knows(ToldDetector):
        """Finds what is truly there, and calls it otherwise than the lake does by number, as it does by name."""

        class_names = ("bag", "shoe", "hat")

        def _in(self, image):
            for name, corners, kinds in zip(given.hashes, given.boxes, given.classes, strict=True):
                if np.array_equal(pictures.store.rgb(name), image):
                    names = [self.class_names.index(given.class_names[kind]) for kind in kinds]
                    return type(super()._in(image))(corners, np.ones(len(corners), np.float32), np.eye(3, dtype=np.float32)[names])
            raise AssertionError

    few = OWN.model_copy(
        update={"detector": OWN.detector.model_copy(update={"training": OWN.detector.training.model_copy(update={"steps": 2})})}
    )
    kept = learn_detector(given, pictures, trunk, few, 0, Knows({}))
    assert kept.detector is None
    assert "detector before" in kept.told["why"]
    assert kept.told["AP50_detector_before"] == 1.0
    assert "detector before 1.000); it is not used: no better than" in kept.sentence


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (OWN.model_copy(update={"min_pictures": 91}), "fewer than 91 pictures"),
        (OWN.model_copy(update={"min_boxes": 500}), "no category has 500 boxes"),
    ],
)
def test_too_little_is_not_learned_from(lake, config: OwnDetectorConfig, why: str):
    made = learn_detector(annotated(*lake), lake[2], trunk, config, 0)
    assert made.detector is None
    assert why in made.told["why"]
    assert made.sentence.startswith("nothing was learned from 90 pictures with boxes: ")


def test_the_threshold_is_where_precision_and_recall_are_best_together():
    truth = [(np.float64([[0, 0, 1, 1]]), np.array([0]))] * 4
    there, away = [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.1, 0.1]
    found = [(np.float64([there, away]), np.array([score, 0.2]), np.array([0, 0])) for score in (0.9, 0.8, 0.41, 0.06)]
    # above .225 three of four are found and nothing else: 6/7; above .05 all, with four that are nothing: 8/12; above .425 two: 4/6
    threshold, precision, recall = best_threshold(found, truth)
    assert 0.2 < threshold <= 0.41
    assert (precision, recall) == (1.0, 0.75)


def test_the_settings_are_checked():
    assert DetectorConfig.model_validate(OWN.detector.model_dump()) == OWN.detector
    assert isinstance(OWN.detector.centre, CentreConfig)
    assert set(BOXES) == {"hat", "shoe", "bag"}
