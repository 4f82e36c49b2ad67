"""The two-stage detector over any trunk; over a transformer's tokens, put back on their grid, it is ViT-FRCNN (Beal et al., 2020).

Faster R-CNN (Ren et al., NeurIPS 2015) on a map of one scale: residual blocks, proposals from anchors, RoIAlign, classes and steps. The
stride is that of the map at hand, so a trunk trained at one side detects at another; a transformer's positions are stretched for it.

Where we differ from the paper: maps of 16 cells a side instead of 50, 9 anchors a cell instead of 15, 32 regions of 5 x 5 in a step instead
of 512 of 7 x 7, one hidden layer of 128 instead of two of 1024. A region gives one box, that of its likeliest class, and the classes'
posterior beside it; the paper gives one box for every class. Pictures are padded with white to a square before they get here: the padding
is constant, so nothing is masked. Anchors that reach beyond the picture are trained like all others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.vision.boxes import BoxCoder, clip, iou, nms
from corkboard.vision.detection import DetectionNetwork, Found, Target
from corkboard.vision.encoder import Trunk
from corkboard.vision.frcnn_config import FRCNNConfig, RegionConfig
from corkboard.vision.roi_align import roi_align

STEP_SPREADS = (0.1, 0.1, 0.2, 0.2)
"""The second stage's steps are divided by these, so that they come at about unit variance (Girshick, ICCV 2015)."""
_FIRST_LOGIT = -2.0
"""Objectness of every anchor before training: 12 %. Zero would start with half of all cells as objects."""
_PROPOSAL_BETA = 1 / 9
"""Where smooth L1 turns straight in the first stage, whose steps have no spread taken out."""
_LEAST_SIDE = 1.0
"""Proposals of fewer px are dropped."""


@dataclass(frozen=True)
class FRCNNLosses:
    """The four parts of the loss, each a mean over the sampled anchors or regions of the batch."""

    objectness: Tensor
    """Binary cross-entropy of the anchors."""
    proposal_steps: Tensor
    """Smooth L1 from anchors to objects."""
    classes: Tensor
    """Cross-entropy over the classes and background."""
    region_steps: Tensor
    """Smooth L1 from proposals to objects, of the true class."""

    @property
    def total(self) -> Tensor:
        """Their sum."""
        return sum(getattr(self, field.name) for field in fields(self))


def anchors(height: int, width: int, side: float, scales: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """``(height * width * scales * ratios, 4)``, px: boxes around the centres of a map's cells over a square of ``side`` px.

    By row, column, scale, ratio. A scale is a share of ``side``; a ratio, height by width, keeps the area.
    """
    scale, ratio = torch.meshgrid(torch.tensor(scales), torch.tensor(ratios), indexing="ij")
    half = torch.stack([scale / ratio.sqrt(), scale * ratio.sqrt()], dim=-1).reshape(-1, 2) * (side / 2)
    y, x = torch.meshgrid((torch.arange(height) + 0.5) * (side / height), (torch.arange(width) + 0.5) * (side / width), indexing="ij")
    centres = torch.stack([x, y], dim=-1).reshape(-1, 1, 2)
    return torch.cat([centres - half, centres + half], dim=-1).reshape(-1, 4)


def assign(candidates: Tensor, boxes: Tensor, positive: float, negative: float, best_too: bool = False) -> tuple[Tensor, Tensor]:
    """What each of ``candidates`` ``(n, 4)`` should say, given the ``boxes`` ``(objects, 4)`` of the picture.

    int64 ``(n,)``, 1 from an overlap of ``positive`` on, 0 below ``negative``, -1 between, and int64 ``(n,)``, the object that it overlaps
    most, the first of equals. With ``best_too`` those that overlap an object most are 1 as well, unless none touches it. Classes play no
    part. Without objects everything is 0.
    """
    if not len(boxes):
        return torch.zeros(len(candidates), dtype=torch.int64), torch.zeros(len(candidates), dtype=torch.int64)
    overlap = iou(candidates, boxes)
    most, which = overlap.max(dim=1)
    labels = torch.full_like(which, -1)
    labels[most < negative] = 0
    labels[most >= positive] = 1
    if best_too:
        best = overlap.max(dim=0).values
        labels[((overlap == best) & (best > 0)).any(dim=1)] = 1
    return labels, which


def sampled(labels: Tensor, count: int, positive_share: float, draw: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Rows of ``labels`` with 1 and with 0, drawn without replacement: ``count`` together, or as many as there are.

    Those with 1 are at most ``positive_share`` of ``count``, and those with 0 fill up.
    """
    labels = labels.cpu().numpy()
    positive = draw.permutation(np.flatnonzero(labels == 1))[: max(1, int(count * positive_share))]
    negative = draw.permutation(np.flatnonzero(labels == 0))[: count - len(positive)]
    return torch.from_numpy(positive), torch.from_numpy(negative)


class FasterRCNN(DetectionNetwork):
    """A trunk, proposals, and a head that reads each of them.

    Takes any :class:`~corkboard.vision.encoder.Trunk`. Pixels are ``(n, 3, side, side)``; the trunk must be able to read that side.
    """

    def __init__(self, trunk: Trunk, classes: int, config: FRCNNConfig = FRCNNConfig()):
        super().__init__()
        self.trunk, self.classes, self.config = trunk, classes, config
        self.neck = _neck(trunk.dim, config)
        self.proposing = _ProposalHead(config.channels, len(config.proposals.scales) * len(config.proposals.ratios))
        self.reading = _RegionHead(config.channels, classes, config.regions)
        self._proposal_coder, self._region_coder = BoxCoder(), BoxCoder(STEP_SPREADS)

    def loss(self, pixels: Tensor, targets: Sequence[Target], draw: np.random.Generator) -> Tensor:
        """The sum of :meth:`losses`."""
        return self.losses(pixels, targets, draw).total

    def losses(self, pixels: Tensor, targets: Sequence[Target], draw: np.random.Generator) -> FRCNNLosses:
        """The parts of the loss; ``draw`` chooses anchors and regions. Pictures without objects teach background."""
        side, maps = pixels.shape[-1], self.neck(self.trunk.features(pixels))
        placed = self._anchors(maps, side)
        logits, steps = self.proposing(maps)
        objectness, proposal_steps = self._proposal_losses(placed, logits, steps, targets, draw)
        proposals = self._proposals(placed, logits, steps, side, self.config.proposals.kept_training)
        # the truth among the proposals: the second stage learns before the first one finds anything
        regions = [torch.cat([own, target.boxes]) for own, target in zip(proposals, targets, strict=True)]
        classes, region_steps = self._region_losses(maps, regions, targets, side, draw)
        return FRCNNLosses(objectness, proposal_steps, classes, region_steps)

    @torch.no_grad()
    def predict(self, pixels: Tensor) -> list[Found]:
        """Every proposal of each picture with the box of its likeliest class, in the order of the proposals; repeats are in it.

        A score is the probability of that class, background counted; posteriors leave background out.
        """
        self.eval()
        side, maps = pixels.shape[-1], self.neck(self.trunk.features(pixels))
        logits, steps = self.proposing(maps)
        proposals = self._proposals(self._anchors(maps, side), logits, steps, side, self.config.proposals.kept)
        class_logits, class_steps = self.reading(roi_align(maps, proposals, side, self.config.regions.bins))
        likeliest = class_logits[:, :-1].argmax(dim=1, keepdim=True)
        scores = class_logits.softmax(dim=1).gather(1, likeliest)[:, 0]
        posteriors = class_logits[:, :-1].softmax(dim=1)
        own_steps = class_steps[torch.arange(len(likeliest)), likeliest[:, 0]]
        boxes = clip(self._region_coder.decode(torch.cat(proposals), own_steps), side)
        counts = [len(own) for own in proposals]
        return [Found(*parts) for parts in zip(boxes.split(counts), scores.split(counts), posteriors.split(counts), strict=True)]

    def _anchors(self, maps: Tensor, side: int) -> Tensor:
        settings = self.config.proposals
        return anchors(maps.shape[2], maps.shape[3], side, settings.scales, settings.ratios)

    @torch.no_grad()
    def _proposals(self, placed: Tensor, logits: Tensor, steps: Tensor, side: int, kept: int) -> list[Tensor]:
        """Boxes ``(up to kept, 4)`` a picture, the best first; they are where the second stage looks, and take no gradients."""
        settings = self.config.proposals
        scores, order = logits.sort(dim=1, descending=True, stable=True)
        scores, order = scores[:, : settings.candidates], order[:, : settings.candidates]
        chosen = steps.gather(1, order[:, :, None].expand(-1, -1, 4))
        boxes = clip(self._proposal_coder.decode(placed[order], chosen), side)
        out = []
        for own, score in zip(boxes, scores, strict=True):
            large = ((own[:, 2:] - own[:, :2]) >= _LEAST_SIDE).all(dim=1)
            own = own[large]
            out.append(own[nms(own, score[large], settings.overlap, kept)])
        return out

    def _proposal_losses(
        self, placed: Tensor, logits: Tensor, steps: Tensor, targets: Sequence[Target], draw: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        settings, said, wanted, errors, count = self.config.proposals, [], [], [], 0
        for own_logits, own_steps, target in zip(logits, steps, targets, strict=True):
            labels, which = assign(placed, target.boxes, settings.positive, settings.negative, best_too=True)
            objects, background = sampled(labels, settings.sample, settings.positive_share, draw)
            rows = torch.cat([objects, background])
            said.append(own_logits[rows])
            wanted.append(labels[rows].to(logits.dtype))
            true_steps = self._proposal_coder.encode(placed[objects], target.boxes[which[objects]])
            errors.append(functional.smooth_l1_loss(own_steps[objects], true_steps, reduction="sum", beta=_PROPOSAL_BETA))
            count += len(rows)
        objectness = functional.binary_cross_entropy_with_logits(torch.cat(said), torch.cat(wanted))
        return objectness, torch.stack(errors).sum() / count

    def _region_losses(
        self, maps: Tensor, regions: Sequence[Tensor], targets: Sequence[Target], side: int, draw: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        settings, read, wanted, true_steps = self.config.regions, [], [], []
        for boxes, target in zip(regions, targets, strict=True):
            labels, which = assign(boxes, target.boxes, settings.positive, settings.positive)
            objects, background = sampled(labels, settings.sample, settings.positive_share, draw)
            read.append(boxes[torch.cat([objects, background])])
            wanted.append(torch.cat([target.classes[which[objects]], torch.full_like(background, self.classes)]))
            true_steps.append(self._region_coder.encode(boxes[objects], target.boxes[which[objects]]))
        truth = torch.cat(wanted)
        logits, steps = self.reading(roi_align(maps, read, side, settings.bins))
        rows = (truth < self.classes).nonzero()[:, 0]
        errors = functional.smooth_l1_loss(steps[rows, truth[rows]], torch.cat(true_steps), reduction="sum")
        count = max(1, len(truth))  # pictures without an object may have no proposal either
        return functional.cross_entropy(logits, truth, reduction="sum") / count, errors / count


class _ProposalHead(nn.Module):
    """Maps ``(n, channels, h, w)`` to logits ``(n, h * w * shapes)`` and steps ``(n, h * w * shapes, 4)``, in the order of the anchors."""

    def __init__(self, channels: int, shapes: int):
        super().__init__()
        self.shapes = shapes
        self.mixed = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness, self.steps = nn.Conv2d(channels, shapes, 1), nn.Conv2d(channels, shapes * 4, 1)
        nn.init.kaiming_normal_(self.mixed.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.objectness.weight, std=0.01)
        nn.init.constant_(self.objectness.bias, _FIRST_LOGIT)
        nn.init.zeros_(self.mixed.bias)
        nn.init.zeros_(self.steps.weight)
        nn.init.zeros_(self.steps.bias)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.relu(self.mixed(maps))
        steps = self.steps(hidden).unflatten(1, (self.shapes, 4)).permute(0, 3, 4, 1, 2)
        return self.objectness(hidden).permute(0, 2, 3, 1).flatten(1), steps.flatten(1, 3)


class _RegionHead(nn.Module):
    """Regions ``(r, channels, bins, bins)`` to logits ``(r, classes + 1)``, background last, and steps ``(r, classes, 4)``."""

    def __init__(self, channels: int, classes: int, config: RegionConfig):
        super().__init__()
        widths = [channels * config.bins**2] + [config.hidden] * config.layers
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(widths))
        self.scores, self.steps = nn.Linear(config.hidden, classes + 1), nn.Linear(config.hidden, classes * 4)
        for linear in self.hidden:
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
        nn.init.normal_(self.scores.weight, std=0.01)
        # the shares that sampling aims at, the objects' divided evenly
        nn.init.constant_(self.scores.bias, math.log(config.positive_share / classes))
        nn.init.constant_(self.scores.bias[-1:], math.log(1 - config.positive_share))
        nn.init.zeros_(self.steps.weight)
        nn.init.zeros_(self.steps.bias)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        hidden = regions.flatten(1)
        for linear in self.hidden:
            hidden = torch.relu(linear(hidden))
        return self.scores(hidden), self.steps(hidden).unflatten(1, (-1, 4))


class _ResidualBlock(nn.Module):
    """``x + conv(relu(norm(conv(x))))``, 3x3, of maps ``(n, channels, h, w)``; group norm, which a batch of any size suits."""

    def __init__(self, channels: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.norm = nn.GroupNorm(math.gcd(channels, 8), channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.norm(self.first(x))))


def _neck(inputs: int, config: FRCNNConfig) -> nn.Sequential:
    """The trunk's map to the one that both stages read: 1x1 to their width, residual blocks, and the doubling if there is one."""
    blocks = [_ResidualBlock(config.channels) for _ in range(config.blocks)]
    doubling = [nn.ConvTranspose2d(config.channels, config.channels, 2, 2)] if config.doubled else []
    return nn.Sequential(nn.Conv2d(inputs, config.channels, 1), *blocks, *doubling)
