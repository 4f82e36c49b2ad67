"""The light ranker: two towers that meet in a dot product, so that hundreds of candidates cost what one matrix product costs.

It stands between the candidate sources and the full ranker (two-tower light scoring, as the homefeed of Pinterest has it)
and is distilled from the full ranker's order: :mod:`corkboard.ranking.light_training`. This file serves it with NumPy.

*The user side* is computed at the request from what is known then: the nightly user vector, the recent actions pooled by
kind and age (the windows of :mod:`corkboard.ranking.user_side`) in both vector spaces, and the request's features. *The item
side* depends on the release and the day only (vectors, age, kind, counters) and is kept: :class:`LightItems`.

With pooled vectors ``p_w`` by window, gates ``g`` linear in the request's features, ``K`` channels and a learned matrix a
channel and space, the score of item i is

    logit_h = sum over blocks < sum_k A_k sum_w g_hkw p_w , v_i >  +  < f_h(user) , t(item) >  +  b_h(item)
    s       = sum_h weight_h sigmoid(logit_h)

over three blocks of item vectors ``v`` (item embedding, content vector, category as one-hot) and small networks f, t, b. Every
term of a logit is a product of something of the user with something of the item, so a head is one dot product. There is a head for
each of the full ranker's, and they meet under the same utility weights: who changes a weight changes both stages at once.
Beside plain towers the blocks share their matrices over windows and heads: a few hundred lists are enough to learn which window
counts, and not a matrix for each.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from corkboard.artifacts import Artifact, Space
from corkboard.errors import ArtifactError, SpaceMismatch
from corkboard.lake.calendar import DAY_MS
from corkboard.ranking.calibration import sigmoid
from corkboard.ranking.config import UtilityWeights
from corkboard.ranking.features import REQUEST_NAMES
from corkboard.ranking.item_side import STAT_NAMES, ItemSide
from corkboard.ranking.request import RequestSide
from corkboard.ranking.user_side import HIDE_WINDOWS, HOUR_MS, POSITIVE_WINDOWS, UserSide
from corkboard.ranking.utility import utility
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.index import Index

WINDOWS: tuple[str, ...] = (*POSITIVE_WINDOWS, *HIDE_WINDOWS)
"""What the recent actions are pooled by."""
OVERALL = WINDOWS.index("100")
"""The window of the last hundred positive actions: taste in general."""
ITEM_FACTS: tuple[str, ...] = (*STAT_NAMES, "age", "is_product", "has_price", "log_price")
"""What is known of an item beside its vectors, in the order of :func:`item_facts`."""
USER_FACTS: tuple[str, ...] = ("has_user_vector", "user_vector_age", *REQUEST_NAMES)
"""What is known of a request beside vectors: the user vector's flag and log age, and the features that all candidates share."""
BLOCKS: tuple[str, ...] = ("embeddings", "contents", "categories")
"""Kinds of item vector whose pooled past meets the candidates'."""
_SHOWN_FADE = 10.0
CLIP = 5.0
"""Standardised facts are cut at this many standard deviations."""


def item_facts(items: ItemSide, rows: np.ndarray, day: int) -> np.ndarray:
    """float32 ``(len(rows), len(ITEM_FACTS))`` as of the beginning of ``day``; a price that is not there is NaN."""
    catalogue = items.catalogue
    hours = np.maximum(day * DAY_MS - catalogue.created_ms[rows], 0) / HOUR_MS
    price = items.log_price(rows)
    product = catalogue.codes("kind")[rows] == catalogue.code("kind", "product")
    own = np.stack([np.log1p(hours), product, ~np.isnan(price), price], axis=1)
    return np.concatenate([items.stats_at(rows), own], axis=1).astype(np.float32)


def item_blocks(items: ItemSide, rows: np.ndarray, categories: Categories) -> np.ndarray:
    """float32 ``(len(rows), dim + content dim + categories)``: :data:`BLOCKS` side by side, zeros where there is nothing."""
    return np.concatenate([items.embeddings(rows)[0], items.vectors(rows)[0], categories.of(rows)], axis=1)


class Categories:
    """The categories that a light ranker tells apart, as one-hot rows of a catalogue; all zeros for any other."""

    def __init__(self, catalogue: Catalogue, names: Sequence[str]):
        self.names = tuple(names)
        self._catalogue = catalogue
        self._column_of = {name: column for column, name in enumerate(self.names)}
        self._columns = np.empty(0, np.int64)

    @classmethod
    def largest(cls, catalogue: Catalogue, most: int) -> Categories:
        """Those with most items, at most ``most``."""
        names = catalogue.names("category")
        counts = np.bincount(catalogue.codes("category") + 1, minlength=len(names) + 1)[1:]
        return cls(catalogue, [names[code] for code in np.argsort(-counts, kind="stable")[:most]])

    def of(self, rows: np.ndarray) -> np.ndarray:
        """float32 ``(len(rows), len(names))``."""
        columns = self._columns
        names = self._catalogue.names("category")
        if len(columns) < len(names) + 1:  # live items bring new names, which never reorder; the last cell is for "none"
            columns = self._columns = np.array([*(self._column_of.get(name, -1) for name in names), -1], np.int64)
        column = columns[np.where(rows >= 0, self._catalogue.codes("category")[rows], -1)]
        out = np.zeros((len(rows), len(self.names)), np.float32)
        known = np.flatnonzero(column >= 0)
        out[known, column[known]] = 1.0
        return out


@dataclass(frozen=True)
class LightUser:
    """The inputs of the user side; leading axes may be many requests. Rows of the pooled blocks are :data:`WINDOWS`."""

    embeddings: np.ndarray
    """float32 ``(..., len(WINDOWS) + 1, dim)``: item embeddings of recent actions by window, and last the user vector."""
    contents: np.ndarray
    """float32 ``(..., len(WINDOWS), content dim)``."""
    categories: np.ndarray
    """float32 ``(..., len(WINDOWS) + 1, categories)``; last what was shown lately."""
    facts: np.ndarray
    """float32 ``(..., len(USER_FACTS))``."""

    @classmethod
    def of(cls, request: RequestSide, categories: Categories) -> LightUser:
        """What is known at ``request``."""
        user, items = request.user, request.items
        liked, _ = items.embeddings(user.positives.rows)
        hidden, _ = items.embeddings(user.hides.rows)
        vector = np.zeros(liked.shape[1], np.float32) if request.vector is None else request.vector.values
        shown = np.exp(-user.shown.hours / _SHOWN_FADE) @ categories.of(user.shown.rows)
        age = 0.0 if request.vector is None else np.log1p(request.vector.hours(request.now_ms))
        facts = np.concatenate([[float(request.vector is not None), age], user.request])
        return cls(
            _pooled(user, liked, hidden, vector),
            _pooled(user, user.positive_vectors, user.hide_vectors),
            _pooled(user, categories.of(user.positives.rows), categories.of(user.hides.rows), shown),
            facts.astype(np.float32),
        )


def _pooled(user: UserSide, liked: np.ndarray, hidden: np.ndarray, *more: np.ndarray) -> np.ndarray:
    return _damped(np.concatenate([user.positive_windows.T @ liked, user.hide_windows.T @ hidden, *(row[None] for row in more)]))


def _damped(pooled: np.ndarray) -> np.ndarray:
    """Rows of length n scaled to log(1 + n): some windows are sums, and the tenth action of a kind says less than the first."""
    length = np.linalg.norm(pooled, axis=-1, keepdims=True)
    return (pooled * (np.log1p(length) / np.maximum(length, 1e-12))).astype(np.float32)


class LightRanker:
    """The two towers. ``tensors`` are float32, by name:

    ``item_mean``, ``item_scale`` ``(I,)`` and ``user_mean``, ``user_scale`` ``(U,)`` standardise the facts; for each of
    :data:`BLOCKS` with W rows and width d, ``<block>_gates`` ``(U + 1, H * K * W)``, the last row a bias, and ``<block>_maps``
    ``(K, d, d)``; ``item_in``, ``item_in_bias``, ``item_out`` ``(hidden, free + H)``, ``item_skip`` ``(I, free + H)``, ``item_bias``
    ``(H,)``; ``user_in``, ``user_in_bias``, ``user_out`` ``(hidden, H * free)``. ``categories`` are the names behind the columns of
    the third block.
    """

    def __init__(
        self,
        heads: Sequence[str],
        tensors: Mapping[str, np.ndarray],
        categories: Sequence[str],
        embedding_space: Space | None,
        content_space: Space | None,
    ):
        self.heads = tuple(heads)
        self._tensors = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
        self.categories = tuple(categories)
        self.embedding_space, self.content_space = embedding_space, content_space
        expected = (len(USER_FACTS), len(ITEM_FACTS))
        found = (len(self._tensors["user_mean"]), len(self._tensors["item_mean"]))
        if found != expected:
            raise ArtifactError("The light ranker reads other facts than this version computes", found=found, expected=expected)

    @property
    def dim(self) -> int:
        """Width of the vectors that meet in the dot product."""
        t = self._tensors
        return sum(t[f"{block}_maps"].shape[2] for block in BLOCKS) + t["item_out"].shape[1]

    def item_vectors(self, blocks: np.ndarray, facts: np.ndarray) -> np.ndarray:
        """float32 ``(n, dim)`` of items: ``blocks`` are embedding, content vector and category side by side; :func:`item_facts`.

        The last numbers are what an item scores by itself, one a head.
        """
        t = self._tensors
        z = np.nan_to_num(np.clip((facts - t["item_mean"]) / t["item_scale"], -CLIP, CLIP))
        hidden = np.maximum(np.concatenate([blocks, z], axis=1) @ t["item_in"] + t["item_in_bias"], 0.0)
        out = hidden @ t["item_out"] + z @ t["item_skip"]
        out[:, -len(self.heads) :] += t["item_bias"]
        return np.concatenate([blocks, out], axis=1).astype(np.float32)

    def user_vectors(self, user: LightUser) -> np.ndarray:
        """float32 ``(heads, dim)`` of one request; the last numbers are a one for the head's own score of the item."""
        t, heads = self._tensors, len(self.heads)
        z = np.clip((user.facts - t["user_mean"]) / t["user_scale"], -CLIP, CLIP)
        with_one = np.append(z, np.float32(1.0))
        parts = []
        for block in BLOCKS:
            pooled = getattr(user, block)
            gates = (with_one @ t[f"{block}_gates"]).reshape(heads, -1, len(pooled))
            parts.append(np.einsum("hkd,kde->he", gates @ pooled, t[f"{block}_maps"]))
        seen = np.concatenate([user.embeddings[-1], *(getattr(user, block)[OVERALL] for block in BLOCKS), z])
        hidden = np.maximum(seen @ t["user_in"] + t["user_in_bias"], 0.0)
        parts += [(hidden @ t["user_out"]).reshape(heads, -1), np.eye(heads)]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def probabilities(self, items: np.ndarray, user: LightUser) -> np.ndarray:
        """float32 ``(n, heads)``: what the full ranker would say, about, of :meth:`item_vectors` ``(n, dim)``."""
        return sigmoid(items @ self.user_vectors(user).T).astype(np.float32)

    def require(self, items: ItemSide) -> None:
        """Raises :class:`SpaceMismatch` where ``items`` has no vectors, or others, of a space that the towers were trained on."""
        for wanted, index, what in (
            (self.embedding_space, items.embedding, "item embeddings"),
            (self.content_space, items.index, "content vectors"),
        ):
            if wanted is not None and _space_of(index) != wanted:
                raise SpaceMismatch(f"The light ranker was trained on other {what}", found=str(_space_of(index)), expected=str(wanted))

    def tensors(self) -> dict[str, np.ndarray]:
        """What :func:`corkboard.artifacts.write_artifact` keeps."""
        return dict(self._tensors)

    def config(self) -> dict[str, Any]:
        """What stands beside the tensors in an artefact."""
        spaces = {"embedding_space": self.embedding_space, "content_space": self.content_space}
        names = {"windows": list(WINDOWS), "item_facts": list(ITEM_FACTS), "user_facts": list(USER_FACTS)}
        named = {name: str(space) if space else None for name, space in spaces.items()}
        return {"kind": "light", "heads": list(self.heads), **named, **names, "categories": list(self.categories)}

    @property
    def requires(self) -> list[Space]:
        """The spaces that its artefact requires."""
        return [space for space in (self.embedding_space, self.content_space) if space is not None]

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> LightRanker:
        """Raises :class:`ArtifactError` where the artefact needs windows or facts that this version does not compute."""
        config = artifact.config
        known = {"windows": WINDOWS, "item_facts": ITEM_FACTS, "user_facts": USER_FACTS}
        if config.get("kind") != "light" or any(tuple(config[name]) != names for name, names in known.items()):
            raise ArtifactError(
                "The light ranker is of another version", found=config.get("kind"), hint="Train it again: `corkboard build`."
            )
        spaces = [Space.parse(config[name]) if config[name] else None for name in ("embedding_space", "content_space")]
        return cls(config["heads"], artifact.tensors, config["categories"], *spaces)


def _space_of(index: Index | None) -> Space | None:
    return None if index is None else index.space


@dataclass(frozen=True)
class _Kept:
    """Item vectors of one day: rows below ``count`` of ``buffer`` are whole."""

    day: int
    buffer: np.ndarray
    count: int


class LightItems:
    """The item side of a light ranker over the items of a release: computed once a day, extended as items arrive.

    Threads may share it. ``stats`` of ``items`` stay those of the release; what changes with the day is the items' age.
    """

    def __init__(self, ranker: LightRanker, items: ItemSide):
        ranker.require(items)
        self.ranker, self.items = ranker, items
        self.categories = Categories(items.catalogue, ranker.categories)
        self._kept = _Kept(-1, np.empty((0, ranker.dim), np.float32), 0)
        self._lock = threading.Lock()

    def scores(self, request: RequestSide, rows: np.ndarray, weights: UtilityWeights) -> np.ndarray:
        """float32 ``(len(rows),)``: about the utility that the full ranker would give the candidates; their order is what it is for."""
        user = LightUser.of(request, self.categories)
        return utility(self.ranker.heads, self.ranker.probabilities(self.vectors(rows, request.now_ms), user), weights)

    def vectors(self, rows: np.ndarray, now_ms: int) -> np.ndarray:
        """float32 ``(len(rows), dim)`` as of the day of ``now_ms``."""
        kept, upto = self._kept, int(rows.max(initial=-1)) + 1
        if kept.day != now_ms // DAY_MS or upto > kept.count:
            kept = self._extend(now_ms // DAY_MS, upto)
        return kept.buffer[rows]

    def refresh(self, rows: np.ndarray) -> None:
        """Compute rows anew whose items have changed."""
        with self._lock:
            kept = self._kept
            rows = rows[rows < kept.count]
            if len(rows):
                buffer = kept.buffer.copy()  # searches may still read the old one
                buffer[rows] = self._computed(rows, kept.day)
                self._kept = _Kept(kept.day, buffer, kept.count)

    def _extend(self, day: int, upto: int) -> _Kept:
        with self._lock:
            kept = self._kept
            upto = max(upto, len(self.items.catalogue))
            start, buffer = (kept.count, kept.buffer) if kept.day == day else (0, np.empty((0, self.ranker.dim), np.float32))
            if upto > len(buffer):
                grown = np.empty((max(upto, 2 * start), self.ranker.dim), np.float32)
                grown[:start] = buffer[:start]
                buffer = grown
            buffer[start:upto] = self._computed(np.arange(start, upto), day)
            self._kept = _Kept(day, buffer, max(upto, start))
            return self._kept

    def _computed(self, rows: np.ndarray, day: int) -> np.ndarray:
        return self.ranker.item_vectors(item_blocks(self.items, rows, self.categories), item_facts(self.items, rows, day))
