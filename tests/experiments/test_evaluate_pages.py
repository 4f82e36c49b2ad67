"""Ranking tables: by hand, what position bias and chance must give, calibration, and the truth as a ceiling."""

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.evaluate_pages import POPULARITY, evaluate_ranking
from corkboard.experiments.page_scorers import ContentSimilarity, LoggedOrder, PageOracle, PopularityOfDays
from corkboard.experiments.pages import Pages, logged_pages
from corkboard.experiments.scorers import PageScores
from corkboard.metrics.prediction import auc
from corkboard.ranking.config import UtilityWeights

from .fakes import FakeLake, action, at, calendar, frame, item, page

CALENDAR = calendar(days=10, rank_days=2, test_days=4)


class Scored:
    """Scores that were worked out beforehand."""

    def __init__(self, utility, **heads):
        self.found = PageScores(np.asarray(utility, float), heads)

    def score_pages(self, pages):
        return self.found


def random_pages(pages=800, slots=12, users=400, seed=0, random_order=True):
    """Pages whose slots have a known chance of a save and a hide. Returns the pages and both chances, ``(pages * slots,)`` each."""
    rng = np.random.default_rng(seed)
    n = pages * slots
    save, hide = rng.beta(1, 6, n), rng.beta(1, 30, n)
    labels = np.stack([rng.random(n) < save, rng.random(n) < hide], axis=1).astype(np.float32)
    page_users = rng.integers(0, users, pages)
    page_users[:users] = np.arange(users)
    table = pl.DataFrame(
        {
            "page": np.repeat(np.arange(pages), slots),
            "request_id": [f"r{p}" for p in range(pages) for _ in range(slots)],
            "tenant": ["default"] * n,
            "user_key": [f"u{page_users[p]}" for p in range(pages) for _ in range(slots)],
            "time_ms": np.repeat(at(6) + np.arange(pages), slots),
            "item_id": [f"i{x}" for x in rng.integers(0, 100, n)],
            "position": pl.Series(np.tile(np.arange(slots), pages), dtype=pl.Int32),
            "randomised": [random_order] * n,
            "weight": [1.0] * n,
        }
    )
    offsets = np.arange(pages + 1) * slots
    users_ids = [f"u{u}" for u in range(users)]
    return Pages(table, ("save", "hide"), labels, offsets, page_users, users_ids, rng.integers(0, 60, users), random_order), save, hide


def test_a_ranking_table_by_hand():
    shown = [
        page("r1", "ann", 7, ["a", "b", "c", "d"]),
        page("r2", "ann", 8, ["a", "b", "c", "d"]),
        page("r3", "bob", 8, ["a", "b", "c", "d"]),
    ]
    actions = [
        action("ann", "d", 7, "save", request_id="r1"),
        action("ann", "a", 8, "save", request_id="r2"),
        action("ann", "b", 8, "hide", request_id="r2"),
    ]
    pages = logged_pages(FakeLake.of([item(i) for i in "abcd"], actions, shown), CALENDAR)
    rows = {POPULARITY: Scored([0] * 12), "logged": LoggedOrder(), "turned over": Scored(list(range(4)) * 3)}
    table = evaluate_ranking(pages, rows, EvaluationConfig(replicates=100), weights=UtilityWeights(save=1.0, hide=-3.0))
    # logged order shows a, b, c: one of ann's two saves and her hide, over two users who saw a page
    assert table.cell("logged", "HIT@3 save").value == pytest.approx(1 / 2)
    assert table.cell("logged", "HIT@3 hide").value == pytest.approx(1 / 2)
    # turned over shows d, c, b: the other save and the same hide
    assert table.cell("turned over", "HIT@3 save").value == pytest.approx(1 / 2)
    assert table.cell("logged", "worth@3").value == pytest.approx((1.0 - 3.0) / 2)
    # saves score -3 and 0 in logged order; each of the ten others is at 0, -1, -2 or -3
    labels = pages.labels[:, pages.heads.index("save")] > 0
    assert table.cell("logged", "AUC save").value == pytest.approx(auc(-pages.slots["position"].to_numpy(), labels))
    # a hide is predicted by a low utility
    hidden = pages.labels[:, pages.heads.index("hide")] > 0
    assert table.cell("logged", "AUC hide").value == pytest.approx(auc(pages.slots["position"].to_numpy(), hidden))
    assert "Position bias" in table.warnings[0]
    assert table.cell("logged", "HIT@3 save").verdict == "too few to tell"


def test_more_saves_are_better_and_more_hides_are_worse():
    pages, save, hide = random_pages()
    rows = {POPULARITY: Scored(np.zeros(len(save))), "saver": Scored(save), "annoyer": Scored(hide), "careful": Scored(-hide)}
    table = evaluate_ranking(pages, rows)
    assert table.cell("saver", "HIT@3 save").verdict == "better"
    assert table.cell("annoyer", "HIT@3 hide").verdict == "worse"
    assert table.cell("careful", "HIT@3 hide").verdict == "better"


def test_on_random_pages_the_logged_order_is_chance():
    pages, save, _ = random_pages(pages=1500)
    table = evaluate_ranking(pages, {POPULARITY: Scored(np.zeros(len(save))), "logged": LoggedOrder()})
    assert table.cell("logged", "AUC save").low < 0.5 < table.cell("logged", "AUC save").high
    assert table.cell("logged", "HIT@3 save").verdict == "undecided"
    assert "in random order" in table.title
    assert "random" in table.plots[0].name


def test_equal_scores_do_not_inherit_the_logged_order():
    """Whoever wrote the log put saves on top; a scorer without opinion must not profit from that."""
    pages, _, _ = random_pages(pages=600, random_order=False)
    on_top = (pages.slots["position"].to_numpy() < 3).astype(np.float32)
    biased = Pages(**{**vars(pages), "labels": np.stack([on_top, 0 * on_top], axis=1)})
    table = evaluate_ranking(biased, {POPULARITY: Scored(np.zeros(len(on_top))), "logged": LoggedOrder()}, EvaluationConfig(replicates=100))
    per_user = 600 / 400
    assert table.cell("logged", "HIT@3 save").value == pytest.approx(3 * per_user)
    assert table.cell(POPULARITY, "HIT@3 save").value == pytest.approx(3 * 3 / 12 * per_user, rel=0.1)
    assert "logging policy" in table.plots[0].name


def test_heads_are_measured_as_probabilities():
    pages, save, hide = random_pages(pages=1500)
    rows = {
        POPULARITY: Scored(np.zeros(len(save))),
        "true": Scored(save, save=save, hide=hide),
        "too sure": Scored(save, save=np.sqrt(save), hide=hide),
    }
    table = evaluate_ranking(pages, rows)
    assert table.cell("true", "calibration error save").value < 0.01
    assert table.cell("too sure", "calibration error save").value > 0.1
    assert table.cell("true", "log loss save").value < table.cell("too sure", "log loss save").value
    assert "log loss save" not in table.row(POPULARITY).cells
    curves = {plot.name: plot for plot in table.plots}["Calibration of true"].curves
    assert [curve.name for curve in curves] == ["save", "hide"]
    assert np.allclose(curves[0].x, curves[0].y, atol=0.03)


def test_the_truth_is_a_ceiling_of_worth_and_of_the_heads_it_tells():
    pages, save, hide = random_pages(pages=1500)
    weights = UtilityWeights()
    truth = Scored(save * weights.save + hide * weights.hide, save=save, hide=hide)
    noisy = np.clip(save + np.random.default_rng(0).normal(0, 0.1, len(save)), 0.001, 0.999)
    honest = evaluate_ranking(pages, {POPULARITY: Scored(np.zeros(len(save))), "model": Scored(noisy, save=noisy), "oracle": truth})
    assert honest.alarms == []
    seen = pages.labels[:, 0] * 0.5 + noisy * 0.5
    leaky = evaluate_ranking(pages, {POPULARITY: Scored(np.zeros(len(save))), "model": Scored(seen, save=seen), "oracle": truth})
    assert {"worth@3", "AUC save"} == {
        measure for measure in ("worth@3", "AUC save") if any(f"in {measure} by" in alarm for alarm in leaky.alarms)
    }


def test_sampled_negatives_stand_in_the_head_of_the_table():
    actions = [action("u", "a", 1), action("u", "b", 7, "save"), action("v", "c", 7)]
    pages = logged_pages(FakeLake.of([item(i) for i in "abcdefgh"], actions), CALENDAR, EvaluationConfig(negatives=3))
    table = evaluate_ranking(pages, {POPULARITY: Scored(np.zeros(len(pages.slots)))}, EvaluationConfig(negatives=3, replicates=100))
    assert table.title.startswith("SAMPLED NEGATIVES")
    assert any("among 3 drawn ones" in sentence for sentence in table.protocol)
    assert table.plots == []


def test_scores_that_cannot_order_a_page_are_refused():
    pages, save, _ = random_pages(pages=20, users=10)
    with pytest.raises(ValueError, match="finite"):
        evaluate_ranking(pages, {POPULARITY: Scored(np.full(len(save), np.nan))})
    with pytest.raises(ValueError, match="shape"):
        evaluate_ranking(pages, {POPULARITY: Scored(save[:5])})


def page_of(item_ids, user="u", day=7):
    lake = FakeLake.of([item(i) for i in set(item_ids)], [action(user, item_ids[0], day, request_id="r")], [page("r", user, day, item_ids)])
    return logged_pages(lake, CALENDAR)


def test_popularity_counts_whole_days_before_the_page_and_never_the_day_itself():
    counted = [action("x", "a", 0.5), action("x", "b", 6.9), action("y", "b", 6.1), action("x", "c", 7.2), action("x", "b", 6.5, "hide")]
    found = PopularityOfDays(frame("actions", counted)).score_pages(page_of(["a", "b", "c"], day=7.9)).utility
    assert found.tolist() == [1, 2, 0]  # days 0 to 6; c happened on the day of the page, a hide does not count
    assert PopularityOfDays(frame("actions", counted), window_days=6).score_pages(page_of(["a", "b", "c"], day=7.9)).utility.tolist() == [
        0,
        2,
        0,
    ]


def test_content_similarity_knows_the_past_of_the_page_and_nothing_else():
    vectors = EmbeddingTable(["a", "b", "c", "old"], np.array([[2, 0], [0, 1], [1, 1], [0, 5]], np.float32), Space("content", "1"))
    done = [action("u", "a", 1), action("u", "b", 7.5), action("v", "b", 2), action("u", "b", 3, "hide")]
    scores = ContentSimilarity(vectors, frame("actions", done)).score_pages(page_of(["a", "b", "c", "unknown"])).utility
    # u liked a before day 7; b came later, v is somebody else, a hide is no liking
    assert scores == pytest.approx([1, 0, np.sqrt(0.5), 0], abs=1e-6)
    both = ContentSimilarity(vectors, frame("actions", [*done, action("u", "old", 0.5)])).score_pages(page_of(["a", "b", "c"])).utility
    assert both == pytest.approx([np.sqrt(0.5), np.sqrt(0.5), 1], abs=1e-6)
    last_only = (
        ContentSimilarity(vectors, frame("actions", [*done, action("u", "old", 0.5)]), last=1).score_pages(page_of(["a", "b", "c"])).utility
    )
    assert last_only == pytest.approx(scores[:3], abs=1e-6)
    assert ContentSimilarity(vectors, frame("actions", [])).score_pages(page_of(["a", "b"])).utility.tolist() == [0, 0]


def test_the_oracle_of_a_page_is_asked_for_its_own_user_and_time():
    def truth(user_id, item_ids, time_ms, action):
        assert (user_id, time_ms) == ("u", at(7))
        return np.arange(len(item_ids)) * (1.0 if action == "utility" else 0.1)

    found = PageOracle(truth, ("click",)).score_pages(page_of(["a", "b"]))
    assert found.utility.tolist() == [0, 1]
    assert found.heads["click"].tolist() == [0, 0.1]
