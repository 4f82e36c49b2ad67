"""RoIAlign (He et al., ICCV 2017): a region of a map, read as a small square of cells whatever its size.

Where we differ: always 2 x 2 samples a cell, and ``grid_sample`` reads them, so samples beyond the map take the value of its edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from corkboard.errors import InputError

_SAMPLES = 2


def roi_align(maps: Tensor, boxes: Sequence[Tensor], side: float, bins: int) -> Tensor:
    """``(regions, channels, bins, bins)``: the regions of the first picture, then those of the second, and so on.

    ``maps`` ``(n, channels, height, width)`` stretch over squares of ``side`` px; ``boxes`` are n times ``(regions of the picture, 4)``,
    px. Pixel i covers [i, i + 1) and a cell of the map ``side / width`` px, so the value of the cell in column j stands at
    ``(j + 0.5) * side / width``. Gradients reach ``maps``, not ``boxes``. Raises :class:`InputError` where there are not as many maps as
    pictures with boxes.
    """
    if len(maps) != len(boxes):
        raise InputError("Every map needs its boxes", found=len(boxes), expected=len(maps))
    padded = pad_sequence(list(boxes), batch_first=True).detach()  # (n, most regions, 4)
    n, most = padded.shape[:2]
    if not most:
        return maps.new_zeros(0, maps.shape[1], bins, bins)
    points = bins * _SAMPLES
    at = (torch.arange(points, dtype=maps.dtype, device=maps.device) + 0.5) / points
    corner, size = padded[..., None, :2], (padded[..., 2:] - padded[..., :2])[..., None, :]
    where = (corner + at[:, None] * size) * (2 / side) - 1  # (n, most, points, 2): x and y of each column and row, from -1 to 1
    columns = where[..., 0][:, :, None, :].expand(n, most, points, points)
    rows = where[..., 1][:, :, :, None].expand(n, most, points, points)
    grid = torch.stack([columns, rows], dim=-1).reshape(n, most * points, points, 2)
    read = functional.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)
    means = functional.avg_pool2d(read, _SAMPLES).unflatten(2, (most, bins)).transpose(1, 2)  # (n, most, channels, bins, bins)
    return torch.cat([of_picture[: len(own)] for of_picture, own in zip(means, boxes, strict=True)])
