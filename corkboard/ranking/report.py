"""What the training of every ranker shares: the split of the rows, base rates, calibration of the heads, the report.

The rows fall into three parts that never overlap. *Fit*: nine tenths of the users, before the last part of the span.
*Tune*: the held-out users before it; they stop training and calibrate. *Report*: everybody in the last part; every figure
of the card is from here, nothing was chosen by it, and it lies in time where serving will: after all that was learned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np

from corkboard.errors import InputError
from corkboard.metrics.prediction import logloss
from corkboard.ranking.calibration import Reliability, fit_platt, reliability, sigmoid
from corkboard.ranking.table import TrainingRows

Progress = Callable[[int, int], None]
"""(done, of): called as training goes on."""

Kind = TypeVar("Kind")

CLIP = 6.0
"""Standardised features are cut at this many standard deviations, in training and in serving."""


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
    """How the training of a ranker went; ``card()`` is the artefact's card."""

    rows: dict[str, int]
    epochs: int
    sampled_negatives: bool
    seconds: float = 0.0
    heads: dict[str, HeadReport] = field(default_factory=dict)
    importance: dict[str, float] = field(default_factory=dict)
    """Growth of the loss on tuning rows when an input is shuffled or left out, by input."""
    title: str = "Pointwise ranker"
    losses: dict[str, float] = field(default_factory=dict)
    """Figures of the training itself, where a ranker has any, by name."""
    left_out: tuple[str, ...] = ()
    """Actions of the data that have no head: none of their labels was known in time."""

    def metrics(self) -> dict[str, object]:
        """Flat figures for ``metrics.json``."""
        figures: dict[str, object] = {"epochs": self.epochs, "train_seconds": self.seconds, "sampled_negatives": self.sampled_negatives}
        figures |= {f"rows_{part}": count for part, count in self.rows.items()} | self.losses
        for name, head in self.heads.items():
            figures[f"{name}_normalised_entropy"] = head.normalised_entropy
            figures[f"{name}_positives"] = head.after.positives
            figures[f"{name}_calibration_error"] = head.after.error
        return figures

    def card(self) -> str:
        """Markdown: heads, calibration before and after, the inputs that carry the ranking."""
        lines = [f"# {self.title}", "", f"{self.rows['fit']:,} rows fitted in {self.seconds:.1f} s, {self.epochs} passes."]
        if self.sampled_negatives:
            lines.append("Trained on **sampled negatives**: the data has no impressions, so probabilities are relative to the sampling.")
        if self.left_out:
            lines.append(f"Without a head, for want of a single known label: {', '.join(self.left_out)}.")
        lines += [
            "",
            "| head | positives fit / report | normalised entropy | calibration error before / after | predicted before, after / seen |",
            "| --- | --- | --- | --- | --- |",
        ]
        for name, head in self.heads.items():
            entropy = "-" if np.isnan(head.normalised_entropy) else f"{head.normalised_entropy:.3f}"
            errors = f"{head.before.error:.4f} / {head.after.error:.4f}"
            means = f"{head.before.mean_predicted:.4f}, {head.after.mean_predicted:.4f} / {head.after.observed_rate:.4f}"
            lines.append(f"| {name} | {head.positives_fit:,} / {head.after.positives:,} | {entropy} | {errors} | {means} |")
        lines += ["", "Inputs by how much the held-out loss grows when they are shuffled or left out:", ""]
        top = sorted(self.importance.items(), key=lambda pair: -pair[1])[:15]
        return "\n".join(lines + [f"- {name}: {value:+.4f}" for name, value in top]) + "\n"


@dataclass(frozen=True)
class Trained(Generic[Kind]):
    """A ranker and the report of its training."""

    ranker: Kind
    report: TrainingReport


@dataclass(frozen=True)
class Parts:
    """Row numbers, int64, of the three parts."""

    fit: np.ndarray
    tune: np.ndarray
    report: np.ndarray

    def counts(self) -> dict[str, int]:
        return {"fit": len(self.fit), "tune": len(self.tune), "report": len(self.report)}


def split(rows: TrainingRows, held_out: np.ndarray, late_share: float) -> Parts:
    """Cut by time and by user; very small data falls back to everything in every part rather than to an empty one.

    ``held_out`` is bool ``(len(rows.user_ids),)``, true for users that are not fitted; ``late_share`` is the last part of the span.
    """
    others = np.asarray(held_out, bool)[rows.user]
    start, end = int(rows.time_ms.min()), int(rows.time_ms.max())
    late = rows.time_ms > end - late_share * (end - start)
    every = np.arange(len(rows))
    fit = every[~others & ~late]
    fit = fit if len(fit) else every
    tune = every[others & ~late]
    report = every[late]
    return Parts(fit, tune if len(tune) else fit, report if len(report) else (tune if len(tune) else fit))


def positives_of(rows: TrainingRows, fit: np.ndarray) -> np.ndarray:
    """float ``(heads,)`` positives among the fitted rows. Raises :class:`InputError` where there is none at all."""
    positives = np.nansum(rows.labels[fit], axis=0)
    if positives.sum() == 0:
        raise InputError("No row to train a ranker on has an action", found=len(fit), expected="pages with actions in the ranking span")
    return positives


def with_known_heads(rows: TrainingRows, fit: np.ndarray) -> TrainingRows:
    """``rows`` without the heads that no fitted row has a known label of; as they are where there are none such.

    A span that is shorter than late actions take to ripen knows nothing of them. Such a head would answer one half for every item.
    """
    known = np.any(~np.isnan(rows.labels[fit]), axis=0)
    if known.all():
        return rows
    heads = tuple(name for name, there in zip(rows.heads, known, strict=True) if there)
    return replace(rows, labels=np.ascontiguousarray(rows.labels[:, known]), heads=heads)


def missing_heads(rows: TrainingRows, ranker_heads: Sequence[str]) -> tuple[str, ...]:
    """The heads of ``rows`` that a ranker trained on them does without."""
    return tuple(name for name in rows.heads if name not in ranker_heads)


def standardisation(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 ``(F,)`` mean and scale of ``(n, F)``.

    A column that never changes has an infinite scale and so stands at its mean for ever: a network has learned nothing of it, and would
    answer with the weights it began with where it changes later (the first related pages after training on home pages alone).
    """
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = features.std(axis=0, dtype=np.float64).astype(np.float32)
    return mean, np.where(spread > 1e-6, spread, np.inf).astype(np.float32)


def base_rates(rows: TrainingRows, part: np.ndarray) -> np.ndarray:
    """float64 ``(heads,)``: weighted share of positives with half a row of smoothing; one half where no label is known."""
    labels, weights = rows.labels[part], rows.weights[part, None]
    known = ~np.isnan(labels)
    return (np.nansum(labels * weights, axis=0) + 0.5) / (np.sum(known * weights, axis=0) + 1.0)


def entropy_weights(rates: np.ndarray, most: float = 10.0) -> np.ndarray:
    """float32 ``(heads,)``, mean 1: one over each head's base-rate entropy, capped.

    So weighted, a rare hide bends the shared layers as much as a click does.
    """
    entropy = -(rates * np.log(rates) + (1 - rates) * np.log(1 - rates))
    weights = np.minimum(1.0 / entropy, most)
    return (weights / weights.mean()).astype(np.float32)


def platt_of_heads(
    logits: np.ndarray, labels: np.ndarray, weights: np.ndarray, least: int, slope: np.ndarray, offset: np.ndarray
) -> np.ndarray:
    """Fit slope and offset ``(heads,)``, changed in place, of every head with ``least`` known positives; bool ``(heads,)`` which were.

    ``logits`` and ``labels`` are ``(n, heads)``, ``weights`` ``(n,)``.
    """
    fitted = np.zeros(labels.shape[1], bool)
    for head in range(labels.shape[1]):
        known = ~np.isnan(labels[:, head])
        if labels[known, head].sum() >= least:
            slope[head], offset[head] = fit_platt(logits[known, head], labels[known, head], weights[known])
            fitted[head] = True
    return fitted


def head_reports(
    rows: TrainingRows, parts: Parts, logits: np.ndarray, probabilities: np.ndarray, fit_positives: np.ndarray
) -> dict[str, HeadReport]:
    """What each head is worth on ``parts.report``: ``logits`` uncalibrated, ``probabilities`` calibrated, both ``(len(report), heads)``."""
    raw, rates = sigmoid(logits), base_rates(rows, parts.fit)
    reports = {}
    for head, name in enumerate(rows.heads):
        labels = rows.labels[parts.report, head]
        known = ~np.isnan(labels)
        y, weights = labels[known], rows.weights[parts.report][known]
        before, after = reliability(raw[known, head], y, weights), reliability(probabilities[known, head], y, weights)
        base = _log_loss(np.full(len(y), rates[head]), y, weights)
        reports[name] = HeadReport(int(fit_positives[head]), _log_loss(probabilities[known, head], y, weights), base, before, after)
    return reports


def mean_loss(probabilities: np.ndarray, labels: np.ndarray, head_weights: np.ndarray) -> float:
    """Log loss of ``(n, heads)`` over known labels, heads weighted by ``(heads,)``."""
    known = ~np.isnan(labels)
    losses = np.where(known, logloss(probabilities, np.nan_to_num(labels)), 0.0)
    return float((losses * head_weights).sum() / max(1, known.sum()))


def _log_loss(p: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    return float(weights @ logloss(p, labels) / weights.sum()) if len(labels) else float("nan")
