"""What sources are asked and what they answer: a request, and rows with scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.config import ActionWeights
from corkboard.state.user_state import UserState

HOUR_MS = 3_600_000


@dataclass(frozen=True)
class CandidateRequest:
    """One page's worth of questions. ``allowed`` is bool over catalogue rows; rows beyond its end are not allowed.

    ``user_vector`` is float32 ``(dim,)`` in the space of the item embeddings, None where the user has none. ``beside`` is the catalogue
    row of the item that a related page belongs to, -1 on every other surface and for an item that nobody knows.
    """

    state: UserState
    now_ms: int
    surface: str
    allowed: np.ndarray
    catalogue: Catalogue
    user_vector: np.ndarray | None = None
    beside: int = -1
    _histories: dict[tuple[int, int], tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False, compare=False)
    _found: dict[tuple[str, int], tuple[int, Candidates]] = field(default_factory=dict, repr=False, compare=False)

    def allows(self, rows: np.ndarray) -> np.ndarray:
        """bool ``(len(rows),)``."""
        inside = (rows >= 0) & (rows < len(self.allowed))
        inside[inside] = self.allowed[rows[inside]]
        return inside

    def once(self, name: str, k: int, most: int, find: Callable[[int], Candidates]) -> Candidates:
        """The first k of ``find(most)``, or of ``find(k)`` where more are wanted, found once for all that is asked under ``name``.

        For sources that cost the same whatever k is, and are asked again where others bring little.
        """
        key = name, self.beside
        found = self._found.get(key)
        if found is None or found[0] < k:
            found = self._found[key] = max(k, most), find(max(k, most))
        return found[1].first(k)

    def without(self, rows: np.ndarray) -> np.ndarray:
        """bool ``(len(allowed),)``: what is allowed but ``rows``, some of which may lie outside. The caller owns the array."""
        allowed = self.allowed.copy()
        allowed[rows[(rows >= 0) & (rows < len(allowed))]] = False
        return allowed

    def without_acted_on(self) -> np.ndarray:
        """bool ``(len(allowed),)``: what is allowed and was never acted on positively. The caller owns the array."""
        return self.without(self.catalogue.rows([action.item_id for action in self.state.positives() if action.item_id is not None]))


@dataclass(frozen=True)
class Candidates:
    """What one source brings, best first: ``rows`` int64, ``scores`` float32 and ``seeds`` int64, all ``(n,)``.

    ``seeds[i]`` is the row of the item that candidate i was found by, -1 where there is none. Rows are distinct and allowed.
    """

    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    scores: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    seeds: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, k: int) -> Candidates:
        """The k best of them."""
        return Candidates(self.rows[:k], self.scores[:k], self.seeds[:k])

    @classmethod
    def best(cls, request: CandidateRequest, rows: np.ndarray, scores: np.ndarray, seeds: np.ndarray | None, k: int) -> Candidates:
        """The k allowed ones with the highest scores; equal scores in row order."""
        seeds = np.full(len(rows), -1, np.int64) if seeds is None else seeds
        kept = np.flatnonzero(request.allows(rows))
        if len(kept) > 4 * k > 0:
            kept = kept[np.argpartition(-scores[kept], 2 * k)[: 2 * k]]
        order = kept[np.lexsort((rows[kept], -scores[kept]))[:k]]
        return cls(
            rows[order].astype(np.int64, copy=False),
            scores[order].astype(np.float32, copy=False),
            seeds[order].astype(np.int64, copy=False),
        )


class Source(Protocol):
    """One way to find candidates."""

    name: str

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        """At most k candidates; none where the source has nothing to say about this user. Must not raise for any user."""
        ...


def recent_items(request: CandidateRequest, n: int, weights: ActionWeights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct items of the last n positive actions: rows int64, action weights float32 and ages in ms int64, newest first.

    An item with several actions has the weight of the heaviest and the age of the newest. Unknown items are left out. Several
    sources ask for the same, so a request remembers the answer; nobody may write into it.
    """
    key = (n, id(weights))
    if key not in request._histories:
        request._histories[key] = _recent_items(request, n, weights.model_dump())
    return request._histories[key]


def _recent_items(request: CandidateRequest, n: int, weight_of: dict[str, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found: dict[int, tuple[float, int]] = {}
    for action in request.state.positives(n):
        row = request.catalogue.row(action.item_id) if action.item_id else -1
        weight = weight_of.get(action.action, 0.0)
        if row < 0 or weight <= 0:
            continue
        before = found.get(row)
        age_ms = max(request.now_ms - action.time_ms, 0)
        found[row] = (weight, age_ms) if before is None else (max(weight, before[0]), min(age_ms, before[1]))
    rows = np.fromiter(found, np.int64, len(found))
    columns = np.array(list(found.values()), np.float64).reshape(-1, 2)
    return rows, columns[:, 0].astype(np.float32), columns[:, 1].astype(np.int64)


def merged(rows: np.ndarray, scores: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One entry a row: scores summed, the seed of the largest part kept."""
    if not len(rows):
        return rows, scores, seeds
    order = np.lexsort((-scores, rows))
    rows, scores, seeds = rows[order], scores[order], seeds[order]
    starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 1))
    return rows[starts], np.add.reduceat(scores, starts), seeds[starts]
