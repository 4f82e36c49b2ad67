"""Training of the hybrid ranker: pages in mini-batches, weighted labels, inputs left out at random, calibration afterwards.

A step takes whole pages, so that the user's side is encoded once a page and shared by its rows. A pass keeps every row with
an action and every page in random order, draws among the other rows and weighs those up, so that the loss stays what it
would be over all rows; each pass draws anew. The network learns under weights of labels and users
(:mod:`corkboard.ranking.label_weights`), which distort its probabilities; Platt scaling on held-out users puts them right.

The loop is :func:`corkboard.learning.training.train`: AdamW with warm-up and cosine, clipped gradients, early stopping on
the held-out loss, and the same result for the same seed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from corkboard.artifacts import EmbeddingTable
from corkboard.learning.allocator import keep_freed_memory
from corkboard.learning.config import TrainingConfig
from corkboard.learning.training import TrainingResult, seeded, train
from corkboard.ranking.calibration import fit_level
from corkboard.ranking.config import HybridConfig
from corkboard.ranking.features import (
    BESIDE_NAMES,
    ITEM_NAMES,
    MATCHES,
    NEAREST,
    REQUEST_NAMES,
    SHOWN_NAMES,
    SIMILARITIES,
    TIE_NAMES,
)
from corkboard.ranking.hybrid import HybridNetwork, HybridRanker
from corkboard.ranking.hybrid_inputs import HybridBatch, InputScales, TableInputs, by_page
from corkboard.ranking.item_side import STAT_NAMES
from corkboard.ranking.label_weights import label_weights, user_weights
from corkboard.ranking.report import (
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
    with_known_heads,
)
from corkboard.ranking.table import TrainingRows
from corkboard.seeds import generator

TUNE_ROWS = 6_000
"""Most held-out rows that a look at the loss reads, in whole pages; all of them calibrate."""
_IMPORTANCE_ROWS = 2_000
_LEVEL_ROWS = 10_000

FEATURE_GROUPS: Mapping[str, Sequence[str]] = {
    "counters": STAT_NAMES,
    "item": ITEM_NAMES,
    "similarities": (*SIMILARITIES, *NEAREST),
    "matches": MATCHES,
    "showings": SHOWN_NAMES,
    "ties": TIE_NAMES,
    "item beside": BESIDE_NAMES,
    "request": REQUEST_NAMES,
    "position": ("log_position",),
}
"""Groups of request features that the report tells the worth of."""


def train_hybrid(
    rows: TrainingRows,
    item_vectors: EmbeddingTable,
    held_out: np.ndarray,
    config: HybridConfig,
    seed: int,
    progress: Progress | None = None,
) -> Trained[HybridRanker]:
    """Train on ``rows``; ``held_out`` is bool ``(len(rows.user_ids),)``, true for users that are not fitted.

    ``item_vectors`` are the item embeddings, in the space of the rows' user vectors. ``progress`` is called with steps. Raises
    :class:`~corkboard.errors.InputError` where there is nothing to learn from or an input that ``config`` asks for is not there.
    """
    keep_freed_memory()
    started = time.perf_counter()
    parts = split(rows, held_out, config.late_share)
    given, rows = rows, with_known_heads(rows, parts.fit)
    positives = positives_of(rows, parts.fit)
    inputs = TableInputs(rows, item_vectors, InputScales.fit(rows, parts.fit, item_vectors, config), config)
    learner = _Learner(inputs, parts, config, seed)
    result = learner.run(progress)
    poor = positives < config.min_positives
    _silence(learner.network, poor, learner.rates)
    ranker = HybridRanker(rows.heads, learner.network, inputs.scales)
    _calibrate(ranker, inputs, parts, poor, config.min_positives, seed)
    logits = ranker.table_logits(inputs, parts.report)
    report = TrainingReport(
        rows=parts.counts(),
        epochs=-(-len(result.losses) // learner.steps_a_pass),
        sampled_negatives=rows.sampled_negatives,
        heads=head_reports(rows, parts, logits, ranker.calibrated(logits), positives),
        importance=_importance(ranker, inputs, parts.tune, seed),
        title="Hybrid ranker",
        losses=learner.figures(result),
        left_out=missing_heads(given, rows.heads),
    )
    return Trained(ranker, replace(report, seconds=time.perf_counter() - started))


class _Learner:
    """Draws passes and steps, and holds the weights of rows and heads."""

    def __init__(self, inputs: TableInputs, parts: Parts, config: HybridConfig, seed: int):
        self.inputs, self.parts, self.config, self.seed = inputs, parts, config, seed
        rows = inputs.rows
        self.rates = base_rates(rows, parts.fit)
        self.head_weights = entropy_weights(self.rates) ** config.label_weights.balance
        self.head_weights /= self.head_weights.mean()
        earlier = np.expm1(rows.features[:, rows.feature_names.index("activity")])
        self.row_weights = rows.weights * user_weights(earlier, config.user_weights)
        self.kept = np.zeros(len(rows))
        self.kept[parts.fit] = keep_shares(rows, parts.fit, config.negatives_per_positive)
        wanted = -(-len(np.unique(rows.page[parts.fit])) // config.batch)
        # A pass leaves out the pages of which it draws no row, and a step without a page has no loss.
        self.steps_a_pass = min(wanted, *(len(self._draw_pass(number)[1]) for number in range(config.epochs)))
        self.step = 0
        self._next_pass(0)
        with seeded(seed, "hybrid", "start"):
            self.network = HybridNetwork(config, len(inputs.scales.feature_names), inputs.scales.dim, len(rows.heads))
        with torch.no_grad():
            self.network.heads.bias.copy_(torch.from_numpy(np.log(self.rates / (1 - self.rates))))
        self.tune = _whole_pages(rows, parts.tune, TUNE_ROWS, seed)

    def run(self, progress: Progress | None) -> TrainingResult:
        """Train until the held-out loss no longer falls; the network keeps its best parameters."""
        config, steps = self.config, self.config.epochs * self.steps_a_pass
        training = TrainingConfig(
            steps=steps,
            learning_rate=config.learning_rate,
            warmup_steps=round(config.warmup * steps),
            weight_decay=config.weight_decay,
            validate_every=max(1, self.steps_a_pass // config.looks),
            patience=config.patience,
            threads=config.threads,
        )
        told = None if progress is None else lambda at: progress(at.step, at.steps)
        return train(self.network, self._loss, training, self.seed, validate=self._tuned, progress=told)

    def figures(self, result: TrainingResult) -> dict[str, float]:
        """What the report says of the training itself."""
        best = max((value for _, value in result.validations), default=float("nan"))
        parameters = sum(p.numel() for p in self.network.parameters())
        run = {"steps": len(result.losses), "best_step": result.best_step, "tune_loss": -best}
        return run | {"parameters": parameters, "rows_a_pass": float(self.kept.sum())}

    def _loss(self, draw: np.random.Generator) -> Tensor:
        """The loss of the next pages, some of whose inputs are left out."""
        place = self.step % self.steps_a_pass
        if place == 0:
            self._next_pass(self.step // self.steps_a_pass)
        self.step += 1
        pages = np.array_split(self.order, self.steps_a_pass)[place]
        rows, starts = self.drawn
        chosen = np.concatenate([rows[starts[page] : starts[page + 1]] for page in np.sort(pages)])
        distinct, request = np.unique(self.inputs.rows.page[chosen], return_inverse=True)
        batch = self._thinned(self.inputs.batch(distinct, chosen, request), draw)
        window = draw if self.config.sequence != "none" and self.config.transact.window_hours else None
        return self._weighted(self.network(batch, window), chosen, 1.0 / self.kept[chosen])

    def _next_pass(self, number: int) -> None:
        """Draw the rows of a pass and the order of its pages."""
        kept, self.order = self._draw_pass(number)
        self.drawn = by_page(kept, self.inputs.rows.page, self.inputs.rows.pages.height)

    def _draw_pass(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows of pass ``number``, and its pages in the order they are taken."""
        draw = generator(self.seed, "hybrid", "pass", number)
        kept = np.flatnonzero(draw.random(len(self.kept)) < self.kept)
        return kept, draw.permutation(np.unique(self.inputs.rows.page[kept]))

    def _thinned(self, batch: HybridBatch, draw: np.random.Generator) -> HybridBatch:
        """The batch with each input left out of some of its pages or rows."""
        config, pages = self.config, len(batch.users)

        def some(count: int, share: float) -> Tensor:
            return torch.from_numpy(draw.random(count) < share)

        return batch.without(
            some(pages, config.sequence_dropout), some(pages, config.user_vector_dropout), some(len(batch), config.item_dropout)
        )

    def _weighted(self, logits: Tensor, rows: np.ndarray, drawn: np.ndarray) -> Tensor:
        """Weighted cross-entropy a row; ``drawn`` is one over the share with which each row was drawn."""
        table = self.inputs.rows
        labels, weights = table.labels[rows], self.row_weights[rows] * drawn
        matrix = label_weights(labels, table.heads, self.config.label_weights) * weights[:, None] * self.head_weights
        target, weight = torch.from_numpy(np.nan_to_num(labels)), torch.from_numpy(matrix.astype(np.float32))
        losses = binary_cross_entropy_with_logits(logits, target, weight=weight, reduction="sum")
        return losses / float(weights.sum())

    def _tuned(self) -> float:
        """Minus the same loss on held-out users, with nothing left out."""
        rows = self.tune
        logits = HybridRanker(self.inputs.rows.heads, self.network, self.inputs.scales).table_logits(self.inputs, rows)
        return -float(self._weighted(torch.from_numpy(logits), rows, np.ones(len(rows))))


def keep_shares(rows: TrainingRows, fit: np.ndarray, negatives_per_positive: float) -> np.ndarray:
    """float64 ``(len(fit),)``: with which probability a pass keeps each fitted row.

    1 for rows with an action and pages in random order; the other rows share what is left of ``negatives_per_positive`` rows without an
    action for each row with one.
    """
    acted = np.nansum(rows.labels[fit], axis=1) > 0
    always = acted | rows.randomised[fit]
    wanted = negatives_per_positive * acted.sum() - (always & ~acted).sum()
    others = int((~always).sum())
    share = min(max(wanted / max(others, 1), 0.05), 1.0)
    return np.where(always, 1.0, share)


def _whole_pages(rows: TrainingRows, part: np.ndarray, most: int, seed: int) -> np.ndarray:
    """About ``most`` rows of ``part``, in whole pages, drawn by seed."""
    if len(part) <= most:
        return part
    pages = np.unique(rows.page[part])
    kept = generator(seed, "hybrid", "tune").permutation(pages)[: max(1, len(pages) * most // len(part))]
    return part[np.isin(rows.page[part], kept)]


def _silence(network: HybridNetwork, poor: np.ndarray, rates: np.ndarray) -> None:
    """A head with too few positives answers its base rate for everything instead of noise."""
    heads = torch.from_numpy(poor)
    with torch.no_grad():
        network.heads.weight[heads] = 0.0
        network.heads.bias[heads] = torch.from_numpy(np.log(rates / (1 - rates)).astype(np.float32))[heads]


def _calibrate(ranker: HybridRanker, inputs: TableInputs, parts: Parts, poor: np.ndarray, least: int, seed: int) -> None:
    """Slope and offset of each head on the tuning rows; where these have too few positives, the offset alone, on fitted rows too."""
    rows = inputs.rows
    logits = ranker.table_logits(inputs, parts.tune)
    fitted = platt_of_heads(logits, rows.labels[parts.tune], rows.weights[parts.tune], least, ranker.slope, ranker.offset)
    left = np.flatnonzero(~fitted & ~poor)
    ranker.slope[poor], ranker.offset[poor] = 1.0, 0.0
    if not len(left):
        return
    more = np.union1d(parts.tune, _whole_pages(rows, parts.fit, _LEVEL_ROWS, seed))
    logits = ranker.table_logits(inputs, more)
    for head in left:
        known = ~np.isnan(rows.labels[more, head])
        ranker.offset[head] = fit_level(logits[known, head], rows.labels[more[known], head], rows.weights[more[known]])


def _importance(ranker: HybridRanker, inputs: TableInputs, tune: np.ndarray, seed: int) -> dict[str, float]:
    """Growth of the mean normalised loss on tuning rows when an input is left out, or a group of features shuffled."""
    rows = inputs.rows
    chosen = _whole_pages(rows, tune, _IMPORTANCE_ROWS, seed)
    pages, request = np.unique(rows.page[chosen], return_inverse=True)
    batch = inputs.batch(pages, chosen, request)
    labels, weights = rows.labels[chosen], entropy_weights(base_rates(rows, tune))

    def loss(changed: HybridBatch) -> float:
        return mean_loss(ranker.calibrated(ranker.logits(changed)), labels, weights)

    whole, every, all_pages = loss(batch), torch.ones(len(chosen), dtype=torch.bool), torch.ones(len(pages), dtype=torch.bool)
    found = {"item embedding": loss(batch.without(items=every)) - whole}
    if inputs.config.sequence != "none":
        found["recent actions"] = loss(batch.without(histories=all_pages)) - whole
    if inputs.config.user_vector:
        found["user vector"] = loss(batch.without(users=all_pages)) - whole
    shuffled = torch.from_numpy(generator(seed, "hybrid", "importance").permutation(len(chosen)))
    for name, features in FEATURE_GROUPS.items():
        columns = [column for column, feature in enumerate(inputs.scales.feature_names) if feature in features]
        if columns:
            found[name] = loss(batch.with_dense(columns, shuffled)) - whole
    return found
