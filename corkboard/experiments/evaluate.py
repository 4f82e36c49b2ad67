"""Retrieval over the full catalogue: every model asked the same, by the calendar, with paired intervals over users."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.leaks import beats_the_ceiling
from corkboard.experiments.result import Breakdown, Cell, Measure, Row, Table
from corkboard.experiments.scorers import Refreshed, RetrievalScorer, UserScorer, score
from corkboard.experiments.tabulate import breakdown, number, rows_of
from corkboard.experiments.task import Moment, RetrievalTask
from corkboard.metrics.diversity import coverage_of_counts, interest_entropy
from corkboard.metrics.intervals import PerUser
from corkboard.metrics.ranking import ndcg_at_k, positions_in_lists, recall_at_k, top_k
from corkboard.seeds import generator

POPULARITY = "popularity 7 d"
"""The baseline row that others are compared with."""

LITTLE_KNOWN = 5
"""Items with fewer positive actions than this before the test have columns of their own."""

HISTORY_BUCKETS = ((0, "none"), (1, "1-4"), (5, "5-9"), (10, "10-19"), (20, "20-49"), (50, "50+"))
"""Lower bounds of the buckets by length of history."""

Scorer = RetrievalScorer | UserScorer


@dataclass
class _Found:
    """What one model listed, gathered over chunks: figures by user, the place of each pair's item in the longest list (-1: not in it),
    and how often each item was listed."""

    listed: np.ndarray
    ndcg: np.ndarray
    lists: np.ndarray
    entropy: np.ndarray
    entropy_lists: np.ndarray
    places: list[np.ndarray] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def empty(cls, users: int, items: int) -> _Found:
        return cls(np.zeros(items, np.int64), np.zeros(users), np.zeros(users), np.zeros(users), np.zeros(users))


def evaluate_retrieval(
    task: RetrievalTask,
    scorers: Mapping[str, Scorer],
    config: EvaluationConfig | None = None,
    *,
    baseline: str = POPULARITY,
    ceilings: Sequence[str] = ("oracle",),
) -> Table:
    """Rank the whole catalogue by each scorer for each user of the task and measure the lists.

    ``scorers`` maps the name of a row to its scorer, ``baseline`` names the row that the others are compared with, ``ceilings``
    the rows that nobody may beat. Measures: recall@k over (user, positive) pairs and with each user counting once, NDCG@k,
    interest entropy, P90 coverage@k.
    """
    config = config or EvaluationConfig()
    start = time.perf_counter()
    asked = _ask(task, scorers, config)
    figures = {name: _figures(name, asked, task, config) for name in asked.found}
    measures = _measures(config)
    rows = rows_of(figures, measures, baseline, config, [name for name in ceilings if name in scorers])
    table = Table(
        name="retrieval",
        title=f"Retrieval over the full catalogue ({len(task.item_ids):,} items)",
        baseline=baseline,
        measures=measures,
        rows=[_with_coverage(row, asked.found[row.name], config) for row in rows],
        protocol=_protocol(task, config),
        warnings=[*task.warnings, *_unreachable_warning(task)],
        facts=_facts(task, config),
        breakdowns=_breakdowns(asked, task, config),
        seconds=time.perf_counter() - start,
    )
    return beats_the_ceiling(table, [f"recall@{config.k}", f"NDCG@{config.k}"], figures, config)


def retrieval_figure(task: RetrievalTask, scorer: Scorer, config: EvaluationConfig | None = None) -> PerUser:
    """Recall@k of one scorer, kept apart by user: what :func:`corkboard.experiments.leaks.gap` compares between periods."""
    asked = _ask(task, {"": scorer}, config or EvaluationConfig())
    return asked.recall("", (config or EvaluationConfig()).k)


def retrieval_figures(
    task: RetrievalTask, scorers: Mapping[str, Scorer], config: EvaluationConfig | None = None
) -> dict[str, dict[str, PerUser]]:
    """Scorer -> measure -> figure by user, where no table is wanted: to be kept, and put together with other seeds later."""
    config = config or EvaluationConfig()
    asked = _ask(task, scorers, config)
    return {name: _figures(name, asked, task, config) for name in asked.found}


def retrieval_measures(config: EvaluationConfig) -> list[Measure]:
    """The columns that :func:`retrieval_figures` has figures for."""
    return [measure for measure in _measures(config) if not measure.name.startswith("P90 coverage")]


@dataclass(frozen=True)
class _Asked:
    """What every scorer answered, beside the user and the item of each pair, int64 ``(pairs,)`` over all moments."""

    found: Mapping[str, _Found]
    users: np.ndarray
    items: np.ndarray
    n_users: int

    def recall(self, row: str, k: int, inside: np.ndarray | None = None) -> PerUser:
        """Recall@k of a row over all pairs, or those ``inside``, bool ``(pairs,)``."""
        places = np.concatenate(self.found[row].places)
        inside = np.ones(len(places), bool) if inside is None else inside
        return recall_at_k(places[inside], self.users[inside], self.n_users, k)


def _ask(task: RetrievalTask, scorers: Mapping[str, Scorer], config: EvaluationConfig) -> _Asked:
    found = {name: _Found.empty(len(task.user_ids), len(task.item_ids)) for name in scorers}
    ties = generator(config.seed, "evaluation", "ties").permutation(len(task.item_ids))
    pair_users, pair_items = [], []
    for moment in task.moments:
        current = {name: _as_of(scorer, moment, config) for name, scorer in scorers.items()}
        for chunk in _chunks(moment, max(1, config.chunk_scores // max(len(task.item_ids), 1))):
            pair_users.append(chunk.users[chunk.positive_users])
            pair_items.append(chunk.positive_items)
            excluded = np.zeros((len(chunk.users), len(task.item_ids)), bool)
            excluded[chunk.seen_users, chunk.seen_items] = True
            for name, scorer in current.items():
                _measure(found[name], scorer, task, chunk, excluded, ties, config)
    return _Asked(found, np.concatenate(pair_users), np.concatenate(pair_items), len(task.user_ids))


def _as_of(scorer: Scorer, moment: Moment, config: EvaluationConfig) -> Scorer:
    return scorer.as_of(moment.known_ms) if config.cadence == "daily" and isinstance(scorer, Refreshed) else scorer


def _chunks(moment: Moment, size: int) -> Iterator[Moment]:
    """The moment in pieces of at most ``size`` users."""
    for start in range(0, len(moment.users), size):
        end = min(start + size, len(moment.users))
        seen = (moment.seen_users >= start) & (moment.seen_users < end)
        liked = (moment.positive_users >= start) & (moment.positive_users < end)
        yield Moment(
            known_ms=moment.known_ms,
            users=moment.users[start:end],
            histories=moment.histories[start:end],
            seen_users=moment.seen_users[seen] - start,
            seen_items=moment.seen_items[seen],
            positive_users=moment.positive_users[liked] - start,
            positive_items=moment.positive_items[liked],
        )


def _measure(
    found: _Found, scorer: Scorer, task: RetrievalTask, chunk: Moment, excluded: np.ndarray, ties: np.ndarray, config: EvaluationConfig
) -> None:
    start = time.perf_counter()
    user_ids = [task.user_ids[int(user)] for user in chunk.users]
    scores = score(scorer, user_ids, chunk.histories, chunk.known_ms, len(task.item_ids))
    lists = top_k(scores, max(*_lengths(config), config.entropy_k), ties, excluded)
    short = lists[:, : config.k]
    positions = positions_in_lists(lists, chunk.positive_users, chunk.positive_items)
    found.places.append(positions)
    ndcg = ndcg_at_k(positions, chunk.positive_users, len(chunk.users), config.k)
    entropy = interest_entropy(lists[:, : config.entropy_k], task.topics, task.n_topics)
    found.ndcg[chunk.users] += ndcg.total
    found.lists[chunk.users] += ndcg.weight
    found.entropy[chunk.users] += np.nan_to_num(entropy)
    found.entropy_lists[chunk.users] += ~np.isnan(entropy)
    found.listed += np.bincount(short[short >= 0], minlength=len(task.item_ids))
    found.seconds += time.perf_counter() - start


def _lengths(config: EvaluationConfig) -> tuple[int, ...]:
    """The lengths of lists that recall looks at, the shorter one first."""
    return (config.k, config.long_k) if config.long_k > config.k else (config.k,)


def _measures(config: EvaluationConfig) -> list[Measure]:
    k = config.k
    rare = f"the same, for items with fewer than {LITTLE_KNOWN} positive actions before the test"
    extra = [Measure(f"recall@{n}", f"share of all pairs whose item is among the user's first {n}") for n in _lengths(config)[1:]]
    return [
        Measure(f"recall@{k}", f"share of all (user, positive) pairs whose item is among the user's first {k}"),
        Measure(f"recall@{k} by user", "the same, with each user counting once"),
        Measure(f"NDCG@{k}", f"hits among the first {k}, discounted by place, against the best possible list; mean over lists"),
        Measure(f"entropy@{config.entropy_k}", f"nats; how many topics a user's first {config.entropy_k} are spread over", None, 3),
        Measure(f"P90 coverage@{k}", "smallest part of the catalogue that makes up 90 % of everything listed; near 0 is collapse", None),
        *extra,
        *(Measure(_of_little_known(n), rare) for n in _lengths(config)),
    ]


def _of_little_known(k: int) -> str:
    return f"recall@{k} rare"


def _figures(row: str, asked: _Asked, task: RetrievalTask, config: EvaluationConfig) -> dict[str, PerUser]:
    found, recall = asked.found[row], asked.recall(row, config.k)
    rare = (np.asarray(task.popularity) < LITTLE_KNOWN)[asked.items]
    return {
        f"recall@{config.k}": recall,
        f"recall@{config.k} by user": recall.macro(),
        f"NDCG@{config.k}": PerUser(found.ndcg, found.lists, len(asked.users)),
        f"entropy@{config.entropy_k}": PerUser(found.entropy, found.entropy_lists),
        **{f"recall@{n}": asked.recall(row, n) for n in _lengths(config)[1:]},
        **{_of_little_known(n): asked.recall(row, n, rare) for n in _lengths(config)},
    }


def _with_coverage(row: Row, found: _Found, config: EvaluationConfig) -> Row:
    """Coverage is of all lists together. It has no interval: a resample repeats users, which narrows it whatever the model does."""
    value = coverage_of_counts(found.listed, 0.9)
    cell = Cell(number(value), int(np.count_nonzero(found.lists)))
    return Row(row.name, {**row.cells, f"P90 coverage@{config.k}": cell}, row.ceiling, round(found.seconds, 3))


def _breakdowns(asked: _Asked, task: RetrievalTask, config: EvaluationConfig) -> list[Breakdown]:
    bounds = np.array([low for low, _ in HISTORY_BUCKETS])
    by_history = np.searchsorted(bounds, task.earlier[asked.users], side="right") - 1
    names, popularity_of = popularity_buckets(task.popularity)
    parts = [("by length of history", [name for _, name in HISTORY_BUCKETS], by_history)]
    parts.append(("by popularity of the item", names, popularity_of[asked.items]))
    result = []
    for name, buckets, bucket_of in parts:
        figures = {}
        for row in asked.found:
            figures[row] = [asked.recall(row, config.k, bucket_of == b) for b in range(len(buckets))]
        result.append(breakdown(name, f"recall@{config.k}", buckets, figures, config))
    return result


def popularity_buckets(popularity: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Names, most popular first, and each item's bucket: by its place among the items that had a positive before the test."""
    names = ["top 1 %", "next 9 %", "next 40 %", "the rest", "never acted on"]
    taken = int(np.count_nonzero(popularity))
    place = np.empty(len(popularity), np.int64)
    place[np.argsort(-popularity, kind="stable")] = np.arange(len(popularity))
    bucket = np.searchsorted(np.ceil(np.array([0.01, 0.1, 0.5]) * taken), place, side="right")
    return names, np.where(popularity > 0, bucket, 4)


def _protocol(task: RetrievalTask, config: EvaluationConfig) -> list[str]:
    days = (task.end_ms - task.before_ms) / 86_400_000
    made = "once, from everything before the cut B, and stand for the whole test"
    if config.cadence == "daily":
        made = (
            f"every day from what was known {config.delay_days} day(s) before it began; "
            "models stay as trained before B unless they refresh themselves"
        )
    return [
        f"Global split by time: models and histories end at B, positives lie in the {days:g} days from B on.",
        f"Lists are made {made}.",
        "Every item available at B is ranked; nothing is sampled.",
        "Items a user had engaged with before are left out of lists and positives alike, the same for all rows.",
        "A positive is the first positive action of a user on an item. Equal scores are ordered by one seeded permutation.",
        f"Users with at least {task.min_actions} earlier action(s) and a reachable positive are asked: {len(task.user_ids):,} users.",
        f"Intervals: {config.level:.0%} percentile bootstrap over users, {config.replicates:,} resamples, paired between rows.",
    ]


def _unreachable_warning(task: RetrievalTask) -> list[str]:
    share = task.unreachable_share
    return [f"{share:.0%} of the positives are on items that did not exist at the cut; no row can reach them."] if share > 0.1 else []


def _facts(task: RetrievalTask, config: EvaluationConfig) -> dict[str, int | float | str | None]:
    return {
        "users": len(task.user_ids),
        "items": len(task.item_ids),
        "positives": task.positives,
        "unreachable": task.unreachable,
        "unreachable share": round(task.unreachable_share, 4),
        "median history": float(np.median(task.earlier)),
        "cadence": config.cadence,
        "lists": int(sum(len(moment.users) for moment in task.moments)),
        "topics": task.n_topics,
    }
