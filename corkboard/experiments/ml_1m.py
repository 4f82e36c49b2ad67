"""MovieLens-1M, leave-one-out with the whole catalogue ranked: are the towers as good as others have built them?

The protocol is :mod:`corkboard.experiments.leave_one_out`. Nothing is trained on validation items: they choose the settings of the
baselines, and their lists are printed so that an overfitted recipe can be seen. Published figures stand beside ours.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.embeddings.config import PinnerFormerConfig
from corkboard.embeddings.histories import Histories
from corkboard.experiments.leave_one_out import LeaveOneOut, best_by_validation, leave_one_out_figures, target_ranks
from corkboard.experiments.real_config import MovieLensConfig
from corkboard.experiments.real_data import TOWER_CODE, Published, Say, data_file, evaluation_of, table_of_runs
from corkboard.experiments.result import Evaluation, Measure, Table
from corkboard.experiments.scorers import RetrievalScorer
from corkboard.experiments.spine_runs import Context, Job, Run, UserRunStore, code_hash, run_jobs
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.schema import ACTION_CODES
from corkboard.retrieval.baselines import EASE, ItemKNN, Popularity
from corkboard.retrieval.config import EASEConfig, ItemKNNConfig

if TYPE_CHECKING:
    from corkboard.embeddings.pinnerformer import PinnerFormer

FILE = "ml-1m.parquet"
WORLD = "ml-1m"
TOWERS = {"SASRec-style": "sasrec", "dense all action": "dense_all_action"}
"""Row -> objective."""
BASELINES = ("popularity", "item-kNN", "EASE")
LAMBDAS, HALF_LIVES = (200.0, 800.0), (2.0, 5.0, 20.0)
"""What is tried for EASE; half-lives, in items of the history, for item-kNN, too."""
PASS_SECONDS = 60.0
"""What a pass over all users may take one core."""

PUBLISHED = (
    Published(
        "published SASRec",
        {"recall@10": 0.2877, "NDCG@10": 0.1622},
        6038,
        "SASRec with sampled softmax, the configuration of HSTU on stably sorted data, as published with RecTools",
    ),
    Published("published eSASRec", {"recall@10": 0.3133, "NDCG@10": 0.1772}, 6038, "eSASRec, as published with its code"),
)


def run_ml_1m(
    folder: Path, runs: Path, say: Say, *, minutes: float = 60.0, seeds: int = 1, workers: int = 2, config: MovieLensConfig | None = None
) -> Evaluation:
    """Measure what is missing in ``runs`` within ``minutes``, and return the table of all that is there.

    ``folder`` holds ``ml-1m.parquet``. ``workers`` processes of one thread each do the runs; 0 does them in this one.
    """
    config = config or MovieLensConfig()
    data = load(data_file(folder, FILE), config.users)
    store = UserRunStore(runs, data.split_hash, code_hash(*TOWER_CODE, "experiments/leave_one_out.py", "experiments/ml_1m.py"))
    jobs = jobs_of(folder, data, config, seeds)
    finished = run_jobs(jobs, store, runs, minutes, say, workers)
    table = table_of_runs(_table(data, config, seeds), jobs, store, config.evaluation, [] if config.users else PUBLISHED)
    return evaluation_of(table, data.split_hash, {}, config.evaluation, finished)


def load(file: Path, users: int = 0) -> LeaveOneOut:
    """The split of the file, with at most ``users`` users where that is not 0."""
    data = LeaveOneOut.of(pl.read_parquet(file))
    return data.sample(users) if users else data


def jobs_of(folder: Path, data: LeaveOneOut, config: MovieLensConfig, seeds: int) -> list[Job]:
    """Baselines first, because they are quick; then a job for every tower and seed, longest first."""
    shared = {"experiment": WORLD, "users": config.users, "k": config.evaluation.k}
    where = {"folder": str(folder), "users": config.users}
    base = [Run(WORLD, name, 0, {**shared, "row": name, "lambdas": LAMBDAS, "half_lives": HALF_LIVES}, 60.0) for name in BASELINES]
    jobs = [Job("baselines", f"{__name__}:measure", base, config=where)]
    guess = config.passes * PASS_SECONDS * len(data.user_ids) / 6040
    for seed in range(seeds):
        for name, objective in TOWERS.items():
            settings = {**shared, "row": name, "tower": tower_config(config, objective, len(data.user_ids)).model_dump(mode="json")}
            jobs.append(Job(f"{name} {seed}", f"{__name__}:measure", [Run(WORLD, name, seed, settings, guess)], config=where))
    return jobs


def tower_config(config: MovieLensConfig, objective: str, users: int) -> PinnerFormerConfig:
    """The settings of one row: ``passes`` over ``users`` in steps."""
    tower = config.tower
    steps = config.passes * math.ceil(users / tower.batch)
    return tower.model_copy(
        update={
            "objective": tower.objective.model_copy(update={"name": objective}),
            "training": tower.training.model_copy(update={"steps": steps}),
        }
    )


def measure(context: Context) -> None:
    """The work of a job: each of its runs that is missing and fits."""
    data = load(data_file(Path(context.job.config["folder"]), FILE), context.job.config["users"])
    for run in context.todo():
        start = time.perf_counter()
        scorer, facts = _scorer(run, data, lambda at, of, run=run: context.doing(f"training {run.variant}", at, of))
        k = run.config["k"]
        figures = leave_one_out_figures(target_ranks(data, scorer, "test"), k)
        valid = {f"valid {name}": one.value for name, one in leave_one_out_figures(target_ranks(data, scorer, "valid"), k).items()}
        context.finished(run, figures, facts | valid, time.perf_counter() - start)


def _scorer(run: Run, data: LeaveOneOut, tell: Callable[[int, int], None]) -> tuple[RetrievalScorer, dict[str, Any]]:
    if run.variant in BASELINES:
        return baseline(run.variant, data), {}
    config = PinnerFormerConfig.model_validate(run.config["tower"])
    return OrderedTower.trained(data, config, run.seed, tell), {"steps": config.training.steps}


def baseline(name: str, data: LeaveOneOut) -> RetrievalScorer:
    """Popularity, item-kNN or EASE on the training part, without fading over time, at what is best on the validation items."""
    matrix = data.matrix()
    if name == "popularity":
        return Popularity(data.item_ids, np.asarray(matrix.sum(axis=0)).ravel())
    candidates: dict[str, RetrievalScorer] = {}
    longest = int(np.diff(data.offsets).max()) + 1
    if name == "item-kNN":
        table = ItemKNN.fit_matrix(matrix, data.item_ids, ItemKNNConfig(max_history=longest)).table
        for half_life in HALF_LIVES:
            candidates[f"{half_life}"] = ItemKNN(table, ItemKNNConfig(max_history=longest, history_half_life=half_life))
    else:
        for value in LAMBDAS:
            solved = EASE.fit_matrix(matrix, data.item_ids, EASEConfig(regularisation=value, max_history=longest))
            for half_life in HALF_LIVES:
                settings = solved.settings.model_copy(update={"history_half_life": half_life})
                candidates[f"{value}/{half_life}"] = EASE(solved.ids, solved.rows, solved.weights, settings)
    return candidates[best_by_validation(data, candidates)]


# -------------------------------------------------------------------------------------------------------------- the towers


class OrderedTower:
    """A PinnerFormer that reads sequences of which only the order is known: action number p of a user happens on day p."""

    def __init__(self, model: PinnerFormer, item_ids: Sequence[str]):
        self.model = model
        self.item_ids = list(item_ids)
        self.content = no_content(item_ids)
        self.vectors = model.encode_items(self.item_ids, self.content.vectors)

    @classmethod
    def trained(
        cls, data: LeaveOneOut, config: PinnerFormerConfig, seed: int, tell: Callable[[int, int], None] | None = None
    ) -> OrderedTower:
        """Trained on the training part of ``data``; ``tell`` (step, steps) hears of it now and then."""
        from corkboard.embeddings.pinnerformer_training import train_pinnerformer

        histories = ordered_histories([data.known(user, "valid") for user in range(len(data.user_ids))], data.item_ids, data.user_ids)
        end_ms = int(histories.time_ms.max()) + DAY_MS
        progress = None if tell is None else lambda now: tell(now.step, now.steps) if now.step % 50 == 0 else None
        return cls(train_pinnerformer(histories, no_content(data.item_ids), config, seed, end_ms, progress), data.item_ids)

    def score_all(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """float32 ``(len(histories), items)``: inner products of user and item vectors; histories are newest first."""
        oldest_first = [np.asarray(history)[::-1] for history in histories]
        read = ordered_histories(oldest_first, self.item_ids, [str(row) for row in range(len(histories))])
        users = np.arange(len(histories))
        known_ms = np.array([len(history) for history in histories], np.int64) * DAY_MS
        return self.model.encode_users(read, self.content, users, known_ms) @ self.vectors.T


def ordered_histories(sequences: Sequence[np.ndarray], item_ids: Sequence[str], user_keys: Sequence[str]) -> Histories:
    """Histories from item rows, oldest first. Every action is a click, a label, and as many days after the user's first as it has
    actions before it."""
    lengths = np.array([len(sequence) for sequence in sequences], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    n = int(offsets[-1])
    return Histories(
        user_keys=list(user_keys),
        item_ids=list(item_ids),
        offsets=offsets,
        items=np.concatenate([np.empty(0, np.int32), *(np.asarray(sequence, np.int32) for sequence in sequences)]),
        actions=np.full(n, ACTION_CODES["click"], np.int8),
        surfaces=np.ones(n, np.int8),
        time_ms=(np.arange(n) - np.repeat(offsets[:-1], lengths)) * DAY_MS,
        duration_ms=np.full(n, np.nan, np.float32),
        labels=np.ones(n, bool),
    )


@cache
def _no_space() -> Space:
    return Space("no-content", "1")


def no_content(item_ids: Sequence[str]) -> EmbeddingTable:
    """A content vector of one zero for each item: all that is known of it is its id."""
    return EmbeddingTable(item_ids, np.zeros((len(item_ids), 1), np.float32), _no_space())


def _table(data: LeaveOneOut, config: MovieLensConfig, seeds: int) -> Table:
    k = config.evaluation.k
    measures = [
        Measure(f"recall@{k}", "share of users whose last item is among the first of their list; with one target, the hit rate"),
        Measure(f"NDCG@{k}", "the same, discounted by place"),
    ]
    facts: Mapping[str, int | float | str | None] = {
        "users": len(data.user_ids),
        "items": len(data.item_ids),
        "training actions": len(data.items),
        "seeds": seeds,
        "passes": config.passes,
    }
    protocol = [
        "Leave-one-out: the last item of every user is the target; the model is given all items before it, and trained on those before "
        "the last two.",
        f"All {len(data.item_ids):,} items are ranked, less those the user has had; nothing is sampled; a tie counts against the model.",
        "Baselines are tuned on the validation items (the last but one).",
        "This split knows the future of others: it compares implementations, it is no claim about a service.",
        f"Intervals: {config.evaluation.level:.0%} bootstrap over users and, of rows with several, over seeds.",
    ]
    return Table("leave-one-out", "MovieLens-1M, leave-one-out, full ranking", "popularity", measures, [], protocol, facts=facts)
