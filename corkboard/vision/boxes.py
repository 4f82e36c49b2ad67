"""Boxes ``(n, 4)`` as left, top, right, bottom, in any one unit: overlap, suppression of repeats, and steps from one to another.

A box covers ``[left, right) x [top, bottom)``: its width is right - left, with nothing added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from corkboard.errors import InputError

_LARGEST_STEP = math.log(1000 / 16)
"""A decoded box is at most e to this (62.5) times as wide as its anchor: an untrained network overflows nothing."""


def areas(boxes: Tensor) -> Tensor:
    """``(n,)``: the area of each box; 0 where right or bottom do not lie beyond left or top."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)


def intersections(a: Tensor, b: Tensor) -> Tensor:
    """``(n, m)``: the area that each of ``a`` ``(n, 4)`` shares with each of ``b`` ``(m, 4)``."""
    corner = torch.maximum(a[:, None, :2], b[None, :, :2])
    return (torch.minimum(a[:, None, 2:], b[None, :, 2:]) - corner).clamp(min=0).prod(dim=2)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """``(n, m)`` in [0, 1]: intersection over union of each of ``a`` ``(n, 4)`` and each of ``b`` ``(m, 4)``; 0 where both are empty."""
    common = intersections(a, b)
    return common / (areas(a)[:, None] + areas(b)[None, :] - common).clamp(min=torch.finfo(common.dtype).tiny)


def clip(boxes: Tensor, side: float) -> Tensor:
    """``boxes`` cut to the square from 0 to ``side``."""
    return boxes.clamp(min=0, max=side)


def nms(boxes: Tensor, scores: Tensor, threshold: float, most: int | None = None) -> Tensor:
    """int64: the rows to keep, the best score first, ``most`` at most; greedy suppression.

    From the best downwards, a box goes if its overlap with one that was kept is above ``threshold``. Equal scores: the earlier row first.
    Quadratic in time and memory: meant for at most a few thousand boxes.
    """
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes[order]
    repeats = (iou(ranked, ranked) > threshold).cpu().numpy()
    gone = np.zeros(len(order), dtype=bool)
    kept = []
    for row in range(len(order)):
        if len(kept) == most:
            break
        if not gone[row]:
            kept.append(row)
            gone |= repeats[row]
    return order[torch.as_tensor(kept, dtype=torch.int64, device=order.device)]


def nms_by_class(boxes: Tensor, scores: Tensor, classes: Tensor, threshold: float) -> Tensor:
    """As :func:`nms`, but a box is only suppressed by one of its own of ``classes`` ``(n,)``, integers >= 0.

    The classes are moved apart, each onto a plane of its own, so one pass does.
    """
    if not len(boxes):
        return nms(boxes, scores, threshold)
    extent = boxes.max() - boxes.min() + 1
    # float64: far away from zero, float32 has too few digits left for the overlap
    return nms((boxes - boxes.min()).double() + (classes.double() * extent.double())[:, None], scores, threshold)


class BoxCoder:
    """Boxes as steps from anchors (Girshick et al., CVPR 2014).

    ``(x - xa) / wa``, ``(y - ya) / ha``, ``log(w / wa)`` and ``log(h / ha)`` of centres and sizes, each divided by its entry of ``std``.
    Sizes below ``least_size`` count as that, so that the logarithm is finite; steps of the size are cut to those of a factor of 62.5.
    """

    def __init__(self, std: Sequence[float] = (1.0, 1.0, 1.0, 1.0), least_size: float = 1e-3):
        if len(std) != 4 or min(std) <= 0:
            raise InputError("A box coder needs four spreads", found=tuple(std), expected="four numbers above 0")
        self.std, self.least_size = tuple(std), least_size

    def encode(self, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Steps ``(n, 4)`` from ``anchors`` ``(n, 4)`` to ``boxes`` ``(n, 4)``."""
        (anchor_centre, anchor_size), (centre, size) = self._centred(anchors), self._centred(boxes)
        steps = torch.cat([(centre - anchor_centre) / anchor_size, (size / anchor_size).log()], dim=-1)
        return steps / steps.new_tensor(self.std)

    def decode(self, anchors: Tensor, deltas: Tensor) -> Tensor:
        """The boxes ``(n, 4)`` that are ``deltas`` ``(n, 4)`` away from ``anchors`` ``(n, 4)``."""
        centre, size = self._centred(anchors)
        steps = deltas * deltas.new_tensor(self.std)
        centre = centre + steps[..., :2] * size
        size = size * steps[..., 2:].clamp(max=_LARGEST_STEP).exp()
        return torch.cat([centre - size / 2, centre + size / 2], dim=-1)

    def _centred(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        return (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp(min=self.least_size)
