"""`corkboard judge`: ask people how alike parts of pictures and products look, and read what they said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set, open_workspace

if TYPE_CHECKING:
    from corkboard.pipeline.judge_questions import JudgingReport

app = typer.Typer(help="Ask people which products look like what is in pictures; read their votes.", no_args_is_help=True)

Questions = Annotated[Path, typer.Option("--questions", help="The folder that `corkboard judge questions` wrote.")]
Depth = Annotated[int, typer.Option("-k", help="Answers of a model that count in similar@k.", min=1)]


@app.command()
def questions(
    out: Annotated[Path, typer.Option("--out", help="A folder for the page of the judges and the key to it.")],
    queries: Annotated[int, typer.Option(help="Objects of scenes and collages at most, of every category alike.", min=1)] = 200,
    depth: Annotated[int, typer.Option(help="Answers of each model to an object.", min=1)] = 3,
    gold: Annotated[float, typer.Option(help="Share of questions whose answer is known before.", min=0, max=0.9)] = 0.1,
    seed: Annotated[int, typer.Option(help="Which objects, and in which order.")] = 0,
    workspace: Folder = DEFAULT_FOLDER,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Draw questions from the live release; write judge.html, the page for judges, and questions.parquet, the key, not for them."""
    from corkboard.cli import printing
    from corkboard.errors import NotFound
    from corkboard.pipeline.judge_questions import KEY, PAGE, Asking, looks_of, questions_of, write_questions
    from corkboard.shopping.judging import GOLD

    here = open_workspace(workspace, config_file, overrides)
    release = here.releases.current()
    if release is None:
        raise NotFound("No release is live", found=str(workspace), hint="Run `corkboard build` first.")
    looks = looks_of(release.artifacts, here.lake(), here.settings.shopping.shop_the_look)
    asked = questions_of(looks, Asking(queries, depth, gold, seed))
    write_questions(looks, asked, out)
    known = asked["source"].str.starts_with(GOLD)
    objects = asked.filter(~known).select("query_image", "query_box").unique().height
    facts = {"questions": len(asked), "gold": int(known.sum()), "objects": objects, "page": str(out / PAGE), "key": str(out / KEY)}
    if as_json:
        printing.print_json({**facts, "release": release.id})
        return
    print(f"{facts['questions']:,} questions on {objects:,} objects, {facts['gold']:,} of them gold; release {release.id}")
    print(f"for judges: {facts['page']}\nthe key, not for judges: {facts['key']}")


@app.command()
def votes(
    files: Annotated[list[Path], typer.Argument(help="Votes as the page gives them: question_id, judge_id, grade.")],
    folder: Questions,
    workspace: Folder = DEFAULT_FOLDER,
    k: Depth = 3,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Check votes and write them into the lake; bad rows are listed and kept beside, the same vote counts once. Then print the report."""
    from corkboard.cli import printing
    from corkboard.pipeline.judge_questions import JudgingReport, read_questions, read_votes, take_votes

    here, asked = open_workspace(workspace, config_file, overrides), read_questions(folder)
    good, refused = read_votes(files, asked, here.lake().judgements())
    report = take_votes(here.lake(), asked, good, refused)
    found = JudgingReport.of(here.lake().judgements(), k)
    if as_json:
        printing.print_json({"votes": report.to_dict(), **found.to_dict()})
        return
    print(report.render())
    _print_judges(found)


@app.command()
def report(
    workspace: Folder = DEFAULT_FOLDER,
    folder: Annotated[Path | None, typer.Option("--questions", help="Only pairs of this folder, and models as it names them.")] = None,
    k: Depth = 3,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Print who counts, how far judges agree, and how often each model was found right."""
    from corkboard.cli import printing
    from corkboard.pipeline.judge_questions import JudgingReport, read_questions

    here = open_workspace(workspace, config_file, overrides)
    found = JudgingReport.of(here.lake().judgements(), k, None if folder is None else read_questions(folder))
    if as_json:
        printing.print_json(found.to_dict())
        return
    _print_judges(found)
    _print_models(found)


@app.command()
def simulate(
    folder: Questions,
    count: Annotated[int, typer.Option("--votes", help="Votes on each question, of different judges.", min=1, max=12)] = 3,
    seed: Annotated[int, typer.Option(help="Who sees what, and who errs where.")] = 0,
    workspace: Folder = DEFAULT_FOLDER,
    k: Depth = 3,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Let the judges of the built-in world vote, whose noise is known; for workspaces that hold that world."""
    from corkboard.cli import printing
    from corkboard.errors import NotFound
    from corkboard.pipeline.judge_questions import JudgingReport, read_questions, simulated_votes, take_votes
    from corkboard.shopping.judging import checked_votes

    here, asked = open_workspace(workspace, config_file, overrides), read_questions(folder)
    world = here.world()
    if world is None:
        raise NotFound(
            "This workspace does not hold the built-in world of this version", found=str(workspace), hint="People can judge: `judge.html`."
        )
    given, noise = simulated_votes(world, asked, count, seed)
    rows = (("simulated", row, vote) for row, vote in enumerate(given.iter_rows(named=True), 1))
    report = take_votes(here.lake(), asked, *checked_votes(rows, asked, here.lake().judgements()))
    found = JudgingReport.of(here.lake().judgements(), k)
    if as_json:
        printing.print_json({"votes": report.to_dict(), "noise": vars(noise), **found.to_dict()})
        return
    print(report.render())
    print(
        f"the panel: {noise.judges} judges, {noise.careless} of whom do not look; {noise.votes_right:.1%} of votes and "
        f"{noise.verdicts_right:.1%} of verdicts are the true grade, {noise.verdicts_on_the_right_side:.1%} of verdicts are on the right "
        f"side of similar; on {noise.untold:,} questions nobody could tell"
    )
    _print_judges(found)
    _print_models(found)


def _print_judges(found: JudgingReport) -> None:
    from corkboard.cli import printing

    facts = found.to_dict()
    rows = [
        [
            row["judge_id"],
            row["votes"],
            row["gold"],
            "" if row["right"] is None else f"{row['right']:.0%}",
            "counts" if row["trusted"] else "does not count",
        ]
        for row in facts["judges"]
    ]
    printing.table("Judges", ["judge", "votes", "gold answered", "right", ""], rows)
    grades = ", ".join(f"{count:,} {name}" for name, count in facts["grades"].items())
    print(f"{facts['pairs']:,} pairs judged" + (f": {grades}" if grades else ""))
    kappas = [("all four grades", facts["kappa"]), ("similar or not", facts["kappa_similar"])]
    print("kappa, " + "; ".join(f"{name}: {'not known' if value is None else format(value, '.2f')}" for name, value in kappas))


def _print_models(found: JudgingReport) -> None:
    from corkboard.cli import printing

    rows = [
        [row["model"], row["first_judged"], _share(row, "extremely_similar_at_1"), row["judged"], _share(row, "similar_at_k")]
        for row in found.to_dict()["models"]
    ]
    columns = ["model", "first", "extremely similar@1", "objects", f"similar@{found.k}"]
    printing.table("Models, with 95 % intervals over pictures", columns, rows)


def _share(row: dict, name: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return "" if value is None else f"{value:.2f}" + ("" if low is None else f" ({low:.2f} to {high:.2f})")
