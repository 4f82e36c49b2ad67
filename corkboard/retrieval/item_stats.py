"""Counters by item as of a day: what an item had gathered before that day began, never on the day itself.

The same class makes the features of training rows (one day after the other) and of serving (the day after the last one
in the lake), so both see an item's past in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact
from corkboard.errors import InputError, LeakError
from corkboard.lake.calendar import DAY_MS
from corkboard.lake.schema import NEGATIVE, POSITIVE

COUNTERS: tuple[str, ...] = ("impressions", *POSITIVE, *NEGATIVE)
"""What is counted: times shown, and each action on items."""
WINDOWS_DAYS = (1, 7, 28)
"""Lengths of the windows, in whole UTC days before the day in question."""
NAMES: tuple[str, ...] = tuple(f"{counter}_{window}d" for window in WINDOWS_DAYS for counter in COUNTERS) + tuple(
    f"{counter}_decayed" for counter in COUNTERS
)
"""Names of the columns of :meth:`ItemStats.as_of`, in order."""

_FORGOTTEN = 8.0
"""Half-lives after which an event no longer counts in the decayed column: less than half a percent of it is left."""


class ItemStats:
    """Sparse daily counters, sorted by day.

    ``days``, ``rows``, ``counters`` and ``counts`` are parallel; day d covers ``[d * DAY_MS, (d + 1) * DAY_MS)``.
    """

    def __init__(
        self,
        ids: Sequence[str],
        days: np.ndarray,
        rows: np.ndarray,
        counters: np.ndarray,
        counts: np.ndarray,
        upto_ms: int,
        half_life_days: float = 14.0,
    ):
        self.ids = list(ids)
        order = np.argsort(days, kind="stable")
        self.days = np.asarray(days, np.int32)[order]
        self.rows = np.asarray(rows, np.int32)[order]
        self.counters = np.asarray(counters, np.int32)[order]
        self.counts = np.asarray(counts, np.float32)[order]
        self.upto_ms = int(upto_ms)
        self.half_life_days = float(half_life_days)

    @classmethod
    def build(
        cls, actions: pl.DataFrame, shown: pl.DataFrame, catalogue_ids: Sequence[str], upto_ms: int, half_life_days: float = 14.0
    ) -> ItemStats:
        """Count ``lake.actions()`` and ``lake.shown()``, of events strictly before ``upto_ms``. Unknown items are left out."""
        seen = shown.lazy().filter(pl.col("time_ms") < upto_ms).select("time_ms", "item_id").with_columns(counter=pl.lit(COUNTERS[0]))
        done = (
            actions.lazy()
            .filter((pl.col("time_ms") < upto_ms) & pl.col("action").is_in(COUNTERS[1:]))
            .select("time_ms", "item_id", counter="action")
        )
        index = pl.LazyFrame(
            {"item_id": list(catalogue_ids), "row": np.arange(len(catalogue_ids), dtype=np.int32)},
            schema={"item_id": pl.String, "row": pl.Int32},
        )
        counted = (
            pl.concat([seen, done])
            .join(index, on="item_id", how="inner")
            .group_by((pl.col("time_ms") // DAY_MS).cast(pl.Int32).alias("day"), "row", "counter")
            .len()
            .with_columns(pl.col("counter").replace_strict(list(COUNTERS), list(range(len(COUNTERS))), return_dtype=pl.Int32))
            .sort("day", "row", "counter")
            .collect()
        )
        columns = (counted[name].to_numpy() for name in ("day", "row", "counter", "len"))
        return cls(catalogue_ids, *columns, upto_ms=upto_ms, half_life_days=half_life_days)

    def before(self, day: int) -> ItemStats:
        """The same counters as they were when ``day`` began."""
        known = self.days < day
        parts = (self.days[known], self.rows[known], self.counters[known], self.counts[known])
        return ItemStats(self.ids, *parts, upto_ms=min(self.upto_ms, day * DAY_MS), half_life_days=self.half_life_days)

    @property
    def last_day(self) -> int:
        """The latest day that :meth:`as_of` may be asked for: the one after the last that was (partly) counted."""
        return -(-self.upto_ms // DAY_MS)

    def as_of(self, day: int) -> np.ndarray:
        """float32 ``(items, len(NAMES))``: counts over the windows that end where ``day`` begins, and the decayed count.

        ``day`` is ``time_ms // DAY_MS``. Raises :class:`LeakError` for a day later than :attr:`last_day`, whose past is not known whole.
        """
        if day > self.last_day:
            raise LeakError(
                "Counters were asked for a day whose past they do not hold", found=int(day), expected=f"at most {self.last_day}"
            )
        out = np.zeros((len(self.ids), len(NAMES)), np.float32)
        kinds = len(COUNTERS)
        end = int(np.searchsorted(self.days, day))
        for place, window in enumerate(WINDOWS_DAYS):
            start = int(np.searchsorted(self.days, day - window))
            out[:, place * kinds : (place + 1) * kinds] = self._sums(slice(start, end), self.counts[start:end])
        start = int(np.searchsorted(self.days, day - _FORGOTTEN * self.half_life_days))
        age = (day - 1 - self.days[start:end]).astype(np.float32)
        out[:, len(WINDOWS_DAYS) * kinds :] = self._sums(slice(start, end), self.counts[start:end] * 0.5 ** (age / self.half_life_days))
        return out

    def latest(self) -> np.ndarray:
        """:meth:`as_of` the latest day: what serving uses."""
        return self.as_of(self.last_day)

    def positives(self) -> np.ndarray:
        """float32 ``(items,)``: positive actions on each item, of all days there are."""
        counted = np.isin(self.counters, [COUNTERS.index(name) for name in POSITIVE])
        return np.bincount(self.rows[counted], self.counts[counted], minlength=len(self.ids)).astype(np.float32)

    def by_day(self, days: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """(day, :meth:`as_of` that day) for each distinct day, in order."""
        for day in sorted({int(day) for day in days}):
            yield day, self.as_of(day)

    def _sums(self, part: slice, weights: np.ndarray) -> np.ndarray:
        kinds = len(COUNTERS)
        cells = self.rows[part].astype(np.int64) * kinds + self.counters[part]
        return np.bincount(cells, weights, minlength=len(self.ids) * kinds).reshape(len(self.ids), kinds).astype(np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        return {"days": self.days, "rows": self.rows, "counters": self.counters, "counts": self.counts}

    def tables(self) -> dict[str, pl.DataFrame]:
        """The ids of an artefact."""
        return {"ids": pl.DataFrame({"id": self.ids}, schema={"id": pl.String})}

    @property
    def config(self) -> dict[str, object]:
        """The scalars of an artefact."""
        return {"upto_ms": self.upto_ms, "half_life_days": self.half_life_days, "counters": list(COUNTERS)}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> ItemStats:
        """The counters of an artefact written with :meth:`tensors`, :meth:`tables` and :attr:`config`."""
        tensors, config = artifact.tensors, artifact.config
        if tuple(config["counters"]) != COUNTERS:
            raise InputError(
                "The counters of this artefact are not the ones this version knows",
                found=config["counters"],
                expected=list(COUNTERS),
                hint="Run `corkboard build`.",
            )
        arrays = (tensors[name] for name in ("days", "rows", "counters", "counts"))
        return cls(artifact.table("ids")["id"].to_list(), *arrays, upto_ms=config["upto_ms"], half_life_days=config["half_life_days"])


def stat(name: str) -> int:
    """The column of :data:`NAMES` called ``name``, such as ``"save_7d"``."""
    return NAMES.index(name)
