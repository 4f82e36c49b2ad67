"""The related surface: pages beside an item, for the user at hand.

What stands on such a page is found by the item (:mod:`corkboard.retrieval.related`) and ordered for the user. Two things keep the page
about the item. The ranker reads how each candidate goes with it (``BESIDE_NAMES`` of :mod:`corkboard.ranking.features`), as far as it
has seen such pages; and :func:`relevance` is added to its utility, because an order by utility alone drifts to what this user always
likes. Where too little belongs to the item, the sources of the home page fill the page up, behind everything that does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from corkboard.artifacts import ItemList
from corkboard.errors import InputError
from corkboard.feed.diversity import standardise
from corkboard.feed.page import RecommendRequest
from corkboard.ranking.features import BESIDE_SURFACES, RELATED, beside_row
from corkboard.ranking.item_side import ItemSide
from corkboard.retrieval.blend import FILL, Retrieval, Retrieved
from corkboard.retrieval.candidates import CandidateRequest


def asked_beside(request: RecommendRequest, items: ItemSide) -> tuple[int, bool]:
    """The row of the item that the page is beside, -1 where it is beside none; and whether it should be beside one that is unknown.

    An item that is not available any more may be asked beside as any other. Raises :class:`InputError` for a related page without item.
    """
    if request.surface == RELATED and request.item_id is None:
        raise InputError("A related page is beside an item", expected="item_id", hint="For a page beside nothing ask for surface home.")
    row = beside_row(request.surface, request.item_id, items)
    return row, row < 0 and request.item_id is not None and request.surface in BESIDE_SURFACES


def found_by_sources(found: Retrieved) -> np.ndarray:
    """bool ``(n,)``: what some source brought; the others only fill a list up."""
    return np.array([sources != (FILL,) for sources in found.items.sources], bool)


def filled_from(home: Retrieval, asked: CandidateRequest, found: Retrieved, wanted: int) -> Retrieved:
    """``found`` without what only filled it up, and behind it what the sources of the home page bring, with a score of 0."""
    found = found.take(np.flatnonzero(found_by_sources(found)))
    rest = replace(asked, allowed=asked.without(found.rows), beside=-1)
    more = home.retrieve(rest, max(wanted - len(found), 0))
    names = tuple(dict.fromkeys((*found.source_names, *more.source_names)))
    by_source = np.zeros((len(found) + len(more), len(names)), np.float32)
    for part, start in ((found, 0), (more, len(found))):
        columns = [names.index(name) for name in part.source_names]
        by_source[start : start + len(part), columns] = part.by_source
    items = ItemList(
        [*found.items.item_ids, *more.items.item_ids],
        np.concatenate([found.items.scores, np.zeros(len(more), np.float32)]),
        [*found.items.sources, *more.items.sources],
    )
    rows, seeds = np.concatenate([found.rows, more.rows]), np.concatenate([found.seeds, more.seeds])
    return Retrieved(items, rows, seeds, by_source, names, [*found.notes, *more.notes])


def relevance(scores: np.ndarray, weight: float) -> np.ndarray:
    """float64 ``(n,)``: what belonging to the item, or matching the query, adds to each candidate, in standard deviations of utility.

    ``scores`` are those of the sources: of a related page, the higher, the more of them found the candidate by the item, and the further
    up. Zeros for a weight of 0, on pages of neither kind.
    """
    return weight * standardise(scores) if weight else np.zeros(len(scores))
