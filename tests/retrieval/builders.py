"""Small frames, catalogues and states for the tests of this room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from corkboard.artifacts import Space
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.retrieval.candidates import CandidateRequest
from corkboard.retrieval.catalogue import Catalogue
from corkboard.state.user_state import UserState

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
NOW_MS = 100 * DAY_MS
SPACE = Space("content", "1")
EMBEDDING_SPACE = Space("pinnerformer", "1")
GRAPH_SPACE = Space("multibisage", "1")


def actions_frame(rows: Sequence[tuple[str, str, str, float]], boards: Sequence[str | None] | None = None) -> pl.DataFrame:
    """(user, action, item, day) as an actions frame."""
    columns = {
        "event_id": [f"e{place}" for place in range(len(rows))],
        "time_ms": [int(day * DAY_MS) for *_, day in rows],
        "user_id": [user for user, *_ in rows],
        "session_id": [None] * len(rows),
        "action": [action for _, action, _, _ in rows],
        "item_id": [item for _, _, item, _ in rows],
        "board_id": list(boards) if boards else [None] * len(rows),
    }
    return pl.DataFrame(columns, schema={name: pl.Int64 if name == "time_ms" else pl.String for name in columns})


def shown_frame(rows: Sequence[tuple[Sequence[str], float]]) -> pl.DataFrame:
    """(items, day) as the lake's shown slots."""
    slots = [(int(day * DAY_MS), item) for items, day in rows for item in items]
    return pl.DataFrame(slots, schema={"time_ms": pl.Int64, "item_id": pl.String}, orient="row")


def catalogue_of(items: int, creators: int = 7, seed: int = 0) -> Catalogue:
    """``i0000`` and on, half of them younger than two weeks at NOW_MS."""
    draw = np.random.default_rng(seed)
    young = NOW_MS - draw.integers(0, 10 * DAY_MS, items)
    old = NOW_MS - draw.integers(20 * DAY_MS, 90 * DAY_MS, items)
    columns = {
        "item_id": [f"i{place:04d}" for place in range(items)],
        "created_ms": np.where(np.arange(items) % 2, old, young),
        "creator_id": [f"c{place % creators}" for place in range(items)],
        "category": [f"k{place % 3}" for place in range(items)],
        "price_minor": [100 * place if place % 4 else None for place in range(items)],
        "title": [f"title {place}" for place in range(items)],
    }
    return Catalogue(pl.DataFrame(columns, schema_overrides={"price_minor": pl.Int64, "item_id": pl.String, "creator_id": pl.String}))


def board_graph(boards: Mapping[str, Sequence[int]], items: int) -> BipartiteGraph:
    """``i0000`` and on, and the items of each board."""
    edges = [(f"i{place:04d}", board) for board, places in boards.items() for place in places]
    frame = pl.DataFrame(edges, schema={"left": pl.String, "right": pl.String}, orient="row")
    return BipartiteGraph.of("board", frame, [f"i{place:04d}" for place in range(items)])


def tens_and_sevens(items: int) -> BipartiteGraph:
    """Every item on a board with its neighbours, and on one with every seventh item."""
    tens = {f"ten{board}": range(10 * board, min(10 * board + 10, items)) for board in range(-(-items // 10))}
    return board_graph(tens | {f"seven{board}": range(board, items, 7) for board in range(7)}, items)


def unit_vectors(rows: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def state_of(actions: Sequence[tuple[str, str, int]] = (), follows: Sequence[str] = ()) -> UserState:
    """(action, item, time_ms), and creators followed."""
    state = UserState("ann")
    base = {"event": "action", "user_id": "ann", "session_id": None, "surface": "home", "duration_ms": None}
    for place, (action, item_id, time_ms) in enumerate(actions):
        state.apply({**base, "event_id": f"a{place}", "time_ms": time_ms, "action": action, "item_id": item_id, "creator_id": None})
    for place, creator in enumerate(follows):
        state.apply({**base, "event_id": f"f{place}", "time_ms": NOW_MS, "action": "follow", "item_id": None, "creator_id": creator})
    return state


USER_VECTOR = np.eye(8, dtype=np.float32)[2]
"""A user's vector in the space of embeddings of 8 numbers."""


def request_of(
    catalogue: Catalogue,
    state: UserState,
    allowed: np.ndarray | None = None,
    now_ms: int = NOW_MS,
    user_vector: np.ndarray | None = USER_VECTOR,
) -> CandidateRequest:
    return CandidateRequest(state, now_ms, "home", catalogue.mask() if allowed is None else allowed, catalogue, user_vector)
