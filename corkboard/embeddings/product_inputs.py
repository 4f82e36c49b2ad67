"""What ItemSage reads of a product: up to twenty pictures as vectors of items, and twelve fields of text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl

from corkboard.artifacts import Space
from corkboard.errors import InputError
from corkboard.learning.config import TextConfig
from corkboard.learning.query_text import normalised
from corkboard.learning.text import TRIGRAM, Tokens, tokenize

if TYPE_CHECKING:
    from corkboard.embeddings.product_images import ProductImages

TEXT_FIELDS = (
    "title",
    "description",
    "merchant_domain",
    "link",
    "category",
    "brand",
    "colour",
    "material",
    "pattern",
    "size",
    "size_type",
    "product_type",
)
"""The fields, in this order. What the attributes say beyond them stands with the product type, so that nothing is lost."""

_ATTRIBUTE_FIELDS = {
    "colour": ("colour", "color", "colors", "colours", "base_colour", "base_color", "shade"),
    "material": ("material", "materials", "fabric"),
    "pattern": ("pattern", "patterns", "print"),
    "size": ("size", "sizes"),
    "size_type": ("size_type", "size_system", "fit"),
    "brand": ("brand", "brand_name", "manufacturer"),
    "category": ("category", "categories", "google_product_category"),
}
_FIELD_OF = {name: TEXT_FIELDS.index(field) for field, names in _ATTRIBUTE_FIELDS.items() for name in names}
_OTHER = TEXT_FIELDS.index("product_type")
_OF_NAMES = np.isin(TEXT_FIELDS, ("merchant_domain", "link", "brand"))
"""Fields of names and ids: parts of their words say nothing."""
_COLUMNS = ("title", "description", "link", "merchant_id", "category", "brand_id", "attributes")
_WORD_BORDER = re.compile(r"(?<=[a-z])(?=[A-Z])|[^0-9A-Za-z]+")


def products_of(items: pl.DataFrame) -> pl.DataFrame:
    """The products among the lake's ``items``: those with a price, and those of the kind "product"."""
    return items.filter(pl.col("price_minor").is_not_null() | (pl.col("kind") == "product"))


@dataclass(frozen=True)
class ProductInputs:
    """n products.

    ``images`` float32 ``(n, tokens, dim)`` are vectors of ``image_space``, the main picture first, zeros where ``there``, bool
    ``(n, tokens)``, is off. ``texts`` are the fields of :data:`TEXT_FIELDS`, strings ``(n, 12)``, empty where nothing is known.
    ``lookalikes`` int64 ``(n,)``: products with one number have the same title and the same main picture, most often offers of
    several merchants.
    """

    item_ids: list[str]
    images: np.ndarray
    there: np.ndarray
    image_space: Space
    texts: np.ndarray
    lookalikes: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.item_ids)
        shapes = (self.images.shape[:2], self.there.shape, self.texts.shape, self.lookalikes.shape)
        if shapes != ((n, self.there.shape[-1]), (n, self.there.shape[-1]), (n, len(TEXT_FIELDS)), (n,)):
            raise InputError("The parts of products do not fit together", found=(n, *shapes), expected="n rows each, and 12 texts")

    def __len__(self) -> int:
        return len(self.item_ids)

    @classmethod
    def of(cls, items: pl.DataFrame, images: ProductImages) -> ProductInputs:
        """All rows of ``items`` (columns of the lake's ``items``, absent ones are empty); see :func:`products_of` for a choice.

        An item that ``images`` does not know has none.
        """
        columns = [items[name].to_list() if name in items.columns else [None] * len(items) for name in _COLUMNS]
        rows = list(zip(*columns, strict=True))
        texts = np.array([_texts(*row) for row in rows], object).reshape(-1, len(TEXT_FIELDS))
        row_of = {item_id: row for row, item_id in enumerate(images.item_ids)}
        item_ids = items["item_id"].to_list()
        place = np.array([row_of.get(item_id, -1) for item_id in item_ids], np.int64)
        known = place >= 0
        vectors, there = np.zeros((len(items), *images.vectors.shape[1:]), np.float32), np.zeros((len(items), images.there.shape[1]), bool)
        there[known] = images.there[place[known]]
        vectors[known] = images.vectors[place[known]] * there[known][:, :, None]
        return cls(item_ids, vectors, there, images.space, texts, lookalikes(items))

    def take(self, rows: np.ndarray) -> ProductInputs:
        """The products at ``rows``, in that order."""
        item_ids = [self.item_ids[row] for row in rows]
        return ProductInputs(item_ids, self.images[rows], self.there[rows], self.image_space, self.texts[rows], self.lookalikes[rows])

    def tokens(self, config: TextConfig) -> Tokens:
        """The words, bigrams and trigrams of all fields: bag ``i * 12 + f`` is field f of product i."""
        read = tokenize(self.texts.ravel().tolist(), config.max_words)
        owner = np.repeat(np.arange(len(read)), np.diff(read.offsets))
        kept = ~((read.kinds == TRIGRAM) & _OF_NAMES[owner % len(TEXT_FIELDS)])
        offsets = np.concatenate([[0], np.cumsum(kept)])[read.offsets]
        return Tokens(read.hashes[kept], read.kinds[kept], offsets)


def _texts(title: Any, description: Any, link: Any, merchant: Any, category: Any, brand: Any, attributes: Any) -> list[str]:
    domain, path = _link_words(link)
    found: list[list[str]] = [[] for _ in TEXT_FIELDS]
    for place, value in enumerate((title, description, domain, path, category, brand)):
        found[place] = [str(value)] if value else []
    found[2] += [str(merchant)] if merchant else []
    for name, value in _pairs(attributes):
        found[_FIELD_OF.get(name, _OTHER)].append(value)
    return [" ".join(words) for words in found]


def _link_words(link: str | None) -> tuple[str, str]:
    """The host of a link without "www.", and what stands in its path; a link that is none is read as a path."""
    if not link:
        return "", ""
    try:
        parts = urlsplit(link)
        host = parts.hostname or ""
    except ValueError:
        return "", ""
    return host.removeprefix("www."), re.sub(r"[^\w]+|_", " ", parts.path).strip()


def _pairs(attributes: Iterable[Mapping[str, Any]] | None) -> list[tuple[str, str]]:
    """Names as small words with "_" between, and their values; relations to other items are left out."""
    pairs = [(str(entry["name"]), entry["value"]) for entry in attributes or () if entry and entry.get("value")]
    named = [("_".join(word for word in _WORD_BORDER.split(name) if word).casefold(), str(value)) for name, value in pairs]
    return [(name, value) for name, value in named if name not in TextConfig().left_out_attributes]


def lookalikes(items: pl.DataFrame) -> np.ndarray:
    """int64 ``(n,)``: a number for each title with each main picture; one of its own where either is unknown."""
    item_ids, titles, images = (
        items[name].to_list() if name in items.columns else [None] * len(items) for name in ("item_id", "title", "images")
    )
    numbers: dict[Any, int] = {}
    shown = [(normalised(title), (of_item or [None])[0]) for title, of_item in zip(titles, images, strict=True)]
    keys = [(title, picture) if title and picture else item_id for item_id, (title, picture) in zip(item_ids, shown, strict=True)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
