"""The visual surface: what looks like a picture, a part of one, or the picture of an item; and a page all the same without it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corkboard.artifacts import EmbeddingTable, Release, Space, write_artifact
from corkboard.embeddings.config import MultiBiSageConfig
from corkboard.embeddings.multibisage import MultiBiSage
from corkboard.embeddings.multibisage_network import MultiBiSageNetwork
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.errors import InputError
from corkboard.feed import parts as feed_parts
from corkboard.feed.home import Feed
from corkboard.feed.page import RecommendRequest
from corkboard.feed.parts import VISUAL_ROLES
from corkboard.feed.visual import LazyEncoder, Pictured, VisualSide, cropped, parse_crop
from corkboard.lake.pictures.reading import on_square
from corkboard.learning.training import seeded
from corkboard.retrieval.binary_index import BinaryIndex
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.index import FaissIndex
from corkboard.seeds import generator
from feed.builders import MIDNIGHT_MS, NOW_MS, TOPICS, DeadStore, Small, act, topic_of
from feed.visual_builders import COLOURS, Colours

HUES = np.array([[220, 30, 30], [30, 200, 40], [30, 40, 220], [230, 220, 30], [200, 30, 210], [30, 210, 210]], np.uint8)
"""A colour a topic."""
RED, BLUE = HUES[0], HUES[2]


def has_picture(item_id: str) -> bool:
    return int(item_id[1:]) % 5 != 0


def picture_of(item_id: str) -> np.ndarray:
    """uint8 (16, 16, 3): the colour of its topic, a little off."""
    shift = generator(3, "picture", item_id).integers(-25, 26, 3)
    return np.broadcast_to(np.clip(HUES[TOPICS.index(topic_of(item_id))] + shift, 0, 255).astype(np.uint8), (16, 16, 3))


def index_of(ids: Sequence[str]) -> BinaryIndex:
    """Codes and vectors of the items that have a picture; zeros for the others."""
    encoder = Colours()
    features = encoder.features(np.stack([picture_of(item_id) for item_id in ids]))
    there = np.array([has_picture(item_id) for item_id in ids])[:, None]
    return BinaryIndex.build(encoder.codes_of(features) * there, ids, COLOURS, rescoring=encoder.vectors_of(features) * there)


def plain(colour: Sequence[int], height: int = 40, width: int = 60) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, 3))


def looking(made: Small, encoder: Colours | None = None, store=None, **options) -> Feed:
    """A feed whose items show the colours of their topics."""
    feed = made.feed(store, **options)
    ids = feed.catalogue.ids[: feed.catalogue.frozen]
    side = VisualSide(Pictured(index_of(ids), feed.catalogue), LazyEncoder(lambda: encoder or Colours()))
    return Feed(replace(feed.parts, visual=side), feed.store, feed.settings, feed.weights)


def ask(feed: Feed, user: str = "u1", k: int = 25, **more):
    return feed.recommend(RecommendRequest(surface="visual", user_id=user, k=k, **{"now_ms": NOW_MS, **more}))


def codes(page) -> set[str]:
    return {entry.code for entry in page.notes}


# ---------------------------------------------------------------------------------------------------------------- likeness


def test_a_picture_finds_what_has_its_colour_most_alike_first(made: Small):
    encoder = Colours()
    page = ask(looking(made, encoder), image=plain(RED), image_hash="ab" * 32)
    assert len(page.items) == 25
    assert {topic_of(item_id) for item_id in page.items} == {TOPICS[0]}
    assert all(has_picture(item_id) for item_id in page.items)
    assert page.items.scores.tolist() == sorted(page.items.scores, reverse=True)
    assert page.notes == ()
    assert encoder.read == [(1, 16, 16, 3)]

    # beside plain arithmetic: the cosine with every picture, but in the index's own rounding
    vector = encoder.vectors_of(encoder.features(on_square(plain(RED), 16)[None]))[0]
    ids = [f"i{n:03d}" for n in range(300) if has_picture(f"i{n:03d}")]
    cosines = encoder.vectors_of(encoder.features(np.stack([picture_of(item_id) for item_id in ids]))) @ vector
    best = {ids[place]: cosines[place] for place in np.argsort(-cosines)[:25]}
    assert set(page.items) == set(best)
    np.testing.assert_allclose(page.items.scores, [best[item_id] for item_id in page.items], atol=1e-5)


def test_a_crop_is_what_counts(made: Small):
    feed = looking(made)
    image = np.concatenate([plain(RED), plain(BLUE)], axis=1)
    for crop, topic in (((0.0, 0.0, 0.5, 1.0), TOPICS[0]), ((0.6, 0.1, 0.9, 0.9), TOPICS[2])):
        page = ask(feed, image=image, crop=crop)
        assert {topic_of(item_id) for item_id in page.items} == {topic}
        assert f"crop:{','.join(f'{share:g}' for share in crop)}" in page.served["flags"]


def test_reasons_say_what_it_looks_like(made: Small):
    feed = looking(made)
    assert set(ask(feed, image=plain(RED)).items.reasons) == {"Looks like your picture"}
    (reason,) = set(ask(feed, item_id="i006").items.reasons)
    assert reason == f"Looks like “{feed.catalogue.value('title', feed.catalogue.row('i006'))}”"


def test_more_like_the_picture_of_an_item(made: Small):
    encoder = Colours()
    page = ask(looking(made, encoder), item_id="i006")
    assert {topic_of(item_id) for item_id in page.items} == {TOPICS[0]}
    assert "i006" not in page.items
    assert encoder.read == []  # the index knows the picture
    part = ask(looking(made), item_id="i006", image=plain(BLUE))  # a part of its picture that is blue
    assert {topic_of(item_id) for item_id in part.items} == {TOPICS[2]}
    assert "i006" not in ask(looking(made), item_id="i006", image=plain(RED), k=100).items


def test_pages_of_a_chain_go_on_and_end(made: Small):
    feed, seen, cursor, scores = looking(made), [], None, []
    for number in range(10):
        page = ask(feed, image=plain(RED), cursor=cursor, k=50, now_ms=NOW_MS + number)
        seen += page.items.item_ids
        scores += page.items.scores.tolist()
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 240  # all that have a picture
    assert scores == sorted(scores, reverse=True)
    assert "few_pictures" in codes(page)


# ------------------------------------------------------------------------------------------------------------------- rules


def test_rules_hold_but_what_was_seen_may_be_shown(made: Small):
    feed = looking(made)
    first, second, third = ask(feed, user="ann", image=plain(RED), log=False).items.item_ids[:3]
    creator = feed.catalogue.value("creator_id", feed.catalogue.row(third))
    feed.store.append([act("hide", first), act("save", second), act("block", creator_id=creator)])
    page = ask(feed, user="ann", image=plain(RED))
    assert page.items.item_ids[0] == second
    assert first not in page.items
    assert creator not in {feed.catalogue.value("creator_id", feed.catalogue.row(item_id)) for item_id in page.items}


def test_what_cannot_be_had_and_what_the_filter_drops_is_not_there(made: Small):
    feed = looking(made)
    gone = ask(feed, image=plain(RED)).items.item_ids[0]
    feed.add_items([{"item_id": gone, "time_ms": NOW_MS, "deleted": True}])
    assert gone not in ask(feed, image=plain(RED)).items
    page = ask(feed, image=plain(RED), filter={"category": TOPICS[3]})
    assert {topic_of(item_id) for item_id in page.items} == {TOPICS[3]}
    assert len(ask(feed, item_id=gone).items) == 25  # its picture is still known


def test_nothing_that_does_not_look_like_it_fills_a_page_up(made: Small):
    page = ask(looking(made), image=plain(RED), filter={"category": TOPICS[0]}, k=100)
    assert len(page.items) == 40
    assert page.next_cursor is None
    assert "few_pictures" in codes(page)
    nobody = ask(looking(made), image=plain(RED), tenant="another")
    assert (len(nobody.items), "other_tenant" in codes(nobody)) == (0, True)


def test_a_live_item_is_looked_for_from_the_next_build_on(made: Small):
    feed = looking(made)
    row = {"item_id": "new", "time_ms": NOW_MS, "title": "A red lamp", "images": [f"sha256:{'0' * 64}"]}
    feed.add_items([row])
    assert "new" not in ask(feed, image=plain(RED), k=50).items
    assert codes(ask(feed, item_id="new")) == {"no_picture"}


def test_a_picture_that_changed_is_forgotten_and_a_new_price_forgets_nothing(made: Small):
    feed = looking(made)
    first, second = ask(feed, image=plain(RED)).items.item_ids[:2]
    before = [f"sha256:{'2' * 64}"]
    for item_id in (first, second):
        feed.catalogue._images[feed.catalogue.row(item_id)] = before
    feed.add_items([{"item_id": first, "time_ms": NOW_MS, "images": [f"sha256:{'1' * 64}"]}])
    feed.add_items([{"item_id": second, "time_ms": NOW_MS, "price_minor": 7, "images": before}])
    page = ask(feed, image=plain(RED))
    assert first not in page.items
    assert page.items.item_ids[0] == second


@pytest.mark.parametrize(("images", "forgotten"), [(["a", "b", "c"], False), (["a"], True), (["b", "a"], True), ([], True)])
def test_any_image_of_an_item_may_be_its_main_one(made: Small, images: list[str], forgotten: bool):
    feed = looking(made)
    one = ask(feed, image=plain(RED)).items.item_ids[0]
    feed.catalogue._images[feed.catalogue.row(one)] = ["a", "b"]
    feed.add_items([{"item_id": one, "time_ms": NOW_MS, "images": images}])
    assert (one not in ask(feed, image=plain(RED)).items) == forgotten


def test_an_item_that_is_dropped_while_a_page_is_made_lets_nothing_else_in(made: Small):
    """The last row of the index stays out where it is not allowed, whatever moment a thread drops another one at."""
    ids = ["i001", "i002", "i003"]
    catalogue = Catalogue(pl.DataFrame({"item_id": ids}))
    pictured = Pictured(index_of(ids), catalogue)

    class Dropping(np.ndarray):
        """Places of which the first is dropped as soon as somebody has looked."""

        def __getitem__(self, rows):
            found = np.asarray(self)[rows].copy()
            np.asarray(self)[0] = -1
            return found

    look = pictured.look_of(1)
    pictured._place_of = pictured._place_of.view(Dropping)
    rows, _ = pictured.nearest(look, 3, np.array([True, True, False]))
    assert set(rows.tolist()) <= {0, 1}


# ----------------------------------------------------------------------------------------------------------------- logging


def test_the_page_is_logged_with_the_hash_and_can_be_explained(made: Small):
    feed = looking(made)
    page = ask(feed, image=plain(RED), image_hash="ab" * 32)
    served = feed.store.served(page.request_id)
    assert (served["surface"], served["context_image_hash"], served["context_item_id"]) == ("visual", "ab" * 32, None)
    assert served["policy"] == "visual/likeness"
    assert page.counts == {"source_candidates": 100, "light_candidates": 0, "full_candidates": 0}
    told = feed.explain(page.request_id, page.items.item_ids[3])
    assert told["why"] == f"Its picture is like the one that was asked with: {page.items.scores[3]:.2f}."
    assert told["stages"]["candidates"]["rank"] == told["stages"]["page"]["rank"] == 4
    assert told["looks_like"] == {"item_id": None, "image_hash": "ab" * 32}
    assert json.dumps(told)
    below = feed.explain(page.request_id, served["trace"]["candidates"][60])
    assert not below["on_page"]
    assert "ranked 61 of 100" in below["why"]


def test_the_picture_of_an_item_is_logged_by_its_hash(made: Small):
    feed = looking(made)
    feed.catalogue._images[feed.catalogue.row("i006")] = ["https://example.com/down.png", f"sha256:{'c' * 64}"]
    served = ask(feed, item_id="i006").served
    assert (served["context_item_id"], served["context_image_hash"]) == ("i006", "c" * 64)
    assert ask(feed, item_id="i011").served["context_image_hash"] is None


# ------------------------------------------------------------------------------------------------------- a page all the same


def test_without_visual_parts_a_picture_gets_what_home_would_show(made: Small):
    feed = made.feed()
    page, home = ask(feed, image=plain(RED), log=False), feed.recommend(RecommendRequest(user_id="u1", now_ms=NOW_MS, log=False))
    assert page.items.item_ids == home.items.item_ids
    assert codes(page) == {"no_visual"}
    assert page.served["surface"] == "visual"
    assert home.notes == ()  # nobody else is told


def test_without_visual_parts_an_item_gets_what_is_related_to_it(made: Small):
    feed = made.feed()
    page = ask(feed, item_id="i006", log=False)
    beside = feed.recommend(RecommendRequest(surface="related", item_id="i006", user_id="u1", now_ms=NOW_MS, log=False))
    assert (page.items.item_ids, page.items.reasons) == (beside.items.item_ids, beside.items.reasons)
    assert codes(page) == {"no_visual"}


def test_an_item_without_a_picture_gets_what_is_related_to_it(made: Small):
    page = ask(looking(made), item_id="i005")
    assert codes(page) == {"no_picture"}
    assert len(page.items) == 25
    assert "i005" not in page.items


def test_an_unknown_item_gets_a_page(made: Small):
    page = ask(looking(made), item_id="unheard of")
    assert (codes(page), len(page.items)) == ({"unknown_item"}, 25)


def test_an_encoder_that_fails_is_said(made: Small):
    class Broken(Colours):
        def features(self, images: np.ndarray) -> np.ndarray:
            raise RuntimeError("not today")

    page = ask(looking(made, Broken()), image=plain(RED))
    assert (codes(page), len(page.items)) == ({"picture_failed"}, 25)
    assert len(ask(looking(made, Broken()), item_id="i006").items) == 25


def test_a_store_that_is_away_changes_nothing_of_the_looks(made: Small):
    page = ask(looking(made, store=DeadStore()), user="u1", image=plain(RED))
    assert {topic_of(item_id) for item_id in page.items} == {TOPICS[0]}
    assert codes(page) >= {"store_unreachable", "not_logged"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, "looks like a picture"),
        ({"crop": (0, 0, 1, 1)}, "looks like a picture"),
        ({"item_id": "i006", "crop": (0, 0, 1, 1)}, "A crop is of a picture"),
        ({"image": plain(RED), "crop": (0.5, 0.0, 0.5, 1.0)}, "no part of a picture"),
        ({"image": plain(RED), "crop": (0.0, 0.0, 0.01, 0.01)}, "too small"),
        ({"image": plain(RED, 3, 50)}, "too small"),
        ({"surface": "home", "image": plain(RED)}, "takes no picture"),
    ],
)
def test_mistakes_of_the_caller_are_refused(made: Small, more: dict, says: str):
    with pytest.raises(InputError, match=says):
        looking(made).recommend(RecommendRequest(**{"surface": "visual", "user_id": "u1", "now_ms": NOW_MS, **more}))


# ---------------------------------------------------------------------------------------------------------- from a release


def release_with(made: Small, made_by: Space = COLOURS, **changed):
    index = index_of([f"i{n:03d}" for n in range(300) if n != 7])  # item 7 came after the pictures were encoded
    root = made.workspace / "artifacts"
    written = write_artifact(
        root, "visual_index", "v", tensors=index.tensors(), tables=index.tables(), config=index.config, requires=[COLOURS]
    )
    encoder = write_artifact(root, "visual", str(made_by.version), tensors={"nothing": np.zeros(1, np.float32)}, makes=[made_by])
    return replace(made, artifacts={**made.artifacts, "visual_index": written, "visual": encoder, **changed})


def by_hand(made: Small, without: str | None = None) -> Feed:
    """A feed of artefacts that no release could be written of."""
    kept = {role: artifact for role, artifact in made.artifacts.items() if role != without}
    return Feed.load(Release("by hand", "by hand", kept, MIDNIGHT_MS), made.store())


@pytest.fixture
def fake_encoder(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of modules that were loaded by name; the encoder of a release is one of colours."""
    loaded: list[str] = []
    real = feed_parts.import_module

    def load(name: str):
        loaded.append(name)
        if name == "corkboard.embeddings.visual":
            return type("Module", (), {"VisualEncoder": type("VisualEncoder", (), {"from_artifact": lambda artifact: Colours()})})
        return real(name)

    monkeypatch.setattr(feed_parts, "import_module", load)
    return loaded


def test_a_release_brings_index_and_encoder_which_is_loaded_when_it_is_asked(made: Small, fake_encoder: list[str]):
    feed = release_with(made).feed()
    assert ask(feed, item_id="i006").notes == ()
    assert "corkboard.embeddings.visual" not in fake_encoder
    assert {topic_of(item_id) for item_id in ask(feed, image=plain(RED)).items} == {TOPICS[0]}
    ask(feed, image=plain(BLUE))
    assert fake_encoder.count("corkboard.embeddings.visual") == 1
    assert codes(ask(feed, item_id="i007")) == {"no_picture"}
    feed.warm_up()


@pytest.mark.parametrize("role", VISUAL_ROLES)
def test_a_release_without_one_of_them_says_so_on_visual_pages_alone(made: Small, fake_encoder: list[str], role: str):
    feed = by_hand(release_with(made), without=role)
    assert codes(ask(feed, image=plain(RED))) == {"no_visual"}
    assert feed.recommend(RecommendRequest(user_id="u1", now_ms=NOW_MS)).notes == ()
    feed.warm_up()


def test_an_encoder_of_another_space_than_the_index_is_left_out(made: Small, fake_encoder: list[str]):
    feed = by_hand(release_with(made, Space("visual", "another")))
    assert codes(ask(feed, image=plain(RED))) == {"artifact_unusable"}
    assert {topic_of(item_id) for item_id in ask(feed, item_id="i006").items} == {TOPICS[0]}  # that needs no encoder


def test_a_release_over_a_lake_without_pictures_says_so(made: Small, fake_encoder: list[str]):
    root = made.workspace / "artifacts"
    nothing = {role: write_artifact(root, role, "nothing", config={"kind": "none"}) for role in VISUAL_ROLES}
    feed = by_hand(replace(made, artifacts={**made.artifacts, **nothing}))
    assert codes(ask(feed, image=plain(RED))) == {"no_visual"}
    feed.warm_up()
    assert fake_encoder == []


def test_a_live_item_is_placed_in_the_graph_without_its_picture(made: Small):
    """The encoder of the graph may read pictures, too; that of an item which no build has seen is unknown."""
    settings, names = MultiBiSageConfig(dim=16, small_dim=4, width=16), ("board", "user_save")
    widths, spaces = [made.vectors.dim, 8], [made.vectors.space, COLOURS]
    with seeded(7, "graph encoder"):
        network = MultiBiSageNetwork(settings, widths, len(names), 4)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    encoder = MultiBiSage(settings, names, widths, spaces, 4, weights)
    ids, nobody = made.vectors.ids[:5], EmbeddingTable(["somebody else"], np.ones((1, 8), np.float32), COLOURS)
    some = EmbeddingTable(ids, made.vectors.vectors[:5], made.vectors.space)
    expected = encoder.encode(NodeFeatures.of(ids, [some, nobody]), None)
    np.testing.assert_array_equal(feed_parts._cold(encoder, some), expected)

    root, graph = made.workspace / "artifacts", EmbeddingTable(made.vectors.ids, np.eye(300, 16, dtype=np.float32), encoder.space)
    written = write_artifact(root, "multibisage", "two", tensors=encoder.tensors(), config=encoder.config)
    feed = by_hand(replace(made, artifacts={**made.artifacts, "multibisage": written, "graph_index": index_artifact(root, graph)}))
    assert not any("multibisage" in entry.text for entry in feed.parts.notes)
    assert feed.parts.graph_encoder is not None
    feed.add_items([{"item_id": "new", "time_ms": NOW_MS, "title": "A red lamp", "category": "lamp"}])
    assert feed.parts.graph_vectors.vectors_of(np.array([feed.catalogue.row("new")])).any()


def index_artifact(root: Path, table: EmbeddingTable):
    index = FaissIndex.build(table)
    return write_artifact(root, "graph_index", "two", tensors=index.tensors(), tables=index.tables(), config=index.config)


# --------------------------------------------------------------------------------------------------------- parts of pictures


def test_a_crop_takes_whole_pixels_around_the_shares():
    image = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)
    np.testing.assert_array_equal(cropped(image, (0.26, 0.0, 0.74, 0.5)), image[0:5, 5:15])
    assert cropped(image, None) is image


@given(st.tuples(*[st.floats(0, 1)] * 4), st.integers(4, 60), st.integers(4, 60))
def test_a_crop_never_leaves_the_picture(crop: tuple[float, float, float, float], height: int, width: int):
    try:
        part = cropped(np.zeros((height, width, 3), np.uint8), crop)
    except InputError:
        return
    assert 4 <= part.shape[0] <= height
    assert 4 <= part.shape[1] <= width
    assert part.shape[1] >= (crop[2] - crop[0]) * width - 1e-6


@pytest.mark.parametrize("text", ["", "0,0,1", "0,0,1,1,1", "a,0,1,1", "0,0,1,1.01", "-0.1,0,1,1", "nan,0,1,1", "0.5,0,0.4,1", "0;0;1;1"])
def test_what_is_no_crop_is_refused(text: str):
    with pytest.raises(InputError, match="no part of a picture"):
        parse_crop(text)


def test_a_crop_reads_as_four_shares():
    assert parse_crop(" 0, 0.25,0.5 ,1") == (0.0, 0.25, 0.5, 1.0)


def test_a_picture_is_laid_amid_a_white_square():
    square = on_square(plain((10, 20, 30), 8, 16), 16)
    assert (square[4:12] == (10, 20, 30)).all()
    assert (square[:4] == 255).all()
    assert (square[12:] == 255).all()
    assert on_square(plain((10, 20, 30), 300, 3), 32).shape == (32, 32, 3)
    np.testing.assert_array_equal(on_square(plain(RED, 16, 16), 16), plain(RED, 16, 16))
