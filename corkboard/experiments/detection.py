"""Detectors compared: one stage and two, convolutions and transformers of two patch sizes, from scratch and pre-trained.

`benchmarks/detection.py` prints it. Each is trained and asked on three sets. *rendered*: scenes of products and in front of a background
that were never learned. *street*: real photos, split by photo. *coco128*: a few steps that show that it runs on many classes; no claim.
Beside them stand boxes of the mean size of each class at its prior, which look at no picture. Runs are those of
:mod:`corkboard.experiments.spine_runs`: one JSON each, a budget, and "not measured" for what it did not reach.

AP50 is kept by picture, so that intervals are over pictures and seeds at once. What is found too much is told at one recall of all
detectors: a timid one would look clean otherwise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from statistics import mean
from typing import Any

from corkboard.artifacts import content_hash
from corkboard.errors import NotFound
from corkboard.experiments.detection_config import FIRST_SEED, DetectionConfig, RenderedConfig
from corkboard.experiments.detector import CLASS_NAMES, BoxedPictures, found_in
from corkboard.experiments.detector_config import BoxedPicturesConfig
from corkboard.experiments.measured import Measured
from corkboard.experiments.real_data import digest
from corkboard.experiments.seeded import resampled_over_seeds
from corkboard.experiments.spine_runs import Context, Job, Measure, Run, Say, UserRunStore, code_hash, run_jobs
from corkboard.experiments.spine_worlds import alone_at
from corkboard.experiments.street_config import StreetConfig
from corkboard.experiments.visual_retrieval import PICTURE_CODE
from corkboard.metrics.detection import FoundIn, TruthIn, average_precision, mean_boxes, over_detection, threshold_at_recall
from corkboard.metrics.intervals import PerUser, percentile_interval
from corkboard.seeds import derive

RENDERED, STREET, COCO = "rendered", "street", "coco128"
SETS = (RENDERED, STREET, COCO)
PRE, SCRATCH = "pre-trained", "scratch"
GUESS, BUILT_IN = "mean boxes", "built-in detector"
AP50, SEEN = "AP50", "AP50, seen backgrounds"
CODE = (
    *(f"vision/{name}.py" for name in ("boxes", "roi_align", "centre_net", "vit_frcnn", "detection", "detector", "detector_training")),
    *("vision/cnn.py", "vision/vit.py", "vision/encoder.py", "vision/images.py", "vision/trunk.py", "learning/training.py"),
    *("experiments/detection.py", "experiments/street.py", "experiments/street_config.py", "experiments/trunk.py", "metrics/detection.py"),
)
"""Sources that figures depend on, beside those of rendered pictures."""
_WORK = f"{__name__}:work"
_STEP_S = {"CNN centre": 0.17, "CNN frcnn": 0.22, "ViT 16 frcnn": 0.19, "ViT 8 frcnn": 0.43}
"""Seconds of a step of 16 pictures of 128 px on one core, as measured; what runs took is kept and used instead."""

DetectionResult = Measured[DetectionConfig]
"""Every figure there is, by set, variant and seed."""


@dataclass(frozen=True)
class Variant:
    """A detector that is compared."""

    kind: str
    start: str

    @property
    def name(self) -> str:
        """Such as "CNN centre, pre-trained"."""
        return f"{self.kind}, {self.start}"


VARIANTS = tuple(Variant(kind, start) for kind in _STEP_S for start in (PRE, SCRATCH))
BEST = VARIANTS[0]
"""The default: what the bars are about."""


def run_detection(
    folder: Path | None,
    runs: Path,
    config: DetectionConfig,
    seeds: int,
    minutes: float,
    say: Say,
    workers: int = 2,
    only: Collection[str] = SETS,
) -> DetectionResult:
    """Measure what is missing below ``runs`` within ``minutes``, weightiest first, and hand back everything there is.

    ``folder`` holds ``clothing-coparsing`` and ``coco128``; what it has not is not measured. ``only`` names sets.
    """
    plan = Plan(None if folder is None else Path(folder), Path(runs), config, tuple(only))
    numbers = [FIRST_SEED + n for n in range(seeds)]
    jobs = plan.jobs(numbers)
    store = UserRunStore(Path(runs) / "runs", data="detection", code=code_hash(*CODE, *PICTURE_CODE, "world/scenes.py"))
    finished = run_jobs(jobs, store, Path(runs), minutes, say, workers)
    known = {(run.world, run.variant, run.seed): run for job in jobs for run in job.runs}
    return DetectionResult(config, numbers, known, store, finished)


# --------------------------------------------------------------------------------------------------------------- the plan


@dataclass(frozen=True)
class Plan:
    """What is to be measured, the weightiest first."""

    folder: Path | None
    runs: Path
    config: DetectionConfig
    only: Sequence[str]

    @cached_property
    def sets(self) -> dict[str, str]:
        """The sets that are there, and what names their data."""
        return {name: made for name in SETS if name in self.only and (made := self._data(name)) is not None}

    def _data(self, name: str) -> str | None:
        from corkboard.experiments.street import COCO as COCO_FOLDER
        from corkboard.experiments.street import STREET as STREET_FOLDER

        if name == RENDERED:
            return content_hash(self.config.rendered.model_dump(mode="json"), self.config.side)
        place = None if self.folder is None else self.folder / (STREET_FOLDER if name == STREET else COCO_FOLDER)
        if place is None or not place.is_dir():
            return None
        files = [file for file in sorted(place.iterdir()) if file.name.startswith(("images", "boxes_merged", "yolo", "config"))]
        return content_hash(digest(files), self.config.street.model_dump(mode="json"), self.config.side)

    def jobs(self, seeds: Sequence[int]) -> list[Job]:
        """The default detector and the baseline of every seed and set, the others of the first seed, then of the rest."""
        rest = [variant.name for variant in VARIANTS if variant != BEST]
        real = [name for name in self.sets if name != COCO]
        jobs = [self.job(name, [GUESS, BEST.name, *([BUILT_IN] if name == RENDERED else [])], seed) for seed in seeds for name in real]
        jobs += [self.job(COCO, [GUESS, BEST.name], seeds[0])] if COCO in self.sets and seeds else []
        return jobs + [self.job(name, [variant], seed) for seed in seeds for name in real for variant in rest]

    def job(self, name: str, variants: Sequence[str], seed: int) -> Job:
        """Runs of one set and seed; the data is made once for them."""
        known = [self.run(name, variant, seed) for variant in variants if variant != BUILT_IN or built_in_version() is not None]
        given = {"folder": str(self.folder) if self.folder else None, "config": self.config.model_dump(mode="json"), "set": name}
        return Job(f"{name}, {variants[-1]}, seed {seed}", _WORK, known, config=given)

    def run(self, name: str, variant: str, seed: int) -> Run:
        """A run with everything that its figures depend on."""
        steps = getattr(self.config.steps, "coco" if name == COCO else name)
        kind = next((one.kind for one in VARIANTS if one.name == variant), None)
        given = {"variant": variant, "set": name, "data": self.sets[name]}
        given |= {key: getattr(self.config, key) for key in ("side", "most", "asked_threshold", "recall", "weak_nms")}
        if kind is not None:
            given |= self.config.model_dump(mode="json", include={"batch", "rates", "detector", "vit", "start", "start_products"})
            given["steps"] = steps
        if variant == BUILT_IN:
            given["weights"] = built_in_version()
        return Run(name, variant, seed, given, 15.0 + (steps * _STEP_S[kind] * self.config.batch / 16 if kind else 0.0))


def built_in_version() -> str | None:
    """Names the detector that comes with the package; None where there is none."""
    from corkboard.vision.detector import built_in_detector

    try:
        return built_in_detector().version
    except NotFound:
        return None


# -------------------------------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Asked:
    """Pictures to learn from, and pictures that are asked about, by the name of their AP50."""

    class_names: tuple[str, ...]
    learned: BoxedPictures
    asked: Mapping[str, BoxedPictures]


def pictures_of(name: str, config: DetectionConfig, folder: Path | None, seed: int) -> Asked:
    """The pictures of a set; those that are real are the same for every seed."""
    if name == RENDERED:
        return rendered(config.rendered, config.side, seed)
    if folder is None:
        raise NotFound("There are no photos without a folder of data", expected=name)
    return _real(name, folder, config.side, config.street.model_dump_json())


@lru_cache(maxsize=1)
def _real(name: str, folder: Path, side: int, settings: str) -> Asked:
    """Photos, read once for neighbouring jobs of a process."""
    from corkboard.experiments import street

    read = street.read_street if name == STREET else street.read_coco
    found = read(folder / (street.STREET if name == STREET else street.COCO), side, StreetConfig.model_validate_json(settings))
    return Asked(found.class_names, found["train"], {AP50: found["test"]})


def rendered(config: RenderedConfig, side: int, seed: int) -> Asked:
    """Scenes to learn from, and scenes of other products: on the background that is held out, and on others."""
    from corkboard.experiments.detector import products_of
    from corkboard.world.scenes import scenes

    learned, asked = products_of(BoxedPicturesConfig(products=config.products, test_products=config.test_products), seed)

    def boxed(products: Any, count: int, name: str, backgrounds: str) -> BoxedPictures:
        shown = scenes(products, count, derive(seed, "detection", name), side, backgrounds=backgrounds, threads=1)
        enough = shown.visible >= config.least_visible
        kept = {one.name: getattr(shown, one.name)[enough] for one in fields(shown) if one.name != "images"}
        return BoxedPictures.of(replace(shown, **kept))

    told = {AP50: boxed(asked, config.test, "asked", "held_out"), SEEN: boxed(asked, config.test, "asked, seen", "seen")}
    return Asked(CLASS_NAMES, boxed(learned, config.scenes, "learned", "seen"), told)


def work(context: Context) -> None:
    """The work of a job: each of its runs that is missing and fits."""

    def measuring() -> Measure:
        given = context.job.config
        config, folder = DetectionConfig.model_validate(given["config"]), given["folder"]
        seed = context.job.runs[0].seed
        bench = Bench(config, pictures_of(given["set"], config, Path(folder) if folder else None, seed), context)
        return bench.measured

    context.each(measuring)


@dataclass(frozen=True)
class Bench:
    """One set of pictures, and all that is measured on it."""

    config: DetectionConfig
    pictures: Asked
    context: Context

    def measured(self, run: Run) -> tuple[dict[str, PerUser], dict[str, float]]:
        """AP50 by picture, and the rest of what is told of a run."""
        began = time.perf_counter()
        if run.variant == GUESS:
            guess = mean_boxes(self.pictures.learned.truth(), len(self.pictures.class_names), 1)
            return self._told({name: (guess * len(one.images), None) for name, one in self.pictures.asked.items()})
        detector = self._built_in() if run.variant == BUILT_IN else self._trained(run)
        learned = time.perf_counter() - began
        told = {name: (self._found(detector, one), self._found(detector, one, all_boxes=True)) for name, one in self.pictures.asked.items()}
        figures, facts = self._told(told)
        return figures, facts | {"training s": learned, "parameters": float(sum(p.numel() for p in detector.network.parameters()))}

    def _told(self, found: Mapping[str, tuple[list[FoundIn], list[FoundIn] | None]]) -> tuple[dict[str, PerUser], dict[str, float]]:
        figures, facts, config = {}, {}, self.config
        for name, (kept, every) in found.items():
            truth = self.pictures.asked[name].truth()
            report = average_precision(kept, truth, most=config.most, replicates=1)
            figures[name] = report.ap50_by_picture
            more = name.removeprefix(AP50)
            facts |= {f"AP{more}": report.ap, f"AP75{more}": report.ap75}
            facts |= {f"AP {size}{more}": value for size, value in report.by_size.items()}
            facts[f"objects{more}"] = float(report.truths)
            if every is not None:
                facts |= {f"{key}{more}": value for key, value in self._too_much(every, truth, report.ap).items()}
        return figures, facts

    def _too_much(self, every: list[FoundIn], truth: list[TruthIn], suppressed: float) -> dict[str, float]:
        """What is found too much before suppression at the recall of the settings; NaN where that is not reached."""
        threshold = threshold_at_recall(every, truth, self.config.recall)
        without = average_precision(every, truth, most=self.config.most, replicates=1).ap
        found = {"NMS reliance": suppressed - without, "over-detection": math.nan, "background rate": math.nan}
        if not math.isnan(threshold):
            measured = over_detection(every, truth, threshold)
            found |= {"over-detection": measured.rate, "background rate": measured.background_rate}
        return found

    def _found(self, detector: Any, pictures: BoxedPictures, all_boxes: bool = False) -> list[FoundIn]:
        """What ``detector`` finds; with ``all_boxes`` before suppression, but for boxes that are the same to a hair."""
        from corkboard.vision.detector import Detector

        changed: dict[str, Any] = {"threshold": self.config.asked_threshold, "max_objects": self.config.most}
        if all_boxes:
            changed |= {"nms": self.config.weak_nms, "merge": 1.0}
        asked = Detector(detector.network, detector.config.model_copy(update=changed), detector.class_names)
        return found_in(asked, pictures.images)

    def _built_in(self) -> Any:
        from corkboard.vision.detector import built_in_detector

        return built_in_detector()

    def _trained(self, run: Run) -> Any:
        from corkboard.vision.detector_training import train_detector

        variant = next(one for one in VARIANTS if one.name == run.variant)
        settings = settings_of(self.config, variant, run.config["steps"])
        trunk = None if variant.start == SCRATCH else self._trunk(variant)
        say, learned = self.context.training(run), self.pictures.learned
        given = (
            learned.images,
            learned.boxes,
            learned.classes,
            settings,
            self.pictures.class_names,
            derive(run.seed, "detection", run.variant),
        )
        return train_detector(*given, trunk, progress=lambda now: say(now.step, now.steps) if now.step % 20 == 0 else None)

    def _trunk(self, variant: Variant) -> Any:
        """The trunk that a pre-trained variant begins with: the built-in one, or a transformer of our own, made once and kept."""
        from corkboard.vision.trunk import built_in_trunk, load_trunk, save_trunk

        if not variant.kind.startswith("ViT"):
            return built_in_trunk()
        settings = self.config.vit.model_copy(update={"patch": patch_of(variant)})
        start = self.config.model_dump(mode="json", include={"start", "start_products"})
        key = content_hash(settings.model_dump(mode="json"), start, code_hash(*CODE, *PICTURE_CODE))
        file = self.context.folder / "trunks" / f"{key}.safetensors"
        with alone_at(file.with_suffix(".lock")):
            if not file.exists():
                self.context.doing(f"pre-training {variant.kind}")
                save_trunk(pretrained_vit(settings, self.config, self.context.folder / "pictures"), file)
        return load_trunk(file)


def settings_of(config: DetectionConfig, variant: Variant, steps: int):
    """The detector of a variant, and how it is trained."""
    head = "centre" if "centre" in variant.kind else "frcnn"
    rate = config.rates.vit if variant.kind.startswith("ViT") else config.rates.centre if head == "centre" else config.rates.frcnn
    trunk = config.detector.trunk
    if variant.kind.startswith("ViT"):
        trunk = config.vit.model_copy(update={"patch": patch_of(variant), "side": config.side})
    loop = config.detector.training
    warm = min(loop.warmup_steps, max(steps // 10, 1))
    training = loop.model_copy(update={"steps": steps, "learning_rate": rate, "warmup_steps": warm})
    return config.detector.model_copy(
        update={"side": config.side, "head": head, "trunk": trunk, "batch": config.batch, "training": training}
    )


def patch_of(variant: Variant) -> int:
    """Side of a patch of a transformer, px."""
    return int(variant.kind.split()[1])


def pretrained_vit(settings: Any, config: DetectionConfig, folder: Path) -> Any:
    """A transformer that tells topic, pattern, shade and style of rendered pictures of single products; the same for every seed."""
    from corkboard.experiments.trunk import started
    from corkboard.experiments.visual_retrieval import Labelled
    from corkboard.vision.trunk import build_trunk
    from corkboard.world.picture_set import picture_set
    from corkboard.world.rendering import Products

    seed = derive(FIRST_SEED, "detection", "start")
    pictures = picture_set(Products.drawn(config.start_products, seed), folder, {"web": 1, "camera": 1}, settings.side, seed)
    return started(Labelled.of(pictures), build_trunk(settings, seed), config.start, seed)


# ---------------------------------------------------------------------------------------------------------------- telling


def summary(result: DetectionResult) -> dict[str, object]:
    """Every figure over its seeds, flat: ``SET_ap50`` is the default detector, ``SET_ap50_baseline`` the mean boxes.

    Means over the seeds that were measured, with how many they were; intervals over pictures and seeds at once. What no seed has is "not
    measured".
    """
    told: dict[str, object] = {}
    evaluation = result.config.evaluation

    def put(name: str, variant: str, key: str, measure: str = AP50) -> None:
        known = [figures[measure] for seed in result.seeds if measure in (figures := result.by_user(name, variant, seed))]
        if not known:
            told[key] = "not measured"
            return
        bounds = percentile_interval(resampled_over_seeds(known, variant, evaluation), evaluation.level)
        low, high = max(bounds.low, 0.0), min(bounds.high, 1.0)  # influences add up in a straight line, shares do not
        told.update({key: mean(one.value for one in known), f"{key}_low": low, f"{key}_high": high})
        if name != COCO:
            told[f"{key}_seeds"] = len(known)

    def fact(name: str, variant: str, key: str, measure: str) -> None:
        values = [figures[measure] for seed in result.seeds if measure in (figures := result.figures(name, variant, seed))]
        known = [value for value in values if not math.isnan(value)]
        told[key] = mean(known) if known else "not reached" if values else "not measured"

    for name in SETS:
        put(name, BEST.name, f"{name}_ap50")
        put(name, GUESS, f"{name}_ap50_baseline")
    for name in (RENDERED, STREET):
        for variant, end in ((BEST.name, ""), (GUESS, "_baseline")):
            for measure in ("AP", "AP75", *(f"AP {size}" for size in ("small", "medium", "large")), "objects"):
                fact(name, variant, f"{name}_{measure.lower().replace(' ', '_')}{end}", measure)
    put(RENDERED, BEST.name, "rendered_ap50_seen_backgrounds", SEEN)
    put(RENDERED, BUILT_IN, "rendered_ap50_built_in")
    for name in (RENDERED, STREET):
        for variant in VARIANTS:
            end = variant.name.lower().replace(",", "").replace("-", "").replace(" ", "_")
            put(name, variant.name, f"{name}_ap50_{end}")
            for measure in ("AP", "over-detection", "background rate", "NMS reliance", "training s"):
                fact(name, variant.name, f"{name}_{measure.lower().replace('-', '_').replace(' ', '_')}_{end}", measure)
    return told
