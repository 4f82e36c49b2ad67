"""The convolutional trunk: six convolutions with batch norm, small enough to train on a CPU.

It plays the part of the ResNet-50 and ResNeXt-101 of Pinterest's unified embedding (Zhai and Wu, BMVC 2019; Zhai et al., KDD 2019) and of
the ResNeXt baselines of their weakly supervised pre-training (Beal et al., WACV 2022). Where we differ: 0.28 M parameters instead of
25 M and more, pictures of 48 px instead of 224, and neither residual paths nor squeeze-excitation, which six layers do without.

Batch norm is on purpose: with group norm the loss over proxies did not move at the same learning rate. It asks for batches that mix
domains, or their statistics tell the domain.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from corkboard.vision.config import TrunkConfig
from corkboard.vision.encoder import ConvBlock, Trunk

CHANNELS = (16, 32, 64, 64, 128, 128)
STRIDES = (2, 2, 2, 1, 1, 1)

Network = TypeVar("Network", bound=nn.Module)


class ConvTrunk(Trunk):
    """Pixels ``(n, 3, side, side)`` to a map ``(n, dim, side / 8, side / 8)`` and its mean ``(n, dim)``; ``dim`` is 128 at width 1."""

    def __init__(self, config: TrunkConfig = TrunkConfig()):
        super().__init__()
        self.settings, self.side = config, config.side
        channels = [3, *(max(8, round(count * config.width / 8) * 8) for count in CHANNELS)]
        self.blocks = nn.Sequential(*map(ConvBlock, channels, channels[1:], STRIDES))
        self.dim, self.depths = channels[-1], len(STRIDES)
        self.to(memory_format=torch.channels_last)

    def features(self, pixels: Tensor) -> Tensor:
        """The map ``(n, dim, side / 8, side / 8)``, never negative; other sizes than ``side`` are read as well, rounded up."""
        return self.blocks(pixels)

    def depth_of(self, parameter: str) -> int:
        """The number of the block: names are ``blocks.<number>. …``."""
        return int(parameter.split(".")[1])

    def served(self) -> Trunk:
        """A copy for serving, with batch norm folded into the convolutions."""
        return fold_batch_norm(self)


def fold_batch_norm(network: Network) -> Network:
    """A copy in evaluation mode in which every :class:`ConvBlock` is one convolution; equal outputs up to rounding, nothing to train."""
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if isinstance(module, ConvBlock):
            module.folded()
    return folded.requires_grad_(False)
