"""The network of MultiBiSage, arranged so that a neighbour costs next to nothing.

Only the output at CLS is read, so only CLS asks. With one layer its query q_h of head h is known before any token is, and

    score_h(t) = q_h . (K_h t) = u_h . t        u_h = K_h^T q_h, once a graph: keys are never made
    sum_t a_t V_h t = V_h (sum_t a_t t)         values are averaged before they are projected

A token of item v with w = log(1 + visits) at place j is t = p_v * (a + w b) + s_j, so its score is

    (u_h * a) . p_v + w (u_h * b) . p_v + u_h . s_j

where the first two products depend on the item alone: they are made once an item, not once a neighbour. Multiply-adds for n items with G
graphs, k neighbours, H heads and width d, of which m items are distinct:

    keys and values of every token      n G k 2 d d
    here                                n G (k 2 H d + d d)  +  m G 3 H d

With d = 64, H = 2, k = 12 and n = m that is 98,304 for each list of neighbours against 7,552, thirteen times less, and nothing of size
n G k d has to be kept but the gathered p_v. The tests hold both ways against each other.

Where we differ from a pre-norm transformer: tokens are normalised once an item, before the visits are multiplied in, not after. Scores
start as log(1 + visits) and values as the identity: the first output is the mean by visits, PinSage's importance pooling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.embeddings.config import MultiBiSageConfig
from corkboard.embeddings.graph_network import AT_ONCE, GraphNetwork, isometry, log_degrees, normed, places, projections, reached, rectified
from corkboard.errors import ConfigError
from corkboard.graph.neighbour_lists import NeighbourLists


class MultiBiSageNetwork(GraphNetwork):
    """See :mod:`corkboard.embeddings.multibisage`. ``positions`` places of a list have a learned vector; later ones share the last."""

    def __init__(self, config: MultiBiSageConfig, widths: Sequence[int], graphs: int, positions: int):
        super().__init__(config, widths)
        if config.width % config.heads:
            raise ConfigError("The heads must divide the width", found=(config.width, config.heads))
        self.settings: MultiBiSageConfig = config
        self.parts = nn.ModuleList(FeaturePart(linear, config) for linear in projections(widths, config.width))
        self.neighbours = NeighbourReader(config, graphs, positions)
        self.across = AcrossReader(config, graphs)
        self.out = isometry(config.width, config.dim)
        with torch.no_grad():
            self.out.weight /= math.sqrt(config.width)  # tokens are so long, features have length 1

    def forward(self, values: Tensor, lists: NeighbourLists, wanted: np.ndarray) -> Tensor:
        """See :class:`GraphNetwork`. Features are projected once for each distinct item that the lists of ``wanted`` name."""
        items = len(values)
        distinct = reached(lists.rows[:, wanted], wanted, items)
        table, place = self.projected(values, distinct), places(distinct, items)
        scores = self.neighbours.item_scores(table)
        chunks = [wanted] if self.training else np.split(wanted, range(AT_ONCE, len(wanted), AT_ONCE))
        made = []
        for chunk in chunks:
            rows = lists.rows[:, chunk]
            own = table[torch.from_numpy(place[chunk])]
            near, there = torch.from_numpy(place[rows]), torch.from_numpy(rows >= 0)
            visits = torch.from_numpy(np.log1p(lists.visits[:, chunk], dtype=np.float32))
            read = self.neighbours(table, scores, own, near, there, visits, log_degrees(lists, chunk))
            made.append(self.out(self.across(own, read, there.any(dim=2))))
        return self._finished(torch.cat(made), values, lists, wanted)

    def projected(self, values: Tensor, nodes: np.ndarray) -> Tensor:
        """``(n, width)``: the features of ``nodes``, each part by a projection of its own, at mean square 1; zeros stay zeros."""
        chosen = values[torch.from_numpy(nodes)]
        parts = [layer(part) for layer, part in zip(self.parts, chosen.split(self.widths, dim=1), strict=True)]
        return normed(torch.stack(parts).sum(dim=0))


class FeaturePart(nn.Module):
    """The projection of one part of the features: linear, plus a hidden layer that starts at nothing. Zeros stay zeros."""

    def __init__(self, linear: nn.Linear, config: MultiBiSageConfig):
        super().__init__()
        self.linear = linear
        self.inner, self.outer = rectified(linear.in_features, config.hidden), nn.Linear(config.hidden, config.width, bias=False)
        nn.init.zeros_(self.outer.weight)
        self.share = config.dropout

    def forward(self, values: Tensor) -> Tensor:
        """``(n, width)`` of ``(n, features)``."""
        inner = functional.dropout(functional.relu(self.inner(normed(values))), self.share, self.training)
        return self.linear(values) + self.outer(inner) * values.any(dim=1, keepdim=True) / math.sqrt(self.outer.out_features)


class ClsReader(nn.Module):
    """Attention of a constant token, and the feed-forward after it, for ``sets`` of weights at once."""

    def __init__(self, config: MultiBiSageConfig, sets: int):
        super().__init__()
        width = config.width
        self.settings, self.heads = config, config.heads
        self.cls = nn.Parameter(torch.zeros(sets, width))
        self.query, self.key = (nn.Parameter(torch.randn(sets, width, width) / math.sqrt(width)) for _ in range(2))
        self.query_bias = nn.Parameter(torch.zeros(sets, width))
        self.value, self.mixed = (nn.Parameter(torch.eye(width).repeat(sets, 1, 1)) for _ in range(2))
        inner = config.feedforward * width
        self.up, self.up_bias = nn.Parameter(torch.randn(sets, width, inner) / math.sqrt(width)), nn.Parameter(torch.zeros(sets, 1, inner))
        self.down = nn.Parameter(torch.zeros(sets, inner, width))

    def asked(self) -> Tensor:
        """``(sets, heads, width)``: u_h, what a token is multiplied with to have its score."""
        queries = torch.einsum("sd,sed->se", self.cls, self.query) + self.query_bias
        keys = self.key.unflatten(1, (self.heads, -1))
        return torch.einsum("she,shed->shd", queries.unflatten(1, (self.heads, -1)), keys) / math.sqrt(keys.shape[2])

    def after(self, averages: Tensor) -> Tensor:
        """``(sets, n, width)`` from averages of tokens ``(sets, n, heads, width)``: values and mixing, then the feed-forward."""
        values = self.value.unflatten(1, (self.heads, -1)).expand(len(averages), -1, -1, -1)
        taken = torch.matmul(averages.transpose(1, 2), values.transpose(2, 3)).transpose(1, 2).flatten(2)
        state = self.cls[:, None] + self._dropped(torch.matmul(taken, self.mixed.transpose(1, 2)))
        inner = functional.relu(torch.matmul(normed(state), self.up) + self.up_bias)
        return state + self._dropped(torch.matmul(inner, self.down))

    def _dropped(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.settings.dropout, self.training)


class NeighbourReader(ClsReader):
    """The first stage: one output for each graph of each item."""

    def __init__(self, config: MultiBiSageConfig, graphs: int, positions: int):
        super().__init__(config, 1 if config.shared else graphs)
        width = config.width
        self.graphs = graphs
        self.gate = nn.Parameter(torch.ones(graphs, width))
        self.visits = nn.Parameter(torch.zeros(graphs, width))
        self.bias = nn.Parameter(torch.ones(graphs, config.heads))
        self.positions = nn.Parameter(torch.zeros(graphs, positions, width))
        self.degree = nn.Parameter(torch.zeros(graphs, width))

    def item_scores(self, table: Tensor) -> Tensor:
        """``(items * graphs, 3 heads)``: of each item as a neighbour, the part that visits multiply, and as the item itself."""
        asked = self.asked().expand(self.graphs, -1, -1)
        weights = torch.cat([asked * self.gate[:, None], asked * self.visits[:, None], asked], dim=1)
        return functional.linear(table, weights.flatten(0, 1)).view(-1, weights.shape[1])

    def forward(
        self, table: Tensor, scores: Tensor, own: Tensor, near: Tensor, there: Tensor, log_visits: Tensor, log_degrees: Tensor
    ) -> Tensor:
        """Outputs ``(graphs, n, width)``.

        ``table`` ``(items, width)`` are projected features and ``scores`` :meth:`item_scores` of it; ``own`` ``(n, width)`` the items that
        read; ``near`` and ``there`` ``(graphs, n, k)`` the places of their neighbours in the table, and which there are.
        """
        heads, (graphs, n, k) = self.heads, near.shape
        asked = self.asked().expand(graphs, -1, -1)
        place = torch.arange(k).clamp_max(self.positions.shape[1] - 1)
        positions = self.positions[:, place]
        found = functional.embedding(near * graphs + torch.arange(graphs)[:, None, None], scores)
        visits = log_visits[..., None]
        by_place = torch.matmul(positions, asked.transpose(1, 2))
        neighbours = found[..., :heads] + visits * (found[..., heads : 2 * heads] + self.bias[:, None, None]) + by_place[:, None]
        neighbours = neighbours.masked_fill(~there[..., None], -torch.inf)
        degrees = log_degrees[..., None]
        self_score = torch.matmul(own, asked.transpose(1, 2)) + degrees * torch.einsum("ghd,gd->gh", asked, self.degree)[:, None]
        cls = self.cls.expand(graphs, -1)
        cls_score = torch.einsum("ghd,gd->gh", asked, cls)[:, None].expand(-1, n, -1)
        shares = torch.softmax(torch.cat([cls_score[:, :, None], self_score[:, :, None], neighbours], dim=2), dim=2)
        to_cls, to_self, to_neighbours = shares[:, :, 0], shares[:, :, 1], shares[:, :, 2:]
        weights = torch.cat([to_neighbours, to_neighbours * visits], dim=3).transpose(2, 3)
        sums = torch.matmul(weights, functional.embedding(near, table))
        averages = sums[:, :, :heads] * self.gate[:, None, None] + sums[:, :, heads:] * self.visits[:, None, None]
        averages = averages + torch.matmul(to_neighbours.transpose(2, 3), positions[:, None])
        itself = own + degrees * self.degree[:, None]
        return self.after(averages + to_self[..., None] * itself[:, :, None] + to_cls[..., None] * cls[:, None, None])


class AcrossReader(ClsReader):
    """The second stage: one output for each item, over itself and its graphs."""

    def __init__(self, config: MultiBiSageConfig, graphs: int):
        super().__init__(config, 1)
        self.names = nn.Parameter(torch.zeros(1 + graphs, config.width))

    def forward(self, own: Tensor, read: Tensor, there: Tensor) -> Tensor:
        """``(n, width)`` from the items ``(n, width)``, the outputs of their graphs ``(graphs, n, width)`` and which ``there`` are."""
        asked, cls = self.asked()[0], self.cls[0]
        tokens = torch.cat([own[None], normed(read)]) + self.names[:, None]
        scores = torch.matmul(tokens, asked.T)
        scores = torch.cat([scores[:1], scores[1:].masked_fill(~there[..., None], -torch.inf)])
        cls_score = (asked @ cls).expand(1, len(own), -1)
        shares = torch.softmax(torch.cat([cls_score, scores]), dim=0)
        averages = torch.einsum("tnh,tnd->nhd", shares[1:], tokens) + shares[0, :, :, None] * cls
        return self.after(averages[None])[0]
