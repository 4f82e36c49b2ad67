"""The network of PinSage, level by level: no item is computed twice at any level, in training as in inference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.embeddings.config import PinSageConfig
from corkboard.embeddings.graph_network import AT_ONCE, EPSILON, GraphNetwork, log_degrees, normed, places, projections, reached, rectified
from corkboard.graph.neighbour_lists import NeighbourLists


class PinSageNetwork(GraphNetwork):
    """See :mod:`corkboard.embeddings.pinsage`. The lists hold one graph; a neighbour's neighbours are its own list."""

    def __init__(self, config: PinSageConfig, widths: Sequence[int]):
        super().__init__(config, widths)
        self.settings: PinSageConfig = config
        self.parts = nn.ModuleList(projections(widths, config.hidden))
        self.degree = nn.Parameter(torch.zeros(config.hidden))
        self.convolutions = nn.ModuleList(Convolution(config.hidden, config.pooling) for _ in range(config.layers))
        self.up, self.down = rectified(config.hidden, config.hidden), nn.Linear(config.hidden, config.dim, bias=False)
        with torch.no_grad():
            self.down.weight *= 0.1 if config.residual else 1

    def forward(self, values: Tensor, lists: NeighbourLists, wanted: np.ndarray) -> Tensor:
        """See :class:`GraphNetwork`. The levels are found from the top, and computed from the bottom."""
        items = len(values)
        levels = [wanted]
        for _ in self.convolutions:
            levels.insert(0, reached(lists.rows[0, levels[0]], levels[0], items))
        hidden = self.projected(values, lists, levels[0])
        for convolution, below, nodes in zip(self.convolutions, levels[:-1], levels[1:], strict=True):
            place = places(below, items)
            messages = convolution.messages(hidden)
            chunks = [nodes] if self.training else np.split(nodes, range(AT_ONCE, len(nodes), AT_ONCE))
            made = []
            for chunk in chunks:
                rows, visits = lists.rows[0, chunk], torch.from_numpy(lists.visits[0, chunk])
                near, own = torch.from_numpy(place[rows]), torch.from_numpy(place[chunk])
                made.append(convolution(hidden[own], messages, near, visits, torch.from_numpy(rows >= 0)))
            hidden = torch.cat(made)
        outputs = self.down(functional.relu(self.up(hidden)))
        return self._finished(outputs, values, lists, wanted)

    def projected(self, values: Tensor, lists: NeighbourLists, nodes: np.ndarray) -> Tensor:
        """``(n, hidden)``: the features of ``nodes``, each part by a projection of its own, and the log-degree."""
        chosen = values[torch.from_numpy(nodes)]
        degrees = log_degrees(lists, nodes)[0]
        parts = [layer(part) for layer, part in zip(self.parts, chosen.split(self.widths, dim=1), strict=True)]
        return normed(torch.stack(parts).sum(dim=0)) + degrees[:, None] * self.degree


class Convolution(nn.Module):
    """One layer: neighbours are pooled and joined to the item itself."""

    def __init__(self, width: int, pooling: str):
        super().__init__()
        self.pooling = pooling
        self.sent, self.joined = rectified(width, width), rectified(2 * width, width)

    def messages(self, hidden: Tensor) -> Tensor:
        """``(n, width)``: what items say to their neighbours, once an item."""
        return functional.relu(self.sent(hidden))

    def forward(self, own: Tensor, messages: Tensor, near: Tensor, visits: Tensor, there: Tensor) -> Tensor:
        """``(n, width)`` unit rows from the items' own vectors ``(n, width)`` and their neighbours.

        ``near`` int64 ``(n, k)`` are places in ``messages``, ``visits`` ``(n, k)`` how often each was visited; ``there`` bool ``(n, k)``:
        whether there is a neighbour.
        """
        pooled = pool(functional.embedding(near, messages), visits, there, self.pooling)
        return normed(functional.relu(self.joined(torch.cat([own, pooled], dim=1))))


def pool(messages: Tensor, visits: Tensor, there: Tensor, how: str) -> Tensor:
    """``(n, width)`` of messages ``(n, k, width)``: their mean by ``visits`` (``importance``) or by number (``mean``), or their largest
    values (``max``), over what is ``there``, bool ``(n, k)``; zeros where nothing is."""
    if how == "max":
        return messages.masked_fill(~there[:, :, None], 0).amax(dim=1)  # messages are never negative
    shares = (visits * there if how == "importance" else there).float()
    shares = shares / shares.sum(dim=1, keepdim=True).clamp_min(EPSILON)
    return torch.bmm(shares[:, None], messages)[:, 0]


def margin_loss(positive: Tensor, negatives: Tensor, margin: float, removed: Tensor | None = None) -> Tensor:
    """The published loss: mean over queries of ``E_n max(0, q.n - q.i + margin)``.

    ``positive`` ``(batch,)`` are the cosines q.i, ``negatives`` ``(batch, n)`` the cosines q.n. ``removed`` bool ``(batch, n)`` marks what
    is no negative for a query. A query without negatives counts as 0.
    """
    losses = functional.relu(negatives - positive[:, None] + margin)
    if removed is None:
        return losses.mean()
    kept = (~removed).float()
    return ((losses * kept).sum(dim=1) / kept.sum(dim=1).clamp_min(1)).mean()
