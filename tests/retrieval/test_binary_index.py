from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.artifacts import Space, write_artifact
from corkboard.errors import InputError, SpaceMismatch
from corkboard.retrieval.binary_index import BinaryIndex, BinaryOverlay
from corkboard.retrieval.config import BinaryIndexConfig
from corkboard.retrieval.hamming import LANES, block_distances, distances, words_of
from retrieval.builders import unit_vectors

SPACE, OTHER_SPACE = Space("visual", "1"), Space("visual", "2")
ITEMS, DIM, BYTES = 700, 24, 40
WHOLE = BinaryIndexConfig()
CELLS = BinaryIndexConfig(exact_below=0, probes=8, few=0, exact_share=0.0)


def alike(items: int = ITEMS, seed: int = 3) -> np.ndarray:
    """Unit vectors in lumps."""
    draw = np.random.default_rng(seed)
    vectors = unit_vectors(30, DIM, seed=1)[draw.integers(0, 30, items)] + 0.1 * draw.standard_normal((items, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def signs(vectors: np.ndarray, bits: int = 8 * BYTES) -> np.ndarray:
    """Codes of vectors: the sides of random planes that they lie on."""
    return np.packbits(vectors @ np.random.default_rng(0).standard_normal((vectors.shape[1], bits)) > 0, axis=1)


VECTORS = alike()
CODES = signs(VECTORS)
IDS = [f"i{row:04d}" for row in range(ITEMS)]


def index_of(codes: np.ndarray = CODES, vectors: np.ndarray | None = VECTORS, config: BinaryIndexConfig = WHOLE, **more) -> BinaryIndex:
    return BinaryIndex.build(codes, IDS[: len(codes)], SPACE, config, rescoring=vectors, **more)


def plain(codes: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Hamming distances ``(q, n)`` bit by bit."""
    return (np.unpackbits(queries, axis=1)[:, None] != np.unpackbits(codes, axis=1)[None]).sum(axis=2)


# -------------------------------------------------------------------------------------------------------------------- distances


def test_distances_by_hand() -> None:
    codes = np.array([[0b00000000, 0b11111111], [0b00001111, 0b11111111], [0b11111111, 0b00000000]], np.uint8)
    query = np.array([[0b00000001, 0b11111111]], np.uint8)
    assert distances(words_of(query)[0], words_of(codes)).tolist() == [1, 3, 15]
    rows, scores = BinaryIndex.build(codes, ["a", "b", "c"], SPACE).search(query, 3)
    assert rows.tolist() == [[0, 1, 2]]
    assert scores[0].tolist() == [pytest.approx(value) for value in (1 - 2 / 16, 1 - 6 / 16, 1 - 30 / 16)]


@pytest.mark.parametrize("count", [1, 5, 32, 33, 64, 128, 160, 256, 512])
def test_the_kernel_counts_what_a_plain_count_does(count: int) -> None:
    draw = np.random.default_rng(count)
    codes, query = draw.integers(0, 256, (LANES, count), np.uint8), draw.integers(0, 256, (1, count), np.uint8)
    found = np.empty(LANES, np.uint64)
    block_distances(np.ascontiguousarray(words_of(codes).T)[None], 0, words_of(query), 0, found)
    assert found.tolist() == plain(codes, query)[0].tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 6), st.integers(1, 40), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_whole_search_is_the_plain_one(items: int, count: int, k: int, queries: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    codes, asked = draw.integers(1, 256, (items, count), np.uint8), draw.integers(1, 256, (queries, count), np.uint8)
    allowed = draw.random(items) < draw.random()
    index = BinaryIndex.build(codes, IDS[:items], SPACE, BinaryIndexConfig(few=int(draw.integers(0, 2)) * 1000))
    truth = np.where(allowed, plain(codes, asked), 8 * count + 1)
    rows, scores = index.search(asked, k, allowed=allowed)
    for found, values, expected in zip(rows, scores, truth, strict=True):
        here = found[found >= 0]
        assert len(here) == len(set(here.tolist())) == min(k, allowed.sum())
        assert allowed[here].all()
        assert expected[here].tolist() == np.sort(expected)[: len(here)].tolist()
        np.testing.assert_allclose(values[: len(here)], 1 - 2 * expected[here] / (8 * count), atol=1e-6)
        assert (values[len(here) :] == -np.inf).all()


# ------------------------------------------------------------------------------------------------------------------------- ties


@pytest.mark.parametrize("config", [WHOLE, CELLS, BinaryIndexConfig(few=0)])
def test_what_is_found_does_not_depend_on_the_order_in_which_items_came(config: BinaryIndexConfig) -> None:
    codes = CODES[:, :1].copy()  # eight bits: nearly everything is a tie
    codes[~codes.any(axis=1)] = 1
    order = np.random.default_rng(2).permutation(ITEMS)
    one = BinaryIndex.build(codes, IDS, SPACE, config)
    other = BinaryIndex.build(codes[order], [IDS[row] for row in order], SPACE, config)
    first, second = one.search(codes[:40], 30)[0], order[other.search(codes[:40], 30)[0]]
    assert np.array_equal(first, second)
    half = np.arange(ITEMS) % 2 == 0
    assert np.array_equal(one.search(codes[:9], 30, allowed=half)[0], order[other.search(codes[:9], 30, allowed=half[order])[0]])


def test_ties_are_not_broken_by_row_and_always_alike() -> None:
    codes = np.full((ITEMS, 16), 7, np.uint8)
    index = BinaryIndex.build(codes, IDS, SPACE)
    rows = index.search(codes[:1], 100)[0][0]
    assert abs(np.corrcoef(np.arange(100), rows)[0, 1]) < 0.4
    assert ITEMS * 0.35 < rows.mean() < ITEMS * 0.65
    assert rows[:10].tolist() == index.search(codes[:1], 10)[0][0].tolist()
    odd = np.arange(ITEMS) % 2 == 1
    assert index.search(codes[:1], 10, allowed=odd)[0][0].tolist() == rows[rows % 2 == 1][:10].tolist()


@pytest.mark.parametrize("config", [WHOLE, CELLS])
def test_the_number_of_threads_changes_nothing(config: BinaryIndexConfig) -> None:
    one, three = index_of(config=config), index_of(config=config, threads=3)
    for queries in (1, 2, 3, 150):
        for vectors in (None, VECTORS[:queries]):
            for found, expected in zip(three.search(CODES[:queries], 20, vectors), one.search(CODES[:queries], 20, vectors), strict=True):
                assert np.array_equal(found, expected)


def test_many_may_search_at_once() -> None:
    index, wrong = index_of(threads=2), []
    expected = index.search(CODES[:30], 10, VECTORS[:30])[0]

    def ask() -> None:
        wrong.extend(1 for _ in range(20) if not np.array_equal(index.search(CODES[:30], 10, VECTORS[:30])[0], expected))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -------------------------------------------------------------------------------------------------------------------- rescoring


def test_vectors_decide_among_the_nearest_codes() -> None:
    index = index_of(config=BinaryIndexConfig(candidates=60))
    queries = alike(20, seed=9)
    rows, scores = index.search(signs(queries), 10, queries)
    for q, (found, values) in enumerate(zip(rows, scores, strict=True)):
        nearest = index.search(signs(queries)[q : q + 1], 60)[0][0]
        truth = nearest[np.argsort(-(VECTORS[nearest] @ queries[q]), kind="stable")]
        assert found.tolist() == truth[:10].tolist()
        np.testing.assert_allclose(values, VECTORS[found] @ queries[q], atol=1e-5)


def test_more_is_scored_again_where_more_is_wanted() -> None:
    index = index_of(config=BinaryIndexConfig(candidates=1))
    rows, _ = index.search(CODES[:1], ITEMS, VECTORS[:1])
    truth = np.argsort(-(VECTORS @ VECTORS[0]), kind="stable")
    assert sorted(rows[0].tolist()) == list(range(ITEMS))
    assert rows[0, :20].tolist() == truth[:20].tolist()
    assert len(np.intersect1d(index.search(CODES[:1], 1, VECTORS[:1])[0], [0])) == 1


@pytest.mark.parametrize("scale", [0.65 / 127, np.linspace(0.5, 1, ITEMS) / 127])
def test_int8_scores_as_its_scale_says(scale: float | np.ndarray) -> None:
    whole = np.clip(np.round(VECTORS / np.atleast_1d(scale)[:, None]), -127, 127).astype(np.int8)
    index = index_of(vectors=whole, scale=scale)
    restored = whole * np.atleast_1d(scale).astype(np.float32)[:, None]
    rows, scores = index.search(CODES[:9], 12, VECTORS[:9])
    np.testing.assert_allclose(scores, np.einsum("qd,qkd->qk", VECTORS[:9], restored[rows]), atol=1e-5)
    np.testing.assert_allclose(index.vectors_of(np.array([4, -1, ITEMS])), np.stack([restored[4], *np.zeros((2, DIM))]), atol=1e-6)
    assert index.tensors()["rescoring"].dtype == np.int8


def test_bits_and_int8_find_what_floats_do() -> None:
    queries = alike(60, seed=11)
    truth = np.argsort(-(queries @ VECTORS.T), axis=1)[:, :10]
    whole = np.round(VECTORS * 127).astype(np.int8)
    index = index_of(vectors=whole, scale=1 / 127, config=BinaryIndexConfig(candidates=100))

    def recall(rows: np.ndarray) -> float:
        return np.mean([len(np.intersect1d(found, wanted)) / 10 for found, wanted in zip(rows, truth, strict=True)])

    bits, rescored = recall(index.search(signs(queries), 10)[0]), recall(index.search(signs(queries), 10, queries)[0])
    assert rescored > 0.95 > bits + 0.05


# ------------------------------------------------------------------------------------------------------------- cells and filters


def test_cells_find_nearly_all_and_all_cells_find_all() -> None:
    index, exact = index_of(config=CELLS), index_of()
    assert (index.cells, exact.cells) == (int(4 * ITEMS**0.5), 1)
    queries = signs(alike(100, seed=5))
    truth = exact.search(queries, 10)[0]
    assert np.array_equal(index.search(queries, 10, probes=0)[0], truth)
    some, few = (np.mean(index.search(queries, 10, probes=probes)[0] == truth) for probes in (8, 1))
    assert few < some > 0.8


@pytest.mark.parametrize("config", [WHOLE, CELLS, BinaryIndexConfig(few=0)])
@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.01, 0.0])
def test_only_allowed_rows_and_as_many_as_there_are(config: BinaryIndexConfig, share: float) -> None:
    index, allowed = index_of(config=config), np.random.default_rng(1).permutation(ITEMS) < share * ITEMS
    for vectors in (None, VECTORS[:8]):
        rows, scores = index.search(CODES[:8], 30, vectors, allowed)
        for found, values in zip(rows, scores, strict=True):
            here = found[found >= 0]
            assert len(set(here.tolist())) == len(here) == min(30, allowed.sum())
            assert allowed[here].all()
            assert (values[found < 0] == -np.inf).all()
            assert (np.diff(values[found >= 0]) <= 0).all()


def test_a_mask_that_ends_early_allows_nothing_beyond() -> None:
    rows, _ = index_of().search(CODES[:3], 20, VECTORS[:3], np.ones(10, bool))
    assert set(rows[rows >= 0].tolist()) == set(range(10))
    assert (rows >= 0).sum() == 30


@pytest.mark.parametrize("config", [WHOLE, CELLS])
def test_faiss_finds_the_same_distances(config: BinaryIndexConfig) -> None:
    index = index_of(config=config)
    queries = signs(alike(50, seed=6))
    found, rows = index.to_faiss().search(queries, 10)
    ours, scores = index.search(queries, 10)
    np.testing.assert_allclose(1 - 2 * found / index.bits, scores, atol=1e-6)
    assert np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(rows, ours, strict=True)]) > 0.9


# ------------------------------------------------------------------------------------------------------ nothing, too much, zeros


@pytest.mark.parametrize("config", [WHOLE, CELLS])
def test_an_empty_index_pads(config: BinaryIndexConfig) -> None:
    index = index_of(CODES[:0], VECTORS[:0], config)
    rows, scores = index.search(CODES[:2], 3, VECTORS[:2])
    assert rows.tolist() == [[-1] * 3] * 2
    assert (scores == -np.inf).all()
    assert (len(index), index.bits, index.dim, index.findable) == (0, 8 * BYTES, DIM, 0)


def test_more_than_there_are_and_nothing_at_all() -> None:
    index = index_of(config=CELLS)
    rows, scores = index.search(CODES[:2], ITEMS + 7, VECTORS[:2])
    assert rows.shape == (2, ITEMS + 7)
    assert sorted(rows[0, :ITEMS].tolist()) == list(range(ITEMS))
    assert rows[0, ITEMS:].tolist() == [-1] * 7
    assert (scores[:, ITEMS:] == -np.inf).all()
    assert index.search(CODES[:2], 0)[0].shape == index.search(CODES[:2], 0, VECTORS[:2])[0].shape == (2, 0)
    assert index.search(CODES[:0], 4)[0].shape == (0, 4)


@pytest.mark.parametrize("blank", ["code", "vector"])
@pytest.mark.parametrize("config", [WHOLE, CELLS])
def test_items_that_nothing_is_known_of_are_never_found(config: BinaryIndexConfig, blank: str) -> None:
    codes, vectors = CODES.copy(), VECTORS.copy()
    gone = np.random.default_rng(4).random(ITEMS) < 0.3
    (codes if blank == "code" else vectors)[gone] = 0
    index = index_of(codes, vectors, config)
    for rows in (index.search(CODES[:5], ITEMS)[0], index.search(CODES[:5], ITEMS, VECTORS[:5])[0]):
        assert all(sorted(found[found >= 0].tolist()) == np.flatnonzero(~gone).tolist() for found in rows)
    assert index.findable == (~gone).sum()
    rows, scores = index.search(np.stack([np.zeros(BYTES, np.uint8), CODES[0]]), 3, VECTORS[:2])
    assert rows[0].tolist() == [-1] * 3
    assert (rows[1] >= 0).all()
    assert (scores[0] == -np.inf).all()
    assert np.array_equal(index.codes_of(np.arange(ITEMS)), np.where(gone[:, None], 0, CODES))


def test_what_does_not_fit_is_refused() -> None:
    index, bare = index_of(), index_of(vectors=None)
    with pytest.raises(SpaceMismatch):
        index.search(CODES[:1], 3, space=OTHER_SPACE)
    with pytest.raises(SpaceMismatch):
        index.search(CODES[:1, :-1], 3)
    with pytest.raises(SpaceMismatch):
        index.search(VECTORS[:1], 3)
    with pytest.raises(SpaceMismatch):
        index.search(CODES[:2], 3, VECTORS[:1])
    with pytest.raises(InputError, match="no vectors"):
        bare.search(CODES[:1], 3, VECTORS[:1])
    with pytest.raises(InputError, match="fit together"):
        BinaryIndex.build(CODES, IDS[:-1], SPACE)
    with pytest.raises(InputError, match="fit together"):
        BinaryIndex.build(CODES, IDS, SPACE, rescoring=VECTORS[:-1])
    with pytest.raises(InputError, match="fit together"):
        BinaryIndex.build(CODES.astype(np.int64), IDS, SPACE)


# ------------------------------------------------------------------------------------------------------------------- written down


@pytest.mark.parametrize("config", [WHOLE, CELLS])
@pytest.mark.parametrize("vectors", [None, VECTORS, np.round(VECTORS * 127).astype(np.int8)], ids=["bits", "float", "int8"])
def test_survives_writing_down(tmp_path: Path, config: BinaryIndexConfig, vectors: np.ndarray | None) -> None:
    index = index_of(vectors=vectors, config=config, scale=1.0 if vectors is None or vectors.dtype == np.float32 else 1 / 127)
    artifact = write_artifact(tmp_path, "codes", "1", tensors=index.tensors(), tables=index.tables(), config=index.config, makes=[SPACE])
    again = BinaryIndex.from_artifact(artifact)
    third, asked = np.arange(ITEMS) % 3 == 0, None if vectors is None else VECTORS[:20]
    for allowed in (None, third):
        for found, expected in zip(again.search(CODES[:20], 9, asked, allowed), index.search(CODES[:20], 9, asked, allowed), strict=True):
            assert np.array_equal(found, expected)
    assert (again.space, again.ids, again.settings, again.nbytes) == (SPACE, IDS, config, index.nbytes)
    assert not again.tensors()["words"].flags.writeable  # mapped


def test_an_empty_one_survives_writing_down(tmp_path: Path) -> None:
    index = index_of(CODES[:0], VECTORS[:0])
    artifact = write_artifact(tmp_path, "codes", "1", tensors=index.tensors(), tables=index.tables(), config=index.config, makes=[SPACE])
    assert BinaryIndex.from_artifact(artifact).search(CODES[:1], 2, VECTORS[:1])[0].tolist() == [[-1, -1]]


# ------------------------------------------------------------------------------------------------------------------------ overlay


@pytest.mark.parametrize("vectors", [None, VECTORS], ids=["bits", "float"])
def test_an_overlay_answers_as_an_index_of_all_items(vectors: np.ndarray | None) -> None:
    cut, codes = 500, CODES.copy()
    codes[:, 6:] = codes[:1, 6:]  # 48 bits: many ties
    overlay = BinaryOverlay(index_of(codes[:cut], None if vectors is None else vectors[:cut], BinaryIndexConfig(candidates=40)))
    for row in np.random.default_rng(3).permutation(np.arange(cut, ITEMS)).tolist():
        overlay.add(row, IDS[row], codes[row], None if vectors is None else vectors[row], SPACE)
    gone = [3, 77, 510, 699]
    for row in gone:
        overlay.remove(row)
    alive = np.ones(ITEMS, bool)
    alive[gone] = False
    whole = index_of(codes, vectors, BinaryIndexConfig(candidates=40))
    asked = None if vectors is None else vectors[:30]
    for allowed in (np.ones(ITEMS, bool), np.arange(ITEMS) % 5 == 0, np.arange(ITEMS) < cut, np.arange(ITEMS) >= cut, np.zeros(9, bool)):
        rows, scores = overlay.search(codes[:30], 12, asked, allowed)
        inside = alive.copy()
        inside[: len(allowed)] &= allowed
        inside[len(allowed) :] = False
        expected, values = whole.search(codes[:30], 12, asked, inside)
        assert np.array_equal(rows, expected)
        np.testing.assert_allclose(scores, values, atol=1e-6)


def test_a_live_item_may_be_replaced_and_comes_back_after_removal() -> None:
    overlay = BinaryOverlay(index_of())
    overlay.add(5, IDS[5], CODES[9], VECTORS[9], SPACE)
    rows, _ = overlay.search(CODES[9:10], 2, VECTORS[9:10])
    assert sorted(rows[0].tolist()) == [5, 9]
    overlay.add(5, IDS[5], np.zeros(BYTES, np.uint8), VECTORS[9], SPACE)
    assert 5 not in overlay.search(CODES[5:6], ITEMS, VECTORS[5:6])[0]
    overlay.add(5, IDS[5], CODES[5], VECTORS[5], SPACE)
    assert overlay.search(CODES[5:6], 1, VECTORS[5:6])[0].tolist() == [[5]]
    assert sorted(overlay.search(CODES[5:6], ITEMS + 3)[0][0].tolist()) == [-1] * 3 + list(range(ITEMS))


def test_an_overlay_over_nothing() -> None:
    overlay = BinaryOverlay(index_of(CODES[:0], VECTORS[:0]))
    assert overlay.search(CODES[:1], 2, VECTORS[:1])[0].tolist() == [[-1, -1]]
    overlay.add(0, "new", CODES[0], VECTORS[0], SPACE)
    assert overlay.search(np.stack([CODES[0], 0 * CODES[0]]), 2, VECTORS[:2])[0].tolist() == [[0, -1], [-1, -1]]


def test_an_overlay_refuses_what_does_not_fit() -> None:
    overlay = BinaryOverlay(index_of())
    with pytest.raises(SpaceMismatch):
        overlay.add(ITEMS, "new", CODES[0], VECTORS[0], OTHER_SPACE)
    with pytest.raises(SpaceMismatch):
        overlay.search(CODES[:1], 3, space=OTHER_SPACE)
    with pytest.raises(InputError, match="lacks"):
        overlay.add(ITEMS, "new", CODES[0], None, SPACE)
    with pytest.raises(InputError, match="lacks"):
        overlay.add(-1, "new", CODES[0], VECTORS[0], SPACE)
