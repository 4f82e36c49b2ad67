"""Training of the light ranker: distilled from the full ranker's order, beside what was really done.

    L = BCE(labels) + gamma * [ CE(softmax(teacher's utility / temperature), softmax(scale * utility)) + BCE(teacher's probabilities) ]

The first cross entropy is the order: it runs over the whole list of a moment, candidates and random items alike. The binary ones go
by head, each divided by the entropy of its base rate: one over the items that were on the page and what was done with them, one
over the list and what the teacher thinks, so that a head is right by itself and follows other utility weights. What counts is
*teacher recall*: the share of the teacher's best 50 candidates that are among the light ranker's best 100, on the lists of users
that were not fitted. Where no such list is long enough for that, minus the loss on these lists takes its place in training, and teacher
recall is not known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from corkboard.artifacts import Space
from corkboard.errors import InputError
from corkboard.learning.training import Progress, TrainingResult, seeded, train
from corkboard.ranking.config import LightConfig
from corkboard.ranking.light import BLOCKS, CLIP, ITEM_FACTS, OVERALL, USER_FACTS, LightRanker, LightUser
from corkboard.ranking.light_lists import TeacherLists

_MIN_LISTS = 10
_MIN_HELD_OUT = 5


@dataclass(frozen=True)
class LightReport:
    """How the training went, on the lists of held-out users; ``card()`` is the artefact's card."""

    lists: int
    held_out: int
    candidates: float
    """Mean number of candidates of a held-out list."""
    top: int
    kept: int
    recall: float
    """Teacher recall: share of the teacher's best ``top`` candidates among the light ranker's best ``kept``; NaN, as the two below, where
    no held-out list has more than ``kept`` candidates."""
    blend: float
    """The same by the order of the candidate sources."""
    random: float
    """The same in random order: ``kept`` over the number of candidates."""
    result: TrainingResult
    seconds: float

    def metrics(self) -> dict[str, float]:
        """Flat figures for ``metrics.json``."""
        return {
            "teacher_recall": self.recall,
            "teacher_recall_blend": self.blend,
            "teacher_recall_random": self.random,
            "lists": self.lists,
            "lists_held_out": self.held_out,
            "candidates": self.candidates,
            "steps": self.result.best_step,
            "train_seconds": self.seconds,
        }

    def card(self) -> str:
        """Markdown."""
        return "\n".join(
            [
                "# Light ranker",
                "",
                f"Two towers, distilled from the full ranker over {self.lists:,} lists in {self.seconds:.1f} s.",
                "",
                f"Teacher recall: of the full ranker's best {self.top} among {self.candidates:.0f} candidates, the share in the first",
                f"{self.kept}, on {self.held_out:,} lists of users that were not fitted.",
                "",
                "| order | teacher recall |",
                "| --- | --- |",
                f"| light ranker | {_told(self.recall)} |",
                f"| candidate sources | {_told(self.blend)} |",
                f"| random | {_told(self.random)} |",
                "",
            ]
        )


def _told(recall: float) -> str:
    return "too few candidates" if np.isnan(recall) else f"{recall:.3f}"


@dataclass(frozen=True)
class TrainedLight:
    """A light ranker, and how it came about."""

    ranker: LightRanker
    report: LightReport


def train_light(
    lists: TeacherLists,
    held_out: np.ndarray,
    embedding_space: Space | None,
    content_space: Space | None,
    config: LightConfig,
    seed: int,
    progress: Callable[[Progress], None] | None = None,
) -> TrainedLight:
    """Distil ``lists``; ``held_out`` is bool ``(len(lists),)``, true for lists of users that are not fitted.

    The spaces are those of the vectors in ``lists``, None where there are none. Raises :class:`InputError` where there are too
    few lists to learn an order from.
    """
    if len(lists) < _MIN_LISTS:
        raise InputError("Too few lists to distil a light ranker from", found=len(lists), expected=f"at least {_MIN_LISTS}")
    started = time.perf_counter()
    every = np.arange(len(lists))
    fit, report = every[~held_out], every[held_out]
    if len(report) < _MIN_HELD_OUT or not len(fit):
        fit, report = every, every
    with seeded(seed, "light", "start"):
        model = _Towers(lists, fit, config)
    lessons = _Lessons(lists, fit, config)
    measured = [count for one in report if (count := int(_candidates(lists, int(one)).sum())) > config.kept]

    def validate() -> float:
        if not measured:
            return -lessons.mean_loss(model, report)
        return teacher_recall(lists, report, _scored(lists, report, model.frozen()), config)

    result = train(
        model,
        lambda draw: lessons.loss(model, draw),
        config.training,
        seed,
        validate=validate,
        progress=progress,
    )
    ranker = model.frozen(embedding_space, content_space)
    figures = LightReport(
        lists=len(lists),
        held_out=len(report),
        candidates=float(np.mean([_candidates(lists, int(one)).sum() for one in report])),
        top=config.top,
        kept=config.kept,
        recall=teacher_recall(lists, report, _scored(lists, report, ranker), config),
        blend=teacher_recall(lists, report, -lists.place.astype(np.float32), config),
        random=float(np.mean([config.kept / count for count in measured])) if measured else float("nan"),
        result=result,
        seconds=time.perf_counter() - started,
    )
    return TrainedLight(ranker, figures)


def teacher_recall(lists: TeacherLists, chosen: np.ndarray, scores: np.ndarray, config: LightConfig) -> float:
    """Mean over the lists ``chosen`` of the share of the teacher's best ``top`` candidates among the best ``kept`` by ``scores`` ``(n,)``.

    Only candidates of the sources are looked at; lists with no more than ``kept`` of them say nothing and are left out. NaN where that
    leaves none.
    """
    shares = []
    for one in chosen:
        span = lists.span(int(one))
        mine = _candidates(lists, int(one))
        if mine.sum() <= config.kept:
            continue
        best = np.argsort(-lists.teacher[span][mine], kind="stable")[: config.top]
        kept = np.argsort(-scores[span][mine], kind="stable")[: config.kept]
        shares.append(len(np.intersect1d(best, kept)) / len(best))
    return float(np.mean(shares)) if shares else float("nan")


def _candidates(lists: TeacherLists, one: int) -> np.ndarray:
    """bool: the entries of a list that a source brought."""
    return lists.place[lists.span(one)] >= 0


def _scored(lists: TeacherLists, chosen: np.ndarray, ranker: LightRanker) -> np.ndarray:
    """float32 ``(n,)`` scores by the code that serves, of the entries of the lists ``chosen``; NaN elsewhere."""
    out = np.full(len(lists.rows), np.nan, np.float32)
    for one in chosen:
        span = lists.span(int(one))
        rows = lists.rows[span]
        user = LightUser(*(getattr(lists.users, name)[int(one)] for name in (*BLOCKS, "facts")))
        out[span] = ranker.probabilities(ranker.item_vectors(lists.blocks[rows], lists.facts[span]), user) @ lists.weights
    return out


class _Towers(nn.Module):
    """The towers as PyTorch trains them, in the names of :class:`LightRanker`."""

    def __init__(self, lists: TeacherLists, fit: np.ndarray, config: LightConfig):
        super().__init__()
        of_fit = np.concatenate([np.arange(*lists.offsets[one : one + 2]) for one in fit])
        self.facts = {**_spread("item", lists.facts[of_fit]), **_spread("user", lists.users.facts[fit])}
        self.heads, self.categories = lists.heads, lists.categories
        heads = len(lists.heads)
        rates = np.clip(lists.probabilities[of_fit].mean(axis=0, dtype=np.float64), 1e-6, 1 - 1e-6)
        pooled = {block: getattr(lists.users, block) for block in BLOCKS}
        item_width = lists.blocks.shape[1] + len(ITEM_FACTS)
        user_width = lists.blocks.shape[1] + pooled["embeddings"].shape[2] + len(USER_FACTS)
        start = {
            "item_in": torch.randn(item_width, config.hidden) * item_width**-0.5,
            "item_in_bias": torch.zeros(config.hidden),
            "item_out": torch.randn(config.hidden, config.free + heads) * config.hidden**-0.5,
            "item_skip": torch.zeros(len(ITEM_FACTS), config.free + heads),
            "item_bias": torch.tensor(np.log(rates / (1 - rates)).astype(np.float32)),
            "user_in": torch.randn(user_width, config.hidden) * user_width**-0.5,
            "user_in_bias": torch.zeros(config.hidden),
            "user_out": torch.randn(config.hidden, heads * config.free) * 0.1 * config.hidden**-0.5,
        }
        for block, past in pooled.items():
            _, windows, dim = past.shape
            start[f"{block}_gates"] = torch.randn(len(USER_FACTS) + 1, heads * config.channels * windows) * 0.05
            start[f"{block}_gates"][-1] += 1.0 / windows
            start[f"{block}_maps"] = torch.eye(dim) + 0.1 * max(dim, 1) ** -0.5 * torch.randn(config.channels, dim, dim)
        self.weights = nn.ParameterDict(start)
        self.scale = nn.Parameter(torch.zeros(()))

    def items(self, blocks: Tensor, facts: Tensor) -> Tensor:
        """``(n, dim)``, as :meth:`LightRanker.item_vectors`; facts are standardised already."""
        t = self.weights
        hidden = torch.relu(torch.cat([blocks, facts], 1) @ t["item_in"] + t["item_in_bias"])
        bias = nn.functional.pad(t["item_bias"], (t["item_out"].shape[1] - len(self.heads), 0))
        return torch.cat([blocks, hidden @ t["item_out"] + facts @ t["item_skip"] + bias], 1)

    def users(self, pooled: Mapping[str, Tensor], facts: Tensor) -> Tensor:
        """``(b, heads, dim)``, as :meth:`LightRanker.user_vectors`; facts are standardised already."""
        t, heads = self.weights, len(self.heads)
        with_one, parts = torch.cat([facts, torch.ones(len(facts), 1)], 1), []
        for block, past in pooled.items():
            gates = (with_one @ t[f"{block}_gates"]).reshape(len(facts), -1, past.shape[1])
            gated = (gates @ past).unflatten(1, (heads, -1))
            parts.append(torch.einsum("bhkd,kde->bhe", gated, t[f"{block}_maps"]))
        seen = torch.cat([pooled["embeddings"][:, -1], *(past[:, OVERALL] for past in pooled.values()), facts], 1)
        hidden = torch.relu(seen @ t["user_in"] + t["user_in_bias"])
        free = (hidden @ t["user_out"]).reshape(len(facts), heads, -1)
        return torch.cat([*parts, free, torch.eye(heads).expand(len(facts), heads, heads)], 2)

    def frozen(self, embedding_space: Space | None = None, content_space: Space | None = None) -> LightRanker:
        """The towers as they serve."""
        tensors = {name: value.detach().numpy().copy() for name, value in self.weights.items()}
        return LightRanker(self.heads, {**self.facts, **tensors}, self.categories, embedding_space, content_space)


def _spread(side: str, facts: np.ndarray) -> dict[str, np.ndarray]:
    mean, scale = np.nanmean(facts, axis=0, dtype=np.float64), np.nanstd(facts, axis=0, dtype=np.float64)
    mean, scale = np.nan_to_num(mean), np.where(np.nan_to_num(scale) > 1e-6, scale, 1.0)
    return {f"{side}_mean": mean.astype(np.float32), f"{side}_scale": scale.astype(np.float32)}


class _Lessons:
    """Draws lists and computes their loss."""

    def __init__(self, lists: TeacherLists, fit: np.ndarray, config: LightConfig):
        self.lists, self.fit, self.config = lists, fit, config
        teacher = lists.teacher
        self.targets = np.concatenate([_shares(teacher[lists.span(one)], config.temperature) for one in range(len(lists))])
        self.spread = float(np.mean([teacher[lists.span(one)].std() for one in range(len(lists))])) or 1.0
        self.worth = torch.tensor(lists.weights)
        self.by_head = 1 / _entropy(lists.probabilities.mean(axis=0, dtype=np.float64))

    def loss(self, model: _Towers, draw: np.random.Generator) -> Tensor:
        """The loss of lists drawn from the fitted ones."""
        return self.loss_of(model, draw.choice(self.fit, min(self.config.batch_lists, len(self.fit)), replace=False))

    def loss_of(self, model: _Towers, chosen: np.ndarray) -> Tensor:
        """Of the lists ``chosen``: the order, the teacher's probabilities, and what was done with the shown items among them."""
        lists, config = self.lists, self.config
        spans = [lists.span(int(one)) for one in chosen]
        flat = np.concatenate([np.arange(span.start, span.stop) for span in spans])
        lengths = [span.stop - span.start for span in spans]
        logits = self.logits(model, chosen, flat, lengths)
        of_list = torch.repeat_interleave(torch.arange(len(chosen)), torch.tensor(lengths))
        scores = (logits.sigmoid() @ self.worth) * (model.scale.exp() / (config.temperature * self.spread))
        order = _list_loss(scores, torch.tensor(self.targets[flat]), of_list, len(chosen))
        thought = self._by_head(logits, torch.tensor(lists.probabilities[flat]))
        labels = torch.tensor(lists.labels[flat])
        return config.gamma * (order + thought) + self._by_head(logits, labels)

    def mean_loss(self, model: _Towers, chosen: np.ndarray) -> float:
        """The loss of the lists ``chosen``, as many at a time as a step takes."""
        parts = np.array_split(chosen, -(-len(chosen) // self.config.batch_lists))
        return float(np.mean([float(self.loss_of(model, part)) for part in parts]))

    def logits(self, model: _Towers, chosen: np.ndarray, flat: np.ndarray, lengths: Sequence[int]) -> Tensor:
        """``(len(flat), heads)`` of the entries ``flat`` of the lists ``chosen``, one list after the other."""
        lists = self.lists
        pooled = {block: torch.tensor(getattr(lists.users, block)[chosen]) for block in BLOCKS}
        users = model.users(pooled, _standard(lists.users.facts[chosen], model, "user"))
        items = model.items(torch.tensor(lists.blocks[lists.rows[flat]]), _standard(lists.facts[flat], model, "item"))
        return torch.cat([part @ user.T for part, user in zip(items.split(list(lengths)), users, strict=True)])

    def _by_head(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Binary cross entropy over the cells that are known, over the entropy of the head's base rate, mean over heads."""
        known = ~torch.isnan(targets)
        losses = nn.functional.binary_cross_entropy_with_logits(logits, targets.nan_to_num(), reduction="none") * known
        return (losses.sum(0) / known.sum(0).clamp(min=1) * torch.tensor(self.by_head)).mean()


def _entropy(rates: np.ndarray) -> np.ndarray:
    """float32, at least that of one in ten thousand, so that a head that never happens does not drown the others."""
    rates = np.clip(rates, 1e-4, 1 - 1e-4)
    return (-(rates * np.log(rates) + (1 - rates) * np.log(1 - rates))).astype(np.float32)


def _list_loss(scores: Tensor, targets: Tensor, of_list: Tensor, count: int) -> Tensor:
    """Cross entropy of each list's shares under the softmax of its scores, mean over lists."""
    highest = torch.full((count,), -torch.inf).scatter_reduce(0, of_list, scores.detach(), "amax")
    exponents = (scores - highest[of_list]).exp()
    total = torch.zeros(count).index_add(0, of_list, exponents)
    return -(targets * (scores - highest[of_list] - total.log()[of_list])).sum() / count


def _shares(teacher: np.ndarray, temperature: float) -> np.ndarray:
    """float32: the teacher's utilities of one list as shares that add up to 1."""
    spread = teacher.std()
    z = (teacher - teacher.mean()) / (spread if spread > 1e-12 else 1.0) / temperature
    weights = np.exp(z - z.max())
    return (weights / weights.sum()).astype(np.float32)


def _standard(facts: np.ndarray, model: _Towers, side: str) -> Tensor:
    z = np.clip((facts - model.facts[f"{side}_mean"]) / model.facts[f"{side}_scale"], -CLIP, CLIP)
    return torch.tensor(np.nan_to_num(z).astype(np.float32))
