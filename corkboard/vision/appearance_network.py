"""The network behind :mod:`corkboard.vision.appearance`: a convolutional trunk, pooled so that texture survives, and a head a facet.

    pixels -> blocks -> means and deviations of the maps of all but the first, and for each head a mean weighted by where it looks
           -> batch norm -> linear -> logits of each facet

Means and deviations of early maps tell stripes from dots, wherever they lie in the picture (in the spirit of Gatys et al., CVPR 2016); a
mean that a head weights for itself (Ilse et al., ICML 2018) leaves out what stands beside the thing. The trunk begins as the one that comes
with the package, which was trained to find products at 48 px and pools away what is asked for here, and learns with the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.learning.config import TrainingConfig
from corkboard.learning.training import train
from corkboard.vision.cnn import ConvTrunk, fold_batch_norm
from corkboard.vision.config import TrunkConfig
from corkboard.vision.images import resized, to_tensor

if TYPE_CHECKING:
    from corkboard.learning.training import Progress

_EPSILON = 1e-5
_AT_ONCE = 128
_SHIFT = 3
"""Pictures are moved by so many px at most in training, each way."""


class AppearanceNetwork(nn.Module):
    """Pixels ``(n, 3, side, side)`` to logits ``(n, sum of classes)``, head after head. ``classes`` counts the values of each facet."""

    def __init__(self, classes: Mapping[str, int], side: int, trunk: ConvTrunk | None = None):
        super().__init__()
        self.trunk = ConvTrunk(TrunkConfig(side=side)) if trunk is None else trunk
        self.side, self.classes = side, dict(classes)
        kept = [block.conv.out_channels for block in self.trunk.blocks][1:]
        self.looks = nn.Conv2d(self.trunk.dim, len(classes), 1)
        self.norm = nn.BatchNorm1d(2 * sum(kept))
        self.near = nn.BatchNorm1d(self.trunk.dim)
        self.heads = nn.ModuleList([nn.Linear(2 * sum(kept) + self.trunk.dim, count) for count in classes.values()])
        nn.init.zeros_(self.looks.weight)

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 ``(n, sum of classes)``."""
        maps, x = [], pixels
        for block in self.trunk.blocks:
            x = block(x)
            maps.append(x)
        flat = [part.flatten(2) for part in maps[1:]]
        texture = torch.cat([of for part in flat for of in (part.mean(2), (part.var(2, unbiased=False) + _EPSILON).sqrt())], dim=1)
        texture = self.norm(texture)
        weights = torch.softmax(self.looks(x).flatten(2), dim=2)
        seen = weights @ flat[-1].transpose(1, 2)
        return torch.cat([head(torch.cat([texture, self.near(seen[:, k])], dim=1)) for k, head in enumerate(self.heads)], dim=1)

    def served(self) -> AppearanceNetwork:
        """A copy for serving, with the batch norm of the trunk folded into its convolutions."""
        return fold_batch_norm(self)

    def tensors(self) -> dict[str, np.ndarray]:
        """Parameters and running statistics by name, float16."""
        found = {name: values.detach().numpy() for name, values in self.state_dict().items() if not name.endswith("num_batches_tracked")}
        return {name: np.array(values, np.float16, order="C") for name, values in found.items()}


def restored(classes: Mapping[str, int], side: int, tensors: Mapping[str, np.ndarray]) -> AppearanceNetwork:
    """The network of :meth:`AppearanceNetwork.tensors`, for evaluation. Raises ``RuntimeError`` where they do not fit."""
    network = AppearanceNetwork(classes, side)
    state = {name: values for name, values in network.state_dict().items() if name.endswith("num_batches_tracked")}
    network.load_state_dict(state | {name: torch.from_numpy(np.asarray(values, np.float32)) for name, values in tensors.items()})
    return network.eval()


def logits_of(network: AppearanceNetwork, images: np.ndarray) -> np.ndarray:
    """float32 ``(n, sum of classes)`` of uint8 ``(n, height, width, 3)``, in evaluation mode."""
    found = [np.zeros((0, sum(network.classes.values())), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(images), _AT_ONCE):
            some = resized(images[start : start + _AT_ONCE], network.side)
            found.append(network(to_tensor(some, network.trunk.mean, network.trunk.std)).numpy())
    return np.concatenate(found)


def fit_network(
    network: AppearanceNetwork,
    images: np.ndarray,
    truth: np.ndarray,
    config: TrainingConfig,
    batch: int,
    smoothing: float,
    seed: int,
    progress: Callable[[Progress], None] | None = None,
) -> None:
    """Train ``network`` on ``images`` uint8 ``(n, side, side, 3)`` and ``truth`` int64 ``(n, heads)``, which values they show.

    Where a value is -1 the facet does not show, and all of its values should seem alike. ``smoothing`` is the share of each target that is
    spread over all values. Pictures are mirrored and moved a little. Reads ``images`` some at a time: they may be mapped.
    """
    counts, wanted = list(network.classes.values()), torch.from_numpy(np.asarray(truth, np.int64))

    def loss_of(draw: np.random.Generator) -> Tensor:
        rows = draw.integers(0, len(images), batch)
        pixels = to_tensor(moved(images[rows], draw), network.trunk.mean, network.trunk.std)
        logits = torch.split(network(pixels.contiguous(memory_format=torch.channels_last)), counts, dim=1)
        return sum(functional.cross_entropy(of, targets(wanted[rows, k], count, smoothing))
                   for k, (of, count) in enumerate(zip(logits, counts, strict=True)))  # fmt: skip

    train(network, loss_of, config, seed, progress=progress)


def targets(values: Tensor, classes: int, smoothing: float) -> Tensor:
    """float32 ``(n, classes)``: what is wanted of values int64 ``(n,)``; alike for all where the value is -1."""
    one = functional.one_hot(values.clamp(min=0), classes).float()
    spread = torch.where(values < 0, 1.0, smoothing)[:, None]
    return one * (1 - spread) + spread / classes


def moved(images: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """uint8 of the shape of ``images``: mirrored for half, and all moved by some px, with the edge repeated."""
    down, right = (draw.integers(0, 2 * _SHIFT + 1, 2)).tolist()
    images = np.where((draw.random(len(images)) < 0.5)[:, None, None, None], images[:, :, ::-1], images)
    side, wide = images.shape[1], ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0))
    return np.pad(images, wide, mode="edge")[:, down : down + side, right : right + side]


def temperatures(logits: np.ndarray, truth: np.ndarray, counts: Sequence[int]) -> list[float]:
    """For each head what its logits are divided by to make ``truth`` int64 ``(n, heads)`` likeliest, by golden section."""
    found, ends = [], np.cumsum([0, *counts])
    for k, (begin, end) in enumerate(pairwise(ends.tolist())):
        there = truth[:, k] >= 0
        part, values = torch.from_numpy(logits[there, begin:end]), torch.from_numpy(truth[there, k])
        low, high, share = np.log(0.1), np.log(10.0), (5**0.5 - 1) / 2
        for _ in range(40):
            left, right = high - share * (high - low), low + share * (high - low)
            worse = functional.cross_entropy(part / float(np.exp(left)), values) > functional.cross_entropy(
                part / float(np.exp(right)), values
            )
            low, high = (left, high) if worse else (low, right)
        found.append(float(np.exp((low + high) / 2)))
    return found
