"""Colours by name, linear heads with calibrated confidence, and the heads that come with the package."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose

from corkboard.errors import ArtifactError, InputError, NotFound
from corkboard.learning.config import TrainingConfig
from corkboard.vision import appearance as module
from corkboard.vision.appearance import (
    COLOUR_NAMES,
    FACETS,
    Appearance,
    AppearanceReader,
    Colour,
    FacetWeights,
    Guess,
    LinearHead,
    appearance_table,
    chances_matrix,
    chances_of,
    colour_names,
    colours_of,
    fitted_head,
    load_appearance,
    oklab,
    read_appearances,
    reader_of,
    save_appearance,
)
from corkboard.vision.appearance_network import AppearanceNetwork, fit_network, logits_of, moved, targets, temperatures


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


def test_heads_and_network_are_kept_to_the_bit(tmp_path):
    draw = np.random.default_rng(2)
    head = LinearHead(("u", "v"), draw.normal(size=(4, 2)).astype(np.float32), np.zeros(2, np.float32), *np.ones((2, 4), np.float32), 1.5)
    facets = FacetWeights({"shade": ("red", "blue"), "pattern": ("plain",)}, (1.0, 2.0), 16, {"w": np.ones((2, 3), np.float16)})
    save_appearance(tmp_path / "kept.safetensors", {"picture": head}, facets, {"seed": 3})
    found, network, notes = load_appearance(tmp_path / "kept.safetensors")
    assert notes == {"seed": 3}
    assert found["picture"].names == ("u", "v")
    assert found["picture"].temperature == 1.5
    assert (found["picture"].weight == head.weight).all()
    assert list(network.names.items()) == list(facets.names.items())  # in their order
    assert (network.temperatures, network.side, network.version) == (facets.temperatures, 16, facets.version)
    assert replace(facets, temperatures=(1.0, 1.0)).version != facets.version
    save_appearance(tmp_path / "heads.safetensors", {"picture": head})
    assert load_appearance(tmp_path / "heads.safetensors")[1:] == (None, {})
    with pytest.raises(ArtifactError, match="another network"):
        reader_of(facets)
    with pytest.raises(NotFound):
        load_appearance(tmp_path / "none.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(ArtifactError, match="nothing of appearance"):
        load_appearance(tmp_path / "other.safetensors")


def told(images: np.ndarray) -> np.ndarray:
    """Chances of two patterns and two shades: striped where the picture has a deviation, always blue."""
    striped = images.std(axis=(1, 2, 3)) > 0
    return np.stack([~striped, striped, np.full(len(images), 0.25), np.full(len(images), 0.75)], axis=1).astype(np.float32)


def test_the_reader_speaks_of_every_crop():
    reader = AppearanceReader({"pattern": ("plain", "striped"), "shade": ("red", "blue")}, told, "1")
    crops = [np.full((10, 10, 3), 255, np.uint8), on_ground((255, 0, 0))]
    flat, red = reader.read(crops)
    assert red.guesses == {"pattern": Guess("striped", 1.0)}  # a shade is nothing that is said
    assert flat.guesses == {"pattern": Guess("plain", 1.0)}
    assert red.colours == (Colour("red", 1.0),)
    assert (red.chances, flat.chances) == ((0.0, 1.0, 0.25, 0.75), (1.0, 0.0, 0.25, 0.75))
    assert_allclose(chances_matrix([red, Appearance(()), flat]), [red.chances, [0] * 4, flat.chances])
    assert chances_matrix([Appearance(())]) is None
    with pytest.raises(InputError, match="other facets"):
        chances_matrix([red, Appearance((), chances=(1.0,))])
    assert (reader.width, str(reader.space)) == (4, "appearance@1")
    assert reader.read([]) == []
    assert reader.chances([]).shape == (0, 4)


def test_appearances_go_through_a_table():
    shown = [Appearance((Colour("blue", 0.5),), {"pattern": Guess("plain", 0.75)}, (0.25, 0.75)), Appearance(())]
    table = appearance_table(["a", "b"], shown)
    assert table.columns == ["item_id", "colours", "shares", "pattern", "pattern_confidence", "style", "style_confidence", "chances"]
    assert table["style"].is_null().all()
    assert read_appearances(table) == shown
    assert read_appearances(pl.concat([table, table]))[2:] == shown


# ----------------------------------------------------------------------------------------------------------- the network


def test_targets_of_what_does_not_show_are_all_alike():
    found = targets(torch.tensor([1, -1]), 4, 0.2)
    assert_allclose(found, [[0.05, 0.85, 0.05, 0.05], [0.25] * 4], rtol=1e-6)


def test_a_temperature_makes_the_truth_likeliest():
    draw = np.random.default_rng(3)
    logits = draw.normal(0, 1, (4000, 3)).astype(np.float32)
    truth = (chances_of(logits).cumsum(1) < draw.random((4000, 1))).sum(1)  # drawn from these very chances
    heats = temperatures(np.concatenate([3 * logits, logits], axis=1), np.stack([truth, truth], axis=1), [3, 3])
    assert_allclose(heats, [3.0, 1.0], rtol=0.1)


def test_a_network_learns_stripes_from_dots_and_is_itself_after_it_was_kept():
    draw = np.random.default_rng(4)
    images = draw.integers(100, 140, (64, 16, 16, 3), dtype=np.uint8)
    way = draw.integers(0, 2, 64)
    images[way == 0, ::4] = 255
    images[way == 1, ::4, ::4] = 255
    images = np.stack([np.roll(one, draw.integers(0, 4, 2), (0, 1)) for one in images])
    truth = np.stack([way, np.full(64, -1)], axis=1)
    config = TrainingConfig(steps=60, learning_rate=2e-3, warmup_steps=5)
    torch.manual_seed(0)
    network = AppearanceNetwork({"pattern": 2, "shade": 3}, 16)
    fit_network(network, images, truth, config, 32, 0.0, 0)
    logits = logits_of(network, images)
    assert (logits[:, :2].argmax(1) == way).mean() > 0.9
    shades = chances_of(logits[:, 2:])
    assert np.abs(shades - 1 / 3).mean() < 0.1  # none shows: all seem alike
    facets = FacetWeights({"pattern": ("striped", "dotted"), "shade": ("a", "b", "c")}, (1.0, 1.0), 16, network.tensors())
    again = reader_of(facets).chances(images[:8])
    assert_allclose(again, np.concatenate([chances_of(logits[:8, :2]), shades[:8]], axis=1), atol=0.2)
    assert_allclose(again.sum(1), 2, rtol=1e-5)


def test_moving_a_picture_keeps_its_values():
    images = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    found = moved(images, np.random.default_rng(0))
    assert found.shape == images.shape
    assert set(found[0].ravel().tolist()) <= set(images[0].ravel().tolist())


# --------------------------------------------------------------------------------------------------------- what is shipped


def test_what_comes_with_the_package_is_worth_what_its_card_says():
    _, facets, notes = load_appearance(module.built_in_file())
    figures = notes["figures"]
    for where in ("catalogue", "web"):
        assert figures["style"][where]["accuracy"] > 0.6
        assert figures["pattern"][where]["accuracy"] > 0.6
        assert figures["shade"][where]["accuracy"] > 0.7
    assert max(of["calibration error"] for name in FACETS for where, of in figures[name].items() if where != "camera") < 0.12
    assert figures["picture"]["seen grounds"]["accuracy"] > 0.85
    assert list(facets.names) == list(FACETS)
    assert module.built_in_reader().version == facets.version == module.built_in_version()
    assert module.built_in_reader().width == 30
    assert module.built_in_file().stat().st_size < 700_000


def test_the_built_in_reader_tells_more_than_chance_of_products_it_has_never_seen():
    from corkboard.world.rendering import Products, render
    from corkboard.world.vocabulary import PATTERNS, STYLES

    products = Products.drawn(120, 987_654)
    shown = module.appearance(render(products, None, "catalogue", side=64))
    for name, values in (("pattern", PATTERNS), ("style", STYLES)):
        truth = [values[k][0] for k in getattr(products, name)]
        right = np.mean([one.guesses[name].value == value for one, value in zip(shown, truth, strict=True)])
        assert right > 2 / len(values), name
