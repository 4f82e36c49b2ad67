"""What users did with items, as flat arrays: the input of every model that reads sequences, oldest action first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from corkboard.embeddings.config import HistoryConfig
from corkboard.errors import InputError
from corkboard.lake.hashes import hash_texts, mixed
from corkboard.lake.schema import ACTION_CODES, SURFACE_CODES, user_key_expr

_TIMED = ("close_up", "click", "long_click")
"""Actions that last."""


@dataclass(frozen=True)
class Histories:
    """Actions of users on items: user u owns the slots ``offsets[u]:offsets[u + 1]``, in order of time.

    ``items`` int32 ``(n,)`` are rows of ``item_ids``; ``actions`` and ``surfaces`` int8 ``(n,)`` are codes of
    :data:`corkboard.lake.schema.ACTION_CODES` and ``SURFACE_CODES``, so 1 or more; ``time_ms`` int64 ``(n,)``; ``duration_ms``
    float32 ``(n,)``, NaN where unknown; ``labels`` bool ``(n,)`` are the actions that are to be foreseen. Times must not fall
    within a user; where only the order of actions is known, give their places as times, for a label lies strictly after a position.
    """

    user_keys: list[str]
    item_ids: list[str]
    offsets: np.ndarray
    items: np.ndarray
    actions: np.ndarray
    surfaces: np.ndarray
    time_ms: np.ndarray
    duration_ms: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, name)) for name in ("items", "actions", "surfaces", "time_ms", "duration_ms", "labels")}
        if lengths != {int(self.offsets[-1])} or len(self.offsets) != len(self.user_keys) + 1:
            raise InputError("The columns of histories differ in length", found=sorted(lengths), expected=int(self.offsets[-1]))
        falls = np.flatnonzero(np.diff(self.time_ms) < 0) + 1
        if len(np.setdiff1d(falls, self.offsets)):
            raise InputError("The times of a history fall", expected="the oldest action first")

    def __len__(self) -> int:
        """How many users there are."""
        return len(self.user_keys)

    @classmethod
    def of(cls, actions: pl.DataFrame, item_ids: Sequence[str], config: HistoryConfig | None = None) -> Histories:
        """Histories from a frame of the lake's ``actions``; actions on items that are not in ``item_ids`` are left out.

        Users are sorted by key; actions of one moment by their event id. Raises :class:`InputError` for an unknown action.
        """
        config = config or HistoryConfig()
        unknown = {*config.actions, *config.labels} - ACTION_CODES.keys()
        if unknown:
            raise InputError("An action has no code", found=sorted(unknown), expected=list(ACTION_CODES))
        long_enough = ~pl.col("action").is_in(_TIMED) | (pl.col("duration_ms").fill_null(2**62) > config.label_seconds * 1000)
        rows = pl.LazyFrame({"item_id": list(item_ids)}, schema={"item_id": pl.String}).with_row_index("item")
        read = (
            actions.lazy()
            .filter(pl.col("action").is_in(list(config.actions)))
            .join(rows, on="item_id", how="inner")
            .select(
                "time_ms",
                "event_id",
                user_key_expr().alias("user"),
                pl.col("item").cast(pl.Int32),
                pl.col("action").replace_strict(ACTION_CODES, return_dtype=pl.Int8).alias("code"),
                pl.col("surface").fill_null("other").replace_strict(SURFACE_CODES, return_dtype=pl.Int8),
                pl.col("duration_ms").cast(pl.Float32).fill_null(float("nan")),
                (pl.col("action").is_in(list(config.labels)) & long_enough).alias("label"),
            )
            .sort("user", "time_ms", "event_id")
            .collect()
        )
        counts = read.group_by("user", maintain_order=True).len()
        return cls(
            user_keys=counts["user"].to_list(),
            item_ids=list(item_ids),
            offsets=np.concatenate([[0], np.cumsum(counts["len"].to_numpy())]).astype(np.int64),
            items=read["item"].to_numpy(),
            actions=read["code"].to_numpy(),
            surfaces=read["surface"].to_numpy(),
            time_ms=read["time_ms"].to_numpy(),
            duration_ms=read["duration_ms"].to_numpy(),
            labels=read["label"].to_numpy(),
        )

    def until(self, time_ms: int) -> Histories:
        """The same users with what they did strictly before ``time_ms``; a user may be left with nothing."""
        return self._where(self.time_ms < time_ms, self.offsets)

    def take(self, users: np.ndarray) -> Histories:
        """The histories of ``users``, rows of ``user_keys``, in that order."""
        lengths = np.diff(self.offsets)[users]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        slots = np.arange(offsets[-1]) + np.repeat(self.offsets[users] - offsets[:-1], lengths)
        return self._rows(slots, offsets, [self.user_keys[user] for user in users])

    def _where(self, kept: np.ndarray, offsets: np.ndarray) -> Histories:
        return self._rows(np.flatnonzero(kept), np.concatenate([[0], np.cumsum(kept)])[offsets], self.user_keys)

    def _rows(self, slots: np.ndarray, offsets: np.ndarray, user_keys: list[str]) -> Histories:
        columns = (self.items, self.actions, self.surfaces, self.time_ms, self.duration_ms, self.labels)
        return Histories(user_keys, self.item_ids, offsets.astype(np.int64), *(column[slots] for column in columns))

    @cached_property
    def owners(self) -> np.ndarray:
        """int64 ``(n,)``: the user of each slot."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @cached_property
    def user_rows(self) -> dict[str, int]:
        """Row of each user key."""
        return {key: row for row, key in enumerate(self.user_keys)}

    def rows(self, user_keys: Sequence[str]) -> np.ndarray:
        """int64 ``(len(user_keys),)``: rows of users, -1 where unknown."""
        row_of = self.user_rows
        return np.fromiter((row_of.get(key, -1) for key in user_keys), np.int64, len(user_keys))

    def ends(self, users: np.ndarray, known_ms: np.ndarray) -> np.ndarray:
        """int64 ``(m,)``: one past the last slot of user ``users[i]`` strictly before ``known_ms[i]``; ``offsets[user]`` for none."""
        return np.searchsorted(self._keys, self._key(users, known_ms), side="left")

    def checksums(self, ends: np.ndarray) -> np.ndarray:
        """uint64 ``(users,)``: a number for what each user did up to slot ``ends[user]``, excluded, whatever the order of items.

        Histories with other items, kinds of action or times have another one, so it tells whether a vector knows all there is by now:
        what arrived late, and what was undone, included.
        """
        item = hash_texts(pl.Series(self.item_ids, dtype=pl.String))[self.items]
        slots = mixed(mixed(item ^ self.time_ms.astype(np.uint64)) ^ self.actions.astype(np.uint64))
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(slots, dtype=np.uint64)])
        return sums[ends] - sums[self.offsets[:-1]]

    def first_labels(self) -> np.ndarray:
        """bool ``(n,)``: the first action of a user on an item, where any of the user's actions on it is a label.

        What a person opens now and saves in a minute is found once, not twice, and it is found when it is opened.
        """
        pairs = self.owners * np.int64(len(self.item_ids)) + self.items
        _, first, pair = np.unique(pairs, return_index=True, return_inverse=True)
        wanted = np.zeros(len(first), bool)
        wanted[pair[self.labels]] = True
        chosen = np.zeros(len(pairs), bool)
        chosen[first[wanted]] = True
        return chosen

    @cached_property
    def _base(self) -> tuple[int, int]:
        """(earliest time, span) of all actions."""
        if not len(self.time_ms):
            return 0, 1
        return int(self.time_ms.min()), int(self.time_ms.max() - self.time_ms.min()) + 2

    @cached_property
    def _keys(self) -> np.ndarray:
        return self._key(self.owners, self.time_ms)

    def _key(self, users: np.ndarray, time_ms: np.ndarray) -> np.ndarray:
        """One number that orders by user, then by time; times outside of the span count as its ends."""
        base, span = self._base
        return np.asarray(users, np.int64) * span + np.clip(np.asarray(time_ms, np.int64) - base, 0, span - 1)
