"""The image tokens of a product: what ItemSage reads of its pictures (Baltescu et al., KDD 2022, section 3.2).

Token 0 is the vector that the graph's encoder gives the item where it stands, with its neighbours. Nobody saves the further pictures of a
product, so they are no nodes of the graph: each is read by the same encoder from the item's content and that picture, with all neighbours
masked. All tokens lie in one space, that of the graph vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.embeddings.visual_lake import picture_features, pictures_of
from corkboard.errors import InputError

if TYPE_CHECKING:
    from corkboard.embeddings.graph_encoder import GraphEncoder
    from corkboard.embeddings.visual import VisualEncoder
    from corkboard.lake.pictures.reading import Pictures

MAX_TOKENS = 20
"""The main picture and 19 further ones, as published; what an item shows beyond them is not read."""
_CHUNK = 8192
"""Further pictures that are encoded at once."""


@dataclass(frozen=True)
class ProductImages:
    """Products and their image tokens.

    ``vectors`` is float32 ``(n, tokens, dim)``, 1 to 20 tokens, unit vectors or zeros where ``there``, bool ``(n, tokens)``, is false.
    The tokens that are there need not be the first ones: an item that is not in the graph may have further pictures.
    """

    item_ids: Sequence[str]
    vectors: np.ndarray
    there: np.ndarray
    space: Space

    def __post_init__(self) -> None:
        shape = self.vectors.shape
        if len(shape) != 3 or len(self.item_ids) != shape[0] or self.there.shape != shape[:2] or not 1 <= shape[1] <= MAX_TOKENS:
            raise InputError(
                "Image tokens need a vector and a mark a product and token",
                found=(len(self.item_ids), shape, self.there.shape),
                expected=f"(n,), (n, tokens, dim), (n, tokens), 1 to {MAX_TOKENS} tokens",
            )

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.vectors.shape[2]

    def take(self, rows: Sequence[int] | np.ndarray) -> ProductImages:
        """Some of the products, in the order of ``rows``."""
        rows = np.asarray(rows, np.int64)
        return ProductImages([self.item_ids[row] for row in rows.tolist()], self.vectors[rows], self.there[rows], self.space)


def product_images(
    items: pl.DataFrame,
    served: EmbeddingTable,
    model: GraphEncoder | None = None,
    content: EmbeddingTable | None = None,
    encoder: VisualEncoder | None = None,
    pictures: Pictures | None = None,
) -> ProductImages:
    """The image tokens of ``items`` (item_id, images), in their order.

    ``served`` are the vectors of ``model`` of items as they stand in the graph; an item that it does not have, or has at zero, is not there
    with token 0. ``content`` are vectors of items as ``model`` reads them, ``encoder`` makes the vectors of ``pictures``. A further picture
    is one that the lake holds after the first that it holds, each counted once, at most 19. Where one of the four is None, or the model
    reads no pictures, there is token 0 alone.

    There are as many tokens as the product with most pictures has. Raises :class:`corkboard.errors.SpaceMismatch` where ``served`` or
    ``content`` are not of the spaces of ``model``.
    """
    if model is not None:
        model.space.require(served.space)
    item_ids = items["item_id"].to_list()
    main, _ = served.lookup(item_ids)
    alone = ProductImages(item_ids, main[:, None], main.any(axis=1)[:, None], served.space)
    if model is None or content is None or encoder is None or pictures is None or len(model.spaces) == 1:
        return alone
    further = _further(items, pictures)
    if further.is_empty():
        return alone
    rows, places = further["row"].to_numpy(), further["place"].to_numpy()
    vectors = np.zeros((len(item_ids), int(places.max()) + 1, served.dim), np.float32)
    vectors[:, 0] = main
    seen = encoder.vectors_of(picture_features(encoder, pictures, further["hash"].to_list()))
    of_content, _ = content.lookup(item_ids)
    for begin in range(0, len(rows), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        ids = list(map(str, range(len(rows[part]))))  # a node a picture, which stands beside nothing
        tables = [EmbeddingTable(ids, of_content[rows[part]], content.space), EmbeddingTable(ids, seen[part], encoder.space)]
        vectors[rows[part], places[part]] = model.encode(NodeFeatures.of(ids, tables), None)
    return ProductImages(item_ids, vectors, vectors.any(axis=2), served.space)


def _further(items: pl.DataFrame, pictures: Pictures) -> pl.DataFrame:
    """row (of ``items``), place (1 to 19), hash: the pictures of each item but its main one."""
    shown = pictures_of(items, pictures).unique(["item_id", "hash"], keep="first", maintain_order=True)
    placed = shown.with_columns(place=pl.int_range(pl.len()).over("item_id"))
    rows = items.select("item_id").with_row_index("row")
    return placed.filter(pl.col("place").is_between(1, MAX_TOKENS - 1)).join(rows, on="item_id", maintain_order="left")
