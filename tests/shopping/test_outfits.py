"""Which pictures are collages, what is in them, and how well that was found."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import write_artifact
from corkboard.errors import ArtifactError, InputError
from corkboard.shopping.complete_config import MiningConfig
from corkboard.shopping.outfits import (
    PICTURE_KINDS,
    STATISTICS,
    Outfits,
    measured_against,
    mine_outfits,
    overlaps,
    picture_kinds,
    picture_statistics,
)
from corkboard.vision.appearance import LinearHead

PRODUCT, COLLAGE, SCENE = np.eye(3, dtype=np.float32)
BOXES = [[0.0, 0.0, 0.4, 0.4], [0.5, 0.0, 0.9, 0.4], [0.0, 0.5, 0.4, 0.9], [0.5, 0.5, 0.9, 0.9]]


def objects(*rows: tuple[str, list[float], str | None, float]) -> pl.DataFrame:
    """Objects of (item, box, category, score); a picture has the name of its item."""
    names = [row[0] for row in rows]
    columns = {"item_id": names, "image_hash": [f"hash {name}" for name in names], "box": [row[1] for row in rows]}
    columns |= {"category": [row[2] for row in rows], "score": [row[3] for row in rows]}
    return pl.DataFrame(columns, schema_overrides={"category": pl.String, "score": pl.Float32})


def mined(frame: pl.DataFrame, kind: np.ndarray = COLLAGE, codes=None, vectors=None, **settings) -> Outfits:
    vectors = np.eye(len(frame), dtype=np.float32) if vectors is None else vectors
    kinds = dict.fromkeys(frame["image_hash"], kind) if isinstance(kind, np.ndarray) else kind
    return mine_outfits(frame, vectors, kinds, codes or {}, MiningConfig(**settings))


def three(item: str) -> list[tuple[str, list[float], str, float]]:
    return [(item, BOXES[k], name, 0.9) for k, name in enumerate(("hat", "bag", "shoe"))]


# ---------------------------------------------------------------------------------------------------------------- pictures


def test_statistics_of_a_picture_by_hand():
    image = np.full((48, 48, 3), 255, np.uint8)
    image[12:36, 12:36] = 0  # a quarter of the picture
    found = dict(zip(STATISTICS, picture_statistics(image, np.array([[0.25, 0.25, 0.75, 0.75]]), ["bag"]), strict=True))
    assert found["flat"] == pytest.approx(0.75)
    assert found["flat edge"] == 1
    assert found["flat outside of boxes"] == 1
    assert found["covered"] == pytest.approx(0.25)
    assert found["largest"] == pytest.approx(0.25)
    assert found["boxes"] == pytest.approx(np.log(2))
    assert found["categories"] == 1
    assert found["overlap"] == 0
    assert found["spread"] == 0
    assert found["lightness"] == pytest.approx(1)
    assert found["straight"] == pytest.approx(0.5)  # half of the longest line is an edge
    # 2 edges of 24 px in 47 x 48 steps, of lightness 1, in either direction
    assert found["steps"] == pytest.approx(np.log(1e-3 + 48 / (47 * 48)), abs=1e-4)


def test_statistics_of_pictures_without_objects_and_of_hardly_any_pixels():
    for shape in ((1, 1, 3), (8, 300, 3)):
        found = picture_statistics(np.zeros(shape, np.uint8), np.zeros((0, 4)), [])
        assert np.isfinite(found).all()
        assert len(found) == len(STATISTICS)
    with pytest.raises(InputError, match="category"):
        picture_statistics(np.zeros((2, 2, 3), np.uint8), np.zeros((0, 4)), ["hat"])


def test_kinds_come_in_their_own_order_whatever_that_of_the_head():
    names = ("scene", "product", "collage")
    head = LinearHead(names, np.zeros((12, 3)), np.array([1.0, 2.0, 3.0]), np.zeros(12), np.ones(12))
    ((product, collage, scene),) = picture_kinds([np.zeros((4, 4, 3), np.uint8)], [(np.zeros((0, 4)), [])], head)
    assert scene < product < collage
    assert PICTURE_KINDS == ("product", "collage", "scene")
    assert picture_kinds([], [], head).shape == (0, 3)


def test_overlaps_by_hand():
    found = overlaps(np.array([[0, 0, 2, 2]]), np.array([[1, 1, 3, 3], [0, 0, 2, 1], [5, 5, 6, 6]]))
    np.testing.assert_allclose(found, [[1 / 7, 1 / 2, 0]], rtol=1e-6)


# ------------------------------------------------------------------------------------------------------------------ mining


def test_an_outfit_is_what_a_collage_shows():
    frame = objects(("z", BOXES[0], "hat", 0.9), *three("a"))
    found = mined(frame)
    assert found.frame.rows() == [("a", 1, "a", "hat", "collage"), ("a", 2, "a", "bag", "collage"), ("a", 3, "a", "shoe", "collage")]
    assert len(found) == 1


def test_pictures_of_one_product_and_of_two_categories_give_none():
    assert len(mined(objects(*three("a")), PRODUCT)) == 0
    assert len(mined(objects(*three("a")), np.array([0.3, 0.5, 0.2]))) == 0  # a collage perhaps, not surely enough
    twice = objects(("a", BOXES[0], "hat", 0.9), ("a", BOXES[1], "bag", 0.9), ("a", BOXES[2], "bag", 0.9))
    assert len(mined(twice)) == 0
    assert len(mined(twice, least_categories=2)) == 1
    assert len(mined(objects())) == 0
    assert len(mined(objects(*three("a")), {})) == 0  # nobody looked at it


def test_scenes_give_outfits_of_their_own_source_unless_switched_off():
    frame = objects(*three("a")[:2])
    assert set(mined(frame, SCENE).frame["source"]) == {"scene"}
    assert len(mined(frame, SCENE, scenes=False)) == 0


@pytest.mark.parametrize(
    ("extra", "kept"),
    [
        (("a", [0.01, 0.0, 0.41, 0.4], "coat", 0.8), 3),  # nearly the box of the hat
        (("a", [0.0, 0.0, 0.2, 0.2], "coat", 0.8), 4),  # within it, but of another category
        (("a", BOXES[3], "hat", 0.8), 3),  # a second hat
        (("a", BOXES[3], "coat", 0.1), 3),  # hardly there
        (("a", BOXES[3], None, 0.8), 3),  # nothing says what it is
        (("a", BOXES[3], "coat", 0.8), 4),
    ],
)
def test_duplicates_and_the_unsure_are_dropped(extra, kept):
    assert len(mined(objects(*three("a"), extra)).frame) == kept


def test_one_category_may_be_there_twice_where_that_is_asked_for():
    frame = objects(*three("a"), ("a", BOXES[3], "hat", 0.8))
    assert len(mined(frame, most_of_category=2).frame) == 4
    vectors = np.eye(4, dtype=np.float32)[[0, 1, 2, 0]]  # the same hat, shown twice
    assert len(mined(frame, most_of_category=2, vectors=vectors).frame) == 3
    inside = objects(*three("a"), ("a", [0.1, 0.1, 0.2, 0.2], "hat", 0.8))
    assert len(mined(inside, most_of_category=2).frame) == 3


def test_of_two_boxes_of_one_thing_the_surer_stays():
    frame = objects(*three("a"), ("a", [0.01, 0.0, 0.41, 0.4], "coat", 0.95))
    assert mined(frame).frame["category"].to_list() == ["bag", "shoe", "coat"]


def test_nearly_the_same_picture_gives_one_outfit():
    frame = objects(*three("b"), *three("a"), *three("c"))
    codes = {"hash a": np.zeros(16, np.uint8), "hash b": np.array([1, *[0] * 15], np.uint8), "hash c": np.full(16, 255, np.uint8)}
    assert sorted(set(mined(frame, codes=codes).frame["outfit_id"])) == ["a", "c"]
    assert len(mined(frame, codes=codes, near_bits=0)) == 3
    assert len(mined(frame)) == 3  # without codes nothing is taken for another


def test_outfits_go_through_an_artefact(tmp_path):
    found = mined(objects(*three("a")))
    kept = write_artifact(tmp_path, "outfits", "x", tables=found.tables(), config=found.config)
    assert Outfits.from_artifact(kept).frame.equals(found.frame)
    assert len(Outfits.from_artifact(write_artifact(tmp_path, "outfits", "y", config={"kind": "none"}))) == 0
    with pytest.raises(ArtifactError, match="no outfits"):
        Outfits.from_artifact(write_artifact(tmp_path, "outfits", "z", config={"kind": "other"}))
    with pytest.raises(InputError, match="vector"):
        mined(objects(*three("a")), vectors=np.zeros((1, 2), np.float32))


# --------------------------------------------------------------------------------------------------------------- measuring


def test_what_was_mined_is_measured_against_the_truth():
    frame = objects(*three("a"), *three("wrong"))
    rows = [("a", BOXES[0], "hat"), ("a", BOXES[1], "bag"), ("a", BOXES[2], "coat"), ("a", BOXES[3], "coat"), ("missed", BOXES[0], "hat")]
    truth = pl.DataFrame(
        [(item, *box, category, "collage") for item, box, category in rows] + [("wrong", *BOXES[0], "hat", "scene")],
        schema=["item_id", "left", "top", "right", "bottom", "category", "kind"],
        orient="row",
    )
    found = measured_against(mined(frame), frame, truth)
    expected = {"collage_precision": 1 / 2, "collage_recall": 1 / 2, "member_precision": 2 / 6, "member_recall": 2 / 5}
    assert found == pytest.approx(expected | {"member_recall_in_found": 2 / 4})
    nothing = measured_against(mined(objects()), objects(), truth)
    assert np.isnan(nothing["collage_precision"])
    assert nothing["collage_recall"] == 0
    assert nothing["member_recall"] == 0


def test_a_true_object_is_found_once():
    twice = [("a", BOXES[0], "hat", 0.9), ("a", [0.0, 0.0, 0.4, 0.3], "hat", 0.8)]
    frame = objects(*twice, ("a", BOXES[1], "bag", 0.9), ("a", BOXES[2], "shoe", 0.9))
    found = mined(frame, most_of_category=2, overlap=1.0, nested=1.0, alike=1.0)
    columns = ["item_id", "left", "top", "right", "bottom", "category", "kind"]
    truth = pl.DataFrame([("a", *BOXES[0], "hat", "collage")], schema=columns, orient="row")
    assert measured_against(found, frame, truth)["member_precision"] == pytest.approx(1 / len(found.frame))
