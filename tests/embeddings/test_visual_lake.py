"""What a lake tells of its pictures, and what is kept of them."""

from __future__ import annotations

import io
import os

import numpy as np
import polars as pl
import pytest
from PIL import Image

from corkboard.embeddings import visual_lake
from corkboard.embeddings.config import VisualConfig
from corkboard.embeddings.visual import VisualEncoder
from corkboard.embeddings.visual_lake import learn_from_lake, likeness, main_vectors, picture_features, pictures_of, visual_tasks
from corkboard.lake.pictures.reading import Pictures
from corkboard.lake.pictures.store import PictureStore
from corkboard.learning.config import TrainingConfig
from corkboard.vision.config import TrunkConfig
from corkboard.vision.trunk import build_trunk

TRUNK = TrunkConfig(side=16, width=0.25)
CONFIG = VisualConfig(dim=8, code_bits=16, training=TrainingConfig(steps=3, warmup_steps=1))


def png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((12, 12, 3), colour, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def kept(tmp_path):
    """A lake's pictures: red, green and blue squares, by hash."""
    store = PictureStore(tmp_path)
    return Pictures(tmp_path), [store.put(png(colour)) for colour in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]


def items(images: list[list[str]], categories: list[str | None], colours: list[str | None]) -> pl.DataFrame:
    n = len(images)
    return pl.DataFrame(
        {
            "item_id": [f"i{k}" for k in range(n)],
            "images": images,
            "category": categories,
            "attributes": [[] if colour is None else [{"name": "colour", "value": colour}] for colour in colours],
        },
        schema={
            "item_id": pl.String,
            "images": pl.List(pl.String),
            "category": pl.String,
            "attributes": pl.List(pl.Struct({"name": pl.String, "value": pl.String})),
        },
    )


def test_every_picture_of_an_item_counts_and_what_the_lake_does_not_have_is_left_out(kept):
    pictures, (red, green, blue) = kept
    table = items(
        [[f"sha256:{red}", f"sha256:{green}"], ["https://example.com/never-fetched.jpg"], [f"sha256:{blue}"]], ["a", "b", "c"], [None] * 3
    )
    assert pictures_of(table, pictures).rows() == [("i0", red), ("i0", green), ("i2", blue)]


def test_tasks_are_items_categories_and_attributes_that_show(kept):
    """Ten items of two colours; the features tell the colour, so it is a task, and not where they tell nothing."""
    _, hashes = kept
    table = items(
        [[f"sha256:{hashes[k % 2]}"] for k in range(10)], ["hat"] * 5 + ["shoe"] * 5, [("red", "green")[k % 2] for k in range(10)]
    )
    names = [f"h{k}" for k in range(10)]
    shown = pl.DataFrame({"item_id": table["item_id"], "hash": names})
    telling = np.eye(2, dtype=np.float32)[np.arange(10) % 2]
    found = {task.name: task for task in visual_tasks(table, shown, names, telling)}
    assert list(found) == ["item", "category", "attribute colour"]
    assert len(np.unique(found["item"].classes)) == 10
    assert found["category"].classes.tolist() == [0] * 5 + [1] * 5
    assert len(np.unique(found["attribute colour"].classes)) == 2
    mute = np.random.default_rng(0).normal(size=(10, 400)).astype(np.float32)
    assert [task.name for task in visual_tasks(table, shown, names, mute)] == ["item", "category"]


def test_pictures_of_one_item_or_of_one_hash_do_not_make_an_attribute_show(kept):
    """An attribute that is said at random: six pictures of each item are alike, and so are variants that share one picture."""
    draw = np.random.default_rng(1)
    names, looks = [f"h{k}" for k in range(120)], draw.normal(size=(20, 64)).astype(np.float32)
    table = items([[]] * 120, [None] * 120, [f"c{k // 6 % 4}" for k in range(120)])
    shared = pl.DataFrame({"item_id": table["item_id"], "hash": np.repeat(names[:20], 6)})
    assert [task.name for task in visual_tasks(table, shared, names[:20], looks)] == ["item"]
    several = pl.DataFrame({"item_id": np.repeat(table["item_id"].to_numpy()[::6], 6), "hash": names})
    assert [task.name for task in visual_tasks(table, several, names, np.repeat(looks, 6, axis=0))] == ["item"]
    # the same pictures, where they do tell: all of them are learned from
    telling = np.eye(4, dtype=np.float32)[np.arange(120) // 6 % 4]
    (_, colour) = visual_tasks(table, several, names, telling)
    assert (colour.name, len(colour)) == ("attribute colour", 120)


def test_likeness_by_hand():
    # two classes of two opposite directions: within 1, and of the six pairs two are 1 and four -1
    features = np.array([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    assert likeness(features, np.array([0, 0, 1, 1])) == pytest.approx(1 + 1 / 3)
    assert likeness(features, np.array([0, 1, 0, 1])) == pytest.approx(-1 + 1 / 3)
    assert likeness(features, np.arange(4)) == 0


class Counting:
    """An encoder that says how many pictures it was given."""

    side = 4

    def __init__(self, seed=0):
        self.seen = []
        self.trunk = build_trunk(TRUNK, seed)

    def features(self, images):
        self.seen.append(len(images))
        return images.reshape(len(images), -1, 3).mean(axis=1).astype(np.float32)


def test_features_of_a_picture_are_computed_once(kept):
    pictures, (red, green, blue) = kept
    encoder = Counting()
    first = picture_features(encoder, pictures, [red, green, red])
    np.testing.assert_allclose(first, [[200, 0, 0], [0, 200, 0], [200, 0, 0]])
    again = picture_features(encoder, pictures, [blue, red])
    np.testing.assert_allclose(again, [[0, 0, 200], [200, 0, 0]])
    assert encoder.seen == [2, 1]
    assert picture_features(encoder, pictures, []).shape == (0, 3)


def test_features_that_were_cut_off_are_computed_again(kept):
    pictures, (red, *_) = kept
    encoder = Counting()
    picture_features(encoder, pictures, [red])
    (file,) = (pictures.store.folder / "features").iterdir()
    file.write_bytes(file.read_bytes()[:50])
    np.testing.assert_allclose(picture_features(encoder, pictures, [red]), [[200, 0, 0]])
    assert encoder.seen == [1, 1]


def test_outputs_that_are_learned_anew_read_the_same_features_and_another_trunk_its_own(kept):
    pictures, hashes = kept
    trunk = build_trunk(TRUNK, 0)
    weights = [{"output0": np.eye(trunk.dim, 8) * sign, "output1": np.eye(trunk.dim, 16)} for sign in (1, -1)]
    first, second = (VisualEncoder(CONFIG, trunk, given) for given in weights)
    assert first.space != second.space
    found = picture_features(first, pictures, hashes)
    second.features = None  # it would fail if it were asked
    np.testing.assert_array_equal(picture_features(second, pictures, hashes), found)
    other = Counting(seed=1)
    picture_features(other, pictures, hashes)
    assert other.seen == [3]


def test_features_of_few_trunks_are_kept(kept, monkeypatch):
    monkeypatch.setattr(visual_lake, "FEATURES_KEPT", 2)
    pictures, hashes = kept
    encoders = [Counting(seed) for seed in range(3)]
    folder = pictures.store.folder / "features"
    for place, encoder in enumerate((encoders[0], encoders[1], encoders[0], encoders[2])):
        picture_features(encoder, pictures, hashes)
        for file in folder.iterdir():  # so long ago: clocks of files are coarse
            seconds = file.stat().st_mtime - 60
            os.utime(file, (seconds, seconds))
        assert len(list(folder.iterdir())) == min(place + 1, 2)
    for encoder in (encoders[0], encoders[2], encoders[1]):
        picture_features(encoder, pictures, hashes)
    assert [len(encoder.seen) for encoder in encoders] == [1, 2, 1]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Forty items; two show the same picture, one shows two, one none."""
    folder, draw = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    store = PictureStore(folder)
    hashes = [store.put(png(tuple(colour))) for colour in draw.integers(0, 256, (40, 3)).tolist()]
    images = [[f"sha256:{name}"] for name in hashes]
    images[1], images[2], images[3] = images[0], [*images[2], images[39][0]], []
    return Pictures(folder), items(images, ["hat", "shoe"] * 20, [None] * 40), hashes


def test_an_encoder_is_learned_from_every_picture_of_a_lake(many):
    pictures, table, hashes = many
    encoder, (of_items, of_categories) = learn_from_lake(table, pictures, lambda: build_trunk(TRUNK, 0), CONFIG)
    assert (len(of_items), len(np.unique(of_items.images)), len(np.unique(of_items.classes))) == (40, 38, 39)
    assert len(np.unique(of_categories.classes)) == 2
    found = main_vectors(encoder, pictures, table)
    assert found.ids == [f"i{k}" for k in range(40) if k != 3]
    assert found.space == encoder.space
    vectors, _ = found.lookup(["i0", "i1", "i3"])
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert not vectors[2].any()
    shown = pictures.array([hashes[2]], encoder.side)
    np.testing.assert_allclose(found.lookup(["i2"])[0], encoder.encode(shown), atol=1e-5)


def test_few_pictures_teach_nothing_and_no_trunk_is_asked_for(many):
    pictures, table, _ = many
    few = table.head(visual_lake.MIN_PICTURES)  # two pictures fewer
    assert learn_from_lake(few, pictures, lambda: pytest.fail("there is nothing to learn")) is None


def test_of_very_many_pictures_some_are_learned_from(many, monkeypatch):
    monkeypatch.setattr(visual_lake, "MAX_PICTURES", 25)
    pictures, table, _ = many
    tasks = [learn_from_lake(table, pictures, lambda: build_trunk(TRUNK, 0), CONFIG, seed)[1] for seed in (1, 1, 2)]
    assert all(len(np.unique(of_items.images)) == 25 for of_items, _ in tasks)
    one, again, other = (of_categories.classes.tolist() for _, of_categories in tasks)
    assert one == again != other
