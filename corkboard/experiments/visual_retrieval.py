"""Finding a product by a picture of it: which products are rendered, what an encoder learns from them, and how it is asked.

    pictures = product_pictures(config.products, seed, folder)      training, validation, test, held-out combinations and backgrounds
    learned  = Labelled.of(pictures.training)                       one array of pictures, three tasks
    gallery  = Gallery.of(encode, pictures.test)                    what an encoder makes of the pictures
    gallery.found("camera")                                         camera picture -> the product's one catalogue picture, by product

A product is in one part only, by its key; combinations of pattern and category that are held out are in no part but their own. The tasks
have classes of different granularity (topic x pattern on web pictures, style x category on camera and web, the very product in all
domains), as those of Zhai et al. (KDD 2019). Figures are kept by product, so that intervals are over products and not over pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from corkboard.artifacts import content_hash
from corkboard.embeddings.visual import VisualEncoder, VisualTask, pack_bits
from corkboard.errors import InputError, LeakError
from corkboard.experiments.spine_runs import code_hash
from corkboard.experiments.spine_worlds import alone_at
from corkboard.experiments.vision_config import ProductSetConfig, VisualRetrievalConfig
from corkboard.metrics.intervals import PerUser
from corkboard.seeds import generator
from corkboard.vision.images import colour_histogram, raw_pixels
from corkboard.world.picture_set import PictureSet, digest, picture_set
from corkboard.world.rendering import DOMAINS, PICTURES_VERSION, Products
from corkboard.world.vocabulary import PATTERNS, STYLES

BROWSE, LENS, EXACT = "browse", "lens", "exact"
"""The tasks: web pictures alike, camera photos to the web, the very product."""
P1, R10, CATEGORY = "P@1", "R@10", "category P@1"
PICTURE_CODE = (
    *(f"world/{name}.py" for name in ("composing", "painting", "palettes", "picture_set", "rendering", "shapes", "vocabulary")),
    *(f"world/silhouettes{name}.py" for name in ("", "_fashion", "_home", "_leisure")),
)
"""The sources that decide what pictures look like."""
LEVELS, SIDES = (3, 4, 6, 8), (8, 16, 32)
"""Levels a channel of a histogram, and sides in px of raw pixels, of which validation products choose."""

Encode = Callable[[np.ndarray], np.ndarray]
"""uint8 pictures ``(n, side, side, 3)`` to float vectors ``(n, dim)``, or to codes, uint8 ``(n, bytes)``."""
Say = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ProductPictures:
    """Pictures of all products of a seed."""

    training: PictureSet
    validation: PictureSet
    test: PictureSet
    combination: PictureSet
    """Products whose pattern no training product of their category has."""
    backgrounds: PictureSet
    """The test products in front of what stands behind no training product; there is no catalogue among them."""

    @property
    def split(self) -> str:
        """Hash of which products are in which part."""
        return content_hash([digest(part.products) for part in (self.training, self.validation, self.test, self.combination)])[:12]


def product_pictures(config: ProductSetConfig, seed: int, folder: Path, progress: Say | None = None) -> ProductPictures:
    """The pictures of ``seed``, from ``folder`` or made and kept there; each generator keeps them in a folder of its own.

    Test and validation products of a seed are the same however many are trained on. Raises :class:`LeakError` if one were in two parts.
    """
    home = Path(folder) / f"pictures-{code_hash(*PICTURE_CODE)[:12]}"
    drawn = Products.drawn(config.test + config.validation + config.training, seed)
    test, validation, training = np.split(np.arange(len(drawn)), [config.test, config.test + config.validation])
    parts = {"test": drawn.take(test), "validation": drawn.take(validation), "training": drawn.take(training)}
    parts["combination"] = Products.drawn(config.combination, seed, held_out=True)
    disjoint(parts)
    learned = {"catalogue": 1, "web": config.web, "camera": config.camera}
    asked = {"catalogue": 1, "web": config.queries, "camera": config.queries}
    given = {"side": config.side, "seed": seed, "progress": progress}
    unseen = {domain: count for domain, count in asked.items() if domain != "catalogue"}
    with alone_at(home / f"{seed}.lock"):
        sets = {name: picture_set(part, home, learned if name == "training" else asked, **given) for name, part in parts.items()}
        return ProductPictures(**sets, backgrounds=picture_set(parts["test"], home, unseen, backgrounds="held_out", **given))


def disjoint(parts: Mapping[str, Products]) -> None:
    """Raises :class:`LeakError` where a product is in two parts, or a held-out combination in another part than its own."""
    keys = np.concatenate([part.key for part in parts.values()])
    if len(np.unique(keys)) < len(keys):
        raise LeakError("A product is in two parts", found=len(keys) - len(np.unique(keys)), expected=0)
    for name, part in parts.items():
        held = part.combination_held_out()
        if held.any() if name != "combination" else not held.all():
            raise LeakError(f"Combinations that are held out are mixed with others in {name}", found=int(held.sum()))


# --------------------------------------------------------------------------------------------------------------- learning


@dataclass(frozen=True)
class Labelled:
    """Pictures to learn from: uint8 ``(n, side, side, 3)``, and of each its product's row and its domain's, int64 ``(n,)``."""

    products: Products
    images: np.ndarray
    product: np.ndarray
    domain: np.ndarray

    @classmethod
    def of(cls, pictures: PictureSet) -> Labelled:
        """All pictures of a set, one domain after the other."""
        count = len(pictures.products)
        views = {code: pictures[name] for code, name in enumerate(DOMAINS) if name in pictures.images}
        images = np.concatenate([array.reshape(-1, *array.shape[2:]) for array in views.values()])
        domain = np.concatenate([np.full(len(array) * count, code) for code, array in views.items()])
        return cls(pictures.products, images, np.tile(np.arange(count), len(images) // count), domain)

    def only(self, products: np.ndarray) -> Labelled:
        """The pictures of some products: rows, or a mask."""
        kept = np.zeros(len(self.products), bool)
        kept[products] = True
        return self.where(kept[self.product])

    def where(self, pictures: np.ndarray) -> Labelled:
        """Some of the pictures, by a mask; copies."""
        return Labelled(self.products, self.images[pictures], self.product[pictures], self.domain[pictures])

    def tasks(self) -> list[VisualTask]:
        """The three tasks, by the pictures that they ask for."""
        browse, lens, web, camera = (
            browse_classes(self.products),
            lens_classes(self.products),
            DOMAINS.index("web"),
            DOMAINS.index("camera"),
        )
        wanted = {
            BROWSE: (browse, self.domain == web),
            LENS: (lens, (self.domain == web) | (self.domain == camera)),
            EXACT: (np.arange(len(self.products)), np.ones(len(self.domain), bool)),
        }
        tasks = []
        for name, (classes, mask) in wanted.items():
            rows = np.flatnonzero(mask)
            tasks.append(VisualTask(name, rows, classes[self.product[rows]].astype(np.int64), self.domain[rows]))
        return tasks


def browse_classes(products: Products) -> np.ndarray:
    """int64 (n,): topic and pattern."""
    return products.topic * len(PATTERNS) + products.pattern


def lens_classes(products: Products) -> np.ndarray:
    """int64 (n,): category and style."""
    return products.category * len(STYLES) + products.style


# ----------------------------------------------------------------------------------------------------------------- asking


@dataclass(frozen=True)
class Gallery:
    """What an encoder makes of the pictures of some products: domain -> vectors, or codes as uint8, ``(views, products, width)``.

    Nearest is the largest inner product, or the smallest Hamming distance; ties are broken by one fixed permutation of the products.
    """

    products: Products
    vectors: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, encode: Encode, *sets: PictureSet) -> Gallery:
        """Every picture of ``sets`` encoded; where two have the same domain, the last counts."""
        found = {}
        for pictures in sets:
            for domain, images in pictures.images.items():
                found[domain] = encode(images.reshape(-1, *images.shape[2:])).reshape(*images.shape[:2], -1)
        return cls(sets[0].products, found)

    def mapped(self, of: Encode) -> Gallery:
        """The same gallery with every vector passed through ``of``, ``(n, width)`` to ``(n, other width)``."""
        return Gallery(
            self.products,
            {name: of(array.reshape(-1, array.shape[2])).reshape(*array.shape[:2], -1) for name, array in self.vectors.items()},
        )

    def found(self, domain: str) -> dict[str, PerUser]:
        """Pictures of ``domain`` ask for the same product in the catalogue, one picture a product; by product."""
        count = len(self.products)
        hits = {name: np.zeros(count) for name in (P1, R10, CATEGORY)}
        for queries in self.vectors[domain]:
            order = self._order(queries, self.vectors["catalogue"][0])
            rank = (order == np.arange(count)[:, None]).argmax(axis=1)
            hits[P1] += rank == 0
            hits[R10] += rank < 10
            hits[CATEGORY] += self.products.category[order[:, 0]] == self.products.category
        return {name: _by_product(total, len(self.vectors[domain])) for name, total in hits.items()}

    def alike(self, queries: str, index: str, classes: np.ndarray) -> PerUser:
        """P@1 of class: a picture of ``queries`` asks for another product of its class among the newest view of ``index``, by product.

        The product itself is no answer, and who has no other of its class is not asked.
        """
        alone = np.bincount(classes)[classes] < 2
        total, views = np.zeros(len(classes)), self.vectors[queries][:-1] if queries == index else self.vectors[queries]
        for asked in views:
            order = self._order(asked, self.vectors[index][-1])
            first = np.where(order[:, 0] == np.arange(len(order)), order[:, 1], order[:, 0])
            total += classes[first] == classes
        return PerUser(np.where(alone, 0.0, total), np.where(alone, 0.0, float(len(views))), int(total[~alone].sum()))

    def figures(self) -> dict[str, PerUser]:
        """Everything that is asked of test products, by product: ``camera P@1``, ``web R@10``, … and ``browse``, ``lens`` by class."""
        found = {f"{domain} {name}": figure for domain in ("camera", "web") for name, figure in self.found(domain).items()}
        found[BROWSE] = self.alike("web", "web", browse_classes(self.products))
        found[LENS] = self.alike("camera", "web", lens_classes(self.products))
        return found

    def _order(self, queries: np.ndarray, index: np.ndarray) -> np.ndarray:
        """int64 ``(queries, products)``: rows of the index, nearest first."""
        lot = self._lot
        if index.dtype == np.uint8:
            nearness = -np.stack([np.bitwise_count(query ^ index[lot]).sum(axis=1, dtype=np.int64) for query in queries])
        else:
            nearness = queries @ index[lot].T
        return lot[np.argsort(-nearness, axis=1, kind="stable")]

    @cached_property
    def _lot(self) -> np.ndarray:
        return generator(0, "ties of products").permutation(len(self.products))


def _by_product(total: np.ndarray, views: int) -> PerUser:
    return PerUser(total, np.full(len(total), float(views)), int(total.sum()))


def representations(encoder: VisualEncoder) -> dict[str, Encode]:
    """What may be kept of the features of ``encoder``, by name: the vector, its signs, half the code and the code."""
    half = encoder.bits // 16
    if encoder.bits % 16:
        raise InputError("Half a code is no whole number of bytes", found=encoder.bits, expected="a multiple of 16 bits")
    return {
        "float": encoder.vectors_of,
        f"{encoder.dim} bits": lambda features: pack_bits(encoder.vectors_of(features)),
        f"{encoder.bits // 2} bits": lambda features: encoder.codes_of(features)[:, :half],
        f"{encoder.bits} bits": encoder.codes_of,
    }


def baselines(pictures: ProductPictures, config: VisualRetrievalConfig, seed: int) -> dict[str, Gallery]:
    """Galleries of the test products by encoders that have learned nothing; what can be chosen was chosen by validation products."""
    return {
        "centre histogram": _best([lambda images, n=n: colour_histogram(images, True, n) for n in LEVELS], pictures),
        "histogram": _best([lambda images, n=n: colour_histogram(images, False, n) for n in LEVELS], pictures),
        "raw pixels": _best([lambda images, n=n: raw_pixels(images, n) for n in SIDES], pictures),
        "untrained trunk": Gallery.of(untrained(pictures.training, config, seed), pictures.test),
    }


def untrained(pictures: PictureSet, config: VisualRetrievalConfig, seed: int) -> Encode:
    """The vectors of a trunk with random weights, whose batch norms know the pictures: at mean 0 and length 1."""
    import torch

    from corkboard.vision.encoder import TrunkEncoder
    from corkboard.vision.trunk import build_trunk

    trunk = build_trunk(config.trunk, seed)
    images = pictures["camera"][0]
    for module in trunk.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain mean over batches
    with torch.no_grad():
        for begin in range(0, len(images), 256):
            trunk.train()(trunk.pixels(images[begin : begin + 256]))
    reader = TrunkEncoder(trunk)

    def encode(images: np.ndarray) -> np.ndarray:
        values = reader.encode(images)
        values = values - values.mean(axis=1, keepdims=True)
        return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)

    return encode


def _best(encoders: Sequence[Encode], pictures: ProductPictures) -> Gallery:
    """Of the encoder that finds most validation products from camera pictures."""
    return Gallery.of(max(encoders, key=lambda encode: Gallery.of(encode, pictures.validation).found("camera")[P1].value), pictures.test)


def facts(config: ProductSetConfig) -> dict[str, int | float]:
    """How many pictures there are, and what somebody finds who guesses."""
    return {
        "pictures_version": PICTURES_VERSION,
        "training_products": config.training,
        "training_pictures": config.training * (1 + config.web + config.camera),
        "test_products": config.test,
        "queries": config.test * config.queries,
        "chance": 1 / config.test,
    }
