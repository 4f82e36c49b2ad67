"""Training of the pointwise ranker: PyTorch, one network for all heads, held-out users and a held-out end of the span.

How the rows are split, calibrated and reported is shared with every other ranker: :mod:`corkboard.ranking.report`.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from corkboard.learning.training import computing_threads
from corkboard.ranking.config import PointwiseConfig
from corkboard.ranking.pointwise import PointwiseRanker
from corkboard.ranking.report import (
    CLIP,
    Parts,
    Progress,
    Trained,
    TrainingReport,
    base_rates,
    entropy_weights,
    head_reports,
    mean_loss,
    missing_heads,
    platt_of_heads,
    positives_of,
    split,
    standardisation,
    with_known_heads,
)
from corkboard.ranking.table import TrainingRows
from corkboard.seeds import derive, generator

_IMPORTANCE_ROWS = 4000


def train_pointwise(
    rows: TrainingRows, held_out: np.ndarray, config: PointwiseConfig, seed: int, progress: Progress | None = None
) -> Trained[PointwiseRanker]:
    """Train on ``rows``; ``held_out`` is bool ``(len(rows.user_ids),)``, true for users that are not fitted.

    Raises :class:`InputError` where there is nothing to learn from.
    """
    started = time.perf_counter()
    parts = split(rows, held_out, config.late_share)
    given, rows = rows, with_known_heads(rows, parts.fit)
    fit_positives = positives_of(rows, parts.fit)
    learner = _Learner(rows, parts, config, seed)
    with computing_threads(config.threads):
        epochs = learner.run(progress)
    tensors = learner.tensors()
    _silence_poor_heads(tensors, rows, parts.fit, fit_positives, config.min_positives)
    plain = PointwiseRanker(rows.heads, tensors, rows.feature_names)
    tune = parts.tune
    logits = plain.logits(rows.features[tune])
    platt_of_heads(logits, rows.labels[tune], rows.weights[tune], config.min_positives, tensors["slope"], tensors["offset"])
    ranker = PointwiseRanker(rows.heads, tensors, rows.feature_names)
    features = rows.features[parts.report]
    heads = head_reports(rows, parts, ranker.logits(features), ranker.probabilities(features), fit_positives)
    importance = _importance(ranker, rows, tune, seed)
    seconds = time.perf_counter() - started
    report = TrainingReport(parts.counts(), epochs, rows.sampled_negatives, seconds, heads, importance)
    return Trained(ranker, replace(report, left_out=missing_heads(given, rows.heads)))


class _Learner:
    """The PyTorch side: standardised rows in, tensors out."""

    def __init__(self, rows: TrainingRows, parts: Parts, config: PointwiseConfig, seed: int):
        self.config, self.seed = config, seed
        self.draw = torch.Generator().manual_seed(derive(seed, "pointwise", "torch"))
        self.mean, self.scale = standardisation(rows.features[parts.fit])
        self.rates = base_rates(rows, parts.fit)
        self.fit, self.tune = self._tensors_of(rows, parts.fit), self._tensors_of(rows, parts.tune)
        self.head_weights = torch.from_numpy(entropy_weights(self.rates))
        self.parameters = self._start(rows.features.shape[1], len(rows.heads))
        self.best = [p.detach().clone() for p in self.parameters]

    def run(self, progress: Progress | None) -> int:
        """Train until the tuned loss no longer falls; keeps the best pass and returns how many passes ran."""
        config, batches = self.config, -(-len(self.fit[0]) // self.config.batch_size)
        optimiser = torch.optim.AdamW(self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        warmup, total = max(1, batches // 4), config.epochs * batches
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _cosine(step, warmup, total))
        shuffle = generator(self.seed, "pointwise", "batches")
        lowest, waited, passes = float("inf"), 0, 0
        while passes < config.epochs:
            passes += 1
            self._pass(optimiser, schedule, shuffle.permutation(len(self.fit[0])))
            loss = self._tuned_loss()
            if progress:
                progress(passes, config.epochs)
            waited = 0 if loss < lowest else waited + 1
            if loss < lowest:
                lowest, self.best = loss, [p.detach().clone() for p in self.parameters]
            if waited >= config.patience:
                break
        return passes

    def tensors(self) -> dict[str, np.ndarray]:
        """The best pass in the names of :class:`PointwiseRanker`, calibration still the identity."""
        values = [p.numpy() for p in self.best]
        tensors = {"mean": self.mean, "scale": self.scale}
        for k in range(len(self.config.hidden)):
            tensors[f"weight_{k}"], tensors[f"bias_{k}"] = values[2 * k], values[2 * k + 1]
        tensors["weight_out"], tensors["weight_skip"], tensors["bias_out"] = values[-3:]
        heads = len(self.rates)
        return tensors | {"slope": np.ones(heads, np.float32), "offset": np.zeros(heads, np.float32)}

    def _tensors_of(self, rows: TrainingRows, part: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        z = np.clip((rows.features[part] - self.mean) / self.scale, -CLIP, CLIP)
        labels = rows.labels[part]
        known = ~np.isnan(labels)
        weights = known * rows.weights[part, None]
        return torch.from_numpy(z), torch.from_numpy(np.nan_to_num(labels)), torch.from_numpy(weights.astype(np.float32))

    def _start(self, features: int, heads: int) -> list[torch.Tensor]:
        draw, values, width = self.draw, [], features
        for size in self.config.hidden:
            values += [torch.randn(width, size, generator=draw) * (2.0 / width) ** 0.5, torch.zeros(size)]
            width = size
        values += [torch.randn(width, heads, generator=draw) * 0.1 / width**0.5, torch.zeros(features, heads)]
        values.append(torch.from_numpy(np.log(self.rates / (1 - self.rates)).astype(np.float32)))
        return [value.requires_grad_(True) for value in values]

    def _pass(self, optimiser: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, order: np.ndarray) -> None:
        rows = torch.from_numpy(order)
        shuffled = [part[rows] for part in self.fit]
        for start in range(0, len(rows), self.config.batch_size):
            optimiser.zero_grad(set_to_none=True)
            self._loss(*(part[start : start + self.config.batch_size] for part in shuffled), dropout=self.config.dropout).backward()
            optimiser.step()
            schedule.step()

    def _tuned_loss(self) -> float:
        with torch.no_grad():
            return float(self._loss(*self.tune))

    def _loss(self, z: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
        hidden = z
        for k in range(len(self.config.hidden)):
            hidden = torch.relu(torch.addmm(self.parameters[2 * k + 1], hidden, self.parameters[2 * k]))
            if dropout:
                hidden = hidden * (torch.rand(hidden.shape, generator=self.draw) >= dropout) / (1 - dropout)
        out, skip, bias = self.parameters[-3:]
        logits = hidden @ out + z @ skip + bias
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, weight=weights * self.head_weights, reduction="sum")
        return losses / weights.sum().clamp(min=1.0)


def _cosine(step: int, warmup: int, total: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + float(np.cos(np.pi * min(1.0, (step - warmup) / max(1, total - warmup))))) + 1e-3


def _silence_poor_heads(tensors: dict[str, np.ndarray], rows: TrainingRows, fit: np.ndarray, positives: np.ndarray, least: int) -> None:
    """A head with too few positives answers its base rate for everything instead of noise."""
    poor = positives < least
    rates = base_rates(rows, fit)
    tensors["weight_out"] = np.where(poor, 0.0, tensors["weight_out"]).astype(np.float32)
    tensors["weight_skip"] = np.where(poor, 0.0, tensors["weight_skip"]).astype(np.float32)
    tensors["bias_out"] = np.where(poor, np.log(rates / (1 - rates)), tensors["bias_out"]).astype(np.float32)


def _importance(ranker: PointwiseRanker, rows: TrainingRows, part: np.ndarray, seed: int) -> dict[str, float]:
    """Permutation importance: growth of the mean normalised loss on tuning rows when one column is shuffled."""
    draw = generator(seed, "pointwise", "importance")
    chosen = draw.permutation(part)[:_IMPORTANCE_ROWS]
    features, labels = rows.features[chosen], rows.labels[chosen]
    weights = entropy_weights(base_rates(rows, part))
    start, shuffled = mean_loss(ranker.probabilities(features), labels, weights), draw.permutation(len(chosen))
    importance = {}
    for column, name in enumerate(rows.feature_names):
        changed = features.copy()
        changed[:, column] = features[shuffled, column]
        importance[name] = mean_loss(ranker.probabilities(changed), labels, weights) - start
    return importance
