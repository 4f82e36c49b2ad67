"""Pictures of products: shapes by hand, colours by hand, the same bytes whatever else is drawn, and nothing in them that must not be."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.world.catalogue import Catalogue
from corkboard.world.composing import CAMERA_BACKDROPS, WEB_BACKDROPS
from corkboard.world.config import WorldConfig
from corkboard.world.looks import Looks
from corkboard.world.painting import CHECKED, DOTTED, GRADIENT, STRIPED, distances, woven
from corkboard.world.palettes import NO_STYLE, SHADE_LCH, STYLES, colours, to_rgb
from corkboard.world.rendering import DOMAINS, PICTURES_VERSION, Products, kinds_of, render
from corkboard.world.shapes import Silhouette as Drawing
from corkboard.world.shapes import arc, both, box, capsule, cut, ellipse, main, mirrored, pack, polygon, soft, within
from corkboard.world.silhouettes import SILHOUETTES, figures

from corkboard.world.vocabulary import CATEGORIES, PATTERNS, PICTURE_FACETS, SHADES, STYLES as STYLE_WORDS, TEXT_FACETS, TOPICS  # isort: skip

SIDE = 33
IDENTITY = np.array([2 / SIDE, 0.0, -1.0, 0.0, 2 / SIDE, -1.0])
"""Pixels of a picture as object points of -1 to 1."""


@pytest.fixture(scope="module")
def products() -> Products:
    return Products.drawn(500, seed=21)


def measured(*shapes) -> np.ndarray:
    """Signed distances of one part at the middle of each pixel."""
    packed = pack([Drawing((main(*shapes),))])
    dist = np.zeros((SIDE, SIDE))
    distances(packed.shapes, 0, len(shapes), IDENTITY, 0, 0, SIDE, SIDE, np.zeros(SIDE), dist)
    return dist


def points() -> tuple[np.ndarray, np.ndarray]:
    at = (np.arange(SIDE) + 0.5) * 2 / SIDE - 1
    return np.meshgrid(at, at)


def test_distances_of_shapes_against_plain_geometry():
    x, y = points()
    assert measured(ellipse(0.1, -0.2, 0.5)) == pytest.approx(np.hypot(x - 0.1, y + 0.2) - 0.5)
    outside = np.hypot(np.maximum(abs(x) - 0.6, 0), np.maximum(abs(y) - 0.3, 0))
    assert measured(box(0, 0, 0.6, 0.3)) == pytest.approx(outside + np.minimum(np.maximum(abs(x) - 0.6, abs(y) - 0.3), 0))
    # a box is also a polygon, a stroke of no length a circle, and a whole turn of an arc a ring
    assert measured(polygon((-0.6, -0.3), (0.6, -0.3), (0.6, 0.3), (-0.6, 0.3))) == pytest.approx(measured(box(0, 0, 0.6, 0.3)), abs=1e-9)
    assert measured(capsule(0.1, -0.2, 0.1, -0.2, 0.5)) == pytest.approx(measured(ellipse(0.1, -0.2, 0.5)))
    assert measured(arc(0, 0, 0.5, 0.2, 0, 179.99)) == pytest.approx(abs(np.hypot(x, y) - 0.5) - 0.1, abs=1e-3)
    # a quarter turn exchanges width and height
    assert measured(box(0, 0, 0.6, 0.3, 0.0, np.pi / 2)) == pytest.approx(measured(box(0, 0, 0.3, 0.6)))


def test_shapes_are_joined_cut_and_framed():
    a, b = ellipse(-0.2, 0, 0.5), ellipse(0.2, 0, 0.5)
    one, other = measured(a), measured(b)
    assert measured(a, b) == pytest.approx(np.minimum(one, other))
    assert measured(a, cut(b)) == pytest.approx(np.maximum(one, -other))
    assert measured(a, within(b)) == pytest.approx(np.maximum(one, other))
    melted = measured(a, soft(b, 0.2))
    assert (melted <= np.minimum(one, other) + 1e-12).all()
    assert (melted < np.minimum(one, other) - 0.01).any()


def test_mirror_images_lie_on_the_other_side():
    shapes = [box(0.3, 0.1, 0.2, 0.1, 0.02, 0.4), ellipse(0.3, 0, 0.3, 0.1, 0.5), capsule(0.1, 0, 0.6, 0.4, 0.1, 0.2)]
    shapes += [polygon((0.1, 0), (0.7, 0.1), (0.3, 0.6)), arc(0.2, 0, 0.4, 0.1, 30, 50)]
    for shape in shapes:
        assert measured(mirrored(shape)) == pytest.approx(measured(shape)[:, ::-1], abs=1e-9)
        assert mirrored(mirrored(shape)) == shape
    assert len(both(*shapes)) == 2 * len(shapes)


def test_patterns_show_half_of_the_second_colour_and_follow_their_frequency():
    weave, rng = np.array([3.0, 1.0, 0.0, 0.0]), np.random.default_rng(0)
    u, v = rng.uniform(-1, 1, (2, 4000))

    def shown(pattern):
        return np.array([woven(pattern, a, b, weave, 1e-3, 5)[0] for a, b in zip(u, v, strict=True)])

    assert shown(STRIPED).mean() == pytest.approx(0.5, abs=0.03)
    assert set(np.round(shown(CHECKED), 6)) >= {0.0, 0.5, 1.0}
    assert shown(DOTTED).mean() == pytest.approx(np.pi * 0.29**2, abs=0.03)
    # three periods a unit, no matter where across them
    assert woven(STRIPED, 0.5 / 3, 0.9, weave, 1e-3, 5)[0] == 1
    assert woven(STRIPED, 1.0 / 3, -0.3, weave, 1e-3, 5)[0] == 0
    assert woven(STRIPED, 1.5 / 3, 0.0, weave, 1e-3, 5)[0] == 1
    along = [woven(GRADIENT, a, 0.0, weave, 1e-3, 5)[0] for a in np.linspace(-1, 1, 9)]
    assert along == sorted(along)
    assert (along[0], along[-1]) == (0, 1)


def test_colours_are_those_of_oklch():
    # white, black, and the red, green and blue of a screen, whose OKLCH is published
    known = [(1, 0, 0), (0, 0, 0), (0.62796, 0.25768, 29.234), (0.86644, 0.29483, 142.495), (0.45201, 0.31321, 264.052)]
    assert (np.array(known).shape, to_rgb(np.array(known)).tolist()) == ((5, 3), [[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    full = to_rgb(np.array([[0.7, 0.5, h] for h in range(0, 360, 30)]))  # far more chroma than a screen has
    assert ((full >= 0) & (full <= 1)).all()
    assert np.array_equal(full, np.round(full * 255).astype(np.float32) / np.float32(255))
    assert (len(STYLES), len(SHADE_LCH)) == (len(STYLE_WORDS), len(SHADES))
    grey = colours(np.array([-1]), np.array([-1]), np.full((1, 16), 0.5))[0, 0]
    assert np.ptp(grey) < 0.1
    assert NO_STYLE.trim[1] == 0


def test_every_topic_has_a_silhouette_of_its_own(products):
    assert len(SILHOUETTES) == len(TOPICS)
    assert figures().first[-1] == len(figures().parts)
    drawn = Products.drawn(4000, seed=2, held_out=None)
    rows = np.concatenate([np.flatnonzero(drawn.topic == topic)[:8] for topic in range(len(TOPICS))])
    dark = (render(drawn, rows, "catalogue", side=32).astype(int).min(-1) < 225).reshape(len(TOPICS), 8, 32, 32)
    cover = dark.mean((2, 3))
    assert cover.min() > 0.05
    assert cover.max() < 0.95
    assert (dark[:, :, :1] | dark[:, :, -1:]).mean() < 0.04  # nothing is cut off
    for one in dark.reshape(-1, 32, 32):  # and it is in the middle
        y, x = np.nonzero(one)
        assert abs(y.min() + y.max() - 31) < 14
        assert abs(x.min() + x.max() - 31) < 14
    masks = dark.mean(1).reshape(len(TOPICS), -1) - 0.3
    alike = np.corrcoef(masks) - np.eye(len(TOPICS))
    assert alike.max() < 0.97


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_bytes_of_a_picture_depend_on_nothing_beside_it(products, domain):
    whole = render(products, range(40), domain, view=1, side=24, seed=5)
    assert whole.shape == (40, 24, 24, 3)
    assert whole.dtype == np.uint8
    assert np.array_equal(render(products, [33, 2, 17], domain, 1, 24, 5), whole[[33, 2, 17]])
    assert np.array_equal(render(products.take([17]), None, domain, 1, 24, 5, threads=3), whole[[17]])
    assert np.array_equal(render(products, range(40), domain, 1, 24, 5, threads=1), whole)
    for other in (render(products, range(40), domain, 2, 24, 5), render(products, range(40), domain, 1, 24, 6)):
        assert (other != whole).any((1, 2, 3)).all()
    assert len({picture.tobytes() for picture in whole}) == 40


def test_version_1_gives_these_bytes(products):
    pictures = [render(products, range(24), domain, 0, 32, 3) for domain in DOMAINS]
    made = hashlib.sha256(b"".join(picture.tobytes() for picture in pictures)).hexdigest()[:16]
    assert (PICTURES_VERSION, made) == (1, "a0b4b15cc5b3387b"), "pictures have changed: raise PICTURES_VERSION"


def test_a_larger_side_shows_the_same_picture(products):
    small, large = (render(products, range(12), "web", 0, side).astype(float) for side in (32, 64))
    shrunk = large.reshape(12, 32, 2, 32, 2, 3).mean((2, 4))
    assert abs(shrunk - small).mean() < 6
    assert abs(shrunk - np.roll(small, 1, 0)).mean() > 25


def test_products_of_a_draw_are_the_same_whatever_their_number():
    few, many = Products.drawn(20, 4), Products.drawn(300, 4)
    for name in ("key", "topic", "pattern", "shade", "style"):
        assert np.array_equal(getattr(few, name), getattr(many, name)[:20])
    assert len(set(many.key.tolist()) & set(Products.drawn(300, 5).key.tolist())) == 0
    assert np.array_equal(few.category, [TOPICS[topic].category for topic in few.topic])


def test_what_is_held_out_is_nowhere_else():
    seen, out, both_ = (Products.drawn(600, 8, held_out) for held_out in (False, True, None))
    assert not seen.combination_held_out().any()
    assert out.combination_held_out().all()
    assert 0.1 < both_.combination_held_out().mean() < 0.25
    pairs = set(zip(seen.pattern.tolist(), seen.category.tolist(), strict=True))
    assert not pairs & set(zip(out.pattern.tolist(), out.category.tolist(), strict=True))
    assert len({category for _, category in pairs}) == len(CATEGORIES)
    learn, test = seen.split()
    assert 0.15 < len(test) / 600 < 0.25
    assert np.array_equal(np.sort(np.concatenate([learn, test])), np.arange(600))
    assert np.isin(seen.key[test], seen.take(test[::-1]).key[seen.take(test[::-1]).split()[1]]).all()  # by its key, not its place
    for domain, count in (("web", WEB_BACKDROPS), ("camera", CAMERA_BACKDROPS)):
        assert kinds_of("seen")[DOMAINS.index(domain)].tolist() == [0, count - 1]
        assert kinds_of("held_out")[DOMAINS.index(domain)].tolist() == [count - 1, count]
        other = render(seen, range(20), domain, side=16, backgrounds="held_out")
        assert (other != render(seen, range(20), domain, side=16)).any((1, 2, 3)).all()


def test_pictures_of_a_world_show_what_is_observed_and_nothing_of_the_text():
    config = WorldConfig.tiny()
    catalogue = Catalogue.make(config, Looks.make(config.seed))
    products = Products.of_world(catalogue, config.seed)
    for name in PICTURE_FACETS:
        assert np.array_equal(getattr(products, name), catalogue.observed[name])
        assert (getattr(products, name) == -1).any()
    observed = dict(catalogue.observed) | {name: np.roll(catalogue.observed[name], 1) for name in TEXT_FACETS}
    other = replace(catalogue, observed=observed, **{name: np.roll(getattr(catalogue, name), 1) for name in TEXT_FACETS})
    again = Products.of_world(other, config.seed)
    assert np.array_equal(render(again, range(30), "web", side=16), render(products, range(30), "web", side=16))


def test_each_facet_shows_and_a_missing_one_is_neutral(products):
    rows = np.arange(60)
    plain = replace(products.take(rows), pattern=np.full(60, PATTERNS.index(("plain", "einfarbig"))))

    def drawn(**facets):
        return render(replace(plain, **{name: np.full(60, value) for name, value in facets.items()}), None, "catalogue", side=32).astype(
            int
        )

    base = drawn()
    assert np.array_equal(drawn(pattern=-1), base)
    for name, values in (("pattern", range(1, 6)), ("shade", range(12)), ("style", range(12))):
        looks = [drawn(**{name: value}) for value in values]
        for k, one in enumerate(looks):
            for another in looks[:k]:
                assert (one != another).any((1, 2, 3)).mean() > 0.95

    def chroma(pictures):
        return np.ptp(pictures, -1).mean()

    assert chroma(drawn(shade=-1, style=-1)) < 0.6 * chroma(drawn(shade=0, style=-1))
    # what surrounds the product is the same, whatever it shows
    assert (base[:, 0, 0] == drawn(shade=5, style=3, pattern=2)[:, 0, 0]).all()


def test_trivial_baselines_find_few_products(products):
    """The generator has to be harder than pixels and colours: measured before any model was looked at."""

    def p1(query, gallery):
        return float(np.mean((query @ gallery.T).argmax(1) == np.arange(len(query))))

    def pixels(images):
        flat = images.reshape(len(images), 16, 2, 16, 2, 3).mean((2, 4)).reshape(len(images), -1)
        flat = flat - flat.mean(1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    def centre_colours(images):
        q = images[:, 8:24, 8:24].astype(int) * 6 // 256
        codes = ((q[..., 0] * 6 + q[..., 1]) * 6 + q[..., 2]).reshape(len(images), -1)
        return np.sqrt(np.stack([np.bincount(code, minlength=216) for code in codes]) / codes.shape[1])

    catalogue, web, camera = (render(products, None, domain, 0, 32, 9) for domain in DOMAINS)
    assert p1(pixels(camera), pixels(catalogue)) < 0.10
    assert p1(centre_colours(camera), centre_colours(catalogue)) < 0.20
    assert p1(pixels(web), pixels(catalogue)) < 0.25
    # and yet it is the same thing: the catalogue picture of another view is found at once
    again = render(products, None, "catalogue", 1, 32, 9)
    assert p1(centre_colours(again), centre_colours(catalogue)) > 0.9


def test_errors_say_what_is_expected(products):
    with pytest.raises(InputError, match="three domains"):
        render(products, [0], "photo")
    with pytest.raises(InputError, match="8 and 1024"):
        render(products, [0], "web", side=4)
    with pytest.raises(InputError, match="three sets"):
        render(products, [0], "web", backgrounds="none")
