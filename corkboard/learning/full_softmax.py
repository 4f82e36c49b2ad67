"""Softmax over a whole catalogue without ever holding all of its scores.

Where a catalogue has thousands of items rather than millions, every item can be a negative: nothing is sampled, and no correction is
needed. Plain cross entropy would keep the scores ``(n, items)`` and several arrays of that size for the backward pass. Here loss and
gradients are made together, some rows at a time, while the scores of those rows are in the cache; per row that is three matrix
products instead of memory traffic (the idea of chunked cross-entropy kernels).
"""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK_SCORES = 1 << 22
"""Scores held at once: 16 MB of float32."""


def full_softmax(queries: Tensor, candidates: Tensor, targets: Tensor, scale: Tensor | float, weights: Tensor | None = None) -> Tensor:
    """Mean (weighted) cross entropy of the target among all candidates.

    ``queries`` ``(n, dim)``, ``candidates`` ``(items, dim)``, ``targets`` int64 ``(n,)`` rows of the candidates, ``scale`` is what
    inner products are multiplied by, ``weights`` float ``(n,)``. Gradients flow to queries, candidates and a ``scale`` that is a
    tensor, not to the weights. Only the first derivative exists.
    """
    share = queries.new_full((len(queries),), 1.0 / max(len(queries), 1)) if weights is None else weights / weights.sum().clamp_min(1e-12)
    return _FullSoftmax.apply(queries, candidates, targets, torch.as_tensor(scale, dtype=queries.dtype), share.detach())


class _FullSoftmax(torch.autograd.Function):
    """The gradients are made in the forward pass and only scaled in the backward pass."""

    @staticmethod
    def forward(ctx, queries: Tensor, candidates: Tensor, targets: Tensor, scale: Tensor, share: Tensor) -> Tensor:
        to_queries, to_candidates = torch.empty_like(queries), torch.zeros_like(candidates)
        loss, to_scale = queries.new_zeros(()), queries.new_zeros(())
        rows = max(1, CHUNK_SCORES // max(len(candidates), 1))
        for part in (slice(start, start + rows) for start in range(0, len(queries), rows)):
            target, weight = targets[part, None], share[part, None]
            scores = (queries[part] @ candidates.T).mul_(scale)
            wanted = scores.gather(1, target)
            peak = scores.amax(1, keepdim=True)
            errors = scores.sub_(peak).exp_()
            total = errors.sum(1, keepdim=True)
            loss += ((total.log() + peak - wanted) * weight).sum()
            errors.mul_(weight / total).scatter_add_(1, target, -weight)
            pull = errors @ candidates
            to_scale += (pull * queries[part]).sum()
            to_queries[part] = pull.mul_(scale)
            to_candidates.addmm_(errors.T, queries[part])
        ctx.save_for_backward(to_queries, to_candidates.mul_(scale), to_scale)
        return loss

    @staticmethod
    def backward(ctx, upstream: Tensor):
        to_queries, to_candidates, to_scale = ctx.saved_tensors
        return upstream * to_queries, upstream * to_candidates, None, upstream * to_scale, None
