"""TransAct: a transformer over the newest actions of a user, each row beside the candidate; and its mean-pooling baseline.

Xia et al. (KDD 2023). A row is ``[action; item; candidate]``, ``config.dim`` wide, so nothing that the encoder computes is
the same for two candidates. Yet a product of the first layer with a row is a *user part* plus a *candidate part*:

    score(i, j, c) = q_i . k_j  +  q(c) . k_j  +  terms without j, which a softmax does not see
    output(i, c)   = sum_j w_ij(c) v_j  +  v(c),  as weights sum to one.

With ``E_ij = exp(q_i . k_j - max_j)``, made once a request, and ``e_j(c) = exp(q(c) . k_j - max_j)`` the weights are
``w_ij(c) = E_ij e_j / sum_j E_ij e_j``: attention is the product of E with ``e_j v_j``, for all candidates of a request at
once, and no candidate's matrix of weights is ever made. This is exact and the only forward pass there is: training and
serving share it. Parameters are those of ``nn.TransformerEncoderLayer``.

Where we differ from the paper: an empty history is one learned row; hidden and padded tokens are neither keys nor outputs,
and "the first k rows" are those of the first k *visible* actions; the time window is drawn for each example; in training,
candidates of one request share the draw of the attention weights that are dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.errors import InputError
from corkboard.learning.kernels import dropout, linear
from corkboard.ranking.config import TransActConfig

CHUNK = 64
"""Candidates of one pass, so that its buffers stay in a cache; 50 to 128 measure alike, 16 and all at once lose a quarter and more."""

_UNDERFLOW = 1e-25
"""Below this sum of weights, products of two exponentials may have lost digits and the softmax is taken over sums of scores instead."""


@dataclass(frozen=True)
class HistoryBatch:
    """Actions of R requests, newest first, padded to a common length T."""

    items: Tensor
    """float32 ``(R, T, item_dim)``: vectors of the items acted on."""
    actions: Tensor
    """int64 ``(R, T)``: codes of the actions, 1 or more; 0 is padding."""
    hours: Tensor
    """float32 ``(R, T)``: age at the request; padded slots 0."""
    lengths: Tensor
    """int64 ``(R,)``: actions of each request, 0 for an empty history."""

    def __post_init__(self) -> None:
        requests, tokens = self.actions.shape
        shapes = tuple(self.items.shape[:2]), tuple(self.hours.shape), tuple(self.lengths.shape)
        if shapes != ((requests, tokens), (requests, tokens), (requests,)):
            raise InputError(
                "The parts of a batch of histories differ in size", found=shapes, expected=f"those of actions, {(requests, tokens)}"
            )
        if bool((self.hours < 0).any()):
            raise InputError("A history holds actions from after its request", found=f"an age of {float(self.hours.min())} hours")

    def newest(self, length: int) -> HistoryBatch:
        """At most the ``length`` newest actions of each request, padded no further than the longest needs (at least one slot)."""
        longest = int(self.lengths.max()) if len(self.lengths) else 0
        size = max(min(longest, length), 1)
        if self.actions.shape[1] == size:
            return self
        missing = max(size - self.actions.shape[1], 0)
        items, actions, hours = (
            functional.pad(self.items, (0, 0, 0, missing)),
            *(functional.pad(x, (0, missing)) for x in (self.actions, self.hours)),
        )
        return HistoryBatch(items[:, :size], actions[:, :size], hours[:, :size], self.lengths.clamp(max=size))


@dataclass(frozen=True)
class UserContext:
    """What of R requests does not depend on a candidate. ``dim`` is the width of a row, head width is dim / heads."""

    rows: Tensor
    """``(R, T, dim)``: ``[action; item; 0]``; padded slots hold the padding action's zeros."""
    lengths: Tensor
    """int64 ``(R,)``: real tokens, at least one (an empty history is the learned row)."""
    keys: Tensor
    """``(R, heads, T, head_dim)``: user part of the first layer's keys, scaled by 1 / sqrt(head_dim)."""
    values: Tensor
    """``(R, heads, T, head_dim)``: user part of its values."""
    scores: Tensor
    """``(R, heads, T, T)``: user part of its scores, -inf at padded keys."""
    weights: Tensor
    """``(R, heads, T, T)``: exp(scores - their largest of the row), in [0, 1]."""

    def split(self, requests: list[np.ndarray]) -> list[UserContext]:
        """One context for each group of requests."""
        if not requests:
            return []
        order, sizes = torch.from_numpy(np.concatenate(requests)), [len(group) for group in requests]
        parts = (getattr(self, field.name).index_select(0, order).split(sizes) for field in fields(self))
        return [UserContext(*part) for part in zip(*parts, strict=True)]


class _Sequence(nn.Module):
    """What both sequence modules share: embeddings of actions, the row of an empty history, the time window."""

    def __init__(self, config: TransActConfig, action_codes: int):
        super().__init__()
        self.config, self.action_codes = config, action_codes
        self.action_embedding = nn.Embedding(action_codes + 1, config.action_dim, padding_idx=0)
        self.no_history = nn.Parameter(torch.randn(config.action_dim + config.item_dim) * 0.1)

    def _tokens(self, history: HistoryBatch) -> tuple[Tensor, Tensor]:
        """``[action; item]`` ``(R, T, action_dim + item_dim)``, zero where padded, and lengths ``(R,)`` of at least one."""
        history = history.newest(self.config.length)
        real = torch.arange(history.actions.shape[1]) < history.lengths[:, None]
        if bool(((history.actions > 0) != real).any()) or int(history.actions.max()) > self.action_codes:
            raise InputError(
                "Codes of actions do not fit",
                found=f"codes {int(history.actions.min())} to {int(history.actions.max())}",
                expected=f"1 to {self.action_codes} in the first slots of each history, 0 in the others",
            )
        codes = history.actions if self.config.use_actions else history.actions.clamp(max=1)
        tokens = torch.cat([self.action_embedding(codes), history.items * real[..., None]], dim=2)
        empty = history.lengths == 0
        if bool(empty.any()):
            first = torch.arange(tokens.shape[1]) == 0
            tokens = torch.where((empty[:, None] & first)[..., None], self.no_history, tokens)
        return tokens, history.lengths.clamp(min=1)

    def draw_hidden(self, history: HistoryBatch, request: Tensor, generator: np.random.Generator) -> Tensor:
        """How many newest tokens the time window hides, int64 ``(n,)``, for examples of requests ``request`` ``(n,)``.

        For each example T is drawn from U(0, ``window_hours``) and actions younger than T are hidden; the oldest token that
        is read always stays.
        """
        history = history.newest(self.config.length)
        window = torch.from_numpy(generator.uniform(0.0, self.config.window_hours, len(request)).astype(np.float32))
        real = torch.arange(history.hours.shape[1]) < history.lengths[:, None]
        hours = history.hours.masked_fill(~real, math.inf)
        young = (hours[request] < window[:, None]).sum(1)
        return torch.minimum(young, (history.lengths[request] - 1).clamp(min=0))


class MeanPool(_Sequence):
    """The baseline behind the interface of :class:`TransAct`: the mean of [action; item] over visible tokens, beside the candidate."""

    def __init__(self, config: TransActConfig, action_codes: int):
        super().__init__(config, action_codes)
        self.out_dim = config.dim

    def encode(self, history: HistoryBatch) -> tuple[Tensor, Tensor]:
        """Sums ``(R, T, action_dim + item_dim)`` of the tokens from each on to the oldest, and lengths ``(R,)``."""
        tokens, lengths = self._tokens(history)
        return tokens.flip(1).cumsum(1).flip(1), lengths

    def forward(self, context: tuple[Tensor, Tensor], candidates: Tensor, request: Tensor, hidden: Tensor | None = None) -> Tensor:
        """``(n, out_dim)``: [mean token; candidate]. See :meth:`TransAct.forward`."""
        sums, lengths = context
        hidden = torch.zeros_like(request) if hidden is None else torch.minimum(hidden, lengths[request] - 1)
        return torch.cat([sums[request, hidden] / (lengths[request] - hidden)[:, None], candidates], dim=1)


class TransAct(_Sequence):
    """The sequence module, V1.0 and V1.1. ``out_dim`` is the width of what it answers for a candidate.

    ``action_codes`` is the largest code of an action; codes are 1 .. action_codes and 0 is padding.
    """

    def __init__(self, config: TransActConfig, action_codes: int):
        super().__init__(config, action_codes)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(config.dim, config.heads, config.ffn, config.dropout, batch_first=True) for _ in range(config.depth)
        )
        self.pooled = nn.Linear(config.dim, config.dim) if config.version == "v1.1" else None
        self.out_dim = (config.length if self.pooled is None else config.first_k + 1) * config.dim

    def encode(self, history: HistoryBatch) -> UserContext:
        """Everything that does not depend on the candidate, once a request.

        A request takes 8 heads T^2 bytes, 160 KB at the published size, and :meth:`forward` as much again: encode some hundreds at a time.
        """
        tokens, lengths = self._tokens(history)
        attention, known = self.layers[0].self_attn, tokens.shape[2]
        projected = linear(tokens, attention.in_proj_weight[:, :known], attention.in_proj_bias)
        query, keys, values = (x.transpose(1, 2) for x in projected.view(*tokens.shape[:2], 3, self.config.heads, -1).unbind(2))
        keys = keys / math.sqrt(keys.shape[-1])
        padded = torch.arange(tokens.shape[1]) >= lengths[:, None]
        scores = (query @ keys.transpose(2, 3)).masked_fill(padded[:, None, None], -math.inf)
        weights = torch.exp(scores - scores.detach().amax(-1, keepdim=True))
        return UserContext(
            functional.pad(tokens, (0, self.config.item_dim)), lengths, keys.contiguous(), values.contiguous(), scores, weights
        )

    def forward(self, context: UserContext, candidates: Tensor, request: Tensor, hidden: Tensor | None = None) -> Tensor:
        """``(n, out_dim)`` for candidates ``(n, item_dim)`` of requests ``request`` int64 ``(n,)``, rows of ``context``.

        ``hidden`` int64 ``(n,)`` is how many newest tokens the time window hides for each example; at least one stays. None hides none.
        """
        weight = self.layers[0].self_attn.in_proj_weight[:, -self.config.item_dim :]
        hidden = torch.zeros_like(request) if hidden is None else torch.minimum(hidden, context.lengths[request] - 1)
        groups = _groups(request.numpy(), len(context.lengths))
        order = torch.from_numpy(np.concatenate([part.ravel() for _, parts in groups for part in parts] or [np.zeros(0, np.int64)]))
        sizes = [part.size for _, parts in groups for part in parts]
        inputs = zip(*(x[order].split(sizes) for x in (candidates, linear(candidates, weight), hidden)), strict=True)
        pieces = []
        for users, (_, parts) in zip(context.split([requests for requests, _ in groups]), groups, strict=True):
            pieces += [self._encoded(users, *(x.unflatten(0, part.shape) for x in next(inputs))) for part in parts]
        if not pieces:
            return candidates.new_zeros(0, self.out_dim)
        return torch.cat(pieces)[torch.argsort(order)]

    def _encoded(self, users: UserContext, candidates: Tensor, projected: Tensor, start: Tensor) -> Tensor:
        """``(g * m, out_dim)`` for candidates ``(g, m, item_dim)`` of ``g`` requests, with ``start`` ``(g, m)`` hidden tokens each."""
        lengths, place = users.lengths[:, None].expand_as(start), torch.arange(users.rows.shape[1])
        visible = (place >= start[..., None]) & (place < lengths[..., None])
        attended = self._first_attention(users, projected, visible)
        rows = users.rows[:, None] + functional.pad(candidates, (self.config.dim - self.config.item_dim, 0))[:, :, None]
        rows = self._after_attention(self.layers[0], rows.flatten(0, 1), attended.flatten(0, 1))
        for layer in self.layers[1:]:
            rows = self._after_attention(layer, rows, self._attention(layer, rows, visible))
        return self._compressed(rows, visible.flatten(0, 1), start.flatten(), lengths.flatten())

    def _first_attention(self, users: UserContext, projected: Tensor, visible: Tensor) -> Tensor:
        """Split attention of the first layer, ``(g, m, T, dim)``, from projected candidates ``(g, m, 3 dim)``; visible ``(g, m, T)``."""
        groups, each, tokens = visible.shape
        query, _, value = projected.view(groups, each, 3, self.config.heads, -1).permute(2, 0, 3, 1, 4)  # (g, heads, m, head_dim)
        keys, values, weights = users.keys, users.values, users.weights
        shift = (query @ keys.transpose(2, 3)).masked_fill(~visible[:, None], -math.inf)  # (g, heads, m, T)
        scale = torch.exp(shift - shift.detach().amax(-1, keepdim=True)).transpose(2, 3)  # (g, heads, T, m)
        total = weights @ scale
        kept = self._kept_weights(weights)
        if bool(total.detach().amin() < _UNDERFLOW):
            exact = torch.softmax(users.scores[:, :, None] + shift[:, :, :, None], -1)
            exact = exact if kept is None else exact * kept[:, :, None]
            return (exact @ (values[:, :, None] + value[:, :, :, None])).permute(0, 2, 3, 1, 4).flatten(3)
        weights = weights if kept is None else weights * kept
        summed = _product(weights, (scale[..., None] * values[:, :, :, None]).flatten(3)).view(groups, -1, tokens, each, values.shape[3])
        added = value[:, :, None] if kept is None else value[:, :, None] * ((weights @ scale) / total)[..., None]
        return torch.addcdiv(added, summed, total[..., None]).permute(0, 3, 2, 1, 4).flatten(3)

    def _kept_weights(self, weights: Tensor) -> Tensor | None:
        """Dropout of attention weights ``(g, heads, T, T)``: 0 or 1 / (1 - p); None outside of training."""
        return dropout(torch.ones_like(weights), self.config.dropout) if self._drops else None

    @property
    def _drops(self) -> bool:
        return self.training and self.config.dropout > 0

    def _attention(self, layer: nn.TransformerEncoderLayer, rows: Tensor, visible: Tensor) -> Tensor:
        """Attention of a later layer over rows ``(g * m, T, dim)`` where ``visible`` ``(g, m, T)``, before its output projection."""
        attention = layer.self_attn
        projected = linear(rows, attention.in_proj_weight, attention.in_proj_bias)
        query, keys, values = projected.view(*rows.shape[:2], 3, self.config.heads, -1).permute(2, 0, 3, 1, 4)
        unseen = None if bool(visible.all()) else torch.zeros(visible.shape).masked_fill_(~visible, -math.inf).flatten(0, 1)
        if not self._drops:
            mask = None if unseen is None else unseen[:, None, None]
            return functional.scaled_dot_product_attention(query, keys, values, mask).transpose(1, 2).flatten(2)
        query, keys, values = torch.stack([query, keys, values]).flatten(1, 2)
        bias = query.new_zeros(1) if unseen is None else unseen.repeat_interleave(self.config.heads, 0)[:, None]
        scores = torch.baddbmm(bias, query, keys.transpose(1, 2), alpha=1 / math.sqrt(query.shape[-1]))
        weights = torch.softmax(scores, -1).view(*visible.shape[:2], self.config.heads, *scores.shape[1:])
        weights = (weights * self._kept_weights(weights[:, 0])[:, None]).view_as(scores)
        return (weights @ values).view(len(rows), self.config.heads, *values.shape[1:]).transpose(1, 2).flatten(2)

    def _after_attention(self, layer: nn.TransformerEncoderLayer, rows: Tensor, attended: Tensor) -> Tensor:
        """The rest of a post-norm layer: output projection, residual, norm, feed-forward, residual, norm."""
        out, wide, narrow, share = layer.self_attn.out_proj, layer.linear1, layer.linear2, self.config.dropout
        if not self._drops:
            rows = layer.norm1(linear(attended, out.weight, out.bias, add=rows))
            return layer.norm2(linear(linear(rows, wide.weight, wide.bias, relu=True), narrow.weight, narrow.bias, add=rows))
        rows = layer.norm1(dropout(linear(attended, out.weight, out.bias), share, add=rows))
        inner = dropout(linear(rows, wide.weight, wide.bias, relu=True), share)
        return layer.norm2(dropout(linear(inner, narrow.weight, narrow.bias), share, add=rows))

    def _compressed(self, rows: Tensor, visible: Tensor, start: Tensor, lengths: Tensor) -> Tensor:
        """What leaves the encoder, ``(b, out_dim)``: rows of the first visible tokens, and in v1.1 the maximum over all visible ones."""
        first = self.config.length if self.pooled is None else self.config.first_k
        place = start[:, None] + torch.arange(min(first, rows.shape[1]))
        there = place < lengths[:, None]
        kept = rows.gather(1, place.clamp(max=rows.shape[1] - 1)[..., None].expand(-1, -1, rows.shape[2])) * there[..., None]
        flat = functional.pad(kept.flatten(1), (0, first * rows.shape[2] - kept[0].numel()))
        if self.pooled is None:
            return flat
        seen = rows if bool(visible.all()) else rows.masked_fill(~visible[..., None], -math.inf)
        return torch.cat([flat, linear(seen.amax(1), self.pooled.weight, self.pooled.bias)], dim=1)


def _product(weights: Tensor, values: Tensor) -> Tensor:
    """``weights @ values`` for ``(g, heads, T, T)`` and ``(g, heads, T, k)``."""
    if len(weights) > 1:
        return weights @ values
    return torch.stack([linear(left, right.t()) for left, right in zip(weights[0], values[0], strict=True)])[None]


def _groups(request: np.ndarray, requests: int) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Requests ``(g,)`` that go together and their examples, parts of ``(g, m)`` with about ``CHUNK`` numbers each.

    Requests with equally many examples go together, so that one batched product serves them without padding.
    """
    order = np.argsort(request, kind="stable")
    counts = np.bincount(request, minlength=requests)
    starts = np.cumsum(counts) - counts
    made = []
    for count in np.unique(counts[counts > 0]).tolist():
        alike = np.flatnonzero(counts == count)
        for group in np.array_split(alike, -(-len(alike) // max(CHUNK // count, 1))):
            examples = order[starts[group][:, None] + np.arange(count)]
            made.append((group, np.array_split(examples, -(-count // CHUNK) if len(group) == 1 else 1, axis=1)))
    return made
