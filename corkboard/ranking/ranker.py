"""The seam every ranker stands behind: what it is given for one request, and what it must answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from corkboard.ranking.item_side import ItemSide
from corkboard.ranking.user_side import UserSide
from corkboard.state.user_state import UserState

if TYPE_CHECKING:
    from corkboard.ranking.history import RequestHistory


@dataclass(frozen=True)
class RankerInput:
    """One request and its candidates.

    A ranker over request features reads ``features``; one that reads the last actions themselves (the hybrid ranker) takes
    ``history`` and ``user_vector`` and looks item vectors up in ``items``. What a request does not have stays at its default:
    every ranker answers without it.
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
    history: RequestHistory | None = None
    """The last actions of this user on items of ``items``, newest first."""
    user_vector: np.ndarray | None = None
    """float32 ``(dim,)`` of the nightly batch, in the space of the item embeddings; None where the user has none."""
    user_vector_hours: float = 0.0
    """Hours since the newest action that ``user_vector`` knows of."""
    beside: int = -1
    """The row of the item that a related page is beside, which ``features`` compare the candidates with; -1 on every other page."""


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
    """A ranker that can say what each input did for one item."""

    def contributions(self, features: np.ndarray, head_weights: np.ndarray, given: RankerInput | None = None) -> Mapping[str, float]:
        """By how much the utility of one item, features ``(F,)``, falls when one input is left out: by feature or group of inputs.

        A feature is left out by setting it to its mean. ``given`` is the request with this item as its only candidate, for rankers
        that read more than features.
        """
        ...
