"""The user side of request features: made once a request, whatever the number of candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from corkboard.lake.schema import NEGATIVE, POSITIVE
from corkboard.ranking.item_side import ItemSide
from corkboard.state.bounded import Action
from corkboard.state.user_state import UserState

HOUR_MS = 3_600_000
SESSION_HOURS = 0.5
"""Actions of the last half hour are the session."""
LONGEST = 100
"""Only that many newest positive actions, and as many newest hides, are looked at."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "saves": ("save", "add_to_cart", "checkout"),
    "clicks": ("click", "long_click"),
    "close_ups": ("close_up",),
}
"""Kinds of positive action that get a window of their own."""
POSITIVE_WINDOWS: tuple[str, ...] = ("last", "last_3", "session", "10", "100", "fading_hours", "fading_days", *GROUPS)
"""Ways to weigh the positive actions of the past: :func:`positive_windows`."""
HIDE_WINDOWS: tuple[str, ...] = ("hides", "hides_fading")
"""Ways to weigh the hides of the past: :func:`hide_windows`."""

HOURS_FADE, DAYS_FADE, HIDES_FADE = 3.0, 36.0, 48.0
"""What is called fading hours, fading days and fading hides falls to 1/e in this many hours."""
LAST_FADE, LONG_FADE, LONG_HIDES_FADE = 24.0, 60 * 24.0, 365 * 24.0
"""Even "the last ten" fade within a day and "the last hundred" within two months: ten actions of last year are no news."""


@dataclass(frozen=True)
class Past:
    """Actions of one sign on items of the catalogue, newest first, parallel arrays of length p <= ``LONGEST``."""

    rows: np.ndarray
    """int64 ``(p,)`` catalogue rows."""
    hours: np.ndarray
    """float32 ``(p,)`` age in hours, at least 0."""
    actions: list[str]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Seen:
    """Items of the catalogue that were shown, parallel arrays sorted by row."""

    rows: np.ndarray
    """int64 ``(s,)`` catalogue rows, ascending."""
    hours: np.ndarray
    """float32 ``(s,)`` since the item was last shown."""
    times: np.ndarray
    """float32 ``(s,)`` pages it was on."""

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class UserSide:
    """What the features of every candidate of one request share."""

    now_ms: int
    positives: Past
    hides: Past
    positive_vectors: np.ndarray
    """float32 ``(p, dim)``."""
    hide_vectors: np.ndarray
    positive_graph_vectors: np.ndarray
    """float32 ``(p, dim)``: what product vectors are compared with; of width 1 where there are none."""
    positive_windows: np.ndarray
    """float32 ``(p, len(POSITIVE_WINDOWS))``."""
    hide_windows: np.ndarray
    """float32 ``(h, len(HIDE_WINDOWS))``."""
    usual_log_price: float
    """Median over priced positives, NaN without one."""
    followed: np.ndarray
    """int32 codes of followed creators."""
    shown: Seen
    request: np.ndarray
    """float32 ``(8,)``: the features that all candidates have in common."""


def user_side(state: UserState, now_ms: int, items: ItemSide) -> UserSide:
    """Read ``state`` as of ``now_ms``; an action at or after it is not looked at."""
    positives, hides = _pasts(state, now_ms, items)
    positive_vectors, _ = items.vectors(positives.rows)
    hide_vectors, _ = items.vectors(hides.rows)
    prices = items.log_price(positives.rows)
    priced = prices[~np.isnan(prices)]
    codes = [items.catalogue.code("creator_id", creator) for creator in state.follows]
    return UserSide(
        now_ms=now_ms,
        positives=positives,
        hides=hides,
        positive_vectors=positive_vectors,
        hide_vectors=hide_vectors,
        positive_graph_vectors=np.zeros((len(positives), 1), np.float32)
        if items.products is None
        else items.graph_vectors(positives.rows)[0],
        positive_windows=positive_windows(positives),
        hide_windows=hide_windows(hides),
        usual_log_price=float(np.median(priced)) if len(priced) else math.nan,
        followed=np.array([code for code in codes if code >= 0], np.int32),
        shown=_seen(state, now_ms, items),
        request=_request(state, now_ms),
    )


def _pasts(state: UserState, now_ms: int, items: ItemSide) -> tuple[Past, Past]:
    """Positive and negative actions; what was hidden later is not positive, whatever was done to it before."""
    done = [action for action in state.actions if action.item_id is not None and action.time_ms < now_ms]
    hides = [action for action in done if action.action in NEGATIVE]
    hidden = {action.item_id for action in hides}
    liked = [action for action in done if action.action in POSITIVE and action.item_id not in hidden]
    return _past(liked, now_ms, items), _past(hides, now_ms, items)


def _past(actions: list[Action], now_ms: int, items: ItemSide) -> Past:
    rows = items.catalogue.rows([action.item_id for action in actions if action.item_id is not None])
    there = np.flatnonzero(rows >= 0)[:LONGEST]
    hours = np.array([now_ms - action.time_ms for action in actions], np.int64)[there] / HOUR_MS
    return Past(rows[there], hours.astype(np.float32), [actions[k].action for k in there])


def _seen(state: UserState, now_ms: int, items: ItemSide) -> Seen:
    shown = state.shown
    rows = items.catalogue.rows(shown)
    last_ms = np.fromiter(map(attrgetter("last_ms"), shown.values()), np.int64, len(shown))
    times = np.fromiter(map(attrgetter("times"), shown.values()), np.float32, len(shown))
    order = np.argsort(rows)
    order = order[np.searchsorted(rows, 0, sorter=order) :]
    hours = np.maximum(now_ms - last_ms[order], 0) / HOUR_MS
    return Seen(rows[order], hours.astype(np.float32), times[order])


def positive_windows(past: Past) -> np.ndarray:
    """float32 ``(p, len(POSITIVE_WINDOWS))``: what each action counts in each window.

    "last", "last_3" and "10" are means over that many actions, fading within a day; "session" is the mean of the last half
    hour, "100" that of the last hundred; the groups are means that fade within a day towards zero; "fading_hours" and
    "fading_days" are sums.
    """
    hours, order = past.hours, np.arange(len(past))
    short, days, long = np.exp(-hours / LAST_FADE), np.exp(-hours / DAYS_FADE), np.exp(-hours / LONG_FADE)
    session = hours <= SESSION_HOURS
    columns = [short * (order < count) / count for count in (1, 3)]
    columns += [session / max(1, int(session.sum())), short * (order < 10) / 10, long / max(1.0, float(long.sum()))]
    columns += [np.exp(-hours / HOURS_FADE), days]
    for names in GROUPS.values():
        weights = short * np.array([name in names for name in past.actions], bool)
        columns.append(weights / (float(weights.sum()) + 1.0))
    return np.stack(columns, axis=1).astype(np.float32)


def hide_windows(past: Past) -> np.ndarray:
    """float32 ``(h, len(HIDE_WINDOWS))``: a mean over a month pulled towards zero by one hide, and a sum that fades in days."""
    long = np.exp(-past.hours / LONG_HIDES_FADE)
    return np.stack([long / (float(long.sum()) + 1.0), np.exp(-past.hours / HIDES_FADE)], axis=1).astype(np.float32)


def _request(state: UserState, now_ms: int) -> np.ndarray:
    """Activity, hours since the last action, share of hides, whether there is any history, hour and weekday on their circles (UTC)."""
    done = [action for action in state.actions if action.time_ms < now_ms]
    total = sum(state.counts.values())
    since = (now_ms - done[0].time_ms) / HOUR_MS if done else 0.0
    hides = sum(state.counts.get(name, 0) for name in NEGATIVE)
    hour = 2 * math.pi * (now_ms % (24 * HOUR_MS)) / (24 * HOUR_MS)
    week = 2 * math.pi * (now_ms % (168 * HOUR_MS)) / (168 * HOUR_MS)
    return np.array(
        [
            math.log1p(total),
            math.log1p(since),
            hides / (total + 1),
            float(bool(done)),
            math.sin(hour),
            math.cos(hour),
            math.sin(week),
            math.cos(week),
        ],
        np.float32,
    )
