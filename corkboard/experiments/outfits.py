"""What goes with what, told from pictures: the outfit model beside colours, popularity, the visual embedding alone and what is possible.

Each seed is a world of its own, whose outfits are the truth; the best possible answer is the world's own compatibility, on items that were
put there at random, too. Products show themselves as in the world, most before white, others before a backdrop; items of one outfit have
grounds that know nothing of each other, and the model is asked once more with all pictures drawn anew. It reads how likely each pattern,
shade and style is, as the reader that comes with the package (:mod:`corkboard.vision.appearance`) tells from the picture. Splits are by
item (no item is on both sides) and by outfit. Two further rows read facets instead of pictures, those that show and those that are true:
what the model misses beside the first is lost in reading pictures, what that misses beside the second is not in pictures at all.

Runs are resumable (:mod:`corkboard.experiments.spine_runs`). Outfits of real people, without pictures, are asked by :func:`labels_alone`.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.errors import InputError
from corkboard.experiments.measured import MAIN, Measured
from corkboard.experiments.outfits_config import OutfitsConfig
from corkboard.experiments.spine_claims import SpineClaim, more
from corkboard.experiments.spine_config import laid_over
from corkboard.experiments.spine_runs import Context, Job, Measure, Run, Say, UserRunStore, code_hash, run_jobs
from corkboard.metrics.intervals import PerUser
from corkboard.metrics.outfits import FITB, Outfits, Scorer, answered, fill_in_the_blank, outfit_figures, pair_mean, split_outfits
from corkboard.seeds import generator
from corkboard.vision.appearance import SIDE, built_in_reader, built_in_version
from corkboard.world.config import WORLD_VERSION
from corkboard.world.rendering import render
from corkboard.world.vocabulary import CATEGORIES, PICTURE_FACETS

if TYPE_CHECKING:
    from corkboard.world.world import World

ORACLE, VISUAL, COLOUR, POPULAR, CONSTANT = "the world's truth", "visual embedding alone", "colour distance", "popularity", "constant"
MODEL, UNCONDITIONED, ANY = "outfit model", "unconditioned", "negatives of any category"
TRIPLET, TRIPLET_ANY = "triplets", "triplets, any category"
EMBEDDED, BOTH, SEEN, TRUE = "from the visual embedding", "from both", "facets as they show", "true facets"
BASELINES = (VISUAL, COLOUR, POPULAR, CONSTANT)
VARIANTS: dict[str, dict[str, object]] = {
    MODEL: {},
    UNCONDITIONED: {"conditioned": False},
    ANY: {"negatives": "any"},
    TRIPLET: {"loss": "triplet"},
    TRIPLET_ANY: {"loss": "triplet", "negatives": "any"},
    EMBEDDED: {},
    BOTH: {},
    SEEN: {},
    TRUE: {},
}
"""What is trained, and how its settings differ."""
FIRST = (ORACLE, *BASELINES, MODEL)
SECOND = (UNCONDITIONED, ANY, SEEN, TRUE, TRIPLET, TRIPLET_ANY, EMBEDDED, BOTH)
SWAPPED = f"{FITB}, other grounds"
OUTFIT_CODE = ("shopping/outfit_config.py", "shopping/outfit_model.py", "shopping/outfit_network.py", "shopping/outfit_training.py")
READER_CODE = ("vision/appearance.py", "vision/appearance_network.py")
CODE = (*OUTFIT_CODE, *READER_CODE, "metrics/outfits.py", "experiments/outfits.py")
_WORK = "corkboard.experiments.outfits:work"
_LABEL_COLUMNS = ("image_signature", "left", "top", "width", "height", "label")

OutfitsResult = Measured[OutfitsConfig]
"""Every figure there is, by world, variant and seed."""


def by(measure: str, split: str) -> str:
    """The name of a measure on one split."""
    return f"{measure} by {split}"


CLAIMS = (
    SpineClaim("What was learned of outfits tells more than visual likeness", more(MODEL, VISUAL, by(FITB, "item")), 4.0, "B1"),
    SpineClaim("Negatives of the same category teach more than those of any (softmax)", more(MODEL, ANY, by(FITB, "item")), 3.0, "B2"),
    SpineClaim("As triplets, negatives of the same category teach more", more(TRIPLET, TRIPLET_ANY, by(FITB, "item")), 2.0, "B2"),
    SpineClaim("Reading items for the wanted category tells more", more(MODEL, UNCONDITIONED, by(FITB, "item")), 3.0, "B3"),
    SpineClaim(
        "Of more items more can be told",
        lambda f: f(MODEL, by(f"{FITB}, 3 given", "item")) - f(MODEL, by(f"{FITB}, 2 given", "item")),
        2.0,
        "B4",
    ),
)  # fmt: skip


def run_outfits(
    folder: Path, config: OutfitsConfig, seeds: int, minutes: float, say: Say, workers: int = 2, only: Sequence[str] | None = None
) -> OutfitsResult:
    """Measure what is missing below ``folder`` within ``minutes``, weightiest first, and hand back everything there is.

    ``only`` names the variants to measure.
    """
    numbers = [config.first_seed + n for n in range(seeds)]
    wanted = [FIRST, SECOND] if only is None else [tuple(only)]
    jobs = [_job(config, seed, variants) for variants in wanted for seed in numbers]
    store = UserRunStore(folder / "runs", data=f"world {WORLD_VERSION}", code=code_hash("world"))
    finished = run_jobs(jobs, store, folder, minutes, say, workers)
    runs = {(run.world, run.variant, run.seed): run for job in jobs for run in job.runs}
    return OutfitsResult(config, numbers, runs, store, finished)


def _job(config: OutfitsConfig, seed: int, variants: Sequence[str]) -> Job:
    given = config.model_dump(mode="json")
    code = {"code": code_hash(*CODE), "weights": built_in_version()}
    runs = [Run(MAIN, one, seed, {"variant": one, **code, **given}, 60.0 if one in VARIANTS else 3.0) for one in variants]
    title = f"outfits, seed {seed}, {len(variants)} variants"
    return Job(title, _WORK, runs, Run(MAIN, "world", seed, {}, 25.0), {"outfits": given, "seed": seed})


def work(context: Context) -> None:
    """The work of a job: its variants, in one world."""

    def measuring() -> Measure:
        from corkboard.world.world import World

        config, seed = OutfitsConfig.model_validate(context.job.config["outfits"]), int(context.job.config["seed"])
        stage = OutfitStage(config, seed, World(config.world.model_copy(update={"seed": seed})))
        return lambda run: (stage.figures(run.variant, context.training(run)), {})

    context.each(measuring)


# ---------------------------------------------------------------------------------------------------------------- stage


@dataclass(frozen=True)
class OutfitStage:
    """One world: its outfits as rows of ``world.item_ids``, split both ways, and what is known of each item."""

    config: OutfitsConfig
    seed: int
    world: World

    @cached_property
    def category(self) -> np.ndarray:
        """int64 (items,): row of CATEGORIES."""
        return self.world.products().category.astype(np.int64)

    @cached_property
    def splits(self) -> dict[str, tuple[Outfits, Outfits]]:
        """By name: (to learn from, to ask about)."""
        config = self.config
        row_of = {item_id: row for row, item_id in enumerate(self.world.item_ids)}
        drawn = self.world.outfits(config.drawn)
        whole = Outfits.of(drawn["outfit_id"].to_list(), np.array([row_of[item_id] for item_id in drawn["item_id"].to_list()]))
        enough = whole.take(np.arange(min(config.learned + config.asked, len(whole))))
        share = config.asked / (config.learned + config.asked)
        found = {"item": split_outfits(whole, "item", config.item_share, self.seed)}
        found["outfit"] = split_outfits(enough, "outfit", share, self.seed)
        return {name: (_first(learned, config.learned), _first(asked, config.asked)) for name, (learned, asked) in found.items()}

    def figures(self, variant: str, progress: Callable[[int, int], None] | None = None) -> dict[str, PerUser]:
        """All measures of a variant on all splits."""
        figures: dict[str, PerUser] = {}
        for split in self.config.splits:
            learned, asked = self.splits[split]
            scorer, other = self.scorer(variant, learned, progress)
            found = outfit_figures(scorer, asked, self.category, self.config.evaluation.seed)
            if other is not None:
                found[SWAPPED] = outfit_figures(other, asked, self.category, self.config.evaluation.seed, pools=False)[FITB]
            figures |= {by(measure, split): figure for measure, figure in found.items()}
        return figures

    def scorer(self, variant: str, learned: Outfits, progress: Callable[[int, int], None] | None = None) -> tuple[Scorer, Scorer | None]:
        """What scores candidates, and the same with all pictures before other grounds, where it reads pictures."""
        if variant in VARIANTS:
            return self._trained(variant, learned, progress)
        if variant in (VISUAL, COLOUR):
            return tuple(pair_mean(_cosine(self.pictures(view)[0 if variant == VISUAL else 1])) for view in (0, 1))  # type: ignore[return-value]
        if variant == POPULAR:
            count = np.bincount(learned.items, minlength=len(self.category))
            return (lambda given, category, candidates: count[candidates]), None
        if variant == CONSTANT:
            return (lambda given, category, candidates: np.zeros(candidates.shape)), None
        truth = self.world.behaviour
        return pair_mean(lambda left, right: truth.looks.fit(truth.catalogue, left, right)), None

    def _trained(self, variant: str, learned: Outfits, progress: Callable[[int, int], None] | None) -> tuple[Scorer, Scorer | None]:
        from corkboard.shopping.outfit_training import model_scorer, train_outfits

        config = type(self.config.model).model_validate(laid_over(self.config.model.model_dump(), VARIANTS[variant]))
        inputs, ids = self.inputs(variant), self.world.item_ids
        tables = {name: EmbeddingTable(ids, part, Space(name, variant.replace(" ", "_"))) for name, part in inputs.items()}
        names = [CATEGORIES[row].name for row in self.category]
        places = {"outfit_id": learned.owner.astype(str), "item_id": [ids[row] for row in learned.items]}
        frame = pl.DataFrame({**places, "category": [names[row] for row in learned.items]})
        told = None if progress is None else lambda at: progress(at.step, at.steps)
        model = train_outfits(frame, tables.get("visual"), tables.get("appearance"), config, self.seed, told)
        if model is None:
            raise InputError("There are no outfits to learn from", found=len(learned))
        wanted = model.category_rows([category.name for category in CATEGORIES])

        def asked(inputs: dict[str, np.ndarray]) -> Scorer:
            score = model_scorer(model, inputs, names)
            return lambda given, category, candidates: score(given, wanted[category], candidates)

        return asked(inputs), None if variant in (SEEN, TRUE) else asked(self.inputs(variant, 1))

    # -------------------------------------------------------------------------------------------------------------- inputs

    def inputs(self, variant: str, view: int = 0) -> dict[str, np.ndarray]:
        """float32 (items, width) by name: what a variant reads of every item."""
        if variant in (SEEN, TRUE):
            return {"appearance": facets_as_numbers(self.world.pictures() if variant == SEEN else self.world.facets())}
        features, _, chances = self.pictures(view)
        known = {"visual": features, "appearance": chances}
        return known if variant == BOTH else {name: known[name] for name in (["visual"] if variant == EMBEDDED else ["appearance"])}

    def pictures(self, view: int) -> list[np.ndarray]:
        """What is read of pictures: features of the trunk that comes with the package, colour histograms, and chances of patterns, shades
        and styles; zeros for items that no outfit can have. Most pictures are before white."""
        if view not in self._read:
            from corkboard.vision.encoder import TrunkEncoder
            from corkboard.vision.images import colour_histogram
            from corkboard.vision.trunk import built_in_trunk

            whole = np.flatnonzero(_wearable(self.category))
            white = generator(self.seed, "outfits", "grounds").random(len(whole)) < self.config.white
            images = np.empty((len(whole), SIDE, SIDE, 3), np.uint8)
            for domain, mine in (("catalogue", white), ("web", ~white)):
                images[mine] = render(self.world.products(), whole[mine], domain, view=view, side=SIDE, threads=1)
            parts = TrunkEncoder(built_in_trunk()).encode(images), colour_histogram(images), built_in_reader().chances(images)
            self._read[view] = [_spread(part, whole, len(self.category)) for part in parts]
        return self._read[view]

    @cached_property
    def _read(self) -> dict[int, list[np.ndarray]]:
        return {}


def _wearable(category: np.ndarray) -> np.ndarray:
    """bool: of a category that outfits have."""
    return np.array([bool(one.family) for one in CATEGORIES])[category]


def _spread(values: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    out = np.zeros((count, values.shape[1]), np.float32)
    out[rows] = values
    return out


def facets_as_numbers(facets: pl.DataFrame) -> np.ndarray:
    """float32 (items, values): one number a value of pattern, shade and style, 1 where the item has it, none where it does not show."""
    parts = [facets[name].to_dummies().select(pl.exclude(f"{name}_null")).to_numpy() for name in PICTURE_FACETS]
    return np.concatenate(parts, axis=1).astype(np.float32)


def _cosine(vectors: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    there = vectors.any(axis=1)
    unit = np.where(there[:, None], vectors - vectors[there].mean(axis=0), 0.0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    return lambda left, right: np.einsum("nd,nd->n", unit[left], unit[right])


def _first(outfits: Outfits, count: int) -> Outfits:
    return outfits.take(np.arange(min(count, len(outfits))))


# ----------------------------------------------------------------------------------------------------------- real outfits


def read_labels(file: Path) -> pl.DataFrame:
    """Outfits of Complete The Look without their pictures: image_signature, left, top, width, height (shares) and label, one row an object.

    The header of the file is separated otherwise than its rows, and is left out.
    """
    text = gzip.decompress(file.read_bytes()).split(b"\n", 1)[1]
    return pl.read_csv(io.BytesIO(text), separator="\t", has_header=False, new_columns=list(_LABEL_COLUMNS))


def labels_alone(table: pl.DataFrame, seed: int, share: float = 0.5) -> dict[str, PerUser]:
    """What labels and boxes alone tell of outfits, by outfit that is asked about.

    ``fitb``: answers have the label of what is missing, so that the label says nothing; a model of boxes (ridge regression of the missing
    box on the label and the boxes that are given, fitted on the other outfits) takes the answer whose box is nearest. Above chance it
    tells the layout of the picture, where the missing box left a gap, and nothing of style. ``fitb, constant`` is chance. ``label``:
    which label is missing, among all, by counts of pairs of labels; beside the most usual one, ``label, most usual``.
    """
    names, label = np.unique(table["label"].to_numpy(), return_inverse=True)
    boxes = table.select("left", "top", "width", "height").to_numpy().astype(np.float64)
    outfits = Outfits.of(table["image_signature"].to_list(), np.arange(len(table)))
    learned, asked = split_outfits(outfits, "outfit", share, seed)
    fit, questions = fill_in_the_blank(learned, label, seed), fill_in_the_blank(asked, label, seed)
    described = partial(_described, label=label, boxes=boxes, labels=len(names))
    x = described(fit.given, fit.category)
    weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ boxes[fit.missing])
    guess = described(questions.given, questions.category) @ weights
    near = -((boxes[questions.answers] - guess[:, None]) ** 2).sum(axis=2)
    pairs = np.ones((len(names), len(names)))
    for column in fit.given.T:
        there = column >= 0
        np.add.at(pairs, (label[column[there]], fit.category[there]), 1.0)
    usual = np.bincount(fit.category, minlength=len(names)) + 1.0
    chances = np.log(usual / usual.sum())[None, :] + sum(
        np.where((column >= 0)[:, None], np.log(pairs / pairs.sum(axis=0))[label[column]], 0.0) for column in questions.given.T
    )
    right = {
        FITB: answered(questions, near, seed),
        f"{FITB}, constant": answered(questions, np.zeros(questions.answers.shape), seed),
        "label": chances.argmax(axis=1) == questions.category,
        "label, most usual": usual.argmax() == questions.category,
    }
    weight = np.bincount(questions.outfit, minlength=len(asked)).astype(np.float64)
    return {
        name: PerUser(np.bincount(questions.outfit, found, len(asked)).astype(np.float64), weight, len(questions))
        for name, found in right.items()
    }


def _described(given: np.ndarray, category: np.ndarray, *, label: np.ndarray, boxes: np.ndarray, labels: int) -> np.ndarray:
    """float64 (q, width): the wanted label, the mean box of what is given, and its box by label (zeros where it has none)."""
    out = np.zeros((len(given), labels, 5))
    count = np.maximum((given >= 0).sum(axis=1, keepdims=True), 1)
    mean = np.zeros((len(given), 4))
    for column in given.T:
        there = np.flatnonzero(column >= 0)
        out[there, label[column[there]], 0] = 1.0
        out[there, label[column[there]], 1:] = boxes[column[there]]
        mean[there] += boxes[column[there]]
    wanted = np.eye(labels)[category]
    mean = mean / count
    return np.concatenate([wanted, out.reshape(len(given), -1), (wanted[:, :, None] * mean[:, None, :]).reshape(len(given), -1)], axis=1)
