"""Training rows: what was shown, as it was known then, with the labels that belong to it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corkboard.artifacts import EmbeddingTable
from corkboard.errors import InputError, LeakError
from corkboard.lake.calendar import Calendar
from corkboard.lake.lake import Lake
from corkboard.ranking.config import RowsConfig
from corkboard.ranking.features import FEATURE_NAMES, POSITION_COLUMN
from corkboard.ranking.item_days import ItemDays
from corkboard.ranking.pages import impression_pages, sample_pages
from corkboard.ranking.rows import TrainingRows, replayed_pages, rows_from_served, training_rows
from corkboard.retrieval.item_stats import ItemStats
from ranking.builders import DAY_MS, HOUR_MS, SPACE, lake_of

START_MS = 1_760_000_000_000 // DAY_MS * DAY_MS
CALENDAR = Calendar(START_MS, START_MS + 10 * DAY_MS, START_MS + 14 * DAY_MS, START_MS + 16 * DAY_MS)
A, B = CALENDAR.item_cut_ms, CALENDAR.rank_cut_ms
ITEMS = [f"i{n}" for n in range(8)]

BOTH = RowsConfig(surfaces=("home", "related"))


def item(item_id: str, time_ms: int = START_MS, **columns: Any) -> dict[str, Any]:
    return {"event": "item", "event_id": f"{item_id}@{time_ms}", "time_ms": time_ms, "item_id": item_id, "category": "x", **columns}


def act(name: str, item_id: str, time_ms: int, user: str = "ann", request_id: str | None = None) -> dict[str, Any]:
    key = f"{name}-{item_id}-{time_ms}-{user}"
    return {
        "event": "action",
        "event_id": key,
        "time_ms": time_ms,
        "user_id": user,
        "action": name,
        "item_id": item_id,
        "request_id": request_id,
    }


def shown(
    request_id: str,
    time_ms: int,
    item_ids: list[str],
    user: str = "ann",
    surface: str = "home",
    random: bool = False,
    beside: str | None = None,
) -> dict[str, Any]:
    slots = [
        {"item_id": name, "position": place, "propensity": 1 / len(item_ids) if random else None} for place, name in enumerate(item_ids)
    ]
    return {
        "event": "impression",
        "event_id": request_id,
        "time_ms": time_ms,
        "request_id": request_id,
        "user_id": user,
        "surface": surface,
        "context_item_id": beside,
        "slots": slots,
    }


def item_days(lake: Lake, vectors: bool = True) -> ItemDays:
    table = EmbeddingTable(ITEMS, np.eye(8, dtype=np.float32), SPACE) if vectors else None
    until = lake.until(B)
    stats = ItemStats.build(until.actions(), until.shown(), ITEMS, B)
    return ItemDays(until, A, B, vectors=table, stats=stats)


def rows_of(folder: Path, *rows: dict[str, Any], config: RowsConfig | None = None, **arguments: Any) -> TrainingRows:
    lake = lake_of(folder, [*(item(name) for name in ITEMS), *rows])
    return training_rows(lake, CALENDAR, item_days(lake), config or RowsConfig(), seed=1, **arguments)


def column(rows: TrainingRows, name: str) -> dict[str, float]:
    return dict(zip(rows.item_ids.tolist(), rows.features[:, FEATURE_NAMES.index(name)].tolist(), strict=True))


def label(rows: TrainingRows, head: str) -> dict[str, float]:
    return dict(zip(rows.item_ids.tolist(), rows.labels[:, rows.heads.index(head)].tolist(), strict=True))


def test_labels_belong_to_the_page_that_is_named_or_that_showed_the_item_last(tmp_path):
    early, late = A + HOUR_MS, A + 5 * HOUR_MS
    rows = rows_of(
        tmp_path,
        shown("r1", early, ["i0", "i1"]),
        shown("r2", late, ["i1", "i2"]),
        act("click", "i1", late + 1000, request_id="r1"),  # named: the older page, although the newer one showed it too
        act("save", "i2", late + 2000),  # not named: the last page that showed it
        act("save", "i3", late + 3000),  # never shown
        act("hide", "i0", early + 30 * HOUR_MS),  # not named, and more than a day later: nobody's
        act("click", "i2", late + 1000, user="bob"),  # somebody else
    )
    assert rows.heads == ("click", "save", "hide")
    facts = zip(rows.page.tolist(), rows.item_ids.tolist(), rows.labels.tolist(), strict=True)
    assert [(page, name, labels) for page, name, labels in facts] == [
        (0, "i0", [0, 0, 0]),
        (0, "i1", [1, 0, 0]),
        (1, "i1", [0, 0, 0]),
        (1, "i2", [0, 1, 0]),
    ]
    assert rows.pages["request_id"].to_list() == ["r1", "r2"]
    assert not rows.sampled_negatives


def test_young_pages_do_not_teach_late_heads_a_false_no(tmp_path):
    old, young = A + HOUR_MS, B - 10 * HOUR_MS  # three days to wait for carts: only the first is mature
    rows = rows_of(
        tmp_path,
        shown("old", old, ["i0", "i1"]),
        shown("young", young, ["i2", "i3"]),
        act("add_to_cart", "i0", old + 50 * HOUR_MS),  # late, elsewhere, without a request: still the old page's
        act("add_to_cart", "i2", young + HOUR_MS, request_id="young"),
        act("click", "i3", young + HOUR_MS, request_id="young"),
    )
    assert {name: label(rows, "add_to_cart")[name] for name in ("i0", "i1")} == {"i0": 1.0, "i1": 0.0}
    assert all(math.isnan(label(rows, "add_to_cart")[name]) for name in ("i2", "i3"))  # also the early "yes": keeping only those would bias
    assert label(rows, "click") == {"i0": 0.0, "i1": 0.0, "i2": 0.0, "i3": 1.0}


def test_what_was_taken_back_is_no_label(tmp_path):
    undo = {
        "event": "action",
        "event_id": "u",
        "time_ms": A + 2 * HOUR_MS,
        "user_id": "ann",
        "action": "undo",
        "undoes": f"save-i0-{A + HOUR_MS + 5}-ann",
    }
    rows = rows_of(
        tmp_path,
        shown("r", A + HOUR_MS, ["i0", "i1"]),
        act("save", "i0", A + HOUR_MS + 5, request_id="r"),
        act("save", "i1", A + HOUR_MS + 9, request_id="r"),
        undo,
    )
    assert label(rows, "save") == {"i0": 0.0, "i1": 1.0}


def test_features_are_of_the_moment_before_the_page_and_counters_of_the_night_before(tmp_path):
    moment = A + DAY_MS + 6 * HOUR_MS
    rows = rows_of(
        tmp_path,
        act("save", "i0", moment - HOUR_MS),
        act("save", "i1", moment),  # at the very moment: not known yet
        shown("r0", A + 2 * HOUR_MS, ["i4"]),
        act("click", "i4", A + 3 * HOUR_MS, request_id="r0"),  # the day before: in the counters
        act("click", "i5", moment - 2 * HOUR_MS, user="bob"),  # the same day: not in the counters
        shown("r1", moment, ["i0", "i1", "i4", "i5"]),
    ).take(np.arange(1, 5))
    assert column(rows, "acted") == {"i0": 1.0, "i1": 0.0, "i4": 1.0, "i5": 0.0}
    assert column(rows, "similar_last") == pytest.approx({"i0": math.exp(-1 / 24), "i1": 0.0, "i4": 0.0, "i5": 0.0}, rel=1e-5)
    assert column(rows, "popularity_7d") == pytest.approx({"i0": 0.0, "i1": 0.0, "i4": math.log1p(1), "i5": 0.0})
    assert column(rows, "times_shown")["i4"] == pytest.approx(math.log1p(1))
    assert column(rows, "log_position") == pytest.approx({"i0": 0.0, "i1": math.log(2), "i4": math.log(3), "i5": math.log(4)})


def test_items_enter_on_their_first_day_and_change_at_midnight(tmp_path):
    born, changed = A + DAY_MS + HOUR_MS, A + DAY_MS + 3 * HOUR_MS
    later = [item("i0", changed, price_minor=999, currency="EUR")]
    new = [item("new", born, price_minor=99, currency="EUR")]
    pages = [shown(f"r{n}", A + n * DAY_MS + 6 * HOUR_MS, ["i0", "new"]) for n in (0, 1, 2)]
    rows = rows_of(tmp_path, *later, *new, *pages, act("click", "i0", A + 7 * HOUR_MS, request_id="r0"))
    priced = rows.features[:, FEATURE_NAMES.index("has_price")]
    there = list(zip(rows.page.tolist(), rows.item_ids.tolist(), priced.tolist(), strict=True))
    # page 0: "new" does not exist; page 1: it does, and the changed price of i0 counts from the next day on
    assert there == [(0, "i0", 0.0), (1, "i0", 0.0), (1, "new", 1.0), (2, "i0", 1.0), (2, "new", 1.0)]
    age = rows.features[:, FEATURE_NAMES.index("age")]
    assert age[2] == pytest.approx(math.log1p(5))  # born at 1, shown at 6


def test_nothing_at_or_after_the_cut_is_read(tmp_path):
    rows = [item(name) for name in ITEMS]
    past = [shown("r", A + HOUR_MS, ["i0", "i1"]), act("click", "i0", A + 2 * HOUR_MS, request_id="r")]
    future = [
        act("save", "i1", B, request_id="r"),
        act("click", "i1", B + HOUR_MS),
        shown("r2", B + HOUR_MS, ["i2"]),
        item("i0", B, price_minor=1, currency="EUR"),
    ]
    before, after = lake_of(tmp_path / "before", [*rows, *past]), lake_of(tmp_path / "after", [*rows, *past, *future])
    made = [training_rows(lake, CALENDAR, item_days(lake), RowsConfig(), seed=1) for lake in (before, after)]
    np.testing.assert_array_equal(made[0].features, made[1].features)
    np.testing.assert_array_equal(made[0].labels, made[1].labels)
    days = item_days(after)
    days.at((A + 3 * DAY_MS) // DAY_MS)
    with pytest.raises(LeakError):
        days.at(A // DAY_MS)  # an earlier day would be given what the later one knew


events = st.lists(
    st.tuples(st.sampled_from(["click", "save", "hide", "shown"]), st.integers(0, 7), st.integers(0, 4 * 24 * 60)), max_size=12
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events, st.integers(0, 4 * 24 * 60 - 1), st.sampled_from(["home", "related"]))
def test_a_later_event_changes_no_earlier_feature(tmp_path_factory, happened, minute, surface):
    """The page of this minute before `B`, with and without everything that happened at or after it; where it is related, beside an item."""
    moment = A + minute * 60_000

    def row(n: int, name: str, number: int, at: int) -> dict[str, Any]:
        return shown(f"e{n}", at, [f"i{number}"], surface="search") if name == "shown" else act(name, f"i{number}", at + n)

    rows = [row(n, name, number, A + at * 60_000) for n, (name, number, at) in enumerate(happened)]
    asked = [shown("asked", moment, ITEMS, surface=surface, beside="i3"), act("click", "i0", B - 1)]
    made = []
    for kept in (rows, [row for row in rows if row["time_ms"] < moment]):
        lake = lake_of(tmp_path_factory.mktemp("lake"), [*(item(name) for name in ITEMS), *kept, *asked])
        made.append(training_rows(lake, CALENDAR, item_days(lake), BOTH, seed=1).features)
    np.testing.assert_array_equal(*made)
    assert (made[0][:, FEATURE_NAMES.index("beside_known")] == (surface == "related")).all()


def test_home_pages_are_learned_from_and_others_only_where_there_are_none(tmp_path):
    home, search = shown("h", A + HOUR_MS, ["i0"]), shown("s", A + 2 * HOUR_MS, ["i1"], surface="search")
    done = [act("click", "i0", A + 3 * HOUR_MS, request_id="h"), act("click", "i1", A + 3 * HOUR_MS, request_id="s")]
    assert rows_of(tmp_path / "both", home, search, *done).item_ids.tolist() == ["i0"]
    assert rows_of(tmp_path / "search", search, *done).item_ids.tolist() == ["i1"]


def test_related_pages_are_learned_from_and_know_their_item(tmp_path):
    pages = [
        shown("h", A + HOUR_MS, ["i0", "i1"], beside="i1"),  # home is beside nothing, whatever it was asked with
        shown("r", A + 2 * HOUR_MS, ["i0", "i1", "i2"], surface="related", beside="i1"),
        shown("n", A + 3 * HOUR_MS, ["i0"], surface="related", beside="late"),  # comes the next day
        shown("x", A + 4 * HOUR_MS, ["i0"], surface="related"),
        shown("t", A + 50 * HOUR_MS, ["i3"], surface="related", beside="late"),
    ]
    late = item("late", A + 30 * HOUR_MS, category="y")
    events = [late, item("i3", A + 25 * HOUR_MS, category="y"), act("click", "i0", A + 5 * HOUR_MS)]
    rows = rows_of(tmp_path, *pages, *events, config=BOTH)
    assert rows.pages["request_id"].to_list() == ["h", "r", "n", "x", "t"]
    names = ("beside_known", "beside_content", "beside_category", "beside_creator")
    found = rows.features[:, [FEATURE_NAMES.index(name) for name in names]].tolist()
    assert found == [
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [1, 0, 1, 0],
        [1, 1, 1, 0],  # the item itself: cosine 1; nobody made it
        [1, 0, 1, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
        [1, 0, 1, 0],  # by then both are of category y
    ]
    assert rows.weights.tolist() == pytest.approx([1, 1, 0.2, 0.2, 0.2, 0.2, 1, 0.2])  # what is beside nothing is as on home
    only = rows_of(tmp_path / "home", *pages, act("click", "i0", A + 5 * HOUR_MS))
    assert only.pages["request_id"].to_list() == ["h"]


def test_a_client_that_reports_a_page_need_not_know_what_it_was_beside(tmp_path):
    served_page = served("r", A + HOUR_MS, ["i0", "i1"]) | {"surface": "related", "context_item_id": "i1"}
    reported = shown("r", A + HOUR_MS + 500, ["i1"], surface="related")
    lake = lake_of(tmp_path, [*(item(name) for name in ITEMS), served_page, reported, act("click", "i1", A + 2 * HOUR_MS)])
    slots = impression_pages(lake, A, B, ("related",))
    assert slots.select("item_id", "beside").rows() == [("i1", "i1")]
    features, _ = replayed_pages(lake.until(B), slots, item_days(lake))
    assert features[0, FEATURE_NAMES.index("beside_content")] == 1.0
    without, _ = replayed_pages(lake.until(B), slots.drop("beside"), item_days(lake))  # frames made elsewhere are beside nothing
    assert without[0, FEATURE_NAMES.index("beside_known")] == 0.0


def test_random_pages_are_marked(tmp_path):
    rows = rows_of(
        tmp_path,
        shown("r", A + HOUR_MS, ["i0", "i1"], random=True),
        shown("p", A + 2 * HOUR_MS, ["i2"]),
        act("click", "i0", A + 3 * HOUR_MS),
    )
    assert rows.randomised.tolist() == [True, True, False]
    assert rows.position.tolist() == [0, 1, 0]


def test_a_budget_keeps_what_teaches_most_and_weighs_the_rest_up():
    n = 2000
    page = np.repeat(np.arange(n), 5)
    slots = pl.DataFrame({"page": page, "randomised": page % 10 == 0})
    acted = (
        page % 4 == 1
    )  # a quarter of the pages; with the random tenth .25 + .1 - .05 * 0 (0 and 1 mod 4 never meet in 0 mod 10 and 1 mod 4)
    weights = sample_pages(slots, acted, 5000, seed=3)
    assert ((weights > 0).reshape(n, 5).all(axis=1) | (weights == 0).reshape(n, 5).all(axis=1)).all()  # whole pages
    assert (weights > 0).sum() == pytest.approx(5000, rel=0.06)
    assert weights.sum() == pytest.approx(5 * n, rel=0.08)  # what is left stands for all
    first = acted | (page % 10 == 0)
    assert (weights[first] > 0).mean() == 1.0  # 3,500 rows of 5,000: all are kept
    assert (weights[~first] > 0).mean() == pytest.approx(1500 / 6500, abs=0.05)
    assert sample_pages(slots, acted, 10_000, seed=3).tolist() == [1.0] * 10_000


# ---------------------------------------------------------------------------------------------------- no impressions


def test_without_impressions_negatives_are_sampled_and_it_says_so(tmp_path):
    history = [act("save", "i0", A - HOUR_MS), act("save", "i7", A - 2 * HOUR_MS, user="bob")]
    acts = [
        act("click", "i1", A + HOUR_MS),
        act("save", "i1", A + 2 * HOUR_MS),
        act("click", "i2", A + 3 * HOUR_MS),
        act("hide", "i3", A + DAY_MS, user="bob"),
    ]
    rows = rows_of(tmp_path, *history, *acts, config=RowsConfig(negatives=3))
    assert rows.sampled_negatives
    assert rows.heads == ("click", "save")  # a head for hides would learn who is shown things
    pages = {page: rows.item_ids[rows.page == page].tolist() for page in set(rows.page.tolist())}
    assert [ids[0] for ids in pages.values()] == ["i1", "i2", "i3"]  # i1 once: click and save are of one day
    assert rows.labels[rows.page == 0][0].tolist() == [1.0, 1.0]
    assert (np.concatenate([rows.labels[rows.page == page][1:] for page in pages]) == 0).all()
    assert "i0" not in pages[0] + pages[1]  # liked before: a page would not have it
    assert not {"i1", "i2"} & set(pages[0][1:] + pages[1][1:])  # acted on that very day
    assert all(len(set(ids)) == len(ids) == 4 for ids in pages.values())
    assert rows.position.tolist() == [-1] * len(rows)
    assert (rows.features[:, POSITION_COLUMN] == 0).all()


def test_half_of_the_negatives_come_from_the_sources_where_they_are_given(tmp_path):
    asked: list[tuple[int, int]] = []

    def candidates(state, now_ms, k):
        asked.append((now_ms, len(state.actions)))
        return ["i6", "i7", "unheard of"]

    acts = [act("click", f"i{n % 4}", A + (n + 1) * HOUR_MS) for n in range(4)]
    rows = rows_of(tmp_path, *acts, config=RowsConfig(negatives=4), candidates=candidates)
    assert asked == [(A + (n + 1) * HOUR_MS, n) for n in range(4)]  # as of the action, in order
    for page in range(4):
        assert {"i6", "i7"} <= set(rows.item_ids[rows.page == page].tolist())


def test_what_was_liked_before_is_on_neither_side(tmp_path):
    acts = [
        act("save", "i0", A - HOUR_MS),
        act("click", "i0", A + HOUR_MS),
        act("click", "i1", A + 2 * HOUR_MS),
        act("save", "i1", A + 50 * HOUR_MS),
    ]
    rows = rows_of(tmp_path, *acts, act("click", "i2", A + 60 * HOUR_MS), config=RowsConfig(negatives=7))
    assert [rows.item_ids[rows.page == page][0] for page in (0, 1)] == ["i1", "i2"]  # of the others, none is a first time
    assert (rows.features[:, FEATURE_NAMES.index("acted")] == 0).all()


def test_no_more_pages_are_made_up_than_asked_for(tmp_path):
    acts = [act("click", f"i{n % 8}", A + (n + 1) * 5 * HOUR_MS, user=f"u{n}") for n in range(15)]
    rows = rows_of(tmp_path, *acts, config=RowsConfig(negatives=2, max_sampled_pages=6))
    assert rows.pages.height == 6
    assert rows.labels.sum() == 6
    assert (np.diff(rows.time_ms) >= 0).all()


def test_an_empty_span_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(InputError, match="no actions"):
        rows_of(tmp_path, act("click", "i0", A - 1))


# --------------------------------------------------------------------------------------------------------- served log


def served(
    request_id: str, time_ms: int, item_ids: list[str], names: tuple[str, ...] = FEATURE_NAMES, value: float = 0.5
) -> dict[str, Any]:
    slots = [
        {"item_id": name, "position": place, "features": [value + place] * len(names), "heads": [0.1]}
        for place, name in enumerate(item_ids)
    ]
    return {
        "event": "served",
        "event_id": request_id,
        "time_ms": time_ms,
        "request_id": request_id,
        "user_id": "ann",
        "surface": "home",
        "feature_names": list(names),
        "slots": slots,
    }


def test_served_rows_keep_the_features_they_were_ranked_by(tmp_path):
    lake = lake_of(tmp_path, [served("r", A + HOUR_MS, ["i0", "i1", "i2"]), act("save", "i1", A + 2 * HOUR_MS, request_id="r")])
    rows = rows_from_served(lake, A, B, RowsConfig())
    assert rows.item_ids.tolist() == ["i0", "i1", "i2"]
    assert rows.features[1, :POSITION_COLUMN].tolist() == [1.5] * POSITION_COLUMN
    assert rows.features[:, POSITION_COLUMN] == pytest.approx(np.log([1, 2, 3]))  # where it was shown, not where it was scored
    assert label(rows, "save") == {"i0": 0.0, "i1": 1.0, "i2": 0.0}


def test_an_impression_narrows_what_was_served(tmp_path):
    rows = [
        served("r", A + HOUR_MS, ["i0", "i1", "i2"]),
        shown("r", A + HOUR_MS + 500, ["i0", "i1"]),
        act("save", "i1", A + 2 * HOUR_MS, request_id="r"),
    ]
    made = rows_from_served(lake_of(tmp_path, rows), A, B, RowsConfig())
    assert made.item_ids.tolist() == ["i0", "i1"]
    assert made.time_ms.tolist() == [A + HOUR_MS] * 2


def test_pages_logged_by_another_version_are_left_out_and_columns_are_put_in_order(tmp_path):
    reversed_names = tuple(reversed(FEATURE_NAMES))
    rows = [
        served("short", A + HOUR_MS, ["i0"], FEATURE_NAMES[:-1]),
        served("turned", A + 2 * HOUR_MS, ["i1"], reversed_names),
        act("save", "i1", A + 3 * HOUR_MS, request_id="turned"),
    ]
    for number, slot in enumerate(rows[1]["slots"]):
        slot["features"] = [float(place + number) for place in range(len(FEATURE_NAMES))]
    made = rows_from_served(lake_of(tmp_path, rows), A, B, RowsConfig())
    assert made.item_ids.tolist() == ["i1"]
    last = len(FEATURE_NAMES) - 1
    assert made.features[0, :3].tolist() == [last, last - 1, last - 2]


def test_training_reads_the_log_for_own_pages_and_replays_the_others(tmp_path):
    rows = rows_of(
        tmp_path,
        served("own", A + HOUR_MS, ["i0", "i1"]),
        shown("other", A + 2 * HOUR_MS, ["i2"]),
        act("click", "i0", A + 3 * HOUR_MS, request_id="own"),
    )
    assert rows.pages["request_id"].to_list() == ["own", "other"]
    assert rows.features[0, 0] == 0.5
    assert column(rows, "has_vector")["i2"] == 1.0
