"""Parts that the networks of PinSage and MultiBiSage share: projections of features, the way out, and which nodes a batch reaches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.embeddings.config import GraphEncoderConfig
from corkboard.graph.neighbour_lists import NeighbourLists

EPSILON = 1e-6
AT_ONCE = 2048
"""Items that are computed together outside of training: the tokens of their neighbours take some 100 MB at ten graphs."""


class GraphNetwork(nn.Module, ABC):
    """Features and neighbours to unit vectors ``(n, dim)``, and the head of the reduced ones."""

    def __init__(self, config: GraphEncoderConfig, widths: Sequence[int]):
        super().__init__()
        self.settings = config
        self.widths = tuple(widths)
        if config.residual:
            self.skip = side_by_side(projections(widths, config.dim))
        self.small = nn.Linear(config.dim, config.small_dim, bias=False)
        nn.init.orthogonal_(self.small.weight)

    @abstractmethod
    def forward(self, values: Tensor, lists: NeighbourLists, wanted: np.ndarray) -> Tensor:
        """Unit vectors ``(len(wanted), dim)`` of the items ``wanted``, which are distinct rows in order.

        ``values`` ``(items, sum(widths))`` are the features of all items; ``lists`` has the graphs that the network was made for.
        """

    def reduced(self, vectors: Tensor) -> Tensor:
        """``(n, small_dim)`` unit rows of ``(n, dim)``."""
        return functional.normalize(self.small(vectors), dim=1, eps=EPSILON)

    def _finished(self, outputs: Tensor, values: Tensor, lists: NeighbourLists, wanted: np.ndarray) -> Tensor:
        """Outputs ``(n, dim)`` plus the item's own features, at length 1; zeros for items of which nothing is known."""
        own = values[torch.from_numpy(wanted)]
        if self.settings.residual:
            outputs = outputs + self.skip(own)
        known = own.any(dim=1) | torch.from_numpy((lists.rows[:, wanted] >= 0).any(axis=(0, 2)))
        return functional.normalize(outputs, dim=1, eps=EPSILON) * known[:, None]


LATER_PARTS = 0.6
"""What later parts of the features are turned and scaled by at first; chosen for pictures beside content on a development world."""


def projections(widths: Sequence[int], outputs: int) -> list[nn.Linear]:
    """A projection of each part of the features. The first keeps its axes; the others are turned, so that no two parts share theirs."""
    first, *later = (isometry(width, outputs) for width in widths)
    with torch.no_grad():
        for layer in later:
            nn.init.orthogonal_(layer.weight, gain=LATER_PARTS)
    return [first, *later]


def side_by_side(layers: Sequence[nn.Linear]) -> nn.Linear:
    """One layer for what several would read: the sum of their outputs."""
    if len(layers) == 1:
        return layers[0]
    joined = nn.Linear(sum(layer.in_features for layer in layers), layers[0].out_features, bias=False)
    with torch.no_grad():
        joined.weight.copy_(torch.cat([layer.weight for layer in layers], dim=1))
    return joined


def isometry(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer without bias that starts by leaving inner products as they are, where it is not narrower than what it reads."""
    layer = nn.Linear(inputs, outputs, bias=False)
    with torch.no_grad():
        if inputs <= outputs:
            nn.init.eye_(layer.weight)
        else:
            nn.init.orthogonal_(layer.weight)
    return layer


def normed(x: Tensor) -> Tensor:
    """Rows of mean square 1, without a learned scale; zeros stay zeros."""
    return functional.rms_norm(x, x.shape[-1:], eps=1e-6)


def rectified(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer before a ReLU: what comes in at mean square 1 goes out alike."""
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def reached(rows: np.ndarray, nodes: np.ndarray, items: int) -> np.ndarray:
    """int64: ``nodes`` and all that occurs in ``rows`` (any shape, -1 for nothing), distinct and in order."""
    there = np.zeros(items + 1, bool)  # -1 falls onto the last place
    there[rows] = True
    there[nodes] = True
    return np.flatnonzero(there[:items])


def places(distinct: np.ndarray, items: int) -> np.ndarray:
    """int64 ``(items + 1,)``: where each item stands in ``distinct``; 0 for those that do not, and for -1."""
    place = np.zeros(items + 1, np.int64)
    place[distinct] = np.arange(len(distinct))
    return place


def log_degrees(lists: NeighbourLists, nodes: np.ndarray) -> Tensor:
    """float32 ``(graphs, n)``: log(1 + degree); 0 without neighbours, so that an edge which leads nowhere is like none."""
    return torch.from_numpy(np.log1p(lists.degrees[:, nodes], dtype=np.float32) * (lists.rows[:, nodes] >= 0).any(axis=2))
