"""Which questions are asked of people about a workspace, and what becomes of their votes.

    live release -> objects of scenes and collages -> answers of several models -> questions.parquet (the key) and judge.html (for judges)
    votes -> checked -> the lake's judgements -> verdicts, agreement, figures of each model

The models are the matcher, the cosine alone, colours alone and chance within the category; all search the categories that the look would.
None is cut off by the gate: what it would leave out is judged, too, which is how it can be measured.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, write_atomically
from corkboard.errors import InputError, NotFound, SchemaError
from corkboard.lake.ingest import IngestReport, ingest_frames
from corkboard.lake.lake import Lake
from corkboard.lake.pictures.reading import Pictures
from corkboard.lake.read import read_pieces
from corkboard.lake.refused import RefusedRow
from corkboard.pipeline.look_steps import LOOK_MATCHER, found_objects, look_index
from corkboard.seeds import generator
from corkboard.shopping import judging
from corkboard.shopping.config import ShopTheLookConfig
from corkboard.shopping.judging import QUESTION, Judged

if TYPE_CHECKING:
    from corkboard.shopping.look_index import LookIndex
    from corkboard.shopping.matcher import Appeal, LookMatcher
    from corkboard.shopping.objects import FoundObjects
    from corkboard.world.world import World

MATCHER, COSINE, COLOUR, CHANCE = "matcher", "cosine", "colour", "chance"
"""Who proposes answers."""
KEY, PAGE = "questions.parquet", "judge.html"
"""The files of a folder of questions; the first tells who proposed what and is not for judges."""
_COLOUR_FEATURE = 2
VOTE = ("question_id", "judge_id", "grade")
"""Columns of a file of votes."""


@dataclass(frozen=True)
class Asking:
    """How many questions are asked."""

    queries: int = 200
    """Objects at most."""
    depth: int = 3
    """Answers of each model to an object."""
    gold: float = 0.1
    """Share of questions whose answer is known before."""
    seed: int = 0
    """What is drawn, and in which order it is asked."""


@dataclass(frozen=True)
class Looks:
    """What a release knows of looks, and the lake that it looks at now."""

    objects: FoundObjects
    index: LookIndex
    """At rows of the lake's items, sorted by id; -1 for what is there no more, was deleted, or has lost its picture."""
    matcher: LookMatcher
    appeal: Appeal | None
    pictures: Pictures
    config: ShopTheLookConfig
    titles: Mapping[str, str]
    """By item id; what has none is not in it."""


def looks_of(artifacts: Mapping[str, Artifact], lake: Lake, config: ShopTheLookConfig) -> Looks:
    """The looks of a release. Raises :class:`NotFound` where it has none."""
    from corkboard.retrieval.item_stats import ItemStats
    from corkboard.shopping.matcher import Appeal, LookMatcher

    objects, index = found_objects(artifacts), look_index(artifacts)
    matcher = LookMatcher.from_artifact(artifacts[LOOK_MATCHER]) if LOOK_MATCHER in artifacts else None
    if objects is None or index is None or matcher is None:
        raise NotFound(
            "The live release cannot shop a look",
            expected="objects, look_index and look_matcher",
            hint="It needs products with pictures, and a detector; `corkboard build` makes the rest.",
        )
    items, pictures = lake.items(), Pictures(lake.folder)
    row_of = {item_id: row for row, item_id in enumerate(items["item_id"])}
    there = {name: pictures.store.has(name) for name in index.products.table["image_hash"].unique()}
    shown = zip(index.ids, index.products.table["image_hash"], strict=True)
    index = index.placed(np.array([row_of.get(item_id, -1) if there[name] else -1 for item_id, name in shown], np.int64))
    stats = artifacts.get("stats")
    appeal = None if stats is None else Appeal.of(ItemStats.from_artifact(stats), items["item_id"].to_list())
    titles = dict(items.select("item_id", "title").drop_nulls().iter_rows())
    return Looks(objects, index, matcher, appeal, pictures, config, titles)


# ----------------------------------------------------------------------------------------------------------------- questions


def questions_of(looks: Looks, asking: Asking) -> pl.DataFrame:
    """The questions of a workspace in the order in which they are asked; columns as :data:`corkboard.shopping.judging.QUESTION`.

    Raises :class:`InputError` for numbers out of range, and :class:`NotFound` where no picture has several objects with an answer.
    """
    if asking.queries < 1 or asking.depth < 1 or not 0 <= asking.gold < 1:
        raise InputError("Questions cannot be asked like this", found=asking, expected="queries and depth from 1, gold from 0 to below 1")
    answers: dict[str, list[tuple]] = {model: [] for model in (MATCHER, COSINE, COLOUR, CHANCE)}
    asked = 0
    for row in _queries(looks, asking.seed):
        if asked == asking.queries:
            break
        found = _answers(looks, row, asking)
        asked += bool(found)
        image, box = looks.objects.table["image_hash"][row], looks.objects.boxes[row].tolist()
        for model, places in found.items():
            answers[model] += [(image, box, looks.index.ids[place], rank) for rank, place in enumerate(places)]
    if not asked:
        raise NotFound("There is nothing to ask", found="no picture with several objects that has an answer", hint="See `corkboard look`.")
    schema = {"query_image": pl.String, "query_box": pl.List(pl.Float32), "item_id": pl.String, "rank": pl.Int64}
    frames = {model: pl.DataFrame(rows, schema, orient="row") for model, rows in answers.items()}
    questions = judging.pooled(frames, asking.depth, asking.seed)
    wanted = round(len(questions) * asking.gold / (1 - asking.gold))
    return judging.with_gold(questions, _known(looks.index, wanted, asking.seed), asking.gold, asking.seed)


def _queries(looks: Looks, seed: int) -> list[int]:
    """Rows of objects of scenes and collages whose picture is there, one of each category after the other, drawn by ``seed``."""
    table = looks.objects.table.with_row_index("row").filter(~pl.col("sold") & (pl.len().over("item_id") > 1))
    there = {name: looks.pictures.store.has(name) for name in table["image_hash"].unique()}
    table = table.filter(pl.col("image_hash").replace_strict(there, return_dtype=pl.Boolean))
    table = table[generator(seed, "judging", "queries").permutation(len(table))]
    table = table.with_columns(turn=pl.int_range(pl.len()).over("category"))
    return table.sort("turn", maintain_order=True)["row"].to_list()


def _answers(looks: Looks, row: int, asking: Asking) -> dict[str, list[int]]:
    """Places in the index of the first answers of each model to the object in ``row``; nothing where no product may answer."""
    from corkboard.shopping.shop_the_look import rank

    objects, index, matcher = looks.objects, looks.index, looks.matcher
    allowed = np.ones(int(index.rows.max(initial=-1)) + 1, bool)
    own = [place for place, item_id in enumerate(index.ids) if item_id == objects.table["item_id"][row]]
    allowed[index.rows[own]] = False
    everything = index.search(objects, row, len(index), allowed, unsure=looks.config.unsure, calibrated=matcher.gate.probability)
    if not len(everything):
        return {}
    ordered = rank(objects, row, index, matcher, allowed, looks.appeal, looks.config)
    colours = matcher.features(objects, row, everything, index)[:, _COLOUR_FEATURE]
    draw = generator(asking.seed, "judging", "chance", row)
    orders = {
        COSINE: np.lexsort((everything.places, -everything.cosines)),
        COLOUR: np.lexsort((everything.places, -colours)),
        CHANCE: draw.permutation(len(everything)),
    }
    found = {model: everything.places[order[: asking.depth]].tolist() for model, order in orders.items()}
    return {MATCHER: ordered.places[: asking.depth].tolist(), **found}


def _known(index: LookIndex, wanted: int, seed: int) -> pl.DataFrame:
    """``wanted`` questions with their answers: products beside their own picture (3), and every other one beside another category's (0).

    With one category, all are of the first kind.
    """
    draw = generator(seed, "judging", "known")
    usable = np.flatnonzero((index.rows >= 0) & (index.category >= 0))
    rows = []
    for n, place in enumerate(draw.permutation(usable)[:wanted].tolist()):
        others = usable[index.category[usable] != index.category[place]]
        same = n % 2 == 0 or not len(others)
        shown = place if same else int(draw.choice(others))
        image, box = index.products.table["image_hash"][place], index.products.boxes[place].tolist()
        rows.append((image, box, index.ids[shown], 3 if same else 0))
    schema = {"query_image": pl.String, "query_box": pl.List(pl.Float32), "item_id": pl.String, "grade": pl.Int32}
    return pl.DataFrame(rows, schema, orient="row")


def write_questions(looks: Looks, questions: pl.DataFrame, folder: Path) -> None:
    """Write :data:`KEY` and :data:`PAGE`. Raises :class:`InputError` where ``folder`` holds other questions: their votes need that key."""
    folder, content = Path(folder), _parquet(questions)
    if (folder / KEY).exists() and not questions.equals(read_questions(folder)):
        raise InputError(
            "This folder holds other questions", found=str(folder / KEY), expected="a new folder", hint="Votes need their key."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / PAGE, page_of(looks, questions).encode())
    write_atomically(folder / KEY, content)


def page_of(looks: Looks, questions: pl.DataFrame) -> str:
    """The page that asks ``questions``: of a picture the part, of a product its whole picture."""
    from corkboard.shopping.judging_page import SIDE, ShownQuestion, judging_page
    from corkboard.shopping.objects import crop

    picture_of = dict(looks.index.products.table.select("item_id", "image_hash").iter_rows())
    places: dict[tuple, int] = {}
    images: list[np.ndarray] = []
    shown = []

    def placed(name: str, box: Sequence[float] | None) -> int:
        key = (name, None if box is None else tuple(box))
        if key not in places:
            places[key] = len(images)
            part = np.array((0.0, 0.0, 1.0, 1.0) if box is None else box)
            images.append(crop(looks.pictures.store.rgb(name), part, SIDE))
        return places[key]

    for question, name, box, item_id in questions.select("question_id", "query_image", "query_box", "item_id").iter_rows():
        query, product = placed(name, box), placed(picture_of[item_id], None)
        shown.append(ShownQuestion(question, query, product, looks.titles.get(item_id, "")))
    return judging_page(shown, images)


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def read_questions(folder: Path) -> pl.DataFrame:
    """The questions of a folder. Raises :class:`NotFound` where it has none, and :class:`SchemaError` for other columns."""
    file = Path(folder) / KEY
    if not file.is_file():
        raise NotFound("There are no questions here", found=str(file), hint="`corkboard judge questions --out FOLDER` writes them.")
    frame = pl.read_parquet(file)
    if dict(frame.schema) != dict(QUESTION):
        raise SchemaError(f"{file} is no file of questions", found=frame.columns, expected=list(QUESTION))
    return frame


# --------------------------------------------------------------------------------------------------------------------- votes


def read_votes(files: Sequence[Path], questions: pl.DataFrame, judgements: pl.DataFrame) -> tuple[pl.DataFrame, list[RefusedRow]]:
    """The votes of files (question_id, judge_id, grade) that count, and the rows that are refused, which
    :func:`corkboard.shopping.judging.checked_votes` names. Raises :class:`SchemaError` for a file without these columns."""
    broken: list[RefusedRow] = []

    def rows() -> Iterator[tuple[str, int, Mapping[str, Any]]]:
        for file in files:
            if not Path(file).is_file():
                raise NotFound("There is no such file", found=str(file))
            for piece in read_pieces(Path(file)):
                missing = [name for name in VOTE if name not in piece.frame.columns]
                if missing:
                    raise SchemaError(f"{file} is no file of votes", found=piece.frame.columns, expected=", ".join(VOTE))
                broken.extend(RefusedRow(row.row, f"{Path(file).name}: row", row.found, row.expected, row.original) for row in piece.broken)
                for place, number in enumerate(piece.numbers.tolist()):
                    yield Path(file).name, number, piece.original(place)

    votes, refused = judging.checked_votes(rows(), questions, judgements)
    return votes, sorted(broken + refused, key=lambda one: (one.field.split(":")[0], one.row))


def take_votes(lake: Lake, questions: pl.DataFrame, votes: pl.DataFrame, refused: Sequence[RefusedRow] = ()) -> IngestReport:
    """Write votes into the lake as judgements; those that it has stay as they are.

    They have no moment: how alike two pictures look was so from the beginning, and a build learns from them however old the lake is.
    """
    return ingest_frames(lake.folder, {"judgements": judging.as_judgements(questions, votes, 0)}, "votes of judges", refusals=refused)


@dataclass(frozen=True)
class JudgingReport:
    """What the votes of a lake come to."""

    judged: Judged
    models: pl.DataFrame
    """Columns :data:`corkboard.shopping.judging.FIGURES`."""
    k: int

    @classmethod
    def of(cls, judgements: pl.DataFrame, k: int, questions: pl.DataFrame | None = None) -> JudgingReport:
        """The report on rows of the lake; with ``questions``, models and pairs are those of these alone. Judges are known by all votes."""
        if k < 1:
            raise InputError("A figure at k needs a k", found=k, expected="1 or more")
        judged = judging.judged(judgements)
        pairs = judged.pairs if questions is None else judging.of_questions(judged.pairs, questions)
        judged = Judged(pairs, judged.judges, judged.kappa, judged.kappa_positive)
        return cls(judged, judging.model_figures(pairs, k), k)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; None where nothing is known."""
        grades = np.bincount(self.judged.pairs["grade"].to_numpy(), minlength=len(judging.GRADES)) if len(self.judged.pairs) else []
        return {
            "pairs": len(self.judged.pairs),
            "grades": {name: int(count) for name, count in zip(judging.GRADES, grades, strict=False)},
            "kappa": _known_number(self.judged.kappa),
            "kappa_similar": _known_number(self.judged.kappa_positive),
            "judges": self.judged.judges.to_dicts(),
            "k": self.k,
            "models": [{name: _known_number(value) for name, value in row.items()} for row in self.models.iter_rows(named=True)],
        }


def _known_number(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


# ----------------------------------------------------------------------------------------------------------- simulated judges


@dataclass(frozen=True)
class PanelNoise:
    """How far the votes of a simulated panel are from the truth."""

    judges: int
    careless: int
    """Judges who do not look."""
    untold: int
    """Questions that nobody could tell: the box shows nothing that the world knows."""
    votes_right: float
    """Share of votes that give the true grade."""
    verdicts_right: float
    """Share of verdicts, of the judges who count, that do."""
    verdicts_on_the_right_side: float
    """Share of verdicts that say rightly whether the pair is similar."""


def simulated_votes(world: World, questions: pl.DataFrame, count: int = 3, seed: int = 0) -> tuple[pl.DataFrame, PanelNoise]:
    """``count`` votes on each of ``questions`` by the judges of ``world``, and what they are worth."""
    from corkboard.world.judges import Judges, true_grades, votes

    panel = Judges.drawn(world.config.seed)
    found = votes(world, questions, count, panel, seed)
    told = questions.with_columns(truth=pl.Series(true_grades(world, questions)))
    truth = told.filter(pl.col("truth") >= 0).select("question_id", "truth")
    single = found.join(truth, on="question_id", how="inner")
    verdicts = judging.judged(judging.as_judgements(questions, found, 0)).pairs.with_columns(judging.question_id())
    verdicts = verdicts.join(truth, on="question_id", how="inner")
    right = verdicts["grade"].to_numpy() == verdicts["truth"].to_numpy()
    side = (verdicts["grade"].to_numpy() >= judging.POSITIVE) == (verdicts["truth"].to_numpy() >= judging.POSITIVE)
    hit = (single["grade"] == single["truth"]).to_numpy()
    shares = [float(values.mean()) if len(values) else float("nan") for values in (hit, right, side)]
    return found, PanelNoise(len(panel.names), int(panel.careless.sum()), len(questions) - len(truth), *shares)
