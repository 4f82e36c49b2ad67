"""How PinnerFormer is trained: both towers at once, sampled softmax over in-batch and random negatives, whole users held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from corkboard.artifacts import EmbeddingTable
from corkboard.embeddings.config import PinnerFormerConfig
from corkboard.embeddings.histories import Histories
from corkboard.embeddings.item_tower import ItemTower
from corkboard.embeddings.pinnerformer import PinnerFormer
from corkboard.embeddings.pinnerformer_network import Tokens, TrainableItemTower, UserTower, by_length
from corkboard.embeddings.pinnerformer_objectives import LabelRanges, Pairs, draw_pairs
from corkboard.embeddings.spectral import spectral_factors
from corkboard.errors import InputError
from corkboard.lake.calendar import DAY_MS
from corkboard.learning.full_softmax import full_softmax
from corkboard.learning.sampled_softmax import Draw, SampledSoftmax
from corkboard.learning.time_encoding import CLOCK_HOURS
from corkboard.learning.training import Progress, TrainingResult, seeded, train
from corkboard.seeds import generator


def train_pinnerformer(
    histories: Histories,
    content: EmbeddingTable,
    config: PinnerFormerConfig,
    seed: int,
    cut_ms: int,
    progress: Callable[[Progress], None] | None = None,
) -> PinnerFormer:
    """Train both towers on what happened before ``cut_ms``; labels end there, too.

    ``content`` has a unit vector (or zeros, where nothing is known of an item) for each of ``histories.item_ids``, which are also
    where random negatives come from. Without anything to learn from, or with 0 steps, the untrained model comes back.
    """
    return PinnerFormerTraining(histories, content, config, seed, cut_ms).run(progress)


class Network(nn.Module):
    """Both towers and the loss."""

    def __init__(self, config: PinnerFormerConfig, content_dim: int, ids: int, items: int, clock_periods: int, seed: int):
        super().__init__()
        self.items = TrainableItemTower(config, content_dim, ids)
        self.users = UserTower(config, clock_periods)
        self.loss = SampledSoftmax(config.softmax, items, seed)


@dataclass
class _Rounds:
    """Users in shuffled rounds, so that all are drawn equally often, in expectation: a round's remainder that is less than a batch is
    skipped, by another draw in each round. ``drawn`` ``(1,)`` counts, and is part of a checkpoint.
    """

    users: np.ndarray
    seed: int
    drawn: np.ndarray

    def next(self, count: int) -> np.ndarray:
        """The next ``count`` users, at most one round; none twice."""
        count = min(count, len(self.users))
        whole, place = divmod(int(self.drawn[0]), len(self.users))
        if place + count > len(self.users):  # what is left of a round is too little: begin another
            whole, place = whole + 1, 0
        self.drawn[0] = whole * len(self.users) + place + count
        return self.users[generator(self.seed, "round", whole).permutation(len(self.users))[place : place + count]]


class PinnerFormerTraining:
    """One training run: histories up to the cut, the labels after each action, and a step over a batch of users."""

    def __init__(self, histories: Histories, content: EmbeddingTable, config: PinnerFormerConfig, seed: int, cut_ms: int):
        vectors, known = content.lookup(histories.item_ids)
        if not known.all():
            raise InputError("Items have no content vector", found=int((~known).sum()), expected="one for each item of the histories")
        self.config, self.seed, self.cut_ms, self.content = config, seed, cut_ms, content
        self.histories = histories.until(cut_ms)
        self.item_content = torch.from_numpy(vectors)
        counts = np.bincount(self.histories.items, minlength=len(histories.item_ids))
        self.with_id = np.flatnonzero((counts >= config.items.id_min_actions) & (config.items.id_dim > 0))
        id_rows = np.full(len(counts), -1, np.int64)
        id_rows[self.with_id] = np.arange(len(self.with_id))
        self.id_rows = torch.from_numpy(id_rows)
        self.clock_hours = _seen_twice(self.histories.time_ms)
        self.wanted = self.histories.labels if config.history.repeats else self.histories.first_labels()
        self.owned = (self.histories.owners[self.wanted], self.histories.items[self.wanted])
        window_ms = config.objective.days * DAY_MS if config.objective.name in ("all_action", "dense_all_action") else None
        since_ms = None if config.objective.recent_days is None else cut_ms - config.objective.recent_days * DAY_MS
        self.ranges = LabelRanges.of(self.histories.offsets, self.histories.time_ms, self.wanted, window_ms, since_ms)
        days, half_life = (cut_ms - self.histories.time_ms) / DAY_MS, config.objective.half_life_days
        self.recency = np.exp2(-days / half_life).astype(np.float32) if half_life else np.ones(len(days), np.float32)
        self._split()
        self.result: TrainingResult | None = None

    def _split(self) -> None:
        """Hold users out, and keep those that can be learned from."""
        offsets, able = self.histories.offsets, self.ranges.able
        first, stop = self.ranges.able_between(offsets[:-1], offsets[1:])
        self.first_able = np.where(stop > first, able[np.minimum(first, len(able) - 1)] if len(able) else 0, -1)
        self.last_able = np.where(stop > first, able[np.maximum(stop - 1, 0)] if len(able) else 0, -1)
        held_out = self.held_out = (
            generator(self.seed, "pinnerformer", "held-out").random(len(self.histories)) < self.config.validation_share
        )
        users = np.flatnonzero((stop > first) & ~held_out)
        self.rounds = _Rounds(users, self.seed, np.zeros(1, np.int64))
        days, moments = self.config.validation_days, self.config.validation_moments
        self.validation = _Validation.of(self.histories, self.wanted, held_out, self.cut_ms, days, moments)

    def run(self, progress: Callable[[Progress], None] | None = None) -> PinnerFormer:
        """Train, and return the model of the best validation."""
        config = self.config
        with seeded(self.seed, "pinnerformer", "start"):
            self.network = Network(
                config, self.item_content.shape[1], len(self.with_id), len(self.item_content), len(self.clock_hours), self.seed
            )
            if config.items.start == "spectral":
                self._start_spectral()
        if config.training.steps and len(self.rounds.users):
            validate = self._recall if len(self.validation.users) else None
            extra = {"counts": self.network.loss.seen.counts, "drawn": self.rounds.drawn}
            self.result = train(self.network, self._loss, config.training, self.seed, validate=validate, progress=progress, extra=extra)
        return self.frozen()

    def _start_spectral(self) -> None:
        """Let id embeddings begin as factors of who engaged with what, held-out users left out."""
        config, tower = self.config.items, self.network.items
        users, items = (column[~self.held_out[self.owned[0]]] for column in self.owned)
        factors = spectral_factors(users, items, len(self.item_content), config.id_dim, self.seed)
        with torch.no_grad():
            tower.ids.copy_(torch.from_numpy(factors[self.with_id] * np.float32(config.id_start)))
            nn.init.orthogonal_(tower.id_skip)

    def frozen(self) -> PinnerFormer:
        """The model with the present weights."""
        ids = [self.histories.item_ids[row] for row in self.with_id]
        user = {name: value.detach().cpu().numpy().copy() for name, value in self.network.users.state_dict().items()}
        return PinnerFormer(self.config, ItemTower(ids, self.network.items.arrays()), user, self.content.space, self.clock_hours)

    # ------------------------------------------------------------------------------------------------------------- a step

    def _loss(self, draw: np.random.Generator) -> Tensor:
        config, network = self.config, self.network
        users, starts, stops = self._windows(draw)
        pairs = draw_pairs(self.ranges, starts, stops, draw, config.objective)
        whole = config.negatives == "catalogue"
        pool = np.arange(len(self.item_content)) if whole else draw.integers(0, len(self.item_content), config.pool)
        items = Draw.of(self.histories.items[pairs.labels].astype(np.int64), pool)
        groups = list(by_length(stops - starts, config.groups))
        tokens = [Tokens.of(self.histories, starts[group], stops[group], config, self.clock_hours) for group in groups]
        rows = np.unique(np.concatenate([items.distinct, *(part.items.numpy() for part in tokens)]))
        place = np.empty(len(self.item_content), np.int64)
        place[rows] = np.arange(len(rows))
        vectors = network.items(self.item_content[rows], self.id_rows[rows])
        parts = [self._at(pairs, group, starts) for group in groups]
        outputs = [
            network.users.at(replace(part, items=torch.from_numpy(place)[part.items]), vectors, owners, positions)
            for part, (_, owners, positions) in zip(tokens, parts, strict=True)
        ]
        order = np.concatenate([chosen for chosen, _, _ in parts])
        queries, weights = network.users.vectors(torch.cat(outputs)), torch.from_numpy(self._weights(pairs)[order])
        candidates = vectors[torch.from_numpy(place[items.distinct])]
        if whole:
            targets = torch.from_numpy(items.positives[order])
            return full_softmax(queries, candidates, targets, network.loss.temperature(), weights)
        drawn = Draw(items.distinct, items.positives[order], items.pool)
        owners = pairs.owners[order]
        owned = self._owned(users, items.distinct)[torch.from_numpy(owners)]
        return network.loss(queries, candidates, drawn, user_ids=users[owners], weights=weights, owned=owned)

    def _weights(self, pairs: Pairs) -> np.ndarray:
        """float32 ``(pairs,)``: how much each pair counts in the loss, newer labels more.

        With ``equal_users`` those of a user add up to 1: what fades is then the share of a label, not the user.
        """
        weights = pairs.weights * self.recency[pairs.labels]
        if not self.config.objective.equal_users:
            return weights
        sums = np.bincount(pairs.owners, weights)[pairs.owners]
        return (weights / np.maximum(sums, np.finfo(np.float32).tiny)).astype(np.float32)

    def _owned(self, users: np.ndarray, distinct: np.ndarray) -> Tensor:
        """bool ``(users, candidates)``: what each user has engaged with at any time, which is no negative where negatives are sampled.

        An item that counts once is never a label again. As a negative it would teach to stay away from what is like the history. With
        the whole catalogue as negatives nothing is masked.
        """
        place = np.full(len(self.item_content), -1, np.int64)
        place[distinct] = np.arange(len(distinct))
        row = np.full(len(self.histories), -1, np.int64)
        row[users] = np.arange(len(users))
        rows, places = row[self.owned[0]], place[self.owned[1]]
        inside = (rows >= 0) & (places >= 0)
        owned = np.zeros((len(users), len(distinct)), bool)
        owned[rows[inside], places[inside]] = True
        return torch.from_numpy(owned)

    def _windows(self, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(users, starts, stops) of the next batch. What follows a user's last position with a label would be read for nothing.

        Of a history that is longer than the window a random part is read, which begins anywhere and has a position to learn from.
        """
        users, window = self.rounds.next(self.config.batch), self.config.encoder.window
        begin, last = self.histories.offsets[users], self.last_able[users] + 1
        earliest = np.maximum(np.minimum(begin + window, last), self.first_able[users] + 1)
        stops = earliest + (draw.random(len(users)) * (last - earliest + 1)).astype(np.int64)
        return users, np.maximum(begin, stops - window), stops

    @staticmethod
    def _at(pairs: Pairs, group: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(pairs, rows of the group, positions in their windows) of the pairs whose owners are in ``group``, by row."""
        row = np.full(len(starts), -1, np.int64)
        row[group] = np.arange(len(group))
        owners = row[pairs.owners]
        chosen = np.argsort(owners, kind="stable")[np.count_nonzero(owners < 0) :]
        return chosen, owners[chosen], pairs.positions[chosen] - starts[pairs.owners[chosen]]

    # -------------------------------------------------------------------------------------------------------- validation

    def _recall(self) -> float:
        """Recall@10 of what held-out users engage with in the days after each moment, among all items that they had not met."""
        asked, config = self.validation, self.config
        vectors = self.network.items(self.item_content, self.id_rows)
        starts = np.maximum(self.histories.offsets[asked.users], asked.ends - config.encoder.window)
        users = torch.empty(len(asked.users), config.dim)
        for group in by_length(asked.ends - starts, config.groups):
            tokens = Tokens.of(self.histories, starts[group], asked.ends[group], config, self.clock_hours)
            outputs = self.network.users.at(tokens, vectors, np.arange(len(group)), asked.ends[group] - starts[group] - 1)
            users[torch.from_numpy(group)] = self.network.users.vectors(outputs)
        scores = (users @ vectors.T).numpy()
        scores[asked.seen[:, 0], asked.seen[:, 1]] = -np.inf
        row, item = asked.wanted.T
        return float(((scores[row] >= scores[row, item][:, None]).sum(axis=1) <= 10).mean())


@dataclass(frozen=True)
class _Validation:
    """Held-out users at several moments: the slot after the last action before it, and what comes in the days from it on.

    ``users`` and ``ends`` int64 ``(asked,)``; ``seen`` and ``wanted`` int64 ``(n, 2)`` are pairs (place in ``users``, item).
    """

    users: np.ndarray
    ends: np.ndarray
    seen: np.ndarray
    wanted: np.ndarray

    @classmethod
    def of(cls, histories: Histories, labels: np.ndarray, held_out: np.ndarray, cut_ms: int, days: float, moments: int) -> _Validation:
        parts = [cls._at(histories, labels, held_out, cut_ms - round(n * days * DAY_MS), days) for n in range(1, moments + 1)]
        before = np.cumsum([0, *(len(part.users) for part in parts)])
        shifted = [[pairs + np.array([shift, 0]) for pairs in (part.seen, part.wanted)] for part, shift in zip(parts, before, strict=False)]
        seen, wanted = (np.concatenate(pairs) for pairs in zip(*shifted, strict=True))
        return cls(np.concatenate([part.users for part in parts]), np.concatenate([part.ends for part in parts]), seen, wanted)

    @classmethod
    def _at(cls, histories: Histories, labels: np.ndarray, held_out: np.ndarray, since_ms: int, days: float) -> _Validation:
        """One moment: users with an action before it and a label in the days from it on."""
        users = np.flatnonzero(held_out)
        earlier = histories.time_ms < since_ms
        asked = labels & ~earlier & (histories.time_ms < since_ms + days * DAY_MS)
        ends = histories.ends(users, np.full(len(users), since_ms))
        with_both = (ends > histories.offsets[users]) & (np.bincount(histories.owners[asked], minlength=len(held_out))[users] > 0)
        users, ends = users[with_both], ends[with_both]
        place = np.full(len(held_out), -1, np.int64)
        place[users] = np.arange(len(users))
        pairs = np.stack([place[histories.owners], histories.items], axis=1)
        mine = pairs[:, 0] >= 0
        return cls(users, ends, pairs[mine & earlier], pairs[mine & asked])


def _seen_twice(time_ms: np.ndarray) -> tuple[float, ...]:
    """The periods of the clock that the histories go through at least twice: of a longer one a model would learn dates, not habits."""
    hours = float(np.ptp(time_ms)) / 3_600_000 if len(time_ms) else 0.0
    return tuple(period for period in CLOCK_HOURS if 2 * period <= hours)
