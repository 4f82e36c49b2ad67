"""Pictures made once: every product in every domain and view, kept as memory-mapped arrays.

The folder is named after all that decides the bytes (version of the generator, products, seed, side, views, backgrounds), so a set that is
there is read and one that is not is made, and nothing is ever read that other settings made.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corkboard.artifacts import write_atomically
from corkboard.errors import InputError
from corkboard.world.rendering import DOMAINS, PICTURES_VERSION, Products, render

VIEWS: dict[str, int] = {"catalogue": 1, "web": 4, "camera": 4}
"""How many pictures of each domain a product has, where nothing else is asked for."""
_CHUNK = 512


@dataclass(frozen=True)
class PictureSet:
    """Pictures of products, as they lie on disk."""

    products: Products
    side: int
    images: dict[str, np.ndarray]
    """domain -> uint8 (views, products, side, side, 3), memory-mapped and read-only."""
    folder: Path

    def __getitem__(self, domain: str) -> np.ndarray:
        """uint8 (views, products, side, side, 3) of one domain."""
        if domain not in self.images:
            raise InputError("The set has no pictures of this domain", found=domain, expected=list(self.images))
        return self.images[domain]


def picture_set(
    products: Products,
    folder: Path,
    views: Mapping[str, int] = VIEWS,
    side: int = 64,
    seed: int = 0,
    backgrounds: str = "seen",
    progress: Callable[[str, int, int], None] | None = None,
) -> PictureSet:
    """The pictures of ``products`` at ``side`` px, ``views[domain]`` of each, from ``folder`` or made and kept there.

    ``progress(what, done, total)`` is called while they are made. A domain that is not in ``views`` is left out. Raises
    :class:`InputError` for a domain, side or set of backgrounds that :func:`render` does not know.
    """
    wanted = {domain: int(views[domain]) for domain in DOMAINS if views.get(domain, 0) > 0}
    if not wanted or set(views) - set(DOMAINS):
        raise InputError("Views are counted by domain", found=dict(views), expected=DOMAINS)
    facts = {
        "version": PICTURES_VERSION,
        "products": digest(products),
        "count": len(products),
        "seed": seed,
        "side": side,
        "views": wanted,
        "backgrounds": backgrounds,
    }
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    home = Path(folder) / f"pictures-{name}"
    if not (home / "facts.json").exists():
        _make(products, home, wanted, facts, progress or (lambda what, done, total: None))
    images = {domain: np.load(home / f"{domain}.npy", mmap_mode="r") for domain in wanted}
    return PictureSet(products, side, images, home)


def _make(
    products: Products, home: Path, views: dict[str, int], facts: dict[str, object], progress: Callable[[str, int, int], None]
) -> None:
    """Write every array of a set, and last of all the facts, whose presence says that the set is whole."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    side, seed, backgrounds = int(facts["side"]), int(facts["seed"]), str(facts["backgrounds"])
    done, total = 0, sum(views.values()) * len(products)
    for domain, count in views.items():
        shape = (count, len(products), side, side, 3)
        array = np.lib.format.open_memmap(home / f"{domain}.npy", mode="w+", dtype=np.uint8, shape=shape)
        for view in range(count):
            for begin in range(0, len(products), _CHUNK):
                rows = np.arange(begin, min(begin + _CHUNK, len(products)))
                array[view, rows] = render(products, rows, domain, view, side, seed, backgrounds)
                done += len(rows)
                progress("pictures", done, total)
        array.flush()
    write_atomically(home / "facts.json", json.dumps(facts).encode())


def digest(products: Products) -> str:
    """SHA-256 of what the products are."""
    parts = (products.key, products.topic, products.pattern, products.shade, products.style)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()
