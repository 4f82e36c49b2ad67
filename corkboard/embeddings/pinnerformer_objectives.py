"""Which later actions are foreseen from which positions: the four objectives of PinnerFormer (Pancha et al., KDD 2022).

All of them train the same causal encoder; they differ in the pairs (position, label). Everything here is numpy over flat slots of
:class:`corkboard.embeddings.histories.Histories`: for each slot the labels after it are one range of a list, so that drawing for a
thousand users is a handful of array operations.

The published model cuts a history at a random end and speaks of its newest position. The encoder is causal, so a random position of a
longer history is the same thing; ``next_action`` and ``all_action`` draw one a user.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from corkboard.embeddings.config import ObjectiveConfig


@dataclass(frozen=True)
class LabelRanges:
    """The labels strictly after each slot, by the same user: ``slots[first[i]:stop[i]]`` for slot i, in order of time.

    ``slots`` int64 ``(labels,)``, ``first`` and ``stop`` int64 ``(n,)``, ``able`` int64: the slots that are learned from.
    """

    slots: np.ndarray
    first: np.ndarray
    stop: np.ndarray
    able: np.ndarray

    @classmethod
    def of(
        cls, offsets: np.ndarray, time_ms: np.ndarray, labels: np.ndarray, window_ms: float | None, since_ms: float | None = None
    ) -> LabelRanges:
        """From flat histories; a label counts up to and including ``window_ms`` after a slot (None: however late).

        Slots before ``since_ms`` are not ``able``.
        """
        slots = np.flatnonzero(labels)
        owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        base = time_ms.min(initial=np.iinfo(np.int64).max) if len(time_ms) else 0
        ahead = int(window_ms) if window_ms is not None else int(np.ptp(time_ms)) if len(time_ms) else 0
        span = (int(np.ptp(time_ms)) if len(time_ms) else 0) + ahead + 2
        keys = owners * np.int64(span) + (time_ms - base)
        first = np.searchsorted(keys[slots], keys, side="right")
        stop = np.searchsorted(keys[slots], keys + ahead, side="right")
        recent = np.ones(len(time_ms), bool) if since_ms is None else time_ms >= since_ms
        return cls(slots, first, stop, np.flatnonzero((stop > first) & recent))

    def able_between(self, starts: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(first, stop) places in ``able`` of the slots in ``[starts, stops)``, int64 ``(users,)`` each."""
        return np.searchsorted(self.able, starts), np.searchsorted(self.able, stops)


@dataclass(frozen=True)
class Pairs:
    """``owners`` say which of the given windows a pair belongs to, ``positions`` and ``labels`` are slots, all int64 ``(pairs,)``; sorted
    by owner, then position. ``weights`` float32 ``(pairs,)``."""

    owners: np.ndarray
    positions: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def draw_pairs(ranges: LabelRanges, starts: np.ndarray, stops: np.ndarray, draw: np.random.Generator, config: ObjectiveConfig) -> Pairs:
    """Pairs for windows ``[starts, stops)`` of slots, one a user, by the objective of ``config``. Windows without a pair have none.

    With ``equal_users`` the weights of a window add up to 1, otherwise each pair weighs 1 (``sasrec``: on average).
    """
    first, stop = ranges.able_between(starts, stops)
    objective = {"next_action": next_action, "sasrec": sasrec, "all_action": all_action, "dense_all_action": dense_all_action}[config.name]
    owners, positions, labels, shares = objective(ranges, first, stop, draw, config)
    if not config.equal_users:
        shares = shares * np.bincount(owners, minlength=len(starts))[owners]
    return Pairs(owners, positions, labels, shares.astype(np.float32))


Drawn = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""(owners, positions, labels, shares); the shares of an owner add up to 1."""


def next_action(ranges: LabelRanges, first: np.ndarray, stop: np.ndarray, draw: np.random.Generator, config: ObjectiveConfig) -> Drawn:
    """One random position a user, and the single next label after it."""
    owners, positions = _random_positions(ranges, first, stop, draw, 1)
    return owners, positions, ranges.slots[ranges.first[positions]], _equal_shares(owners, len(first))


def sasrec(ranges: LabelRanges, first: np.ndarray, stop: np.ndarray, draw: np.random.Generator, config: ObjectiveConfig) -> Drawn:
    """Every position and the next label after it; the newest position has ``last_weight`` of the weight on top of its own."""
    owners, places = _expanded(first, stop)
    positions = ranges.able[places]
    shares = (1 - config.last_weight) * _equal_shares(owners, len(first))
    shares[np.cumsum(stop - first)[stop > first] - 1] += config.last_weight
    return owners, positions, ranges.slots[ranges.first[positions]], shares


def all_action(ranges: LabelRanges, first: np.ndarray, stop: np.ndarray, draw: np.random.Generator, config: ObjectiveConfig) -> Drawn:
    """One random position a user, and up to ``labels`` of the labels in its days, without repeating one."""
    chosen, positions = _random_positions(ranges, first, stop, draw, 1)
    which, places = _expanded(ranges.first[positions], ranges.stop[positions])
    kept = _at_most(which, config.labels, draw)
    owners = chosen[which[kept]]
    return owners, positions[which[kept]], ranges.slots[places[kept]], _equal_shares(owners, len(first))


def dense_all_action(ranges: LabelRanges, first: np.ndarray, stop: np.ndarray, draw: np.random.Generator, config: ObjectiveConfig) -> Drawn:
    """Up to ``positions`` random positions a user, each with one label drawn evenly from its own days."""
    owners, positions = _random_positions(ranges, first, stop, draw, config.positions)
    begin, count = ranges.first[positions], (ranges.stop - ranges.first)[positions]
    labels = ranges.slots[begin + (draw.random(len(positions)) * count).astype(np.int64)]
    return owners, positions, labels, _equal_shares(owners, len(first))


def _random_positions(
    ranges: LabelRanges, first: np.ndarray, stop: np.ndarray, draw: np.random.Generator, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """(owners, slots): at most ``most`` able slots of each window, none twice, in order."""
    owners, places = _expanded(first, stop)
    kept = _at_most(owners, most, draw)
    return owners[kept], ranges.able[places[kept]]


def _expanded(first: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row, number) for every number in ``[first[row], stop[row])``."""
    lengths = np.maximum(stop - first, 0)
    rows = np.repeat(np.arange(len(first)), lengths)
    return rows, np.arange(len(rows)) + np.repeat(first - np.cumsum(lengths) + lengths, lengths)


def _at_most(groups: np.ndarray, most: int, draw: np.random.Generator) -> np.ndarray:
    """Places of at most ``most`` random members of each group, in order; ``groups`` is sorted."""
    order = np.lexsort((draw.random(len(groups)), groups))
    starts = np.flatnonzero(np.concatenate([[True], np.diff(groups) > 0])) if len(groups) else np.empty(0, np.int64)
    rank = np.arange(len(groups)) - np.repeat(starts, np.diff(np.append(starts, len(groups))))
    return np.sort(order[rank < most])


def _equal_shares(owners: np.ndarray, users: int) -> np.ndarray:
    return 1.0 / np.bincount(owners, minlength=users)[owners]
