"""Pre-training of a trunk on weak labels: classes by their sampled labels, then labels refined by the first model, then once more.

A step draws classes with chances ``n^q`` of their images (q = 1: as they are, 0: all alike), an image of each by its score, and asks for
that one class (softmax on a sampled label with label smoothing: an image has several labels and none is sure). The first model's posterior
then multiplies the scores of each image's labels, what falls too low is dropped, and a new trunk is trained on what is left. After Beal et
al. (WACV 2022). Where we differ: a class's posterior is taken over what it is among the images of that class. As it is, labels of one
image share the mass of a softmax, and rare ones, of which a first model is never sure, would all be lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.errors import InputError, LeakError
from corkboard.learning.training import Progress, TrainingResult, computing_threads, seeded, train
from corkboard.vision.config import PretrainingConfig, WeakPretrainingConfig
from corkboard.vision.encoder import Trunk, TrunkEncoder
from corkboard.vision.images import augmented, colour_histogram, raw_pixels
from corkboard.vision.label_clusters import classes_of
from corkboard.vision.label_quality import LabelReport, LabelTruth
from corkboard.vision.trunk import parameter_groups
from corkboard.vision.weak_labels import Bags, WeakLabels, coherent, csr, phrase_labels

_TYPICAL = 0.75
"""The quantile of a label's posteriors that counts as belief: right for labels of which at least a quarter are true."""
_ROWS_AT_ONCE = 4096
"""Images that are copied out of a mapped array at once."""


class ClassHead(nn.Module):
    """Layer norm and a linear map onto classes, which starts near zero: all classes alike."""

    def __init__(self, dim: int, classes: int):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(dim), nn.Linear(dim, classes)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits ``(batch, classes)`` of a trunk's vectors ``(batch, dim)``."""
        return self.linear(self.norm(vectors))

    def posterior(self, vectors: np.ndarray) -> np.ndarray:
        """float32 ``(n, classes)`` of a trunk's vectors ``(n, dim)``; rows sum to 1."""
        with torch.no_grad():
            return self(torch.from_numpy(vectors)).softmax(dim=1).numpy()


class Classifier(nn.Module):
    """A trunk and a head on its vectors."""

    def __init__(self, trunk: Trunk, classes: int):
        super().__init__()
        self.trunk, self.head = trunk, ClassHead(trunk.dim, classes)

    def forward(self, images: np.ndarray) -> Tensor:
        """Logits ``(batch, classes)`` of uint8 images ``(batch, height, width, 3)``."""
        return self.head(self.trunk(self.trunk.pixels(images)))

    def posterior(self, images: np.ndarray) -> np.ndarray:
        """float32 ``(n, classes)`` of uint8 images ``(n, height, width, 3)``; rows sum to 1."""
        return self.head.posterior(TrunkEncoder(self.trunk).encode(images))


@dataclass(frozen=True)
class Pretrained:
    """A trunk that was pre-trained, with the head over the classes of ``labels``, and what each step of the labels was worth."""

    model: Classifier
    labels: WeakLabels
    report: LabelReport
    results: tuple[TrainingResult, ...]
    """Of the first model and, with refinement, of the second."""

    @property
    def trunk(self) -> Trunk:
        """The trunk alone."""
        return self.model.trunk


class ClassSampler:
    """Draws (image, class) by class chances ``n^q``, and within a class by score."""

    def __init__(self, labels: WeakLabels, q: float):
        columns = labels.scores.tocsc()
        self.images, self.starts = columns.indices.astype(np.int64), columns.indptr.astype(np.int64)
        counts = labels.counts
        self.chances = np.where(counts > 0, np.maximum(counts, 1).astype(np.float64) ** q, 0.0)
        if not self.chances.sum():
            raise InputError("There is nothing to learn from: no image has a label")
        self.chances /= self.chances.sum()
        self._until = np.concatenate([[0.0], np.cumsum(columns.data, dtype=np.float64)])

    def draw(self, batch: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """int64 ``(batch,)`` image rows, and the class that each was drawn for."""
        classes = rng.choice(len(self.chances), batch, p=self.chances)
        low, high = self._until[self.starts[classes]], self._until[self.starts[classes + 1]]
        place = np.searchsorted(self._until, low + rng.random(batch) * (high - low), side="right") - 1
        return self.images[np.clip(place, self.starts[classes], self.starts[classes + 1] - 1)], classes


def pretrain(
    images: np.ndarray,
    labels: WeakLabels,
    trunk: Trunk,
    config: PretrainingConfig,
    seed: int,
    *,
    held_out: np.ndarray | None = None,
    progress: Callable[[Progress], None] | None = None,
    checkpoint: Path | None = None,
) -> tuple[Classifier, TrainingResult]:
    """Train ``trunk`` in place, and a head, to tell the classes of ``labels`` from uint8 images ``(n, height, width, 3)``.

    Raises :class:`LeakError` where an image of ``held_out`` bool ``(n,)`` has a label: it must not be learned from. The images may be
    memory-mapped; a step reads its own alone.
    """
    if len(images) != labels.scores.shape[0]:
        raise InputError("Every image needs a row of labels", found=labels.scores.shape[0], expected=len(images))
    if held_out is not None and labels.labelled[held_out].any():
        raise LeakError("Images that are held out have labels to learn from", found=int(labels.labelled[held_out].sum()), expected=0)
    sampler = ClassSampler(labels, config.q)
    with seeded(seed, "vision", "head"):
        model = Classifier(trunk, labels.scores.shape[1])

    def loss_of(rng: np.random.Generator) -> Tensor:
        rows, classes = sampler.draw(config.batch, rng)
        logits = model(augmented(images[rows], rng))
        return functional.cross_entropy(logits, torch.from_numpy(classes), label_smoothing=config.smoothing)

    groups = parameter_groups(trunk, rate=1.0)
    result = train(model, loss_of, config.training, seed, progress=progress, checkpoint=checkpoint, groups=groups)
    return model, result


def refined(labels: WeakLabels, posterior: np.ndarray, floor: float, k: int, threshold: float) -> WeakLabels:
    """Scores times how likely the first model thinks each label, again the best ``k`` of each image with at least ``threshold``.

    ``posterior`` is float ``(images, labels)``. The factor is the posterior over the upper quartile of it among the images that carry the
    label, between ``floor`` and 1: the best quarter of every label keep their scores. An image may lose all its labels.
    """
    columns = labels.scores.tocsc()
    label = np.repeat(np.arange(columns.shape[1]), np.diff(columns.indptr))
    believed = posterior[columns.indices, label].astype(np.float64)
    for start, end in zip(columns.indptr[:-1], columns.indptr[1:], strict=True):
        if end > start:
            believed[start:end] /= max(np.quantile(believed[start:end], _TYPICAL), 1e-12)
    scores = csr(columns.data * np.clip(believed, floor, 1.0), columns.indices, label, columns.shape)
    return WeakLabels(scores, labels.members).top(k, threshold)


def plain_vectors(images: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
    """float32 ``(n, dim)``: colours of the middle beside pixels at 8 px, each less its mean over the images of ``among`` (a mask; None:
    all) and scaled to length 1.

    How alike images are before anything is trained; any encoder's vectors are better.
    """
    parts = []
    for values in (colour_histogram(images), raw_pixels(images, 8)):
        values = values - values[slice(None) if among is None else among].mean(axis=0)
        parts.append(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6))
    return np.concatenate(parts, axis=1)


def weak_classes(
    bags: Bags,
    vectors: np.ndarray,
    config: WeakPretrainingConfig,
    seed: int,
    held_out: np.ndarray | None = None,
    report: LabelReport | None = None,
) -> WeakLabels:
    """Classes from bags of text: phrases, the best of each image, what shows, clusters.

    ``vectors`` float32 ``(images, dim)`` of any encoder. Nothing that is said of the images of ``held_out`` bool ``(images,)`` is read.
    ``report`` is told of every step.
    """
    report = LabelReport() if report is None else report
    if held_out is not None:
        bags = bags.without(held_out)
    phrases = config.phrases
    labels = phrase_labels(bags, phrases)
    report.add("phrases", labels)
    best = labels.top(phrases.top, phrases.threshold)
    report.add("best phrases", best)
    if phrases.visual_filter:  # before the best are taken anew: what does not show must not take their places
        best = coherent(labels, vectors, bags.products, phrases).top(phrases.top, phrases.threshold)
        report.add("coherent", best)
    classes = classes_of(best.only(best.counts > 0), vectors, config.classes, seed)
    report.add("classes", classes)
    return classes


def weakly_supervised(
    images: np.ndarray,
    bags: Bags,
    build: Callable[[int], Trunk],
    config: WeakPretrainingConfig,
    seed: int,
    *,
    vectors: np.ndarray | None = None,
    held_out: np.ndarray | None = None,
    truth: LabelTruth | None = None,
    progress: Callable[[Progress], None] | None = None,
    checkpoint: Path | None = None,
) -> Pretrained:
    """The whole of it: labels from ``bags``, a first trunk ``build(seed)``, refinement by what it says, and a second trunk from the start.

    ``vectors`` float32 ``(images, dim)`` tell how alike images are before anything is trained; default :func:`plain_vectors`. Images of
    ``held_out`` bool ``(images,)`` have no part in it, neither pictures nor text. With ``truth`` the report has precision and recall after
    every step.
    """
    held_out = np.zeros(len(images), bool) if held_out is None else held_out
    vectors = plain_vectors(images, ~held_out) if vectors is None else vectors
    for name, array in (("text", bags.products), ("vector", vectors)):
        if len(array) != len(images):
            raise InputError(f"Every image needs a row of {name}", found=len(array), expected=len(images))
    report = LabelReport(truth, ~held_out)
    labels = weak_classes(bags, vectors, config, seed, held_out, report)

    def trained(number: int) -> tuple[Classifier, TrainingResult]:
        file = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.stem}-{number}{checkpoint.suffix}")
        return pretrain(images, labels, build(seed), config.pretraining, seed, held_out=held_out, progress=progress, checkpoint=file)

    model, first = trained(0)
    if not config.refine:
        return Pretrained(model, labels, report, (first,))
    labels = _refined_by(model, images, labels, config)
    report.add("refined", labels)
    model, second = trained(1)
    return Pretrained(model, labels, report, (first, second))


def _refined_by(model: Classifier, images: np.ndarray, labels: WeakLabels, config: WeakPretrainingConfig) -> WeakLabels:
    rows = np.flatnonzero(labels.labelled)
    posterior = np.zeros(labels.scores.shape, np.float32)
    with computing_threads(config.pretraining.training.threads):
        for at in range(0, len(rows), _ROWS_AT_ONCE):
            posterior[rows[at : at + _ROWS_AT_ONCE]] = model.posterior(images[rows[at : at + _ROWS_AT_ONCE]])
    return refined(labels, posterior, config.refinement_floor, config.phrases.top, config.phrases.threshold)
