"""Purchases of groceries, by the global split in time: towers on data without any text, beside baselines that are hard to beat.

The data is the grocery part of the Amazon reviews as ReChorus ships it: who bought what on which day, hardly anything about the items.
Every row is fitted on what happened before B and asked once, for the whole test, what users buy after it
(:mod:`corkboard.experiments.task`). The towers are trained with several seeds; intervals are over users and seeds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from corkboard.embeddings.config import PinnerFormerConfig
from corkboard.embeddings.histories import Histories
from corkboard.experiments.baselines import baseline_scorers
from corkboard.experiments.evaluate import POPULARITY, Scorer, retrieval_figures, retrieval_measures
from corkboard.experiments.ml_1m import no_content
from corkboard.experiments.real_config import GroceryConfig
from corkboard.experiments.real_data import TOWER_CODE, Say, data_file, evaluation_of, lake_of, table_of_runs
from corkboard.experiments.result import Evaluation, Table
from corkboard.experiments.spine_runs import Context, Job, Run, UserRunStore, code_hash, run_jobs
from corkboard.experiments.task import RetrievalTask, retrieval_task
from corkboard.lake.calendar import DAY_MS, Calendar
from corkboard.lake.importers import find_importer, ingest_outside
from corkboard.lake.lake import Lake

if TYPE_CHECKING:
    from corkboard.embeddings.pinnerformer import PinnerFormer

WORLD = "grocery"
TOWERS = {"dense all action": "dense_all_action", "SASRec-style": "sasrec", "next action": "next_action"}
"""Row -> objective."""
BASELINES = (POPULARITY, "popularity decayed", "item-kNN", "EASE")
IMPORTER = "rechorus"
PASS_SECONDS = 15.0
"""What a pass over all users may take one core."""
TASK_CODE = tuple(f"experiments/{name}.py" for name in ("task", "baselines", "evaluate", "grocery"))


def run_grocery(
    folder: Path, runs: Path, say: Say, *, minutes: float = 60.0, seeds: int = 3, workers: int = 2, config: GroceryConfig | None = None
) -> Evaluation:
    """Measure what is missing in ``runs`` within ``minutes``, and return the table of all that is there.

    ``folder`` is a data set of ReChorus, ``train.csv`` and ``item_meta.csv``; its lake is made once, below ``runs``.
    """
    config = config or GroceryConfig()
    lake = prepared_lake(folder, runs)
    calendar = Calendar.of(lake, config.calendar)
    task = retrieval_task(lake, calendar, config.evaluation)
    store = UserRunStore(runs, calendar.split_hash(lake), code_hash(*TOWER_CODE, *TASK_CODE))
    jobs = jobs_of(lake, task, config, seeds)
    finished = run_jobs(jobs, store, runs, minutes, say, workers)
    table = table_of_runs(_table(task, config, seeds), jobs, store, config.evaluation)
    cuts = {name: getattr(calendar, name) for name in ("start_ms", "item_cut_ms", "rank_cut_ms", "end_ms")}
    return evaluation_of(table, calendar.split_hash(lake), cuts, config.evaluation, finished)


def prepared_lake(folder: Path, runs: Path) -> Lake:
    """The lake of the data set, made below ``runs`` unless it is there: one for each content of the files and each code of the lake."""
    source = data_file(Path(folder).parent, Path(folder).name)
    importer = find_importer(source, IMPORTER)
    assert importer is not None
    return lake_of(importer.files(source), runs, code_hash("lake"), lambda place: ingest_outside(place, source, IMPORTER))


def jobs_of(lake: Lake, task: RetrievalTask, config: GroceryConfig, seeds: int) -> list[Job]:
    """The baselines, then a job for each seed and tower; all rows of one seed before the next."""
    shared = {"experiment": WORLD, "evaluation": config.evaluation.model_dump(mode="json")}
    where = {"lake": str(lake.folder), "config": config.model_dump(mode="json")}
    jobs = [
        Job("baselines", f"{__name__}:measure", [Run(WORLD, name, 0, {**shared, "row": name}, 60.0) for name in BASELINES], config=where)
    ]
    for seed in range(seeds):
        for name, objective in TOWERS.items():
            settings = {**shared, "row": name, "passes": config.passes, "objective": objective}
            settings["tower"] = config.tower.model_dump(mode="json")
            run = Run(WORLD, name, seed, settings, config.passes * PASS_SECONDS)
            jobs.append(Job(f"{name} {seed}", f"{__name__}:measure", [run], config=where))
    return jobs


def measure(context: Context) -> None:
    """The work of a job: each of its runs that is missing and fits."""
    given = context.job.config
    shared: Purchases | None = None
    for run in context.todo():
        start = time.perf_counter()
        shared = shared or Purchases(Lake(Path(given["lake"])), GroceryConfig.model_validate(given["config"]))
        context.doing(run.variant)
        tell = lambda at, of, run=run: context.doing(f"training {run.variant}", at, of)  # noqa: E731
        scorer = shared.tower(TOWERS[run.variant], run.seed, tell) if run.variant in TOWERS else shared.baselines[run.variant]
        figures = retrieval_figures(shared.task, {run.variant: scorer}, shared.config.evaluation)[run.variant]
        context.finished(run, figures, {}, time.perf_counter() - start)


class Purchases:
    """The task, and what is trained for it before B. ``before_ms`` may be earlier than B, to choose settings without the test."""

    def __init__(self, lake: Lake, config: GroceryConfig, calendar: Calendar | None = None):
        self.lake, self.config = lake, config
        self.calendar = calendar or Calendar.of(lake, config.calendar)
        self.task = retrieval_task(lake, self.calendar, config.evaluation)

    @cached_property
    def baselines(self) -> dict[str, Scorer]:
        """The rows that every retrieval table has."""
        return baseline_scorers(self.lake, self.calendar, self.task, self.config.evaluation)

    @cached_property
    def histories(self) -> Histories:
        """What everybody bought before B."""
        actions = self.lake.until(self.task.before_ms).actions(self.calendar.start_ms)
        return Histories.of(actions, self.task.item_ids, self.config.tower.history)

    def tower(self, objective: str, seed: int, tell: Callable[[int, int], None] | None = None) -> TowerScorer:
        """A tower trained with that objective."""
        from corkboard.embeddings.pinnerformer_training import train_pinnerformer

        progress = None if tell is None else lambda now: tell(now.step, now.steps) if now.step % 50 == 0 else None
        settings = self._settings(objective)
        content = no_content(self.task.item_ids)
        model = train_pinnerformer(self.histories, content, settings, seed, self.task.before_ms, progress)
        return TowerScorer(model, self.histories)

    def _settings(self, objective: str) -> PinnerFormerConfig:
        tower = self.config.tower
        since_ms = self.task.before_ms - (tower.objective.recent_days or math.inf) * DAY_MS
        users = np.unique(self.histories.owners[self.histories.time_ms >= since_ms])
        steps = self.config.passes * math.ceil(len(users) / tower.batch)
        return tower.model_copy(
            update={
                "objective": tower.objective.model_copy(update={"name": objective}),
                "training": tower.training.model_copy(update={"steps": steps}),
            }
        )


class TowerScorer:
    """User vectors against the item vectors of a PinnerFormer without content. A user who is not in ``histories`` scores 0 throughout."""

    def __init__(self, model: PinnerFormer, histories: Histories):
        self.model, self.histories = model, histories
        self.content = no_content(histories.item_ids)
        self.vectors = model.encode_items(histories.item_ids, self.content.vectors)

    def score_users(self, user_ids: Sequence[str], known_ms: int) -> np.ndarray:
        """float32 ``(len(user_ids), items)`` from what was known strictly before ``known_ms``."""
        rows = self.histories.rows(user_ids)
        users = np.zeros((len(rows), self.model.dim), np.float32)
        known = rows >= 0
        moments = np.full(int(known.sum()), known_ms, np.int64)
        users[known] = self.model.encode_users(self.histories, self.content, rows[known], moments)
        return users @ self.vectors.T


def _table(task: RetrievalTask, config: GroceryConfig, seeds: int) -> Table:
    days = (task.end_ms - task.before_ms) / DAY_MS
    facts = {
        "users": len(task.user_ids),
        "items": len(task.item_ids),
        "positives": task.positives,
        "unreachable share": round(task.unreachable_share, 4),
        "seeds": seeds,
        "passes": config.passes,
    }
    protocol = [
        f"Global split by time: models and histories end at B; positives are first purchases in the {days:g} days from B on.",
        "Every item known at B is ranked, less those the user bought before; lists are made once, at B.",
        f"Users with at least {config.evaluation.min_actions} earlier purchases are asked. Items have no text: an id is all there is.",
        f"Intervals: {config.evaluation.level:.0%} bootstrap over users and, of rows with several, over seeds.",
    ]
    measures = retrieval_measures(config.evaluation)
    return Table(
        "retrieval", "Grocery purchases, global split by time", POPULARITY, measures, [], protocol, list(task.warnings), facts=facts
    )
