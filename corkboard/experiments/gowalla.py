"""Gowalla in the protocol of LightGCN: what stands beside the towers, beside the figures that are in print for it.

The protocol is :mod:`corkboard.experiments.held_out_sets`. The EASE row is the proof of it: a closed form has one answer, so ours has to
land on the published figure. It inverts a matrix of 40,981 x 40,981 in place, in float32 and in a process of its own: 7 GB and, on two
cores, minutes. Settings are chosen on a part of the training items that is hidden once more, never on the test.
"""

from __future__ import annotations

import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from corkboard.config import Section
from corkboard.embeddings.spectral import ITEM_POWER, spectral_factors
from corkboard.errors import CorkboardError, NotFound
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.held_out_sets import HeldOutSets, held_out_figures
from corkboard.experiments.real_data import Published, Say, evaluation_of, table_of_runs
from corkboard.experiments.result import Evaluation, Measure, Table
from corkboard.experiments.scorers import RetrievalScorer
from corkboard.experiments.spine_runs import Context, Finished, Job, Run, UserRunStore, code_hash, run_jobs, threads_of_children
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.config import WalkConfig
from corkboard.graph.pixie import Pixie
from corkboard.metrics.intervals import PerUser
from corkboard.retrieval.baselines import EASE, ItemKNN, Popularity
from corkboard.retrieval.config import EASEConfig, ItemKNNConfig
from corkboard.seeds import derive

WORLD = "gowalla"
POPULARITY, KNN, SPECTRAL, WALKS, CLOSED = "popularity", "item-kNN", "spectral factors", "Pixie walks", "EASE"
"""The rows."""
SHARED_CODE = ("experiments/gowalla.py", "experiments/held_out_sets.py", "metrics", "retrieval/interactions.py", "seeds.py")
CODE = {
    POPULARITY: ("retrieval/baselines.py",),
    KNN: ("retrieval/baselines.py", "retrieval/neighbours.py"),
    SPECTRAL: ("embeddings/spectral.py",),
    WALKS: ("graph/bipartite.py", "graph/packed.py", "graph/walks.py", "graph/pixie.py"),
    CLOSED: ("retrieval/baselines.py",),
}
"""Sources that the figures of a row depend on beside the shared ones: what is dear is not run again for a change that it does not see."""

PUBLISHED_LAMBDA = 80.0
AGREEMENT = 0.01
"""How far from the published figure EASE may land, as a share of it."""
PUBLISHED = (
    Published("published EASE", {"recall@20": 0.1765, "NDCG@20": 0.1467}, 29858, "BARS-Match board, Gowalla_m1, l2 80 by its log"),
    Published(
        "published LightGCN",
        {"recall@20": 0.1830, "NDCG@20": 0.1554},
        29858,
        "He et al., SIGIR 2020; .1820 and .1547 when BARS ran it again",
    ),
    Published("published SimpleX", {"recall@20": 0.1872, "NDCG@20": 0.1557}, 29858, "Mao et al., CIKM 2021, and the BARS-Match board"),
)

HEARTBEAT_S = 5.0
_CORE_FLOPS = 7e10
"""What a core does in float32; a guess, for the time to go."""


class GowallaConfig(Section):
    """What is tried for each row. The best recall on hidden training items wins, never that on test items."""

    items: int = Field(default=0, ge=0)
    """Only that many most taken items, for trying things out; 0 takes all."""
    threads: int = Field(default=1, ge=1, le=64)
    """Cores of the inversion of EASE; everything else has one a process. With two, the LAPACK in SciPy 1.17 ends in a segmentation fault on
    a matrix of 40,981 rows; smaller ones it solves."""
    lambdas: tuple[float, ...] = Field(default=(10.0, 20.0, 50.0, 80.0, 150.0, 300.0, 600.0), min_length=1)
    """Of EASE, tried on the ``lambda_items`` most taken items: each value on all of them would take as long as the row."""
    lambda_items: int = Field(default=10_000, ge=2)
    """As many items as lambda is chosen on."""
    dampings: tuple[float, ...] = Field(default=(0.25, 0.5, 0.75, 1.0), min_length=1)
    """Of item-kNN: how much less a user with many items counts."""
    dims: tuple[int, ...] = Field(default=(64, 128, 256, 512), min_length=1)
    """How many spectral factors."""
    visits: tuple[int, ...] = Field(default=(2_000, 5_000, 20_000), min_length=1)
    """Visits of the walks of a user."""
    hidden_share: float = Field(default=0.1, gt=0, lt=1)
    """Of a user's training items, what is hidden to choose by."""
    chosen_by: int = Field(default=4_000, ge=1)
    """Users, drawn by seed, who are asked for what is hidden."""
    evaluation: EvaluationConfig = EvaluationConfig(k=20)
    """Length of the lists, resamples, level, seed."""


def run_gowalla(
    folder: Path, runs: Path, say: Say, *, minutes: float = 60.0, workers: int = 2, config: GowallaConfig | None = None
) -> Evaluation:
    """Measure what is missing in ``runs`` within ``minutes``, and return the table of all that is there.

    ``folder`` holds ``gowalla_train.txt`` and ``gowalla_test.txt``, or both with ``.gz``. ``workers`` processes of one thread each do the
    cheap rows, then one of ``threads`` threads does EASE alone; with 0 everything is done in this one, with its threads.
    """
    config = config or GowallaConfig()
    data = load(folder, config.items)
    store = UserRunStore(runs, data.split_hash, code_hash(*SHARED_CODE))
    jobs = jobs_of(folder, data, config, alone=workers > 0)
    finished = run_jobs(jobs[:-1], store, runs, minutes, say, workers)
    if not finished.interrupted:
        left = max(minutes - finished.seconds / 60.0, 0.0)
        try:
            finished = _together(finished, run_jobs(jobs[-1:], store, runs, left, say, workers=0))
        except KeyboardInterrupt:
            finished.interrupted = True
    table = table_of_runs(_table(data, config), jobs, store, config.evaluation, [] if config.items else PUBLISHED)
    return evaluation_of(_explained(table, jobs, store, config), data.split_hash, {}, config.evaluation, finished)


def load(folder: Path, items: int = 0) -> HeldOutSets:
    """The split in ``folder``, with only the ``items`` most taken items where that is not 0."""
    data = HeldOutSets.read(*(_file(Path(folder), f"gowalla_{part}.txt") for part in ("train", "test")))
    return data.most_popular(items) if items else data


def _file(folder: Path, name: str) -> Path:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.exists():
            return file
    hint = "Name the folder that holds it, plain or with .gz, with --data; nothing is downloaded."
    raise NotFound("The data is not there", found=str(folder / name), hint=hint)


def jobs_of(folder: Path, data: HeldOutSets, config: GowallaConfig, alone: bool = True) -> list[Job]:
    """A job for each cheap row, and last the one of EASE; ``alone``, in a process of its own."""
    where = {"folder": str(folder), "config": config.model_dump(mode="json")}
    shared = {"experiment": WORLD, **config.model_dump(mode="json", include={"hidden_share", "chosen_by"})}
    shared["k"], shared["seed"] = config.evaluation.k, config.evaluation.seed
    tried: dict[str, dict[str, Any]] = {
        POPULARITY: {},
        KNN: {"dampings": config.dampings, "settings": ItemKNNConfig().model_dump(mode="json")},
        SPECTRAL: {"dims": config.dims},
        WALKS: {"visits": config.visits, "settings": WalkConfig().model_dump(mode="json")},
        CLOSED: {"lambdas": config.lambdas, "lambda_items": config.lambda_items},
    }
    size = data.items / 40_981
    solved = data.items**3 + len(config.lambdas) * min(config.lambda_items, data.items) ** 3
    guesses = {POPULARITY: 60 * size, KNN: 600 * size, SPECTRAL: 300 * size, WALKS: 300 * size}
    guesses[CLOSED] = 300 * size + solved / (_CORE_FLOPS * config.threads)
    runs = {
        row: Run(WORLD, row, 0, {**shared, "row": row, **more, "code": code_hash(*CODE[row])}, guesses[row]) for row, more in tried.items()
    }
    jobs = [Job(row, f"{__name__}:measure", [runs[row]], config=where) for row in (POPULARITY, KNN, SPECTRAL, WALKS)]
    return [*jobs, Job(CLOSED, f"{__name__}:{'measure_alone' if alone else 'measure'}", [runs[CLOSED]], config=where)]


def _together(first: Finished, then: Finished) -> Finished:
    return Finished(
        first.made + then.made,
        first.seconds + then.seconds,
        first.skipped + then.skipped,
        first.failed | then.failed,
        then.interrupted,
    )


# ------------------------------------------------------------------------------------------------------------- measuring


def measure(context: Context) -> None:
    """The work of a job: each of its runs that is missing and fits."""
    bench: Bench | None = None
    for run in context.todo():
        start = time.perf_counter()
        bench = bench or Bench.of(context.job.config)
        figures, facts = bench.measured(run.variant, lambda what: context.doing(what))
        context.finished(run, figures, facts, time.perf_counter() - start)


def measure_alone(context: Context) -> None:
    """:func:`measure`, each run in a process of its own: how many threads a matrix product has is settled when NumPy is loaded."""
    spawn = multiprocessing.get_context("spawn")
    for run in context.todo():
        start = time.perf_counter()
        ours, theirs = spawn.Pipe(duplex=False)
        process = spawn.Process(target=_measured_here, args=(theirs, run.variant, context.job.config), daemon=True)
        with threads_of_children(context.job.config["config"]["threads"]):
            process.start()
        theirs.close()
        try:
            figures, facts = _heard(ours, context, start)
        finally:
            process.terminate()
            process.join()
        context.finished(run, figures, facts, time.perf_counter() - start)


def _heard(ours: Connection, context: Context, start: float) -> tuple[Mapping[str, PerUser], Mapping[str, float]]:
    """What the process found, and until then what it says it is at, with the seconds that it has taken."""
    doing = "starting"
    while True:
        if ours.poll(HEARTBEAT_S):
            try:
                kind, *found = ours.recv()
            except EOFError:
                hint = "It needs 4 bytes for each pair of items, and some more."
                raise CorkboardError("The process of EASE was killed", hint=hint) from None
            if kind == "failed":
                raise CorkboardError(f"EASE: {found[0]}")
            if kind == "found":
                return found[0], found[1]
            doing = found[0]
        context.doing(f"{doing}, {time.perf_counter() - start:.0f} s")


def _measured_here(theirs: Connection, row: str, given: Mapping[str, Any]) -> None:
    """The process of :func:`measure_alone`."""
    _end_with_parent()
    try:
        theirs.send(("found", *Bench.of(given).measured(row, lambda what: theirs.send(("doing", what)))))
    except Exception as error:
        theirs.send(("failed", f"{type(error).__name__}: {error}"))


def _end_with_parent() -> None:
    """On Linux the kernel ends this process with the one that started it: an inversion listens to nobody for minutes."""
    if sys.platform == "linux":
        import ctypes
        import signal

        die_with_parent = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(die_with_parent, signal.SIGKILL)


class Bench:
    """The split, and the split of its training part that settings are chosen on."""

    def __init__(self, data: HeldOutSets, config: GowallaConfig):
        self.data, self.config = data, config

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Bench:
        """From what a job was given."""
        config = GowallaConfig.model_validate(given["config"])
        return cls(load(Path(given["folder"]), config.items), config)

    @cached_property
    def validation(self) -> HeldOutSets:
        """Some of the training items are hidden; the test part is nowhere in it."""
        return self._hidden(self.data)

    def measured(self, row: str, tell: Callable[[str], None]) -> tuple[dict[str, PerUser], dict[str, float]]:
        """Figures of a row on the test part, and as facts what was chosen and how each value did on hidden training items."""
        settings, facts = self.chosen(row, tell)
        tell(f"{row}: fitting")
        scorer = fitted(row, self.data, settings, self.config.evaluation.seed)
        tell(f"{row}: ranking")
        return self._figures(self.data, scorer), facts | {f"chosen {name}": value for name, value in settings.items()}

    def chosen(self, row: str, tell: Callable[[str], None]) -> tuple[dict[str, float], dict[str, float]]:
        """The setting of the best recall on hidden training items, and the recall of each value that was tried."""
        name, values = self._tried(row)
        if not name:
            return {}, {}
        split = self._hidden(self.data.most_popular(self.config.lambda_items)) if row == CLOSED else self.validation
        recalls = {}
        for value in values:
            tell(f"{row}: trying {name} {value:g}")
            figures = self._figures(split, fitted(row, split, {name: value}, self.config.evaluation.seed))
            recalls[value] = figures[f"recall@{self.config.evaluation.k}"].value
        best = max(recalls, key=recalls.__getitem__)
        return {name: best}, {f"valid recall at {name} {value:g}": recall for value, recall in recalls.items()}

    def _tried(self, row: str) -> tuple[str, Sequence[float]]:
        settings: dict[str, tuple[str, Sequence[float]]] = {
            POPULARITY: ("", ()),
            KNN: ("damping", self.config.dampings),
            SPECTRAL: ("factors", self.config.dims),
            WALKS: ("visits", self.config.visits),
            CLOSED: ("lambda", self.config.lambdas),
        }
        return settings[row]

    def _hidden(self, data: HeldOutSets) -> HeldOutSets:
        return data.validation(self.config.hidden_share, self.config.evaluation.seed, self.config.chosen_by)

    def _figures(self, data: HeldOutSets, scorer: RetrievalScorer) -> dict[str, PerUser]:
        return held_out_figures(data, scorer, self.config.evaluation.k, self.config.evaluation.seed)


# -------------------------------------------------------------------------------------------------------------- the rows


def fitted(row: str, data: HeldOutSets, settings: Mapping[str, float], seed: int) -> RetrievalScorer:
    """The model of a row on the training part. Nothing fades: there is no order."""
    longest = int(np.diff(data.train.indptr).max(initial=1))
    whole = {"history_half_life": math.inf, "max_history": longest}
    if row == POPULARITY:
        return Popularity(data.item_ids, np.asarray(data.train.sum(axis=0)).ravel())
    if row == KNN:
        return ItemKNN.fit_matrix(data.train, data.item_ids, ItemKNNConfig(user_damping=settings["damping"], **whole))
    if row == SPECTRAL:
        return SpectralScorer.of(data.train, int(settings["factors"]), seed)
    if row == WALKS:
        return WalkScorer(data, int(settings["visits"]), seed)
    return EASE.fit_matrix(data.train, data.item_ids, EASEConfig(regularisation=settings["lambda"], max_items=data.items, **whole))


class SpectralScorer:
    """PureSVD (Cremonesi et al., RecSys 2010) of the matrix that id embeddings start from: what a user has, projected onto its factors.

    ``directions`` is float32 ``(items, dim)``, orthonormal columns; ``scale`` float32 ``(items,)`` is what items are divided by before, and
    multiplied with after the projection.
    """

    def __init__(self, directions: np.ndarray, scale: np.ndarray):
        self.directions, self.scale = directions, scale

    @classmethod
    def of(cls, matrix: sp.csr_array, dim: int, seed: int) -> SpectralScorer:
        """From float32 CSR ``(users, items)``."""
        pairs = matrix.tocoo()
        factors = spectral_factors(*pairs.coords, matrix.shape[1], dim, seed)
        lengths = np.linalg.norm(factors, axis=0)
        found = lengths > 1e-6 * lengths.max(initial=0.0)
        taken = np.maximum(np.asarray(matrix.sum(axis=0)).ravel(), 1.0)
        return cls(factors[:, found] / lengths[found], (taken**ITEM_POWER).astype(np.float32))

    def score_all(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """float32 ``(len(histories), items)``."""
        sums = [(self.directions[history] / self.scale[history, None]).sum(axis=0) for history in histories]
        return (np.stack(sums) @ self.directions.T) * self.scale


class WalkScorer:
    """Pixie on the graph of items and who took them: walks from all that a user has. What no walk came by is not listed."""

    def __init__(self, data: HeldOutSets, visits: int, seed: int):
        pairs = data.train.tocoo()
        users, items = (column.astype(np.int32) for column in pairs.coords)
        graph = BipartiteGraph.of_pairs("user", items, users, data.item_ids, [str(user) for user in range(data.users)])
        self.pixie, self.items, self.seed = Pixie(graph, WalkConfig(visits=visits)), data.items, seed

    def score_all(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """float32 ``(len(histories), items)``. Each history walks with random numbers of its own, the same in any company."""
        scores = np.full((len(histories), self.items), -np.inf, np.float32)
        for row, history in enumerate(histories):
            own = derive(self.seed, "gowalla", *np.sort(history).tolist())
            found, values = self.pixie.recommend(history, np.ones(len(history)), self.items, own)
            scores[row, found] = values
        return scores


# ------------------------------------------------------------------------------------------------------------- the table


def _explained(table: Table, jobs: Sequence[Job], store: UserRunStore, config: GowallaConfig) -> Table:
    """The table with what was chosen, and whether EASE landed where it was published."""
    notes, warnings = [], []
    for run in (run for job in jobs for run in job.runs):
        facts = store.get(run.config, run.seed) or {}
        for name in (name.removeprefix("chosen ") for name in facts if name.startswith("chosen ")):
            tried = ", ".join(one.rsplit(" ", 1)[1] for one in facts if one.startswith("valid recall at "))
            notes.append(f"{run.variant}: {name} {facts[f'chosen {name}']:g}, the best of {tried} on hidden training items.")
    if not config.items and (told := agreement(table)):
        text, agrees = told
        (notes if agrees else warnings).append(text)
    return replace(table, protocol=[*table.protocol, *notes], warnings=[*table.warnings, *warnings])


def agreement(table: Table) -> tuple[str, bool] | None:
    """How far EASE is from its published figure, and whether that is little enough; None where it was not measured."""
    ours, theirs = table.row(CLOSED).cells, PUBLISHED[0].values
    if any(ours[name].value is None for name in theirs):
        return None
    off = {name: float(ours[name].value or 0.0) / value - 1 for name, value in theirs.items()}
    agrees = all(abs(share) <= AGREEMENT for share in off.values())
    end = f"within {AGREEMENT:.0%}: split, masking and measures are theirs" if agrees else "something is not as it was published"
    said = ", ".join(f"{name} {share:+.2%}" for name, share in off.items())
    return f"EASE against the published figure (of lambda {PUBLISHED_LAMBDA:g}): {said}; {end}.", agrees


def _table(data: HeldOutSets, config: GowallaConfig) -> Table:
    k = config.evaluation.k
    measures = [
        Measure(f"recall@{k}", "share of a user's test items among the first of the list, mean over users"),
        Measure(f"NDCG@{k}", f"the same, discounted by place; the ideal list has min({k}, test items) hits"),
    ]
    facts: dict[str, int | float | str | None] = {
        "users": data.users,
        "items": data.items,
        "training pairs": data.train.nnz,
        "test pairs": data.test.nnz,
    }
    protocol = [
        f"All {data.items:,} items are ranked, less the user's training items; every user with a test item is asked.",
        f"Settings are chosen on {config.hidden_share:.0%} of the training items of {config.chosen_by:,} users, hidden once more; "
        f"lambda on the {min(config.lambda_items, data.items):,} most taken items.",
        "What is hidden is a draw, not the newest: this compares implementations, it is no claim about a service.",
        f"Intervals: {config.evaluation.level:.0%} bootstrap over users. Published rows are as they are in print.",
    ]
    warnings = [f"Only the {config.items:,} most taken items: no figure may be compared with published ones."] if config.items else []
    return Table("held-out sets", "Gowalla, LightGCN split, full ranking", POPULARITY, measures, [], protocol, warnings, facts=facts)
