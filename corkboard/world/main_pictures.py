"""The picture that each item of a world carries into the lake.

What is sold mostly shows itself before white, at times before a backdrop; pins and ideas are pictures of the web, some taken by phones.
Which one, and what is on it, is drawn from streams of their own: nothing else of the world knows of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np

from corkboard.seeds import generator
from corkboard.world.catalogue import Catalogue
from corkboard.world.config import WorldConfig
from corkboard.world.rendering import DOMAINS, Products, render

DOMAIN_SHARES = {True: (0.65, 0.35, 0.0), False: (0.05, 0.75, 0.20)}
"""What can be bought, or not -> share of each domain."""
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
        products, domains = Products.of_world(catalogue, config.seed), domains_of(config, catalogue)
        files = [b""] * len(catalogue)
        for code, domain in enumerate(DOMAINS):
            rows = np.flatnonzero(domains == code)
            for begin in range(0, len(rows), _CHUNK):
                chosen = rows[begin : begin + _CHUNK]
                for row, picture in zip(chosen.tolist(), render(products, chosen, domain, 0, config.pictures, config.seed), strict=True):
                    files[row] = to_jpeg(picture)
        return cls(files, ["sha256:" + hashlib.sha256(data).hexdigest() for data in files])


def domains_of(config: WorldConfig, catalogue: Catalogue) -> np.ndarray:
    """int64 (items,): row of DOMAINS of each item's main picture."""
    u = generator(config.seed, "world", "picture domains").random(len(catalogue))
    shares = np.array([DOMAIN_SHARES[product] for product in catalogue.product.tolist()])
    return (u[:, None] >= np.cumsum(shares, 1)[:, :-1]).sum(1)


def to_jpeg(picture: np.ndarray) -> bytes:
    """JPEG bytes of a uint8 (side, side, 3) picture."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
