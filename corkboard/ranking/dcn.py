"""DCN v2: explicit crossing of features (Wang et al., WWW 2021).

``x_{l+1} = x_0 * (W_l x_l + b_l) + x_l``, elementwise product: layer l holds every product of up to l + 1 inputs. Full rank by
default; with a rank r, ``W = U V`` is ``(width, r) (r, width)`` and a layer costs 2 r / width of the full one. The mixture of
low-rank experts of the paper is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CrossNetwork(nn.Module):
    """``layers`` cross layers over inputs of ``width``; ``rank`` None is full rank. Without layers it is the identity.

    A layer starts small, so that the network begins near its inputs and crossing is learned.
    """

    def __init__(self, width: int, layers: int, rank: int | None = None):
        super().__init__()
        self.width, self.rank = width, rank
        inner = width if rank is None else rank
        self.down = nn.ParameterList([] if rank is None else [_start(rank, width) for _ in range(layers)])
        self.weight = nn.ParameterList([_start(width, inner) for _ in range(layers)])
        self.bias = nn.ParameterList([nn.Parameter(torch.zeros(width)) for _ in range(layers)])

    def forward(self, x0: Tensor) -> Tensor:
        """``(n, width)`` to ``(n, width)``."""
        x = x0
        for layer, (weight, bias) in enumerate(zip(self.weight, self.bias, strict=True)):
            inner = x if self.rank is None else x @ self.down[layer].T
            x = torch.addcmul(x, x0, torch.addmm(bias, inner, weight.T))
        return x


def _start(rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(rows, columns) * (0.5 / columns**0.5))
