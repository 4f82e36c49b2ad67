"""Which questions are asked of a workspace, what its page shows, and how votes come back into the lake and into the matcher."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from corkboard.errors import InputError, NotFound, SchemaError
from corkboard.lake.lake import Lake
from corkboard.pipeline.judge_questions import (
    PAGE,
    Asking,
    JudgingReport,
    Looks,
    looks_of,
    questions_of,
    read_questions,
    read_votes,
    simulated_votes,
    take_votes,
    write_questions,
)
from corkboard.pipeline.look_steps import judged_pairs
from corkboard.shopping.judging import GOLD, as_judgements, question_id
from corkboard.workspace import Workspace
from corkboard.world.config import WorldConfig
from corkboard.world.world import World
from tests.lake.rows import T0, item, lake_of
from tests.pipeline.judge_builders import HOSTILE, SCENES, looks_workspace
from tests.pipeline.test_look_steps import END, LEFT, SHOP

MANY = Asking(queries=2 * SCENES, depth=3, gold=0.2, seed=0)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return looks_workspace(tmp_path_factory.mktemp("judged"))


@pytest.fixture(scope="module")
def looks(workspace: Workspace) -> Looks:
    return looks_of(workspace.releases.current().artifacts, workspace.lake(), SHOP)


@pytest.fixture(scope="module")
def asked(looks: Looks) -> pl.DataFrame:
    return questions_of(looks, MANY)


def category(item_id: str) -> str:
    return ("hat", "shoe")[int(item_id[1:]) % 2]


def proposals(questions: pl.DataFrame) -> pl.DataFrame:
    """A row a model that proposed a question, with its rank."""
    rows = questions.filter(~pl.col("source").str.starts_with(GOLD)).with_columns(pl.col("source").str.split(",")).explode("source")
    return rows.with_columns(
        model=pl.col("source").str.split("@").list.first(), rank=pl.col("source").str.split("@").list.last().cast(pl.Int64)
    )


def test_every_model_answers_every_object_within_its_category(asked: pl.DataFrame) -> None:
    rows = proposals(asked)
    whole = rows.group_by("query_image", "query_box", "model").agg(pl.col("rank").sort())
    assert whole["rank"].to_list() == [[0, 1, 2]] * (2 * SCENES * 4)
    assert set(rows["model"]) == {"matcher", "cosine", "colour", "chance"}
    sides = {
        ("hat" if tuple(box) == LEFT else "shoe", category(product)) for box, product in rows.select("query_box", "item_id").iter_rows()
    }
    assert sides == {("hat", "hat"), ("shoe", "shoe")}
    assert asked["question_id"].is_unique().all()


def test_models_find_what_is_there_and_chance_does_not(workspace: Workspace, asked: pl.DataFrame) -> None:
    images = dict(workspace.lake().items().select(pl.col("images").list.first().str.strip_prefix("sha256:"), "item_id").iter_rows())
    first = proposals(asked).filter(pl.col("rank") == 0)
    right = {}
    for model in ("matcher", "cosine", "colour", "chance"):
        mine = first.filter(pl.col("model") == model).select("query_image", "query_box", "item_id").iter_rows()
        right[model] = np.mean([int(product[1:]) == 2 * int(images[image][1:]) + (tuple(box) != LEFT) for image, box, product in mine])
    # things of one colour, some of which share a bin of the histogram, and an encoder that has learned nothing
    assert min(right["colour"], right["matcher"]) >= 0.8
    assert right["chance"] < 0.3


def test_objects_of_every_category_alike(looks: Looks) -> None:
    few = proposals(questions_of(looks, Asking(queries=6, depth=1, gold=0, seed=3))).unique(["query_image", "query_box"])
    assert sorted(tuple(box) == LEFT for box in few["query_box"]) == [False] * 3 + [True] * 3
    assert questions_of(looks, Asking(6, 1, 0, 3)).equals(questions_of(looks, Asking(6, 1, 0, 3)))
    assert not questions_of(looks, Asking(6, 1, 0, 4)).equals(questions_of(looks, Asking(6, 1, 0, 3)))


def test_gold_is_known_and_of_both_kinds(workspace: Workspace, asked: pl.DataFrame) -> None:
    images = dict(workspace.lake().items().select(pl.col("images").list.first().str.strip_prefix("sha256:"), "item_id").iter_rows())
    gold = asked.filter(pl.col("source").str.starts_with(GOLD))
    assert len(gold) == round(0.2 * len(asked))
    for image, asked_of, source in gold.select("query_image", "item_id", "source").iter_rows():
        shown = images[image]
        assert (source == "gold/3") == (shown == asked_of)
        assert source == "gold/3" or category(shown) != category(asked_of)
    counts = gold["source"].value_counts()["count"].to_list()
    assert abs(counts[0] - counts[1]) <= 1


def test_the_page_is_whole_and_tells_nothing(looks: Looks, asked: pl.DataFrame, tmp_path: Path) -> None:
    write_questions(looks, asked, tmp_path / "q")
    page = (tmp_path / "q" / PAGE).read_text()
    data = json.loads(re.search(r'<script type="application/json" id="asked">(.*?)</script>', page, re.DOTALL)[1])
    assert [row[0] for row in data["questions"]] == asked["question_id"].to_list()
    assert {row[3] for row in data["questions"]} == {HOSTILE}
    assert HOSTILE not in page
    assert all(image.startswith("data:image/jpeg;base64,") for image in data["images"])
    for secret in ("gold", "matcher", "cosine", "chance", "@"):
        assert secret not in page.replace("@media", "")
    assert read_questions(tmp_path / "q").equals(asked)
    write_questions(looks, asked, tmp_path / "q")  # the same again
    with pytest.raises(InputError, match="other questions"):
        write_questions(looks, asked[1:], tmp_path / "q")


def test_what_was_deleted_or_lost_its_picture_is_not_asked(workspace: Workspace, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(workspace.folder, tmp_path / "w")
    lake = lake_of(tmp_path / "w" / "lake", items=[item("z", END, "p00", deleted=True)])
    images = dict(lake.items().select("item_id", pl.col("images").list.first().str.strip_prefix("sha256:")).iter_rows())
    for gone in ("p02", "s0"):
        for file in (tmp_path / "w" / "lake").rglob(f"{images[gone]}*"):
            file.unlink()
    here = looks_of(workspace.releases.current().artifacts, Lake(lake.folder), SHOP)
    found = questions_of(here, MANY)
    assert not set(found["item_id"]) & {"p00", "p02"}
    assert images["s0"] not in found["query_image"].to_list()
    assert images["p02"] not in found["query_image"].to_list()
    write_questions(here, found, tmp_path / "q")


def test_wrong_numbers_and_releases_without_looks(looks: Looks, workspace: Workspace) -> None:
    for wrong in (Asking(queries=0), Asking(depth=0), Asking(gold=1.0)):
        with pytest.raises(InputError):
            questions_of(looks, wrong)
    artifacts = dict(workspace.releases.current().artifacts)
    with pytest.raises(NotFound, match="cannot shop a look"):
        looks_of({name: artifacts[name] for name in ("visual", "objects", "look_index")}, workspace.lake(), SHOP)


# --------------------------------------------------------------------------------------------------------------------- votes


def csv_of(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["question_id,judge_id,grade", *rows]) + "\n")
    return path


def test_bad_votes_are_refused_with_their_row_and_good_ones_stay(asked: pl.DataFrame, tmp_path: Path) -> None:
    one, two, three = asked["question_id"][:3]
    file = csv_of(
        tmp_path / "a.csv", f"{one},ann,3", f"{two},ann,4", "nothing,ann,1", f"{three},,1", f"{one},ann,3", f"{one},ann,2", f"{two},ann,"
    )
    more = csv_of(tmp_path / "b.csv", f"{two},ann,0", f"{three},bob,2,9")
    lake = Lake(tmp_path / "lake")
    votes, refused = read_votes([file, more], asked, lake.judgements())
    assert sorted(votes.iter_rows()) == sorted([(one, "ann", 3), (two, "ann", 0)])
    assert [(row.field, row.row) for row in refused] == [
        ("a.csv: grade", 2),
        ("a.csv: question_id", 3),
        ("a.csv: judge_id", 4),
        ("a.csv: grade", 6),
        ("a.csv: grade", 7),
        ("b.csv: row", 2),
    ]
    assert (refused[0].found, refused[3].expected) == ("'4'", "3, as this judge said before")
    report = take_votes(lake, asked, votes, refused)
    assert (report.rows_added, report.refused, report.rows_read) == ({"judgements": 2}, 6, 8)
    again, _ = read_votes([file, more], asked, Lake(lake.folder).judgements())
    assert take_votes(lake, asked, again).duplicates == 2
    changed, refused = read_votes([csv_of(tmp_path / "c.csv", f"{one},ann,0", f"{one},bob,0")], asked, Lake(lake.folder).judgements())
    assert changed.rows() == [(one, "bob", 0)]
    assert refused[0].expected.startswith("3")
    (tmp_path / "d.csv").write_text("question,judge\na,b\n")
    with pytest.raises(SchemaError, match="no file of votes"):
        read_votes([tmp_path / "d.csv"], asked, lake.judgements())


def test_a_build_learns_from_those_who_count_and_from_the_middle_of_their_votes(workspace: Workspace, asked: pl.DataFrame, tmp_path: Path):
    """Of two who agree and one who says the opposite of everything, gold included, the matcher hears the two."""
    artifacts = workspace.releases.current().artifacts
    index = looks_of(artifacts, workspace.lake(), SHOP).index
    truth = dict(asked.select("question_id", pl.col("source").str.extract(r"^gold/(\d)$").cast(pl.Int32)).iter_rows())
    rows = []
    for n, question in enumerate(asked["question_id"]):
        grade = truth[question] if truth[question] is not None else (3 if n % 3 == 0 else 0)
        rows += [(question, "ann", grade), (question, "bob", grade), (question, "eve", 3 - grade), (question, "fay", 3 - grade)]
    votes = pl.DataFrame(rows, {"question_id": pl.String, "judge_id": pl.String, "grade": pl.Int32}, orient="row")
    lake = workspace.lake()
    judgements = as_judgements(asked, votes, 0)
    other = type("Told", (), {"folder": lake.folder, "judgements": lambda self: judgements})()
    pairs = judged_pairs(artifacts, other, index, SHOP)
    said = asked.with_row_index("n").filter(~pl.col("source").str.starts_with(GOLD))
    assert len(pairs) == len(said)  # one a question, and no gold
    expected = sorted((product, 3 if n % 3 == 0 else 0) for n, product in said.select("n", "item_id").iter_rows())
    assert sorted((index.ids[place], grade) for place, grade in zip(pairs.place, pairs.grade.tolist(), strict=True)) == expected


def test_votes_are_known_from_the_beginning(asked: pl.DataFrame, tmp_path: Path) -> None:
    votes = pl.DataFrame({"question_id": asked["question_id"][:1], "judge_id": ["ann"], "grade": [3]})
    take_votes(Lake(tmp_path), asked, votes)
    assert len(Lake(tmp_path).until(T0).judgements()) == 1
    take_votes(Lake(tmp_path), asked, votes[:0])
    assert len(Lake(tmp_path).judgements()) == 1


def test_the_report_has_figures_of_each_model(asked: pl.DataFrame) -> None:
    """One judge says 3 of all that the matcher has first, and 0 of the rest."""
    first = asked["source"].str.contains("matcher@0")
    votes = asked.select("question_id", judge_id=pl.lit("ann"), grade=pl.when(first).then(3).otherwise(0))
    gold = asked["source"].str.extract(r"^gold/(\d)$").cast(pl.Int32)
    votes = votes.with_columns(grade=pl.coalesce(gold, "grade"))
    report = JudgingReport.of(as_judgements(asked, votes, 0), 3).to_dict()
    models = {row["model"]: row for row in report["models"]}
    assert models["matcher"]["extremely_similar_at_1"] == 1
    assert models["matcher"]["similar_at_k"] == pytest.approx(1 / 3)
    assert models["matcher"]["first_judged"] == models["matcher"]["judged"] == 2 * SCENES
    assert models["chance"]["extremely_similar_at_1_low"] <= models["chance"]["extremely_similar_at_1"] < 0.6
    assert report["kappa"] is None
    assert report["pairs"] == sum(report["grades"].values()) == len(asked) - round(0.2 * len(asked))
    assert report["judges"] == [{"judge_id": "ann", "votes": len(asked), "gold": gold.count(), "right": 1.0, "trusted": True}]
    json.dumps(report, allow_nan=False)
    half = asked.filter(first)
    assert JudgingReport.of(as_judgements(asked, votes, 0), 3, half).to_dict()["pairs"] == len(half)
    json.dumps(JudgingReport.of(as_judgements(asked, votes, 0)[:0], 3).to_dict(), allow_nan=False)


def test_simulated_judges_are_as_noisy_as_they_are_said_to_be() -> None:
    world = World(WorldConfig.tiny(seed=101, scene_share=0.5, collage_share=0.3))
    shown = world.objects().drop_nulls("product_id")
    columns = {
        "query_image": shown["image"].str.strip_prefix("sha256:"),
        "query_box": shown.select(pl.concat_list("left", "top", "right", "bottom").cast(pl.List(pl.Float32))).to_series(),
        "item_id": shown["product_id"],
        "source": ["told@0"] * len(shown),
    }
    questions = pl.DataFrame(columns)
    questions = pl.concat([questions, questions[:1].with_columns(query_image=pl.lit("nowhere"))]).select(question_id(), *columns)
    votes, noise = simulated_votes(world, questions)
    assert len(votes) == 3 * len(shown)
    assert (noise.judges, noise.careless, noise.untold) == (12, 1, 1)
    assert 0.7 < noise.votes_right < noise.verdicts_right <= noise.verdicts_on_the_right_side <= 1
