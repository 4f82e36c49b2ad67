"""The baselines that everything learned has to beat: popularity, item-kNN and EASE, tuned as if they were meant to win.

Each has ``fit(actions, catalogue_ids, upto_ms, config)``, which reads nothing at or after ``upto_ms``, and
``score_all(histories)``: float32 ``(users, items)`` from catalogue rows, newest first. What a user has already taken is
scored like everything else; leaving it out is the business of whoever ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

import numpy as np
import polars as pl
import scipy.sparse as sp
from scipy.linalg.lapack import get_lapack_funcs

from corkboard.artifacts import Artifact
from corkboard.errors import InputError
from corkboard.lake.calendar import DAY_MS
from corkboard.retrieval.config import EASEConfig, ItemKNNConfig, PopularityConfig
from corkboard.retrieval.interactions import Validation, action_weight, history_matrix, interactions
from corkboard.retrieval.neighbours import NeighbourTable

_BLOCK_CELLS = 8_000_000
"""Cells of a dense block of similarities: 32 MB, so that a fit stays small whatever the catalogue."""


MIN_VALIDATION_USERS = 50
"""With fewer users a validation set decides nothing, and the settings stay as they are."""


class Baseline(Protocol):
    """What evaluation asks of a model without a tower."""

    def score_all(self, histories: Sequence[np.ndarray], weights: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """float32 ``(len(histories), items)``; histories are catalogue rows, newest first, -1 for unknown items."""
        ...


_Model = TypeVar("_Model", bound=Baseline)


# ---------------------------------------------------------------------------------------------------------- popularity


class Popularity:
    """The same scores for everybody: weighted actions of the last days. ``scores`` is float32 ``(items,)``."""

    def __init__(self, ids: Sequence[str], scores: np.ndarray):
        self.ids = list(ids)
        self.scores = np.asarray(scores, np.float32)

    @classmethod
    def fit(
        cls,
        actions: pl.DataFrame,
        catalogue_ids: Sequence[str],
        upto_ms: int,
        config: PopularityConfig | None = None,
        *,
        decayed: bool = False,
    ) -> Popularity:
        """Sum action weights over the window before ``upto_ms``, or, ``decayed``, over all time with a half-life."""
        config = config or PopularityConfig()
        age_days = (upto_ms - pl.col("time_ms")) / DAY_MS
        kept = actions.lazy().filter(pl.col("time_ms") < upto_ms)
        weight = action_weight(config.weights)
        if decayed:
            weight = weight * 0.5 ** (age_days / config.half_life_days)
        else:
            kept = kept.filter(age_days <= config.window_days)
        summed = kept.group_by("item_id").agg(score=weight.sum())
        index = pl.LazyFrame({"item_id": list(catalogue_ids)}, schema={"item_id": pl.String})
        return cls(
            catalogue_ids, index.join(summed, on="item_id", how="left", maintain_order="left").collect()["score"].fill_null(0.0).to_numpy()
        )

    def score_all(self, histories: Sequence[np.ndarray], weights: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """The same row for every history; histories and weights are not looked at."""
        return np.repeat(self.scores[None, :], len(histories), axis=0)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        return {"scores": self.scores}

    def tables(self) -> dict[str, pl.DataFrame]:
        """The ids of an artefact."""
        return {"ids": pl.DataFrame({"id": self.ids}, schema={"id": pl.String})}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> Popularity:
        """The scores of an artefact written with :meth:`tensors` and :meth:`tables`."""
        return cls(artifact.table("ids")["id"].to_list(), artifact.tensors["scores"])


# ------------------------------------------------------------------------------------------------------------ item-kNN


class ItemKNN:
    """Item-based collaborative filtering (Sarwar et al., WWW 2001; Deshpande and Karypis, TOIS 2004).

    The similarity of a history item i to a candidate j is ``c_ij / (n_i**(1 - e) * n_j**e + shrinkage)``. c and n sum over
    users, damped by how much they take; unlike the papers', the candidate's side fades with age (:class:`Interactions`),
    so c is not symmetric. e is ``popularity_exponent``.
    """

    def __init__(self, table: NeighbourTable, config: ItemKNNConfig):
        self.table = table
        self.settings = config

    @classmethod
    def fit(
        cls,
        actions: pl.DataFrame,
        catalogue_ids: Sequence[str],
        upto_ms: int,
        config: ItemKNNConfig | None = None,
        validation: Validation | None = None,
    ) -> ItemKNN:
        """Neighbours from all positive actions before ``upto_ms``; with ``validation``, at the floor of the best recall@20 on it.

        What was chosen is in ``settings`` of the result.
        """
        config = config or ItemKNNConfig()
        floors = config.floors if _tells(validation) and config.floors else (config.floor,)
        settings = [config.model_copy(update={"floor": floor}) for floor in floors]
        return _best((cls._fitted(actions, catalogue_ids, upto_ms, chosen) for chosen in settings), validation)

    @classmethod
    def _fitted(cls, actions: pl.DataFrame, catalogue_ids: Sequence[str], upto_ms: int, config: ItemKNNConfig) -> ItemKNN:
        found = interactions(actions, catalogue_ids, config.weights, upto_ms, config.max_history, config.half_life_days, config.floor)
        return cls.fit_matrix(found.matrix, catalogue_ids, config, found.recent)

    @classmethod
    def fit_matrix(
        cls, matrix: sp.csr_array, catalogue_ids: Sequence[str], config: ItemKNNConfig, recent: sp.csr_array | None = None
    ) -> ItemKNN:
        """Neighbours from any (groups, items) matrix: users and what they took, boards and what lies on them."""
        recent = matrix if recent is None else recent
        damping = np.maximum(np.diff(matrix.indptr), 1.0) ** -config.user_damping
        damped = sp.csr_array(sp.diags_array(damping.astype(np.float32)) @ recent)
        transposed = matrix.T.tocsr()
        history_norms = np.asarray(matrix.power(2).T @ damping).ravel() ** (1 - config.popularity_exponent)
        candidate_norms = np.asarray(damped.multiply(matrix).sum(axis=0)).ravel() ** config.popularity_exponent
        items = len(candidate_norms)
        k = min(config.neighbours, max(items - 1, 0))
        rows, scores = np.full((items, k), -1, np.int32), np.zeros((items, k), np.float32)
        block = max(1, _BLOCK_CELLS // max(items, 1))
        for start in range(0, items if k else 0, block):
            part = slice(start, min(start + block, items))
            similarity = sp.csr_array(transposed[part] @ damped).toarray()
            similarity /= np.maximum(history_norms[part, None] * candidate_norms + config.shrinkage, 1e-12)
            similarity[np.arange(len(similarity)), np.arange(part.start, part.stop)] = 0.0
            rows[part], scores[part] = _top(similarity, k)
        return cls(NeighbourTable(list(catalogue_ids), rows, scores), config)

    def score_all(self, histories: Sequence[np.ndarray], weights: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """Sum of the similarities to the history, whose items fade with their place."""
        items = len(self.table.rows)
        taken = history_matrix(histories, items, self.settings.history_half_life, self.settings.max_history, weights)
        near = slice(self.settings.scored_neighbours)
        rows, scores = self.table.rows[:, near], self.table.scores[:, near]
        known = rows >= 0
        starts = np.concatenate([[0], np.cumsum(known.sum(axis=1))])
        similar = sp.csr_array((scores[known], rows[known], starts), shape=(items, items))
        return sp.csr_array(taken @ similar).toarray().astype(np.float32, copy=False)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        return self.table.tensors()

    def tables(self) -> dict[str, pl.DataFrame]:
        """The ids of an artefact."""
        return self.table.tables()

    @property
    def config(self) -> dict[str, object]:
        """The settings of an artefact."""
        return self.settings.model_dump()

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> ItemKNN:
        """The model of an artefact written with :meth:`tensors`, :meth:`tables` and :attr:`config`."""
        return cls(NeighbourTable.from_artifact(artifact), ItemKNNConfig.model_validate(artifact.config))


def _top(similarity: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest positive entries of every row, best first, lower column first among equals; -1 and 0 elsewhere."""
    near = (
        np.argpartition(-similarity, k - 1, axis=1)[:, :k]
        if k < similarity.shape[1]
        else np.tile(np.arange(similarity.shape[1]), (len(similarity), 1))
    )
    near = np.sort(near, axis=1)
    scores = np.take_along_axis(similarity, near, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    near, scores = np.take_along_axis(near, order, axis=1), np.take_along_axis(scores, order, axis=1)
    return np.where(scores > 0, near, -1).astype(np.int32), np.maximum(scores, 0).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------------- EASE


class EASE:
    """Embarrassingly shallow autoencoder (Steck, WWW 2019), with targets that fade.

    The paper's B minimises ``|X - XB|^2 + lambda |B|^2`` under a zero diagonal. Here the target is Y, which is X times the
    freshness of each action (:class:`Interactions`): ``B = Q - P diag(diag Q / diag P)``, ``P = (X'X + lambda I)^-1``,
    ``Q = P X'Y``. Without fading Y = X, and this is the paper's ``I - P diag(1 / diag P)``. All in float32 and in place.

    ``weights`` is B, float32 ``(m, m)`` over the catalogue rows ``rows``, which are the most engaged ones where a catalogue
    is larger than ``max_items``; the others score 0.
    """

    def __init__(self, ids: Sequence[str], rows: np.ndarray, weights: np.ndarray, config: EASEConfig):
        self.ids = list(ids)
        self.rows = np.asarray(rows, np.int64)
        self.weights = weights
        self.settings = config

    @property
    def regularisation(self) -> float:
        """The lambda it was solved with."""
        return self.settings.regularisation

    @classmethod
    def fit(
        cls,
        actions: pl.DataFrame,
        catalogue_ids: Sequence[str],
        upto_ms: int,
        config: EASEConfig | None = None,
        validation: Validation | None = None,
    ) -> EASE:
        """Solve on all positive actions before ``upto_ms``; with ``validation``, at the lambda and floor of the best recall@20 on it.

        What was chosen is in ``settings`` of the result.
        """
        config = config or EASEConfig()
        choice = _tells(validation)
        lambdas = config.regularisations if choice and config.regularisations else (config.regularisation,)
        floors = config.floors if choice and config.floors else (config.floor,)
        settings = [config.model_copy(update={"floor": floor, "regularisation": value}) for floor in floors for value in lambdas]
        return _best((cls._fitted(actions, catalogue_ids, upto_ms, chosen) for chosen in settings), validation)

    @classmethod
    def _fitted(cls, actions: pl.DataFrame, catalogue_ids: Sequence[str], upto_ms: int, config: EASEConfig) -> EASE:
        found = interactions(actions, catalogue_ids, config.weights, upto_ms, config.max_history, config.half_life_days, config.floor)
        return cls.fit_matrix(found.matrix, catalogue_ids, config, found.recent if config.floor < 1 else None)

    @classmethod
    def fit_matrix(cls, matrix: sp.csr_array, catalogue_ids: Sequence[str], config: EASEConfig, recent: sp.csr_array | None = None) -> EASE:
        """Solve on a ``(users, items)`` matrix X and, where what is recommended should be ``recent``, on that Y."""
        engaged = np.asarray((matrix if recent is None else recent).sum(axis=0)).ravel()
        rows = np.sort(np.argsort(-engaged, kind="stable")[: config.max_items])
        part = matrix[:, rows].astype(np.float32)
        gram = (part.T @ part).toarray(order="F")  # never the other order first: at 40,000 items a copy is 6.7 GB
        target = None if recent is None else (part.T @ recent[:, rows].astype(np.float32)).toarray(order="F")
        gram[np.diag_indices_from(gram)] += np.float32(config.regularisation)
        return cls(catalogue_ids, rows, _ease_weights(gram, target), config)

    def score_all(self, histories: Sequence[np.ndarray], weights: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """The weighted history times B."""
        taken = history_matrix(histories, len(self.ids), self.settings.history_half_life, self.settings.max_history, weights)
        scores = np.zeros((len(histories), len(self.ids)), np.float32)
        scores[:, self.rows] = taken[:, self.rows] @ self.weights
        return scores

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        return {"rows": self.rows, "weights": self.weights}

    def tables(self) -> dict[str, pl.DataFrame]:
        """The ids of an artefact."""
        return {"ids": pl.DataFrame({"id": self.ids}, schema={"id": pl.String})}

    @property
    def config(self) -> dict[str, object]:
        """The settings of an artefact."""
        return self.settings.model_dump()

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> EASE:
        """The model of an artefact written with :meth:`tensors`, :meth:`tables` and :attr:`config`."""
        return cls(
            artifact.table("ids")["id"].to_list(),
            artifact.tensors["rows"],
            artifact.tensors["weights"],
            EASEConfig.model_validate(artifact.config),
        )


def _ease_weights(gram: np.ndarray, target: np.ndarray | None) -> np.ndarray:
    """B, row by row in memory, from ``X'X + lambda I`` and ``X'Y``; None for the target is Y = X.

    Both are Fortran-ordered float32 and overwritten. Without a target B is what was the Gram matrix: nothing as large is made beside it.
    """
    if not len(gram):
        return gram
    potrf, potrs, potri = get_lapack_funcs(("potrf", "potrs", "potri"), dtype=np.float32)
    factor, info = potrf(gram, lower=1, clean=0, overwrite_a=1)
    if target is not None and info == 0:
        target, info = potrs(factor, target, lower=1, overwrite_b=1)
    if info == 0:
        factor, info = potri(factor, lower=1, overwrite_c=1)
    if info != 0:
        raise InputError("EASE met a matrix that is not positive definite", found=f"LAPACK info {info}", hint="Use a larger lambda.")
    inverse = _mirrored(factor)
    if target is None:
        weights = inverse.T  # P is symmetric: its transpose is P again, in the other order
        weights /= -np.diag(inverse).copy()
    else:
        inverse *= np.diag(target) / np.diag(inverse)
        target -= inverse
        weights = np.ascontiguousarray(target)
    weights[np.diag_indices_from(weights)] = 0.0
    return weights


def _mirrored(lower: np.ndarray) -> np.ndarray:
    """Fill the upper triangle from the lower one, in place and without a copy of the whole."""
    for start in range(0, len(lower), 256):
        stop = min(start + 256, len(lower))
        corner = lower[start:stop, start:stop]
        lower[start:stop, start:stop] = np.tril(corner) + np.tril(corner, -1).T
        lower[start:stop, stop:] = lower[stop:, start:stop].T
    return lower


def _tells(validation: Validation | None) -> bool:
    return validation is not None and len(validation) >= MIN_VALIDATION_USERS


def _best(models: Iterable[_Model], validation: Validation | None) -> _Model:
    """The first model of the best recall@20; the very first where there is nothing to tell them apart by."""
    best: tuple[float, _Model] | None = None
    for model in models:
        if validation is None or not _tells(validation):
            return model
        recall = recall_at(model, validation, 20)
        if best is None or recall > best[0]:
            best = (recall, model)
    assert best is not None
    return best[1]


def recall_at(model: Baseline, validation: Validation, k: int) -> float:
    """Mean over users of the share of their targets among the k best items that are not in their history."""
    recalls = []
    for start in range(0, len(validation.histories), 256):
        histories, targets = validation.histories[start : start + 256], validation.targets[start : start + 256]
        scores = model.score_all(histories)
        for row, (history, wanted) in enumerate(zip(histories, targets, strict=True)):
            scores[row, history[history >= 0]] = -np.inf
            best = np.argpartition(-scores[row], k)[:k] if k < scores.shape[1] else np.arange(scores.shape[1])
            recalls.append(len(np.intersect1d(best, wanted)) / max(len(np.unique(wanted)), 1))
    return float(np.mean(recalls)) if recalls else 0.0
