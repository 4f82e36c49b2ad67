"""Training of the hybrid ranker: what it learns, what it must not learn from, calibration, robustness to missing inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.metrics.prediction import auc
from corkboard.ranking.calibration import fit_level, sigmoid
from corkboard.ranking.config import HybridConfig, LabelWeights
from corkboard.ranking.hybrid import HybridRanker
from corkboard.ranking.hybrid_inputs import TableInputs
from corkboard.ranking.hybrid_training import keep_shares, train_hybrid
from corkboard.ranking.report import Trained
from corkboard.ranking.table import TrainingRows
from ranking.hybrid_rows import HEADS, SMALL, held_out, item_vectors, pages, without_histories, without_user_vectors

QUICK = SMALL.model_copy(update={"sequence": "none", "hidden": (16,), "epochs": 2})


def trained_on(rows: TrainingRows, config: HybridConfig, seed: int = 3) -> Trained[HybridRanker]:
    return train_hybrid(rows, item_vectors(), held_out(rows), config, seed)


def changed(rows: TrainingRows, labels: np.ndarray) -> TrainingRows:
    return replace(rows, labels=labels.astype(np.float32))


@pytest.fixture(scope="module")
def trained() -> Trained[HybridRanker]:
    """Learned under weights that bend every probability: a click counts as sixteen showings."""
    weights = LabelWeights(own=15.0, disliked=3.0, balance=0.5)
    return trained_on(pages(), SMALL.model_copy(update={"label_weights": weights}))


def test_it_learns_last_actions_user_vector_and_features(trained):
    fresh = pages(400, seed=99)
    p = trained.ranker.score_rows(fresh, item_vectors())
    clicked, hid = fresh.labels[:, 0] > 0, fresh.labels[:, 2] > 0
    assert auc(p[:, 0], clicked) > 0.68
    assert auc(p[:, 2], hid) > 0.75
    forgotten = trained.ranker.score_rows(without_histories(fresh), item_vectors())
    assert auc(forgotten[:, 0], clicked) < auc(p[:, 0], clicked) - 0.005
    assert auc(forgotten[:, 2], hid) < 0.6  # what was disliked is in the history and nowhere else
    importance = trained.report.importance
    assert {"recent actions", "user vector", "item embedding", "counters", "position"} <= set(importance)
    assert {"recent actions", "item embedding"} == set(
        sorted(importance, key=importance.__getitem__)[-2:]
    )  # the one is read against the other


def test_calibration_takes_the_weights_out_of_the_probabilities(trained):
    """On rows that nothing was chosen by: before, a click looks several times as likely as it is."""
    for name in ("click", "hide"):
        head = trained.report.heads[name]
        assert head.before.mean_predicted > 2.5 * head.after.observed_rate, name
        assert head.after.mean_predicted == pytest.approx(head.after.observed_rate, rel=0.3), name
        assert head.after.error < head.before.error / 4, name
    fresh = pages(800, seed=7)
    inputs = TableInputs(fresh, item_vectors(), trained.ranker.scales, trained.ranker.settings)
    p = trained.ranker.calibrated(trained.ranker.table_logits(inputs, np.arange(len(fresh))))
    assert p[:, :3].mean(axis=0) == pytest.approx(fresh.labels[:, :3].mean(axis=0), rel=0.25)


def test_a_head_with_too_few_positives_answers_its_rate(trained):
    p = trained.ranker.score_rows(pages(50, seed=5), item_vectors())[:, HEADS.index("report")]
    assert np.ptp(p) < 1e-7
    rows = trained.report.rows["fit"]
    assert p[0] == pytest.approx(2.5 / (rows + 1), rel=1e-3)


def test_the_report_says_what_was_done(trained):
    metrics, card = trained.report.metrics(), trained.report.card()
    assert card.startswith("# Hybrid ranker")
    assert "| click |" in card
    assert metrics["rows_fit"] == trained.report.rows["fit"]
    assert metrics["parameters"] == sum(value.size for name, value in trained.ranker.tensors().items() if name.startswith("network/"))
    assert metrics["steps"] >= metrics["best_step"] > 0
    assert metrics["train_seconds"] > 0


def test_shown_further_down_is_seen_less_and_scored_as_if_on_top():
    rows = pages(500, user_effect=0.0)
    ranker = trained_on(rows, QUICK.model_copy(update={"epochs": 5})).ranker
    inputs = TableInputs(rows, item_vectors(), ranker.scales, ranker.settings)
    logged = ranker.calibrated(ranker.table_logits(inputs, np.arange(len(rows))))[:, 0]
    on_top = ranker.score_rows(rows, item_vectors())[:, 0]
    assert on_top[rows.position == 7].mean() > 1.3 * logged[rows.position == 7].mean()
    assert on_top[rows.position == 0].mean() == pytest.approx(logged[rows.position == 0].mean(), rel=0.02)
    assert on_top[rows.position == 7].mean() == pytest.approx(on_top[rows.position == 0].mean(), rel=0.1)


def test_a_ranker_that_lost_the_vector_in_training_loses_less_without_it():
    """One feature says roughly what the user vector says exactly. Who always had the vector never learned to read the feature."""

    def with_hint(count: int, seed: int) -> TrainingRows:
        rows, table = pages(count, seed=seed, user_effect=5.0, known_share=1.0), item_vectors()
        match = np.einsum("nd,nd->n", rows.user_vectors[rows.page], table.lookup(rows.item_ids.tolist())[0])
        rows.features[:, 5] = match + 0.1 * np.random.default_rng(seed).normal(size=len(rows))
        return rows

    rows, fresh = with_hint(400, 0), without_user_vectors(with_hint(400, 31))
    losses = {}
    for share in (0.0, 0.1):
        ranker = trained_on(rows, QUICK.model_copy(update={"user_vector_dropout": share, "epochs": 8})).ranker
        p = ranker.score_rows(fresh, item_vectors())[:, 0]
        losses[share] = float(np.mean(-np.where(fresh.labels[:, 0] > 0, np.log(p), np.log1p(-p))))
    assert losses[0.1] < losses[0.0] - 0.01


def test_what_is_held_out_is_not_learned():
    rows = pages(150)
    others = held_out(rows)[rows.user] | (rows.time_ms > rows.time_ms.max() * 0.85)
    turned = rows.labels.copy()
    turned[others] = 1 - turned[others]
    config = QUICK.model_copy(update={"epochs": 1, "looks": 1})  # to stop early is to look at what is held out
    first, second = (trained_on(changed(rows, labels), config).ranker.tensors() for labels in (rows.labels, turned))
    weights = [name for name in first if name.startswith("network/") and "heads" not in name]
    for name in weights:
        np.testing.assert_array_equal(first[name], second[name])


def test_unknown_labels_teach_nothing():
    rows = pages(400)
    column = rows.features[:, 2] > 0
    labels = rows.labels.copy()
    labels[:, 0] = np.random.default_rng(0).random(len(rows)) < 0.2
    hidden = np.where(column[:, None] & (np.arange(4) == 0), np.nan, labels)
    ranker, fooled = (trained_on(changed(rows, known), QUICK).ranker for known in (hidden, np.nan_to_num(hidden)))
    high = pages(100, seed=5)
    high.features[:, 2] = 1.5
    p, low = ranker.score_rows(high, item_vectors())[:, 0].mean(), fooled.score_rows(high, item_vectors())[:, 0].mean()
    assert p == pytest.approx(0.2, abs=0.08)
    assert p > 2 * low


def test_a_head_without_one_known_label_is_left_out():
    rows = pages(80)
    labels = rows.labels.copy()
    labels[rows.time_ms < rows.time_ms.max(), HEADS.index("save")] = np.nan
    made = trained_on(changed(rows, labels), QUICK.model_copy(update={"epochs": 1}))
    assert made.ranker.heads == ("click", "hide", "report")
    assert made.ranker.score_rows(rows, item_vectors()).shape == (len(rows), 3)
    assert "for want of a single known label: save." in made.report.card()


def test_a_pass_that_keeps_fewer_pages_than_steps_were_planned_has_no_empty_step():
    """One page in forty has an action, none is in random order, and a step takes one page: a pass keeps a third of the pages."""
    rows = pages(240)
    labels = np.zeros_like(rows.labels)
    labels[(rows.page % 40 == 1) & (rows.position == 0), 0] = 1.0
    rows = replace(changed(rows, labels), randomised=np.zeros(len(rows), bool))
    config = QUICK.model_copy(update={"batch": 1, "negatives_per_positive": 0.1, "epochs": 3})
    made = trained_on(rows, config)
    metrics = made.report.metrics()
    assert np.isfinite(made.ranker.score_rows(rows, item_vectors())).all()
    assert metrics["epochs"] <= config.epochs
    assert metrics["steps"] / metrics["epochs"] < 100


def test_the_same_seed_gives_the_same_ranker_and_another_seed_another():
    rows = pages(80)
    config = SMALL.model_copy(update={"epochs": 1})
    first, second, other = (trained_on(rows, config, seed).ranker.tensors() for seed in (7, 7, 8))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
    assert not np.array_equal(first["network/heads.weight"], other["network/heads.weight"])


def test_a_pass_keeps_what_teaches_and_stands_for_all_rows():
    rows = pages(200)
    fit = np.arange(len(rows))
    acted = rows.labels.sum(axis=1) > 0
    always = acted | rows.randomised
    kept = keep_shares(rows, fit, 3.0)
    assert (kept[always] == 1).all()
    others = kept[~always]
    assert np.ptp(others) == 0
    assert others[0] == pytest.approx((3 * acted.sum() - (rows.randomised & ~acted).sum()) / (~always).sum())
    assert keep_shares(rows, fit, 1000.0).tolist() == [1.0] * len(rows)
    assert (keep_shares(rows, fit, 0.01)[~always] == 0.05).all()  # never none at all: nothing else is plain
    drawn = np.random.default_rng(0).random((300, len(rows))) < kept
    assert (drawn / kept).sum(axis=1).mean() == pytest.approx(len(rows), rel=0.01)


def test_few_rows_of_one_user_are_enough_and_rows_without_actions_are_refused():
    rows = pages(6, users=1)
    few = train_hybrid(rows, item_vectors(), np.array([True]), QUICK, 1)
    assert np.isfinite(few.ranker.score_rows(rows, item_vectors())).all()
    with pytest.raises(InputError, match="action"):
        trained_on(changed(rows, np.zeros_like(rows.labels)), QUICK)
    with pytest.raises(InputError, match="histories"):
        trained_on(replace(rows, histories=None), SMALL)


def test_the_level_alone_puts_the_mean_right():
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=4000) + 2.0, (draw.random(4000) < 0.03).astype(np.float32)
    offset = fit_level(logits, labels)
    assert sigmoid(logits + offset).mean() == pytest.approx((labels.sum() + 0.5) / 4001, rel=1e-4)
    assert fit_level(logits[:0], labels[:0]) == 0.0
