"""PinnerFormer (Pancha et al., KDD 2022): a user vector that retrieves what its user will engage with over the next weeks.

A causal transformer reads a user's newest actions; its output at the newest one is the user vector, in one space with the item
embeddings of :mod:`corkboard.embeddings.item_tower`. This module holds the finished model; torch is loaded when users are encoded, and
never for items. Training is in :mod:`corkboard.embeddings.pinnerformer_training`.

The window slides in steps: a history longer than ``window`` is read from a multiple of a quarter of it, counted from the user's first
action, so that between three quarters of the window and all of it is read. One causal pass then serves all moments that
share a start, and a vector is the same however many moments are asked for with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, EmbeddingTable, Space, content_hash
from corkboard.embeddings.config import PinnerFormerConfig
from corkboard.embeddings.histories import Histories
from corkboard.embeddings.item_tower import ItemTower
from corkboard.errors import ArtifactError, InputError
from corkboard.lake.calendar import DAY_MS, day_of

if TYPE_CHECKING:
    from corkboard.embeddings.pinnerformer_network import UserTower

Cadence = Literal["once", "daily", "realtime"]
_TOKENS_AT_ONCE = 16_384


class PinnerFormer:
    """Both towers after training.

    ``user`` are the arrays of the user tower by name, ``content_space`` the space that item vectors are made from, ``clock_hours``
    the periods of the clock that training saw at least twice.
    """

    def __init__(
        self,
        settings: PinnerFormerConfig,
        items: ItemTower,
        user: Mapping[str, np.ndarray],
        content_space: Space,
        clock_hours: Sequence[float],
    ):
        self.settings = settings
        self.items = items
        self.user = dict(user)
        self.content_space = content_space
        self.clock_hours = tuple(clock_hours)

    @property
    def dim(self) -> int:
        """Width of user vectors and item embeddings."""
        return self.settings.dim

    @property
    def item_ids(self) -> list[str]:
        """Items with an id embedding."""
        return self.items.item_ids

    @cached_property
    def space(self) -> Space:
        """The space of user vectors and item embeddings, named after all weights."""
        parts = [(name, value.shape, content_hash(value.tobytes().hex())) for name, value in sorted(self.tensors().items())]
        return Space("pinnerformer", content_hash(parts, self.item_ids, str(self.content_space)))

    # -------------------------------------------------------------------------------------------------------------- encode

    def encode_items(self, item_ids: Sequence[str], content: np.ndarray) -> np.ndarray:
        """float32 ``(n, dim)`` unit vectors from ids and content vectors; numpy only. See :meth:`ItemTower.encode`."""
        return self.items.encode(item_ids, content)

    def encode_users(self, histories: Histories, content: EmbeddingTable, users: np.ndarray, known_ms: np.ndarray) -> np.ndarray:
        """float32 ``(m, dim)``: user ``users[i]``, a row of ``histories``, from actions strictly before ``known_ms[i]``; zeros for none.

        ``content`` must be of the space that the model was trained with; an item that is not in it has no content vector.
        """
        users, known_ms = np.asarray(users, np.int64), np.asarray(known_ms, np.int64)
        if users.shape != known_ms.shape:
            raise InputError("Each user needs a moment", found=(users.shape, known_ms.shape), expected="the same shape")
        ends = histories.ends(users, known_ms)
        found = np.zeros((len(users), self.dim), np.float32)
        some = ends > histories.offsets[users]
        distinct, place = np.unique(ends[some] - 1, return_inverse=True)
        found[some] = self._at(histories, content, distinct)[place]
        return found

    def _at(self, histories: Histories, content: EmbeddingTable, slots: np.ndarray) -> np.ndarray:
        """float32 ``(len(slots), dim)``: the outputs at ``slots``, which are sorted and distinct."""
        import torch

        from corkboard.embeddings.pinnerformer_network import Tokens

        if not len(slots):
            return np.zeros((0, self.dim), np.float32)
        self.content_space.require(content.space)
        vectors = torch.from_numpy(self.encode_items(histories.item_ids, content.lookup(histories.item_ids)[0]))
        begins = histories.offsets[histories.owners[slots]]
        starts, rows = np.unique(begins + self._first_read(slots - begins), return_inverse=True)
        stops = np.zeros(len(starts), np.int64)
        np.maximum.at(stops, rows, slots + 1)
        out = np.empty((len(slots), self.dim), np.float32)
        with torch.inference_mode():
            for group in _parts(stops - starts, _TOKENS_AT_ONCE):
                row = np.full(len(starts), -1, np.int64)
                row[group] = np.arange(len(group))
                chosen = np.flatnonzero(row[rows] >= 0)
                chosen = chosen[np.argsort(row[rows[chosen]], kind="stable")]
                tokens = Tokens.of(histories, starts[group], stops[group], self.settings, self.clock_hours)
                outputs = self._tower.at(tokens, vectors, row[rows[chosen]], slots[chosen] - starts[rows[chosen]])
                out[chosen] = self._tower.vectors(outputs).numpy()
        return out

    def _first_read(self, place: np.ndarray) -> np.ndarray:
        """Which action of a history is the first that is read for the output at action number ``place``, both counted from 0."""
        window = self.settings.encoder.window
        step = max(1, window // 4)
        return np.maximum(0, -((window - 1 - place) // step)) * step

    @cached_property
    def _tower(self) -> UserTower:
        import torch

        from corkboard.embeddings.pinnerformer_network import UserTower

        with torch.random.fork_rng(devices=[]):
            tower = UserTower(self.settings, len(self.clock_hours))
        tower.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in self.user.items()})
        return tower.eval()

    # ----------------------------------------------------------------------------------------------------------- artefacts

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        named = {f"item/{name}": value for name, value in self.items.weights.items()}
        return named | {f"user/{name}": value for name, value in self.user.items()}

    def tables(self) -> dict[str, pl.DataFrame]:
        """The ids of an artefact."""
        return {"ids": pl.DataFrame({"id": self.item_ids}, schema={"id": pl.String})}

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        return {
            "kind": "pinnerformer",
            "settings": self.settings.model_dump(mode="json"),
            "content_space": str(self.content_space),
            "clock_hours": list(self.clock_hours),
        }

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> PinnerFormer:
        """The model of an artefact written with :meth:`tensors`, :meth:`tables` and :attr:`config`."""
        config = artifact.config
        if config.get("kind") != "pinnerformer":
            raise ArtifactError("This artefact holds no PinnerFormer", found=config.get("kind"), expected="pinnerformer")
        parts: dict[str, dict[str, np.ndarray]] = {"item": {}, "user": {}}
        for name, value in artifact.tensors.items():
            tower, _, rest = name.partition("/")
            parts[tower][rest] = value
        items = ItemTower(artifact.table("ids")["id"].to_list(), parts["item"])
        settings = PinnerFormerConfig.model_validate(config["settings"])
        return cls(settings, items, parts["user"], Space.parse(config["content_space"]), config["clock_hours"])


def cadence_moments(cadence: Cadence, time_ms: np.ndarray, start_ms: int, delay_days: int = 1) -> np.ndarray:
    """int64 ``(n,)``: what a user vector that is used at ``time_ms`` may know, strictly before the moment returned.

    ``once``: what was known at ``start_ms``, the beginning of the test. ``daily``: what was known at the midnight that began the day of
    use, ``delay_days`` earlier, as a nightly batch makes it. ``realtime``: everything before the very moment.
    """
    time_ms = np.asarray(time_ms, np.int64)
    if cadence == "once":
        return np.full(len(time_ms), start_ms, np.int64)
    return time_ms if cadence == "realtime" else (day_of(time_ms) - delay_days) * DAY_MS


def _parts(lengths: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Rows in parts of similar length, of at most about ``tokens`` padded tokens each."""
    order = np.argsort(-lengths, kind="stable")
    parts, start = [], 0
    while start < len(order):
        count = max(1, tokens // max(int(lengths[order[start]]), 1))
        parts.append(order[start : start + count])
        start += count
    return parts
