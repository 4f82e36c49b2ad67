import polars as pl

from corkboard.lake.lake import Lake
from corkboard.lake.validate import validate_event
from corkboard.pipeline import from_store
from corkboard.pipeline.from_store import ingest_store
from corkboard.state.sqlite import SqliteStore

START = 1_767_225_600_000


def event(n: int, **more) -> dict:
    given = {
        "event": "action",
        "event_id": f"e{n}",
        "time_ms": START + n,
        "user_id": "ann",
        "action": "click",
        "item_id": f"i{n % 3}",
        "surface": "home",
    }
    return validate_event({**given, **more})


def test_every_event_moves_exactly_once(tmp_path):
    store = SqliteStore(tmp_path / "store.sqlite")
    store.append([event(n) for n in range(5)])
    first = ingest_store(tmp_path / "lake", store)
    assert first.rows_added == {"actions": 5}
    store.append([event(n) for n in range(3, 8)])  # 3 and 4 are known to the store already
    second = ingest_store(tmp_path / "lake", store)
    assert second.rows_added == {"actions": 3}
    assert ingest_store(tmp_path / "lake", store).rows_added == {}
    lake = Lake(tmp_path / "lake")
    assert lake.actions()["event_id"].to_list() == [f"e{n}" for n in range(8)]
    assert lake.watermark(store.store_id) == store.sequence()


def test_it_goes_on_where_the_last_commit_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(from_store, "ROWS_AT_ONCE", 2)
    store = SqliteStore(tmp_path / "store.sqlite")
    store.append([event(n) for n in range(7)])
    report = ingest_store(tmp_path / "lake", store)
    assert report.rows_added == {"actions": 7}
    assert Lake(tmp_path / "lake").actions().height == 7


def test_all_kinds_of_events_keep_their_columns(tmp_path):
    store = SqliteStore(tmp_path / "store.sqlite")
    item = validate_event(
        {
            "event": "item",
            "event_id": "i",
            "time_ms": START,
            "item_id": "new",
            "title": "Navy shirt",
            "attributes": {"color": ["navy", "white"]},
        }
    )
    page = {"event": "impression", "event_id": "p", "time_ms": START, "request_id": "r", "user_id": "ann", "surface": "home"}
    page = validate_event({**page, "slots": [{"item_id": "new", "position": 0, "score": 0.5}]})
    store.append([item, page])
    ingest_store(tmp_path / "lake", store)
    lake = Lake(tmp_path / "lake")
    assert lake.items().select("item_id", "title").rows() == [("new", "Navy shirt")]
    assert lake.items()["attributes"].to_list() == [[{"name": "color", "value": "navy"}, {"name": "color", "value": "white"}]]
    assert lake.impressions().select(pl.col("slots").list.len()).item() == 1
