"""The protocol of finding products by pictures: parts that do not touch, figures by hand, ties."""

import numpy as np
import pytest

from corkboard.errors import LeakError
from corkboard.experiments.vision_config import ProductSetConfig, VisualRetrievalConfig
from corkboard.experiments.visual_retrieval import (
    BROWSE,
    CATEGORY,
    EXACT,
    LENS,
    P1,
    R10,
    Gallery,
    Labelled,
    baselines,
    browse_classes,
    disjoint,
    product_pictures,
)
from corkboard.world.rendering import DOMAINS, Products

SMALL = ProductSetConfig(training=12, validation=6, test=9, combination=4, side=16, web=2, camera=3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return product_pictures(SMALL, 7, tmp_path_factory.mktemp("pictures"))


def products(count, topics=None):
    drawn = Products.drawn(count, 3)
    return drawn if topics is None else Products(drawn.key, np.array(topics), drawn.pattern, drawn.shade, drawn.style)


def test_parts_share_no_product_and_test_products_do_not_depend_on_how_many_are_trained_on(pictures, tmp_path):
    parts = (pictures.training, pictures.validation, pictures.test, pictures.combination)
    keys = np.concatenate([part.products.key for part in parts])
    assert len(np.unique(keys)) == 12 + 6 + 9 + 4
    assert pictures.combination.products.combination_held_out().all()
    assert not pictures.training.products.combination_held_out().any()
    more = product_pictures(SMALL.model_copy(update={"training": 15}), 7, tmp_path)
    assert (more.test.products.key == pictures.test.products.key).all()
    assert (more.test["camera"] == pictures.test["camera"]).all()
    assert more.split != pictures.split


def test_a_product_in_two_parts_is_a_leak():
    both = products(4)
    with pytest.raises(LeakError):
        disjoint({"training": both, "test": both.take([1])})
    with pytest.raises(LeakError):
        disjoint({"training": Products.drawn(5, 1, held_out=True)})
    disjoint({"training": both, "combination": Products.drawn(5, 1, held_out=True)})


def test_held_out_backgrounds_show_the_same_products_elsewhere(pictures):
    assert set(pictures.backgrounds.images) == {"web", "camera"}
    assert (pictures.backgrounds.products.key == pictures.test.products.key).all()
    assert (pictures.backgrounds["camera"] != pictures.test["camera"]).any()


def test_every_picture_is_labelled_with_its_product_and_domain(pictures):
    learned = Labelled.of(pictures.training)
    assert len(learned.images) == 12 * (1 + 2 + 3)
    row = np.flatnonzero((learned.product == 5) & (learned.domain == DOMAINS.index("camera")))[1]
    assert (learned.images[row] == pictures.training["camera"][1, 5]).all()
    tasks = {task.name: task for task in learned.tasks()}
    assert set(tasks[BROWSE].domains) == {1}
    assert set(tasks[LENS].domains) == {1, 2}
    assert len(tasks[EXACT]) == len(learned.images)
    assert (tasks[EXACT].classes == learned.product).all()
    assert (tasks[BROWSE].classes == browse_classes(learned.products)[learned.product[tasks[BROWSE].images]]).all()
    some = learned.only(np.array([2, 4]))
    assert set(some.product) == {2, 4}
    assert len(some.images) == 2 * 6
    assert set(some.where(some.domain == 0).domain) == {0}


def test_figures_by_hand():
    shown = products(3, topics=[0, 0, 3])  # categories 0, 0, 1
    catalogue = np.eye(3, dtype=np.float32)[None]
    camera = np.array([[[1, 0, 0], [0.9, 0.1, 0], [0, 0.6, 0.5]], [[0, 1, 0], [0, 1, 0], [0, 0, 1]]], np.float32)
    found = Gallery(shown, {"catalogue": catalogue, "camera": camera}).found("camera")
    assert found[P1].total.tolist() == [1, 1, 1]  # 0: hit, miss; 1: miss, hit; 2: miss, hit
    assert found[P1].value == pytest.approx(3 / 6)
    assert found[CATEGORY].total.tolist() == [2, 2, 1]
    assert found[R10].value == 1.0


def test_codes_are_compared_by_hamming_distance():
    shown = products(3)
    catalogue = np.array([[[0b00000000], [0b11110000], [0b11111111]]], np.uint8)
    camera = np.array([[[0b00000001], [0b11100000], [0b00111111]]], np.uint8)
    found = Gallery(shown, {"catalogue": catalogue, "camera": camera}).found("camera")
    assert found[P1].total.tolist() == [1, 1, 1]
    swapped = Gallery(shown, {"catalogue": catalogue, "camera": camera[:, ::-1]}).found("camera")
    assert swapped[P1].total.tolist() == [0, 1, 0]


def test_where_all_are_equal_nobody_is_first_by_order():
    count = 400
    same = np.zeros((1, count, 8), np.uint8)
    found = Gallery(products(count), {"catalogue": same, "camera": same}).found("camera")
    assert found[P1].total.sum() == 1
    assert found[P1].total[0] == 0  # by the order of the index it would be the first
    assert found[R10].total.sum() == 10


def test_alike_asks_for_others_of_the_class():
    shown = products(4)
    index = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.5, 0.5]], np.float32)
    classes = np.array([0, 0, 1, 2])
    gallery = Gallery(shown, {"web": np.stack([index, index])})
    figure = gallery.alike("web", "web", classes)
    assert figure.weight.tolist() == [1, 1, 0, 0]  # who is alone of its class is not asked
    assert figure.total.tolist() == [1, 1, 0, 0]
    assert gallery.alike("web", "web", np.array([0, 1, 0, 1])).total.tolist() == [0, 0, 0, 0]


def test_baselines_see_the_same_products(pictures):
    config = VisualRetrievalConfig.quick().model_copy(update={"products": SMALL})
    found = baselines(pictures, config, 0)
    assert set(found) == {"centre histogram", "histogram", "raw pixels", "untrained trunk"}
    for gallery in found.values():
        figures = gallery.figures()
        assert figures[f"camera {P1}"].users == 9
        assert 0 <= figures[f"web {R10}"].value <= 1
    assert found["raw pixels"].figures()[f"web {P1}"].value > 1 / 9
