"""Which items have an attribute: rows by name and value, for filters.

Names and values are compared without regard to case and outer space; a name may have several values on one item.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

Pair = tuple[str, str]


class AttributeRows:
    """Attributes of the items of a catalogue, by row.

    ``attributes`` is a list of ``{name, value}`` an item, row by row; :meth:`put` gives a row others. Readers need no lock.
    """

    def __init__(self, attributes: pl.Series):
        self._frozen = _grouped(attributes)
        self._live: dict[int, frozenset[Pair]] = {}

    def put(self, row: int, attributes: Iterable[Mapping[str, str | None]]) -> None:
        """The item at ``row`` has these from now on."""
        pairs = ((pair.get("name"), pair.get("value")) for pair in attributes)
        self._live[row] = frozenset((folded(name), folded(value)) for name, value in pairs if name and value)

    def mask(self, wanted: Mapping[str, Sequence[str]], n: int) -> np.ndarray:
        """bool ``(n,)``: the rows that have, under each name, one of its values. A name without values asks for nothing."""
        live = dict(self._live)  # a thread may add to it meanwhile
        changed = np.fromiter((row for row in live if row < n), np.int64)
        allowed = np.ones(n, bool)
        for name, values in ((name, values) for name, values in wanted.items() if values):
            pairs = {(folded(name), folded(value)) for value in values}
            there = np.zeros(n, bool)
            for pair in pairs & self._frozen.keys():
                rows = self._frozen[pair]
                there[rows[rows < n]] = True
            there[changed] = [not pairs.isdisjoint(live[row]) for row in changed.tolist()]
            allowed &= there
        return allowed


def folded(text: str) -> str:
    """What names and values are compared by."""
    return text.strip().casefold()


def _grouped(attributes: pl.Series) -> dict[Pair, np.ndarray]:
    said = pl.DataFrame({"row": np.arange(len(attributes)), "said": attributes}).explode("said").drop_nulls("said").unnest("said")
    said = said.drop_nulls()
    distinct = said.group_by("name", "value", maintain_order=True).agg("row")
    rows: dict[Pair, list[np.ndarray]] = {}
    for name, value, found in distinct.iter_rows():
        rows.setdefault((folded(name), folded(value)), []).append(np.array(found, np.int64))
    return {pair: np.unique(np.concatenate(found)) for pair, found in rows.items()}
