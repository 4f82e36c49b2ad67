"""The shop: pages of what can be bought, for a person, or beside an item.

Products are found by their ItemSage vectors, asked with the medoids of what the person acted on, or with the vector of the item, and by
whatever finds them on home and beside an item; the same ranker orders them. So one index of products answers a home page, an item's page
and, with a query's vector, a search.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from corkboard.artifacts import EmbeddingTable
from corkboard.errors import InputError
from corkboard.feed.filters import PageFilter, parse_filter
from corkboard.feed.looks import LOOKS
from corkboard.feed.page import Note, RecommendRequest
from corkboard.ranking.features import SHOP
from corkboard.retrieval.blend import Retrieval
from corkboard.retrieval.config import ShopConfig
from corkboard.retrieval.related import related_retrieval
from corkboard.retrieval.sources import RetrievalParts

if TYPE_CHECKING:
    import polars as pl

    from corkboard.embeddings.itemsage import ItemSage


@dataclass(frozen=True)
class ShopSide:
    """What a release brings for the surface; ``notes`` say what is missing, on pages of this surface alone."""

    home: Retrieval = field(default_factory=lambda: Retrieval([]))
    """Sources for a person."""
    beside: Retrieval = field(default_factory=lambda: Retrieval([]))
    """Sources beside an item."""
    notes: tuple[Note, ...] = ()

    @classmethod
    def of(cls, parts: RetrievalParts, config: ShopConfig, notes: tuple[Note, ...]) -> ShopSide:
        """The sources that ``parts`` allow for."""
        return cls(Retrieval.of(parts, config.home), related_retrieval(parts, config.beside), notes)


class LazyProducts:
    """An encoder of products that is loaded with the first that is new. Threads may share it."""

    def __init__(self, load: Callable[[], ItemSage]):
        self._load = load
        self._encoder: ItemSage | None = None
        self._lock = threading.Lock()

    def vectors(self, items: pl.DataFrame, placed: EmbeddingTable) -> np.ndarray:
        """float32 ``(len(items), dim)``, zeros for what can not be bought; ``placed`` are the graph vectors of the items."""
        from corkboard.embeddings.product_images import product_images
        from corkboard.embeddings.product_inputs import ProductInputs, products_of

        products = products_of(items)
        with self._lock:
            self._encoder = self._encoder or self._load()
        vectors = np.zeros((len(items), placed.dim), np.float32)
        if len(products):
            row_of = {item_id: row for row, item_id in enumerate(items["item_id"])}
            sold = ProductInputs.of(products, product_images(products, placed))
            vectors[[row_of[item_id] for item_id in sold.item_ids]] = self._encoder.encode(sold)
        return vectors


def filter_of(request: RecommendRequest) -> PageFilter:
    """The request's filter; in the shop, and where a look is shopped or completed, it lets through only what can be bought.

    Raises :class:`InputError` for a filter that is not understood, and there for ``sold`` false.
    """
    wanted = parse_filter(request.filter)
    if request.surface not in (SHOP, *LOOKS):
        return wanted
    if (request.filter or {}).get("sold") is False:
        raise InputError("This surface holds only what is sold", found=False, expected="sold: true, or leave it out")
    return replace(wanted, items=wanted.items.model_copy(update={"sold": True}))
