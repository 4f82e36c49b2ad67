"""What is known of a user, for the user to read; and a few users for the page to look through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from corkboard.lake.schema import DEFAULT_TENANT, SESSION_KEY
from corkboard.retrieval.catalogue import Catalogue
from corkboard.serving.images import Images
from corkboard.state.base import BaseStates
from corkboard.state.user_state import UserState

SHOWN_ACTIONS = 50
"""Last actions that are listed."""
_LOOKED_AT = 400
"""Users that are looked at to find samples."""


def user_view(state: UserState, catalogue: Catalogue | None, images: Images) -> dict[str, Any]:
    """Plain JSON values: the newest actions (newest first), lifetime counts, follows, blocks, hidden items and profile.

    An action has the title, category and picture of its item, where it is known.
    """
    return {
        "user_id": state.user_id,
        "known": state.last_ms is not None or bool(state.country or state.language or state.interests),
        "first_ms": state.first_ms,
        "last_ms": state.last_ms,
        "actions": [_action_view(action, catalogue, images) for action in state.actions[:SHOWN_ACTIONS]],
        "counts": state.counts,
        "follows": sorted(state.follows),
        "blocks": sorted(state.blocks),
        "hidden": sorted(state.hidden),
        "profile": {"country": state.country, "language": state.language, "interests": list(state.interests)},
    }


def _action_view(action: Any, catalogue: Catalogue | None, images: Images) -> dict[str, Any]:
    view = action._asdict()
    row = catalogue.row(action.item_id) if catalogue is not None and action.item_id is not None else -1
    for name in ("title", "category"):
        view[name] = catalogue.value(name, row) if catalogue is not None and row >= 0 else None
    if catalogue is not None and row >= 0:
        view |= images.shown(catalogue.images(row))
    return view


def sample_users(frame: pl.DataFrame, n: int, tenant: str = DEFAULT_TENANT) -> list[tuple[str, int]]:
    """Up to ``n`` (user id, number of actions) spread evenly from the longest history to the shortest, longest first.

    ``frame`` is the table of base states. Only users with an id are named, and of a large table only some are looked at.
    """
    users = frame.filter((pl.col("tenant") == tenant) & ~pl.col("user_key").str.starts_with(SESSION_KEY)).sort("user_key")
    users = users.gather_every(max(1, len(users) // _LOOKED_AT))
    base = BaseStates(users)
    counted = [(key, sum(state.counts.values())) for key in users["user_key"] if (state := base.state(key, tenant)) is not None]
    counted = sorted((entry for entry in counted if entry[1]), key=lambda entry: (-entry[1], entry[0]))
    return _spread(counted, n)


def _spread(counted: Sequence[tuple[str, int]], n: int) -> list[tuple[str, int]]:
    if len(counted) <= n:
        return list(counted)
    places = np.unique(np.linspace(0, len(counted) - 1, n).round().astype(int)) if n else []
    return [counted[int(place)] for place in places]
