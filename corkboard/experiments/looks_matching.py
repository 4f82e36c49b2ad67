"""Shop The Look asked in each way that claims compare: as it is served, with the truth in place of a stage, from whole scenes, by one
index, with categories made worse, by baselines, and with judgements.

Figures are kept by scene: things of one scene hang together. P@1 and R@10 are over things whose product is in the catalogue, of what is
shown after the gate, and a thing that was not found counts as missed; "ranked" is before the gate, "retrieved" before the reranking, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import polars as pl

from corkboard.embeddings.visual import VisualEncoder
from corkboard.experiments.detector import found_in
from corkboard.experiments.looks_claims import (
    ABSENT,
    AP50,
    ATTRIBUTED,
    CATEGORIES_RIGHT,
    CATEGORY,
    COLOUR_MATCH,
    CROP,
    EVERYTHING,
    EXACT,
    FALLBACK,
    HISTOGRAM,
    JUDGED,
    ON_SEEN,
    ONE,
    OWN,
    P1,
    PATTERN_MATCH,
    PIXELS,
    R10,
    RANKED,
    REJECTION,
    REJECTION_COSINE,
    REMOVED,
    RETRIEVED,
    SERVED,
    SHOWN,
    TRUE_ALL,
    TRUE_BOXES,
    TRUE_CATEGORIES,
    UNTOLD,
    WHOLE,
    at,
    rate,
)
from corkboard.experiments.looks_data import ATTRIBUTES, CLASS_NAMES, HELD_OUT, SEEN, Asked, InScenes, LookStage, at_accuracy
from corkboard.metrics.detection import average_precision
from corkboard.metrics.intervals import PerUser
from corkboard.metrics.looks import STAGES, LookOutcomes, error_budget
from corkboard.seeds import generator
from corkboard.shopping.config import ShopTheLookConfig
from corkboard.shopping.judging import as_judgements, judged, pooled, with_gold
from corkboard.shopping.look_index import EVERYWHERE, LookIndex
from corkboard.shopping.matcher import JudgedPairs, LookMatcher, fit_matcher
from corkboard.shopping.objects import FoundObjects, whole_pictures
from corkboard.shopping.shop_the_look import rank, shop_the_look
from corkboard.vision.images import colour_histogram, raw_pixels
from corkboard.world.judges import Judges, alike
from corkboard.world.vocabulary import SHADES

DEPTH = 10
Found = tuple[dict[str, PerUser], dict[str, float]]
"""Figures by scene, and facts."""


@dataclass(frozen=True)
class Answers:
    """What became of every thing in every scene; all arrays are ``(n,)``. Places are -1 where the product is not there."""

    outcomes: LookOutcomes
    chance: np.ndarray
    """float: the chance of the best candidate, -inf where nothing was found."""
    cosine: np.ndarray
    """float: the cosine of the first candidate, likewise."""
    passed: np.ndarray
    """int: how many of the first ten candidates pass the gate."""
    results: np.ndarray
    """int: how many there are of those."""
    shown: np.ndarray
    """bool: anything is shown for it."""


def answers(
    asked: Asked,
    found: InScenes,
    index: LookIndex,
    matcher: LookMatcher,
    config: ShopTheLookConfig,
    categories: Sequence[int] | None = None,
) -> Answers:
    """Shop every scene. ``categories`` are searched for each thing instead of those that it names."""
    n, none = len(asked), np.full(len(asked), -1, np.int64)
    arrays = {name: none.copy() for name in ("retrieved", "ranked", "place")}
    chance, cosine = np.full(n, -np.inf), np.full(n, -np.inf)
    passed, results, right, shown = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, bool), np.zeros(n, bool)
    own = np.array([index.number_of.get(name, EVERYWHERE) for name in _names(asked)])
    for scene, objects in enumerate(found.objects):
        look = shop_the_look(objects, index, matcher, k=DEPTH, config=config)
        shelves = {shelf.object: shelf.rows for shelf in look.shelves}
        for thing in asked.of(scene).tolist():
            row, wanted = int(found.row[thing]), int(asked.product[thing])
            if row < 0:
                continue
            given = {"unsure": config.unsure, "calibrated": matcher.gate.probability, "categories": categories}
            candidates = index.search(objects, row, config.candidates, **given)
            ranked = rank(objects, row, index, matcher, config=config, categories=categories)
            arrays["retrieved"][thing] = _place(candidates.rows, wanted)
            arrays["ranked"][thing] = _place(ranked.rows, wanted)
            arrays["place"][thing] = _place(shelves.get(row, np.zeros(0, np.int64)), wanted)
            searched = categories if categories is not None else _searched(objects, row, index, config.unsure)
            right[thing] = EVERYWHERE in searched or own[thing] in searched
            chance[thing], cosine[thing] = ranked.probability.max(initial=-np.inf), candidates.cosines.max(initial=-np.inf)
            passed[thing], results[thing] = ranked.passed[:DEPTH].sum(), len(ranked.passed[:DEPTH])
            shown[thing] = row in shelves
    outcomes = LookOutcomes(found.row >= 0, right, arrays["retrieved"], arrays["ranked"], arrays["place"])
    return Answers(outcomes, chance, cosine, passed, results, shown)


def _searched(objects: FoundObjects, row: int, index: LookIndex, unsure: float) -> list[int]:
    known = objects.table.row(row, named=True)
    return index.categories_of(known["category"], known["second_category"], known["posterior"] - known["second_posterior"], unsure)


def _names(asked: Asked) -> list[str]:
    return [CLASS_NAMES[k] for k in asked.category]


def _place(rows: np.ndarray, wanted: int) -> int:
    where = np.flatnonzero(rows == wanted)
    return int(where[0]) if len(where) else -1


# -------------------------------------------------------------------------------------------------------------- figures


def by_scene(asked: Asked, values: np.ndarray, counted: np.ndarray) -> PerUser:
    """The mean of ``values`` over the things that are ``counted`` (bool, or weights), by scene."""
    weight = np.asarray(counted, np.float64)
    total = np.where(weight > 0, np.asarray(values, np.float64), 0.0) * (weight > 0)
    count = len(asked.images)
    return PerUser(np.bincount(asked.scene, total, count), np.bincount(asked.scene, weight, count), int(total.sum()))


def told(asked: Asked, of: Answers) -> Found:
    """Every measure of some answers."""
    listed, seen, one = asked.listed, of.outcomes.detected, of.outcomes
    figures = {
        P1: by_scene(asked, one.shown == 0, listed),
        R10: by_scene(asked, one.shown >= 0, listed),
        RANKED: by_scene(asked, one.ranked == 0, listed),
        RETRIEVED: by_scene(asked, one.retrieved == 0, listed),
        CROP: by_scene(asked, one.ranked == 0, listed & seen),
        SHOWN: by_scene(asked, of.shown, listed),
        ABSENT: by_scene(asked, of.shown, ~listed),
        REMOVED: by_scene(asked, of.results - of.passed, np.where(listed, 0, of.results)),
        REJECTION: rejection(asked, of.chance, seen),
        REJECTION_COSINE: rejection(asked, of.cosine, seen),
    }
    mine = {name: values[listed] for name, values in vars(one).items()}
    budget = error_budget(LookOutcomes(**mine))
    return figures, {rate(stage): budget.rates[stage] for stage in STAGES} | {"product of the rates": budget.p1, "things": len(asked)}


def rejection(asked: Asked, best: np.ndarray, counted: np.ndarray) -> PerUser:
    """The AUC of ``best`` for things in the catalogue against things that are not, of those ``counted``, by scene of the former."""
    there = counted & asked.listed
    absent = np.sort(best[counted & ~asked.listed])
    below = (np.searchsorted(absent, best, "left") + np.searchsorted(absent, best, "right")) / (2.0 * max(len(absent), 1))
    return by_scene(asked, below, there if len(absent) else np.zeros(len(asked), bool))


# ------------------------------------------------------------------------------------------------------------- variants


@dataclass(frozen=True)
class ShopBench:
    """The variants of Shop The Look on the scenes of one seed."""

    stage: LookStage

    def measured(self, variant: str) -> Found:
        """Figures and facts of a variant."""
        if variant in _OTHER:
            return _OTHER[variant](self)
        asked, stage = self.stage.asked(), self.stage
        if variant == ON_SEEN:
            asked, found = stage.asked(backgrounds=SEEN), stage.detected(backgrounds=SEEN)
        else:
            found = stage.by_true_boxes() if variant in (TRUE_BOXES, TRUE_ALL) else stage.detected()
        if variant in (TRUE_CATEGORIES, TRUE_ALL):
            found = found.with_categories(asked, np.eye(len(stage.detector.class_names))[asked.category])
        config, categories = stage.config.shop, None
        if variant == EVERYTHING:
            config = config.model_copy(update={"candidates": len(stage.index)})
        matcher = self.judged_matcher if variant == JUDGED else self.matcher
        begun = time.perf_counter()
        figures, facts = told(asked, answers(asked, found, stage.index, matcher, config, categories))
        facts["search s"] = time.perf_counter() - begun
        if variant in (SERVED, ON_SEEN):
            facts |= self._detection(asked, found, HELD_OUT if variant == SERVED else SEEN)
        if variant == JUDGED:
            facts |= self._judges
        return figures, facts

    @cached_property
    def matcher(self) -> LookMatcher:
        """Without judgements; the scenes that judges would see are the lake's own."""
        scenes = reduce(FoundObjects.joined, self.stage.detected("judged").objects) if self.stage.config.shown.judged else None
        return fit_matcher(self.stage.index, config=self.stage.config.shop, scenes=scenes)

    def _detection(self, asked: Asked, found: InScenes, backgrounds: str) -> dict[str, float]:
        """How good the detector is on these scenes: AP50, and the share of right categories of what it found."""
        stage = self.stage
        truth = [(asked.boxes[asked.of(k)], asked.category[asked.of(k)]) for k in range(len(asked.images))]
        at_all = getattr(stage.detector, "at", None)
        sharp = stage.detector if at_all is None else at_all(0.05)
        report = average_precision(found_in(sharp, asked.images), truth, replicates=1)
        seen = found.row >= 0
        said = stage.posteriors(asked, stage.found(backgrounds=backgrounds), found.row)[seen]
        return {AP50: report.ap50, CATEGORIES_RIGHT: float((said.argmax(axis=1) == asked.category[seen]).mean()) if len(said) else 0.0}

    # --------------------------------------------------------------------------------------------------- whole scenes

    def whole_scenes(self) -> Found:
        """The scene itself as what is looked for: among all products, in the thing's true category, and whichever of its products comes."""
        stage, asked = self.stage, self.stage.asked()
        index, objects = stage.index, whole_pictures(list(asked.images), stage.encoder)
        own = [index.number_of.get(name, EVERYWHERE) for name in _names(asked)]
        everywhere = [index.search(objects, row, DEPTH, categories=[EVERYWHERE]).rows for row in range(len(objects))]
        among = [index.search(objects, scene, DEPTH, categories=[own[k]]).rows for k, scene in enumerate(asked.scene.tolist())]
        place = np.array([_place(everywhere[scene], product) for scene, product in zip(asked.scene, asked.product, strict=True)])
        inside = np.array([_place(rows, product) for rows, product in zip(among, asked.product, strict=True)])
        listed, scenes = asked.listed, np.arange(len(asked.images))
        some = np.array([listed[asked.of(k)].any() for k in scenes])
        any_first = np.array([len(everywhere[k]) > 0 and everywhere[k][0] in asked.product[asked.of(k)] for k in scenes])
        figures = {
            P1: by_scene(asked, place == 0, listed),
            R10: by_scene(asked, place >= 0, listed),
            f"{P1}, category known": by_scene(asked, inside == 0, listed),
            f"{R10}, category known": by_scene(asked, inside >= 0, listed),
            f"{P1}, any of the scene": PerUser((any_first & some).astype(float), some.astype(float), int((any_first & some).sum())),
        }
        return figures, {}

    # ----------------------------------------------------------------------------------------------------- categories

    def by_category(self) -> Found:
        """One index, that of the likeliest category, and those of the two likeliest where it is unsure, at several shares of right
        categories, and at the detector's own; of things that were found, in the order of retrieval."""
        stage, asked, config = self.stage, self.stage.asked(), self.stage.config
        found = stage.detected()
        seen, facts = found.row >= 0, {}
        said = stage.posteriors(asked, stage.found(), found.row)
        figures: dict[str, PerUser] = {}
        for level in (None, *config.accuracies):
            posteriors = said.astype(np.float64)
            if level is not None and seen.any():
                posteriors[seen] = at_accuracy(said[seen], asked.category[seen], level, stage.seed)
            told_so = found.with_categories(asked, posteriors)
            for mode, unsure, categories in ((OWN, 0.0, None), (FALLBACK, config.shop.unsure, None), (ONE, 0.0, [EVERYWHERE])):
                first = self._retrieved(asked, told_so, unsure, categories)
                figures[at(mode, level)] = by_scene(asked, first, asked.listed & seen)
            if seen.any():
                facts[at(CATEGORIES_RIGHT, level)] = float((posteriors[seen].argmax(axis=1) == asked.category[seen]).mean())
        return figures, facts

    def _retrieved(self, asked: Asked, found: InScenes, unsure: float, categories: list[int] | None) -> np.ndarray:
        """bool (n,): the product of each thing is retrieved first."""
        index, gate = self.stage.index, self.matcher.gate
        first = np.zeros(len(asked), bool)
        for thing in np.flatnonzero(found.row >= 0).tolist():
            given = {"unsure": unsure, "calibrated": gate.probability, "categories": categories}
            rows = index.search(found.objects[asked.scene[thing]], int(found.row[thing]), 1, **given).rows
            first[thing] = len(rows) > 0 and rows[0] == asked.product[thing]
        return first

    # ------------------------------------------------------------------------------------------------------ baselines

    def by_pixels(self, describe: Callable[[np.ndarray], np.ndarray]) -> Found:
        """The same crops of the same boxes in the same index, told apart by what looks at pixels alone."""
        stage, asked = self.stage, self.stage.asked()
        found, index = stage.detected(), stage.index
        products = index.products
        places = [int(item.split()[1]) for item in products.table["item_id"]]
        sold = describe(stage.crops(stage.sold_pictures, np.array(places), products.boxes, stage.side))
        seen = np.flatnonzero(found.row >= 0)
        boxes = [found.objects[asked.scene[thing]].boxes[found.row[thing]] for thing in seen.tolist()]
        queries = describe(stage.crops(asked.images, asked.scene[seen], np.array(boxes), stage.side)) if len(seen) else np.zeros((0, 1))
        first, near = np.zeros(len(asked), bool), np.zeros(len(asked), bool)
        for thing, query in zip(seen.tolist(), queries, strict=True):
            category = _searched(found.objects[asked.scene[thing]], int(found.row[thing]), index, 0.0)[0]
            inside = np.arange(len(index)) if category == EVERYWHERE else np.flatnonzero(index.category == category)
            best = index.rows[inside[np.argsort(-(sold[inside] @ query), kind="stable")[:DEPTH]]]
            first[thing], near[thing] = len(best) > 0 and best[0] == asked.product[thing], asked.product[thing] in best
        return {P1: by_scene(asked, first, asked.listed), R10: by_scene(asked, near, asked.listed)}, {}

    # ----------------------------------------------------------------------------------------------------- attributes

    def looked_at_by(self, told_so: Sequence[str]) -> Found:
        """Colour, pattern and the very product of the first result, in true boxes and categories, by an encoder that was told or not."""
        stage, asked = self.stage, self.stage.asked()
        encoder: VisualEncoder = stage.trained(told_so) if told_so else stage.encoder
        other = LookStage(stage.config, stage.seed, stage.detector)
        other.__dict__["encoder"] = encoder
        other._made.update({key: made for key, made in stage._made.items() if key[0] in ("scenes", "found") or key == "single"})
        index, found = other.index if told_so else stage.index, (other if told_so else stage).by_true_boxes()
        products = stage.products
        first = np.full(len(asked), -1, np.int64)
        for thing, name in enumerate(_names(asked)):
            categories = [index.number_of.get(name, EVERYWHERE)]
            rows = index.search(found.objects[asked.scene[thing]], int(found.row[thing]), 1, categories=categories).rows
            first[thing] = rows[0] if len(rows) else -1
        there = first >= 0
        away = np.abs(products.shade[first] - products.shade[asked.product])
        colour = np.minimum(away, len(SHADES) - away) <= 1
        pattern = products.pattern[first] == products.pattern[asked.product]
        everything = np.ones(len(asked), bool)
        figures = {
            COLOUR_MATCH: by_scene(asked, colour & there, everything),
            PATTERN_MATCH: by_scene(asked, pattern & there, everything),
            EXACT: by_scene(asked, first == asked.product, asked.listed),
        }
        return figures, {}

    # ------------------------------------------------------------------------------------------------------ judgements

    @property
    def judged_matcher(self) -> LookMatcher:
        """Fitted to what judges of known noise say of the results for other scenes."""
        return fit_matcher(self.stage.index, self._judged_pairs(), config=self.stage.config.shop)

    def _judged_pairs(self) -> JudgedPairs:
        """Results by cosine, by colour and by chance for the things of further scenes, judged by three each, gold questions among them."""
        stage, index = self.stage, self.stage.index
        asked, found = stage.asked("judged"), stage.detected("judged")
        things = np.flatnonzero(found.row >= 0)
        queries = [found.objects[asked.scene[k]].take([found.row[k]]) for k in things.tolist()]
        pairs = pooled(_proposed(queries, index, stage.config.shown.judged_depth, stage.seed), stage.config.shown.judged_depth, stage.seed)
        truth = alike(stage.products, asked.product[things[_numbers(pairs)]], _products_of(pairs, index))
        known = pairs.with_columns(grade=pl.Series(truth, dtype=pl.Int32))[:: max(len(pairs) // 40, 1)]
        questions = with_gold(pairs, known.select("query_image", "query_box", "item_id", "grade"), 0.05, stage.seed)
        truth = alike(stage.products, asked.product[things[_numbers(questions)]], _products_of(questions, index))
        panel = Judges.drawn(stage.seed)
        question, judge, grade = panel.vote(truth, 3, stage.seed)
        columns = {
            "question_id": questions["question_id"].to_numpy()[question],
            "judge_id": np.array(panel.names)[judge],
            "grade": grade.astype(np.int32),
        }
        verdicts = judged(as_judgements(questions, pl.DataFrame(columns), 0))
        self._judges.update({"kappa": verdicts.kappa, "judged pairs": float(len(verdicts.pairs))})
        joined = queries[0]
        for one in queries[1:]:
            joined = joined.joined(one)
        place = {row: k for k, row in enumerate(index.rows.tolist())}
        places = np.array([place[row] for row in _products_of(verdicts.pairs, index).tolist()], np.int64)
        return JudgedPairs(joined, _numbers(verdicts.pairs), places, verdicts.pairs["grade"].to_numpy().astype(np.int64))

    @property
    def _judges(self) -> dict[str, float]:
        return self.stage._made.setdefault("judges", {})


def _proposed(queries: Sequence[FoundObjects], index: LookIndex, depth: int, seed: int) -> Mapping[str, pl.DataFrame]:
    """Results of three models for every query, by the number of the query as the name of its picture."""
    rng = generator(seed, "looks", "proposed")
    colours = index.products.colours.astype(np.float32)
    colours /= np.maximum(np.linalg.norm(colours, axis=1, keepdims=True), 1e-6)
    rows: dict[str, list[tuple[str, int, int]]] = {"cosine": [], "colour": [], "chance": []}
    for number, query in enumerate(queries):
        category = _searched(query, 0, index, 0.0)[0]
        inside = np.arange(len(index)) if category == EVERYWHERE else np.flatnonzero(index.category == category)
        by_colour = inside[np.argsort(-(colours[inside] @ query.colours[0].astype(np.float32)), kind="stable")]
        orders = {
            "cosine": index.search(query, 0, depth, unsure=0.0).places,
            "colour": by_colour[:depth],
            "chance": rng.permutation(inside)[:depth],
        }
        for model, order in orders.items():
            rows[model] += [(str(number), int(index.rows[place]), rank_) for rank_, place in enumerate(order.tolist())]
    frames = {}
    for model, given in rows.items():
        frame = pl.DataFrame(given, schema=["query_image", "row", "rank"], orient="row")
        frames[model] = frame.select(
            "query_image",
            pl.lit(None, pl.List(pl.Float32)).alias("query_box"),
            pl.format("product {}", pl.col("row").cast(pl.String).str.zfill(6)).alias("item_id"),
            "rank",
        )
    return frames


def _numbers(questions: pl.DataFrame) -> np.ndarray:
    return questions["query_image"].cast(pl.Int64).to_numpy()


def _products_of(questions: pl.DataFrame, index: LookIndex) -> np.ndarray:
    return questions["item_id"].str.split(" ").list.last().cast(pl.Int64).to_numpy()


_OTHER: Mapping[str, Callable[[ShopBench], Found]] = {
    WHOLE: ShopBench.whole_scenes,
    CATEGORY: ShopBench.by_category,
    HISTOGRAM: lambda bench: bench.by_pixels(lambda images: colour_histogram(images, True)),
    PIXELS: lambda bench: bench.by_pixels(lambda images: raw_pixels(images, 16)),
    ATTRIBUTED: lambda bench: bench.looked_at_by(ATTRIBUTES),
    UNTOLD: lambda bench: bench.looked_at_by(()),
}
