"""User vectors as a nightly batch makes them: who did something, or of whom something else is known by now, is computed anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, EmbeddingTable, Space
from corkboard.embeddings.histories import Histories
from corkboard.embeddings.pinnerformer import PinnerFormer
from corkboard.errors import ArtifactError, InputError
from corkboard.lake.calendar import DAY_MS, day_of

_HOUR_MS = 3_600_000


@dataclass(frozen=True)
class UserVectors:
    """The merged table of one nightly run: float32 ``vectors`` ``(n, dim)``, one for each of ``user_keys`` (sorted).

    ``made_ms`` int64 ``(n,)`` is what was known when each vector was computed, ``newest_ms`` int64 ``(n,)`` the newest action it knows,
    ``read`` uint64 ``(n,)`` the checksum of all that it knows. ``known_ms`` is what the run knew. A vector is personal data: rows
    are found by user key, and a purged user's row must go.
    """

    user_keys: list[str]
    vectors: np.ndarray
    made_ms: np.ndarray
    newest_ms: np.ndarray
    read: np.ndarray
    known_ms: int
    space: Space

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {key: row for row, key in enumerate(self.user_keys)}

    def __len__(self) -> int:
        return len(self.user_keys)

    def lookup(self, user_key: str) -> tuple[np.ndarray | None, int]:
        """(float32 ``(dim,)``, UTC ms of the newest action it knows), or (None, 0) for a user without a vector."""
        row = self._row_of.get(user_key, -1)
        return (None, 0) if row < 0 else (self.vectors[row], int(self.newest_ms[row]))

    def rows(self, user_keys: Sequence[str]) -> np.ndarray:
        """int64 ``(len(user_keys),)``: rows of users, -1 where there is none."""
        return np.fromiter((self._row_of.get(key, -1) for key in user_keys), np.int64, len(user_keys))

    def tables(self) -> dict[str, pl.DataFrame]:
        """The table of an artefact, a row a user with everything known of that user, so that purging drops whole rows."""
        vector = pl.Series("vector", self.vectors, pl.Array(pl.Float32, self.vectors.shape[1]))
        columns = {"user_key": pl.Series(self.user_keys, dtype=pl.String), "made_ms": self.made_ms, "newest_ms": self.newest_ms}
        return {"users": pl.DataFrame({**columns, "read": self.read}).with_columns(vector)}

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        return {"kind": "user_vectors", "known_ms": self.known_ms, "space": str(self.space)}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> UserVectors:
        """The table of an artefact written with :meth:`tables` and :attr:`config`."""
        config = artifact.config
        if config.get("kind") != "user_vectors":
            raise ArtifactError("This artefact holds no user vectors", found=config.get("kind"), expected="user_vectors")
        users = artifact.table("users")
        if "read" not in users.columns:
            raise ArtifactError(
                "These user vectors were made by another version", found=users.columns, hint="Make them again: `corkboard build`."
            )
        columns = (users[name].to_numpy() for name in ("made_ms", "newest_ms", "read"))
        return cls(
            users["user_key"].to_list(),
            users["vector"].to_numpy().astype(np.float32),
            *columns,
            int(config["known_ms"]),
            Space.parse(config["space"]),
        )


def batch_user_vectors(
    model: PinnerFormer, histories: Histories, content: EmbeddingTable, known_ms: int, previous: UserVectors | None = None
) -> UserVectors:
    """The table as of ``known_ms``, computing only users whose actions before it are not those that ``previous`` was made from.

    Everybody else keeps the row of ``previous``, which must be of the same model and not from later. The result is what computing
    everybody would give, whatever arrived late or was undone since. Users without any action before ``known_ms`` have no row.
    """
    stand = _Stand.of(histories, known_ms)
    changed, kept = stand.against(previous, model)
    users, rows = np.flatnonzero(changed), np.flatnonzero(kept >= 0)
    fresh = model.encode_users(histories, content, users, np.full(len(users), known_ms))
    vectors, made_ms = np.zeros((len(histories), model.dim), np.float32), np.full(len(histories), known_ms)
    vectors[users] = fresh
    if previous is not None:
        vectors[rows], made_ms[rows] = previous.vectors[kept[rows]], previous.made_ms[kept[rows]]
    there = np.flatnonzero(stand.some)
    keys = [histories.user_keys[user] for user in there]
    return UserVectors(keys, vectors[there], made_ms[there], stand.newest_ms[there], stand.read[there], known_ms, model.space)


def changed_users(model: PinnerFormer, histories: Histories, known_ms: int, previous: UserVectors | None = None) -> np.ndarray:
    """int64: rows of ``histories`` that :func:`batch_user_vectors` computes."""
    return np.flatnonzero(_Stand.of(histories, known_ms).against(previous, model)[0])


@dataclass(frozen=True)
class _Stand:
    """What is known of each user just before a moment, ``(users,)`` each: whether anything, the newest action, a checksum of all."""

    histories: Histories
    known_ms: int
    some: np.ndarray
    newest_ms: np.ndarray
    read: np.ndarray

    @classmethod
    def of(cls, histories: Histories, known_ms: int) -> _Stand:
        ends = histories.ends(np.arange(len(histories)), np.full(len(histories), known_ms))
        some = ends > histories.offsets[:-1]
        newest_ms = np.where(some, histories.time_ms[np.maximum(ends - 1, 0)] if len(histories.time_ms) else 0, 0)
        return cls(histories, known_ms, some, newest_ms, histories.checksums(ends))

    def against(self, previous: UserVectors | None, model: PinnerFormer) -> tuple[np.ndarray, np.ndarray]:
        """(bool: whom to compute, int64: the row of ``previous`` that stays, -1 for none), ``(users,)`` each."""
        kept = np.full(len(self.histories), -1)
        if previous is None or not len(previous):
            return self.some, kept
        model.space.require(previous.space)
        if previous.known_ms > self.known_ms:
            raise InputError("The previous user vectors are from later", found=previous.known_ms, expected=f"at most {self.known_ms}")
        rows = previous.rows(self.histories.user_keys)
        same = self.some & (rows >= 0) & (previous.read[rows] == self.read)
        return self.some & ~same, np.where(same, rows, kept)


class DailyUserVectors:
    """What the nightly batch would have served on each day of a log, for training rows and evaluation.

    On day D (:func:`corkboard.lake.calendar.day_of`) a page gets the vector made from actions strictly before the midnight that began
    day ``D - delay_days``. All of it is computed at once: a vector for each user and night that changed it.
    """

    def __init__(
        self, model: PinnerFormer, histories: Histories, content: EmbeddingTable, first_day: int, last_day: int, delay_days: int = 1
    ):
        self.model_space, self.dim, self.delay_days = model.space, model.dim, delay_days
        self.first_day, self.last_day = first_day, last_day
        self._histories = histories
        days = np.arange(first_day, last_day + 1)
        users = np.repeat(np.arange(len(histories)), len(days))
        known = np.tile((days - delay_days) * DAY_MS, len(histories))
        ends = histories.ends(users, known)
        some = ends > histories.offsets[users]
        self._slots, first = np.unique(ends[some] - 1, return_index=True)
        self._vectors = model.encode_users(histories, content, users[some][first], known[some][first])

    def at(self, user_keys: Sequence[str], time_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(vectors float32 ``(m, dim)``, known bool ``(m,)``, hours float32 ``(m,)``) for user ``user_keys[i]`` at ``time_ms[i]``.

        ``hours`` is the time from the newest action that the vector knows to ``time_ms``; vector and hours are 0 where nothing is
        known. Raises :class:`InputError` for a day outside of those that were computed.
        """
        time_ms = np.asarray(time_ms, np.int64)
        days = day_of(time_ms)
        if len(days) and not (days.min() >= self.first_day and days.max() <= self.last_day):
            expected = (self.first_day, self.last_day)
            raise InputError("No user vectors of that day", found=(int(days.min()), int(days.max())), expected=expected)
        rows = self._histories.rows(user_keys)
        users = np.maximum(rows, 0)
        vectors, hours = np.zeros((len(rows), self.dim), np.float32), np.zeros(len(rows), np.float32)
        if not len(self._slots):
            return vectors, np.zeros(len(rows), bool), hours
        ends = self._histories.ends(users, (days - self.delay_days) * DAY_MS)
        known = (rows >= 0) & (ends > self._histories.offsets[users])
        slots = ends[known] - 1
        vectors[known] = self._vectors[np.searchsorted(self._slots, slots)]
        hours[known] = (time_ms[known] - self._histories.time_ms[slots]) / _HOUR_MS
        return vectors, known, hours
