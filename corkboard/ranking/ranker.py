"""The seam every ranker stands behind: what it is given for one request, and what it must answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from corkboard.ranking.item_side import ItemSide
from corkboard.ranking.user_side import UserSide
from corkboard.state.user_state import UserState


@dataclass(frozen=True)
class RankerInput:
    """One request and its candidates.

    A ranker over request features reads ``features``; one that reads the last actions themselves (TransAct) takes
    ``user``, made once a request, and looks its own item vectors up by ``items.ids[row]``.
    """

    state: UserState
    now_ms: int
    surface: str
    rows: np.ndarray
    """int64 ``(n,)``: candidates as rows of ``items``."""
    items: ItemSide
    user: UserSide
    features: np.ndarray
    """float32 ``(n, len(FEATURE_NAMES))``, the columns of :data:`corkboard.ranking.features.FEATURE_NAMES`."""


@runtime_checkable
class Ranker(Protocol):
    """Answers P(action | user, item) for several actions at once."""

    @property
    def heads(self) -> tuple[str, ...]:
        """The actions answered for, in the order of the columns of :meth:`score`."""
        ...

    def score(self, given: RankerInput) -> np.ndarray:
        """Calibrated probabilities, float32 ``(n, heads)`` in [0, 1]."""
        ...


@runtime_checkable
class Contributes(Protocol):
    """A ranker that can say what each feature did for one item."""

    def contributions(self, features: np.ndarray, head_weights: np.ndarray) -> Mapping[str, float]:
        """Change of the utility of one item, features ``(F,)``, when a feature is set to its mean, by feature name."""
        ...
