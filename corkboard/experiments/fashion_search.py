"""Search for real products: a title finds its photo, a photo its title, and attributes as people type them find products.

Products of the test are seen by nothing that learns; near duplicates and equal titles never straddle. The first table asks for one very
product, the second is about hybrid search: a ranking by words of titles and one by vectors of photos, and both fused by
:func:`corkboard.retrieval.hybrid.fused`. What is chosen (how to fuse, how much a title counts, how many neighbours) is chosen on
validation products as a catalogue of their own.

Runs are those of :mod:`corkboard.experiments.spine_runs`: one JSON each, a budget, and "not measured" for what it did not reach.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from corkboard.experiments.fashion_search_config import FashionSearchConfig
from corkboard.experiments.fashion_search_models import (
    SOURCE,
    Neighbours,
    Pairing,
    Part,
    Products,
    Words,
    nearest,
    paired_by_attributes,
    text_encoder,
    trunk_vectors,
    visual_vectors,
    with_titles,
)
from corkboard.experiments.fashion_search_queries import grades
from corkboard.experiments.photos import built_in_digest
from corkboard.experiments.photos_data import TEST, TRAIN, VALID
from corkboard.experiments.real_data import Say, data_file, evaluation_of, table_of_runs
from corkboard.experiments.result import Evaluation, Measure, Table
from corkboard.experiments.spine_runs import Context, Job, Run, UserRunStore, code_hash, run_jobs
from corkboard.metrics.intervals import PerUser
from corkboard.retrieval.hybrid import Ranking, fused

PAIRS, QUERIES = "titles and photos", "queries"
"""The two parts of the experiment."""
CHANCE, ATTRIBUTES, PIXELS, HISTOGRAM = "chance", "BM25 over attributes", "raw pixels", "colour histogram"
TRUNK, VISUAL = "SearchSage, built-in trunk", "SearchSage, visual embedding"
TITLES, ANSWERS = "BM25 over titles", "BM25 over attributes (the answer key)"
PHOTOS, BOTH = "vectors of photos", "vectors of photos and titles"
HYBRID, HYBRID_BOTH = "hybrid, photos", "hybrid, photos and titles"
"""Rows."""
CODE = (
    *("experiments/fashion_search.py", "experiments/fashion_search_models.py", "experiments/fashion_search_queries.py"),
    *("experiments/photos_data.py", "metrics", "seeds.py", "vision", "lake/pictures/decode.py", "learning", "retrieval/lexical.py"),
    *("retrieval/hybrid.py", "embeddings/visual.py", "embeddings/visual_network.py", "embeddings/visual_training.py"),
    *("embeddings/searchsage.py", "embeddings/searchsage_network.py", "embeddings/searchsage_training.py", "embeddings/query_pairs.py"),
)
"""Sources that figures depend on."""
_CUTS = (1, 10)
_PAIR_MEASURES = [
    Measure(f"{way} R@{k}", f"share of products whose own {found} is among the first {k}")
    for way, found in (("title to photo", "photo"), ("photo to title", "title"))
    for k in _CUTS
]


def run_fashion_search(
    folder: Path,
    runs: Path,
    say: Say,
    *,
    minutes: float = 30.0,
    seeds: int = 5,
    workers: int = 2,
    config: FashionSearchConfig | None = None,
) -> Evaluation:
    """Measure what is missing in ``runs`` within ``minutes``, and return the tables of all that is there.

    ``folder`` is that of the set, or the one above it. ``workers`` processes of one thread each do the runs; 0 does them in this one.
    Raises :class:`NotFound` where the set is not there.
    """
    began = time.monotonic()
    config = config or FashionSearchConfig()
    folder = Path(folder) / SOURCE.name if (Path(folder) / SOURCE.name).is_dir() else Path(folder)
    data_file(folder, "images.tar")
    say(f"reading {SOURCE.name}")
    products = Products.read(folder, Path(runs) / "photos", config)
    plan = Plan(folder, products, config, seeds)
    store = UserRunStore(Path(runs), "fashion-search", code_hash(*CODE))
    left = max(minutes - (time.monotonic() - began) / 60, 0.0)
    finished = run_jobs(plan.jobs, store, Path(runs), left, say, workers)
    tables = tables_of(plan, store)
    found = evaluation_of(tables[0], products.photos.split_hash, {}, config.evaluation, finished)
    return replace(found, tables=[replace(tables[0], seconds=round(finished.seconds, 1)), *tables[1:]])


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    folder: Path
    products: Products
    config: FashionSearchConfig
    seeds: int

    @cached_property
    def jobs(self) -> list[Job]:
        """What needs no training first, then a job for each seed."""
        where = {"folder": str(self.folder), "config": self.config.model_dump(mode="json")}
        work = f"{__name__}:measure"
        jobs = [Job("baselines", work, self._baselines(), config=where)]
        return jobs + [Job(f"seed {seed}", work, self._learned(seed), config=where) for seed in range(self.seeds)]

    def of(self, world: str, rows: Sequence[str]) -> list[Job]:
        """The jobs with the runs of some rows alone, in the order of ``rows``."""
        runs = [run for job in self.jobs for run in job.runs if run.world == world]
        return [Job(row, "", [run for run in runs if run.variant == row]) for row in rows]

    def _shared(self, *names: str) -> dict[str, Any]:
        settings = self.config.model_dump(mode="json", include=set(names))
        return {"experiment": "fashion-search", "split": self.products.photos.split_hash, **settings}

    def _baselines(self) -> list[Run]:
        asked = {**self._shared("queries"), "k": self.config.evaluation.k}
        near = self._shared("neighbours", "levels", "pixel_side")
        runs = [Run(PAIRS, row, 0, {**self._shared(), "row": row}, 20.0) for row in (CHANCE, ATTRIBUTES)]
        runs += [Run(PAIRS, row, 0, {**near, "row": row}, 30.0) for row in (PIXELS, HISTOGRAM)]
        return runs + [Run(QUERIES, row, 0, {**asked, "row": row, "asked": True}, 10.0) for row in (CHANCE, TITLES, ANSWERS)]

    def _learned(self, seed: int) -> list[Run]:
        learned = {**self._shared("queries", "searchsage"), "weights": built_in_digest(), "trunk": self.config.photos.trunk.model_dump()}
        visual = {**learned, **self._shared("visual", "word_titles")}
        asked = {**visual, **self._shared("depth", "fusions", "title_shares"), "k": self.config.evaluation.k}
        runs = [Run(PAIRS, VISUAL, seed, {**visual, "row": VISUAL}, 180.0)]
        runs += [Run(QUERIES, row, seed, {**asked, "row": row}, 10.0) for row in (PHOTOS, HYBRID, BOTH, HYBRID_BOTH)]
        return [*runs, Run(PAIRS, TRUNK, seed, {**learned, "row": TRUNK}, 30.0)]


# -------------------------------------------------------------------------------------------------------------- measuring


def measure(context: Context) -> None:
    """The work of a job: each of its runs that is missing and fits."""
    bench: Bench | None = None
    for run in context.todo():
        bench = bench or Bench.of(context)
        start = time.perf_counter()
        figures, facts = bench.measured(run)
        context.finished(run, figures, facts, time.perf_counter() - start)


@dataclass(frozen=True)
class Space:
    """What a seed has learned: vectors of all photos and of all titles, and of queries, unit, float32 ``(products, dim)`` each."""

    photos: np.ndarray
    titles: np.ndarray
    queries: np.ndarray


class Bench:
    """The products, with all that is measured on them."""

    def __init__(self, products: Products, config: FashionSearchConfig, doing: Callable[[str, int, int], None] = lambda *_: None):
        self.products, self.config, self._doing = products, config, doing
        self.parts = {part: products.part(part) for part in (VALID, TEST)}
        self._spaces: dict[tuple[str, int], Space] = {}
        self._grades = {part: grades(one.queries, one.attributes) for part, one in self.parts.items()}
        self._by_words: dict[int, list[Ranking]] = {}

    @classmethod
    def of(cls, context: Context) -> Bench:
        """What the job of ``context`` is about."""
        where = context.job.config
        config = FashionSearchConfig.model_validate(where["config"])
        return cls(Products.read(Path(where["folder"]), context.folder / "photos", config), config, context.doing)

    def measured(self, run: Run) -> tuple[dict[str, PerUser], dict[str, float]]:
        """The figures of a run on test products, and what was chosen on validation products."""
        row = run.variant
        if run.world == QUERIES:
            return self._asked(row, run.seed)
        if row == CHANCE:
            return by_chance(self.parts[TEST]), {}
        if row in (PIXELS, HISTOGRAM):
            return self._by_neighbours(row)
        if row == ATTRIBUTES:
            return pair_figures(paired_by_attributes(self.parts[TEST]), self.parts[TEST]), {}
        return self.paired(self.space(row, run.seed), TEST), {}

    def space(self, row: str, seed: int) -> Space:
        """The learned space of a row: that of the trunk as it comes, or the visual embedding."""
        if (row, seed) not in self._spaces:
            photos = trunk_vectors(self.products, self.config, seed) if row == TRUNK else self._visual(seed)
            reader = text_encoder(self.products, photos, self.config, seed, self._doing)
            typed = reader.encode([query.text for query in self.products.queries])
            self._spaces[row, seed] = Space(photos, reader.encode(self.products.titles), typed)
        return self._spaces[row, seed]

    def _visual(self, seed: int) -> np.ndarray:
        return visual_vectors(self.products, self.config, seed, self._doing)

    # ------------------------------------------------------------------------------------------------- titles and photos

    def paired(self, space: Space, part: int) -> dict[str, PerUser]:
        """Titles and photos of a part compared by cosine."""
        own = self.parts[part]
        _, first = np.unique(own.title_of, return_index=True)
        scores = space.titles[own.rows[first]] @ space.photos[own.rows].T
        return pair_figures(Pairing(scores, scores.T), own)

    def _by_neighbours(self, row: str) -> tuple[dict[str, PerUser], dict[str, float]]:
        from corkboard.vision.images import colour_histogram, raw_pixels

        images, config = self.products.photos.images, self.config
        vectors = raw_pixels(images, config.pixel_side) if row == PIXELS else colour_histogram(images, False, config.levels)
        valid, test = (Neighbours(vectors, self.parts[part], max(config.neighbours)) for part in (VALID, TEST))
        tried = {count: _mean(pair_figures(valid.pairing(count), self.parts[VALID])) for count in config.neighbours}
        best = max(tried, key=tried.__getitem__)
        return pair_figures(test.pairing(best), self.parts[TEST]), {"chosen neighbours": float(best)}

    # ------------------------------------------------------------------------------------------------------------ queries

    def _asked(self, row: str, seed: int) -> tuple[dict[str, PerUser], dict[str, float]]:
        if row == CHANCE:
            own = self.parts[TEST]
            return {self.measure: by_group(expected_ndcg(gains_of(self._grades[TEST]), self.config.evaluation.k), own.groups)}, {}
        if row == TITLES:
            return self.figures(self.by_words(TEST), TEST), {}
        if row == ANSWERS:
            own = self.parts[TEST]
            return self.figures(found_by_words(own.attribute_words, own, self.config.evaluation.k), TEST), {}
        space, facts, share = self.space(VISUAL, seed), {}, 0.0
        if row in (BOTH, HYBRID_BOTH):
            tried = {one: self._value(self.by_vectors(space, VALID, one), VALID) for one in self.config.title_shares}
            share = max(tried, key=tried.__getitem__)
            facts["chosen share of titles"] = share
        rankings = self.by_vectors(space, TEST, share)
        if row in (HYBRID, HYBRID_BOTH):
            valid = self.by_vectors(space, VALID, share)
            values = [self._value(self.hybrid(valid, VALID, number), VALID) for number in range(len(self.config.fusions))]
            best = int(np.argmax(values))
            facts |= {"chosen fusion": float(best), "valid NDCG": values[best]}
            rankings = self.hybrid(rankings, TEST, best)
        return self.figures(rankings, TEST), facts

    @property
    def measure(self) -> str:
        """The name of the measure of queries."""
        return f"NDCG@{self.config.evaluation.k}"

    def by_words(self, part: int) -> list[Ranking]:
        """What BM25 over titles finds for each query of a part."""
        if part not in self._by_words:
            own = self.parts[part]
            self._by_words[part] = found_by_words(own.own_titles, own, self.config.depth)
        return self._by_words[part]

    def by_vectors(self, space: Space, part: int, share: float) -> list[Ranking]:
        """What vectors find for each query of a part: those of photos, with titles that count ``share``."""
        rows = self.parts[part].rows
        vectors = with_titles(space.photos[rows], space.titles[rows], share)
        return nearest(space.queries[rows] @ vectors.T, self.config.depth)

    def hybrid(self, vectors: Sequence[Ranking], part: int, number: int) -> list[Ranking]:
        """Both rankings of each query of a part in one, by the fusion of that number."""
        config, k = self.config.fusions[number], self.config.evaluation.k
        return [fused(words, near, config, k) for words, near in zip(self.by_words(part), vectors, strict=True)]

    def figures(self, rankings: Sequence[Ranking], part: int) -> dict[str, PerUser]:
        """NDCG over the queries of a part, kept apart by group."""
        values = ndcg(rankings, gains_of(self._grades[part]), self.config.evaluation.k)
        return {self.measure: by_group(values, self.parts[part].groups)}

    def _value(self, rankings: Sequence[Ranking], part: int) -> float:
        return self.figures(rankings, part)[self.measure].value


def found_by_words(texts: Sequence[str], part: Part, k: int) -> list[Ranking]:
    """What BM25 over ``texts``, one a product of ``part``, finds for each of its queries."""
    words = Words(texts)
    found = [words.ranking(query.text, k) for query in part.queries]
    words.close()
    return found


# --------------------------------------------------------------------------------------------------------------- measures


def pair_figures(pairing: Pairing, part: Part) -> dict[str, PerUser]:
    """Recall of the one right answer for each product of a part; equal scores count against it.

    From a title all photos of the part are ranked, but for other products of that very title, which are neither right nor wrong; from a
    photo all distinct titles.
    """
    products, title = np.arange(len(part)), part.title_of
    scores = pairing.by_title[title]
    same = title[:, None] == title
    same[products, products] = False
    above = (scores >= scores[products, products, None]) & ~same
    ranks = {"title to photo": above.sum(axis=1)}
    scores = pairing.by_photo
    ranks["photo to title"] = (scores >= scores[products, title, None]).sum(axis=1)
    return {f"{way} R@{k}": by_group((rank <= k).astype(np.float64), part.groups) for way, rank in ranks.items() for k in _CUTS}


def by_chance(part: Part) -> dict[str, PerUser]:
    """What a draw is expected to find in :func:`pair_figures`."""
    candidates = {
        "title to photo": len(part) + 1 - np.bincount(part.title_of)[part.title_of],
        "photo to title": np.full(len(part), len(part.titles)),
    }
    return {f"{way} R@{k}": by_group(np.minimum(k / count, 1.0), part.groups) for way, count in candidates.items() for k in _CUTS}


def by_group(values: np.ndarray, groups: np.ndarray) -> PerUser:
    """The mean of ``values`` float64 ``(n,)``, kept apart by group."""
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return PerUser(np.bincount(group, values, len(counts)), counts.astype(np.float64), len(values))


def gains_of(graded: np.ndarray) -> np.ndarray:
    """float64: ``2 ** m - 1`` for m of the asked attributes."""
    return 2.0**graded - 1


def ndcg(rankings: Sequence[Ranking], gains: np.ndarray, k: int) -> np.ndarray:
    """float64 ``(queries,)``: graded NDCG of the first ``k``; ``gains`` ``(queries, products)`` are those of the whole catalogue."""
    discounts = 1 / np.log2(np.arange(k) + 2)
    reached = [float(own[rows[:k]] @ discounts[: len(rows[:k])]) for (rows, _), own in zip(rankings, gains, strict=True)]
    return np.array(reached) / _ideal(gains, discounts)


def expected_ndcg(gains: np.ndarray, k: int) -> np.ndarray:
    """float64 ``(queries,)``: NDCG that a random order is expected to have."""
    discounts = 1 / np.log2(np.arange(min(k, gains.shape[1])) + 2)
    return gains.mean(axis=1) * discounts.sum() / _ideal(gains, discounts)


def _ideal(gains: np.ndarray, discounts: np.ndarray) -> np.ndarray:
    best = -np.sort(-gains, axis=1)[:, : len(discounts)]
    return best @ discounts[: best.shape[1]]


def _mean(figures: Mapping[str, PerUser]) -> float:
    return float(np.mean([figure.value for figure in figures.values()]))


# ------------------------------------------------------------------------------------------------------------- the tables


def tables_of(plan: Plan, store: UserRunStore) -> list[Table]:
    """Titles and photos; queries beside BM25; and both hybrids beside their other half, the vectors."""
    evaluation = plan.config.evaluation
    k = evaluation.k
    pairs = Table(PAIRS, "A title to its photo, a photo to its title", PIXELS, _PAIR_MEASURES, [], _pair_protocol(plan, store))
    rows = [PIXELS, HISTOGRAM, ATTRIBUTES, TRUNK, VISUAL, CHANCE]
    measure = [Measure(f"NDCG@{k}", f"graded NDCG of the first {k} products, of all test products")]
    asked = Table(QUERIES, "Attributes as people type them", TITLES, measure, [], _query_protocol(plan, store))
    asked = table_of_runs(asked, plan.of(QUERIES, [TITLES, PHOTOS, HYBRID, BOTH, HYBRID_BOTH, ANSWERS, CHANCE]), store, evaluation)
    halves = []
    for base, hybrid in ((PHOTOS, HYBRID), (BOTH, HYBRID_BOTH)):
        about = f"{hybrid}, beside its vectors"
        halves.append(table_of_runs(Table(about, about, base, measure, [], []), plan.of(QUERIES, [base, hybrid]), store, evaluation))
    verdicts = {name: beats_both(name, asked, half) for name, half in zip((HYBRID, HYBRID_BOTH), halves, strict=True)}
    asked = replace(asked, facts={f"{name} beats both halves": verdict for name, verdict in verdicts.items()})
    return [replace(table_of_runs(pairs, plan.of(PAIRS, rows), store, evaluation), facts=_facts(plan)), asked, *halves]


def beats_both(hybrid: str, words: Table, vectors: Table) -> str:
    """Whether the intervals of both differences of a hybrid lie above 0: yes, no, or not measured."""
    cells = [next((row.cells[table.measures[0].name] for row in table.rows if row.name == hybrid), None) for table in (words, vectors)]
    if any(cell is None or cell.value is None for cell in cells):
        return "not measured"
    return "yes" if all(cell is not None and cell.verdict == "better" for cell in cells) else "no"


def _facts(plan: Plan) -> dict[str, int | float | str | None]:
    photos = plan.products.photos
    facts: dict[str, int | float | str | None] = {"products": len(photos), "refused": photos.refused}
    for part, name in ((TRAIN, "training"), (VALID, "validation"), (TEST, "test")):
        rows = photos.rows(part)
        facts[name] = f"{len(rows):,} of {len(np.unique(photos.groups[rows])):,} groups"
    return {**facts, "seeds": plan.seeds, "split": photos.split_hash}


def _pair_protocol(plan: Plan, store: UserRunStore) -> list[str]:
    test = plan.products.part(TEST)
    trunk = "as it comes with the package" if built_in_digest() else "of random weights, because this copy has none of its own"
    return [
        f"A title ranks all {len(test):,} test photos, less those of other products with that very title; a photo ranks all "
        f"{len(test.titles):,} distinct test titles. Equal scores count against the right one.",
        "Test products are seen by nothing that learns: near duplicates and equal titles are one group, which lies in one part.",
        f"{ATTRIBUTES}: the title's words against gender, type, colour, usage and season of each product, and these as words against the "
        "titles. It reads what somebody has typed in for test products, and no photo.",
        f"{PIXELS}, {HISTOGRAM}: carried over by the nearest training products (photos by cosine, titles by BM25)."
        + _chosen(plan, store, PAIRS, (PIXELS, HISTOGRAM), "chosen neighbours"),
        f"SearchSage: texts into the frozen space of photos, from titles and plain attribute queries of training products. The space "
        f"is the trunk's ({trunk}), or the visual embedding, trained on labels and title words of training products.",
        f"Intervals: {plan.config.evaluation.level:.0%} bootstrap over groups (the column users) and, of rows with several, over seeds.",
    ]


def _query_protocol(plan: Plan, store: UserRunStore) -> list[str]:
    queries = plan.products.part(TEST).queries
    fusions = plan.config.fusions
    said = []
    for row in (HYBRID, HYBRID_BOTH):
        for run in (run for job in plan.of(QUERIES, [row]) for run in job.runs):
            facts = store.get(run.config, run.seed) or {}
            if "chosen fusion" in facts:
                one = fusions[int(facts["chosen fusion"])]
                said.append(f"{row}, seed {run.seed}: {one.kind}, share of vectors {one.vector_share:g}")
    return [
        f"A query from each of {len(queries):,} test products, such as {'; '.join(query.text for query in queries[:6])}.",
        "A product with m of the asked attributes is worth 2^m - 1: gender, type, colour, usage and season by the columns of the table, "
        "the pattern by its title.",
        f"{TITLES} reads titles, which need not say what the columns do; {ANSWERS} searches the very columns that relevance is made of "
        "(without the pattern).",
        "Vectors: queries into the space of photos. With titles: a title's vector counts beside the photo's."
        + _chosen(plan, store, QUERIES, (BOTH,), "chosen share of titles"),
        f"Hybrid: the first {plan.config.depth} of both, fused as is best on validation queries. {'; '.join(said)}",
    ]


def _chosen(plan: Plan, store: UserRunStore, world: str, rows: Sequence[str], fact: str) -> str:
    """What rows chose on validation products, as the end of a sentence."""
    said = []
    for run in (run for job in plan.of(world, rows) for run in job.runs):
        facts = store.get(run.config, run.seed) or {}
        if fact in facts:
            said.append(f"{run.variant}, seed {run.seed}: {facts[fact]:g}")
    return f" {fact.capitalize()}: {'; '.join(said)}." if said else ""
