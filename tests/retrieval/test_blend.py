from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.retrieval.blend import FILL, Retrieval, blend
from corkboard.retrieval.candidates import CandidateRequest, Candidates
from corkboard.retrieval.config import Quotas, SourceConfig
from corkboard.retrieval.index import ExactIndex, OverlayIndex
from corkboard.retrieval.sources import RetrievalParts
from corkboard.retrieval.walks import WalkedGraph
from retrieval.builders import (
    DAY_MS,
    EMBEDDING_SPACE,
    GRAPH_SPACE,
    HOUR_MS,
    NOW_MS,
    SPACE,
    catalogue_of,
    request_of,
    state_of,
    tens_and_sevens,
    unit_vectors,
)
from retrieval.test_sources import stats_of, table_of

CATALOGUE = catalogue_of(60)


def listed(*rows: int, seeds: list[int] | None = None) -> Candidates:
    return Candidates(
        np.array(rows, np.int64), np.linspace(1, 0, len(rows), dtype=np.float32), np.array(seeds or [-1] * len(rows), np.int64)
    )


@dataclass
class Fixed:
    """A source with one list for everybody."""

    name: str
    rows: list[int]
    asked: list[int] = field(default_factory=list)

    def candidates(self, request: CandidateRequest, k: int) -> Candidates:
        self.asked.append(k)
        return listed(*[row for row in self.rows if request.allowed[row]][:k])


def test_quotas_overlap_and_scores_by_hand() -> None:
    found = [listed(10, 11, 12, 13, seeds=[1, 1, 1, 1]), listed(11, 20, 21, seeds=[2, 2, 2])]
    result = blend(request_of(CATALOGUE, state_of()), ["x", "y"], found, np.array([3.0, 1.0]), 4, softening=10.0)
    # keys place / quota: 10 0, 11 min(1/3, 0) = 0, 12 2/3, 13 1, 20 1, 21 2. Of 13 and 20 with key 1 the higher score stays:
    # shares are 3/4 and 1/4; 13 scores 3/4 * 10/13 = .577, 20 scores 1/4 * 10/11 = .227
    assert sorted(result.rows.tolist()) == [10, 11, 12, 13]
    scores = dict(zip(result.items.item_ids, result.items.scores.tolist(), strict=True))
    assert scores["i0011"] == pytest.approx(0.75 * 10 / 11 + 0.25)
    assert scores["i0010"] == pytest.approx(0.75)
    assert result.items.item_ids[0] == "i0011"
    sources = dict(zip(result.items.item_ids, result.items.sources, strict=True))
    assert sources["i0011"] == ("x", "y")
    assert sources["i0012"] == ("x",)
    place = result.rows.tolist().index(11)
    assert result.by_source[place].tolist() == [0.5, 1.0]
    assert result.seeds[place] == 1  # x brought the larger part


def test_short_lists_leave_room_to_the_others_and_then_to_anything() -> None:
    config = SourceConfig(quotas=Quotas(nearest=10, item_knn=10))
    retrieval = Retrieval([Fixed("nearest", [5]), Fixed("item_knn", list(range(20, 28)))], config)
    result = retrieval.retrieve(request_of(CATALOGUE, state_of()), 10)
    assert sorted(result.rows.tolist()[:9]) == [5, *range(20, 28)]  # ceil(5 * 1.5) = 8 of item_knn are over-fetched, then one filler
    assert sum(sources == (FILL,) for sources in result.items.sources) == 1
    assert result.items.sources[-1] == (FILL,)


def test_who_has_more_is_asked_again_where_others_have_little() -> None:
    config = SourceConfig(quotas=Quotas(nearest=10, item_knn=10))
    short, long = Fixed("nearest", [5, 6]), Fixed("item_knn", list(range(20, 60)))
    result = Retrieval([short, long], config).retrieve(request_of(CATALOGUE, state_of()), 20)
    assert sorted(result.rows.tolist()) == [5, 6, *range(20, 38)]
    assert (short.asked, long.asked) == ([15], [15, 20])  # who brought less than it might has nothing more
    full = Fixed("nearest", list(range(20)))
    Retrieval([full, Fixed("item_knn", list(range(20, 60)))], config).retrieve(request_of(CATALOGUE, state_of()), 20)
    assert full.asked == [15]


def test_fewer_allowed_than_asked_gives_all_of_them() -> None:
    allowed = np.zeros(60, bool)
    allowed[[3, 4, 5]] = True
    result = Retrieval([Fixed("nearest", [3, 9])]).retrieve(request_of(CATALOGUE, state_of(), allowed), 50)
    assert sorted(result.rows.tolist()) == [3, 4, 5]
    assert result.rows[0] == 3


def test_without_any_source_there_is_a_page_all_the_same() -> None:
    result = Retrieval([], notes=["source nearest left out: no content index"]).retrieve(request_of(CATALOGUE, state_of()), 5)
    newest = np.argsort(-CATALOGUE.created_ms, kind="stable")[:5]
    assert result.rows.tolist() == newest.tolist()
    assert result.notes == ["source nearest left out: no content index"]
    assert result.by_source.shape == (5, 0)


def test_nothing_allowed_nothing_found() -> None:
    result = Retrieval([Fixed("nearest", [1, 2])]).retrieve(request_of(CATALOGUE, state_of(), np.zeros(60, bool)), 5)
    assert len(result) == len(result.items) == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 59), unique=True, max_size=20), min_size=1, max_size=4),
    st.integers(1, 40),
    st.integers(0, 2**60 - 1),
)
def test_properties(lists: list[list[int]], k: int, mask: int) -> None:
    allowed = np.array([mask >> row & 1 for row in range(60)], bool)
    names = list(Quotas.model_fields)[: len(lists)]
    result = Retrieval([Fixed(name, rows) for name, rows in zip(names, lists, strict=True)]).retrieve(
        request_of(CATALOGUE, state_of(), allowed), k
    )
    assert len(result) == min(k, allowed.sum())
    assert len(set(result.rows.tolist())) == len(result)
    assert allowed[result.rows].all()
    assert result.items.item_ids == CATALOGUE.ids_of(result.rows)
    assert (np.diff(result.items.scores) <= 1e-6).all()
    for sources, places in zip(result.items.sources, result.by_source, strict=True):
        assert sources == (FILL,) if not places.any() else tuple(name for name, place in zip(names, places, strict=True) if place)


# ---------------------------------------------------------------------------------------------- with all real sources


def real(items: int, seed: int = 0) -> tuple[Retrieval, CandidateRequest, np.ndarray]:
    catalogue = catalogue_of(items, creators=items // 12, seed=seed)
    vectors = unit_vectors(items, 64, seed)
    embedding = OverlayIndex(ExactIndex(unit_vectors(items, 8, seed + 1), EMBEDDING_SPACE))
    tables = table_of(items), table_of(items, 6), stats_of(catalogue.ids)
    graph_vectors = ExactIndex(unit_vectors(items, 8, seed + 2), GRAPH_SPACE)
    walks = WalkedGraph.of(tens_and_sevens(items), catalogue)
    parts = RetrievalParts(OverlayIndex(ExactIndex(vectors, SPACE)), *tables, embedding, graph_vectors, walks)
    state = state_of([("save", f"i{place * 3:04d}", NOW_MS - place * HOUR_MS) for place in range(40)], follows=["c1"])
    return Retrieval.of(parts), request_of(catalogue, state), vectors


def test_a_request_is_full_diverse_in_sources_and_repeats_itself() -> None:
    retrieval, request, _ = real(1000)
    first, second = retrieval.retrieve(request), retrieval.retrieve(request)
    assert len(first) == 400
    assert np.array_equal(first.rows, second.rows)
    found = {name for sources in first.items.sources for name in sources}
    assert found == {name for name, quota in Quotas() if quota}
    assert any(len(sources) > 1 for sources in first.items.sources)
    assert first.notes == []


def test_what_was_done_seconds_ago_shapes_the_candidates() -> None:
    """Items in six lumps; a history in lump 0, then five saves in lump 5. No source knows of lumps, only of vectors."""
    draw = np.random.default_rng(2)
    vectors = np.repeat(np.eye(6, 64), 100, axis=0) + 0.08 * draw.standard_normal((600, 64))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    catalogue = catalogue_of(600)
    retrieval = Retrieval.of(RetrievalParts(index=ExactIndex(vectors, SPACE)))

    def share(now_ms: int, *, saved: bool) -> float:
        actions = [("click", f"i{place:04d}", NOW_MS - DAY_MS - place) for place in range(20)]
        actions += [("save", f"i{500 + place:04d}", NOW_MS - 5 + place) for place in range(5)] if saved else []
        rows = retrieval.retrieve(request_of(catalogue, state_of(actions), now_ms=now_ms), 120).rows
        return float((rows >= 500).mean())

    before, after, later = share(NOW_MS, saved=False), share(NOW_MS, saved=True), share(NOW_MS + 3 * DAY_MS, saved=True)
    assert after > 2 * before
    assert before <= later < after
