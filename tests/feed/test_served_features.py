"""The contract between serving and training: features that were logged are the features that replay computes."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from ranking.builders import DAY_MS, lake_of

from corkboard.feed.page import RecommendRequest
from corkboard.lake.lake import Lake
from corkboard.lake.schema import ACTION_CODES, EVENT_TABLE, TABLES
from corkboard.ranking.config import RowsConfig
from corkboard.ranking.features import BESIDE_NAMES, FEATURE_NAMES, POSITION_COLUMN
from corkboard.ranking.item_days import ItemDays
from corkboard.ranking.pages import impression_pages
from corkboard.ranking.rows import replayed_pages, rows_from_served
from feed.builders import MIDNIGHT_MS, NOW_MS, Small, act

BOTH = RowsConfig(surfaces=("home", "related"))

END_MS = MIDNIGHT_MS + DAY_MS


@pytest.fixture(scope="module")
def lived(made: Small, tmp_path_factory) -> Lake:
    """An evening of three users over a store, and everything of it moved into a copy of the lake."""
    feed = made.feed()
    store = feed.store
    for step in range(6):
        for user in ("u1", "u2", "newcomer"):
            at = NOW_MS + 600_000 * step
            page = feed.recommend(RecommendRequest(user_id=user, session_id="s", k=12, now_ms=at))
            first, second, third = page.items.item_ids[:3]
            store.append([act("click", first, at + 2000, user, request_id=page.request_id), act("save", second, at + 3000, user)])
            if step == 2:
                store.append([act("hide", third, at + 4000, user), act("follow", creator_id="c4", time_ms=at + 5000, user=user)])
            if step % 2:
                slots = [{"item_id": item_id, "position": place} for place, item_id in enumerate(page.items.item_ids[:5])]
                seen = {"event": "impression", "event_id": f"seen-{page.request_id}", "time_ms": at + 1000, "tenant": "default"}
                store.append(
                    [seen | {"user_id": user, "session_id": "s", "surface": "home", "request_id": page.request_id, "slots": slots}]
                )
        beside = feed.recommend(RecommendRequest(surface="related", item_id=f"i{40 + step:03d}", user_id="u3", k=8, now_ms=NOW_MS + step))
        store.append([act("save", beside.items.item_ids[0], NOW_MS + step + 1, "u3", request_id=beside.request_id, surface="related")])
    feed.recommend(RecommendRequest(surface="related", item_id="unheard of", user_id="u3", k=8, now_ms=NOW_MS + 60_000))
    rows = [row for _, row in store.events_since(0)] + [row | {"event": "served"} for _, row in store.served_since(0)]
    folder = tmp_path_factory.mktemp("lived") / "lake"
    tables = {name: getattr(made.lake, name)() for name in ("items", "actions", "impressions")}
    past = [
        row | {"event": {table: kind for kind, table in EVENT_TABLE.items()}[name]}
        for name, frame in tables.items()
        for row in frame.to_dicts()
    ]
    return lake_of(folder, past + rows)


def test_logged_features_are_the_replayed_ones(made: Small, lived: Lake):
    config = BOTH
    logged = rows_from_served(lived, MIDNIGHT_MS, END_MS, config)
    assert len(logged) == 3 * (3 * 12 + 3 * 5) + 7 * 8  # every second page of home was narrowed to the five slots that were seen
    slots = impression_pages(lived, MIDNIGHT_MS, END_MS, config.surfaces)
    assert slots["item_id"].to_list() == logged.item_ids.tolist()
    vectors = {"vectors": made.vectors, "embeddings": made.embeddings, "graph": made.graph_vectors}
    days = ItemDays(lived.until(END_MS), MIDNIGHT_MS, END_MS, stats=made.stats, neighbours=made.item_knn.table, **vectors)
    replayed, _ = replayed_pages(lived.until(END_MS), slots, days)
    np.testing.assert_allclose(logged.features, replayed, rtol=1e-4, atol=1e-5)
    assert (np.ptp(logged.features, axis=0) > 0).mean() > 0.7  # most features say something in this test
    assert logged.features[:, POSITION_COLUMN].max() == pytest.approx(np.log(12))
    beside = logged.features[:, [FEATURE_NAMES.index(name) for name in BESIDE_NAMES]]
    assert (beside[:, 0] == 1).sum() == 6 * 8  # home, and the page beside an item that is not known, have zeros
    assert not beside[beside[:, 0] == 0].any()
    said = np.abs(beside).max(axis=0) > 0
    assert [name for name, said_something in zip(BESIDE_NAMES, said, strict=True) if not said_something] == ["beside_brand"]


def test_logged_histories_are_the_replayed_ones(made: Small, lived: Lake):
    """Training takes the sequence out of the log; a replay of the same pages gives the same items, actions and ages."""

    def days() -> ItemDays:
        return ItemDays(lived.until(END_MS), MIDNIGHT_MS, END_MS)

    logged = rows_from_served(lived, MIDNIGHT_MS, END_MS, BOTH, days()).histories
    slots = impression_pages(lived, MIDNIGHT_MS, END_MS, BOTH.surfaces)
    replayed = replayed_pages(lived.until(END_MS), slots, days())[1]
    assert logged is not None
    assert len(logged) == len(replayed) == 18 + 7
    np.testing.assert_array_equal(logged.offsets, replayed.offsets)
    assert [logged.ids[n] for n in logged.items] == [replayed.ids[n] for n in replayed.items]
    np.testing.assert_array_equal(logged.actions, replayed.actions)
    np.testing.assert_array_equal(logged.hours, replayed.hours)
    assert ACTION_CODES["hide"] in logged.actions
    assert np.diff(logged.offsets).min() == 0  # the newcomer's first page
    assert np.diff(logged.offsets).max() > 20


def test_labels_of_served_pages(lived: Lake):
    logged = rows_from_served(lived, MIDNIGHT_MS, END_MS, BOTH)
    labels = pl.DataFrame(logged.labels, schema=list(logged.heads))
    assert labels["click"].sum() == 18  # one a page, named by its request
    assert labels["save"].sum() == 18 + 6  # one a page, found by user and item, or on related pages by their request
    assert labels["hide"].sum() == 3
    assert (logged.position[logged.labels[:, logged.heads.index("click")] == 1] == 0).all()


def test_the_served_table_holds_every_column(lived: Lake):
    served = lived.served(MIDNIGHT_MS, END_MS)
    assert served.height == 18 + 7
    assert dict(served.schema) == dict(TABLES["served"].schema)
    assert sorted(served["slots"].list.len().to_list()) == [8] * 7 + [12] * 18
