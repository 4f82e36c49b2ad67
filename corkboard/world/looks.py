"""What goes with what: compatibility of style, pattern, material and shade, and outfits made by it.

Every style fixes a palette of three hues, which patterns it likes and which materials finish it. For three pairs of categories there is
a conditional rule on top (the hue of one is the complement, or a neighbour, of the other's), which only a model that knows both
categories can learn (after Complete The Look, spec v05 sections B and E). A fifth of the places of outfits are filled at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from corkboard.seeds import generator
from corkboard.world.vocabulary import CATEGORIES, MATERIALS, PATTERNS, SHADES, STYLES

if TYPE_CHECKING:
    from corkboard.world.catalogue import Catalogue

HUES = len(SHADES)
NOISE = 0.2
"""Share of outfit places that are filled at random."""
POOL = 40
"""Items drawn at random, of which the one that fits best takes a place."""
RULES: dict[tuple[int, int], int] = {(2, 3): 6, (5, 7): 4, (6, 8): 1}
"""(category, category) -> how far apart their hues should be on the circle of twelve: shoes and bags are complements, and so on."""
ROLES: dict[str, tuple[int, ...]] = {
    family: tuple(k for k, category in enumerate(CATEGORIES) if category.family == family) for family in ("fashion", "home")
}


@dataclass(frozen=True)
class Looks:
    """Truth of compatibility. All arrays are fixed by the seed; ``style`` in 0..11 indexes the first axis."""

    palettes: np.ndarray
    """int (styles, 3): the hues of a style."""
    patterns: np.ndarray
    """float (styles, patterns): how likely each pattern is in a style; rows sum to 1."""
    materials: np.ndarray
    """float (styles, materials): how well each material finishes a style, 0 to 1."""
    style_fit: np.ndarray
    """float (styles, styles): 1 for the same style, about 0.5 for its two neighbours in mood, about 0 else."""
    pattern_fit: np.ndarray
    """float (patterns, patterns): two loud patterns clash (-1), plain goes with everything (1)."""
    hue_fit: np.ndarray
    """float (categories, categories, hues, hues): harmony of two hues, by rule where the two categories have one."""

    @classmethod
    def make(cls, seed: int) -> Looks:
        rng = generator(seed, "world", "looks")
        n = len(STYLES)
        base = rng.integers(HUES, size=n)
        palettes = np.stack([base, (base + rng.choice([1, 2], n)) % HUES, (base + rng.choice([5, 6, 7], n)) % HUES], 1)
        patterns = rng.dirichlet(np.full(len(PATTERNS), 0.5), n) * 0.85 + 0.15 / len(PATTERNS)
        materials = rng.random((n, len(MATERIALS))) ** 1.5
        order = rng.permutation(n)
        style_fit = np.full((n, n), 0.05)
        style_fit[order, np.roll(order, 1)] = style_fit[np.roll(order, 1), order] = 0.5
        np.fill_diagonal(style_fit, 1.0)
        loud = np.ones((len(PATTERNS), len(PATTERNS))) * -1.0
        loud[0, :] = loud[:, 0] = 1.0
        loud[np.arange(1, len(PATTERNS)), np.arange(1, len(PATTERNS))] = 0.3
        return cls(palettes, patterns, materials, style_fit, loud, _hue_fit())

    def fit(self, catalogue: Catalogue, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """float32 compatibility of item rows ``left`` with item rows ``right`` (broadcast together), about -1 to 1."""
        c = catalogue
        style = self.style_fit[c.style[left], c.style[right]]
        pattern = self.pattern_fit[c.pattern[left], c.pattern[right]]
        finish = self.materials[c.style[left], c.material[right]] + self.materials[c.style[right], c.material[left]] - 0.8
        hue = self.hue_fit[c.category[left], c.category[right], c.shade[left], c.shade[right]]
        return (0.45 * (2 * style - 0.3) + 0.15 * pattern + 0.15 * finish + 0.35 * hue).astype(np.float32)


def _hue_fit() -> np.ndarray:
    """Harmony (cosine-shaped) around "the same hue", or around the distance a rule asks for, for every pair of categories."""
    hue = np.arange(HUES)
    away = (hue[:, None] - hue[None, :]) % HUES
    n = len(CATEGORIES)
    table = np.broadcast_to(np.cos(2 * np.pi * away / HUES), (n, n, HUES, HUES)).copy()
    for (first, second), distance in RULES.items():
        table[first, second] = np.maximum(np.cos(2 * np.pi * (away - distance) / HUES), np.cos(2 * np.pi * (away + distance) / HUES))
        table[second, first] = table[first, second].T
    return table


def complementary(catalogue: Catalogue, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """bool: the two items (rows, broadcast) are of one family and of different categories, so that they can be worn or stand together."""
    family = np.array([("", "fashion", "home").index(category.family) for category in CATEGORIES])
    a, b = catalogue.category[left], catalogue.category[right]
    return (family[a] > 0) & (family[a] == family[b]) & (a != b)


def best_fitting(catalogue: Catalogue, looks: Looks, rows: np.ndarray, chosen: Sequence[int], rng: np.random.Generator) -> int:
    """Of :data:`POOL` of ``rows``, drawn at random, the item that goes best with the ``chosen`` ones; any of them where none is chosen."""
    pool = rng.choice(rows, POOL)
    fits = looks.fit(catalogue, pool[:, None], np.array(chosen)[None, :]).mean(1) if len(chosen) else np.zeros(POOL)
    return int(pool[int(np.argmax(fits))])


def outfits(catalogue: Catalogue, looks: Looks, seed: int, count: int) -> pl.DataFrame:
    """``count`` outfits of 3 to 5 items of different categories: columns outfit_id, family, item_id, category, noise.

    The items of one outfit share a style as far as the catalogue allows; ``noise`` marks places that were filled at random.
    """
    rng = generator(seed, "world", "outfits")
    families = [family for family, roles in ROLES.items() if all((catalogue.category == role).any() for role in roles)]
    rows: list[tuple[str, str, str, str, bool]] = []
    for _ in range(count if families else 0):
        family = families[int(rng.integers(len(families)))]
        outfit_id = f"o{rng.integers(1 << 60):015x}"
        roles = rng.permutation(ROLES[family])[: int(rng.choice([3, 4, 5], p=[0.4, 0.4, 0.2]))]
        chosen: list[int] = []
        for role in roles:
            noise = bool(chosen) and rng.random() < NOISE
            chosen.append(best_fitting(catalogue, looks, np.flatnonzero(catalogue.category == role), [] if noise else chosen, rng))
            rows.append((outfit_id, family, catalogue.ids[chosen[-1]], CATEGORIES[role].name, noise))
    columns = {"outfit_id": pl.String, "family": pl.String, "item_id": pl.String, "category": pl.String, "noise": pl.Boolean}
    return pl.DataFrame(rows, schema=columns, orient="row")
