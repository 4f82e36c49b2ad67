"""The trunk that comes with the package: rendered products, one training of the unified visual embedding, and a card of what it is worth.

    corkboard experiment trunk --out FILE --seed 0

The trunk learns on products that are drawn beyond any world: first what can be told of each picture (topic, pattern, shade, style), then
with proxies, end to end. Proxies alone hardly move a random trunk here: with 2,000 products each of them is seen once in 200 steps, and
600 steps found .007 of validation products from a camera picture; 600 steps of attributes, .335. What is kept are weights in float16;
heads and proxies are made anew by whoever uses them.

The card lies in the notes of the file: what the weights were made by, and the figures of the protocol of
:mod:`corkboard.experiments.visual_retrieval` on validation and test products that no step has seen, by new outputs on the very weights that
are kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.embeddings.visual import VisualEncoder
from corkboard.embeddings.visual_training import train_visual
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.spine_runs import code_hash
from corkboard.experiments.vision_config import StartConfig, VisualRetrievalConfig
from corkboard.experiments.visual_retrieval import (
    P1,
    PICTURE_CODE,
    Gallery,
    Labelled,
    ProductPictures,
    baselines,
    facts,
    product_pictures,
    representations,
)
from corkboard.learning.training import Progress, seeded, train
from corkboard.metrics.intervals import PerUser, intervals
from corkboard.vision.encoder import Trunk
from corkboard.vision.images import augmented
from corkboard.vision.pretraining import ClassHead
from corkboard.vision.trunk import build_trunk, restored, save_trunk, trunk_facts, trunk_tensors
from corkboard.world.vocabulary import PATTERNS, SHADES, STYLES, TOPICS

TRUNK_CODE = (
    *("vision/cnn.py", "vision/encoder.py", "vision/images.py", "vision/vit.py", "vision/trunk.py", "learning/training.py"),
    *("embeddings/visual.py", "embeddings/visual_network.py", "embeddings/visual_training.py", "learning/sampled_softmax.py"),
    *("vision/pretraining.py", "experiments/trunk.py", "experiments/visual_retrieval.py"),
)
"""The sources that a trained trunk depends on, beside those of the pictures."""

Say = Callable[[str], None]
_SAY_EVERY_S = 20.0


ATTRIBUTES = {"topic": len(TOPICS), "pattern": len(PATTERNS), "shade": len(SHADES), "style": len(STYLES)}
"""What a trunk is told of every picture before there are proxies, and how many classes it has."""


def train_trunk(
    pictures: ProductPictures, config: VisualRetrievalConfig, seed: int, progress: Callable[[Progress], None] | None = None
) -> VisualEncoder:
    """Train a trunk from random weights, its outputs and proxies on the training products of ``pictures``."""
    learned = Labelled.of(pictures.training)
    trunk = started(learned, build_trunk(config.trunk, seed), config.start, seed, progress)
    return train_visual(learned.images, learned.tasks(), trunk, config.visual, seed, progress)


class Attributes(nn.Module):
    """A trunk with a head for each attribute; all heads read every picture."""

    def __init__(self, trunk: Trunk):
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleList(ClassHead(trunk.dim, classes) for classes in ATTRIBUTES.values())

    def loss(self, images: np.ndarray, classes: Tensor) -> Tensor:
        """The sum over attributes of the mean cross entropy; ``classes`` int64 ``(n, attributes)``, -1 where one does not show."""
        features = self.trunk(self.trunk.pixels(images))
        losses = [functional.cross_entropy(head(features), classes[:, k], ignore_index=-1) for k, head in enumerate(self.heads)]
        return torch.stack(losses).sum()


def started(learned: Labelled, trunk: Trunk, config: StartConfig, seed: int, progress: Callable[[Progress], None] | None = None) -> Trunk:
    """``trunk`` after it has learned, in place, to tell the attributes of ``learned`` from pictures; as it is where there are no steps."""
    if not config.training.steps:
        return trunk
    with seeded(seed, "attributes"):
        model = Attributes(trunk)
    classes = torch.from_numpy(np.stack([getattr(learned.products, name) for name in ATTRIBUTES], axis=1))

    def loss(draw: np.random.Generator) -> Tensor:
        rows = draw.integers(0, len(learned.images), config.batch)
        return model.loss(augmented(learned.images[rows], draw), classes[torch.from_numpy(learned.product[rows])])

    train(model, loss, config.training, seed, progress=progress)
    return trunk


def measured(encoder: VisualEncoder, pictures: ProductPictures) -> dict[str, dict[str, PerUser]]:
    """By part (validation, test, held-out combinations, held-out backgrounds) and measure; codes have their bits in the measure's name."""
    parts = {
        "validation": Gallery.of(encoder.features, pictures.validation),
        "test": Gallery.of(encoder.features, pictures.test),
        "held-out combinations": Gallery.of(encoder.features, pictures.combination),
        "held-out backgrounds": Gallery.of(encoder.features, pictures.test, pictures.backgrounds),
    }
    found: dict[str, dict[str, PerUser]] = {}
    for part, features in parts.items():
        found[part] = {}
        for name, of in representations(encoder).items():
            for measure, figure in features.mapped(of).figures().items():
                found[part][measure if name == "float" else f"{measure}, {name}"] = figure
    return found


def told(figures: Mapping[str, PerUser], config: EvaluationConfig) -> dict[str, list[float]]:
    """Measure -> [value, low, high], rounded; the interval is a bootstrap over products. What nobody was asked is left out."""
    figures = {name: figure for name, figure in figures.items() if figure.users}
    bounds = intervals(list(figures.values()), replicates=config.replicates, seed=config.seed, level=config.level)
    return {
        name: [round(value, 4) for value in (figure.value, bound.low, bound.high)]
        for (name, figure), bound in zip(figures.items(), bounds, strict=True)
    }


def make_trunk(file: Path, folder: Path, config: VisualRetrievalConfig, seed: int, say: Say) -> dict[str, Any]:
    """Render, train, measure, and write the trunk to ``file``; returns its card, which the file has in its notes."""
    begun = time.time()
    pictures = product_pictures(config.products, seed, folder, counted(say))
    say(f"pictures are there after {time.time() - begun:.0f} s: {facts(config.products)['training_pictures']:,} to learn from")
    batch = config.visual.batch_classes * config.visual.images_per_class
    trained = train_trunk(pictures, config, seed, steps_told(say, batch)).trunk
    say("new outputs on the finished trunk")
    encoder = with_new_heads(pictures, restored(trunk_facts(trained), trunk_tensors(trained, half=True)), config, seed)
    say("measuring")
    card = card_of(encoder, pictures, config, seed) | {"seconds": round(time.time() - begun)}
    save_trunk(trained, file, card)
    return card


def with_new_heads(pictures: ProductPictures, trunk: Trunk, config: VisualRetrievalConfig, seed: int) -> VisualEncoder:
    """Outputs and proxies trained on a trunk that stands still, as the demo does; what a kept trunk is worth."""
    learned = Labelled.of(pictures.training)
    return train_visual(learned.images, learned.tasks(), trunk, config.heads, seed)


def card_of(encoder: VisualEncoder, pictures: ProductPictures, config: VisualRetrievalConfig, seed: int) -> dict[str, Any]:
    """What a trunk was made by, and what it is worth; JSON, the same for the same trunk."""
    figures = {part: told(found, config.evaluation) for part, found in measured(encoder, pictures).items()}
    trivial = {name: gallery.figures() for name, gallery in baselines(pictures, config, seed).items()}
    return {
        "made_by": "corkboard experiment trunk",
        "seed": seed,
        "steps": {"attributes": config.start.training.steps, "proxies": config.visual.training.steps},
        "code": code_hash(*TRUNK_CODE),
        "picture_code": code_hash(*PICTURE_CODE),
        "split": pictures.split,
        **facts(config.products),
        "parameters": sum(values.numel() for values in encoder.trunk.parameters()),
        "figures": figures,
        "baselines": {
            name: {key: told(found, config.evaluation)[key] for key in (f"camera {P1}", f"web {P1}")} for name, found in trivial.items()
        },
        "settings": config.model_dump(mode="json", exclude={"evaluation"}),
    }


def card_lines(card: Mapping[str, Any]) -> list[str]:
    """The figures of a card for people, a line for each part."""
    lines = []
    for part, figures in {**card["figures"], **card["baselines"]}.items():
        shown = {name: figures[name] for name in (f"camera {P1}", f"web {P1}") if name in figures}
        told = (f"{name} {value:.3f} [{low:.3f}, {high:.3f}]" for name, (value, low, high) in shown.items())
        lines.append(f"{part:24} {', '.join(told)}")
    return lines


def outside(made: Mapping[str, Any], card: Mapping[str, Any]) -> list[str]:
    """What of a trunk made anew lies outside of the intervals on a card, a sentence each: camera and web queries on test products."""
    lines = []
    for name in (f"camera {P1}", f"web {P1}"):
        value, (_, low, high) = made["figures"]["test"][name][0], card["figures"]["test"][name]
        if not low <= value <= high:
            lines.append(f"{name} is {value:.3f}, outside of [{low:.3f}, {high:.3f}] on the card")
    return lines


def counted(say: Say) -> Callable[[str, int, int], None]:
    """A listener for rendering: a line now and then, with the rate."""
    begun, last = time.monotonic(), [time.monotonic()]

    def listen(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - last[0] > _SAY_EVERY_S:
            last[0] = now
            say(f"{what} {done:,}/{total:,}, {done / (now - begun):,.0f} a second")

    return listen


def steps_told(say: Say, batch: int) -> Callable[[Progress], None]:
    """A listener for training: a line now and then, with the rate and the time to go."""
    last = [time.monotonic()]

    def listen(at: Progress) -> None:
        now = time.monotonic()
        if now - last[0] > _SAY_EVERY_S or at.step == at.steps:
            last[0] = now
            left = math.ceil(at.seconds_left / 60)
            say(f"step {at.step:,}/{at.steps:,}, loss {at.loss:.2f}, {at.rate * batch:,.0f} pictures a second, {left} minutes to go")

    return listen
