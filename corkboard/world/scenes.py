"""Pictures of products with boxes that are exactly what shows of each: scenes, collages, and single products in each domain.

    scenes(products, 1000, seed=1)                     two to four, one before the other, on a background of web or camera
    collages(products, 1000, seed=1)                   three to five, side by side on a plain ground
    single_pictures(products, None, "camera")          one each, the very pictures of ``render``, and what stands about

Things are painted one over the other. A box is the smallest that holds every pixel in which at least half of what is seen is that thing;
what is hidden behind later ones, or lies outside of the picture, is in no box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from corkboard.errors import InputError
from corkboard.seeds import derive
from corkboard.world.composing import AT_ONCE, COLLAGE, IN_COLLAGE, MOST, SCENE
from corkboard.world.rendering import DOMAINS, Products, mixed, others, painted, seeds_of


@dataclass(frozen=True)
class Scenes:
    """Pictures and what shows in them. Columns have one row a thing that shows, picture by picture, from back to front."""

    images: np.ndarray
    """uint8 (scenes, side, side, 3)."""
    scene: np.ndarray
    """int64 (boxes,): row of ``images``."""
    boxes: np.ndarray
    """int64 (boxes, 4): left, top, right, bottom in px; right and bottom are outside."""
    product: np.ndarray
    """int64 (boxes,): row of the products; -1 for what stands about in a picture of a single one."""
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
    rows = _chosen(products, count, derive(seed, "pictures", "who"), together, (2, AT_ONCE))
    return shown_together(products, rows, SCENE, _seeds(seed, "scenes", count), side, backgrounds, threads)


def collages(
    products: Products,
    count: int,
    seed: int,
    side: int = 128,
    together: Sequence[Sequence[int]] | None = None,
    backgrounds: str = "seen",
    threads: int | None = None,
) -> Scenes:
    """``count`` collages, each of 3 to 5 of ``products``: drawn evenly, or the rows ``together[k]`` in collage k, the last one largest.

    Boxes never overlap. The ground is white or, for half of them, one of five pale tints; ``backgrounds`` "held_out" gives tints that fade.
    Collage k is the same whatever ``count`` is. Raises :class:`InputError` where ``together`` has another length, or a collage of
    more than five.
    """
    rows = _chosen(products, count, derive(seed, "pictures", "who lies together"), together, (3, IN_COLLAGE))
    return shown_together(products, rows, COLLAGE, _seeds(seed, "collages", count), side, backgrounds, threads)


def single_pictures(
    products: Products,
    rows: Sequence[int] | np.ndarray | None,
    domain: str,
    view: int = 0,
    side: int = 128,
    seed: int = 0,
    backgrounds: str = "seen",
    threads: int | None = None,
) -> Scenes:
    """The pictures of :func:`~corkboard.world.rendering.render`, byte by byte, with the boxes of all that shows in them.

    What stands behind, beside or before the product has ``product`` -1 and its own category. Raises :class:`InputError` as ``render``.
    """
    if domain not in DOMAINS:
        raise InputError("Pictures are of one of three domains", found=domain, expected=DOMAINS)
    rows = np.arange(len(products)) if rows is None else np.asarray(rows, np.int64)
    seeds = seeds_of(products.take(rows), seed, domain, view)
    return shown_together(products, rows[:, None], DOMAINS.index(domain), seeds, side, backgrounds, threads)


def shown_together(
    products: Products, rows: np.ndarray, domain: int, seeds: np.ndarray, side: int, backgrounds: str = "seen", threads: int | None = None
) -> Scenes:
    """Pictures of ``rows`` (pictures, products in each from back to front, -1 for none) in a domain of the kernels, from their seeds."""
    several = domain in (SCENE, COLLAGE)
    images, found = painted(products, rows, domain, seeds, side, backgrounds, threads, rows.shape[1] if several else MOST)
    scene, depth = np.nonzero(found[..., 4] > 0)
    boxes, other = found[scene, depth], found[scene, depth, 5].astype(np.int64)
    own = other < 0
    product = np.where(own, rows[scene, depth if several else 0], -1)
    return Scenes(
        images=images,
        scene=scene,
        boxes=boxes[:, :4].astype(np.int64),
        product=product,
        category=np.where(own, products.category[product], others().category[other]),
        style=np.where(own, products.style[product], others().style[other]),
        visible=boxes[:, 4].astype(np.float32),
        depth=depth,
    )


def _seeds(seed: int, name: str, count: int) -> np.ndarray:
    return mixed(np.uint64(derive(seed, "pictures", name)) + np.arange(count, dtype=np.uint64))


def _chosen(products: Products, count: int, seed: int, together: Sequence[Sequence[int]] | None, sizes: tuple[int, int]) -> np.ndarray:
    """int64 (count, most): rows of the products of each picture from back to front, -1 for none. ``sizes``: (least drawn, most)."""
    least, most = sizes
    if together is not None:
        rows = np.full((count, most), -1, np.int64)
        given = [len(one) for one in together]
        if len(given) != count or (given and not 1 <= min(given) <= max(given) <= most):
            words = {AT_ONCE: "Scenes are of one to four products each", IN_COLLAGE: "Collages are of one to five products each"}
            raise InputError(words[most], found=given[:8], expected=f"{count} lists")
        for k, one in enumerate(together):
            rows[k, : len(one)] = one
        return rows
    u = mixed(np.uint64(seed) + np.arange(count * (most + 1), dtype=np.uint64)).reshape(count, most + 1)
    u = (u >> np.uint64(11)) * 2.0**-53
    there = np.arange(most) < least + (u[:, most:] * (most - least + 1)).astype(np.int64)
    return np.where(there, (u[:, :most] * len(products)).astype(np.int64), -1)
