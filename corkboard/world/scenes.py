"""Scenes of two to four products, with boxes that are exactly what shows of each.

Products are painted one over the other on a background of either kind. A box is the smallest that holds every pixel in which at least half
of what is seen is that product; what is hidden behind later ones, or lies outside of the picture, is in no box.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from corkboard.errors import InputError
from corkboard.seeds import derive
from corkboard.world.composing import AT_ONCE, SCENE, paint_pictures
from corkboard.world.rendering import CHUNK, Products, kinds_of, mixed, others, palettes
from corkboard.world.silhouettes import figures


@dataclass(frozen=True)
class Scenes:
    """Pictures of several products. Columns have one row a product that shows, scene by scene, from back to front."""

    images: np.ndarray
    """uint8 (scenes, side, side, 3)."""
    scene: np.ndarray
    """int64 (boxes,): row of ``images``."""
    boxes: np.ndarray
    """int64 (boxes, 4): left, top, right, bottom in px; right and bottom are outside."""
    product: np.ndarray
    """int64 (boxes,): row of the products."""
    category: np.ndarray
    style: np.ndarray
    """int64 (boxes,): -1 where it does not show."""
    visible: np.ndarray
    """float32 (boxes,): share of what the product covers that is seen: not hidden by others. Of what lies within the picture."""
    depth: np.ndarray
    """int64 (boxes,): 0 for the hindmost."""


def scenes(
    products: Products,
    count: int,
    seed: int,
    side: int = 128,
    together: Sequence[Sequence[int]] | None = None,
    backgrounds: str = "seen",
    threads: int | None = None,
) -> Scenes:
    """``count`` scenes, each of 2 to 4 of ``products``: drawn evenly, or the rows ``together[k]`` (such as an outfit) in scene k.

    Scene k is the same whatever ``count`` is. A product of which nothing is seen has no box. Raises :class:`InputError` where
    ``together`` has another length, or a scene of more than four.
    """
    rows = _chosen(products, count, seed, together)
    images = np.empty((count, side, side, 3), np.uint8)
    found = np.zeros((count, AT_ONCE, 5))
    seeds = mixed(np.uint64(derive(seed, "pictures", "scenes")) + np.arange(count, dtype=np.uint64))
    cast, papers, kinds = products.cast, palettes(), kinds_of(backgrounds)
    things = others().cast

    def make(begin: int) -> None:
        part = slice(begin, begin + CHUNK)
        paint_pictures(figures(), cast, rows[part], things, SCENE, seeds[part], papers, kinds, images[part], found[part])

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        list(pool.map(make, range(0, count, CHUNK)))
    scene, depth = np.nonzero(found[..., 4] > 0)
    product = rows[scene, depth]
    boxes = found[scene, depth]
    return Scenes(
        images=images,
        scene=scene,
        boxes=boxes[:, :4].astype(np.int64),
        product=product,
        category=products.category[product],
        style=products.style[product],
        visible=boxes[:, 4].astype(np.float32),
        depth=depth,
    )


def _chosen(products: Products, count: int, seed: int, together: Sequence[Sequence[int]] | None) -> np.ndarray:
    """int64 (count, AT_ONCE): rows of the products of each scene from back to front, -1 for none."""
    rows = np.full((count, AT_ONCE), -1, np.int64)
    if together is not None:
        sizes = [len(one) for one in together]
        if len(sizes) != count or (sizes and not 1 <= min(sizes) <= max(sizes) <= AT_ONCE):
            raise InputError("Scenes are of one to four products each", found=sizes[:8], expected=f"{count} lists")
        for k, one in enumerate(together):
            rows[k, : len(one)] = one
        return rows
    u = mixed(np.uint64(derive(seed, "pictures", "who")) + np.arange(count * (AT_ONCE + 1), dtype=np.uint64)).reshape(count, AT_ONCE + 1)
    u = (u >> np.uint64(11)) * 2.0**-53
    there = np.arange(AT_ONCE) < 2 + (u[:, AT_ONCE:] * (AT_ONCE - 1)).astype(np.int64)
    return np.where(there, (u[:, :AT_ONCE] * len(products)).astype(np.int64), -1)
