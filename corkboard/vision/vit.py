"""The transformer trunk: over patches (Dosovitskiy et al., ICLR 2021) or the cells of a convolutional stem (Xiao et al., NeurIPS 2021).

Pre-norm blocks, learnt positions, and a token of its own or the mean of all as the vector. Where we differ from ViT-B/16, the backbone of
Beal et al. (WACV 2022): 3 blocks of width 96 and a hidden layer of twice that instead of 12 of 768 and four times, for 48 px on a CPU. No
dropout: at this size pictures run out before the weights do.
"""

from __future__ import annotations

import copy
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.errors import InputError
from corkboard.vision.cnn import fold_batch_norm
from corkboard.vision.config import TrunkConfig
from corkboard.vision.encoder import ConvBlock, Trunk


class VitTrunk(Trunk):
    """Pixels ``(n, 3, side, side)`` to a map ``(n, dim, grid, grid)`` and a vector ``(n, dim)``.

    ``grid`` is side / patch, or side / 8 behind the stem. ``positions`` ``(tokens, dim)`` begin with that of the token of its own, where
    there is one.
    """

    def __init__(self, config: TrunkConfig = TrunkConfig(kind="vit")):
        super().__init__()
        self.settings, self.side, self.dim = config, config.side, config.dim
        self.depths = config.layers + 1
        self.stem = _conv_stem(config.dim) if config.kind == "conv_vit" else nn.Conv2d(3, config.dim, config.patch, config.patch)
        self.cell = 8 if config.kind == "conv_vit" else config.patch
        self.prefix = 1 if config.pool == "cls" else 0
        grid = config.side // self.cell
        self.positions = nn.Parameter(torch.randn(self.prefix + grid * grid, config.dim) * 0.02)
        if self.prefix:
            self.token = nn.Parameter(torch.randn(config.dim) * 0.02)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def features(self, pixels: Tensor) -> Tensor:
        """The map ``(n, dim, grid, grid)`` after the last norm, without the token of its own."""
        tokens, grid = self._tokens(pixels)
        return tokens[:, self.prefix :].transpose(1, 2).unflatten(2, grid)

    def forward(self, pixels: Tensor) -> Tensor:
        """``(n, dim)``: the token of its own, or the mean of all, after the last norm."""
        tokens, _ = self._tokens(pixels)
        return tokens[:, 0] if self.prefix else tokens.mean(dim=1)

    def _tokens(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        if pixels.shape[2] % self.cell or pixels.shape[3] % self.cell:
            raise InputError("Pictures do not fall into whole patches", found=tuple(pixels.shape), expected=f"sides by {self.cell} px")
        cells = self.stem(pixels)
        grid, own = (cells.shape[2], cells.shape[3]), self.side // self.cell
        tokens = cells.flatten(2).transpose(1, 2)
        if self.prefix:
            tokens = torch.cat([self.token.expand(len(tokens), 1, -1), tokens], dim=1)
        tokens = tokens + resize_positions(self.positions, (own, own), grid, self.prefix)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens), grid

    def with_side(self, side: int) -> Self:
        """A copy for pictures of ``side`` px with its grid of positions stretched, to go on training at another resolution."""
        other = copy.deepcopy(self)
        other.settings = TrunkConfig.model_validate(self.settings.model_dump() | {"side": side})
        own, grid = self.side // self.cell, side // self.cell
        other.side = side
        other.positions = nn.Parameter(resize_positions(self.positions.detach(), (own, own), (grid, grid), self.prefix).clone())
        return other

    def depth_of(self, parameter: str) -> int:
        """0 for stem, positions and token, then the blocks; the last norm is of the last block."""
        first, _, rest = parameter.partition(".")
        if first == "blocks":
            return int(rest.partition(".")[0]) + 1
        return self.depths - 1 if first == "norm" else 0

    def served(self) -> Trunk:
        """A copy for serving, with the batch norm of a stem folded into its convolutions."""
        return fold_batch_norm(self)


def resize_positions(positions: Tensor, grid: tuple[int, int], new_grid: tuple[int, int], prefix: int) -> Tensor:
    """Positions ``(prefix + height * width, dim)`` of ``grid`` for ``new_grid``, bicubic; the first ``prefix`` stay as they are.

    The same grid gives the same tensor. Raises :class:`InputError` where the positions are not those of ``grid``.
    """
    if len(positions) != prefix + grid[0] * grid[1]:
        raise InputError("Positions do not fit their grid", found=tuple(positions.shape), expected=f"{prefix} and {grid[0]} x {grid[1]}")
    if grid == new_grid:
        return positions
    cells = positions[prefix:].t().reshape(1, -1, *grid)
    cells = functional.interpolate(cells, size=new_grid, mode="bicubic", align_corners=False, antialias=True)
    return torch.cat([positions[:prefix], cells[0].flatten(1).t()])


class _Block(nn.Module):
    """``u = x + attention(norm(x))``, then ``u + mlp(norm(u))``, of tokens ``(n, tokens, dim)``."""

    def __init__(self, config: TrunkConfig):
        super().__init__()
        dim, hidden = config.dim, round(config.dim * config.mlp_ratio)
        self.heads = config.heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query_key_value, self.mixed = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        for linear in (self.query_key_value, self.mixed, self.up, self.down):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.query_key_value(self.norm_attention(tokens)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        read = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.mixed(read.transpose(1, 2).flatten(2))
        return tokens + self.down(functional.gelu(self.up(self.norm_mlp(tokens))))


def _conv_stem(dim: int) -> nn.Sequential:
    """``(n, 3, side, side)`` to ``(n, dim, side / 8, side / 8)``: three halving convolutions, then a linear map of each cell."""
    quarter, half = max(8, dim // 4), max(8, dim // 2)
    return nn.Sequential(ConvBlock(3, quarter, 2), ConvBlock(quarter, half, 2), ConvBlock(half, dim, 2), nn.Conv2d(dim, dim, 1))
