from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from corkboard.errors import InputError
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake
from corkboard.shopping.judging import as_judgements, checked_votes, judged, model_figures, of_questions, pooled, with_gold

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
    with pytest.raises(InputError, match="a@b"):
        pooled({"a@b": answers("i1")}, 1, 0)


def verdicts(*rows: tuple[str, list[float] | None, str, str, int]) -> pl.DataFrame:
    schema = {"query_image": pl.String, "query_box": pl.List(pl.Float32), "item_id": pl.String, "source": pl.String, "grade": pl.Int32}
    return pl.DataFrame(rows, schema, orient="row")


def test_figures_of_models_by_hand() -> None:
    """Model a: three objects, first answers 3, 2 and 3, all judged answers 3 2 | 2 | 3 0. Model b: 0 first, once; one without a verdict."""
    pairs = verdicts(
        ("h1", BOX, "i1", "a@0,b@1", 3),
        ("h1", BOX, "i2", "a@1", 2),
        ("h1", None, "i1", "a@0", 2),
        ("h2", BOX, "i1", "a@0", 3),
        ("h2", BOX, "i3", "a@1,b@0", 0),
        ("h2", BOX, "i4", "a@2", 0),
        ("h2", BOX, "i5", "imported", 3),
    )
    found = {row["model"]: row for row in model_figures(pairs, 2).iter_rows(named=True)}
    assert set(found) == {"a", "b"}
    assert (found["a"]["first_judged"], found["a"]["judged"]) == (3, 3)
    assert found["a"]["extremely_similar_at_1"] == pytest.approx(2 / 3)
    assert found["a"]["similar_at_k"] == pytest.approx(4 / 5)  # the third place is beyond k
    assert (found["b"]["first_judged"], found["b"]["judged"]) == (1, 2)
    assert (found["b"]["extremely_similar_at_1"], found["b"]["similar_at_k"]) == (0, 0.5)
    # pictures are drawn, not objects: h1 twice gives 1/2, h2 twice 1
    assert (found["a"]["extremely_similar_at_1_low"], found["a"]["extremely_similar_at_1_high"]) == (0.5, 1.0)
    assert len(model_figures(pairs[:0], 2)) == 0


def test_a_pair_asked_again_counts_for_who_proposes_it_now() -> None:
    before, now = pooled({"old": answers("i1", "i2")}, 2, 0), pooled({"new": answers("i2", "i3")}, 2, 0)
    pairs = judged(as_judgements(before, votes(before, ann=[0, 3]), 0)).pairs
    found = of_questions(pairs, now)
    assert found.select("item_id", "source", "grade").rows() == [("i2", "new@0", 3)]


def test_votes_are_checked_row_by_row() -> None:
    questions = pooled({"a": answers("i1", "i2")}, 2, 0)
    one, two = questions.sort("item_id")["question_id"]
    known = as_judgements(questions, votes(questions, ann=[3, 0]), 0)
    rows = [
        {"question_id": one, "judge_id": "ann", "grade": "3"},
        {"question_id": two, "judge_id": "ann", "grade": "1"},
        {"question_id": two, "judge_id": " bob ", "grade": 2},
        {"question_id": "x", "judge_id": "bob", "grade": 2},
        {"question_id": one, "judge_id": "bob", "grade": "2.5"},
        {"question_id": one, "judge_id": "bob", "grade": -1},
        {"question_id": one, "judge_id": None, "grade": 1},
        {"question_id": [one], "judge_id": "bob", "grade": 1},
    ]
    good, refused = checked_votes((("f", n, row) for n, row in enumerate(rows, 1)), questions, known)
    assert sorted(good.rows()) == sorted([(one, "ann", 3), (two, "bob", 2)])
    fields = [(2, "f: grade"), (4, "f: question_id"), (5, "f: grade"), (6, "f: grade"), (7, "f: judge_id"), (8, "f: question_id")]
    assert [(row.row, row.field) for row in refused] == fields
    said = [(row.found, row.expected) for row in refused[:2]]
    assert said == [("'1'", "0, as this judge said before"), ("'x'", "a question of this folder")]
