"""Histories: the newest actions of a user as a sequence model reads them, newest first, of one request or of many pages.

A page reads :func:`newest_actions` of the state that it was made from, writes them into the served log, and gives the
ranker :func:`request_history`. Training reads the same either out of the log (:func:`logged_history`) or out of a replayed
state; ages are relative to the page, so both are the same numbers. Hides and reports are in it, for what was disliked is
half of the intent; what was taken back is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np

from corkboard.lake.schema import ACTION_CODES
from corkboard.ranking.item_side import ItemSide
from corkboard.ranking.user_side import HOUR_MS
from corkboard.state.bounded import Action
from corkboard.state.user_state import UserState

HISTORY_LENGTH = 100
"""Actions that a sequence model reads (TransAct section 3.3); a ranker may read fewer of them."""


class UserVectorsAsOf(Protocol):
    """User vectors as the nightly batch would have served them; :class:`corkboard.embeddings.user_vectors.DailyUserVectors` is one."""

    def at(self, user_keys: Sequence[str], time_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Vectors float32 ``(m, dim)``, zeros where unknown, known bool ``(m,)``, and hours since the newest action that a vector
        knows, float32 ``(m,)``, for pages of ``user_keys`` at ``time_ms`` int64 ``(m,)``."""
        ...


@dataclass(frozen=True)
class RequestHistory:
    """The newest actions before one request, newest first; parallel arrays of length t, nothing padded."""

    rows: np.ndarray
    """int64 ``(t,)`` rows of the catalogue."""
    actions: np.ndarray
    """int8 ``(t,)``: :data:`corkboard.lake.schema.ACTION_CODES`, at least 1."""
    hours: np.ndarray
    """float32 ``(t,)``: age at the request, above 0, ascending."""

    def __len__(self) -> int:
        return len(self.rows)


NO_HISTORY = RequestHistory(np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0, np.float32))
"""What is known of somebody who has done nothing yet."""


@dataclass(frozen=True)
class PageHistories:
    """A :class:`RequestHistory` for each of many pages; that of page p is ``offsets[p]:offsets[p + 1]`` of the flat arrays."""

    offsets: np.ndarray
    """int64 ``(pages + 1,)``."""
    items: np.ndarray
    """int32 ``(n,)`` places in ``ids``."""
    ids: list[str]
    actions: np.ndarray
    """int8 ``(n,)``."""
    hours: np.ndarray
    """float32 ``(n,)``."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, histories: Sequence[RequestHistory], ids: Iterable[str]) -> PageHistories:
        """One after the other; ``ids`` are those of the catalogue whose rows the histories name."""
        counts = np.fromiter((len(history) for history in histories), np.int64, len(histories))
        return cls(
            offsets=np.concatenate([[0], np.cumsum(counts)]),
            items=_joined([history.rows for history in histories], np.int32),
            ids=list(ids),
            actions=_joined([history.actions for history in histories], np.int8),
            hours=_joined([history.hours for history in histories], np.float32),
        )

    def padded(self, pages: np.ndarray, length: int = HISTORY_LENGTH) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The newest ``length`` actions of ``pages`` ``(r,)``, padded at the end to the longest of them, t <= ``length``.

        Returns items int32 ``(r, t)`` with -1 as padding, actions int8 ``(r, t)`` and hours float32 ``(r, t)`` with 0, and
        lengths int64 ``(r,)``.
        """
        pages = np.asarray(pages, np.int64)
        starts = self.offsets[pages]
        lengths = np.minimum(self.offsets[pages + 1] - starts, length)
        steps = np.arange(int(lengths.max(initial=0)))
        there = steps < lengths[:, None]
        place = np.where(there, starts[:, None] + steps, 0)
        if not len(self.items):
            return np.full(place.shape, -1, np.int32), np.zeros(place.shape, np.int8), np.zeros(place.shape, np.float32), lengths
        items = np.where(there, self.items[place], np.int32(-1))
        return items, self.actions[place] * there, self.hours[place] * there, lengths


def newest_actions(state: UserState, now_ms: int, length: int = HISTORY_LENGTH) -> list[Action]:
    """The newest ``length`` actions that name an item and are earlier than ``now_ms``, newest first: what a page logs."""
    return list(islice((action for action in state.actions if action.item_id is not None and action.time_ms < now_ms), length))


def request_history(state: UserState, now_ms: int, items: ItemSide, length: int = HISTORY_LENGTH) -> RequestHistory:
    """:func:`newest_actions` in the rows of ``items``; of these, actions on an item that the catalogue does not have are dropped."""
    newest = newest_actions(state, now_ms, length)
    return _history([a.item_id for a in newest], [a.action for a in newest], [a.time_ms for a in newest], now_ms, items)


def logged_history(sequence: Sequence[Mapping[str, Any]], now_ms: int, items: ItemSide, length: int = HISTORY_LENGTH) -> RequestHistory:
    """The history behind a page of ``now_ms`` out of its row in the served log: item_id, action and time_ms, newest first."""
    known = [entry for entry in sequence if entry["item_id"] is not None and entry["time_ms"] < now_ms][:length]
    return _history([e["item_id"] for e in known], [e["action"] for e in known], [e["time_ms"] for e in known], now_ms, items)


def _history(item_ids: Sequence[Any], actions: Sequence[str], times: Sequence[int], now_ms: int, items: ItemSide) -> RequestHistory:
    rows = items.catalogue.rows(item_ids)
    codes = np.array([ACTION_CODES.get(action, 0) for action in actions], np.int8)  # a follow may name an item, too, and is no action on it
    there = (rows >= 0) & (codes > 0)
    hours = (now_ms - np.array(times, np.int64)[there]) / HOUR_MS
    return RequestHistory(rows[there], codes[there], hours.astype(np.float32))


def _joined(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype)
