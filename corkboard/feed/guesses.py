"""What products do not say and a head has guessed, to be shown beside what they do say and never among it.

Filters, rules and rankers do not read it: a guess that is wrong would hide what somebody asked for. A product that arrives live is guessed
from the vector of its content alone, for nobody has put it beside anything yet. One that the release guessed of keeps those guesses, which
read all that was known of it, until it says so itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import polars as pl

from corkboard.artifacts import Artifact, EmbeddingTable

if TYPE_CHECKING:
    from corkboard.embeddings.attribute_head import AttributeHead

ATTRIBUTES = "attributes"
"""The role of the head and of what it filled in, and the step that makes it."""
FILLED = "filled"
"""The table of what was filled in when the release was made: item_id, attribute, value, confidence."""

Guessed = dict[str, dict[str, Any]]
"""``value`` and ``confidence``, in [0, 1], by attribute."""


class Guesses:
    """Guessed values by item; empty without a ``head``. One thread writes, any may read."""

    def __init__(self, head: AttributeHead | None = None, filled: pl.DataFrame | None = None):
        self.head = head
        self._built = {} if filled is None else _by_item(filled)
        self._of = dict(self._built)

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Guesses:
        """Those of a release; none where it was made over products that say too little."""
        from corkboard.embeddings.attribute_head import AttributeHead

        if artifact.config.get("kind") == "none":
            return cls()
        return cls(AttributeHead.from_artifact(artifact), artifact.table(FILLED))

    def of(self, item_id: str) -> Guessed:
        """What is guessed of an item; empty where it says everything itself, or nothing can be told."""
        return self._of.get(item_id, {})

    def put(self, items: pl.DataFrame, placed: Callable[[pl.DataFrame], EmbeddingTable | None]) -> None:
        """Guess again of ``items``, rows as the lake has them now; ``placed`` makes their vectors, which the head's space is asked of.

        It is given the products that leave something unsaid and of which the release guessed nothing, without what they do say of what is
        guessed. Whatever was guessed live of an item before is gone, also where there are no vectors, or making them fails; what the
        release guessed stays where it is still unsaid of a product.
        """
        from corkboard.embeddings.attribute_head import said, unsaid
        from corkboard.embeddings.product_inputs import products_of

        self.drop(items["item_id"])
        if self.head is None:
            return
        sources = self.head.settings.sources
        told = [said(items, sources[name]) for name in self.head.known]
        silent = [
            {name for name, value in zip(self.head.known, of_one, strict=True) if value is None} for of_one in zip(*told, strict=True)
        ]
        open_ = products_of(items.filter(pl.Series([bool(names) for names in silent], dtype=pl.Boolean)))
        unsaid_of = dict(zip(items["item_id"], silent, strict=True))
        for item_id in self._built.keys() & set(open_["item_id"]):
            kept = {name: guess for name, guess in self._built[item_id].items() if name in unsaid_of[item_id]}
            if kept:
                self._of[item_id] = kept
        open_ = open_.filter(pl.Series([item_id not in self._built for item_id in open_["item_id"]], dtype=pl.Boolean))
        vectors = None if open_.is_empty() else placed(unsaid(open_, sources))
        if vectors is not None:
            self._of.update(_by_item(self.head.fill(open_, vectors)))

    def drop(self, item_ids: Iterable[str]) -> None:
        """Forget what was guessed of items."""
        for item_id in item_ids:
            self._of.pop(item_id, None)


def _by_item(filled: pl.DataFrame) -> dict[str, Guessed]:
    made: dict[str, Guessed] = {}
    for item_id, attribute, value, confidence in filled.select("item_id", "attribute", "value", "confidence").iter_rows():
        made.setdefault(item_id, {})[attribute] = {"value": value, "confidence": round(float(confidence), 3)}
    return made
