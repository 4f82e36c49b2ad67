"""What the spine trains and asks in one world: the work of its two kinds of jobs.

*Retrieval*: baselines and PinnerFormer with each objective, trained before B, asked at three cadences. *Ranking*: item embeddings and
user vectors of a PinnerFormer that ends at A, rows of [A, B), rankers that differ in one part each, asked on the random requests of
the test days with the features, the sequence and the nightly user vector of each moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from corkboard.artifacts import EmbeddingTable, content_hash
from corkboard.embeddings.config import PinnerFormerConfig
from corkboard.embeddings.histories import Histories
from corkboard.experiments import spine_claims as name
from corkboard.experiments.baselines import VectorScorer, baseline_scorers
from corkboard.experiments.evaluate import Scorer
from corkboard.experiments.spine_cadence import CADENCES, CadenceTask, VectorScores, at_every_cadence, scorer_scores
from corkboard.experiments.spine_config import SpineConfig
from corkboard.experiments.spine_runs import Context, Run, code_hash
from corkboard.experiments.spine_worlds import SpineWorld
from corkboard.experiments.task import retrieval_task
from corkboard.lake.calendar import day_of
from corkboard.metrics.intervals import PerUser
from corkboard.ranking.config import HybridConfig
from corkboard.ranking.table import TrainingRows

if TYPE_CHECKING:
    from corkboard.embeddings.pinnerformer import PinnerFormer
    from corkboard.ranking.item_days import ItemDays

CONTENT = "content of the last ten"
TRUTH = "the world's own utility"
"""The order that knows everything: what no ranker can pass by truth."""

OBJECTIVES = {name.DENSE: "dense_all_action", name.NEXT: "next_action", name.SASREC: "sasrec", name.ALL: "all_action"}
"""Variants of PinnerFormer and the objective that they differ in."""

RANKERS: Mapping[str, Mapping[str, object]] = {
    name.NONE: {"sequence": "none"},
    name.V11: {},
    name.MEAN: {"sequence": "mean"},
    name.V10: {"transact": {"version": "v1.0"}, "cross_layers": 0},
    name.NO_USER: {"user_vector": False},
    name.NO_TYPES: {"transact": {"use_actions": False}},
    name.COUNTERS: {"sequence": "none", "features": "all"},
    name.DEEP: {"transact": {"layers": 2, "length": 100}},
    name.BOTH: {"features": "all"},
}
"""Rankers and what each changes in ``SpineConfig.hybrid``, which is TransAct V1.1 as it is served, one layer over 50 actions, with the user
vector and without hand-made features of recent actions."""

_SHARED = (
    *("lake", "learning", "embeddings", "retrieval", "metrics", "seeds.py", "artifacts.py"),
    *("experiments/spine_worlds.py", "experiments/spine_models.py"),
)
RETRIEVAL_CODE = (*_SHARED, "experiments/spine_cadence.py", "experiments/task.py", "experiments/baselines.py", "experiments/scorers.py")
RANKING_CODE = (*_SHARED, "ranking", "state", "experiments/spine_requests.py")
"""Sources that figures depend on, by kind of job; those of the simulated world stand in front of both."""


def pinnerformer_config(config: SpineConfig, variant: str) -> PinnerFormerConfig:
    """The settings of a variant of PinnerFormer."""
    objective = config.pinnerformer.objective.model_copy(update={"name": OBJECTIVES[variant]})
    return config.pinnerformer.model_copy(update={"objective": objective})


def ranker_config(config: SpineConfig, variant: str) -> HybridConfig:
    """The settings of a variant of the ranker."""
    changes = dict(RANKERS[variant])
    transact = {**config.hybrid.transact.model_dump(), **changes.pop("transact", {})}  # type: ignore[dict-item]
    return HybridConfig.model_validate({**config.hybrid.model_dump(), "transact": transact, **changes})


def known_histories(world: SpineWorld, cut_ms: int) -> Histories:
    """What a model that ends at ``cut_ms`` may read: actions before it, on items that were there before it."""
    sealed = world.lake.until(cut_ms)
    return Histories.of(sealed.actions(), sealed.items()["item_id"].to_list(), world.config.pinnerformer.history)


# ------------------------------------------------------------------------------------------------------------- retrieval


def retrieval(context: Context) -> None:
    """The work of a retrieval job."""
    _work(context, _Retrieval)


def _work(context: Context, prepare: Callable[[SpineWorld, Context], _Retrieval | _Ranking]) -> None:
    """Measure each run that is missing and fits; what the runs share is made before the first of them."""
    shared: _Retrieval | _Ranking | None = None
    for run in context.todo():
        if shared is None:
            began = time.perf_counter()
            shared = prepare(_world(context), context)
            context.prepared(time.perf_counter() - began)
        began, cpu = time.perf_counter(), time.process_time()
        context.doing(run.variant)
        figures, facts = shared.measured(run)
        facts["cpu s"] = time.process_time() - cpu
        context.finished(run, figures, facts, time.perf_counter() - began)


class _Retrieval:
    """The task of one world and what its models share."""

    def __init__(self, world: SpineWorld, context: Context):
        self.world, self.context, self.config = world, context, world.config
        self.task = CadenceTask.of(world.lake, world.calendar, self.config.evaluation)
        self.items = world.content.lookup(self.task.item_ids)[0]

    @cached_property
    def baselines(self) -> dict[str, Scorer]:
        """Baselines by name, fitted before B; what can be chosen is chosen on the last days before it."""
        lake, calendar = self.world.lake, self.world.calendar
        task = retrieval_task(lake, calendar, self.config.evaluation)
        return {**baseline_scorers(lake, calendar, task, self.config.evaluation), CONTENT: VectorScorer(self.items)}

    @cached_property
    def histories(self) -> Histories:
        """What everybody did, the test included; models read only what they may know."""
        return Histories.of(self.world.lake.actions(), self.world.content.ids, self.config.pinnerformer.history)

    def measured(self, run: Run) -> tuple[dict[str, PerUser], dict[str, float]]:
        """Figures at every cadence, and facts about the task."""
        facts: dict[str, float] = {}
        if run.variant in OBJECTIVES:
            scores, facts = self._pinnerformer(run)
        else:
            scorer = self.baselines[run.variant]
            scores = {cadence: scorer_scores(self.task, scorer, cadence) for cadence in CADENCES}
        tell = lambda done, total: self.context.doing(f"{run.variant}, asking", done, total)  # noqa: E731
        figures = at_every_cadence(self.task, scores, self.config.evaluation, tell)
        facts |= {"pairs": len(self.task), "users": len(self.task.user_ids), "unreachable share": self.task.unreachable_share}
        return figures, {fact: float(value) for fact, value in facts.items()}

    def _pinnerformer(self, run: Run) -> tuple[dict[str, VectorScores], dict[str, float]]:
        """Scores at every cadence, and how long it learned."""
        from corkboard.embeddings.pinnerformer_training import PinnerFormerTraining

        settings, content = pinnerformer_config(self.config, run.variant), self.world.content
        progress = lambda at: self.context.doing(f"training {run.variant}", at.step, at.steps)  # noqa: E731
        cut_ms = self.world.calendar.rank_cut_ms
        training = PinnerFormerTraining(known_histories(self.world, cut_ms), content, settings, run.seed, cut_ms)
        model = training.run(progress)
        items = model.encode_items(self.task.item_ids, self.items)
        row_of = {key: row for row, key in enumerate(self.histories.user_keys)}
        rows = np.array([row_of.get(user, -1) for user in self.task.user_ids], np.int64)
        scores = {}
        for cadence in CADENCES:
            users, moments, _ = self.task.questions(cadence)
            read = rows[users] >= 0  # others did nothing that the model reads: a vector of zeros, and the order of ties
            vectors = np.zeros((len(users), model.dim), np.float32)
            vectors[read] = model.encode_users(self.histories, content, rows[users[read]], moments[read])
            scores[cadence] = VectorScores(users, moments, vectors, items)
        assert training.result is not None
        return scores, {"steps": len(training.result.losses), "best step": training.result.best_step}


# --------------------------------------------------------------------------------------------------------------- ranking


def ranking(context: Context) -> None:
    """The work of a ranking job."""
    _work(context, _Ranking)


class _Ranking:
    """Rows of one world, for training and of the random requests, and the vectors that rankers read."""

    def __init__(self, world: SpineWorld, context: Context):
        from corkboard.embeddings.user_vectors import DailyUserVectors
        from corkboard.ranking.rows import page_rows, training_rows

        self.world, self.context, self.config = world, context, world.config
        lake, calendar, content, seed = world.lake, world.calendar, world.content, world.seed
        model = self._user_model()
        self.item_vectors = EmbeddingTable(content.ids, model.encode_items(content.ids, content.vectors), model.space)
        histories = Histories.of(lake.actions(), content.ids, self.config.pinnerformer.history)
        context.doing("user vectors of every night")
        nightly = DailyUserVectors(model, histories, content, day_of(calendar.item_cut_ms), day_of(calendar.end_ms - 1))
        rows = self.config.rows
        replaying = lambda done, total: context.doing("replaying pages", done, total)  # noqa: E731
        days = self._days(calendar.item_cut_ms, calendar.rank_cut_ms)
        self.rows = training_rows(lake, calendar, days, rows, seed, progress=replaying, user_vectors=nightly)
        self.pages = world.pages
        days = self._days(calendar.rank_cut_ms, calendar.end_ms)
        unknown = np.full((len(self.pages.slots), len(self.rows.heads)), np.nan, np.float32)
        asked = page_rows(lake, self.pages.slots, unknown, self.rows.heads, days, nightly, progress=replaying)
        self.asked = _without_gaps(asked)
        self.held_out = calendar.held_out(self.rows.user_ids)

    def _user_model(self) -> PinnerFormer:
        """A PinnerFormer with the dense objective that ends at A, kept once trained."""
        from corkboard.embeddings.pinnerformer import PinnerFormer
        from corkboard.embeddings.pinnerformer_training import train_pinnerformer

        world, settings = self.world, pinnerformer_config(self.config, name.DENSE)
        key = content_hash(settings.model_dump(mode="json"), code_hash("learning", "embeddings"))
        kept = world.kept("pinnerformer", key)
        if kept is None:
            progress = lambda at: self.context.doing("training PinnerFormer up to A", at.step, at.steps)  # noqa: E731
            cut_ms = world.calendar.item_cut_ms
            model = train_pinnerformer(known_histories(world, cut_ms), world.content, settings, world.seed, cut_ms, progress)
            kept = world.keep("pinnerformer", key, model.tensors(), tables=model.tables(), config=model.config, makes=[model.space])
        return PinnerFormer.from_artifact(kept)

    def _days(self, start_ms: int, end_ms: int) -> ItemDays:
        """Item sides of [start, end); what they know of co-engagement ends at A, as rankers know it."""
        from corkboard.ranking.item_days import ItemDays

        return ItemDays(self.world.lake, start_ms, end_ms, self.world.content, self._stats, self._neighbours)

    @cached_property
    def _stats(self):
        from corkboard.retrieval.item_stats import ItemStats

        lake = self.world.lake
        return ItemStats.build(lake.actions(), lake.shown(), self.world.content.ids, self.world.calendar.end_ms)

    @cached_property
    def _neighbours(self):
        from corkboard.retrieval.baselines import ItemKNN

        cut_ms = self.world.calendar.item_cut_ms
        return ItemKNN.fit(self.world.lake.until(cut_ms).actions(), self.world.content.ids, cut_ms).table

    def measured(self, run: Run) -> tuple[dict[str, PerUser], dict[str, float]]:
        """Hits of a ranker, trained here, and facts about the rows."""
        from corkboard.ranking.hybrid_training import train_hybrid
        from corkboard.ranking.utility import utility

        evaluation = self.config.evaluation
        if run.variant == TRUTH:
            return self.pages.hits(self.pages.utility, evaluation.hit_k, evaluation.seed), self.pages.facts()
        settings = ranker_config(self.config, run.variant)
        progress = lambda done, total: self.context.doing(f"training {run.variant}", done, total)  # noqa: E731
        began = time.perf_counter()
        trained = train_hybrid(self.rows, self.item_vectors, self.held_out, settings, run.seed, progress)
        train_s = time.perf_counter() - began
        self.context.doing(f"asking {run.variant}")
        probabilities = trained.ranker.score_rows(self.asked, self.item_vectors)
        order = utility(trained.ranker.heads, probabilities, self.config.utility)
        figures = self.pages.hits(order, evaluation.hit_k, evaluation.seed)
        positives = np.nansum(self.rows.labels, axis=0)
        facts = {f"{head} in rows": float(count) for head, count in zip(self.rows.heads, positives, strict=True)}
        facts |= {"rows": float(len(self.rows)), "epochs": float(trained.report.epochs), "training s": train_s}
        return figures, {**self.pages.facts(), **facts}


def _without_gaps(rows: TrainingRows) -> TrainingRows:
    """Rows with 0 in place of the features of an item that the catalogue of its day lacked; it is ranked by what is known of the page."""
    np.nan_to_num(rows.features, copy=False)
    return rows


def _world(context: Context) -> SpineWorld:
    given = context.job.config
    config = SpineConfig.model_validate(given["spine"])
    return SpineWorld.prepared(context.folder, config, given["seed"], tuple(given["off"]), context.doing)
