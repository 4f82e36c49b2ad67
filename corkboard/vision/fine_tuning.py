"""Fine-tuning one trunk for several tasks of labels: attributes, categories, whatever each data set tells of its images.

    L = sum over tasks of  weight * cross-entropy of the task's head on its share of the batch

Every task has an equal share of each batch, whatever its size, and a head of its own (layer norm, linear). Attributes are heads side by
side and not classes mixed of them: a head for type and colour at once would teach the trunk to forget one of the two. What is kept is the
step with the best mean of normalised scores, not of one task. After Beal et al. (WACV 2022), section on multi-task training. Tasks of
metric learning have losses of their own and live above this room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.errors import InputError, NotFound
from corkboard.learning.training import Progress, TrainingResult, seeded, train
from corkboard.vision.config import FineTuningConfig
from corkboard.vision.encoder import Trunk, TrunkEncoder
from corkboard.vision.images import augmented
from corkboard.vision.pretraining import ClassHead
from corkboard.vision.trunk import parameter_groups


@dataclass(frozen=True)
class LabelTask:
    """``classes[i]`` int64 (0, 1, …) is the label of image row ``images[i]``; images without a label of this task are not in it.

    ``validation`` bool ``(n,)`` marks those that are not trained on and choose the step that is kept; ``weight`` is lambda.
    """

    name: str
    images: np.ndarray
    classes: np.ndarray
    validation: np.ndarray | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.classes) == len(self.held_back):
            raise InputError(f"The task {self.name} needs a class an image", found=(len(self.images), len(self.classes)))
        if self.held_back.all() or self.classes.min() < 0:
            raise InputError(
                f"The task {self.name} has nothing to train on", found=len(self.images), expected="some images of classes 0, 1, …"
            )
        if np.isin(self.images[self.held_back], self.images[~self.held_back]).any():
            raise InputError(f"The task {self.name} trains on images of its validation")

    @property
    def held_back(self) -> np.ndarray:
        """bool ``(n,)``: of the validation."""
        return np.zeros(len(self.images), bool) if self.validation is None else self.validation

    @property
    def width(self) -> int:
        """Classes of its head."""
        return int(self.classes.max()) + 1


class MultiTask(nn.Module):
    """A trunk and a head a task."""

    def __init__(self, trunk: Trunk, widths: Mapping[str, int]):
        super().__init__()
        self.trunk = trunk
        self.names = tuple(widths)
        self.heads = nn.ModuleList(ClassHead(trunk.dim, width) for width in widths.values())

    def head(self, task: str) -> ClassHead:
        """The head of a task. Raises :class:`NotFound` for an unknown one."""
        if task not in self.names:
            raise NotFound("There is no such task", found=task, expected=f"one of {', '.join(self.names)}")
        return self.heads[self.names.index(task)]

    def posterior(self, images: np.ndarray, task: str) -> np.ndarray:
        """float32 ``(n, classes)`` of uint8 images ``(n, height, width, 3)``; rows sum to 1."""
        return self.head(task).posterior(TrunkEncoder(self.trunk).encode(images))

    def predict(self, images: np.ndarray, task: str) -> np.ndarray:
        """int64 ``(n,)``: the likeliest class of each image."""
        return self.posterior(images, task).argmax(axis=1)


def fine_tune(
    images: np.ndarray,
    tasks: Sequence[LabelTask],
    trunk: Trunk,
    config: FineTuningConfig,
    seed: int,
    *,
    progress: Callable[[Progress], None] | None = None,
    checkpoint: Path | None = None,
) -> tuple[MultiTask, TrainingResult]:
    """Train heads for ``tasks`` on ``trunk``, and the trunk in place where ``config.trunk_trained``, on uint8 ``(n, height, width, 3)``."""
    if not tasks or len({task.name for task in tasks}) < len(tasks):
        raise InputError("Fine-tuning needs tasks of different names", found=[task.name for task in tasks])
    run = _FineTuning(images, tasks, trunk, config, seed)
    validate = run.score if any(task.held_back.any() for task in tasks) else None
    groups = parameter_groups(trunk, rate=config.trunk_rate, layer_decay=config.layer_decay) if config.trunk_trained else ()
    result = train(run.trained, run.loss, config.training, seed, validate=validate, progress=progress, checkpoint=checkpoint, groups=groups)
    return run.model.eval(), result


def normalised_accuracy(predicted: np.ndarray, classes: np.ndarray) -> float:
    """How much of the way from always naming the most frequent class (0) to no mistake (1); below 0 for worse; 0 for a single class."""
    usual = np.bincount(classes).max() / len(classes)
    return float(((predicted == classes).mean() - usual) / (1 - usual)) if usual < 1 else 0.0


class _FineTuning:
    """One run: which images each task draws from, and where their vectors come from."""

    def __init__(self, images: np.ndarray, tasks: Sequence[LabelTask], trunk: Trunk, config: FineTuningConfig, seed: int):
        self.images, self.tasks, self.config = images, tasks, config
        with seeded(seed, "vision", "heads"):
            self.model = MultiTask(trunk, {task.name: task.width for task in tasks})
        self.share = max(config.batch // len(tasks), 1)
        self.trained_rows = [np.flatnonzero(~task.held_back) for task in tasks]
        self.trained: nn.Module = self.model if config.trunk_trained else self.model.heads
        if not config.trunk_trained:  # each image is read once, and steps are of heads alone
            self.used = np.unique(np.concatenate([task.images for task in tasks]))
            self.vectors = TrunkEncoder(trunk).encode(images[self.used])

    def loss(self, rng: np.random.Generator) -> Tensor:
        chosen = [rows[rng.integers(0, len(rows), self.share)] for rows in self.trained_rows]
        drawn = np.concatenate([task.images[rows] for task, rows in zip(self.tasks, chosen, strict=True)])
        vectors = self._vectors(drawn, rng)
        loss = torch.zeros(())
        for number, (task, rows) in enumerate(zip(self.tasks, chosen, strict=True)):
            logits = self.model.heads[number](vectors[number * self.share : (number + 1) * self.share])
            wanted = torch.from_numpy(task.classes[rows].astype(np.int64))
            loss = loss + task.weight * functional.cross_entropy(logits, wanted, label_smoothing=self.config.smoothing)
        return loss

    def score(self) -> float:
        """The mean of the normalised accuracies of the tasks that have a validation."""
        scores = []
        for number, task in enumerate(self.tasks):
            if task.held_back.any():
                rows = task.images[task.held_back]
                vectors = TrunkEncoder(self.model.trunk).encode(self.images[rows]) if self.config.trunk_trained else self._kept(rows)
                predicted = self.model.heads[number].posterior(vectors).argmax(axis=1)
                scores.append(normalised_accuracy(predicted, task.classes[task.held_back]))
        return float(np.mean(scores))

    def _vectors(self, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        if not self.config.trunk_trained:
            return torch.from_numpy(self._kept(rows))
        return self.model.trunk(self.model.trunk.pixels(augmented(self.images[rows], rng)))

    def _kept(self, rows: np.ndarray) -> np.ndarray:
        return self.vectors[np.searchsorted(self.used, rows)]
