"""Sampled softmax with logQ correction: in-batch and random negatives, false negatives masked, a learned temperature.

The score of a query and a candidate is their inner product over a temperature, minus log Q of the candidate, where Q is
the chance that it sits in the pool (Bengio and Senecal 2008; Yi et al., RecSys 2019). Without it popular items, which
are negatives most often, would be pushed away for being popular.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.errors import InputError
from corkboard.learning.config import SampledSoftmaxConfig
from corkboard.learning.count_min import CountMinSketch

MAX_LOG_SCALE = math.log(100.0)


class Temperature(nn.Module):
    """A learned temperature tau, kept as ``theta = -log tau`` and bounded below by 0.01."""

    def __init__(self, start: float = 0.07):
        super().__init__()
        if not start >= 0.01:
            raise InputError("A temperature starts at 0.01 or above", found=start)
        self.theta = nn.Parameter(torch.tensor(-math.log(start)))

    def forward(self) -> Tensor:
        """The scale ``1 / tau``, at most 100."""
        return torch.exp(torch.clamp(self.theta, max=MAX_LOG_SCALE))


def pool_probability(share: np.ndarray, batch: int, pool: int = 0, corpus: int = 1, exact: bool = False) -> np.ndarray:
    """Q, float64 ``(n,)``: the chance that an id is among ``batch`` positives or ``pool`` uniform draws from ``corpus`` ids.

    ``share`` is the id's share of the positives. The in-batch part is ``1 - (1 - f)^B`` when ``exact``, otherwise the linear
    ``B f`` (which may exceed 1); with a pool, ``1 - (1 - in-batch)(1 - 1/corpus)^R``, where the linear part is capped at 1.
    """
    inside = -np.expm1(batch * np.log1p(-np.minimum(share, 1 - 1e-12))) if exact else batch * share
    if not pool:
        return inside
    return 1 - (1 - np.minimum(inside, 1.0)) * (1 - 1 / corpus) ** pool


def known_positives(groups: Tensor, targets: Tensor, candidates: int) -> Tensor:
    """bool ``(batch, candidates)``: [b, c] where some row of b's group has candidate c as its positive.

    With ``groups`` the queries, these are the other positives of a query; with the users, everything a user took in this batch.
    """
    _, group = torch.unique(groups, return_inverse=True)
    owns = torch.zeros((int(group.max()) + 1 if len(group) else 0, candidates), dtype=torch.bool)
    owns[group, targets] = True
    return owns[group]


def sampled_softmax(
    queries: Tensor,
    candidates: Tensor,
    targets: Tensor,
    scale: Tensor | float,
    log_q: Tensor | None = None,
    removed: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean (weighted) cross entropy of the positive among the candidates.

    ``queries`` ``(batch, dim)`` and ``candidates`` ``(n, dim)`` have unit length, ``targets`` ``(batch,)`` says which candidate is
    the positive, ``log_q`` is ``(n,)``, ``removed`` bool ``(batch, n)`` marks what is no negative for a row. A positive is never removed.
    """
    logits = queries @ candidates.T * scale
    if log_q is not None:
        logits = logits - log_q
    if removed is not None:
        kept_positive = removed.scatter(1, targets[:, None], False)
        logits = logits.masked_fill(kept_positive, -torch.inf)
    return _mean(functional.cross_entropy(logits, targets, reduction="none"), weights)


@dataclass(frozen=True)
class Draw:
    """The ids of one batch: ``distinct`` has every id once, ``positives`` ``(batch,)`` and ``pool`` point into it."""

    distinct: np.ndarray
    positives: np.ndarray
    pool: np.ndarray

    @classmethod
    def of(cls, positive_ids: np.ndarray, pool_ids: np.ndarray) -> Draw:
        """Deduplicate: an id that were twice among the negatives would count twice, and could stand against itself."""
        distinct, place = np.unique(np.concatenate([positive_ids, pool_ids]), return_inverse=True)
        return cls(distinct, place[: len(positive_ids)], place[len(positive_ids) :])


class SampledSoftmax(nn.Module):
    """The loss with its temperature and its running estimate of popularity."""

    def __init__(self, config: SampledSoftmaxConfig, corpus: int, seed: int):
        super().__init__()
        self.settings = config
        self.temperature = Temperature(config.temperature)
        self.corpus = corpus
        self.seen = CountMinSketch(config.sketch_depth, config.sketch_width, seed)

    def forward(
        self,
        queries: Tensor,
        candidates: Tensor,
        draw: Draw,
        query_ids: np.ndarray | None = None,
        user_ids: np.ndarray | None = None,
        weights: Tensor | None = None,
        owned: Tensor | None = None,
    ) -> Tensor:
        """The loss of a batch: ``candidates`` are the vectors of ``draw.distinct``.

        A row's negatives are the positives of the others and the pool, without its own positive, without what the same
        query (``query_ids``) or the same user (``user_ids``, both integers ``(batch,)``) has as a positive in this batch, and without
        what ``owned``, bool ``(batch, candidates)``, marks as the user's from elsewhere.
        Popularity is counted before it is read, so that every positive has been seen.
        """
        self.seen.update(draw.distinct[draw.positives])
        targets = torch.from_numpy(draw.positives)
        groups = [torch.from_numpy(ids) for ids in (query_ids, user_ids) if ids is not None]
        batch, pool, exact = len(queries), len(draw.pool), self.settings.exact_probability
        scale = self.temperature()
        if not self.settings.in_batch:
            return self._against_pool(queries, candidates, draw, groups, scale, weights, owned)
        removed = torch.zeros((batch, len(candidates)), dtype=torch.bool) if owned is None else owned.clone()
        for ids in groups:
            removed |= known_positives(ids, targets, len(candidates))
        share = self.seen.share(draw.distinct)
        if not self.settings.separate_pools or not pool:
            log_q = self._log_q(pool_probability(share, batch, pool, self.corpus, exact))
            return sampled_softmax(queries, candidates, targets, scale, log_q, removed, weights)
        drawn = torch.zeros(len(candidates), dtype=torch.bool)
        drawn[torch.from_numpy(draw.pool)] = True
        in_batch = torch.zeros(len(candidates), dtype=torch.bool)
        in_batch[targets] = True
        inside = self._log_q(pool_probability(share, batch, exact=exact))
        first = sampled_softmax(queries, candidates, targets, scale, inside, removed | ~in_batch, weights)
        return first + sampled_softmax(queries, candidates, targets, scale, None, removed | ~drawn, weights)

    def _log_q(self, probability: np.ndarray) -> Tensor | None:
        return _log(probability) if self.settings.correct else None

    def _against_pool(
        self,
        queries: Tensor,
        candidates: Tensor,
        draw: Draw,
        groups: list[Tensor],
        scale: Tensor,
        weights: Tensor | None,
        owned: Tensor | None,
    ) -> Tensor:
        """Each positive against the pool alone: ``(batch, pool)`` scores however many positives there are.

        The pool is drawn evenly, so that Q is the same for all and cancels.
        """
        pool = np.unique(draw.pool)
        place = np.full(len(candidates), len(pool), np.int64)  # what is not in the pool stands behind its end
        place[pool] = np.arange(len(pool))
        targets = torch.from_numpy(place[draw.positives])
        removed = torch.zeros((len(queries), len(pool) + 1), dtype=torch.bool)
        for ids in groups:
            removed |= known_positives(ids, targets, len(pool) + 1)
        removed[torch.arange(len(targets)), targets] = True
        if owned is not None:
            removed[:, :-1] |= owned[:, torch.from_numpy(pool)]
        positive = torch.linalg.vecdot(queries, functional.embedding(torch.from_numpy(draw.positives), candidates)) * scale
        logits = (queries @ candidates[torch.from_numpy(pool)].T * scale).masked_fill(removed[:, :-1], -1e9)
        losses = functional.softplus(torch.logsumexp(logits, dim=1) - positive)
        return _mean(losses, weights)


def _mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    return losses.mean() if weights is None else (losses * weights).sum() / weights.sum().clamp_min(1e-12)


def _log(probability: np.ndarray) -> Tensor:
    return torch.from_numpy(np.log(np.maximum(probability, 1e-12)).astype(np.float32))
