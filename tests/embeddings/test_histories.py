from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from corkboard.embeddings.config import HistoryConfig
from corkboard.embeddings.histories import Histories
from corkboard.errors import InputError
from corkboard.lake.schema import ACTION_CODES, ITEM_ACTIONS, SURFACE_CODES, SURFACES
from tests.embeddings.builders import histories, random_histories


def actions() -> pl.DataFrame:
    rows = [
        # time, event, user, session, action, item, surface, duration
        (50, "e5", "bea", None, "save", "b", "home", None),
        (10, "e2", "bea", None, "close_up", "a", "search", 4_000),
        (10, "e1", "bea", None, "click", "b", None, 20_000),
        (20, "e3", None, "s1", "hide", "c", "home", None),
        (30, "e4", "bea", None, "click", "gone", "home", 1_000),
        (40, "e6", "abe", None, "follow", None, "home", None),
        (60, "e7", "abe", None, "close_up", "c", "home", None),
    ]
    names = ["time_ms", "event_id", "user_id", "session_id", "action", "item_id", "surface", "duration_ms"]
    return pl.DataFrame(rows, schema=names, orient="row")


def test_codes_keep_zero_for_padding() -> None:
    assert [ACTION_CODES[name] for name in ITEM_ACTIONS] == list(range(1, len(ITEM_ACTIONS) + 1))
    assert [SURFACE_CODES[name] for name in SURFACES] == list(range(1, len(SURFACES) + 1))


def test_of_a_frame() -> None:
    config = HistoryConfig(actions=tuple(ITEM_ACTIONS), label_seconds=10)
    found = Histories.of(actions(), ["a", "b", "c"], config)
    assert found.user_keys == ["abe", "bea", "session:s1"]
    assert found.offsets.tolist() == [0, 1, 4, 5]
    assert found.items.tolist() == [2, 1, 0, 1, 2]
    assert found.time_ms.tolist() == [60, 10, 10, 50, 20]
    assert found.actions.tolist() == [ACTION_CODES[name] for name in ("close_up", "click", "close_up", "save", "hide")]
    assert found.surfaces.tolist() == [SURFACE_CODES[name] for name in ("home", "other", "search", "home", "home")]
    assert found.labels.tolist() == [True, True, False, True, False]  # an unknown duration is long enough, four seconds are not
    assert found.duration_ms[1:3].tolist() == [20_000, 4_000]
    assert math.isnan(found.duration_ms[0])
    assert found.rows(["bea", "nobody"]).tolist() == [1, -1]


def test_only_what_is_asked_for_is_read() -> None:
    found = Histories.of(actions(), ["a", "b", "c"], HistoryConfig(actions=("save",)))
    assert (found.user_keys, found.items.tolist()) == (["bea"], [1])
    with pytest.raises(InputError):
        Histories.of(actions(), ["a"], HistoryConfig(labels=("follow",)))


def test_empty() -> None:
    found = Histories.of(actions().clear(), ["a"])
    assert (len(found), found.offsets.tolist(), found.first_labels().tolist()) == (0, [0], [])


def test_until_is_strict_and_keeps_users() -> None:
    cut = histories([[1, 2, 3], [2], [5]], [[0, 1, 2], [3], [4]]).until(2)
    assert cut.offsets.tolist() == [0, 1, 1, 1]
    assert cut.items.tolist() == [0]
    assert len(cut) == 3


def test_ends_agree_with_counting() -> None:
    made = random_histories()
    users, known = np.repeat(np.arange(len(made)), 5), np.tile(np.array([-(10**15), 0, 7 * 10**8, 12 * 10**8, 10**15]), len(made))
    times = [made.time_ms[a:b] for a, b in zip(made.offsets[:-1], made.offsets[1:], strict=True)]
    expected = [made.offsets[user] + int((times[user] < moment).sum()) for user, moment in zip(users, known, strict=True)]
    assert made.ends(users, known).tolist() == expected


def test_an_item_is_found_once_when_it_is_first_opened() -> None:
    # item 5 is opened (no label), then saved; item 6 saved twice; item 7 only opened
    made = histories([[1, 2, 3, 4, 5], [1]], [[5, 6, 5, 6, 7], [5]], [[False, True, True, True, False], [False]])
    assert made.first_labels().tolist() == [True, True, False, False, False, False]


def test_take_keeps_what_belongs_to_a_user() -> None:
    made = random_histories()
    taken = made.take(np.array([4, 1]))
    assert taken.user_keys == [made.user_keys[4], made.user_keys[1]]
    assert taken.time_ms.tolist() == np.concatenate([made.time_ms[made.offsets[u] : made.offsets[u + 1]] for u in (4, 1)]).tolist()


def test_times_must_not_fall() -> None:
    with pytest.raises(InputError):
        histories([[2, 1]])
    assert len(histories([[5], [1]])) == 2
