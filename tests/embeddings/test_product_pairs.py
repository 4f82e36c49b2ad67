"""What a lake tells of queries and the products that were chosen after them."""

from __future__ import annotations

import polars as pl
import pytest

from corkboard.embeddings.config import ItemSageConfig
from corkboard.embeddings.product_pairs import PRODUCT_PAIR_SCHEMA, TASKS, product_pairs
from corkboard.errors import LeakError
from tests.lake.rows import DAY, HOUR, T0, action, impression, item, lake_of, undo

CUT = T0 + 20 * DAY
PRODUCT = {"price_minor": 100, "currency": "EUR"}
ITEMS = [
    item("a", T0, "vase", **PRODUCT),
    item("b", T0, "lamp", kind="product"),
    item("c", T0, "pin"),
    item("d", CUT + 1, "later", **PRODUCT),
]
SEARCH = {"surface": "search", "query": "Red  vase!"}
RELATED = {"surface": "related", "context_item_id": "pin"}


def did(event_id: str, hours: float, kind: str = "click", item_id: str = "vase", user_id: str = "ann", **more) -> dict:
    return action(event_id, int(T0 + hours * HOUR), kind, item_id, user_id, **more)


def told(pairs: pl.DataFrame) -> list[tuple]:
    return [(task, query or item, product, (ms - T0) // HOUR, user) for task, query, item, product, ms, user in pairs.rows()]


def of(folder, *rows: dict, until: int = CUT, config: ItemSageConfig | None = None, **tables) -> list[tuple]:
    return told(product_pairs(lake_of(folder, items=ITEMS, actions=list(rows), **tables), until, config))


def test_pairs_of_all_eight_tasks_by_hand(tmp_path):
    rows = [
        did("1", 1, **SEARCH),
        did("2", 2, "save", **SEARCH),
        did("3", 3, "add_to_cart", **SEARCH),
        did("4", 4, "checkout", **SEARCH),
        did("5", 5, "long_click", **RELATED),
        did("6", 6, "save", **RELATED),
        did("7", 7, "add_to_cart", "lamp", **RELATED),
        did("8", 8, "checkout", "lamp", user_id=None, session_id="s1", offsite=True, **RELATED),
    ]
    assert of(tmp_path, *rows) == [
        ("text_click", "red vase", "vase", 1, "ann"),
        ("text_save", "red vase", "vase", 2, "ann"),
        ("text_cart", "red vase", "vase", 3, "ann"),
        ("text_checkout", "red vase", "vase", 4, "ann"),
        ("image_click", "pin", "vase", 5, "ann"),
        ("image_save", "pin", "vase", 6, "ann"),
        ("image_cart", "pin", "lamp", 7, "ann"),
        ("image_checkout", "pin", "lamp", 8, "session:s1"),
    ]
    assert set(TASKS) == {f"{kind}_{action}" for kind in ("image", "text") for action in ("click", "save", "cart", "checkout")}


def test_what_makes_no_pair(tmp_path):
    rows = [
        did("home", 1, surface="home"),
        did("no product", 1, item_id="pin", **SEARCH),
        did("unknown item", 1, item_id="nowhere", **SEARCH),
        did("product that came later", 1, item_id="later", **SEARCH),
        did("close", 1, "close_up", **SEARCH),
        did("hide", 1, "hide", **SEARCH),
        did("itself", 1, surface="related", context_item_id="vase"),
        did("no words", 1, surface="search", query="!!"),
        did("nothing said", 1, surface="search"),
        did("undone", 1, "save", **SEARCH),
        undo("undo", T0 + 2 * HOUR, "undone"),
    ]
    assert of(tmp_path, *rows) == []


def test_what_one_person_repeats_counts_once_a_task_and_query(tmp_path):
    rows = [
        did("1", 1, **SEARCH),
        did("2", 2, "long_click", **SEARCH),
        did("3", 3, surface="search", query="vase"),
        did("4", 4, user_id="bob", **SEARCH),
        did("5", 5, "save", **SEARCH),
    ]
    assert [(task, query, user) for task, query, _, _, user in of(tmp_path, *rows)] == [
        ("text_click", "red vase", "ann"),
        ("text_click", "vase", "ann"),
        ("text_click", "red vase", "bob"),
        ("text_save", "red vase", "ann"),
    ]


def test_the_future_never_counts(tmp_path):
    hours = 20 * 24
    rows = [
        did("before", hours - 1, **SEARCH),
        did("at", hours, user_id="bob", **SEARCH),
        did("late buy", hours + 1, "checkout", offsite=True),
        did("saved", hours - 2, "save", **SEARCH),
        undo("undo", CUT + 1, "saved"),
    ]
    lake = lake_of(tmp_path, items=ITEMS, actions=rows)
    pairs = product_pairs(lake, CUT)
    assert [row[0] for row in told(pairs)] == ["text_save", "text_click"]  # that it was taken back later, nobody could have known
    assert product_pairs(lake.until(CUT), CUT).equals(pairs)
    assert dict(pairs.schema) == PRODUCT_PAIR_SCHEMA
    with pytest.raises(LeakError):
        product_pairs(lake.until(CUT), CUT + 1)
    assert "text_checkout" in [row[0] for row in told(product_pairs(lake, CUT + 2 * HOUR))]


def bought(event_id: str, hours: float, kind: str = "checkout", **more) -> dict:
    return did(event_id, hours, kind, **{"offsite": True, **more})


def test_a_purchase_at_the_merchant_belongs_to_the_last_click_on_the_product(tmp_path):
    rows = [did("1", 1, **RELATED), did("2", 2, "long_click", **SEARCH), bought("3", 50), bought("4", 40, "add_to_cart")]
    assert of(tmp_path, *rows)[2:] == [("text_cart", "red vase", "vase", 40, "ann"), ("text_checkout", "red vase", "vase", 50, "ann")]


@pytest.mark.parametrize(
    ("clicked", "purchase", "joined"),
    [
        ({}, {}, True),
        ({}, {"hours": 48 + 1}, True),  # at the edge of two days
        ({}, {"hours": 48 + 1.1}, False),
        ({}, {"hours": 0.5}, False),  # before the click
        ({"user_id": "bob"}, {}, False),
        ({"item_id": "lamp"}, {}, False),
        ({"kind": "save"}, {}, False),  # a save took nobody to the merchant
        ({}, {"offsite": False, "surface": "search"}, False),
        ({}, {"offsite": None}, True),  # says nothing at all of where it was
        ({}, {"surface": "home"}, False),  # says where it comes from
        ({}, {"surface": "related"}, True),  # from which item, it does not say
        ({}, {"kind": "save"}, False),
    ],
    ids=str,
)
def test_the_attribution_window_by_hand(tmp_path, clicked, purchase, joined):
    rows = [did("click", **{"hours": 1, **SEARCH, **clicked}), bought("buy", **{"hours": 30, **purchase})]
    found = of(tmp_path, *rows, config=ItemSageConfig(attribution_days=2))
    assert any(task.endswith(("cart", "checkout")) for task, *_ in found) == joined
    assert not any(task == "text_save" for task, *_ in found if clicked.get("kind") != "save")


def test_the_last_click_decides_even_where_it_was_on_no_query(tmp_path):
    rows = [did("1", 1, **SEARCH), did("2", 2, surface="home"), bought("3", 3)]
    assert [row[0] for row in of(tmp_path, *rows)] == ["text_click"]


def test_a_click_that_was_taken_back_explains_nothing(tmp_path):
    rows = [did("1", 1, **RELATED), did("2", 2, **SEARCH), undo("u", T0 + 3 * HOUR, "2"), bought("3", 4)]
    assert [row[0] for row in of(tmp_path, *rows)] == ["image_click", "image_checkout"]


def test_an_action_that_is_silent_has_the_origin_of_its_page(tmp_path):
    pages = [
        impression("s", T0, ["vase"], surface="search", query="vase"),
        impression("r", T0, ["vase"], surface="related", context_item_id="pin"),
        impression("h", T0, ["vase"]),
        impression("late", CUT, ["vase"], surface="search", query="later"),
    ]
    rows = [
        did("1", 1, surface="search", request_id="r-s"),
        did("2", 2, "save", request_id="r-r"),
        bought("3", 3, request_id="r-h"),  # its page was the home page, and not the click on another
        bought("4", 4, "add_to_cart", request_id="r-s"),
        did("5", 5, "save", request_id="r-late"),
    ]
    assert [row[:2] for row in of(tmp_path, *rows, impressions=pages)] == [
        ("text_click", "vase"),
        ("image_save", "pin"),
        ("text_cart", "vase"),
    ]


def test_the_cap_is_a_product_and_task_and_drawn_by_its_seed(tmp_path):
    rows = [did(f"c{k:02d}", k, surface="search", query=f"words {k}") for k in range(30)]
    rows += [did("s", 1, "save", **SEARCH), did("l", 1, item_id="lamp", **SEARCH)]
    lake = lake_of(tmp_path, items=ITEMS, actions=rows)
    config = ItemSageConfig(cap_per_item=5)
    pairs = product_pairs(lake, CUT, config, seed=1)
    assert dict(pairs.group_by("task", "item_id").len().select(pl.concat_str("task", "item_id"), "len").rows()) == {
        "text_clickvase": 5,
        "text_clicklamp": 1,
        "text_savevase": 1,
    }
    assert pairs["time_ms"].is_sorted()
    assert product_pairs(lake, CUT, config, seed=1).equals(pairs)
    assert not product_pairs(lake, CUT, config, seed=2).equals(pairs)


def test_an_empty_lake_has_no_pairs(tmp_path):
    pairs = product_pairs(lake_of(tmp_path, actions=[did("1", 1, **SEARCH)]), CUT)
    assert dict(pairs.schema) == PRODUCT_PAIR_SCHEMA
    assert len(pairs) == 0
