"""The image tokens of products: the main picture in the graph, further ones by the same encoder without neighbours."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
import pytest
from PIL import Image

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.embeddings import product_images as module
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.embeddings.product_images import MAX_TOKENS, ProductImages, product_images
from corkboard.errors import InputError, SpaceMismatch
from corkboard.lake.pictures.reading import Pictures
from corkboard.lake.pictures.store import PictureStore
from corkboard.vision.config import TrunkConfig
from corkboard.vision.trunk import build_trunk
from tests.embeddings.graph_builders import SPACES, lists, multibisage

IDS = ["i0", "i1", "i2", "i3", "i4", "i5"]
TRUNK = build_trunk(TrunkConfig(side=16, width=0.25), 0)


class Colours:
    """An encoder of pictures whose features are the mean colour, and whose vectors are that and the greatest of the three."""

    side, trunk, space = 4, TRUNK, SPACES[1]

    def features(self, images):
        return images.reshape(len(images), -1, 3).mean(axis=1).astype(np.float32)

    def vectors_of(self, features):
        return np.column_stack([features, features.max(axis=1, initial=0)]).astype(np.float32) / 255


def png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), colour, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def lake(tmp_path):
    """Six items over a lake of 24 pictures: with one, three, none, 24, two of which one is not there, and one that comes twice."""
    store = PictureStore(tmp_path)
    colours = np.random.default_rng(0).integers(0, 256, (24, 3))
    names = [f"sha256:{store.put(png(tuple(colour)))}" for colour in colours.tolist()]
    images = [names[:1], names[1:4], [], names, ["https://example.com/none.jpg", names[5], names[6]], [names[7], names[7], names[8]]]
    items = pl.DataFrame({"item_id": IDS, "images": images}, schema={"item_id": pl.String, "images": pl.List(pl.String)})
    return items, Pictures(tmp_path), colours.astype(np.float32)


@pytest.fixture
def model():
    """A MultiBiSage of random weights that reads content of six numbers and pictures of four."""
    return multibisage(NodeFeatures([f"i{k:03d}" for k in range(30)], np.zeros((30, 10), np.float32), (6, 4), SPACES), lists())


@pytest.fixture
def content():
    """Content of all items but i5."""
    return EmbeddingTable(IDS[:5], np.random.default_rng(1).normal(size=(5, 6)), SPACES[0])


def served_of(model, zero: str = "i4") -> EmbeddingTable:
    """Random unit vectors of all items but i3, zero for one."""
    vectors = np.random.default_rng(2).normal(size=(6, model.dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[IDS.index(zero)] = 0
    kept = [row for row in range(6) if IDS[row] != "i3"]
    return EmbeddingTable([IDS[row] for row in kept], vectors[kept], model.space)


def test_which_tokens_are_there(lake, model, content):
    """By hand. i3 is not in the graph and shows more than 20 pictures; i4 is at zero, and its first picture is not in the lake."""
    items, pictures, _ = lake
    found = product_images(items, served_of(model), model, content, Colours(), pictures)
    assert found.vectors.shape == (6, MAX_TOKENS, model.dim)
    assert found.vectors.dtype == np.float32
    assert [np.flatnonzero(row).tolist() for row in found.there] == [[0], [0, 1, 2], [0], list(range(1, 20)), [1], [0, 1]]
    assert (found.item_ids, found.space, found.dim, len(found)) == (IDS, model.space, model.dim, 6)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=2), found.there, atol=1e-5)


def test_token_0_is_the_served_vector_and_a_further_one_is_the_picture_read_without_neighbours(lake, model, content, monkeypatch):
    """Each further token against an encoding of that one picture by itself, in chunks smaller than the pictures are many."""
    monkeypatch.setattr(module, "_CHUNK", 5)
    items, pictures, colours = lake
    served = served_of(model)
    found = product_images(items, served, model, content, Colours(), pictures)
    np.testing.assert_array_equal(found.vectors[:, 0], served.lookup(IDS)[0])
    for row, place, shown in [(1, 1, 2), (1, 2, 3), (3, 1, 1), (3, 19, 19), (4, 1, 6), (5, 1, 8)]:
        look = Colours().vectors_of(colours[[shown]])
        of_content = EmbeddingTable(["x"], content.lookup([IDS[row]])[0], SPACES[0])
        alone = model.encode(NodeFeatures.of(["x"], [of_content, EmbeddingTable(["x"], look, SPACES[1])]), None)
        np.testing.assert_allclose(found.vectors[row, place], alone[0], atol=1e-5)
    assert np.linalg.norm(found.vectors[1, 1] - found.vectors[1, 2]) > 0.01  # another picture is another vector


def test_without_pictures_there_is_token_0_alone(lake, model, content):
    items, pictures, _ = lake
    served = served_of(model)
    blind = multibisage(NodeFeatures([f"i{k:03d}" for k in range(30)], np.zeros((30, 6), np.float32), (6,), SPACES[:1]), lists())
    in_blind = EmbeddingTable(served.ids, served.vectors, blind.space)
    few = items.with_columns(images=pl.col("images").list.head(1))
    for found in (
        product_images(items, served),
        product_images(items, served, model, content, None, pictures),
        product_images(items, served, model, content, Colours(), None),
        product_images(items, in_blind, blind, content, Colours(), pictures),
        product_images(few, served, model, content, Colours(), pictures),
    ):
        assert found.vectors.shape == (6, 1, model.dim)
        assert found.there[:, 0].tolist() == [True, True, True, False, False, True]
        np.testing.assert_array_equal(found.vectors[:, 0], served.lookup(IDS)[0])
    nobody = product_images(items.head(0), served, model, content, Colours(), pictures)
    assert nobody.vectors.shape == (0, 1, model.dim)


def test_the_order_of_the_items_is_kept_and_rows_are_taken(lake, model, content):
    items, pictures, _ = lake
    whole = product_images(items, served_of(model), model, content, Colours(), pictures)
    turned = product_images(items.reverse(), served_of(model), model, content, Colours(), pictures)
    taken = whole.take([5, 4, 3, 2, 1, 0])
    assert turned.item_ids == taken.item_ids == IDS[::-1]
    np.testing.assert_allclose(turned.vectors, taken.vectors, atol=1e-6)
    np.testing.assert_array_equal(turned.there, taken.there)


def test_vectors_of_other_spaces_are_refused(lake, model, content):
    items, pictures, _ = lake
    served = served_of(model)
    with pytest.raises(SpaceMismatch):
        product_images(items, EmbeddingTable(served.ids, served.vectors, Space("multibisage", "another")), model)
    other = EmbeddingTable(content.ids, content.vectors, Space("content", "2"))
    with pytest.raises(SpaceMismatch):
        product_images(items, served, model, other, Colours(), pictures)


@pytest.mark.parametrize(
    ("ids", "vectors", "there"), [(2, (3, 1, 4), (3, 1)), (3, (3, 2, 4), (3, 1)), (3, (3, 21, 4), (3, 21)), (3, (3, 4), (3, 4))]
)
def test_tokens_of_other_shapes_are_refused(ids, vectors, there):
    with pytest.raises(InputError, match="Image tokens"):
        ProductImages([str(k) for k in range(ids)], np.zeros(vectors, np.float32), np.zeros(there, bool), SPACES[0])
