"""The MovieLens experiment on made sequences: what the towers read, what is tuned, and that a run is kept."""

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from corkboard.cli.app import app
from corkboard.errors import NotFound
from corkboard.experiments import ml_1m
from corkboard.experiments.leave_one_out import LeaveOneOut, leave_one_out_figures, target_ranks
from corkboard.experiments.ml_1m import OrderedTower, baseline, no_content, ordered_histories, run_ml_1m
from corkboard.experiments.real_config import MovieLensConfig
from corkboard.lake.calendar import DAY_MS

DATA = Path(os.environ.get("CORKBOARD_DATA") or "no data here")
ITEMS = 24


def circle(users=60, length=12, seed=0):
    """Items lie on a circle and everybody walks it, from anywhere: the next item is known from the last one, and from nothing else."""
    starts = np.random.default_rng(seed).integers(0, ITEMS, users)
    split = ["train"] * (length - 2) + ["valid", "test"]
    return pl.DataFrame(
        {
            "user_id": np.repeat(np.arange(users), length),
            "item_id": ((starts[:, None] + np.arange(length)) % ITEMS).ravel(),
            "pos": np.tile(np.arange(length), users),
            "split": split * users,
        }
    )


def small(**more):
    config = MovieLensConfig.model_validate({"passes": 8, **more})
    return config.model_copy(
        update={
            "tower": config.tower.model_validate(
                {
                    **config.tower.model_dump(),
                    "dim": 16,
                    "batch": 8,
                    "groups": 1,
                    "token_dropout": 0.0,
                    "items": {**config.tower.items.model_dump(), "id_dim": 16, "hidden": 16},
                    "encoder": {**config.tower.encoder.model_dump(), "width": 16, "window": 8, "dropout": 0.0},
                    "training": {**config.tower.training.model_dump(), "warmup_steps": 5, "learning_rate": 0.02},
                }
            )
        }
    )


def test_order_becomes_days():
    read = ordered_histories([np.array([4, 2, 4]), np.array([], np.int64), np.array([1])], list("abcde"), ["u", "v", "w"])
    assert read.offsets.tolist() == [0, 3, 3, 4]
    assert read.items.tolist() == [4, 2, 4, 1]
    assert (read.time_ms / DAY_MS).tolist() == [0, 1, 2, 0]
    assert read.labels.all()
    assert (read.actions > 0).all()
    assert np.isnan(read.duration_ms).all()


def test_there_is_no_content():
    table = no_content(["a", "b"])
    assert not table.vectors.any()
    assert table.space == no_content(["c"]).space


@pytest.fixture(scope="module")
def walked():
    """A split of the circle and a tower that was trained on it."""
    data = LeaveOneOut.of(circle())
    return data, OrderedTower.trained(data, ml_1m.tower_config(small(), "sasrec", len(data.user_ids)), seed=0)


def test_a_tower_learns_what_follows_what(walked):
    data, tower = walked
    popular = leave_one_out_figures(target_ranks(data, baseline("popularity", data)), k=1)["recall@1"].value
    assert leave_one_out_figures(target_ranks(data, tower), k=1)["recall@1"].value > 0.8
    assert popular < 0.3


def test_a_tower_reads_newest_first_and_scores_alone(walked):
    """The same history gives the same scores in any company, and the last item decides: on a circle all before it is known from it."""
    _, tower = walked
    long, short = np.array([5, 4, 3, 2, 1, 0]), np.array([9, 8])
    together = tower.score_all([long, short])
    assert together.shape == (2, ITEMS)
    np.testing.assert_allclose(together[1], tower.score_all([short])[0], atol=1e-5)
    assert together[0].argmax() == 6
    assert together[1].argmax() == 10


def test_someone_without_a_history_scores_zero(walked):
    _, tower = walked
    assert not tower.score_all([np.array([], np.int64), np.array([3])])[0].any()


def test_baselines_are_tuned_towards_the_last_items_where_these_decide():
    """On the circle what follows is near the newest item: the shortest half-life finds it, and popularity cannot."""
    data = LeaveOneOut.of(circle())
    assert baseline("EASE", data).settings.history_half_life == min(ml_1m.HALF_LIVES)
    found = {name: leave_one_out_figures(target_ranks(data, baseline(name, data)), k=3)["recall@3"].value for name in ml_1m.BASELINES}
    assert found["item-kNN"] > 2 * found["popularity"]


def test_an_experiment_is_run_once_and_told_from_what_is_kept(tmp_path):
    circle().write_parquet(tmp_path / "ml-1m.parquet")
    config, heard = small(passes=2), []
    first = run_ml_1m(tmp_path, tmp_path / "runs", heard.append, minutes=5, workers=0, config=config)
    table = first.table("leave-one-out")
    assert [row.name for row in table.rows] == [*ml_1m.BASELINES, *ml_1m.TOWERS, "published SASRec", "published eSASRec"]
    assert table.cell("EASE", "recall@10").value > table.cell("popularity", "recall@10").value
    assert table.cell("published SASRec", "NDCG@10").value == 0.1622
    assert any("SASRec-style" in line for line in heard)
    heard.clear()
    again = run_ml_1m(tmp_path, tmp_path / "runs", heard.append, minutes=0, workers=0, config=config)
    assert again.table("leave-one-out").rows == table.rows
    assert heard == []
    again.print()


def test_what_no_time_was_left_for_is_not_measured(tmp_path):
    circle().write_parquet(tmp_path / "ml-1m.parquet")
    found = run_ml_1m(tmp_path, tmp_path / "runs", lambda line: None, minutes=0, workers=0, config=small())
    table = found.table("leave-one-out")
    assert {table.cell(row, "recall@10").verdict for row in [*ml_1m.BASELINES, *ml_1m.TOWERS]} == {"not measured"}
    assert "no time was left" in table.warnings[0]
    found.print()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NotFound, match=r"ml-1m\.parquet"):
        run_ml_1m(tmp_path, tmp_path / "runs", lambda line: None, config=small())


def test_the_command_changes_the_setting_it_is_given_and_no_other(tmp_path):
    circle().write_parquet(tmp_path / "ml-1m.parquet")
    sets = [part for one in ("passes=1", "users=20", "tower.batch=10", "tower.encoder.window=8") for part in ("--set", one)]
    place = ["--data", str(tmp_path), "-w", str(tmp_path / "runs"), "--workers", "0"]
    found = CliRunner().invoke(app, ["experiment", "ml-1m", *place, *sets, "--json"])
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["tables"][0]["facts"]["users"] == 20
    kept = [json.loads(file.read_text())["config"] for file in (tmp_path / "runs").glob("*.json") if "config" in file.read_text()]
    towers = [one["tower"] for one in kept if "tower" in one]
    assert len(towers) == 2
    for tower in towers:
        assert (tower["batch"], tower["encoder"]["window"], tower["training"]["steps"]) == (10, 8, 2)
        assert tower["negatives"] == MovieLensConfig().tower.negatives == "catalogue"
        assert tower["encoder"]["positions"] == MovieLensConfig().tower.encoder.positions


@pytest.mark.skipif(not (DATA / "ml-1m").exists(), reason="set CORKBOARD_DATA to the folder that holds ml-1m")
def test_baselines_on_the_real_file():
    """Four hundred users: too few for a figure, enough to see that popularity is far below what knows the history."""
    data = ml_1m.load(DATA / "ml-1m" / "ml-1m.parquet", users=400)
    found = {name: leave_one_out_figures(target_ranks(data, baseline(name, data)))["recall@10"].value for name in ("popularity", "EASE")}
    assert found["popularity"] < 0.08 < 0.12 < found["EASE"]
