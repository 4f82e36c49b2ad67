"""A lake in memory, written out by hand, and scorers that know what a test wants them to know."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.errors import LeakError
from corkboard.lake.calendar import DAY_MS, Calendar
from corkboard.lake.schema import empty

START_MS = 1_700_006_400_000 // DAY_MS * DAY_MS


def calendar(days=28, rank_days=7, test_days=14):
    end = START_MS + days * DAY_MS
    cut = end - test_days * DAY_MS
    return Calendar(start_ms=START_MS, item_cut_ms=cut - rank_days * DAY_MS, rank_cut_ms=cut, end_ms=end)


def at(day):
    return START_MS + int(day * DAY_MS)


def frame(table, rows):
    """Rows of a table from dicts; columns that are not given are null."""
    schema = empty(table).schema
    filled = [{**dict.fromkeys(schema), "tenant": "default", "event_id": f"{table}-{i}", **row} for i, row in enumerate(rows)]
    return pl.DataFrame(filled, schema=schema, orient="row") if filled else empty(table)


def action(user, item, day, kind="click", **more):
    return {"user_id": user, "item_id": item, "time_ms": at(day), "action": kind, "surface": "home", **more}


def item(item_id, day=0.0, category=None, **more):
    return {"item_id": item_id, "time_ms": at(day), "category": category, "available": True, "deleted": False, "kind": "pin", **more}


def page(request, user, day, item_ids, propensity=None):
    slots = [{"item_id": i, "position": p, "score": None, "propensity": propensity, "source": None} for p, i in enumerate(item_ids)]
    return {"request_id": request, "user_id": user, "time_ms": at(day), "surface": "home", "slots": slots}


@dataclass(frozen=True)
class FakeLake:
    """The part of the lake's contract that evaluation reads."""

    item_rows: pl.DataFrame
    action_rows: pl.DataFrame
    impression_rows: pl.DataFrame
    cut_ms: int = 2**62
    snapshot: str = "fake"

    @classmethod
    def of(cls, items=(), actions=(), impressions=()):
        ordered = frame("actions", actions).sort("time_ms", "event_id")
        return cls(frame("items", items), ordered, frame("impressions", impressions).sort("time_ms"))

    def until(self, cut_ms):
        return FakeLake(self.item_rows, self.action_rows, self.impression_rows, min(cut_ms, self.cut_ms), self.snapshot)

    def _between(self, rows, start_ms, end_ms):
        if end_ms is not None and end_ms > self.cut_ms:
            raise LeakError("The lake ends earlier", found=end_ms, expected=self.cut_ms)
        return rows.filter((pl.col("time_ms") >= (start_ms or 0)) & (pl.col("time_ms") < (end_ms or self.cut_ms)))

    def items(self, before_ms=None):
        rows = (
            self._between(self.item_rows, None, before_ms).sort("time_ms").with_columns(created_ms=pl.col("time_ms").min().over("item_id"))
        )
        return rows.unique("item_id", keep="last").filter(~pl.col("deleted")).sort("item_id")

    def actions(self, start_ms=None, end_ms=None, undone=False):
        return self._between(self.action_rows, start_ms, end_ms)

    def impressions(self, start_ms=None, end_ms=None):
        return self._between(self.impression_rows, start_ms, end_ms)

    def served(self, start_ms=None, end_ms=None):
        return empty("served")


@dataclass(frozen=True)
class Fixed:
    """The same scores for everybody."""

    scores: np.ndarray

    def score_all(self, histories):
        return np.repeat(np.asarray(self.scores, np.float32)[None, :], len(histories), axis=0)


@dataclass(frozen=True)
class Random:
    """Chance."""

    items: int
    seed: int = 0

    def score_all(self, histories):
        return np.random.default_rng(self.seed).random((len(histories), self.items), dtype=np.float32)


@dataclass(frozen=True)
class Seer:
    """Knows a share of the test's positives: what a leak looks like from outside."""

    task: object
    share: float
    seed: int = 0

    def score_users(self, user_ids, known_ms):
        rng = np.random.default_rng(self.seed)
        row_of = {user: row for row, user in enumerate(self.task.user_ids)}
        scores = rng.random((len(user_ids), len(self.task.item_ids)), dtype=np.float32)
        for moment in self.task.moments:
            place = {int(user): p for p, user in enumerate(moment.users)}
            for row, user in enumerate(user_ids):
                items = moment.positive_items[moment.positive_users == place.get(row_of[user], -1)]
                scores[row, items[rng.random(len(items)) < self.share]] += 1.0
        return scores
