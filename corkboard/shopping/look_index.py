"""Products by category, searched by what a crop looks like.

Products of one category lie side by side, so that a search reads a slice: exact inner products, which up to 100,000 products a category
take some milliseconds. What may be shown is decided inside of the search, so that no filter empties a shelf.

    the category is sure                    that category
    it leads the second by little           both; results are merged by the chance to be the same, times the posterior
    nothing says one, or the name is none   all products
    of the catalogue's
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, Space
from corkboard.errors import SpaceMismatch
from corkboard.shopping.objects import WHOLE, FoundObjects

KIND = "look_index"
EVERYWHERE = -1
"""In place of a category's number: all products."""
MOSTLY = 0.5
"""The share of a category's pictures above which what they are taken for is what it is called by the detector."""
Calibrated = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""The chance to be the same, of cosines ``(n,)`` and numbers of categories ``(n,)``."""


@dataclass(frozen=True)
class Candidates:
    """Products that may be what an object is, the likeliest first."""

    places: np.ndarray
    """int64 (k,): places in the index."""
    rows: np.ndarray
    """int64 (k,): rows of the catalogue."""
    cosines: np.ndarray
    """float32 (k,)."""
    agreement: np.ndarray
    """float32 (k,): the posterior of the product's category for the object; 0 for one that is neither of its two likeliest."""

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True)
class LookIndex:
    """n products, those of one category side by side; n is small enough that all vectors fit into memory."""

    products: FoundObjects
    """One row a product."""
    names: tuple[str, ...]
    """Every category that objects or products have, also those without products."""
    category: np.ndarray
    """int32 (n,): its number in ``names``, rising; -1, at the end, where nothing says one."""
    rows: np.ndarray
    """int64 (n,): rows of the catalogue, -1 for what is not in it (any more)."""

    @classmethod
    def build(cls, objects: FoundObjects, items: pl.DataFrame) -> LookIndex:
        """The products among ``objects``, by the category that the catalogue says, else by the detected one.

        A catalogue that calls things otherwise than the detector is read by the detector's names: the products of a category that no
        object is ever called by have the one that most of their pictures were taken for, or where there is none, each its own.
        ``items`` are rows of the lake's items, and sorted by ``item_id`` the rows of the catalogue.
        """
        products = objects.take(np.flatnonzero(objects.table["sold"].to_numpy()))
        said = dict(items.select("item_id", "category").iter_rows())
        row_of = {item_id: row for row, item_id in enumerate(sorted(items["item_id"]))}
        rows = np.array([row_of.get(item_id, -1) for item_id in products.table["item_id"]], np.int64)
        seen = objects.table.filter(pl.col("source") != WHOLE)
        spoken = {*seen["category"].drop_nulls(), *seen["second_category"].drop_nulls()}
        given = [said.get(item_id) for item_id in products.table["item_id"]]
        called = _in_words_of_objects(given, products, spoken)
        names = {name for name in called if name is not None}
        if not spoken.isdisjoint(said.values()):  # the catalogue speaks as objects do, also of what it has no products of
            names |= {name for name in said.values() if name is not None} - set(given)
        return cls._of(products, tuple(sorted(names)), called, rows)

    @classmethod
    def _of(cls, products: FoundObjects, names: tuple[str, ...], said: Sequence[str | None], rows: np.ndarray) -> LookIndex:
        number = {name: place for place, name in enumerate(names)}
        given = zip(said, products.table["category"], strict=True)
        codes = np.array([number.get(name, number.get(detected, -1)) for name, detected in given], np.int32)
        order = np.argsort(np.where(codes < 0, len(names), codes), kind="stable")
        return cls(products.take(order), names, codes[order], np.asarray(rows, np.int64)[order])

    def with_products(self, products: FoundObjects, said: Sequence[str | None], rows: np.ndarray) -> LookIndex:
        """This index and ``products`` that arrived since, at ``rows`` of the catalogue; what was at these rows is replaced.

        ``said`` are their categories by the catalogue. A category that no item had before is none of the index: such a product is found
        where all are searched.
        """
        self.space.require(products.space)
        kept = self.without(rows)
        before = [None if number < 0 else self.names[number] for number in kept.category]
        return self._of(kept.products.joined(products), self.names, [*before, *said], np.concatenate([kept.rows, rows]))

    def without(self, rows: np.ndarray) -> LookIndex:
        """This index less what is at some rows of the catalogue."""
        kept = np.flatnonzero(~np.isin(self.rows, rows))
        return replace(self, products=self.products.take(kept), category=self.category[kept], rows=self.rows[kept])

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def ids(self) -> list[str]:
        """The items, by place."""
        return self.products.table["item_id"].to_list()

    @property
    def space(self) -> Space:
        """The space of the vectors that it is asked with."""
        return self.products.space

    def placed(self, rows: np.ndarray) -> LookIndex:
        """The same index for a catalogue in which ``ids`` are at ``rows``, -1 where an item is not there."""
        return replace(self, rows=np.asarray(rows, np.int64))

    @cached_property
    def _starts(self) -> np.ndarray:
        """int64 (categories + 1,): where each category begins and ends."""
        known = self.category[: int(np.count_nonzero(self.category >= 0))]
        return np.searchsorted(known, np.arange(len(self.names) + 1))

    @cached_property
    def number_of(self) -> dict[str, int]:
        """The number of each category."""
        return {name: place for place, name in enumerate(self.names)}

    def usual(self, among: np.ndarray) -> str | None:
        """The category of most products at catalogue rows that ``among``, bool over these, has; None where none has one."""
        here = (self.rows >= 0) & (self.rows < len(among)) & (self.category >= 0)
        here[here] = among[self.rows[here]]
        counts = np.bincount(self.category[here], minlength=1)
        return self.names[int(counts.argmax())] if counts.any() else None

    def count(self, category: int) -> int:
        """Products of a category, or of all with :data:`EVERYWHERE`."""
        start, end = self._slice(category)
        return end - start

    def _slice(self, category: int) -> tuple[int, int]:
        if category == EVERYWHERE:
            return 0, len(self)
        return int(self._starts[category]), int(self._starts[category + 1])

    # ------------------------------------------------------------------------------------------------------------- search

    def categories_of(self, category: str | None, second: str | None, lead: float, unsure: float) -> list[int]:
        """Numbers of the categories to search, the likeliest first; ``lead`` is how far the first posterior is before the second.

        A category of the catalogue that has no products is searched all the same and finds nothing: a lamp is no answer to a chair.
        """
        first = self.number_of.get(category) if category is not None else None
        other = self.number_of.get(second) if second is not None else None
        if first is None:
            return [EVERYWHERE]
        return [first] if other is None or lead >= unsure else [first, other]

    def search(
        self,
        objects: FoundObjects,
        row: int,
        k: int,
        allowed: np.ndarray | None = None,
        *,
        unsure: float = 0.2,
        calibrated: Calibrated | None = None,
        categories: Sequence[int] | None = None,
    ) -> Candidates:
        """At most k products that the object in ``row`` of ``objects`` may be.

        ``allowed`` is bool over rows of the catalogue; rows beyond its end are not allowed. ``calibrated`` is asked where two categories
        are merged; without it cosines are compared as they are. ``categories`` are searched instead of those that the object names. Raises
        :class:`SpaceMismatch` for objects of another space.
        """
        self.space.require(objects.space)
        known = objects.table.row(row, named=True)
        if categories is None:
            lead = known["posterior"] - known["second_posterior"]
            categories = self.categories_of(known["category"], known["second_category"], lead, unsure)
        vector = objects.vectors[row]
        places, cosines = (
            np.concatenate(part) for part in zip(*(self._nearest(vector, number, k, allowed) for number in categories), strict=True)
        )
        agreement = self.agreement(objects, row)[self.category[places]]
        if len(categories) > 1:
            chance = cosines if calibrated is None else calibrated(cosines, self.category[places])
            order = np.lexsort((places, -cosines, -chance * agreement))[:k]
            places, cosines, agreement = places[order], cosines[order], agreement[order]
        return Candidates(places, self.rows[places], cosines, agreement)

    def agreement(self, objects: FoundObjects, row: int) -> np.ndarray:
        """float32 (categories + 1,): the posterior of each category for an object; the last is that of "none", 0."""
        found = np.zeros(len(self.names) + 1, np.float32)
        for name, chance in zip(("category", "second_category"), ("posterior", "second_posterior"), strict=True):
            number = self.number_of.get(objects.table[name][row])
            if number is not None:
                found[number] = objects.table[chance][row]
        return found

    def _nearest(self, vector: np.ndarray, category: int, k: int, allowed: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Places int64 and cosines float32 of the k nearest allowed products of one category, or of all."""
        start, end = self._slice(category)
        if vector.shape != (self.products.vectors.shape[1],):
            raise SpaceMismatch("A vector does not have the width of this index", found=vector.shape, expected=self.products.vectors.shape)
        rows = self.rows[start:end]
        inside = rows >= 0
        if allowed is not None:
            inside = inside & (rows < len(allowed))
            inside[inside] = allowed[rows[inside]]
        cosines = np.where(inside, self.products.vectors[start:end] @ vector, -np.inf)
        count = min(k, int(np.count_nonzero(inside)))
        best = np.argpartition(-cosines, count - 1)[:count] if 0 < count < len(cosines) else np.flatnonzero(inside)[:count]
        best = best[np.lexsort((best, -cosines[best]))]
        return start + best, cosines[best].astype(np.float32)

    # ---------------------------------------------------------------------------------------------------------- artefacts

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        return {**self.products.tensors(), "category": self.category, "rows": self.rows}

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables of an artefact."""
        return {**self.products.tables(), "categories": pl.DataFrame({"name": self.names}, schema={"name": pl.String})}

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        return {**self.products.config, "kind": KIND}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> LookIndex | None:
        """The index of an artefact written with :meth:`tensors`, :meth:`tables` and :attr:`config`; None of an empty one."""
        if artifact.config.get("kind") != KIND:
            return None
        products = FoundObjects.read(artifact)
        names = tuple(artifact.table("categories")["name"])
        return cls(products, names, artifact.tensors["category"], artifact.tensors["rows"])


def _in_words_of_objects(said: Sequence[str | None], products: FoundObjects, spoken: set[str]) -> list[str | None]:
    """The category of each product as objects are called, where anything tells."""
    seen = products.table.with_columns(category=pl.when(pl.col("source") == WHOLE).then(None).otherwise("category"))["category"]
    taken = pl.DataFrame({"said": said, "seen": seen}, schema={"said": pl.String, "seen": pl.String}).drop_nulls()
    counts = taken.filter(~pl.col("said").is_in(list(spoken))).group_by("said", "seen").len()
    counts = counts.with_columns(share=pl.col("len") / pl.col("len").sum().over("said"))
    usual = dict(counts.filter(pl.col("share") > MOSTLY).select("said", "seen").iter_rows())
    return [
        name if name in spoken else usual.get(name, detected if detected is not None else name)
        for name, detected in zip(said, seen, strict=True)
    ]
