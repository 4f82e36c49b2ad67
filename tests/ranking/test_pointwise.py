"""The pointwise ranker: what it learns, what it must not learn from, and that serving computes what training meant."""

from __future__ import annotations

import time

import numpy as np
import polars as pl
import pytest
import torch

from corkboard.artifacts import load_artifact, write_artifact
from corkboard.errors import ArtifactError, InputError
from corkboard.metrics.prediction import auc
from corkboard.ranking.calibration import sigmoid
from corkboard.ranking.config import PointwiseConfig
from corkboard.ranking.features import FEATURE_NAMES
from corkboard.ranking.pointwise import CLIP, PointwiseRanker
from corkboard.ranking.ranker import Contributes, Ranker
from corkboard.ranking.report import standardisation
from corkboard.ranking.table import TrainingRows
from corkboard.ranking.training import Trained, train_pointwise
from corkboard.seeds import generator

HEADS = ("click", "save", "hide", "report")
SMALL = PointwiseConfig(hidden=(32,), epochs=10, batch_size=128, learning_rate=5e-3, dropout=0.1)


def synthetic(n: int = 16_000, users: int = 200, seed: int = 0) -> TrainingRows:
    """Clicks follow feature 0, saves the size of feature 1, hides feature 2; nobody reports but twice."""
    draw = generator(seed, "synthetic")
    features = draw.normal(size=(n, len(FEATURE_NAMES))).astype(np.float32)
    features[:, 5] = 3.0  # constant columns must not blow up
    chances = [features[:, 0] - 2, 2 * np.abs(features[:, 1]) - 3, 1.5 * features[:, 2] - 3, np.full(n, -30.0)]
    logits = np.stack(chances, axis=1)
    labels = (draw.random((n, 4)) < sigmoid(logits)).astype(np.float32)
    labels[:2, 3] = 1.0
    user = draw.integers(0, users, n)
    return TrainingRows(
        features=features,
        labels=labels,
        weights=np.ones(n, np.float32),
        page=np.arange(n) // 10,
        user=user.astype(np.int32),
        time_ms=np.arange(n, dtype=np.int64) * 1000,
        position=np.zeros(n, np.int32),
        randomised=np.zeros(n, bool),
        item_ids=np.array([f"i{k % 50}" for k in range(n)], object),
        user_ids=[f"u{k}" for k in range(users)],
        pages=pl.DataFrame({"request_id": ["r"]}),
        heads=HEADS,
    )


def held_out(rows: TrainingRows) -> np.ndarray:
    return np.arange(len(rows.user_ids)) % 10 == 0


@pytest.fixture(scope="module")
def trained() -> Trained:
    rows = synthetic()
    return train_pointwise(rows, held_out(rows), SMALL, seed=3)


def test_it_learns_what_is_there_and_names_the_features(trained):
    fresh = synthetic(20_000, seed=99)
    p = trained.ranker.probabilities(fresh.features)
    for head, least in (("click", 0.7), ("save", 0.75), ("hide", 0.8)):  # saves are not linear: the hidden layer is needed
        column = HEADS.index(head)
        assert auc(p[:, column], fresh.labels[:, column]) > least, head
        assert p[:, column].mean() == pytest.approx(fresh.labels[:, column].mean(), rel=0.15)
    top = sorted(trained.report.importance, key=trained.report.importance.get, reverse=True)[:3]
    assert set(top) == set(FEATURE_NAMES[:3])


def test_the_report_is_of_rows_that_nothing_was_chosen_by(trained):
    rows = synthetic()
    part = rows.time_ms > rows.time_ms.max() * 0.85
    p, y = trained.ranker.probabilities(rows.features[part])[:, 0], rows.labels[part, 0]
    report = trained.report.heads["click"]
    assert report.log_loss == pytest.approx(float(np.mean(-np.where(y > 0, np.log(p), np.log1p(-p)))), rel=1e-4)
    assert report.after.positives == y.sum()
    assert report.normalised_entropy == pytest.approx(report.log_loss / report.base_log_loss)


def test_the_parts_do_not_overlap_and_the_report_is_of_what_came_later(trained):
    rows = synthetic()
    others, late = held_out(rows)[rows.user], rows.time_ms > rows.time_ms.max() * 0.85
    expected = {"fit": (~others & ~late).sum(), "tune": (others & ~late).sum(), "report": late.sum()}
    assert trained.report.rows == expected


def test_what_is_held_out_is_not_learned():
    """Labels of held-out users are turned around; the fitted weights must not notice, before calibration."""
    rows = synthetic(4000)
    others = held_out(rows)[rows.user] | (rows.time_ms > rows.time_ms.max() * 0.85)
    turned = rows.labels.copy()
    turned[others] = 1 - turned[others]
    fitted = []
    for labels in (rows.labels, turned):
        changed = TrainingRows(**{**vars(rows), "labels": labels})
        fitted.append(train_pointwise(changed, held_out(rows), SMALL.model_copy(update={"epochs": 1}), seed=3).ranker.tensors()["weight_0"])
    np.testing.assert_array_equal(*fitted)


def test_a_head_without_positives_answers_its_rate(trained):
    p = trained.ranker.probabilities(synthetic(500, seed=9).features)[:, HEADS.index("report")]
    assert np.ptp(p) < 1e-7
    assert 0 < p[0] < 0.01


def test_unknown_labels_teach_nothing():
    rows = synthetic(4000)
    hidden = rows.labels.copy()
    hidden[rows.features[:, 2] > 0, 2] = np.nan  # hides of these rows are not known
    wrong = np.where(np.isnan(hidden), 0.0, hidden)
    ranker = train_pointwise(TrainingRows(**{**vars(rows), "labels": hidden}), held_out(rows), SMALL, seed=3).ranker
    fooled = train_pointwise(TrainingRows(**{**vars(rows), "labels": wrong.astype(np.float32)}), held_out(rows), SMALL, seed=3).ranker
    high = synthetic(2000, seed=5).features
    high = high[high[:, 2] > 0.5]
    assert ranker.probabilities(high)[:, 2].mean() > 2 * fooled.probabilities(high)[:, 2].mean()


def test_a_head_without_one_known_label_is_left_out():
    """The span is shorter than late actions take to ripen: nothing is known of them but in a late row, which is not fitted."""
    rows = synthetic(1500)
    labels = rows.labels.copy()
    labels[:-1, 1] = np.nan
    made = train_pointwise(TrainingRows(**{**vars(rows), "labels": labels}), held_out(rows), SMALL.model_copy(update={"epochs": 1}), seed=3)
    assert made.ranker.heads == ("click", "hide", "report")
    assert made.ranker.probabilities(rows.features).shape == (1500, 3)
    assert list(made.report.heads) == ["click", "hide", "report"]
    assert "for want of a single known label: save." in made.report.card()


def test_how_far_training_goes_does_not_hang_on_the_clock(monkeypatch):
    rows, config = synthetic(1500), SMALL.model_copy(update={"epochs": 3})
    quick = train_pointwise(rows, held_out(rows), config, seed=7)
    hours = iter(range(0, 10**9, 3600))
    monkeypatch.setattr("corkboard.ranking.training.time.perf_counter", lambda: float(next(hours)))
    slow = train_pointwise(rows, held_out(rows), config, seed=7)
    assert slow.report.epochs == quick.report.epochs > 1
    for name, value in quick.ranker.tensors().items():
        np.testing.assert_array_equal(value, slow.ranker.tensors()[name])


def test_serving_computes_what_training_meant(trained):
    """NumPy against the same network in PyTorch."""
    tensors = {name: torch.from_numpy(value) for name, value in trained.ranker.tensors().items()}
    x = torch.from_numpy(synthetic(64, seed=4).features)
    z = ((x - tensors["mean"]) / tensors["scale"]).clamp(-CLIP, CLIP)
    hidden = torch.relu(z @ tensors["weight_0"] + tensors["bias_0"])
    logits = hidden @ tensors["weight_out"] + z @ tensors["weight_skip"] + tensors["bias_out"]
    expected = torch.sigmoid(logits * tensors["slope"] + tensors["offset"])
    np.testing.assert_allclose(trained.ranker.probabilities(x.numpy()), expected.numpy(), rtol=1e-4, atol=1e-6)


def test_the_same_seed_gives_the_same_ranker_and_rows_without_actions_are_refused():
    rows = synthetic(1500)
    first, second = (
        train_pointwise(rows, held_out(rows), SMALL.model_copy(update={"epochs": 2}), seed=7).ranker.tensors() for _ in range(2)
    )
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
    with pytest.raises(InputError, match="action"):
        train_pointwise(TrainingRows(**{**vars(rows), "labels": np.zeros_like(rows.labels)}), held_out(rows), SMALL, seed=7)


def test_a_few_rows_of_one_user_are_enough_to_go_on():
    rows = synthetic(40, users=1)
    labels = rows.labels.copy()
    labels[:, 0] = np.arange(40) % 2
    made = train_pointwise(TrainingRows(**{**vars(rows), "labels": labels}), np.array([True]), SMALL, seed=1)
    assert np.isfinite(made.ranker.probabilities(rows.features)).all()
    assert "Pointwise ranker" in made.report.card()
    assert "Without a head" not in made.report.card()
    assert made.report.metrics()["rows_fit"] == 40


def test_through_an_artefact_and_back(trained, tmp_path):
    ranker = trained.ranker
    write_artifact(
        tmp_path,
        "ranker",
        "a1",
        tensors=ranker.tensors(),
        config=ranker.config(),
        metrics=trained.report.metrics(),
        card=trained.report.card(),
    )
    loaded = PointwiseRanker.from_artifact(load_artifact(tmp_path / "ranker" / "default" / "a1"))
    x = synthetic(50, seed=6).features
    np.testing.assert_array_equal(loaded.probabilities(x), ranker.probabilities(x))
    assert isinstance(loaded, Ranker)
    assert isinstance(loaded, Contributes)
    assert loaded.heads == HEADS


def test_a_ranker_of_fewer_features_picks_its_columns_and_unknown_ones_are_refused(trained):
    tensors = trained.ranker.tensors()
    kept = [0, 7, 3]
    fewer = tensors | {name: tensors[name][kept] for name in ("mean", "scale", "weight_0", "weight_skip")}
    ranker = PointwiseRanker(HEADS, fewer, [FEATURE_NAMES[k] for k in kept])
    x = synthetic(20, seed=8).features
    z = np.clip((x[:, kept] - fewer["mean"]) / fewer["scale"], -CLIP, CLIP)
    logits = np.maximum(z @ fewer["weight_0"] + fewer["bias_0"], 0) @ fewer["weight_out"] + z @ fewer["weight_skip"] + fewer["bias_out"]
    np.testing.assert_allclose(ranker.logits(x), logits, rtol=1e-5)
    assert set(ranker.contributions(x[0], np.ones(4))) == {FEATURE_NAMES[k] for k in kept}
    with pytest.raises(ArtifactError, match="does not compute"):
        PointwiseRanker(HEADS, fewer, ["age", "nonsense", "activity"])
    with pytest.raises(ArtifactError, match="do not fit"):
        PointwiseRanker(HEADS[:2], fewer, [FEATURE_NAMES[k] for k in kept])


def test_a_contribution_is_the_utility_lost_at_the_mean(trained):
    x = synthetic(3, seed=11).features[0]
    weights = np.array([1.0, 2.0, -3.0, 0.0], np.float32)
    effects = trained.ranker.contributions(x, weights)
    changed = x.copy()
    changed[2] = trained.ranker.tensors()["mean"][2]
    lost = trained.ranker.probabilities(np.stack([x, changed])) @ weights
    assert effects[FEATURE_NAMES[2]] == pytest.approx(lost[0] - lost[1], abs=1e-5)
    assert effects[FEATURE_NAMES[5]] == pytest.approx(0.0, abs=1e-6)  # the constant column


def test_a_feature_that_never_changed_in_training_says_nothing_for_ever(trained):
    """Nothing was learned of it, so its weights are those that training began with: a page where it is no constant must not feel them."""
    x = synthetic(3, seed=11).features
    changed = x.copy()
    changed[:, 5] += 100.0
    np.testing.assert_array_equal(trained.ranker.probabilities(changed), trained.ranker.probabilities(x))
    mean, scale = standardisation(np.array([[1.0, 7.0], [3.0, 7.0]], np.float32))
    assert (mean.tolist(), scale.tolist()) == ([2.0, 7.0], [1.0, np.inf])


def test_scoring_three_hundred_candidates_is_quick(trained):
    x = synthetic(300, seed=12).features
    seconds = []
    for _ in range(50):
        start = time.perf_counter()
        trained.ranker.probabilities(x)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.002  # .5 ms is the aim on a quiet core
