"""The weights of :mod:`corkboard.vision.appearance` that come with the package: how they are made, and what they are worth.

The network that tells pattern, shade and style learns from rendered products beyond any world: in catalogue, web and camera pictures,
whole and as a detector would cut them out, and as crops of scenes and collages. Some show no shade or no style, as in a world, and are to
seem like all. ``picture`` (product, collage or scene) reads the statistics of :mod:`corkboard.shopping.outfits` of rendered pictures and of
boxes as a detector would find them: some missed, some of nothing, all a little off. Temperatures are chosen on products that the fit has
not seen, and figures are of a third set, and of the one pattern of each category that ``combinations`` "seen" never shows: a network that
takes the category for a sign of the pattern is wrong there. A run may go on from the weights of another (``start``); the commands behind
those that come with the package stand in docs/concepts/looks.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from corkboard.config import Section
from corkboard.errors import NotFound
from corkboard.experiments.spine_runs import code_hash
from corkboard.learning.config import TrainingConfig
from corkboard.learning.training import seeded
from corkboard.seeds import derive, generator
from corkboard.shopping.config import ObjectsConfig
from corkboard.shopping.objects import crop, enlarged
from corkboard.shopping.outfits import PICTURE_HEAD, PICTURE_KINDS, STATISTICS, picture_statistics
from corkboard.vision.appearance import (
    COLOUR_NAMES,
    FACETS,
    HUES,
    SIDE,
    FacetWeights,
    colours_of,
    fitted_head,
    load_appearance,
    reader_of,
    save_appearance,
)
from corkboard.vision.appearance_network import AppearanceNetwork, fit_network, logits_of, restored, temperatures
from corkboard.vision.cnn import ConvTrunk
from corkboard.vision.encoder import digest
from corkboard.vision.images import resized
from corkboard.vision.trunk import built_in_trunk
from corkboard.world.rendering import DOMAINS, Products, render
from corkboard.world.scenes import Scenes, collages, scenes, single_pictures
from corkboard.world.vocabulary import CATEGORIES, SHADES
from corkboard.world.vocabulary import FACETS as WORDS

CODE = ("vision/appearance.py", "vision/appearance_network.py", "shopping/outfits.py", "experiments/appearance.py")
SHOWN = (*DOMAINS, "scene crops", "collage crops")
"""In what products are shown."""
_LOOK_SIDE = 160
_SINGLE_SIDE = 96
_LEAST_CROP = 12
"""Crops of fewer px are left out."""
_AT_ONCE = 512
_EVERY = (1, 1, 3)
"""Every which product is shown in each domain: few things that are sold or lie in outfits are camera pictures."""
Say = Callable[[str], None]


class AppearanceConfig(Section):
    """What the network and the heads are fitted and measured on."""

    training: int = Field(default=18_000, ge=20)
    """Products to learn from."""
    validation: int = Field(default=800, ge=10)
    """Products that temperatures are chosen on."""
    test: int = Field(default=1200, ge=10)
    """Products that are asked about, and as many of combinations that are held out."""
    start: str = ""
    """A file that an earlier run has written, to go on from; empty: the trunk that comes with the package."""
    combinations: Literal["all", "seen"] = "all"
    """Patterns of each category that are learned from: all, or those that are not held out, as a test of what the network looks at."""
    hidden: float = Field(default=0.08, ge=0, lt=1)
    """Share of products to learn from that show no shade, and of those that show no style."""
    others: float = Field(default=0.4, gt=0, le=1)
    """Share of the products of categories that have no outfits that is learned from."""
    jitter: float = Field(default=0.04, ge=0)
    """How far the sides of boxes are off, standard deviation as a share of the box."""
    fit: TrainingConfig = TrainingConfig(steps=2400, learning_rate=2e-3, warmup_steps=100, weight_decay=0.02)
    """Training of the network."""
    batch: int = Field(default=128, ge=2)
    """Pictures a step."""
    smoothing: float = Field(default=0.05, ge=0, lt=1)
    """Share of each target that is spread over all values."""
    pictures: int = Field(default=900, ge=10)
    """Pictures of each kind to learn from; a third of it to choose the temperature, and as many to be asked about."""
    decay: float = Field(default=3e-3, ge=0)
    """Weight of half the squared weights of the head of pictures."""

    @classmethod
    def quick(cls) -> AppearanceConfig:
        """Tests and development: everything runs, no figure means anything."""
        fit = TrainingConfig(steps=2, warmup_steps=1)
        return cls(training=40, validation=20, test=20, pictures=18, fit=fit, batch=8)


@dataclass(frozen=True)
class Shown:
    """Pictures of products: uint8 (n, 64, 64, 3), values int64 (n, facets) with -1 where one does not show, and rows of :data:`SHOWN`."""

    images: np.ndarray
    values: np.ndarray
    where: np.ndarray


def make_appearance(file: Path, config: AppearanceConfig, seed: int, say: Say) -> dict[str, Any]:
    """Render, fit, measure, and write everything to ``file``; returns the card, which the file has in its notes."""
    begun = time.time()
    count = config.test + config.validation + config.training
    whose = (derive(seed, "appearance", "all"), None) if config.combinations == "all" else (derive(seed, "appearance"), False)
    drawn = wanted(Products.drawn(count, *whose), config, seed)
    places = np.split(np.arange(len(drawn)), [config.test, config.test + config.validation])
    facets = fit_facets(drawn.take(places[2]), drawn.take(places[1]), config, seed, say)
    sets = {"": drawn.take(places[0]), ", rare combinations": Products.drawn(config.test, derive(seed, "appearance"), held_out=True)}
    figures: dict[str, Any] = {}
    for name, products in sets.items():
        asked = shown(products, config, derive(seed, "t"))
        chances = reader_of(facets).chances(asked.images)
        for facet, part in zip(FACETS, np.split(chances, np.cumsum([len(facets.names[one]) for one in FACETS])[:-1], axis=1), strict=True):
            figures[facet + name] = by_place(part, asked, FACETS.index(facet))
            say(f"{facet}{name}: { {where: of['accuracy'] for where, of in figures[facet + name].items()} }")
    kinds = [_kinds(count, derive(seed, name)) for count, name in
             ((config.pictures, "l"), (config.pictures // 3, "v"), (config.pictures // 3, "t"))]  # fmt: skip
    head = fitted_head(*kinds[0], PICTURE_KINDS, kinds[1], config.decay)
    grounds = {"seen grounds": kinds[2], "other grounds": _kinds(config.pictures // 3, derive(seed, "o"), "held_out")}
    figures[PICTURE_HEAD] = {name: measured(head.posteriors(inputs), classes) for name, (inputs, classes) in grounds.items()}
    figures["colour"] = colour_figures(drawn.take(places[0]))
    say(f"picture: {figures[PICTURE_HEAD]}, colour: {figures['colour']}")
    card = {
        "made_by": "corkboard experiment appearance",
        "seed": seed,
        "code": code_hash(*CODE),
        "trunk": digest(built_in_trunk().state_dict()),
        "start": load_facets(config.start).version if config.start else "",
        "settings": config.model_dump(mode="json", exclude={"start"}),
        "statistics": STATISTICS,
        "figures": figures,
    }
    save_appearance(file, {PICTURE_HEAD: head}, facets, card)
    return card | {"seconds": round(time.time() - begun)}


def fit_facets(products: Products, others: Products, config: AppearanceConfig, seed: int, say: Say) -> FacetWeights:
    """The network fitted on ``products``, with temperatures that make ``others`` likeliest."""
    begun = time.time()
    learned = shown(hidden(products, config.hidden, seed), config, derive(seed, "l"))
    say(f"{len(learned.images):,} pictures to learn from after {time.time() - begun:.0f} s")
    names = {facet: tuple(english for english, _ in WORDS[facet]) for facet in FACETS}
    network = start_of(config, {facet: len(values) for facet, values in names.items()}, seed)

    def told(at: Any) -> None:
        if at.step % 100 == 0:
            say(f"step {at.step} of {at.steps}, loss {at.loss:.3f}, {at.seconds_left:.0f} s left")

    fit_network(network, learned.images, learned.values, config.fit, config.batch, config.smoothing, seed, told)
    held_out = shown(others, config, derive(seed, "v"))
    heats = temperatures(logits_of(network, held_out.images), held_out.values, list(network.classes.values()))
    return FacetWeights(names, tuple(heats), SIDE, network.tensors())


def start_of(config: AppearanceConfig, classes: Mapping[str, int], seed: int) -> AppearanceNetwork:
    """The network before it learns. Raises as :func:`load_facets` does."""
    if config.start:
        return restored(classes, SIDE, load_facets(config.start).tensors)
    trunk = built_in_trunk()
    assert isinstance(trunk, ConvTrunk)
    with seeded(seed, "appearance", "start"):
        return AppearanceNetwork(classes, SIDE, trunk)


def load_facets(file: str) -> FacetWeights:
    """The network of an earlier run. Raises :class:`NotFound` where there is none."""
    facets = load_appearance(Path(file))[1]
    if facets is None:
        raise NotFound("There is no network here to go on from", found=file, expected="what an earlier run has written")
    return facets


def wanted(products: Products, config: AppearanceConfig, seed: int) -> Products:
    """All products of categories that have outfits, and some of the others."""
    wearable = np.array([bool(one.family) for one in CATEGORIES])[products.category]
    return products.take(np.flatnonzero(wearable | (generator(seed, "others").random(len(products)) < config.others)))


def hidden(products: Products, share: float, seed: int) -> Products:
    """The products, some of them without a shade, some without a style."""
    draw = generator(seed, "hidden").random((2, len(products)))
    shade, style = (np.where(draw[k] < share, -1, of) for k, of in enumerate((products.shade, products.style)))
    return replace(products, shade=shade, style=style)


def measured(chances: np.ndarray, classes: np.ndarray) -> dict[str, float]:
    """Accuracy; mean distance of confidence and accuracy over ten bins (calibration error); accuracy and share of what is sure (.6)."""
    sure, right = chances.max(axis=1), chances.argmax(axis=1) == classes
    bins = np.minimum((sure * 10).astype(np.int64), 9)
    off = [abs(right[bins == k].mean() - sure[bins == k].mean()) * (bins == k).mean() for k in range(10) if (bins == k).any()]
    spoken = sure >= 0.6
    found = {"accuracy": right.mean(), "calibration error": sum(off), "sure": spoken.mean(),
             "accuracy where sure": right[spoken].mean() if spoken.any() else 0.0}  # fmt: skip
    return {name: round(float(value), 4) for name, value in found.items()}


def by_place(chances: np.ndarray, asked: Shown, facet: int) -> dict[str, dict[str, float]]:
    """The figures of :func:`measured` for each of :data:`SHOWN`."""
    rows = {SHOWN[k]: asked.where == k for k in np.unique(asked.where).tolist()}
    return {name: measured(chances[there], asked.values[there, facet]) for name, there in rows.items()}


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


def shown(products: Products, config: AppearanceConfig, seed: int) -> Shown:
    """Products in every domain, half of them whole and half cut out, and in crops of scenes and collages."""
    draw, parts = generator(seed, "boxes"), []
    rows = np.arange(len(products))
    for start in range(0, len(rows), _AT_ONCE):
        some, number = rows[start : start + _AT_ONCE], derive(seed, start)
        for domain in range(len(DOMAINS)):
            of = some[:: _EVERY[domain]]
            made = single_pictures(products, of, DOMAINS[domain], 0, _SINGLE_SIDE, seed, threads=1)
            parts.append(_crops(made, domain, config.jitter, draw, whole=0.5))
        few = products.take(some)
        parts.append(_crops(scenes(few, -(-len(some) // 3), number, _LOOK_SIDE, threads=1), 3, config.jitter, draw, rows=some))
        parts.append(_crops(collages(few, -(-len(some) // 4), number, _LOOK_SIDE, threads=1), 4, config.jitter, draw, rows=some))
    images, product, where = (np.concatenate([part[k] for part in parts]) for k in range(3))
    values = np.stack([getattr(products, facet)[product] for facet in FACETS], axis=1)
    return Shown(images, values, where)


def _crops(
    made: Scenes, where: int, jitter: float, draw: np.random.Generator, whole: float = 0.0, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures, products and row of :data:`SHOWN` of all that shows well enough; a share ``whole`` of them as the whole picture."""
    sizes = made.boxes[:, 2:] - made.boxes[:, :2]
    seen = np.flatnonzero((made.product >= 0) & (made.visible > 0.5) & (sizes.min(axis=1) > _LEAST_CROP))
    side, margin, cut = made.images.shape[1], ObjectsConfig().margin, []
    off = draw.normal(0, jitter, (len(seen), 4)) * np.tile(sizes[seen], 2)
    for k, moved, all_of_it in zip(seen, off, draw.random(len(seen)) < whole, strict=True):
        image = made.images[made.scene[k]]
        left, top, right, bottom = (made.boxes[k] + moved) / side
        box = enlarged(np.clip([left, top, max(right, left + 0.05), max(bottom, top + 0.05)], 0, 1), margin)
        cut.append(resized(image[None], SIDE)[0] if all_of_it else crop(image, box, SIDE))
    images = np.stack(cut) if cut else np.zeros((0, SIDE, SIDE, 3), np.uint8)
    product = made.product[seen] if rows is None else rows[made.product[seen]]
    return images, product, np.full(len(seen), where)


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
    lines = [f"{name:27} {where:13} {figures}" for name, of in heads.items() for where, figures in of.items()]
    return [*lines, f"{'colour':41} {card['figures']['colour']}"]
