"""The pictures that the items of a world carry into the lake: one each, and further ones of what is sold.

What is sold mostly shows itself before white, at times before a backdrop; pins and ideas are pictures of the web, some taken by phones,
and some of those about fashion and home are scenes or collages (``look_pictures``). Further pictures show the same product otherwise, more
often before a backdrop or in use. Which ones, and what is on them, is drawn from streams of their own: nothing else of the world knows of
it, and no further picture knows how many there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain

import numpy as np
import polars as pl

from corkboard.seeds import derive, generator
from corkboard.world.catalogue import Catalogue
from corkboard.world.config import WorldConfig
from corkboard.world.look_pictures import PICTURE_KINDS, ShownLooks
from corkboard.world.rendering import DOMAINS, Products
from corkboard.world.scenes import Scenes, single_pictures
from corkboard.world.vocabulary import CATEGORIES

DOMAIN_SHARES = {True: (0.65, 0.35, 0.0), False: (0.05, 0.75, 0.20)}
"""What can be bought, or not -> share of each domain."""
FURTHER_SHARES = (0.30, 0.45, 0.25)
"""Share of each domain among the further pictures of what can be bought."""
QUALITY = 90
_CHUNK = 256


OBJECTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "item_id": pl.String,
    "image": pl.String,
    "left": pl.Float32,
    "top": pl.Float32,
    "right": pl.Float32,
    "bottom": pl.Float32,
    "product_id": pl.String,
    "category": pl.String,
    "visible": pl.Float32,
    "kind": pl.String,
}
"""Columns of :attr:`MainPictures.objects`."""


@dataclass(frozen=True)
class MainPictures:
    """One JPEG an item, in the order of the catalogue; nothing where the world has no pictures."""

    files: list[bytes]
    images: list[str]
    """``sha256:...`` of each file, as it stands in the column ``images``."""
    objects: pl.DataFrame
    """What shows in them, in columns OBJECTS; see :meth:`corkboard.world.world.World.objects`."""

    @classmethod
    def make(cls, config: WorldConfig, catalogue: Catalogue, looks: ShownLooks) -> MainPictures:
        """Draw and encode them. The encoder is Pillow's: another release of it may write other bytes for the same pixels."""
        if not config.pictures:
            return cls([], [], pl.DataFrame(schema=OBJECTS))
        products, files = Products.of_world(catalogue, config.seed), [b""] * len(catalogue)
        found: list[pl.DataFrame] = []
        single = np.flatnonzero(looks.kind == 0)
        drawn = chain(
            (("product", *one) for one in _drawn(config, products, single, domains_of(config, catalogue)[single], 0, config.seed)),
            _looks_drawn(config, products, looks),
        )
        for kind, items, shown in drawn:
            for item, picture in zip(items.tolist(), shown.images, strict=True):
                files[item] = to_jpeg(picture)
            found.append(_objects(config, kind, items, shown))
        images = [_named(data) for data in files]
        return cls(files, images, _framed(catalogue, images, found))


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
                for rows, shown in _drawn(config, products, bought, further_domains(config, catalogue, view)[bought], view, seed):
                    for row, picture in zip(rows.tolist(), shown.images, strict=True):
                        files[row].append(to_jpeg(picture))
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


def _drawn(
    config: WorldConfig, products: Products, rows: np.ndarray, domains: np.ndarray, view: int, seed: int
) -> Iterator[tuple[np.ndarray, Scenes]]:
    """(some of the rows, their pictures) of ``rows`` of ``products``, each in its domain of ``domains`` (one a row)."""
    for code, domain in enumerate(DOMAINS):
        for chosen in _chunks(rows[domains == code]):
            yield chosen, single_pictures(products, chosen, domain, view, config.pictures, seed)


def _looks_drawn(config: WorldConfig, products: Products, looks: ShownLooks) -> Iterator[tuple[str, np.ndarray, Scenes]]:
    """(kind, some items, their pictures) of all that show several things."""
    for code, kind in enumerate(PICTURE_KINDS[1:], 1):
        for chosen in _chunks(np.flatnonzero(looks.kind == code)):
            yield kind, chosen, looks.drawn(products, chosen, kind, config.pictures, config.seed)


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for begin in range(0, len(rows), _CHUNK):
        yield rows[begin : begin + _CHUNK]


def _objects(config: WorldConfig, kind: str, items: np.ndarray, shown: Scenes) -> pl.DataFrame:
    """What shows in some pictures, by rows of the catalogue: item, depth, boxes, product, category, visible, kind."""
    box = (shown.boxes / config.pictures).astype(np.float32)
    sides = {name: box[:, k] for k, name in enumerate(("left", "top", "right", "bottom"))}
    columns = {"item": items[shown.scene], "depth": shown.depth, **sides, "product": shown.product, "category": shown.category}
    return pl.DataFrame({**columns, "visible": shown.visible, "kind": [kind] * len(box)})


def _framed(catalogue: Catalogue, images: list[str], found: list[pl.DataFrame]) -> pl.DataFrame:
    """The objects by their outside names, picture by picture from back to front.

    Of pictures of one thing only those of what is sold are kept, and of them the product: nobody sells what stands about.
    """
    every = pl.concat(found).sort("item", "depth")
    item, product = every["item"].to_numpy(), every["product"].to_numpy()
    kept = (every["kind"].to_numpy() != "product") | ((product == item) & catalogue.product[item])
    every, item, product = every.filter(kept), item[kept], product[kept]
    ids = [catalogue.ids[k] if sold else None for k, sold in zip(product.tolist(), catalogue.product[product].tolist(), strict=True)]
    return every.with_columns(
        item_id=pl.Series([catalogue.ids[k] for k in item.tolist()], dtype=pl.String),
        image=pl.Series([images[k] for k in item.tolist()], dtype=pl.String),
        product_id=pl.Series(ids, dtype=pl.String),
        category=pl.Series([CATEGORIES[k].name for k in every["category"].to_list()], dtype=pl.String),
    ).select(*OBJECTS)


def _named(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
