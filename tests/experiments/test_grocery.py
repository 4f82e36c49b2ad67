"""The grocery experiment on made purchases: the cut is kept, a tower learns from them, and a run is kept."""

import os
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import corkboard
from corkboard.errors import NotFound
from corkboard.experiments import grocery
from corkboard.experiments.evaluate import POPULARITY, evaluate_retrieval, retrieval_figures, retrieval_measures
from corkboard.experiments.grocery import Purchases, prepared_lake, run_grocery
from corkboard.experiments.real_config import GroceryConfig
from corkboard.experiments.real_data import TOWER_CODE
from corkboard.experiments.tabulate import number

from .fakes import Fixed

DATA = Path(os.environ.get("CORKBOARD_DATA") or "no data here")
DAYS, ITEMS = 40, 20


def written(place, users=80):
    """A data set in a folder: people buy a dozen of twenty things, in the order of a circle, on drawn days."""
    rng, rows = np.random.default_rng(0), ["user_id\titem_id\ttime"]
    for user in range(users):
        start = rng.integers(ITEMS)
        days = np.sort(rng.choice(DAYS, 12, replace=False))
        rows += [f"{user}\t{(start + step) % ITEMS}\t{1_300_000_000 // 86400 * 86400 + day * 86400}" for step, day in enumerate(days)]
    place.mkdir(exist_ok=True)
    (place / "train.csv").write_text("\n".join(rows))
    (place / "item_meta.csv").write_text("item_id\ti_category\tr_complement\tr_substitute\n1\t0\t[2]\t[]\n")
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eighty people's purchases."""
    return written(tmp_path_factory.mktemp("data") / "groceries")


def small(**more):
    base = GroceryConfig.model_validate({"passes": 6, "calendar": {"test_days": 10, "rank_days": 5}, "evaluation": {"min_actions": 2}})
    dump = base.model_dump()
    dump["tower"] |= {"dim": 16, "batch": 16, "groups": 1, "token_dropout": 0.0}
    dump["tower"]["items"] |= {"id_dim": 16, "hidden": 16}
    dump["tower"]["encoder"] |= {"width": 16, "dropout": 0.0}
    dump["tower"]["training"] |= {"learning_rate": 0.02, "warmup_steps": 5}
    return GroceryConfig.model_validate({**dump, **more})


@pytest.fixture(scope="module")
def purchases(folder, tmp_path_factory):
    return Purchases(prepared_lake(folder, tmp_path_factory.mktemp("runs")), small())


def test_models_see_nothing_from_b_on(purchases):
    assert purchases.histories.time_ms.max() < purchases.task.before_ms == purchases.calendar.rank_cut_ms
    assert len(purchases.histories.item_ids) == len(purchases.task.item_ids)


def test_a_pass_reads_everybody_who_bought_lately(purchases):
    """Eighty people in steps of sixteen are five a pass; who bought in the last day alone are fewer."""
    assert purchases._settings("sasrec").training.steps == 6 * 5
    dump = small().model_dump()
    dump["tower"]["objective"]["recent_days"] = 1.0
    late = Purchases(purchases.lake, GroceryConfig.model_validate(dump))
    assert late._settings("sasrec").training.steps < 6 * 5
    assert late._settings("next_action").objective.name == "next_action"


def test_a_tower_finds_what_follows_and_a_stranger_scores_zero(purchases):
    scorer = purchases.tower("sasrec", seed=0)
    found = retrieval_figures(purchases.task, {"tower": scorer, "popularity": purchases.baselines[POPULARITY]}, small().evaluation)
    assert found["tower"]["NDCG@10"].value > found["popularity"]["NDCG@10"].value + 0.1
    scores = scorer.score_users([purchases.task.user_ids[0], "nobody"], purchases.task.before_ms)
    assert scores.shape == (2, len(purchases.task.item_ids))
    assert scores[0].any()
    assert not scores[1].any()


def test_figures_by_user_are_those_of_the_table(purchases):
    task, config = purchases.task, small().evaluation
    scorers = {POPULARITY: Fixed(np.arange(len(task.item_ids))), "other": Fixed(-np.arange(len(task.item_ids)))}
    table, figures = evaluate_retrieval(task, scorers, config), retrieval_figures(task, scorers, config)
    for row in scorers:
        for measure in retrieval_measures(config):
            assert number(figures[row][measure.name].value) == table.cell(row, measure.name).value  # nobody may have taken a rare item


def test_an_experiment_is_run_once_and_told_from_what_is_kept(folder, tmp_path):
    config, heard = small(passes=1), []
    first = run_grocery(folder, tmp_path, heard.append, minutes=5, seeds=2, workers=0, config=config)
    table = first.table("retrieval")
    assert [row.name for row in table.rows] == [*grocery.BASELINES, *grocery.TOWERS]
    assert all(row.cells["recall@10"].value is not None for row in table.rows)
    heard.clear()
    again = run_grocery(folder, tmp_path, heard.append, minutes=0, seeds=2, workers=0, config=config)
    assert again.table("retrieval").rows == table.rows
    assert heard == []
    assert again.split_hash == first.split_hash
    more = run_grocery(folder, tmp_path, heard.append, minutes=0, seeds=3, workers=0, config=config).table("retrieval")
    assert more.cell("SASRec-style", "recall@10").verdict == "not measured"
    assert more.cell("EASE", "recall@10").value == table.cell("EASE", "recall@10").value


def test_another_data_set_has_a_lake_of_its_own(tmp_path):
    """In the same place for runs: a second folder, and other files in the first one. What was there before is found again."""
    one, two, runs = written(tmp_path / "one"), written(tmp_path / "two", users=30), tmp_path / "runs"

    def users(folder):
        found = run_grocery(folder, runs, lambda line: None, minutes=0, workers=0, config=small())
        return found.table("retrieval").facts["users"]

    assert users(two) <= 30 < 60 < users(one)
    first = prepared_lake(one, runs).folder
    written(one, users=50)
    assert 30 < users(one) <= 50
    written(one)
    assert prepared_lake(one, runs).folder == first
    assert len(list((runs / "lakes").iterdir())) == 3


def test_another_importer_makes_another_lake(folder, tmp_path, monkeypatch):
    before = prepared_lake(folder, tmp_path).folder
    monkeypatch.setattr(grocery, "code_hash", lambda *rooms: f"other code of {rooms}")
    assert prepared_lake(folder, tmp_path).folder != before


def test_every_source_that_figures_depend_on_is_part_of_the_name_of_a_run(purchases):
    """All of the rooms that were loaded to train a tower and a baseline here."""
    assert purchases.baselines
    purchases.tower("next_action", seed=0)
    package = Path(corkboard.__file__).parent
    loaded = [str(Path(module.__file__).relative_to(package)) for name, module in sys.modules.items() if name.startswith("corkboard.")]
    rooms = [file for file in loaded if file.split("/")[0] in ("embeddings", "learning", "retrieval", "lake", "metrics", "seeds.py")]
    hashed = (*TOWER_CODE, *grocery.TASK_CODE)
    assert "embeddings/spectral.py" in rooms
    assert [file for file in rooms if not any(Path(file).is_relative_to(part) for part in hashed)] == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(NotFound, match="nowhere"):
        run_grocery(tmp_path / "nowhere", tmp_path / "runs", lambda line: None, config=small())


@pytest.mark.skipif(not (DATA / "amazon-grocery-rechorus").exists(), reason="set CORKBOARD_DATA to the folder that holds the data")
def test_the_real_task_is_the_one_of_the_results_page(tmp_path):
    here = Purchases(prepared_lake(DATA / "amazon-grocery-rechorus", tmp_path), GroceryConfig())
    assert (len(here.task.user_ids), len(here.task.item_ids), here.task.positives) == (468, 8664, 1237)
    assert pl.Series(here.task.user_ids).is_in(here.histories.user_keys).all()
