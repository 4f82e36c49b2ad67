"""`corkboard judge` from questions to the report, on a small workspace; and simulated judges on a small world."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from corkboard.cli.app import app
from corkboard.errors import CorkboardError, InputError, NotFound
from corkboard.lake.lake import Lake
from corkboard.pipeline.judge_questions import KEY, PAGE, read_questions
from corkboard.shopping.judging import GOLD, question_id
from corkboard.world.config import WORLD_VERSION, WorldConfig
from corkboard.world.world import World
from tests.lake.rows import T0, item, lake_of
from tests.pipeline.judge_builders import looks_workspace


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return looks_workspace(tmp_path_factory.mktemp("judge") / "w").folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["judge", *map(str, arguments)])


def said(*arguments: str | Path) -> dict:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def write_votes(path: Path, questions: pl.DataFrame, **judges: list[int]) -> Path:
    lines = [f"{question},{judge},{grade}" for judge, grades in judges.items() for question, grade in zip(questions, grades, strict=True)]
    path.write_text("\n".join(["question_id,judge_id,grade", *lines]) + "\n")
    return path


def test_from_questions_to_figures(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "q"
    made = said("questions", "-w", folder, "--out", out, "--queries", 8, "--gold", 0.2)
    assert made["objects"] == 8
    assert made["gold"] == round(0.2 * made["questions"])
    assert (out / PAGE).stat().st_size > 1000
    questions = read_questions(out)
    assert len(questions) == made["questions"]

    known = questions["source"].str.extract(r"^gold/(\d)$").cast(pl.Int64)
    first = questions["source"].str.contains("matcher@0")
    true = [k if k is not None else 3 * f for k, f in zip(known, first, strict=True)]
    file = write_votes(tmp_path / "[b]votes.csv", questions["question_id"], ann=true, bob=true, **{"[/x]": [3 - grade for grade in true]})
    with file.open("a") as more:
        more.write(f"{questions['question_id'][0]},ann,9\nstrange,ann,1\n")
    done = run("votes", file, "-w", folder, "--questions", out)
    assert done.exit_code == 0, done.exception
    assert f"{3 * len(questions):,} judgements" in done.stdout
    assert "2 refused" in done.stdout
    assert "found '9'" in done.stdout
    assert "[/x]" in done.stdout
    assert "does not count" in done.stdout
    assert "kappa, all four grades: 1.00; similar or not: 1.00" in done.stdout

    again = said("votes", file, "-w", folder, "--questions", out)
    assert again["votes"]["duplicates"] == 3 * len(questions)
    assert again["pairs"] == len(questions) - made["gold"]
    assert {row["judge_id"]: row["trusted"] for row in again["judges"]} == {"ann": True, "bob": True, "[/x]": False}
    report = said("report", "-w", folder)
    assert {row["model"]: row["extremely_similar_at_1"] for row in report["models"]}["matcher"] == 1
    assert said("report", "-w", folder, "--questions", out)["pairs"] == report["pairs"]
    printed = run("report", "-w", folder, "-k", 1).stdout
    assert "1.00 (1.00 to 1.00)" in printed
    assert "similar@1" in printed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["votes", "/nowhere.csv", "--questions", "/nowhere"], "There are no questions here"),
        (["report", "--questions", "/nowhere"], "There are no questions here"),
        (["simulate", "--questions", "{questions}"], "does not hold the built-in world"),
        (["votes", "/nowhere.csv", "--questions", "{questions}"], "There is no such file"),
    ],
)
def test_wrong_input_is_said(folder: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    run("questions", "-w", folder, "--out", tmp_path, "--queries", 2)
    done = run(*(text.replace("{questions}", str(tmp_path)) for text in arguments), "-w", folder)
    assert isinstance(done.exception, InputError)
    assert says in str(done.exception)


def test_without_a_release_there_is_nothing_to_ask(tmp_path: Path) -> None:
    lake_of(tmp_path / "lake", items=[item("a", T0, "i")])
    done = run("questions", "-w", tmp_path, "--out", tmp_path / "q")
    assert isinstance(done.exception, NotFound)
    empty = said("report", "-w", tmp_path)
    assert (empty["pairs"], empty["judges"], empty["models"], empty["kappa"]) == (0, [], [], None)
    assert run("report", "-w", tmp_path).exit_code == 0
    assert isinstance(run("report", "-w", tmp_path / "none").exception, CorkboardError)


def test_the_judges_of_the_world_vote(tmp_path: Path) -> None:
    config = WorldConfig.tiny(seed=101, scene_share=0.5, collage_share=0.3)
    shown = World(config).objects().drop_nulls("product_id")
    columns = {
        "query_image": shown["image"].str.strip_prefix("sha256:"),
        "query_box": shown.select(pl.concat_list("left", "top", "right", "bottom").cast(pl.List(pl.Float32))).to_series(),
        "item_id": shown["product_id"],
        "source": ["matcher@0" if n % 5 else f"{GOLD}3" for n in range(len(shown))],
    }
    (tmp_path / "q").mkdir()
    pl.DataFrame(columns).select(question_id(), *columns).write_parquet(tmp_path / "q" / KEY)
    lake_of(tmp_path / "lake", items=[item("a", T0, "i")])
    (tmp_path / "world.json").write_text(json.dumps(config.model_dump(mode="json") | {"version": WORLD_VERSION}))
    made = said("simulate", "-w", tmp_path, "--questions", tmp_path / "q")
    assert made["votes"]["rows_added"] == {"judgements": 3 * len(shown)}
    assert made["noise"]["careless"] == 1
    assert made["noise"]["votes_right"] < made["noise"]["verdicts_right"]
    assert [row["trusted"] for row in made["judges"]].count(False) <= 2
    assert made["models"][0]["extremely_similar_at_1"] > 0.8
    again = run("simulate", "-w", tmp_path, "--questions", tmp_path / "q")
    assert f"{3 * len(shown):,} known already" in again.stdout
    assert "the panel: 12 judges, 1 of whom do not look" in again.stdout
    assert len(Lake(tmp_path / "lake").judgements()) == 3 * len(shown)
