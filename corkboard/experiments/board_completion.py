"""Board completion: the newest pins of public boards are hidden, and each model lists what might come next to the others.

This is how Pixie was judged offline (Eksombatchai et al., WWW 2018), with a cut in time in place of a number of hidden pins: a board is
asked about by what lay on it before B, and wanted is what was added from B on. Secret, deleted and undeclared boards are not asked about.
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
    Questions,
    Score,
    Split,
    answers,
    ask,
    figures_of,
    measures_of,
    rows_and_breakdowns,
)
from corkboard.experiments.item_scorers import SetScorer
from corkboard.experiments.result import Table
from corkboard.lake.calendar import DAY_MS, Calendar
from corkboard.lake.lake import Lake
from corkboard.metrics.intervals import PerUser
from corkboard.seeds import generator

_BOARD = ("tenant", "board_id")
"""What names a board."""

_SIZES = ("4-9 items", "10-19", "20+")
_SMALLEST = (4, 10, 20)


@dataclass(frozen=True)
class BoardTask:
    """Boards with items before B and new ones from B on.

    ``sets[b]`` are catalogue rows of what lay on board b before B, newest first, at most ``newest``; ``own_boards`` and ``own_items`` are
    all of it, int64 ``(m,)`` each, and are not to be listed. ``owners`` int64 ``(boards,)`` are rows of ``user_ids``, ``sizes`` int64
    ``(boards,)`` items before B. Wanted are ``targets`` on ``boards``, int64 ``(pairs,)`` each. ``outside`` counts wanted items that the
    catalogue did not have at the end.
    """

    known: KnownItems
    user_ids: Sequence[str]
    board_ids: Sequence[str]
    owners: np.ndarray
    sizes: np.ndarray
    sets: Sequence[np.ndarray]
    own_boards: np.ndarray
    own_items: np.ndarray
    boards: np.ndarray
    targets: np.ndarray
    before_ms: int
    end_ms: int
    newest: int
    least: int
    outside: int
    warnings: Sequence[str] = ()

    @property
    def item_ids(self) -> Sequence[str]:
        """The catalogue: what scorers have a column for."""
        return self.known.item_ids

    @classmethod
    def of(
        cls,
        lake: Lake,
        calendar: Calendar,
        config: EvaluationConfig | None = None,
        *,
        least: int = 4,
        newest: int = 20,
        max_boards: int = 5_000,
    ) -> BoardTask:
        """Boards with at least ``least`` items before B; where there are more than ``max_boards``, so many drawn by seed.

        Raises :class:`InputError` where no board had anything added in the test.
        """
        config, known = config or EvaluationConfig(), KnownItems.of(lake, calendar)
        shown = _shown(lake, calendar)
        before = _lying(lake.actions(end_ms=calendar.rank_cut_ms), shown, known)
        added = _lying(lake.actions(calendar.rank_cut_ms, calendar.end_ms), shown, known).join(before, on=[*_BOARD, "item_id"], how="anti")
        before = before.filter(pl.col("row").is_not_null()).filter(pl.len().over(_BOARD) >= least)
        added = added.join(before, on=_BOARD, how="semi")
        wanted = added.filter(pl.col("row").is_not_null())
        if wanted.is_empty():
            raise InputError(
                "No board can be asked about: nothing was saved in the test to a public board that had items before",
                found=f"{before.select(_BOARD).n_unique()} public boards with at least {least} items before the test",
                expected="saves with a board_id of a board that was declared",
            )
        asked, warnings = wanted.select(_BOARD).unique().sort(_BOARD), []
        if len(asked) > max_boards:
            warnings.append(f"{max_boards:,} of {len(asked):,} boards were drawn by seed.")
            asked = asked[np.sort(generator(config.seed, "evaluation", "boards").choice(len(asked), max_boards, replace=False))]
        boards = asked.with_row_index("b").join(shown, on=_BOARD, how="left", maintain_order="left")
        before, wanted = (frame.join(boards, on=_BOARD, how="inner", maintain_order="left") for frame in (before, wanted))
        before = before.sort("b", "time_ms", "row", descending=[False, True, False])
        sizes = np.bincount(before["b"].to_numpy(), minlength=len(boards))
        own_items = before["row"].to_numpy()
        users = boards["owner"].unique().sort()
        return cls(
            known=known,
            user_ids=users.to_list(),
            board_ids=boards["board_id"].to_list(),
            owners=users.search_sorted(boards["owner"]).to_numpy().astype(np.int64),
            sizes=sizes,
            sets=[rows[:newest] for rows in np.split(own_items, np.cumsum(sizes)[:-1])],
            own_boards=before["b"].to_numpy().astype(np.int64),
            own_items=own_items,
            boards=wanted["b"].to_numpy().astype(np.int64),
            targets=wanted["row"].to_numpy(),
            before_ms=calendar.rank_cut_ms,
            end_ms=calendar.end_ms,
            newest=newest,
            least=least,
            outside=added["row"].null_count(),
            warnings=warnings,
        )

    @cached_property
    def questions(self) -> Questions:
        """Each board once; a pair belongs to the owner of its board."""
        size = np.searchsorted(np.array(_SMALLEST), self.sizes, side="right") - 1
        return Questions(
            known=self.known,
            n_users=len(self.user_ids),
            n_queries=len(self.board_ids),
            users=self.owners[self.boards],
            queries=self.boards,
            targets=self.targets,
            own_queries=self.own_boards,
            own_items=self.own_items,
            parts=[],
            splits=[
                Split("by what was known of the wanted item", LEVELS, self.known.levels[self.targets]),
                Split("by size of the board", _SIZES, np.maximum(size, 0)[self.boards]),
            ],
        )


def _shown(lake: Lake, calendar: Calendar) -> pl.DataFrame:
    """Boards that were public and not deleted at B and at the end: tenant, board_id, owner."""
    public = [
        lake.boards(moment).filter(~pl.col("secret").fill_null(False) & ~pl.col("deleted").fill_null(False))
        for moment in (calendar.rank_cut_ms, calendar.end_ms)
    ]
    owner = pl.coalesce("user_id", pl.lit("board ") + pl.col("board_id"))
    return public[0].join(public[1], on=_BOARD, how="semi").select(*_BOARD, owner=owner)


def _lying(actions: pl.DataFrame, shown: pl.DataFrame, known: KnownItems) -> pl.DataFrame:
    """What was saved to the boards ``shown``: tenant, board_id, item_id, time_ms of the last save, row (null outside of the catalogue)."""
    saved = actions.filter((pl.col("action") == "save") & pl.col("item_id").is_not_null()).join(shown, on=_BOARD, how="semi")
    last = saved.group_by(*_BOARD, "item_id").agg(pl.col("time_ms").max()).sort(*_BOARD, "item_id")
    return last.join(known.rows(), on="item_id", how="left", maintain_order="left")


def evaluate_boards(
    task: BoardTask, scorers: Mapping[str, SetScorer], config: EvaluationConfig | None = None, *, baseline: str = CONTENT
) -> Table:
    """Every item of the catalogue that is not on the board, ranked by each scorer for each board: recall at 10 and 100, cold items apart.

    ``scorers`` maps the name of a row to its scorer, over ``task.item_ids``. Raises :class:`NotFound` where none is called ``baseline``.
    """
    config, start = config or EvaluationConfig(), time.perf_counter()
    found = ask(task.questions, {name: _score(task, scorer) for name, scorer in scorers.items()}, baseline, config)
    rows, breakdowns = rows_and_breakdowns(task.questions, found, baseline, config)
    share = task.outside / (task.outside + len(task.targets))
    outside = [f"{share:.0%} of the new pins are of items that the catalogue did not have at the end; they are left out."]
    return Table(
        name="boards",
        title=f"What comes onto a board next, over the full catalogue ({len(task.item_ids):,} items)",
        baseline=baseline,
        measures=measures_of(task.questions),
        rows=rows,
        protocol=_protocol(task, config),
        warnings=[*task.warnings, *(outside if share > 0.1 else [])],
        facts={
            "boards": len(task.board_ids),
            "owners": len(task.user_ids),
            "items": len(task.item_ids),
            "new pins": len(task.targets),
            "wanted items cold": int(task.questions.cold.sum()),
            "median size": float(np.median(task.sizes)),
            "outside": task.outside,
        },
        breakdowns=breakdowns,
        seconds=time.perf_counter() - start,
    )


def board_figures(task: BoardTask, scorer: SetScorer, config: EvaluationConfig | None = None) -> dict[str, PerUser]:
    """Measure -> figure by owner of one scorer, where no table is wanted: to be kept, and put together with other seeds later."""
    return figures_of(task.questions, answers(task.questions, _score(task, scorer), config or EvaluationConfig()))


def _score(task: BoardTask, scorer: SetScorer) -> Score:
    return lambda start, stop: scorer.score_sets(task.sets[start:stop])


def _protocol(task: BoardTask, config: EvaluationConfig) -> list[str]:
    days = (task.end_ms - task.before_ms) / DAY_MS
    return [
        f"Global split by time: models and graphs end at B, wanted are items that were saved to a board in the {days:g} days from B on.",
        f"Asked are declared boards, public at B and at the end, with at least {task.least} items before B, by their newest {task.newest}.",
        "Every item there was at the end is ranked but those that lay on the board at B, also items created after B; nothing is sampled.",
        "Equal scores, such as those of items that a row knows nothing of, are ordered by one seeded permutation.",
        f"Intervals: {config.level:.0%} percentile bootstrap over owners of boards, {config.replicates:,} resamples, paired between rows.",
    ]
