"""A causal transformer over sequences that are padded on the right, with relative positions and relative times.

Pre-norm blocks as in PinnerFormer (Pancha et al., KDD 2022): ``U = V + attention(norm(V))``, ``V' = U + feedforward(norm(U))``.
Padding follows the tokens, so that causality alone hides it: no output depends on how far a sequence is padded.

Where we differ: the published model adds a learned vector for the place of an action, counted from the newest one, and gives each
token the time since the newest action. Both tell an inner position how many actions follow it and when, once every position is
trained. Here the reader i and what it reads, j, are compared: a learned bias a head for the distance i - j and one for the time
between them, in logarithmic buckets. Both stay the same when a window slides, and one pass serves every moment of a history.

A block starts as the identity plus a mean over what may be read: values and their mixing begin as multiples of the identity, the
feed-forward at zero. Where tokens begin as vectors that already mean something, so do the outputs, and training sets out from there.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.errors import ConfigError
from corkboard.learning.config import TransformerConfig
from corkboard.learning.time_encoding import GAP_BUCKETS


class CausalTransformer(nn.Module):
    """Tokens ``(batch, time, width)`` to outputs of the same width, each of which depends on the tokens up to its own alone."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        if config.width % config.heads:
            raise ConfigError("The heads must divide the width", found=(config.width, config.heads))
        self.settings = config
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        if config.positions == "start":
            self.starts = nn.Parameter(torch.randn(config.window, config.width) * 0.1)
        if config.positions == "distance":
            self.distances = nn.Parameter(torch.zeros(config.window, config.heads))
        if config.time_gaps:
            self.gaps = nn.Parameter(torch.zeros(GAP_BUCKETS, config.heads))

    def forward(self, tokens: Tensor, gaps: Tensor | None = None, at: Tensor | None = None) -> Tensor:
        """Outputs ``(batch, time, width)``, or ``(batch, m, width)`` at the positions ``at``, int64 ``(batch, m)``.

        ``gaps`` int64 ``(batch, time, time)`` are buckets of the time from token j up to token i; needed where ``time_gaps`` is on.
        With ``at``, the last block computes nothing else, which saves nearly half of two blocks where few positions are asked for.
        """
        time = tokens.shape[1]
        if self.settings.positions == "start":
            tokens = tokens + self.starts[:time]
        bias = self._bias(None, gaps, time)
        for block in self.blocks[:-1]:
            tokens = block(tokens, bias)
        if at is None:
            return self.norm(self.blocks[-1](tokens, bias))
        chosen = None if gaps is None else torch.gather(gaps, 1, at[:, :, None].expand(-1, -1, time))
        return self.norm(self.blocks[-1](tokens, self._bias(at, chosen, time), at))

    def _bias(self, readers: Tensor | None, gaps: Tensor | None, time: int) -> Tensor | None:
        """What is added to the scores: ``(batch or 1, heads, readers, time)``; None where causality is all there is to it.

        ``readers`` int64 ``(batch, m)`` are the positions that read, None: every one in its place. ``gaps`` ``(batch, m, time)``.
        """
        config = self.settings
        if readers is None:
            if config.positions != "distance" and not config.time_gaps:
                return None
            readers = torch.arange(time)[None]
        distance = readers[:, :, None] - torch.arange(time)
        bias = torch.zeros(()).masked_fill(distance < 0, -torch.inf)[:, None]
        if config.positions == "distance":
            bias = bias + _looked_up(distance.clamp(0, config.window - 1), self.distances)
        if config.time_gaps:
            assert gaps is not None
            bias = bias + _looked_up(gaps, self.gaps)
        return bias


class _Block(nn.Module):
    """One pre-norm block of attention and feed-forward."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm_attention, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key_value, self.mixed = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, config.feedforward * width), nn.Linear(config.feedforward * width, width)
        self.dropout = nn.Dropout(config.dropout)
        with torch.no_grad():
            nn.init.eye_(self.key_value.weight[width:])
            self.mixed.weight.copy_(torch.eye(width) * config.start_mean / config.layers)
            for part in (self.key_value.bias, self.mixed.bias, self.down.weight, self.down.bias):
                nn.init.zeros_(part)

    def forward(self, tokens: Tensor, bias: Tensor | None, at: Tensor | None = None) -> Tensor:
        """``(batch, time, width)``, or ``(batch, m, width)`` where only ``at`` reads."""
        normed = self.norm_attention(tokens)
        readers = normed if at is None else _gathered(normed, at)
        tokens = tokens if at is None else _gathered(tokens, at)
        tokens = tokens + self.dropout(self._attention(readers, normed, bias))
        return tokens + self.dropout(self.down(functional.relu(self.up(self.norm_forward(tokens)))))

    def _attention(self, readers: Tensor, read: Tensor, bias: Tensor | None) -> Tensor:
        queries = self._split(self.query(readers))
        keys, values = map(self._split, self.key_value(read).chunk(2, dim=-1))
        if bias is None:
            out = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        else:
            scores = (queries / math.sqrt(queries.shape[-1])) @ keys.transpose(-1, -2)
            out = torch.softmax(scores + bias, dim=-1) @ values
        return self.mixed(out.transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        """``(batch, time, width)`` to ``(batch, heads, time, width / heads)``."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def _gathered(tokens: Tensor, at: Tensor) -> Tensor:
    """``(batch, m, width)``: the tokens at the positions ``at``."""
    return torch.gather(tokens, 1, at[:, :, None].expand(-1, -1, tokens.shape[-1]))


def _looked_up(buckets: Tensor, table: Tensor) -> Tensor:
    """``(batch, heads, m, time)`` from ``buckets`` ``(batch, m, time)`` and ``table`` ``(buckets, heads)``."""
    return _LookUp.apply(buckets, table)


class _LookUp(torch.autograd.Function):
    """An embedding for a few buckets and very many entries: summing gradients by bucket is a tenth of what the general one takes."""

    @staticmethod
    def forward(ctx: Any, buckets: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(buckets)
        ctx.rows = len(table)
        flat, columns = buckets.flatten(), table.t().contiguous()
        return torch.stack([column.index_select(0, flat).view(buckets.shape) for column in columns], dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        flat = ctx.saved_tensors[0].flatten()
        sums = [torch.bincount(flat, gradient[:, head].flatten(), ctx.rows) for head in range(gradient.shape[1])]
        return None, torch.stack(sums, dim=1).to(gradient.dtype)
