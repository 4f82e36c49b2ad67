"""Training and asking every variant of the experiment on pictures.

A run trains one variant on one seed's products and asks for products that no step has seen. Figures are by product, and every variant of
a seed is asked the same, so that differences are paired. Variants that differ only in the outputs on one trunk are measures of one run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from corkboard.artifacts import content_hash
from corkboard.embeddings.config import VisualConfig
from corkboard.embeddings.visual import VisualEncoder, VisualTask, pack_bits
from corkboard.embeddings.visual_training import train_visual
from corkboard.experiments import vision_claims as name
from corkboard.experiments.spine_config import laid_over
from corkboard.experiments.spine_runs import Context, Measure, code_hash
from corkboard.experiments.trunk import started
from corkboard.experiments.vision_captions import captions, truth_of
from corkboard.experiments.vision_config import VisionExperimentConfig
from corkboard.experiments.visual_retrieval import (
    BROWSE,
    EXACT,
    LENS,
    PICTURE_CODE,
    Gallery,
    Labelled,
    ProductPictures,
    product_pictures,
    representations,
)
from corkboard.learning.training import Progress
from corkboard.metrics.intervals import PerUser
from corkboard.seeds import generator
from corkboard.vision.config import TrunkConfig, WeakPretrainingConfig
from corkboard.vision.encoder import Trunk
from corkboard.vision.fine_tuning import LabelTask, fine_tune
from corkboard.vision.label_quality import LabelReport
from corkboard.vision.pretraining import Pretrained, weakly_supervised
from corkboard.vision.trunk import build_trunk
from corkboard.vision.weak_labels import Bags
from corkboard.world.rendering import DOMAINS
from corkboard.world.vocabulary import TOPICS

MODEL_CODE = (
    *("vision", "learning", "seeds.py", "artifacts.py", "experiments/visual_retrieval.py", "experiments/trunk.py"),
    *(f"embeddings/{one}.py" for one in ("config", "visual", "visual_network", "visual_training")),
    *(f"experiments/{one}.py" for one in ("vision_captions", "vision_models")),
)
"""Sources that figures of models depend on, beside those of the pictures."""

Found = tuple[dict[str, PerUser], dict[str, float]]
"""Figures by product, and facts."""


@dataclass(frozen=True)
class Stage:
    """The pictures of a seed, and what trainings on them share."""

    config: VisionExperimentConfig
    seed: int
    pictures: ProductPictures
    folder: Path
    tell: Callable[[int, int], None]

    @cached_property
    def learned(self) -> Labelled:
        """All training products."""
        return Labelled.of(self.pictures.training)

    @cached_property
    def bags(self) -> Bags:
        """What is said of them."""
        return captions(self.learned, self.config.captions, self.seed)

    def progress(self, at: Progress) -> None:
        """Say where a training is."""
        self.tell(at.step, at.steps)

    @cached_property
    def start(self) -> Trunk:
        """A trunk that has learned the attributes of the training products."""
        return self.started(self.learned, build_trunk(self.config.trunk, self.seed))

    def started(self, learned: Labelled, trunk: Trunk) -> Trunk:
        """``trunk``, in place, after it has learned attributes."""
        return started(learned, trunk, self.config.start, self.seed, self.progress)

    def trained(self, learned: Labelled, config: VisualConfig, trunk: Trunk, tasks: list[VisualTask] | None = None) -> VisualEncoder:
        """An encoder; by default of all tasks."""
        return train_visual(learned.images, tasks or learned.tasks(), trunk, config, self.seed, self.progress)

    def features(self, encoder: VisualEncoder) -> Gallery:
        """The test products."""
        return Gallery.of(encoder.features, self.pictures.test)


# ------------------------------------------------------------------------------------------------------ unified embedding


def unified(stage: Stage) -> Found:
    """All tasks; codes and vectors of other widths by outputs of their own on the same trunk."""
    encoder = stage.trained(stage.learned, stage.config.visual, stage.start)
    features = stage.features(encoder)
    figures, facts = _asked(encoder, features)
    standing = {"trunk_trained": False, "training": stage.config.heads}
    for dim, count in ((256, 512), (256, 2048), (32, 1024)):
        given = stage.config.visual.model_copy(update={"dim": dim, "code_bits": count, **standing})
        heads = stage.trained(stage.learned, given, encoder.trunk)
        figures[name.outputs(name.CAMERA, count)] = features.mapped(heads.codes_of).figures()[name.CAMERA]
        if dim == 256:
            figures[name.outputs(name.CAMERA, 256)] = features.mapped(heads.vectors_of).mapped(pack_bits).figures()[name.CAMERA]
        else:
            figures[name.narrow(name.CAMERA)] = features.mapped(heads.vectors_of).figures()[name.CAMERA]
    return figures, facts


def single(stage: Stage, task: str) -> Found:
    """One task alone, with as many steps."""
    tasks = [one for one in stage.learned.tasks() if one.name == task]
    encoder = stage.trained(stage.learned, stage.config.visual, stage.start, tasks)
    return _asked(encoder, stage.features(encoder))


def catalogue(stage: Stage) -> Found:
    """The very product, and attributes before, from catalogue pictures alone: mirrored, shifted and brightened."""
    learned = stage.learned.where(stage.learned.domain == DOMAINS.index("catalogue"))
    trunk = stage.started(learned, build_trunk(stage.config.trunk, stage.seed))
    exact = VisualTask(EXACT, np.arange(len(learned.images)), learned.product, learned.domain)
    encoder = stage.trained(learned, stage.config.visual, trunk, [exact])
    return _asked(encoder, stage.features(encoder))


def changed(stage: Stage, **update: object) -> Found:
    """All tasks with another setting."""
    encoder = stage.trained(stage.learned, stage.config.visual.model_copy(update=update), stage.start)
    return _asked(encoder, stage.features(encoder))


def long_tail(stage: Stage, balanced: bool) -> Found:
    """Browsing alone, on products of which some topics are frequent and most are rare."""
    learned = stage.learned.only(tail_of(stage))
    trunk = stage.started(learned, build_trunk(stage.config.trunk, stage.seed))
    tasks = [one for one in learned.tasks() if one.name == BROWSE]
    encoder = stage.trained(learned, stage.config.visual.model_copy(update={"balanced": balanced}), trunk, tasks)
    figures, facts = _asked(encoder, stage.features(encoder))
    return figures | _by_frequency(figures, stage, (BROWSE, name.CAMERA)), facts | {"training products": float(len(tail_of(stage)))}


def _asked(encoder: VisualEncoder, features: Gallery) -> Found:
    figures = {}
    for kept, of in representations(encoder).items():
        for measure, figure in features.mapped(of).figures().items():
            figures[measure if kept == "float" else f"{measure}, {kept}"] = figure
    signs = np.concatenate([np.unpackbits(pack_bits(encoder.vectors_of(array[0])), axis=1) for array in features.vectors.values()])
    share = signs.mean(axis=0)
    everywhere = np.full(len(features.products), float(np.abs(share - 0.5).mean()))
    figures[name.BALANCE] = PerUser(everywhere, np.ones(len(everywhere)))
    return figures, {name.CONSTANT: float(((share == 0) | (share == 1)).sum())}


def tail_of(stage: Stage) -> np.ndarray:
    """int64, rising: training products of a long tail of topics; which topic is how frequent is drawn by seed."""
    topic, rank = stage.pictures.training.products.topic, _ranks(stage)
    keep = (rank[topic] + 1.0) ** -stage.config.tail
    drawn = generator(stage.seed, "long tail of products").random(len(topic)) < keep
    return np.flatnonzero(drawn | (np.arange(len(topic)) < 2))  # never none


def _ranks(stage: Stage) -> np.ndarray:
    return generator(stage.seed, "long tail of topics").permutation(len(TOPICS))


def _by_frequency(figures: Mapping[str, PerUser], stage: Stage, measures: tuple[str, ...]) -> dict[str, PerUser]:
    """Measures among test products of the rarer half of the topics, and of the others."""
    rare = _ranks(stage)[stage.pictures.test.products.topic] >= len(TOPICS) // 2
    parts = {name.TAIL: rare, name.HEAD: ~rare}
    return {
        f"{measure} {part}": PerUser(np.where(mask, figures[measure].total, 0.0), np.where(mask, figures[measure].weight, 0.0))
        for measure in measures
        for part, mask in parts.items()
    }


# ------------------------------------------------------------------------------------------------- weak labels, few labels


def from_scratch(stage: Stage, trunk: TrunkConfig | None = None) -> Found:
    """Random weights, at every share of the labels."""
    return _at_shares(stage, build_trunk(trunk or stage.config.trunk, stage.seed)), {}


def pretrained(stage: Stage, update: Mapping[str, object], trunk: TrunkConfig | None = None) -> Found:
    """Weights that have learned from captions, at every share of the labels."""
    found = _pretrained(stage, _weak_config(stage, update), trunk)
    return _at_shares(stage, found.trunk), _label_facts(found.report)


def long_tail_weak(stage: Stage, q: float) -> Found:
    """Weights that have learned from captions of a long tail of topics, with classes drawn by ``n ** q``; their own vectors are asked."""
    kept = np.isin(stage.learned.product, tail_of(stage))
    config = stage.config.weak
    config = config.model_copy(update={"refine": False, "pretraining": config.pretraining.model_copy(update={"q": q})})
    found = _pretrained(stage, config, held_out=~kept)
    given = stage.config.visual.model_copy(update={"trunk_trained": False, "training": stage.config.heads})
    learned = stage.learned.only(tail_of(stage))
    encoder = stage.trained(learned, given, found.trunk)
    figures = stage.features(encoder).mapped(encoder.vectors_of).figures()
    return figures | _by_frequency(figures, stage, (name.CATEGORY, name.CAMERA)), _label_facts(found.report)


def _weak_config(stage: Stage, update: Mapping[str, object]) -> WeakPretrainingConfig:
    return WeakPretrainingConfig.model_validate(laid_over(stage.config.weak.model_dump(), dict(update)))


def _pretrained(
    stage: Stage, config: WeakPretrainingConfig, trunk: TrunkConfig | None = None, held_out: np.ndarray | None = None
) -> Pretrained:
    """A trunk pre-trained on captions. What several runs begin with is trained once: its last step is kept as a checkpoint."""
    shape, learned = trunk or stage.config.trunk, stage.learned
    kept = (stage.config.products, stage.config.captions, config.model_copy(update={"refine": False}), shape)
    given = (stage.seed, stage.config.tail if held_out is not None else None, *(part.model_dump(mode="json") for part in kept))
    home = stage.folder / "checkpoints" / f"{content_hash(*given, code_hash(*MODEL_CODE, *PICTURE_CODE))}.safetensors"
    return weakly_supervised(
        learned.images,
        stage.bags,
        partial(build_trunk, shape),
        config,
        stage.seed,
        held_out=held_out,
        truth=truth_of(learned),
        progress=stage.progress,
        checkpoint=home,
    )


def _label_facts(report: LabelReport) -> dict[str, float]:
    """Precision, recall and number of labels after each step."""
    facts = {}
    for step in report.steps:
        told = {"precision": step.precision, "recall": step.recall, "labels": step.labels, "images": step.images}
        facts |= {f"{key} after {step.step}": float(value) for key, value in told.items() if value is not None}
    return facts


def _at_shares(stage: Stage, trunk: Trunk) -> dict[str, PerUser]:
    """Attributes and then all tasks on a share of the products, and what is then found."""
    figures = {}
    for share in stage.config.shares:
        learned = stage.learned.only(labelled(stage, share))
        encoder = stage.trained(learned, stage.config.tuned, stage.started(learned, copy.deepcopy(trunk)))
        found = stage.features(encoder).mapped(encoder.vectors_of).figures()
        figures |= {name.at(measure, share): figure for measure, figure in found.items()}
    return figures


def labelled(stage: Stage, share: float) -> np.ndarray:
    """int64: the training products whose labels are known; more of them hold the fewer."""
    count = len(stage.pictures.training.products)
    return np.sort(generator(stage.seed, "labelled products").permutation(count)[: max(2, round(share * count))])


# -------------------------------------------------------------------------------------------------------------- attributes


def attributes(stage: Stage, wanted: tuple[str, ...]) -> Found:
    """Attributes from few labels on weights that have learned from captions; together or alone, with as many steps."""
    trunk = _pretrained(stage, _weak_config(stage, {"refine": False})).trunk
    learned = stage.learned.only(labelled(stage, stage.config.shares[0]))
    tasks = [LabelTask(one, np.arange(len(learned.images)), getattr(learned.products, one)[learned.product]) for one in wanted]
    model, _ = fine_tune(learned.images, tasks, trunk, stage.config.attributes, stage.seed, progress=stage.progress)
    images, products = stage.pictures.test["camera"], stage.pictures.test.products
    figures = {}
    for one in wanted:
        right = sum(model.predict(view, one) == getattr(products, one) for view in images).astype(np.float64)
        figures[name.accuracy(one)] = PerUser(right, np.full(len(right), float(len(images))), int(right.sum()))
    return figures, {}


# --------------------------------------------------------------------------------------------------------------- variants

_RAW = {"phrases": {"visual_filter": False}, "classes": {"cluster": False}, "refine": False}

VARIANTS: Mapping[str, Callable[[Stage], Found]] = {
    name.UNIFIED: unified,
    **{name.alone(task): partial(single, task=task) for task in (BROWSE, LENS, EXACT)},
    name.CATALOGUE: catalogue,
    name.SCRATCH: from_scratch,
    name.WEAK: partial(pretrained, update={}),
    name.CLUSTERED: partial(pretrained, update={"refine": False}),
    name.RAW: partial(pretrained, update=_RAW),
    name.NO_NORM: partial(changed, layer_norm=False),
    name.TAIL_BALANCED: partial(long_tail, balanced=True),
    name.TAIL_PLAIN: partial(long_tail, balanced=False),
    name.SUBSET: partial(changed, class_share=0.1),
    **{variant: partial(long_tail_weak, q=q) for variant, q in ((name.NATURAL, 1.0), (name.ROOT, 0.5), (name.EVEN, 0.0))},
    name.TOGETHER: partial(attributes, wanted=name.ATTRIBUTES),
    **{name.alone(one): partial(attributes, wanted=(one,)) for one in name.ATTRIBUTES},
    name.TRANSFORMER: lambda stage: from_scratch(stage, stage.config.transformer),
}
"""How each variant is trained and asked."""


def work(context: Context) -> None:
    """The work of a job: its variants, on one set of pictures."""

    def measuring() -> Measure:
        stage = _stage(context)
        return lambda run: VARIANTS[run.variant](stage)

    context.each(measuring)


def _stage(context: Context) -> Stage:
    config, seed = VisionExperimentConfig.model_validate(context.job.config["vision"]), int(context.job.config["seed"])
    pictures = product_pictures(config.products, seed, context.folder, context.doing)
    return Stage(config, seed, pictures, context.folder, lambda at, of: context.doing("training", at, of))
