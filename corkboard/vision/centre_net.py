"""The one-stage head: every cell says how surely a thing of each class has its middle there, and where its box lies.

After CenterNet (Zhou et al., 2019), whose class heat with bells around the middles and penalty-reduced focal loss it has, and TTFNet (Liu
et al., AAAI 2020), where all cells near the middle learn the box by GIoU, weighed by a second bell, which asks for a fraction of the
steps. Where we differ: the map stays at the trunk's stride, 8 px on 128, since things are 30 px and more; instead of deconvolutions a neck
looks at the map at half its grid, so that a cell knows of more than the 63 px that the trunk shows it; a box is an offset and logarithms of
sizes instead of four distances, so that a middle may lie outside of a tiny box; each peak has a posterior over all classes, not one class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.vision.boxes import clip
from corkboard.vision.config import CentreConfig
from corkboard.vision.detection import DetectionNetwork, Found, Target
from corkboard.vision.encoder import ConvBlock, Trunk

_PRIOR = 0.02
"""What an untrained head believes of each class in each cell; without it the loss of empty cells drowns everything at the start."""
_SIZE = 4.0
"""Sizes are learned in so many cells."""
_STEP = 4.0
"""Logarithms of sizes are cut to plus and minus this, so that an untrained head overflows nothing."""
_LEAST_DEVIATION = 0.3
"""The deviation of a bell in cells is no less, or the middle of a small thing would fall between all cells."""


class CentreNet(DetectionNetwork):
    """``trunk``, a neck and two outputs of each cell: heat of ``classes`` and a box."""

    def __init__(self, trunk: Trunk, classes: int, config: CentreConfig = CentreConfig()):
        super().__init__()
        self.trunk, self.classes, self.settings = trunk, classes, config
        width = config.channels
        self.near = nn.Conv2d(trunk.dim, width, 1)
        self.around = nn.Sequential(ConvBlock(trunk.dim, width, 2), ConvBlock(width, width, 1))
        self.joined = ConvBlock(width, width, 1)
        self.heat, self.place = nn.Conv2d(width, classes, 1), nn.Conv2d(width, 4, 1)
        for layer in (self.heat, self.place):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.heat.bias, math.log(_PRIOR / (1 - _PRIOR)))
        self.to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the heat ``(n, classes, rows, columns)`` and boxes in px ``(n, 4, rows, columns)`` from normalised pixels."""
        features = self.trunk.features(pixels)
        grid = features.shape[2:]
        wide = functional.interpolate(self.around(features), size=grid, mode="bilinear", align_corners=False)
        cells = self.joined(self.near(features) + wide)
        return self.heat(cells), _boxes_of(self.place(cells), pixels.shape[2:])

    def loss(self, pixels: Tensor, targets: Sequence[Target], draw: np.random.Generator) -> Tensor:
        """Focal loss of the heat, a sum a box, and GIoU of the boxes times ``box_weight``; nothing is drawn."""
        logits, boxes = self(pixels)
        truth = _cells_of(targets, self.classes, tuple(logits.shape[2:]), tuple(pixels.shape[2:]), self.settings)
        heat = focal_loss(logits, truth.heat)
        learned = truth.weights > 0
        if not learned.any():
            return heat
        found = boxes.permute(0, 2, 3, 1)[learned]
        weights = truth.weights[learned]
        apart = (1 - giou(found, truth.boxes[learned])) * weights
        return heat + self.settings.box_weight * apart.sum() / weights.sum()

    @torch.no_grad()
    def predict(self, pixels: Tensor) -> list[Found]:
        """The ``peaks`` surest of the cells whose heat in their own likeliest class no neighbour exceeds; boxes cut to the square."""
        self.eval()
        logits, boxes = self(pixels)
        heat = logits.sigmoid()
        surest, likeliest = heat.max(dim=1)
        around = functional.max_pool2d(heat, 3, stride=1, padding=1).gather(1, likeliest[:, None])[:, 0]
        scores = torch.where(surest >= around, surest, 0.0).flatten(1)
        best, cells = scores.topk(min(self.settings.peaks, scores.shape[1]), dim=1)
        found = []
        for k in range(len(pixels)):
            rows = cells[k][best[k] > 0]
            places = clip(boxes[k].flatten(1)[:, rows].T, float(max(pixels.shape[2:])))
            found.append(Found(places, best[k][best[k] > 0], logits[k].flatten(1)[:, rows].T.softmax(dim=1)))
        return found


def focal_loss(logits: Tensor, heat: Tensor) -> Tensor:
    """Penalty-reduced focal loss of CenterNet, a sum over all cells for each box: a number.

    ``heat`` is 1 in the middle of a thing. There it costs ``-(1 - p)^2 log p``, elsewhere ``-(1 - heat)^4 p^2 log(1 - p)``.
    """
    middle = heat == 1
    p = logits.sigmoid()
    there = (1 - p) ** 2 * functional.logsigmoid(logits)
    elsewhere = (1 - heat) ** 4 * p**2 * functional.logsigmoid(-logits)
    return -torch.where(middle, there, elsewhere).sum() / max(1, int(middle.sum()))


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised overlap ``(n,)`` in [-1, 1] of boxes ``(n, 4)`` row by row (Rezatofighi et al., CVPR 2019).

    The overlap less the share of the smallest box around both that neither covers: unlike the overlap it has a slope where they are apart.
    """
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (high - low).clamp(min=0).prod(dim=1)
    covered = (a[:, 2:] - a[:, :2]).prod(dim=1) + (b[:, 2:] - b[:, :2]).prod(dim=1) - shared
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(dim=1)
    return shared / covered.clamp(min=1e-6) - (hull - covered) / hull.clamp(min=1e-6)


# --------------------------------------------------------------------------------------------------------- cells and boxes


@dataclass(frozen=True)
class _Cells:
    """What each cell should say: ``heat`` (n, classes, rows, columns), ``boxes`` (n, rows, columns, 4) px, ``weights`` (n, rows, columns).

    Weights of the cells of one box sum to 1; those of cells that learn no box are 0.
    """

    heat: Tensor
    boxes: Tensor
    weights: Tensor


def _cells_of(targets: Sequence[Target], classes: int, grid: tuple[int, int], size: tuple[int, int], config: CentreConfig) -> _Cells:
    """Bells around the middles. Of two things that claim a cell the smaller has it; where two bells of a class meet the higher counts."""
    heat = np.zeros((len(targets), classes, *grid), np.float32)
    boxes, weights = np.zeros((len(targets), *grid, 4), np.float32), np.zeros((len(targets), *grid), np.float32)
    cell = np.array([size[1] / grid[1], size[0] / grid[0]], np.float32)
    for n, target in enumerate(targets):
        found, kinds = target.boxes.numpy(), target.classes.numpy()
        sizes = found[:, 2:] - found[:, :2]
        for k in np.argsort(-sizes.prod(axis=1), kind="stable"):
            middle = (found[k, :2] + found[k, 2:]) / 2 / cell
            at = np.clip(middle.astype(np.int64), 0, np.array(grid[::-1]) - 1)
            bell = _bell(at, sizes[k] / cell * config.heat_spread / 6, grid)
            np.maximum(heat[n, kinds[k]], bell, out=heat[n, kinds[k]])
            bell = _bell(at, sizes[k] / cell * config.box_spread / 6, grid)
            learns = bell > 0.1
            boxes[n][learns] = found[k]
            weights[n][learns] = bell[learns] / bell[learns].sum()
    return _Cells(torch.from_numpy(heat), torch.from_numpy(boxes), torch.from_numpy(weights))


def _bell(at: np.ndarray, deviations: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """float32 ``grid``: 1 in the cell ``at`` (column, row), falling as a Gaussian of ``deviations`` (across, down) in cells."""
    across, down = np.maximum(deviations, _LEAST_DEVIATION)
    columns = np.exp(-((np.arange(grid[1]) - at[0]) ** 2) / (2 * across**2))
    rows = np.exp(-((np.arange(grid[0]) - at[1]) ** 2) / (2 * down**2))
    return (rows[:, None] * columns[None, :]).astype(np.float32)


def _boxes_of(places: Tensor, size: Sequence[int]) -> Tensor:
    """Boxes in px ``(n, 4, rows, columns)`` of outputs in that shape: offset of the middle in cells, and logarithms of sizes."""
    rows, columns = places.shape[2:]
    high, wide = size[0] / rows, size[1] / columns
    x = (torch.arange(columns) + 0.5 + places[:, 0]) * wide
    y = (torch.arange(rows)[:, None] + 0.5 + places[:, 1]) * high
    half = places[:, 2:].clamp(-_STEP, _STEP).exp() * (_SIZE / 2)
    across, down = half[:, 0] * wide, half[:, 1] * high
    return torch.stack([x - across, y - down, x + across, y + down], dim=1)
