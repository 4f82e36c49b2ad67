from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.artifacts import EmbeddingTable, Space, write_artifact
from corkboard.errors import SpaceMismatch
from corkboard.retrieval.config import IndexConfig
from corkboard.retrieval.index import ExactIndex, FaissIndex, Index, OverlayIndex, recall_against_exact, top_rows
from retrieval.builders import SPACE, unit_vectors

ITEMS, DIM = 400, 16
VECTORS = unit_vectors(ITEMS, DIM)
OTHER_SPACE = Space("content", "2")


def faiss_index(vectors: np.ndarray, **config: int) -> FaissIndex:
    table = EmbeddingTable([f"i{row:05d}" for row in range(len(vectors))], vectors, SPACE)
    return FaissIndex.build(table, IndexConfig(**config))


KINDS = {
    "exact": lambda v: ExactIndex(v, SPACE),
    "flat": lambda v: faiss_index(v),
    "hnsw": lambda v: faiss_index(v, flat_below=0, search_width=256, max_search_width=256),
    "overlay": lambda v: OverlayIndex(ExactIndex(v, SPACE)),
    "overlay hnsw": lambda v: OverlayIndex(faiss_index(v, flat_below=0, search_width=256, max_search_width=256)),
}


@pytest.fixture(params=KINDS)
def index(request: pytest.FixtureRequest) -> Index:
    return KINDS[request.param](VECTORS)


# ------------------------------------------------------------------------------------------------- every implementation


def test_an_item_is_nearest_to_itself(index: Index) -> None:
    rows, scores = index.search(VECTORS[:50], 5)
    assert rows.shape == scores.shape == (50, 5)
    assert (rows.dtype, scores.dtype) == (np.int64, np.float32)
    assert rows[:, 0].tolist() == list(range(50))
    np.testing.assert_allclose(scores[:, 0], 1.0, atol=1e-5)
    assert (np.diff(scores, axis=1) <= 1e-6).all()


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.01, 0.0])
def test_only_allowed_rows_and_as_many_as_there_are(index: Index, share: float) -> None:
    allowed = np.random.default_rng(1).permutation(ITEMS) < share * ITEMS
    rows, scores = index.search(VECTORS[:8], 30, allowed)
    for found, values in zip(rows, scores, strict=True):
        assert (found >= 0).sum() == min(30, allowed.sum())
        assert allowed[found[found >= 0]].all()
        assert len(set(found[found >= 0].tolist())) == (found >= 0).sum()
        assert (values[found < 0] == -np.inf).all()
    truth, _ = ExactIndex(VECTORS, SPACE).search(VECTORS[:8], 30, allowed)
    assert np.mean([len(np.intersect1d(a, b)) / len(np.unique(b)) for a, b in zip(rows, truth, strict=True)]) > 0.97


def test_short_catalogues_pad(index: Index) -> None:
    rows, scores = index.search(VECTORS[0], ITEMS + 7)
    assert rows.shape == (1, ITEMS + 7)
    assert rows[0, ITEMS:].tolist() == [-1] * 7
    assert (scores[0, ITEMS:] == -np.inf).all()
    assert sorted(rows[0, :ITEMS].tolist()) == list(range(ITEMS))


def test_a_mask_that_ends_early_allows_nothing_beyond(index: Index) -> None:
    rows, _ = index.search(VECTORS[:3], 20, np.ones(10, bool))
    assert set(rows[rows >= 0].tolist()) == set(range(10))


def test_another_space_is_refused(index: Index) -> None:
    with pytest.raises(SpaceMismatch):
        index.search(VECTORS[:1], 3, space=OTHER_SPACE)
    with pytest.raises(SpaceMismatch):
        index.search(VECTORS[:1, :8], 3)
    index.search(VECTORS[:1], 3, space=SPACE)


def test_vectors_come_back(index: Index) -> None:
    found = index.vectors_of(np.array([3, -1, ITEMS + 5, 0]))
    np.testing.assert_allclose(found, np.stack([VECTORS[3], np.zeros(DIM), np.zeros(DIM), VECTORS[0]]))


def test_nothing_asked_nothing_found(index: Index) -> None:
    assert index.search(VECTORS[:2], 0)[0].shape == (2, 0)
    assert index.search(np.zeros((0, DIM), np.float32), 4)[0].shape == (0, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_index_pads(kind: str) -> None:
    rows, scores = KINDS[kind](np.zeros((0, DIM), np.float32)).search(VECTORS[:2], 3)
    assert rows.tolist() == [[-1] * 3] * 2
    assert (scores == -np.inf).all()


@pytest.mark.parametrize("blank_share", [0.1, 0.9, 1.0])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_zeros_are_never_found_and_hide_nobody(kind: str, blank_share: float, tmp_path: Path) -> None:
    vectors = VECTORS.copy()
    vectors[np.random.default_rng(5).permutation(ITEMS) < blank_share * ITEMS] = 0
    filled = np.flatnonzero(vectors.any(axis=1))
    index, even = KINDS[kind](vectors), np.arange(ITEMS) % 2 == 0
    rows, scores = index.search(VECTORS[:8], ITEMS)
    assert all(sorted(found[found >= 0].tolist()) == filled.tolist() for found in rows)
    assert (scores[rows < 0] == -np.inf).all()
    assert all(sorted(found[found >= 0].tolist()) == filled[even[filled]].tolist() for found in index.search(VECTORS[:8], ITEMS, even)[0])
    assert index.search(vectors[filled[:5]], 1)[0].ravel().tolist() == filled[:5].tolist()
    assert np.array_equal(index.vectors_of(np.arange(ITEMS)), vectors)
    if isinstance(index, FaissIndex):
        artifact = write_artifact(
            tmp_path, "index", "1", tensors=index.tensors(), tables=index.tables(), config=index.config, makes=[SPACE]
        )
        assert np.array_equal(FaissIndex.from_artifact(artifact).search(VECTORS[:8], 20, even)[0], index.search(VECTORS[:8], 20, even)[0])


# --------------------------------------------------------------------------------------------------------------- recall


def clusters(items: int = 6000, dim: int = 32, seed: int = 3) -> np.ndarray:
    """Vectors as catalogues have them: lumps of alike items, where a graph is harder to walk than in noise."""
    draw = np.random.default_rng(seed)
    centres = draw.standard_normal((60, dim))
    vectors = (centres[draw.integers(0, 60, items)] + 0.4 * draw.standard_normal((items, dim))).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def graph() -> tuple[FaissIndex, ExactIndex]:
    vectors = clusters()
    return faiss_index(vectors, flat_below=0), ExactIndex(vectors, SPACE)


@pytest.mark.parametrize("share", [1.0, 0.1, 0.01])
def test_recall_under_filters(graph: tuple[FaissIndex, ExactIndex], share: float) -> None:
    index, exact = graph
    allowed = None if share == 1.0 else np.random.default_rng(2).random(len(exact)) < share
    assert recall_against_exact(index, exact, exact.vectors[:100], 50, allowed) > 0.95


def test_what_a_filter_leaves_is_searched_exactly_when_it_is_little() -> None:
    vectors = clusters(2000)
    index, exact = faiss_index(vectors, flat_below=500, search_width=8, max_search_width=8), ExactIndex(vectors, SPACE)
    draw = np.random.default_rng(4).permutation(2000)
    assert recall_against_exact(index, exact, vectors[:50], 20, draw < 500) == 1.0
    assert recall_against_exact(index, exact, vectors[:50], 20, draw < 1500) < 1.0


def test_recall_by_hand() -> None:
    exact = ExactIndex(np.eye(4, dtype=np.float32), SPACE)
    blind = ExactIndex(np.eye(4, dtype=np.float32)[[0, 1, 3, 2]], SPACE)  # takes items 2 and 3 for each other
    queries = np.array([[4, 3, 2, 1], [1, 2, 3, 4]], np.float32)
    # the two best of the first query are 0, 1 in both; of the second 3, 2 in one and 2, 3 in the other; at k = 1 the second differs
    assert recall_against_exact(blind, exact, queries, 2) == 1.0
    assert recall_against_exact(blind, exact, queries, 1) == 0.5
    assert recall_against_exact(blind, exact, queries, 1, np.zeros(4, bool)) == 1.0


def test_flat_is_exact_and_chosen_for_small_catalogues() -> None:
    assert recall_against_exact(faiss_index(VECTORS), ExactIndex(VECTORS, SPACE), VECTORS, 20) == 1.0


@pytest.mark.parametrize("config", [{}, {"flat_below": 0}])
def test_survives_writing_down(tmp_path: Path, config: dict[str, int]) -> None:
    index = faiss_index(VECTORS, **config)
    artifact = write_artifact(tmp_path, "index", "1", tensors=index.tensors(), tables=index.tables(), config=index.config, makes=[SPACE])
    again = FaissIndex.from_artifact(artifact)
    allowed = np.arange(ITEMS) % 3 == 0
    assert np.array_equal(again.search(VECTORS[:20], 10, allowed)[0], index.search(VECTORS[:20], 10, allowed)[0])
    assert (again.space, again.ids, again.settings) == (SPACE, index.ids, index.settings)
    assert np.array_equal(artifact.embeddings().vectors, VECTORS)


def test_top_rows_by_hand() -> None:
    rows, scores = top_rows(np.array([[0.1, 0.9, -np.inf, 0.5]], np.float32), 3)
    assert rows.tolist() == [[1, 3, 0]]
    assert top_rows(np.array([[0.1, -np.inf]], np.float32), 2)[0].tolist() == [[0, -1]]
    assert scores.tolist() == [pytest.approx([0.9, 0.5, 0.1])]


# -------------------------------------------------------------------------------------------------------------- overlay


def test_live_items_are_found_and_removed_ones_are_not() -> None:
    index = OverlayIndex(ExactIndex(VECTORS, SPACE))
    new = unit_vectors(2, DIM, seed=7)
    index.add(ITEMS, new[0], SPACE)
    index.add(ITEMS + 1, new[1], SPACE)
    assert index.search(new, 1)[0].tolist() == [[ITEMS], [ITEMS + 1]]
    assert len(index) == ITEMS + 2
    index.remove(ITEMS)
    index.remove(5)
    assert ITEMS not in index.search(new[0], ITEMS + 2)[0]
    assert 5 not in index.search(VECTORS[5], ITEMS + 2)[0]
    assert not index.vectors_of(np.array([5, ITEMS])).any()
    index.add(5, VECTORS[5], SPACE)
    assert index.search(VECTORS[5], 1)[0].tolist() == [[5]]
    assert len(index) == ITEMS + 1


def test_an_item_that_loses_its_text_is_not_found_any_more() -> None:
    index = OverlayIndex(ExactIndex(VECTORS, SPACE))
    nothing = np.zeros(DIM, np.float32)
    index.add(5, nothing, SPACE)
    index.add(ITEMS, nothing, SPACE)
    assert not {5, ITEMS} & set(index.search(VECTORS[5], ITEMS + 1)[0].ravel().tolist())
    assert not index.vectors_of(np.array([5, ITEMS])).any()
    index.add(ITEMS, VECTORS[5], SPACE)
    assert index.search(VECTORS[5], 1)[0].tolist() == [[ITEMS]]


def test_a_changed_item_moves() -> None:
    index = OverlayIndex(ExactIndex(VECTORS, SPACE))
    moved = -VECTORS[5]
    index.add(5, moved, SPACE)
    assert index.search(moved, 1)[0].tolist() == [[5]]
    assert index.search(VECTORS[5], 1)[0].tolist() != [[5]]
    np.testing.assert_allclose(index.vectors_of(np.array([5]))[0], moved)


def test_filters_reach_live_items() -> None:
    index = OverlayIndex(ExactIndex(VECTORS, SPACE))
    index.add(ITEMS, VECTORS[0], SPACE)
    allowed = np.zeros(ITEMS + 1, bool)
    assert (index.search(VECTORS[0], 3, allowed)[0] == -1).all()
    allowed[ITEMS] = True
    assert index.search(VECTORS[0], 3, allowed)[0].tolist() == [[ITEMS, -1, -1]]
    assert ITEMS not in index.search(VECTORS[0], 3, np.ones(ITEMS, bool))[0]  # the mask is older than the item


def test_the_overlay_keeps_spaces_apart() -> None:
    index = OverlayIndex(ExactIndex(VECTORS, SPACE))
    with pytest.raises(SpaceMismatch):
        index.add(ITEMS, VECTORS[0], OTHER_SPACE)
    with pytest.raises(SpaceMismatch):
        index.add(ITEMS, VECTORS[0, :4], SPACE)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 29), st.integers(0, 99)), max_size=25), st.integers(0, 2**30 - 1))
def test_equals_an_index_built_from_scratch(steps: list[tuple[bool, int, int]], mask: int) -> None:
    frozen, pool = unit_vectors(20, 6, seed=1), unit_vectors(100, 6, seed=2)
    index = OverlayIndex(ExactIndex(frozen, SPACE))
    now = {row: frozen[row] for row in range(20)}
    for adding, row, vector in steps:
        if adding:
            index.add(row, pool[vector], SPACE)
            now[row] = pool[vector]
        else:
            index.remove(row)
            now.pop(row, None)
    allowed = np.array([mask >> row & 1 for row in range(30)], bool)
    rows, scores = index.search(pool[:3], 30, allowed)
    for query, found, values in zip(pool[:3], rows, scores, strict=True):
        expected = sorted(((float(query @ vector), row) for row, vector in now.items() if allowed[row]), reverse=True)
        assert sorted(found[found >= 0].tolist()) == sorted(row for _, row in expected)
        np.testing.assert_allclose(values[found >= 0], [score for score, _ in expected], atol=1e-5)
    assert len(index) == len(now)


def test_searches_see_whole_states_while_items_come_and_go() -> None:
    index, failures = OverlayIndex(ExactIndex(VECTORS, SPACE)), []
    live = unit_vectors(300, DIM, seed=9)

    def search() -> None:
        for place in range(300):
            rows, scores = index.search(live[place % 300], 10)
            known = rows[rows >= 0]
            if len(set(known.tolist())) != len(known) or not np.isfinite(scores[rows >= 0]).all():
                failures.append(rows)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for row, vector in enumerate(live):
        index.add(ITEMS + row, vector, SPACE)
        if row % 3 == 0:
            index.remove(ITEMS + row // 2)
    for thread in threads:
        thread.join()
    assert not failures
