"""Queries made from what is known of a product, as people type them, and how well another product answers them.

A query asks for some attributes of one product: words in any of a few orders, some by a synonym, now and then with a slip of the
finger. A product that has m of the asked attributes is worth ``2 ** m - 1``. Gender, type, colour, usage and season are columns of
the table; the pattern, for which there is no column, is what the title says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from corkboard.errors import InputError
from corkboard.experiments.fashion_search_config import QueriesConfig
from corkboard.learning.text import split_words
from corkboard.seeds import generator

COLUMNS = {"gender": "gender", "colour": "baseColour", "type": "articleType", "usage": "usage", "season": "season"}
"""Attributes and their columns."""
NAMES = (*COLUMNS, "pattern")
"""All attributes, in the order of the arrays."""
PATTERNS = {
    "check": ("check", "checks", "checked", "checkered", "plaid"),
    "striped": ("stripe", "stripes", "striped"),
    "printed": ("print", "prints", "printed"),
    "solid": ("solid", "plain"),
    "graphic": ("graphic", "graphics"),
    "washed": ("washed", "wash"),
}
"""Patterns, and the words of titles that tell them. A title that tells several has the first."""
ORDERS = (
    ("colour", "pattern", "type", "gender", "usage", "season"),
    ("gender", "usage", "colour", "pattern", "type", "season"),
    ("type", "gender", "colour", "pattern", "season", "usage"),
    ("season", "usage", "pattern", "colour", "gender", "type"),
)
"""In which order attributes are typed."""
PLAIN = {
    "type": {"Tshirts": "tshirt", "Innerwear Vests": "innerwear vest", "Handbags": "handbag", "Wallets": "wallet", "Watches": "watch"},
}
"""How a value is written in a query where it is not in small letters: one thing, not several."""
SYNONYMS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "gender": {
        "Men": ("mens", "gents", "for him", "male"),
        "Women": ("womens", "ladies", "for her", "female"),
        "Boys": ("boy", "kids"),
        "Girls": ("girl", "kids"),
    },
    "colour": {
        "Navy Blue": ("navy", "dark blue"),
        "Grey": ("gray",),
        "Maroon": ("wine", "dark red"),
        "Off White": ("ivory",),
        "Purple": ("violet",),
        "Olive": ("olive green",),
        "Gold": ("golden",),
        "Beige": ("sand",),
    },
    "type": {
        "Tshirts": ("tee", "t-shirt", "t shirt"),
        "Shirts": ("shirt",),
        "Casual Shoes": ("sneakers", "shoes"),
        "Sports Shoes": ("running shoes", "trainers"),
        "Formal Shoes": ("dress shoes", "office shoes"),
        "Tops": ("blouse", "top"),
        "Handbags": ("purse", "bag"),
        "Heels": ("pumps", "high heels"),
        "Flats": ("ballerinas", "flat shoes"),
        "Sunglasses": ("shades", "sun glasses"),
        "Flip Flops": ("slippers", "thongs"),
        "Sweaters": ("pullover", "jumper"),
        "Sweatshirts": ("hoodie", "hoody"),
        "Trousers": ("pants", "slacks"),
        "Jeans": ("denims",),
        "Jackets": ("coat", "jacket"),
        "Backpacks": ("rucksack", "school bag"),
        "Track Pants": ("joggers", "sweatpants"),
        "Briefs": ("underwear",),
        "Innerwear Vests": ("undershirt",),
        "Caps": ("hat",),
        "Kurtas": ("kurta", "tunic"),
        "Wallets": ("billfold",),
        "Watches": ("wristwatch", "timepiece"),
    },
    "usage": {"Sports": ("gym", "workout"), "Formal": ("office", "business"), "Ethnic": ("traditional", "indian"), "Casual": ("everyday",)},
    "pattern": {"check": ("checked", "plaid"), "striped": ("stripes", "stripy"), "printed": ("print",), "solid": ("plain",)},
    "season": {"Fall": ("autumn",)},
}
"""Other words that people have for a value."""
_SLIP_FROM = 5


@dataclass(frozen=True)
class Attributes:
    """What is known of ``n`` products: ``values`` by name, None where it is not known."""

    values: Mapping[str, Sequence[str | None]]

    def __len__(self) -> int:
        return len(self.values[NAMES[0]])

    def of(self, row: int) -> dict[str, str]:
        """What is known of one product."""
        return {name: value for name in NAMES if (value := self.values[name][row]) is not None}

    def take(self, rows: np.ndarray) -> Attributes:
        """Those of some products."""
        return Attributes({name: [values[row] for row in rows.tolist()] for name, values in self.values.items()})

    def words(self, row: int) -> str:
        """The columns of a product as one text; the pattern, which is of the title, is left out."""
        return " ".join(value for name, value in self.of(row).items() if name != "pattern")


def read_attributes(table: Path, key: str, ids: Sequence[str], titles: Sequence[str]) -> Attributes:
    """Attributes of the products ``ids``. Raises :class:`InputError` where the table lacks a column or a product."""
    frame = pl.read_csv(table, infer_schema=False)
    missing = [name for name in (key, *COLUMNS.values()) if name not in frame.columns]
    if missing:
        raise InputError(f"{table} lacks columns", found=frame.columns, expected=missing)
    rows = dict(zip(frame[key].to_list(), frame.select(COLUMNS.values()).rows(), strict=True))
    unknown = [one for one in ids if one not in rows]
    if unknown:
        raise InputError(f"{table} lacks products", found=unknown[:3])
    found = [rows[one] for one in ids]
    columns = {name: [row[place] or None for row in found] for place, name in enumerate(COLUMNS)}
    return Attributes({**columns, "pattern": [pattern_of(title) for title in titles]})


def pattern_of(title: str) -> str | None:
    """The pattern that a title tells, if any."""
    words = set(split_words(title.lower()))
    return next((pattern for pattern, known in PATTERNS.items() if words & set(known)), None)


@dataclass(frozen=True)
class Query:
    """A query for one product: what is typed, and which attributes it asks for."""

    text: str
    asked: Mapping[str, str]


def query_of(known: Mapping[str, str], draw: np.random.Generator, config: QueriesConfig, plain: bool = False) -> Query:
    """A query for a product of which ``known`` is known; ``plain`` ones have neither synonyms nor slips.

    Where too few attributes were drawn, those that are asked for most often are added.
    """
    often, chances = config.asked.model_dump(), draw.random(len(NAMES))
    asked = [name for name, chance in zip(NAMES, chances, strict=True) if name in known and chance < often[name]]
    rest = sorted((name for name in known if name not in asked), key=lambda name: -often[name])
    asked += rest[: max(config.least - len(asked), 0)]
    order = ORDERS[draw.integers(len(ORDERS))]
    words = [_written(name, known[name], draw, 0.0 if plain else config.synonym) for name in order if name in asked]
    text = " ".join(words)
    if not plain and draw.random() < config.typo:
        text = with_slip(text, draw)
    return Query(text, {name: known[name] for name in asked})


def _written(name: str, value: str, draw: np.random.Generator, synonym: float) -> str:
    others = SYNONYMS.get(name, {}).get(value, ())
    if others and draw.random() < synonym:
        return others[draw.integers(len(others))]
    return PLAIN.get(name, {}).get(value, value.lower())


def with_slip(text: str, draw: np.random.Generator) -> str:
    """``text`` with a letter missing, doubled, or swapped with the next, inside one word of at least five letters; else as it is."""
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if len(word) >= _SLIP_FROM]
    if not long:
        return text
    place = long[draw.integers(len(long))]
    word, at = words[place], int(draw.integers(1, len(words[place]) - 2))
    slips = (word[:at] + word[at + 1 :], word[: at + 1] + word[at:], word[:at] + word[at + 1] + word[at] + word[at + 2 :])
    words[place] = slips[draw.integers(len(slips))]
    return " ".join(words)


def queries_of(attributes: Attributes, ids: Sequence[str], config: QueriesConfig) -> list[Query]:
    """A query for each product, drawn by its id: no seed of a training has a say, nor what other products there are."""
    return [query_of(attributes.of(row), generator(0, "fashion search", "query", name), config) for row, name in enumerate(ids)]


def practice_of(attributes: Attributes, ids: Sequence[str], config: QueriesConfig, seed: int) -> list[tuple[str, str]]:
    """Plain queries and the product that each was made from, ``practice`` a product."""
    pairs = []
    for row, name in enumerate(ids):
        draw, known = generator(seed, "fashion search", "practice", name), attributes.of(row)
        pairs += [(query_of(known, draw, config, plain=True).text, name) for _ in range(config.practice)]
    return pairs


def grades(queries: Sequence[Query], attributes: Attributes) -> np.ndarray:
    """int64 ``(queries, products)``: how many of the asked attributes a product has."""
    found = np.zeros((len(queries), len(attributes)), np.int64)
    for name in NAMES:
        asked = np.array([query.asked.get(name, "") for query in queries])
        has = np.array([value or "" for value in attributes.values[name]])
        found += (asked[:, None] == has) & (asked != "")[:, None]
    return found
