"""The pictures that the items of a world carry into the lake: one each, and further ones of what is sold.

What is sold mostly shows itself before white, at times before a backdrop; pins and ideas are pictures of the web, some taken by phones.
Further pictures show the same product otherwise, more often before a backdrop or in use. Which ones, and what is on them, is drawn from
streams of their own: nothing else of the world knows of it, and no further picture knows how many there are.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from corkboard.seeds import derive, generator
from corkboard.world.catalogue import Catalogue
from corkboard.world.config import WorldConfig
from corkboard.world.rendering import DOMAINS, Products, render

DOMAIN_SHARES = {True: (0.65, 0.35, 0.0), False: (0.05, 0.75, 0.20)}
"""What can be bought, or not -> share of each domain."""
FURTHER_SHARES = (0.30, 0.45, 0.25)
"""Share of each domain among the further pictures of what can be bought."""
QUALITY = 90
_CHUNK = 256


@dataclass(frozen=True)
class MainPictures:
    """One JPEG an item, in the order of the catalogue; nothing where the world has no pictures."""

    files: list[bytes]
    images: list[str]
    """``sha256:...`` of each file, as it stands in the column ``images``."""

    @classmethod
    def make(cls, config: WorldConfig, catalogue: Catalogue) -> MainPictures:
        """Draw and encode them. The encoder is Pillow's: another release of it may write other bytes for the same pixels."""
        if not config.pictures:
            return cls([], [])
        products, rows = Products.of_world(catalogue, config.seed), np.arange(len(catalogue))
        files = _drawn(config, products, rows, domains_of(config, catalogue), 0, config.seed)
        return cls(files, [_named(data) for data in files])


@dataclass(frozen=True)
class FurtherPictures:
    """The pictures of what can be bought beyond the main one: JPEGs by row of the catalogue, in the order in which they are shown."""

    files: dict[int, list[bytes]]
    images: dict[int, list[str]]
    """``sha256:...`` of each file, as they stand in the column ``images`` after that of the main picture."""

    @classmethod
    def make(cls, config: WorldConfig, catalogue: Catalogue) -> FurtherPictures:
        """Draw and encode ``config.product_pictures`` - 1 of each item that can be bought: other views, by a seed of their own."""
        bought = np.flatnonzero(catalogue.product) if config.pictures and config.product_pictures > 1 else np.zeros(0, np.int64)
        files: dict[int, list[bytes]] = {row: [] for row in bought.tolist()}
        if files:
            products, seed = Products.of_world(catalogue, config.seed), derive(config.seed, "world", "further pictures")
            for view in range(1, config.product_pictures):
                drawn = _drawn(config, products, bought, further_domains(config, catalogue, view)[bought], view, seed)
                for row, data in zip(bought.tolist(), drawn, strict=True):
                    files[row].append(data)
        return cls(files, {row: [_named(data) for data in several] for row, several in files.items()})


def domains_of(config: WorldConfig, catalogue: Catalogue) -> np.ndarray:
    """int64 (items,): row of DOMAINS of each item's main picture."""
    u = generator(config.seed, "world", "picture domains").random(len(catalogue))
    shares = np.array([DOMAIN_SHARES[product] for product in catalogue.product.tolist()])
    return (u[:, None] >= np.cumsum(shares, 1)[:, :-1]).sum(1)


def further_domains(config: WorldConfig, catalogue: Catalogue, view: int) -> np.ndarray:
    """int64 (items,): row of DOMAINS of further picture ``view`` of each item; only those of what can be bought are drawn."""
    u = generator(config.seed, "world", "further picture domains", view).random(len(catalogue))
    return (u[:, None] >= np.cumsum(FURTHER_SHARES)[:-1]).sum(1)


def to_jpeg(picture: np.ndarray) -> bytes:
    """JPEG bytes of a uint8 (side, side, 3) picture."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _drawn(config: WorldConfig, products: Products, rows: np.ndarray, domains: np.ndarray, view: int, seed: int) -> list[bytes]:
    """The JPEG of each of ``rows`` of ``products``, in its domain of ``domains`` (one a row)."""
    files = [b""] * len(rows)
    for code, domain in enumerate(DOMAINS):
        places = np.flatnonzero(domains == code)
        for begin in range(0, len(places), _CHUNK):
            chosen = places[begin : begin + _CHUNK]
            pictures = render(products, rows[chosen], domain, view, config.pictures, seed)
            for place, picture in zip(chosen.tolist(), pictures, strict=True):
                files[place] = to_jpeg(picture)
    return files


def _named(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
