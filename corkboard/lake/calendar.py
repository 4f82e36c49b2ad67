"""The calendar: one object that cuts time, so that no model reads past its own cut.

    start            A                B              end
      | item and user models | ranking rows | test, read once |

Item and user models see [start, A); ranking rows come from [A, B); the test is [B, end). Validation is the end of each training
span, on users that are held out of training. Cuts are midnights, UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np
import polars as pl

from corkboard.errors import InputError
from corkboard.lake.config import CalendarConfig
from corkboard.lake.hashes import hash_texts
from corkboard.lake.lake import Lake

DAY_MS = 86_400_000
MIN_DAYS = 4
_HELD_OUT_SALT = 0x5EED

Moment = TypeVar("Moment", int, np.ndarray)


def day_of(time_ms: Moment) -> Moment:
    """The day of a moment: whole days since 1970-01-01, UTC."""
    return time_ms // DAY_MS


def day_name(day: int) -> str:
    """ "2024-03-01" for a day as :func:`day_of` counts them."""
    return datetime.fromtimestamp(day * DAY_MS / 1000, UTC).strftime("%Y-%m-%d")


@dataclass(frozen=True)
class Calendar:
    """Where time is cut, in UTC milliseconds. Spans are half-open."""

    start_ms: int
    item_cut_ms: int
    """A: item and user models see days before it."""
    rank_cut_ms: int
    """B: ranking rows come from [A, B), the test from [B, end)."""
    end_ms: int
    validation_days: int = 3
    held_out_share: float = 0.1

    def last_quarter_ms(self, cut_ms: int) -> int:
        """The midnight at which the last quarter of the time before ``cut_ms`` begins, to the nearest week where there is one.

        What reads a graph learns from what happened in that quarter on the graph as it stood before it, as it will be used: on what
        comes after its graph.
        """
        days = (cut_ms - self.start_ms) / 4 / DAY_MS
        return (cut_ms - int(round(days / 7) * 7 if days >= 7 else max(days, 1)) * DAY_MS) // DAY_MS * DAY_MS

    @classmethod
    def of(cls, lake: Lake, config: CalendarConfig | None = None) -> Calendar:
        """Cut the days of the lake from their end: ``test_days``, before them ``rank_days``, and the rest before A.

        Only days on which something happened are counted. A click on an old data set that is being served is one more day, and
        does not push all that was there before out of the ranking span and the test.

        At least half of the days come before A: where the lake is too short for that, test and ranking span share the other half
        in the proportion of the settings, a day each at the least. With ``retrain_days`` n, A is moved back to a multiple of n days, as
        far as a third of the days stays before it. Raises :class:`InputError` for a lake of fewer than 4 days.
        """
        config = config or CalendarConfig()
        lake.time_range()  # says what to do where the lake is empty
        days = lake.active_days
        days = [day for day in days if not config.window_days or day > days[-1] - config.window_days]
        test, rank = spans(len(days), config)
        return cls(
            start_ms=days[0] * DAY_MS,
            item_cut_ms=_held_back(days, days[-test - rank], config.retrain_days) * DAY_MS,
            rank_cut_ms=days[-test] * DAY_MS,
            end_ms=(days[-1] + 1) * DAY_MS,
            validation_days=config.validation_days,
            held_out_share=config.held_out_share,
        )

    @property
    def item_validation_ms(self) -> int:
        """Start of the validation of item and user models, which ends at A; at most a third of their span."""
        return self._validation_start(self.start_ms, self.item_cut_ms)

    @property
    def rank_validation_ms(self) -> int:
        """Start of the validation of rankers, which ends at B; at most a third of their span, a day at the least."""
        return self._validation_start(self.item_cut_ms, self.rank_cut_ms)

    def _validation_start(self, start_ms: int, end_ms: int) -> int:
        days = max(1, min(self.validation_days, day_of(end_ms - start_ms) // 3))
        return end_ms - days * DAY_MS

    def held_out(self, user_ids: Sequence[str] | pl.Series) -> np.ndarray:
        """bool ``(users,)``: who is held out of training, by a hash of the id, so that it never changes and needs no table."""
        hashes = hash_texts(pl.Series(user_ids, dtype=pl.String), salt=_HELD_OUT_SALT)
        return hashes < np.uint64(min(int(self.held_out_share * 2.0**64), 2**64 - 1))

    def split_hash(self, lake: Lake) -> str:
        """12 hex digits over the cuts, who is held out and every event of the lake: results with the same one can be compared."""
        cuts = (self.start_ms, self.item_cut_ms, self.rank_cut_ms, self.end_ms, self.validation_days, self.held_out_share)
        return hashlib.blake2b(f"{cuts} {lake.event_hash()}".encode(), digest_size=6).hexdigest()

    def days(self) -> range:
        """The days from start to end, as :func:`day_of` counts them."""
        return range(day_of(self.start_ms), day_of(self.end_ms))


def _held_back(days: Sequence[int], item_cut: int, retrain_days: int) -> int:
    """The day of A that stays the same for ``retrain_days`` days."""
    day = item_cut // retrain_days * retrain_days
    return day if 3 * sum(known < day for known in days) >= len(days) else item_cut


def spans(days: int, config: CalendarConfig) -> tuple[int, int]:
    """(test days, ranking days) for data of ``days`` days."""
    if days < MIN_DAYS:
        raise InputError(
            "The lake spans too few days to cut it into training, ranking and test",
            found=days,
            expected=f"at least {MIN_DAYS} days with actions or impressions",
        )
    test, rank = config.test_days, config.rank_days
    half = days // 2
    if test + rank > half:
        test = min(max(1, round(half * test / (test + rank))), half - 1)
        rank = half - test
    return test, rank
