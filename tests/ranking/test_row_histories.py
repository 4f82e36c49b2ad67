"""Histories and user vectors of training rows: what each page's user had done by then, and nothing of what came later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corkboard.lake.schema import ITEM_ACTIONS
from corkboard.ranking.config import RowsConfig
from corkboard.ranking.pages import impression_pages
from corkboard.ranking.rows import TrainingRows, page_rows, rows_from_served, training_rows
from ranking.builders import DAY_MS, HOUR_MS, lake_of
from ranking.test_rows import CALENDAR, ITEMS, A, B, act, item, item_days, rows_of, served, shown

History = list[tuple[str, str, float]]


def undo(name: str, item_id: str, done_ms: int, time_ms: int) -> dict[str, Any]:
    row = act("undo", item_id, time_ms)
    return row | {"item_id": None, "undoes": f"{name}-{item_id}-{done_ms}-ann"}


def histories(rows: TrainingRows) -> dict[str, History]:
    """By request: (item, action, age in hours), newest first."""
    made = rows.histories
    assert made is not None
    assert len(made) == rows.pages.height
    found: dict[str, History] = {}
    for place, request_id in enumerate(rows.pages["request_id"].to_list()):
        part = slice(made.offsets[place], made.offsets[place + 1])
        names = [made.ids[n] for n in made.items[part]]
        actions = [ITEM_ACTIONS[code - 1] for code in made.actions[part]]
        found[request_id] = list(zip(names, actions, made.hours[part].tolist(), strict=True))
    return found


def test_each_page_has_the_history_of_its_own_moment(tmp_path):
    morning, evening = A + DAY_MS + 8 * HOUR_MS, A + DAY_MS + 20 * HOUR_MS
    taken_back = evening - 2 * HOUR_MS
    rows = rows_of(
        tmp_path,
        act("save", "i0", A - 5 * DAY_MS),  # before the span, and still history
        shown("r1", morning, ["i1", "i2"]),
        act("click", "i1", morning, request_id="r1"),  # at the very moment: not known to the page
        act("hide", "i2", morning + HOUR_MS, request_id="r1"),
        act("save", "i4", taken_back - HOUR_MS),
        undo("save", "i4", taken_back - HOUR_MS, taken_back),
        act("save", "i5", evening - HOUR_MS, user="bob"),
        shown("r2", evening, ["i3"]),
        act("click", "i3", evening + HOUR_MS, request_id="r2"),
    )
    assert histories(rows) == {
        "r1": [("i0", "save", 128.0 + 24.0)],
        "r2": [("i2", "hide", 11.0), ("i1", "click", 12.0), ("i0", "save", 164.0)],
    }
    assert rows.take(np.array([2])).histories is rows.histories  # pages keep their numbers


def test_an_undo_after_the_page_takes_nothing_from_it(tmp_path):
    moment = A + DAY_MS
    rows = rows_of(
        tmp_path,
        act("save", "i4", moment - HOUR_MS),
        shown("r", moment, ["i1"]),
        undo("save", "i4", moment - HOUR_MS, moment + HOUR_MS),
        act("click", "i1", moment + HOUR_MS, request_id="r"),
    )
    assert histories(rows)["r"] == [("i4", "save", 1.0)]


def test_only_the_newest_are_kept_and_items_are_those_of_the_day(tmp_path):
    moment = A + DAY_MS + HOUR_MS
    done = [act("click", f"i{n}", moment - (n + 1) * HOUR_MS) for n in range(6)]
    late = [item("new", moment - 30 * 60_000), act("close_up", "new", moment - 10 * 60_000), act("click", "never an item", moment - 60_000)]
    asked = [shown("r", moment, ["i1"]), act("click", "i1", moment + 1, request_id="r")]
    rows = rows_of(tmp_path, *late, *done, *asked, history_length=4)
    assert [name for name, _, _ in histories(rows)["r"]] == ["new", "i0", "i1"]  # four with the one that is no item


events = st.lists(
    st.tuples(st.sampled_from(["click", "save", "hide", "shown"]), st.integers(0, 7), st.integers(0, 3 * 24 * 60)), max_size=12
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events, st.integers(0, 24 * 60), st.integers(1, 2 * 24 * 60))
def test_a_later_event_changes_nothing_of_an_earlier_page(tmp_path_factory, happened, first, gap):
    """Two pages of one user: the first is the same with and without all that came later, the second sees what lies between."""
    moments = A + first * 60_000, A + (first + gap) * 60_000

    def row(n: int, name: str, number: int, at: int) -> dict[str, Any]:
        return shown(f"e{n}", at, [f"i{number}"], surface="search") if name == "shown" else act(name, f"i{number}", at + n)

    rows = [row(n, name, number, A + at * 60_000) for n, (name, number, at) in enumerate(happened)]
    asked = [shown(f"asked{n}", moment, ITEMS) for n, moment in enumerate(moments)] + [act("click", "i0", B - 1)]
    made = []
    for kept in (rows, [row for row in rows if row["time_ms"] < moments[0]]):
        lake = lake_of(tmp_path_factory.mktemp("lake"), [*(item(name) for name in ITEMS), *kept, *asked])
        made.append(training_rows(lake, CALENDAR, item_days(lake), RowsConfig(), seed=1))
    whole, past = made
    first_page = whole.page == 0
    np.testing.assert_array_equal(whole.features[first_page], past.features[first_page])
    assert histories(whole)["asked0"] == histories(past)["asked0"]
    done = sorted(((r["time_ms"], r["event_id"], r) for r in rows if r["event"] == "action" and r["time_ms"] < moments[1]), reverse=True)
    assert [(name, action) for name, action, _ in histories(whole)["asked1"]] == [(r["item_id"], r["action"]) for _, _, r in done]


def test_where_nothing_was_shown_each_made_up_page_has_its_history(tmp_path):
    acts = [act("save", "i0", A - HOUR_MS), act("click", "i1", A + HOUR_MS), act("click", "i2", A + 3 * HOUR_MS)]
    rows = rows_of(tmp_path, *acts, config=RowsConfig(negatives=3), user_vectors=Daily(tmp_path / "none", []))
    assert list(histories(rows).values()) == [[("i0", "save", 2.0)], [("i1", "click", 2.0), ("i0", "save", 4.0)]]
    assert rows.user_vectors is not None
    assert rows.user_vectors.shape == (2, 2)


# ------------------------------------------------------------------------------------------------------ the served log


def entry(name: str, item_id: str | None, time_ms: int) -> dict[str, Any]:
    return {"item_id": item_id, "action": name, "time_ms": time_ms}


def test_a_served_page_has_the_sequence_that_it_was_served_with(tmp_path):
    """What the log says counts, also where the lake knows more by now: an action that arrived after the page."""
    moment = A + HOUR_MS
    logged = [
        entry("save", "i1", moment - HOUR_MS),
        entry("click", "gone", moment - 2 * HOUR_MS),
        entry("hide", "i2", moment - 3 * HOUR_MS),
    ]
    rows = rows_of(
        tmp_path,
        served("own", moment, ["i3"]) | {"sequence": logged},
        served("without", moment + 1, ["i3"]),  # features but no sequence: a version that did not log it
        shown("other", moment + HOUR_MS, ["i2"]),
        act("click", "i7", moment - HOUR_MS),
        act("click", "i3", moment + 2 * HOUR_MS, request_id="own"),
    )
    assert histories(rows) == {
        "own": [("i1", "save", 1.0), ("i2", "hide", 3.0)],
        "without": [("i7", "click", pytest.approx(1.0, abs=1e-5))],
        "other": [("i7", "click", 2.0)],
    }
    assert rows.features[:, 0].tolist()[:2] == [0.5, 0.5]  # both have the features that were logged


def test_lakes_from_before_the_columns_of_user_vectors_still_read(tmp_path):
    """Old and new files beside each other; what is old has nulls, and a repeated event is still found in it."""
    old = [served("old", A + HOUR_MS, ["i0"]), act("click", "i0", A + 2 * HOUR_MS, request_id="old")]
    lake = lake_of(tmp_path, [*(item(name) for name in ITEMS), *old])
    for file in tmp_path.glob("served/*/*.parquet"):
        pl.read_parquet(file).drop("user_vector_space", "user_vector_ms").write_parquet(file)
    known = {"user_vector_space": "pinnerformer@abc", "user_vector_ms": A - HOUR_MS}
    lake = lake_of(tmp_path, [served("new", A + 3 * HOUR_MS, ["i1"]) | known])
    assert lake.served().select("request_id", "user_vector_space", "user_vector_ms").rows() == [
        ("old", None, None),
        ("new", "pinnerformer@abc", A - HOUR_MS),
    ]
    assert lake_of(tmp_path, [served("old", A + HOUR_MS, ["i0"])]).served().height == 2
    assert lake.purge_user("ann")["served"] == 2
    assert lake.refresh().served().height == 0


def test_bad_user_vector_columns_are_refused(tmp_path):
    with pytest.raises(AssertionError, match="user_vector_ms"):
        lake_of(tmp_path, [served("r", A + HOUR_MS, ["i0"]) | {"user_vector_ms": 12}])


# -------------------------------------------------------------------------------------------------------- user vectors


class Daily:
    """A nightly batch, one day late, of vectors that say how many actions they know: (1, actions)."""

    def __init__(self, folder: Path, rows: list[dict[str, Any]]):
        self.done = sorted((row["time_ms"], row["user_id"]) for row in rows if row["event"] == "action")
        self.asked: list[int] = []

    def at(self, user_keys: Sequence[str], time_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.asked += time_ms.tolist()
        known_ms = (time_ms // DAY_MS - 1) * DAY_MS
        mine = [[at for at, who in self.done if who == user and at < until] for user, until in zip(user_keys, known_ms, strict=True)]
        vectors = np.array([[1.0, len(times)] for times in mine], np.float32)  # not zero where nothing is known: the rows must see to it
        hours = np.array([(now - times[-1]) / HOUR_MS if times else -1.0 for now, times in zip(time_ms, mine, strict=True)], np.float32)
        return vectors, np.array([bool(times) for times in mine], bool), hours


def vector_rows(folder: Path, *rows: dict[str, Any]) -> TrainingRows:
    return rows_of(folder, *rows, user_vectors=Daily(folder, list(rows)))


def test_the_user_vector_of_a_page_is_that_of_the_batch_before_yesterday_ended(tmp_path):
    rows = vector_rows(
        tmp_path,
        act("save", "i0", A - HOUR_MS),  # the last hour before the midnight A
        act("save", "i1", A),  # just after it
        shown("same day", A + HOUR_MS, ["i1"]),
        shown("next day", A + DAY_MS, ["i1"]),
        shown("two days on", A + 2 * DAY_MS + HOUR_MS, ["i1"]),
        shown("nobody's", A + HOUR_MS, ["i1"], user="bob"),
        act("click", "i1", A + 3 * DAY_MS, request_id="two days on"),
    )
    assert rows.pages["request_id"].to_list() == ["nobody's", "same day", "next day", "two days on"]
    assert rows.user_vectors is not None
    assert rows.user_vectors.tolist() == [[0, 0], [0, 0], [1, 1], [1, 2]]
    assert rows.user_vectors.dtype == np.float32
    assert rows.user_vector_known.tolist() == [False, False, True, True]
    assert rows.user_vector_hours.tolist() == [0.0, 0.0, 25.0, 49.0]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-3 * 1440, 4 * 1440 - 1), max_size=10), st.integers(0, 4 * 1440 - 1))
def test_no_vector_knows_an_action_after_the_midnight_that_it_was_made_from(tmp_path_factory, minutes, asked):
    moment = A + asked * 60_000
    done = [act("click", f"i{n % 8}", A + minute * 60_000 + n) for n, minute in enumerate(minutes)]
    rows = vector_rows(tmp_path_factory.mktemp("lake"), *done, shown("r", moment, ["i1"]), act("save", "i1", B - 1))
    since_midnight = (moment - (moment // DAY_MS - 1) * DAY_MS) / HOUR_MS
    assert (rows.user_vector_hours[rows.user_vector_known] >= since_midnight - 1e-3).all()
    assert rows.user_vector_known.tolist() == [any(row["time_ms"] < (moment // DAY_MS - 1) * DAY_MS for row in done)]


def test_a_served_page_has_a_vector_only_where_it_had_one_and_none_that_knows_more(tmp_path):
    space = {"user_vector_space": "pinnerformer@other"}  # of another model: its vectors mean nothing here, when they were known does
    done = [act("save", f"i{n}", A - (6 - n) * DAY_MS + HOUR_MS) for n in range(5)]  # one a day; the last two days before A
    rows = [
        *done,
        served("fresh", A + HOUR_MS, ["i5"]) | space | {"user_vector_ms": done[4]["time_ms"]},
        served("had none", A + 2 * HOUR_MS, ["i5"]) | space,
        served("without user vectors", A + 3 * HOUR_MS, ["i5"]),
        served("on time", A + 3 * DAY_MS, ["i5"]) | space | {"user_vector_ms": done[4]["time_ms"]},
        act("save", "i7", A + 2 * HOUR_MS),
        served("late batch", A + 3 * DAY_MS + HOUR_MS, ["i5"]) | space | {"user_vector_ms": done[4]["time_ms"]},
        act("click", "i5", B - 1),
    ]
    made = vector_rows(tmp_path, *rows)
    known = dict(zip(made.pages["request_id"].to_list(), made.user_vector_known.tolist(), strict=True))
    assert known == {"fresh": True, "had none": False, "without user vectors": True, "on time": True, "late batch": True}
    vectors = dict(zip(made.pages["request_id"].to_list(), made.user_vectors[:, 1].tolist(), strict=True))
    assert vectors == {"fresh": 5, "had none": 0, "without user vectors": 5, "on time": 5, "late batch": 5}  # not 6: i7 was not known yet
    hours = dict(zip(made.pages["request_id"].to_list(), made.user_vector_hours.tolist(), strict=True))
    assert hours["late batch"] == pytest.approx(120.0)


def test_any_pages_can_be_asked_for_in_any_order(tmp_path):
    moments = [A + DAY_MS, A + DAY_MS + HOUR_MS, A + HOUR_MS]
    rows = [act("save", "i0", A - HOUR_MS), act("click", "i1", A + 2 * HOUR_MS)]
    asked = [shown(f"r{n}", moment, ["i0", "unknown", "i2"]) for n, moment in enumerate(moments)]
    lake = lake_of(tmp_path, [*(item(name) for name in ITEMS), *rows, *asked])
    slots = impression_pages(lake, A, B, ("home",))
    expected = page_rows(lake, slots, np.zeros((9, 1), np.float32), ("click",), item_days(lake), Daily(tmp_path, rows))
    turned = slots.sort(slots["request_id"].replace_strict(["r0", "r1", "r2"], [2, 0, 1]), maintain_order=True)
    made = page_rows(lake, turned, np.zeros((9, 1), np.float32), ("click",), item_days(lake), Daily(tmp_path, rows))
    assert histories(made) == histories(expected)
    assert made.pages["request_id"].to_list() == ["r1", "r2", "r0"]
    order = [np.flatnonzero(turned["request_id"] == name)[0] for name in expected.pages["request_id"]]
    np.testing.assert_array_equal(made.features[order], expected.features[::3])
    assert np.isnan(made.features[:, 0]).tolist() == [False, True, False] * 3  # what the catalogue does not have
    assert made.user_vector_hours.tolist() == [26.0, 0.0, 25.0]


def test_rows_of_the_log_alone_have_histories_where_items_are_given(tmp_path):
    page = served("r", A + HOUR_MS, ["i0"]) | {"sequence": [entry("save", "i1", A)]}
    lake = lake_of(tmp_path, [*(item(name) for name in ITEMS), page, act("save", "i0", A + 2 * HOUR_MS, request_id="r")])
    assert rows_from_served(lake, A, B, RowsConfig()).histories is None
    assert histories(rows_from_served(lake, A, B, RowsConfig(), item_days(lake))) == {"r": [("i1", "save", 1.0)]}
