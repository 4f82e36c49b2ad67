"""The hybrid ranker: last actions, batch user vector and all other features, crossed, one sigmoid head for each action.

Pinnability with TransAct (Xia et al., KDD 2023) and a long-term user vector (Pancha et al., KDD 2022):

    z  = TransAct(last actions, candidate)
    x0 = [z, reduced; recent(z) * candidate; user vector, reduced; user vector * candidate; candidate; features; what is known]
    logits = heads(MLP(DCN v2(x0)))         p = sigmoid(slope * logits + offset), slope and offset by head

Both products are elementwise, with their sum beside them. Where we differ from the papers: ``recent(z)``, a vector of the last
actions that meets the candidate as the user vector does, the reduction of z before the crossing, item embeddings of past
actions that fade with their age (:func:`~corkboard.ranking.hybrid_inputs.faded`), and where learning starts: published models
see billions of rows and may begin at random.

Trained by :func:`corkboard.ranking.hybrid_training.train_hybrid`. What is missing in a request (no user vector, no action, an
item without embedding) is zero and flagged; training leaves each of them out now and then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from corkboard.artifacts import Artifact, EmbeddingTable, Space
from corkboard.errors import ArtifactError, SpaceMismatch
from corkboard.lake.schema import ACTION_CODES
from corkboard.ranking.calibration import sigmoid
from corkboard.ranking.config import HybridConfig, TransActConfig
from corkboard.ranking.dcn import CrossNetwork
from corkboard.ranking.hybrid_inputs import HybridBatch, InputScales, TableInputs, no_history, request_history_batch
from corkboard.ranking.item_side import ItemSide
from corkboard.ranking.pointwise import feature_columns
from corkboard.ranking.ranker import RankerInput
from corkboard.ranking.table import TrainingRows
from corkboard.ranking.transact import HistoryBatch, MeanPool, TransAct

ROWS_AT_ONCE = 2048
"""Rows of one pass over a table, in whole pages."""

_CODES = max(ACTION_CODES.values())


class HybridNetwork(nn.Module):
    """From a :class:`~corkboard.ranking.hybrid_inputs.HybridBatch` to uncalibrated logits ``(n, heads)``.

    ``features`` is how many request features there are, ``dim`` the width of item embeddings and user vectors.
    """

    def __init__(self, config: HybridConfig, features: int, dim: int, heads: int):
        super().__init__()
        self.config, self.dim = config, dim
        kinds = {"none": None, "mean": MeanPool, "transact": TransAct}
        kind = kinds[config.sequence]
        self.sequence = None if kind is None else kind(config.transact, _CODES)
        self.user = nn.Linear(dim, config.user_dim) if config.user_vector else None
        width = config.transact.item_dim + features + 1
        if self.sequence is not None:
            out = self.sequence.out_dim
            self.reduced = nn.Linear(out, config.sequence_dim) if config.sequence_dim else nn.Identity()
            self.recent = _recent_items(config.transact, out)
            if isinstance(self.sequence, TransAct):
                _look_at_likes(self.sequence)
            width += (config.sequence_dim or out) + config.transact.item_dim + 2
        width += config.user_dim + dim + 3 if config.user_vector else 0
        self.cross = CrossNetwork(width, config.cross_layers, config.cross_rank or None)
        sizes = [width, *config.hidden]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.dropout = nn.Dropout(config.dropout)
        self.heads = nn.Linear(sizes[-1], heads)

    def forward(self, batch: HybridBatch, time_window: np.random.Generator | None = None) -> Tensor:
        """Logits ``(n, heads)``. With ``time_window``, in training, the newest actions are hidden as TransAct draws it."""
        x = self.cross(torch.cat(list(self._inputs(batch, time_window)), dim=1))
        for layer in self.hidden:
            x = self.dropout(torch.relu(layer(x)))
        return self.heads(x)

    def _inputs(self, batch: HybridBatch, time_window: np.random.Generator | None) -> Iterator[Tensor]:
        yield from (batch.dense, batch.items, batch.items_known[:, None])
        request = batch.request
        if self.sequence is not None:
            past = batch.history
            hidden = None if time_window is None else self.sequence.draw_hidden(past, request, time_window)
            z = self.sequence(self.sequence.encode(past), batch.items, request, hidden)
            yield self.reduced(z)
            yield from _met(self.recent(z), batch.items)
            yield (past.lengths > 0).to(batch.dense.dtype)[request, None]
        if self.user is not None:
            # Unit vectors times the root of their width have elements of mean square 1, like everything else here.
            wide = math.sqrt(self.dim)
            yield (self.user(batch.users * wide) * batch.users_known[:, None])[request]
            yield from _met(batch.users[request] * wide, batch.embeddings * wide)
            yield batch.users_known[request, None]
            yield torch.log1p(batch.users_hours)[request, None] / 4


def _met(user: Tensor, candidates: Tensor) -> Iterator[Tensor]:
    """Two vectors of a row, ``(n, d)`` each: their elementwise product, and its mean, a multiple of their cosine."""
    product = user * candidates
    yield product
    yield product.mean(1, keepdim=True) * 4


def _look_at_likes(sequence: TransAct) -> None:
    """Let the first layer begin by looking at past items that are like the candidate: their keys and its query start as one map.

    Rows are [action; item; candidate]. In each head, the item's part of the key and the candidate's part of the query are the same
    random orthonormal matrix, so that their product is the scalar product of the two embeddings. It is a start and nothing more; with a
    few thousand actions, a random one is hardly left.
    """
    config, attention = sequence.config, sequence.layers[0].self_attn
    width = config.dim // config.heads
    item, candidate = slice(config.action_dim, config.action_dim + config.item_dim), slice(config.action_dim + config.item_dim, None)
    with torch.no_grad():
        for head in range(config.heads):
            square = torch.linalg.qr(torch.randn(max(width, config.item_dim), max(width, config.item_dim)))[0]
            shared = square[:width, : config.item_dim]
            attention.in_proj_weight[head * width : (head + 1) * width, candidate] = shared
            attention.in_proj_weight[config.dim + head * width : config.dim + (head + 1) * width, item] = shared


def _recent_items(config: TransActConfig, out_dim: int) -> nn.Linear:
    """From what the sequence module answers, ``(n, out_dim)``, to one vector in the space of reduced items.

    It starts near the mean of the item parts of the newest rows, so that "how like my last actions is this" is there from the first
    step. A product of two embeddings is the hardest thing to find for a network that begins at random and has a few thousand
    actions to find it by.
    """
    layer = nn.Linear(out_dim, config.item_dim)
    rows = min(config.first_k, out_dim // config.dim)
    items = torch.arange(config.item_dim)
    with torch.no_grad():
        layer.weight.mul_(0.1)
        for row in range(rows):
            layer.weight[items, row * config.dim + config.action_dim + items] += 2.0 / rows
    return layer


class HybridRanker:
    """The trained network with its scales and calibration, behind the :class:`~corkboard.ranking.ranker.Ranker` seam.

    ``slope`` and ``offset`` are float32 ``(heads,)``. The ranker requires the space ``space`` for item embeddings and user vectors.
    """

    def __init__(
        self, heads: Sequence[str], network: HybridNetwork, scales: InputScales, slope: np.ndarray | None = None, offset: Any = None
    ):
        self._heads = tuple(heads)
        self.network, self.scales = network.eval(), scales
        self.slope = np.ones(len(self._heads), np.float32) if slope is None else np.asarray(slope, np.float32)
        self.offset = np.zeros(len(self._heads), np.float32) if offset is None else np.asarray(offset, np.float32)
        self._columns = feature_columns(scales.feature_names)

    @property
    def heads(self) -> tuple[str, ...]:
        return self._heads

    @property
    def settings(self) -> HybridConfig:
        return self.network.config

    @property
    def space(self) -> Space:
        """The space that item embeddings and user vectors must be of."""
        return self.scales.space

    @property
    def history_length(self) -> int:
        """Actions that are read of a request; 0 where none are."""
        return self.settings.history_length

    # --------------------------------------------------------------------------------------------------------------- scoring

    def score(self, given: RankerInput) -> np.ndarray:
        """Calibrated probabilities, float32 ``(n, heads)``.

        Raises :class:`SpaceMismatch` where ``given.items`` has no embeddings in the ranker's space.
        """
        return self.calibrated(self.logits(self._batch(given, given.features)))

    def score_rows(self, rows: TrainingRows, item_vectors: EmbeddingTable) -> np.ndarray:
        """Calibrated probabilities, float32 ``(len(rows), heads)``, of every row as if it were shown on top.

        Whole pages at a time, the user's side once a page; a page's scores do not depend on what is scored beside it.
        """
        inputs = TableInputs(rows, item_vectors, self.scales, self.settings)
        return self.calibrated(self.table_logits(inputs, np.arange(len(rows)), on_top=True))

    def table_logits(self, inputs: TableInputs, rows: np.ndarray, on_top: bool = False) -> np.ndarray:
        """Uncalibrated logits, float32 ``(len(rows), heads)``, of the table's ``rows``; in logged positions unless ``on_top``."""
        out = np.empty((len(inputs.rows), len(self._heads)), np.float32)
        page = inputs.rows.page
        order = rows[np.argsort(page[rows], kind="stable")]
        first = np.flatnonzero(np.diff(page[order], prepend=-1))
        group = np.cumsum(np.diff(first, append=len(order)) if len(first) else first) // ROWS_AT_ONCE
        for pages in np.split(np.arange(len(first)), np.flatnonzero(np.diff(group)) + 1):
            if not len(pages):
                continue
            end = first[pages[-1] + 1] if pages[-1] + 1 < len(first) else len(order)
            part = order[first[pages[0]] : end]
            distinct, request = np.unique(page[part], return_inverse=True)
            out[part] = self.logits(inputs.batch(distinct, part, request, on_top))
        return out[rows]

    def calibrated(self, logits: np.ndarray) -> np.ndarray:
        """float32 ``(n, heads)`` probabilities from uncalibrated logits."""
        return sigmoid(logits * self.slope + self.offset).astype(np.float32)

    def logits(self, batch: HybridBatch) -> np.ndarray:
        """Uncalibrated, float32 ``(n, heads)``."""
        with torch.inference_mode():
            return self.network(batch).numpy()

    def _batch(self, given: RankerInput, features: np.ndarray) -> HybridBatch:
        """One request; ``features`` ``(n, len(FEATURE_NAMES))`` of its candidates ``given.rows`` ``(n,)``."""
        used = features if self._columns is None else features[:, self._columns]
        vectors, known = self._embeddings(given.items, given.rows)
        past = given.history.rows[: self.history_length] if given.history is not None else given.rows[:0]
        reduced = self.scales.reduced(*self._embeddings(given.items, past))
        user = given.user_vector
        return HybridBatch(
            request=torch.zeros(len(used), dtype=torch.int64),
            dense=torch.from_numpy(self.scales.dense(used)),
            items=torch.from_numpy(self.scales.reduced(vectors, known)),
            embeddings=torch.from_numpy(vectors),
            items_known=torch.from_numpy(known.astype(np.float32)),
            history=request_history_batch(given.history, reduced, self.settings),
            users=torch.from_numpy(np.zeros((1, self.scales.dim), np.float32) if user is None else np.asarray(user, np.float32)[None]),
            users_known=torch.tensor([0.0 if user is None else 1.0]),
            users_hours=torch.tensor([0.0 if user is None else float(given.user_vector_hours)]),
        )

    def _embeddings(self, items: ItemSide, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Item embeddings of catalogue rows in the ranker's space, float32 ``(n, dim)``, and bool ``(n,)`` which are known."""
        embedding = items.embedding
        if embedding is not None and embedding.space == self.space:
            vectors, known = items.embeddings(rows)
        elif items.index is not None and items.index.space == self.space:
            vectors, known = items.vectors(rows)
        else:
            spaces = [str(index.space) for index in (embedding, items.index) if index is not None]
            raise SpaceMismatch("The items have no embeddings in the ranker's space", found=spaces, expected=str(self.space))
        return np.ascontiguousarray(vectors, np.float32), known

    # ------------------------------------------------------------------------------------------------------------ explaining

    def contributions(self, features: np.ndarray, head_weights: np.ndarray, given: RankerInput | None = None) -> dict[str, float]:
        """By how much the utility of one item falls when an input is left out: "recent actions", "user vector", "item embedding",
        and each feature, set to its mean. ``features`` is ``(len(FEATURE_NAMES),)``; ``given`` the request with this item as its
        only candidate, without which nothing but the features is known. One pass for all.
        """
        names = self.scales.feature_names
        rows = len(names) + 4
        if given is None:
            batch = self._nothing_known(np.asarray(features, np.float32)[None])
        else:
            batch = self._batch(given, np.asarray(features, np.float32)[None])
        batch = _repeated(batch, rows, requests=3)
        place = torch.arange(len(names))
        batch.dense[4 + place, place] = 0.0
        number, request = torch.arange(rows), torch.arange(3)
        batch.request[1], batch.request[2] = 1, 2
        batch = batch.without(histories=request == 1, users=request == 2, items=number == 3)
        worth = self.calibrated(self.logits(batch)) @ np.asarray(head_weights, np.float32)
        effects = {name: float(worth[0] - worth[4 + k]) for k, name in enumerate(names)}
        if self.settings.sequence != "none":
            effects["recent actions"] = float(worth[0] - worth[1])
        if self.settings.user_vector:
            effects["user vector"] = float(worth[0] - worth[2])
        return effects | {"item embedding": float(worth[0] - worth[3])}

    def _nothing_known(self, features: np.ndarray) -> HybridBatch:
        used = features if self._columns is None else features[:, self._columns]
        item_dim = self.settings.transact.item_dim
        return HybridBatch(
            request=torch.zeros(len(used), dtype=torch.int64),
            dense=torch.from_numpy(self.scales.dense(used)),
            items=torch.zeros(len(used), item_dim),
            embeddings=torch.zeros(len(used), self.scales.dim),
            items_known=torch.zeros(len(used)),
            history=no_history(1, item_dim),
            users=torch.zeros(1, self.scales.dim),
            users_known=torch.zeros(1),
            users_hours=torch.zeros(1),
        )

    # -------------------------------------------------------------------------------------------------------------- artefact

    def tensors(self) -> dict[str, np.ndarray]:
        """What :func:`corkboard.artifacts.write_artifact` keeps."""
        network = {f"network/{name}": value.detach().numpy() for name, value in self.network.state_dict().items()}
        return network | self.scales.tensors() | {"slope": self.slope, "offset": self.offset}

    def config(self) -> dict[str, Any]:
        """What stands beside the tensors in an artefact; ``space`` is what the artefact requires."""
        return {
            "kind": "hybrid",
            "heads": list(self._heads),
            "feature_names": list(self.scales.feature_names),
            "space": str(self.space),
            "network": self.settings.model_dump(mode="json"),
        }

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> HybridRanker:
        """Raises :class:`ArtifactError` where the artefact is of another network or needs a feature that is not computed."""
        config, tensors = artifact.config, artifact.tensors
        scales = InputScales.of(tensors, config["feature_names"], Space.parse(config["space"]))
        try:
            network = HybridNetwork(
                HybridConfig.model_validate(config["network"]), len(scales.feature_names), scales.dim, len(config["heads"])
            )
            network.load_state_dict(_network_tensors(tensors))
        except (ValidationError, RuntimeError) as error:
            found, hint = str(error).splitlines()[0], "Train it again: `corkboard build`."
            raise ArtifactError("This hybrid ranker was made by another version", found=found, hint=hint) from None
        return cls(config["heads"], network, scales, tensors["slope"], tensors["offset"])


def _network_tensors(tensors: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    prefix = "network/"
    return {name.removeprefix(prefix): torch.from_numpy(np.array(value)) for name, value in tensors.items() if name.startswith(prefix)}


def _repeated(batch: HybridBatch, rows: int, requests: int) -> HybridBatch:
    """A batch of one row and one request, as ``rows`` equal rows of the first of ``requests`` equal requests."""
    past = batch.history
    return HybridBatch(
        request=torch.zeros(rows, dtype=torch.int64),
        dense=batch.dense.repeat(rows, 1),
        items=batch.items.repeat(rows, 1),
        embeddings=batch.embeddings.repeat(rows, 1),
        items_known=batch.items_known.repeat(rows),
        history=HistoryBatch(
            past.items.repeat(requests, 1, 1),
            past.actions.repeat(requests, 1),
            past.hours.repeat(requests, 1),
            past.lengths.repeat(requests),
        ),
        users=batch.users.repeat(requests, 1),
        users_known=batch.users_known.repeat(requests),
        users_hours=batch.users_hours.repeat(requests),
    )
