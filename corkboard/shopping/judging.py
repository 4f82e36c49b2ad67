"""Judgements: which questions are asked of people, and what their votes come to (Shop The Look, KDD 2020, and our reading of it).

    pooled(results of several models) -> with_gold -> judges -> checked_votes -> as_judgements -> judged -> model_figures

A question shows a part of a picture and a product, and asks how alike they are, on four grades. Questions come from several models and
from chance: candidates of one model alone would make a test that this model wins. They are asked in an order, and without a word, that
tells who proposed what. Some have answers that are known before: a judge who misses these is not counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from corkboard.artifacts import content_hash
from corkboard.errors import InputError
from corkboard.lake.fields import Kind, Unfit
from corkboard.lake.refused import RefusedRow
from corkboard.lake.tables import GRADE, ID
from corkboard.metrics.agreement import votes_kappa
from corkboard.metrics.intervals import PerUser, intervals
from corkboard.metrics.looks import extremely_similar_at_1, similar_at_k
from corkboard.seeds import generator

GRADES = ("not similar", "marginally similar", "similar", "extremely similar")
"""What a grade says, from 0."""
POSITIVE = 2
"""From this grade on a product answers a picture."""
GOLD = "gold/"
"""What the source of a question begins with whose answer was known before; the grade follows."""
PAIR = ("query_image", "query_box", "item_id")
"""What a question is about."""
QUESTION = pl.Schema(
    {"question_id": pl.String, "query_image": pl.String, "query_box": pl.List(pl.Float32), "item_id": pl.String, "source": pl.String}
)
"""Columns of questions: ``query_box`` in shares of the picture, null for all of it; ``source`` says who proposed it, and is not shown.

It is "model@rank" of each model that has the pair among its first answers, from rank 0, with commas between: "colour@2,cosine@0"."""
FIGURES = pl.Schema(
    {
        "model": pl.String,
        "first_judged": pl.Int64,
        "judged": pl.Int64,
        "extremely_similar_at_1": pl.Float64,
        "extremely_similar_at_1_low": pl.Float64,
        "extremely_similar_at_1_high": pl.Float64,
        "similar_at_k": pl.Float64,
        "similar_at_k_low": pl.Float64,
        "similar_at_k_high": pl.Float64,
    }
)
"""Columns of :func:`model_figures`: how many queries have a verdict on the first answer, and on any; then both figures and their bounds."""


def pooled(results: Mapping[str, pl.DataFrame], depth: int, seed: int) -> pl.DataFrame:
    """Every pair among the first ``depth`` of any model's answers, once, in an order drawn by ``seed``; columns as :data:`QUESTION`.

    ``results`` are frames by model: query_image, query_box, item_id, rank (from 0). ``source`` lists the models that have it, each with
    its rank. Raises :class:`InputError` without models, and for a name that would not be read again.
    """
    if not results:
        raise InputError("Questions are pooled from several models", found="none", expected="answers of at least one")
    for model in results:
        if not model or set(model) & set("@,/"):
            raise InputError("A model has a name that questions cannot keep", found=model, expected="text without @, commas and slashes")
    frames = [
        frame.filter(pl.col("rank") < depth).select(
            "query_image", pl.col("query_box").cast(pl.List(pl.Float32)), "item_id", source=pl.format(f"{model}@{{}}", "rank")
        )
        for model, frame in results.items()
    ]
    together = pl.concat(frames).with_columns(question_id())
    pairs = together.group_by("question_id").agg(pl.col(list(PAIR)).first(), pl.col("source").unique().sort().str.join(","))
    return _shuffled(pairs.select(list(QUESTION)), seed, "pool")


def with_gold(questions: pl.DataFrame, known: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """``questions`` with some of ``known`` (query_image, query_box, item_id, grade) among them, so that they are ``share`` of all.

    A pair that is asked for another reason, too, is asked as gold alone.
    """
    if not 0 <= share < 1:
        raise InputError("A share of gold questions is out of range", found=share, expected="0 up to below 1")
    gold = known.with_columns(pl.col("query_box").cast(pl.List(pl.Float32))).with_columns(
        question_id(), source=GOLD + pl.col("grade").cast(pl.String)
    )
    gold = _shuffled(gold.unique("question_id", maintain_order=True).select(list(QUESTION)), seed, "gold")
    rest = questions.join(gold.select("question_id"), on="question_id", how="anti", maintain_order="left")
    wanted = min(len(gold), round(len(rest) * share / (1 - share)))
    rest = questions.join(gold[:wanted].select("question_id"), on="question_id", how="anti", maintain_order="left")
    return _shuffled(pl.concat([rest.select(list(QUESTION)), gold[:wanted]]), seed, "asked")


def checked_votes(
    rows: Iterable[tuple[str, int, Mapping[str, Any]]], questions: pl.DataFrame, judgements: pl.DataFrame
) -> tuple[pl.DataFrame, list[RefusedRow]]:
    """Votes (question_id, judge_id, grade) that count, and the rows that are refused.

    ``rows`` are (file, row from 1, values). Refused are a question that was not asked, a grade or a judge that is none, and another grade
    than the judge gave to the same question before, in ``judgements`` (rows of the lake) or in these rows: the first vote stands.
    """
    asked = set(questions["question_id"])
    before = judgements.with_columns(question_id()).select("question_id", "judge_id", "grade")
    said: dict[tuple[str, str], int] = {(question, judge): grade for question, judge, grade in before.iter_rows()}
    good: dict[tuple[str, str], int] = {}
    refused: list[RefusedRow] = []
    for file, row, values in rows:
        try:
            question, judge, grade = _vote(values, asked)
            if said.setdefault((question, judge), grade) != grade:
                raise Unfit(f"{said[question, judge]}, as this judge said before", values["grade"], "grade")
        except Unfit as error:
            refused.append(RefusedRow(row, f"{file}: {error.path}", repr(error.found), error.expected, dict(values)))
        else:
            good[question, judge] = grade
    frame = [(question, judge, grade) for (question, judge), grade in good.items()]
    return pl.DataFrame(frame, {"question_id": pl.String, "judge_id": pl.String, "grade": pl.Int32}, orient="row"), refused


def _vote(values: Mapping[str, Any], asked: Collection[str]) -> tuple[str, str, int]:
    """Question, judge and grade of a row. Raises :class:`Unfit` with the column that does not fit."""
    question, judge, grade = (values.get(name) for name in ("question_id", "judge_id", "grade"))
    if not isinstance(question, str) or question not in asked:
        raise Unfit("a question of this folder", question, "question_id")
    return question, _read("judge_id", ID, judge), _read("grade", GRADE, grade)


def _read(name: str, kind: Kind, value: Any) -> Any:
    try:
        if value is None:
            raise Unfit(kind.expected, value)
        return kind.read(value.strip() if isinstance(value, str) else value)
    except Unfit as error:
        raise Unfit(error.expected, value, name) from None


def as_judgements(questions: pl.DataFrame, votes: pl.DataFrame, time_ms: int) -> pl.DataFrame:
    """Rows of the lake's table ``judgements`` of ``votes`` (question_id, judge_id, grade).

    The same vote is the same row. Raises :class:`InputError` for a vote on something that was not asked.
    """
    strange = votes.join(questions, on="question_id", how="anti")
    if len(strange):
        raise InputError(
            "A vote is on no question of this file", found=strange["question_id"][0], expected="question_id as they were asked"
        )
    rows = votes.select("question_id", "judge_id", "grade").join(questions, on="question_id", how="left", maintain_order="left")
    return rows.select(
        event_id=pl.concat_str(pl.lit("judged"), "question_id", "judge_id", separator="/"),
        time_ms=pl.lit(time_ms, pl.Int64),
        judge_id="judge_id",
        query_image="query_image",
        query_box="query_box",
        item_id="item_id",
        grade=pl.col("grade").cast(pl.Int32),
        source="source",
        gold=pl.col("source").str.starts_with(GOLD),
    )


@dataclass(frozen=True)
class Judged:
    """What votes came to."""

    pairs: pl.DataFrame
    """query_image, query_box, item_id, source, grade, votes: one row a question that is not gold, by the judges who count."""
    judges: pl.DataFrame
    """judge_id, votes, gold (how many were answered), right (share of them within ``slack``), trusted."""
    kappa: float
    """Of the judges who count, over all four grades, neighbours half right; NaN where no question has two votes."""
    kappa_positive: float
    """The same of the one cut that counts: similar or not."""


def judged(judgements: pl.DataFrame, least_right: float = 0.7, least_gold: int = 3, least_votes: int = 1) -> Judged:
    """The verdicts of ``judgements``, rows of the lake's table.

    A judge counts who answered fewer than ``least_gold`` gold questions, or got ``least_right`` of them within one grade and on the right
    side of :data:`POSITIVE`. The grade of a question is the median of its votes, the lower one of two: with three votes, the majority
    where there is one.
    """
    rows = judgements.with_columns(question_id()).unique(["question_id", "judge_id"], keep="last", maintain_order=True)
    known = rows.filter("gold").with_columns(truth=pl.col("source").str.strip_prefix(GOLD).cast(pl.Int32, strict=False)).drop_nulls("truth")
    near = ((pl.col("grade") - pl.col("truth")).abs() <= 1) & ((pl.col("grade") >= POSITIVE) == (pl.col("truth") >= POSITIVE))
    tested = known.group_by("judge_id").agg(gold=pl.len(), right=near.mean())
    judges = rows.group_by("judge_id").agg(votes=pl.len()).join(tested, on="judge_id", how="left")
    judges = judges.with_columns(pl.col("gold").fill_null(0)).sort("judge_id")
    judges = judges.with_columns(trusted=(pl.col("gold") < least_gold) | (pl.col("right") >= least_right))
    counted = rows.filter(~pl.col("gold")).join(
        judges.filter("trusted").select("judge_id"), on="judge_id", how="semi", maintain_order="left"
    )
    lower = pl.col("grade").sort().get((pl.len() - 1) // 2)
    pairs = counted.group_by("question_id", maintain_order=True).agg(pl.col([*PAIR, "source"]).first(), grade=lower, votes=pl.len())
    pairs = pairs.filter(pl.col("votes") >= least_votes).drop("question_id")
    return Judged(pairs, judges, *_kappas(counted))


def of_questions(pairs: pl.DataFrame, questions: pl.DataFrame) -> pl.DataFrame:
    """Those of ``pairs`` that ``questions`` ask, with the sources that these name: the same pair may have been asked before, for others."""
    asked = questions.select("question_id", "source")
    return pairs.drop("source").with_columns(question_id()).join(asked, on="question_id", how="inner", maintain_order="left")


def model_figures(pairs: pl.DataFrame, k: int) -> pl.DataFrame:
    """Extremely similar at 1 and similar at k of each model, from verdicts (:attr:`Judged.pairs`); columns as :data:`FIGURES`.

    A place without a verdict counts nowhere: at 1, queries count whose first answer was judged, at k, answers that were. Intervals (95 %)
    are bootstraps over pictures, as objects of one picture hang together. A source without ranks proposes nothing.
    """
    proposed = pairs.with_columns(pl.col("source").str.split(",")).explode("source")
    proposed = proposed.with_columns(pl.col("source").str.split_exact("@", 1).struct.rename_fields(["model", "rank"])).unnest("source")
    proposed = proposed.with_columns(pl.col("rank").cast(pl.Int64, strict=False)).drop_nulls(["model", "rank"]).filter(pl.col("rank") < k)
    codes: dict[tuple, int] = {}
    asked = zip(proposed["query_image"], proposed["query_box"], strict=True)
    query = [codes.setdefault((image, None if box is None else tuple(box)), len(codes)) for image, box in asked]
    proposed = proposed.with_columns(query=pl.Series(query, dtype=pl.Int64), picture=pl.col("query_image").rank("dense"))
    rows = []
    for (model,), mine in proposed.sort("model", "picture").group_by("model", maintain_order=True):
        query = mine["query"].rank("dense").to_numpy() - 1
        grades, picture = np.full((int(query.max()) + 1, k), -1, np.int64), np.zeros(int(query.max()) + 1, np.int64)
        grades[query, mine["rank"].to_numpy()] = mine["grade"].to_numpy()
        picture[query] = mine["picture"].to_numpy()
        first = grades[:, 0] >= 0
        at_1 = _by_picture(picture[first], grades[first], np.ones(int(first.sum())), extremely_similar_at_1)
        at_k = _by_picture(picture, grades, (grades >= 0).sum(axis=1), lambda some: similar_at_k(some, k))
        bounds = [intervals([figure])[0] for figure in (at_1, at_k)]
        ends = [(figure.value, bound.low, bound.high) for figure, bound in zip((at_1, at_k), bounds, strict=True)]
        rows.append((str(model), int(first.sum()), len(grades), *ends[0], *ends[1]))
    return pl.DataFrame(rows, FIGURES, orient="row")


def _by_picture(picture: np.ndarray, grades: np.ndarray, weights: np.ndarray, figure: Any) -> PerUser:
    """A figure of queries, kept apart by picture; ``weights`` (queries,) are how much each query counts in it."""
    pictures = np.unique(picture)
    weight = np.array([float(weights[picture == one].sum()) for one in pictures])
    value = np.array([figure(grades[picture == one]) for one in pictures])
    return PerUser(value * weight, weight)


def _kappas(counted: pl.DataFrame) -> tuple[float, float]:
    questions = counted["question_id"].rank("dense").to_numpy() if len(counted) else np.zeros(0)
    judges = counted["judge_id"].rank("dense").to_numpy() if len(counted) else np.zeros(0)
    grade = counted["grade"].to_numpy()
    fine = votes_kappa(questions, judges, grade, len(GRADES), "linear")
    return fine, votes_kappa(questions, judges, (grade >= POSITIVE).astype(np.int64), 2)


def question_id() -> pl.Expr:
    """A name for a question that its pair alone decides."""
    return (
        pl.struct(PAIR)
        .map_elements(lambda row: _named(row["query_image"], row["query_box"], row["item_id"]), pl.String)
        .alias("question_id")
    )


def _named(image: str, box: list[float] | None, item_id: str) -> str:
    return content_hash(image, None if box is None else [round(float(share), 4) for share in box], item_id)


def _shuffled(frame: pl.DataFrame, seed: int, name: str) -> pl.DataFrame:
    """Rows in an order that neither the order nor the sources they came in decide."""
    order = generator(seed, "judging", name).permutation(len(frame))
    return frame.sort("question_id")[order]
