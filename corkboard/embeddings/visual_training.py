"""How the unified visual embedding is trained: batches of classes from every task, pictures of a class from different domains.

A step's batch is an equal mix of all tasks: each has its share of the classes, drawn without replacement, and of every class a few
pictures, of as many domains as there are. So no task learns from a domain alone, and the statistics of a batch norm tell no domain.
A class of ten pictures counts as much as one of a thousand. A picture counts for the task that it was drawn for alone.

Where a task has very many classes, the softmax of a step goes over some of them: those in the batch and others drawn evenly. Nothing
corrects for how often a class is there (no log Q), as published: classes are drawn evenly for the batch, too, so that the correction would
be the same for all and cancel. Without balanced draws it would not, and large classes are pushed away for being large.

After Zhai and Wu (BMVC 2019) and Zhai et al. (KDD 2019). Where we differ: AdamW with a half cosine instead of SGD with steps; proxies learn
faster and do not decay; classes go on after all of them were drawn, where a batch asks for more than there are.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from corkboard.embeddings.config import VisualConfig
from corkboard.embeddings.visual import VisualEncoder, VisualTask
from corkboard.embeddings.visual_network import TaskBatch, VisualNetwork
from corkboard.errors import InputError
from corkboard.learning.training import ParameterGroup, Progress, TrainingResult, computing_threads, seeded, train
from corkboard.seeds import generator
from corkboard.vision.encoder import Trunk, TrunkEncoder
from corkboard.vision.images import augmented


def train_visual(
    images: np.ndarray,
    tasks: Sequence[VisualTask],
    trunk: Trunk,
    config: VisualConfig | None = None,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
    checkpoint: Path | None = None,
) -> VisualEncoder:
    """Train on ``images`` uint8 ``(n, side, side, 3)``, which ``tasks`` point into; one task gives the model of that task alone.

    ``trunk`` stays as it is: where it is trained, that is a copy. A run whose ``checkpoint`` file exists continues from it.
    """
    return VisualTraining(images, tasks, trunk, config or VisualConfig(), seed).run(progress, checkpoint)


class VisualTraining:
    """One training run."""

    def __init__(self, images: np.ndarray, tasks: Sequence[VisualTask], trunk: Trunk, config: VisualConfig, seed: int):
        _check(images, tasks)
        self.images, self.tasks, self.config, self.seed = images, tuple(tasks), config, seed
        self.samplers = [TaskSampler(task, config) for task in tasks]
        self.trunk = copy.deepcopy(trunk).requires_grad_(True) if config.trunk_trained else trunk
        self.views: Tensor | None = None
        self.result: TrainingResult | None = None

    def run(self, progress: Callable[[Progress], None] | None = None, checkpoint: Path | None = None) -> VisualEncoder:
        """Train, and return the encoder of the last step."""
        config, trained = self.config, self.config.trunk_trained
        if not trained and config.training.steps:
            self._read_views()
        with seeded(self.seed, "visual", "start"):
            counts = [sampler.classes for sampler in self.samplers]
            self.network = VisualNetwork(config, self.trunk.dim, counts, self.trunk if trained else None)
        groups = [ParameterGroup("proxies.", rate=config.proxy_lr, weight_decay=0.0)]
        if trained:
            groups.append(ParameterGroup("trunk.", rate=config.trunk_lr, after=config.trunk_after))
        self.result = train(self.network, self._loss, config.training, self.seed, progress=progress, checkpoint=checkpoint, groups=groups)
        return VisualEncoder(config, self.trunk, self.network.weights())

    def _read_views(self) -> None:
        """The features of every picture of a task, float32 ``(views, pictures, width)``: as it is, then augmented."""
        self.known = np.unique(np.concatenate([task.images for task in self.tasks]))
        reader, pictures = TrunkEncoder(self.trunk), self.images[self.known]
        with computing_threads(self.config.training.threads):
            views = [reader.encode(pictures)]
            for view in range(1, self.config.views):
                views.append(reader.encode(augmented(pictures, generator(self.seed, "visual", "view", view))))
        self.views = torch.from_numpy(np.stack(views))

    def _loss(self, draw: np.random.Generator) -> Tensor:
        rows, batches = self.batch(draw)
        return self.network.loss(self._inputs(rows, draw), batches)

    def batch(self, draw: np.random.Generator) -> tuple[np.ndarray, list[TaskBatch | None]]:
        """The rows of ``images`` of a step, int64 ``(n,)``, and what each task asks of them; None for a task that this step leaves out."""
        share, rest = divmod(self.config.batch_classes, len(self.tasks))
        counts = np.full(len(self.tasks), share)
        counts[draw.permutation(len(self.tasks))[:rest]] += 1
        rows: list[np.ndarray] = []
        batches: list[TaskBatch | None] = []
        start = 0
        for task, sampler, count in zip(self.tasks, self.samplers, counts, strict=True):
            if not count:
                batches.append(None)
                continue
            entries = sampler.entries(int(count), draw)
            rows.append(task.images[entries])
            batches.append(sampler.batch(entries, start, draw))
            start += len(entries)
        return np.concatenate(rows), batches

    def _inputs(self, rows: np.ndarray, draw: np.random.Generator) -> Tensor:
        """Features of a random view of each picture, or the pictures themselves for a trunk that learns."""
        if self.views is not None:
            views = draw.integers(0, len(self.views), len(rows))
            return self.views[torch.from_numpy(views), torch.from_numpy(np.searchsorted(self.known, rows))]
        pictures = self.images[rows]
        return self.trunk.pixels(augmented(pictures, draw) if self.config.augmented else pictures)


class TaskSampler:
    """Draws labelled pictures of one task. An entry is a place in the task's arrays, ``classes`` the number of its classes."""

    def __init__(self, task: VisualTask, config: VisualConfig):
        self.config = config
        labels, self.class_of = np.unique(task.classes, return_inverse=True)
        self.classes = len(labels)
        self.order = np.lexsort((task.domains, self.class_of))  # a group: the pictures of one class and domain, side by side
        keys = np.stack([self.class_of, task.domains])[:, self.order]
        self.starts = np.flatnonzero(np.concatenate([[True], (keys[:, 1:] != keys[:, :-1]).any(axis=0)]))
        self.sizes = np.diff(self.starts, append=len(self.order))
        self.first_group = np.searchsorted(keys[0][self.starts], np.arange(self.classes + 1))
        _, self.image_of, times = np.unique(task.images, return_inverse=True, return_counts=True)
        self.several = bool((times > 1).any())
        self.by_image = np.argsort(self.image_of, kind="stable")
        self.image_starts = np.concatenate([[0], np.cumsum(times)])

    def entries(self, count: int, draw: np.random.Generator) -> np.ndarray:
        """int64 ``(count * images_per_class,)``: pictures of ``count`` classes, one class after the other; or as many drawn evenly."""
        each = self.config.images_per_class
        if not self.config.balanced:
            return draw.integers(0, len(self.order), count * each)
        whole, part = divmod(count, self.classes)
        rounds = [draw.permutation(self.classes) for _ in range(whole)] + [draw.choice(self.classes, part, replace=False)]
        chosen = np.concatenate(rounds)
        first, domains = self.first_group[chosen], np.diff(self.first_group)[chosen]
        keys = draw.random((count, int(domains.max())))
        keys[np.arange(keys.shape[1]) >= domains[:, None]] = 2.0  # a class without so many domains: last
        turns = np.argsort(keys, axis=1)
        groups = first[:, None] + np.take_along_axis(turns, np.arange(each) % domains[:, None], axis=1)
        return self.order[self.starts[groups] + (draw.random(groups.shape) * self.sizes[groups]).astype(np.int64)].ravel()

    def batch(self, entries: np.ndarray, start: int, draw: np.random.Generator) -> TaskBatch:
        """What a step asks of ``entries``, which lie in its batch from ``start`` on."""
        subset = self.subset(self.class_of[entries], draw)
        targets = self.class_of[entries] if subset is None else np.searchsorted(subset, self.class_of[entries])
        removed = self._other_classes(entries, subset) if self.several else None
        return TaskBatch(
            slice(start, start + len(entries)),
            torch.from_numpy(targets),
            None if subset is None else torch.from_numpy(subset),
            None if removed is None else torch.from_numpy(removed),
        )

    def subset(self, present: np.ndarray, draw: np.random.Generator) -> np.ndarray | None:
        """int64, rising: the classes ``present`` and others drawn evenly, ``class_share`` of all together; None where that is all."""
        wanted = math.ceil(self.config.class_share * self.classes)
        if wanted >= self.classes:
            return None
        chosen = np.zeros(self.classes, bool)
        chosen[present] = True
        missing = wanted - int(chosen.sum())
        if missing > 0:
            chosen[draw.choice(np.flatnonzero(~chosen), missing, replace=False)] = True
        return np.flatnonzero(chosen)

    def _other_classes(self, entries: np.ndarray, subset: np.ndarray | None) -> np.ndarray:
        """bool ``(entries, classes of the softmax)``: all that the pictures of ``entries`` belong to."""
        images = self.image_of[entries]
        first, counts = self.image_starts[images], np.diff(self.image_starts)[images]
        owner = np.repeat(np.arange(len(entries)), counts)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
        theirs = self.class_of[self.by_image[np.repeat(first, counts) + within]]
        owned = np.zeros((len(entries), self.classes), bool)
        owned[owner, theirs] = True
        return owned if subset is None else owned[:, subset]


def _check(images: np.ndarray, tasks: Sequence[VisualTask]) -> None:
    if not tasks or len({task.name for task in tasks}) != len(tasks):
        raise InputError("Training needs tasks, each with a name of its own", found=[task.name for task in tasks])
    for task in tasks:
        if task.images.min() < 0 or task.images.max() >= len(images):
            raise InputError(
                f"The task {task.name} points at pictures that are not there",
                found=(int(task.images.min()), int(task.images.max())),
                expected=f"rows of {len(images)} pictures",
            )
