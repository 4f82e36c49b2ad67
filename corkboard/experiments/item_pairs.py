"""Which item comes next: pairs of items that one user engaged one after the other in the test, and how far up each model lists the second.

A query q is an item that a user engaged positively; wanted is the item i of the user's next positive actions, within a window (the
positive pairs of PinSage, Ying et al., KDD 2018, as a test), or an item engaged on the related page of q. Unlike there every item of the
catalogue is ranked, also those that were created after B: only their content can find them. What a user had before is not left out:
the question is what goes with q, not what is new to somebody.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from corkboard.errors import InputError
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.item_questions import (
    CONTENT,
    LEVELS,
    KnownItems,
    Part,
    Questions,
    Score,
    Split,
    answers,
    ask,
    figures_of,
    measures_of,
    rows_and_breakdowns,
)
from corkboard.experiments.item_scorers import ItemScorer
from corkboard.experiments.result import Table
from corkboard.graph.from_lake import FAMILIES
from corkboard.lake.calendar import DAY_MS, Calendar
from corkboard.lake.lake import Lake
from corkboard.lake.schema import POSITIVE, user_key_expr
from corkboard.metrics.intervals import PerUser
from corkboard.seeds import generator

_NAMES: Mapping[str, str] = {"close_up": "close-up", "click": "click", "save": "save", "cart": "cart"}
"""Columns by family of actions, the weakest first."""

_ORIGINS = ("right after only", "related page")


@dataclass(frozen=True)
class PairTask:
    """Pairs of the test span, each once for a user and both items.

    ``users`` are rows of ``user_ids``, ``queries`` and ``targets`` catalogue rows, int64 ``(pairs,)`` each; ``actions`` says by family
    which actions on the target count, bool ``(pairs,)``; ``after`` and ``related`` where the pair was found, bool ``(pairs,)``. ``outside``
    counts pairs with an item that the catalogue did not have at the end.
    """

    known: KnownItems
    user_ids: Sequence[str]
    users: np.ndarray
    queries: np.ndarray
    targets: np.ndarray
    actions: Mapping[str, np.ndarray]
    after: np.ndarray
    related: np.ndarray
    before_ms: int
    end_ms: int
    window_minutes: float
    outside: int
    warnings: Sequence[str] = ()

    @property
    def item_ids(self) -> Sequence[str]:
        """The catalogue: what scorers have a column for."""
        return self.known.item_ids

    @classmethod
    def of(
        cls, lake: Lake, calendar: Calendar, config: EvaluationConfig | None = None, *, window_minutes: float = 60, max_pairs: int = 50_000
    ) -> PairTask:
        """The pairs of ``[B, end)``; where there are more than ``max_pairs``, so many drawn by seed. Raises :class:`InputError` if none."""
        config = config or EvaluationConfig()
        known = KnownItems.of(lake, calendar)
        everything = item_pairs(lake.actions(calendar.rank_cut_ms, calendar.end_ms), window_minutes)
        rows = known.rows()
        pairs = everything.join(rows.rename({"item_id": "left_id", "row": "left"}), on="left_id", how="inner")
        pairs = pairs.join(rows.rename({"item_id": "right_id", "row": "right"}), on="right_id", how="inner").sort("user", "left", "right")
        if pairs.is_empty():
            raise InputError(
                "Nobody engaged one item after another in the test",
                found=f"{len(everything)} pairs, none of them of items in the catalogue",
                expected=f"positive actions of one user within {window_minutes:g} minutes, or on the related page of an item",
                hint="Lengthen the test, or the window.",
            )
        outside, warnings = len(everything) - len(pairs), []
        if len(pairs) > max_pairs:
            warnings.append(f"{max_pairs:,} of {len(pairs):,} pairs were drawn by seed.")
            pairs = pairs[np.sort(generator(config.seed, "evaluation", "pairs").choice(len(pairs), max_pairs, replace=False))]
        return cls(
            known=known,
            user_ids=pairs["user"].unique(maintain_order=True).to_list(),
            users=pairs["user"].rle_id().to_numpy().astype(np.int64),
            queries=pairs["left"].to_numpy(),
            targets=pairs["right"].to_numpy(),
            actions={family: pairs[family].to_numpy() for family in _NAMES},
            after=pairs["after"].to_numpy(),
            related=pairs["related"].to_numpy(),
            before_ms=calendar.rank_cut_ms,
            end_ms=calendar.end_ms,
            window_minutes=window_minutes,
            outside=outside,
            warnings=warnings,
        )

    @cached_property
    def asked(self) -> np.ndarray:
        """int64 ``(queries,)``: the distinct query items, in order of rows."""
        return np.unique(self.queries)

    @cached_property
    def questions(self) -> Questions:
        """Each distinct query item once."""
        asked, levels = self.asked, self.known.levels
        about = "the same, for pairs whose wanted item got a {}"
        return Questions(
            known=self.known,
            n_users=len(self.user_ids),
            n_queries=len(asked),
            users=self.users,
            queries=np.searchsorted(asked, self.queries),
            targets=self.targets,
            own_queries=np.arange(len(asked)),
            own_items=asked,
            parts=[Part(name, about.format(name), self.actions[family]) for family, name in _NAMES.items()],
            splits=[
                Split("by what was known of the wanted item", LEVELS, levels[self.targets]),
                Split("by what was known of the query", LEVELS, levels[self.queries]),
                Split("by where the pair comes from", _ORIGINS, self.related.astype(np.int64)),
            ],
        )


def item_pairs(actions: pl.DataFrame, window_minutes: float) -> pl.DataFrame:
    """Pairs of distinct items of one user: user, left_id, right_id, after, related, and one flag for each family of positive actions.

    ``after``: the actions on the right item follow on the user's last positive action on another item, the left one, which is no more
    than ``window_minutes`` older. ``related``: they happened on the page that belongs to the left item. The order of rows does not matter.
    """
    flags = [pl.col("action").is_in(FAMILIES[family]).alias(family) for family in _NAMES]
    positive = actions.lazy().filter(pl.col("action").is_in(list(POSITIVE)) & pl.col("item_id").is_not_null())
    done = positive.select(pl.col("time_ms", "event_id", "context_item_id"), *flags, user=user_key_expr(), right_id="item_id")
    ordered = done.sort("user", "time_ms", "event_id").collect()
    before = _item_before(ordered, window_minutes * 60_000)
    left = ordered["right_id"].gather(np.maximum(before, 0))
    following = ordered.with_columns(left_id=left, after=pl.lit(True), related=pl.lit(False)).filter(before >= 0)
    beside = ordered.with_columns(left_id="context_item_id", after=pl.lit(False), related=pl.lit(True))
    columns = ["after", "related", *_NAMES]
    pairs = pl.concat([following, beside]).filter(pl.col("left_id") != pl.col("right_id"))
    return pairs.group_by("user", "left_id", "right_id").agg(pl.col(columns).any()).sort("user", "left_id", "right_id")


def _item_before(ordered: pl.DataFrame, window_ms: float) -> np.ndarray:
    """int64: for each row the row of the same user's last action on another item, -1 where there is none within the window."""
    users, times = ordered["user"].rle_id().to_numpy(), ordered["time_ms"].to_numpy()
    runs = ordered.select(pl.struct("user", "right_id").rle_id()).to_series().to_numpy()
    before = np.flatnonzero(np.diff(runs.astype(np.int64), prepend=-1))[runs] - 1
    return np.where((before >= 0) & (users[before] == users) & (times - times[before] <= window_ms), before, -1)


def evaluate_item_pairs(
    task: PairTask, scorers: Mapping[str, ItemScorer], config: EvaluationConfig | None = None, *, baseline: str = CONTENT
) -> Table:
    """Every item of the catalogue but the query itself, ranked by each scorer for each query: recall at 10 and 100, by action, cold apart.

    ``scorers`` maps the name of a row to its scorer, over ``task.item_ids``. Raises :class:`NotFound` where none is called ``baseline``.
    """
    config, start = config or EvaluationConfig(), time.perf_counter()
    found = ask(task.questions, {name: _score(task, scorer) for name, scorer in scorers.items()}, baseline, config)
    rows, breakdowns = rows_and_breakdowns(task.questions, found, baseline, config)
    return Table(
        name="items",
        title=f"Which item comes next, over the full catalogue ({len(task.item_ids):,} items)",
        baseline=baseline,
        measures=measures_of(task.questions),
        rows=rows,
        protocol=_protocol(task, config),
        warnings=[*task.warnings, *_warnings(task)],
        facts=_facts(task),
        breakdowns=breakdowns,
        seconds=time.perf_counter() - start,
    )


def pair_figures(task: PairTask, scorer: ItemScorer, config: EvaluationConfig | None = None) -> dict[str, PerUser]:
    """Measure -> figure by user of one scorer, where no table is wanted: to be kept, and put together with other seeds later."""
    return figures_of(task.questions, answers(task.questions, _score(task, scorer), config or EvaluationConfig()))


def _score(task: PairTask, scorer: ItemScorer) -> Score:
    return lambda start, stop: scorer.score_items(task.asked[start:stop])


def _protocol(task: PairTask, config: EvaluationConfig) -> list[str]:
    days = (task.end_ms - task.before_ms) / DAY_MS
    return [
        f"Global split by time: models and graphs end at B, pairs lie in the {days:g} days from B on.",
        f"A pair: an item that a user engaged positively, and the other item that the user engaged last, at most {task.window_minutes:g} "
        "minutes before, or the item whose related page it was on. Each user and pair counts once, and once in each action's column.",
        "Every item there was at the end is ranked but the query itself, also items created after B; nothing is sampled.",
        "Equal scores, such as those of items that a row knows nothing of, are ordered by one seeded permutation.",
        "People could only engage with what was shown to them: pairs lean towards what the logging policy put side by side.",
        f"Intervals: {config.level:.0%} percentile bootstrap over users, {config.replicates:,} resamples, paired between rows.",
    ]


def _warnings(task: PairTask) -> list[str]:
    cold = float(np.mean(task.known.levels[task.queries] < LEVELS.index("1-4")))
    said = (
        [f"{cold:.0%} of the pairs ask about an item that nobody had acted on before B: graphs know nothing of it."] if cold > 0.1 else []
    )
    share = task.outside / (task.outside + len(task.users))
    if share > 0.1:
        said.append(f"{share:.0%} of the pairs have an item that the catalogue did not have at the end; they are left out.")
    return said


def _facts(task: PairTask) -> dict[str, int | float | str | None]:
    return {
        "users": len(task.user_ids),
        "items": len(task.item_ids),
        "pairs": len(task.users),
        "queries": len(task.asked),
        "on related pages": int(task.related.sum()),
        "wanted items cold": int(task.questions.cold.sum()),
        "items new": int(task.known.new.sum()),
        "outside": task.outside,
    }
