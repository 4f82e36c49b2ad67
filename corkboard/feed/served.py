"""The served row: what a page was made of, written down before it is answered.

Beside the columns of the lake's ``served`` table the row has two keys that stay in the store: ``chain``, what earlier pages
of the same chain showed, and ``trace``, every candidate with its standing at each stage, which :mod:`corkboard.feed.explain`
reads. Ingestion into the lake leaves both behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from corkboard.feed.arrival import Arrival
from corkboard.feed.page import Note, RecommendRequest
from corkboard.ranking.features import FEATURE_NAMES
from corkboard.ranking.history import newest_actions

if TYPE_CHECKING:
    from corkboard.feed.parts import FeedParts

RANK = "rank"
"""What the policy of a row begins with that is a list somebody else made, in a new order; that of a page begins with its surface."""
CALLER = "caller"
"""The source of every item of such a list."""
_DIGITS = 6
_MOST_DROPPED = 500
"""Items that one rule took out and that are named; a blocked creator may have thousands."""


@dataclass(frozen=True)
class Shortlist:
    """All candidates of a page in the order of the sources, parallel and of length c, and which of them went on."""

    item_ids: list[str]
    sources: list[tuple[str, ...]]
    blend: np.ndarray
    """float32: the blended score of the candidate sources."""
    light: np.ndarray | None
    """float32: the light ranker's score; None where none stood there."""
    kept: np.ndarray
    """int64 ``(n,)``, ascending: the places of those that went to features and the full ranker."""

    def best(self) -> np.ndarray:
        """float32 ``(n,)``: what is known of the order of ``kept`` before the full ranker."""
        return (self.blend if self.light is None else self.light)[self.kept]


@dataclass(frozen=True)
class Ranked:
    """The candidates that went on to the full ranker, in the order of the sources, and what came of it. Arrays are parallel, length n."""

    item_ids: list[str]
    rows: np.ndarray
    sources: list[tuple[str, ...]]
    features: np.ndarray | None
    """float32 ``(n, features)``; None where no ranker is asked, so that no ranker learns from the page."""
    heads: tuple[str, ...]
    probabilities: np.ndarray | None
    """float32 ``(n, heads)``; None where no ranker stood behind the page."""
    utility: np.ndarray
    """float32: what the page is ordered by before rules of taste: utility, or the score of the stage before without a ranker."""
    fatigue: np.ndarray
    """What having been shown costs, in standard deviations of ``utility``."""
    relevance: np.ndarray
    """What belonging to the item beside, matching the query or the caller's own order adds, in the same unit; zeros on other pages."""

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def full_candidates(self) -> int:
        """How many the full ranker scored: all of them, or none."""
        return 0 if self.probabilities is None else len(self)


@dataclass(frozen=True)
class Chosen:
    """Which candidates made the page. ``order`` int64 places in page order; ``propensity`` is None unless the order was random."""

    order: np.ndarray
    capped: Mapping[int, str]
    propensity: float | None = None


def served_row(
    request: RecommendRequest,
    request_id: str,
    who: Arrival,
    ranked: Ranked,
    chosen: Chosen,
    notes: Sequence[Note],
    origin: Mapping[str, Any],
    sequence_length: int,
) -> dict[str, Any]:
    """One row of the served log; ``origin`` is what :func:`origin_of` says."""
    places = chosen.order.tolist()
    heads = None if ranked.probabilities is None else ranked.probabilities[chosen.order]
    slots = [
        {
            "item_id": ranked.item_ids[place],
            "position": position,
            "score": float(ranked.utility[place]),
            "propensity": chosen.propensity,
            "source": ",".join(ranked.sources[place]) or None,
            "features": None if ranked.features is None else ranked.features[place],
            "heads": None if heads is None else heads[position],
        }
        for position, place in enumerate(places)
    ]
    newest = newest_actions(who.state, who.now_ms, sequence_length)
    sequence = [{"item_id": a.item_id, "action": a.action, "time_ms": a.time_ms} for a in newest]
    return {
        "event_id": request_id,
        "time_ms": who.now_ms,
        "tenant": request.tenant,
        "request_id": request_id,
        "user_id": request.user_id,
        "session_id": request.session_id,
        "surface": request.surface,
        "query": request.query,
        "context_item_id": request.item_id,
        "context_image_hash": None,
        "notes": [entry.code for entry in notes],
        "sequence": sequence,
        "feature_names": list(FEATURE_NAMES),
        "slots": slots,
        **origin,
    }


def origin_of(parts: FeedParts, who: Arrival, policy: str, flags: Sequence[str]) -> dict[str, Any]:
    """What a row was made by and with: policy, release, artifacts, flags, and where the user vector came from."""
    vectors = parts.user_vectors
    return {
        "user_vector_space": None if vectors is None else str(vectors.space),
        "user_vector_ms": None if who.vector is None else who.vector.newest_ms,
        "policy": policy,
        "release": parts.release,
        "artifacts": list(parts.artifacts),
        "flags": list(flags),
    }


def trace_of(
    shortlist: Shortlist,
    ranked: Ranked,
    chosen: Chosen,
    dropped: Mapping[str, list[str]],
    weights: Mapping[str, float],
    wanted: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Every candidate with its standing, by column, and what the rules took out; plain values only.

    ``utility`` is parallel to ``kept``, everything else by column to ``candidates``.
    """
    names = sorted({name for sources in shortlist.sources for name in sources})
    code = {name: number for number, name in enumerate(names)}
    return {
        "candidates": shortlist.item_ids,
        "light_candidates": 0 if shortlist.light is None else len(shortlist.item_ids),
        "full_candidates": ranked.full_candidates,
        "source_names": names,
        "sources": [[code[name] for name in sources] for sources in shortlist.sources],
        "blend": _rounded(shortlist.blend),
        "light": None if shortlist.light is None else _rounded(shortlist.light),
        "kept": shortlist.kept.tolist(),
        "utility": _rounded(ranked.utility),
        "fatigue": {ranked.item_ids[place]: round(float(ranked.fatigue[place]), _DIGITS) for place in np.flatnonzero(ranked.fatigue)},
        "relevance": {ranked.item_ids[place]: round(float(ranked.relevance[place]), _DIGITS) for place in np.flatnonzero(ranked.relevance)},
        "capped": {ranked.item_ids[place]: name for place, name in chosen.capped.items()},
        "heads": list(ranked.heads) if ranked.probabilities is not None else [],
        "weights": dict(weights),
        "dropped": {rule: ids[:_MOST_DROPPED] for rule, ids in dropped.items()},
        "filter": dict(wanted) if wanted else None,
    }


def _rounded(values: np.ndarray) -> list[float]:
    return np.round(values.astype(np.float64), _DIGITS).tolist()
