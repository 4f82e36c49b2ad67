"""The heads of :mod:`corkboard.vision.appearance` that come with the package: how they are fitted, and what they are worth.

    corkboard experiment appearance --out FILE --seed 0

``pattern`` and ``style`` are fitted on rendered products beyond any world: their pictures in all domains and crops of them from scenes, as
what the layers of the trunk that comes with the package say of textures. ``picture`` (product, collage or scene) reads the statistics of
:mod:`corkboard.shopping.outfits` of rendered pictures and of boxes as a detector would find them: some missed, some of nothing, all a
little off. Each head's temperature is chosen on products that the fit has not seen, and figures are of a third set.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from corkboard.config import Section
from corkboard.experiments.spine_runs import code_hash
from corkboard.seeds import derive, generator
from corkboard.shopping.outfits import PICTURE_HEAD, PICTURE_KINDS, STATISTICS, picture_statistics
from corkboard.vision.appearance import COLOUR_NAMES, HUES, SIDE, LinearHead, colours_of, fitted_head, save_heads, texture_features
from corkboard.vision.encoder import Trunk, digest
from corkboard.vision.images import resized
from corkboard.vision.trunk import built_in_trunk
from corkboard.world.rendering import DOMAINS, Products, render
from corkboard.world.scenes import Scenes, collages, scenes, single_pictures
from corkboard.world.vocabulary import PATTERNS, SHADES, STYLES

CODE = ("vision/appearance.py", "shopping/outfits.py", "experiments/appearance.py")
_LOOK_SIDE = 160
_MARGIN = 0.1
Say = Callable[[str], None]
Part = tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]
"""Features (n, width), classes (n,) by head, and the domain of each row: a row of DOMAINS, or their number for a crop of a scene."""


class AppearanceConfig(Section):
    """What the heads are fitted and measured on."""

    training: int = Field(default=4000, ge=20)
    """Products to learn from."""
    validation: int = Field(default=600, ge=10)
    """Products that temperatures are chosen on."""
    test: int = Field(default=1000, ge=10)
    """Products that are asked about."""
    pictures: int = Field(default=900, ge=10)
    """Pictures of each kind to learn from; a third of it to choose the temperature, and as many to be asked about."""
    decay: float = Field(default=3e-3, ge=0)
    """Weight of half the squared weights."""

    @classmethod
    def quick(cls) -> AppearanceConfig:
        """Tests and development: everything runs, no figure means anything."""
        return cls(training=40, validation=20, test=20, pictures=18)


def make_appearance(file: Path, config: AppearanceConfig, seed: int, say: Say) -> dict[str, Any]:
    """Render, fit, measure, and write the heads to ``file``; returns their card, which the file has in its notes."""
    begun = time.time()
    drawn = Products.drawn(config.test + config.validation + config.training, derive(seed, "appearance"))
    places = np.split(np.arange(len(drawn)), [config.test, config.test + config.validation])
    trunk = built_in_trunk()
    test, validation, training = (_looked_at(drawn.take(rows), derive(seed, name), trunk) for rows, name in zip(places, "tvl", strict=True))
    say(f"{len(training[0]):,} pictures to learn from after {time.time() - begun:.0f} s")
    heads, figures = {}, {}
    for name, values in (("pattern", PATTERNS), ("style", STYLES)):
        names = [value[0] for value in values]
        heads[name] = fitted_head(training[0], training[1][name], names, (validation[0], validation[1][name]), config.decay)
        figures[name] = by_domain(heads[name], test, name)
        say(f"{name}: {figures[name]}")
    sets = [_kinds(count, derive(seed, name)) for count, name in
            ((config.pictures, "l"), (config.pictures // 3, "v"), (config.pictures // 3, "t"))]  # fmt: skip
    heads[PICTURE_HEAD] = fitted_head(*sets[0], PICTURE_KINDS, sets[1], config.decay)
    grounds = {"seen grounds": sets[2], "other grounds": _kinds(config.pictures // 3, derive(seed, "o"), "held_out")}
    figures[PICTURE_HEAD] = {name: measured(heads[PICTURE_HEAD], *of) for name, of in grounds.items()}
    figures["colour"] = colour_figures(drawn.take(places[0]))
    say(f"picture: {figures[PICTURE_HEAD]}, colour: {figures['colour']}")
    card = {
        "made_by": "corkboard experiment appearance",
        "seed": seed,
        "code": code_hash(*CODE),
        "trunk": digest(trunk.state_dict()),
        "settings": config.model_dump(mode="json"),
        "statistics": STATISTICS,
        "figures": figures,
    }
    save_heads(heads, file, card)
    return card | {"seconds": round(time.time() - begun)}


def measured(head: LinearHead, inputs: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """Accuracy; mean distance of confidence and accuracy over ten bins (calibration error); accuracy and share of what is sure (.6)."""
    posteriors = head.posteriors(inputs)
    sure, right = posteriors.max(axis=1), posteriors.argmax(axis=1) == classes
    bins = np.minimum((sure * 10).astype(np.int64), 9)
    off = [abs(right[bins == k].mean() - sure[bins == k].mean()) * (bins == k).mean() for k in range(10) if (bins == k).any()]
    spoken = sure >= 0.6
    found = {"accuracy": right.mean(), "calibration error": sum(off), "sure": spoken.mean(),
             "accuracy where sure": right[spoken].mean() if spoken.any() else 0.0}  # fmt: skip
    return {name: round(float(value), 4) for name, value in found.items()}


def by_domain(head: LinearHead, part: Part, name: str) -> dict[str, dict[str, float]]:
    """The figures of :func:`measured` for each domain, and for crops of scenes."""
    features, classes, domain = part
    names = (*DOMAINS, "scene crops")
    return {names[k]: measured(head, features[domain == k], classes[name][domain == k]) for k in np.unique(domain).tolist()}


def colour_figures(products: Products) -> dict[str, float]:
    """Share of catalogue pictures whose most usual hue is the product's own or beside it, and of those where one of three is."""
    names = [name for name, _ in HUES]
    on_circle = [names.index(english) for english, _ in SHADES]
    first = any_of = 0
    for image, shade in zip(render(products, None, "catalogue", side=SIDE), products.shade.tolist(), strict=True):
        hues = [names.index(colour.name) for colour in colours_of(image) if COLOUR_NAMES.index(colour.name) < len(names)]
        near = [min((hue - on_circle[shade]) % 12, (on_circle[shade] - hue) % 12) <= 1 for hue in hues]
        first, any_of = first + (bool(near) and near[0]), any_of + any(near)
    return {"first hue": round(first / len(products), 4), "any hue": round(any_of / len(products), 4)}


def _looked_at(products: Products, seed: int, trunk: Trunk) -> Part:
    """Every product in every domain, and in crops of as many scenes as there are products, halved."""
    images = [render(products, None, domain, side=SIDE, seed=seed) for domain in DOMAINS]
    rows = [np.arange(len(products))] * len(DOMAINS)
    made = scenes(products, max(len(products) // 2, 1), seed, _LOOK_SIDE)
    seen = np.flatnonzero((made.visible > 0.5) & ((made.boxes[:, 2:] - made.boxes[:, :2]).min(axis=1) > 12))
    crops = [_crop(made.images[made.scene[k]], made.boxes[k]) for k in seen]
    domain = np.concatenate([np.full(len(part), k) for k, part in enumerate((*rows, seen))])
    features = texture_features(trunk, np.concatenate([*images, *crops]))
    row = np.concatenate([*rows, made.product[seen]])
    return features, {"pattern": products.pattern[row], "style": products.style[row]}, domain


def _crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """uint8 (1, side, side, 3): the box, a tenth larger, on a square."""
    more = (_MARGIN / 2 * (box[2:] - box[:2])).astype(np.int64)
    (left, top), (right, bottom) = np.maximum(box[:2] - more, 0), np.minimum(box[2:] + more, _LOOK_SIDE)
    return resized(image[None, top:bottom, left:right], SIDE)


# ---------------------------------------------------------------------------------------------------------- kinds of pictures


def _kinds(count: int, seed: int, backgrounds: str = "seen") -> tuple[np.ndarray, np.ndarray]:
    """Statistics (3 * count, 12) and kinds (3 * count,) of ``count`` pictures of each kind."""
    products, draw = Products.drawn(count * 2, derive(seed, "kinds")), generator(seed, "kinds")
    made: list[tuple[np.ndarray, np.ndarray, np.ndarray, int]] = []
    for k, domain in enumerate(DOMAINS):
        made += _shown(single_pictures(products, np.arange(k, count, len(DOMAINS)), domain, 0, _LOOK_SIDE, seed, backgrounds), 0)
    made += _shown(collages(products, count - count // 2, seed, _LOOK_SIDE, backgrounds=backgrounds), 1)
    made += [(*tiled(products, draw), 1) for _ in range(count // 2)]
    made += _shown(scenes(products, count, seed, _LOOK_SIDE, backgrounds=backgrounds), 2)
    found = [picture_statistics(image, *detected(boxes, categories, draw)) for image, boxes, categories, _ in made]
    return np.stack(found), np.array([kind for *_, kind in made])


def _shown(pictures: Scenes, kind: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
    """Picture, boxes as shares and categories of what shows of at least a third, and the kind."""
    plain = pictures.visible > 1 / 3
    rows = [np.flatnonzero(plain & (pictures.scene == k)) for k in range(len(pictures.images))]
    return [(image, pictures.boxes[of] / _LOOK_SIDE, pictures.category[of], kind) for image, of in zip(pictures.images, rows, strict=True)]


def tiled(products: Products, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A collage as people make them in a grid: picture uint8 (160, 160, 3), boxes as shares, categories.

    3 to 6 things stand in cells, for half of the collages each cell on a ground of its own.
    """
    many, columns, tiles = int(draw.integers(3, 7)), int(draw.integers(2, 4)), draw.random() < 0.5
    tall, wide = _LOOK_SIDE // -(-many // columns), _LOOK_SIDE // columns
    rows = draw.choice(len(products), many, replace=False)
    image = np.full((_LOOK_SIDE, _LOOK_SIDE, 3), _ground(draw), np.uint8)
    boxes = []
    pictures = render(products, rows, "catalogue", side=96, seed=int(draw.integers(1 << 30)))
    for place, picture in enumerate(pictures):
        top, left = place // columns * tall, place % columns * wide
        side = int(min(tall, wide) * draw.uniform(0.7, 0.98))
        down, right = top + int(draw.integers(0, tall - side + 1)), left + int(draw.integers(0, wide - side + 1))
        small = resized(picture[None], side)[0]
        if tiles:
            image[top : top + tall, left : left + wide] = _ground(draw)
        beside = image[down : down + side, right : right + side]
        beside[:] = (small.astype(np.float32) * beside / 255).astype(np.uint8)
        there = np.argwhere((small < 235).any(axis=2))
        (first, lefts), (last, rights) = (there.min(0), there.max(0) + 1) if len(there) else ((0, 0), (side, side))
        boxes.append([right + lefts, down + first, right + rights, down + last])
    return image, np.array(boxes, np.float32) / _LOOK_SIDE, products.category[rows]


def _ground(draw: np.random.Generator) -> np.ndarray:
    """A colour of paper: white for half, else pale."""
    return np.full(3, 255.0) if draw.random() < 0.5 else draw.uniform(205, 255, 3)


def detected(boxes: np.ndarray, categories: np.ndarray, draw: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Boxes as a detector would find them: a tenth missed, all moved by some hundredths, some of nothing, some of another category."""
    kept = np.flatnonzero(draw.random(len(boxes)) > 0.1)
    found = [np.clip(boxes[k] + draw.normal(0, 0.02, 4), 0, 1) for k in kept]
    named = [int(categories[k]) if draw.random() > 0.1 else int(draw.integers(16)) for k in kept]
    for _ in range(int(draw.poisson(0.5))):
        corner, size = draw.uniform(0, 0.7, 2), draw.uniform(0.1, 0.5, 2)
        found.append(np.clip([*corner, *(corner + size)], 0, 1))
        named.append(int(draw.integers(16)))
    return np.array(found, np.float32).reshape(-1, 4), named


def card_lines(card: Mapping[str, Any]) -> list[str]:
    """The figures of a card for people."""
    heads = {name: of for name, of in card["figures"].items() if name != "colour"}
    lines = [f"{name:8} {where:12} {figures}" for name, of in heads.items() for where, figures in of.items()]
    return [*lines, f"colour   {card['figures']['colour']}"]
