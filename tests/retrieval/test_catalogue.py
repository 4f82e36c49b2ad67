from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corkboard.artifacts import write_artifact
from corkboard.errors import InputError
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.config import ItemFilter
from retrieval.builders import NOW_MS, catalogue_of


def small() -> Catalogue:
    columns = {
        "item_id": ["b", "a", "c"],
        "created_ms": [20, 10, 30],
        "kind": ["product", None, "pin"],
        "category": ["x", "y", None],
        "creator_id": ["ann", "bob", "ann"],
        "brand_id": [None, "nike", None],
        "price_minor": [500, None, 700],
        "images": [["b1", "b2"], None, []],
        "available": [True, None, False],
        "title": ["B", "A", "C"],
    }
    return Catalogue(pl.DataFrame(columns, schema_overrides={"images": pl.List(pl.String)}))


def test_rows_are_sorted_by_id_and_cells_read_back() -> None:
    catalogue = small()
    assert catalogue.ids == ["a", "b", "c"]
    assert catalogue.rows(["c", "nobody", "a"]).tolist() == [2, -1, 0]
    assert catalogue.created_ms.tolist() == [10, 20, 30]
    assert catalogue.price_minor.tolist() == [-1, 500, 700]
    assert [catalogue.value("kind", row) for row in range(3)] == ["pin", "product", "pin"]
    assert [catalogue.value("category", row) for row in range(3)] == ["y", "x", None]
    assert [list(catalogue.images(row)) for row in range(3)] == [[], ["b1", "b2"], []]
    assert catalogue.available.tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({}, ["a", "b"]),  # c is not available
        ({"kinds": ["product"]}, ["b"]),
        ({"categories": ["x", "y"]}, ["a", "b"]),
        ({"categories": ["nothing has this"]}, []),
        ({"creators": ["ann"]}, ["b"]),
        ({"brands": ["nike"]}, ["a"]),
        ({"min_price_minor": 500}, ["b"]),
        ({"max_price_minor": 499}, []),  # an item without a price is not known to be cheap
        ({"created_from_ms": 20}, ["b"]),
        ({"created_before_ms": 20}, ["a"]),
        ({"creators": ["bob"], "kinds": ["product"]}, []),
    ],
)
def test_filters(raw: dict[str, object], expected: list[str]) -> None:
    catalogue = small()
    assert catalogue.ids_of(np.flatnonzero(catalogue.mask(ItemFilter.parse(raw)))) == expected


@pytest.mark.parametrize("raw", [{"categorie": ["x"]}, {"min_price_minor": "cheap"}])
def test_a_wrong_filter_is_refused(raw: dict[str, object]) -> None:
    with pytest.raises(InputError, match="filter"):
        ItemFilter.parse(raw)


def test_live_items_take_the_next_rows_and_keep_them() -> None:
    catalogue = small()
    row = catalogue.add({"item_id": "new", "time_ms": 99, "category": "z", "creator_id": "ann", "images": ["n1"], "price_minor": 5})
    assert row == 3
    assert catalogue.rows(["new"]).tolist() == [3]
    assert catalogue.created_ms[3] == 99
    assert (catalogue.value("category", 3), catalogue.value("kind", 3), catalogue.images(3)) == ("z", "pin", ["n1"])
    assert catalogue.mask().tolist() == [True, True, False, True]
    assert catalogue.mask(ItemFilter(categories=("z",))).tolist() == [False, False, False, True]
    assert catalogue.add({"item_id": "new", "time_ms": 120, "category": "x"}) == 3
    assert catalogue.created_ms[3] == 99  # first seen stays
    assert catalogue.value("category", 3) == "x"


def test_removal_keeps_the_row_and_coming_back_restores_it() -> None:
    catalogue = small()
    assert catalogue.add({"item_id": "a", "time_ms": 50, "deleted": True}) == 0
    assert not catalogue.mask()[0]
    assert catalogue.row("a") == 0
    catalogue.add({"item_id": "a", "time_ms": 60})
    assert catalogue.mask()[0]
    assert catalogue.remove("nobody") == -1


def test_rows_by_creator_follow_changes() -> None:
    catalogue = small()
    ann, bob = catalogue.code("creator_id", "ann"), catalogue.code("creator_id", "bob")
    assert catalogue.rows_with("creator_id", ann).tolist() == [1, 2]
    catalogue.add({"item_id": "new", "time_ms": 1, "creator_id": "ann"})
    catalogue.add({"item_id": "b", "time_ms": 2, "creator_id": "bob"})  # a frozen item changes hands
    assert catalogue.rows_with("creator_id", ann).tolist() == [2, 3]
    assert catalogue.rows_with("creator_id", bob).tolist() == [0, 1]
    catalogue.add({"item_id": "n2", "time_ms": 3, "creator_id": "first seen live"})
    assert catalogue.rows_with("creator_id", catalogue.code("creator_id", "first seen live")).tolist() == [4]
    assert catalogue.rows_with("creator_id", catalogue.code("creator_id", "nobody")).tolist() == []


def test_a_live_item_needs_an_id_and_a_time() -> None:
    with pytest.raises(InputError):
        small().add({"item_id": "x"})


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["x", "y", None]), st.booleans()), max_size=30))
def test_any_order_of_events_ends_in_the_last_state(events: list[tuple[str, str | None, bool]]) -> None:
    catalogue = small()
    known = {"a": ("y", True), "b": ("x", True), "c": (None, False)}
    for place, (item_id, category, deleted) in enumerate(events):
        catalogue.add({"item_id": item_id, "time_ms": place, "category": category, "deleted": deleted})
        if not deleted:
            known[item_id] = (category, True)
        elif item_id in known:
            known[item_id] = (known[item_id][0], False)
    assert set(catalogue.ids) == set(known)
    assert len(catalogue.mask()) == len(catalogue)
    for item_id, (category, available) in known.items():
        assert catalogue.value("category", catalogue.row(item_id)) == category
        assert bool(catalogue.available[catalogue.row(item_id)]) == available


def test_readers_see_whole_items_while_many_arrive() -> None:
    catalogue, failures = catalogue_of(10), []

    def read() -> None:
        for _ in range(300):
            mask = catalogue.mask(ItemFilter(created_from_ms=NOW_MS + 1))
            for row in np.flatnonzero(mask):
                if catalogue.value("title", int(row)) != catalogue.ids[int(row)]:
                    failures.append(row)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for place in range(500):
        catalogue.add({"item_id": f"live{place}", "time_ms": NOW_MS + 1 + place, "title": f"live{place}"})
    for reader in readers:
        reader.join()
    assert not failures
    assert len(catalogue) == 510


def test_survives_writing_down(tmp_path: Path) -> None:
    catalogue = small()
    again = Catalogue.from_artifact(write_artifact(tmp_path, "catalogue", "1", tables=catalogue.tables()))
    assert again.ids == catalogue.ids
    assert again.mask().tolist() == catalogue.mask().tolist()
    assert [list(again.images(row)) for row in range(3)] == [[], ["b1", "b2"], []]


def test_an_artefact_that_kept_one_image_alone_is_read() -> None:
    old = Catalogue(pl.DataFrame({"item_id": ["a", "b"], "image": ["a1", None]}))
    assert [list(old.images(row)) for row in range(2)] == [["a1"], []]


def test_an_empty_catalogue_is_one() -> None:
    catalogue = Catalogue(pl.DataFrame(schema={"item_id": pl.String}))
    assert len(catalogue) == 0
    assert catalogue.mask().tolist() == []
    assert catalogue.add({"item_id": "a", "time_ms": 1, "creator_id": "ann"}) == 0
    assert catalogue.rows_with("creator_id", catalogue.code("creator_id", "ann")).tolist() == [0]
