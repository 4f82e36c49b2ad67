"""Recall at three cadences: how much is lost when what a model knows of a user is a day old, or two weeks.

Every (user, positive) pair of the test is asked at the moment the positive happened. What differs between cadences is only how much of
the user's past the model may read for it:

    once       everything before the test (B)
    daily      everything before the midnight that began the day, less a delay of ``delay_days`` days, as a nightly batch
    realtime   everything strictly before the moment of the positive

Users, pairs, catalogue and what is left out are the same at every cadence and for every model: a list leaves out what the user had
engaged with before the moment it is looked at, because a live page does so even where its list is old. The cadence study of
PinnerFormer (Pancha et al., KDD'22) asks the same of a million random items; here it is the full catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.embeddings.pinnerformer import Cadence, cadence_moments
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.scorers import Refreshed, RetrievalScorer, UserScorer, score
from corkboard.experiments.task import retrieval_task
from corkboard.lake.calendar import Calendar
from corkboard.lake.lake import Lake
from corkboard.lake.schema import POSITIVE, user_key_expr
from corkboard.metrics.intervals import PerUser
from corkboard.seeds import generator

CADENCES: tuple[Cadence, ...] = ("once", "daily", "realtime")
REFRESH_MS = 6 * 3_600_000
"""In realtime, what is cheap to count is counted again this often; a list of the whole catalogue is not made for every moment."""

BY_USER = " by user"
"""Ends the name of a measure in which every user counts once, however many pairs are theirs."""

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class CadenceTask:
    """Pairs of a user and a positive, in order of user, with what each user did; arrays are ``(pairs,)`` or ``(actions,)``.

    ``time_ms`` is the moment of the first positive of the pair in the test. ``done_*`` hold every action of these users on items of
    the catalogue, in order of user and time: user (row of ``user_ids``), item (row of ``item_ids``), moment, positive or not.
    """

    item_ids: Sequence[str]
    user_ids: Sequence[str]
    before_ms: int
    users: np.ndarray
    items: np.ndarray
    time_ms: np.ndarray
    done_users: np.ndarray
    done_items: np.ndarray
    done_ms: np.ndarray
    done_positive: np.ndarray
    unreachable_share: float
    delay_days: int = 1

    @classmethod
    def of(cls, lake: Lake, calendar: Calendar, config: EvaluationConfig | None = None) -> CadenceTask:
        """The pairs of :func:`corkboard.experiments.task.retrieval_task` with their moments."""
        config = (config or EvaluationConfig()).model_copy(update={"cadence": "once"})
        task = retrieval_task(lake, calendar, config)
        asked = task.moments[0]
        users = pl.DataFrame({"user": task.user_ids}, schema={"user": pl.String}).with_row_index("u")
        items = pl.DataFrame({"item_id": list(task.item_ids)}, schema={"item_id": pl.String}).with_row_index("item")
        actions = lake.actions(calendar.start_ms, calendar.end_ms).filter(pl.col("item_id").is_not_null())
        named = actions.select("item_id", "time_ms", user=user_key_expr(), positive=pl.col("action").is_in(list(POSITIVE)))
        done = named.join(users, on="user").join(items, on="item_id").sort("u", "time_ms", maintain_order=True)
        firsts = done.filter(pl.col("positive") & (pl.col("time_ms") >= task.before_ms)).group_by("u", "item").agg(pl.col("time_ms").min())
        pairs = pl.DataFrame({"u": asked.users[asked.positive_users], "item": asked.positive_items}).cast(
            {"u": pl.UInt32, "item": pl.UInt32}
        )
        pairs = pairs.join(firsts, on=["u", "item"], how="inner").sort("u", "time_ms", "item")
        return cls(
            item_ids=task.item_ids,
            user_ids=task.user_ids,
            before_ms=task.before_ms,
            users=_whole(pairs["u"]),
            items=_whole(pairs["item"]),
            time_ms=_whole(pairs["time_ms"]),
            done_users=_whole(done["u"]),
            done_items=_whole(done["item"]),
            done_ms=_whole(done["time_ms"]),
            done_positive=done["positive"].to_numpy(),
            unreachable_share=task.unreachable_share,
            delay_days=config.delay_days,
        )

    def __len__(self) -> int:
        return len(self.users)

    def known_ms(self, cadence: Cadence) -> np.ndarray:
        """int64 ``(pairs,)``: the moment before which a model may know a user's actions, for each pair."""
        return cadence_moments(cadence, self.time_ms, self.before_ms, self.delay_days)

    def questions(self, cadence: Cadence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Users int64 ``(questions,)`` and moments ``(questions,)`` to be asked, and ``(pairs,)`` which one is whose."""
        known = self.known_ms(cadence)
        both = np.stack([self.users, known], axis=1)
        distinct, of_pair = np.unique(both, axis=0, return_inverse=True)
        return distinct[:, 0], distinct[:, 1], of_pair.reshape(-1)

    def histories(self, users: np.ndarray, known_ms: np.ndarray) -> list[np.ndarray]:
        """Rows of the items that each user acted on positively before the moment, newest first, each once."""
        starts, ends = np.searchsorted(self.done_users, users, "left"), self._ends(users, known_ms)
        found = []
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            newest_first = self.done_items[start:end][self.done_positive[start:end]][::-1]
            _, first = np.unique(newest_first, return_index=True)
            found.append(newest_first[np.sort(first)])
        return found

    def excluded(self, pairs: np.ndarray) -> np.ndarray:
        """bool ``(len(pairs), items)``: what the user of each pair had engaged with before the moment of its positive."""
        users, moments = self.users[pairs], self.time_ms[pairs]
        starts, ends = np.searchsorted(self.done_users, users, "left"), self._ends(users, moments)
        mask = np.zeros((len(pairs), len(self.item_ids)), bool)
        for row, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            mask[row, self.done_items[start:end]] = True
        return mask

    def _ends(self, users: np.ndarray, moments: np.ndarray) -> np.ndarray:
        """Where the actions of each user strictly before the moment end in ``done_*``."""
        first = min(int(self.done_ms.min(initial=2**62)), int(moments.min(initial=2**62)))
        span = max(int(self.done_ms.max(initial=0)), int(moments.max(initial=0))) - first + 1
        return np.searchsorted(self.done_users * span + (self.done_ms - first), users * span + (moments - first), side="left")


Scores = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(users, moments), ``(n,)`` each in order of moment -> float32 ``(n, items)``."""


def recall(task: CadenceTask, scores: Scores, cadence: str, config: EvaluationConfig | None = None, tell: Tell | None = None) -> PerUser:
    """Recall@k of one model at one cadence, kept apart by user: share of the pairs with fewer than k items above the positive.

    ``scores`` is asked once for each (user, moment), in order of moments. Ties are decided by one seeded permutation of the catalogue.
    """
    config = config or EvaluationConfig()
    users, moments, of_pair = task.questions(cadence)
    ties = generator(config.seed, "evaluation", "ties").permutation(len(task.item_ids))
    hits = np.zeros(len(task), bool)
    by_moment = np.argsort(moments, kind="stable")
    step = max(1, config.chunk_scores // max(len(task.item_ids), 1))
    for start in range(0, len(users), step):
        chosen = by_moment[start : start + step]
        found = np.asarray(scores(users[chosen], moments[chosen]), np.float32)
        place = np.full(len(users), -1)
        place[chosen] = np.arange(len(chosen))
        pairs = np.flatnonzero(place[of_pair] >= 0)
        hits[pairs] = _within(task, found[place[of_pair[pairs]]], pairs, ties, config.k)
        if tell:
            tell(min(start + step, len(users)), len(users))
    n_users = len(task.user_ids)
    return PerUser(np.bincount(task.users, hits, n_users), np.bincount(task.users, minlength=n_users).astype(np.float64), len(task))


def _within(task: CadenceTask, scores: np.ndarray, pairs: np.ndarray, ties: np.ndarray, k: int) -> np.ndarray:
    """bool ``(pairs,)``: fewer than k unseen items stand above the positive; an item that may not be listed is no hit."""
    items = task.items[pairs]
    mine = scores[np.arange(len(pairs)), items][:, None]
    above = (scores > mine) | ((scores == mine) & (ties[None, :] > ties[items][:, None]))
    excluded = task.excluded(pairs)
    listable = np.isfinite(mine[:, 0]) & ~excluded[np.arange(len(pairs)), items]
    return (np.count_nonzero(above & ~excluded, axis=1) < k) & listable


def scorer_scores(task: CadenceTask, scorer: RetrievalScorer | UserScorer, cadence: Cadence) -> Scores:
    """A scorer of the house at a cadence: its histories move with the moment, and it is brought up to date where it can be.

    A :class:`Refreshed` one is counted again for each moment of the daily batch and, in realtime, every six hours; others stay as they
    were fitted before the test.
    """

    def scores(users: np.ndarray, moments: np.ndarray) -> np.ndarray:
        known = moments // REFRESH_MS * REFRESH_MS if cadence == "realtime" else moments
        out = np.empty((len(users), len(task.item_ids)), np.float32)
        histories = task.histories(users, moments)
        refreshed = isinstance(scorer, Refreshed) and cadence != "once"
        groups = np.unique(known) if refreshed else known[:1]
        for moment in groups.tolist():
            rows = np.flatnonzero(known == moment) if refreshed else np.arange(len(users))
            current = scorer.as_of(moment) if refreshed and isinstance(scorer, Refreshed) else scorer
            names = [task.user_ids[k] for k in users[rows].tolist()]
            out[rows] = score(current, names, [histories[k] for k in rows.tolist()], moment, len(task.item_ids))
        return out

    return scores


@dataclass(frozen=True)
class VectorScores:
    """Users as vectors at moments, against item vectors: float32 ``(questions, dim)`` and ``(items, dim)``.

    ``users`` and ``moments`` are those of :meth:`CadenceTask.questions`, in its order, which is that of user and moment.
    """

    users: np.ndarray
    moments: np.ndarray
    vectors: np.ndarray
    items: np.ndarray

    def __call__(self, users: np.ndarray, moments: np.ndarray) -> np.ndarray:
        first, span = int(self.moments.min()), int(self.moments.max() - self.moments.min()) + 1
        rows = np.searchsorted(self.users * span + (self.moments - first), users * span + (moments - first))
        return self.vectors[rows] @ self.items.T


def at_every_cadence(
    task: CadenceTask, scores: Mapping[Cadence, Scores], config: EvaluationConfig | None = None, tell: Tell | None = None
) -> dict[str, PerUser]:
    """``recall@k <cadence>`` for each cadence of ``scores``, and the same with each user counting once."""
    config = config or EvaluationConfig()
    figures = {f"recall@{config.k} {cadence}": recall(task, one, cadence, config, tell) for cadence, one in scores.items()}
    return figures | {f"{name}{BY_USER}": one.macro() for name, one in figures.items()}


def _whole(column: pl.Series) -> np.ndarray:
    return column.to_numpy().astype(np.int64)
