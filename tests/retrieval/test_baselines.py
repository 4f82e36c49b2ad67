from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.artifacts import write_artifact
from corkboard.errors import InputError
from corkboard.retrieval.baselines import EASE, Baseline, ItemKNN, Popularity, recall_at
from corkboard.retrieval.config import ActionWeights, EASEConfig, ItemKNNConfig, PopularityConfig
from corkboard.retrieval.interactions import Validation
from retrieval.builders import DAY_MS, actions_frame

IDS = ["a", "b", "c"]
CLICKS = ActionWeights(click=1.0, close_up=0, long_click=0, save=0, add_to_cart=0, checkout=0)
PLAIN_KNN = ItemKNNConfig(
    neighbours=3, shrinkage=1.0, user_damping=0.0, popularity_exponent=0.5, floor=1.0, history_half_life=1e9, weights=CLICKS
)
PLAIN_EASE = EASEConfig(regularisation=0.5, floor=1.0, history_half_life=1e9, weights=CLICKS)
BASKETS = actions_frame(
    [
        ("u", "click", "a", 1),
        ("u", "click", "b", 1),
        ("v", "click", "a", 2),
        ("v", "click", "b", 2),
        ("w", "click", "a", 3),
        ("w", "click", "c", 3),
    ]
)


def random_actions(users: int = 30, items: int = 12, seed: int = 0) -> tuple[pl.DataFrame, list[str]]:
    draw = np.random.default_rng(seed)
    rows = [
        (f"u{user}", "click", f"i{item:02d}", float(draw.integers(0, 60)))
        for user in range(users)
        for item in np.flatnonzero(draw.random(items) < 0.3)
    ]
    return actions_frame(rows), [f"i{item:02d}" for item in range(items)]


# ---------------------------------------------------------------------------------------------------------- popularity


def test_popularity_by_hand() -> None:
    rows = [("u", "save", "a", 9.5), ("v", "click", "a", 4.0), ("w", "click", "b", 1.0), ("w", "hide", "b", 9.0), ("w", "save", "c", 10.0)]
    config = PopularityConfig(window_days=7, half_life_days=3, weights=ActionWeights(click=1.0, save=2.0))
    windowed = Popularity.fit(actions_frame(rows), IDS, 10 * DAY_MS, config)
    # a: a save and a click within seven days; b's click is nine days old; c comes at the cut itself
    assert windowed.scores.tolist() == [3.0, 0.0, 0.0]
    decayed = Popularity.fit(actions_frame(rows), IDS, 10 * DAY_MS, config, decayed=True)
    assert decayed.scores == pytest.approx([2 * 0.5 ** (0.5 / 3) + 0.5 ** (6 / 3), 0.5 ** (9 / 3), 0.0])


def test_popularity_is_the_same_for_everybody() -> None:
    scores = Popularity(IDS, np.array([1, 2, 3])).score_all([np.array([0]), np.array([], np.int64)])
    assert scores.tolist() == [[1, 2, 3], [1, 2, 3]]


# ------------------------------------------------------------------------------------------------------------ item-kNN


def test_similarities_by_hand() -> None:
    # a with b: 2 users of 3 and 2: 2 / (sqrt(3 * 2) + 1); a with c: 1 / (sqrt(3 * 1) + 1); b and c never meet
    table = ItemKNN.fit(BASKETS, IDS, 10 * DAY_MS, PLAIN_KNN).table
    ab, ac = 2 / (6**0.5 + 1), 1 / (3**0.5 + 1)
    assert table.rows.tolist() == [[1, 2], [0, -1], [0, -1]]
    assert table.scores == pytest.approx(np.array([[ab, ac], [ab, 0], [ac, 0]]), abs=1e-6)


def test_scores_by_hand() -> None:
    model = ItemKNN.fit(BASKETS, IDS, 10 * DAY_MS, PLAIN_KNN.model_copy(update={"history_half_life": 1.0}))
    ab, ac = 2 / (6**0.5 + 1), 1 / (3**0.5 + 1)
    scores = model.score_all([np.array([1, 2]), np.array([0]), np.array([], np.int64)])
    assert scores == pytest.approx(np.array([[ab + ac / 2, 0, 0], [0, ab, ac], [0, 0, 0]]), abs=1e-6)


def test_only_the_nearest_count_when_it_ranks_by_itself() -> None:
    model = ItemKNN.fit(BASKETS, IDS, 10 * DAY_MS, PLAIN_KNN.model_copy(update={"scored_neighbours": 1}))
    assert (model.score_all([np.array([0])])[0] > 0).tolist() == [False, True, False]
    assert model.table.rows[0].tolist() == [1, 2]


def test_damping_and_exponent_by_hand() -> None:
    # everybody has two items: damping 1 halves every user in c and n. a with b: 1 / (1.5**(1 - .25) * 1**.25 + 1)
    config = PLAIN_KNN.model_copy(update={"user_damping": 1.0, "popularity_exponent": 0.25})
    table = ItemKNN.fit(BASKETS, IDS, 10 * DAY_MS, config).table
    assert table.scores[0, 0] == pytest.approx(1 / (1.5**0.75 + 1), abs=1e-6)
    # and from b to a the exponents change places
    assert table.scores[1, 0] == pytest.approx(1 / (1.5**0.25 + 1), abs=1e-6)


def test_what_fades_is_the_recommended_side() -> None:
    rows = [("u", "click", "a", 0.0), ("u", "click", "b", 10.0), ("v", "click", "a", 0.0), ("v", "click", "c", 0.0)]
    config = PLAIN_KNN.model_copy(update={"floor": 0.0, "half_life_days": 5.0, "popularity_exponent": 0.0})
    scores = ItemKNN.fit(actions_frame(rows), IDS, 10 * DAY_MS + 1, config).score_all([np.array([0])])[0]
    # b was taken now, c ten days ago: (1/2)^2; a's own age on the side of the history does not matter: n_a = 2
    assert scores == pytest.approx([0, 1 / 3, 0.25 / 3], abs=1e-5)


@pytest.mark.parametrize("block_cells", [1, 10_000])
def test_blocks_do_not_change_the_result(block_cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    actions, ids = random_actions()
    expected = ItemKNN.fit(actions, ids, 90 * DAY_MS).table
    monkeypatch.setattr("corkboard.retrieval.baselines._BLOCK_CELLS", block_cells)
    found = ItemKNN.fit(actions, ids, 90 * DAY_MS).table
    assert np.array_equal(found.rows, expected.rows)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


# ---------------------------------------------------------------------------------------------------------------- EASE


def test_ease_equals_the_paper_in_float64() -> None:
    draw = np.random.default_rng(1)
    x = (draw.random((40, 15)) < 0.3).astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + 0.5 * np.eye(15))
    expected = np.eye(15) - inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    model = EASE.fit_matrix(sp.csr_array(x.astype(np.float32)), [str(i) for i in range(15)], PLAIN_EASE)
    np.testing.assert_allclose(model.weights, expected, atol=2e-5)


def long_tailed(users: int, items: int, seed: int = 0) -> sp.csr_array:
    """Who took what, a few items by nearly everybody and most by hardly anybody."""
    draw = np.random.default_rng(seed)
    chance = 1.5 / (1.0 + np.arange(items)) ** 0.6
    return sp.csr_array((draw.random((users, items)) < chance).astype(np.float32))


@pytest.mark.parametrize("regularisation", [1.0, 80.0])
def test_single_precision_in_place_is_close_to_a_plain_inverse(regularisation: float) -> None:
    """The largest difference from float64, beside the largest weight, is a few millionths at lambda 80; a small lambda costs a digit."""
    matrix = long_tailed(900, 600)
    x = matrix.toarray().astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + regularisation * np.eye(600))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    found = EASE.fit_matrix(matrix, [str(i) for i in range(600)], PLAIN_EASE.model_copy(update={"regularisation": regularisation})).weights
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() / np.abs(expected).max() < (5e-6 if regularisation == 80.0 else 1e-4)


def test_solving_makes_nothing_as_large_as_its_matrix_beside_it() -> None:
    """At 40,000 items the matrix is 6.7 GB. Its rows lie one after another in memory in the end, or each product would copy it."""
    matrix = long_tailed(40, 2000)
    ids = [str(i) for i in range(2000)]
    EASE.fit_matrix(matrix[:, :10], ids[:10], PLAIN_EASE)  # what is loaded once
    tracemalloc.start()
    try:
        weights = EASE.fit_matrix(matrix, ids, PLAIN_EASE).weights
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert weights.flags.c_contiguous
    assert peak < 1.6 * weights.nbytes  # with the sparse product it is made from


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 50))
def test_fading_targets_solve_one_ridge_regression_a_column(seed: int, regularisation: float) -> None:
    """Column j of B is the ridge regression of y_j on all items but j: that is what a zero diagonal means."""
    draw = np.random.default_rng(seed)
    x = (draw.random((20, 6)) < 0.4).astype(np.float64)
    y = x * draw.random((20, 6))
    config = PLAIN_EASE.model_copy(update={"regularisation": regularisation})
    model = EASE.fit_matrix(sp.csr_array(x.astype(np.float32)), list("abcdef"), config, sp.csr_array(y.astype(np.float32)))
    for j in range(6):
        others = [i for i in range(6) if i != j]
        expected = np.linalg.solve(x[:, others].T @ x[:, others] + regularisation * np.eye(5), x[:, others].T @ y[:, j])
        np.testing.assert_allclose(model.weights[others, j], expected, atol=1e-4)
        assert model.weights[j, j] == 0


def test_without_fading_both_solutions_are_one() -> None:
    x = sp.csr_array((np.random.default_rng(2).random((30, 300)) < 0.1).astype(np.float32))  # wider than a block of the mirror
    ids = [str(i) for i in range(300)]
    np.testing.assert_allclose(EASE.fit_matrix(x, ids, PLAIN_EASE, x).weights, EASE.fit_matrix(x, ids, PLAIN_EASE).weights, atol=1e-4)


def test_only_the_most_engaged_items_take_part() -> None:
    model = EASE.fit(BASKETS, IDS, 10 * DAY_MS, PLAIN_EASE.model_copy(update={"max_items": 2}))
    assert model.rows.tolist() == [0, 1]
    scores = model.score_all([np.array([0, 2])])
    assert scores[0, 1] > 0
    assert scores[0, 2] == 0


def test_a_lambda_must_be_positive() -> None:
    with pytest.raises(ValueError):
        EASEConfig(regularisation=0.0)
    with pytest.raises(InputError, match="positive definite"):
        EASE.fit_matrix(sp.csr_array(np.eye(2, dtype=np.float32)), ["a", "b"], PLAIN_EASE.model_copy(update={"regularisation": -5.0}))


# ---------------------------------------------------------------------------------------------------------- all of them

MODELS = {
    "popularity": lambda actions, ids: Popularity.fit(actions, ids, 90 * DAY_MS),
    "item-kNN": lambda actions, ids: ItemKNN.fit(actions, ids, 90 * DAY_MS),
    "EASE": lambda actions, ids: EASE.fit(actions, ids, 90 * DAY_MS),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Baseline:
    return MODELS[request.param](*random_actions())


def test_one_row_a_history_and_one_column_an_item(model: Baseline) -> None:
    histories = [np.array([3, 1]), np.array([], np.int64), np.array([-1]), np.array([5, 5, 5])]
    scores = model.score_all(histories)
    assert scores.shape == (4, 12)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(model.score_all(histories[:1])[0], scores[0], rtol=1e-5)


def test_an_empty_lake_and_an_empty_catalogue_are_fine() -> None:
    for fit in MODELS.values():
        assert fit(actions_frame([]), IDS).score_all([np.array([0])]).tolist() == [[0, 0, 0]]
        assert fit(actions_frame([]), []).score_all([np.array([], np.int64)]).shape == (1, 0)


@pytest.mark.parametrize("fit", MODELS.values(), ids=MODELS.keys())
def test_nothing_after_the_cut_is_read(fit: Callable[[pl.DataFrame, list[str]], Baseline]) -> None:
    actions, ids = random_actions()
    future = actions_frame([("u1", "checkout", "i03", 90.0), ("u2", "checkout", "i04", 95.0)])
    history = [np.array([1, 2])]
    assert np.array_equal(fit(actions, ids).score_all(history), fit(pl.concat([actions, future]), ids).score_all(history))


@pytest.mark.parametrize("fit", [MODELS["item-kNN"], MODELS["EASE"]], ids=["item-kNN", "EASE"])
@pytest.mark.parametrize("held_out", [(0, 4), (3, 7), (6, 10)])
def test_checkerboard_finds_the_withheld_square(fit: Callable[[pl.DataFrame, list[str]], Baseline], held_out: tuple[int, int]) -> None:
    """Even users take even items, odd users odd ones. The one square taken out must come first of what the user does not have."""
    user, item = held_out
    assert user % 2 == item % 2
    squares = [(u, i) for u in range(8) for i in range(12) if u % 2 == i % 2 and (u, i) != held_out]
    model = fit(actions_frame([(f"u{u}", "click", f"i{i:02d}", 80.0 + i / 100) for u, i in squares]), [f"i{i:02d}" for i in range(12)])
    history = np.array([i for u, i in squares if u == user][::-1])
    scores = model.score_all([history])[0]
    scores[history] = -np.inf
    assert int(np.argmax(scores)) == item


@pytest.mark.parametrize("kind", [ItemKNN, EASE])
@pytest.mark.parametrize("trusted", ["old", "new"])
def test_how_fast_things_fade_is_chosen_on_validation(kind: type[ItemKNN] | type[EASE], trusted: str) -> None:
    """Long ago 30 people took x with 20 old items, lately 10 took it with 20 new ones. Who validates on either learns to trust it."""
    ids = ["x", *(f"old{i:02d}" for i in range(20)), *(f"new{i:02d}" for i in range(20))]
    rows = [(f"o{u}", "click", item, 1.0) for u in range(30) for item in ids[:21]]
    rows += [(f"n{u}", "click", item, 89.0) for u in range(10) for item in [ids[0], *ids[21:]]]
    wanted = np.arange(1, 21) if trusted == "old" else np.arange(21, 41)
    validation = Validation([np.array([0])] * 60, [wanted] * 60)
    model = kind.fit(actions_frame(rows), ids, 90 * DAY_MS, validation=validation)
    assert model.settings.floor == (1.0 if trusted == "old" else 0.02)
    assert recall_at(model, validation, 20) == 1.0


def test_too_few_users_choose_nothing() -> None:
    actions, ids = random_actions()
    few = Validation([np.array([0])] * 3, [np.array([1])] * 3)
    assert EASE.fit(actions, ids, 90 * DAY_MS, None, few).settings == EASEConfig()


def test_the_best_lambda_wins() -> None:
    actions, ids = random_actions(60, 60)
    draw = np.random.default_rng(5)
    histories, targets = ([draw.choice(60, 6, replace=False) for _ in range(60)] for _ in range(2))
    validation = Validation(histories, targets)
    config = EASEConfig(regularisations=(1.0, 1e4), floors=(1.0,))
    best = EASE.fit(actions, ids, 90 * DAY_MS, config, validation)
    each = {
        value: EASE.fit(actions, ids, 90 * DAY_MS, config.model_copy(update={"regularisation": value, "floor": 1.0}))
        for value in config.regularisations
    }
    recalls = {value: recall_at(model, validation, 20) for value, model in each.items()}
    assert len(set(recalls.values())) == 2
    assert recalls[best.regularisation] == max(recalls.values())


def test_recall_by_hand() -> None:
    model = Popularity(list("abcd"), np.array([4, 3, 2, 1]))
    # without its history, the first user's two best are b, c; of the targets b, d one is there. The second: a, b against a
    validation = Validation([np.array([0]), np.array([], np.int64)], [np.array([1, 3]), np.array([0])])
    assert recall_at(model, validation, 2) == pytest.approx((0.5 + 1.0) / 2)


def test_all_survive_writing_down(tmp_path: Path) -> None:
    actions, ids = random_actions()
    popularity, knn, ease = (MODELS[name](actions, ids) for name in MODELS)
    history = [np.array([1, 2, 3])]
    written = write_artifact(tmp_path, "popularity", "1", tensors=popularity.tensors(), tables=popularity.tables())
    assert np.array_equal(Popularity.from_artifact(written).score_all(history), popularity.score_all(history))
    for kind, model in ((ItemKNN, knn), (EASE, ease)):
        written = write_artifact(tmp_path, kind.__name__, "1", tensors=model.tensors(), tables=model.tables(), config=model.config)
        again = kind.from_artifact(written)
        assert np.array_equal(again.score_all(history), model.score_all(history))
        assert again.settings == model.settings
