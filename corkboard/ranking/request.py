"""What a request has in common for all its candidates, made once: the user side, the last actions, the user vector.

The light ranker, the features, the full ranker and the served row all read it, in serving and in replay alike. Every list of
candidates is scored against the same one, so that a request looks a user up once, whatever the number of stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from corkboard.ranking.features import beside_row, request_features
from corkboard.ranking.history import HISTORY_LENGTH, RequestHistory, request_history
from corkboard.ranking.item_side import ItemSide
from corkboard.ranking.ranker import RankerInput
from corkboard.ranking.user_side import HOUR_MS, UserSide, user_side
from corkboard.state.user_state import UserState

if TYPE_CHECKING:
    from corkboard.embeddings.user_vectors import UserVectors


@dataclass(frozen=True)
class UserVector:
    """The vector of the nightly batch that a request found for its user."""

    values: np.ndarray
    """float32 ``(dim,)``, in the space of the item embeddings."""
    newest_ms: int
    """The newest action that it knows, UTC ms."""

    def hours(self, now_ms: int) -> float:
        """Hours since that action, at least 0."""
        return max(0, now_ms - self.newest_ms) / HOUR_MS


def usable_vector(
    table: UserVectors, state: UserState, now_ms: int, max_age_hours: float, remembered: bool = True
) -> tuple[UserVector | None, bool]:
    """The vector of a user that a page of ``now_ms`` may use, None where there is none; and whether there is one that is too old.

    Too old is a vector that misses actions for longer than ``max_age_hours``: of somebody who did nothing since, it is as good as
    new. A page of the past is not told what was only done later. And where ``state`` is all that is ``remembered`` of the user, a vector
    that knows of actions before the first of it is that of somebody who was forgotten since: it is not used.
    """
    values, newest_ms = table.lookup(state.user_id)
    if values is None or newest_ms >= now_ms:
        return None, False
    if remembered and (state.first_ms is None or newest_ms < state.first_ms):
        return None, False
    oldest_ms = now_ms - HOUR_MS * max_age_hours
    if any(table.known_ms <= action.time_ms < oldest_ms for action in state.actions):
        return None, True
    return UserVector(values, newest_ms), False


@dataclass(frozen=True)
class RequestSide:
    """One request without its candidates."""

    state: UserState
    now_ms: int
    surface: str
    items: ItemSide
    user: UserSide
    history: RequestHistory
    vector: UserVector | None = None
    beside: int = -1
    """The row of the item that a related page is beside; -1 on every other page, and where the catalogue lacks the item."""

    @classmethod
    def of(
        cls,
        state: UserState,
        now_ms: int,
        surface: str,
        items: ItemSide,
        vector: UserVector | None = None,
        length: int = HISTORY_LENGTH,
        beside: str | None = None,
    ) -> RequestSide:
        """Read ``state`` as of ``now_ms``. ``length`` 0 gives the rankers an empty sequence; the features keep what they know. ``beside``
        is the id of the item that the request came with, which counts on surfaces that are beside one."""
        history, row = request_history(state, now_ms, items, length), beside_row(surface, beside, items)
        return cls(state, now_ms, surface, items, user_side(state, now_ms, items), history, vector, row)

    def features(self, rows: np.ndarray) -> np.ndarray:
        """float32 ``(len(rows), len(FEATURE_NAMES))`` of candidates."""
        return request_features(self.state, self.now_ms, rows, self.items, user=self.user, beside=self.beside)

    def ranker_input(self, rows: np.ndarray, features: np.ndarray) -> RankerInput:
        """What a ranker is given for the candidates ``rows`` with their ``features``."""
        vector = self.vector
        values, hours = (None, 0.0) if vector is None else (vector.values, vector.hours(self.now_ms))
        given = self.state, self.now_ms, self.surface, rows, self.items, self.user, features, self.history, values, hours
        return RankerInput(*given, beside=self.beside)
