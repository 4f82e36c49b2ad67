"""What the content tower reads of an item: seven bags of hashed tokens, and its age."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from corkboard.lake.calendar import DAY_MS
from corkboard.learning.config import TextConfig
from corkboard.learning.text import WORD, Tokens, name_hash, tokenize

FIELDS = ("title", "description", "attributes", "category", "brand", "creator", "facts")
"""One bag of tokens each, in this order."""
AGE_FEATURES = 2
"""Log age, and whether the age is known."""
YOUNG_DAYS = 28
"""Age counts from here on. Below, all items look equally old: a tower that sees newness learns that new items have had no
time to be engaged with, and hides them (on the simulated world, a third of the recall on new items was lost that way)."""

_COLUMNS = ("title", "description", "attributes", "category", "brand_id", "creator_id", "kind", "price_minor", "currency")


@dataclass(frozen=True)
class ItemTokens:
    """Token bags of n items: bag ``i * len(FIELDS) + f`` is field f of item i. ``created_ms`` int64, -1 where unknown."""

    tokens: Tokens
    created_ms: np.ndarray

    def __len__(self) -> int:
        return len(self.created_ms)


def read_items(items: pl.DataFrame, config: TextConfig) -> ItemTokens:
    """Tokens of a frame with columns of the lake's ``items`` (absent ones are empty)."""
    columns = [items[name].to_list() if name in items.columns else [None] * len(items) for name in _COLUMNS]
    created = (
        items["created_ms"]
        if "created_ms" in items.columns
        else items["time_ms"]
        if "time_ms" in items.columns
        else pl.repeat(-1, len(items), dtype=pl.Int64, eager=True)
    )
    return _tokens(columns, created.fill_null(-1).to_numpy(), config)


def read_item(item: Mapping[str, Any], config: TextConfig) -> ItemTokens:
    """Tokens of one live item row."""
    created = item.get("created_ms", item.get("time_ms"))
    return _tokens([[item.get(name)] for name in _COLUMNS], np.array([-1 if created is None else created], np.int64), config)


def age_features(created_ms: np.ndarray, now_ms: int) -> np.ndarray:
    """float32 ``(n, AGE_FEATURES)``; zeros where the age is unknown."""
    days = np.maximum((now_ms - created_ms) / DAY_MS, YOUNG_DAYS)
    features = np.stack([np.log(days / YOUNG_DAYS) / 2, np.ones(len(days))], axis=1)
    return np.where((created_ms >= 0)[:, None], features, 0.0).astype(np.float32)


def _tokens(columns: Sequence[Sequence[Any]], created_ms: np.ndarray, config: TextConfig) -> ItemTokens:
    titles, descriptions, attributes, categories, brands, creators, kinds, prices, currencies = columns
    n = len(titles)
    text = tokenize([field for pair in zip(titles, descriptions, strict=True) for field in pair], config.max_words)
    left_out = frozenset(config.left_out_attributes)
    exact: list[list[int]] = []
    for place in range(n):
        exact.append([name_hash(f"attribute {name}", value) for name, value in _pairs(attributes[place]) if name not in left_out])
        exact += [
            [] if value is None else [name_hash(field, value)]
            for field, value in (("category", categories[place]), ("brand", brands[place]), ("creator", creators[place]))
        ]
        exact.append(_facts(kinds[place], prices[place], currencies[place]))
    lengths = np.zeros((n, len(FIELDS)), np.int64)
    lengths[:, :2] = np.diff(text.offsets).reshape(n, 2)
    lengths[:, 2:] = np.array([len(bag) for bag in exact], np.int64).reshape(n, len(FIELDS) - 2)
    offsets = np.concatenate([[0], np.cumsum(lengths.ravel())])
    is_text = np.repeat(np.tile(np.arange(len(FIELDS)) < 2, n), lengths.ravel())
    hashes, token_kinds = np.empty(offsets[-1], np.uint64), np.full(offsets[-1], WORD, np.uint8)
    hashes[is_text], token_kinds[is_text] = text.hashes, text.kinds
    hashes[~is_text] = np.array([token for bag in exact for token in bag], np.uint64)
    return ItemTokens(Tokens(hashes, token_kinds, offsets), np.asarray(created_ms, np.int64))


def _pairs(attributes: Any) -> Iterable[tuple[str, str]]:
    """(name, value) of attributes as a table has them (name-value structs) or as a live event may (values by name)."""
    if not attributes:
        return
    if isinstance(attributes, Mapping):
        for name, values in attributes.items():
            for value in values if isinstance(values, list | tuple) else [values]:
                yield name, str(value).casefold()
        return
    for entry in attributes:
        if entry and entry.get("value") is not None:
            yield str(entry.get("name")), str(entry["value"]).casefold()


def _facts(kind: str | None, price_minor: int | None, currency: str | None) -> list[int]:
    """Kind and price as tokens; a price falls into buckets of half an octave in its own currency."""
    facts = [name_hash("kind", kind or "pin")]
    if price_minor is not None and price_minor >= 0:
        facts.append(name_hash(f"price {currency}", str(math.floor(2 * math.log2(price_minor + 1)))))
    return facts
