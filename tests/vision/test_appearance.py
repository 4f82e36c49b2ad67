"""Colours by name, linear heads with calibrated confidence, and the heads that come with the package."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from corkboard.errors import ArtifactError, InputError, NotFound
from corkboard.vision import appearance as module
from corkboard.vision.appearance import (
    COLOUR_NAMES,
    Appearance,
    AppearanceReader,
    Colour,
    Guess,
    LinearHead,
    appearance_table,
    colour_names,
    colours_of,
    fitted_head,
    load_heads,
    oklab,
    read_appearances,
    save_heads,
)


def on_ground(thing, ground=(255, 255, 255), side: int = 40, inner: int = 20) -> np.ndarray:
    """A square of one colour in the middle of a ground."""
    image = np.full((side, side, 3), ground, np.uint8)
    begin = (side - inner) // 2
    image[begin : begin + inner, begin : begin + inner] = thing
    return image


def test_oklab_of_known_colours():
    # Ottosson (2020) and the CSS Color 4 tables
    found = oklab(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8))
    assert_allclose(found, [[1, 0, 0], [0, 0, 0], [0.62796, 0.22486, 0.12585], [0.45201, -0.03246, -0.31153]], atol=2e-4)


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((255, 0, 0), "red"), ((255, 127, 80), "coral"), ((255, 150, 0), "orange"), ((255, 230, 0), "yellow"), ((150, 230, 0), "lime"),
        ((0, 140, 50), "green"), ((0, 140, 140), "teal"), ((100, 190, 240), "sky blue"), ((30, 90, 230), "blue"),
        ((120, 80, 220), "violet"), ((150, 30, 170), "purple"), ((255, 130, 180), "pink"),
        ((0, 0, 0), "black"), ((128, 128, 128), "grey"), ((255, 255, 255), "white"), ((222, 206, 178), "beige"), ((120, 75, 45), "brown"),
    ],
)  # fmt: skip
def test_names_of_colours(rgb, name):
    assert COLOUR_NAMES[colour_names(oklab(np.array(rgb, np.uint8)))] == name


def test_a_flat_ground_is_left_out():
    assert colours_of(on_ground((255, 0, 0))) == (Colour("red", 1.0),)
    assert colours_of(on_ground((255, 0, 0), ground=(30, 90, 230))) == (Colour("red", 1.0),)


def test_where_all_is_ground_the_ground_is_the_thing():
    assert colours_of(np.full((20, 30, 3), 255, np.uint8)) == (Colour("white", 1.0),)


def test_colours_fall_by_share_and_the_rare_are_left_out():
    image = on_ground((30, 90, 230))
    image[10:18, 10:30] = (255, 0, 0)  # 8 of 20 rows
    image[29:30, 10:30] = (0, 140, 50)  # 1 of 20 rows
    assert [(one.name, one.share) for one in colours_of(image)] == [("blue", 0.55), ("red", 0.4)]
    assert [one.name for one in colours_of(image, most=1)] == ["blue"]
    assert [one.name for one in colours_of(image, least=0.01)] == ["blue", "red", "green"]


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 300, 3), (2, 1, 3)])
def test_colours_of_pictures_of_hardly_any_pixels(shape):
    assert colours_of(np.zeros(shape, np.uint8)) == (Colour("black", 1.0),)


def test_a_head_by_hand():
    head = LinearHead(("a", "b"), np.array([[1.0, -1.0]]), np.array([0.0, 1.0]), np.array([2.0]), np.array([0.5]), 2.0)
    # (3 - 2) / .5 = 2: logits 2 and -2 + 1, over 2: 1 and -.5
    assert_allclose(head.posteriors(np.array([[3.0]])), [[1 / (1 + np.exp(-1.5)), 1 / (1 + np.exp(1.5))]], rtol=1e-6)
    with pytest.raises(InputError, match="other numbers"):
        head.posteriors(np.zeros((1, 2)))
    with pytest.raises(ArtifactError, match="do not fit"):
        LinearHead(("a",), np.zeros((1, 2)), np.zeros(2), np.zeros(1), np.ones(1))


def test_a_fit_tells_classes_apart_and_its_confidence_is_that_of_the_held_out():
    draw = np.random.default_rng(1)
    classes = draw.integers(0, 3, 900)
    inputs = np.eye(3)[classes] * 4 + draw.normal(0, 0.5, (900, 3))
    wrong = np.where(draw.random(300) < 0.3, draw.integers(0, 3, 300), classes[600:])  # .8 of these are as the inputs say
    head = fitted_head(inputs[:600], classes[:600], ["x", "y", "z"], (inputs[600:], wrong), 1e-4)
    sure = head.posteriors(inputs[600:]).max(axis=1)
    assert (head.posteriors(inputs[600:]).argmax(axis=1) == classes[600:]).mean() > 0.98
    assert abs(sure.mean() - (wrong == classes[600:]).mean()) < 0.05
    assert head.temperature > 1


def test_heads_are_kept_to_the_bit(tmp_path):
    draw = np.random.default_rng(2)
    head = LinearHead(("u", "v"), draw.normal(size=(4, 2)).astype(np.float32), np.zeros(2, np.float32), *np.ones((2, 4), np.float32), 1.5)
    save_heads({"pattern": head}, tmp_path / "heads.safetensors", {"seed": 3})
    found, notes = load_heads(tmp_path / "heads.safetensors")
    assert notes == {"seed": 3}
    assert found["pattern"].names == ("u", "v")
    assert found["pattern"].temperature == 1.5
    assert (found["pattern"].weight == head.weight).all()
    with pytest.raises(NotFound):
        load_heads(tmp_path / "none.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(ArtifactError, match="holds no heads"):
        load_heads(tmp_path / "other.safetensors")


def test_the_reader_speaks_of_every_crop():
    head = LinearHead(("plain", "striped"), np.array([[-1.0, 1.0]]), np.zeros(2), np.zeros(1), np.ones(1))
    reader = AppearanceReader({"pattern": head, "picture": head}, lambda images: images.std(axis=(1, 2, 3))[:, None])
    crops = [np.full((10, 20, 3), 255, np.uint8), on_ground((255, 0, 0))]
    flat, red = reader.read(crops)
    assert list(red.guesses) == ["pattern"]
    assert red.guesses["pattern"].value == "striped"
    assert flat.guesses["pattern"].confidence == pytest.approx(0.5)
    assert red.colours == (Colour("red", 1.0),)
    assert reader.read([]) == []


def test_appearances_go_through_a_table():
    shown = [Appearance((Colour("blue", 0.5),), {"pattern": Guess("plain", 0.75)}), Appearance(())]
    table = appearance_table(["a", "b"], shown)
    assert table.columns == ["item_id", "colours", "shares", "pattern", "pattern_confidence", "style", "style_confidence"]
    assert table["style"].is_null().all()
    assert read_appearances(table) == shown
    assert read_appearances(pl.concat([table, table]))[2:] == shown


# --------------------------------------------------------------------------------------------------------- what is shipped


def test_the_heads_of_the_package_are_of_its_trunk_and_worth_what_the_card_says():
    _, notes = load_heads(module.built_in_file())
    figures = notes["figures"]
    assert figures["style"]["catalogue"]["accuracy"] > 0.5
    assert figures["pattern"]["catalogue"]["accuracy"] > 0.45
    assert max(of["calibration error"] for head in ("pattern", "style") for of in figures[head].values()) < 0.12
    assert figures["picture"]["seen grounds"]["accuracy"] > 0.85
    assert set(module.built_in_reader().heads) == {"pattern", "style"}  # raises where the trunk is another one


def test_the_built_in_reader_tells_more_than_chance_of_products_it_has_never_seen():
    from corkboard.world.rendering import Products, render
    from corkboard.world.vocabulary import PATTERNS, STYLES

    products = Products.drawn(120, 987_654)
    shown = module.appearance(render(products, None, "catalogue", side=96))
    for name, values in (("pattern", PATTERNS), ("style", STYLES)):
        truth = [values[k][0] for k in getattr(products, name)]
        right = np.mean([one.guesses[name].value == value for one, value in zip(shown, truth, strict=True)])
        assert right > 2 / len(values), name


def test_textures_are_read_from_convolutions_alone():
    from corkboard.vision.config import TrunkConfig
    from corkboard.vision.trunk import build_trunk

    vit = build_trunk(TrunkConfig(kind="vit", side=12, patch=6, dim=8, heads=2, layers=1), 0)
    with pytest.raises(InputError, match="convolutional"):
        module.texture_features(vit, np.zeros((1, 8, 8, 3), np.uint8))
    small = build_trunk(TrunkConfig(side=16, width=0.5), 0).eval()
    images = np.random.default_rng(0).integers(0, 255, (3, 20, 20, 3), dtype=np.uint8)
    whole = module.texture_features(small, images)
    assert_allclose(whole[1:2], module.texture_features(small, images[1:2]), rtol=1e-4, atol=1e-4)
    assert whole.shape == (3, 2 * (8 + 16 + 32 + 32 + 64 + 64) + 16 * 17 // 2)
