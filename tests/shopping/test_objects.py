"""What is found in pictures, what is cut out of them, and that each is read once."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import write_artifact
from corkboard.errors import SpaceMismatch
from corkboard.lake.pictures.reading import Pictures
from corkboard.shopping import object_cache
from corkboard.shopping.config import ObjectsConfig
from corkboard.shopping.object_cache import FILES_KEPT
from corkboard.shopping.objects import (
    DETECTED,
    WHOLE,
    FoundObjects,
    crop,
    enlarged,
    find_objects,
    objects_at,
    objects_in,
    product_objects,
    whole_pictures,
)
from tests.shopping.look_builders import ColourEncoder, ToldDetector, found, items, plain, png

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
EXACT = ObjectsConfig(margin=0.0)


def scene() -> np.ndarray:
    """Red on the left, blue on the right, 20 x 40 px."""
    return np.concatenate([plain((200, 0, 0)), plain((0, 0, 200))], axis=1)


DETECTOR = {
    (20, 40): [(LEFT, (0.8, 0.15, 0.05), 0.9), (RIGHT, (0.1, 0.5, 0.4), 0.6)],
    (20, 20): [((0.25, 0.25, 0.75, 0.75), (0.2, 0.7, 0.1), 0.9), ((0.0, 0.0, 1.0, 0.5), (0.9, 0.1, 0.0), 0.8)],
}


@pytest.fixture
def lake(tmp_path):
    """Pictures of a lake and items that show them: a scene that is a pin, two products, and a product in whose picture nothing is."""
    pictures = Pictures(tmp_path)
    images = [scene(), plain((0, 200, 0)), plain((9, 200, 9)), plain((50, 50, 50), 10, 10)]
    hashes = [pictures.store.put(png(image)) for image in images]
    rows = [("pin", None, False), ("hat1", "hat", True), ("odd", None, True), ("grey", "bag", True)]
    return pictures, hashes, items(*rows, images=[f"sha256:{name}" for name in hashes])


def test_objects_of_scenes_and_products(lake):
    pictures, hashes, table = lake
    objects = find_objects(table, pictures, ToldDetector(DETECTOR), ColourEncoder(), config=EXACT)
    rows = objects.table.select("item_id", "category", "second_category", "source", "sold").rows()
    assert rows == [
        ("pin", "hat", "shoe", DETECTED, False),
        ("pin", "shoe", "bag", DETECTED, False),
        ("hat1", "hat", "shoe", DETECTED, True),  # the surest of the catalogue's category, not the surest of all
        ("odd", "shoe", "hat", DETECTED, True),  # the catalogue says nothing: the surest
        ("grey", "bag", None, WHOLE, True),  # nothing was found
    ]
    np.testing.assert_allclose(objects.boxes[:2], [LEFT, RIGHT])
    np.testing.assert_allclose(objects.table["posterior"][1], 0.5)
    np.testing.assert_allclose(objects.table["second_posterior"][1], 0.4, atol=1e-6)
    assert objects.table["image_hash"].to_list() == [hashes[0], hashes[0], *hashes[1:]]
    np.testing.assert_allclose(objects.vectors[:2], [[1, 0, 0], [0, 0, 1]], atol=0.01)  # each crop is one half of the scene
    np.testing.assert_allclose(objects.vectors[4], np.full(3, 3**-0.5), atol=0.01)
    of_scene = objects.of_item("pin")
    assert (len(of_scene), len(objects.of_item("nobody"))) == (2, 0)
    np.testing.assert_array_equal(of_scene.codes, objects.codes[:2])


def test_pictures_are_looked_at_once(lake):
    pictures, _, table = lake
    detector, encoder = ToldDetector(DETECTOR), ColourEncoder()
    first = find_objects(table, pictures, detector, encoder)
    assert (detector.seen, encoder.seen) == (4, 5)
    again = find_objects(table, pictures, detector, encoder)
    assert (detector.seen, encoder.seen) == (4, 5)
    assert again.table.equals(first.table)
    np.testing.assert_array_equal(again.vectors8, first.vectors8)
    np.testing.assert_array_equal(again.colours, first.colours)
    find_objects(table, pictures, ToldDetector(DETECTOR, "e" * 12), encoder)  # another detector that finds the same: the same crops
    assert encoder.seen == 5
    other = ColourEncoder(seed=1)
    find_objects(table, pictures, detector, other)  # another trunk
    assert (detector.seen, other.seen) == (4, 5)
    find_objects(table, pictures, detector, encoder, config=EXACT)  # other crops, where the margin fits into the picture
    assert encoder.seen > 5


def test_what_was_cut_off_is_made_again_and_old_files_go(lake):
    pictures, _, table = lake
    find_objects(table, pictures, ToldDetector(DETECTOR), ColourEncoder())
    (file,) = (pictures.store.folder / "objects").iterdir()
    file.write_bytes(file.read_bytes()[:40])
    detector = ToldDetector(DETECTOR)
    assert len(find_objects(table, pictures, detector, ColourEncoder())) == 5
    assert detector.seen == 4
    for n in range(FILES_KEPT + 2):
        find_objects(table, pictures, ToldDetector(DETECTOR, f"{n:012d}"), ColourEncoder())
    assert len(list((pictures.store.folder / "objects").iterdir())) == FILES_KEPT


def test_what_other_code_found_is_not_read(lake, monkeypatch):
    pictures, _, table = lake
    for change, expected in (("DETECTED_BY", 4), ("CROPPED_BY", 0)):
        find_objects(table, pictures, ToldDetector(DETECTOR), ColourEncoder())
        monkeypatch.setattr(object_cache, change, 2)
        detector = ToldDetector(DETECTOR)
        find_objects(table, pictures, detector, ColourEncoder())
        assert detector.seen == expected
    assert len(list((pictures.store.folder / "objects").iterdir())) == 2
    assert len(list((pictures.store.folder / "crops").iterdir())) == 2


def test_what_the_lake_knows_counts_instead_of_what_is_detected(lake):
    pictures, hashes, table = lake
    known = pl.DataFrame(
        {
            "item_id": ["pin", "pin", "pin", "hat1", "odd", "hat1"],
            "image_hash": [f"sha256:{hashes[0]}", hashes[0], hashes[0], None, hashes[0], "0" * 64],
            "box": [[0.1, 0.1, 0.4, 0.9], [0.5, 0.5, 0.5, 0.9], None, [0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.2, 0.2], [0.0, 0.0, 1.0, 1.0]],
            "category": ["lamp", "lamp", "lamp", None, "shoe", "shoe"],
            "source": ["coco", "coco", "coco", None, "coco", "coco"],
        },
        schema={"item_id": pl.String, "image_hash": pl.String, "box": pl.List(pl.Float32), "category": pl.String, "source": pl.String},
    )
    detector = ToldDetector(DETECTOR)
    objects = find_objects(table, pictures, detector, ColourEncoder(), known)
    # a box without an area, one that is not there, one of another picture and one of an item that does not show it count for nothing
    assert objects.table.select("item_id", "category", "posterior", "source").rows()[:2] == [
        ("pin", "lamp", 1.0, "coco"),
        ("hat1", None, 0.0, "imported"),
    ]
    assert objects.table["item_id"].to_list() == ["pin", "hat1", "odd", "grey"]
    assert detector.seen == 2


def test_boxes_that_show_too_little_and_too_many_of_them_are_left_out(tmp_path):
    box = (0.0, 0.0, 0.5, 0.5)
    said = [((0.0, 0.0, 0.01, 1.0), (1, 0, 0), 0.99), ((-0.5, 0.2, 1.5, 0.9), (1, 0, 0), 0.9), *[(box, (0, 1, 0), 0.5)] * 30]
    (objects,) = objects_in([plain((1, 2, 3))], ToldDetector({(20, 20): said}), ColourEncoder(), ObjectsConfig(most=20))
    assert len(objects) == 20
    np.testing.assert_allclose(objects.boxes[0], [0.0, 0.2, 1.0, 0.9], atol=1e-6)


def test_pictures_from_outside_are_read_as_those_of_a_lake(lake):
    pictures, _, table = lake
    detector, encoder = ToldDetector(DETECTOR), ColourEncoder()
    kept = find_objects(table, pictures, detector, encoder)
    empty, both = objects_in([plain((0, 0, 0), 8, 30), scene()], detector, encoder)
    assert len(empty) == 0
    np.testing.assert_array_equal(both.vectors8, kept.vectors8[:2])
    columns = ["box", "category", "second_category", "score"]
    assert both.table.select(columns).equals(kept.table[:2].select(columns))
    assert objects_in([], detector, encoder) == []
    live = product_objects([("hat1", "hat"), ("grey", "bag")], [plain((0, 200, 0)), plain((50, 50, 50), 10, 10)], detector, encoder)
    np.testing.assert_array_equal(live.vectors8, kept.vectors8[[2, 4]])
    assert live.table.drop("image_hash").equals(kept.table[[2, 4]].drop("image_hash"))
    whole = whole_pictures([plain((50, 50, 50), 10, 10)], encoder)
    np.testing.assert_array_equal(whole.vectors8, kept.vectors8[4:])
    assert whole.table["category"].to_list() == [None]


def test_parts_that_somebody_asked_about_are_the_objects_they_overlap(lake):
    pictures, hashes, table = lake
    known = find_objects(table, pictures, ToldDetector(DETECTOR), ColourEncoder(), config=EXACT)
    boxes = [(0.5, 0.0, 1.0, 0.9), (0.0, 0.0, 0.2, 0.2), None]
    asked = objects_at([hashes[0]] * 3, boxes, pictures, ColourEncoder(), known, EXACT)
    assert asked.table["category"].to_list() == ["shoe", None, "hat"]  # the whole picture overlaps its left half by half
    np.testing.assert_allclose(asked.boxes[0], boxes[0])
    assert asked.vectors[0].argmax() == 2
    assert len(objects_at([], [], pictures, ColourEncoder(), known)) == 0


def test_boxes_grow_around_their_middle_and_end_at_the_edge():
    np.testing.assert_allclose(enlarged((0.4, 0.2, 0.6, 0.6), 0.1), [0.39, 0.18, 0.61, 0.62], atol=1e-6)
    np.testing.assert_allclose(enlarged((0.0, 0.0, 1.0, 0.5), 0.1), [0.0, 0.0, 1.0, 0.525], atol=1e-6)


@pytest.mark.parametrize("part", [(0.0, 0.0, 0.001, 0.001), (0.999, 0.999, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0)])
def test_a_crop_has_at_least_one_pixel(part):
    assert (crop(plain((7, 8, 9), 8, 3), np.array(part), 4) == np.array([7, 8, 9])).all()


def test_an_artefact_gives_the_objects_back(lake, tmp_path):
    pictures, _, table = lake
    objects = find_objects(table, pictures, ToldDetector(DETECTOR), ColourEncoder())
    parts = {"tensors": objects.tensors(), "tables": objects.tables(), "config": objects.config}
    again = FoundObjects.from_artifact(write_artifact(tmp_path / "a", "objects", "1", **parts))
    assert again.table.equals(objects.table)
    assert again.space == objects.space
    np.testing.assert_array_equal(again.vectors, objects.vectors)
    assert FoundObjects.from_artifact(write_artifact(tmp_path / "a", "objects", "2", config={"kind": "none"})) is None


def test_a_lake_without_pictures_has_no_objects(tmp_path):
    objects = find_objects(items(("a", None, True)), Pictures(tmp_path), ToldDetector({}), ColourEncoder())
    assert (len(objects), objects.vectors.shape, objects.boxes.shape) == (0, (0, 3), (0, 4))


def test_objects_of_two_spaces_do_not_join():
    one = found(np.eye(3), ["hat"] * 3)
    assert len(one.joined(one)) == 6
    other = FoundObjects(one.table, one.vectors8, one.scales, one.codes, one.colours, one.code_space, one.code_space)
    with pytest.raises(SpaceMismatch):
        one.joined(other)
