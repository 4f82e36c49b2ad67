"""Looks over HTTP, from Python and from the shell: what is in a picture and where to buy it, and what goes with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import orjson
import polars as pl
import pytest
from starlette.testclient import TestClient

from corkboard.cli.look import look
from corkboard.errors import InputError
from corkboard.feed import parts as feed_parts
from corkboard.feed.look_parts import LookCompleter
from corkboard.feed.looks import LookSide
from corkboard.serving.answers import Answers
from corkboard.serving.app import create_app
from corkboard.serving.bodies import parse_recommend
from corkboard.serving.live import LiveEngine
from corkboard.serving.problems import Problem
from corkboard.serving.run import engine_of
from corkboard.shopping.complete_the_look import CategoryPairs, CompleteTheLook
from corkboard.shopping.look_index import LookIndex
from corkboard.workspace import Workspace
from tests.feed.look_builders import Blocks, Seeing, block, finder_of, joined, of_item, products, scene
from tests.serving.builders import CATEGORIES, encode_by_colours, png, promote_with_pictures
from tests.serving.test_app import category_of

CERAMICS, RUGS = 0, 2
TWO = scene((RUGS, (4, 4, 20, 20)), (CERAMICS, (30, 10, 78, 58)))
SCENE = "item-119"
SURFACES = ("home", "shop_the_look", "complete_the_look")


class Redder:
    """An outfit model for which everything goes with everything, the more the redder."""

    def encode(self, vectors: np.ndarray, categories, text=None) -> np.ndarray:
        return np.asarray(vectors[:, :2], np.float32)

    def query(self, styles: np.ndarray, categories, targets) -> np.ndarray:
        return np.tile(np.array([1.0, 0.0], np.float32), (len(targets), 1))


@pytest.fixture
def shown(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace whose live release can look into pictures."""
    encode_by_colours(monkeypatch)
    promote_with_pictures(workspace)
    monkeypatch.setattr(feed_parts, "look_side", lambda load, catalogue, *rest: side_of(catalogue, workspace))
    return workspace


def side_of(catalogue, workspace: Workspace) -> LookSide:
    """Products by colours, each category with its own; the last item shows a scene."""
    ids = catalogue.ids[:100]
    sold = products({item_id: block(CATEGORIES.index(category_of(item_id)), int(item_id[5:]) // 6) for item_id in ids}, CATEGORIES)
    index = LookIndex.build(sold, pl.DataFrame({"item_id": ids, "category": [category_of(item_id) for item_id in ids]}))
    finder = finder_of(catalogue, index, joined(sold, of_item(SCENE, TWO, CATEGORIES)), Blocks(CATEGORIES), Seeing())
    outfits = pl.DataFrame({"outfit_id": [n // 3 for n in range(18)], "category": ["ceramics", "rugs", "plants"] * 6})
    completer = LookCompleter(finder, CompleteTheLook(finder._index, Redder(), CategoryPairs(outfits)))
    return LookSide(finder, completer, pictures=workspace.folder / "lake")


@pytest.fixture
def client(shown: Workspace) -> Iterator[TestClient]:
    with TestClient(create_app(engine_of(shown)), raise_server_exceptions=False) as client:
        yield client


def ask(client: TestClient, **body) -> httpx.Response:
    return client.post("/v1/recommend", json={"user_id": "user-1", "k": 2, **body})


def show(client: TestClient, picture: np.ndarray, **fields: str) -> httpx.Response:
    return client.post("/v1/recommend", data={"user_id": "user-1", "k": "2", **fields}, files={"image": ("picture", png(picture))})


def notes(answer: dict) -> set[str]:
    """What is said of looks; this small release lacks much else."""
    said = ("no_looks", "no_objects", "whole_picture", "few_matches", "empty_category", "no_picture", "picture_failed", "unknown_item")
    return {entry["code"] for entry in answer["notes"]} & set(said)


def test_a_picture_is_shopped_in_one_request(client: TestClient) -> None:
    answer = show(client, TWO, surface="shop_the_look", details="true", explain="true").json()
    assert [found["category"] for found in answer["objects"]] == ["ceramics", "rugs"]
    assert [item["object"] for item in answer["items"]] == [0, 0, 1, 1]
    assert [item["item_id"] for item in answer["items"]] == [one for found in answer["objects"] for one in found["item_ids"]]
    first = answer["items"][0]
    assert (first["source"], first["reason"]) == (["shop_the_look"], "Looks very much like the ceramics in the picture")
    assert (first["item"]["category"], first["explanation"]["on_page"]) == ("ceramics", True)
    assert (answer["next_cursor"], notes(answer), len(answer["image_hash"])) == (None, set(), 64)
    np.testing.assert_allclose(answer["objects"][0]["box"], [30 / 80, 10 / 60, 78 / 80, 58 / 60], atol=1e-5)
    why = client.get(f"/v1/explain/{answer['request_id']}/{first['item_id']}").json()
    assert (why["surface"], why["looks_like"]["image_hash"]) == ("shop_the_look", answer["image_hash"])


def test_the_picture_of_an_item_and_a_part_of_one(client: TestClient) -> None:
    answer = ask(client, surface="shop_the_look", item_id=SCENE).json()
    assert [found["category"] for found in answer["objects"]] == ["ceramics", "rugs"]
    part = show(client, TWO, surface="shop_the_look", crop="0,0,0.3,0.5").json()
    assert [found["category"] for found in part["objects"]] == ["rugs"]
    whole = ask(client, surface="shop_the_look", item_id="item-001", crop=[0.2, 0.2, 1, 1]).json()  # read from the lake
    assert [found["category"] for found in whole["objects"]] == ["lamps"]
    assert len(whole["image_hash"]) == 64


def test_a_look_is_completed(client: TestClient) -> None:
    answer = ask(client, item_ids=["item-000"]).json()  # the surface is the only one that takes several
    assert {shelf["category"] for shelf in answer["shelves"]} == {"rugs", "plants"}
    assert [item["shelf"] for item in answer["items"]] == [0, 0, 1, 1]
    one = ask(client, surface="complete_the_look", item_ids=["item-000", "item-001"], category="plants").json()
    assert [shelf["category"] for shelf in one["shelves"]] == ["plants"]
    by_picture = show(client, TWO, surface="complete_the_look").json()
    assert [shelf["category"] for shelf in by_picture["shelves"]] == ["plants"]
    assert len(by_picture["image_hash"]) == 64
    nothing = ask(client, surface="complete_the_look", item_ids=["item-000"], category="cars").json()
    assert (nothing["shelves"], notes(nothing)) == ([], {"empty_category"})


@pytest.mark.parametrize(
    ("body", "message", "found"),
    [
        ({"surface": "shop_the_look"}, "A look is one thing", []),
        ({"surface": "shop_the_look", "item_ids": ["a"]}, "The surface shop_the_look takes one item", 1),
        ({"surface": "home", "item_ids": ["a", "b"]}, "The surface home takes one item", 2),
        ({"surface": "shop_the_look", "item_id": "a", "category": "x"}, "The surface shop_the_look takes no category", "x"),
        ({"surface": "complete_the_look", "item_id": "a", "item_ids": ["b"]}, "A look is one thing", ["item_id", "item_ids"]),
        ({"surface": "complete_the_look", "item_ids": ["b"], "crop": [0, 0, 1, 1]}, "Products have no part", "crop"),
        ({"surface": "complete_the_look", "item_ids": ["b"], "cursor": "c"}, "A look has one page", "cursor"),
        ({"surface": "shop_the_look", "item_id": "a", "crop": [0.5, 0, 0.1, 1]}, "This is no part of a picture", "0.5,0,0.1,1"),
        ({"surface": "complete_the_look", "item_ids": [str(n) for n in range(9)]}, "item_ids has a wrong value", None),
        ({"surface": "complete_the_look", "item_ids": []}, "item_ids has a wrong value", []),
    ],
)
def test_what_does_not_go_together_is_refused(body: dict, message: str, found: object) -> None:
    with pytest.raises(Problem) as refused:
        parse_recommend(orjson.dumps({"user_id": "ann", **body}), SURFACES)
    assert (refused.value.status, refused.value.message) == (400, message)
    assert refused.value.expected
    assert found is None or refused.value.found == found


def test_a_form_may_say_wrong_things_too(client: TestClient) -> None:
    for fields in ({"surface": "complete_the_look", "item_ids": '["item-001"]'}, {"surface": "shop_the_look", "item_id": "item-001"}):
        answer = show(client, TWO, **fields)
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "A look is one thing")
    empty = client.post("/v1/recommend", data={"user_id": "ann", "surface": "shop_the_look"}, files={"image": ("x", b"words")})
    assert empty.status_code == 415


def test_before_the_first_release_a_look_is_empty(workspace: Workspace) -> None:
    engine = engine_of(workspace)  # which has not looked for a release yet
    answers = Answers(engine, engine.config)
    for surface, groups in (("shop_the_look", "objects"), ("complete_the_look", "shelves")):
        answer, _ = answers.recommend(orjson.dumps({"surface": surface, "item_id": "item-001", "user_id": "ann"}))
        assert orjson.loads(answer)[groups] == []
    answers.close()
    engine.store.close()


def test_a_release_without_the_parts_says_so(engine: LiveEngine) -> None:
    engine.poll()
    with TestClient(create_app(engine)) as client:
        answer = ask(client, surface="shop_the_look", item_id="item-001").json()
        assert (answer["objects"], notes(answer)) == ([], {"no_looks"})


def test_the_description_tells_of_looks(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert {"shop_the_look", "complete_the_look"} <= set(schemas["RecommendBody"]["properties"]["surface"]["enum"])
    assert {"item_ids", "category"} <= set(schemas["RecommendForm"]["properties"])
    found = schemas["Page"]["properties"]["objects"]["items"]
    assert set(found["properties"]) == {"box", "category", "second_category", "score", "item_ids"}
    assert set(schemas["Page"]["properties"]["shelves"]["items"]["required"]) == {"category", "item_ids"}


def test_looks_from_python(shown: Workspace) -> None:
    file = shown.folder / "photo.png"
    file.write_bytes(png(TWO))
    for page in (shown.shop_the_look(file, k=2), shown.shop_the_look(item_id=SCENE, user_id="user-1", k=2), shown.shop_the_look(TWO, k=2)):
        assert [found.category for found in page.objects] == ["ceramics", "rugs"]
        assert [len(found.item_ids) for found in page.objects] == [2, 2]
    page = shown.complete_the_look(item_ids=["item-000"], category="plants", k=3)
    assert [(shelf.category, len(shelf.item_ids)) for shelf in page.shelves] == [("plants", 3)]


def test_looks_from_the_shell(shown: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    file = shown.folder / "photo.png"
    file.write_bytes(png(TWO))
    look(file, k=2, workspace=shown.folder)
    printed = capsys.readouterr().out
    assert printed.count("Looks") == 4
    assert {"ceramics", "rugs"} <= set(printed.split())
    look(item=["item-000"], complete=True, category="plants", workspace=shown.folder, as_json=True)
    assert [shelf["category"] for shelf in orjson.loads(capsys.readouterr().out)["shelves"]] == ["plants"]
    look(item=["item-000", "item-001"], complete=True, workspace=shown.folder)
    assert "goes with item-000, item-001" in capsys.readouterr().out
    with pytest.raises(InputError, match="one picture"):
        look(item=["item-000", "item-001"], workspace=shown.folder)
    look(item=["no such item"], workspace=shown.folder)
    assert "unknown_item" in capsys.readouterr().out


def test_sides_of_looks_are_replaced_as_a_whole(shown: Workspace) -> None:
    with_looks = shown.shop_the_look(item_id=SCENE)
    feed = shown._live
    feed.parts = replace(feed.parts, looks=LookSide())
    assert (len(with_looks.items) > 0, len(shown.shop_the_look(item_id=SCENE).items)) == (True, 0)


def test_an_item_whose_picture_shows_several_things_says_so(client: TestClient) -> None:
    assert client.get(f"/v1/items/{SCENE}").json()["things"] == 2
    assert "things" not in client.get("/v1/items/item-001").json()  # a product alone
    assert "things" not in client.get("/v1/items/item-110").json()  # nobody has looked
    listed = ask(client, surface="related", item_id="item-001", k=100, details=True).json()["items"]
    assert {item["item_id"]: item["item"]["things"] for item in listed if "things" in item["item"]} in ({}, {SCENE: 2})
    entry = client.get("/openapi.json").json()["components"]["schemas"]["Item"]
    assert "things" in entry["properties"]
    assert "things" not in entry["required"]
