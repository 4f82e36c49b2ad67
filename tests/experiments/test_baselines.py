"""The table of baselines on lakes of any origin: made ones by hand, and the real files where they are there."""

import os
from pathlib import Path

import numpy as np
import pytest

from corkboard.experiments.baselines import RefreshedPopularity, VectorScorer, baseline_scorers, baseline_table
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.evaluate import POPULARITY, evaluate_retrieval
from corkboard.experiments.result import Evaluation
from corkboard.experiments.task import retrieval_task
from corkboard.lake.calendar import Calendar
from corkboard.lake.config import CalendarConfig
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake

from .fakes import FakeLake, action, at, calendar, frame, item

ROWS = [POPULARITY, "popularity decayed", "item-kNN", "EASE"]


def clubs(users=260, clubs=13, items=4, seed=0):
    """Everybody belongs to a club and takes its items in random order: what club mates took is what comes next."""
    rng = np.random.default_rng(seed)
    actions = []
    for user in range(users):
        for item_number, day in zip(rng.permutation(items), np.sort(rng.uniform(0, 28, items)), strict=True):
            actions.append(action(f"u{user:03}", f"i{user % clubs:02}{item_number}", float(day)))
    return [item(f"i{club:02}{n}", 0) for club in range(clubs) for n in range(items)], actions


def test_co_engagement_beats_popularity_where_people_form_clubs():
    table = baseline_table(FakeLake.of(*clubs()), calendar(), EvaluationConfig(k=4, replicates=200))
    assert [row.name for row in table.rows] == ROWS
    assert table.cell("item-kNN", "recall@4").value > 0.9
    assert table.cell("EASE", "recall@4").value > 0.9
    assert table.cell("EASE", "recall@4").difference_low > 0.2


def test_content_is_a_row_where_vectors_are_given():
    items, actions = clubs()

    def by_club(sealed, task):
        assert sealed.cut_ms == task.before_ms
        return np.eye(13, dtype=np.float32)[[int(name[1:3]) for name in task.item_ids]]

    table = baseline_table(FakeLake.of(items, actions), calendar(), EvaluationConfig(k=4, replicates=100), vectors=by_club)
    assert table.cell("content", "recall@4").value > 0.9


def test_nothing_is_fitted_on_the_test():
    """Rows fitted on a lake without the test's events score the same."""
    items, actions = clubs()
    span = calendar()
    task = retrieval_task(FakeLake.of(items, actions), span)
    blind = FakeLake.of(items, [one for one in actions if one["time_ms"] < span.rank_cut_ms])
    config = EvaluationConfig(replicates=100)
    whole, sealed = (baseline_scorers(lake, span, task, config) for lake in (FakeLake.of(items, actions), blind))
    for name in ROWS:
        assert evaluate_retrieval(task, {POPULARITY: whole[name]}, config).rows[0].cells == (
            evaluate_retrieval(task, {POPULARITY: sealed[name]}, config).rows[0].cells
        )


def test_popularity_refreshes_to_the_day():
    lake = FakeLake.of([item("a"), item("b")], [action("u", "a", 1), action("v", "b", 9)])
    scorer = RefreshedPopularity(lake, ["a", "b"], at(5))
    assert (scorer.score_all([np.array([0])]) > 0).tolist() == [[True, False]]
    assert (scorer.as_of(at(10)).score_all([np.array([0])]) > 0).tolist() == [[False, True]]


def test_a_vector_scorer_by_hand():
    scorer = VectorScorer(np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32), last=2)
    scores = scorer.score_all([np.array([0, 1]), np.array([0, 1, 2, 2]), np.array([], np.int64)])
    assert scores == pytest.approx(np.array([[0.5, 0.5, 0.7], [0.5, 0.5, 0.7], [0, 0, 0]]))


def test_an_evaluation_of_a_real_lake_names_what_it_was_measured_on(tmp_path):
    items, actions = clubs()
    ingest_frames(tmp_path, {"items": frame("items", items), "actions": frame("actions", actions)}, source="clubs")
    lake = Lake(tmp_path)
    span = Calendar.of(lake, CalendarConfig(test_days=6, rank_days=7))
    config = EvaluationConfig(replicates=100, seed=5)
    found = Evaluation.of(lake, span, [baseline_table(lake, span, config)], config)
    assert found.split_hash == span.split_hash(lake)
    assert (found.snapshot, found.seed, found.calendar["rank_cut_ms"]) == (lake.snapshot, 5, span.rank_cut_ms)
    assert found.table("retrieval").cell("EASE", "recall@10").users == found.table("retrieval").facts["users"]
    other = Calendar.of(lake, CalendarConfig(test_days=5, rank_days=7))
    assert Evaluation.of(lake, other, []).split_hash != found.split_hash


DATA = Path(os.environ.get("CORKBOARD_DATA") or "no data here")


@pytest.mark.skipif(not (DATA / "ml-latest-small").exists(), reason="set CORKBOARD_DATA to the folder that holds ml-latest-small")
def test_movielens_says_that_hardly_anybody_returns(tmp_path):
    from corkboard.lake.importers import ingest_outside

    ingest_outside(tmp_path, DATA / "ml-latest-small")
    lake = Lake(tmp_path)
    task = retrieval_task(lake, Calendar.of(lake, CalendarConfig(test_days=60)), EvaluationConfig(min_actions=5))
    assert task.warnings[0].startswith("Only 15 of 610 users have actions both before and after the cut")
