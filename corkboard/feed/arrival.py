"""Who asks, and what is known of them: where every page and every ranked list begins."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from corkboard.errors import StoreError
from corkboard.feed.config import FeedConfig
from corkboard.feed.page import RecommendRequest
from corkboard.ranking.request import UserVector, usable_vector
from corkboard.state.stores import Store
from corkboard.state.user_state import UserState

if TYPE_CHECKING:
    from corkboard.feed.parts import FeedParts


@dataclass(frozen=True)
class Arrival:
    """One person at one moment."""

    state: UserState
    now_ms: int
    """The moment of the request, UTC ms, just after all that ``state`` knows."""
    vector: UserVector | None
    said: tuple[tuple[str, str], ...]
    """Codes of notes, each with its detail: what is not known of the person, and why."""

    @classmethod
    def of(cls, request: RecommendRequest, store: Store, parts: FeedParts, settings: FeedConfig, has_base: bool) -> Arrival:
        """Read ``store``; one that cannot be read knows nothing of anybody. ``has_base``: it knows what users did before it was made."""
        said: list[tuple[str, str]] = []
        now_ms = int(time.time() * 1000) if request.now_ms is None else request.now_ms
        if request.tenant != parts.tenant:
            said.append(("other_tenant", ""))
        if request.user_id is None:
            said.append(("session_only", ""))
        try:
            state, remembered = store.state(request.user_key, request.tenant), has_base
        except StoreError as error:
            state, remembered = UserState(request.user_key), False
            said.append(("store_unreachable", str(error)))
        else:
            if state.last_ms is None:
                said.append(("unknown_user", ""))
            elif not state.positives(1):
                said.append(("empty_history", ""))
        now_ms = settled(now_ms, state, settings.clock_skew_s)
        vector, too_old = None, False
        if parts.user_vectors is not None:
            vector, too_old = usable_vector(parts.user_vectors, state, now_ms, settings.user_vector_max_age_hours, remembered)
        if too_old:
            said.append(("user_vector_too_old", ""))
        return cls(state, now_ms, vector, tuple(said))


def settled(now_ms: int, state: UserState, skew_s: float) -> int:
    """Just after what is known already, where clocks differ by at most ``skew_s``: an acknowledged action shapes the very next page."""
    last = state.last_ms
    return last + 1 if last is not None and now_ms <= last <= now_ms + 1000 * skew_s else now_ms
