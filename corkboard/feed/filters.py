"""The filter of a request: a few named restrictions, and nothing that could be run."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from corkboard.errors import InputError
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.config import ItemFilter

MAX_VALUES = 1000
"""Most values of one key."""
MAX_NAMES = 50
"""Most names of attributes."""

_LISTS = {"kind": "kinds", "category": "categories", "creator_id": "creators", "brand_id": "brands", "merchant_id": "merchants"}
_BOUNDS = {
    "price_min": "min_price_minor",
    "price_max": "max_price_minor",
    "created_from_ms": "created_from_ms",
    "created_before_ms": "created_before_ms",
}
KEYS = (*_LISTS, "attributes", *_BOUNDS, "sold", "available", "exclude_ids")
"""What a filter may hold. Attributes are ``{name: value or [values]}``; an item needs one value of each name. Prices are in minor units of
an item's own currency; ``sold`` true asks for what can be bought; ``available`` may only be true, which it is anyway."""


@dataclass(frozen=True)
class PageFilter:
    """A filter that was understood."""

    items: ItemFilter = field(default_factory=ItemFilter)
    exclude_ids: tuple[str, ...] = ()

    def mask(self, catalogue: Catalogue) -> np.ndarray:
        """bool ``(len(catalogue),)``: available and let through; the caller owns the array."""
        allowed = catalogue.mask(self.items)
        rows = catalogue.rows(self.exclude_ids)
        allowed[rows[(rows >= 0) & (rows < len(allowed))]] = False
        return allowed


def parse_filter(raw: Mapping[str, Any] | None) -> PageFilter:
    """Raises :class:`InputError` for an unknown key, naming the nearest known one, and for a value, or a filter, of the wrong kind."""
    if raw is not None and not isinstance(raw, Mapping):
        raise InputError("The filter has a wrong form", found=repr(raw)[:100], expected="an object of keys and values")
    if not raw:
        return PageFilter()
    for key in raw:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key)[:100], KEYS, n=1, cutoff=0.5)
            raise InputError(
                "The filter has an unknown key",
                found=str(key)[:100],
                expected=list(KEYS),
                hint=f"Did you mean {near[0]}?" if near else None,
            )
    if raw.get("available", True) is not True:
        raise InputError("A page holds only what is available", found=raw["available"], expected="available: true, or leave it out")
    values: dict[str, Any] = {name: _texts(raw, key) for key, name in _LISTS.items() if raw.get(key) is not None}
    values |= {name: _whole(raw, key) for key, name in _BOUNDS.items() if raw.get(key) is not None}
    if raw.get("sold") is not None:
        values["sold"] = _flag(raw, "sold")
    if raw.get("attributes") is not None:
        values["attributes"] = _attributes(raw["attributes"])
    excluded = _texts(raw, "exclude_ids") if raw.get("exclude_ids") is not None else ()
    return PageFilter(ItemFilter(**values), excluded)


def _attributes(raw: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(raw, Mapping) or len(raw) > MAX_NAMES or not all(isinstance(name, str) for name in raw):
        expected = f"an object of at most {MAX_NAMES} names, each with a value or a list of them"
        raise InputError("The filter's attributes have a wrong form", found=repr(raw)[:100], expected=expected)
    return {name: _texts(raw, name) for name in raw}


def _texts(raw: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = raw[key]
    values = (value,) if isinstance(value, str) else value
    fits = isinstance(values, list | tuple) and len(values) <= MAX_VALUES and all(isinstance(entry, str) for entry in values)
    if not fits:
        raise InputError(
            f"The filter's {key} has a wrong value", found=repr(value)[:100], expected=f"text, or a list of at most {MAX_VALUES} texts"
        )
    return tuple(values)


def _flag(raw: Mapping[str, Any], key: str) -> bool:
    if not isinstance(raw[key], bool):
        raise InputError(f"The filter's {key} has a wrong value", found=repr(raw[key])[:100], expected="true or false")
    return raw[key]


def _whole(raw: Mapping[str, Any], key: str) -> int:
    value = raw[key]
    if type(value) is not int or abs(value) >= 2**62:
        raise InputError(f"The filter's {key} has a wrong value", found=repr(value)[:100], expected="a whole number")
    return value
