"""What happened, as columns of item and people rows; :mod:`corkboard.world.tables` turns it into lake tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from corkboard.errors import InputError
from corkboard.world.behaviour import ACTIONS

ALL_ACTIONS = (*ACTIONS, "follow", "block", "undo")
FOLLOW, BLOCK, UNDO = (ALL_ACTIONS.index(name) for name in ("follow", "block", "undo"))
SURFACES = ("home", "related", "search")
PAGE_COLUMNS = ("user", "time_ms", "session", "surface", "beside", "random", "items", "scores", "sources")
TRUTH_COLUMNS = ("truth", "positive")
"""float32 (n, k, actions) and (n, k): probabilities of each action, and of any positive one, given a look."""
ACTION_COLUMNS = (
    "user",
    "time_ms",
    "session",
    "action",
    "item",
    "creator",
    "surface",
    "page",
    "position",
    "duration_ms",
    "board",
    "quantity",
    "offsite",
    "undoes",
)


@dataclass
class Columns:
    """Arrays that grow: cheap to append to by chunks, and, once they were read as one, in place."""

    names: tuple[str, ...]
    rows: int = 0
    _pending: list[dict[str, np.ndarray]] = field(default_factory=list)
    _arrays: dict[str, np.ndarray] = field(default_factory=dict)
    """With room at the end; the first ``_filled`` rows count."""
    _filled: int = 0

    def append(self, columns: Mapping[str, np.ndarray]) -> int:
        """Add rows; returns the number of the first one."""
        first, count = self.rows, len(columns[self.names[0]])
        self.rows += count
        if count and (self._pending or not self._fits(columns, count)):
            self._pending.append({name: columns[name] for name in self.names})
        elif count:
            self._write(columns, count)
        return first

    def whole(self) -> dict[str, np.ndarray]:
        """Every column over all rows. Arrays must not be changed."""
        if self._pending:
            parts = [{name: array[: self._filled] for name, array in self._arrays.items()}] * bool(self._filled) + self._pending
            shapes = {name: tuple(np.max([part[name].shape[1:] for part in parts], axis=0).astype(int)) for name in self.names}
            room = self.rows + self.rows // 8 + 1024
            self._arrays = {name: np.full((room, *shapes[name]), -1, parts[0][name].dtype) for name in self.names}
            self._filled, self._pending = 0, []
            for part in parts:
                self._write(part, len(part[self.names[0]]))
        if not self._arrays:
            return {name: np.zeros(0, np.int64) for name in self.names}
        return {name: array[: self._filled] for name, array in self._arrays.items()}

    def _fits(self, columns: Mapping[str, np.ndarray], count: int) -> bool:
        return all(
            name in self._arrays and self._filled + count <= len(self._arrays[name]) and _narrower(columns[name], self._arrays[name])
            for name in self.names
        )

    def _write(self, columns: Mapping[str, np.ndarray], count: int) -> None:
        """Copy rows to the end; what is narrower than its column is filled up with -1 (no item)."""
        for name in self.names:
            values = columns[name]
            self._arrays[name][(slice(self._filled, self._filled + count), *map(slice, values.shape[1:]))] = values
        self._filled += count


def _narrower(values: np.ndarray, array: np.ndarray) -> bool:
    return all(mine <= theirs for mine, theirs in zip(values.shape[1:], array.shape[1:], strict=True))


@dataclass
class Log:
    """Pages, the truth about them, their queries, and the actions."""

    pages: Columns
    actions: Columns = field(default_factory=lambda: Columns(ACTION_COLUMNS))
    queries: dict[int, str] = field(default_factory=dict)
    """Page number -> what was typed."""

    @classmethod
    def blank(cls, keep_truth: bool) -> Log:
        return cls(Columns((*PAGE_COLUMNS, *TRUTH_COLUMNS) if keep_truth else PAGE_COLUMNS))

    def truth(self) -> dict[str, np.ndarray]:
        """The pages with their truth. Raises :class:`InputError` where the world was told not to keep it."""
        if TRUTH_COLUMNS[0] not in self.pages.names:
            raise InputError("This world did not keep the truth about its pages", hint="Set keep_truth = true.")
        return self.pages.whole()
