from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from corkboard.errors import InputError
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake
from corkboard.shopping.judging import as_judgements, judged, pooled, with_gold

NOW_MS = 1_700_000_000_000
BOX = [0.1, 0.2, 0.5, 0.6]


def answers(*items: str, image: str = "h1", box: list[float] | None = BOX) -> pl.DataFrame:
    rows = {"query_image": [image] * len(items), "query_box": [box] * len(items), "item_id": list(items), "rank": list(range(len(items)))}
    return pl.DataFrame(rows, schema_overrides={"query_box": pl.List(pl.Float32)})


def votes(questions: pl.DataFrame, **grades: list[int]) -> pl.DataFrame:
    """Of each judge a grade a question, in the order of item ids."""
    ordered = questions.sort("query_image", "item_id")["question_id"]
    rows = [(question, judge, grade) for judge, given in grades.items() for question, grade in zip(ordered, given, strict=True)]
    return pl.DataFrame(rows, schema={"question_id": pl.String, "judge_id": pl.String, "grade": pl.Int32}, orient="row")


def test_a_pair_that_several_models_have_is_asked_once_and_only_from_the_top() -> None:
    found = pooled({"b": answers("i1", "i2", "i3"), "a": answers("i2", "i1", "i9")}, depth=2, seed=0)
    assert dict(found.sort("item_id").select("item_id", "source").iter_rows()) == {"i1": "a@1,b@0", "i2": "a@0,b@1"}
    assert found["question_id"].n_unique() == 2


def test_the_order_tells_nothing_of_models_or_ranks() -> None:
    models = {"a": answers(*(f"i{k}" for k in range(50))), "b": answers(*(f"j{k}" for k in range(50)))}
    one, turned = pooled(models, 50, 0), pooled(dict(reversed(models.items())), 50, 0)
    assert one.equals(turned)
    first = one["source"].str.starts_with("a").to_numpy()
    assert 0.3 < first[:50].mean() < 0.7
    assert not pooled(models, 50, 1)["item_id"].equals(one["item_id"])


def test_gold_is_a_share_and_replaces_its_own_pair() -> None:
    questions = pooled({"a": answers(*(f"i{k}" for k in range(40)))}, 40, 0)
    known = answers("i3", *(f"g{k}" for k in range(30))).drop("rank").with_columns(grade=pl.lit(3))
    asked = with_gold(questions, known, 0.2, 0)
    gold = asked.filter(pl.col("source") == "gold/3")
    assert len(gold) == 10
    assert asked["question_id"].is_unique().all()
    assert len(asked) == 40 + 10 - len(gold.filter(pl.col("item_id") == "i3"))
    assert with_gold(questions, known, 0.0, 0).sort("question_id").equals(questions.sort("question_id"))


def test_the_median_of_three_and_the_lower_of_two() -> None:
    questions = pooled({"a": answers("i1", "i2", "i3", "i4")}, 4, 0)
    given = votes(questions, ann=[3, 0, 2, 1], bob=[3, 1, 2, 2], cat=[0, 3, 1, 2])
    found = judged(as_judgements(questions, given, 0))
    assert dict(found.pairs.select("item_id", "grade").iter_rows()) == {"i1": 3, "i2": 1, "i3": 2, "i4": 2}
    two = judged(as_judgements(questions, given.filter(pl.col("judge_id") != "cat"), 0))
    assert dict(two.pairs.select("item_id", "grade").iter_rows()) == {"i1": 3, "i2": 0, "i3": 2, "i4": 1}
    assert found.pairs["votes"].to_list() == [3] * 4


def test_a_judge_who_misses_what_is_known_does_not_count() -> None:
    known = answers(*(f"g{k}" for k in range(6)), image="gold").drop("rank").with_columns(grade=pl.Series([3, 0, 3, 0, 3, 0]))
    questions = with_gold(pooled({"a": answers(*(f"i{k}" for k in range(6)))}, 6, 0), known, 0.5, 0)
    right = [3, 0, 3, 0, 3, 0]
    found = judged(as_judgements(questions, votes(questions, good=[*right, 3, 3, 3, 0, 0, 0], bad=[0, 3, 0, 3, 0, 3, 0, 0, 0, 3, 3, 3]), 0))
    judges = {row["judge_id"]: row for row in found.judges.iter_rows(named=True)}
    assert (judges["good"]["trusted"], judges["bad"]["trusted"]) == (True, False)
    assert (judges["good"]["right"], judges["bad"]["right"], judges["good"]["gold"]) == (1.0, 0.0, 6)
    assert found.pairs.sort("item_id")["grade"].to_list() == [3, 3, 3, 0, 0, 0]
    assert len(found.pairs) == 6  # gold itself is no verdict


def test_somebody_who_saw_hardly_any_gold_counts() -> None:
    questions = pooled({"a": answers("i1")}, 1, 0)
    assert judged(as_judgements(questions, votes(questions, ann=[2]), 0)).pairs["grade"].to_list() == [2]


def test_the_same_vote_again_changes_nothing_and_a_later_one_counts(tmp_path: Path) -> None:
    questions = pooled({"a": answers("i1", "i2")}, 2, 0)
    rows = as_judgements(questions, votes(questions, ann=[2, 3]), NOW_MS)
    for _ in range(2):
        ingest_frames(tmp_path, {"judgements": rows}, "judged")
    kept = Lake(tmp_path).judgements()
    assert len(kept) == 2
    assert judged(kept).pairs.sort("item_id")["grade"].to_list() == [2, 3]
    assert len(Lake(tmp_path).until(NOW_MS).judgements()) == 0


def test_kappa_is_known() -> None:
    questions = pooled({"a": answers(*(f"i{k}" for k in range(200)))}, 200, 0)
    draw = np.random.default_rng(0)
    truth = draw.integers(4, size=200)
    noisy = np.where(draw.random(200) < 0.5, truth, draw.integers(4, size=200))
    same = judged(as_judgements(questions, votes(questions, ann=truth.tolist(), bob=truth.tolist()), 0))
    other = judged(as_judgements(questions, votes(questions, ann=truth.tolist(), bob=noisy.tolist()), 0))
    assert same.kappa == same.kappa_positive == 1
    assert 0.3 < other.kappa < 0.7
    assert 0.3 < other.kappa_positive < 0.7


def test_a_whole_picture_and_a_part_of_it_are_two_questions() -> None:
    found = pooled({"a": answers("i1"), "b": answers("i1", box=None)}, 1, 0)
    assert sorted(found["source"]) == ["a@0", "b@0"]


def test_nothing_judged_is_no_verdict() -> None:
    questions = pooled({"a": answers("i1")}, 1, 0)
    found = judged(as_judgements(questions, votes(questions, ann=[2]), 0)[:0])
    assert len(found.pairs) == len(found.judges) == 0
    assert np.isnan(found.kappa)


def test_a_vote_on_nothing_is_refused() -> None:
    questions = pooled({"a": answers("i1")}, 1, 0)
    strange = pl.DataFrame({"question_id": ["x"], "judge_id": ["ann"], "grade": [1]})
    with pytest.raises(InputError, match="x"):
        as_judgements(questions, strange, 0)
    with pytest.raises(InputError):
        with_gold(questions, answers("g").drop("rank").with_columns(grade=pl.lit(1)), 1.0, 0)
    with pytest.raises(InputError):
        pooled({}, 1, 0)
