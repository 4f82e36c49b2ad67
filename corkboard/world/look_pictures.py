"""Main pictures that show looks: scenes and collages of an item's own thing and of products that go with it.

Pins and ideas about fashion and home do not only show one thing. Which of them show several, and which products stand beside what the
item is about, is drawn from streams of their own, so nothing else of the world knows of it. Products are of other categories of the same
family, were there when the item came, and go with it and with each other as outfits do, a fifth of them at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.seeds import generator
from corkboard.world.catalogue import Catalogue
from corkboard.world.composing import AT_ONCE, COLLAGE, IN_COLLAGE, SCENE
from corkboard.world.config import WorldConfig
from corkboard.world.looks import NOISE, ROLES, Looks, best_fitting
from corkboard.world.rendering import Products, seeds_of
from corkboard.world.scenes import Scenes, shown_together
from corkboard.world.vocabulary import CATEGORIES

PICTURE_KINDS = ("product", "scene", "collage")
"""What a main picture is: of one thing, or of several in one of two ways."""
ENOUGH = 5
"""Products of a category that must have been there when the item came; where there are fewer, any of the category may be shown."""
SIZES, SIZE_SHARES = (3, 4, 5), (0.4, 0.4, 0.2)
"""Things in a collage, as in an outfit; at home there are four categories and so four things at most."""


@dataclass(frozen=True)
class ShownLooks:
    """What main pictures show together. Arrays have one row an item of the catalogue."""

    kind: np.ndarray
    """int64 (items,): row of PICTURE_KINDS."""
    rows: np.ndarray
    """int64 (items, IN_COLLAGE): rows of the catalogue from back to front, the item itself last, then -1; all -1 where only it shows."""
    noise: np.ndarray
    """bool (items, IN_COLLAGE): this one was put there at random."""

    @classmethod
    def make(cls, config: WorldConfig, catalogue: Catalogue, looks: Looks) -> ShownLooks:
        """Drawn by ``config.scene_share`` and ``config.collage_share``; nothing where the world has no pictures.

        What an item shows as a scene, or as a collage, does not depend on the shares. An item for whose look nothing is sold shows itself.
        """
        n = len(catalogue)
        kind, rows = np.zeros(n, np.int64), np.full((n, IN_COLLAGE), -1, np.int64)
        noise = np.zeros((n, IN_COLLAGE), bool)
        family = np.isin(catalogue.category, [role for roles in ROLES.values() for role in roles])
        u = generator(config.seed, "world", "look pictures").random(n)
        wanted = np.where(u < config.scene_share, 1, np.where(u < config.scene_share + config.collage_share, 2, 0))
        sold = [np.flatnonzero(catalogue.product & (catalogue.category == role)) for role in range(len(CATEGORIES))]
        several = family & ~catalogue.product & (wanted > 0) & (config.pictures > 0)
        for item in np.flatnonzero(several).tolist():
            name = PICTURE_KINDS[wanted[item]]
            rng = generator(config.seed, "world", "look pictures", name, item)
            others = int(rng.integers(1, AT_ONCE)) if name == "scene" else int(rng.choice(SIZES, p=SIZE_SHARES)) - 1
            chosen = _beside(catalogue, looks, sold, item, others, rng)
            if len(chosen) < (1 if name == "scene" else SIZES[0] - 1):
                continue
            kind[item] = wanted[item]
            rows[item, : len(chosen) + 1] = [row for row, _ in chosen] + [item]
            noise[item, : len(chosen)] = [at_random for _, at_random in chosen]
        return cls(kind, rows, noise)

    def outfits(self, catalogue: Catalogue) -> pl.DataFrame:
        """What lies together in collages: outfit_id (the item whose picture it is), item_id (null: its own thing), category, noise."""
        item, place = np.nonzero((self.rows >= 0) & (self.kind == PICTURE_KINDS.index("collage"))[:, None])
        row = self.rows[item, place]
        columns = {
            "outfit_id": [catalogue.ids[k] for k in item.tolist()],
            "item_id": [catalogue.ids[k] if sold else None for k, sold in zip(row.tolist(), catalogue.product[row].tolist(), strict=True)],
            "category": [CATEGORIES[k].name for k in catalogue.category[row].tolist()],
            "noise": self.noise[item, place],
        }
        return pl.DataFrame(columns, schema={"outfit_id": pl.String, "item_id": pl.String, "category": pl.String, "noise": pl.Boolean})

    def drawn(self, products: Products, items: np.ndarray, kind: str, side: int, seed: int) -> Scenes:
        """The main pictures of ``items``, which are all of one kind, "scene" or "collage"; each depends on its item alone."""
        domain, most = (SCENE, AT_ONCE) if kind == "scene" else (COLLAGE, IN_COLLAGE)
        return shown_together(products, self.rows[items, :most], domain, seeds_of(products.take(items), seed, kind), side)


def _beside(
    catalogue: Catalogue, looks: Looks, sold: list[np.ndarray], item: int, count: int, rng: np.random.Generator
) -> list[tuple[int, bool]]:
    """(row, put there at random) of at most ``count`` products that go with an item, each of another category of its family."""
    own, born = int(catalogue.category[item]), catalogue.created_ms[item]
    family = ROLES[CATEGORIES[own].family]
    chosen: list[tuple[int, bool]] = []
    for role in rng.permutation([role for role in family if role != own and len(sold[role])])[:count].tolist():
        there = sold[role][(catalogue.created_ms[sold[role]] < born) & (catalogue.gone_ms[sold[role]] > born)]
        at_random = bool(rng.random() < NOISE)
        with_these = [] if at_random else [item, *(row for row, _ in chosen)]
        row = best_fitting(catalogue, looks, there if len(there) >= ENOUGH else sold[role], with_these, rng)
        chosen.append((row, at_random))
    return chosen
