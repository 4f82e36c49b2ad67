"""Pictures of products: what is drawn, and drawing it in three domains.

    products = Products.of_world(catalogue, seed)          what a world's items show
    products = Products.drawn(500, seed)                   others, beyond any world
    render(products, rows, "camera", view=0, side=64)      uint8 (n, 64, 64, 3)

A product is its topic (the silhouette), three facets that show (pattern, shade, style; -1 where one does not) and a key of 64 random
bits, from which everything else follows that makes it this one: proportions of each group of parts (22 %), aspect (18 %), variants of
parts, the exact hue, the colours beside it, frequency and angle of the pattern. A picture is drawn from a stream that belongs to
(product, domain, view, seed) alone: whatever else is drawn beside it, on however many threads, its bytes are the same.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from corkboard.errors import InputError
from corkboard.seeds import derive
from corkboard.world.catalogue import Catalogue
from corkboard.world.composing import CAMERA_BACKDROPS, COLLAGE_GROUNDS, WEB_BACKDROPS, paint_pictures
from corkboard.world.painting import PLAIN, Cast
from corkboard.world.palettes import backdrops, colours, finishes, surroundings
from corkboard.world.shapes import GROUPS
from corkboard.world.silhouettes import figures
from corkboard.world.vocabulary import CATEGORIES, PATTERNS, SHADES, STYLES, TOPIC_CATEGORY

PICTURES_VERSION = 1
"""Raised whenever the same product, domain, view, side and seed would give other bytes."""
DOMAINS = ("catalogue", "web", "camera")
BACKGROUNDS = ("seen", "held_out", "all")
HELD_OUT_PATTERN = tuple(1 + (3 * category) % (len(PATTERNS) - 1) for category in range(len(CATEGORIES)))
"""The one pattern of each category that can be held out."""
HELD_OUT_SHARE = 0.2
"""Share of products that :meth:`Products.split` holds out."""
_OTHERS = 384
CHUNK = 16
"""Pictures that a thread makes at once."""
_GOLDEN, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class Products:
    """What is drawn; arrays of one row a product. Two products of the same key and facets look the same."""

    key: np.ndarray
    """uint64 (n,)."""
    topic: np.ndarray
    """int64 (n,): 0 to 39."""
    pattern: np.ndarray
    """int64 (n,): row of PATTERNS, -1 where it does not show (then it is drawn plain)."""
    shade: np.ndarray
    """int64 (n,): row of SHADES, -1 where it does not show (then it is grey-beige)."""
    style: np.ndarray
    """int64 (n,): row of STYLES, -1 where it does not show."""

    def __len__(self) -> int:
        return len(self.key)

    @property
    def category(self) -> np.ndarray:
        """int64 (n,): row of CATEGORIES."""
        return np.array(TOPIC_CATEGORY)[self.topic]

    @classmethod
    def of_world(cls, catalogue: Catalogue, seed: int) -> Products:
        """The items of a world, in the order of its catalogue, as they show: the true topic, and facets as they are observed."""
        seen = {name: catalogue.observed[name].astype(np.int64) for name in ("pattern", "shade", "style")}
        return cls(_keys(derive(seed, "pictures", "items"), len(catalogue)), catalogue.topic.astype(np.int64), **seen)

    @classmethod
    def drawn(cls, count: int, seed: int, held_out: bool | None = False) -> Products:
        """``count`` products beyond any world: topics, shades and styles evenly; product k is the same whatever ``count`` is.

        ``held_out`` False gives none of the held-out combinations of pattern and category, True nothing else, None any.
        """
        key = _keys(derive(seed, "pictures", "drawn", str(held_out)), count)
        u = _uniform(key, "facets", 4)
        topic = (u[:, 0] * len(TOPIC_CATEGORY)).astype(np.int64)
        held = np.array(HELD_OUT_PATTERN)[np.array(TOPIC_CATEGORY)[topic]]
        if held_out is None:
            pattern = (u[:, 1] * len(PATTERNS)).astype(np.int64)
        else:
            pattern = (u[:, 1] * (len(PATTERNS) - 1)).astype(np.int64)
            pattern = held if held_out else pattern + (pattern >= held)
        return cls(key, topic, pattern, (u[:, 2] * len(SHADES)).astype(np.int64), (u[:, 3] * len(STYLES)).astype(np.int64))

    def take(self, rows: Sequence[int] | np.ndarray) -> Products:
        """Some of the products."""
        rows = np.asarray(rows, np.int64)
        return Products(self.key[rows], self.topic[rows], self.pattern[rows], self.shade[rows], self.style[rows])

    def combination_held_out(self) -> np.ndarray:
        """bool (n,): the product's pattern is the one that is held out of its category."""
        return self.pattern == np.array(HELD_OUT_PATTERN)[self.category]

    def split(self, share: float = HELD_OUT_SHARE) -> tuple[np.ndarray, np.ndarray]:
        """(rows to learn from, rows held out): each product falls on one side by its key alone."""
        out = _uniform(self.key, "held out", 1)[:, 0] < share
        return np.flatnonzero(~out), np.flatnonzero(out)

    @cached_property
    def cast(self) -> Cast:
        """What the kernels need to draw them."""
        n = len(self)
        u = _uniform(self.key, "shape", 2 * GROUPS + 8)
        aspect = 1 + 0.18 * (2 * u[:, 2 * GROUPS] - 1)
        values = figures().choices[self.topic]
        angle = (u[:, 2 * GROUPS + 1] - 0.5) * np.pi
        weave = [2.0 + 2.4 * u[:, 2 * GROUPS + 2], np.cos(angle), np.sin(angle), u[:, 2 * GROUPS + 3]]
        return Cast(
            topic=self.topic,
            pattern=np.where(self.pattern < 0, PLAIN, self.pattern),
            style=self.style,
            choice=(u[:, 2 * GROUPS + 4 : 2 * GROUPS + 7] * values).astype(np.int64),
            shape=(1 + 0.22 * (2 * u[:, : 2 * GROUPS] - 1)).reshape(n, GROUPS, 2),
            aspect=np.sqrt(aspect),
            colours=colours(self.shade, self.style, _uniform(self.key, "colours", 16)),
            weave=np.ascontiguousarray(np.stack(weave, 1)),
            finish=finishes(self.style),
            key=self.key,
        )


def render(
    products: Products,
    rows: Sequence[int] | np.ndarray | None,
    domain: str,
    view: int = 0,
    side: int = 64,
    seed: int = 0,
    backgrounds: str = "seen",
    threads: int | None = None,
) -> np.ndarray:
    """uint8 (n, side, side, 3) sRGB: pictures of ``rows`` (None: all) of ``products`` in a domain.

    ``view`` 0, 1, 2, ... are different pictures of the same product; ``side`` 8 to 1024 px changes resolution, not layout.
    ``backgrounds``: "seen" leaves out the kinds that are held out, "held_out" takes those alone, "all" takes any. ``threads`` changes
    nothing but the time it takes (None: as many as there are cores). Raises :class:`InputError` for an unknown domain or side.
    """
    if domain not in DOMAINS:
        raise InputError("Pictures are of one of three domains", found=domain, expected=DOMAINS)
    chosen = products if rows is None else products.take(rows)
    code, seeds = DOMAINS.index(domain), seeds_of(chosen, seed, domain, view)
    return painted(chosen, np.arange(len(chosen))[:, None], code, seeds, side, backgrounds, threads)[0]


def painted(
    products: Products,
    rows: np.ndarray,
    domain: int,
    seeds: np.ndarray,
    side: int,
    backgrounds: str = "seen",
    threads: int | None = None,
    things: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """(images, found): pictures of ``rows`` (n, products in each) in a domain of the kernels, each from the stream of its seed.

    ``images`` uint8 (n, side, side, 3); ``found`` float64 (n, things, 6), boxes as :func:`~corkboard.world.composing.paint_pictures` notes
    them of up to ``things`` things; of none where that is 0.
    """
    if not 8 <= side <= 1024:
        raise InputError("Pictures are rendered between 8 and 1024 px", found=side)
    out, found = np.empty((len(rows), side, side, 3), np.uint8), np.zeros((len(rows) if things else 0, things, 6))
    cast, others_, papers, kinds = products.cast, others().cast, palettes(), kinds_of(backgrounds)

    def make(begin: int) -> None:
        part = slice(begin, begin + CHUNK)
        paint_pictures(figures(), cast, rows[part], others_, domain, seeds[part], papers, kinds, out[part], found[part])

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        list(pool.map(make, range(0, len(rows), CHUNK)))
    return out, found


def seeds_of(products: Products, seed: int, domain: str, view: int = 0) -> np.ndarray:
    """uint64 (n,): what pictures of each product are drawn from."""
    return mixed(products.key ^ np.uint64(derive(seed, "pictures", domain, int(view))))


def kinds_of(backgrounds: str) -> np.ndarray:
    """int64 (4, 2): first and one past the last kind of background of each domain, and of collages, in one of :data:`BACKGROUNDS`."""
    if backgrounds not in BACKGROUNDS:
        raise InputError("Backgrounds are of one of three sets", found=backgrounds, expected=BACKGROUNDS)
    counts = (1, WEB_BACKDROPS, CAMERA_BACKDROPS, COLLAGE_GROUNDS)
    ranges = {"seen": lambda n: (0, max(n - 1, 1)), "held_out": lambda n: (n - 1, n), "all": lambda n: (0, n)}
    return np.array([ranges[backgrounds](count) for count in counts])


@cache
def palettes() -> tuple[np.ndarray, np.ndarray]:
    """Colours of backgrounds: by style, float32 (styles + 1, 8, 3), and of what cameras meet, float32 (24, 3)."""
    return backdrops(), surroundings()


@cache
def others() -> Products:
    """The other things that stand about in pictures: always the same, and no product of any world or draw."""
    return Products.drawn(_OTHERS, derive(0, "pictures", "others"))


def _keys(seed: int, count: int) -> np.ndarray:
    return mixed(np.uint64(seed) + _GOLDEN * np.arange(1, count + 1, dtype=np.uint64))


def _uniform(key: np.ndarray, name: str, count: int) -> np.ndarray:
    """float64 (n, count) of [0, 1): what belongs to each key under this name."""
    start = mixed(key ^ np.uint64(derive(0, "pictures", name)))
    return (mixed(start[:, None] + _GOLDEN * np.arange(1, count + 1, dtype=np.uint64)) >> np.uint64(11)) * 2.0**-53


def mixed(value: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64."""
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))
