"""What an evaluation asks of a model, and adapters for models of another shape. Nothing here is trained or loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from corkboard.experiments.pages import Pages


@runtime_checkable
class RetrievalScorer(Protocol):
    """Scores the whole catalogue from what each user did."""

    def score_all(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """float32 ``(len(histories), items)``, higher is better, -inf for "never list this".

        Each history holds rows of the task's catalogue, newest first, every item once; it may be empty.
        """
        ...


@runtime_checkable
class UserScorer(Protocol):
    """Scores the whole catalogue for named users, for what needs more than a history: an oracle, a blend of candidate sources."""

    def score_users(self, user_ids: Sequence[str], known_ms: int) -> np.ndarray:
        """float32 ``(len(user_ids), items)`` from what was known strictly before ``known_ms``."""
        ...


@runtime_checkable
class Refreshed(Protocol):
    """A scorer that is cheap to bring up to date. Daily lists ask for it; one without it stays as it was at the start of the test."""

    def as_of(self, known_ms: int) -> RetrievalScorer | UserScorer:
        """The scorer from what was known strictly before ``known_ms``."""
        ...


@dataclass(frozen=True)
class PageScores:
    """``utility`` is ``(slots,)`` and orders each page; ``heads`` are probabilities by action, where the scorer has them."""

    utility: np.ndarray
    heads: Mapping[str, np.ndarray] = field(default_factory=dict)


@runtime_checkable
class PageScorer(Protocol):
    """Scores the slots of logged pages from what was known when each page was made."""

    def score_pages(self, pages: Pages) -> PageScores: ...


@dataclass(frozen=True)
class Aligned:
    """A scorer with a catalogue of its own, made to speak of the task's: what it does not know scores -inf.

    ``own_rows`` is int64 ``(task items,)``: the scorer's row of each item of the task, -1 where it has none.
    """

    scorer: RetrievalScorer
    own_rows: np.ndarray

    @classmethod
    def of(cls, scorer: RetrievalScorer, own_ids: Sequence[str], item_ids: Sequence[str]) -> Aligned:
        """``own_ids`` name the scorer's columns, ``item_ids`` those of the task."""
        row_of = {item_id: row for row, item_id in enumerate(own_ids)}
        return cls(scorer, np.array([row_of.get(item_id, -1) for item_id in item_ids], np.int64))

    def score_all(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        own = [rows[rows >= 0] for rows in (self.own_rows[np.asarray(history, np.int64)] for history in histories)]
        scores = np.asarray(self.scorer.score_all(own), np.float32)[:, np.maximum(self.own_rows, 0)]
        scores[:, self.own_rows < 0] = -np.inf
        return scores


@dataclass(frozen=True)
class ListScorer:
    """A stage that makes lists, such as the blend of candidate sources: what it does not list scores -inf.

    ``lists(user_ids, known_ms)`` gives one array of catalogue rows for each user, best first, -1 for items the task lacks. It must
    list enough to fill the measured length after what was engaged already has been taken out.
    """

    lists: Callable[[Sequence[str], int], Iterable[np.ndarray]]
    n_items: int

    def score_users(self, user_ids: Sequence[str], known_ms: int) -> np.ndarray:
        scores = np.full((len(user_ids), self.n_items), -np.inf, np.float32)
        for row, listed in enumerate(self.lists(user_ids, known_ms)):
            known = listed[listed >= 0]
            scores[row, known] = -np.arange(len(known), dtype=np.float32)
        return scores


@dataclass(frozen=True)
class RetrievalOracle:
    """The truth of a simulated world as a row of the table: ``utility(user_id, item_ids, time_ms)`` is ``(items,)``."""

    utility: Callable[[str, Sequence[str], int], np.ndarray]
    item_ids: Sequence[str]

    def score_users(self, user_ids: Sequence[str], known_ms: int) -> np.ndarray:
        return np.stack([np.asarray(self.utility(user_id, self.item_ids, known_ms), np.float32) for user_id in user_ids])


def score(
    scorer: RetrievalScorer | UserScorer, user_ids: Sequence[str], histories: Sequence[np.ndarray], known_ms: int, items: int
) -> np.ndarray:
    """Scores from either kind of scorer, checked for their shape: float32 ``(len(user_ids), items)``."""
    found = scorer.score_users(user_ids, known_ms) if isinstance(scorer, UserScorer) else scorer.score_all(histories)
    found = np.asarray(found, np.float32)
    if found.shape != (len(user_ids), items):
        raise ValueError(f"{type(scorer).__name__} returned scores of shape {found.shape}, expected {(len(user_ids), items)}")
    return found
