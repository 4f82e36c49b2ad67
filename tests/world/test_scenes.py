"""Labelled pictures beyond any world: scenes as ever, collages whose things do not touch, single products with all that stands about."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.world.composing import TINTS
from corkboard.world.rendering import DOMAINS, Products, render
from corkboard.world.scenes import Scenes, collages, scenes, single_pictures

COLUMNS = ("scene", "boxes", "product", "category", "style", "visible", "depth")


@pytest.fixture(scope="module")
def products() -> Products:
    return Products.drawn(30, seed=3)


@pytest.fixture(scope="module")
def laid(products) -> Scenes:
    return collages(products, 120, seed=5, side=64)


def ground(images: np.ndarray) -> np.ndarray:
    """The lower right corner, which nothing reaches."""
    return images[:, -1, -1]


def test_version_1_of_scenes_gives_these_bytes(products):
    made = scenes(products, 40, seed=2, side=48)
    digest = hashlib.sha256()
    for name in ("images", *COLUMNS):
        digest.update(np.ascontiguousarray(getattr(made, name)).tobytes())
    assert digest.hexdigest()[:16] == "5a392cc659b86155"


def test_version_1_of_collages_gives_these_bytes(products):
    made = collages(products, 40, seed=2, side=48)
    assert hashlib.sha256(made.images.tobytes() + made.boxes.tobytes()).hexdigest()[:16] == "a9a77dc3138281fc"


def test_collages_are_the_same_whatever_their_number(products, laid):
    few = collages(products, 5, seed=5, side=64, threads=1)
    rows = laid.scene < 5
    assert np.array_equal(few.images, laid.images[:5])
    for name in COLUMNS:
        assert np.array_equal(getattr(few, name), getattr(laid, name)[rows])
    assert not np.array_equal(collages(products, 5, seed=6, side=64).images, few.images)


def test_things_of_a_collage_do_not_touch_and_the_last_is_largest(products):
    made = collages(products, 60, seed=7, side=128, together=[[0, 0, 0, 0, 0], [1, 1, 1]] * 30)
    assert np.bincount(made.scene).tolist() == [5, 3] * 30
    assert made.visible == pytest.approx(1)
    last = []
    for one in range(60):
        boxes = made.boxes[made.scene == one]
        shared = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - np.maximum(boxes[:, None, :2], boxes[None, :, :2])
        assert ((shared > 0).all(2).sum(1) == 1).all()  # each touches itself alone
        assert (boxes.min(), boxes.max()) >= (0, 0)
        assert boxes.max() <= 128
        area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        last.append(area.argmax() == len(area) - 1)
        assert area.max() > 1.2 * area.min()
    assert np.mean(last) > 0.75


def test_collages_are_of_three_to_five_things_drawn_evenly(products, laid):
    assert set(np.bincount(laid.scene)) == {3, 4, 5}
    assert set(laid.product) == set(range(30))
    assert np.array_equal(laid.category, products.category[laid.product])
    assert np.array_equal(laid.style, products.style[laid.product])


def test_the_ground_of_a_collage_knows_nothing_of_what_lies_on_it(products, laid):
    colours = ground(laid.images)
    tinted = {tuple(np.round(np.array(tint) * 255).astype(int)) for tint in TINTS}
    assert {tuple(colour) for colour in colours.tolist()} == {(254, 254, 254), *tinted}
    assert 0.35 < (colours == 254).all(1).mean() < 0.65
    other = replace(products, style=(products.style + 1) % 12, shade=(products.shade + 5) % 12)
    again = collages(other, 120, seed=5, side=64)
    assert np.array_equal(ground(again.images), colours)
    assert np.array_equal(again.boxes, laid.boxes)
    held_out = collages(products, 20, seed=5, side=64, backgrounds="held_out").images
    assert (held_out[:, 0, 0] != held_out[:, -1, 0]).any(1).all()  # it fades, which no other ground does
    assert (laid.images[:, 0, 0] == laid.images[:, -1, 0]).all()


def test_collages_of_chosen_products(products):
    made = collages(products, 2, seed=1, side=48, together=[[3], [9, 4, 5, 6, 7]])
    assert made.product.tolist() == [3, 9, 4, 5, 6, 7]
    with pytest.raises(InputError, match="one to five"):
        collages(products, 1, seed=1, together=[[1, 2, 3, 4, 5, 6]])
    with pytest.raises(InputError, match="one to five"):
        collages(products, 2, seed=1, together=[[1, 2, 3]])


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("backgrounds", ["seen", "held_out"])
def test_single_pictures_are_those_of_render_with_boxes(products, domain, backgrounds):
    rows = [4, 9, 2, 20, 11, 17]
    made = single_pictures(products, rows, domain, 1, 48, 6, backgrounds)
    assert np.array_equal(made.images, render(products, rows, domain, 1, 48, 6, backgrounds))
    own = made.product >= 0
    assert made.product[own].tolist() == rows
    assert made.scene[own].tolist() == list(range(6))
    assert np.array_equal(made.category[own], products.category[rows])
    if domain == "catalogue":
        assert own.all()
        boxes = made.boxes / 48
        assert np.abs(boxes[:, :2] + boxes[:, 2:] - 1).max() < 0.12  # in the middle
        assert (boxes[:, 2:] - boxes[:, :2]).max(1).min() > 0.7
        assert made.visible == pytest.approx(1)
    if domain == "camera":
        assert (~own).sum() >= 6
        assert made.visible.min() < 0.95


def test_errors_of_single_pictures_say_what_is_expected(products):
    with pytest.raises(InputError, match="three domains"):
        single_pictures(products, None, "scene")
    with pytest.raises(InputError, match="8 and 1024"):
        single_pictures(products, None, "web", side=4)
    with pytest.raises(InputError, match="three sets"):
        collages(products, 1, seed=1, backgrounds="none")
