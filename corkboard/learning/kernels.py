"""Linear layers and dropout, faster on a CPU than PyTorch's own.

**Linear.** PyTorch hands float32 products to MKL, which runs AVX2 code on AMD cores that have AVX-512: half the rate. oneDNN
comes with every PyTorch for x86, uses what is there, and adds bias, ReLU and residual in the same pass. Where a core has no
AVX-512 there is nothing to win and PyTorch's own way is taken.

**Dropout.** PyTorch draws a double for each number, which takes longer than the product before it. One random byte decides as well,
for shares that are multiples of 1/256, and a word of the generator holds eight.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def _usable() -> bool:
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return there and "AVX512" in torch.backends.cpu.get_cpu_capability()


ONEDNN = _usable()
"""Whether products go to oneDNN here."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False, add: Tensor | None = None) -> Tensor:
    """``x weight^T + bias``, then either its positive part (``relu``) or ``add`` on top; ``(..., out)`` for x ``(..., in)``.

    ``weight`` is ``(out, in)``, ``add`` has the shape of the result. Differentiable. The same as PyTorch's own up to rounding.
    """
    if not (ONEDNN and x.numel() and x.dtype == torch.float32):
        made = functional.linear(x, weight, bias)
        made = torch.relu(made) if relu else made
        return made if add is None else made + add
    if torch.is_grad_enabled():
        return _Linear.apply(x, weight, bias, add, relu)
    return _forward(x, weight, bias, add, relu)


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, add: Tensor | None, relu: bool) -> Tensor:
    """Matrices lie in order or are transposes of such; with any other stride oneDNN takes a path a thousand times slower."""
    x, weight = _ordered(x), _ordered(weight)
    if add is not None:
        return torch.ops.mkldnn._linear_pointwise.binary(x, add.contiguous(), weight, bias, "add")
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "relu" if relu else "none", [], "")


def _ordered(x: Tensor) -> Tensor:
    return x if x.is_contiguous() or (x.dim() == 2 and x.t().is_contiguous()) else x.contiguous()


def dropout(x: Tensor, share: float, *, add: Tensor | None = None) -> Tensor:
    """A ``share`` of the numbers of float32 ``x`` set to 0 and the others scaled up, so that the mean stays; plus ``add``, of its shape.

    ``share`` is rounded to a multiple of 1/256. Draws from torch's own generator.
    """
    dropped = min(round(share * 256), 255)
    if not dropped:
        return x if add is None else x + add
    return _Dropout.apply(x, dropped, add)


class _Dropout(torch.autograd.Function):
    """A mask of bytes, 0 or 1."""

    @staticmethod
    def forward(ctx, x, dropped, add):
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape).ge_(dropped)
        ctx.save_for_backward(kept)
        ctx.scale = 256 / (256 - dropped)
        made = x * kept
        return made.mul_(ctx.scale) if add is None else torch.add(add, made, alpha=ctx.scale, out=made)

    @staticmethod
    def backward(ctx, slope):
        (kept,) = ctx.saved_tensors
        to_x = (slope * kept).mul_(ctx.scale) if ctx.needs_input_grad[0] else None
        return to_x, None, slope if ctx.needs_input_grad[2] else None


class _Linear(torch.autograd.Function):
    """Forward and backward by oneDNN."""

    @staticmethod
    def forward(ctx, x, weight, bias, add, relu):
        made = _forward(x, weight, bias, add, relu)
        ctx.save_for_backward(x, weight, made if relu else None)
        return made

    @staticmethod
    def backward(ctx, slope):
        x, weight, positive = ctx.saved_tensors
        added = slope if ctx.needs_input_grad[3] else None
        slope = slope.contiguous() if positive is None else torch.ops.aten.threshold_backward(slope, positive, 0)
        flat = slope.reshape(-1, slope.shape[-1])
        to_x = _forward(slope, weight.t(), None, None, False) if ctx.needs_input_grad[0] else None
        to_weight = _forward(flat.t(), x.reshape(-1, x.shape[-1]).t(), None, None, False) if ctx.needs_input_grad[1] else None
        to_bias = flat.sum(0) if ctx.needs_input_grad[2] else None
        return to_x, to_weight, to_bias, added, None
