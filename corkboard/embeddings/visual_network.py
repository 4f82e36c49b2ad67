"""The trainable network of the unified visual embedding, and its loss.

    trunk features (n, width) -> LayerNorm without learned factors -> linear without bias -> z (n, D) -> e = z / |z|
    logit of class c = e . w_c / |w_c| / T,   loss = sum over tasks of the mean cross entropy over the task's pictures

Proxies w exist for training alone. Where vector and code have widths of their own, the loss is added over both: over two linear
layers, each with proxies, or over prefixes of one (setting ``nested``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.embeddings.config import VisualConfig
from corkboard.embeddings.visual import output_widths
from corkboard.learning.sampled_softmax import sampled_softmax
from corkboard.vision.encoder import Trunk

EPSILON = 1e-12


@dataclass(frozen=True)
class TaskBatch:
    """What a step asks of one task.

    ``places`` (n,) are the task's pictures in the batch, ``targets`` int64 (n,) their classes as places in ``subset``, int64, the
    classes that the softmax goes over (None: all). ``removed`` bool (n, classes of the softmax) marks further classes of a picture,
    which are no negatives for it; None where no picture has more than one class.
    """

    places: slice
    targets: Tensor
    subset: Tensor | None = None
    removed: Tensor | None = None


class VisualNetwork(nn.Module):
    """Trunk features to outputs, and the proxies of every task.

    ``width`` is that of the features, ``classes`` how many classes each task has. ``trunk`` is trained with the rest where it is given;
    where not, inputs are features. A linear layer as wide as a trained trunk is left out, as published: the trunk can learn it.
    """

    def __init__(self, config: VisualConfig, width: int, classes: Sequence[int], trunk: Trunk | None = None):
        super().__init__()
        self.settings = config
        self.widths = output_widths(config)
        self.trunk = trunk
        outputs = self.widths[-1:] if config.nested else self.widths
        self.heads = nn.ModuleList(
            nn.Identity() if trunk is not None and dim == width else nn.Linear(width, dim, bias=False) for dim in outputs
        )
        self.proxies = nn.ModuleList(nn.ParameterList(_proxies(count, dim) for dim in outputs) for count in classes)

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """One output ``(n, width)`` for each of ``widths``, not yet of unit length: of features, or of pictures ``(n, 3, side, side)``."""
        features = inputs if self.trunk is None else self.trunk(inputs)
        if self.settings.layer_norm:
            features = layer_norm(features)
        outputs = [head(features) for head in self.heads]
        if self.settings.layer_norm_after:
            outputs = [layer_norm(output) for output in outputs]
        return [outputs[0][:, :dim] for dim in self.widths] if self.settings.nested else outputs

    def loss(self, inputs: Tensor, tasks: Sequence[TaskBatch | None]) -> Tensor:
        """The sum over tasks, each with its own proxies, and over outputs. None: nothing of that task is in the batch."""
        outputs = [functional.normalize(output, dim=1, eps=EPSILON) for output in self(inputs)]
        scale = 1 / self.settings.temperature
        losses = [
            proxy_softmax(output[batch.places], proxies, batch.targets, scale, batch.removed)
            for task, batch in enumerate(tasks)
            if batch is not None
            for output, proxies in zip(outputs, self._proxies_of(task, batch.subset), strict=True)
        ]
        return torch.stack(losses).sum()

    def weights(self) -> dict[str, np.ndarray]:
        """The linear layers as ``output<i>`` float32 ``(width, outputs)``; none for one that is left out. Proxies do not serve."""
        layers = {f"output{place}": head.weight.T for place, head in enumerate(self.heads) if isinstance(head, nn.Linear)}
        return {name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in layers.items()}

    def _proxies_of(self, task: int, subset: Tensor | None) -> Iterator[Tensor]:
        """The proxies of a task, ``(classes, width)`` for each output: those of ``subset``, gathered; gradients go back to their rows."""
        rows = [full if subset is None else functional.embedding(subset, full) for full in self.proxies[task]]
        yield from ([rows[0][:, :dim] for dim in self.widths] if self.settings.nested else rows)


def proxy_softmax(vectors: Tensor, proxies: Tensor, targets: Tensor, scale: float, removed: Tensor | None = None) -> Tensor:
    """Normalised softmax (Zhai and Wu, BMVC 2019): mean cross entropy of each unit vector's class among all proxies.

    ``vectors`` ``(n, dim)`` of unit length, ``proxies`` ``(classes, dim)`` of any length but 0, ``targets`` int64 ``(n,)``, ``scale`` 1/T.
    """
    return sampled_softmax(vectors, functional.normalize(proxies, dim=1, eps=EPSILON), targets, scale, removed=removed)


def layer_norm(values: Tensor) -> Tensor:
    """Rows at mean 0 and variance 1, without learned factors."""
    return functional.layer_norm(values, values.shape[-1:])


def _proxies(count: int, dim: int) -> nn.Parameter:
    """``(count, dim)`` uniform in +-1/sqrt(dim)."""
    bound = 1 / math.sqrt(dim)
    return nn.Parameter(torch.empty(count, dim).uniform_(-bound, bound))
