"""Looks: what is in a picture and where to buy it, and what goes with it; and a stated answer where there is none."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
from ranking.builders import lake_of

from corkboard.artifacts import write_artifact
from corkboard.errors import InputError
from corkboard.feed import look_parts
from corkboard.feed.config import FeedConfig, LookPageConfig
from corkboard.feed.home import Feed
from corkboard.feed.look_parts import LookCompleter, LookFinder
from corkboard.feed.looks import LOOKS, Look, LookSide, Objects, Remembered, Shelved
from corkboard.feed.page import Page, RecommendRequest, note
from corkboard.feed.surfaces import made_as
from corkboard.lake.pictures.store import PictureStore
from corkboard.ranking.pages import served_pages
from corkboard.shopping.complete_the_look import CategoryPairs, CompleteTheLook
from corkboard.shopping.look_index import LookIndex
from corkboard.shopping.outfits import Outfits
from corkboard.state.memory import MemoryStore
from corkboard.vision.appearance import Appearance, Colour, appearance_table
from feed.builders import NOW_MS, TOPICS, Small, act, topic_of
from tests.feed.look_builders import Blocks, Seeing, block, finder_of, joined, matcher_of, of_item, products, scene
from tests.serving.builders import png

LAMP, SHIRT, CAKE = 0, 1, 2
TWO = scene((SHIRT, (4, 4, 20, 20)), (LAMP, (30, 10, 78, 58)))
"""A small shirt that the detector is less sure of, and a large lamp."""
SCENE, MISSING = "i299", "i298"
"""An item whose picture is a scene, and one whose picture nobody knows."""


@dataclass
class Scene:
    """A feed, and what its models were asked."""

    feed: Feed
    detector: Blocks
    encoder: Seeing

    def ask(self, **more) -> Page:
        given = {"surface": "shop_the_look", "user_id": "u1", "k": 3, "now_ms": NOW_MS, **more}
        return self.feed.recommend(RecommendRequest(**given))


class Goes:
    """Suggests cakes and bikes with anything, and remembers what it was asked."""

    def __init__(self, feed: Feed):
        self.feed, self.asked = feed, []

    def complete(self, look: Look, wanted: str | None, allowed: np.ndarray, k: int) -> list[Shelved]:
        self.asked.append((look, wanted))
        names, catalogue, shelves = [wanted] if wanted else ["cake", "bike"], self.feed.catalogue, []
        for name in names:
            rows = [row for row in np.flatnonzero(allowed).tolist() if catalogue.value("category", row) == name][:k]
            reasons = tuple(f"{name} {n}" for n in range(len(rows)))
            shelves.append(Shelved(name, np.array(rows, np.int64), np.linspace(2, 1, len(rows)), reasons))
        return shelves


@pytest.fixture
def looks(made: Small) -> Scene:
    return looking(made)


def looking(made: Small, config: FeedConfig | None = None, second: float = 0.0, store=None) -> Scene:
    """Each product of the small release shows the colour of its category, but tents show nothing at all."""
    feed = made.feed(store, config=config)
    ids = [item_id for item_id in feed.catalogue.ids[: feed.catalogue.frozen] if topic_of(item_id) != "tent"][:200]
    shown = {item_id: block(TOPICS.index(topic_of(item_id)), shift=int(item_id[1:]) // 6 % 20) for item_id in ids}
    sold = products(shown, TOPICS)
    items = pl.DataFrame({"item_id": feed.catalogue.ids, "category": [topic_of(item_id) for item_id in feed.catalogue.ids]})
    index, detector, encoder = LookIndex.build(sold, items), Blocks(TOPICS, second), Seeing()
    finder = finder_of(feed.catalogue, index, joined(sold, of_item(SCENE, TWO, TOPICS)), detector, encoder)
    side = LookSide(finder, pictures=made.workspace / "lake")
    return Scene(Feed(replace(feed.parts, looks=side), feed.store, feed.settings, feed.weights), detector, encoder)


def with_parts(looks: Scene, **changed) -> Scene:
    """The same with other parts of its looks."""
    feed = looks.feed
    side = replace(feed.parts.looks, **changed)
    return replace(looks, feed=Feed(replace(feed.parts, looks=side), feed.store, feed.settings, feed.weights))


def codes(page: Page) -> set[str]:
    return {entry.code for entry in page.notes}


def topics(item_ids) -> set[str]:
    return {topic_of(item_id) for item_id in item_ids}


# ---------------------------------------------------------------------------------------------------------- what is in a picture


def test_each_object_has_its_products_the_largest_first(looks: Scene) -> None:
    page = looks.ask(image=TWO)
    lamp, shirt = page.objects
    assert (lamp.category, shirt.category) == ("lamp", "shirt")
    np.testing.assert_allclose(lamp.box, (30 / 80, 10 / 60, 78 / 80, 58 / 60), atol=1e-5)
    np.testing.assert_allclose(shirt.box, (4 / 80, 4 / 60, 20 / 80, 20 / 60), atol=1e-5)
    assert topics(lamp.item_ids) == {"lamp"}
    assert topics(shirt.item_ids) == {"shirt"}
    assert page.items.item_ids == [*lamp.item_ids, *shirt.item_ids]
    assert len(lamp.item_ids) == 3
    assert set(page.items.sources) == {("shop_the_look",)}
    assert page.items.reasons[0] == "Looks very much like the lamp in the picture"
    assert page.items.scores[:3].tolist() == sorted(page.items.scores[:3], reverse=True)
    assert (page.next_cursor, page.notes, lamp.second_category) == (None, (), None)


def test_the_answer_says_which_item_belongs_to_which_object(looks: Scene) -> None:
    answer = looks.ask(image=TWO, explain=True).to_dict()
    assert [item["object"] for item in answer["items"]] == [0, 0, 0, 1, 1, 1]
    assert [found["category"] for found in answer["objects"]] == ["lamp", "shirt"]
    assert "shelves" not in answer
    assert answer["items"][0]["explanation"]["why"].startswith("It looks like something in the picture")


def test_the_picture_of_an_item_needs_no_model(looks: Scene) -> None:
    page = looks.ask(item_id=SCENE)
    assert [found.category for found in page.objects] == ["lamp", "shirt"]
    assert SCENE not in page.items
    assert (looks.detector.asked, looks.encoder.read) == (0, [])


def test_asking_twice_looks_once_and_a_part_is_another_picture(looks: Scene) -> None:
    for _ in range(3):
        assert len(looks.ask(image=TWO, image_hash="ab" * 32).objects) == 2
    assert (looks.detector.asked, len(looks.encoder.read)) == (1, 1)  # all crops of a picture are read together
    page = looks.ask(image=TWO, image_hash="ab" * 32, crop=(0.0, 0.0, 0.3, 0.5))
    assert looks.detector.asked == 2
    (shirt,) = page.objects
    np.testing.assert_allclose(shirt.box, (4 / 80, 4 / 60, 20 / 80, 20 / 60), atol=1e-5)  # of the whole picture, not of the part
    assert "crop:0,0,0.3,0.5" in page.served["flags"]


def test_what_is_remembered_is_bounded() -> None:
    kept, made = Remembered[int](), []
    for key in (1, 2, 3, 2, 1):
        kept.get((key,), lambda key=key: made.append(key) or key, 2)
    assert made == [1, 2, 3, 1]  # the first had gone by then


def test_an_unsure_category_is_said_and_both_are_searched(made: Small) -> None:
    page = looking(made, second=0.45).ask(image=scene((LAMP, (10, 10, 40, 40))))
    (found,) = page.objects
    assert (found.category, found.second_category) == ("lamp", "shirt")
    assert topics(found.item_ids) == {"lamp"}  # shirts are of another colour


def test_unsure_is_what_the_settings_call_unsure(made: Small) -> None:
    looks = looking(made, second=0.3)  # .7 and .3: the first leads by .4
    assert looks.ask(image=TWO).objects[0].second_category is None
    finder = looks.feed.parts.looks.finder
    finder._settings = finder._settings.model_copy(update={"unsure": 0.5})
    assert looks.ask(image=scene((LAMP, (5, 5, 60, 50)))).objects[0].second_category is not None


def test_rules_hold_inside_of_the_search(made: Small) -> None:
    store = made.store()
    feed = looking(made, store=store)
    first = feed.ask(image=TWO, user_id="ann").objects[0].item_ids
    store.append(
        [
            act("hide", first[0]),
            act("block", time_ms=NOW_MS - 900, creator_id=feed.feed.catalogue.value("creator_id", feed.feed.catalogue.row(first[1]))),
        ]
    )
    page = feed.ask(image=TWO, user_id="ann", filter={"exclude_ids": [first[2]]})
    assert len(page.objects[0].item_ids) == 3  # others come in
    assert not set(first) & set(page.items)
    assert "hid or reported" in feed.feed.explain(page.request_id, first[0])["why"]
    dear = feed.ask(image=TWO, filter={"price_min": 10_000})
    assert min(int(item_id[1:]) for item_id in dear.items) >= 99
    with pytest.raises(InputError, match="only what is sold"):
        feed.ask(image=TWO, filter={"sold": False})


def test_what_was_seen_or_saved_may_be_shown_again(made: Small) -> None:
    store = made.store()
    feed = looking(made, store=store)
    first = feed.ask(image=TWO, user_id="ann").items.item_ids
    store.append([act("save", item_id, NOW_MS - 500 + n) for n, item_id in enumerate(first)])
    assert feed.ask(image=TWO, user_id="ann").items.item_ids == first


def test_products_have_at_most_what_the_settings_allow(made: Small) -> None:
    feed = looking(made, FeedConfig(looks=LookPageConfig(max_objects=1, max_products=2)))
    page = feed.ask(image=TWO, k=100)
    assert [len(found.item_ids) for found in page.objects] == [2]


def test_another_tenant_gets_nothing(looks: Scene) -> None:
    page = looks.ask(image=TWO, tenant="another")
    assert (len(page.items), page.objects) == (0, ())
    assert codes(page) >= {"other_tenant", "few_matches"}


# --------------------------------------------------------------------------------------------------------------- stated answers


def test_nothing_in_the_picture(looks: Scene) -> None:
    page = looks.ask(image=np.full((40, 40, 3), 255, np.uint8))
    assert (len(page.items), page.objects, codes(page)) == (0, (), {"no_objects"})
    black = looks.ask(image=np.zeros((40, 40, 3), np.uint8))
    assert (len(black.items), codes(black)) == (0, {"no_objects"})


def test_without_an_object_the_whole_picture_is_tried(looks: Scene) -> None:
    looks.detector.class_names = ["nothing"]  # which is red
    page = looks.ask(image=block(CAKE))
    (whole,) = page.objects
    assert (whole.box, whole.category, whole.score) == ((0.0, 0.0, 1.0, 1.0), "cake", 0.0)
    assert topics(whole.item_ids) == {"cake"}
    assert codes(page) == {"whole_picture"}
    assert page.items.reasons[0] == "Looks very much like the picture"


def test_an_object_without_products_is_left_out(looks: Scene) -> None:
    # a tent: the category is in the catalogue, and no product of it has a picture
    page = looks.ask(image=scene((5, (0, 0, 60, 60)), (LAMP, (62, 0, 78, 20))))
    assert [found.category for found in page.objects] == ["lamp"]
    assert codes(page) == {"few_matches"}


def test_something_that_no_product_looks_like(looks: Scene) -> None:
    class Person(Blocks):
        def detect(self, images):
            return [replace(found, boxes=np.array([[0.1, 0.1, 0.9, 0.9]], np.float32)) for found in super().detect([block(LAMP)])]

    grey = np.full((60, 60, 3), 120, np.uint8)
    feed = with_parts(looks, finder=_with_detector(looks, Person(TOPICS)))
    page = feed.ask(image=grey)
    assert (len(page.items), page.objects, codes(page)) == (0, (), {"few_matches"})


def _with_detector(looks: Scene, detector: Blocks) -> LookFinder:
    index = looks.feed.parts.looks.finder._index
    return finder_of(looks.feed.catalogue, index, None, detector, looks.encoder)


def test_twenty_objects(looks: Scene) -> None:
    class Many(Blocks):
        def detect(self, images):
            (found,) = super().detect([block(LAMP)])
            boxes = np.array([[n / 40, 0, n / 40 + 0.02 + n / 100, 0.5] for n in range(20)], np.float32)
            return [replace(found, boxes=boxes, scores=np.linspace(0.9, 0.8, 20), posteriors=np.repeat(found.posteriors, 20, axis=0))]

    page = with_parts(looks, finder=_with_detector(looks, Many(TOPICS))).ask(image=np.broadcast_to(block(LAMP)[:1, :1], (60, 80, 3)), k=1)
    # the twelve that count are the surest, and among them the largest come first
    assert len(page.objects) == 12
    widths = [found.box[2] - found.box[0] for found in page.objects]
    assert widths == sorted(widths, reverse=True)
    assert len(page.items) == len(set(page.items))


@pytest.mark.parametrize("picture", [TWO[::-1, ::-1], np.ascontiguousarray(TWO[::-1])])
def test_upside_down(looks: Scene, picture: np.ndarray) -> None:
    assert {found.category for found in looks.ask(image=picture).objects} == {"lamp", "shirt"}


def test_eight_px_high(looks: Scene) -> None:
    page = looks.ask(image=scene((LAMP, (10, 1, 30, 7)), height=8))
    assert [found.category for found in page.objects] == ["lamp"]
    with pytest.raises(InputError, match="too small"):
        looks.ask(image=np.zeros((3, 40, 3), np.uint8))


def test_an_item_without_a_picture_and_one_that_nobody_knows(looks: Scene) -> None:
    for item_id, code in ((MISSING, "no_picture"), ("nothing", "unknown_item")):
        page = looks.ask(item_id=item_id)
        assert (len(page.items), page.objects, codes(page)) == (0, (), {code})


def test_the_picture_of_an_item_may_be_very_thin(looks: Scene, made: Small) -> None:
    name = PictureStore(made.workspace / "lake").put(png(np.broadcast_to(block(LAMP)[:1, :1], (4, 800, 3))))
    looks.feed.add_items([live_item([f"sha256:{name}"], "thin", price_minor=None, currency=None)])
    page = looks.ask(item_id="thin")  # 3 px are kept of its height
    assert page.items.item_ids or codes(page) & {"no_objects", "whole_picture"}
    assert "picture_failed" not in codes(page)


def test_a_product_whose_picture_is_gone_is_not_found_by_it(looks: Scene) -> None:
    first = looks.ask(image=TWO).objects[0].item_ids[0]
    looks.feed.parts.looks.drop(looks.feed.catalogue.row(first))
    assert first not in looks.ask(image=TWO, k=50).items
    page = looks.ask(item_id=first)
    assert (page.objects, codes(page)) == ((), {"no_picture"})


def test_models_that_fail_leave_an_empty_page(looks: Scene) -> None:
    class Broken(Blocks):
        def detect(self, images):
            raise RuntimeError("no such layer")

    page = with_parts(looks, finder=_with_detector(looks, Broken(TOPICS))).ask(image=TWO)
    assert (len(page.items), codes(page)) == (0, {"picture_failed"})
    bare = with_parts(looks, finder=None, notes=(note("no_looks"),)).ask(image=TWO)
    assert (len(bare.items), bare.objects, codes(bare)) == (0, (), {"no_looks"})
    home = looks.feed.recommend(RecommendRequest(user_id="u1", now_ms=NOW_MS))
    assert not codes(home) & {"no_looks", "no_objects"}


# ----------------------------------------------------------------------------------------------------------------- what is kept


def test_the_served_row_explains_and_nothing_learns_from_it(looks: Scene, tmp_path) -> None:
    page = looks.ask(image=TWO, image_hash="cd" * 32)
    served = looks.feed.store.served(page.request_id)
    assert (served["policy"], served["surface"], served["context_image_hash"]) == ("shop_the_look/likeness", "shop_the_look", "cd" * 32)
    assert [slot["item_id"] for slot in served["slots"]] == page.items.item_ids
    assert made_as(served) == "shop_the_look"
    why = looks.feed.explain(page.request_id, page.items.item_ids[0])
    assert (why["on_page"], why["sources"]) == (True, ["shop_the_look"])
    assert why["looks_like"] == {"item_id": None, "image_hash": "cd" * 32}
    other = looks.feed.explain(page.request_id, "i003")
    assert "not alike enough" in other["why"]
    lake = lake_of(
        tmp_path / "lake", [{"event": "served", **{name: value for name, value in served.items() if name not in ("chain", "trace")}}]
    )
    assert lake.served(0, NOW_MS * 2).height == 1
    assert served_pages(lake, 0, NOW_MS * 2).is_empty()  # no slot has features that a ranker could learn from


def test_a_feed_warms_up_with_a_look(looks: Scene) -> None:
    looks.feed.warm_up()
    assert looks.detector.asked == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "A look is a picture"),
        ({"image": TWO, "cursor": "abc"}, "one page"),
        ({"image": TWO, "item_ids": ("i001",)}, "takes no item_ids"),
        ({"image": TWO, "category": "cake"}, "takes no category"),
        ({"surface": "home", "category": "cake"}, "takes no category"),
        ({"surface": "complete_the_look"}, "A look is a picture"),
        ({"surface": "complete_the_look", "image": TWO, "item_ids": ("i001",)}, "one thing"),
        ({"surface": "complete_the_look", "item_ids": tuple(f"i{n:03d}" for n in range(9))}, "fewer products"),
        ({"surface": "complete_the_look", "item_ids": ("i001",), "crop": (0.0, 0.0, 1.0, 1.0)}, "A crop is of a picture"),
        ({"image": TWO, "crop": (0.5, 0.0, 0.1, 1.0)}, "no part of a picture"),
    ],
)
def test_what_does_not_go_together_is_refused(looks: Scene, wrong: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        looks.ask(**wrong)


# ------------------------------------------------------------------------------------------------------------ what arrives live


def live_item(images: list[str], item_id: str = "new", **columns) -> dict:
    row = {"event": "item", "event_id": f"live-{item_id}-{columns}", "time_ms": NOW_MS - 100, "tenant": "default", "item_id": item_id}
    return row | {"title": "red lamp", "category": "lamp", "price_minor": 100, "currency": "EUR", "images": images} | columns


def test_a_product_that_arrives_is_found_at_once(looks: Scene, made: Small) -> None:
    name = PictureStore(made.workspace / "lake").put(png(np.broadcast_to(block(LAMP)[:1, :1], (40, 40, 3))))
    before = looks.ask(image=TWO, k=50)
    assert looks.feed.add_items([live_item([f"sha256:{name}"])]) == 1
    page = looks.ask(image=TWO, k=50)
    assert "new" in page.objects[0].item_ids
    assert set(before.items) <= {*page.items, *before.items}
    assert "new" not in looks.ask(image=TWO, k=50, filter={"price_min": 200}).items
    looks.feed.add_items([live_item(["sha256:" + "0" * 64], time_ms=NOW_MS - 50)])  # it shows another picture, which the lake has not
    assert "new" not in looks.ask(image=TWO, k=50).items


def test_what_changes_while_others_search_is_not_lost(looks: Scene, made: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    name = PictureStore(made.workspace / "lake").put(png(np.broadcast_to(block(LAMP)[:1, :1], (40, 40, 3))))
    looks.feed.add_items([live_item([f"sha256:{name}"])])
    finder, with_products = looks.feed.parts.looks.finder, LookIndex.with_products
    first = looks.ask(image=TWO).objects[0].item_ids[0]
    row = looks.feed.catalogue.row(first)
    dropping = threading.Thread(target=finder.drop, args=(row,))

    def slowly(*given) -> LookIndex:
        made = with_products(*given)
        dropping.start()  # the index is as good as made, without what changes now
        dropping.join(0.2)
        return made

    monkeypatch.setattr(LookIndex, "with_products", slowly)
    finder.drop(looks.feed.catalogue.row(SCENE))
    looks.ask(image=TWO)
    dropping.join()
    monkeypatch.undo()
    assert first not in looks.ask(image=TWO, k=50).items


def test_one_picture_that_cannot_be_read_takes_none_of_the_others_along(looks: Scene, made: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PictureStore(made.workspace / "lake")
    names = [store.put(png(np.broadcast_to(block(LAMP, shift)[:1, :1], (40, 40, 3)))) for shift in range(2)]
    store.path(names[0]).write_bytes(b"cut off")
    looks.feed.add_items([live_item([f"sha256:{name}"], f"new{n}") for n, name in enumerate(names)])
    page = looks.ask(image=TWO, k=50)
    assert "new1" in page.objects[0].item_ids
    assert "new0" not in page.items


def test_an_item_that_is_new_is_looked_into_when_it_is_asked_with(looks: Scene, made: Small) -> None:
    name = PictureStore(made.workspace / "lake").put(png(TWO))
    looks.feed.add_items([live_item([f"sha256:{name}"], "scene", price_minor=None, currency=None, category=None)])
    for _ in range(2):
        page = looks.ask(item_id="scene")
        assert [found.category for found in page.objects] == ["lamp", "shirt"]
    assert looks.detector.asked == 1
    assert page.served["context_image_hash"] == name
    (part,) = looks.ask(item_id="scene", crop=(0.0, 0.0, 0.3, 0.5)).objects
    assert part.category == "shirt"


# --------------------------------------------------------------------------------------------------------------- what goes with it


def test_products_are_completed_on_shelves(looks: Scene) -> None:
    goes = Goes(looks.feed)
    feed = with_parts(looks, completer=goes)
    page = feed.ask(surface="complete_the_look", item_ids=("i001", "i002"), k=2)
    assert [shelf.category for shelf in page.shelves] == ["cake", "bike"]
    assert page.items.item_ids == [*page.shelves[0].item_ids, *page.shelves[1].item_ids]
    assert "i002" not in page.items  # a cake that is in the look
    assert page.items.reasons == ["cake 0", "cake 1", "bike 0", "bike 1"]
    assert [item["shelf"] for item in page.to_dict()["items"]] == [0, 0, 1, 1]
    (look, wanted) = goes.asked[0]
    assert (feed.feed.catalogue.ids_of(look.rows), look.objects, wanted) == (["i001", "i002"], None, None)
    assert page.served["policy"] == "complete_the_look/compatibility"
    assert feed.feed.explain(page.request_id, "i002")["why"] == "It was left out: it is in the look already."
    assert feed.feed.explain(page.request_id, page.items.item_ids[0])["look"] == ["i001", "i002"]


def test_a_scene_is_completed_by_what_is_in_it(looks: Scene) -> None:
    goes = Goes(looks.feed)
    feed = with_parts(looks, completer=goes)
    feed.ask(surface="complete_the_look", image=TWO, category="cake")
    feed.ask(surface="complete_the_look", item_id=SCENE)
    (first, wanted), (second, _) = goes.asked
    assert first.objects.categories == ("lamp", "shirt") == second.objects.categories
    assert wanted == "cake"
    np.testing.assert_array_equal(first.picture(), TWO)
    assert second.picture() is None  # the lake has not got it


def test_looks_that_cannot_be_completed(looks: Scene) -> None:
    feed = with_parts(looks, completer=Goes(looks.feed))
    nothing = feed.ask(surface="complete_the_look", image=np.zeros((30, 30, 3), np.uint8))
    assert (len(nothing.items), nothing.shelves, codes(nothing)) == (0, (), {"no_objects"})
    empty = feed.ask(surface="complete_the_look", item_ids=("i001",), category="no such thing")
    assert (empty.shelves, codes(empty)) == ((), {"empty_category"})
    unknown = feed.ask(surface="complete_the_look", item_ids=("nothing",))
    assert (unknown.shelves, codes(unknown)) == ((), {"unknown_item"})
    bare = looks.ask(surface="complete_the_look", item_ids=("i001",))
    assert bare.shelves == ()


class Styles:
    """An outfit model for which everything goes with everything, the more the redder."""

    def encode(self, vectors: np.ndarray, categories, text=None) -> np.ndarray:
        return np.asarray(vectors[:, :2], np.float32)

    def query(self, styles: np.ndarray, categories, targets) -> np.ndarray:
        return np.tile(np.array([1.0, 0.0], np.float32), (len(targets), 1))


def test_the_models_of_a_release_complete_a_look(looks: Scene) -> None:
    finder = looks.feed.parts.looks.finder
    outfits = pl.DataFrame({"outfit_id": ["a", "a", "a"] * 6, "category": ["lamp", "shirt", "cake"] * 6, "n": range(18)})
    outfits = outfits.with_columns(outfit_id=pl.col("n") // 3)
    completer = LookCompleter(finder, CompleteTheLook(finder._index, Styles(), CategoryPairs(outfits)))
    feed = with_parts(looks, completer=completer)
    by_scene = feed.ask(surface="complete_the_look", image=TWO)
    assert [shelf.category for shelf in by_scene.shelves] == ["cake"]  # a lamp and a shirt are there, bikes never were
    by_items = feed.ask(surface="complete_the_look", item_ids=("i000",), k=2)
    assert {shelf.category for shelf in by_items.shelves} == {"shirt", "cake"}
    assert [len(shelf.item_ids) for shelf in by_items.shelves] == [2, 2]
    assert all(reason for reason in by_items.items.reasons)
    gone = by_items.shelves[0].item_ids[0]
    finder.drop(feed.feed.catalogue.row(gone))
    assert feed.ask(surface="complete_the_look", item_ids=(gone,)).shelves == ()  # nor does it say any more what goes with it
    assert gone not in feed.ask(surface="complete_the_look", item_ids=("i000",), k=2).items


def test_what_is_in_a_picture_does_not_go_with_it(looks: Scene) -> None:
    """The lamps that look very much like the one in the picture are it, and are no answer to who wants a lamp with it."""
    finder = looks.feed.parts.looks.finder
    outfits = pl.DataFrame({"outfit_id": [n // 3 for n in range(18)], "category": ["lamp", "shirt", "cake"] * 6})
    answers = CompleteTheLook(finder._index, Styles(), CategoryPairs(outfits))
    answers.config = answers.config.model_copy(update={"same": 1.0})
    feed = with_parts(looks, completer=LookCompleter(finder, answers))
    shopped = feed.ask(image=TWO, k=50).items
    lamps = {item_id for item_id, why in zip(shopped, shopped.reasons, strict=True) if why.startswith("Looks very much")}
    page = feed.ask(surface="complete_the_look", image=TWO, category="lamp", k=50)
    alone = feed.ask(surface="complete_the_look", image=scene((SHIRT, (4, 4, 20, 20))), category="lamp", k=50)
    assert lamps & set(alone.items.item_ids)
    assert not lamps & set(page.items.item_ids)


def test_a_part_that_does_not_read_is_named_though_others_answer(looks: Scene) -> None:
    said = (note("artifact_unusable", "scene_model: broken"),)
    feed = with_parts(looks, completer=Goes(looks.feed), complete_notes=said)
    assert codes(feed.ask(surface="complete_the_look", image=TWO)) == {"artifact_unusable"}
    assert codes(feed.ask(image=TWO)) == set()
    feed = with_parts(looks, notes=(note("artifact_unusable", "objects: broken"),))
    assert codes(feed.ask(image=TWO)) == {"artifact_unusable"}


def test_a_category_may_be_asked_for_by_the_name_that_the_catalogue_has_for_it(looks: Scene) -> None:
    """The detector says "gateau" to what the catalogue calls cake."""
    words = ["gateau" if topic == "cake" else topic for topic in TOPICS]
    feed = looks.feed
    ids = [item_id for item_id in feed.catalogue.ids[: feed.catalogue.frozen] if topic_of(item_id) != "tent"][:200]
    sold = products({item_id: block(TOPICS.index(topic_of(item_id))) for item_id in ids}, words)
    items = pl.DataFrame({"item_id": feed.catalogue.ids, "category": [topic_of(item_id) for item_id in feed.catalogue.ids]})
    finder = finder_of(feed.catalogue, LookIndex.build(sold, items), sold, Blocks(words), Seeing())
    outfits = pl.DataFrame({"outfit_id": [n // 3 for n in range(18)], "category": ["lamp", "shirt", "gateau"] * 6})
    completer = LookCompleter(finder, CompleteTheLook(finder._index, Styles(), CategoryPairs(outfits)))
    there = with_parts(looks, finder=finder, completer=completer)
    for name in ("cake", "gateau"):
        page = there.ask(surface="complete_the_look", item_ids=("i000",), category=name, k=3)
        assert [shelf.category for shelf in page.shelves] == [name]
        assert {topic_of(item_id) for item_id in page.items} == {"cake"}
    nothing = there.ask(surface="complete_the_look", item_ids=("i000",), category="gloves")
    assert (len(nothing.items), [entry.code for entry in nothing.notes]) == (0, ["empty_category"])


def test_reasons_say_what_agrees(looks: Scene) -> None:
    finder = looks.feed.parts.looks.finder
    outfits = pl.DataFrame({"outfit_id": [n // 2 for n in range(12)], "category": ["lamp", "cake"] * 6})
    red = [Appearance((Colour("red", 0.8),))]
    known = dict.fromkeys(finder._index.ids, red) | {SCENE: [*red, Appearance(())]}
    products = {item_id: one for item_id, (one, *_) in known.items()}
    answers = CompleteTheLook(finder._index, Styles(), CategoryPairs(outfits), appearances=products)
    feed = with_parts(looks, completer=LookCompleter(finder, answers, appearances=known))
    for asked in ({"item_ids": ("i000",)}, {"item_id": SCENE}):
        page = feed.ask(surface="complete_the_look", **asked)
        assert set(page.items.reasons) == {"Red, as the lamp"}


# -------------------------------------------------------------------------------------------------------------- from a release


def test_a_release_brings_its_looks(looks: Scene, made: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    finder = looks.feed.parts.looks.finder
    root, index = made.workspace / "artifacts", finder._index
    matcher, objects = matcher_of(index), finder._objects
    parts = {
        "look_index": write_artifact(root, "look_index", "l", tensors=index.tensors(), tables=index.tables(), config=index.config),
        "look_matcher": write_artifact(
            root, "look_matcher", "l", tensors=matcher.tensors(), tables=matcher.tables(), config=matcher.config
        ),
        "objects": write_artifact(root, "objects", "l", tensors=objects.tensors(), tables=objects.tables(), config=objects.config),
    }
    feed = Feed.load(made.release(**parts), MemoryStore())
    page = feed.recommend(RecommendRequest(surface="shop_the_look", user_id="u1", item_id=SCENE, k=3, now_ms=NOW_MS))
    assert [found.category for found in page.objects] == ["lamp", "shirt"]
    assert topics(page.objects[0].item_ids) == {"lamp"}
    unencoded = feed.recommend(RecommendRequest(surface="shop_the_look", user_id="u1", image=TWO, k=3, now_ms=NOW_MS))
    assert codes(unencoded) & {"picture_failed"}  # the release has no encoder
    completed = feed.recommend(RecommendRequest(surface="complete_the_look", user_id="u1", item_id=SCENE, now_ms=NOW_MS))
    assert (completed.shelves, "no_looks" in codes(completed)) == ((), True)

    outfits = Outfits(pl.DataFrame([{"outfit_id": f"o{n // 2}", "category": ("lamp", "cake")[n % 2]} for n in range(40)]))
    seen = appearance_table(objects.table["item_id"].to_list(), [Appearance((Colour("red", 0.8),))] * len(objects))
    parts |= {
        "outfits": write_artifact(root, "outfits", "l", tables=outfits.tables(), config=outfits.config),
        "outfit_model": write_artifact(root, "outfit_model", "l", config={"kind": "any"}),
        "appearances": write_artifact(root, "appearances", "l", tables={"appearances": seen}, config={"kind": "appearances"}),
    }
    monkeypatch.setattr(look_parts, "_outfit_model", lambda here, artifact: Styles())
    feed = Feed.load(made.release(**parts), MemoryStore())
    page = feed.recommend(RecommendRequest(surface="complete_the_look", user_id="u1", item_id=SCENE, k=3, now_ms=NOW_MS))
    assert [shelf.category for shelf in page.shelves] == ["cake"]
    assert set(page.items.reasons) == {"Red, as the lamp"}
    assert not codes(page) & {"no_looks", "artifact_unusable"}

    empty = write_artifact(root, "look_matcher", "none", config={"kind": "none"})
    for release in (made.release(), made.release(**parts | {"look_matcher": empty})):
        without = Feed.load(release, MemoryStore())
        for surface in LOOKS:
            page = without.recommend(RecommendRequest(surface=surface, user_id="u1", item_id=SCENE, now_ms=NOW_MS))
            assert (len(page.items), "no_looks" in codes(page)) == (0, True)


def test_an_index_of_another_space_is_a_failure_that_is_said(looks: Scene) -> None:
    class Other(Seeing):
        space = replace(Seeing.space, name="other")

    finder = looks.feed.parts.looks.finder
    other = finder_of(looks.feed.catalogue, finder._index, None, Blocks(TOPICS), Other())
    page = with_parts(looks, finder=other).ask(image=TWO)
    assert (len(page.items), codes(page)) == (0, {"picture_failed"})


def test_objects_of_one_picture_are_parallel() -> None:
    none = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (), ())
    assert len(none) == 0
    assert look_parts.OBJECTS == "objects"
