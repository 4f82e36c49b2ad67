"""What products do not say: guessed, shown apart, guessed again when the item changes, and nothing of a page depends on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from corkboard.artifacts import Artifact, EmbeddingTable, write_artifact
from corkboard.embeddings.attribute_config import AttributeHeadConfig
from corkboard.embeddings.attribute_head import train_attribute_head, unsaid
from corkboard.embeddings.attribute_inputs import just_arrived, unsaid_space
from corkboard.embeddings.multibisage import MultiBiSage
from corkboard.embeddings.product_inputs import products_of
from corkboard.feed.guesses import ATTRIBUTES, FILLED, Guesses
from corkboard.feed.home import RecommendRequest
from corkboard.lake.schema import TABLES
from feed.builders import MIDNIGHT_MS, NOW_MS, Small, small

ROW = {"event": "item", "tenant": "default", "kind": "product", "available": True}
SOURCES = {"category": ("category",)}


def guesses_of(made: Small, root: Path, version: str = "a") -> Artifact:
    """A head on the categories of all items, from where they stand without them."""
    items, config = made.lake.items(), AttributeHeadConfig(sources=SOURCES, min_confidence=0.5)
    vectors = made.tower.encode(unsaid(items, SOURCES), MIDNIGHT_MS)
    model = MultiBiSage.from_artifact(made.artifacts["multibisage"])
    table = just_arrived(model, EmbeddingTable(items["item_id"].to_list(), vectors, made.tower.space), SOURCES)
    head = train_attribute_head(items, table, config)
    silent = products_of(items).with_columns(category=pl.when(pl.col("item_id") == "i001").then(None).otherwise("category"))
    tables = {FILLED: head.fill(silent, table)}
    return write_artifact(root, ATTRIBUTES, version, tensors=head.tensors(), tables=tables, config=head.config, makes=[head.space])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Small:
    small_one = small(tmp_path_factory.mktemp("guesses"), sold=lambda n: n % 3 > 0)
    guesses = guesses_of(small_one, small_one.workspace / "artifacts")
    return replace(small_one, artifacts=small_one.artifacts | {ATTRIBUTES: guesses})


def put(feed, item_id: str, time_ms: int = NOW_MS, **columns) -> None:
    feed.add_items([ROW | {"event_id": f"{item_id}-{time_ms}", "item_id": item_id, "time_ms": time_ms, **columns}])


def test_what_the_release_filled_in_is_known_by_item(made: Small):
    feed = made.feed()
    guessed = feed.parts.guesses.of("i001")
    assert guessed["category"]["value"] == "shirt"
    assert 0.5 <= guessed["category"]["confidence"] <= 1
    assert feed.parts.guesses.of("i002") == {}
    assert feed.parts.guesses.of("nobody") == {}


def test_a_live_product_is_guessed_until_it_says_so_itself(made: Small):
    feed = made.feed()
    new = {"title": "old red tent small", "price_minor": 500, "currency": "EUR"}
    put(feed, "new", **new)
    assert feed.parts.guesses.of("new")["category"]["value"] == "tent"
    assert feed.catalogue.value("category", feed.catalogue.row("new")) is None
    put(feed, "new", NOW_MS + 1, **new, category="camping")
    assert feed.parts.guesses.of("new") == {}
    assert feed.catalogue.value("category", feed.catalogue.row("new")) == "camping"
    put(feed, "new", NOW_MS + 2, **new | {"title": "old red lamp small"})
    assert feed.parts.guesses.of("new")["category"]["value"] == "lamp"


def test_what_the_release_guessed_stays_until_the_item_says_so_itself(made: Small):
    """The build read all that is known of an item, and a live event brings its content alone."""
    feed = made.feed()
    built = feed.parts.guesses.of("i001")
    put(feed, "i001", title="old red lamp small", price_minor=900)
    assert feed.parts.guesses.of("i001") == built
    put(feed, "i001", NOW_MS + 1, title="old red lamp small", category="lamp")
    assert feed.parts.guesses.of("i001") == {}
    put(feed, "i001", NOW_MS + 2, title="old red lamp small")
    assert feed.parts.guesses.of("i001") == built


def test_what_can_not_be_bought_is_not_guessed(made: Small):
    feed = made.feed()
    put(feed, "pin", kind="pin", title="old red tent small")
    assert feed.parts.guesses.of("pin") == {}
    put(feed, "i001", kind="pin", title="old red shirt small")
    assert feed.parts.guesses.of("i001") == {}


def test_a_filter_reads_what_is_said_alone(made: Small):
    feed = made.feed()
    put(feed, "new", title="old red tent small", price_minor=500, currency="EUR")
    page = feed.recommend(RecommendRequest(user_id="u5", k=100, now_ms=NOW_MS, filter={"category": "tent"}))
    assert len(page.items) > 20
    assert "new" not in page.items


@pytest.mark.parametrize("kind", [None, "none", "another"])
def test_pages_are_the_same_without_a_head(made: Small, kind: str | None):
    """No artefact, one of a lake that says too little, and one of another version."""
    asked = RecommendRequest(user_id="u3", now_ms=NOW_MS)
    page = made.feed().recommend(asked)
    if kind is not None:
        other = write_artifact(made.workspace / "artifacts", ATTRIBUTES, kind, config={"kind": kind})
        made = replace(made, artifacts=made.artifacts | {ATTRIBUTES: other})
    feed = made.feed(without=(ATTRIBUTES,) if kind is None else ())
    again = feed.recommend(asked)
    assert (list(again.items), again.notes) == (list(page.items), page.notes)
    put(feed, "new", title="old red tent small", price_minor=500, currency="EUR")
    assert feed.parts.guesses.of("new") == feed.parts.guesses.of("i001") == {}


def test_a_head_of_other_vectors_guesses_nothing_new_and_the_item_is_there(made: Small, caplog: pytest.LogCaptureFixture):
    feed = made.feed()
    head = feed.parts.guesses.head
    head.space = unsaid_space(head.space, SOURCES)
    put(feed, "new", title="old red tent small", price_minor=500, currency="EUR")
    assert feed.parts.guesses.of("new") == {}
    assert "new" in feed.catalogue
    assert "could not be guessed" in caplog.text


def test_vectors_are_made_of_what_is_open_and_blanked_alone(made: Small):
    guesses = made.feed().parts.guesses
    asked = []
    schema = TABLES["items"].schema
    rows = [
        {"item_id": "said", "kind": "product", "category": "tent"},
        {"item_id": "open", "kind": "product", "title": "a tent"},
        {"item_id": "pin", "kind": "pin", "title": "a tent"},
    ]
    guesses.put(pl.DataFrame([dict.fromkeys(schema) | row for row in rows], schema=schema), lambda items: asked.append(items))
    assert [items["item_id"].to_list() for items in asked] == [["open"]]
    assert Guesses().of("open") == {}
