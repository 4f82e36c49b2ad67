"""Real photos: does a pre-trained trunk find what is alike, and what is it worth where labels are few?

A photo that nobody was trained on asks for the others of that kind: things of its type, and of its type and colour. Rows are colour
histograms, raw pixels, an untrained trunk, and trunks that were fine-tuned end to end on a share of the labelled photos, from random
weights or pre-trained: on the rendered world (the trunk that comes with the package), or on phrases from the titles of the training
photos (:mod:`corkboard.vision.pretraining`; never on the label columns, though many titles name the type). Photos without titles get the
trunk of those with titles.

Runs are those of :mod:`corkboard.experiments.spine_runs`: one JSON each, a budget, and "not measured" for what it did not reach.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from corkboard.artifacts import content_hash
from corkboard.errors import NotFound
from corkboard.experiments.photos_config import PhotosConfig
from corkboard.experiments.photos_data import COLOUR, FASHION, SOURCES, TEST, TRAIN, TYPE, VALID, Photos, found_sources, read_photos
from corkboard.experiments.real_data import Say, evaluation_of, table_of_runs
from corkboard.experiments.result import Cell, Evaluation, Measure, Row, Table
from corkboard.experiments.spine_runs import Context, Job, Run, UserRunStore, code_hash, run_jobs
from corkboard.metrics.intervals import PerUser
from corkboard.seeds import derive, generator

if TYPE_CHECKING:
    from corkboard.vision.encoder import Trunk

HISTOGRAM, PIXELS, UNTRAINED = "colour histogram", "raw pixels", "untrained trunk"
SCRATCH, WEAK, BUILT_IN = "from scratch", "weak labels", "built-in"
"""How a trunk starts."""
STARTS = (SCRATCH, WEAK, BUILT_IN)
PRETRAINING, BASELINES = "pre-training", "baselines"
SHARED_CODE = ("experiments/photos.py", "experiments/photos_data.py", "metrics", "seeds.py", "vision/images.py", "lake/pictures/decode.py")
TRUNK_CODE = ("vision/cnn.py", "vision/vit.py", "vision/encoder.py", "vision/trunk.py", "learning")
WEAK_CODE = (*TRUNK_CODE, "vision/pretraining.py", "vision/weak_labels.py", "vision/label_clusters.py")
TUNING_CODE = (*TRUNK_CODE, "embeddings/visual.py", "embeddings/visual_network.py", "embeddings/visual_training.py")
"""Sources that figures depend on."""
_SAID = {TYPE: "type", COLOUR: "type and colour"}
_IMAGES_PER_S = 700.0
"""What a core trains on; a guess, for the time to go."""
_CHUNK = 512


def run_photos(
    folder: Path, runs: Path, say: Say, *, minutes: float = 30.0, seeds: int = 3, workers: int = 2, config: PhotosConfig | None = None
) -> Evaluation:
    """Measure what is missing in ``runs`` within ``minutes``, and return the tables of all that is there.

    ``folder`` holds ``fashion-products``, ``clothing-cc0`` or both. ``workers`` processes of one thread each do the runs; 0 does them in
    this one. Raises :class:`NotFound` where there is neither.
    """
    began = time.monotonic()
    config = config or PhotosConfig()
    sets = []
    for source in found_sources(folder):
        say(f"reading {source.name}")
        sets.append(read_photos(source, Path(folder) / source.name, Path(runs) / "photos", config))
    store = UserRunStore(Path(runs), "photos", code_hash(*SHARED_CODE))
    plan = Plan(Path(folder), Path(runs), sets, config, seeds)
    left = max(minutes - (time.monotonic() - began) / 60, 0.0)
    jobs = sorted((job for photos in sets for job in plan.jobs(photos)), key=lambda job: not job.name.endswith(BASELINES))
    finished = run_jobs(jobs, store, Path(runs), left, say, workers)
    tables = [table for photos in sets for table in tables_of(plan, photos, store)]
    split = content_hash([photos.split_hash for photos in sets]) if len(sets) > 1 else sets[0].split_hash
    found = evaluation_of(tables[0], split, {}, config.evaluation, finished)
    return replace(found, tables=[replace(tables[0], seconds=round(finished.seconds, 1)), *tables[1:]])


# --------------------------------------------------------------------------------------------------------------- the plan


@dataclass(frozen=True)
class Plan:
    """What is to be measured, the weightiest first: few labels before many, and all seeds of one set before the next set."""

    folder: Path
    runs: Path
    sets: Sequence[Photos]
    config: PhotosConfig
    seeds: int

    def jobs(self, photos: Photos) -> list[Job]:
        """Baselines first, because they are quick; then a job for each seed and start."""
        where = {"folder": str(self.folder), "config": self.config.model_dump(mode="json"), "set": photos.source.name}
        jobs = [Job(f"{photos.source.name} {BASELINES}", f"{__name__}:measure", self.baselines(photos), config=where)]
        for seed in range(self.seeds):
            for start in (WEAK, SCRATCH, BUILT_IN):
                before = self.before(photos, seed) if start == WEAK else None
                if runs := self.tuned(photos, start, seed):
                    jobs.append(Job(f"{photos.source.name} {start} {seed}", f"{__name__}:measure", runs, before, where))
        return jobs

    def baselines(self, photos: Photos) -> list[Run]:
        """Histograms, pixels and the untrained trunk."""
        shared = self._shared(photos)
        name, config = photos.source.name, self.config
        trunk = {"trunk": config.trunk.model_dump(mode="json"), "code": code_hash(*TRUNK_CODE)}
        return [
            Run(name, HISTOGRAM, 0, {**shared, "row": HISTOGRAM, "levels": config.levels}, 20.0),
            Run(name, PIXELS, 0, {**shared, "row": PIXELS, "sides": config.pixel_sides}, 20.0),
            *(Run(name, UNTRAINED, seed, {**shared, "row": UNTRAINED, **trunk}, 10.0) for seed in range(self.seeds)),
        ]

    def tuned(self, photos: Photos, start: str, seed: int) -> list[Run]:
        """A start at every share of the labels, and before that as it is where it was pre-trained; nothing where it cannot be had."""
        if (start == WEAK and self.titled is None) or (start == BUILT_IN and built_in_digest() is None):
            return []
        config, runs = self.config, []
        origin: dict[str, Any] = {SCRATCH: {}, WEAK: self._weak(), BUILT_IN: {"weights": built_in_digest()}}[start]
        shared = {**self._shared(photos), "trunk": config.trunk.model_dump(mode="json"), **origin, "code": code_hash(*TUNING_CODE)}
        if start != SCRATCH and (start == WEAK or seed == 0):
            runs.append(Run(photos.source.name, row_name(start, 0.0), seed, {**shared, "row": start, "share": 0.0}, 10.0))
        for share, steps in zip(config.shares, config.steps, strict=True):
            settings = tuning(config, start, share).model_dump(mode="json")
            guess = steps * config.visual.batch_classes * config.visual.images_per_class / _IMAGES_PER_S
            settings = {**shared, "row": start, "share": share, "visual": settings}
            runs.append(Run(photos.source.name, row_name(start, share), seed, settings, guess))
        return runs

    @cached_property
    def titled(self) -> Photos | None:
        """The photos whose titles are learned from."""
        return next((photos for photos in self.sets if photos.titles is not None), None)

    def pretraining(self, seed: int) -> Run:
        """Pre-training on titles, which leaves a trunk and no figures."""
        training = self.config.weak.pretraining
        guess = (1 + self.config.weak.refine) * training.training.steps * training.batch / _IMAGES_PER_S
        return Run(FASHION.name, PRETRAINING, seed, self._weak(), guess)

    def before(self, photos: Photos, seed: int) -> Run | None:
        """Pre-training, where ``photos`` have the titles and it was not done yet. Others come later and find it."""
        return self.pretraining(seed) if photos is self.titled and not self.trunk_file(seed).exists() else None

    def trunk_file(self, seed: int) -> Path:
        """Where the trunk of :meth:`pretraining` is kept."""
        return self.runs / "trunks" / f"{content_hash(self._weak(), seed)}.safetensors"

    def _weak(self) -> dict[str, Any]:
        assert self.titled is not None
        settings = self.config.model_dump(mode="json", include={"weak", "trunk"})
        return {"pretraining": {**settings, "split": self.titled.split_hash, "code": code_hash(*WEAK_CODE)}}

    def _shared(self, photos: Photos) -> dict[str, Any]:
        return {"experiment": "photos", "split": photos.split_hash, "most_of_group": self.config.most_of_group}


def row_name(start: str, share: float) -> str:
    """What a row is called: how its trunk started, and the share of labels that it has seen."""
    return f"{start}, {share:.0%}"


def tuning(config: PhotosConfig, start: str, share: float):
    """The settings of fine-tuning at a share of labels."""
    steps = dict(zip(config.shares, config.steps, strict=True))[share]
    rate, after = (config.scratch_trunk_lr, 0) if start == SCRATCH else (config.tuned_trunk_lr, config.tuned_trunk_after)
    more = {"trunk_lr": rate, "trunk_after": after, "training": config.visual.training.model_copy(update={"steps": steps})}
    return config.visual.model_copy(update=more)


def built_in_digest() -> str | None:
    """Names the weights of the trunk that comes with the package; None where there are none."""
    from corkboard.vision.encoder import digest
    from corkboard.vision.trunk import built_in_trunk

    try:
        return digest(built_in_trunk().state_dict())
    except NotFound:
        return None


# -------------------------------------------------------------------------------------------------------------- measuring


def measure(context: Context) -> None:
    """The work of a job: each of its runs that is missing and fits."""
    bench: Bench | None = None
    for run in context.todo():
        bench = bench or Bench.of(context)
        if run.config["row"] == WEAK:
            bench.pretrain(run.seed)
        start = time.perf_counter()
        figures, facts = bench.measured(run)
        context.finished(run, figures, facts, time.perf_counter() - start)


class Bench:
    """One set of photos, with all that is measured on it."""

    def __init__(self, plan: Plan, photos: Photos, context: Context):
        self.plan, self.photos, self.context = plan, photos, context
        self.config = plan.config

    @classmethod
    def of(cls, context: Context) -> Bench:
        """The set that the job of ``context`` is about, and the one with titles."""
        where = context.job.config
        config, folder = PhotosConfig.model_validate(where["config"]), Path(where["folder"])
        needed = [source for source in SOURCES if (folder / source.name).is_dir() and (source.title or source.name == where["set"])]
        sets = [read_photos(source, folder / source.name, context.folder / "photos", config) for source in needed]
        photos = next(one for one in sets if one.source.name == where["set"])
        return cls(Plan(folder, context.folder, sets, config, 0), photos, context)

    def measured(self, run: Run) -> tuple[dict[str, PerUser], dict[str, float]]:
        """The figures of a run on the test, and on the validation photos what they were chosen by."""
        row = run.config["row"]
        facts: dict[str, float] = {}
        if row in (HISTOGRAM, PIXELS):
            vectors, facts = self._plain(row)
        elif row == UNTRAINED or run.config["share"] == 0.0:
            vectors = self._untuned(row, run.seed)
        else:
            vectors, facts = self._tuned(run)
        valid = {f"valid {name}": figure.value for name, figure in self.figures(vectors, VALID).items()}
        return self.figures(vectors, TEST), facts | valid

    def figures(self, vectors: np.ndarray, part: int) -> dict[str, PerUser]:
        """The measures of ``vectors`` ``(n, dim)`` of all photos, over those of a part."""
        rows = self.photos.rows(part)
        labels = {name: values[rows] for name, values in self.photos.labels.items()}
        return retrieval_figures(vectors[rows], labels, self.photos.groups[rows], self.config.most_of_group)

    def pretrain(self, seed: int) -> None:
        """Make the trunk of titles where it is not there yet."""
        file = self.plan.trunk_file(seed)
        if file.exists():
            return
        from corkboard.vision.pretraining import weakly_supervised
        from corkboard.vision.trunk import build_trunk, save_trunk
        from corkboard.vision.weak_labels import SOURCES as KINDS
        from corkboard.vision.weak_labels import Bags

        start = time.perf_counter()
        titled = self.plan.titled
        assert titled is not None
        titles = titled.titles or []
        rows = titled.rows(TRAIN)  # nothing of the others is handed over, neither picture nor title
        sources = np.full(len(rows), KINDS.index("title"), np.int8)
        bags = Bags(np.arange(len(rows)), [titles[row] for row in rows.tolist()], sources, titled.groups[rows])
        trained = weakly_supervised(
            titled.images[rows],
            bags,
            lambda own: build_trunk(self.config.trunk, own),
            self.config.weak,
            derive(seed, "photos", "weak"),
            progress=lambda now: self.context.doing(PRETRAINING, now.step, now.steps) if now.step % 20 == 0 else None,
        )
        counts = trained.labels.counts
        notes = {"classes": len(counts), "images": int(trained.labels.labelled.sum()), "names": trained.labels.names}
        save_trunk(trained.trunk, file, notes)
        self.context.prepared(time.perf_counter() - start)

    def _plain(self, row: str) -> tuple[np.ndarray, dict[str, float]]:
        """Vectors of a trivial baseline at what is best on validation photos, by the mean of all measures."""
        from corkboard.vision.images import colour_histogram, raw_pixels

        config, rows, tried = self.config, self.photos.rows(VALID), {}
        settings: list[dict[str, int]] = [{"side": side} for side in config.pixel_sides]
        if row == HISTOGRAM:
            settings = [{"levels": levels, "centre": centre} for levels in config.levels for centre in (0, 1)]

        def vectors(images: np.ndarray, one: Mapping[str, int]) -> np.ndarray:
            return colour_histogram(images, bool(one["centre"]), one["levels"]) if row == HISTOGRAM else raw_pixels(images, one["side"])

        for number, one in enumerate(settings):
            part = vectors(self.photos.images[rows], one)
            found = np.zeros((len(self.photos), part.shape[1]), np.float32)
            found[rows] = part
            values = [figure.value for figure in self.figures(found, VALID).values()]
            tried[number] = float(np.nanmean(values))
        best = settings[max(tried, key=tried.__getitem__)]
        return vectors(self.photos.images, best), {f"chosen {name}": float(value) for name, value in best.items()}

    def _start(self, row: str, seed: int) -> Trunk:
        from corkboard.vision.trunk import build_trunk, built_in_trunk, load_trunk

        if row == WEAK:
            return load_trunk(self.plan.trunk_file(seed))
        return built_in_trunk() if row == BUILT_IN else build_trunk(self.config.trunk, derive(seed, "photos", "trunk"))

    def _untuned(self, row: str, seed: int) -> np.ndarray:
        """Unit vectors of a trunk that has seen no label, centred on training photos."""
        from corkboard.vision.encoder import TrunkEncoder

        features = TrunkEncoder(self._start(row, seed)).encode(self.photos.images)
        features -= features[self.photos.rows(TRAIN)].mean(axis=0)
        return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)

    def _tuned(self, run: Run) -> tuple[np.ndarray, dict[str, float]]:
        """Unit vectors after fine-tuning on a share of the labels, with a task for each label."""
        from corkboard.embeddings.visual import VisualTask
        from corkboard.embeddings.visual_training import train_visual

        row, share, photos = run.config["row"], run.config["share"], self.photos
        labelled = photos.labelled(share, run.seed)
        tasks = []
        for name, values in photos.labels.items():
            rows = labelled[values[labelled] >= 0]
            tasks.append(VisualTask(name, rows, values[rows], np.zeros(len(rows), np.int64)))
        encoder = train_visual(
            photos.images,
            tasks,
            self._start(row, run.seed),
            tuning(self.config, row, share),
            derive(run.seed, "photos", "tuning"),
            lambda now: self.context.doing(run.variant, now.step, now.steps) if now.step % 20 == 0 else None,
        )
        return encoder.encode(photos.images), {"labelled photos": float(len(labelled))}


def retrieval_figures(vectors: np.ndarray, labels: Mapping[str, np.ndarray], groups: np.ndarray, most: int) -> dict[str, PerUser]:
    """P@1 and mean average precision by label, kept apart by group: every photo asks for the others, less those of its own group.

    ``vectors`` ``(n, dim)`` are compared by inner product; ``labels`` int64 ``(n,)`` by name, -1 for none; only photos with another to be
    found ask. A group counts as at most ``most`` queries. Ties are broken by a fixed draw.
    """
    n = len(vectors)
    draw = generator(0, "photos", "ties").permutation(n)
    vectors, groups = vectors[draw], groups[draw]
    labels = {name: values[draw] for name, values in labels.items()}
    first = {name: np.zeros(n) for name in labels}
    precision = {name: np.full(n, np.nan) for name in labels}
    places = np.arange(1, n + 1)
    for start in range(0, n, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, n))
        scores = vectors[rows] @ vectors.T
        own = groups[rows, None] == groups
        order = np.argsort(np.where(own, np.inf, -scores), axis=1, kind="stable")
        for name, values in labels.items():
            wanted = (values[rows, None] == values) & (values[rows, None] >= 0) & ~own
            hits = np.take_along_axis(wanted, order, axis=1)
            found = hits.sum(axis=1)
            asked = found > 0
            first[name][rows] = hits[:, 0]
            average = (hits * np.cumsum(hits, axis=1) / places).sum(axis=1)
            precision[name][rows[asked]] = average[asked] / found[asked]
    figures = {}
    for name in labels:
        asked = ~np.isnan(precision[name])
        figures[f"{name} P@1"] = _by_group(first[name][asked], groups[asked], most)
        figures[f"{name} mAP"] = _by_group(precision[name][asked], groups[asked], most)
    return figures


def _by_group(values: np.ndarray, groups: np.ndarray, most: int) -> PerUser:
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights = np.minimum(counts, most).astype(np.float64)
    return PerUser(np.bincount(group, values, len(counts)) * weights / np.maximum(counts, 1), weights, len(values))


# ------------------------------------------------------------------------------------------------------------- the tables


def tables_of(plan: Plan, photos: Photos, store: UserRunStore) -> list[Table]:
    """All rows beside the colour histogram; then, for each share of the labels, pre-trained trunks beside training from scratch."""
    config, name, jobs = plan.config, photos.source.name, plan.jobs(photos)
    measures = [
        Measure(f"{label} {short}", f"{about} of the same {_SAID[label]}")
        for label in photos.labels
        for short, about in (("P@1", "share of photos whose first answer is"), ("mAP", "mean average precision of the list for photos"))
    ]
    whole = Table(name, f"{name}: photos that nobody was trained on", HISTOGRAM, measures, [], _protocol(plan, photos, store))
    whole = replace(whole, facts=_facts(plan, photos))
    tables = [_with_missing(table_of_runs(whole, jobs, store, config.evaluation), [0.0, *config.shares])]
    for share in config.shares:
        own = [replace(job, runs=[run for run in job.runs if run.config.get("share") == share]) for job in jobs]
        base = row_name(SCRATCH, share)
        ordered = sorted(own, key=lambda job: not any(run.variant == base for run in job.runs))
        table = Table(f"{name} {share:.0%}", f"{name}: {share:.0%} of the labels, pre-trained against from scratch", base, measures, [], [])
        tables.append(_with_missing(table_of_runs(table, ordered, store, config.evaluation), [share]))
    return tables


def _with_missing(table: Table, shares: Sequence[float]) -> Table:
    """With a row, not measured, for every start that is not in it, and rows in the order of shares."""
    wanted = [row_name(start, share) for share in shares for start in STARTS if share or start != SCRATCH]
    rows = {row.name: row for row in table.rows}
    for name in wanted:
        rows.setdefault(name, Row(name, {measure.name: Cell(None, 0, verdict="not measured") for measure in table.measures}))
    plain = [row for name, row in rows.items() if name not in wanted]
    return replace(table, rows=[*plain, *(rows[name] for name in wanted)])


def _facts(plan: Plan, photos: Photos) -> dict[str, int | float | str | None]:
    facts: dict[str, int | float | str | None] = {"photos": len(photos), "refused": photos.refused, "groups": int(photos.groups.max()) + 1}
    for part, name in ((TRAIN, "training"), (VALID, "validation"), (TEST, "test")):
        rows = photos.rows(part)
        facts[name] = f"{len(rows):,} of {len(np.unique(photos.groups[rows])):,} groups"
    return {**facts, "types": len(np.unique(photos.labels[TYPE])), "seeds": plan.seeds, "split": photos.split_hash}


def _protocol(plan: Plan, photos: Photos, store: UserRunStore) -> list[str]:
    config = plan.config
    joined = "equal titles" if photos.source.title else "one sender"
    sentences = [
        f"A group is {joined} or near duplicates (at most {config.duplicate_bits} of 128 bits of the difference hash and "
        f"{config.duplicate_difference:g} of 255 in colour at 16 px apart), and what they lead to. It lies in one part, by the hash of its "
        "name.",
        "A test photo asks for all other test photos, less those of its own group; photos with nothing to find do not ask. A group counts "
        f"as at most {config.most_of_group} queries.",
        f"Photos are read at {config.trunk.side} px. Fine-tuning: one vector, a task for each label, {_listed(config)}; which photos show "
        "their label is drawn within each type, anew for each seed.",
        f"{UNTRAINED} and rows at 0%: the trunk's features less their mean over training photos, no label seen.",
        f"Intervals: {config.evaluation.level:.0%} bootstrap over groups (the column users) and, of rows with several, over seeds.",
    ]
    if plan.titled is None:
        sentences.append(f"{WEAK}: there are no photos with titles here.")
    else:
        own = "these" if photos is plan.titled else plan.titled.source.name
        sentences.append(
            f"{WEAK}: pre-trained on phrases from the titles of the training photos of {own}, all of them at every share. Titles are text "
            "about the photo, and most name its type and colour: labels for nothing, not a world without labels."
        )
        sentences += _classes(plan)
    if built_in_digest() is None:
        sentences.append(f"{BUILT_IN}: not measured, this copy of the package comes without the weights of its trunk.")
    else:
        sentences.append(f"{BUILT_IN}: the trunk that comes with the package, which has seen rendered pictures only.")
    return sentences + _chosen(plan, photos, store)


def _listed(config: PhotosConfig) -> str:
    pairs = zip(config.shares, config.steps, strict=True)
    return "steps " + ", ".join(f"{steps} at {share:.0%}" for share, steps in pairs)


def _classes(plan: Plan) -> list[str]:
    """What the titles were made into, of the first seed."""
    from corkboard.vision.trunk import trunk_notes

    file = plan.trunk_file(0)
    if not file.exists():
        return []
    notes = trunk_notes(file)
    return [f"Weak classes (seed 0): {notes['classes']} on {notes['images']:,} photos, such as {', '.join(notes['names'][:8])}."]


def _chosen(plan: Plan, photos: Photos, store: UserRunStore) -> list[str]:
    """What the trivial baselines chose on validation photos."""
    sentences = []
    for run in plan.baselines(photos)[:2]:
        facts = store.get(run.config, run.seed) or {}
        chosen = {name.removeprefix("chosen "): value for name, value in facts.items() if name.startswith("chosen ")}
        if chosen:
            said = ", ".join(f"{name} {value:g}" for name, value in chosen.items())
            sentences.append(f"{run.variant}: {said}, the best mean of all measures on validation photos.")
    return sentences
