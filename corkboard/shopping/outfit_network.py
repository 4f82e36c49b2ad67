"""The network of the outfit model, for training; what is served is :class:`corkboard.shopping.outfit_model.OutfitModel`."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.shopping.outfit_config import OutfitModelConfig

_LEAST_SPREAD = 1e-6


class OutfitInput(nn.Module):
    """One kind of inputs, each number at mean 0 and variance 1 over what is trained on; a missing vector is a learned one."""

    mean: Tensor
    scale: Tensor

    def __init__(self, vectors: np.ndarray):
        super().__init__()
        there = vectors[vectors.any(axis=1)]
        mean, spread = (there.mean(axis=0), there.std(axis=0)) if len(there) else (np.zeros(vectors.shape[1]), np.ones(vectors.shape[1]))
        scale = np.where(spread > _LEAST_SPREAD, 1 / np.maximum(spread, _LEAST_SPREAD), 0.0)
        self.register_buffer("mean", torch.from_numpy(np.asarray(mean, np.float32)))
        self.register_buffer("scale", torch.from_numpy(np.asarray(scale, np.float32)))
        self.missing = nn.Parameter(torch.zeros(vectors.shape[1]))

    def forward(self, values: Tensor, kept: Tensor) -> Tensor:
        """``(n, width)`` of the same shape; ``kept`` bool ``(n,)``: False is missing."""
        return torch.where(kept[:, None], (values - self.mean) * self.scale, self.missing)


class OutfitNetwork(nn.Module):
    """Inputs and categories to style vectors, and these to what they ask of a category.

    ``inputs`` are what is trained on, by name, ``(items, width)`` each: "visual", "appearance" or both in this order; rows of zeros are
    missing. ``categories`` counts them with the unknown one.
    """

    def __init__(self, config: OutfitModelConfig, inputs: Mapping[str, np.ndarray], categories: int):
        super().__init__()
        self.config, self.names = config, list(inputs)
        for name, values in inputs.items():
            self.add_module(name, OutfitInput(values))
        self.category = nn.Parameter(0.1 * torch.randn(categories, config.category_dim))
        widths = [sum(part.shape[1] for part in inputs.values()) + config.category_dim, *config.hidden, config.dim]
        self.layers = nn.ModuleList([nn.Linear(before, after) for before, after in pairwise(widths)])
        if config.conditioned:
            self.masks = nn.Parameter(1 + 0.3 * torch.randn(config.masks, config.dim))
            self.attention = nn.Parameter(0.1 * torch.randn(categories, categories, config.masks))

    def styles(self, inputs: Mapping[str, Tensor], category: Tensor) -> Tensor:
        """``(n, dim)`` of length 1, from inputs ``(n, width)`` each and rows of categories int64 ``(n,)``."""
        config, parts = self.config, []
        for name in self.names:
            values = inputs[name]
            kept = values.any(dim=1)
            if name == "appearance" and len(self.names) > 1 and self.training:
                kept = kept & (torch.rand(len(values)) >= config.appearance_dropout)
            part = self.get_submodule(name)(values, kept)
            parts.append(functional.dropout(part, config.input_dropout, self.training))
        x = torch.cat([*parts, self.category[category]], dim=1)
        for layer in self.layers[:-1]:
            x = functional.dropout(torch.relu(layer(x)), config.dropout, self.training)
        return functional.normalize(self.layers[-1](x), dim=1)

    def asked(self, styles: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """``(n, dim)`` of length 1: what each item of category ``source`` asks of category ``target``, int64 ``(n,)`` each."""
        if not self.config.conditioned:
            return styles
        shares = torch.softmax(self.attention[source, target], dim=1)
        return functional.normalize(styles * (shares @ self.masks), dim=1)

    def tensors(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return {name: value.detach().numpy().copy() for name, value in self.state_dict().items()}
