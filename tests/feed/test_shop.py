"""The shop: what can be bought, for a person and beside an item, and what is left when something is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from corkboard.artifacts import Artifact, EmbeddingTable, Space, write_artifact
from corkboard.embeddings.config import ItemSageConfig
from corkboard.embeddings.itemsage import ItemSage
from corkboard.embeddings.product_images import product_images
from corkboard.embeddings.product_inputs import ProductInputs, products_of
from corkboard.errors import InputError
from corkboard.feed.home import Feed
from corkboard.feed.page import Page, RecommendRequest
from corkboard.retrieval.index import FaissIndex
from feed.builders import NOW_MS, Small, act, small, written

SUM = ItemSageConfig(encoder="sum")
"""Nothing is learned: a product stands where its picture does."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Every third item can not be bought."""
    made = small(tmp_path_factory.mktemp("shop"), sold=lambda n: n % 3 > 0)
    return replace(made, artifacts=made.artifacts | product_parts(made, made.workspace / "artifacts"))


def product_parts(made: Small, root: Path, space: Space | None = None) -> dict[str, Artifact]:
    model = ItemSage(SUM, space or made.graph_vectors.space, made.graph_vectors.dim, {})
    items, placed = made.lake.items(), EmbeddingTable(made.graph_vectors.ids, made.graph_vectors.vectors, model.space)
    sold = products_of(items)
    table = model.table(ProductInputs.of(sold, product_images(sold, placed)))
    ids = items["item_id"].to_list()
    index = FaissIndex.build(EmbeddingTable(ids, table.lookup(ids)[0], model.space))
    encoder = {"tensors": {"nothing": np.zeros(1)}, "config": model.config, "makes": [model.own_space], "requires": [model.space]}
    return {
        "itemsage": write_artifact(root, "itemsage", model.own_space.version, **encoder),
        "product_index": written(root, "product_index", index, makes=[model.space], requires=[model.space]),
    }


def ask(feed: Feed, user: str = "u3", item_id: str | None = None, k: int = 20, **more) -> Page:
    return feed.recommend(RecommendRequest(surface="shop", user_id=user, item_id=item_id, k=k, now_ms=NOW_MS, **more))


def sold_only(page: Page) -> bool:
    return all(int(item_id[1:]) % 3 > 0 for item_id in page.items)


def codes(page: Page) -> set[str]:
    return {entry.code for entry in page.notes}


def test_a_shelf_for_a_person_holds_what_can_be_bought_near_to_what_they_like(shop: Small) -> None:
    feed = shop.feed()
    page = ask(feed)
    assert len(set(page.items)) == 20
    assert sold_only(page)
    assert codes(page) == set()
    assert any("itemsage" in sources for sources in page.items.sources)
    assert any(reason.startswith("To buy") for reason in page.items.reasons)
    row = feed.store.served(page.request_id)
    assert (row["surface"], row["context_item_id"], row["policy"]) == ("shop", None, "shop/pointwise")


def test_a_shelf_beside_an_item_belongs_to_the_item_also_where_that_can_not_be_bought(shop: Small) -> None:
    feed, pin = shop.feed(), "i213"
    page = ask(feed, item_id=pin)
    assert sold_only(page)
    assert pin not in page.items
    assert codes(page) == set()
    items = feed.parts.items
    vector = items.graph_vectors(feed.catalogue.rows([pin]))[0][0]
    near = feed.catalogue.rows(page.items.item_ids)
    others = np.flatnonzero(feed.catalogue.price_minor >= 0)
    assert (items.product_vectors(near)[0] @ vector).mean() > (items.product_vectors(others)[0] @ vector).mean() + 0.1
    assert feed.store.served(page.request_id)["context_item_id"] == pin
    features = feed.store.served(page.request_id)["slots"][0]["features"]
    names = feed.store.served(page.request_id)["feature_names"]
    assert features[names.index("itemsage_beside")] != 0
    assert "no_match" not in codes(page)


def test_what_is_explained_of_a_shelf_is_beside_an_item_where_the_shelf_is(shop: Small) -> None:
    feed, pin = shop.feed(), "i213"
    for page in (ask(feed, item_id=pin), ask(feed)):
        told = [feed.explain(page.request_id, item_id) for item_id in page.items]
        added = {rule["effect"].partition(" adds ")[0] for one in told for rule in one["rules"] if rule["rule"] == "relevance"}
        beside = {one.get("beside") for one in told}
        assert (beside, added) in (({pin}, {"how it belongs to the item beside"}), ({None}, set()))
    page = ask(feed, user="stranger")
    assert "nothing to buy" in feed.explain(page.request_id, "i003")["why"]
    assert [rule["rule"] for rule in feed.explain(ask(feed, item_id="i214").request_id, "i214")["rules"]] == ["beside"]


def test_a_tap_of_a_second_ago_turns_the_shelf(shop: Small) -> None:
    feed = shop.feed()
    before = ask(feed, user="new")
    assert "unknown_user" in codes(before)
    feed.store.append([act("save", item_id, user="new") for item_id in ("i001", "i007", "i013")])
    after = ask(feed, user="new")
    assert sum(int(item[1:]) % 6 == 1 for item in after.items) > sum(int(item[1:]) % 6 == 1 for item in before.items)


def test_filters_narrow_the_shop_and_can_not_open_it(shop: Small) -> None:
    feed = shop.feed()
    with pytest.raises(InputError, match="only what is sold"):
        ask(feed, filter={"sold": False})
    assert {int(item[1:]) % 6 for item in ask(feed, filter={"category": "bike"}).items} <= {3}
    assert len(ask(feed, k=200).items) == 200


def test_a_new_product_is_in_the_shop_at_once_and_one_that_lost_its_price_is_not(shop: Small) -> None:
    feed = shop.feed()
    row = {
        "event": "item",
        "event_id": "n",
        "time_ms": NOW_MS,
        "tenant": "default",
        "item_id": "new",
        "category": "tent",
        "available": True,
    }
    feed.add_items([row | {"kind": "product", "title": "old red tent small", "price_minor": 500, "currency": "EUR"}])
    place = feed.catalogue.rows(["new"])
    assert feed.parts.items.product_vectors(place)[1].all()
    assert "new" in ask(feed, item_id="i215", k=100).items
    feed.add_items([row | {"time_ms": NOW_MS + 1, "event_id": "m", "kind": "pin", "title": "old red tent small"}])
    assert not feed.parts.items.product_vectors(place)[1].any()
    assert "new" not in ask(feed, item_id="i215", k=200).items


def live(item_id: str, later: int = 0, **columns) -> dict:
    row = {"event": "item", "event_id": f"{item_id}-{later}", "time_ms": NOW_MS + later, "tenant": "default", "item_id": item_id}
    return row | {"kind": "product", "title": "old red tent small", "category": "tent", "price_minor": 500, "currency": "EUR"} | columns


def test_a_new_price_keeps_the_vector_that_the_release_has(shop: Small) -> None:
    feed = shop.feed()
    items, places = feed.parts.items, feed.catalogue.rows(["i001", "i002"])
    before = items.product_vectors(places)[0]
    assert before.any(axis=1).all()
    feed.add_items([live("i001"), live("new")])
    np.testing.assert_array_equal(items.product_vectors(places)[0], before)
    new = items.product_vectors(feed.catalogue.rows(["new"]))[0][0]
    assert new.any()
    assert not np.allclose(new, before[0], atol=0.01)
    feed.add_items([live("i001", 1, kind="pin", price_minor=None)])
    assert items.product_vectors(places)[1].tolist() == [False, True]
    feed.add_items([live("i001", 2)])
    np.testing.assert_array_equal(items.product_vectors(places)[0], before)


@pytest.mark.parametrize("how", ["no encoder", "no graph encoder", "raises"])
def test_what_is_no_product_any_more_leaves_also_where_nothing_new_can_be_placed(shop: Small, how: str, monkeypatch) -> None:
    feed = shop.feed(without={"no encoder": ("itemsage",), "no graph encoder": ("multibisage",), "raises": ()}[how])
    if how == "raises":
        monkeypatch.setattr(feed.parts.product_encoder, "vectors", lambda *arguments: 1 / 0)
    items, places = feed.parts.items, feed.catalogue.rows(["i001", "i002"])
    feed.add_items([live("i001", kind="pin", price_minor=None), live("i002"), live("new")])
    assert items.product_vectors(places)[1].tolist() == [False, True]
    assert not items.product_vectors(feed.catalogue.rows(["new"]))[1].any()


def test_what_is_missing_is_said_in_the_shop_alone_and_the_shelf_is_full(shop: Small, tmp_path: Path) -> None:
    other = product_parts(shop, tmp_path / "artifacts", Space("multibisage", "another"))
    cases = {
        "no_product_vectors": {"without": ("product_index", "itemsage")},
        "no_product_encoder": {"without": ("itemsage",)},
    }
    for code, options in cases.items():
        feed = shop.feed(**options)
        page = ask(feed)
        assert code in codes(page)
        assert len(page.items) == 20
        assert sold_only(page)
        home = feed.recommend(RecommendRequest(user_id="u3", now_ms=NOW_MS))
        assert code not in codes(home)
    assert other["product_index"].makes != shop.artifacts["product_index"].makes


def test_a_world_without_products_has_an_empty_shelf_that_says_so(shop: Small, tmp_path: Path) -> None:
    nothing = small(tmp_path, sold=lambda n: False)
    page = ask(nothing.feed())
    assert len(page.items) == 0
    assert page.next_cursor is None
    assert "short_catalogue" in codes(page)
