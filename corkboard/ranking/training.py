"""Training of the pointwise ranker: PyTorch, one network for all heads, held-out users and a held-out end of the span.

The rows fall into three parts that never overlap. *Fit*: nine tenths of the users, before the last part of the span.
*Tune*: the held-out users before it; they stop training and calibrate. *Report*: everybody in the last part; every figure
of the card is from here, nothing was chosen by it, and it lies in time where serving will: after all that was learned.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from corkboard.errors import InputError
from corkboard.learning.training import computing_threads
from corkboard.metrics.prediction import logloss
from corkboard.ranking.calibration import Reliability, fit_platt, reliability, sigmoid
from corkboard.ranking.config import PointwiseConfig
from corkboard.ranking.pointwise import CLIP, PointwiseRanker
from corkboard.ranking.table import TrainingRows
from corkboard.seeds import derive, generator

Progress = Callable[[int, int], None]
_IMPORTANCE_ROWS = 4000
_MAX_HEAD_WEIGHT = 10.0


@dataclass(frozen=True)
class HeadReport:
    """What one head is worth on the report rows."""

    positives_fit: int
    log_loss: float
    base_log_loss: float
    """Loss of always answering the fitted base rate."""
    before: Reliability
    after: Reliability

    @property
    def normalised_entropy(self) -> float:
        """Loss over base loss: 1 is no better than the base rate, less is better (He et al., ADKDD'14)."""
        return self.log_loss / self.base_log_loss if self.base_log_loss > 0 else float("nan")


@dataclass(frozen=True)
class TrainingReport:
    """How the training went; ``card()`` is the artefact's card."""

    rows: dict[str, int]
    epochs: int
    seconds: float
    sampled_negatives: bool
    heads: dict[str, HeadReport] = field(default_factory=dict)
    importance: dict[str, float] = field(default_factory=dict)

    def metrics(self) -> dict[str, object]:
        """Flat figures for ``metrics.json``."""
        figures: dict[str, object] = {"epochs": self.epochs, "train_seconds": self.seconds, "sampled_negatives": self.sampled_negatives}
        figures |= {f"rows_{part}": count for part, count in self.rows.items()}
        for name, head in self.heads.items():
            figures[f"{name}_normalised_entropy"] = head.normalised_entropy
            figures[f"{name}_positives"] = head.after.positives
            figures[f"{name}_calibration_error"] = head.after.error
        return figures

    def card(self) -> str:
        """Markdown: heads, calibration before and after, the features that carry the ranking."""
        lines = ["# Pointwise ranker", "", f"{self.rows['fit']:,} rows fitted in {self.seconds:.1f} s, {self.epochs} passes."]
        if self.sampled_negatives:
            lines.append("Trained on **sampled negatives**: the data has no impressions, so probabilities are relative to the sampling.")
        lines += [
            "",
            "| head | positives fit / report | normalised entropy | calibration error before / after |",
            "| --- | --- | --- | --- |",
        ]
        for name, head in self.heads.items():
            entropy = "-" if np.isnan(head.normalised_entropy) else f"{head.normalised_entropy:.3f}"
            errors = f"{head.before.error:.4f} / {head.after.error:.4f}"
            lines.append(f"| {name} | {head.positives_fit:,} / {head.after.positives:,} | {entropy} | {errors} |")
        lines += ["", "Features by how much the held-out loss grows when a column is shuffled:", ""]
        top = sorted(self.importance.items(), key=lambda pair: -pair[1])[:15]
        return "\n".join(lines + [f"- {name}: {value:+.4f}" for name, value in top]) + "\n"


@dataclass(frozen=True)
class Trained:
    """A ranker and the report of its training."""

    ranker: PointwiseRanker
    report: TrainingReport


@dataclass(frozen=True)
class _Parts:
    fit: np.ndarray
    tune: np.ndarray
    report: np.ndarray


def train_pointwise(
    rows: TrainingRows, held_out: np.ndarray, config: PointwiseConfig, seed: int, progress: Progress | None = None
) -> Trained:
    """Train on ``rows``; ``held_out`` is bool ``(len(rows.user_ids),)``, true for users that are not fitted.

    Raises :class:`InputError` where there is nothing to learn from.
    """
    started = time.perf_counter()
    parts = _split(rows, held_out, config.late_share)
    fit_positives = np.nansum(rows.labels[parts.fit], axis=0)
    if fit_positives.sum() == 0:
        raise InputError(
            "No row to train a ranker on has an action", found=len(parts.fit), expected="pages with actions in the ranking span"
        )
    learner = _Learner(rows, parts, config, seed)
    with computing_threads(config.threads):
        epochs = learner.run(progress)
    tensors = learner.tensors()
    _silence_poor_heads(tensors, rows, parts.fit, fit_positives, config.min_positives)
    plain = PointwiseRanker(rows.heads, tensors, rows.feature_names)
    _calibrate(tensors, plain, rows, parts.tune, config.min_positives)
    ranker = PointwiseRanker(rows.heads, tensors, rows.feature_names)
    counts = {"fit": len(parts.fit), "tune": len(parts.tune), "report": len(parts.report)}
    heads = _head_reports(ranker, rows, parts, fit_positives)
    importance = _importance(ranker, rows, parts.tune, seed)
    return Trained(ranker, TrainingReport(counts, epochs, time.perf_counter() - started, rows.sampled_negatives, heads, importance))


def _split(rows: TrainingRows, held_out: np.ndarray, late_share: float) -> _Parts:
    """Cut by time and by user; very small data falls back to everything in every part rather than to an empty one."""
    others = np.asarray(held_out, bool)[rows.user]
    start, end = int(rows.time_ms.min()), int(rows.time_ms.max())
    late = rows.time_ms > end - late_share * (end - start)
    every = np.arange(len(rows))
    fit = every[~others & ~late]
    fit = fit if len(fit) else every
    tune = every[others & ~late]
    report = every[late]
    return _Parts(fit, tune if len(tune) else fit, report if len(report) else (tune if len(tune) else fit))


class _Learner:
    """The PyTorch side: standardised rows in, tensors out."""

    def __init__(self, rows: TrainingRows, parts: _Parts, config: PointwiseConfig, seed: int):
        self.config, self.seed = config, seed
        self.draw = torch.Generator().manual_seed(derive(seed, "pointwise", "torch"))
        fit = rows.features[parts.fit]
        self.mean = fit.mean(axis=0, dtype=np.float64).astype(np.float32)
        spread = fit.std(axis=0, dtype=np.float64).astype(np.float32)
        self.scale = np.where(spread > 1e-6, spread, 1.0).astype(np.float32)
        self.rates = _base_rates(rows, parts.fit)
        self.fit, self.tune = self._tensors_of(rows, parts.fit), self._tensors_of(rows, parts.tune)
        self.head_weights = torch.from_numpy(_head_weights(self.rates))
        self.parameters = self._start(rows.features.shape[1], len(rows.heads))
        self.best = [p.detach().clone() for p in self.parameters]

    def run(self, progress: Progress | None) -> int:
        """Train until the tuned loss no longer falls; keeps the best pass and returns how many passes ran."""
        config, batches = self.config, -(-len(self.fit[0]) // self.config.batch_size)
        optimiser = torch.optim.AdamW(self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        warmup, total = max(1, batches // 4), config.epochs * batches
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _cosine(step, warmup, total))
        shuffle = generator(self.seed, "pointwise", "batches")
        lowest, waited, deadline = float("inf"), 0, time.perf_counter() + config.max_seconds
        passes = 0
        while passes < config.epochs:
            passes += 1
            self._pass(optimiser, schedule, shuffle.permutation(len(self.fit[0])))
            loss = self._tuned_loss()
            if progress:
                progress(passes, config.epochs)
            waited = 0 if loss < lowest else waited + 1
            if loss < lowest:
                lowest, self.best = loss, [p.detach().clone() for p in self.parameters]
            if waited >= config.patience or time.perf_counter() > deadline:
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


def _base_rates(rows: TrainingRows, part: np.ndarray) -> np.ndarray:
    """float64 ``(heads,)``: weighted share of positives with half a row of smoothing."""
    labels, weights = rows.labels[part], rows.weights[part, None]
    known = ~np.isnan(labels)
    return (np.nansum(labels * weights, axis=0) + 0.5) / (np.sum(known * weights, axis=0) + 1.0)


def _head_weights(rates: np.ndarray) -> np.ndarray:
    """One over each head's base-rate entropy, capped, mean 1: a rare hide bends the shared layers as much as a click does."""
    entropy = -(rates * np.log(rates) + (1 - rates) * np.log(1 - rates))
    weights = np.minimum(1.0 / entropy, _MAX_HEAD_WEIGHT)
    return (weights / weights.mean()).astype(np.float32)


def _silence_poor_heads(tensors: dict[str, np.ndarray], rows: TrainingRows, fit: np.ndarray, positives: np.ndarray, least: int) -> None:
    """A head with too few positives answers its base rate for everything instead of noise."""
    poor = positives < least
    rates = _base_rates(rows, fit)
    tensors["weight_out"] = np.where(poor, 0.0, tensors["weight_out"]).astype(np.float32)
    tensors["weight_skip"] = np.where(poor, 0.0, tensors["weight_skip"]).astype(np.float32)
    tensors["bias_out"] = np.where(poor, np.log(rates / (1 - rates)), tensors["bias_out"]).astype(np.float32)


def _calibrate(tensors: dict[str, np.ndarray], ranker: PointwiseRanker, rows: TrainingRows, tune: np.ndarray, least: int) -> None:
    logits = ranker.logits(rows.features[tune])
    for head in range(len(rows.heads)):
        labels = rows.labels[tune, head]
        known = ~np.isnan(labels)
        if labels[known].sum() >= least:
            tensors["slope"][head], tensors["offset"][head] = fit_platt(logits[known, head], labels[known], rows.weights[tune][known])


def _head_reports(ranker: PointwiseRanker, rows: TrainingRows, parts: _Parts, fit_positives: np.ndarray) -> dict[str, HeadReport]:
    features = rows.features[parts.report]
    raw, calibrated = sigmoid(ranker.logits(features)), ranker.probabilities(features)
    rates = _base_rates(rows, parts.fit)
    reports = {}
    for head, name in enumerate(rows.heads):
        labels = rows.labels[parts.report, head]
        known = ~np.isnan(labels)
        y, weights = labels[known], rows.weights[parts.report][known]
        before, after = reliability(raw[known, head], y, weights), reliability(calibrated[known, head], y, weights)
        base = _log_loss(np.full(len(y), rates[head]), y, weights)
        reports[name] = HeadReport(int(fit_positives[head]), _log_loss(calibrated[known, head], y, weights), base, before, after)
    return reports


def _importance(ranker: PointwiseRanker, rows: TrainingRows, part: np.ndarray, seed: int) -> dict[str, float]:
    """Permutation importance: growth of the mean normalised loss on tuning rows when one column is shuffled."""
    draw = generator(seed, "pointwise", "importance")
    chosen = draw.permutation(part)[:_IMPORTANCE_ROWS]
    features, labels = rows.features[chosen], rows.labels[chosen]
    weights = _head_weights(_base_rates(rows, part))
    start, shuffled = _mean_loss(ranker, features, labels, weights), draw.permutation(len(chosen))
    importance = {}
    for column, name in enumerate(rows.feature_names):
        changed = features.copy()
        changed[:, column] = features[shuffled, column]
        importance[name] = _mean_loss(ranker, changed, labels, weights) - start
    return importance


def _mean_loss(ranker: PointwiseRanker, features: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    known = ~np.isnan(labels)
    losses = np.where(known, logloss(ranker.probabilities(features), np.nan_to_num(labels)), 0.0)
    return float((losses * weights).sum() / max(1, known.sum()))


def _log_loss(p: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    return float(weights @ logloss(p, labels) / weights.sum()) if len(labels) else float("nan")
