"""The trainable scene model: the formulas of :mod:`corkboard.shopping.scene_model` in torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.shopping.complete_config import SceneModelConfig

_EPSILON = 1e-12


class StyleHead(nn.Module):
    """``(…, width)`` to unit vectors ``(…, dim)``: standardised, linear, layer norm, ReLU, dropout, linear.

    ``mean`` and ``scale`` are those of ``inputs`` ``(n, width)``; they stand still. Nothing depends on the other rows of a batch.
    """

    def __init__(self, inputs: np.ndarray, config: SceneModelConfig):
        super().__init__()
        values = np.asarray(inputs, np.float32).reshape(-1, np.shape(inputs)[-1])
        self.register_buffer("mean", torch.from_numpy(values.mean(axis=0)))
        self.register_buffer("scale", torch.from_numpy(1 / np.maximum(values.std(axis=0), 1e-3)))
        self.first = nn.Linear(values.shape[1], config.hidden)
        self.norm = nn.LayerNorm(config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.second = nn.Linear(config.hidden, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(torch.relu(self.norm(self.first((x - self.mean) * self.scale))))
        return functional.normalize(self.second(hidden), dim=-1, eps=_EPSILON)


class SceneNetwork(nn.Module):
    """Four heads and an embedding a category, the last one for those that are not known.

    ``regions`` ``(n, width)`` and ``products`` ``(m, product width)`` are examples of what goes in, for its mean and spread.
    """

    def __init__(self, config: SceneModelConfig, categories: int, regions: np.ndarray, products: np.ndarray):
        super().__init__()
        self.settings = config
        self.whole, self.region, self.attention = (StyleHead(regions, config) for _ in range(3))
        self.product = StyleHead(products, config)
        self.category = nn.Parameter(torch.randn(categories + 1, config.dim))
        self.log_sharpness = nn.Parameter(torch.zeros(1))

    def asked(self, regions: Tensor, category: Tensor) -> Tensor:
        """``(n, dim)``: what scenes ask, from ``regions`` ``(n, regions, width)`` and rows of categories int64 ``(n,)``."""
        parts = []
        if self.settings.parts != "local":
            parts.append(self.whole(regions.mean(dim=1)))
        if self.settings.parts != "global":
            parts.append(torch.einsum("nr,nrd->nd", self.shares(regions, category), self.region(regions)))
        return torch.stack(parts).mean(dim=0)

    def shares(self, regions: Tensor, category: Tensor) -> Tensor:
        """``(n, regions)``: the attention."""
        if self.settings.attention == "uniform":
            return torch.full(regions.shape[:2], 1 / regions.shape[1])
        wanted = functional.normalize(self.category[category], dim=1, eps=_EPSILON)
        near = 2 - 2 * torch.einsum("nrd,nd->nr", self.attention(regions), wanted)
        return torch.softmax(-near * self.log_sharpness.exp(), dim=1)

    def weights(self) -> dict[str, np.ndarray]:
        """Parameters and statistics by name, float32."""
        return {name: np.array(value.detach().cpu().numpy(), np.float32, order="C") for name, value in self.state_dict().items()}
